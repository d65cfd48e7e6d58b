//! Pure. Tests of key establishment: tables of messages by hand, both sides with each other, and hostile bytes.

use proptest::prelude::*;

use super::client::{AnswerFault, Granted};
use super::record::{LONGEST_MESSAGE, MOST_RECORDS, Message, MessageFault, MessageWriter, Record};
use super::server::{Accepted, ErrorCode, KeDecision, KeOffer};
use super::*;

const SIV: Algorithm = Algorithm::SivCmac256;
const GCM: Algorithm = Algorithm::GcmSiv128;

fn offer(algorithms: &[Algorithm]) -> KeOffer {
    KeOffer {
        algorithms: algorithms.to_vec(),
        server: None,
        port: None,
    }
}

/// A record; its type as it stands on the wire.
fn record(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    [&kind.to_be_bytes()[..], &length.to_be_bytes(), body].concat()
}

const fn critical(kind: u16) -> u16 {
    kind | 0x8000
}

fn message(records: &[Vec<u8>]) -> Vec<u8> {
    [records.concat(), record(critical(0), &[])].concat()
}

fn decided(records: &[Vec<u8>]) -> KeDecision {
    server::decide(&message(records), &offer(&[SIV, GCM]))
}

fn accepted(decision: KeDecision) -> Accepted {
    match decision {
        KeDecision::Accept(accepted) => accepted,
        KeDecision::Wait | KeDecision::NoProtocol | KeDecision::NoAlgorithm | KeDecision::Refuse(_) => {
            panic!("{decision:?}")
        }
    }
}

//= RFC 8915 §4.1 format
#[test]
fn a_request_byte_by_byte() {
    assert_eq!(
        client::request(&[SIV]),
        [0x80, 1, 0, 2, 0, 0, 0x80, 4, 0, 2, 0, 15, 0x80, 0, 0, 0]
    );
    assert_eq!(
        client::request(&[GCM, SIV]),
        [
            0x80, 1, 0, 2, 0, 0, 0x80, 4, 0, 4, 0, 30, 0, 15, 4, 0, 0, 0, 0x80, 0, 0, 0
        ]
    );
}

//= RFC 8915 §4.1 unknown
//= RFC 8915 §4.1.2 none
//= RFC 8915 §4.1.2 one
//= RFC 8915 §4.1.3 client
//= RFC 8915 §4.1.4 client
//= RFC 8915 §4.1.5 none
//= RFC 8915 §4.1.5 one
//= RFC 8915 §4.1.6 client
//= RFC 8915 §4.1.7 wish
#[test]
fn what_a_server_makes_of_records() {
    let ntpv4 = record(critical(1), &[0, 0]);
    let siv = record(critical(4), &[0, 15]);
    let bad = KeDecision::Refuse(ErrorCode::BadRequest);
    let unknown = KeDecision::Refuse(ErrorCode::UnrecognizedCritical);
    let good = KeDecision::Accept(accepted(decided(&[ntpv4.clone(), siv.clone()])));
    for (records, expected) in [
        (vec![], bad),
        (vec![ntpv4.clone()], bad),
        (vec![siv.clone()], bad),
        (vec![siv.clone(), ntpv4.clone()], good),
        (vec![record(1, &[0, 0]), record(4, &[0, 15])], good),
        // More than one protocol or AEAD is said, and others are not known.
        (vec![record(critical(1), &[0x80, 1, 0, 0]), siv.clone()], good),
        (
            vec![record(critical(1), &[0x80, 1]), siv.clone()],
            KeDecision::NoProtocol,
        ),
        (vec![record(critical(1), &[])], KeDecision::NoProtocol),
        (
            vec![record(critical(1), &[]), siv.clone()],
            KeDecision::NoProtocol,
        ),
        (
            vec![ntpv4.clone(), record(critical(4), &[0, 17, 0, 16, 0, 15])],
            good,
        ),
        (
            vec![ntpv4.clone(), record(critical(4), &[0, 17])],
            KeDecision::NoAlgorithm,
        ),
        (
            vec![ntpv4.clone(), record(critical(4), &[])],
            KeDecision::NoAlgorithm,
        ),
        // Twice, or of an odd length.
        (vec![ntpv4.clone(), ntpv4.clone(), siv.clone()], bad),
        (vec![ntpv4.clone(), siv.clone(), siv.clone()], bad),
        (vec![record(critical(1), &[0, 0, 0]), siv.clone()], bad),
        (vec![ntpv4.clone(), record(critical(4), &[0])], bad),
        // What only servers say.
        (
            vec![ntpv4.clone(), siv.clone(), record(critical(2), &[0, 1])],
            bad,
        ),
        (
            vec![ntpv4.clone(), siv.clone(), record(critical(3), &[0, 1])],
            bad,
        ),
        (vec![ntpv4.clone(), siv.clone(), record(5, &[7; 100])], bad),
        // Wishes, and what is not known.
        (
            vec![ntpv4.clone(), siv.clone(), record(6, b"x"), record(7, &[0, 9])],
            good,
        ),
        (vec![ntpv4.clone(), siv.clone(), record(0x4000, &[7; 9])], good),
        (
            vec![ntpv4.clone(), siv.clone(), record(critical(0x4000), &[])],
            unknown,
        ),
        (
            vec![record(critical(8), &[]), ntpv4.clone(), siv.clone()],
            unknown,
        ),
    ] {
        assert_eq!(decided(&records), expected, "{records:02x?}");
    }
}

