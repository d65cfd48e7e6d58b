//! Pure. Tests of the replies to requests with a MAC: tables of faults, and properties of whatever comes.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::symmetric::test_keys::keys;
use crate::time::NtpShort;
use crate::wire::extension::{PacketPart, PacketParts};
use crate::wire::{HEADER_LEN, Leap, ReferenceId};

const VARIABLES: SystemVariables = SystemVariables {
    leap: Leap::AddSecond,
    stratum: 2,
    precision: -24,
    root_delay: NtpShort::from_bits(7),
    root_dispersion: NtpShort::from_bits(8),
    reference_id: ReferenceId::from_bytes([192, 0, 2, 9]),
    reference_timestamp: NtpTimestamp::from_bits(9),
};
const T2: NtpTimestamp = NtpTimestamp::from_bits(1000);
const T3: NtpTimestamp = NtpTimestamp::from_bits(2000);

fn header(first: u8) -> Vec<u8> {
    let mut header = vec![0x55; HEADER_LEN];
    header[0] = first;
    header
}

/// A version 4 client's.
fn client() -> Vec<u8> {
    header(4 << 3 | 3)
}

fn field(length: u16) -> Vec<u8> {
    let mut field = vec![0x7F, 0xFE];
    field.extend(length.to_be_bytes());
    field.resize(length.into(), 0x11);
    field
}

/// `packet` with a MAC of key `id`.
fn signed(packet: &[u8], id: u32) -> Vec<u8> {
    let table = keys();
    let key = table.get(KeyId::new(id).unwrap()).unwrap();
    [packet, &key.mac(packet)].concat()
}

fn request(payload: &[u8]) -> Request<'_> {
    Request {
        payload,
        source: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        source_port: 40_000,
        unicast: true,
        received_at: T2,
    }
}

/// The verdict about a packet, and its reply.
fn asked(payload: &[u8], ruling: Ruling) -> (Verdict, Vec<u8>) {
    let table = keys();
    let mut room = vec![0xAA; payload.len()];
    let mut reply = ReplyBuffer::new(&mut room);
    let verdict = match check(&table, &request(payload), None) {
        Ok(genuine) => genuine.respond(ruling, T3, &VARIABLES, &mut reply),
        Err(verdict) => verdict,
    };
    let length = reply.length();
    assert_eq!(length > 0, verdict.has_reply());
    room.truncate(length);
    (verdict, room)
}

fn verdict(payload: &[u8]) -> Verdict {
    asked(payload, Ruling::Answer).0
}

/// Whether the last part of a reply is a MAC of key `id`.
fn is_signed(reply: &[u8], id: u32) -> bool {
    let Trailer::Mac(signed, mac) = Trailer::of(reply) else {
        return false;
    };
    let id = KeyId::new(id).unwrap();
    keys().get(id).unwrap().is_genuine(signed, &mac) && signed.len() == HEADER_LEN
}

//= RFC 5905 §7.3 mac
//= RFC 5905 §9.2 authentication
#[test]
fn a_genuine_request_gets_a_reply_with_the_same_key() {
    for id in 1..=7 {
        for (first, mode) in [
            (4 << 3 | 3, 4),
            (3 << 3 | 3, 4),
            (2 << 3 | 3, 4),
            (4 << 3 | 1, 2),
            (1 << 3, 4),
        ] {
            let packet = signed(&header(first), id);
            let (verdict, reply) = asked(&packet, Ruling::Answer);
            assert_eq!(verdict, Verdict::AnsweredMac, "{id} {first}");
            assert_eq!(reply.len(), packet.len());
            assert!(is_signed(&reply, id));
            assert_eq!(reply[0], 1 << 6 | (first & 0x38) | mode);
            assert_eq!(reply[24..32], packet[40..48]);
        }
    }
}

/// chronyd asks so in version 3 with a key whose digest is longer than 20 bytes.
#[test]
fn before_version_4_a_digest_may_be_whole_and_the_reply_has_one_too() {
    for (id, length) in [(1, 16), (2, 20), (3, 32), (4, 48), (5, 64), (6, 16)] {
        let id = KeyId::new(id).unwrap();
        let table = keys();
        let key = table.get(id).unwrap();
        for (version, is_old) in [(3, true), (2, true), (4, false)] {
            let packet = header(version << 3 | 3);
            let whole = [&packet[..], &key.mac_as_in(&packet, 64)].concat();
            assert_eq!(whole.len(), HEADER_LEN + 4 + length);
            let (verdict, reply) = asked(&whole, Ruling::Answer);
            if is_old || length <= 20 {
                assert_eq!((verdict, reply.len()), (Verdict::AnsweredMac, whole.len()));
                let (answered, behind) = reply.split_at(HEADER_LEN);
                assert_eq!(behind, key.mac_as_in(answered, 64).as_slice());
            } else {
                assert_eq!(verdict, Verdict::RefusedMac, "version {version} {length}");
            }
        }
        let packet = header(3 << 3 | 3);
        let whole = [&packet[..], &key.mac_as_in(&packet, 64)].concat();
        for cut in HEADER_LEN + 1..whole.len() {
            let is_cut_as_in_version_4 = length > 20 && cut == HEADER_LEN + 24;
            let expected = match (cut, is_cut_as_in_version_4) {
                (_, true) => Verdict::AnsweredMac,
                _ => Verdict::RefusedMac,
            };
            assert_eq!(asked(&whole[..cut], Ruling::Answer).0, expected, "{id} {cut}");
        }
    }
}

