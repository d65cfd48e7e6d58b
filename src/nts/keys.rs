//! Pure. The keys of an association (RFC 8915 §4.3).

use std::fmt;

use zeroize::Zeroize;

use super::aead::{Algorithm, Halves};

/// Both keys of an association: the client's to the server, then the server's to the client.
#[derive(Clone)]
pub enum AssociationKeys {
    /// Of AEAD 15.
    SivCmac256([Halves; 2]),
    /// Of AEAD 30.
    GcmSiv128([[u8; 16]; 2]),
}

impl AssociationKeys {
    /// Length of the longest keys, in bytes.
    pub const LONGEST: usize = 64;

    /// The keys in `bytes`: the length says of which AEAD they are, `None` if of none.
    pub const fn of(bytes: &[u8]) -> Option<Self> {
        match bytes.as_chunks() {
            ([a, b, c, d], []) => Some(Self::SivCmac256([[*a, *b], [*c, *d]])),
            ([c2s, s2c], []) => Some(Self::GcmSiv128([*c2s, *s2c])),
            _ => None,
        }
    }

    /// The AEAD that they are keys of.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::SivCmac256(_) => Algorithm::SivCmac256,
            Self::GcmSiv128(_) => Algorithm::GcmSiv128,
        }
    }

    /// The secrets themselves, one after the other.
    pub const fn bytes(&self) -> &[u8] {
        match self {
            Self::SivCmac256(keys) => keys.as_flattened().as_flattened(),
            Self::GcmSiv128(keys) => keys.as_flattened(),
        }
    }
}

/// As one slice: element by element it would take longer than a block of AES.
impl Drop for AssociationKeys {
    fn drop(&mut self) {
        match self {
            Self::SivCmac256(keys) => keys.as_flattened_mut().as_flattened_mut().zeroize(),
            Self::GcmSiv128(keys) => keys.as_flattened_mut().zeroize(),
        }
    }
}

/// Says what they are, and nothing of the secrets.
impl fmt::Debug for AssociationKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AssociationKeys({})", self.algorithm().name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_says_of_which_aead() {
        let bytes: Vec<u8> = (0..96).collect();
        for length in 0..=96 {
            let keys = AssociationKeys::of(&bytes[..length]);
            let expected = Algorithm::ALL
                .into_iter()
                .find(|algorithm| 2 * algorithm.key_len() == length);
            assert_eq!(keys.as_ref().map(AssociationKeys::algorithm), expected);
            if let Some(keys) = keys {
                assert_eq!(keys.bytes(), &bytes[..length]);
            }
        }
    }

    #[test]
    fn printed_they_say_nothing() {
        for (length, expected) in [
            (64, "AssociationKeys(aes-siv-cmac-256)"),
            (32, "AssociationKeys(aes-128-gcm-siv)"),
        ] {
            assert_eq!(
                format!("{:?}", AssociationKeys::of(&vec![0xAB; length]).unwrap()),
                expected
            );
        }
    }
}
