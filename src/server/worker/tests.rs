//! Impure. The packet path over real sockets: batches of plain packets and of packets with NTS.

mod interleaved;
mod smear;

use std::collections::BTreeMap;
use std::net::SocketAddr;

mod mac;

use super::*;
use crate::census::{CensusWanted, Merge};
use crate::clock::{Reference, ReferencePublisher, published};
use crate::host::udp;
use crate::nts::aead::Algorithm;
use crate::nts::keyring::Time;
use crate::nts::test_client::{NtsClient, field, keyring};
use crate::server::policy::access::{Access, OnDeny};
use crate::server::policy::exchange::PolicyWriter;
use crate::server::policy::limit::{Bucket, RateLimit};
use crate::server::policy::probability::Probability;
use crate::server::policy::{Announced, AuthenticationMode, NtsMode, RuleMode};
use crate::server::{CookieAge, NakReason};
use crate::symmetric::key_file;
use crate::wire::extension::field_type;
use crate::wire::{Header, Leap, ReferenceId};

const SOON: Duration = Duration::from_secs(5);
/// The client's clock, by the packet: all differ.
type Origin = u64;

/// The loop of a worker, of which the test makes each round.
struct Desk {
    looped: WorkerLoop,
    batch: Batch,
    policy: PolicyWriter,
    reference: ReferencePublisher,
    client: UdpSocket,
    next: u64,
}

fn reference() -> Reference {
    let now = clock::now();
    Reference {
        leap: Leap::NoWarning,
        stratum: 3,
        reference_id: ReferenceId::from_bytes([192, 0, 2, 77]),
        root_delay: NtpDuration::from_seconds(0.02),
        root_dispersion: NtpDuration::from_seconds(0.001),
        growth: 15e-6,
        reference_time: now.realtime,
        precision: -23,
        clock: ClockModel::Host,
        published: now,
        answers: true,
        epoch: now.raw,
        not_after: now.raw + Duration::from_secs(3600),
    }
}

/// A policy that lets all pass, except that a client gets `burst` answers at once if there is a limit.
fn policy(burst: Option<u32>) -> Policy {
    let client = Bucket {
        interval: Duration::from_secs(64),
        burst: burst.unwrap_or(8),
        ipv4_prefix: 32,
        ipv6_prefix: 64,
    };
    Policy {
        access: Access::new(&[], true, OnDeny::Drop, RuleMode::On),
        limit: RateLimit {
            mode: burst.map_or(RuleMode::Off, |_| RuleMode::On),
            client,
            wide: Some(client),
            leak: Probability::NONE,
            kiss: Probability::NONE,
            clients: 1024,
        },
        budget: RuleMode::Off,
        answer: Announced::Time,
        max_stratum: 15,
        nts: NtsMode::Accept,
        smear: None,
        authentication: AuthenticationMode::Accept,
        keys: None,
    }
}

fn with_mode(nts: NtsMode) -> Policy {
    Policy { nts, ..policy(None) }
}

fn today() -> Option<Arc<Keyring>> {
    Some(Arc::new(keyring(20_775, Time::Vouched)))
}

impl Desk {
    fn new(policy: Policy, keyring: Option<Arc<Keyring>>) -> Self {
        let sockets = udp::bind_members(([127, 0, 0, 1], 0).into(), 1, None).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        for socket in sockets.iter().chain([&client]) {
            udp::set_receive_buffer(socket, 1 << 20).unwrap();
        }
        let allowance = Arc::new(Allowance::default());
        let (writer, reader) = exchange(&Arc::new(policy), keyring.as_ref(), &allowance, [1, 2, 3]);
        let (publisher, reference) = published(reference());
        let looped = WorkerLoop {
            socket: Arc::new(sockets.into_iter().next().unwrap()),
            reference,
            census: None,
            policy: reader,
            probe: probe().1,
            counters: Arc::new(Counters::default()),
            batch_sizer: BatchSizer::default(),
            transmit_predictors: TransmitPredictors::default(),
            settings: Arc::new(WorkerSettings::default()),
            busy_until: Duration::ZERO,
            nonces: Nonces::new([5; 16]),
            deferred: ArrayVec::new(),
            with_mac: ArrayVec::new(),
            interleaving: Interleaving::default(),
        };
        Self {
            looped,
            batch: Batch::new(Tuning::LARGEST_BATCH.into()),
            policy: writer,
            reference: publisher,
            client,
            next: 1,
        }
    }

