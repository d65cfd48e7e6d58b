//! Pure. Tests of the server's side, against a client that is made of the crates' AEADs.

use proptest::prelude::*;

use super::*;
use crate::nts::keyring::Time;
use crate::nts::test_client::{NtsClient, field, keyring, sealed};

const HEADER: [u8; HEADER_LEN] = [0x24; HEADER_LEN];

fn today() -> Keyring {
    keyring(20_775, Time::Vouched)
}

/// The outcome of a request: its reply, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OpenOutcome {
    Plain,
    Malformed,
    OpenFault(OpenFault),
    NtsReply(Vec<u8>),
}

fn answered(keyring: &Keyring, packet: &[u8]) -> OpenOutcome {
    match NtsRequest::parse(packet) {
        Ok(None) => OpenOutcome::Plain,
        Err(Malformed) => OpenOutcome::Malformed,
        Ok(Some(request)) => match open(keyring, &[request]).pop().unwrap() {
            Err(unopened) => OpenOutcome::OpenFault(unopened),
            Ok(opened) => {
                let mut buffer = vec![0xA5; packet.len()];
                let mut replies = [NtsReply {
                    request: &request,
                    opened: &opened,
                    header: HEADER,
                    buffer: &mut buffer,
                }];
                let length = seal(keyring, &mut Nonces::new([4; 16]), &mut replies)
                    .pop()
                    .unwrap();
                assert!(buffer[length.unwrap()..].iter().all(|&byte| byte == 0xA5));
                buffer.truncate(length.unwrap());
                assert_eq!(buffer[..HEADER_LEN], HEADER);
                OpenOutcome::NtsReply(buffer)
            }
        },
    }
}

fn reply(outcome: OpenOutcome) -> Vec<u8> {
    into_reply(outcome).unwrap()
}

fn into_reply(outcome: OpenOutcome) -> Result<Vec<u8>, OpenOutcome> {
    match outcome {
        OpenOutcome::NtsReply(reply) => Ok(reply),
        OpenOutcome::Plain | OpenOutcome::Malformed | OpenOutcome::OpenFault(_) => Err(outcome),
    }
}

//= RFC 8915 §5.7 cookies
//= RFC 8915 §5.7 eight
//= RFC 8915 §5.7 open
//= RFC 8915 §5.7 reply
#[test]
fn a_client_gets_as_many_cookies_as_it_wants_and_eight_at_most() {
    let keyring = today();
    for algorithm in Algorithm::ALL {
        for placeholders in 0..=20 {
            let client = NtsClient {
                placeholders,
                ..NtsClient::new(algorithm)
            };
            let request = client.request(&client.cookie(&keyring));
            let reply = reply(answered(&keyring, &request));
            assert_eq!(reply.len(), request.len());
            let cookies = client.cookies(&reply);
            assert_eq!(cookies.len(), (1 + placeholders).min(8));
            let distinct: std::collections::BTreeSet<_> = cookies.iter().collect();
            assert_eq!(distinct.len(), cookies.len());
            for cookie in &cookies {
                let again = answered(&keyring, &client.request(cookie));
                assert!(matches!(again, OpenOutcome::NtsReply(_)));
            }
        }
    }
}

/// The lengths that chrony and others send, in bytes.
#[test]
fn lengths_are_those_of_others() {
    let keyring = today();
    for (algorithm, placeholders, expected) in [
        (Algorithm::SivCmac256, 0, 228),
        (Algorithm::SivCmac256, 7, 956),
        (Algorithm::GcmSiv128, 0, 192),
        (Algorithm::GcmSiv128, 7, 696),
    ] {
        let client = NtsClient {
            placeholders,
            ..NtsClient::new(algorithm)
        };
        assert_eq!(client.request(&client.cookie(&keyring)).len(), expected);
    }
}

