//! Impure. Interleaved mode over real sockets: the kernel tells when each reply left.

use super::*;
use crate::server::interleaved::SavedTimestamps;
use crate::server::worker::transmit_predictor::TransmitPredictor;

/// A client in interleaved mode (RFC 9769 §2).
#[derive(Clone, Copy, Debug, Default)]
struct Interleaver {
    /// The receive timestamp of the last reply.
    last: NtpTimestamp,
    /// Random timestamps, by a count.
    count: u64,
}

impl Interleaver {
    /// The next request, which differs from those of clients with another `number`.
    fn request(&mut self, number: u64) -> Header {
        self.count += 1;
        let random = |kind: u64| NtpTimestamp::from_bits(number << 40 | self.count << 8 | kind);
        Header {
            origin_timestamp: self.last,
            receive_timestamp: random(1),
            ..Header::request(random(2))
        }
    }
}

fn interleaving(keyring: Option<Arc<Keyring>>) -> Desk {
    let mut desk = Desk::new(policy(None), keyring);
    let saved = Arc::new(SavedTimestamps::new(1024, 7));
    desk.policy.set_saved(Some(&saved));
    // The first socket of a system that wants its packets stamped has to wait until they are.
    let unstamped = |desk: &Desk| desk.looped.counters.snapshot().stamp_unusable;
    loop {
        let before = unstamped(&desk);
        let packet = desk.header().to_vec();
        desk.one(packet).unwrap();
        if unstamped(&desk) == before {
            break desk;
        }
    }
}

/// Asks with the packet that `wrap` makes of a request, and returns the header of the reply, and whether it is interleaved.
fn ask(
    desk: &mut Desk,
    client: &mut Interleaver,
    wrap: impl FnOnce(&mut Desk, [u8; HEADER_LEN]) -> Vec<u8>,
) -> (Header, bool) {
    let request = client.request(1);
    let packet = wrap(desk, request.to_bytes());
    let reply = desk.one(packet).unwrap();
    let header = Header::parse(&reply).unwrap();
    let is_interleaved = header.origin_timestamp == request.receive_timestamp;
    assert!(is_interleaved || header.origin_timestamp == request.transmit_timestamp);
    client.last = header.receive_timestamp;
    (header, is_interleaved)
}

fn plain(_: &mut Desk, header: [u8; HEADER_LEN]) -> Vec<u8> {
    header.to_vec()
}

/// The second reply is stamped to learn the kernel's numbers, the third is the first one whose timestamp is known.
///
/// If one of the replies before was stamped as a sample, the numbers are known, and it is the second.
fn becomes_interleaved(desk: &mut Desk, wrap: impl Fn(&mut Desk, [u8; HEADER_LEN]) -> Vec<u8>) {
    let mut client = Interleaver::default();
    let mut previous: Option<(Header, NtpTimestamp)> = None;
    for number in 0..10 {
        let (reply, is_interleaved) = ask(desk, &mut client, &wrap);
        assert!(is_interleaved == (number >= 3) || number == 2, "{number}");
        if let Some((before, arrived)) = previous.filter(|_| is_interleaved) {
            let sent = reply.transmit_timestamp;
            assert!(sent.is_after(before.receive_timestamp), "{sent:?} {before:?}");
            assert!(arrived.is_after(sent), "{sent:?} {arrived:?}");
        }
        previous = Some((reply, clock::realtime()));
    }
    assert!((7..=8).contains(&desk.looped.counters.snapshot().interleaved));
}

//= RFC 9769 §2 respond
//= RFC 9769 §2 transmit
#[test]
fn a_reply_tells_when_the_previous_one_left() {
    becomes_interleaved(&mut interleaving(None), plain);
}

#[test]
fn so_does_one_with_nts() {
    for algorithm in [Algorithm::SivCmac256, Algorithm::GcmSiv128] {
        becomes_interleaved(&mut interleaving(today()), |_, header| {
            let client = NtsClient {
                header,
                ..NtsClient::new(algorithm)
            };
            client.request(&client.cookie(&keyring(20_775, Time::Vouched)))
        });
    }
}

#[test]
fn so_does_one_with_a_mac() {
    let mut desk = interleaving(None);
    desk.policy.set(&Arc::new(with_keys(policy(None))));
    becomes_interleaved(&mut desk, |_, header| signed(&header));
}

/// A server all of whose clients are authenticated has no plain replies to learn from.
#[test]
fn the_kernels_times_correct_the_predictions_for_each_kind_of_reply_by_themselves() {
    let plain = |desk: &mut Desk| desk.header().to_vec();
    let mac = |desk: &mut Desk| signed(&desk.header());
    let nts = |desk: &mut Desk| desk.genuine(Algorithm::SivCmac256);
    let kinds: [fn(&mut Desk) -> Vec<u8>; 3] = [plain, mac, nts];
    for (number, packet) in kinds.into_iter().enumerate() {
        for together in [false, true] {
            let mut desk = interleaving(today());
            desk.policy.set(&Arc::new(with_keys(policy(None))));
            desk.looped.transmit_predictors = TransmitPredictors::default();
            for _ in 0..300 {
                let packets: Vec<_> = (0..5).map(|_| packet(&mut desk)).collect();
                assert_eq!(desk.ask(&packets, together).len(), 5);
            }
            let TransmitPredictors { plain, mac, nts } = &desk.looped.transmit_predictors;
            let corrected = [plain, mac, nts].map(TransmitPredictor::is_corrected);
            let mut wanted = [false; 3];
            wanted[number] = true;
            assert_eq!(corrected, wanted, "together: {together}");
        }
    }
}