    fn address(&self) -> SocketAddr {
        self.looped.socket.local_addr().unwrap()
    }

    /// A header that no other packet has.
    fn header(&mut self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[0] = 4 << 3 | 3;
        header[40..].copy_from_slice(&self.next.to_be_bytes());
        self.next += 1;
        header
    }

    fn client(&mut self, algorithm: Algorithm) -> NtsClient {
        NtsClient {
            header: self.header(),
            ..NtsClient::new(algorithm)
        }
    }

    fn genuine(&mut self, algorithm: Algorithm) -> Vec<u8> {
        let client = self.client(algorithm);
        client.request(&client.cookie(&keyring(20_775, Time::Vouched)))
    }

    fn forged(&mut self) -> Vec<u8> {
        let mut packet = self.genuine(Algorithm::SivCmac256);
        *packet.last_mut().unwrap() ^= 1;
        packet
    }

    /// Sends `packets`, has them taken and answered together, as under load, or one by one, and returns the replies.
    fn ask(&mut self, packets: &[Vec<u8>], together: bool) -> BTreeMap<Origin, Vec<u8>> {
        let before = self.looped.counters.snapshot();
        for packet in packets {
            self.client.send_to(packet, self.address()).unwrap();
        }
        if together {
            self.looped.batch_sizer = BatchSizer::under_load();
        }
        let mut left = packets.len();
        while left > 0 {
            let socket = Arc::clone(&self.looped.socket);
            let received = match together {
                true => self.batch.receive_queued(socket.as_fd()).unwrap(),
                false => self.batch.receive(socket.as_fd(), 1).unwrap(),
            };
            assert_eq!(received, if together { packets.len() } else { 1 });
            self.looped.answer(&mut self.batch, received);
            assert!(self.looped.deferred.is_empty() && self.looped.with_mac.is_empty());
            left -= received;
        }
        let after = self.looped.counters.snapshot();
        assert_eq!(after.received() - before.received(), packets.len() as u64);
        let mut replies = BTreeMap::new();
        for _ in before.replied()..after.replied() {
            let mut reply = [0; 2000];
            let length = self.client.recv(&mut reply).unwrap();
            let origin = Header::parse(&reply[..length])
                .unwrap()
                .origin_timestamp
                .to_bits();
            replies.insert(origin, reply[..length].to_vec());
        }
        replies
    }

    fn one(&mut self, packet: Vec<u8>) -> Option<Vec<u8>> {
        self.ask(&[packet], false).into_values().next()
    }

    fn counted(&self, verdict: Verdict) -> u64 {
        self.looped.counters.snapshot().of(verdict)
    }
}

/// The parts that do not change from one reply to another: without times, the distance, nonces and what is sealed.
fn unchanging(reply: &[u8]) -> (usize, [u8; 4], [u8; 4], Vec<u8>) {
    let identifier = reply.get(HEADER_LEN..84).unwrap_or_default();
    let [mut start, id] = [0, 12].map(|at| *reply[at..].first_chunk().unwrap());
    start[2] = 0;
    (reply.len(), start, id, identifier.to_vec())
}

/// The key of the tests.
const KEYS: &str = "5 SHA256 secret\n";

fn with_keys(policy: Policy) -> Policy {
    Policy {
        keys: Some(Arc::new(key_file::parse(KEYS, false).unwrap())),
        ..policy
    }
}

fn mac(bytes: &[u8]) -> Vec<u8> {
    let table = key_file::parse(KEYS, false).unwrap();
    table.keys()[0].mac(bytes).to_vec()
}

/// A packet with a genuine MAC.
fn signed(packet: &[u8]) -> Vec<u8> {
    [packet, &mac(packet)].concat()
}