//= RFC 8915 §5.7 placeholders
#[test]
fn placeholders_count_encrypted_or_not_and_only_those_of_the_cookies_length() {
    let keyring = today();
    for algorithm in Algorithm::ALL {
        for (placeholders, encrypted, expected) in [(0, 1, 2), (2, 3, 6), (7, 0, 8), (0, 7, 8), (4, 6, 8)] {
            let client = NtsClient {
                placeholders,
                encrypted,
                ..NtsClient::new(algorithm)
            };
            let request = client.request(&client.cookie(&keyring));
            if request.len() > LONGEST_PLAINTEXT {
                continue;
            }
            let reply = reply(answered(&keyring, &request));
            assert_eq!(
                client.cookies(&reply).len(),
                expected,
                "{placeholders} {encrypted}"
            );
            assert_eq!(reply.len(), request.len());
        }
        for difference in [-4, 4] {
            let client = NtsClient::new(algorithm);
            let length = client
                .cookie(&keyring)
                .len()
                .checked_add_signed(difference)
                .unwrap();
            let other = field(field_type::COOKIE_PLACEHOLDER, &vec![0; length]);
            let packet = client.request(&client.cookie(&keyring));
            let start = HEADER_LEN + 36;
            let mut authenticated = [&packet[..start], &other, &packet[start..]].concat();
            let end = authenticated.len() - client.authenticator(&[0; 16]).len();
            authenticated.truncate(end);
            let (c2s, _) = client.keys.bytes().split_at(algorithm.key_len());
            let seal = sealed(c2s, &client.nonce, &authenticated, &[]);
            authenticated.extend(client.authenticator(&seal));
            let reply = reply(answered(&keyring, &authenticated));
            assert_eq!(client.cookies(&reply).len(), 1);
        }
    }
}

//= RFC 8915 §5.7 unauthenticated
#[test]
fn what_follows_the_authenticator_is_not_looked_at() {
    let keyring = today();
    let plain = NtsClient::new(Algorithm::SivCmac256);
    let cookie = plain.cookie(&keyring);
    for behind in [
        field(0x9999, &[1; 24]),
        field(field_type::COOKIE_PLACEHOLDER, &[0; 100]),
        field(field_type::UNIQUE_IDENTIFIER, &[7; 32]),
        vec![0, 0, 0, 1],
        vec![1; 20],
        vec![1; 27],
    ] {
        let request = NtsClient {
            behind,
            ..plain.clone()
        }
        .request(&cookie);
        let reply = reply(answered(&keyring, &request));
        assert_eq!(plain.cookies(&reply).len(), 1);
        assert_eq!(reply.len(), 228);
    }
}

//= RFC 8915 §5.3 length
//= RFC 8915 §5.7 request
#[test]
fn what_is_no_whole_request_is_malformed() {
    let header = [0x23; HEADER_LEN].to_vec();
    let identifier = field(field_type::UNIQUE_IDENTIFIER, &[7; 32]);
    let cookie = field(field_type::COOKIE, &[7; 100]);
    let placeholder = field(field_type::COOKIE_PLACEHOLDER, &[0; 100]);
    let unknown = field(0x9999, &[7; 40]);
    let seal = field(
        field_type::AUTHENTICATOR,
        &[&[0, 16, 0, 16][..], &[7; 32]].concat(),
    );
    let bad = |value: &[u8]| field(field_type::AUTHENTICATOR, value);
    let parts = |parts: &[&Vec<u8>]| {
        let mut packet = header.clone();
        parts.iter().for_each(|part| packet.extend(*part));
        packet
    };
    let short = field(field_type::UNIQUE_IDENTIFIER, &[7; 28]);
    for packet in [
        parts(&[&identifier]),
        parts(&[&cookie]),
        parts(&[&placeholder]),
        parts(&[&seal]),
        parts(&[&identifier, &cookie]),
        parts(&[&identifier, &seal]),
        parts(&[&cookie, &seal]),
        parts(&[&seal, &identifier, &cookie]),
        parts(&[&identifier, &seal, &cookie]),
        parts(&[&identifier, &identifier, &cookie, &seal]),
        parts(&[&identifier, &cookie, &cookie, &seal]),
        parts(&[&short, &cookie, &seal]),
        parts(&[&identifier, &cookie, &vec![0x99, 0x99, 0, 3], &seal]),
        // Nonce and ciphertext: none, too short, more than there is.
        parts(&[&identifier, &cookie, &bad(&[0; 36])]),
        parts(&[
            &identifier,
            &cookie,
            &bad(&[&[0, 0, 0, 16][..], &[7; 32]].concat()),
        ]),
        parts(&[
            &identifier,
            &cookie,
            &bad(&[&[0, 16, 0, 15][..], &[7; 32]].concat()),
        ]),
        parts(&[
            &identifier,
            &cookie,
            &bad(&[&[0, 16, 0, 17][..], &[7; 32]].concat()),
        ]),
        parts(&[
            &identifier,
            &cookie,
            &bad(&[&[0xFF, 16, 0, 16][..], &[7; 32]].concat()),
        ]),
    ] {
        assert_eq!(NtsRequest::parse(&packet), Err(Malformed), "{packet:02x?}");
        assert!(has_fields(&packet), "{packet:02x?}");
    }
    // Whatever is cut off: it is no plain request, as long as the type of a field is left, and that can't be a MAC.
    let whole = parts(&[&unknown, &identifier, &cookie, &placeholder, &seal]);
    for length in HEADER_LEN..whole.len() {
        let left = length.saturating_sub(HEADER_LEN + unknown.len());
        let plain = matches!(left, 0 | 1 | 4 | 20 | 24);
        let cut = &whole[..length];
        assert_eq!(has_fields(cut), !plain, "{length}");
        let expected = if plain { Ok(None) } else { Err(Malformed) };
        assert_eq!(NtsRequest::parse(cut), expected, "{length}");
    }
    for packet in [
        parts(&[]),
        parts(&[&unknown]),
        parts(&[&unknown, &unknown]),
        parts(&[&vec![1; 20]]),
        parts(&[&vec![1; 27]]),
        header[..20].to_vec(),
    ] {
        assert_eq!(NtsRequest::parse(&packet), Ok(None), "{packet:02x?}");
        assert!(!has_fields(&packet), "{packet:02x?}");
    }
    assert!(matches!(NtsRequest::parse(&whole), Ok(Some(_))) && has_fields(&whole));
}

