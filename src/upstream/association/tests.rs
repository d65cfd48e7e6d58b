//! Pure. Tests of an association, question by question.

use super::*;
use crate::time::{NtpDuration, NtpTimestamp};
use crate::upstream::Role;
use crate::upstream::interleaved::InterleavedQuestions;

fn association(iburst: bool, on_this_host: bool) -> Association {
    let mut association = Association::new(PollerSettings {
        upstream: Upstream {
            host: Host::Name("time.example".to_owned()),
            port: 123,
            iburst,
            minpoll: 4,
            maxpoll: 6,
            role: Role::default(),
            interleaved: InterleavedQuestions::Auto,
            pooling: crate::upstream::Pooling::One,
            key: None,
            nts: None,
        },
        policy: ClockPolicy::default(),
        view: View::default(),
        listeners: Arc::from([([0, 0, 0, 0], 123).into()]),
        reloads: 0,
        refreshes: 0,
        key_rules: crate::upstream::nts::key_state::KeyRules {
            certificate_time: crate::upstream::nts::certificate::CertificateTime::AgreeFirst,
            refresh: Duration::from_secs(28 * 86_400),
        },
        vouched: None,
        cast_out: None,
        resample_requests: 0,
    });
    association.found(&[address(1)], &[]);
    association.set_address(address(1), &[]);
    association.addresses.answered(address(1));
    association.peer.on_this_host = on_this_host;
    association
}

fn address(number: u8) -> SocketAddr {
    ([192, 0, 2, number], 123).into()
}

fn at(second: u64) -> Duration {
    Duration::from_secs(second)
}

/// Processes a DENY kiss from the address that was polled.
fn denied(association: &mut Association, from: SocketAddr, now: u64) {
    let header = Header {
        mode: crate::wire::Mode::Server,
        stratum: 0,
        reference_id: ReferenceId::from_bytes(*b"DENY"),
        ..Header::request(NtpTimestamp::ZERO)
    };
    let exchange = Exchange {
        nonce: NtpTimestamp::ZERO,
        sent: at(now),
        arrived: at(now),
    };
    let moment = crate::time::ClockReadings {
        realtime: NtpTimestamp::ZERO,
        raw: at(now),
        boot: at(now),
    };
    association.answered(from, &[]);
    let answered = association.process_answer(header, &exchange, &Timescale::new(moment), -20, &[]);
    assert_eq!(answered, Err(Reject::KissDeny));
}

/// Runs one round in which each address behaves as `answer` says; returns the addresses that were polled.
fn round(
    association: &mut Association,
    now: u64,
    mut answer: impl FnMut(&mut Association, SocketAddr),
) -> Vec<SocketAddr> {
    let mut asked = Vec::new();
    association.begin();
    loop {
        match association.next(at(now)) {
            Next::Resolve => association.not_found(QueryFault::Unresolved),
            Next::Ask(address, _) => {
                asked.push(address);
                answer(association, address);
            }
            Next::End => break,
        }
    }
    association.end(at(now));
    asked
}

fn no_route(association: &mut Association, address: SocketAddr) {
    association.fault(address, QueryFault::NoRoute, false, &[]);
}

fn sample(at: u64) -> Sample {
    let nothing = NtpDuration::ZERO;
    Sample {
        offset: nothing,
        delay: nothing,
        network_delay: nothing,
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

fn change_settings(association: &mut Association, change: impl FnOnce(&mut PollerSettings)) {
    let mut settings = association.settings.clone();
    change(&mut settings);
    association.apply(&settings);
}

fn pause(association: &Association) -> u64 {
    association.pause(0).as_secs()
}

//= RFC 5905 §13.2 burst-interval
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
            pause(&association)
        });
        assert_eq!(pauses, expected);
    }
}

