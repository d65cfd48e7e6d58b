//! Pure. Tests of the replies to requests with NTS, against a client that is made of the crates' AEADs.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::nts::aead::Algorithm;
use crate::nts::keyring::Time;
use crate::nts::test_client::{NtsClient, field, keyring, sealed};
use crate::time::NtpShort;
use crate::wire::Leap;
use crate::wire::extension::{PacketPart, PacketParts, field_type};

const VARIABLES: SystemVariables = SystemVariables {
    leap: Leap::AddSecond,
    stratum: 2,
    precision: -24,
    root_delay: NtpShort::from_bits(7),
    root_dispersion: NtpShort::from_bits(8),
    reference_id: ReferenceId::from_bytes([192, 0, 2, 9]),
    reference_timestamp: NtpTimestamp::from_bits(9),
};
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const T2: NtpTimestamp = NtpTimestamp::from_bits(1000);

fn today() -> Keyring {
    keyring(20_775, Time::Vouched)
}

/// The time at which the reply of this number leaves.
fn t3(number: usize) -> NtpTimestamp {
    NtpTimestamp::from_bits(2000 + 10 * u64::try_from(number).unwrap())
}

fn request(payload: &[u8]) -> Request<'_> {
    Request {
        payload,
        source: CLIENT,
        source_port: 40_000,
        unicast: true,
        received_at: T2,
    }
}

/// A packet without its room for a reply.
#[derive(Clone, Copy)]
struct Sent<'a> {
    request: Request<'a>,
    is_cut: bool,
    refusal: Option<Verdict>,
}

fn sent(payload: &[u8]) -> Sent<'_> {
    Sent {
        request: request(payload),
        is_cut: false,
        refusal: None,
    }
}