//= RFC 8915 §5.6 room
#[test]
fn nonces_of_every_length() {
    let keyring = today();
    for (algorithm, nonce, additional, expected) in [
        (Algorithm::SivCmac256, 16, 0, true),
        (Algorithm::SivCmac256, 15, 0, true),
        (Algorithm::SivCmac256, 17, 0, true),
        (Algorithm::SivCmac256, 32, 0, true),
        (Algorithm::SivCmac256, 12, 0, false),
        (Algorithm::SivCmac256, 12, 4, true),
        (Algorithm::SivCmac256, 1, 12, true),
        (Algorithm::SivCmac256, 1, 8, false),
        (Algorithm::GcmSiv128, 12, 0, true),
        (Algorithm::GcmSiv128, 12, 4, true),
        (Algorithm::GcmSiv128, 11, 4, false),
        (Algorithm::GcmSiv128, 16, 0, false),
        (Algorithm::GcmSiv128, 1, 12, false),
    ] {
        let client = NtsClient {
            nonce: vec![9; nonce],
            additional,
            ..NtsClient::new(algorithm)
        };
        let request = client.request(&client.cookie(&keyring));
        match into_reply(answered(&keyring, &request)) {
            Ok(reply) if expected => {
                assert_eq!((client.cookies(&reply).len(), reply.len()), (1, request.len()));
            }
            outcome => assert_eq!(
                outcome,
                Err(OpenOutcome::OpenFault(OpenFault::Nonce)),
                "{nonce} + {additional}"
            ),
        }
    }
}

