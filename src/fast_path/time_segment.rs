//! Pure. The time as the program serves it: a linear function of the time since boot, good for a short while.
//!
//! A BPF program can read `CLOCK_BOOTTIME`, which also runs while the host sleeps: a sleep ends a segment. The host's time
//! of day runs as that clock does, at a distance that only a step changes, or a leap second. No program can see a step,
//! so the steps are counted for it: a segment ends with the next one. No segment goes over the end of a UTC day.
//!
//! No program can read the raw counter, which is never slewed. So the program can't know whether the host's clocks are
//! being slewed. By adjtimex(2) they can be, at any time and by up to a tenth. The tracked clock, which is made from
//! the raw counter, is off then by as much as they moved, and the host's clock itself moves away from the truth.
//! Therefore the announced error grows by an eighth of the time since the segment began, and a new one is published
//! every few milliseconds: the slew until then is known.

use std::time::Duration;

use super::layout::{GROWTH_SHIFT, InMemory, Publication, RATE_SHIFT};
use crate::clock::{ClockModel, Reference, SystemVariables};
use crate::time::{AlignedReadings, ClockReadings, NtpDuration, NtpShort, NtpTimestamp};

/// The time that is served for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeSegment {
    /// Its start, by the time since boot.
    pub start: Duration,
    /// The time for which it holds from then on.
    pub length: Duration,
    /// The served time at the start.
    pub time: NtpTimestamp,
    /// The rate of the served time in terms of the time since boot: 1 is as fast.
    pub rate: f64,
    /// The content of the answers, as of the start: the root dispersion grows from there.
    pub variables: SystemVariables,
}

/// The listeners that answer by a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answering {
    /// A bit for each that tells the time.
    pub listeners: u32,
    /// A bit for each whose answers count against the budget.
    pub budgeted: u32,
    /// The most answers that a CPU gives at those until the next publication.
    pub allowance: u32,
    /// A bit for each that answers in interleaved mode: only sockets can, so requests that may be in it pass.
    pub interleaving: u32,
}

/// The longest time for which a segment holds if no newer one is published: then the sockets answer.
const LONGEST: Duration = Duration::from_millis(350);
/// The most by which the pair of readings may be wrong that a segment starts from: 1 µs.
const READING_ERROR: NtpDuration = NtpDuration::from_units(4295);
/// The growth of the announced root dispersion, as a part of the passing time.
///
/// The clocks may be slewed by a tenth (a tick of 9 or 11 ms in the place of 10), by 500 millionths more (the
/// frequency), and they were measured to a thousandth ([`FASTEST`]).
const GROWTH: f64 = 0.125;
/// The fastest slew of the time since boot under which the program serves the tracked clock.
///
/// Beyond it, as after a large correction, the next slew can't be foretold.
const FASTEST: f64 = 1e-3;
/// A leap second is at the end of a UTC day. The kernel makes it up to a tick late, and daemons later still.
const DAY: i64 = 86_400;
const LAST_SECOND: i64 = DAY - 1;
const FIRST_SECONDS: i64 = 2;

impl TimeSegment {
    /// Makes the segment that begins now; `None` if only the sockets may answer.
    pub fn new(reference: &Reference, now: &AlignedReadings) -> Option<Self> {
        let is_told = |variables: SystemVariables| (variables.stratum != 0).then_some(variables);
        let variables = is_told(reference.at(now.clocks)).filter(|_| reference.answers)?;
        let raw_faster = match reference.clock {
            ClockModel::Host => 0.0,
            ClockModel::Tracked { .. } => now.raw_faster?,
        };
        let rest = reference.not_after.saturating_sub(now.clocks.raw);
        let length = LONGEST.min(rest).min(rest_of_day(reference, now)?);
        if length.is_zero() || raw_faster.abs() > FASTEST {
            return None;
        }
        let end = later(now.clocks, length, raw_faster);
        is_told(reference.at(end))?;
        let dispersion = reference.dispersion_at(now.clocks) + READING_ERROR;
        let time = reference.clock.served(now.clocks);
        Some(Self {
            start: now.clocks.boot,
            length,
            time,
            rate: (reference.clock.served(end) - time).to_seconds() / length.as_secs_f64(),
            variables: SystemVariables {
                root_dispersion: NtpShort::from_duration(dispersion),
                ..variables
            },
        })
    }

