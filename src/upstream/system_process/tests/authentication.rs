//! Pure. Tests of what upstreams without NTS may decide beside those with it, and of certificates while no time is known.

use super::*;

use proptest::prelude::*;

use crate::upstream::nts::certificate::{CertificateValidity, EARLIEST, UncheckedCertificate};
use crate::upstream::select::majority;

/// Seconds by which liars are off.
const LIE: f64 = 0.5;

fn policy(authenticated: Authenticated) -> ClockPolicy {
    ClockPolicy {
        source: ClockSource::Tracked,
        authenticated,
        ..*POLICY
    }
}

/// A system of which the first `nts` upstreams are polled with NTS.
fn with_nts(policy: ClockPolicy, nts: usize) -> System {
    System {
        nts: vec![true; nts],
        ..system(policy)
    }
}

/// Upstreams with these offsets.
fn peers(offsets: impl IntoIterator<Item = f64>) -> Vec<Peer> {
    let numbered = (1..).zip(offsets);
    numbered.map(|(host, offset)| upstream(host, offset)).collect()
}

/// The offset of the served clock from the host's, if a time is served.
fn served(decided: &Decided) -> Option<f64> {
    let reference = decided.reference;
    let offset = reference.clock.served(at(100)) - at(100).realtime;
    reference.is_usable().then(|| offset.to_seconds())
}

#[test]
fn with_no_nts_upstream_nothing_changes() {
    for authenticated in [Authenticated::Prefer, Authenticated::Mix] {
        let mut system = with_nts(policy(authenticated), 0);
        let decided = decide(&mut system, 100, &peers([0.0, 0.0, LIE]));
        assert!(served(&decided).unwrap().abs() < 0.01);
    }
}

#[test]
fn what_one_with_nts_means_beside_three_without() {
    for (authenticated, offsets, expected) in [
        // The others contradict it.
        (Authenticated::Mix, [LIE, 0.0, 0.0, 0.0], Some(0.0)),
        (Authenticated::Prefer, [LIE, 0.0, 0.0, 0.0], None),
        (Authenticated::Require, [LIE, 0.0, 0.0, 0.0], Some(LIE)),
        // One of them does.
        (Authenticated::Mix, [0.0, 0.0, 0.0, LIE], Some(0.0)),
        (Authenticated::Prefer, [0.0, 0.0, 0.0, LIE], Some(0.0)),
        (Authenticated::Require, [0.0, 0.0, 0.0, LIE], Some(0.0)),
    ] {
        let mut system = with_nts(policy(authenticated), 1);
        let decided = decide(&mut system, 100, &peers(offsets));
        let found = served(&decided);
        assert_eq!(
            found.is_some(),
            expected.is_some(),
            "{authenticated:?} {offsets:?}"
        );
        assert!(
            (found.unwrap_or(0.0) - expected.unwrap_or(0.0)).abs() < 0.01,
            "{authenticated:?} {offsets:?} {found:?}"
        );
    }
}

#[test]
fn those_without_have_no_vote_where_it_is_required() {
    let mut system = with_nts(policy(Authenticated::Require), 1);
    let decided = decide(&mut system, 100, &peers([0.0, 0.0, LIE]));
    let plain = SelectionStatus::Plain;
    assert_eq!(decided.standings, [SelectionStatus::SystemPeer, plain, plain]);
    // Nor the reason for a dispute, or for a time, when the one with a vote is silent.
    let mut system = with_nts(policy(Authenticated::Require), 1);
    let silent = Peer {
        reach: 0,
        answer: None,
        last_good: None,
        ..upstream(1, 0.0)
    };
    let mut all = peers([0.0, 0.0, 0.0]);
    all[0] = Peer {
        filter: Default::default(),
        ..silent
    };
    let decided = decide(&mut system, 1000, &all);
    assert_eq!((served(&decided), decided.state), (None, State::Init));
}