//= RFC 8915 §5.7 nak
#[test]
fn what_can_not_be_opened_gets_a_nak_and_why_is_known() {
    let keyring = today();
    for algorithm in Algorithm::ALL {
        let client = NtsClient::new(algorithm);
        let cookie = client.cookie(&keyring);
        let good = client.request(&cookie);
        let old = client.request(&client.cookie(&self::keyring(20_767, Time::Vouched)));
        let alien = client.request(&[&cookie[..], &[0; 4]].concat());
        let at = |place: usize| {
            let mut packet = good.clone();
            packet[place] ^= 1;
            packet
        };
        let last = good.len() - 1;
        for (packet, expected) in [
            (old, OpenFault::Name),
            (alien, OpenFault::Name),
            (at(HEADER_LEN + 36 + 4 + 40), OpenFault::Cookie),
            (at(0), OpenFault::Authenticator),
            (at(HEADER_LEN + 10), OpenFault::Authenticator),
            (at(last), OpenFault::Authenticator),
        ] {
            assert_eq!(answered(&keyring, &packet), OpenOutcome::OpenFault(expected));
            let request = NtsRequest::parse(&packet).unwrap().unwrap();
            let mut buffer = [0xA5; 200];
            let length = nak(&request, &HEADER, &mut buffer).unwrap();
            assert_eq!(length, 84);
            assert!(length < packet.len());
            assert_eq!(buffer[..HEADER_LEN], HEADER);
            assert_eq!(
                buffer[HEADER_LEN..84],
                field(field_type::UNIQUE_IDENTIFIER, request.identifier())
            );
            assert!(
                PacketParts::of_packet(&buffer[..84]).all(|part| matches!(part, Ok(PacketPart::Field(_))))
            );
            for room in 0..84 {
                assert_eq!(nak(&request, &HEADER, &mut buffer[..room]), None);
            }
        }
    }
}

#[test]
fn a_short_buffer_gets_fewer_cookies_or_nothing() {
    let keyring = today();
    for algorithm in Algorithm::ALL {
        let client = NtsClient {
            placeholders: 7,
            ..NtsClient::new(algorithm)
        };
        let packet = client.request(&client.cookie(&keyring));
        let request = NtsRequest::parse(&packet).unwrap().unwrap();
        let opened = open(&keyring, &[request]).pop().unwrap().unwrap();
        let cookie = 4 + cookie_len(algorithm);
        let least = packet.len() - 7 * cookie;
        for room in 0..packet.len() {
            let mut buffer = vec![0xA5; room];
            let mut replies = [NtsReply {
                request: &request,
                opened: &opened,
                header: HEADER,
                buffer: &mut buffer,
            }];
            let length = seal(&keyring, &mut Nonces::new([4; 16]), &mut replies)
                .pop()
                .unwrap();
            assert_eq!(length, (room >= least).then_some(room / 4 * 4), "{room}");
            if let Some(length) = length {
                assert_eq!(
                    client.cookies(&buffer[..length]).len(),
                    1 + (length - least) / cookie
                );
            }
        }
    }
}

#[test]
fn a_host_at_1970_answers_and_its_cookies_are_good_elsewhere() {
    let (right, lost) = (today(), keyring(0, Time::Unknown));
    let client = NtsClient::new(Algorithm::SivCmac256);
    let reply = reply(answered(&lost, &client.request(&client.cookie(&right))));
    for cookie in client.cookies(&reply) {
        assert!(matches!(
            answered(&right, &client.request(&cookie)),
            OpenOutcome::NtsReply(_)
        ));
    }
}

fn clients() -> impl Strategy<Value = NtsClient> {
    let algorithm = prop_oneof![Just(Algorithm::SivCmac256), Just(Algorithm::GcmSiv128)];
    let nonce = prop_oneof![3 => Just(16_usize), 1 => 1_usize..40];
    let behind = prop::collection::vec(any::<u8>(), 0..60);
    (
        algorithm,
        32_usize..200,
        0_usize..12,
        0_usize..3,
        nonce,
        0_usize..8,
        prop::option::of(12_u16..100),
        behind,
    )
        .prop_map(
            |(algorithm, identifier, placeholders, encrypted, nonce, words, unknown, behind)| NtsClient {
                identifier: vec![6; identifier],
                placeholders,
                encrypted,
                nonce: vec![
                    8;
                    if algorithm == Algorithm::GcmSiv128 {
                        12
                    } else {
                        nonce
                    }
                ],
                additional: 4 * words,
                unknown,
                behind,
                ..NtsClient::new(algorithm)
            },
        )
}

/// Fields of any kind, and what is none.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![
        Just(field_type::UNIQUE_IDENTIFIER),
        Just(field_type::COOKIE),
        Just(field_type::COOKIE_PLACEHOLDER),
        Just(field_type::AUTHENTICATOR),
        any::<u16>(),
    ];
    let part = prop_oneof![
        4 => (kind, prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(kind, value)| field(kind, &value)),
        1 => prop::collection::vec(any::<u8>(), 0..30),
    ];
    (prop::collection::vec(part, 0..6), 0_usize..300).prop_map(|(parts, cut)| {
        let mut packet = [&[0x23; HEADER_LEN][..], &parts.concat()].concat();
        packet.truncate(HEADER_LEN + cut);
        packet
    })
}

