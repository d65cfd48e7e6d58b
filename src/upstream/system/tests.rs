//! Pure. The system process decision by decision; whole stories are told in `tests/simulation`.

use super::*;
use crate::reference::length;
use crate::upstream::packet::Sample;
use crate::wire::{Header, NtpShort};

const POLICY: ClockPolicy = ClockPolicy {
    source: Source::System,
    min_sources: 1,
    max_distance: NtpDuration::SECOND,
    max_jitter: 1.0,
    on_dispute: OnDispute::Unsynchronized,
    local: None,
};
const LOCAL: LocalReference = LocalReference {
    stratum: 10,
    wait: Duration::from_secs(60),
    distance: NtpDuration::from_units(1 << 31),
};

fn at(seconds: u64) -> Moment {
    let raw = Duration::from_secs(seconds);
    Moment {
        realtime: NtpTimestamp::from_unix(1_700_000_000, 0) + length(raw),
        raw,
    }
}

/// An upstream at 192.0.2.`host` whose clock is `offset` seconds ahead of the host's, seen at second 100.
fn upstream(host: u8, offset: f64) -> Peer {
    seen(host, offset, 100)
}

fn seen(host: u8, offset: f64, second: u64) -> Peer {
    let mut peer = Peer {
        address: Some(([192, 0, 2, host], 123).into()),
        reach: 1,
        answer: Some(Header {
            stratum: 2,
            root_delay: NtpShort::from_duration(NtpDuration::from_seconds(0.010)),
            root_dispersion: NtpShort::from_duration(NtpDuration::from_seconds(0.005)),
            reference_id: ReferenceId::from_bytes([198, 51, 100, host]),
            reference_timestamp: at(90).realtime,
            ..Header::request(NtpTimestamp::ZERO)
        }),
        ..Peer::default()
    };
    hear(&mut peer, offset, second);
    peer
}

fn hear(peer: &mut Peer, offset: f64, second: u64) {
    peer.accepted += 1;
    peer.filter.add(Sample {
        offset: NtpDuration::from_seconds(offset),
        delay: NtpDuration::from_seconds(0.002),
        dispersion: NtpDuration::from_seconds(0.000_001),
        at: Duration::from_secs(second),
    });
}

fn daemon(offset: f64) -> Peer {
    Peer {
        on_this_host: true,
        address: Some(([127, 0, 0, 1], 11123).into()),
        ..upstream(0, offset)
    }
}

fn changed(peer: Peer, change: impl Fn(&mut Header)) -> Peer {
    let mut answer = peer.answer;
    if let Some(header) = &mut answer {
        change(header);
    }
    Peer { answer, ..peer }
}

fn system(policy: ClockPolicy) -> System {
    with_roles(policy, &[Role::default(); 8])
}

fn with_roles(policy: ClockPolicy, roles: &[Role]) -> System {
    System::new(policy, roles.to_vec(), None, -23, at(90))
}

fn decide(system: &mut System, second: u64, peers: &[Peer]) -> Decision {
    decide_at(system, at(second), peers)
}

fn decide_at(system: &mut System, now: Moment, peers: &[Peer]) -> Decision {
    let decision = system.decide(now, peers, None);
    let announced = decision.reference.at(now);
    // At no moment leap 0 with stratum 0, or a stratum without a time.
    assert_eq!(announced.leap == Leap::Unsynchronized, announced.stratum == 0);
    assert_eq!(announced.stratum == 0, announced.reference_timestamp.is_zero());
    assert!(announced.stratum < MAX_STRATUM);
    decision
}

fn close(duration: NtpDuration, seconds: f64) -> bool {
    (duration.to_seconds() - seconds).abs() < 3e-5
}

#[test]
fn before_the_first_answer_there_is_no_time() {
    let decision = decide(&mut system(POLICY), 100, &[Peer::default()]);
    assert_eq!(
        (decision.state, decision.standings),
        (State::Init, vec![Standing::Unknown])
    );
    assert_eq!(
        (decision.reference.stratum, decision.reference.reference_id),
        (0, ReferenceId::INIT)
    );
}

