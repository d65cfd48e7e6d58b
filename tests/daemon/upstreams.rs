//! Proves what is announced while the upstreams are there, absent, silent, wrong or lying.
//!
//! Every scenario is watched by a client that asks each 20 ms and checks each reply (`common/watch.rs`): at no
//! moment leap 0 with stratum 0, or a time without a source.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use ntpfront::time::{NtpDuration, NtpShort, NtpTimestamp};
use ntpfront::wire::{HEADER_LEN, Header, Leap, ReferenceId};

use crate::common::client::{ahead as reply_ahead, distance, header, letters, seconds, v4};
use crate::common::daemon::Daemon;
use crate::common::front::Front;
use crate::common::neighbor::{Neighbor, device_number};
use crate::common::network::{in_own_network, ip};
use crate::common::port::free_port;
use crate::common::scripted::{
    Ask, GOOD_ID, GOOD_STRATUM, Reply, Scripted, ahead, but, good, honest, kiss, silent,
};
use crate::common::watch::Watch;
use crate::common::{SOON, now, wait_until};

#[test]
fn a_daemon_on_this_host_is_mirrored() {
    let upstream = Scripted::start(but(|reply| reply.root_dispersion = NtpShort::from_bits(655)));
    let front = Front::of(&[upstream.address()]);
    let reply = front.becomes_synchronized();
    assert_eq!(reply.stratum, GOOD_STRATUM);
    assert_eq!(reply.reference_id.to_bytes(), GOOD_ID);
    assert!(seconds(reply.root_dispersion) >= 0.00999, "{reply:?}");
    assert!(seconds(reply.root_dispersion) < 0.2, "{reply:?}");
    assert!(reply_ahead(&reply).abs() < 5.0);
}

#[test]
fn an_upstream_that_is_not_there_at_start_and_then_is() {
    let address = v4(free_port());
    let front = Front::of(&[address]);
    let seen = front.watch.during(Duration::from_secs(3));
    assert!(!seen.is_empty());
    assert!(seen.iter().all(|reply| letters(reply) == "INIT"), "{seen:?}");
    front.was_never_synchronized();
    let _upstream = Scripted::at(address, honest);
    front.becomes_synchronized();
}

#[test]
fn a_silent_upstream_that_begins_to_speak() {
    let upstream = Scripted::start(silent);
    let front = Front::of(&[upstream.address()]);
    wait_until("three questions", SOON, || (upstream.asked() >= 3).then_some(()));
    front.was_never_synchronized();
    upstream.turn_to(honest);
    front.becomes_synchronized();
}

//= RFC 5905 §7.2 version
#[test]
fn what_is_asked_tells_nothing_and_comes_from_a_new_port_each_time() {
    let (asked, asks) = channel();
    let upstream = Scripted::start(move |ask| {
        let reply = good(ask);
        let received = reply.receive_timestamp;
        let _ = asked.send((ask.length, ask.header, ask.from.port(), Instant::now(), received));
        vec![reply.into()]
    });
    let _front = Front::of(&[upstream.address()]);
    let asks: Vec<_> = (0..6)
        .map(|_| asks.recv_timeout(SOON).expect("it is asked"))
        .collect();
    // In interleaved mode, the receive timestamp of the last reply is echoed.
    let mut last = NtpTimestamp::ZERO;
    for (length, header, .., received) in &asks {
        assert_eq!(*length, HEADER_LEN);
        let expected = Header {
            poll: header.poll,
            origin_timestamp: last,
            receive_timestamp: header.receive_timestamp,
            ..Header::request(header.transmit_timestamp)
        };
        assert_eq!(*header, expected);
        assert_eq!(header.receive_timestamp.is_zero(), last.is_zero());
        for nonce in [header.receive_timestamp, header.transmit_timestamp] {
            let clock = now() - nonce;
            assert!(clock.abs().to_seconds() > 60.0, "the nonce looks like the clock");
        }
        last = *received;
    }
    let ports: BTreeSet<_> = asks.iter().map(|ask| ask.2).collect();
    let nonces: BTreeSet<_> = asks
        .iter()
        .flat_map(|ask| [ask.1.transmit_timestamp, ask.1.receive_timestamp])
        .map(NtpTimestamp::to_bits)
        .collect();
    assert!(ports.len() >= 5, "{ports:?}");
    // The first question has one.
    assert_eq!(nonces.len(), 2 * asks.len());
    let took = asks[5].3 - asks[0].3;
    assert!(
        took > Duration::from_secs(4),
        "6 questions in {took:?}, at most one a second"
    );
}

