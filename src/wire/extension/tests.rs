//! Pure. Tests of extension fields: tables by hand, and properties.

use super::*;
use proptest::prelude::*;

/// A header, and what follows it.
fn packet(behind: &[u8]) -> Vec<u8> {
    [&[0x23; HEADER_LEN][..], behind].concat()
}

/// A field of `length` bytes in all, its value full of `fill`.
fn field(kind: u16, length: u16, fill: u8) -> Vec<u8> {
    let mut bytes = [kind.to_be_bytes(), length.to_be_bytes()].concat();
    bytes.resize(usize::from(length).max(4), fill);
    bytes
}

/// In short: `f` and the length of a field, `m` and the length of a digest, and the fault.
fn said(behind: &[u8]) -> String {
    let whole = packet(behind);
    let parts = PacketParts::of_packet(&whole).map(|part| match part {
        Ok(PacketPart::Field(field)) => format!("f{}", field.end() - field.start),
        Ok(PacketPart::Mac(mac)) => format!("m{}", mac.digest.len()),
        Err(fault) => format!("{fault:?}"),
    });
    parts.collect::<Vec<_>>().join(" ")
}

//= RFC 7822 §7.5 padding
//= RFC 7822 §7.5.1.3 mac-length
//= RFC 7822 §7.5.1.4 last
//= RFC 7822 §7.5.1.4 others
#[test]
fn what_lengths_mean() {
    let mac = |length: usize| vec![0; length];
    for (behind, expected) in [
        (vec![], ""),
        // A crypto-NAK, and MACs with MD5 or AES-CMAC, and with SHA-1.
        (mac(4), "m0"),
        (mac(20), "m16"),
        (mac(24), "m20"),
        // Without a MAC the only and the last field has 28 bytes.
        (field(1, 16, 0), "Remainder"),
        (field(1, 20, 0), "m16"),
        (field(1, 24, 0), "m20"),
        (field(1, 28, 0), "f28"),
        ([field(1, 16, 0), field(2, 28, 0)].concat(), "f16 f28"),
        ([field(1, 16, 0), field(2, 24, 0)].concat(), "f16 m20"),
        ([field(1, 28, 0), field(2, 16, 0)].concat(), "f28 Remainder"),
        // With one they have 16.
        ([field(1, 16, 0), mac(20)].concat(), "f16 m16"),
        (
            [field(1, 16, 0), field(2, 16, 0), mac(24)].concat(),
            "f16 f16 m20",
        ),
        ([field(1, 28, 0), mac(4)].concat(), "f28 m0"),
        // No field and no MAC has these.
        (mac(1), "Remainder"),
        (mac(3), "Remainder"),
        (mac(8), "Remainder"),
        (mac(21), "Remainder"),
        (mac(25), "TooShort"),
        ([field(1, 28, 0), mac(1)].concat(), "f28 Remainder"),
        ([field(1, 12, 0), mac(20)].concat(), "TooShort"),
        ([field(1, 4, 0), mac(24)].concat(), "TooShort"),
        ([field(1, 0, 0), mac(24)].concat(), "TooShort"),
        ([field(1, 29, 0), mac(3)].concat(), "Unaligned"),
        ([field(1, 30, 0), mac(2)].concat(), "Unaligned"),
        (field(1, 31, 0), "Unaligned"),
        (field(1, 32, 0)[..28].to_vec(), "TooLong"),
        (field(1, u16::MAX, 0), "Unaligned"),
        (field(1, 65_532, 0), "f65532"),
        (field(1, 65_532, 0)[..65_528].to_vec(), "TooLong"),
    ] {
        assert_eq!(
            said(&behind),
            expected,
            "{} bytes: {:?}",
            behind.len(),
            behind.first_chunk::<4>()
        );
    }
}

#[test]
fn shorter_than_a_header_nothing_follows() {
    for length in 0..=HEADER_LEN {
        assert_eq!(PacketParts::of_packet(&vec![0; length]).count(), 0);
    }
}

#[test]
fn inside_an_authenticator_there_is_no_mac_and_a_field_may_be_empty() {
    let plaintext = [field(5, 4, 0), field(6, 20, 1)].concat();
    let found: Vec<_> = PacketParts::of_plaintext(&plaintext).collect();
    assert_eq!(
        found,
        [
            Ok(PacketPart::Field(ExtensionField {
                kind: 5,
                value: &[],
                start: 0
            })),
            Ok(PacketPart::Field(ExtensionField {
                kind: 6,
                value: &[1; 16],
                start: 4
            })),
        ]
    );
    for (plaintext, fault) in [
        (vec![0, 5, 0, 0], FieldFault::TooShort),
        (vec![0, 5, 0, 8], FieldFault::TooLong),
        (vec![0, 5, 0, 6, 0, 0], FieldFault::Unaligned),
        (vec![0, 5, 0], FieldFault::Remainder),
    ] {
        assert_eq!(
            PacketParts::of_plaintext(&plaintext).collect::<Vec<_>>(),
            [Err(fault)]
        );
    }
}

