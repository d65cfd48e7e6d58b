//! The kernel's fast path by itself: the program runs in the kernel on frames that are made up here (`BPF_PROG_TEST_RUN`),
//! and gives the same answers as the socket path, by the same rules.
#![cfg(feature = "fast-path")]
#![cfg(test)]
#![allow(clippy::disallowed_methods, reason = "a test looks at the clock")]

#[path = "../common"]
mod common {
    mod basics;
    #[expect(dead_code, reason = "all of it is used by the program daemon")]
    pub(crate) mod chrony;
    #[expect(dead_code, reason = "all of it is used by the program daemon")]
    pub(crate) mod client;
    #[expect(dead_code, reason = "all of it is used by the program daemon")]
    pub(crate) mod daemon;
    pub(crate) mod neighbor;
    pub(crate) mod network;
    pub(crate) mod program;
    pub(crate) mod status;
    mod temp_dir;
    mod wait;

    pub(crate) use basics::*;
    pub(crate) use temp_dir::*;
    pub(crate) use wait::*;
}

mod desk;
mod frames;
mod network;
mod sources;

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use proptest::prelude::*;

use common::{root, wait_until};
use desk::{Action, BROADCASTS, Desk, MINE4, MINE6, TAGGED, policy};
use frames::{OURS, THEIRS, Way, sum, take};
use ntpfront::fast_path::loader::Program;
use ntpfront::server::policy::access::{Access, OnDeny};
use ntpfront::server::policy::limit::{Bucket, Clients, RequestContext};
use ntpfront::server::policy::probability::{Probability, Random};
use ntpfront::server::policy::{Annotation, Announced, RuleMode, Ruling};
use ntpfront::server::{Allowance, ReplyBuffer, Request, Verdict, respond};
use ntpfront::time::{NtpDuration, NtpTimestamp};
use ntpfront::wire::{HEADER_LEN, Header, Leap, ReferenceId};

fn way(source: &str, source_port: u16, tags: &'static [u16]) -> Way {
    let source: IpAddr = source.parse().unwrap();
    Way {
        source,
        asked: if source.is_ipv4() {
            MINE4.into()
        } else {
            MINE6.into()
        },
        source_port,
        port: 123,
        tags,
    }
}

fn payload(version: u8, mode: u8) -> [u8; HEADER_LEN] {
    let mut payload: [u8; HEADER_LEN] = std::array::from_fn(|index| u8::try_from(index).unwrap() ^ 0x5a);
    payload[0] = 3 << 6 | version << 3 | mode;
    payload
}

/// The answer that sockets would give, with the times that the program said.
fn expected(desk: &Desk, way: Way, payload: &[u8], said: &Header, ruling: Ruling) -> (Verdict, Vec<u8>) {
    let mut reply = [0; HEADER_LEN];
    let request = Request {
        payload,
        source: way.source,
        source_port: way.source_port,
        unicast: true,
        received_at: said.receive_timestamp,
    };
    let verdict = respond(
        &request,
        said.transmit_timestamp,
        || ruling,
        &desk.variables_in(said),
        &mut ReplyBuffer::new(&mut reply),
    );
    (verdict, way.back().frame(THEIRS, OURS, &reply))
}