//= RFC 8915 §4.1.1 end
#[test]
fn where_a_message_ends() {
    let good = client::request(&[SIV]);
    for length in 0..good.len() {
        assert_eq!(Message::read(&good[..length]), Ok(None), "{length}");
        assert_eq!(server::decide(&good[..length], &offer(&[SIV])), KeDecision::Wait);
    }
    assert!(Message::read(&good).unwrap().is_some());
    let bad = |bytes: &[u8]| Message::read(bytes).unwrap_err();
    assert_eq!(bad(&[&good[..], &[0]].concat()), MessageFault::Behind);
    assert_eq!(bad(&[&good[..], &good[..]].concat()), MessageFault::Behind);
    assert_eq!(bad(&record(0, &[])), MessageFault::End);
    assert_eq!(bad(&record(critical(0), &[1])), MessageFault::End);
    for fault in [&[&good[..], &[0]].concat(), &record(0, &[])] {
        assert_eq!(
            server::decide(fault, &offer(&[SIV])),
            KeDecision::Refuse(ErrorCode::BadRequest)
        );
    }
}

#[test]
fn a_message_that_is_too_long_is_known_by_its_first_bytes() {
    let most = record(9, &[0; LONGEST_MESSAGE - 8]);
    assert!(
        Message::read(&message(std::slice::from_ref(&most)))
            .unwrap()
            .is_some()
    );
    assert_eq!(Message::read(&most), Ok(None));
    for bytes in [
        record(9, &[0; LONGEST_MESSAGE - 3]),
        vec![0, 9, 0xFF, 0xFF],
        [record(9, &[0; 3000]), vec![0, 9, 0x10, 0]].concat(),
        vec![1; LONGEST_MESSAGE + 1],
    ] {
        assert_eq!(Message::read(&bytes), Err(MessageFault::TooLong));
    }
    let records = |number: usize| vec![record(9, &[]); number];
    assert!(
        Message::read(&message(&records(MOST_RECORDS - 1)))
            .unwrap()
            .is_some()
    );
    assert_eq!(
        Message::read(&message(&records(MOST_RECORDS))),
        Err(MessageFault::TooLong)
    );
}