#[test]
fn an_upstream_goes_away_and_comes_back() {
    // At 15 ppm a distance of 0.4 ms is reached within 27 s, whatever it was at the end.
    const LIMIT: f64 = 0.000_4;
    let upstream = Scripted::start(honest_and_exact);
    let address = upstream.address();
    let front = Front::with(&[address], &format!("max-distance = {LIMIT}"));
    front.becomes_synchronized();
    drop(upstream);
    let gone = Instant::now();
    let lost = front.watch.wait_for("an honest end", SOON * 3, |reply| {
        reply.leap == Leap::Unsynchronized
    });
    let after = gone.elapsed();
    assert!(after < Duration::from_secs(27 + 10), "{after:?}");
    assert_eq!(lost.stratum, 0);
    assert!(!["INIT"].contains(&letters(&lost).as_str()), "{lost:?}");
    let usable: Vec<_> = front
        .watch
        .seen()
        .into_iter()
        .filter(|reply| reply.leap == Leap::NoWarning)
        .collect();
    let longest = usable.iter().map(distance).fold(0.0, f64::max);
    // One unit of the short format is 15 µs, and both fields are rounded up to it.
    assert!(longest <= LIMIT + 0.000_031, "{longest}");
    let _upstream = Scripted::at(address, honest_and_exact);
    front.watch.wait_for("it comes back", SOON, |reply| {
        reply.leap == Leap::NoWarning && reply.reference_id.to_bytes() == GOOD_ID
    });
    println!("announced for {after:?} after the end");
}

/// An honest server that says it has no error at all, so that only our own is announced.
fn honest_and_exact(ask: &Ask) -> Vec<Reply> {
    let mut reply = good(ask);
    reply.precision = -30;
    reply.root_delay = NtpShort::ZERO;
    reply.root_dispersion = NtpShort::ZERO;
    vec![reply.into()]
}

#[test]
fn dispersion_grows_while_the_upstream_is_silent() {
    let upstream = Scripted::start(honest);
    let front = Front::of(&[upstream.address()]);
    front.becomes_synchronized();
    upstream.turn_to(silent);
    // The last answer may still be on its way, and what it corrects is slewed for 4 s or more: meanwhile the error shrinks.
    front.watch.during(Duration::from_secs(10));
    let seen = front.watch.during(Duration::from_secs(12));
    let usable: Vec<_> = seen
        .iter()
        .filter(|reply| reply.leap == Leap::NoWarning)
        .collect();
    let (first, last) = (usable[0], usable[usable.len() - 1]);
    let passed = (last.transmit_timestamp - first.transmit_timestamp).to_seconds();
    let grown = distance(last) - distance(first);
    assert!(
        grown >= passed * 15e-6 - 0.000_031,
        "{grown} in {passed} s: {first:?} {last:?}"
    );
    // On a busy host the clocks of two readings are up to 0.1 ms apart each, which counts as an error of the reply.
    let apart = NtpDuration::from_seconds(0.000_2);
    for (before, after) in usable.iter().zip(&usable[1..]) {
        assert!(
            before.root_dispersion.to_duration() <= after.root_dispersion.to_duration() + apart,
            "{before:?} {after:?}"
        );
        assert_eq!(before.reference_timestamp, after.reference_timestamp);
    }
}