/// Asks the program, and proves that it did what sockets would have done.
fn same_as_sockets(desk: &mut Desk, way: Way, payload: &[u8], ruling: Ruling) -> Verdict {
    let frame = way.frame(OURS, THEIRS, payload);
    let counted = desk.counted();
    let before = desk.served_now();
    let (action, out) = desk.ask(&frame);
    let after = desk.served_now();
    let mut said = Header::parse(&out[out.len() - HEADER_LEN..]).unwrap();
    if action != Action::Send {
        said.stratum = 0; // These are the client's words.
    }
    let (verdict, reply) = expected(desk, way, payload, &said, ruling);
    let wanted = if verdict.has_reply() {
        Action::Send
    } else if [Verdict::RefusedDenied, Verdict::RefusedRate].contains(&verdict) {
        Action::Drop
    } else {
        Action::Pass
    };
    assert_eq!(action, wanted, "{way:?} {:?} {verdict:?}", &payload[..1]);
    let new = desk.counted().of(verdict) - counted.of(verdict);
    assert_eq!(new, u64::from(action != Action::Pass), "counted: {verdict:?}");
    if action == Action::Send {
        assert_eq!(out, reply, "{way:?}");
        // Readings of two clocks in user space are not exact either.
        let slack = NtpDuration::from_seconds(2e-6);
        assert!(!(before - slack).is_after(said.receive_timestamp), "{said:?}");
        assert_eq!(said.receive_timestamp, said.transmit_timestamp, "one reading");
        assert!(!said.transmit_timestamp.is_after(after + slack), "{said:?}");
    } else {
        assert_eq!(out, frame, "left as it was");
    }
    verdict
}

#[test]
fn every_version_mode_family_and_tag() {
    if !root() {
        return;
    }
    let mut desk = Desk::new(&policy());
    let mut wanted = 0;
    for (source, tags) in [
        ("198.51.100.7", &[][..]),
        ("198.51.100.7", &[7]),
        ("198.51.100.7", &[3, 4095]),
        ("2001:db8:1::7", &[]),
        ("2001:db8:1::7", &[7]),
        ("2001:db8:1::7", &[3, 7]),
    ] {
        for version in 0..8 {
            for mode in 0..8 {
                for port in [0, 1, 123, 40_000] {
                    let verdict = same_as_sockets(
                        &mut desk,
                        way(source, port, tags),
                        &payload(version, mode),
                        Ruling::Answer,
                    );
                    wanted += u64::from(verdict.is_answered());
                }
            }
        }
    }
    let counts = desk.counted();
    assert_eq!((counts.answered(), counts.received()), (wanted, wanted));
    assert_eq!((counts.versions()[4], counts.modes()[1]), (6 * 2 * 3, 6 * 4 * 3));
    assert_eq!(
        (counts.residence.count(), counts.residence.buckets().next()),
        (wanted, Some((0.5_f64.powi(20), wanted)))
    );
}

#[test]
fn what_is_announced_is_said() {
    if !root() {
        return;
    }
    let mut desk = Desk::new(&policy());
    for (leap, stratum, id) in [
        (Leap::AddSecond, 1, *b"GPS\0"),
        (Leap::DeleteSecond, 15, [192, 0, 2, 200]),
        (Leap::NoWarning, 2, [1, 2, 3, 4]),
    ] {
        desk.reference.leap = leap;
        desk.reference.stratum = stratum;
        desk.reference.reference_id = ReferenceId::from_bytes(id);
        desk.reference.root_delay = NtpDuration::from_seconds(0.25 / f64::from(stratum));
        desk.publish();
        let verdict = same_as_sockets(
            &mut desk,
            way("198.51.100.7", 9, &[]),
            &payload(4, 3),
            Ruling::Answer,
        );
        assert_eq!(verdict, Verdict::AnsweredClient);
    }
    // A state that is newer than the request must not seem to come from the future.
    desk.reference.reference_time = desk.served_now() + NtpDuration::SECOND;
    desk.publish();
    same_as_sockets(
        &mut desk,
        way("198.51.100.7", 9, &[]),
        &payload(4, 3),
        Ruling::Answer,
    );
}