/// The outcomes of packets that came together, with their replies.
fn answered(
    keyring: &Keyring,
    variables: &SystemVariables,
    all: &[Sent<'_>],
    rule: impl FnMut(IpAddr, RequestClass) -> Ruling,
) -> Vec<(NtsOutcome, Vec<u8>)> {
    let mut buffers: Vec<_> = all
        .iter()
        .map(|sent| vec![0xA5; sent.request.payload.len()])
        .collect();
    let packets = all.iter().zip(&mut buffers).map(|(sent, reply)| NtsPacket {
        request: sent.request,
        is_cut: sent.is_cut,
        refusal: sent.refusal,
        reply,
    });
    let mut batch = NtsBatch::open(keyring, packets.collect());
    batch.rule(rule);
    let bytes = batch.sealed_len();
    let outcomes = batch.seal(keyring, &mut Nonces::new([4; 16]), variables, t3);
    assert_eq!(outcomes.len(), all.len());
    let outcomes: Vec<_> = outcomes.into_iter().zip(buffers).collect();
    let is_sealed = |outcome: &&(NtsOutcome, Vec<u8>)| {
        outcome.0.verdict.has_reply() && outcome.0.verdict != Verdict::KissedNtsNak
    };
    let sealed = outcomes.iter().filter(is_sealed);
    assert_eq!(bytes, sealed.map(|(outcome, _)| outcome.length).sum::<usize>());
    let cut = |(outcome, buffer): (NtsOutcome, Vec<u8>)| {
        assert_eq!(outcome.verdict.has_reply(), outcome.length > 0, "{outcome:?}");
        assert_eq!(outcome.nak.is_some(), outcome.verdict == Verdict::KissedNtsNak);
        (outcome, buffer[..outcome.length].to_vec())
    };
    outcomes.into_iter().map(cut).collect()
}

/// The same of one packet, if it is answered.
fn alone(keyring: &Keyring, sent: Sent<'_>) -> (NtsOutcome, Vec<u8>) {
    answered(keyring, &VARIABLES, &[sent], |_, _| Ruling::Answer).remove(0)
}

fn never(_: IpAddr, _: RequestClass) -> Ruling {
    panic!("a token would be taken")
}

fn client(algorithm: Algorithm) -> NtsClient {
    NtsClient {
        header: header(4, 3),
        ..NtsClient::new(algorithm)
    }
}

fn header(version: u8, mode: u8) -> [u8; HEADER_LEN] {
    let mut header = [0x55; HEADER_LEN];
    header[0] = 3 << 6 | version << 3 | mode;
    header
}

/// The header, and the unauthenticated fields.
fn parts(reply: &[u8]) -> (Header, Vec<(u16, Vec<u8>)>) {
    let fields = PacketParts::of_packet(reply).map(|part| match part {
        Ok(PacketPart::Field(field)) => (field.kind, field.value.to_vec()),
        Ok(PacketPart::Mac(_)) | Err(_) => panic!("{part:?}"),
    });
    (Header::parse(reply).unwrap(), fields.collect())
}

//= RFC 8915 §5.7 cookies
//= RFC 8915 §5.7 open
//= RFC 8915 §5.7 reply
#[test]
fn an_answer_says_the_time_and_is_as_long_as_its_request() {
    let keyring = today();
    for algorithm in Algorithm::ALL {
        for placeholders in 0..=20 {
            let client = NtsClient {
                placeholders,
                ..client(algorithm)
            };
            let packet = client.request(&client.cookie(&keyring));
            let (outcome, reply) = alone(&keyring, sent(&packet));
            assert_eq!(outcome.verdict, Verdict::AnsweredNts);
            assert_eq!(reply.len(), packet.len());
            assert_eq!(client.cookies(&reply).len(), (1 + placeholders).min(8));
            assert_eq!(outcome.cookie_age, Some(CookieAge::of_periods(0)));
            assert_eq!(outcome.residence, t3(0) - T2);
            let (header, _) = parts(&reply);
            let asked = Header::parse(&packet).unwrap();
            assert_eq!((header.mode, header.version), (Mode::Server, asked.version));
            assert_eq!((header.leap, header.stratum), (Leap::AddSecond, 2));
            assert_eq!(header.origin_timestamp, asked.transmit_timestamp);
            assert_eq!((header.receive_timestamp, header.transmit_timestamp), (T2, t3(0)));
        }
    }
}

#[test]
fn without_a_time_the_answer_says_so_and_is_authenticated() {
    let keyring = today();
    let client = client(Algorithm::SivCmac256);
    let packet = client.request(&client.cookie(&keyring));
    let unusable = VARIABLES.unusable(ReferenceId::LOST);
    let outcomes = answered(&keyring, &unusable, &[sent(&packet)], |_, _| Ruling::Answer);
    let (outcome, reply) = &outcomes[0];
    assert_eq!(outcome.verdict, Verdict::AnsweredNts);
    let (header, _) = parts(reply);
    assert_eq!((header.leap, header.stratum), (Leap::Unsynchronized, 0));
    assert_eq!(header.reference_id, ReferenceId::LOST);
    assert_eq!(client.cookies(reply).len(), 1);
}

/// The whole table of versions and modes. Not one of them is answered plain.
//= RFC 8915 §5.7 request
#[test]
fn only_clients_of_version_4_have_nts() {
    let keyring = today();
    for version in 0..8 {
        for mode in 0..8 {
            let client = NtsClient {
                header: header(version, mode),
                ..client(Algorithm::SivCmac256)
            };
            let packet = client.request(&client.cookie(&keyring));
            let (outcome, _) = alone(&keyring, sent(&packet));
            let expected = match (version, mode) {
                (0 | 5..=7, _) => Verdict::RefusedVersion,
                (4, 3) => Verdict::AnsweredNts,
                (_, 1 | 3) | (1, 0) => Verdict::RefusedNtsMalformed,
                (_, 0) => Verdict::RefusedReserved,
                (_, 2 | 4) => Verdict::RefusedAnswer,
                (_, 5) => Verdict::RefusedBroadcast,
                (_, 6) => Verdict::RefusedControl,
                _ => Verdict::RefusedPrivate,
            };
            assert_eq!(outcome.verdict, expected, "version {version} mode {mode}");
        }
    }
}

//= RFC 8915 §5.7 request
#[test]
fn what_is_no_whole_request_gets_no_reply_and_takes_no_token() {
    let keyring = today();
    let client = client(Algorithm::SivCmac256);
    let cookie = client.cookie(&keyring);
    let good = client.request(&cookie);
    let (start, identifier, cookie) = (
        &header(4, 3)[..],
        field(field_type::UNIQUE_IDENTIFIER, &client.identifier),
        field(field_type::COOKIE, &cookie),
    );
    let placeholder = field(field_type::COOKIE_PLACEHOLDER, &[0; 100]);
    // As its client would seal it, so that only its shape can be wrong.
    let whole = |parts: &[&[u8]]| {
        let associated = [start, &parts.concat()].concat();
        let (c2s, _) = client.keys.bytes().split_at(32);
        let seal = client.authenticator(&sealed(c2s, &client.nonce, &associated, &[]));
        (associated, seal)
    };
    let packet = |parts: &[&[u8]]| {
        let (associated, seal) = whole(parts);
        [associated, seal].concat()
    };
    let short = field(field_type::UNIQUE_IDENTIFIER, &[7; 28]);
    let nonce = NtsClient {
        nonce: vec![1; 4],
        ..client.clone()
    };
    let (associated, seal) = whole(&[&identifier, &cookie]);
    for (name, packet) in [
        ("no field but the seal", packet(&[])),
        ("no cookie", packet(&[&identifier])),
        ("no identifier", packet(&[&cookie])),
        ("placeholders alone", packet(&[&placeholder])),
        ("two cookies", packet(&[&identifier, &cookie, &cookie])),
        ("two identifiers", packet(&[&identifier, &identifier, &cookie])),
        ("a short identifier", packet(&[&short, &cookie])),
        ("no seal", associated.clone()),
        ("the seal first", [start, &seal, &identifier, &cookie].concat()),
        (
            "the cookie behind the seal",
            [start, &identifier, &seal, &cookie].concat(),
        ),
        ("cut within the seal", good[..good.len() - 4].to_vec()),
        (
            "a length beyond the end",
            [start, &[1, 4, 0, 200], &[7; 40]].concat(),
        ),
        ("no room for the nonce", nonce.request(&cookie[4..])),
    ] {
        let (outcome, _) = answered(&keyring, &VARIABLES, &[sent(&packet)], never).remove(0);
        assert_eq!(outcome.verdict, Verdict::RefusedNtsMalformed, "{name}");
    }
    assert_eq!(alone(&keyring, sent(&good)).0.verdict, Verdict::AnsweredNts);
    let cut = Sent {
        is_cut: true,
        ..sent(&good)
    };
    let (outcome, _) = answered(&keyring, &VARIABLES, &[cut], never).remove(0);
    assert_eq!(outcome.verdict, Verdict::RefusedNtsMalformed);
}

#[test]
fn refusals_that_need_no_keys_come_first_and_those_of_the_header_before_them() {
    let keyring = today();
    let client = client(Algorithm::SivCmac256);
    let packet = client.request(&client.cookie(&keyring));
    let with = |change: fn(&mut Sent<'_>)| {
        let mut sent = sent(&packet);
        change(&mut sent);
        answered(&keyring, &VARIABLES, &[sent], never).remove(0).0.verdict
    };
    assert_eq!(
        with(|sent| sent.refusal = Some(Verdict::RefusedLate)),
        Verdict::RefusedLate
    );
    for (change, expected) in [
        (
            (|sent| sent.request.source_port = 0) as fn(&mut Sent<'_>),
            Verdict::RefusedPortZero,
        ),
        (|sent| sent.request.unicast = false, Verdict::RefusedNotUnicast),
        (
            |sent| sent.request.source = Ipv4Addr::BROADCAST.into(),
            Verdict::RefusedSource,
        ),
        (
            |sent| sent.request.payload = &sent.request.payload[..47],
            Verdict::RefusedTooShort,
        ),
    ] {
        assert_eq!(with(change), expected);
    }
    let mut late = sent(&packet);
    (late.request.unicast, late.refusal) = (false, Some(Verdict::RefusedLate));
    let (outcome, _) = answered(&keyring, &VARIABLES, &[late], never).remove(0);
    assert_eq!(outcome.verdict, Verdict::RefusedNotUnicast);
}

/// A packet that is not genuine, for each reason.
fn not_genuine(keyring: &Keyring, client: &NtsClient) -> [(Vec<u8>, NakReason); 3] {
    let cookie = client.cookie(keyring);
    let old = client.cookie(&super::tests::keyring(20_767, Time::Vouched));
    let mut forged = cookie.clone();
    forged[40] ^= 1;
    let mut damaged = client.request(&cookie);
    damaged[HEADER_LEN - 1] ^= 1;
    [
        (client.request(&old), NakReason::Name),
        (client.request(&forged), NakReason::Cookie),
        (damaged, NakReason::Authenticator),
    ]
}

//= RFC 8915 §5.7 nak
#[test]
fn what_is_not_genuine_gets_a_nak_with_the_identifier_and_nothing_else() {
    let keyring = today();
    for algorithm in Algorithm::ALL {
        let client = client(algorithm);
        for (packet, reason) in not_genuine(&keyring, &client) {
            let mut asked = Vec::new();
            let rule = |source, class| {
                asked.push((source, class));
                Ruling::Answer
            };
            let (outcome, reply) = answered(&keyring, &VARIABLES, &[sent(&packet)], rule).remove(0);
            assert_eq!(asked, [(CLIENT, RequestClass::Unauthenticated)]);
            assert_eq!(
                (outcome.verdict, outcome.nak),
                (Verdict::KissedNtsNak, Some(reason))
            );
            assert_eq!((outcome.cookie_age, reply.len()), (None, 84));
            let (header, fields) = parts(&reply);
            assert_eq!((header.leap, header.stratum), (Leap::Unsynchronized, 0));
            assert_eq!(header.reference_id, ReferenceId::NTSN);
            let asked = Header::parse(&packet).unwrap();
            assert_eq!(header.origin_timestamp, asked.transmit_timestamp);
            assert_eq!(
                fields,
                [(field_type::UNIQUE_IDENTIFIER, client.identifier.clone())]
            );
        }
    }
}

//= RFC 8915 §5.7 kiss
#[test]
fn a_ruling_is_obeyed_and_kisses_are_authenticated() {
    let keyring = today();
    let client = NtsClient {
        placeholders: 2,
        ..client(Algorithm::GcmSiv128)
    };
    let packet = client.request(&client.cookie(&keyring));
    let by = |ruling, packet: &[u8]| answered(&keyring, &VARIABLES, &[sent(packet)], |_, _| ruling).remove(0);
    let kiss = |verdict, code, poll| Ruling::Kiss { verdict, code, poll };
    let rate = kiss(Verdict::KissedRate, ReferenceId::RATE, 100);
    let deny = kiss(Verdict::KissedDenied, ReferenceId::DENY, i8::MIN);
    for (ruling, verdict, code, poll) in [
        (rate, Verdict::KissedRate, ReferenceId::RATE, 100),
        (deny, Verdict::KissedDenied, ReferenceId::DENY, 0x55),
    ] {
        let (outcome, reply) = by(ruling, &packet);
        assert_eq!(outcome.verdict, verdict);
        assert_eq!(client.cookies(&reply).len(), 3, "authentic, with cookies");
        let (header, _) = parts(&reply);
        assert_eq!((header.leap, header.stratum), (Leap::Unsynchronized, 0));
        assert_eq!((header.reference_id, header.poll), (code, poll));
    }
    for refused in [
        Verdict::RefusedRate,
        Verdict::RefusedBudget,
        Verdict::RefusedDenied,
    ] {
        assert_eq!(by(Ruling::Refuse(refused), &packet).0.verdict, refused);
    }
    // A client would not believe another kiss than NTSN without an authenticator.
    for (packet, _) in not_genuine(&keyring, &client) {
        for (ruling, expected) in [
            (rate, Verdict::RefusedRate),
            (deny, Verdict::RefusedDenied),
            (Ruling::Refuse(Verdict::RefusedBudget), Verdict::RefusedBudget),
        ] {
            assert_eq!(by(ruling, &packet).0.verdict, expected);
        }
    }
}

#[test]
fn only_replies_have_a_number_and_each_leaves_at_its_time() {
    let keyring = today();
    let client = client(Algorithm::SivCmac256);
    let good = client.request(&client.cookie(&keyring));
    let nak = not_genuine(&keyring, &client)[0].0.clone();
    let malformed = good[..100].to_vec();
    let all = [&good, &malformed, &nak, &good].map(|packet| sent(packet));
    let outcomes = answered(&keyring, &VARIABLES, &all, |_, _| Ruling::Answer);
    let said: Vec<_> = outcomes
        .iter()
        .filter(|(outcome, _)| outcome.length > 0)
        .map(|(_, reply)| Header::parse(reply).unwrap().transmit_timestamp)
        .collect();
    assert_eq!(said, [t3(0), t3(1), t3(2)]);
}

#[test]
fn no_reply_gets_a_reply() {
    let keyring = today();
    let client = client(Algorithm::SivCmac256);
    let (_, answer) = alone(&keyring, sent(&client.request(&client.cookie(&keyring))));
    let (_, nak) = alone(&keyring, sent(&not_genuine(&keyring, &client)[0].0));
    for reply in [answer, nak] {
        let (outcome, _) = answered(&keyring, &VARIABLES, &[sent(&reply)], never).remove(0);
        assert_eq!(outcome.verdict, Verdict::RefusedAnswer);
    }
}

#[test]
fn the_age_of_a_cookie_is_that_of_its_key() {
    let keyring = today();
    let client = client(Algorithm::SivCmac256);
    for (day, expected) in [(20_776, "next"), (20_775, "0"), (20_774, "1"), (20_768, "7")] {
        let other = super::tests::keyring(day, Time::Vouched);
        let packet = client.request(&client.cookie(&other));
        let (outcome, _) = alone(&keyring, sent(&packet));
        assert_eq!(outcome.cookie_age.map(CookieAge::name).as_deref(), Some(expected));
    }
}

/// Whole requests, some of them damaged, and bytes behind a header.
fn packets() -> impl Strategy<Value = Vec<u8>> {
    let whole = (
        prop::sample::select(Algorithm::ALL.to_vec()),
        32_usize..200,
        0_usize..6,
        0_usize..3,
        prop::option::of(12_u16..100),
        prop::collection::vec(any::<u8>(), 0..40),
        20_765_u32..20_778,
    );
    let whole = whole.prop_map(
        |(algorithm, identifier, placeholders, encrypted, unknown, behind, day)| {
            let client = NtsClient {
                identifier: vec![6; identifier],
                placeholders,
                encrypted,
                unknown,
                behind,
                ..client(algorithm)
            };
            client.request(&client.cookie(&keyring(day, Time::Vouched)))
        },
    );
    let damaged = (whole, prop::option::of((0_usize..16_000, any::<bool>())));
    damaged.prop_map(|(mut packet, damage)| {
        match damage {
            Some((place, true)) => {
                let bit = place % (8 * packet.len());
                packet[bit / 8] ^= 1 << (bit % 8);
            }
            Some((place, false)) => packet.truncate(place % packet.len()),
            None => {}
        }
        packet
    })
}

proptest! {
    //= RFC 8915 §5.7 reply
    #[test]
    fn whatever_comes_no_reply_is_longer_and_several_are_as_each_alone(all in prop::collection::vec((packets(), any::<bool>()), 1..=BATCH)) {
        let keyring = today();
        let all: Vec<_> = all.iter().map(|(packet, is_cut)| Sent { is_cut: *is_cut && packet.len() > 900, ..sent(packet) }).collect();
        let together = answered(&keyring, &VARIABLES, &all, |_, _| Ruling::Answer);
        for (sent, (outcome, reply)) in all.iter().zip(together) {
            prop_assert!(reply.len() <= sent.request.payload.len());
            let (expected, other) = alone(&keyring, *sent);
            prop_assert_eq!((outcome.verdict, outcome.length, outcome.nak, outcome.cookie_age), (expected.verdict, expected.length, expected.nak, expected.cookie_age));
            if outcome.length > 0 {
                let ((header, fields), (wanted, others)) = (parts(&reply), parts(&other));
                prop_assert_eq!(Header { transmit_timestamp: wanted.transmit_timestamp, ..header }, wanted);
                // Nonces, and so cookies and tags, are others each time.
                let kinds = |fields: &[(u16, Vec<u8>)]| fields.iter().map(|(kind, value)| (*kind, value.len())).collect::<Vec<_>>();
                prop_assert_eq!(kinds(&fields), kinds(&others));
                prop_assert_eq!(&fields[0], &others[0]);
            }
        }
    }
}

#[test]
fn ages_have_names_of_their_own() {
    let names: BTreeSet<_> = CookieAge::all().map(CookieAge::name).collect();
    assert_eq!(names.len(), CookieAge::all().count());
}
