//! Pure. A draft of `[nts]`, and the parts that the lines of all three daemons about it share.

pub(super) mod chrony;
pub(super) mod ntp;
pub(super) mod ntpd_rs;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::toml_line::{hours, line};
use crate::config::address::host_and_port;
use crate::config::effective::quoted;
use crate::config::fault::excerpt;
use crate::nts::aead::Algorithm;
use crate::nts::ke::PORT;
use crate::upstream::Host;

/// The reason for a line about keys of cookies that are written to a file or a directory.
const NOT_WRITTEN: &str = "ntpfront writes no keys to a file: it keeps them over a restart of the service, and over a reboot with nts.secret \
     (a line of `ntpfront nts-secret`)";
const SECONDS_PER_HOUR: u64 = 3600;
/// The longest time between two keys here, in hours.
const LONGEST_ROTATION: u64 = 30 * 24;
/// The numbers of sessions that are possible here.
const SESSIONS: std::ops::RangeInclusive<u64> = 16..=65_536;

/// The keys of `[nts]` that are carried over.
#[derive(Debug, Default)]
pub(super) struct DraftNtsServer {
    /// The files of the certificates, and in the same order those of their keys.
    certificates: Vec<String>,
    keys: Vec<String>,
    /// The addresses where keys are established; an empty list stands for our default ones.
    listen: Vec<SocketAddr>,
    /// The port of chronyd's key establishment.
    port: Option<u16>,
    /// The hours after which the keys of the cookies change, and how many old ones are kept.
    rotate: Option<u32>,
    keep: Option<u32>,
    algorithms: Vec<Algorithm>,
    ntp_server: Option<String>,
    ntp_port: Option<u16>,
    threads: Option<u16>,
    sessions: Option<u32>,
    /// The seconds until a session must have its answer.
    timeout: Option<f64>,
    /// The lines that have a meaning only where keys are established, as they are shown.
    lines: Vec<String>,
    /// The reason why no keys can be established here.
    refusal: Option<&'static str>,
    /// Whether ntpd says that it establishes keys.
    is_enabled: bool,
    /// Whether chronyd gets the keys of its cookies from another server.
    is_external: bool,
    /// chronyd's number of connections of one process, with its line.
    connections: Option<(u64, String)>,
    /// Its line about AEADs, which is about servers that are asked, too.
    aeads: Option<String>,
    /// The comment above the keys.
    comment: &'static str,
}

impl DraftNtsServer {
    /// Whether keys are established, once the draft is complete.
    pub(super) fn establishes(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// Refuses to establish keys, for this reason: the first one counts.
    fn refuse(&mut self, why: &'static str) {
        self.refusal.get_or_insert(why);
    }

    /// Completes the draft: keys are established with whole pairs of files, or not at all, which the remarks say.
    fn complete(&mut self, absent: &'static str) -> Vec<String> {
        let why = match (self.refusal, self.certificates.len(), self.keys.len()) {
            (Some(why), ..) => why,
            (None, 0, 0) => absent,
            (None, certificates, keys) if certificates == keys => return Vec::new(),
            (None, ..) => {
                "a certificate lacks its key, or a key its certificate: no keys are established here"
            }
        };
        let lines = std::mem::take(self).lines;
        lines.into_iter().map(|line| format!("{line}: {why}")).collect()
    }

    /// Returns the keys of `[nts]`, as TOML; an empty text if no keys are established.
    pub(super) fn to_toml(&self) -> String {
        if !self.establishes() {
            return String::new();
        }
        let everywhere: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let everywhere = everywhere.map(|ip| SocketAddr::from((ip, PORT)));
        let is_default = self.listen.is_empty() || self.listen == everywhere;
        let listen: Vec<String> = self.listen.iter().map(|at| quoted(&at.to_string())).collect();
        let algorithms: Vec<String> = self.algorithms.iter().map(|one| quoted(one.name())).collect();
        let has_all = algorithms.is_empty() || self.algorithms == Algorithm::ALL;
        let list = |items: &[String]| format!("[{}]", items.join(", "));
        self.comment.to_owned()
            + &line("listen", (!is_default).then(|| list(&listen)))
            + &line("certificate", Some(one_or_more(&self.certificates)))
            + &line("key", Some(one_or_more(&self.keys)))
            + &line("rotate", self.rotate.map(|rotate| quoted(&hours(rotate))))
            + &line("keep", self.keep)
            + &line("algorithms", (!has_all).then(|| list(&algorithms)))
            + &line("ntp-server", self.ntp_server.as_deref().map(quoted))
            + &line("ntp-port", self.ntp_port)
            + &line("threads", self.threads)
            + &line("sessions", self.sessions)
            + &line("timeout", self.timeout.map(|seconds| format!("{seconds:?}")))
    }
}

fn one_or_more(paths: &[String]) -> String {
    match paths {
        [path] => quoted(path),
        paths => {
            let paths: Vec<String> = paths.iter().map(|path| quoted(path)).collect();
            format!("[{}]", paths.join(", "))
        }
    }
}

/// Returns the hours of a rotation after `seconds`, with a remark if that is no number of hours that is possible here.
fn rotation(seconds: u64) -> (u32, Option<String>) {
    let hours = (seconds / SECONDS_PER_HOUR).clamp(1, LONGEST_ROTATION);
    let differs = hours * SECONDS_PER_HOUR != seconds;
    let remark =
        || format!("the keys of cookies change after whole hours here, 1 h to 30 d: after {hours} h");
    (u32::try_from(hours).unwrap_or(u32::MAX), differs.then(remark))
}

/// Returns the nearest possible number of sessions, with a remark if it is another one.
fn sessions(wanted: u64) -> (u32, Option<String>) {
    let nearest = wanted.clamp(*SESSIONS.start(), *SESSIONS.end());
    let remark = || {
        format!(
            "{} to {} are possible here: {nearest}",
            SESSIONS.start(),
            SESSIONS.end()
        )
    };
    (
        u32::try_from(nearest).unwrap_or(u32::MAX),
        (nearest != wanted).then(remark),
    )
}

/// Reads the NTP server that clients are sent to: a name or an address, without a port.
fn ntp_server(text: &str) -> Result<String, String> {
    let refused = || format!("\"{}\" is no name or address", excerpt(text));
    let bare = text.trim_matches('"');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    match host_and_port(bare) {
        Ok((Host::Name(name), _)) if name == bare => Ok(name),
        Ok(_) | Err(_) => Err(refused()),
    }
}