//= RFC 8915 §4.1.3 error
#[test]
fn refusals_are_said() {
    for (code, number) in [
        (ErrorCode::UnrecognizedCritical, 0),
        (ErrorCode::BadRequest, 1),
        (ErrorCode::Internal, 2),
    ] {
        let answer = code.answer();
        assert_eq!(answer, message(&[record(critical(2), &[0, number])]));
        assert_eq!(
            client::read(&answer, &[SIV]),
            Err(AnswerFault::Error(number.into()))
        );
    }
    assert_eq!(
        client::read(&server::no_protocol(), &[SIV]),
        Err(AnswerFault::NoProtocol)
    );
    assert_eq!(
        client::read(&server::no_algorithm(), &[SIV]),
        Err(AnswerFault::NoAlgorithm)
    );
}

/// Record 1024 from either side, or from none: whose keys are exported how.
//= RFC 8915 §4.3 exporter
#[test]
fn keys_of_aead_30_are_exported_in_two_ways() {
    let request = |compliant: bool, id: u8| {
        let mut records = vec![record(critical(1), &[0, 0]), record(critical(4), &[0, id])];
        if compliant {
            records.push(record(1024, &[]));
        }
        message(&records)
    };
    for (compliant, id, named, echoed) in [
        (true, 30, 30, true),
        (false, 30, 15, false),
        (true, 15, 15, false),
        (false, 15, 15, false),
    ] {
        let offer = offer(&[SIV, GCM]);
        let accepted = accepted(server::decide(&request(compliant, id), &offer));
        let expected = [[0, 0, 0, named, 0], [0, 0, 0, named, 1]];
        assert_eq!(accepted.export.contexts(), expected);
        let answer = server::accept(accepted, &offer, [&[7; 68][..]]);
        assert_eq!(answer.windows(4).any(|part| part == [4, 0, 0, 0]), echoed);
        // Both sides agree; a client of AEAD 30 may try the other way.
        let granted = client::read(&answer, &[GCM, SIV]).unwrap().unwrap();
        assert_eq!(granted.export, accepted.export);
        // A server that said it is sure of its way.
        assert_eq!(granted.uncertain_export().is_some(), id == 30 && !compliant);
        let other = granted.export.other().map(KeyExport::contexts);
        let expected = (id == 30).then_some(if named == 30 { 15 } else { 30 });
        assert_eq!(
            other,
            expected.map(|named| [[0, 0, 0, named, 0], [0, 0, 0, named, 1]])
        );
    }
}

//= RFC 8915 §4 alpn
#[test]
fn keys_come_from_the_exporter() {
    for (algorithm, length) in [(SIV, 32), (GCM, 16)] {
        let export = KeyExport::new(algorithm, true);
        let keys = export.keys(|context, key| {
            assert_eq!(key.len(), length);
            key.fill(context[4] + 1);
            true
        });
        let keys = keys.unwrap();
        assert_eq!(keys.algorithm(), algorithm);
        assert_eq!(keys.bytes(), [vec![1; length], vec![2; length]].concat());
        assert!(export.keys(|context, _| context[4] == 0).is_none());
    }
    assert_eq!(KeyExport::LABEL, b"EXPORTER-network-time-security");
    assert_eq!((ALPN, PORT), (&b"ntske/1"[..], 4460));
}

//= RFC 8915 §4.1.6 cookies
#[test]
fn both_sides_understand_each_other() {
    for (wanted, offered, chosen) in [
        (&[SIV][..], &[SIV, GCM][..], Some(SIV)),
        (&[GCM, SIV], &[SIV, GCM], Some(GCM)),
        (&[SIV, GCM], &[GCM, SIV], Some(SIV)),
        (&[GCM, SIV], &[SIV], Some(SIV)),
        (&[GCM], &[SIV], None),
    ] {
        let offer = KeOffer {
            server: Some("time.example".to_owned()),
            port: Some(1123),
            ..offer(offered)
        };
        let decision = server::decide(&client::request(wanted), &offer);
        let Some(chosen) = chosen else {
            assert_eq!(decision, KeDecision::NoAlgorithm);
            continue;
        };
        let cookies = [[7; 100]; 8];
        let answer = server::accept(
            accepted(decision),
            &offer,
            cookies.iter().map(|cookie| &cookie[..]),
        );
        for length in 0..answer.len() {
            assert_eq!(client::read(&answer[..length], wanted), Ok(None));
        }
        let granted = Granted {
            export: KeyExport::new(chosen, chosen == GCM),
            cookies: cookies.map(Vec::from).to_vec(),
            server: Some("time.example".to_owned()),
            port: Some(1123),
        };
        assert_eq!(client::read(&answer, wanted), Ok(Some(granted)));
    }
}

