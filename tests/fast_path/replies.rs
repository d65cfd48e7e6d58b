//! Requests of all kinds, and what is announced: the program answers as the sockets do, or passes.

use std::time::Duration;

use ntpfront::server::Verdict;
use ntpfront::server::policy::{Announced, NtsMode, RuleMode, Ruling};
use ntpfront::time::{NtpDuration, NtpTimestamp};
use ntpfront::wire::{HEADER_LEN, Header, Leap, ReferenceId};

use crate::common::{root, wait_until};
use crate::comparison::{payload, same_as_sockets, way};
use crate::desk::{Action, BROADCASTS, Desk, TAGGED, policy};
use crate::frames::{OURS, THEIRS, Way};

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
    // A clock that stands still there: with the marks of interleaved mode none of the timestamps is zero.
    for (time, receive, transmit) in [
        (0, 1, 2),
        (u64::MAX, u64::MAX, 2),
        (u64::MAX - 1, u64::MAX, 2),
        (6, 7, 8),
    ] {
        desk.publish_with(|segment| (segment.time, segment.rate) = (NtpTimestamp::from_bits(time), 0.0));
        let said = said(&mut desk);
        let timestamps = [said.receive_timestamp, said.transmit_timestamp].map(NtpTimestamp::to_bits);
        assert_eq!(timestamps, [receive, transmit]);
    }
}

/// All three signs of a candidate for interleaved mode together, at a listener that has this mode, and none without.
#[test]
fn candidates_for_interleaved_mode_pass() {
    if !root() {
        return;
    }
    let way = way("198.51.100.7", 9, &[]);
    for (interleaves, first, origin, receive, expected) in [
        (true, 0x23, 1, 0, Action::Pass),
        (true, 0xe3, 0xff, 0, Action::Pass),
        (true, 0x23, 2, 0, Action::Send),
        (true, 0x23, 1, 5, Action::Send),
        (true, 0x1b, 1, 0, Action::Send),
        (true, 0x21, 1, 0, Action::Send),
        (false, 0x23, 1, 0, Action::Send),
    ] {
        let mut desk = Desk::interleaving(&policy(), interleaves);
        let mut request = [0; HEADER_LEN];
        (request[0], request[31], request[39], request[47]) = (first, origin, receive, 5);
        let frame = way.frame(OURS, THEIRS, &request);
        assert_eq!(
            desk.ask(&frame).0,
            expected,
            "{interleaves} {first:#x} {origin} {receive}"
        );
    }
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
    for (away, max_stratum, nts) in [
        (Announced::Unsynchronized, 15, NtsMode::Accept),
        (Announced::Time, 2, NtsMode::Accept),
        (Announced::Time, 15, NtsMode::Require),
    ] {
        let mut policy = policy();
        (policy.answer, policy.max_stratum, policy.nts) = (away, max_stratum, nts);
        passes(&mut Desk::new(&policy), &format!("{policy:?}"));
    }
}

/// In the time of a publication as many requests are answered as the budget allows; the others are the sockets'.
#[test]
fn what_is_beyond_the_allowance_passes() {
    if !root() {
        return;
    }
    let way = way("198.51.100.7", 9, &[]);
    let frame = way.frame(OURS, THEIRS, &payload(4, 3));
    for budget in [RuleMode::Off, RuleMode::DryRun, RuleMode::On] {
        let mut policy = policy();
        policy.budget = budget;
        let mut desk = Desk::new(&policy);
        for allowance in [3, 0, 1, 7] {
            desk.allowance = allowance;
            // Short enough that the desk keeps it.
            desk.publish_with(|segment| segment.length = Duration::from_millis(190));
            let sent = (0..9).filter(|_| desk.ask(&frame).0 == Action::Send).count();
            let expected = match budget {
                RuleMode::Off => 9,
                RuleMode::DryRun | RuleMode::On => usize::try_from(allowance).unwrap(),
            };
            assert_eq!(sent, expected, "{budget:?}, {allowance}");
        }
    }
}

/// Only the sockets have keys, and only they refuse requests without NTS where it is required.
#[test]
fn what_has_fields_of_nts_passes() {
    if !root() {
        return;
    }
    for nts in [NtsMode::Accept, NtsMode::Off, NtsMode::Require] {
        let mut policy = policy();
        policy.nts = nts;
        let mut desk = Desk::new(&policy);
        for source in ["198.51.100.7", "2001:db8:1::7"] {
            let way = way(source, 9, &[]);
            let header = payload(4, 3);
            let plain = if nts == NtsMode::Require {
                Action::Pass
            } else {
                Action::Send
            };
            assert_eq!(desk.ask(&way.frame(OURS, THEIRS, &header)).0, plain, "{nts:?}");
            // Requests with one cookie and with eight, and the shortest field that there can be.
            for length in [180, 908, 28] {
                let field = u8::try_from(length % 256).unwrap();
                let mut fields = vec![1, 4, u8::try_from(length / 256).unwrap(), field];
                fields.resize(length, 7);
                let frame = way.frame(OURS, THEIRS, &[&header[..], &fields].concat());
                assert_eq!(desk.ask(&frame), (Action::Pass, frame), "{nts:?} {length}");
            }
        }
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