    /// Its publication `number`, by this copy of the rules.
    ///
    /// `steps` is the number of steps of the host's clock before the readings that the segment was made from.
    pub fn publication(&self, number: u64, steps: u64, copy: u32, answering: Answering) -> Publication {
        let [header_start, header_rest] = self.header();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is near 2^31, and a cast from float to integer saturates"
        )]
        let rate = (self.rate * UNITS).round() as u64;
        Publication {
            number,
            start: nanos(self.start),
            length: nanos(self.length),
            time: self.time.to_bits(),
            rate,
            copy,
            answering: answering.listeners,
            budgeted: answering.budgeted,
            allowance: answering.allowance,
            interleaving: answering.interleaving,
            header_start,
            header_rest,
            reference_time: self.variables.reference_timestamp.to_bits(),
            growth: GROWTH_UNITS,
            steps,
            header_sum: header_sum(header_start, header_rest),
            ..Publication::ZERO
        }
    }

    /// Returns the root dispersion that the program announces `elapsed` after the start, by the time since boot.
    pub fn root_dispersion_after(&self, elapsed: Duration) -> NtpShort {
        let grown = (nanos(elapsed).saturating_mul(GROWTH_UNITS) >> GROWTH_SHIFT) + 1;
        let grown = u32::try_from(grown).unwrap_or(u32::MAX);
        NtpShort::from_bits(self.variables.root_dispersion.to_bits().saturating_add(grown))
    }

    /// Returns bytes 0 to 15 of a reply's header, which are the same for all but the poll, which is the client's.
    fn header(&self) -> [[u8; 8]; 2] {
        let variables = &self.variables;
        let [a, b, c, d] = variables.root_delay.to_bits().to_be_bytes();
        let (leap, precision) = (variables.leap.to_bits() << 6, variables.precision.cast_unsigned());
        let start = [leap, variables.stratum, 0, precision, a, b, c, d];
        let [a, b, c, d] = variables.root_dispersion.to_bits().to_be_bytes();
        let [e, f, g, h] = variables.reference_id.to_bytes();
        [start, [a, b, c, d, e, f, g, h]]
    }
}

/// Returns the sum of the words of a header that no request changes: all but the root dispersion (RFC 1071).
fn header_sum(start: [u8; 8], rest: [u8; 8]) -> u64 {
    let [.., a, b, c, d] = rest;
    let word = |bytes: [u8; 4]| u64::from(u32::from_ne_bytes(bytes));
    let (words, _) = start.as_chunks();
    words.iter().copied().map(word).sum::<u64>() + word([a, b, c, d])
}

/// Returns the time until the last second of the UTC day; `None` around its end.
fn rest_of_day(reference: &Reference, now: &AlignedReadings) -> Option<Duration> {
    let rest = |time: NtpTimestamp| {
        let second = time.to_unix_near(now.unix).rem_euclid(DAY);
        let rest = u64::try_from(LAST_SECOND - second - 1).ok()?;
        (second >= FIRST_SECONDS).then_some(Duration::from_secs(rest))
    };
    // Both by the time that is served and by the host's: either may be the one that leaps.
    Some(rest(reference.clock.served(now.clocks))?.min(rest(now.clocks.realtime)?))
}

/// The clocks after so much time since boot.
fn later(now: ClockReadings, by: Duration, raw_faster: f64) -> ClockReadings {
    ClockReadings {
        realtime: now.realtime + NtpDuration::from_std(by),
        raw: now.raw + by.mul_f64(1.0 + raw_faster),
        boot: now.boot + by,
    }
}

/// Returns the part by which the raw counter ran faster than the time since boot between two readings.
///
/// A reading is of both (raw, boot). `None` if they are less than 50 ms apart, or more than a second.
pub fn raw_faster(earlier: (Duration, Duration), later: (Duration, Duration)) -> Option<f64> {
    let passed = later.1.saturating_sub(earlier.1);
    let (shortest, longest) = (Duration::from_millis(50), Duration::from_secs(1));
    let ahead = NtpDuration::between(earlier.0, later.0) - NtpDuration::between(earlier.1, later.1);
    (shortest..=longest)
        .contains(&passed)
        .then(|| ahead.to_seconds() / passed.as_secs_f64())
}

/// A nanosecond in units of 2^-32 s, times 2^[`RATE_SHIFT`].
const UNITS: f64 = 4.294_967_296 * (1_u64 << RATE_SHIFT) as f64;
/// The growth of the announced error in a nanosecond, in units of 2^-16 s, times 2^[`GROWTH_SHIFT`], rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is near 2^23"
)]
const GROWTH_UNITS: u64 = (65_536e-9 * GROWTH * (1_u64 << GROWTH_SHIFT) as f64) as u64 + 1;

