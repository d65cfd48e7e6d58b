//! Pure. The rows of `[nts]`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::spans::{DAY, span};
use super::texts::{is_absolute, path};
use crate::config::address::{self, Refusal};
use crate::config::effective::{either, quoted};
use crate::config::kind::{OneOrMore, Parsed, Texts, one_or_more, parsed, seconds, texts, whole};
use crate::config::row::table;
use crate::ke::admission::KeLimits;
use crate::nts::aead::Algorithm;
use crate::nts::ke::PORT;
use crate::nts::ke::server::KeOffer;
use crate::nts::key_schedule::PeriodRules;
use crate::upstream::Host;
use crate::wire::NTP_PORT;

table! {
    /// Network Time Security (RFC 8915).
    ///
    /// Clients get keys over TLS here (key establishment, TCP port 4460), and their requests are authenticated with
    /// them. It is on if a certificate is set. With a secret alone, requests are answered with NTS, and another host
    /// establishes the keys. The document nts.md has the steps.
    "[nts]": Reload, RawNts
    /// Network Time Security as a server.
    #[derive(Clone, Debug, PartialEq)]
    pub struct NtsKeys {
        /// Addresses and ports for key establishment.
        ///
        /// If a port is in use, the start fails. A reload can add addresses with a port of the start, or with 4460.
        listen: Vec<SocketAddr> = everywhere(), addresses();
        /// The file with the certificate chain (PEM): an absolute path, or a list of them for several names.
        ///
        /// The server's own certificate must be the first of its file. Clients get the certificate of the name that
        /// they ask for, or else the first one. The files are read at the start, on reload, and when they change, so a
        /// renewed certificate needs nothing else. process.user must be able to read them.
        certificate: Vec<PathBuf> = Vec::new(), paths(), for example "/etc/ntpfront/tls/fullchain.pem";
        /// The file with the private key of the certificate (PEM, without a password), or a list in the same order.
        ///
        /// Other users must not be able to read it.
        key: Vec<PathBuf> = Vec::new(), paths(), for example "/etc/ntpfront/tls/privkey.pem";
        /// The file with the secret of the cookies: a line of `ntpfront nts-secret`, and below it the one before.
        ///
        /// Servers with the same file accept each other's cookies, so all servers behind one name need it. Other users
        /// must not be able to read it. Not set: ntpfront makes a secret; it is kept over a restart of the service, not
        /// over a reboot.
        secret: Option<PathBuf> = None, path(), for example "/etc/ntpfront/nts-secret";
        /// The time after which the keys of the cookies change: hours ("12h") or days ("7d"), from 1h to 30d.
        ///
        /// It must be the same on servers with the same secret.
        rotate: Duration = DAY, span::<30>();
        /// The number of old keys that still open cookies: {range}.
        ///
        /// A client that was quiet for longer than rotate times keep has to establish keys again.
        keep: u32 = 7, whole(1..=64);
        /// The AEADs that clients may choose: "aes-siv-cmac-256" and "aes-128-gcm-siv".
        ///
        /// All clients have the first; the second makes shorter packets. The order of the client counts.
        algorithms: Vec<Algorithm> = Algorithm::ALL.to_vec(), algorithms();
        /// The NTP server that clients are sent to, a name or an address.
        ///
        /// Not set: the host where they established their keys.
        ntp_server: Option<String> = None, ntp_server(), for example "ntp.example";
        /// The port of that NTP server: {range}. 0: as the listeners have it.
        ntp_port: u16 = 0, whole(0..=65_535);
        /// Threads for key establishment: {range}.
        ///
        /// Each makes at most 2000 sessions per second, about 40 % of a core.
        threads: u16 = 1, whole(1..=64);
        /// The number of sessions that can run at once: {range}.
        ///
        /// If there are more, the longest one ends. Of connections whose client has not sent its first message, eight
        /// times as many are kept.
        sessions: u32 = 512, whole(16..=65_536);
        /// The number of sessions of one client that can run at once: {range}.
        ///
        /// A client is an IPv4 address or an IPv6 prefix of 64 bits.
        sessions_per_client: u32 = 8, whole(1..=4096);
        /// The number of sessions that one client can begin at once after a pause: {range}.
        ///
        /// Raise it if thousands of clients are behind one address.
        client_burst: u32 = 64, whole(1..=100_000);
        /// The seconds in which a client can then begin one more session: {range}.
        ///
        /// 0: no limit. A session over the limit waits, for one second.
        client_interval: f64 = 0.1, seconds(0.0..=3600.0);
        /// The seconds until a session must have its answer: {range}.
        ///
        /// Its first message must be there within one second.
        timeout: f64 = 3.0, seconds(0.5..=60.0);
    }
}