/// Zero means "unknown": what is not known stays that, and at an era's end the next instant is said.
#[test]
fn zero_is_said_for_the_unknown_alone() {
    if !root() {
        return;
    }
    let mut desk = Desk::new(&policy());
    let way = way("198.51.100.7", 9, &[]);
    desk.reference.reference_time = NtpTimestamp::ZERO;
    desk.publish();
    same_as_sockets(&mut desk, way, &payload(4, 3), Ruling::Answer);
    let said = |desk: &mut Desk| {
        let (action, out) = desk.ask(&way.frame(OURS, THEIRS, &payload(4, 3)));
        assert_eq!(action, Action::Send);
        Header::parse(&out[out.len() - HEADER_LEN..]).unwrap()
    };
    assert_eq!(said(&mut desk).reference_timestamp, NtpTimestamp::ZERO);
    // A clock that stands still there.
    desk.publish_with(|segment| (segment.time, segment.rate) = (NtpTimestamp::ZERO, 0.0));
    let said = said(&mut desk);
    let next = NtpTimestamp::from_bits(1);
    assert_eq!((said.receive_timestamp, said.transmit_timestamp), (next, next));
}

#[test]
fn what_is_not_told_passes() {
    if !root() {
        return;
    }
    let frame = way("198.51.100.7", 9, &[]).frame(OURS, THEIRS, &payload(4, 3));
    let passes = |desk: &mut Desk, why: &str| assert_eq!(desk.ask(&frame).0, Action::Pass, "{why}");
    let mut desk = Desk::new(&policy());
    let good = desk.reference;
    assert_eq!(desk.ask(&frame).0, Action::Send);
    desk.reference.not_after = Duration::ZERO;
    desk.publish();
    passes(&mut desk, "expired");
    desk.reference = good;
    desk.reference.answers = false;
    desk.publish();
    passes(&mut desk, "nobody shall be answered");
    desk.reference = good;
    desk.reference.leap = Leap::Unsynchronized;
    desk.reference.stratum = 0;
    desk.publish();
    passes(&mut desk, "no time");
    desk.reference = good;
    desk.publish();
    assert_eq!(desk.ask(&frame).0, Action::Send);
    desk.stop();
    passes(&mut desk, "stopped");
    for (away, max_stratum, budget) in [
        (Announced::Unsynchronized, 15, RuleMode::Off),
        (Announced::Time, 2, RuleMode::Off),
        (Announced::Time, 15, RuleMode::On),
    ] {
        let mut policy = policy();
        (policy.answer, policy.max_stratum, policy.budget) = (away, max_stratum, budget);
        passes(&mut Desk::new(&policy), &format!("{policy:?}"));
    }
}

#[test]
fn a_segment_that_ended_passes() {
    if !root() {
        return;
    }
    let frame = way("198.51.100.7", 9, &[]).frame(OURS, THEIRS, &payload(4, 3));
    let mut desk = Desk::new(&policy());
    desk.publish_with(|segment| segment.length = Duration::from_millis(30));
    wait_until("the end of the segment", Duration::from_secs(5), || {
        (desk.ask(&frame).0 == Action::Pass).then_some(())
    });
    // The host slept meanwhile, or the segment is of a time to come.
    let length = Duration::from_millis(199);
    for by in [Duration::from_millis(200), Duration::from_secs(3600)] {
        // On a busy machine so short a segment may have ended meanwhile.
        wait_until("an answer", Duration::from_secs(5), || {
            desk.publish_with(|segment| segment.length = length);
            (desk.ask(&frame).0 == Action::Send).then_some(())
        });
        desk.publish_with(|segment| {
            (segment.start, segment.length) = (segment.start.saturating_sub(by), length)
        });
        assert_eq!(desk.ask(&frame).0, Action::Pass, "{by:?}");
        desk.publish_with(|segment| (segment.start, segment.length) = (segment.start + by, length));
        assert_eq!(desk.ask(&frame).0, Action::Pass, "-{by:?}");
    }
}

#[test]
fn a_step_of_the_hosts_clock_ends_a_segment_at_once() {
    if !root() {
        return;
    }
    let frame = way("198.51.100.7", 9, &[]).frame(OURS, THEIRS, &payload(4, 3));
    let mut desk = Desk::new(&policy());
    for _ in 0..3 {
        wait_until("an answer", Duration::from_secs(5), || {
            // A longer one is published again by `ask`.
            desk.publish_with(|segment| segment.length = Duration::from_millis(199));
            (desk.ask(&frame).0 == Action::Send).then_some(())
        });
        desk.step();
        assert_eq!(desk.ask(&frame).0, Action::Pass);
    }
}

