//! Proves that a kiss, an unsynchronized or a bogus answer never becomes our state, neither at the start nor later,
//! and that only the true server's kisses are orders.

use std::time::Duration;

use ntpfront::time::{NtpDuration, NtpShort, NtpTimestamp};
use ntpfront::wire::{Leap, Mode, ReferenceId};

use crate::common::client::{ahead as reply_ahead, distance};
use crate::common::front::Front;
use crate::common::scripted::{Ask, GOOD_ID, GOOD_STRATUM, Reply, Scripted, but, good, honest, kiss};
use crate::common::{SOON, wait_until};

type Lie = Box<dyn FnMut(&Ask) -> Vec<Reply> + Send>;

/// Answers that must never become our state.
fn lies() -> Vec<(&'static str, Lie)> {
    let old = || NtpDuration::from_seconds(600.0);
    let mut nonces = Vec::new();
    vec![
        ("leap 3", Box::new(but(|reply| reply.leap = Leap::Unsynchronized))),
        ("stratum 0", Box::new(but(|reply| reply.stratum = 0))),
        ("stratum 16", Box::new(but(|reply| reply.stratum = 16))),
        ("stratum 255", Box::new(but(|reply| reply.stratum = 255))),
        (
            "wrong origin",
            Box::new(but(|reply| {
                reply.origin_timestamp = NtpTimestamp::from_bits(reply.origin_timestamp.to_bits() ^ 1);
            })),
        ),
        (
            "origin zero",
            Box::new(but(|reply| reply.origin_timestamp = NtpTimestamp::ZERO)),
        ),
        (
            "another port",
            Box::new(|ask| vec![Reply::Stray(good(ask).to_bytes().to_vec())]),
        ),
        (
            "replayed",
            Box::new(move |ask| {
                nonces.push(ask.header.transmit_timestamp);
                let mut reply = good(ask);
                reply.origin_timestamp = match nonces.as_slice() {
                    [.., before, _] => *before,
                    _ => NtpTimestamp::ZERO,
                };
                vec![reply.into()]
            }),
        ),
        (
            "47 bytes",
            Box::new(|ask| vec![Reply::Own(good(ask).to_bytes()[..47].to_vec())]),
        ),
        ("empty", Box::new(|_| vec![Reply::Own(Vec::new())])),
        ("mode 3", Box::new(but(|reply| reply.mode = Mode::Client))),
        (
            "mode 2",
            Box::new(but(|reply| reply.mode = Mode::SymmetricPassive)),
        ),
        ("mode 5", Box::new(but(|reply| reply.mode = Mode::Broadcast))),
        (
            "version 7",
            Box::new(|ask| {
                let mut bytes = good(ask).to_bytes().to_vec();
                bytes[0] |= 7 << 3;
                vec![Reply::Own(bytes)]
            }),
        ),
        (
            "no transmit time",
            Box::new(but(|reply| reply.transmit_timestamp = NtpTimestamp::ZERO)),
        ),
        (
            "root distance of 2 s",
            Box::new(but(|reply| reply.root_dispersion = NtpShort::from_bits(2 << 16))),
        ),
        (
            "root delay of 4 s",
            Box::new(but(|reply| reply.root_delay = NtpShort::from_bits(4 << 16))),
        ),
        (
            "reference time after transmit",
            Box::new(but(move |reply| {
                reply.reference_timestamp = reply.transmit_timestamp + old()
            })),
        ),
        (
            "transmit before receive",
            Box::new(but(move |reply| {
                reply.receive_timestamp = reply.transmit_timestamp + old()
            })),
        ),
        (
            "kept for ten minutes",
            Box::new(but(move |reply| {
                reply.receive_timestamp = reply.transmit_timestamp - old()
            })),
        ),
        ("kiss INIT", Box::new(kiss(*b"INIT"))),
        ("kiss RATE", Box::new(kiss(*b"RATE"))),
        ("kiss DENY", Box::new(kiss(*b"DENY"))),
        ("kiss RSTR", Box::new(kiss(*b"RSTR"))),
        (
            "its own request",
            Box::new(|ask| vec![Reply::Own(ask.header.to_bytes().to_vec())]),
        ),
    ]
}

/// Runs one scenario a lie, all at once: they do little but wait.
fn for_each_lie(scenario: impl Fn(&str, Lie) + Sync) {
    let scenario = &scenario;
    std::thread::scope(|scope| {
        let threads: Vec<_> = lies()
            .into_iter()
            .map(|(name, lie)| (name, scope.spawn(move || scenario(name, lie))))
            .collect();
        let failed: Vec<_> = threads
            .into_iter()
            .filter_map(|(name, thread)| thread.join().is_err().then_some(name))
            .collect();
        assert!(failed.is_empty(), "failed with: {failed:?}");
    });
}