#[test]
fn without_those_with_nts_there_is_no_time_where_they_are_preferred() {
    let mut system = with_nts(policy(Authenticated::Prefer), 2);
    let mut all = peers([0.0; 5]);
    for peer in &mut all[..2] {
        *peer = Peer::default();
    }
    // As long as they may still answer, and after it.
    for second in [100, 109, 111, 1000] {
        let decided = decide(&mut system, second, &all);
        assert_eq!(served(&decided), None, "{second}");
        let shortage = SourceShortage::Unauthenticated { agree: 3, of: 5 };
        assert_eq!(decided.shortage, Some(shortage), "{second}");
    }
    // One of them is a half, and a majority once the other had its time to answer.
    all[0] = upstream(1, 0.0);
    assert!(served(&decide(&mut system, 1001, &all)).is_some());
    let mut young = with_nts(policy(Authenticated::Prefer), 2);
    assert_eq!(served(&decide(&mut young, 109, &all)), None);
    assert!(served(&decide(&mut young, 111, &all)).is_some());
}

#[test]
fn an_alias_of_an_authenticated_upstream_does_not_speak_for_it() {
    // Both announce the same setting of the same clock, so they are one server with one vote; the plain one lies as
    // far as the path explains.
    let same = |header: &mut Header| {
        header.reference_timestamp = at(90).realtime + NtpDuration::from_units(12_345);
        header.reference_id = ReferenceId::from_bytes([198, 51, 100, 9]);
    };
    let mut system = with_nts(policy(Authenticated::Prefer), 1);
    let all = [changed(upstream(1, 0.0), same), changed(upstream(2, 0.001), same)];
    let decided = decide(&mut system, 100, &all);
    assert!(
        decided.standings.contains(&SelectionStatus::Duplicate),
        "{:?}",
        decided.standings
    );
    assert!(served(&decided).is_some());
    let silent = [Peer::default(), all[1].clone()];
    assert_eq!(
        served(&decide(
            &mut with_nts(policy(Authenticated::Prefer), 1),
            1000,
            &silent
        )),
        None
    );
}

#[test]
fn a_leap_second_is_not_announced_by_those_without_alone() {
    let leap = |peer: Peer| changed(peer, |header| header.leap = Leap::AddSecond);
    let mut all = peers([0.0; 5]);
    for peer in &mut all[2..] {
        *peer = leap(peer.clone());
    }
    for (authenticated, nts, expected) in [
        (Authenticated::Prefer, 2, Leap::NoWarning),
        (Authenticated::Prefer, 0, Leap::AddSecond),
        (Authenticated::Mix, 2, Leap::AddSecond),
    ] {
        let mut system = with_nts(policy(authenticated), nts);
        decide(&mut system, 100, &all);
        let votes = peers_votes(&mut system, &all);
        assert_eq!(votes, expected, "{authenticated:?} {nts}");
    }
}

/// The leap warning of the majority.
fn peers_votes(system: &mut System, peers: &[Peer]) -> Leap {
    let (candidates, mut standings) = system.process.candidates(&system.upstreams, at(100).raw);
    assert_eq!(candidates.len(), peers.len());
    let upstreams = system.upstreams.clone();
    let selection = system.process.select(
        at(100),
        &candidates,
        &upstreams,
        ClockSource::Tracked,
        &mut standings,
    );
    match selection {
        Selection::Believe(majority) => majority.leap,
        Selection::NotEnough(_) | Selection::Contradiction(..) => panic!(),
    }
}

/// The true time, at second 100 of the host's clock, which is `off` seconds behind it.
const TRUE_TIME: i64 = EARLIEST + 40 * 86_400;

fn off() -> f64 {
    (NtpTimestamp::from_unix(TRUE_TIME, 0) - at(100).realtime).to_seconds()
}

/// Dates in days from the true time.
fn unchecked(from: i64, to: i64) -> Option<UncheckedCertificate> {
    Some(UncheckedCertificate {
        validity: CertificateValidity {
            not_before: TRUE_TIME + from * 86_400,
            not_after: TRUE_TIME + to * 86_400,
        },
        established: at(98).raw,
    })
}

fn with_certificate(host: u8, offset: f64, from: i64, to: i64) -> Peer {
    Peer {
        unchecked: unchecked(from, to),
        ..upstream(host, offset)
    }
}

#[test]
fn a_certificate_that_was_not_valid_at_the_agreed_time_casts_its_upstream_out() {
    for (from, to) in [(-90, -1), (1, 90)] {
        for lie in [0.0, -5.0 * 86_400.0, 0.3] {
            let mut system = with_nts(policy(Authenticated::Prefer), 3);
            let all = [
                with_certificate(1, off(), -90, 90),
                with_certificate(2, off() + lie, from, to),
                with_certificate(3, off() + 0.001, -90, 90),
            ];
            let decided = decide(&mut system, 100, &all);
            assert!((served(&decided).unwrap() - off()).abs() < 0.01);
            assert_eq!(decided.standings[1], SelectionStatus::Expired);
            assert_eq!(decided.cast_out.values().collect::<Vec<_>>(), [&at(98).raw]);
        }
    }
}

