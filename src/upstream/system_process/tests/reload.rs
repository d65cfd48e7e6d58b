//! Pure. Tests of a new configuration.

use crate::upstream::clock_policy::LocalReference;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Three upstreams that agree, the second of them the system peer.
fn three() -> [Peer; 3] {
    let near = |header: &mut Header| header.stratum = 1;
    [
        upstream(1, 0.0),
        changed(upstream(2, 0.0), near),
        upstream(3, 0.0),
    ]
}

#[test]
fn a_reload_that_keeps_enough_changes_nothing_that_is_served() {
    for source in [ClockSource::System, ClockSource::Tracked] {
        let policy = ClockPolicy { source, ..*POLICY };
        let [one, two, three] = three();
        let mut system = system(policy);
        let before = decide(&mut system, 100, &[one, two.clone(), three.clone()]);
        assert_eq!(before.standings.get(1), Some(&SelectionStatus::SystemPeer));
        // The first goes, a new one comes between the others, and their order turns.
        system.reload(100, policy, &[2, 3, 1]);
        let after = decide(&mut system, 100, &[three.clone(), Peer::default(), two.clone()]);
        assert_eq!(
            (after.state, after.stepped, after.reference),
            (State::Synchronized, None, before.reference)
        );
        assert_eq!(
            after.standings,
            [
                SelectionStatus::Agrees,
                SelectionStatus::Unknown,
                SelectionStatus::SystemPeer
            ]
        );
        // Even if only one stays, it was selected and still is.
        system.reload(101, policy, &[4, 1, 5]);
        let newcomers = [Peer::default(), two, Peer::default()];
        assert_eq!(decide(&mut system, 101, &newcomers).state, State::Synchronized);
    }
}

#[test]
fn new_upstreams_are_not_believed_for_answering_first_after_a_reload_either() {
    let policy = ClockPolicy {
        source: ClockSource::Tracked,
        ..*POLICY
    };
    let mut system = system(policy);
    let before = decide(&mut system, 100, &three()).reference;
    system.reload(101, policy, &[3, 4, 5]);
    let first = [seen(4, 50.0, 102), Peer::default(), Peer::default()];
    let waits = decide(&mut system, 102, &first);
    assert_eq!(
        (waits.state, waits.stepped, waits.reference.clock),
        (State::Holdover, None, before.clock)
    );
    let all = [seen(4, 50.0, 102), seen(5, 0.0, 102), seen(6, 0.0, 102)];
    let settled = decide(&mut system, 103, &all);
    assert_eq!((settled.state, settled.stepped), (State::Synchronized, None));
    assert_eq!(settled.standings.first(), Some(&SelectionStatus::Falseticker));
    // The next ones never answer: after a while those that do are enough.
    system.reload(104, policy, &[6, 7, 8]);
    let last = [seen(7, 0.001, 104), Peer::default(), Peer::default()];
    assert_eq!(decide(&mut system, 105, &last).state, State::Holdover);
    assert_eq!(decide(&mut system, 167, &last).state, State::Holdover);
    assert_eq!(decide(&mut system, 168, &last).state, State::Synchronized);
}

#[test]
fn without_anybody_left_the_last_time_goes_on_as_long_as_the_new_policy_allows() {
    let limit = |seconds| ClockPolicy {
        max_distance: NtpDuration::from_seconds(seconds),
        ..*POLICY
    };
    let mut system = system(*POLICY);
    let before = decide(&mut system, 100, &[upstream(1, 0.0)]).reference;
    // 20 ms less 11 ms at 301 ppm, since one sample says nothing of the frequency: 30 s.
    system.reload(101, limit(0.020), &[]);
    let alone = decide(&mut system, 101, &[]);
    assert_eq!(
        (alone.state, alone.reference.clock),
        (State::Holdover, ClockModel::Host)
    );
    assert!(alone.reference.not_after < before.not_after);
    assert_eq!(decide(&mut system, 129, &[]).state, State::Holdover);
    assert_eq!(decide(&mut system, 131, &[]).state, State::Unsynchronized);
}

#[test]
fn a_dispute_outlives_a_reload_as_long_as_somebody_in_it_does() {
    let mut system = system(*POLICY);
    let (mut two, mut numbers) = ([upstream(1, 0.0), upstream(2, 10.0)], [0, 1]);
    decide(&mut system, 100, &two[..1]);
    decide(&mut system, 101, &two);
    for round in 102..=104 {
        // Its places turn each time.
        numbers.reverse();
        system.reload(round, *POLICY, &numbers);
        two.reverse();
        two.iter_mut().for_each(|peer| {
            let offset = if peer.address == upstream(1, 0.0).address {
                0.0
            } else {
                10.0
            };
            add_sample(peer, offset, round);
        });
        let expected = if round == 104 {
            State::Disputed
        } else {
            State::Holdover
        };
        assert_eq!(decide(&mut system, round, &two).state, expected);
    }
    // New ones that contradict each other are no dispute before they gave as many samples.
    let mut system = self::system(*POLICY);
    let two = [upstream(1, 0.0), upstream(2, 10.0)];
    decide(&mut system, 100, &two[..1]);
    decide(&mut system, 101, &two);
    system.reload(102, *POLICY, &[2, 3]);
    let others = [seen(3, 0.0, 102), seen(4, 10.0, 102)];
    assert_eq!(decide(&mut system, 102, &others).state, State::Holdover);
}

