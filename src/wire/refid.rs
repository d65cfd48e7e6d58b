//! Pure. The reference ID, and the kiss codes that replace it at stratum 0 (RFC 5905 §7.3, §7.4).

use std::fmt;
use std::net::IpAddr;

use md5::{Digest, Md5};

/// Four bytes that name the source of the time: ASCII at stratum 0 and 1, an address from stratum 2 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReferenceId([u8; 4]);

impl ReferenceId {
    /// The kiss code of a server that was never synchronized so far (RFC 5905 §7.4).
    pub const INIT: Self = Self(*b"INIT");
    /// A code of ntpfront's own, as the RFC has none: the server was synchronized, and is not any more.
    //= RFC 5905 §7.4 unregistered
    pub const LOST: Self = Self(*b"LOST");
    /// The time is made up: `ntpfront rehearse` serves it.
    pub const TEST: Self = Self(*b"TEST");
    /// A code of ntpfront's own: upstreams answer, and no majority of them agrees.
    pub const DISPUTED: Self = Self(*b"DISP");
    /// The kiss code after a step: the host's clock was stepped and is not checked yet (RFC 5905 §7.4).
    pub const STEP: Self = Self(*b"STEP");
    /// The kiss code for a client that exceeds the rate limit, and must reduce its rate (RFC 5905 §7.4).
    pub const RATE: Self = Self(*b"RATE");
    /// The kiss code for a client that is denied, and must stop sending (RFC 5905 §7.4).
    pub const DENY: Self = Self(*b"DENY");
    /// The kiss code for a request whose cookie or authenticator is not genuine, the NTS NAK (RFC 8915 §5.7).
    pub const NTSN: Self = Self(*b"NTSN");
    /// A code of ntpfront's own: the operator sends clients to other servers.
    pub const AWAY: Self = Self(*b"AWAY");
    /// A code of ntpfront's own: the server's stratum is higher than the listener may announce.
    pub const HIGH: Self = Self(*b"HIGH");
    /// The host's own clock as a local reference: 127.127.1.1, as chrony announces its `local` mode.
    pub const LOCAL: Self = Self([127, 127, 1, 1]);

    /// Reads the four bytes of the wire format.
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// Returns the four bytes of the wire format.
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0
    }

    /// Returns the reference ID of a server that is synchronized to `address` (RFC 5905 §7.3).
    ///
    /// It is the IPv4 address itself, or the first four bytes of the MD5 of the IPv6 address.
    //= RFC 5905 §7.3 reference-id
    pub fn from_address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(v4.octets()),
            IpAddr::V6(v6) => {
                let digest: [u8; 16] = Md5::digest(v6.octets()).into();
                let [a, b, c, d, ..] = digest;
                Self([a, b, c, d])
            }
        }
    }

    /// Reads the four bytes as the kiss code of a stratum 0 answer (RFC 5905 §7.4).
    //= RFC 5905 §7.4 codes
    pub const fn to_kiss_code(self) -> KissCode {
        match &self.0 {
            b"DENY" => KissCode::Deny,
            b"RSTR" => KissCode::Restrict,
            b"RATE" => KissCode::Rate,
            _ => KissCode::Other(self.0),
        }
    }
}

/// Prints letters as letters (stratum 0 and 1), anything else as eight hexadecimal digits, as chrony does.
impl fmt::Display for ReferenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = self
            .0
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        let (text, padding) = self.0.split_at(letters);
        if !text.is_empty()
            && text.iter().all(|byte| byte.is_ascii_graphic())
            && padding.iter().all(|&byte| byte == 0)
        {
            return text
                .iter()
                .try_for_each(|&byte| write!(f, "{}", char::from(byte)));
        }
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

/// The kiss code of a stratum 0 answer (RFC 5905 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KissCode {
    /// DENY, access denied by the server: polling must stop.
    Deny,
    /// RSTR, access denied by the server's local policy: polling must stop.
    Restrict,
    /// RATE, the rate limit is exceeded: the poll interval must grow.
    Rate,
    /// Any other code (INIT, STEP, …): the server is not usable now; nothing is asked of the client.
    Other([u8; 4]),
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 5905 §7.3 reference-id
    #[test]
    fn address_of_both_families() {
        let id = |text: &str| ReferenceId::from_address(text.parse().unwrap()).to_bytes();
        assert_eq!(id("192.0.2.7"), [192, 0, 2, 7]);
        assert_eq!(id("::ffff:192.0.2.7"), [192, 0, 2, 7]);
        // printf '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1' | md5sum
        assert_eq!(id("::1"), [0xcf, 0x40, 0x4d, 0xc8]);
    }

    #[test]
    fn shown_as_people_know_it() {
        for (bytes, text) in [
            (*b"GPS\0", "GPS"),
            (*b"INIT", "INIT"),
            ([127, 127, 1, 1], "7F7F0101"),
            ([0, 0, 0, 0], "00000000"),
            (*b"G\0S\0", "47005300"),
        ] {
            assert_eq!(ReferenceId::from_bytes(bytes).to_string(), text);
        }
    }

    //= RFC 5905 §7.4 codes
    #[test]
    fn kiss_codes() {
        for (text, code) in [
            (b"DENY", KissCode::Deny),
            (b"RSTR", KissCode::Restrict),
            (b"RATE", KissCode::Rate),
            (b"STEP", KissCode::Other(*b"STEP")),
        ] {
            assert_eq!(ReferenceId::from_bytes(*text).to_kiss_code(), code);
        }
    }
}
