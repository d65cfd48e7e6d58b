//! Pure. Tests of the keys of one upstream, with a virtual clock.

use super::*;

use proptest::prelude::*;

use crate::nts::AssociationKeys;
use crate::nts::client::IDENTIFIER_LEN;

const HOUR: Duration = Duration::from_secs(3600);
const REFRESH: Duration = Duration::from_secs(28 * 86_400);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn keys() -> EstablishedKeys {
    EstablishedKeys {
        keys: AssociationKeys::of(&[1; 64]).unwrap(),
        other: None,
        cookies: (0..8).map(|number| vec![number; 100]).collect(),
        unchecked: None,
        not_after: 7,
    }
}

fn server(name: Option<&str>) -> NegotiatedServer {
    NegotiatedServer::new(([192, 0, 2, 1], 4460).into(), name, 123).unwrap()
}

fn asked(state: &mut KeyState) -> Result<PendingQuestion, KeFault> {
    let entropy = QuestionEntropy {
        identifier: [1; IDENTIFIER_LEN],
        nonce: [2; 16],
    };
    let asked = state.ask([0x23; HEADER_LEN], &entropy, &mut [0; LONGEST_QUESTION]);
    asked.map(|(pending, _)| pending)
}

fn established(state: &mut KeyState, now: Duration) {
    assert!(state.is_due(now));
    state.begin(now);
    state.establish(keys(), server(None), now, REFRESH, 0);
    assert_eq!(state.fault(), None);
}

#[test]
fn a_jar_that_is_used_up_asks_for_keys_again_and_politely() {
    let mut state = KeyState::default();
    assert_eq!(
        (state.fault(), asked(&mut state).unwrap_err()),
        (Some(KeFault::Waiting), KeFault::Waiting)
    );
    established(&mut state, at(0));
    for _ in 0..8 {
        let pending = asked(&mut state).unwrap();
        state.lose(&pending);
    }
    assert_eq!(state.fault(), Some(KeFault::NoCookies));
    assert_eq!(asked(&mut state).unwrap_err(), KeFault::NoCookies);
    assert!(!state.is_due(at(11)) && state.is_due(at(16)));
    assert_eq!(state.status().failures[KeFault::NoCookies.index()], 1);
}

#[test]
fn a_question_that_could_not_be_sent_costs_no_cookie() {
    let mut state = KeyState::default();
    established(&mut state, at(0));
    for _ in 0..20 {
        let pending = asked(&mut state).unwrap();
        state.unsent(pending);
    }
    assert_eq!(state.status().cookies, 8);
}

#[test]
fn old_keys_are_good_until_new_ones_are_there() {
    let mut state = KeyState::default();
    established(&mut state, at(0));
    assert!(!state.is_due(REFRESH - HOUR) && state.is_due(REFRESH));
    state.begin(REFRESH);
    state.fail(REFRESH, KeFault::TimedOut, 512);
    assert!(state.fault().is_none() && asked(&mut state).is_ok());
    // A failure is repeated as others are: the second attempt since a genuine reply.
    assert!(!state.is_due(REFRESH + at(31)) && state.is_due(REFRESH + at(33)));
    established(&mut state, REFRESH + HOUR);
    assert_eq!(state.status().established, Some(REFRESH + HOUR));
}

#[test]
fn who_is_cast_out_has_no_keys_until_another_check() {
    let mut state = KeyState::default();
    established(&mut state, at(5));
    // Those before are gone already.
    assert!(!state.cast_out(at(4), at(20), 512));
    assert!(state.cast_out(at(5), at(30), 512));
    assert_eq!(state.fault(), Some(KeFault::CastOut));
    assert!(!state.is_due(at(30 + 89)) && state.is_due(at(30 + 121)));
    assert!(!state.cast_out(at(5), at(40), 512));
}

#[test]
fn news_hurry_what_they_may_have_mended() {
    for (fault, all, hurries) in [
        (KeFault::Connect, false, true),
        (KeFault::Expired, false, false),
        (KeFault::Expired, true, true),
    ] {
        let (mut state, mut now) = (KeyState::default(), at(0));
        for _ in 0..5 {
            state.begin(now);
            state.fail(now, fault, 512);
            now += state.due_in(now);
        }
        state.begin(now);
        state.fail(now, fault, 512);
        state.hurry(all);
        assert_eq!(state.is_due(now + at(16)), hurries, "{fault:?}");
        assert!(!state.is_due(now + at(15)));
    }
}

//= RFC 8915 §4.1.7 name
#[test]
fn a_server_that_is_named_is_a_name_or_an_address() {
    for (name, host, is_elsewhere) in [
        (None, Ok(None), false),
        (
            Some("192.0.2.1"),
            Ok(Some(Host::Address([192, 0, 2, 1].into()))),
            false,
        ),
        (
            Some("192.0.2.2"),
            Ok(Some(Host::Address([192, 0, 2, 2].into()))),
            true,
        ),
        (
            Some("2001:db8::1"),
            Ok(Some(Host::Address("2001:db8::1".parse().unwrap()))),
            true,
        ),
        (
            Some("ntp.example"),
            Ok(Some(Host::Name("ntp.example".to_owned()))),
            true,
        ),
        (
            Some("localhost"),
            Ok(Some(Host::Name("localhost".to_owned()))),
            true,
        ),
        (Some("fe80::1"), Err(KeFault::Server), true),
        (Some("fe80::1%eth0"), Err(KeFault::Server), true),
        (Some("a:1"), Err(KeFault::Server), true),
    ] {
        let server = NegotiatedServer::new(([192, 0, 2, 1], 4460).into(), name, 123);
        let found = server
            .as_ref()
            .map(|server| server.host.clone())
            .map_err(|fault| *fault);
        assert_eq!(found, host, "{name:?}");
        assert!(
            server.map_or(true, |server| server.is_elsewhere() == is_elsewhere),
            "{name:?}"
        );
    }
}

#[test]
fn another_server_is_noticed() {
    let mut state = KeyState::default();
    let mut now = at(0);
    for (name, is_other) in [
        (None, true),
        (None, false),
        (Some("192.0.2.1"), false),
        (Some("192.0.2.2"), true),
        (Some("a.example"), true),
        (Some("a.example"), false),
        (None, true),
    ] {
        state.begin(now);
        assert_eq!(
            state.establish(keys(), server(name), now, REFRESH, 0),
            is_other,
            "{name:?}"
        );
        now += HOUR;
    }
}

proptest! {
    /// A virtual clock, and whatever a server does: never two key establishments within 16 s.
    #[test]
    fn key_establishments_are_apart(steps in prop::collection::vec((0_u8..7, any::<u64>()), 1..200)) {
        let (mut state, mut now, mut last) = (KeyState::default(), at(1), None::<Duration>);
        for (step, random) in steps {
            if state.is_due(now) {
                prop_assert!(last.is_none_or(|last| now >= last + at(16)));
                last = Some(now);
                state.begin(now);
                now += at(random % 10);
                match step {
                    0 | 1 => drop(state.establish(keys(), server(None), now, HOUR, random)),
                    2 => state.fail(now, KeFault::Expired, random),
                    _ => state.fail(now, KeFault::TimedOut, random),
                }
            } else {
                match step {
                    3 => state.hurry(random % 2 == 0),
                    4 => drop(state.status().established.map(|then| state.cast_out(then, now, random))),
                    _ => if let Ok(pending) = asked(&mut state) {
                        state.lose(&pending);
                    },
                }
                now += at(random % 400);
            }
        }
    }
}
