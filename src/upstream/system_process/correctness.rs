//! Pure. The interval of true time that a majority of the upstreams allows, now and later.

use std::time::Duration;

use crate::clock::ClockModel;
use crate::time::{ClockReadings, NtpDuration, Timescale};
use crate::upstream::candidate::MAX_CLOCK_ERROR;
use crate::upstream::filter::wander_bound;
use crate::upstream::select::{Interval, majority_hull, majority_span};

/// The interval that contains true time at one instant, and how it moves from there.
///
/// If only a minority of the claims is false, both the offset and the rate of true time are inside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TruthInterval {
    at: Duration,
    /// Offsets from the local timescale at that instant.
    offsets: Interval,
    /// The lowest and the highest possible frequency of true time relative to the timescale, less one.
    slowest: f64,
    fastest: f64,
}

impl TruthInterval {
    /// Returns the interval by these `claims` and `rates` at `now`; `None` if no majority agrees.
    ///
    /// `unknown` is the number of further votes whose claims are not known yet.
    pub(super) fn of(now: Duration, claims: &[Interval], rates: &[Interval], unknown: usize) -> Option<Self> {
        let rates = majority_span(rates, unknown)?;
        Some(Self {
            at: now,
            offsets: majority_hull(claims, unknown)?,
            slowest: rates.low.to_seconds(),
            fastest: rates.high.to_seconds(),
        })
    }

    /// Returns the offsets from the local timescale at its instant.
    pub(super) fn offsets(&self) -> Interval {
        self.offsets
    }

    /// Returns the interval at `now`, wider by the possible rates since its instant.
    pub(super) fn at(&self, now: Duration) -> Self {
        let age = NtpDuration::between(self.at, now).to_seconds().max(0.0);
        let moved = |rate: f64, wander_bound: f64| NtpDuration::from_seconds(rate * age + wander_bound);
        Self {
            at: now,
            offsets: Interval {
                low: self.offsets.low + moved(self.slowest, -wander_bound(age)),
                high: self.offsets.high + moved(self.fastest, wander_bound(age)),
            },
            ..*self
        }
    }

    /// Returns the interval after a jump of the local timescale by up to `by`, in either direction.
    pub(super) fn widened(&self, by: NtpDuration) -> Self {
        Self {
            offsets: Interval {
                low: self.offsets.low - by,
                high: self.offsets.high + by,
            },
            ..*self
        }
    }

    /// Returns the interval after a leap second that shifts UTC by `by`.
    pub(super) fn leapt(&self, by: NtpDuration) -> Self {
        Self {
            offsets: Interval {
                low: self.offsets.low + by,
                high: self.offsets.high + by,
            },
            ..*self
        }
    }

    /// Returns it with other `offsets` at its instant, and the same possible rates.
    pub(super) fn with_offsets(self, offsets: Interval) -> Self {
        Self { offsets, ..self }
    }

    /// Returns the rate in the middle of the possible ones.
    pub(super) fn middle_rate(&self) -> f64 {
        f64::midpoint(self.slowest, self.fastest)
    }

    /// Returns the possible rate that is nearest to `rate`.
    pub(super) fn nearest_rate(&self, rate: f64) -> f64 {
        rate.max(self.slowest).min(self.fastest)
    }

    /// Returns the maximum error of `clock` from `now` until the end of its slew.
    pub(super) fn error_of(&self, clock: &ClockModel, scale: &Timescale, now: ClockReadings) -> NtpDuration {
        let served = clock.served(now) - scale.at(now.raw);
        let offsets = self.at(now.raw).offsets;
        offsets
            .farthest(served)
            .max(offsets.farthest(served + clock.to_slew()))
    }

    /// Returns the maximum growth of the error of a clock of this rate, in seconds per second.
    pub(super) fn growth(&self, rate: f64) -> f64 {
        (self.fastest - rate)
            .max(rate - self.slowest)
            .max(MAX_CLOCK_ERROR)
    }
}