//= RFC 5905 §13 always
#[test]
fn silence_is_asked_less_and_less_until_it_ends() {
    let mut association = association(true, false);
    let pauses: Vec<u64> = (0..14)
        .map(|_| {
            association.asked();
            pause(&association)
        })
        .collect();
    assert_eq!(pauses, [2, 2, 2, 32, 32, 32, 32, 64, 64, 64, 64, 64, 64, 64]);
    assert!(association.is_silent());
    answered(&mut association);
    assert_eq!(
        (0..4)
            .map(|_| {
                association.asked();
                pause(&association)
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
    // One question at once shows whether it was one.
    assert_eq!(pause(&association), 2);
    answered_with(&mut association, stepped);
    assert_eq!(association.peer().filter.len(), 2);
    assert_eq!(pause(&association), 16);
}

#[test]
fn a_new_configuration_keeps_what_is_known() {
    let mut association = association(true, false);
    (0..100).for_each(|_| answered(&mut association));
    assert_eq!(pause(&association), 64);
    change_settings(&mut association, |settings| settings.upstream.maxpoll = 5);
    assert_eq!(pause(&association), 32);
    change_settings(&mut association, |settings| {
        (settings.upstream.minpoll, settings.upstream.maxpoll) = (7, 10)
    });
    assert_eq!(pause(&association), 128);
    assert_eq!(
        (association.peer().reach, association.peer().accepted),
        (0xff, 100)
    );
    change_settings(&mut association, |settings| settings.upstream.iburst = false);
    assert_eq!(pause(&association), 128);
}

//= RFC 5905 §7.4 rate
#[test]
fn an_order_to_ask_less_holds_whatever_is_configured_or_happens() {
    let mut association = association(true, false);
    (0..4).for_each(|_| answered(&mut association));
    (0..4).for_each(|_| association.refuse(Reject::KissRate));
    assert_eq!(pause(&association), 256);
    change_settings(&mut association, |settings| {
        settings.upstream.maxpoll = 4;
        settings.reloads += 1;
        settings.resample_requests += 1;
    });
    assert_eq!(pause(&association), 256);
    answered(&mut association);
    assert_eq!(pause(&association), 256);
    change_settings(&mut association, |settings| {
        (settings.upstream.minpoll, settings.upstream.maxpoll) = (9, 9)
    });
    assert_eq!(pause(&association), 512);
}

#[test]
fn who_refused_us_is_asked_again_after_hours_or_a_reload() {
    const HOUR: u64 = 3600;
    let mut association = association(true, false);
    answered(&mut association);
    let asked = round(&mut association, 100, |one, from| denied(one, from, 100));
    assert_eq!(asked, [address(1)]);
    assert!(association.peer().stopped && association.peer().known(&View::default()).is_none());
    assert_eq!(pause(&association), HOUR);
    change_settings(&mut association, |settings| settings.resample_requests += 1);
    assert_eq!(pause(&association), HOUR);
    // Not before, however often the poller is woken.
    assert_eq!(round(&mut association, 200, no_route), []);
    assert_eq!(pause(&association), HOUR - 100);
    round(&mut association, 100 + HOUR, |one, from| {
        denied(one, from, 100 + HOUR)
    });
    assert_eq!(pause(&association), 2 * HOUR);
    change_settings(&mut association, |settings| settings.reloads += 1);
    assert_eq!(pause(&association), 2);
    round(&mut association, 9000, |one, from| denied(one, from, 9000));
    assert_eq!(pause(&association), HOUR);
    round(&mut association, 9000 + HOUR, |one, from| {
        one.answered(from, &[]);
        one.accept(Header::request(NtpTimestamp::ZERO), sample(1));
        one.addresses.answered(from);
    });
    assert!(!association.peer().stopped && association.peer().known(&View::default()).is_some());
}

#[test]
fn one_address_that_refuses_us_is_left_for_another_at_once() {
    let mut association = association(true, false);
    association.found(&[address(1), address(2)], &[]);
    answered(&mut association);
    let asked = round(&mut association, 100, |one, from| {
        if from == address(1) {
            denied(one, from, 100);
        } else {
            one.answered(from, &[]);
            one.addresses.answered(from);
            one.accept(Header::request(NtpTimestamp::ZERO), sample(1));
        }
    });
    assert_eq!(asked, [address(1), address(2)]);
    let peer = association.peer();
    assert_eq!(
        (peer.address, peer.stopped, peer.reach),
        (Some(address(2)), false, 1)
    );
    assert_eq!(pause(&association), 2);
}

#[test]
fn what_could_not_be_asked_is_no_silence() {
    let mut association = association(true, false);
    for (n, expected) in [1, 2, 4, 8, 8, 8].into_iter().enumerate() {
        round(&mut association, n as u64, no_route);
        assert_eq!(pause(&association), expected);
    }
    assert_eq!(association.peer().fault, Some(QueryFault::NoRoute));
    assert!(association.waits_for_changes());
    // The burst is as it was.
    let pauses = [(); 4].map(|()| {
        answered(&mut association);
        pause(&association)
    });
    assert_eq!(pauses, [2, 2, 2, 4]);
    assert!(association.peer().fault.is_none() && !association.waits_for_changes());
}

#[test]
fn a_long_time_without_a_way_is_a_long_silence_and_then_a_new_start() {
    let mut association = association(true, false);
    (0..100).for_each(|_| answered(&mut association));
    assert_eq!(association.peer().reach, 0xff);
    let lost = (0..)
        .step_by(8)
        .find(|second| {
            round(&mut association, 1000 + second, no_route);
            association.peer().reach == 0
        })
        .unwrap();
    // The state stays for as long as eight unanswered questions take at the poll interval of 64 s.
    assert_eq!((lost, association.peer().accepted), (7 * 64, 100));
    let pauses = [(); 3].map(|()| {
        answered(&mut association);
        pause(&association)
    });
    assert_eq!(pauses, [2, 2, 2]);
    assert_eq!(association.peer().accepted, 103);
}

#[test]
fn a_port_without_a_server_is_polled_soon_again_and_then_less_and_less() {
    let mut association = association(true, false);
    let pauses = [(); 8].map(|()| {
        round(&mut association, 0, |one, to| {
            one.fault(to, QueryFault::NotListening, true, &[]);
        });
        pause(&association)
    });
    assert_eq!(pauses, [2, 4, 8, 16, 32, 32, 32, 64]);
    assert_eq!(association.peer().reach, 0);
    assert!(!association.waits_for_changes());
}

#[test]
fn of_two_addresses_the_one_with_a_way_is_asked_in_the_same_round() {
    let mut association = association(true, false);
    association.found(&[address(1), address(2)], &[]);
    let asked = round(&mut association, 0, |one, to| {
        if to == address(1) {
            no_route(one, to);
        } else {
            one.silent(to, &[]);
        }
    });
    assert_eq!(asked, [address(1), address(2)]);
    // An address was polled, and did not answer.
    assert_eq!((association.peer().fault, pause(&association)), (None, 2));
}

#[test]
fn a_name_can_not_put_an_upstream_on_this_host_and_an_address_can() {
    let own = ["127.0.0.1", "192.0.2.1"].map(|ip| ip.parse().unwrap());
    for (host, found, expected) in [
        ("time.example", "127.0.0.1:11123", (None, false)),
        ("time.example", "192.0.2.1:123", (None, false)),
        (
            "time.example",
            "192.0.2.1:11123",
            (Some("192.0.2.1:11123"), false),
        ),
        ("localhost", "127.0.0.1:11123", (Some("127.0.0.1:11123"), true)),
        ("192.0.2.1", "192.0.2.1:11123", (Some("192.0.2.1:11123"), true)),
        ("192.0.2.2", "192.0.2.2:11123", (Some("192.0.2.2:11123"), false)),
    ] {
        let mut settings = association(true, false).settings.clone();
        settings.upstream.host = host
            .parse()
            .map_or_else(|_| Host::Name(host.to_owned()), Host::Address);
        let mut association = Association::new(settings);
        association.begin();
        assert_eq!(association.next(at(0)), Next::Resolve);
        association.found(&[found.parse().unwrap()], &own);
        while let Next::Ask(address, _) = association.next(at(0)) {
            association.answered(address, &own);
        }
        association.end(at(0));
        let peer = association.peer();
        let expected = (expected.0.map(|text| text.parse().unwrap()), expected.1);
        assert_eq!((peer.address, peer.on_this_host), expected, "{host} {found}");
        assert_eq!(peer.fault.is_some(), peer.address.is_none());
    }
}

#[test]
fn ourselves_are_a_loop_also_when_the_address_came_to_us_later() {
    let mut association = association(true, false);
    (0..8).for_each(|_| answered(&mut association));
    let own = [address(1).ip()];
    let asked = round(&mut association, 0, |one, to| {
        let fault = one.address_fault(to, &own).unwrap();
        one.fault(to, fault, false, &own);
    });
    assert_eq!(asked, [address(1)]);
    let peer = association.peer();
    assert_eq!(
        (peer.fault, peer.refused),
        (Some(QueryFault::OwnListener), Some(Reject::Loop))
    );
    assert!(peer.known(&View::default()).is_none());
}

#[test]
fn new_samples_are_asked_for_at_once_when_they_are_needed() {
    for (iburst, expected) in [
        (true, [2, 2, 2, 2, 4, 8, 16]),
        (false, [2, 16, 16, 16, 16, 16, 16]),
    ] {
        let mut association = association(iburst, false);
        (0..100).for_each(|_| answered(&mut association));
        assert_eq!(pause(&association), 64);
        change_settings(&mut association, |settings| settings.resample_requests += 1);
        let pauses = [(); 7].map(|()| {
            let pause = pause(&association);
            answered(&mut association);
            pause
        });
        assert_eq!(pauses, expected);
    }
}

//= RFC 5905 §9.2 reach
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

//= RFC 5905 §7.2 maxpoll
//= RFC 5905 §7.4 rate
#[test]
fn rate_slows_down_for_good() {
    let mut association = association(true, false);
    association.asked();
    association.refuse(Reject::KissRate);
    assert_eq!(pause(&association), 32);
    answered(&mut association);
    assert_eq!(pause(&association), 32);
    // Beyond the configured maximum: a RATE kiss is obeyed anyway.
    (0..2).for_each(|_| association.refuse(Reject::KissRate));
    assert_eq!(pause(&association), 128);
    (0..100).for_each(|_| association.refuse(Reject::KissRate));
    assert_eq!(pause(&association), 1 << 17);
    assert_eq!(association.rejected(Reject::KissRate), 103);
}

#[test]
fn what_anybody_could_have_sent_changes_no_belief() {
    let mut association = association(true, false);
    answered(&mut association);
    for reject in Reject::all() {
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
    association.set_address(address(1), &[]);
    assert_eq!(association.peer().reach, 1);
    association.set_address(address(2), &[]);
    assert_eq!(association.peer().reach, 0);
    assert!(association.peer().answer.is_none());
}

#[test]
fn questions_are_spread() {
    let mut association = association(false, false);
    association.asked();
    let longest = association.pause(u64::MAX);
    assert!(
        longest > Duration::from_millis(17_900) && longest <= Duration::from_secs(18),
        "{longest:?}"
    );
}

#[test]
fn a_refresh_polls_at_once_unless_the_server_asked_for_less() {
    let refresh = |association: &mut Association| {
        let mut settings = association.settings().clone();
        settings.refreshes += 1;
        association.apply(&settings);
    };
    let mut good = association(false, false);
    assert!(good.pause(0) > Duration::ZERO);
    refresh(&mut good);
    assert_eq!(
        (good.pause(0), good.pause(1023)),
        (Duration::ZERO, Duration::ZERO)
    );
    good.begin();
    assert_eq!(good.next(at(0)), Next::Resolve);
    assert!(good.pause(0) > Duration::ZERO, "one poll for a refresh");
    // The same settings again are no refresh.
    good.found(&[address(1)], &[]);
    let settings = good.settings().clone();
    good.apply(&settings);
    assert!(good.pause(0) > Duration::ZERO);

    let mut limited = association(false, false);
    limited.refuse(Reject::KissRate);
    let before = limited.pause(0);
    refresh(&mut limited);
    assert_eq!(limited.pause(0), before);

    let mut denying = association(false, false);
    denying.begin();
    denied(&mut denying, address(1), 0);
    denying.end(at(0));
    let before = denying.pause(0);
    assert!(before >= Duration::from_secs(3600));
    refresh(&mut denying);
    assert_eq!(denying.pause(0), before);
}
