//! Pure. A symmetric key, and the MAC that it makes of a packet (RFC 5905 §7.3, RFC 8573).

use std::fmt;
use std::num::NonZeroU32;

use aes::{Aes128, Aes256};
use arrayvec::ArrayVec;
use cmac::{Cmac, KeyInit};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use strum::{IntoStaticStr, VariantArray};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::wire::extension::{LONGEST_MAC, Mac};

/// Length of the identifier in a MAC, in bytes.
const ID_LEN: usize = 4;
/// The most bytes of a digest in a packet of version 4: longer ones are cut to it, as chrony and ntpd do.
///
/// With more, the MAC could not be told from an extension field (RFC 7822 §7.5.1.3).
const LONGEST_CUT: usize = LONGEST_MAC - ID_LEN;
/// The most bytes of a whole digest, as chrony has it in version 3: there are no extension fields.
const LONGEST_DIGEST: usize = 64;

/// The identifier of a key, from 1 to 4294967295.
pub type KeyId = NonZeroU32;

/// A MAC as it is put behind a packet: identifier and digest, 20 or 24 bytes, or up to 68 in version 3.
pub type MacOctets = ArrayVec<u8, { ID_LEN + LONGEST_DIGEST }>;

/// The way in which a key makes a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "UPPERCASE")]
pub enum DigestType {
    /// MD5 of key and packet (RFC 5905 §7.3). It must no more be used (RFC 8573 §3).
    Md5,
    /// SHA-1 of key and packet.
    Sha1,
    /// SHA-256 of key and packet, cut to 20 bytes.
    Sha256,
    /// SHA-384 of key and packet, cut to 20 bytes.
    Sha384,
    /// SHA-512 of key and packet, cut to 20 bytes.
    Sha512,
    /// AES-CMAC of the packet with a key of 16 bytes (RFC 8573).
    Aes128,
    /// AES-CMAC of the packet with a key of 32 bytes.
    Aes256,
}

impl DigestType {
    /// The word for it in a key file and in messages.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Returns the type of a key file's word, as chrony, ntpd and NTPsec write it.
    ///
    /// Neither case nor hyphens matter.
    pub fn from_word(word: &str) -> Option<Self> {
        let plain: String = word.chars().filter(|letter| *letter != '-').collect();
        match plain.to_ascii_uppercase().as_str() {
            "MD5" | "M" => Some(Self::Md5),
            "SHA1" | "SHA" => Some(Self::Sha1),
            "SHA256" | "SHA2256" => Some(Self::Sha256),
            "SHA384" | "SHA2384" => Some(Self::Sha384),
            "SHA512" | "SHA2512" => Some(Self::Sha512),
            "AES" | "AES128" | "AESCMAC" | "AES128CMAC" => Some(Self::Aes128),
            "AES256" | "AES256CMAC" => Some(Self::Aes256),
            _ => None,
        }
    }

    /// The length that a key has to have, in bytes; `None` if any will do.
    pub const fn key_len(self) -> Option<usize> {
        match self {
            Self::Md5 | Self::Sha1 | Self::Sha256 | Self::Sha384 | Self::Sha512 => None,
            Self::Aes128 => Some(16),
            Self::Aes256 => Some(32),
        }
    }

    /// Length of a MAC in a packet of version 4, in bytes.
    pub const fn mac_len(self) -> usize {
        match self {
            Self::Md5 | Self::Aes128 | Self::Aes256 => ID_LEN + 16,
            Self::Sha1 | Self::Sha256 | Self::Sha384 | Self::Sha512 => ID_LEN + LONGEST_CUT,
        }
    }
}

/// A key that is shared with another host.
#[derive(Clone, PartialEq, Eq)]
pub struct SymmetricKey {
    id: KeyId,
    digest_type: DigestType,
    secret: Zeroizing<Vec<u8>>,
}

/// A key with a length that its type does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongKeyLength;

impl SymmetricKey {
    /// Makes a key of its parts.
    ///
    /// # Errors
    /// `secret` is empty, or not as long as [`DigestType::key_len`] says.
    pub fn new(id: KeyId, digest_type: DigestType, secret: Vec<u8>) -> Result<Self, WrongKeyLength> {
        let secret = Zeroizing::new(secret);
        let is_possible = digest_type
            .key_len()
            .map_or(!secret.is_empty(), |length| secret.len() == length);
        is_possible
            .then_some(Self {
                id,
                digest_type,
                secret,
            })
            .ok_or(WrongKeyLength)
    }