/// Where the first instruction of the program is in its object (ELF, 64 bits, little-endian).
fn first_instruction(object: &[u8]) -> usize {
    let number = |at: usize, size: usize| {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&object[at..at + size]);
        usize::try_from(u64::from_le_bytes(bytes)).unwrap()
    };
    let section = |index: usize| number(40, 8) + index * number(58, 2);
    let names = number(section(number(62, 2)) + 24, 8);
    let is_program = |at: &usize| object[names + number(*at, 4)..].starts_with(b"xdp\0");
    let mut sections = (0..number(60, 2)).map(section);
    number(sections.find(is_program).unwrap() + 24, 8)
}

#[test]
fn a_refusal_tells_the_verifiers_reason() {
    if !root() {
        return;
    }
    let built = include_bytes!("../../src/fast_path/program/ntp.bpf.o");
    let mut object = built.to_vec();
    // r0 = *(u64 *)(r1 + 4096): nothing of the context is there.
    let at = first_instruction(built);
    object[at..at + 8].copy_from_slice(&[0x79, 0x10, 0, 0x10, 0, 0, 0, 0]);
    let refusal = Program::load_object(&object, 1024).unwrap_err().to_string();
    let expected = "the kernel does not take the program: invalid bpf_context access off=4096 size=8";
    assert!(refusal.starts_with(expected), "{refusal}");
    assert!(
        refusal.contains("report it, with the output of `uname -r`"),
        "{refusal}"
    );
}

#[test]
fn only_what_was_sent_to_us_is_answered() {
    if !root() {
        return;
    }
    let mut desk = Desk::new(&policy());
    let good = way("198.51.100.7", 9, &[]);
    let frame = good.frame(OURS, THEIRS, &payload(4, 3));
    assert_eq!(desk.ask(&frame).0, Action::Send);
    let another = |asked: &str| {
        Way {
            asked: asked.parse().unwrap(),
            ..good
        }
        .frame(OURS, THEIRS, &payload(4, 3))
    };
    let strangers = [
        good.frame([2, 0, 0, 0, 0, 9], THEIRS, &payload(4, 3)),
        good.frame([0xff; 6], THEIRS, &payload(4, 3)),
        another("192.0.2.2"),
        another("224.0.1.1"),
        another("192.0.2.255"),
        Way { port: 124, ..good }.frame(OURS, THEIRS, &payload(4, 3)),
        good.frame(OURS, THEIRS, &[&payload(4, 3)[..], &[0; 4]].concat()),
        good.frame(OURS, THEIRS, &payload(4, 3)[..44]),
        Way {
            tags: &[1, 2, 3],
            ..good
        }
        .frame(OURS, THEIRS, &payload(4, 3)),
    ];
    for frame in strangers {
        assert_eq!(desk.ask(&frame), (Action::Pass, frame));
    }
    // That of a VLAN, whose tag the hardware may have taken away.
    let of_vlan = Way {
        asked: TAGGED.into(),
        ..good
    };
    let frame = of_vlan.frame(OURS, THEIRS, &payload(4, 3));
    assert_eq!(desk.ask(&frame).0, Action::Pass);
    same_as_sockets(
        &mut desk,
        Way {
            tags: &[7],
            ..of_vlan
        },
        &payload(4, 3),
        Ruling::Answer,
    );
}

