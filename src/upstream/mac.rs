//! Pure. Questions with a MAC of a symmetric key, and the check of their replies (RFC 5905 §7.3).

use arrayvec::ArrayVec;

use super::packet::{self, QuestionNonces, Reject};
use crate::symmetric::SymmetricKey;
use crate::wire::extension::LONGEST_MAC;
use crate::wire::trailer::Trailer;
use crate::wire::{HEADER_LEN, Header};

/// Length of the longest question with a MAC, in bytes.
pub const LONGEST_QUESTION: usize = HEADER_LEN + LONGEST_MAC;

/// Returns the question with this `header`, with a MAC of `key`.
//= RFC 5905 §7.3 mac
pub fn question(header: &Header, key: &SymmetricKey) -> ArrayVec<u8, LONGEST_QUESTION> {
    let header = header.to_bytes();
    header.into_iter().chain(key.mac(&header)).collect()
}

/// Checks that a packet is the reply to the question with these `nonces`, with a MAC of `key`, and returns its header.
///
/// # Errors
/// As [`packet::authentic`]; of a packet that would be the reply without a key: [`Reject::NoMac`], [`Reject::WrongMac`] or
/// [`Reject::CryptoNak`]. None of them is more than a remark: any host on the path can cause it.
//= RFC 5905 §9.2 authentication
pub fn authentic(
    packet: &[u8],
    nonces: impl Into<QuestionNonces>,
    key: &SymmetricKey,
) -> Result<Header, Reject> {
    let header = packet::authentic(packet, nonces)?;
    let Trailer::Mac(signed, mac) = Trailer::of(packet) else {
        return Err(Reject::NoMac);
    };
    if mac.key == 0 && mac.digest.is_empty() {
        //= RFC 5905 §9.2 crypto-nak
        return Err(Reject::CryptoNak);
    }
    if key.is_genuine(signed, &mac) {
        Ok(header)
    } else {
        Err(Reject::WrongMac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symmetric::KeyId;
    use crate::symmetric::test_keys::keys;
    use crate::time::NtpTimestamp;
    use crate::wire::Mode;
    use proptest::prelude::*;

    const NONCE: NtpTimestamp = NtpTimestamp::from_bits(0x1234_5678_9ABC_DEF0);
    fn key(id: u32) -> SymmetricKey {
        keys().get(KeyId::new(id).unwrap()).unwrap().clone()
    }

    fn reply() -> Vec<u8> {
        let header = Header {
            mode: Mode::Server,
            stratum: 2,
            origin_timestamp: NONCE,
            ..Header::request(NONCE)
        };
        header.to_bytes().to_vec()
    }

    fn signed(packet: &[u8], id: u32) -> Vec<u8> {
        [packet, &key(id).mac(packet)].concat()
    }

    fn field() -> Vec<u8> {
        let mut field = vec![0x7F, 0xFE, 0, 28];
        field.resize(28, 9);
        field
    }

    //= RFC 5905 §7.3 mac
    #[test]
    fn a_question_has_a_header_and_a_mac() {
        for id in 1..=7 {
            let question = question(&Header::request(NONCE), &key(id));
            let Trailer::Mac(signed, mac) = Trailer::of(&question) else {
                panic!("no MAC of {id}")
            };
            assert_eq!(signed, Header::request(NONCE).to_bytes());
            assert!(key(id).is_genuine(signed, &mac));
        }
    }

    //= RFC 5905 §9.2 authentication
    #[test]
    fn only_a_reply_with_the_right_mac_counts() {
        for id in 1..=7 {
            let whole = signed(&reply(), id);
            let key = key(id);
            let check = |packet: &[u8]| authentic(packet, NONCE, &key).map(|header| header.stratum);
            assert_eq!(check(&whole), Ok(2), "{id}");
            let with_field = [reply(), field()].concat();
            assert_eq!(check(&signed(&with_field, id)), Ok(2), "{id}");
            for (packet, expected) in [
                (reply(), Reject::NoMac),
                (with_field, Reject::NoMac),
                ([reply(), vec![0; 12]].concat(), Reject::NoMac),
                ([reply(), vec![0; 4]].concat(), Reject::CryptoNak),
                ([reply(), vec![0, 0, 0, 1]].concat(), Reject::WrongMac),
                (signed(&reply(), 20), Reject::WrongMac),
                (signed(&reply(), 1 + id % 7), Reject::WrongMac),
                ([reply(), vec![0; 20]].concat(), Reject::WrongMac),
                ([reply(), vec![0; 24]].concat(), Reject::WrongMac),
                (vec![0; 10], Reject::TooShort),
                (signed(&Header::request(NONCE).to_bytes(), id), Reject::WrongMode),
            ] {
                assert_eq!(check(&packet), Err(expected), "{id} {}", packet.len());
            }
            // The MAC of another key of the same secret and type is none of this one.
            let mut renamed = whole.clone();
            renamed[HEADER_LEN + 3] ^= 0x40;
            assert_eq!(check(&renamed), Err(Reject::WrongMac));
            let mut late = reply();
            late[24] ^= 1;
            assert_eq!(check(&signed(&late, id)), Err(Reject::WrongOrigin));
        }
    }

    proptest! {
        #[test]
        fn one_changed_bit_is_never_believed(id in 1..=7_u32, with_field: bool, at: prop::sample::Index) {
            let behind = if with_field { field() } else { Vec::new() };
            let mut packet = signed(&[reply(), behind].concat(), id);
            let bit = at.index(8 * packet.len());
            packet[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(authentic(&packet, NONCE, &key(id)).is_err());
        }

        #[test]
        fn whatever_comes_is_read(packet in prop::collection::vec(any::<u8>(), 0..=1024), id in 1..=7_u32) {
            prop_assert!(authentic(&packet, NONCE, &key(id)).is_err());
        }
    }
}
