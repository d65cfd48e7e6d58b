//! Pure. Tests of the admission, on a virtual clock.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LIMITS: KeLimits = KeLimits {
    sessions: 8,
    per_client: 3,
    burst: 1,
    interval: Duration::ZERO,
    timeout: Duration::from_secs(3),
    threads: 1,
};

fn address(number: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, number])
}

/// Sessions of these clients, whose handshakes begin at once.
fn begin_all(control: &mut AdmissionControl, clients: &[u8]) -> Vec<Handshake> {
    let begin = |client: &u8| {
        let (id, displaced) = control.admit(address(*client));
        assert_eq!(displaced, None);
        control.begin(id, Duration::from_secs(10))
    };
    clients.iter().map(begin).collect()
}

#[test]
fn a_client_with_as_many_sessions_as_it_may_loses_one_of_its_own() {
    let mut control = AdmissionControl::new(LIMITS);
    // 0, 1 and 3 are of client 1.
    begin_all(&mut control, &[1, 1, 2, 1]);
    let next = |control: &mut AdmissionControl| begin_all(control, &[1]);
    assert_eq!(next(&mut control), [Handshake::Begins(Some(0))]);
    // One that has its answer goes first, however young.
    control.note_answer(4);
    assert_eq!(next(&mut control), [Handshake::Begins(Some(4))]);
    assert_eq!(next(&mut control), [Handshake::Begins(Some(1))]);
    assert_eq!(control.open(), 4);
}

#[test]
fn where_all_places_are_taken_the_longest_goes() {
    let mut control = AdmissionControl::new(LIMITS);
    begin_all(&mut control, &[1, 2, 3, 4, 5, 6, 7, 8]);
    control.note_answer(5);
    let more = begin_all(&mut control, &[9, 10]);
    assert_eq!(more, [5, 0].map(|gone| Handshake::Begins(Some(gone))));
    assert_eq!(control.open(), 8);
}

/// Eight times as many connections as sessions are kept before one makes room.
#[test]
fn of_the_silent_the_oldest_goes_and_a_crowd_displaces_its_own() {
    let mut control = AdmissionControl::new(LIMITS);
    for expected in 0..64 {
        // Client 1 has half of them.
        let client = if expected < 32 {
            1
        } else {
            100 + u8::try_from(expected).unwrap()
        };
        assert_eq!(control.admit(address(client)), (expected, None));
    }
    // Another client has the oldest one's place.
    assert_eq!(control.admit(address(2)), (64, Some(0)));
    // The crowd has its own oldest one's, and so has no other.
    for gone in 1..32 {
        assert_eq!(control.admit(address(1)).1, Some(gone));
    }
    assert_eq!(control.open(), 64);
    // With a ClientHello a session is safe from them.
    assert_eq!(control.begin(64, Duration::ZERO), Handshake::Begins(None));
    for _ in 0..1000 {
        assert_ne!(control.admit(address(1)).1, Some(64));
    }
}

#[test]
fn an_end_makes_room_and_comes_once() {
    let mut control = AdmissionControl::new(LIMITS);
    begin_all(&mut control, &[1, 1, 1]);
    assert!(control.end(1) && !control.end(1) && !control.end(77));
    let (silent, _) = control.admit(address(1));
    assert!(control.end(silent) && !control.end(silent));
    assert_eq!(begin_all(&mut control, &[1]), [Handshake::Begins(None)]);
    // What is noted of one that is gone is of no other, and it doesn't begin.
    control.note_answer(1);
    assert_eq!(
        control.begin(1, Duration::ZERO),
        Handshake::Waits(KeRefusal::Overload)
    );
    assert_eq!(begin_all(&mut control, &[1]), [Handshake::Begins(Some(0))]);
    assert!(control.silent_of.is_empty());
}

#[test]
fn a_client_is_an_ipv4_address_or_half_an_ipv6_address() {
    for (one, other, same) in [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false),
        ("::ffff:192.0.2.1", "192.0.2.1", true),
        ("2001:db8::1", "2001:db8::ffff:0:0:1", true),
        ("2001:db8::1", "2001:db8:0:1::1", false),
    ] {
        let of = |text: &str| ClientPrefix::of(text.parse().unwrap());
        assert_eq!(of(one) == of(other), same, "{one} {other}");
    }
}

#[test]
fn a_client_begins_a_few_at_once_and_then_one_after_the_other() {
    let mut control = AdmissionControl::new(KeLimits {
        burst: 4,
        interval: Duration::from_secs(16),
        ..LIMITS
    });
    let mut begun = BTreeMap::<u8, Vec<u64>>::new();
    for second in 0..50 {
        for client in [1, 2] {
            if client == 2 && second % 16 != 0 {
                continue;
            }
            let (id, _) = control.admit(address(client));
            match control.begin(id, Duration::from_secs(100 + second)) {
                Handshake::Begins(_) => begun.entry(client).or_default().push(second),
                Handshake::Waits(why) => assert_eq!(why, KeRefusal::Rate),
            }
            control.end(id);
        }
    }
    assert_eq!(begun[&1], [0, 1, 2, 3, 16, 32, 48]);
    assert_eq!(begun[&2], [0, 16, 32, 48]);
}