#[test]
fn the_hosts_clock_is_announced_with_its_measured_offset_as_an_error() {
    let decision = decide(&mut system(POLICY), 100, &[upstream(1, -0.020)]);
    let reference = decision.reference;
    assert_eq!(
        (decision.state, decision.standings),
        (State::Synchronized, vec![Standing::SystemPeer])
    );
    assert_eq!(
        (reference.stratum, reference.reference_id.to_bytes()),
        (3, [192, 0, 2, 1])
    );
    assert!(close(reference.root_delay, 0.012), "{reference:?}");
    assert!(close(reference.root_dispersion, 0.025), "{reference:?}");
    assert_eq!(reference.clock.served(at(100)), at(100).realtime);
}

#[test]
fn a_tracked_clock_is_corrected() {
    let policy = ClockPolicy {
        source: Source::Tracked,
        ..POLICY
    };
    let reference = decide(&mut system(policy), 100, &[upstream(1, -0.020)]).reference;
    let served = reference.clock.served(at(100)) - at(100).realtime;
    assert!(close(served, -0.020), "{served:?}");
    assert!(close(reference.root_dispersion, 0.005), "{reference:?}");
    assert_eq!(
        (reference.stratum, reference.reference_id.to_bytes()),
        (3, [192, 0, 2, 1])
    );
    // Its frequency is unknown, and so is the time a minute later.
    assert!(reference.root_dispersion_at(at(160).raw) > NtpDuration::from_seconds(0.015));
}

#[test]
fn a_tracked_clock_is_deaf_to_the_hosts() {
    let mut system = system(ClockPolicy {
        source: Source::Tracked,
        ..POLICY
    });
    decide(&mut system, 100, &[upstream(1, 0.0)]);
    let stepped = Moment {
        realtime: at(101).realtime + NtpDuration::from_seconds(3600.0),
        ..at(101)
    };
    system.clock_stepped(stepped);
    let decision = decide_at(&mut system, stepped, &[upstream(1, 0.0)]);
    assert_eq!((decision.state, decision.stepped), (State::Synchronized, None));
    assert!(close(
        decision.reference.clock.served(stepped) - at(101).realtime,
        0.0
    ));
}

#[test]
fn auto_means_system_where_an_upstream_is_here() {
    let auto = ClockPolicy {
        source: Source::Auto,
        ..POLICY
    };
    assert_eq!(
        decide(&mut system(auto), 100, &[daemon(0.0), upstream(1, 0.0)]).source,
        Source::System
    );
    assert_eq!(
        decide(&mut system(auto), 100, &[upstream(1, 0.0)]).source,
        Source::Tracked
    );
}

#[test]
fn a_daemon_that_keeps_this_clock_is_mirrored() {
    let decision = decide(&mut system(POLICY), 100, &[daemon(0.000_5)]);
    let reference = decision.reference;
    assert_eq!(decision.standings, [Standing::Mirrored]);
    assert_eq!(
        (reference.stratum, reference.reference_id.to_bytes()),
        (2, [198, 51, 100, 0])
    );
    assert!(
        close(reference.root_delay, 0.010) && close(reference.root_dispersion, 0.005_5),
        "{reference:?}"
    );
    assert_eq!(reference.reference_time, at(90).realtime);
}

#[test]
fn a_daemon_that_keeps_another_clock_is_a_witness() {
    let decision = decide(&mut system(POLICY), 100, &[daemon(0.003)]);
    assert_eq!(decision.standings, [Standing::SystemPeer]);
    assert_eq!(
        (
            decision.reference.stratum,
            decision.reference.reference_id.to_bytes()
        ),
        (3, [127, 0, 0, 1])
    );
    assert!(decision.reference.root_dispersion > NtpDuration::from_seconds(0.008));
}

#[test]
fn those_who_disagree_are_neither_blended_nor_chosen() {
    let mut system = system(POLICY);
    let mut two = [upstream(1, 0.0), upstream(2, 10.0)];
    assert_eq!(decide(&mut system, 100, &two).state, State::Init);
    let three = [upstream(1, 0.0), upstream(2, 10.0), upstream(3, 0.001)];
    let decision = decide(&mut system, 101, &three);
    assert_eq!(
        decision.standings,
        [Standing::SystemPeer, Standing::Falseticker, Standing::Agrees]
    );
    // One contradiction is no dispute yet.
    assert_eq!(decide(&mut system, 102, &two).state, State::Holdover);
    for round in 103..=105 {
        assert_ne!(system.state, State::Disputed);
        hear(&mut two[0], 0.0, round);
        hear(&mut two[1], 10.0, round);
        decide(&mut system, round, &two);
    }
    let decision = decide(&mut system, 106, &two);
    assert_eq!(
        (decision.state, decision.standings),
        (State::Disputed, vec![Standing::Falseticker; 2])
    );
    assert_eq!(decision.reference.reference_id, ReferenceId::DISPUTED);
    assert_eq!(decide(&mut system, 107, &three).state, State::Synchronized);
}

