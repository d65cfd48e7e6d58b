//! Pure. Slews of the host's clocks by adjtimex(2), of any kind and at any time: the announced error has room for them.

use proptest::prelude::*;

use super::*;
use crate::wire::{Leap, ReferenceId};

const NOON: i64 = 1_800_014_400;
/// Slews in millionths: of daemons (ntpd 500, chronyd 83,333 by default), and the most that a tick can be changed by.
const RATES: [f64; 8] = [
    100.0, -100.0, 500.0, -500.0, 83_333.0, -83_333.0, 100_500.0, -100_500.0,
];

/// The host's clocks `seconds` of the raw counter (which is true here) after the reference was published.
///
/// From `begun` on all others are slewed by `rate`.
fn clocks(seconds: f64, begun: f64, rate: f64) -> AlignedReadings {
    let slewed = seconds + (seconds - begun).max(0.0) * rate;
    let boot = Duration::from_secs(1000) + Duration::from_secs_f64(slewed);
    let raw = Duration::from_secs(5000) + Duration::from_secs_f64(seconds);
    AlignedReadings {
        clocks: ClockReadings {
            realtime: NtpTimestamp::from_unix(NOON, 0) + NtpDuration::from_seconds(slewed),
            raw,
            boot,
        },
        unix: NOON,
        raw_faster: Some(0.0),
    }
}

/// A reference, published at 0 without any error at all, so that only the slew makes one.
fn reference(clock: ClockModel) -> Reference {
    let now = clocks(0.0, 0.0, 0.0).clocks;
    Reference {
        leap: Leap::NoWarning,
        stratum: 1,
        reference_id: ReferenceId::LOCAL,
        root_delay: NtpDuration::ZERO,
        root_dispersion: NtpDuration::ZERO,
        growth: 0.0,
        reference_time: now.realtime,
        precision: -30,
        clock,
        published: now,
        answers: true,
        epoch: now.raw,
        not_after: now.raw + Duration::from_secs(10),
    }
}

fn tracked() -> ClockModel {
    let now = clocks(0.0, 0.0, 0.0).clocks;
    ClockModel::Tracked {
        epoch: now.raw,
        time: now.realtime,
        rate: 0.0,
        slew: 0.0,
        slew_for: Duration::ZERO,
    }
}

fn truth(seconds: f64) -> NtpTimestamp {
    NtpTimestamp::from_unix(NOON, 0) + NtpDuration::from_seconds(seconds)
}

/// Checks that the truth is within the announced error.
///
/// The segment is told `told` after the reference was published, and asked at `asked`; a slew by `rate` begins at
/// `begun`.
fn holds(clock: ClockModel, told: f64, asked: f64, begun: f64, rate: f64) -> Result<(), TestCaseError> {
    let Some(segment) = TimeSegment::new(&reference(clock), &clocks(told, begun, rate)) else {
        return Ok(()); // The sockets answer.
    };
    let elapsed = clocks(asked, begun, rate)
        .clocks
        .boot
        .saturating_sub(segment.start);
    if elapsed > segment.length {
        return Ok(());
    }
    let served = segment.time + NtpDuration::from_seconds(elapsed.as_secs_f64() * segment.rate);
    let error = (served - truth(asked)).abs();
    let announced = segment.root_dispersion_after(elapsed).to_duration();
    prop_assert!(
        error <= announced,
        "told {told} asked {asked} begun {begun} rate {rate}: {error:?} {announced:?}"
    );
    Ok(())
}

#[test]
fn the_worst_moment_to_begin_is_covered() {
    for clock in [ClockModel::Host, tracked()] {
        for rate in RATES.map(|rate| rate * 1e-6) {
            // Just as the reference was published, just as the segment was told, and in between.
            for told in [0.0, 0.005, 0.999] {
                for begun in [0.0, told / 2.0, told] {
                    // The tracked clock's segment is made with what was measured of the slew, unless that just began.
                    if clock != ClockModel::Host && begun < told {
                        continue;
                    }
                    for asked in [0.001, 0.01, 0.1, 0.3] {
                        holds(clock, told, told + asked, begun, rate).unwrap();
                    }
                }
            }
        }
    }
}

/// Checks the ordinary case: told again every 5 ms, no more than 0.7 ms is added.
#[test]
fn little_is_added_while_it_is_told_in_time() {
    let segment = TimeSegment::new(&reference(tracked()), &clocks(0.0, 0.0, 0.0)).unwrap();
    let [first, last] = [0, 5].map(|millis| {
        segment
            .root_dispersion_after(Duration::from_millis(millis))
            .to_duration()
    });
    assert!(first < NtpDuration::from_seconds(50e-6), "{first:?}");
    assert!(last < NtpDuration::from_seconds(0.0007), "{last:?}");
}

/// A slew that is seen ends the segment of the tracked clock.
#[test]
fn a_fast_slew_is_left_to_the_sockets() {
    let mut now = clocks(0.0, 0.0, 0.0);
    now.raw_faster = Some(-0.0833);
    assert_eq!(TimeSegment::new(&reference(tracked()), &now), None);
}

proptest! {
    #[test]
    fn a_slew_of_the_hosts_clock_is_covered(
        rate in -0.1005..0.1005_f64, begun in 0.0..2.0_f64, told in 0.0..1.1_f64, asked in 0.0..0.4_f64,
    ) {
        holds(ClockModel::Host, told, told + asked, begun, rate)?;
        // At the sockets, too.
        let now = clocks(told + asked, begun, rate).clocks;
        let announced = reference(ClockModel::Host).at(now);
        let error = (now.realtime - truth(told + asked)).abs();
        let room = announced.root_dispersion.to_duration();
        prop_assert!(announced.stratum == 0 || error <= room, "{error:?} {room:?}");
    }

    #[test]
    fn a_slew_under_the_tracked_clock_is_covered(
        rate in -0.1005..0.1005_f64, begun in 0.0..0.4_f64, told in 0.0..1.1_f64, asked in 0.0..0.4_f64,
        measured in -1e-3..1e-3_f64,
    ) {
        // What was measured of the counter before may be off by as much as is tolerated.
        let mut now = clocks(told, told + begun, rate);
        now.raw_faster = Some(measured);
        let segment = TimeSegment::new(&reference(tracked()), &now).unwrap();
        let elapsed = clocks(told + asked, told + begun, rate).clocks.boot - segment.start;
        if elapsed <= segment.length {
            let served = segment.time + NtpDuration::from_seconds(elapsed.as_secs_f64() * segment.rate);
            let error = (served - truth(told + asked)).abs();
            let room = segment.root_dispersion_after(elapsed).to_duration();
            prop_assert!(error <= room, "{error:?} {room:?}");
        }
    }
}
