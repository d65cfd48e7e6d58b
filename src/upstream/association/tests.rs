//! Pure. One upstream question by question.

use super::*;
use crate::upstream::Role;
use crate::upstream::system::{OnDispute, Source};
use crate::wire::{NtpDuration, NtpTimestamp};

const POLICY: ClockPolicy = ClockPolicy {
    source: Source::Tracked,
    min_sources: 1,
    max_distance: NtpDuration::SECOND,
    max_jitter: 1.0,
    on_dispute: OnDispute::Unsynchronized,
    local: None,
};

fn association(iburst: bool, on_this_host: bool) -> Association {
    let mut association = Association::new(Orders {
        upstream: Upstream {
            host: Host::Name("time.example".to_owned()),
            port: 123,
            iburst,
            minpoll: 4,
            maxpoll: 6,
            role: Role::default(),
        },
        policy: POLICY,
        view: View::default(),
        reloads: 0,
        wakes: 0,
    });
    association.follow("192.0.2.1:123".parse().unwrap(), on_this_host);
    association
}

fn sample(at: u64) -> Sample {
    let nothing = NtpDuration::ZERO;
    Sample {
        offset: nothing,
        delay: nothing,
        dispersion: nothing,
        at: Duration::from_secs(at),
    }
}

fn answered(association: &mut Association) {
    answered_with(association, NtpDuration::ZERO);
}

fn answered_with(association: &mut Association, offset: NtpDuration) {
    association.asked();
    let at = association.peer().accepted + 1;
    association.accept(
        Header::request(NtpTimestamp::ZERO),
        Sample { offset, ..sample(at) },
    );
}

fn told(association: &mut Association, change: impl FnOnce(&mut Orders)) {
    let mut orders = association.orders.clone();
    change(&mut orders);
    association.obey(&orders);
}

fn pause(association: &Association) -> Option<u64> {
    association.pause(0).map(|pause| pause.as_secs())
}

#[test]
fn a_burst_then_the_poll_interval() {
    for (iburst, on_this_host, expected) in [
        (true, false, [2, 2, 2, 4, 8, 16, 16]),
        (true, true, [1, 1, 1, 2, 4, 8, 16]),
        (false, false, [16; 7]),
    ] {
        let mut association = association(iburst, on_this_host);
        let pauses = [(); 7].map(|()| {
            answered(&mut association);
            pause(&association).unwrap()
        });
        assert_eq!(pauses, expected);
    }
}

#[test]
fn silence_is_asked_less_and_less_until_it_ends() {
    let mut association = association(true, false);
    let pauses: Vec<u64> = (0..14)
        .map(|_| {
            association.asked();
            pause(&association).unwrap()
        })
        .collect();
    assert_eq!(pauses, [2, 2, 2, 32, 32, 32, 32, 64, 64, 64, 64, 64, 64, 64]);
    assert!(association.is_silent());
    answered(&mut association);
    assert_eq!(
        (0..4)
            .map(|_| {
                association.asked();
                pause(&association).unwrap()
            })
            .collect::<Vec<_>>(),
        [2, 2, 16, 32]
    );
}

#[test]
fn a_step_of_the_upstream_is_no_reason_to_ask_more_often_than_minpoll() {
    let mut association = association(true, false);
    (0..20).for_each(|_| answered(&mut association));
    let stepped = NtpDuration::SECOND;
    answered_with(&mut association, stepped);
    // One question at once tells whether it was one.
    assert_eq!(pause(&association), Some(2));
    answered_with(&mut association, stepped);
    assert_eq!(association.peer().filter.len(), 2);
    assert_eq!(pause(&association), Some(16));
}

#[test]
fn a_new_configuration_keeps_what_is_known() {
    let mut association = association(true, false);
    (0..100).for_each(|_| answered(&mut association));
    assert_eq!(pause(&association), Some(64));
    told(&mut association, |orders| orders.upstream.maxpoll = 5);
    assert_eq!(pause(&association), Some(32));
    told(&mut association, |orders| {
        (orders.upstream.minpoll, orders.upstream.maxpoll) = (7, 10)
    });
    assert_eq!(pause(&association), Some(128));
    assert_eq!(
        (association.peer().reach, association.peer().accepted),
        (0xff, 100)
    );
    told(&mut association, |orders| orders.upstream.iburst = false);
    assert_eq!(pause(&association), Some(128));
}