/// The daemon against two witnesses who say that the clock is 0.1 s off, until it is a dispute.
fn disputed(on_dispute: OnDispute) -> Decision {
    let mut system = system(ClockPolicy { on_dispute, ..POLICY });
    let daemon = |second| {
        let mut daemon = daemon(0.0);
        (101..=second).for_each(|second| hear(&mut daemon, 0.0, second));
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
            .for_each(|peer| (101..=second).for_each(|second| hear(peer, 0.1, second)));
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
        (2, Some(&Standing::Mirrored))
    );
    let track = disputed(OnDispute::Track);
    // It comes from the host's clock and is slewed, 500 ppm at most: until it is there, that is a part of the error.
    let off = track.reference.clock.served(at(304)) - at(304).realtime;
    assert!(
        (off.to_seconds() - 0.1).abs() < 0.001 && track.reference.stratum == 3,
        "{track:?}"
    );
    assert!(
        track.reference.root_dispersion > NtpDuration::from_seconds(0.1),
        "{track:?}"
    );
}

#[test]
fn enough_must_agree() {
    let mut system = system(ClockPolicy {
        min_sources: 2,
        ..POLICY
    });
    let one = decide(&mut system, 100, &[upstream(1, 0.0), Peer::default()]);
    assert_eq!(
        (one.state, one.standings.first()),
        (State::Init, Some(&Standing::TooFew))
    );
    assert_eq!(
        decide(&mut system, 101, &[upstream(1, 0.0), upstream(2, 0.0)]).state,
        State::Synchronized
    );
    assert_eq!(
        decide(&mut system, 102, &[upstream(1, 0.0), Peer::default()]).state,
        State::Holdover
    );
}

#[test]
fn roles() {
    let role = |change: fn(&mut Role)| {
        let mut role = Role::default();
        change(&mut role);
        role
    };
    let preferred = [Role::default(), role(|role| role.prefer = true)];
    let decision = decide(
        &mut with_roles(POLICY, &preferred),
        100,
        &[upstream(1, 0.0), upstream(2, 0.0)],
    );
    assert_eq!(decision.standings, [Standing::Agrees, Standing::SystemPeer]);
    let required = [Role::default(), role(|role| role.require = true)];
    let decision = decide(
        &mut with_roles(POLICY, &required),
        100,
        &[upstream(1, 0.0), Peer::default()],
    );
    assert_eq!(
        (decision.state, decision.standings),
        (State::Init, vec![Standing::TooFew, Standing::Unknown])
    );
    let watched = [Role::default(), role(|role| role.noselect = true)];
    let decision = decide(
        &mut with_roles(POLICY, &watched),
        100,
        &[upstream(1, 0.0), upstream(2, 10.0)],
    );
    assert_eq!(decision.standings, [Standing::SystemPeer, Standing::NoSelect]);
    let trusted = [role(|role| role.trust = true), Role::default(), Role::default()];
    let peers = [upstream(1, 0.0), upstream(2, 10.0), upstream(3, 10.0)];
    let decision = decide(&mut with_roles(POLICY, &trusted), 100, &peers);
    assert_eq!(
        decision.standings,
        [Standing::SystemPeer, Standing::Falseticker, Standing::Falseticker]
    );
}

#[test]
fn one_server_counts_once() {
    let twin = changed(upstream(2, 0.0), |header| {
        header.reference_id = ReferenceId::from_bytes([198, 51, 100, 1])
    });
    let decision = decide(&mut system(POLICY), 100, &[upstream(1, 0.0), twin]);
    assert_eq!(decision.standings, [Standing::SystemPeer, Standing::Duplicate]);
}

