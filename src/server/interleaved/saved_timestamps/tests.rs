//! Impure. Saved timestamps by hand, against a model, and from several threads at once.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 8));

fn at(bits: u64) -> NtpTimestamp {
    NtpTimestamp::from_bits(bits)
}

/// A reply that was received at `received`, which is odd, and left some units later.
fn reply(received: u64, later: u64) -> Timestamps {
    Timestamps {
        received: at(received),
        transmitted: at(received + later),
    }
}

//= RFC 9769 §2 once
//= RFC 9769 §2 save
#[test]
fn what_is_saved_is_told_once() {
    let saved = SavedTimestamps::new(1024, 1);
    let tag = saved.tag(ONE, false, saved.epoch());
    for is_interleaved in [false, true] {
        saved.save(reply(1001, 50), tag, is_interleaved);
        assert_eq!(saved.take(at(1003), tag, at(2000)), None);
        assert_eq!(saved.take(at(1001), tag, at(2000)), Some(at(1051)));
        assert_eq!(saved.take(at(1001), tag, at(2000)), None);
    }
}

#[test]
fn nobody_else_is_told_and_what_others_ask_changes_nothing() {
    let saved = SavedTimestamps::new(1024, 1);
    let epoch = saved.epoch();
    let tag = saved.tag(ONE, false, epoch);
    saved.save(reply(1001, 50), tag, false);
    for other in [saved.tag(OTHER, false, epoch), saved.tag(ONE, true, epoch)] {
        assert_eq!(saved.take(at(1001), other, at(2000)), None);
    }
    assert_eq!(saved.take(at(1001), tag, at(2000)), Some(at(1051)));
}

#[test]
fn the_replies_of_a_client_are_counted_and_stay() {
    let saved = SavedTimestamps::new(1024, 1);
    let epoch = saved.epoch();
    for (received, client, is_interleaved) in [
        (1001, ONE, false),
        (1003, ONE, true),
        (1005, ONE, true),
        (1007, OTHER, false),
    ] {
        saved.save(
            reply(received, 50),
            saved.tag(client, false, epoch),
            is_interleaved,
        );
    }
    let third = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
    let counts = |basic, interleaved| SavedCounts { basic, interleaved };
    let expected = [counts(1, 0), counts(0, 0), counts(1, 2), counts(1, 2)];
    assert_eq!(saved.counts_of(&[OTHER, third, ONE, ONE]), expected);
    assert_eq!(
        saved.take(at(1003), saved.tag(ONE, false, epoch), at(2000)),
        Some(at(1053))
    );
    assert_eq!(saved.counts_of(&[ONE]), [counts(1, 1)]);
    saved.end_epoch();
    assert_eq!(saved.counts_of(&[ONE]), [counts(0, 0)]);
}

#[test]
fn after_a_step_nothing_is_told() {
    let saved = SavedTimestamps::new(1024, 1);
    let before = saved.tag(ONE, false, saved.epoch());
    saved.save(reply(1001, 50), before, true);
    saved.end_epoch();
    let after = saved.tag(ONE, false, saved.epoch());
    assert_eq!(saved.take(at(1001), after, at(2000)), None);
    saved.save(reply(1003, 50), after, true);
    assert_eq!(saved.take(at(1003), after, at(2000)), Some(at(1053)));
    // What a worker that has not noticed the step saves is of the old epoch.
    saved.save(reply(1005, 50), before, true);
    assert_eq!(saved.take(at(1005), after, at(2000)), None);
}

#[test]
fn what_is_too_old_or_can_not_be_true_is_not_told() {
    let saved = SavedTimestamps::new(1024, 1);
    let tag = saved.tag(ONE, false, 0);
    let second = 1_u64 << 32;
    for (later, told) in [
        (0, false),
        (1, true),
        (second - 1, true),
        (second, false),
        (1 << 60, false),
    ] {
        saved.save(reply(1001, later), tag, false);
        let found = saved.take(at(1001), tag, at(1001 + second));
        assert_eq!(found, told.then(|| at(1001 + later)), "{later}");
    }
    saved.save(
        Timestamps {
            received: at(1001),
            transmitted: at(999),
        },
        tag,
        false,
    );
    assert_eq!(saved.take(at(1001), tag, at(2000)), None);
    for (age, told) in [
        (0, true),
        (1 << 49, true),
        ((1 << 49) + 1, false),
        (u64::MAX, false),
    ] {
        saved.save(reply(1001, 50), tag, false);
        let found = saved.take(at(1001), tag, at(1001_u64.wrapping_add(age)));
        assert_eq!(found.is_some(), told, "{age}");
    }
}

//= RFC 9769 §2 unique
#[test]
fn of_two_replies_with_one_receive_timestamp_none_is_told() {
    let saved = SavedTimestamps::new(1024, 1);
    let [one, other] = [ONE, OTHER].map(|client| saved.tag(client, false, 0));
    saved.save(reply(1001, 50), one, false);
    saved.save(reply(1001, 70), other, true);
    for tag in [one, other] {
        assert_eq!(saved.take(at(1001), tag, at(2000)), None);
    }
}