#[test]
fn the_reply_has_the_values_of_a_plain_one() {
    let packet = signed(&client(), 6);
    let (_, reply) = asked(&packet, Ruling::Answer);
    let mut plain = [0; HEADER_LEN];
    let mut buffer = ReplyBuffer::new(&mut plain);
    let payload = &packet[..HEADER_LEN];
    crate::server::respond(&request(payload), T3, || Ruling::Answer, &VARIABLES, &mut buffer);
    assert_eq!(reply[..HEADER_LEN], plain);
}

#[test]
fn fields_before_the_mac_are_signed_and_not_repeated() {
    for lengths in [&[16][..], &[28], &[16, 16], &[400, 24]] {
        let mut packet = client();
        lengths.iter().for_each(|length| packet.extend(field(*length)));
        for id in [1, 3, 7] {
            let whole = signed(&packet, id);
            let (verdict, reply) = asked(&whole, Ruling::Answer);
            assert_eq!(verdict, Verdict::AnsweredMac);
            assert!(is_signed(&reply, id) && reply.len() < whole.len());
            for at in [HEADER_LEN + 8, packet.len() - 1] {
                let mut changed = whole.clone();
                changed[at] ^= 1;
                assert_eq!(asked(&changed, Ruling::Answer).0, Verdict::RefusedMac, "{at}");
            }
        }
    }
}

#[test]
fn what_is_not_genuine_gets_nothing() {
    let mac_of = |id: u32| signed(&client(), id)[HEADER_LEN..].to_vec();
    let with = |mac: &[u8]| [&client()[..], mac].concat();
    let renamed = |from: u32, to: u32| {
        let mut mac = mac_of(from);
        mac[..4].copy_from_slice(&to.to_be_bytes());
        with(&mac)
    };
    for (name, packet, expected) in [
        ("key 0", with(&[0; 20]), Verdict::RefusedMacKey),
        ("unknown", renamed(2, 8), Verdict::RefusedMacKey),
        ("unknown", renamed(6, u32::MAX), Verdict::RefusedMacKey),
        ("wrong key", renamed(2, 20), Verdict::RefusedMac),
        ("wrong type, same length", renamed(1, 6), Verdict::RefusedMac),
        ("wrong type, shorter", renamed(1, 2), Verdict::RefusedMac),
        ("wrong type, longer", renamed(2, 1), Verdict::RefusedMac),
        ("crypto-NAK", with(&[0; 4]), Verdict::RefusedMac),
        ("key alone", with(&2_u32.to_be_bytes()), Verdict::RefusedMac),
        (
            "zero digest",
            with(&[&[0, 0, 0, 6][..], &[0; 16]].concat()),
            Verdict::RefusedMac,
        ),
        ("no MAC", client(), Verdict::RefusedMac),
        (
            "no request",
            signed(&header(4 << 3 | 4), 2),
            Verdict::RefusedAnswer,
        ),
        ("control", signed(&header(2 << 3 | 6), 2), Verdict::RefusedControl),
        ("version", signed(&header(5 << 3 | 3), 2), Verdict::RefusedVersion),
        ("short", client()[..40].to_vec(), Verdict::RefusedTooShort),
    ] {
        let (found, reply) = asked(&packet, Ruling::Answer);
        assert_eq!(found, expected, "{name}");
        assert!(reply.is_empty(), "{name}");
    }
    // A MAC that was cut anywhere.
    for id in 1..=7 {
        let whole = signed(&client(), id);
        for length in HEADER_LEN + 1..whole.len() {
            assert_eq!(verdict(&whole[..length]), Verdict::RefusedMac, "{id} {length}");
        }
        for more in 1..40 {
            let longer = [&whole[..], &vec![0; more]].concat();
            assert_ne!(verdict(&longer), Verdict::AnsweredMac, "{id} {more}");
        }
    }
}

#[test]
fn a_refusal_that_needs_no_key_comes_before_the_mac_and_after_the_header() {
    let table = keys();
    for (packet, expected) in [
        (signed(&client(), 2), Verdict::RefusedLate),
        ([&client()[..], &[0; 20]].concat(), Verdict::RefusedLate),
        (signed(&header(4 << 3 | 2), 2), Verdict::RefusedAnswer),
    ] {
        let checked = check(&table, &request(&packet), Some(Verdict::RefusedLate));
        assert_eq!(checked.unwrap_err(), expected);
    }
}