#[test]
fn the_system_peer_stays_until_a_better_one_lasts() {
    let mut system = system(POLICY);
    assert_eq!(
        decide(&mut system, 100, &[upstream(1, 0.0)]).standings,
        [Standing::SystemPeer]
    );
    let nearer = changed(upstream(2, 0.0), |header| {
        (header.root_delay, header.root_dispersion) = (NtpShort::ZERO, NtpShort::ZERO);
    });
    let both = [upstream(1, 0.0), nearer];
    assert_eq!(
        decide(&mut system, 101, &both).standings,
        [Standing::SystemPeer, Standing::Agrees]
    );
    let both = both.map(|mut peer| {
        hear(&mut peer, 0.0, 164);
        peer
    });
    assert_eq!(
        decide(&mut system, 164, &both).standings,
        [Standing::SystemPeer, Standing::Agrees]
    );
    assert_eq!(
        decide(&mut system, 165, &both).standings,
        [Standing::Agrees, Standing::SystemPeer]
    );
    let [other, nearer] = both;
    let higher = [changed(other, |header| header.stratum = 1), nearer];
    assert_eq!(
        decide(&mut system, 166, &higher).standings,
        [Standing::SystemPeer, Standing::Agrees]
    );
}

#[test]
fn stratum_15_can_not_be_followed_but_mirrored() {
    let fifteen = |peer| changed(peer, |header| header.stratum = 15);
    assert_eq!(
        decide(&mut system(POLICY), 100, &[fifteen(upstream(1, 0.0))]).state,
        State::Init
    );
    assert_eq!(
        decide(&mut system(POLICY), 100, &[fifteen(daemon(0.0))])
            .reference
            .stratum,
        15
    );
}

#[test]
fn after_the_loss_the_error_grows_until_it_is_too_large() {
    let mut system = system(ClockPolicy {
        max_distance: NtpDuration::from_seconds(0.020),
        ..POLICY
    });
    let gone = [Peer {
        reach: 0,
        ..upstream(1, 0.0)
    }];
    let before = decide(&mut system, 100, &[upstream(1, 0.0)]).reference;
    let after = decide(&mut system, 120, &gone);
    assert_eq!(after.state, State::Holdover);
    assert!(after.reference.root_distance_at(at(120).raw) > before.root_distance_at(at(100).raw));
    // 20 ms less 11 ms at 15 ppm: 600 s.
    assert_eq!(decide(&mut system, 690, &gone).state, State::Holdover);
    let lost = decide(&mut system, 701, &gone);
    assert_eq!(
        (lost.state, lost.reference.reference_id),
        (State::Unsynchronized, ReferenceId::LOST)
    );
    assert_eq!(before.at(at(701)).stratum, 0);
    assert_eq!(
        decide(&mut system, 720, &[seen(1, 0.0, 720)]).state,
        State::Synchronized
    );
}

#[test]
fn the_local_reference_stands_in_and_steps_back() {
    let policy = ClockPolicy {
        local: Some(LOCAL),
        ..POLICY
    };
    let mut alone = system(policy);
    assert_eq!(decide(&mut alone, 91, &[]).state, State::Local);
    let mut system = system(policy);
    assert_eq!(decide(&mut system, 149, &[Peer::default()]).state, State::Init);
    let local = decide(&mut system, 150, &[Peer::default()]);
    assert_eq!((local.state, local.reference.stratum), (State::Local, 10));
    assert_eq!(local.reference.reference_id, ReferenceId::LOCAL);
    assert_eq!(local.reference.root_distance_at(at(500).raw), LOCAL.distance);
    assert_eq!(
        decide(&mut system, 160, &[seen(1, 0.0, 160)]).state,
        State::Synchronized
    );
    assert_eq!(
        decide(&mut system, 300, &[Peer::default()]).state,
        State::Holdover
    );
}

#[test]
fn a_dispute_is_no_reason_to_trust_the_host() {
    let mut system = system(ClockPolicy {
        local: Some(LOCAL),
        ..POLICY
    });
    let two = [upstream(1, 0.0), upstream(2, 10.0)];
    assert!((110..1000).all(|second| decide(&mut system, second, &two).state != State::Local));
}

#[test]
fn a_step_of_the_hosts_clock_voids_what_was_known_of_it() {
    let mut system = system(POLICY);
    decide(&mut system, 100, &[daemon(0.0)]);
    let later = Moment {
        realtime: at(101).realtime + NtpDuration::from_seconds(3600.0),
        ..at(101)
    };
    system.clock_stepped(later);
    let stepped = decide_at(&mut system, later, &[daemon(0.0)]);
    assert_eq!(
        (stepped.state, stepped.reference.reference_id),
        (State::Unsynchronized, ReferenceId::STEP)
    );
    // Back again, but not before the daemon said so.
    system.clock_stepped(at(102));
    assert_ne!(
        decide(&mut system, 102, &[daemon(0.0)]).standings,
        [Standing::Mirrored]
    );
    let mut heard = daemon(0.0);
    hear(&mut heard, 0.0, 103);
    assert_eq!(decide(&mut system, 103, &[heard]).standings, [Standing::Mirrored]);
}