    /// Its identifier.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Its type.
    pub const fn digest_type(&self) -> DigestType {
        self.digest_type
    }

    /// Length of its secret, in bytes.
    pub fn secret_len(&self) -> usize {
        self.secret.len()
    }

    /// The MAC of `packet`, header and extension fields, as packets of version 4 have it.
    pub fn mac(&self, packet: &[u8]) -> MacOctets {
        self.mac_as_in(packet, LONGEST_CUT)
    }

    /// The MAC of `packet` with a digest of at most `longest` bytes.
    pub fn mac_as_in(&self, packet: &[u8], longest: usize) -> MacOctets {
        let mut mac = MacOctets::new();
        mac.extend(self.id.get().to_be_bytes());
        mac.extend(self.digest(packet).into_iter().take(longest));
        mac
    }

    /// Returns whether `mac` is of this key and of `packet`, in a time that does not depend on the digests.
    ///
    /// Its digest is whole, or cut as in version 4.
    pub fn is_genuine(&self, packet: &[u8], mac: &Mac<'_>) -> bool {
        let digest = self.digest(packet);
        let lengths = [digest.len(), self.digest_type.mac_len() - ID_LEN];
        let expected = digest.get(..mac.digest.len()).unwrap_or_default();
        lengths.contains(&mac.digest.len())
            && mac.key == self.id.get()
            && bool::from(expected.ct_eq(mac.digest))
    }

    fn digest(&self, packet: &[u8]) -> ArrayVec<u8, LONGEST_DIGEST> {
        match self.digest_type {
            DigestType::Md5 => self.hash::<Md5>(packet),
            DigestType::Sha1 => self.hash::<Sha1>(packet),
            DigestType::Sha256 => self.hash::<Sha256>(packet),
            DigestType::Sha384 => self.hash::<Sha384>(packet),
            DigestType::Sha512 => self.hash::<Sha512>(packet),
            DigestType::Aes128 => self.cmac::<Cmac<Aes128>>(packet),
            DigestType::Aes256 => self.cmac::<Cmac<Aes256>>(packet),
        }
    }

    fn hash<D: Digest>(&self, packet: &[u8]) -> ArrayVec<u8, LONGEST_DIGEST> {
        let digest = D::new().chain_update(&*self.secret).chain_update(packet);
        whole(&digest.finalize())
    }

    fn cmac<M: cmac::Mac + KeyInit>(&self, packet: &[u8]) -> ArrayVec<u8, LONGEST_DIGEST> {
        let keyed = <M as KeyInit>::new_from_slice(&self.secret);
        // The constructor saw to the length.
        keyed.map_or_else(
            |_| ArrayVec::new(),
            |keyed| whole(&keyed.chain_update(packet).finalize().into_bytes()),
        )
    }
}

fn whole(digest: &[u8]) -> ArrayVec<u8, LONGEST_DIGEST> {
    digest.iter().copied().take(LONGEST_DIGEST).collect()
}