/// The publication of no time at all: the program stops answering.
pub fn stop(number: u64, copy: u32) -> Publication {
    Publication {
        number,
        copy,
        ..Publication::ZERO
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod slew;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Leap, ReferenceId};
    use proptest::prelude::*;

    const NOON: i64 = 1_800_014_400;

    fn readings(unix: i64) -> AlignedReadings {
        AlignedReadings {
            clocks: ClockReadings {
                realtime: NtpTimestamp::from_unix(unix, 0),
                raw: Duration::from_secs(1000),
                boot: Duration::from_secs(1090),
            },
            unix,
            raw_faster: Some(0.0),
        }
    }

    fn reference(now: &AlignedReadings, clock: ClockModel) -> Reference {
        Reference {
            leap: Leap::NoWarning,
            stratum: 3,
            reference_id: ReferenceId::LOCAL,
            root_delay: NtpDuration::ZERO,
            root_dispersion: NtpDuration::from_seconds(0.001),
            growth: 15e-6,
            reference_time: now.clocks.realtime,
            precision: -23,
            clock,
            published: now.clocks,
            answers: true,
            epoch: now.clocks.raw,
            not_after: now.clocks.raw + Duration::from_secs(10),
        }
    }

    fn tracked(now: &AlignedReadings, rate: f64) -> ClockModel {
        ClockModel::Tracked {
            epoch: now.clocks.raw,
            time: now.clocks.realtime,
            rate,
            slew: 0.0,
            slew_for: Duration::ZERO,
        }
    }

    #[test]
    fn the_hosts_clock_runs_as_the_time_since_boot() {
        let now = readings(NOON);
        let segment = TimeSegment::new(&reference(&now, ClockModel::Host), &now).unwrap();
        assert_eq!(
            (segment.start, segment.length, segment.time),
            (now.clocks.boot, LONGEST, now.clocks.realtime)
        );
        assert!((segment.rate - 1.0).abs() < 1e-9);
        let answering = Answering {
            listeners: 5,
            budgeted: 4,
            allowance: 9,
            interleaving: 1,
        };
        let publication = segment.publication(7, 3, 1, answering);
        assert_eq!(
            (
                publication.number,
                publication.steps,
                publication.copy,
                publication.answering,
                publication.budgeted,
                publication.allowance,
                publication.interleaving,
            ),
            (7, 3, 1, 5, 4, 9, 1)
        );
        let reference_time = segment.variables.reference_timestamp.to_bits();
        assert_eq!(publication.reference_time, reference_time);
        let units = (250_000_000 * publication.rate) >> RATE_SHIFT;
        assert!(units.abs_diff(1 << 30) <= 1, "a quarter of a second: {units}");
    }

    #[test]
    fn the_tracked_clock_is_made_of_the_raw_counter() {
        let mut now = readings(NOON);
        now.raw_faster = Some(-20e-6);
        let told = TimeSegment::new(&reference(&now, tracked(&now, 50e-6)), &now).unwrap();
        assert_eq!(told.length, LONGEST);
        assert!(
            (told.rate - (1.0 - 20e-6) * (1.0 + 50e-6)).abs() < 1e-9,
            "{told:?}"
        );
        now.raw_faster = None;
        assert_eq!(TimeSegment::new(&reference(&now, tracked(&now, 0.0)), &now), None);
        now.raw_faster = Some(2e-3);
        assert_eq!(TimeSegment::new(&reference(&now, tracked(&now, 0.0)), &now), None);
    }

    #[test]
    fn no_segment_is_longer_than_what_it_tells_is_true() {
        let now = readings(NOON);
        let good = reference(&now, ClockModel::Host);
        let end = now.clocks.raw + Duration::from_millis(7);
        let short = TimeSegment::new(
            &Reference {
                not_after: end,
                ..good
            },
            &now,
        )
        .unwrap();
        assert_eq!(short.length, Duration::from_millis(7));
        for reference in [
            Reference {
                not_after: now.clocks.raw,
                ..good
            },
            Reference {
                answers: false,
                ..good
            },
            Reference::unsynchronized(ReferenceId::LOST, -23, ClockModel::Host, now.clocks),
        ] {
            assert_eq!(TimeSegment::new(&reference, &now), None, "{reference:?}");
        }
        let mut stepped = now;
        stepped.clocks.realtime = stepped.clocks.realtime + NtpDuration::SECOND;
        assert_eq!(TimeSegment::new(&good, &stepped), None);
    }

    proptest! {
        /// Checks that no segment has a second that is inserted or left out at the end of a day.
        #[test]
        fn the_end_of_a_day_is_in_no_segment(second in -10_i64..10, day in 0_i64..40_000) {
            let midnight = (20_000 + day) * DAY;
            let now = readings(midnight + second);
            let segment = TimeSegment::new(&reference(&now, ClockModel::Host), &now);
            let end = segment.map(|segment| second + i64::try_from(segment.length.as_secs()).unwrap());
            prop_assert_eq!(segment.is_some(), !(-2..FIRST_SECONDS).contains(&second), "{:?}", segment);
            prop_assert!(end.is_none_or(|end| !(-1..FIRST_SECONDS).contains(&end)), "{:?}", segment);
        }

        #[test]
        fn readings_tell_how_clocks_run(ppm in -400.0..400.0_f64, millis in 50_u64..1000) {
            let start = (Duration::from_secs(50), Duration::from_secs(70));
            let passed = Duration::from_millis(millis);
            let later = (start.0 + passed.mul_f64(1.0 + ppm * 1e-6), start.1 + passed);
            let found = raw_faster(start, later).unwrap();
            prop_assert!((found - ppm * 1e-6).abs() < 1e-7, "{found}");
            prop_assert_eq!(raw_faster(start, (later.0, start.1 + Duration::from_millis(10))), None);
        }
    }
}