#[test]
fn after_a_sleep_nothing_is_known() {
    let mut system = system(ClockPolicy {
        source: Source::Tracked,
        ..POLICY
    });
    decide(&mut system, 100, &[upstream(1, 0.0)]);
    system.slept(at(101));
    assert_eq!(
        decide(&mut system, 101, &[upstream(1, 0.0)]).state,
        State::Unsynchronized
    );
}

/// 2016-12-31 23:59:50, ten seconds before the last leap second so far.
fn new_year(seconds: f64) -> Moment {
    let realtime = NtpTimestamp::from_unix(1_483_228_790, 0) + NtpDuration::from_seconds(seconds);
    Moment {
        realtime,
        raw: Duration::from_secs_f64(100.0 + seconds),
    }
}

fn leaping() -> Peer {
    changed(upstream(1, 0.0), |header| {
        (header.leap, header.reference_timestamp) = (Leap::AddSecond, new_year(-9.0).realtime);
    })
}

#[test]
fn a_tracked_clock_leaps_by_itself() {
    let policy = ClockPolicy {
        source: Source::Tracked,
        ..POLICY
    };
    let mut system = System::new(policy, vec![Role::default()], None, -23, new_year(0.0));
    let before = decide_at(&mut system, new_year(0.0), &[leaping()]).reference;
    assert_eq!(before.leap, Leap::AddSecond);
    assert_eq!(before.at(new_year(9.9)).stratum, 3);
    // Who does not know that the second was inserted says nothing.
    assert_eq!(before.at(new_year(10.1)).stratum, 0);
    let after = decide_at(&mut system, new_year(10.5), &[leaping()]);
    assert_eq!(
        (after.state, after.stepped, after.reference.leap),
        (State::Synchronized, None, Leap::NoWarning)
    );
    assert!(close(
        after.reference.clock.served(new_year(10.5)) - new_year(9.5).realtime,
        0.0
    ));
    let after = decide_at(&mut system, new_year(11.5), &[leaping()]);
    assert_eq!(
        (after.state, after.reference.leap),
        (State::Synchronized, Leap::NoWarning)
    );
}

#[test]
fn leap_seconds_need_a_majority() {
    let warning = |peer| changed(peer, |header| header.leap = Leap::AddSecond);
    let announced = |peers: &[Peer]| {
        let mut system = System::new(POLICY, vec![Role::default(); 3], None, -23, new_year(0.0));
        let peers = peers.iter().map(|peer| {
            changed(peer.clone(), |header| {
                header.reference_timestamp =
                    NtpTimestamp::from_unix(1_483_228_000, u32::from(header.reference_id.to_bytes()[3]))
            })
        });
        decide_at(&mut system, new_year(0.0), &peers.collect::<Vec<_>>())
            .reference
            .leap
    };
    let (one, two, three) = (upstream(1, 0.0), upstream(2, 0.0), upstream(3, 0.0));
    assert_eq!(
        announced(&[warning(one.clone()), two.clone(), three.clone()]),
        Leap::NoWarning
    );
    assert_eq!(announced(&[warning(one.clone()), two.clone()]), Leap::NoWarning);
    assert_eq!(announced(&[warning(one), warning(two), three]), Leap::AddSecond);
}

#[test]
fn the_kernels_leap_second_is_the_hosts() {
    let kernel = |in_leap_second| {
        Some(KernelView {
            leap: Leap::AddSecond,
            in_leap_second,
        })
    };
    let mut system = System::new(POLICY, vec![Role::default()], None, -23, new_year(0.0));
    let peers = [changed(upstream(1, 0.0), |header| {
        header.reference_timestamp = new_year(-9.0).realtime
    })];
    let warned = system.decide(new_year(0.0), &peers, kernel(false));
    assert_eq!(warned.reference.leap, Leap::AddSecond);
    assert_eq!(warned.reference.at(new_year(10.1)).stratum, 0);
    let during = system.decide(new_year(9.5), &peers, kernel(true));
    assert_eq!(
        (during.state, during.reference.reference_id),
        (State::Unsynchronized, ReferenceId::STEP)
    );
}

