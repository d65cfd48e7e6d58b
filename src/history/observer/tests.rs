//! Pure. Tests of the observer.

use super::*;
use crate::observe::snapshot;
use crate::server::{Counters, Verdict};
use crate::time::NtpDuration;
use crate::upstream::candidate::SelectionStatus;
use crate::upstream::interleaved::InterleavedQuestions;
use crate::upstream::packet::Sample;
use crate::upstream::peer::Polling;
use crate::upstream::registry::Registry;
use crate::upstream::system_process::State;
use crate::upstream::{Host, Role, Upstream};
use std::time::Duration;

fn words(notes: &[Note<'_>]) -> Vec<String> {
    let word = |note: &Note<'_>| match note {
        Note::Change(change) => format!(
            "{} {} {} -> {} ({})",
            change.what,
            change.name.as_deref().unwrap_or("-"),
            change.from.as_deref().unwrap_or("-"),
            change.to.as_deref().unwrap_or("-"),
            change.reason.as_deref().unwrap_or("-")
        ),
        Note::Standing(standing) => format!("{} is {}", standing.upstream, standing.standing),
        Note::File(_)
        | Note::Start(_)
        | Note::Stop
        | Note::Served(_)
        | Note::Sample(_)
        | Note::Gap(_)
        | Note::End(_) => panic!("{note:?}"),
    };
    notes.iter().map(word).collect()
}

#[test]
fn each_change_is_told_once() {
    let mut seen = snapshot::example();
    let mut observer = HistoryObserver::default();
    let first = observer.changes(&seen.clock_status, &seen.upstreams);
    let expected = [
        "state - - -> synchronized (-)",
        "time.example:123 is system-peer",
        "[2001:db8::1]:123 is refused",
    ];
    assert_eq!(words(&first), expected);
    assert_eq!(observer.changes(&seen.clock_status, &seen.upstreams), []);
    seen.clock_status.state = State::Disputed;
    seen.clock_status.state_reason = Some("2 of 3".to_owned());
    seen.upstreams[0].standing = SelectionStatus::Falseticker;
    seen.upstreams.pop();
    let expected = [
        "state - synchronized -> disputed (2 of 3)",
        "standing time.example:123 system-peer -> falseticker (-)",
        "standing [2001:db8::1]:123 refused -> - (removed)",
    ];
    assert_eq!(
        words(&observer.changes(&seen.clock_status, &seen.upstreams)),
        expected
    );
    seen.clock_status.state_reason = Some("1 of 3".to_owned());
    assert_eq!(observer.changes(&seen.clock_status, &seen.upstreams), []);
}

#[test]
fn listeners_that_are_not_served_are_told() {
    let mut seen = snapshot::example();
    let mut observer = HistoryObserver::default();
    assert_eq!(observer.listeners(&seen.listeners).len(), 3);
    assert_eq!(observer.listeners(&seen.listeners), []);
    seen.listeners[2].serving = true;
    seen.listeners[2].fault = None;
    seen.listeners.remove(0);
    let expected = [
        "listener 192.0.2.7:123 not-serving -> serving (-)",
        "listener 0.0.0.0:123 serving -> - (-)",
    ];
    assert_eq!(words(&observer.listeners(&seen.listeners)), expected);
}

#[test]
fn counts_are_those_since_the_last_record() {
    let seen = snapshot::example();
    let mut observer = HistoryObserver::default();
    let counters = Counters::default();
    let served = |observer: &mut HistoryObserver, answered, refused| {
        (0..answered).for_each(|_| counters.count(&[0x23; 48], Verdict::AnsweredClient));
        (0..refused).for_each(|_| counters.count(&[0x23; 8], Verdict::RefusedTooShort));
        let traffic = Traffic {
            per_second: 0.0,
            queue_dropped: 2,
            counts: counters.snapshot(),
        };
        observer.served(&seen.clock_status, ServedClock::default(), &traffic)
    };
    let first = served(&mut observer, 3, 1);
    assert_eq!((first.answered, first.refused, first.lost), (3, 1, 2));
    let next = served(&mut observer, 5, 0);
    assert_eq!((next.answered, next.refused, next.lost), (5, 0, 0));
    assert_eq!(
        (&*next.state, next.bound, next.stratum),
        ("synchronized", Some(0.000_75), 3)
    );
    // Counters that went back, as those of a listener that was removed.
    let none = observer.served(&seen.clock_status, ServedClock::default(), &Traffic::default());
    assert_eq!((none.answered, none.refused, none.lost), (0, 0, 0));
}

fn registry() -> Registry {
    Registry::new(&[Upstream {
        host: Host::Name("time1.example".to_owned()),
        port: 123,
        iburst: true,
        minpoll: 6,
        maxpoll: 10,
        role: Role::default(),
        nts: None,
        key: None,
        interleaved: InterleavedQuestions::Auto,
        pooling: crate::upstream::Pooling::One,
    }])
}

#[test]
fn a_report_brings_a_sample_a_refusal_or_nothing() {
    let registry = registry();
    let before = registry.iter().next().unwrap();
    let report = |peer, polling| PollerReport {
        id: before.id,
        peer,
        polling,
    };
    let served = NtpDuration::from_seconds(0.25);
    assert_eq!(
        sample(before, &report(Peer::default(), Polling::default()), served),
        None
    );
    let mut peer = Peer {
        accepted: 1,
        ..Peer::default()
    };
    peer.filter.add(Sample {
        offset: NtpDuration::from_seconds(0.5),
        delay: NtpDuration::from_seconds(0.001),
        network_delay: NtpDuration::from_seconds(0.001),
        dispersion: NtpDuration::from_seconds(1e-6),
        at: Duration::from_secs(5),
    });
    let note = sample(before, &report(peer, Polling::default()), served).unwrap();
    assert_eq!(
        (note.upstream.as_str(), note.offset, note.delay),
        ("time1.example:123", Some(0.25), Some(0.001))
    );
    assert_eq!(note.refused, None);
    let mut polling = Polling::default();
    polling.rejected[Reject::KissRate.index()] = 1;
    let note = sample(before, &report(Peer::default(), polling), served).unwrap();
    assert_eq!((note.refused.as_deref(), note.offset), (Some("kiss-rate"), None));
}