/// All kinds of packets, in an order that has nothing to do with their kinds.
fn mixed(desk: &mut Desk, count: usize) -> Vec<Vec<u8>> {
    let kinds = (0..count).map(|number| {
        let header = desk.header();
        let plain = header.to_vec();
        let genuine = |desk: &mut Desk, algorithm| desk.genuine(algorithm);
        match number * 7 % 13 {
            0..=3 => plain,
            4 | 5 => genuine(desk, Algorithm::SivCmac256),
            6 | 7 => genuine(desk, Algorithm::GcmSiv128),
            8 => desk.forged(),
            // A MAC of a key that nobody knows, and one that is genuine.
            9 if number % 2 == 0 => [&plain[..], &[7; 20]].concat(),
            9 => signed(&plain),
            // A field that nobody knows: answered as ever.
            10 => [plain, field(0x9999, &[7; 40])].concat(),
            // An identifier alone.
            11 => [plain, field(field_type::UNIQUE_IDENTIFIER, &[7; 32])].concat(),
            _ => plain[..40].to_vec(),
        }
    });
    kinds.collect()
}

#[test]
fn a_batch_of_any_packets_gets_the_replies_that_they_get_one_by_one() {
    for count in [1, 2, 8, 9, 33, 256] {
        let [together, alone] = [true, false].map(|together| {
            let mut desk = Desk::new(with_keys(policy(Some(400))), today());
            let packets = mixed(&mut desk, count);
            let replies = desk.ask(&packets, together);
            let counts = desk.looped.counters.snapshot();
            let verdicts: Vec<_> = Verdict::all().map(|verdict| counts.of(verdict)).collect();
            let naks: Vec<_> = NakReason::all().map(|reason| counts.nts.naks(reason)).collect();
            let replies: BTreeMap<_, _> = replies
                .into_iter()
                .map(|(origin, reply)| (origin, unchanging(&reply)))
                .collect();
            (replies, verdicts, naks, counts.longer)
        });
        assert_eq!(together, alone, "{count}");
        assert!(together.0.len() > count / 2);
    }
}

#[test]
fn replies_of_a_batch_are_genuine_and_leave_after_they_came() {
    let mut desk = Desk::new(policy(None), today());
    let sent: Vec<_> = (0..60)
        .map(|number| {
            let algorithm = Algorithm::ALL[number % 2];
            let client = NtsClient {
                placeholders: number % 8,
                ..desk.client(algorithm)
            };
            let packet = client.request(&client.cookie(&keyring(20_775, Time::Vouched)));
            (client, packet)
        })
        .collect();
    let packets: Vec<_> = sent.iter().map(|(_, packet)| packet.clone()).collect();
    let before = clock::realtime();
    let replies = desk.ask(&packets, true);
    let after = clock::realtime();
    let mut last = before;
    for (client, packet) in &sent {
        let origin = Header::parse(packet).unwrap().transmit_timestamp.to_bits();
        let reply = &replies[&origin];
        assert_eq!(client.cookies(reply).len(), 1 + client.placeholders);
        assert_eq!(reply.len(), packet.len());
        let header = Header::parse(reply).unwrap();
        let (t2, t3) = (header.receive_timestamp, header.transmit_timestamp);
        assert!(!t2.is_after(t3) && !before.is_after(t2));
        // Predicted in groups: not before that of the reply before, and not long after it has left.
        assert!((t3 - last).to_seconds() > -0.001, "{}", (t3 - last).to_seconds());
        assert!((t3 - after).to_seconds() < 0.001, "{}", (t3 - after).to_seconds());
        last = t3;
    }
    let counts = desk.looped.counters.snapshot();
    assert_eq!(
        (counts.of(Verdict::AnsweredNts), counts.residence.count()),
        (60, 60)
    );
    assert_eq!(counts.nts.cookies(CookieAge::of_periods(0)), 60);
    let longer: usize = packets.iter().map(|packet| packet.len() - HEADER_LEN).sum();
    assert_eq!(counts.longer, longer as u64);
}