/// A reply to a group would be heard by many. (What no network has for a host, passes: the sockets refuse it, if the kernel lets
/// it come so far.)
#[test]
fn who_is_no_host_is_not_answered() {
    if !root() {
        return;
    }
    let mut desk = Desk::new(&policy());
    let good = way("198.51.100.7", 9, &[]);
    let refused = |desk: &Desk| desk.counted().of(Verdict::RefusedSource);
    for (tags, from) in [
        (&[][..], [0xff; 6]),
        (&[], [1, 0, 0x5e, 0, 1, 1]),
        (&[7], [0x33, 0x33, 0, 0, 0, 1]),
        (&[], [THEIRS[0] | 1, 0, 0, 0, 0, 2]),
    ] {
        for source in ["198.51.100.7", "2001:db8:1::7"] {
            let before = refused(&desk);
            let frame = way(source, 9, tags).frame(OURS, from, &payload(4, 3));
            assert_eq!(desk.ask(&frame), (Action::Drop, frame), "{from:?} {source}");
            assert_eq!(refused(&desk), before + 1, "{from:?} {source}");
        }
    }
    for broadcast in BROADCASTS {
        for tags in [&[][..], &[7]] {
            let before = refused(&desk);
            let frame = way(&broadcast.to_string(), 9, tags).frame(OURS, THEIRS, &payload(4, 3));
            assert_eq!(desk.ask(&frame), (Action::Drop, frame), "{broadcast}");
            assert_eq!(refused(&desk), before + 1, "{broadcast}");
        }
        // Nobody listens there, even on the port that marks them.
        let asked = Way {
            asked: broadcast.into(),
            port: 0,
            ..good
        };
        let frame = asked.frame(OURS, THEIRS, &payload(4, 3));
        assert_eq!(desk.ask(&frame), (Action::Pass, frame));
    }
    let counted = desk.counted();
    assert_eq!((counted.answered(), counted.received()), (0, refused(&desk)));
    for source in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "224.0.1.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "ff02::1",
        "ff0e::101",
        "::ffff:192.0.2.7",
    ] {
        let frame = way(source, 9, &[]).frame(OURS, THEIRS, &payload(4, 3));
        assert_eq!(desk.ask(&frame), (Action::Pass, frame), "{source}");
    }
    assert_eq!(desk.counted(), counted);
    // Their neighbours are hosts.
    for source in ["192.0.2.254", "203.0.113.126", "192.0.3.255"] {
        same_as_sockets(&mut desk, way(source, 9, &[]), &payload(4, 3), Ruling::Answer);
    }
}

/// The announced error is that of the segment at its start, and grows.
#[test]
fn the_error_grows_with_the_segment() {
    if !root() {
        return;
    }
    let mut desk = Desk::new(&policy());
    let frame = way("198.51.100.7", 9, &[]).frame(OURS, THEIRS, &payload(4, 3));
    desk.publish_with(|segment| segment.length = Duration::from_millis(199));
    let mut said = Vec::new();
    for _ in 0..3 {
        let (action, out) = desk.ask(&frame);
        if action == Action::Send {
            let header = Header::parse(&out[out.len() - HEADER_LEN..]).unwrap();
            desk.variables_in(&header);
            said.push(header.root_dispersion.to_duration().to_seconds());
        }
        std::thread::sleep(Duration::from_millis(40));
    }
    // An eighth of 40 ms, at least; on a machine that is busy the segment may have ended meanwhile.
    assert!(said.windows(2).all(|pair| pair[1] - pair[0] > 0.0049), "{said:?}");
    assert!(!said.is_empty());
}