//= RFC 8915 §5.6 format
#[test]
fn authenticators() {
    let value = |nonce: u16, text: u16, rest: usize| {
        let mut bytes = [nonce.to_be_bytes(), text.to_be_bytes()].concat();
        bytes.extend((0..u8::try_from(rest).unwrap()).collect::<Vec<_>>());
        bytes
    };
    for (nonce, text, rest, expected) in [
        // What clients send with AEAD 15, and with AEAD 30 in two ways.
        (16, 16, 32, Some((16, 16, 0))),
        (12, 16, 28, Some((12, 16, 0))),
        (12, 16, 32, Some((12, 16, 4))),
        (16, 120, 136, Some((16, 120, 0))),
        // Padding of each.
        (13, 17, 36, Some((13, 17, 0))),
        (1, 16, 36, Some((1, 16, 16))),
        (0, 0, 0, Some((0, 0, 0))),
        (0, 0, 24, Some((0, 0, 24))),
        // What does not fit.
        (16, 16, 31, None),
        (16, 17, 35, None),
        (13, 16, 31, None),
        (0, 1, 3, None),
        (u16::MAX, 16, 40, None),
        (16, u16::MAX, 40, None),
        (u16::MAX, u16::MAX, 40, None),
    ] {
        let bytes = value(nonce, text, rest);
        let found = Authenticator::parse(&bytes);
        let lengths = found.map(|found| (found.nonce.len(), found.ciphertext.len(), found.additional));
        assert_eq!(lengths, expected, "nonce {nonce}, text {text}, {rest} bytes");
        if let Some(found) = found {
            assert!(found.nonce.iter().copied().eq((0_u8..).take(found.nonce.len())));
            let first = found.nonce.len().next_multiple_of(4);
            assert!(
                found
                    .ciphertext
                    .first()
                    .is_none_or(|&byte| usize::from(byte) == first)
            );
        }
    }
    for length in 0..4 {
        assert_eq!(Authenticator::parse(&vec![0; length]), None);
    }
}

//= RFC 8915 §5.6 room
#[test]
fn room_for_the_nonce_of_the_answer() {
    for (nonce, additional, needed, has) in [
        (16, 0, 16, true),
        (12, 0, 12, true),
        (12, 0, 16, false),
        (12, 4, 16, true),
        (13, 0, 16, true),
        (1, 8, 16, false),
        (1, 12, 16, true),
        (0, 15, 16, false),
    ] {
        let bytes = [0; 16];
        let authenticator = Authenticator {
            nonce: &bytes[..nonce],
            ciphertext: &[],
            additional,
        };
        assert_eq!(
            authenticator.has_room(needed),
            has,
            "{nonce} + {additional} for {needed}"
        );
    }
}

//= RFC 7822 §7.5 longest
#[test]
fn the_longest_field_is_written_and_no_longer_one() {
    let mut buffer = vec![0; 70_000];
    for (length, fits) in [
        (65_528, true),
        (65_529, false),
        (65_532, false),
        (usize::MAX, false),
        (usize::MAX - 3, false),
    ] {
        let mut writer = FieldWriter::new(&mut buffer, HEADER_LEN);
        assert_eq!(writer.reserve(1, length).is_ok(), fits, "{length}");
        assert_eq!(
            writer.length(),
            if fits { HEADER_LEN + 65_532 } else { HEADER_LEN }
        );
    }
}

//= RFC 7822 §7.5 padding
#[test]
fn what_is_written_is_padded_with_zeros() {
    for (length, whole) in [
        (0, 16),
        (1, 16),
        (11, 16),
        (12, 16),
        (13, 20),
        (16, 20),
        (100, 104),
    ] {
        let mut buffer = [0xA5; 200];
        let mut writer = FieldWriter::new(&mut buffer, HEADER_LEN);
        writer.push(0x0104, &vec![7; length]).unwrap();
        assert_eq!(writer.length(), HEADER_LEN + whole);
        let (header, rest) = buffer.split_at(HEADER_LEN);
        let (written, rest) = rest.split_at(whole);
        let mut expected = [&[1, 4, 0, u8::try_from(whole).unwrap()], &vec![7; length][..]].concat();
        expected.resize(whole, 0);
        assert_eq!(written, expected);
        assert!(header.iter().chain(rest).all(|&byte| byte == 0xA5));
    }
}