/// The flood's packets look as if they came from the client: they have its address.
#[test]
fn a_flood_in_the_name_of_a_client_takes_nothing_from_its_authenticated_requests() {
    let mut desk = Desk::new(policy(Some(8)), today());
    for _ in 0..4 {
        let plain: Vec<_> = (0..100).map(|_| desk.header().to_vec()).collect();
        let forged: Vec<_> = (0..100).map(|_| desk.forged()).collect();
        desk.ask(&[plain, forged].concat(), true);
    }
    assert_eq!(desk.counted(Verdict::AnsweredClient), 8);
    assert_eq!(desk.counted(Verdict::KissedNtsNak), 8, "NAKs are limited, too");
    assert_eq!(desk.counted(Verdict::RefusedRate), 2 * (400 - 8));
    let honest: Vec<_> = (0..8).map(|_| desk.genuine(Algorithm::SivCmac256)).collect();
    assert_eq!(desk.ask(&honest, true).len(), 8);
    assert_eq!(desk.counted(Verdict::AnsweredNts), 8);
    // It has a limit, too.
    let more = desk.genuine(Algorithm::SivCmac256);
    assert_eq!(desk.one(more), None);
    // And the other way around.
    let mut desk = Desk::new(policy(Some(8)), today());
    let many: Vec<_> = (0..100).map(|_| desk.genuine(Algorithm::SivCmac256)).collect();
    desk.ask(&many, true);
    let plain: Vec<_> = (0..8).map(|_| desk.header().to_vec()).collect();
    assert_eq!(desk.ask(&plain, true).len(), 8);
}

#[test]
fn modes_and_keys_change_with_the_next_batch() {
    let mut desk = Desk::new(policy(None), None);
    let is_sealed = |desk: &mut Desk| {
        let packet = desk.genuine(Algorithm::SivCmac256);
        let length = packet.len();
        desk.one(packet).map(|reply| reply.len() == length)
    };
    let is_plain = |desk: &mut Desk| {
        let header = desk.header();
        desk.one(header.to_vec()).map(|reply| reply.len() == HEADER_LEN)
    };
    // As a server without NTS: the fields are ignored.
    assert_eq!(
        (is_sealed(&mut desk), is_plain(&mut desk)),
        (Some(false), Some(true))
    );
    for (mode, keys, sealed, plain) in [
        (NtsMode::Accept, today(), Some(true), Some(true)),
        (NtsMode::Require, today(), Some(true), None),
        (NtsMode::Require, None, None, None),
        (NtsMode::Off, today(), Some(false), Some(true)),
        (NtsMode::Accept, None, Some(false), Some(true)),
        (NtsMode::Accept, today(), Some(true), Some(true)),
    ] {
        desk.policy.set(&Arc::new(with_mode(mode)));
        desk.policy.set_keyring(keys.as_ref());
        assert_eq!(
            (is_sealed(&mut desk), is_plain(&mut desk)),
            (sealed, plain),
            "{mode:?}"
        );
    }
    assert_eq!(desk.counted(Verdict::RefusedNtsRequired), 3);
    // Only what could be answered counts as that.
    desk.policy.set(&Arc::new(with_mode(NtsMode::Require)));
    assert_eq!(desk.one(vec![4 << 3 | 4; HEADER_LEN]), None);
    assert_eq!(desk.counted(Verdict::RefusedAnswer), 1);
}

#[test]
fn keys_that_were_replaced_are_freed_by_others() {
    let mut desk = Desk::new(policy(None), today());
    let [old, new] = [today(), today()].map(Option::unwrap);
    desk.policy.set_keyring(Some(&old));
    let packet = desk.genuine(Algorithm::SivCmac256);
    assert!(desk.one(packet).is_some());
    desk.policy.free_leftovers();
    desk.policy.set_keyring(Some(&new));
    let packet = desk.genuine(Algorithm::SivCmac256);
    assert!(desk.one(packet).is_some());
    assert_eq!(Arc::strong_count(&old), 2, "it is in the exchange");
    desk.policy.free_leftovers();
    assert_eq!(Arc::strong_count(&old), 1);
    // A policy that comes alone takes the keys along.
    desk.policy.set(&Arc::new(with_mode(NtsMode::Accept)));
    let packet = desk.genuine(Algorithm::SivCmac256);
    assert_eq!(
        desk.one(packet.clone()).map(|reply| reply.len()),
        Some(packet.len())
    );
}