/// Prints the type and never the secret.
impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SymmetricKey({}, {})", self.id, self.digest_type.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::extension::{PacketPart, PacketParts};
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    fn id(number: u32) -> KeyId {
        KeyId::new(number).unwrap()
    }

    /// The vectors of FIPS 180-4 and RFC 1321 for "abc", with "a" as the key and "bc" as the packet; and of CMAC.
    ///
    /// Those are of RFC 4493 (example 2) and of NIST's SP 800-38B (AES-256, example 2).
    #[test]
    fn digests_are_those_of_the_standards() {
        let block = hex("6bc1bee22e409f96e93d7e117393172a");
        let key_128 = hex("2b7e151628aed2a6abf7158809cf4f3c");
        let key_256 = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        for (digest_type, secret, packet, expected) in [
            (
                DigestType::Md5,
                &b"a"[..],
                &b"bc"[..],
                "900150983cd24fb0d6963f7d28e17f72",
            ),
            (
                DigestType::Sha1,
                b"a",
                b"bc",
                "a9993e364706816aba3e25717850c26c9cd0d89d",
            ),
            (
                DigestType::Sha256,
                b"a",
                b"bc",
                "ba7816bf8f01cfea414140de5dae2223b00361a3",
            ),
            (
                DigestType::Sha384,
                b"a",
                b"bc",
                "cb00753f45a35e8bb5a03d699ac65007272c32ab",
            ),
            (
                DigestType::Sha512,
                b"a",
                b"bc",
                "ddaf35a193617abacc417349ae20413112e6fa4e",
            ),
            (
                DigestType::Aes128,
                &key_128,
                &block,
                "070a16b46b4d4144f79bdd9dd04a287c",
            ),
            (
                DigestType::Aes256,
                &key_256,
                &block,
                "28a7023f452e8f82bd4bf28d8c37c35c",
            ),
        ] {
            let key = SymmetricKey::new(id(258), digest_type, secret.to_vec()).unwrap();
            let mac = key.mac(packet);
            assert_eq!(mac.len(), digest_type.mac_len(), "{digest_type:?}");
            assert_eq!(mac[..ID_LEN], [0, 0, 1, 2]);
            assert_eq!(mac[ID_LEN..], hex(expected), "{digest_type:?}");
        }
    }

    #[test]
    fn lengths_that_a_type_does_not_have_are_refused() {
        for digest_type in DigestType::VARIANTS {
            for length in 0..=64 {
                let is_possible = match digest_type {
                    DigestType::Aes128 => length == 16,
                    DigestType::Aes256 => length == 32,
                    DigestType::Md5
                    | DigestType::Sha1
                    | DigestType::Sha256
                    | DigestType::Sha384
                    | DigestType::Sha512 => length > 0,
                };
                let key = SymmetricKey::new(id(1), *digest_type, vec![7; length]);
                assert_eq!(key.is_ok(), is_possible, "{digest_type:?} {length}");
            }
        }
    }

    #[test]
    fn words_of_each_program_are_known() {
        for (word, expected) in [
            ("md5", Some(DigestType::Md5)),
            ("M", Some(DigestType::Md5)),
            ("SHA1", Some(DigestType::Sha1)),
            ("SHA-2-256", Some(DigestType::Sha256)),
            ("sha512", Some(DigestType::Sha512)),
            ("AES128CMAC", Some(DigestType::Aes128)),
            ("AES-128", Some(DigestType::Aes128)),
            ("AES256", Some(DigestType::Aes256)),
            ("SHA3-256", None),
            ("TIGER", None),
            ("", None),
        ] {
            assert_eq!(DigestType::from_word(word), expected, "{word}");
        }
        for digest_type in DigestType::VARIANTS {
            assert_eq!(DigestType::from_word(digest_type.name()), Some(*digest_type));
        }
    }

    #[test]
    fn a_printed_key_has_no_secret() {
        let key = SymmetricKey::new(id(9), DigestType::Sha1, b"hunter2".to_vec()).unwrap();
        assert_eq!(format!("{key:?}"), "SymmetricKey(9, SHA1)");
    }

    proptest! {
        /// A MAC is read as it was written, and is genuine there.
        ///
        /// With one bit changed anywhere in the packet it is not.
        #[test]
        fn one_bit_makes_a_mac_false(
            digest_type in proptest::sample::select(DigestType::VARIANTS),
            fill: u8,
            fields in 0_usize..3,
            bit: proptest::sample::Index,
        ) {
            let length = digest_type.key_len().unwrap_or(20);
            let key = SymmetricKey::new(id(77), digest_type, vec![fill; length]).unwrap();
            let mut packet = vec![0x23; crate::wire::HEADER_LEN];
            for _ in 0..fields {
                packet.extend([0x7F, 0xFF, 0, 28]);
                packet.extend([fill; 24]);
            }
            let before = packet.len();
            packet.extend(key.mac(&packet));
            let genuine = |packet: &[u8]| {
                let Some(Ok(PacketPart::Mac(mac))) = PacketParts::of_packet(packet).last() else {
                    return false;
                };
                key.is_genuine(&packet[..before], &mac)
            };
            prop_assert!(genuine(&packet));
            let bit = bit.index(8 * packet.len());
            packet[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!genuine(&packet));
        }
    }
}