#[test]
fn who_is_cast_out_does_not_count_for_the_majority_that_is_formed_again() {
    let mut system = with_nts(
        ClockPolicy {
            min_sources: 2,
            ..policy(Authenticated::Prefer)
        },
        2,
    );
    let all = [
        with_certificate(1, off(), -90, 90),
        with_certificate(2, off(), -90, -1),
    ];
    let decided = decide(&mut system, 100, &all);
    assert_eq!((served(&decided), decided.state), (None, State::Init));
    assert_eq!(
        decided.standings,
        [SelectionStatus::TooFew, SelectionStatus::Expired]
    );
    // Nor does one alone that was not valid at its own time.
    let mut system = with_nts(policy(Authenticated::Prefer), 1);
    let decided = decide(&mut system, 100, &[with_certificate(1, off(), -90, -1)]);
    assert_eq!(
        (served(&decided), &decided.standings[..]),
        (None, &[SelectionStatus::Expired][..])
    );
}

#[test]
fn a_certificate_that_was_valid_may_end_while_its_keys_are_in_use() {
    let mut system = with_nts(policy(Authenticated::Prefer), 1);
    let mut peer = with_certificate(1, off(), -90, 1);
    assert!(served(&decide(&mut system, 100, std::slice::from_ref(&peer))).is_some());
    let later = 100 + 3 * 86_400;
    peer.filter = Default::default();
    add_sample(&mut peer, off(), later - 1);
    let decided = decide(&mut system, later, &[peer.clone()]);
    assert!(decided.reference.is_usable() && decided.cast_out.is_empty());
    // New keys under the same certificate, unchecked, are checked.
    peer.unchecked = Some(UncheckedCertificate {
        established: at(later - 1).raw,
        ..peer.unchecked.unwrap()
    });
    add_sample(&mut peer, off(), later + 1);
    let decided = decide(&mut system, later + 1, &[peer]);
    assert_eq!(decided.standings, [SelectionStatus::Expired]);
}

#[test]
fn a_time_is_vouched_for_only_while_upstreams_agree() {
    let mut system = with_nts(policy(Authenticated::Prefer), 1);
    let scale = system.scale();
    let decided = decide(&mut system, 100, &[Peer::default()]);
    assert_eq!(decided.vouched(at(100), &scale), None);
    let decided = decide(&mut system, 101, &[upstream(1, 3.0)]);
    assert!((decided.vouched(at(101), &scale).unwrap().to_seconds() - 3.0).abs() < 0.01);
    // The host's own clock is no time that others agree on.
    let local = ClockPolicy {
        local: Some(LOCAL),
        ..policy(Authenticated::Prefer)
    };
    let mut system = System::new(local, at(90));
    let decided = decide(&mut system, 1000, &[Peer::default()]);
    assert_eq!(
        (decided.state, decided.vouched(at(1000), &scale)),
        (State::Local, None)
    );
}

proptest! {
    /// With an honest majority of those with NTS the time is right, or there is none, whatever the others say.
    #[test]
    fn no_unauthenticated_majority_outvotes(nts in 1_usize..6, false_nts in 0_usize..3, lies in prop::collection::vec(-1.0..1.0_f64, 0..12), require: bool) {
        let false_nts = false_nts.min(nts - majority(nts));
        let authenticated = if require { Authenticated::Require } else { Authenticated::Prefer };
        let honest = (0..nts - false_nts).map(|number| 0.0001 * f64::from(u8::try_from(number).unwrap()));
        let offsets = std::iter::repeat_n(LIE, false_nts).chain(honest).chain(lies.iter().copied());
        let decided = decide(&mut with_nts(policy(authenticated), nts), 100, &peers(offsets));
        let time = served(&decided);
        // Within what the nearest honest one allows.
        prop_assert!(time.is_none_or(|time| time.abs() < 0.02), "{:?} {:?}", time, lies);
        prop_assert!(!require || time.is_some());
    }
}