#[test]
fn an_order_to_ask_less_holds_whatever_is_configured_or_happens() {
    let mut association = association(true, false);
    (0..4).for_each(|_| answered(&mut association));
    (0..4).for_each(|_| association.refuse(Reject::KissRate));
    assert_eq!(pause(&association), Some(256));
    told(&mut association, |orders| {
        orders.upstream.maxpoll = 4;
        orders.reloads += 1;
        orders.wakes += 1;
    });
    assert_eq!(pause(&association), Some(256));
    answered(&mut association);
    assert_eq!(pause(&association), Some(256));
    told(&mut association, |orders| {
        (orders.upstream.minpoll, orders.upstream.maxpoll) = (9, 9)
    });
    assert_eq!(pause(&association), Some(512));
}

#[test]
fn who_refused_us_is_asked_again_after_a_reload() {
    let mut association = association(true, false);
    answered(&mut association);
    association.refuse(Reject::KissDeny);
    told(&mut association, |orders| orders.wakes += 1);
    assert_eq!(pause(&association), None);
    told(&mut association, |orders| orders.reloads += 1);
    assert_eq!(pause(&association), Some(2));
    association.asked();
    association.refuse(Reject::KissDeny);
    assert_eq!(pause(&association), None);
}

#[test]
fn new_samples_are_asked_for_at_once_when_they_are_needed() {
    for (iburst, expected) in [
        (true, [2, 2, 2, 2, 4, 8, 16]),
        (false, [2, 16, 16, 16, 16, 16, 16]),
    ] {
        let mut association = association(iburst, false);
        (0..100).for_each(|_| answered(&mut association));
        assert_eq!(pause(&association), Some(64));
        told(&mut association, |orders| orders.wakes += 1);
        let pauses = [(); 7].map(|()| {
            let pause = pause(&association).unwrap();
            answered(&mut association);
            pause
        });
        assert_eq!(pauses, expected);
    }
}

#[test]
fn reach_has_a_bit_for_each_of_eight_questions() {
    let mut association = association(false, false);
    answered(&mut association);
    association.asked();
    answered(&mut association);
    assert_eq!(association.peer().reach, 0b101);
    assert!(association.peer().known(&View::default()).is_some());
    (0..8).for_each(|_| association.asked());
    assert_eq!(association.peer().reach, 0);
    assert!(association.peer().known(&View::default()).is_none());
}

#[test]
fn rate_slows_down_for_good_and_deny_stops() {
    let mut association = association(true, false);
    association.asked();
    association.refuse(Reject::KissRate);
    assert_eq!(pause(&association), Some(32));
    answered(&mut association);
    assert_eq!(pause(&association), Some(32));
    // Past the configured maximum: an order is an order.
    (0..2).for_each(|_| association.refuse(Reject::KissRate));
    assert_eq!(pause(&association), Some(128));
    (0..100).for_each(|_| association.refuse(Reject::KissRate));
    assert_eq!(pause(&association), Some(1 << 17));
    association.refuse(Reject::KissDeny);
    assert_eq!(pause(&association), None);
    assert!(association.peer().known(&View::default()).is_none());
    assert_eq!(
        (
            association.rejected(Reject::KissRate),
            association.rejected(Reject::KissDeny)
        ),
        (103, 1)
    );
}

#[test]
fn what_anybody_could_have_sent_changes_no_belief() {
    let mut association = association(true, false);
    answered(&mut association);
    for reject in Reject::ALL {
        let before = association.peer().answer.is_some();
        association.refuse(reject);
        let ends_belief = matches!(
            reject,
            Reject::KissDeny | Reject::Unsynchronized | Reject::Loop | Reject::Distance
        );
        assert_eq!(
            association.peer().answer.is_some(),
            before && !ends_belief,
            "{reject:?}"
        );
        association.peer.answer = Some(Header::request(NtpTimestamp::ZERO));
    }
}

#[test]
fn another_address_starts_anew() {
    let mut association = association(true, false);
    answered(&mut association);
    association.follow("192.0.2.1:123".parse().unwrap(), false);
    assert_eq!(association.peer().reach, 1);
    association.follow("192.0.2.2:123".parse().unwrap(), false);
    assert_eq!(association.peer().reach, 0);
    assert!(association.peer().answer.is_none());
}

#[test]
fn questions_are_spread() {
    let mut association = association(false, false);
    association.asked();
    let longest = association.pause(u64::MAX).unwrap();
    assert!(
        longest > Duration::from_millis(17_900) && longest <= Duration::from_secs(18),
        "{longest:?}"
    );
}
