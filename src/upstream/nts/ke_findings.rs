//! Pure. The result of one key establishment and one question with NTS, as text and as JSON.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use super::certificate::{CertificateValidity, day};
use crate::upstream::findings::Findings;

const DAY: i64 = 86_400;

/// The result of `ntpfront query --nts`.
///
/// As JSON its names and units are stable: times in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KeFindings {
    /// The server of key establishment as the command line names it.
    pub server: String,
    /// The address where keys were established; none if there was no connection.
    pub address: Option<SocketAddr>,
    /// Whether a client could take its time from it.
    pub usable: bool,
    /// The reason if it is not usable.
    pub reason: Option<String>,
    /// The key establishment; none if it failed.
    pub keys: Option<KeAnswer>,
    /// The answer to a question with these keys; none if there are none.
    pub answer: Option<Findings>,
}

/// A key establishment that succeeded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KeAnswer {
    /// Names and addresses in the certificate.
    pub names: Vec<String>,
    /// First second of the certificate, since 1970.
    pub not_before: i64,
    /// Last second of the certificate, since 1970.
    pub not_after: i64,
    /// Whole days from now, by this host's clock, until the certificate ends; negative after it.
    pub days_left: i64,
    /// Whether the certificate is valid now, by this host's clock.
    pub valid_now: bool,
    /// Name of the AEAD.
    pub aead: &'static str,
    /// Number of cookies.
    pub cookies: usize,
    /// Length of a cookie in bytes.
    pub cookie_length: usize,
    /// The NTP server that was named, if one was.
    pub ntp_server: Option<String>,
    /// UDP port of the NTP server.
    pub ntp_port: u16,
    /// Seconds until the connection was there.
    pub connected_after: f64,
    /// Seconds from there until TLS was agreed upon.
    pub secured_after: f64,
    /// Seconds from there until the answer was whole.
    pub answered_after: f64,
    /// Number of cookies in the reply to the question with NTS; none without a genuine reply.
    pub cookies_in_reply: Option<usize>,
}

impl KeFindings {
    /// Returns the result of a failed key establishment.
    pub fn of_failure(server: &str, reason: String) -> Self {
        Self {
            server: server.to_owned(),
            address: None,
            usable: false,
            reason: Some(reason),
            keys: None,
            answer: None,
        }
    }

    /// Returns the result of a key establishment, and of a question with its keys.
    pub fn of_answer(server: &str, address: SocketAddr, keys: KeAnswer, answer: Findings) -> Self {
        let expired = (!keys.valid_now)
            .then(|| "its certificate is not valid now, by the clock of this host".to_owned());
        let reason = expired.or_else(|| answer.reason.clone());
        Self {
            server: server.to_owned(),
            address: Some(address),
            usable: answer.usable && keys.valid_now,
            reason,
            keys: Some(keys),
            answer: Some(answer),
        }
    }
}

/// Returns whole days until a certificate ends, and whether it is valid, at a time since 1970.
pub const fn days_left(validity: CertificateValidity, now: i64) -> (i64, bool) {
    let is_valid = validity.not_before <= now && now <= validity.not_after;
    ((validity.not_after - now).div_euclid(DAY), is_valid)
}

impl fmt::Display for KeFindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key establishment {}", self.server)?;
        match self.address {
            Some(address) => writeln!(f, " ({address})")?,
            None => writeln!(f)?,
        }
        match &self.reason {
            None => writeln!(f, "usable           yes")?,
            Some(reason) => writeln!(f, "usable           no: {reason}")?,
        }
        if let Some(keys) = &self.keys {
            keys.fmt(f)?;
        }
        match &self.answer {
            Some(answer) => write!(f, "\n{answer}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for KeAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "certificate      {}", self.names.join(", "))?;
        let (from, to) = (day(self.not_before), day(self.not_after));
        writeln!(
            f,
            "valid            {from} to {to} ({} days left)",
            self.days_left
        )?;
        writeln!(f, "AEAD             {}", self.aead)?;
        writeln!(
            f,
            "cookies          {} of {} bytes",
            self.cookies, self.cookie_length
        )?;
        let server = self.ntp_server.as_deref().unwrap_or("the same host");
        writeln!(f, "NTP server       {server}, port {}", self.ntp_port)?;
        let [tcp, tls, answer] = [self.connected_after, self.secured_after, self.answered_after]
            .map(|step| format!("{:.1} ms", step * 1e3));
        writeln!(f, "time             connection {tcp}, TLS {tls}, answer {answer}")?;
        match self.cookies_in_reply {
            Some(cookies) => writeln!(f, "reply            genuine, {cookies} cookies"),
            None => writeln!(f, "reply            none that is genuine"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(valid_now: bool) -> KeAnswer {
        KeAnswer {
            names: vec!["time.example".to_owned(), "192.0.2.1".to_owned()],
            not_before: 1_795_000_000,
            not_after: 1_800_000_000,
            days_left: 57,
            valid_now,
            aead: "aes-128-gcm-siv",
            cookies: 8,
            cookie_length: 64,
            ntp_server: None,
            ntp_port: 123,
            connected_after: 0.012,
            secured_after: 0.030,
            answered_after: 0.011,
            cookies_in_reply: Some(1),
        }
    }

    #[test]
    fn for_people_and_for_programs() {
        let address = ([192, 0, 2, 1], 4460).into();
        let answer = Findings {
            usable: true,
            ..Findings::of_silence("time.example:123", None, String::new())
        };
        let answer = Findings {
            reason: None,
            ..answer
        };
        let found = KeFindings::of_answer("time.example:4460", address, keys(true), answer.clone());
        let expected = "\
key establishment time.example:4460 (192.0.2.1:4460)
usable           yes
certificate      time.example, 192.0.2.1
valid            2026-11-18 to 2027-01-15 (57 days left)
AEAD             aes-128-gcm-siv
cookies          8 of 64 bytes
NTP server       the same host, port 123
time             connection 12.0 ms, TLS 30.0 ms, answer 11.0 ms
reply            genuine, 1 cookies

server           time.example:123
";
        assert!(found.to_string().starts_with(expected), "{found}");
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(
            (json["usable"].as_bool(), json["keys"]["cookies"].as_u64()),
            (Some(true), Some(8))
        );
        // Whatever the reply says.
        let expired = KeFindings::of_answer("time.example:4460", address, keys(false), answer);
        assert!(
            !expired.usable
                && expired
                    .to_string()
                    .contains("usable           no: its certificate")
        );
        let failed = KeFindings::of_failure("a.example:4460", "no keys".to_owned());
        assert_eq!(
            failed.to_string(),
            "key establishment a.example:4460\nusable           no: no keys\n"
        );
    }

    #[test]
    fn days_are_counted_down() {
        let validity = CertificateValidity {
            not_before: 0,
            not_after: 10 * DAY,
        };
        for (now, expected) in [
            (-1, (10, false)),
            (0, (10, true)),
            (9 * DAY + 1, (0, true)),
            (10 * DAY, (0, true)),
            (10 * DAY + 1, (-1, false)),
        ] {
            assert_eq!(days_left(validity, now), expected, "{now}");
        }
    }
}