#[test]
fn an_answer_is_never_longer_than_others_read() {
    let accepted = accepted(server::decide(&client::request(&[SIV]), &offer(&[SIV])));
    let offer = KeOffer {
        server: Some("x".repeat(255)),
        port: Some(1),
        ..offer(&[SIV])
    };
    for length in [100, 600, 4000] {
        let cookies = vec![vec![7; length]; 60];
        let answer = server::accept(accepted, &offer, cookies.iter().map(Vec::as_slice));
        assert!(answer.len() <= LONGEST_MESSAGE, "{}", answer.len());
    }
}

//= RFC 8915 §4.1 unknown
//= RFC 8915 §4.1.3 client
//= RFC 8915 §4.1.4 client
//= RFC 8915 §4.1.5 offered
//= RFC 8915 §4.1.7 name
#[test]
fn what_a_client_makes_of_answers() {
    let ntpv4 = record(critical(1), &[0, 0]);
    let siv = record(critical(4), &[0, 15]);
    let cookie = record(5, &[7; 100]);
    let good = [ntpv4.clone(), siv.clone(), cookie.clone()];
    let with = |more: &[Vec<u8>]| [&good[..], more].concat();
    let of = |records: &[Vec<u8>]| client::read(&message(records), &[SIV]);
    let fault = |kind| Err(AnswerFault::Record(kind));
    for (records, expected) in [
        (vec![], fault(1)),
        (vec![ntpv4.clone(), cookie.clone()], fault(4)),
        (vec![siv.clone(), cookie.clone()], fault(1)),
        (vec![ntpv4.clone(), siv.clone()], Err(AnswerFault::NoCookie)),
        (
            vec![record(critical(1), &[0x80, 1]), siv.clone(), cookie.clone()],
            Err(AnswerFault::NoProtocol),
        ),
        (
            vec![record(critical(1), &[0, 0, 0, 1]), siv.clone(), cookie.clone()],
            fault(1),
        ),
        (
            vec![record(critical(1), &[0]), siv.clone(), cookie.clone()],
            fault(1),
        ),
        // One that was not asked for.
        (
            vec![ntpv4.clone(), record(critical(4), &[0, 30]), cookie.clone()],
            Err(AnswerFault::NoAlgorithm),
        ),
        (
            vec![
                ntpv4.clone(),
                record(critical(4), &[0, 15, 0, 30]),
                cookie.clone(),
            ],
            fault(4),
        ),
        (with(std::slice::from_ref(&ntpv4)), fault(1)),
        (with(std::slice::from_ref(&siv)), fault(4)),
        (with(&[record(critical(2), &[0, 2])]), Err(AnswerFault::Error(2))),
        (with(&[record(critical(2), &[])]), fault(2)),
        (
            with(&[record(critical(3), &[0, 9])]),
            Err(AnswerFault::Warning(9)),
        ),
        (with(&[record(critical(3), &[9])]), fault(3)),
        (
            with(&[record(critical(9), &[])]),
            Err(AnswerFault::UnrecognizedCritical(9)),
        ),
        (with(&[record(5, &[])]), Err(AnswerFault::CookieLength)),
        (with(&[record(5, &[7; 96])]), Err(AnswerFault::CookieLength)),
        (
            vec![ntpv4.clone(), siv.clone(), record(5, &[7; 101])],
            Err(AnswerFault::CookieLength),
        ),
        (
            vec![ntpv4.clone(), siv.clone(), record(5, &[7; 516])],
            Err(AnswerFault::CookieLength),
        ),
        (with(&[record(7, &[0, 0])]), fault(7)),
        (with(&[record(7, &[1])]), fault(7)),
        (with(&[record(7, &[0, 1]), record(7, &[0, 1])]), fault(7)),
        (with(&[record(6, b"")]), fault(6)),
        (with(&[record(6, b"a b")]), fault(6)),
        (with(&[record(6, b"a\n")]), fault(6)),
        (with(&[record(6, "\u{e4}".as_bytes())]), fault(6)),
        (with(&[record(6, &[b'a'; 256])]), fault(6)),
        (with(&[record(6, b"a"), record(6, b"b")]), fault(6)),
    ] {
        assert_eq!(of(&records), expected, "{records:02x?}");
    }
    let granted = |records: &[Vec<u8>]| of(records).unwrap().unwrap();
    assert_eq!(granted(&good).cookies, [[7; 100]]);
    assert_eq!(granted(&with(&vec![cookie; 20])).cookies.len(), 8);
    assert_eq!(granted(&with(&[record(9, &[1])])), granted(&good));
    for name in [
        "time.example",
        "192.0.2.1",
        "2001:db8::1",
        "fe80::1%eth0",
        "a_b-c.",
    ] {
        assert_eq!(
            granted(&with(&[record(critical(6), name.as_bytes())]))
                .server
                .as_deref(),
            Some(name)
        );
    }
}