#[test]
fn what_the_buffer_cut_is_refused_with_nts_and_answered_without() {
    let mut desk = Desk::new(policy(None), today());
    let client = NtsClient {
        placeholders: 9,
        ..desk.client(Algorithm::SivCmac256)
    };
    let long = client.request(&client.cookie(&keyring(20_775, Time::Vouched)));
    assert!(long.len() > 1024);
    assert_eq!(desk.one(long), None);
    // All that counts would be there, but who knows what was behind it.
    let behind = NtsClient {
        behind: vec![0; 1000],
        ..desk.client(Algorithm::SivCmac256)
    };
    assert_eq!(
        desk.one(behind.request(&behind.cookie(&keyring(20_775, Time::Vouched)))),
        None
    );
    assert_eq!(desk.counted(Verdict::RefusedNtsMalformed), 2);
    let mut plain = desk.header().to_vec();
    plain.resize(2000, 0);
    assert_eq!(desk.one(plain).map(|reply| reply.len()), Some(HEADER_LEN));
}

#[test]
fn refusals_and_kisses_are_those_of_plain_requests() {
    let nts = |desk: &mut Desk| {
        let packet = desk.genuine(Algorithm::SivCmac256);
        desk.one(packet)
    };
    let deny = |on_deny| Policy {
        access: Access::new(&[], false, on_deny, RuleMode::On),
        ..policy(None)
    };
    let mut desk = Desk::new(deny(OnDeny::Drop), today());
    assert_eq!(nts(&mut desk), None);
    let forged = desk.forged();
    assert_eq!(desk.one(forged), None);
    assert_eq!(desk.counted(Verdict::RefusedDenied), 2);

    let mut desk = Desk::new(deny(OnDeny::Kiss), today());
    let reply = nts(&mut desk).unwrap();
    assert_eq!(Header::parse(&reply).unwrap().reference_id, ReferenceId::DENY);
    assert_eq!(NtsClient::new(Algorithm::SivCmac256).cookies(&reply).len(), 1);
    assert_eq!(desk.counted(Verdict::KissedDenied), 1);

    let mut desk = Desk::new(policy(None), today());
    desk.reference.publish(Reference {
        answers: false,
        ..reference()
    });
    assert_eq!(nts(&mut desk), None);
    assert_eq!(desk.counted(Verdict::RefusedDisputed), 1);
    let now = clock::now();
    desk.reference.publish(Reference::unsynchronized(
        ReferenceId::LOST,
        -20,
        ClockModel::Host,
        now,
    ));
    let reply = nts(&mut desk).unwrap();
    assert_eq!(Header::parse(&reply).unwrap().leap, Leap::Unsynchronized);
    assert_eq!(NtsClient::new(Algorithm::SivCmac256).cookies(&reply).len(), 1);

    let max_wait = Duration::from_millis(1);
    let tuning = Tuning {
        max_wait,
        ..Tuning::default()
    };
    desk.looped.settings.tune(&tuning, None).unwrap();
    let packet = desk.genuine(Algorithm::SivCmac256);
    desk.client.send_to(&packet, desk.address()).unwrap();
    thread::sleep(20 * max_wait);
    let socket = Arc::clone(&desk.looped.socket);
    let received = desk.batch.receive_queued(socket.as_fd()).unwrap();
    desk.looped.answer(&mut desk.batch, received);
    assert_eq!(desk.counted(Verdict::RefusedLate), 1);
}

#[test]
fn requests_with_nts_are_those_of_clients_in_the_census() {
    let mut desk = Desk::new(policy(None), today());
    let settings = CensusSettings {
        seed: 7,
        clients: 1024,
    };
    let publisher = CensusPublisher::new(settings, clock::raw().saturating_sub(SOON));
    let reader = publisher.reader();
    desk.looped.census = Some(publisher);
    let packet = desk.genuine(Algorithm::SivCmac256);
    assert!(desk.one(packet).is_some());
    let mut merge = Merge::new(clock::raw());
    reader.read(|history| merge.add(history));
    assert_eq!(merge.report(&CensusWanted::first(100)).requests, 1);
}
