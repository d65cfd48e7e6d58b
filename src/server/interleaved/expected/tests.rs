//! Pure. The kernel's numbers: learned, followed, lost and learned again; a made-up kernel that loses, doubles and delays.

use super::*;
use crate::server::interleaved::SavedTimestamps;
use crate::time::NtpDuration;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

fn at(bits: u64) -> NtpTimestamp {
    NtpTimestamp::from_bits(bits)
}

/// The reply of this number, which is sent right after this time.
fn reply(number: u64) -> Expected {
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Expected {
        not_before: at(number * 100),
        predicted: None,
        entry: Some(ExpectedEntry {
            received: at(number * 100 + 1),
            tag: SavedTimestamps::new(4, 1).tag(client, false, 0),
            is_interleaved: false,
        }),
    }
}

const NOW: NtpTimestamp = NtpTimestamp::from_bits(1 << 60);

/// Has learned that the next number is 8.
fn learned() -> ExpectedTimestamps {
    let mut expected = ExpectedTimestamps::default();
    assert!(expected.queue(reply(1)) && !expected.queue(reply(2)));
    expected.sent(true);
    assert!(expected.is_waiting() && !expected.queue(reply(3)));
    assert_eq!(expected.take(7, at(150), NOW), Pending::Unknown);
    assert!(!expected.is_waiting());
    expected
}

fn send(expected: &mut ExpectedTimestamps, replies: impl Iterator<Item = u64>) {
    replies.for_each(|number| assert!(expected.queue(reply(number)), "{number}"));
    expected.sent(true);
}

#[test]
fn each_timestamp_is_of_the_reply_with_its_number() {
    let mut expected = learned();
    send(&mut expected, 10..13);
    for (number, of) in [(9, 11), (8, 10), (10, 12)] {
        assert!(expected.is_waiting());
        let pending = expected.take(number, at(of * 100 + 50), NOW);
        assert_eq!(pending, Pending::Sent(reply(of)));
    }
    assert!(!expected.is_waiting());
    // The kernel stamped one twice.
    assert_eq!(expected.take(9, at(1150), NOW), Pending::Unknown);
    send(&mut expected, 13..14);
    assert_eq!(expected.take(11, at(1350), NOW), Pending::Sent(reply(13)));
}

#[test]
fn numbers_wrap() {
    let mut expected = ExpectedTimestamps::default();
    send(&mut expected, 1..2);
    expected.take(u32::MAX - 1, at(150), NOW);
    send(&mut expected, 2..5);
    for (number, of) in [(u32::MAX, 2), (0, 3), (1, 4)] {
        assert_eq!(
            expected.take(number, at(of * 100 + 50), NOW),
            Pending::Sent(reply(of))
        );
    }
}

/// Nothing is told by a number that may be wrong.
#[test]
fn a_failure_an_odd_number_or_an_odd_time_begins_anew() {
    for fault in 0..4 {
        let mut expected = learned();
        send(&mut expected, 10..12);
        match fault {
            0 => {
                expected.queue(reply(12));
                expected.sent(false);
            }
            1 => drop(expected.take(10, at(1050), NOW)),
            2 => drop(expected.take(8, at(999), NOW)),
            _ => drop(expected.take(8, at(1001), at(1000))),
        }
        assert_eq!(expected.take(9, at(1150), NOW), Pending::Unknown, "{fault}");
        assert!(!expected.is_waiting());
        assert!(expected.queue(reply(20)) && !expected.queue(reply(21)), "{fault}");
        expected.sent(true);
        // One that comes late is not taken for it.
        assert_eq!(expected.take(9, at(1950), NOW), Pending::Unknown);
        assert!(expected.is_waiting());
        assert_eq!(expected.take(30, at(2050), NOW), Pending::Unknown);
        send(&mut expected, 21..22);
        assert_eq!(expected.take(31, at(2150), NOW), Pending::Sent(reply(21)));
    }
}

#[test]
fn lost_timestamps_are_given_up_and_the_numbers_stay_known() {
    let mut expected = learned();
    send(&mut expected, 10..12);
    (0..PATIENCE).for_each(|_| {
        assert!(expected.is_waiting());
        expected.looked(false);
    });
    assert!(!expected.is_waiting());
    send(&mut expected, 12..13);
    assert_eq!(expected.take(10, at(1250), NOW), Pending::Sent(reply(12)));
    // It comes after all.
    assert_eq!(expected.take(8, at(1050), NOW), Pending::Unknown);
    send(&mut expected, 13..14);
    assert_eq!(expected.take(11, at(1350), NOW), Pending::Sent(reply(13)));
}

#[test]
fn without_any_timestamp_few_replies_are_stamped() {
    let mut expected = ExpectedTimestamps::default();
    let mut stamped = 0;
    for number in 0..10_000 {
        stamped += u32::from(expected.queue(reply(number)));
        expected.sent(true);
        if expected.is_waiting() {
            expected.looked(false);
        }
    }
    assert!((100..200).contains(&stamped), "{stamped}");
}

#[test]
fn no_more_are_expected_than_there_is_room() {
    let mut expected = learned();
    let most = u64::try_from(MOST).unwrap();
    let half = most / 2;
    send(&mut expected, 0..half);
    send(&mut expected, half..most);
    assert!(!expected.queue(reply(most)));
    assert_eq!(expected.take(8, at(50), NOW), Pending::Sent(reply(0)));
    assert!(expected.queue(reply(most)));
}

proptest! {
    /// A kernel that loses, doubles, delays and reorders timestamps: what is told is always of that very reply.
    #[test]
    fn whatever_the_kernel_does_no_timestamp_is_of_another_reply(
        batches in prop::collection::vec((1_u64..20, prop::collection::vec(0_u8..20, 20), any::<bool>()), 1..60)
    ) {
        let mut expected = ExpectedTimestamps::default();
        let (mut kernel, mut number, mut queue) = (5_u32, 0_u64, Vec::new());
        for (count, fates, fails) in batches {
            let mut sent = Vec::new();
            for _ in 0..count {
                number += 1;
                if expected.queue(reply(number)) {
                    sent.push(number);
                }
            }
            // A batch that fails is sent in part: the kernel's numbers go on.
            let fails = fails && fates[0] == 0;
            for (&reply, fate) in sent.iter().zip(&fates) {
                match fate {
                    0 => {}
                    1 => queue.extend([(kernel, reply); 2]),
                    2 => queue.insert(0, (kernel, reply)),
                    _ => queue.push((kernel, reply)),
                }
                kernel = kernel.wrapping_add(1);
            }
            expected.sent(!fails);
            let late = usize::from(fates[1] == 3).min(queue.len());
            let (mut any, rest) = (false, queue.split_off(queue.len() - late));
            for (number, of) in queue.drain(..) {
                any = true;
                let time = at(of * 100 + 50);
                if let Pending::Sent(found) = expected.take(number, time, NOW) {
                    prop_assert_eq!(found, reply(of));
                    prop_assert!(time - found.not_before > NtpDuration::ZERO);
                }
            }
            queue = rest;
            expected.looked(any);
        }
    }
}