proptest! {
    #[test]
    fn records_survive(records in prop::collection::vec((any::<bool>(), 1_u16..0x8000, prop::collection::vec(any::<u8>(), 0..60)), 0..40)) {
        let mut writer = MessageWriter::default();
        for (is_critical, kind, body) in &records {
            writer.push(*is_critical, *kind, body);
        }
        let bytes = writer.end();
        let message = Message::read(&bytes).unwrap().unwrap();
        let expected: Vec<_> = records.iter().map(|(is_critical, kind, body)| Record { is_critical: *is_critical, kind: *kind, body }).collect();
        prop_assert_eq!(message.records().collect::<Vec<_>>(), expected);
    }

    /// Pieces make no difference: what is decided of a part stays, or more had to come.
    #[test]
    fn what_is_decided_of_a_part_stays(bytes in hostile(), part in 0_usize..300) {
        let offer = offer(&[SIV, GCM]);
        let (part, _) = bytes.split_at(part.min(bytes.len()));
        match (server::decide(part, &offer), server::decide(&bytes, &offer)) {
            (KeDecision::Wait, _) => {}
            // Only the end of a whole message can be followed by too much.
            (_, KeDecision::Refuse(ErrorCode::BadRequest)) => {}
            (one, other) => prop_assert_eq!(one, other),
        }
    }

    #[test]
    fn what_is_granted_can_be_used(bytes in hostile()) {
        if let Ok(Some(granted)) = client::read(&bytes, &[SIV]) {
            prop_assert_eq!(granted.export.algorithm, SIV);
            prop_assert!((1..=8).contains(&granted.cookies.len()));
            prop_assert!(granted.port != Some(0));
        }
    }
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![0_u16..9, any::<u16>(), (0_u16..9).prop_map(critical)];
    let body = prop_oneof![
        Just(vec![]),
        Just(vec![0, 0]),
        Just(vec![0, 15]),
        Just(vec![0, 30]),
        prop::collection::vec(any::<u8>(), 0..12)
    ];
    let any_record = (kind, body).prop_map(|(kind, body)| record(kind, &body));
    let piece = prop_oneof![
        4 => any_record,
        1 => Just(record(critical(0), &[])),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}
