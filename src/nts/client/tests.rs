//! Pure. Tests of the client's side: with the server's side, and with replies made by hand.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::nts::aead::Algorithm;
use crate::nts::keyring::{Keyring, Period, Secret, Time};
use crate::nts::server::{self, NtsReply, NtsRequest};
use crate::nts::{Nonces, cookie, test_client};

const HEADER: [u8; HEADER_LEN] = [0x23; HEADER_LEN];
const REPLY_HEADER: [u8; HEADER_LEN] = [0x24; HEADER_LEN];
const IDENTIFIER: [u8; IDENTIFIER_LEN] = [7; IDENTIFIER_LEN];
const NONCE: [u8; 16] = [9; 16];

fn keyring() -> Keyring {
    let period = Period::at(Duration::from_secs(1_795_000_000), Duration::from_secs(86_400));
    Keyring::new(&[Secret::new([1; 32])], period, 7, Time::Vouched).unwrap()
}

fn keys(algorithm: Algorithm) -> AssociationKeys {
    let length = algorithm.key_len();
    AssociationKeys::of(&[vec![0xC5; length], vec![0x5C; length]].concat()).unwrap()
}

fn question(keys: &AssociationKeys, cookie: &[u8], cookies: usize) -> Vec<u8> {
    let question = NtsQuestion {
        header: HEADER,
        keys,
        cookie,
        cookies,
        identifier: &IDENTIFIER,
        nonce: &NONCE,
    };
    let mut buffer = [0xA5; LONGEST_QUESTION];
    let length = question.seal(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

/// The reply of a server to `question`, and the number of cookies that it saw wanted.
fn answered(keyring: &Keyring, question: &[u8]) -> (usize, Vec<u8>) {
    let request = NtsRequest::parse(question).unwrap().unwrap();
    let opened = server::open(keyring, &[request]).pop().unwrap().unwrap();
    let mut buffer = vec![0; question.len()];
    let mut replies = [NtsReply {
        request: &request,
        opened: &opened,
        header: REPLY_HEADER,
        buffer: &mut buffer,
    }];
    let length = server::seal(keyring, &mut Nonces::new([4; 16]), &mut replies);
    buffer.truncate(length[0].unwrap());
    (opened.cookies(), buffer)
}

/// Parts of a reply made by hand: fields before the authenticator, the plaintext, fields behind it.
fn reply(keys: &AssociationKeys, before: &[(u16, &[u8])], plaintext: &[(u16, &[u8])]) -> Vec<u8> {
    let mut packet = REPLY_HEADER.to_vec();
    before
        .iter()
        .for_each(|(kind, value)| packet.extend(field(*kind, value)));
    let text: Vec<u8> = plaintext
        .iter()
        .flat_map(|(kind, value)| field(*kind, value))
        .collect();
    let nonce = &NONCE[..keys.algorithm().nonce_len()];
    let (_, key) = keys.bytes().split_at(keys.algorithm().key_len());
    let sealed = test_client::sealed(key, nonce, &packet, &text);
    let lengths = [nonce.len(), sealed.len()].map(|length| u16::try_from(length).unwrap().to_be_bytes());
    packet.extend(field(
        field_type::AUTHENTICATOR,
        &[&lengths.concat()[..], nonce, &sealed].concat(),
    ));
    packet
}

fn field(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap();
    [&kind.to_be_bytes()[..], &length.to_be_bytes(), value].concat()
}

fn nak(identifier: &[u8]) -> Vec<u8> {
    let mut packet = REPLY_HEADER.to_vec();
    packet[1] = 0;
    packet[12..16].copy_from_slice(b"NTSN");
    packet.extend(field(field_type::UNIQUE_IDENTIFIER, identifier));
    packet
}

//= RFC 8915 §5.3 match
//= RFC 8915 §5.7 question
#[test]
fn a_server_opens_the_question_and_its_cookies_come_back() {
    let keyring = keyring();
    for algorithm in Algorithm::ALL {
        let keys = keys(algorithm);
        let cookie = cookie::several(&keyring, &keys, &mut Nonces::new([3; 16])).remove(0);
        for (wanted, expected) in [(0, 1), (1, 1), (2, 2), (7, 7), (8, 8), (9, 8), (usize::MAX, 8)] {
            let question = question(&keys, &cookie, wanted);
            assert_eq!(question[..HEADER_LEN], HEADER);
            let (seen, reply) = answered(&keyring, &question);
            assert_eq!(seen, expected);
            assert!(reply.len() <= question.len() && question.len() <= LONGEST_QUESTION);
            let cookies = open_reply(&reply, &keys, &IDENTIFIER).unwrap();
            assert_eq!(cookies.len(), expected);
            for cookie in cookies {
                answered(&keyring, &self::question(&keys, &cookie, 1));
            }
        }
    }
}

//= RFC 8915 §5.7 question
#[test]
fn a_question_is_never_longer_than_1024_bytes() {
    for algorithm in Algorithm::ALL {
        let keys = keys(algorithm);
        let fixed = HEADER_LEN + 36 + 4 + 4 + algorithm.nonce_len() + 16;
        for length in (12..=LONGEST_COOKIE).step_by(4) {
            let cookies = 8.min((LONGEST_QUESTION - fixed) / (4 + length));
            let question = question(&keys, &vec![1; length], 8);
            assert_eq!(question.len(), fixed + cookies * (4 + length), "{length}");
        }
        let too_long = NtsQuestion {
            header: HEADER,
            keys: &keys,
            cookie: &[1; 1000],
            cookies: 1,
            identifier: &IDENTIFIER,
            nonce: &NONCE,
        };
        assert_eq!(too_long.seal(&mut [0; LONGEST_QUESTION]), None);
    }
}

//= RFC 8915 §5.3 match
//= RFC 8915 §5.7 genuine
//= RFC 8915 §5.7 nak
//= RFC 8915 §5.7 new-cookies
#[test]
fn each_packet_that_is_no_genuine_reply_is_known() {
    use field_type::{COOKIE, UNIQUE_IDENTIFIER as IDENTIFIER_FIELD};
    for algorithm in Algorithm::ALL {
        let keys = keys(algorithm);
        let ours = (IDENTIFIER_FIELD, &IDENTIFIER[..]);
        let cookie = (COOKIE, &[1; 100][..]);
        let of = |packet: &[u8]| open_reply(packet, &keys, &IDENTIFIER).map(|cookies| cookies.len());
        let good = reply(&keys, &[ours], &[cookie]);
        assert_eq!(of(&good), Ok(1));
        for (packet, expected) in [
            (reply(&keys, &[ours], &[]), Ok(0)),
            (
                reply(&keys, &[(0x9999, &[1; 12]), ours], &[(0x9999, &[]), cookie]),
                Ok(1),
            ),
            // Cookies that are not encrypted are not ours.
            (reply(&keys, &[ours, cookie], &[]), Ok(0)),
            (reply(&keys, &[ours], &[cookie; 9]), Ok(8)),
            (
                reply(&keys, &[ours], &[(COOKIE, &[]), (COOKIE, &[1; 516]), cookie]),
                Ok(1),
            ),
            ([&good[..], &field(COOKIE, &[1; 100])].concat(), Ok(1)),
            ([&good[..], &[0; 7]].concat(), Ok(1)),
            (reply(&keys, &[], &[cookie]), Err(ReplyFault::Identifier)),
            (
                reply(&keys, &[ours, ours], &[cookie]),
                Err(ReplyFault::Identifier),
            ),
            (
                reply(&keys, &[(IDENTIFIER_FIELD, &[8; 32])], &[cookie]),
                Err(ReplyFault::Identifier),
            ),
            (
                reply(&keys, &[(IDENTIFIER_FIELD, &[7; 36])], &[cookie]),
                Err(ReplyFault::Identifier),
            ),
            (
                reply(&keys, &[(IDENTIFIER_FIELD, &[7; 28])], &[cookie]),
                Err(ReplyFault::Identifier),
            ),
            (REPLY_HEADER.to_vec(), Err(ReplyFault::Identifier)),
            (
                [&REPLY_HEADER[..], &field(ours.0, ours.1)].concat(),
                Err(ReplyFault::Unauthenticated),
            ),
            (
                [
                    &REPLY_HEADER[..],
                    &field(ours.0, ours.1),
                    &field(0x0404, &[0xFF; 40]),
                ]
                .concat(),
                Err(ReplyFault::Unauthenticated),
            ),
            // Without room for a tag.
            (
                [
                    &REPLY_HEADER[..],
                    &field(ours.0, ours.1),
                    &field(0x0404, &[0; 40]),
                ]
                .concat(),
                Err(ReplyFault::Forged),
            ),
            (nak(&IDENTIFIER), Err(ReplyFault::Nak)),
            (nak(&[8; 32]), Err(ReplyFault::Identifier)),
            (nak(&[7; 28]), Err(ReplyFault::Identifier)),
        ] {
            assert_eq!(of(&packet), expected, "{packet:02x?}");
        }
        for (at, value) in [(1, 1), (12, b'R')] {
            let mut other = nak(&IDENTIFIER);
            other[at] = value;
            assert_eq!(of(&other), Err(ReplyFault::Unauthenticated));
        }
        // What the server would have to be sealed with is not what we seal with.
        let swapped = match &keys {
            AssociationKeys::SivCmac256([c2s, s2c]) => AssociationKeys::SivCmac256([*s2c, *c2s]),
            AssociationKeys::GcmSiv128([c2s, s2c]) => AssociationKeys::GcmSiv128([*s2c, *c2s]),
        };
        assert_eq!(open_reply(&good, &swapped, &IDENTIFIER), Err(ReplyFault::Forged));
    }
}

/// A nonce of an impossible length is no reason to panic.
#[test]
fn nonces_of_a_reply_may_be_of_any_length() {
    for algorithm in Algorithm::ALL {
        let keys = keys(algorithm);
        for length in 1_u8..=40 {
            let value = [
                &[0, length, 0, 16][..],
                &vec![0; usize::from(length).next_multiple_of(4)],
                &[0; 16],
            ];
            let parts = [
                &REPLY_HEADER[..],
                &field(field_type::UNIQUE_IDENTIFIER, &IDENTIFIER),
                &field(field_type::AUTHENTICATOR, &value.concat()),
            ];
            assert_eq!(
                open_reply(&parts.concat(), &keys, &IDENTIFIER),
                Err(ReplyFault::Forged)
            );
        }
    }
}

proptest! {
    #[test]
    fn a_bit_makes_it_another(bit in any::<prop::sample::Index>(), short: bool) {
        let keys = keys(if short { Algorithm::GcmSiv128 } else { Algorithm::SivCmac256 });
        let ours = (field_type::UNIQUE_IDENTIFIER, &IDENTIFIER[..]);
        let mut packet = reply(&keys, &[ours], &[(field_type::COOKIE, &[1; 100])]);
        let bit = bit.index(8 * packet.len());
        packet[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(open_reply(&packet, &keys, &IDENTIFIER).is_err());
    }

    #[test]
    fn no_bytes_are_genuine(bytes in prop::collection::vec(any::<u8>(), 0..300), fields: bool) {
        let mut packet = REPLY_HEADER.to_vec();
        if fields {
            packet.extend(field(field_type::UNIQUE_IDENTIFIER, &IDENTIFIER));
        }
        packet.extend(bytes);
        prop_assert!(open_reply(&packet, &keys(Algorithm::SivCmac256), &IDENTIFIER).is_err());
    }
}