#[test]
fn a_dispute_over_the_hosts_clock_wants_samples_at_once_and_not_too_often() {
    let contradiction = [upstream(1, 0.0), upstream(2, 10.0)];
    let agreement = [upstream(1, 0.0), upstream(2, 0.0)];
    for (source, wanted) in [(Source::System, 1), (Source::Tracked, 0)] {
        let mut system = system(ClockPolicy { source, ..POLICY });
        for second in 0..10 {
            assert_eq!(
                decide(&mut system, 100 + 2 * second, &agreement).state,
                State::Synchronized
            );
            let wakes = decide(&mut system, 101 + 2 * second, &contradiction).wakes;
            assert_eq!(wakes, wanted, "{source:?}");
        }
        decide(&mut system, 1400, &agreement);
        assert_eq!(decide(&mut system, 1401, &contradiction).wakes, 2 * wanted);
    }
}

#[test]
fn a_step_or_a_sleep_of_the_host_wants_samples_at_once() {
    for (source, wanted) in [(Source::System, 1), (Source::Tracked, 0)] {
        let mut system = system(ClockPolicy { source, ..POLICY });
        decide(&mut system, 100, &[upstream(1, 0.0)]);
        system.clock_stepped(at(101));
        assert_eq!(system.orders(), (None, wanted));
        system.slept(at(102));
        assert_eq!(system.orders(), (None, wanted + 1));
    }
}

/// Three that agree, the second of them the system peer.
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
    for source in [Source::System, Source::Tracked] {
        let policy = ClockPolicy { source, ..POLICY };
        let [one, two, three] = three();
        let mut system = system(policy);
        let before = decide(&mut system, 100, &[one, two.clone(), three.clone()]);
        assert_eq!(before.standings.get(1), Some(&Standing::SystemPeer));
        // The first goes, a new one comes between the others, and their order turns.
        let kept = [Some(2), None, Some(1)];
        system.reconfigure(at(100).raw, policy, vec![Role::default(); 3], &kept);
        let after = decide(&mut system, 100, &[three.clone(), Peer::default(), two.clone()]);
        assert_eq!(
            (after.state, after.stepped, after.reference),
            (State::Synchronized, None, before.reference)
        );
        assert_eq!(
            after.standings,
            [Standing::Agrees, Standing::Unknown, Standing::SystemPeer]
        );
        // Even if all but one go, that one was believed and still is.
        system.reconfigure(
            at(101).raw,
            policy,
            vec![Role::default(); 3],
            &[None, Some(2), None],
        );
        let strangers = [Peer::default(), two, Peer::default()];
        assert_eq!(decide(&mut system, 101, &strangers).state, State::Synchronized);
    }
}

#[test]
fn strangers_are_not_believed_for_answering_first_after_a_reload_either() {
    let policy = ClockPolicy {
        source: Source::Tracked,
        ..POLICY
    };
    let mut system = system(policy);
    let before = decide(&mut system, 100, &three()).reference;
    system.reconfigure(at(101).raw, policy, vec![Role::default(); 3], &[None; 3]);
    let first = [seen(4, 50.0, 102), Peer::default(), Peer::default()];
    let waits = decide(&mut system, 102, &first);
    assert_eq!(
        (waits.state, waits.stepped, waits.reference.clock),
        (State::Holdover, None, before.clock)
    );
    let all = [seen(4, 50.0, 102), seen(5, 0.0, 102), seen(6, 0.0, 102)];
    let settled = decide(&mut system, 103, &all);
    assert_eq!((settled.state, settled.stepped), (State::Synchronized, None));
    assert_eq!(settled.standings.first(), Some(&Standing::Falseticker));
    // The next ones never answer: after a while who does has had his chance.
    system.reconfigure(at(104).raw, policy, vec![Role::default(); 3], &[None; 3]);
    let last = [seen(7, 0.001, 104), Peer::default(), Peer::default()];
    assert_eq!(decide(&mut system, 105, &last).state, State::Holdover);
    assert_eq!(decide(&mut system, 167, &last).state, State::Holdover);
    assert_eq!(decide(&mut system, 168, &last).state, State::Synchronized);
}