/// A session that waited has its turn when there is a token again, and the wait cost none.
#[test]
fn who_waits_has_a_turn() {
    let mut control = AdmissionControl::new(KeLimits {
        burst: 1,
        interval: Duration::from_secs(1),
        ..LIMITS
    });
    let at = |millis: u64| Duration::from_millis(10_000 + millis);
    let (first, second) = (control.admit(address(1)).0, control.admit(address(1)).0);
    assert_eq!(control.begin(first, at(0)), Handshake::Begins(None));
    for millis in [0, 50, 500, 999] {
        assert_eq!(
            control.begin(second, at(millis)),
            Handshake::Waits(KeRefusal::Rate)
        );
    }
    assert_eq!(control.begin(second, at(1000)), Handshake::Begins(None));
}

#[test]
fn the_heavy_stay_limited_however_many_others_come() {
    let mut control = AdmissionControl::new(KeLimits {
        burst: 1,
        interval: Duration::from_secs(3600),
        threads: 100,
        ..LIMITS
    });
    let now = Duration::from_secs(5000);
    let begins = |control: &mut AdmissionControl, client, now| {
        let (id, _) = control.admit(client);
        let begins = matches!(control.begin(id, now), Handshake::Begins(_));
        control.end(id);
        begins
    };
    assert!(begins(&mut control, address(1), now));
    for number in 0..10_000_u32 {
        let other = IpAddr::from((0x0A00_0000 + number).to_be_bytes());
        assert!(begins(&mut control, other, now), "{number}");
    }
    assert!(control.clients.len() <= CLIENTS);
    assert!(!begins(&mut control, address(1), now));
    // Once their buckets are full again, they are forgotten, and it changes nothing.
    let later = now + Duration::from_secs(3601);
    assert!(begins(&mut control, address(2), later));
    assert_eq!(control.clients.len(), 1);
    assert!(begins(&mut control, address(1), later));
}

#[test]
fn more_than_two_thousand_handshakes_a_second_and_thread_wait() {
    for threads in [1, 3] {
        let limits = KeLimits { threads, ..LIMITS };
        let mut control = AdmissionControl::new(limits);
        let mut begun = 0;
        for number in 0..40_000_u64 {
            // 10,000 a second, from as many addresses.
            let now = Duration::from_secs(10) + Duration::from_micros(100 * number);
            let client = IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
            let (id, _) = control.admit(client);
            match control.begin(id, now) {
                Handshake::Begins(_) => begun += 1,
                Handshake::Waits(why) => assert_eq!(why, KeRefusal::Overload),
            }
            control.end(id);
        }
        // Four seconds, and the burst of one.
        let expected = 5 * 2000 * u64::from(threads);
        assert!(
            (expected - 10..=expected + 10).contains(&begun),
            "{threads}: {begun}"
        );
    }
}

/// Connections that never say hello take nothing from those that do.
#[test]
fn the_silent_cost_no_handshake() {
    let mut control = AdmissionControl::new(KeLimits {
        interval: Duration::from_secs(1),
        ..LIMITS
    });
    for _ in 0..100_000 {
        control.admit(address(1));
    }
    for client in [1, 2] {
        let (id, _) = control.admit(address(client));
        assert_eq!(
            control.begin(id, Duration::from_secs(10)),
            Handshake::Begins(None)
        );
    }
}

#[test]
fn no_time_is_longer_than_the_whole() {
    let limits = |seconds| KeLimits {
        timeout: Duration::from_secs_f64(seconds),
        ..LIMITS
    };
    assert_eq!(limits(0.5).hello_timeout(), Duration::from_millis(500));
    assert_eq!(limits(3.0).hello_timeout(), Duration::from_secs(1));
    assert_eq!(limits(0.5).closing_timeout(), Duration::from_millis(500));
    assert_eq!(limits(3.0).closing_timeout(), Duration::from_secs(1));
}

/// The sessions of a model: the client of each, and whether its handshake has begun.
type Known = BTreeMap<SessionId, (u8, bool)>;

proptest! {
    /// No order of connections exceeds a limit.
    ///
    /// A client with fewer sessions than it may have loses none to a client that has all of its own.
    #[test]
    fn limits_hold_and_a_crowd_displaces_its_own(steps in prop::collection::vec((0..6_u8, 0..5_u8), 1..300)) {
        let mut control = AdmissionControl::new(LIMITS);
        let mut known = Known::new();
        let busy = |known: &Known, of: Option<u8>| {
            let busy = known.values().filter(|(client, begun)| *begun && of.is_none_or(|of| of == *client));
            busy.count()
        };
        for (client, step) in steps {
            let mut own = known.iter().filter(|(_, (of, _))| *of == client);
            match step {
                0 | 1 => {
                    let (id, displaced) = control.admit(address(client));
                    prop_assert_eq!(displaced, None);
                    known.insert(id, (client, false));
                }
                2 | 3 => if let Some(id) = own.find(|(_, (_, begun))| !begun).map(|(id, _)| *id) {
                    let Handshake::Begins(displaced) = control.begin(id, Duration::from_secs(1)) else {
                        panic!("nothing waits here");
                    };
                    let (of_client, of_all) = (busy(&known, Some(client)), busy(&known, None));
                    prop_assert_eq!(displaced.is_some(), of_client == 3 || of_all == 8);
                    if let Some(gone) = displaced {
                        let (of, begun) = known.remove(&gone).unwrap();
                        prop_assert!(begun && (of_client < 3 || of == client));
                    }
                    known.insert(id, (client, true));
                },
                _ => if let Some(id) = own.next().map(|(id, _)| *id) {
                    prop_assert!(control.end(id));
                    known.remove(&id);
                },
            }
            prop_assert_eq!(control.open(), known.len());
            prop_assert!(busy(&known, None) <= 8 && busy(&known, Some(client)) <= 3);
            if known.len() - busy(&known, None) >= 64 {
                break;
            }
        }
    }
}
