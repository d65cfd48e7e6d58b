//! Pure. Tests of contradictions.

use super::*;
use crate::upstream::clock_policy::OnDispute;

//= RFC 5905 §11.2 no-majority
#[test]
fn those_who_disagree_are_neither_blended_nor_chosen() {
    let mut system = system(*POLICY);
    let mut two = [upstream(1, 0.0), upstream(2, 10.0)];
    assert_eq!(decide(&mut system, 100, &two).state, State::Init);
    let three = [upstream(1, 0.0), upstream(2, 10.0), upstream(3, 0.001)];
    let decision = decide(&mut system, 101, &three);
    assert_eq!(
        decision.standings,
        [
            SelectionStatus::SystemPeer,
            SelectionStatus::Falseticker,
            SelectionStatus::Agrees
        ]
    );
    // One contradiction is no dispute yet.
    assert_eq!(decide(&mut system, 102, &two).state, State::Holdover);
    for round in 103..=105 {
        assert_ne!(system.state, State::Disputed);
        add_sample(&mut two[0], 0.0, round);
        add_sample(&mut two[1], 10.0, round);
        decide(&mut system, round, &two);
    }
    let decision = decide(&mut system, 106, &two);
    assert_eq!(
        (decision.state, &decision.standings[..]),
        (State::Disputed, &[SelectionStatus::Falseticker; 2][..])
    );
    assert_eq!(decision.reference.reference_id, ReferenceId::DISPUTED);
    assert_eq!(decide(&mut system, 107, &three).state, State::Synchronized);
}

/// The daemon against two witnesses by which the clock is 0.1 s off, until it is a dispute.
fn disputed(on_dispute: OnDispute) -> Decided {
    let mut system = system(ClockPolicy {
        on_dispute,
        ..*POLICY
    });
    let daemon = |second| {
        let mut daemon = daemon(0.0);
        (101..=second).for_each(|second| add_sample(&mut daemon, 0.0, second));
        daemon
    };
    assert_eq!(
        decide(&mut system, 100, &[daemon(100), Peer::default(), Peer::default()]).state,
        State::Synchronized
    );
    let peers = |second| {
        let mut peers = [daemon(second), upstream(1, 0.1), upstream(2, 0.1)];
        peers
            .iter_mut()
            .skip(1)
            .for_each(|peer| (101..=second).for_each(|second| add_sample(peer, 0.1, second)));
        peers
    };
    (101..104)
        .for_each(|second| assert_eq!(decide(&mut system, second, &peers(second)).state, State::Holdover));
    let decision = decide(&mut system, 104, &peers(104));
    assert_eq!(decision.state, State::Disputed);
    decision
}

#[test]
fn a_contradicted_daemon_is_no_time() {
    let reference = disputed(OnDispute::Unsynchronized).reference;
    assert_eq!(
        (reference.reference_id, reference.answers),
        (ReferenceId::DISPUTED, true)
    );
}

#[test]
fn in_a_dispute_the_operator_may_want_something_else() {
    assert!(!disputed(OnDispute::Drop).reference.answers);
    let serve = disputed(OnDispute::Serve);
    assert_eq!(
        (serve.reference.stratum, serve.standings.first()),
        (2, Some(&SelectionStatus::Mirrored))
    );
    let track = disputed(OnDispute::Track);
    // It comes from the host's clock and is slewed, 500 ppm at most: until it is there, that is a part of the error.
    let off = track.reference.clock.served(at(304)) - at(304).realtime;
    assert!(
        (off.to_seconds() - 0.1).abs() < 0.001 && track.reference.stratum == 3,
        "{:?}",
        *track
    );
    assert!(
        track.reference.root_dispersion > NtpDuration::from_seconds(0.1),
        "{:?}",
        *track
    );
}

#[test]
fn a_dispute_is_no_reason_to_trust_the_host() {
    let mut system = system(ClockPolicy {
        local: Some(LOCAL),
        ..*POLICY
    });
    let two = [upstream(1, 0.0), upstream(2, 10.0)];
    assert!((110..1000).all(|second| decide(&mut system, second, &two).state != State::Local));
}

#[test]
fn a_dispute_over_the_hosts_clock_wants_samples_at_once_and_not_too_often() {
    let contradiction = [upstream(1, 0.0), upstream(2, 10.0)];
    let agreement = [upstream(1, 0.0), upstream(2, 0.0)];
    for (source, wanted) in [(ClockSource::System, 1), (ClockSource::Tracked, 0)] {
        let mut system = system(ClockPolicy { source, ..*POLICY });
        for second in 0..10 {
            assert_eq!(
                decide(&mut system, 100 + 2 * second, &agreement).state,
                State::Synchronized
            );
            let resample_requests = decide(&mut system, 101 + 2 * second, &contradiction).resample_requests;
            assert_eq!(resample_requests, wanted, "{source:?}");
        }
        decide(&mut system, 1400, &agreement);
        assert_eq!(
            decide(&mut system, 1401, &contradiction).resample_requests,
            2 * wanted
        );
    }
}