/// A denied client and an allowed one on each side of each boundary, and the program's search finds the same.
#[test]
fn access_lists_say_the_same() {
    if !root() {
        return;
    }
    let mut random = Random::new(7);
    let mut bits = move || {
        (0..128).fold(0_u128, |all, _| {
            all << 1 | u128::from(random.sample(Probability::of(0.5)))
        })
    };
    for count in [0, 1, 2, 3, 50, 1000] {
        for default in [true, false] {
            let rules: Vec<(IpNet, bool)> = (0..count)
                .flat_map(|_| {
                    let (address, length) = (bits(), bits());
                    let v4 = IpAddr::from(u32::try_from(address >> 96).unwrap().to_be_bytes());
                    let v6 = IpAddr::from((address | 1 << 125).to_be_bytes());
                    let (short, long) = (8 + (length % 25) as u8, 16 + (length % 100) as u8);
                    [
                        (v4, short, length & 1 << 40 == 0),
                        (v6, long, length & 1 << 41 == 0),
                    ]
                })
                .map(|(address, length, allowed)| (IpNet::new(address, length).unwrap().trunc(), allowed))
                .collect();
            let mut policy = policy();
            policy.access = Access::new(&rules, default, OnDeny::Drop, RuleMode::On);
            let mut desk = Desk::new(&policy);
            let near = rules.iter().flat_map(|(net, _)| [net.network(), net.broadcast()]);
            let far = ["1.0.0.1", "223.255.255.255", "2001:db8:1::7"].map(|far| far.parse().unwrap());
            for source in near.chain(far).take(400) {
                ask_by_access(&mut desk, &policy.access, source);
            }
        }
    }
}

fn ask_by_access(desk: &mut Desk, access: &Access, source: IpAddr) {
    let way = way(&source.to_string(), 9, &[]);
    let frame = way.frame(OURS, THEIRS, &payload(4, 3));
    if take(&frame).is_none() {
        return; // An address that nobody can answer passes.
    }
    let ruling = match access.allows(source) {
        true => Ruling::Answer,
        false => Ruling::Refuse(Verdict::RefusedDenied),
    };
    same_as_sockets(desk, way, &payload(4, 3), ruling);
}

#[test]
fn a_denial_is_told_or_only_counted() {
    if !root() {
        return;
    }
    let deny = [("198.51.100.0/24".parse().unwrap(), false)];
    let mut policy = policy();
    policy.access = Access::new(&deny, true, OnDeny::Kiss, RuleMode::On);
    let mut desk = Desk::new(&policy);
    let kiss = Ruling::Kiss {
        verdict: Verdict::KissedDenied,
        code: ReferenceId::DENY,
        poll: i8::MIN,
    };
    assert_eq!(
        same_as_sockets(&mut desk, way("198.51.100.7", 9, &[]), &payload(3, 1), kiss),
        Verdict::KissedDenied
    );
    policy.access = Access::new(&deny, true, OnDeny::Drop, RuleMode::DryRun);
    let mut desk = Desk::new(&policy);
    same_as_sockets(
        &mut desk,
        way("198.51.100.7", 9, &[]),
        &payload(3, 1),
        Ruling::Answer,
    );
    assert_eq!(desk.counted().annotated(Annotation::WouldDeny), 1);
}

/// As many answers as tokens, and then what the socket path does with clients that ask too often.
#[test]
fn limits_say_the_same() {
    if !root() {
        return;
    }
    for (kiss, leak, mode, wide) in [
        (Probability::NONE, Probability::NONE, RuleMode::On, false),
        (Probability::of(1.0), Probability::NONE, RuleMode::On, false),
        (Probability::NONE, Probability::of(1.0), RuleMode::On, false),
        (Probability::NONE, Probability::NONE, RuleMode::DryRun, false),
        (Probability::NONE, Probability::NONE, RuleMode::On, true),
    ] {
        let mut policy = policy();
        policy.limit.mode = mode;
        (policy.limit.kiss, policy.limit.leak) = (kiss, leak);
        let bucket = Bucket {
            interval: Duration::from_secs(64),
            burst: 20,
            ipv4_prefix: 24,
            ipv6_prefix: 56,
        };
        policy.limit.client = bucket;
        policy.limit.wide = wide.then_some(Bucket {
            burst: 11,
            ipv4_prefix: 8,
            ipv6_prefix: 32,
            ..bucket
        });
        let mut desk = Desk::new(&policy);
        let mut clients = Clients::new(1024, [1, 2]);
        let mut random = Random::new(1);
        for round in 0..60_u8 {
            for source in [format!("198.51.100.{round}"), format!("2001:db8:1:{round:x}::7")] {
                let asked = RequestContext {
                    source: source.parse().unwrap(),
                    now: Duration::from_secs(1),
                    budget: RuleMode::Off,
                    allowance: &Allowance::default(),
                };
                let mut remarks = Vec::new();
                let ruling = policy.rule(&mut clients, &asked, &mut random, |remark| remarks.push(remark));
                let before = desk.counted();
                same_as_sockets(&mut desk, way(&source, 9, &[]), &payload(4, 3), ruling);
                let after = desk.counted();
                for remark in Annotation::all() {
                    let new = after.annotated(remark) - before.annotated(remark);
                    assert_eq!(
                        new,
                        u64::from(remarks.contains(&remark)),
                        "{remark:?} {round} {source}"
                    );
                }
            }
        }
        let limited = desk.counted().answered() < 120;
        assert_eq!(limited, mode == RuleMode::On && leak == Probability::NONE);
    }
}

