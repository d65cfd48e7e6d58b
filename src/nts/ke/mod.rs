//! Pure. Key establishment (RFC 8915 §4): what both sides say to each other inside TLS, as functions of bytes.
//!
//! TLS itself is elsewhere. It has to be version 1.3 with the protocol [`ALPN`], and the keys come from its exporter:
//! what is asked of it is in [`KeyExport`].

pub mod client;
pub mod record;
pub mod server;

use super::AssociationKeys;
use super::aead::Algorithm;

/// The application protocol of TLS (RFC 8915 §4).
//= RFC 8915 §4 alpn
pub const ALPN: &[u8] = b"ntske/1";

/// The TCP port of key establishment (RFC 8915 §4).
//= RFC 8915 §4 alpn
pub const PORT: u16 = 4460;

/// NTPv4 as a next protocol (RFC 8915 §7.7).
const NTPV4: u16 = 0;

/// The way in which the keys of an association come out of TLS (RFC 8915 §4.3, RFC 5705).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyExport {
    /// Of which AEAD the keys are: it says how long they are.
    pub algorithm: Algorithm,
    /// Which AEAD is named in the contexts.
    named: Algorithm,
}

impl KeyExport {
    /// The exporter's label.
    //= RFC 8915 §4.3 exporter
    pub const LABEL: &[u8] = b"EXPORTER-network-time-security";

    /// The export for `algorithm`, as the RFC has it if `is_compliant`.
    ///
    /// chrony up to 4.6 exports the keys of AEAD 30 under the number 15. A program that does it right says so with a
    /// record 1024: `is_compliant`, if both sides did.
    pub const fn new(algorithm: Algorithm, is_compliant: bool) -> Self {
        let named = match algorithm {
            Algorithm::GcmSiv128 if is_compliant => Algorithm::GcmSiv128,
            Algorithm::GcmSiv128 | Algorithm::SivCmac256 => Algorithm::SivCmac256,
        };
        Self { algorithm, named }
    }

    /// The other way, if there are two: for a client whose first request got a NAK.
    pub fn other(self) -> Option<Self> {
        let other = Self::new(self.algorithm, self.named == Algorithm::SivCmac256);
        (other != self).then_some(other)
    }

    /// The exporter's contexts: for the client's key to the server, and the server's to the client.
    ///
    /// Each key is [`Algorithm::key_len`] bytes.
    //= RFC 8915 §4.3 exporter
    pub const fn contexts(self) -> [[u8; 5]; 2] {
        let [[a, b], [c, d]] = [NTPV4.to_be_bytes(), self.named.id().to_be_bytes()];
        [[a, b, c, d, 0], [a, b, c, d, 1]]
    }

    /// The keys, from what `export` fills for a context; `None` if it fails.
    pub fn keys(self, mut export: impl FnMut(&[u8; 5], &mut [u8]) -> bool) -> Option<AssociationKeys> {
        let mut bytes = zeroize::Zeroizing::new([0; AssociationKeys::LONGEST]);
        let all = bytes.get_mut(..2 * self.algorithm.key_len())?;
        let [c2s, s2c] = self.contexts();
        let (client, server) = all.split_at_mut_checked(self.algorithm.key_len())?;
        (export(&c2s, client) && export(&s2c, server))
            .then(|| AssociationKeys::of(all))
            .flatten()
    }
}

#[cfg(test)]
mod tests;