fn everywhere() -> Vec<SocketAddr> {
    let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    all.map(|ip| SocketAddr::from((ip, PORT))).to_vec()
}

fn addresses() -> Texts<SocketAddr> {
    texts(address::listener, |address| quoted(&address.to_string()))
}

fn paths() -> OneOrMore<PathBuf> {
    one_or_more(
        "an absolute path without control characters, or a list of them",
        |text| match is_absolute(text) {
            true => Ok(text.into()),
            false => Err(Refusal::new("an absolute path without control characters")),
        },
        |path| quoted(&path.to_string_lossy()),
    )
}

fn algorithms() -> Texts<Algorithm> {
    texts(
        |text| {
            let all = Algorithm::ALL.into_iter();
            let names: Vec<&str> = all.clone().map(Algorithm::name).collect();
            let mut found = all.filter(|algorithm| algorithm.name() == text);
            found.next().ok_or_else(|| Refusal::new(&either(&names)))
        },
        |algorithm| quoted(algorithm.name()),
    )
}

fn ntp_server() -> Parsed<Option<String>> {
    parsed(
        |text| match text.map(address::host_and_port) {
            Some(Ok((Host::Name(name), _))) if text == Some(&name) => Ok(Some(name)),
            Some(Ok((Host::Address(address), _))) if text == Some(&address.to_string()) => {
                Ok(Some(address.to_string()))
            }
            _ => Err(Refusal::new("a name or an address, without a port")),
        },
        |server| server.as_deref().map(quoted),
    )
}

impl NtsKeys {
    /// Whether keys are established here.
    pub fn establishes(&self) -> bool {
        !self.certificate.is_empty()
    }

    /// Whether requests with NTS are answered.
    pub fn is_on(&self) -> bool {
        self.establishes() || self.secret.is_some()
    }

    /// Returns the paths of all files.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.certificate.iter().chain(&self.key).chain(&self.secret)
    }

    /// Whether `address` is built in: that its family is missing is no failure then.
    pub fn is_default(&self, address: SocketAddr) -> bool {
        self.listen == everywhere() && self.listen.contains(&address)
    }

    /// Returns the rules of the cookies' keys.
    pub fn periods(&self) -> PeriodRules {
        PeriodRules {
            rotate: self.rotate,
            keep: self.keep,
        }
    }

    /// Returns the port of NTP that clients are told; `None` if it is the one that they assume.
    ///
    /// `listeners` are the ports of the listeners.
    pub fn told_port(&self, listeners: impl Iterator<Item = u16>) -> Option<u16> {
        if self.ntp_port > 0 {
            return Some(self.ntp_port).filter(|port| *port != NTP_PORT);
        }
        let ports: Vec<u16> = listeners.collect();
        let has_usual = ports.contains(&NTP_PORT);
        ports
            .first()
            .copied()
            .filter(|_| !has_usual && self.ntp_server.is_none())
    }

    /// Returns what is offered to clients, with the port that they are told.
    pub fn offer(&self, port: Option<u16>) -> KeOffer {
        KeOffer {
            algorithms: self.algorithms.clone(),
            server: self.ntp_server.clone(),
            port,
        }
    }

    /// Returns the limits of sessions.
    pub fn limits(&self) -> KeLimits {
        KeLimits {
            sessions: self.sessions,
            per_client: self.sessions_per_client,
            burst: self.client_burst,
            interval: Duration::try_from_secs_f64(self.client_interval).unwrap_or(Duration::ZERO),
            timeout: Duration::try_from_secs_f64(self.timeout).unwrap_or(Duration::MAX),
            threads: self.threads,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_a_port_that_they_would_not_assume() {
        for (key, server, listeners, told) in [
            (0, None, &[123, 123][..], None),
            (0, None, &[11_123, 123], None),
            (0, None, &[11_123], Some(11_123)),
            (0, Some("ntp.example"), &[11_123], None),
            (124, Some("ntp.example"), &[123], Some(124)),
            (123, None, &[11_123], None),
        ] {
            let keys = NtsKeys {
                ntp_port: key,
                ntp_server: server.map(str::to_owned),
                ..NtsKeys::default()
            };
            assert_eq!(
                keys.told_port(listeners.iter().copied()),
                told,
                "{key} {server:?} {listeners:?}"
            );
        }
    }
}
