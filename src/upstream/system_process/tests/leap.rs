//! Pure. Leap seconds.

use super::*;

/// 2016-12-31 23:59:50, ten seconds before the last leap second so far.
fn new_year(seconds: f64) -> ClockReadings {
    let realtime = NtpTimestamp::from_unix(1_483_228_790, 0) + NtpDuration::from_seconds(seconds);
    ClockReadings {
        realtime,
        raw: Duration::from_secs_f64(100.0 + seconds),
        boot: Duration::from_secs_f64(100.0 + seconds),
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
        source: ClockSource::Tracked,
        ..*POLICY
    };
    let mut system = System::new(policy, new_year(0.0));
    let before = decide_at(&mut system, new_year(0.0), &[leaping()]).reference;
    assert_eq!(before.leap, Leap::AddSecond);
    assert_eq!(before.at(new_year(9.9)).stratum, 3);
    // Until it is known that the second was inserted, no time is announced.
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
        let mut system = System::new(*POLICY, new_year(0.0));
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
    let mut system = System::new(*POLICY, new_year(0.0));
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
fn a_leap_second_of_the_list_comes_in_holdover_too() {
    let list = "#@ 3976704000\n3644697600 36\n3692217600 37\n";
    let policy = ClockPolicy {
        source: ClockSource::Tracked,
        ..*POLICY
    };
    let mut system = System::new(policy, new_year(0.0));
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
