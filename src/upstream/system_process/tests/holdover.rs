//! Pure. Tests without a usable upstream.

use super::*;

#[test]
fn after_the_loss_the_error_grows_until_it_is_too_large() {
    let mut system = system(ClockPolicy {
        max_distance: NtpDuration::from_seconds(0.020),
        ..*POLICY
    });
    let gone = [Peer {
        reach: 0,
        ..upstream(1, 0.0)
    }];
    let before = decide(&mut system, 100, &[upstream(1, 0.0)]).reference;
    let after = decide(&mut system, 120, &gone);
    assert_eq!(after.state, State::Holdover);
    assert!(after.reference.root_distance_at(at(120).raw) > before.root_distance_at(at(100).raw));
    // 20 ms less 11 ms at 301 ppm, since one sample says nothing of the frequency: 30 s.
    assert_eq!(decide(&mut system, 129, &gone).state, State::Holdover);
    let lost = decide(&mut system, 131, &gone);
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
        ..*POLICY
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
fn a_step_of_the_hosts_clock_voids_what_was_known_of_it() {
    let mut system = system(*POLICY);
    decide(&mut system, 100, &[daemon(0.0)]);
    let later = ClockReadings {
        realtime: at(101).realtime + NtpDuration::from_seconds(3600.0),
        ..at(101)
    };
    system.clock_stepped(later);
    let stepped = decide_at(&mut system, later, &[daemon(0.0)]);
    assert_eq!(
        (stepped.state, stepped.reference.reference_id),
        (State::Unsynchronized, ReferenceId::STEP)
    );
    // Back again, but not before an answer of the daemon.
    system.clock_stepped(at(102));
    assert_ne!(
        decide(&mut system, 102, &[daemon(0.0)]).standings,
        [SelectionStatus::Mirrored]
    );
    let mut heard = daemon(0.0);
    add_sample(&mut heard, 0.0, 103);
    assert_eq!(
        decide(&mut system, 103, &[heard]).standings,
        [SelectionStatus::Mirrored]
    );
}

#[test]
fn after_a_sleep_nothing_is_known() {
    let mut system = system(ClockPolicy {
        source: ClockSource::Tracked,
        ..*POLICY
    });
    decide(&mut system, 100, &[upstream(1, 0.0)]);
    system.slept(at(101));
    assert_eq!(
        decide(&mut system, 101, &[upstream(1, 0.0)]).state,
        State::Unsynchronized
    );
}

#[test]
fn a_step_or_a_sleep_of_the_host_wants_samples_at_once() {
    for (source, wanted) in [(ClockSource::System, 1), (ClockSource::Tracked, 0)] {
        let mut system = system(ClockPolicy { source, ..*POLICY });
        decide(&mut system, 100, &[upstream(1, 0.0)]);
        system.clock_stepped(at(101));
        assert_eq!(system.for_pollers().1, wanted);
        // Repeated steps do not cause repeated requests.
        system.clock_stepped(at(102));
        assert_eq!(system.for_pollers().1, wanted);
        system.slept(at(165));
        assert_eq!(system.for_pollers().1, wanted + 1);
    }
}

#[test]
fn clocks_that_jump_against_each_other() {
    // The raw counter runs 30 ppm slow against the others all the time; then something happens.
    let moment = |second: u64, ahead: f64| ClockReadings {
        boot: at(second).raw
            + Duration::from_secs_f64(f64::from(u32::try_from(second).unwrap()) * 30e-6 + ahead),
        ..at(second)
    };
    let [realtime, asleep] = [Duration::from_secs(1_000_000), Duration::ZERO];
    for (ahead, expected) in [
        (0.0, None),
        (0.000_020, None),
        (0.000_200, Some(ClockEvent::Jumped(Duration::from_micros(200)))),
        (0.004, Some(ClockEvent::Jumped(Duration::from_millis(4)))),
        (0.020, Some(ClockEvent::Slept(Duration::from_millis(20)))),
        (0.300, Some(ClockEvent::Slept(Duration::from_millis(300)))),
    ] {
        let mut system = system(ClockPolicy {
            source: ClockSource::Tracked,
            ..*POLICY
        });
        for second in 100..110 {
            assert_eq!(
                system.check_host_clocks(moment(second, 0.0), realtime, asleep),
                None
            );
            decide_at(&mut system, moment(second, 0.0), &[upstream(1, 0.0)]);
        }
        let before = system.reference.root_distance_at(at(110).raw).to_seconds();
        let seen = system.check_host_clocks(moment(110, ahead), realtime, asleep);
        let length = |event: Option<ClockEvent>| match event {
            Some(ClockEvent::Jumped(by) | ClockEvent::Slept(by) | ClockEvent::Stepped(by)) => {
                by.as_secs_f64()
            }
            None => 0.0,
        };
        assert_eq!(
            seen.map(|seen| std::mem::discriminant(&seen)),
            expected.map(|expected| std::mem::discriminant(&expected))
        );
        assert!((length(seen) - length(expected)).abs() < 40e-6, "{seen:?}");
        let decision = decide_at(&mut system, moment(110, ahead), &[upstream(1, 0.0)]);
        match expected {
            Some(ClockEvent::Slept(_)) => assert_eq!(decision.state, State::Unsynchronized),
            _ => {
                // At once the error covers it.
                let after = decision.reference.root_distance_at(at(110).raw).to_seconds();
                assert!(after >= before + length(expected) - 40e-6, "{before} {after}");
            }
        }
        // From then on they run as before.
        assert_eq!(
            system.check_host_clocks(moment(111, ahead), realtime, asleep),
            None
        );
    }
}