#[test]
fn two_upstreams_that_disagree_are_never_blended() {
    for (left, right) in [(-5.0, 5.0), (0.0, 5.0), (0.0, -30.0)] {
        let one = Scripted::start(move |ask| vec![ahead(ask, left).into()]);
        let other = Scripted::start(move |ask| vec![ahead(ask, right).into()]);
        let front = Front::of(&[one.address(), other.address()]);
        wait_until("both were asked", SOON, || {
            (one.asked() >= 4 && other.asked() >= 4).then_some(())
        });
        front.was_never_synchronized();
    }
}

#[test]
fn of_three_the_liar_is_left_out() {
    for lie in [-0.7, 5.0, 100_000.0] {
        let liar = Scripted::start(move |ask| {
            let mut reply = ahead(ask, lie);
            reply.stratum = 1;
            reply.reference_id = ReferenceId::from_bytes(*b"LIAR");
            vec![reply.into()]
        });
        let one = Scripted::start(honest);
        let other = Scripted::start(honest);
        let front = Front::with(
            &[liar.address(), one.address(), other.address()],
            "min-sources = 2",
        );
        front.becomes_synchronized();
        for reply in front.watch.during(Duration::from_secs(3)) {
            assert_eq!(reply.leap, Leap::NoWarning);
            assert_eq!(reply.reference_id.to_bytes(), GOOD_ID, "{reply:?}");
            assert_eq!(reply.stratum, GOOD_STRATUM);
        }
        let offset = reply_ahead(&header(front.server));
        assert!(offset.abs() < 0.5, "{offset}");
    }
}

#[test]
fn fewer_than_min_sources_are_not_believed() {
    let one = Scripted::start(honest);
    let other = Scripted::start(silent);
    let front = Front::with(&[one.address(), other.address()], "min-sources = 2");
    wait_until("both were asked", SOON, || {
        (one.asked() >= 4 && other.asked() >= 3).then_some(())
    });
    front.was_never_synchronized();
    other.turn_to(honest);
    front.becomes_synchronized();
}

#[test]
fn a_daemon_that_does_not_keep_this_clock_is_not_mirrored() {
    const OFFSET: f64 = 0.2;
    let upstream = Scripted::start(|ask| vec![ahead(ask, OFFSET).into()]);
    let front = Front::of(&[upstream.address()]);
    let reply = front.becomes_synchronized();
    assert_eq!(reply.stratum, GOOD_STRATUM + 1);
    assert_eq!(reply.reference_id.to_bytes(), [127, 0, 0, 1]);
    assert!(distance(&reply) >= OFFSET - 0.05, "{reply:?}");
}

#[test]
fn a_daemon_whose_clock_is_off_by_more_than_the_limit_is_no_time_at_all() {
    let upstream = Scripted::start(|ask| vec![ahead(ask, 3.0).into()]);
    let front = Front::of(&[upstream.address()]);
    wait_until("it was asked", SOON, || (upstream.asked() >= 4).then_some(()));
    front.was_never_synchronized();
}

/// A server on another host: what is announced is ours.
fn over_a_cable(address: &'static str, refid: ReferenceId) {
    in_own_network(|| {
        let neighbor = Neighbor::plug_in();
        ip("addr add 2001:db8::1/64 dev near nodad");
        let there: SocketAddr = address.parse().unwrap();
        let upstream = neighbor.run(move || {
            ip("addr add 2001:db8::2/64 dev far nodad");
            Scripted::at(
                there,
                but(|reply| {
                    reply.root_delay = NtpShort::from_bits(1 << 12);
                    reply.root_dispersion = NtpShort::from_bits(1 << 13);
                }),
            )
        });
        let front = Front::of(&[upstream.address()]);
        let reply = front.becomes_synchronized();
        assert_eq!(reply.stratum, GOOD_STRATUM + 1);
        assert_eq!(reply.reference_id, refid);
        assert!(reply.root_delay > NtpShort::from_bits(1 << 12), "{reply:?}");
        assert!(reply.root_dispersion > NtpShort::from_bits(1 << 13), "{reply:?}");
        let upstream = neighbor.run(move || {
            drop(upstream);
            Scripted::at(there, kiss(*b"DENY"))
        });
        front.watch.during(Duration::from_secs(5));
        drop(upstream);
    });
}