#[test]
fn the_local_reference_goes_with_its_configuration() {
    let policy = ClockPolicy {
        local: Some(LOCAL),
        ..*POLICY
    };
    let mut system = system(policy);
    assert_eq!(decide(&mut system, 91, &[]).state, State::Local);
    let other = LocalReference { stratum: 12, ..LOCAL };
    let changed = ClockPolicy {
        local: Some(other),
        ..*POLICY
    };
    // The new one has not waited, but the host's clock is served already.
    system.reload(92, changed, &[0]);
    let decision = decide(&mut system, 92, &[Peer::default()]);
    assert_eq!((decision.state, decision.reference.stratum), (State::Local, 12));
    system.reload(93, *POLICY, &[0]);
    let decision = decide(&mut system, 93, &[Peer::default()]);
    assert_eq!(
        (decision.state, decision.reference.reference_id),
        (State::Unsynchronized, ReferenceId::LOST)
    );
}

static TRACKED: LazyLock<ClockPolicy> = LazyLock::new(|| ClockPolicy {
    source: ClockSource::Tracked,
    ..ClockPolicy::default()
});

/// The time that a process announced which followed an upstream 2 s ahead until `second`.
fn left(second: u64) -> Reference {
    let mut before = system(*TRACKED);
    let reference = decide(&mut before, second, &[upstream(1, 2.0)]).reference;
    Reference {
        published: at(second),
        ..reference
    }
}

/// A process that starts at `now`, and its first decision, before any answer.
fn started(policy: ClockPolicy, left: Reference, now: ClockReadings) -> (bool, System, Decided) {
    let mut system = System::new(policy, now);
    let resumed = system.resume(left, now);
    let silent = [Peer::default(), Peer::default(), Peer::default()];
    let decision = system.decide(now, &silent, None);
    (resumed, system, decision)
}

#[test]
fn a_new_process_goes_on_with_the_time_of_the_old_one() {
    let (resumed, mut system, decision) = started(*TRACKED, left(101), at(102));
    assert!(resumed);
    assert_eq!((decision.state, decision.reference.stratum), (State::Holdover, 3));
    let ahead = decision.reference.clock.served(at(102)) - at(102).realtime;
    assert!(close(ahead, 2.0), "{ahead:?}");
    assert!(decision.reference.root_distance_at(at(102).raw) > left(101).root_distance_at(at(101).raw));
    // The first answer is not enough: nothing contradicts it yet, and two more upstreams are to be polled.
    let one = [seen(1, 500.0, 103), Peer::default(), Peer::default()];
    assert_eq!(decide(&mut system, 103, &one).state, State::Holdover);
    let two = [seen(1, 2.0, 103), seen(2, 2.0, 103), Peer::default()];
    assert_eq!(decide(&mut system, 104, &two).state, State::Synchronized);
}

#[test]
fn what_was_left_is_not_taken_when_it_may_be_wrong() {
    let asleep = ClockReadings {
        boot: at(102).boot + Duration::from_secs(3600),
        ..at(102)
    };
    let strict = ClockPolicy {
        max_distance: NtpDuration::from_seconds(0.000_1),
        ..*TRACKED
    };
    for (policy, now, why) in [
        (*TRACKED, at(107), "nobody watched for long"),
        (*TRACKED, at(100), "the counter began anew"),
        (*TRACKED, asleep, "the host slept"),
        (strict, at(102), "its error is over the limit"),
    ] {
        let (resumed, _, decision) = started(policy, left(101), now);
        assert!(!resumed, "{why}");
        assert_eq!(decision.state, State::Init, "{why}");
    }
}

#[test]
fn a_local_reference_goes_on_if_there_still_is_one() {
    let with_local = ClockPolicy {
        local: Some(LOCAL),
        ..*POLICY
    };
    let mut before = system(with_local);
    let announced = decide(&mut before, 200, &[]).reference;
    let left = Reference {
        published: at(200),
        ..announced
    };
    let (_, _, decision) = started(with_local, left, at(201));
    assert_eq!((decision.state, decision.reference.stratum), (State::Local, 10));
    let (resumed, _, decision) = started(*POLICY, left, at(201));
    assert!(!resumed);
    assert_eq!(decision.state, State::Init);
}

/// The numbers below `count` in another order, one of all that there are.
fn turned(count: usize, mut turn: usize) -> Vec<usize> {
    let mut left: Vec<usize> = (0..count).collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        order.push(left.remove(turn % left.len()));
        turn /= left.len() + 1;
    }
    order
}

proptest! {
    /// Two processes with the same input decide the same to the bit, whatever the order of the upstreams.
    ///
    /// One of them has its upstreams in another order after each reload. Two upstreams may have the same address, or
    /// differ only by their order.
    #[test]
    fn the_order_of_the_configuration_decides_nothing(
        offsets in vec((-3_i8..4, 1_u8..4), 1..7),
        turns in vec(any::<usize>(), 1..6),
        is_tracked in any::<bool>(),
    ) {
        let policy = if is_tracked { *TRACKED } else { *POLICY };
        let mut peers: Vec<Peer> = Vec::new();
        for (number, (offset, stratum)) in (0_u8..).zip(&offsets) {
            let peer = upstream(1 + number % 4, f64::from(*offset) * 0.007);
            peers.push(changed(peer, |header| header.stratum = *stratum));
        }
        let (mut still, mut turning) = (system(policy), system(policy));
        let all: Vec<usize> = (0..peers.len()).collect();
        still.configure(&all);
        turning.configure(&all);
        for (second, turn) in (101..).zip(turns) {
            for (peer, (offset, _)) in peers.iter_mut().zip(&offsets) {
                add_sample(peer, f64::from(*offset) * 0.007, second);
            }
            let order = turned(peers.len(), turn);
            still.reload(second, policy, &all);
            turning.reload(second, policy, &order);
            let in_order: Vec<Peer> = order.iter().map(|&number| peers[number].clone()).collect();
            let decided = decide(&mut still, second, &peers).decision;
            prop_assert_eq!(decided, decide(&mut turning, second, &in_order).decision);
        }
    }
}
