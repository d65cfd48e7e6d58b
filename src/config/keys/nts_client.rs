//! Pure. The rows of `[nts-client]`.

use std::path::PathBuf;
use std::time::Duration;

use super::texts::path;
use crate::config::address::Refusal;
use crate::config::effective::quoted;
use crate::config::kind::{Parsed, parsed, word};
use crate::config::row::table;
use crate::upstream::nts::certificate::CertificateTime;
use crate::upstream::nts::key_state::KeyRules;

/// The description of the spans of time that are accepted.
const SPAN: &str = "a time such as \"28d\" or \"12h\", from \"1h\" to \"365d\"";

table! {
    /// Upstreams with NTS (nts = true): how their certificates are checked, and how often keys are established.
    "[nts-client]": Reload, RawNtsClient
    #[derive(Clone, Debug, PartialEq)]
    /// Network Time Security as a client.
    pub struct NtsClientKeys {
        /// The file with the certificates (PEM) of the authorities that are trusted: an absolute path, read at
        /// the start and on reload. Not set: that of the system, /etc/ssl/certs/ca-certificates.crt or
        /// /etc/pki/tls/certs/ca-bundle.crt. An upstream with a ca of its own does not need it.
        roots: Option<PathBuf> = None, path(), for example "/etc/ntpfront/roots.pem";
        /// How the dates of certificates are checked while no time is known. "agree-first": the upstreams
        /// agree on a time first; those whose certificates are not valid at that time are cast out before
        /// anything is served. So a host whose clock is wrong at boot finds the time, and an attacker needs the
        /// keys of old certificates of a majority. "strict": the clock of this host must be right. Once a time
        /// is known, certificates must be valid at that time.
        certificate_time: CertificateTime = CertificateTime::AgreeFirst, word();
        /// After which time new keys are established while the old ones still work: hours ("12h") or days
        /// ("28d"), from 1h to 365d.
        refresh: Duration = DAY * 28, span();
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

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);

fn span() -> Parsed<Duration> {
    parsed(
        |text| text.and_then(span_of).ok_or_else(|| Refusal::new(SPAN)),
        |span| {
            let hours = span.as_secs() / HOUR.as_secs();
            let shown = match hours % 24 {
                0 => format!("{}d", hours / 24),
                _ => format!("{hours}h"),
            };
            Some(quoted(&shown))
        },
    )
}

fn span_of(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix('d') {
        Some(days) => (days, DAY),
        None => (text.strip_suffix('h')?, HOUR),
    };
    let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    let number: u32 = number.parse().ok().filter(|_| is_number)?;
    let span = unit.checked_mul(number)?;
    (HOUR..=DAY * 365).contains(&span).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_hours_or_days() {
        for (text, hours) in [
            ("1h", 1),
            ("25h", 25),
            ("1d", 24),
            ("365d", 8760),
            ("8760h", 8760),
        ] {
            assert_eq!(span_of(text), Some(HOUR * hours), "{text}");
        }
        for text in [
            "",
            "h",
            "d",
            "0h",
            "366d",
            "8761h",
            "1",
            "1 h",
            "+1d",
            "-1d",
            "1.5d",
            "1w",
            "99999999999d",
        ] {
            assert_eq!(span_of(text), None, "{text}");
        }
    }
}