#[test]
fn an_ipv4_server_on_another_host_adds_a_stratum() {
    let address: IpAddr = "192.0.2.2".parse().unwrap();
    over_a_cable("192.0.2.2:123", ReferenceId::from_address(address));
}

#[test]
fn an_ipv6_server_on_another_host_adds_a_stratum() {
    let address: IpAddr = "2001:db8::2".parse().unwrap();
    over_a_cable("[2001:db8::2]:123", ReferenceId::from_address(address));
}

#[test]
fn a_server_on_the_link_is_asked_by_the_name_of_its_interface_or_its_number() {
    in_own_network(|| {
        let neighbor = Neighbor::plug_in();
        let _upstream = neighbor.run(|| {
            let scope = device_number("far");
            let there = SocketAddrV6::new("fe80::2".parse().unwrap(), 123, 0, scope);
            Scripted::at(there.into(), honest)
        });
        for interface in ["near".to_owned(), device_number("near").to_string()] {
            let server = v4(free_port());
            let _daemon = Daemon::configured(&format!(
                "[[listener]]\naddress = \"{server}\"\n[[upstream]]\naddress = \"[fe80::2%{interface}]:123\"\n"
            ))
            .answering(server);
            Watch::on(server).wait_for("its time", SOON, |reply| {
                reply.leap == Leap::NoWarning && reply.stratum == GOOD_STRATUM + 1
            });
        }
    });
}

//= RFC 5905 §7.3 loop
#[test]
fn a_server_that_follows_us_is_not_followed() {
    in_own_network(|| {
        let neighbor = Neighbor::plug_in();
        let us = ReferenceId::from_bytes([192, 0, 2, 1]);
        let there: SocketAddr = "192.0.2.2:123".parse().unwrap();
        let upstream = neighbor.run(move || Scripted::at(there, but(move |reply| reply.reference_id = us)));
        let front = Front::of(&[upstream.address()]);
        wait_until("it was asked", SOON, || (upstream.asked() >= 2).then_some(()));
        front.watch.during(Duration::from_secs(1));
        front.was_never_synchronized();
    });
}

#[test]
fn a_name_that_does_not_resolve_is_no_reason_to_end() {
    let upstream = Scripted::start(honest);
    let server = v4(free_port());
    let mut daemon = Daemon::configured(&format!(
        "[[listener]]\naddress = \"{server}\"\n\
         [[upstream]]\naddress = \"no-such-name.invalid\"\n\
         [[upstream]]\naddress = \"{}\"\nminpoll = 0\n",
        upstream.address()
    ))
    .answering(server);
    let watch = Watch::on(server);
    watch.wait_for("the other upstream's time", SOON, |reply| {
        reply.leap == Leap::NoWarning
    });
    assert!(daemon.ended().is_none());
}

#[test]
fn without_any_usable_upstream_the_local_reference_stands_in_and_steps_back() {
    let upstream = Scripted::start(silent);
    let server = v4(free_port());
    let _daemon = Daemon::configured(&format!(
        "[local]\nenabled = true\nwait = 3\nstratum = 12\n[[listener]]\naddress = \"{server}\"\n\
         [[upstream]]\naddress = \"{}\"\nminpoll = 0\nmaxpoll = 0\n",
        upstream.address()
    ))
    .answering(server);
    let watch = Watch::on(server);
    let local = watch.wait_for("the local reference", SOON, |reply| reply.leap == Leap::NoWarning);
    assert_eq!(local.stratum, 12);
    assert_eq!(local.reference_id.to_bytes(), [127, 127, 1, 1]);
    upstream.turn_to(honest);
    watch.wait_for("the upstream's time", SOON, |reply| {
        reply.stratum == GOOD_STRATUM && reply.reference_id.to_bytes() == GOOD_ID
    });
}