proptest! {
    #[test]
    fn a_packet_has_fields_of_nts_or_is_plain(packet in any_packet()) {
        prop_assert_eq!(has_fields(&packet), NtsRequest::parse(&packet) != Ok(None));
    }

    //= RFC 8915 §5.7 reply
    #[test]
    fn no_reply_is_longer_than_its_request(client in clients()) {
        let keyring = today();
        let request = client.request(&client.cookie(&keyring));
        match into_reply(answered(&keyring, &request)) {
            Ok(reply) => {
                // As long as what is authenticated of it, so that both take the same way.
                prop_assert_eq!(reply.len(), request.len() - client.behind.len());
                prop_assert_eq!(client.cookies(&reply).len(), (1 + client.placeholders.min(8) + client.encrypted).min(8));
            }
            Err(outcome) => {
                let room = client.nonce.len().next_multiple_of(4) + client.additional;
                prop_assert_eq!(outcome, OpenOutcome::OpenFault(OpenFault::Nonce));
                prop_assert!(room < client.keys.algorithm().nonce_len());
            }
        }
    }

    /// Together or alone, each request gets what it should.
    #[test]
    fn a_batch_is_as_its_packets_alone(clients in prop::collection::vec((clients(), prop::option::of(0_usize..2000)), 1..=BATCH)) {
        let keyring = today();
        let packets: Vec<_> = clients.iter().map(|(client, turned)| {
            let mut packet = client.request(&client.cookie(&keyring));
            if let Some(bit) = turned {
                let bit = bit % (8 * packet.len());
                packet[bit / 8] ^= 1 << (bit % 8);
            }
            packet
        }).collect();
        let alone: Vec<_> = packets.iter().map(|packet| answered(&keyring, packet)).collect();
        let requests: Vec<_> = packets.iter().filter_map(|packet| NtsRequest::parse(packet).ok().flatten()).collect();
        let results = open(&keyring, &requests);
        let expected: Vec<_> = alone.iter().filter(|outcome| !matches!(outcome, OpenOutcome::Plain | OpenOutcome::Malformed)).collect();
        prop_assert_eq!(results.len(), expected.len());
        let mut buffers = vec![vec![0; 4000]; requests.len()];
        let mut replies = Vec::new();
        let mut wanted = Vec::new();
        for (((request, result), expected), buffer) in requests.iter().zip(&results).zip(&expected).zip(&mut buffers) {
            match (result, expected) {
                (Err(unopened), OpenOutcome::OpenFault(other)) => prop_assert_eq!(unopened, other),
                (Ok(opened), OpenOutcome::NtsReply(reply)) => {
                    wanted.push(reply.len());
                    replies.push(NtsReply { request, opened, header: HEADER, buffer });
                }
                _ => prop_assert!(false, "{:?} and {:?}", result, expected),
            }
        }
        let lengths = seal(&keyring, &mut Nonces::new([5; 16]), &mut replies);
        prop_assert_eq!(lengths.iter().map(|length| length.unwrap()).collect::<Vec<_>>(), wanted);
        for ((client, _), packet) in clients.iter().zip(&packets) {
            let Ok(Some(request)) = NtsRequest::parse(packet) else { continue };
            let place = requests.iter().position(|other| std::ptr::eq(other.associated, request.associated)).unwrap();
            if results[place].is_ok() {
                prop_assert!(!client.cookies(&buffers[place][..request.length()]).is_empty());
            }
        }
    }

    /// No bit of what is authenticated can be turned.
    #[test]
    fn nothing_forged_is_answered(client in clients(), bit in 0_usize..8000) {
        let keyring = today();
        let mut packet = client.request(&client.cookie(&keyring));
        let end = packet.len() - client.behind.len();
        let padding = client.authenticator(&vec![0; 16 + 104 * client.encrypted]).len();
        // The padding of an authenticator is not authenticated, nor is its head: so only what is before it.
        let bit = bit % (8 * (end - padding));
        packet[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!matches!(answered(&keyring, &packet), OpenOutcome::NtsReply(_)));
    }
}
