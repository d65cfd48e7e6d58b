//! Impure. Listeners with a smear, and with UTC beside them, over real sockets.

use super::*;
use crate::clock::SmearedReference;
use crate::leap::{LeapEvent, LeapKind, Mark, Smear};

impl Desk {
    /// Publishes a time that is `seconds` before midnight, warned of an inserted second, and the same for smears.
    ///
    /// Returns both, with the readings of the host's clocks to which that refers.
    fn publish_before_leap(&self, seconds: f64) -> (Reference, SmearedReference) {
        let now = clock::now();
        let event = LeapEvent {
            midnight: 1_798_761_600,
            kind: LeapKind::Insert,
        };
        let time = event.midnight() - NtpDuration::from_seconds(seconds);
        let utc = Reference {
            leap: Leap::AddSecond,
            reference_time: time - NtpDuration::from_seconds(16.0),
            clock: ClockModel::Tracked {
                epoch: now.raw,
                time,
                rate: 0.0,
                slew: 0.0,
                slew_for: Duration::ZERO,
            },
            ..reference()
        };
        let smeared = SmearedReference::new(utc, event, false);
        self.reference.publish_both(utc, Some(smeared));
        (utc, smeared)
    }
}

/// Returns t2 and t3 of the replies to `count` requests, and the header of one of them.
fn stamps(desk: &mut Desk, count: usize) -> (Vec<(NtpTimestamp, NtpTimestamp)>, Header) {
    let packets: Vec<_> = (0..count).map(|_| desk.header().to_vec()).collect();
    let replies = desk.ask(&packets, true);
    let headers: Vec<_> = replies
        .values()
        .map(|reply| Header::parse(reply).unwrap())
        .collect();
    let stamps = headers
        .iter()
        .map(|header| (header.receive_timestamp, header.transmit_timestamp));
    (stamps.collect(), headers[0])
}

/// Replies one by one and together; six hours before midnight, where the smear is a quarter of a second.
#[test]
fn t2_and_t3_are_smeared_each_at_its_own_instant() {
    let smear = Smear {
        mark: Mark::ReferenceId,
        ..Smear::default()
    };
    for count in [1, 3, 64] {
        let mut desk = Desk::new(
            Policy {
                smear: Some(smear),
                ..policy(None)
            },
            None,
        );
        let (utc, smeared) = desk.publish_before_leap(6.0 * 3600.0);
        let before = utc.clock.served(clock::now());
        let (stamps, header) = stamps(&mut desk, count);
        let after = utc.clock.served(clock::now());
        let time = smeared.time(smear);
        let (earliest, latest) = (time.of(before), time.of(after));
        // The stamp of the kernel and the readings of the clocks are not of one instant; a predicted t3 is ahead.
        let room = NtpDuration::from_seconds(0.001);
        for (t2, t3) in stamps {
            assert!(
                t2 - earliest > -room
                    && t3 - t2 >= NtpDuration::ZERO
                    && latest + room - t3 > NtpDuration::ZERO
            );
        }
        assert!((earliest - before).to_seconds() < -0.24, "it is smeared");
        assert_eq!(
            (header.leap, header.reference_id.to_bytes()[0]),
            (Leap::NoWarning, 254)
        );
        assert_eq!(header.reference_timestamp, time.of(utc.reference_time));
    }
}

#[test]
fn a_listener_with_utc_is_the_same_beside_one_with_a_smear() {
    let mut desk = Desk::new(policy(None), None);
    let (utc, _) = desk.publish_before_leap(6.0 * 3600.0);
    let (_, beside) = stamps(&mut desk, 1);
    desk.reference.publish(utc);
    let before = utc.clock.served(clock::now());
    let (times, alone) = stamps(&mut desk, 1);
    let same = |header: &Header| Header {
        root_dispersion: alone.root_dispersion,
        origin_timestamp: NtpTimestamp::ZERO,
        receive_timestamp: NtpTimestamp::ZERO,
        transmit_timestamp: NtpTimestamp::ZERO,
        ..*header
    };
    assert_eq!(same(&beside), same(&alone));
    assert_eq!(
        (beside.leap, beside.reference_timestamp),
        (Leap::AddSecond, utc.reference_time)
    );
    let (t2, t3) = times[0];
    assert!((t2 - before).abs() < NtpDuration::SECOND.half() && t3 - t2 >= NtpDuration::ZERO);
}

/// A policy is exchanged while the worker works, and so is its smear.
#[test]
fn a_smear_begins_and_ends_with_a_reload() {
    let mut desk = Desk::new(policy(None), None);
    desk.publish_before_leap(6.0 * 3600.0);
    for (smear, leap) in [
        (None, Leap::AddSecond),
        (Some(Smear::default()), Leap::NoWarning),
        (None, Leap::AddSecond),
    ] {
        desk.policy.set(&Arc::new(Policy {
            smear,
            ..policy(None)
        }));
        assert_eq!(stamps(&mut desk, 1).1.leap, leap);
    }
}

#[test]
fn requests_with_nts_are_smeared_as_others() {
    let smear = Some(Smear::default());
    let mut desk = Desk::new(
        Policy {
            smear,
            ..policy(None)
        },
        today(),
    );
    let (utc, _) = desk.publish_before_leap(6.0 * 3600.0);
    let packet = desk.genuine(Algorithm::SivCmac256);
    let reply = Header::parse(&desk.one(packet).unwrap()).unwrap();
    let now = utc.clock.served(clock::now());
    assert_eq!(reply.leap, Leap::NoWarning);
    for stamp in [reply.receive_timestamp, reply.transmit_timestamp] {
        assert!(
            ((stamp - now).to_seconds() + 0.25).abs() < 0.1,
            "{:?}",
            stamp - now
        );
    }
}