#[test]
fn a_full_buffer_is_left_as_it_was() {
    for room in 0..36 {
        let mut buffer = vec![0xA5; HEADER_LEN + room];
        let mut writer = FieldWriter::new(&mut buffer, HEADER_LEN);
        assert_eq!(writer.push(1, &[7; 32]), Err(Full));
        assert_eq!(writer.length(), HEADER_LEN);
        assert!(buffer.iter().all(|&byte| byte == 0xA5));
    }
    assert_eq!(FieldWriter::new(&mut [0; 60], 61).push(1, &[]), Err(Full));
}

/// Fields of a packet, the last with 28 bytes at least.
fn some_fields() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let value = prop::collection::vec(any::<u8>(), 0..80);
    let last = (any::<u16>(), prop::collection::vec(any::<u8>(), 21..80));
    (prop::collection::vec((any::<u16>(), value), 0..6), last).prop_map(|(mut fields, last)| {
        fields.push(last);
        fields
    })
}

proptest! {
    //= RFC 7822 §7.5 padding
    #[test]
    fn fields_survive(fields in some_fields(), digest in prop::option::of(prop_oneof![Just(0_usize), Just(16), Just(20)])) {
        let mut buffer = vec![0; 2000];
        let mut writer = FieldWriter::new(&mut buffer, HEADER_LEN);
        for (kind, value) in &fields {
            writer.push(*kind, value).unwrap();
        }
        let mut length = writer.length();
        prop_assert_eq!(length % 4, 0);
        if let Some(digest) = digest {
            buffer[length..length + 4].copy_from_slice(&[0, 0, 0, 9]);
            length += 4 + digest;
        }
        let mut parts = PacketParts::of_packet(&buffer[..length]);
        let mut start = HEADER_LEN;
        for (kind, value) in &fields {
            let Some(Ok(PacketPart::Field(field))) = parts.next() else {
                panic!("a field was written");
            };
            prop_assert_eq!((field.kind, field.start), (*kind, start));
            let (kept, padding) = field.value.split_at(value.len());
            prop_assert_eq!(kept, &value[..]);
            prop_assert!(padding.iter().all(|&byte| byte == 0) && field.value.len() % 4 == 0);
            start = field.end();
        }
        let mac = parts.next().map(|part| match part {
            Ok(PacketPart::Mac(mac)) => (mac.key, mac.digest.len()),
            Ok(PacketPart::Field(_)) | Err(_) => panic!("{part:?}"),
        });
        prop_assert_eq!(mac, digest.map(|digest| (9, digest)));
        prop_assert_eq!(parts.next(), None);
    }

    #[test]
    fn any_bytes_are_parts_side_by_side_and_a_fault_ends_them(behind in hostile()) {
        let whole = packet(&behind);
        let mut at = HEADER_LEN;
        let mut parts = PacketParts::of_packet(&whole);
        while let Some(part) = parts.next() {
            match part {
                Ok(PacketPart::Field(field)) => {
                    prop_assert_eq!(field.start, at);
                    prop_assert_eq!(&whole[at + 4..field.end()], field.value);
                    prop_assert!(field.end() - at >= SHORTEST_FIELD && field.end() % 4 == 0);
                    at = field.end();
                }
                Ok(PacketPart::Mac(mac)) => {
                    prop_assert_eq!(&whole[at + 4..], mac.digest);
                    prop_assert_eq!(parts.next(), None);
                    at = whole.len();
                }
                Err(_) => {
                    prop_assert_eq!(parts.next(), None);
                    return Ok(());
                }
            }
        }
        prop_assert_eq!(at, whole.len());
    }

    #[test]
    fn an_authenticator_is_never_more_than_its_field(value in hostile()) {
        if let Some(found) = Authenticator::parse(&value) {
            let all = 4 + found.nonce.len().next_multiple_of(4) + found.ciphertext.len().next_multiple_of(4);
            prop_assert_eq!(all + found.additional, value.len());
        }
    }
}

/// Bytes whose lengths are often nearly right.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        (any::<u16>(), 0_u16..80).prop_map(|(kind, length)| field(kind, length, 0)),
        (any::<u16>(), 4_u16..20).prop_map(|(kind, words)| field(kind, 4 * words, 0x10)),
        prop::collection::vec(any::<u8>(), 0..30),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}