//= RFC 5905 §7.4 sent
#[test]
fn a_ruling_is_obeyed_and_a_kiss_has_a_mac() {
    let packet = signed(&client(), 3);
    for (verdict, code) in [
        (Verdict::KissedRate, ReferenceId::RATE),
        (Verdict::KissedDenied, ReferenceId::DENY),
    ] {
        let ruling = Ruling::Kiss {
            verdict,
            code,
            poll: 100,
        };
        let (found, reply) = asked(&packet, ruling);
        assert_eq!(found, verdict);
        assert!(is_signed(&reply, 3));
        let header = Header::parse(&reply).unwrap();
        assert_eq!((header.stratum, header.reference_id, header.poll), (0, code, 100));
    }
    let refused = asked(&packet, Ruling::Refuse(Verdict::RefusedRate));
    assert_eq!(refused, (Verdict::RefusedRate, Vec::new()));
}

#[test]
fn without_room_there_is_no_half_reply() {
    let (table, packet) = (keys(), signed(&client(), 2));
    for room in 0..packet.len() {
        let mut bytes = vec![0; room];
        let mut reply = ReplyBuffer::new(&mut bytes);
        let genuine = check(&table, &request(&packet), None).unwrap();
        let verdict = genuine.respond(Ruling::Answer, T3, &VARIABLES, &mut reply);
        assert_eq!((verdict, reply.length()), (Verdict::RefusedTooShort, 0));
    }
}

/// Packets as a client may make them, in whole or in part, of any length up to 1024.
fn packets() -> impl Strategy<Value = Vec<u8>> {
    let parts = (
        any::<u8>(),
        prop::collection::vec((4..80_u16).prop_map(|words| words * 4), 0..4),
        prop::option::of(1..=8_u32),
    );
    let made = parts.prop_map(|(first, fields, id)| {
        let mut packet = header(first);
        fields.iter().for_each(|length| packet.extend(field(*length)));
        match id {
            Some(id @ 1..=7) => signed(&packet, id),
            Some(_) => [packet, vec![0, 0, 0, 9], vec![7; 16]].concat(),
            None => packet,
        }
    });
    let changed = (made, any::<prop::sample::Index>(), 0..8_u8, 0..1024_usize);
    let changed = changed.prop_map(|(mut packet, at, bit, length)| {
        match bit {
            0..=2 => {}
            3 => packet.truncate(length),
            _ => {
                let at = at.index(packet.len());
                packet[at] ^= 1 << bit;
            }
        }
        packet
    });
    prop_oneof![changed, prop::collection::vec(any::<u8>(), 0..=1024)]
}

proptest! {
    #[test]
    fn no_reply_is_longer_than_its_request_and_each_has_a_genuine_mac(packet in packets()) {
        let (verdict, reply) = asked(&packet, Ruling::Answer);
        prop_assert!(reply.len() <= packet.len());
        if verdict == Verdict::AnsweredMac {
            let Trailer::Mac(_, mac) = Trailer::of(&packet) else {
                return Err(TestCaseError::fail("answered without a MAC"));
            };
            prop_assert!(is_signed(&reply, mac.key));
        } else {
            prop_assert!(reply.is_empty());
        }
    }

    #[test]
    fn one_changed_bit_is_never_answered(id in 1..=7_u32, fields in prop::collection::vec(7..20_u16, 0..3), at: prop::sample::Index) {
        let mut packet = client();
        fields.iter().for_each(|words| packet.extend(field(words * 4)));
        let mut packet = signed(&packet, id);
        let bit = at.index(8 * packet.len());
        packet[bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(verdict(&packet), Verdict::AnsweredMac);
    }

    #[test]
    fn whatever_comes_has_a_mac_or_not(packet in packets()) {
        let is_old = packet.first().is_some_and(|first| first >> 3 & 7 < 4);
        let is_plain = match is_old {
            true => packet.len() <= HEADER_LEN,
            false => PacketParts::of_packet(&packet).all(|part| matches!(part, Ok(PacketPart::Field(_)))),
        };
        prop_assert_eq!(has_mac(&packet), !is_plain);
        prop_assert!(packet.len() > HEADER_LEN || is_plain);
    }
}

#[test]
fn each_length_of_zeros_is_read() {
    for length in 0..=1024 {
        let mut packet = vec![0; length];
        if let Some(first) = packet.first_mut() {
            *first = 4 << 3 | 3;
        }
        let expected = match length {
            ..HEADER_LEN => Verdict::RefusedTooShort,
            // The MAC of key 0.
            68 | 72 => Verdict::RefusedMacKey,
            _ => Verdict::RefusedMac,
        };
        assert_eq!(verdict(&packet), expected, "{length}");
        assert_eq!(has_mac(&packet), length > HEADER_LEN, "{length}");
    }
}
