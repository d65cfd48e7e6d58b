//! Pure. The rows of `[nts-client]`.

use std::path::PathBuf;
use std::time::Duration;

use super::spans::{DAY, span};
use super::texts::path;
use crate::config::kind::word;
use crate::config::row::table;
use crate::upstream::nts::certificate::CertificateTime;
use crate::upstream::nts::key_state::KeyRules;

table! {
    /// Upstreams with NTS (nts = true): how their certificates are checked, and how often keys are established.
    "[nts-client]": Reload, RawNtsClient
    /// Network Time Security as a client.
    #[derive(Clone, Debug, PartialEq)]
    pub struct NtsClientKeys {
        /// The file with the certificates (PEM) of the authorities that are trusted: an absolute path.
        ///
        /// It is read at the start and on reload. Not set: that of the system, /etc/ssl/certs/ca-certificates.crt or
        /// /etc/pki/tls/certs/ca-bundle.crt. An upstream with a ca of its own does not need it.
        roots: Option<PathBuf> = None, path(), for example "/etc/ntpfront/roots.pem";
        /// The check of the dates of certificates while no time is known: "agree-first" or "strict".
        ///
        /// "agree-first": the upstreams agree on a time first; those whose certificates are not valid at that time are
        /// cast out before anything is served. So a host whose clock is wrong at boot finds the time, and an attacker
        /// needs the keys of old certificates of a majority. "strict": the clock of this host must be right. Once a
        /// time is known, certificates must be valid at that time.
        certificate_time: CertificateTime = CertificateTime::AgreeFirst, word();
        /// The age of keys at which new ones are established: hours ("12h") or days ("28d"), from 1h to 365d.
        ///
        /// The old ones work until then.
        refresh: Duration = DAY * 28, span::<365>();
    }
}

impl NtsClientKeys {
    /// Returns the rules for the keys of all upstreams.
    pub fn rules(&self) -> KeyRules {
        KeyRules {
            certificate_time: self.certificate_time,
            refresh: self.refresh,
        }
    }
}