#[test]
fn without_anybody_left_the_last_time_goes_on_as_long_as_the_new_policy_allows() {
    let limit = |seconds| ClockPolicy {
        max_distance: NtpDuration::from_seconds(seconds),
        ..POLICY
    };
    let mut system = system(POLICY);
    let before = decide(&mut system, 100, &[upstream(1, 0.0)]).reference;
    // 20 ms less 11 ms at 15 ppm: 600 s.
    system.reconfigure(at(101).raw, limit(0.020), Vec::new(), &[]);
    let alone = decide(&mut system, 101, &[]);
    assert_eq!(
        (alone.state, alone.reference.clock),
        (State::Holdover, ClockModel::Host { published: at(101) })
    );
    assert!(alone.reference.not_after < before.not_after);
    assert_eq!(decide(&mut system, 690, &[]).state, State::Holdover);
    assert_eq!(decide(&mut system, 701, &[]).state, State::Unsynchronized);
}

#[test]
fn a_dispute_outlives_a_reload_as_long_as_somebody_in_it_does() {
    let mut system = system(POLICY);
    let mut two = [upstream(1, 0.0), upstream(2, 10.0)];
    decide(&mut system, 100, &two[..1]);
    decide(&mut system, 101, &two);
    for round in 102..=104 {
        // Its places turn each time.
        system.reconfigure(
            at(round).raw,
            POLICY,
            vec![Role::default(); 2],
            &[Some(1), Some(0)],
        );
        two.reverse();
        two.iter_mut().for_each(|peer| {
            let offset = if peer.address == upstream(1, 0.0).address {
                0.0
            } else {
                10.0
            };
            hear(peer, offset, round);
        });
        let expected = if round == 104 {
            State::Disputed
        } else {
            State::Holdover
        };
        assert_eq!(decide(&mut system, round, &two).state, expected);
    }
    // New ones who contradict each other are no dispute before they were heard as often.
    let mut system = self::system(POLICY);
    let two = [upstream(1, 0.0), upstream(2, 10.0)];
    decide(&mut system, 100, &two[..1]);
    decide(&mut system, 101, &two);
    system.reconfigure(at(102).raw, POLICY, vec![Role::default(); 2], &[None, None]);
    let others = [seen(3, 0.0, 102), seen(4, 10.0, 102)];
    assert_eq!(decide(&mut system, 102, &others).state, State::Holdover);
}

#[test]
fn the_local_reference_goes_with_its_configuration() {
    let policy = ClockPolicy {
        local: Some(LOCAL),
        ..POLICY
    };
    let mut system = system(policy);
    assert_eq!(decide(&mut system, 91, &[]).state, State::Local);
    let other = LocalReference { stratum: 12, ..LOCAL };
    let changed = ClockPolicy {
        local: Some(other),
        ..POLICY
    };
    // The new one has not waited, but the host's clock stands in already.
    system.reconfigure(at(92).raw, changed, vec![Role::default()], &[None]);
    let decision = decide(&mut system, 92, &[Peer::default()]);
    assert_eq!((decision.state, decision.reference.stratum), (State::Local, 12));
    system.reconfigure(at(93).raw, POLICY, vec![Role::default()], &[Some(0)]);
    let decision = decide(&mut system, 93, &[Peer::default()]);
    assert_eq!(
        (decision.state, decision.reference.reference_id),
        (State::Unsynchronized, ReferenceId::LOST)
    );
}

#[test]
fn a_leap_second_of_the_list_comes_in_holdover_too() {
    let list = "#@ 3976704000\n3644697600 36\n3692217600 37\n";
    let policy = ClockPolicy {
        source: Source::Tracked,
        ..POLICY
    };
    let mut system = System::new(policy, vec![Role::default()], None, -23, new_year(0.0));
    let peers = [changed(upstream(1, 0.0), |header| {
        header.reference_timestamp = new_year(-9.0).realtime
    })];
    assert_eq!(
        decide_at(&mut system, new_year(0.0), &peers).reference.leap,
        Leap::NoWarning
    );
    system.set_leaps(Some(LeapTable::parse(list).unwrap()));
    let gone = peers.map(|peer| Peer { reach: 0, ..peer });
    let warned = decide_at(&mut system, new_year(1.0), &gone);
    assert_eq!(
        (warned.state, warned.reference.leap),
        (State::Holdover, Leap::AddSecond)
    );
    let after = decide_at(&mut system, new_year(10.5), &gone);
    assert_eq!(
        (after.state, after.stepped, after.reference.leap),
        (State::Holdover, None, Leap::NoWarning)
    );
    let served = after.reference.clock.served(new_year(10.5));
    assert!(close(served - new_year(9.5).realtime, 0.0));
}