//= RFC 5905 §7.4 timestamps
//= RFC 5905 §8 bogus
//= RFC 5905 §8 duplicate
//= RFC 5905 §9.2 checks
#[test]
fn no_lie_ever_becomes_our_state() {
    for_each_lie(|name, lie| {
        let upstream = Scripted::start(lie);
        let front = Front::of(&[upstream.address()]);
        let questions = if name.starts_with("kiss") { 1 } else { 3 };
        wait_until("it was asked", SOON, || {
            (upstream.asked() >= questions).then_some(())
        });
        front.watch.during(Duration::from_secs(1));
        front.was_never_synchronized();
    });
}

#[test]
fn a_server_that_begins_to_lie_is_not_followed() {
    for_each_lie(|_, lie| {
        let upstream = Scripted::start(honest);
        let front = Front::of(&[upstream.address()]);
        front.becomes_synchronized();
        upstream.turn_to(lie);
        for reply in front.watch.during(Duration::from_secs(6)) {
            let lost = reply.leap == Leap::Unsynchronized;
            let source = (reply.stratum, reply.reference_id.to_bytes());
            // On a busy machine the honest one may seem to be more than 1 ms off: then we are its client.
            let kept = source == (GOOD_STRATUM, GOOD_ID) || source == (GOOD_STRATUM + 1, [127, 0, 0, 1]);
            assert!(lost || kept && reply.leap == Leap::NoWarning, "{reply:?}");
            assert!(lost || distance(&reply) <= 1.0, "{reply:?}");
            assert!(lost || reply_ahead(&reply).abs() < 10.0, "{reply:?}");
        }
    });
}

#[test]
fn after_a_lie_the_truth_is_believed() {
    let upstream = Scripted::start(but(|reply| reply.stratum = 16));
    let front = Front::of(&[upstream.address()]);
    wait_until("it was asked", SOON, || (upstream.asked() >= 2).then_some(()));
    front.was_never_synchronized();
    upstream.turn_to(honest);
    front.becomes_synchronized();
}

#[test]
fn after_deny_nobody_asks_again() {
    for code in [*b"DENY", *b"RSTR"] {
        let upstream = Scripted::start(kiss(code));
        let front = Front::of(&[upstream.address()]);
        wait_until("it was asked", SOON, || (upstream.asked() >= 1).then_some(()));
        upstream.turn_to(honest);
        front.watch.during(Duration::from_secs(5));
        assert_eq!(upstream.asked(), 1);
        front.was_never_synchronized();
    }
}

//= RFC 5905 §7.4 rate
#[test]
fn after_rate_it_asks_less_often() {
    asks_less_often_after_rate(6);
}

#[test]
fn after_rate_it_asks_less_often_even_if_a_fixed_interval_is_configured() {
    asks_less_often_after_rate(0);
}

fn asks_less_often_after_rate(maxpoll: u8) {
    let upstream = Scripted::start(honest);
    let front = Front::configured(&format!(
        "[[upstream]]\naddress = \"{}\"\nminpoll = 0\nmaxpoll = {maxpoll}\n",
        upstream.address()
    ));
    front.becomes_synchronized();
    upstream.turn_to(kiss(*b"RATE"));
    let before = upstream.asked();
    wait_until("the kiss was sent", SOON, || {
        (upstream.asked() > before).then_some(())
    });
    let before = upstream.asked();
    front.watch.during(Duration::from_secs(10));
    let more = upstream.asked() - before;
    assert!(
        more <= 6,
        "{more} questions in 10 s after RATE, where there were ten before"
    );
}

//= RFC 5905 §8 bogus
#[test]
fn a_forged_kiss_is_no_order() {
    // Somebody who did not see the question says DENY: origin and port are wrong.
    let upstream = Scripted::start(|ask| {
        let mut forged = good(ask);
        forged.stratum = 0;
        forged.reference_id = ReferenceId::from_bytes(*b"DENY");
        forged.origin_timestamp = NtpTimestamp::from_bits(0x1234_5678_9ABC_DEF0);
        vec![forged.into(), good(ask).into()]
    });
    let front = Front::of(&[upstream.address()]);
    front.becomes_synchronized();
    let before = upstream.asked();
    wait_until("it goes on asking", SOON, || {
        (upstream.asked() >= before + 2).then_some(())
    });
}

#[test]
fn whatever_an_upstream_sends_it_does_not_fill_the_log() {
    // Ten forged answers to each question (after 16 it is given up), and then a good and a bad one in turn: each
    // alone is worth a line.
    let mut number = 0;
    let upstream = Scripted::start(move |ask| {
        number += 1;
        let mut forged = good(ask);
        forged.origin_timestamp = NtpTimestamp::from_bits(number);
        let mut last = good(ask);
        if number % 2 == 0 {
            last.leap = Leap::Unsynchronized;
        }
        let mut replies: Vec<Reply> = (0..5).map(|_| forged.into()).collect();
        replies.extend((0..5).map(|_| Reply::Own(vec![0; 7])));
        replies.push(last.into());
        replies
    });
    let front = Front::of(&[upstream.address()]);
    front.becomes_synchronized();
    let before = front.daemon.log_lines();
    front.watch.during(Duration::from_secs(15));
    println!("{}", front.daemon.log());
    let lines = front.daemon.log_lines() - before;
    assert!(lines <= 10, "{lines} lines in 15 s:\n{}", front.daemon.log());
}