/// A client that asks the more the less it is answered is answered, at the sockets and here.
#[test]
fn an_impatient_client_is_answered() {
    if !root() {
        return;
    }
    let mut policy = policy();
    policy.limit.mode = RuleMode::On;
    (policy.limit.kiss, policy.limit.leak) = (Probability::NONE, Probability::NONE);
    policy.limit.client.interval = Duration::from_millis(200);
    policy.limit.client.burst = 8;
    let mut desk = Desk::new(&policy);
    let frame = way("198.51.100.7", 9, &[]).frame(OURS, THEIRS, &payload(4, 3));
    // An answer keeps it quiet for 60 ms, silence for 4.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while desk.counted().annotated(Annotation::RetriesWhenDropped) == 0 {
        desk.publish();
        let (action, _) = desk.ask(&frame);
        let quiet = if action == Action::Send { 60 } else { 4 };
        std::thread::sleep(Duration::from_millis(quiet));
        assert!(std::time::Instant::now() < deadline, "{:?}", desk.counted());
    }
}

/// More clients than there is room for: the heavy one stays known.
#[test]
fn a_full_table_forgets_who_is_quiet() {
    if !root() {
        return;
    }
    let mut policy = policy();
    policy.limit.mode = RuleMode::On;
    (policy.limit.kiss, policy.limit.leak) = (Probability::NONE, Probability::NONE);
    policy.limit.clients = 1024;
    policy.limit.client.interval = Duration::from_secs(64);
    let mut desk = Desk::new(&policy);
    let heavy = way("198.51.100.7", 9, &[]).frame(OURS, THEIRS, &payload(4, 3));
    for _ in 0..200 {
        desk.ask(&heavy);
    }
    assert_eq!(desk.ask(&heavy).0, Action::Drop);
    for number in 0..20_000_u32 {
        let [_, a, b, c] = number.to_be_bytes();
        let light = way(&format!("203.{a}.{b}.{c}"), 9, &[]).frame(OURS, THEIRS, &payload(4, 3));
        assert_eq!(desk.ask(&light).0, Action::Send, "{number}");
        if number % 1000 == 0 {
            desk.publish();
        }
    }
    assert_eq!(desk.ask(&heavy).0, Action::Drop);
}