#[test]
fn inventing_requests_takes_no_place_from_those_that_are_interleaved() {
    let saved = SavedTimestamps::new(1024, 1);
    let tag = saved.tag(ONE, false, 0);
    let clients: Vec<u64> = (0..200)
        .map(|number| (1 << 32) + number * 2_000_003 * 2 + 1)
        .collect();
    clients
        .iter()
        .for_each(|&received| saved.save(reply(received, 9), tag, true));
    let kept = |&received: &u64| saved.take(at(received), tag, at(1 << 40)).is_some();
    for flood in 0..100_000_u64 {
        let other = saved.tag(
            Ipv4Addr::from_bits(u32::try_from(flood).unwrap()).into(),
            false,
            0,
        );
        saved.save(reply((1 << 36) + flood * 77_777_778 + 1, 9), other, false);
    }
    let kept = clients.iter().filter(|received| kept(received)).count();
    assert_eq!(kept, clients.len());
}

/// As many clients as the table is made for, each with one entry at a time: hardly any is without.
#[test]
fn there_is_room_for_all_clients() {
    for (clients, seed) in [(1024, 1), (16_384, 2), (65_536, 3)] {
        let saved = SavedTimestamps::new(clients, seed);
        let tag = saved.tag(ONE, false, 0);
        let mut last = vec![None; usize::try_from(clients).unwrap()];
        let (mut now, mut told) = (1_u64, 0_u64);
        for _ in 0..5 {
            for entry in &mut last {
                // Some 10 us apart, as they come.
                now += 2 * (21_474 + now % 7_919);
                if let Some(received) = *entry {
                    told += u64::from(saved.take(at(received), tag, at(now)).is_some());
                }
                saved.save(reply(now, 9), tag, true);
                *entry = Some(now);
            }
        }
        let all = 4 * u64::from(clients);
        assert!(told * 1000 >= all * 999, "{told} of {all}");
    }
}

#[test]
fn the_oldest_gives_way_and_all_places_are_used() {
    let saved = SavedTimestamps::new(1024, 1);
    let tag = saved.tag(ONE, false, 0);
    let received = |number: u64| number * 4_294_967 * 2 + 1;
    (0..20_000).for_each(|number| saved.save(reply(received(number), 9), tag, true));
    let now = at(received(20_000));
    let told = |number: &u64| saved.take(at(received(*number)), tag, now).is_some();
    let (old, new) = (
        (0..10_000).filter(told).count(),
        (10_000..20_000).filter(told).count(),
    );
    assert_eq!(old, 0);
    assert!((1900..=2048).contains(&new), "{new} of 2048 places");
    assert_eq!(
        (saved.entries(), saved.basic.0.len(), saved.interleaved.0.len()),
        (1024, 256, 512)
    );
    assert_eq!(SavedTimestamps::memory(1024), 1024 * 48);
}

#[derive(Clone, Copy, Debug)]
enum TableStep {
    Save {
        received: u64,
        later: u64,
        client: bool,
        is_interleaved: bool,
    },
    Take {
        received: u64,
        client: bool,
    },
    EndEpoch,
}

fn step() -> impl Strategy<Value = TableStep> {
    // Few timestamps, so that they meet.
    let received = || (0_u64..40).prop_map(|number| number * 2 + 1);
    prop_oneof![
        8 => (received(), 1_u64..1000, any::<bool>(), any::<bool>())
            .prop_map(|(received, later, client, is_interleaved)| TableStep::Save { received, later, client, is_interleaved }),
        8 => (received(), any::<bool>()).prop_map(|(received, client)| TableStep::Take { received, client }),
        1 => Just(TableStep::EndEpoch),
    ]
}

proptest! {
    //= RFC 9769 §2 once
    #[test]
    fn no_entry_is_told_twice_nor_wrongly(steps in prop::collection::vec(step(), 1..300)) {
        let saved = SavedTimestamps::new(4, 1);
        let mut model = BTreeMap::new();
        for step in steps {
            match step {
                TableStep::Save { received, later, client, is_interleaved } => {
                    let tag = saved.tag(if client { ONE } else { OTHER }, false, saved.epoch());
                    saved.save(reply(received, later), tag, is_interleaved);
                    // A twin is in the table, or was moved out of it.
                    model.entry(received).or_insert_with(Vec::new).push((client, received + later));
                }
                TableStep::Take { received, client } => {
                    let tag = saved.tag(if client { ONE } else { OTHER }, false, saved.epoch());
                    if let Some(told) = saved.take(at(received), tag, at(5000)) {
                        let all: Vec<(bool, u64)> = model.remove(&received).unwrap_or_default();
                        prop_assert!(all.contains(&(client, told.to_bits())), "{told:?} of {all:?}");
                    }
                }
                TableStep::EndEpoch => {
                    saved.end_epoch();
                    model.clear();
                }
            }
        }
    }
}

/// Four threads save and take in a table that is much too small: each reply is told at most once, and rightly.
#[test]
fn threads_never_mix_up_replies() {
    const EACH: u64 = 100_000;
    let saved = SavedTimestamps::new(16, 1);
    let tag = saved.tag(ONE, false, 0);
    let later = |received: u64| received % 1_000_000 + 1;
    let told: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let saved = &saved;
                scope.spawn(move || {
                    let mut told = Vec::new();
                    for number in 0..EACH {
                        let received = (number * 4 + thread) * 2 + 1;
                        saved.save(reply(received, later(received)), tag, number % 2 == 0);
                        // Its own, and those of the others.
                        for wanted in [received, received ^ 2, received ^ 4] {
                            if let Some(sent) = saved.take(at(wanted), tag, at(1 << 40)) {
                                assert_eq!(sent, at(wanted + later(wanted)));
                                told.push(wanted);
                            }
                        }
                    }
                    told
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let distinct: BTreeSet<u64> = told.iter().copied().collect();
    assert_eq!(distinct.len(), told.len());
    assert!(told.len() > 1000, "{}", told.len());
}