#[test]
fn an_unauthenticated_request_uses_up_nothing_of_an_authenticated_one() {
    let mut desk = interleaving(None);
    desk.policy.set(&Arc::new(with_keys(policy(None))));
    let mut client = Interleaver::default();
    for _ in 0..5 {
        ask(&mut desk, &mut client, |_, header| signed(&header));
    }
    let mut replayed = client;
    replayed.count += 1000;
    assert!(!ask(&mut desk, &mut replayed, plain).1);
    assert!(ask(&mut desk, &mut client, |_, header| signed(&header)).1);
}

//= RFC 9769 §2 once
#[test]
fn an_origin_that_was_used_is_answered_in_basic_mode() {
    let mut desk = interleaving(None);
    let mut client = Interleaver::default();
    for _ in 0..5 {
        ask(&mut desk, &mut client, plain);
    }
    let used = client;
    assert!(ask(&mut desk, &mut client, plain).1);
    for count in 0..20 {
        let mut replayed = Interleaver {
            count: 1000 + count,
            ..used
        };
        assert!(!ask(&mut desk, &mut replayed, plain).1, "{count}");
    }
    assert!(ask(&mut desk, &mut client, plain).1);
}

#[test]
fn whatever_has_no_time_in_it_tells_nothing() {
    let mut desk = interleaving(None);
    let mut client = Interleaver::default();
    for _ in 0..5 {
        ask(&mut desk, &mut client, plain);
    }
    desk.policy.set(&Arc::new(Policy {
        answer: Announced::Unsynchronized,
        ..policy(None)
    }));
    let before = client;
    let (reply, is_interleaved) = ask(&mut desk, &mut client, plain);
    assert_eq!((reply.stratum, is_interleaved), (0, false));
    desk.policy.set(&Arc::new(policy(None)));
    // Nothing of it was used up.
    assert!(ask(&mut desk, &mut before.clone(), plain).1);
}

#[test]
fn after_a_step_of_the_time_nothing_older_is_told() {
    let mut desk = interleaving(None);
    let mut client = Interleaver::default();
    for _ in 0..5 {
        ask(&mut desk, &mut client, plain);
    }
    let now = clock::now();
    let stepped = |by: f64| Reference {
        clock: ClockModel::Tracked {
            epoch: now.raw,
            time: now.realtime + NtpDuration::from_seconds(by),
            rate: 0.0,
            slew: 0.0,
            slew_for: Duration::ZERO,
        },
        ..reference()
    };
    desk.reference.publish(stepped(0.001));
    assert!(ask(&mut desk, &mut client, plain).1);
    desk.reference.publish(stepped(7.0));
    assert!(!ask(&mut desk, &mut client, plain).1);
    assert!(ask(&mut desk, &mut client, plain).1);
}

#[test]
fn without_the_mode_all_replies_are_basic() {
    let mut desk = interleaving(None);
    desk.policy.set_saved(None);
    let mut client = Interleaver::default();
    for _ in 0..6 {
        assert!(!ask(&mut desk, &mut client, plain).1);
    }
    assert!(!desk.looped.interleaving.is_waiting());
}

/// In one batch, some of which are no candidates: each client is told of its own reply.
#[test]
fn many_clients_of_one_address_are_never_mixed_up() {
    let mut desk = interleaving(None);
    let mut clients = [Interleaver::default(); 40];
    let mut said = [NtpTimestamp::ZERO; 40];
    let mut interleaved = 0;
    for round in 0..30 {
        let mut requests = BTreeMap::new();
        for (number, client) in (0..).zip(&mut clients) {
            if number % 4 == 3 {
                client.last = NtpTimestamp::ZERO;
            }
            let request = client.request(number);
            requests.insert(request.transmit_timestamp.to_bits(), (number, request));
            requests.insert(request.receive_timestamp.to_bits(), (number, request));
        }
        let packets: BTreeMap<u64, Vec<u8>> = requests
            .values()
            .map(|(number, request)| (*number, request.to_bytes().to_vec()))
            .collect();
        let packets: Vec<_> = packets.into_values().collect();
        let replies = desk.ask(&packets, round % 3 > 0);
        assert_eq!(replies.len(), clients.len());
        for (origin, reply) in replies {
            let (number, request) = requests[&origin];
            let index = usize::try_from(number).unwrap();
            let reply = Header::parse(&reply).unwrap();
            if origin == request.receive_timestamp.to_bits() {
                interleaved += 1;
                let took = reply.transmit_timestamp - clients[index].last;
                assert!(
                    (0.0..0.1).contains(&took.to_seconds()),
                    "{round} {number}: {took:?}"
                );
                // Replies of one batch leave one after another: no two have left at once.
                assert_ne!(reply.transmit_timestamp, said[index]);
                said[index] = reply.transmit_timestamp;
            }
            clients[index].last = reply.receive_timestamp;
        }
    }
    assert!(interleaved > 27 * 30 - 60, "{interleaved}");
}