/// What a random change makes of a good request: nothing, mostly.
#[derive(Clone, Debug)]
enum Damage {
    Byte(usize, u8),
    Bit(usize, u8),
    Cut(usize),
    More(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (0..118_usize, any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        (0..118_usize, 0..8_u8).prop_map(|(at, bit)| Damage::Bit(at, bit)),
        (0..118_usize).prop_map(Damage::Cut),
        proptest::collection::vec(any::<u8>(), 1..40).prop_map(Damage::More),
    ]
}

fn damaged(mut frame: Vec<u8>, all: &[Damage]) -> Vec<u8> {
    for damage in all {
        match damage {
            Damage::Byte(at, byte) => frame.get_mut(*at).into_iter().for_each(|old| *old = *byte),
            Damage::Bit(at, bit) => frame.get_mut(*at).into_iter().for_each(|old| *old ^= 1 << bit),
            Damage::Cut(length) => frame.truncate((*length).max(14)),
            Damage::More(bytes) => frame.extend(bytes),
        }
    }
    frame
}

/// Whatever comes: no reply that the socket path would not have given, none that is longer, none with a bad checksum.
fn is_sound(desk: &mut Desk, frame: &[u8]) {
    let (action, out) = desk.ask(frame);
    if action == Action::Pass {
        assert_eq!(out, frame, "left as it was");
        return;
    }
    if action == Action::Drop {
        assert_eq!(
            (frame[6] & 1, &out[..]),
            (1, frame),
            "only what comes from a group"
        );
        return;
    }
    assert_eq!(action, Action::Send);
    let request = take(frame).expect("a socket would have got it");
    assert_eq!((request.to, request.port), (OURS, 123));
    assert!(request.asked == IpAddr::from(MINE4) || request.asked == IpAddr::from(MINE6));
    assert_eq!(out.len(), frame.len(), "as long as the request");
    let reply = take(&out).expect("whole, with good checksums");
    assert_eq!((reply.source, reply.asked), (request.asked, request.source));
    assert_eq!(
        (reply.source_port, reply.port),
        (request.port, request.source_port)
    );
    let said = Header::parse(reply.payload).unwrap();
    let mut wanted = [0; HEADER_LEN];
    let request = Request {
        payload: request.payload,
        source: request.source,
        source_port: request.source_port,
        unicast: true,
        received_at: said.receive_timestamp,
    };
    let verdict = respond(
        &request,
        said.transmit_timestamp,
        || Ruling::Answer,
        &desk.variables_in(&said),
        &mut ReplyBuffer::new(&mut wanted),
    );
    assert!(verdict.is_answered(), "{verdict:?}");
    assert_eq!(reply.payload, wanted);
}

#[test]
fn random_frames_never_get_a_wrong_reply() {
    if !root() {
        return;
    }
    let mut desk = Desk::new(&policy());
    let cases = std::env::var("FAST_PATH_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    let config = ProptestConfig {
        cases: cases.unwrap_or(20_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let strategy = (
        any::<bool>(),
        0..3_usize,
        any::<[u8; HEADER_LEN]>(),
        any::<bool>(),
        proptest::collection::vec(damage(), 0..4),
        any::<bool>(),
    );
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let desk = std::cell::RefCell::new(&mut desk);
    runner
        .run(&strategy, |(ipv4, tags, mut bytes, plain, damage, again)| {
            let source = if ipv4 { "198.51.100.7" } else { "2001:db8:1::7" };
            let tags = [&[][..], &[5], &[5, 6]][tags];
            if plain {
                bytes[0] = 4 << 3 | 3;
            }
            let mut frame = damaged(way(source, 9, tags).frame(OURS, THEIRS, &bytes), &damage);
            if again {
                mend(&mut frame);
            }
            let mut desk = desk.borrow_mut();
            desk.publish();
            is_sound(&mut desk, &frame);
            Ok(())
        })
        .unwrap();
    let answered = desk.borrow_mut().counted().answered();
    assert!(answered > 1000, "of all cases only {answered} were good");
}

/// Checksums that fit a damaged frame again, so that it is not turned away for them alone.
fn mend(frame: &mut [u8]) {
    let at = match frame.get(12..14) {
        Some([0x81, 0]) => 18,
        Some([0x88, 0xa8]) => 22,
        _ => 14,
    };
    let Some(header) = frame.get_mut(at..at + 20) else {
        return;
    };
    if header[0] == 0x45 {
        header[10..12].fill(0);
        let check = !sum(header);
        header[10..12].copy_from_slice(&check.to_be_bytes());
        if let Some(udp) = frame.get_mut(at + 26..at + 28) {
            udp.fill(0);
        }
    }
}
