//! Pure. Where the truth can be, as a majority of the upstreams says, now and later.

use std::time::Duration;

use crate::clock::ClockModel;
use crate::time::{ClockReadings, NtpDuration, Timescale};
use crate::upstream::candidate::MAX_CLOCK_ERROR;
use crate::upstream::filter::wander_bound;
use crate::upstream::select::{Interval, majority_hull, majority_span};

/// The interval in which true time is at one moment, and how it moves from there.
///
/// As long as a minority of the claims are lies, both the offset and the rate of true time are inside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TruthInterval {
    at: Duration,
    /// Offsets from the local timescale at that moment.
    offsets: Interval,
    /// By how much true time runs faster than the timescale: the slowest and the fastest that it can be.
    slowest: f64,
    fastest: f64,
}

impl TruthInterval {
    /// By these `claims` at `now`, and by what each says of the rate, when as many more votes are still `unknown`. `None` if
    /// no majority agrees.
    pub(super) fn of(now: Duration, claims: &[Interval], rates: &[Interval], unknown: usize) -> Option<Self> {
        let rates = majority_span(rates, unknown)?;
        Some(Self {
            at: now,
            offsets: majority_hull(claims, unknown)?,
            slowest: rates.low.to_seconds(),
            fastest: rates.high.to_seconds(),
        })
    }

    /// Offsets from the local timescale, when it was told.
    pub(super) fn offsets(&self) -> Interval {
        self.offsets
    }

    /// What is known of it at `now`, when nothing new was heard.
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

    /// When the local timescale may have jumped by `by`, to either side.
    pub(super) fn widened(&self, by: NtpDuration) -> Self {
        Self {
            offsets: Interval {
                low: self.offsets.low - by,
                high: self.offsets.high + by,
            },
            ..*self
        }
    }

    /// When a leap second shifted UTC by `by`.
    pub(super) fn leapt(&self, by: NtpDuration) -> Self {
        Self {
            offsets: Interval {
                low: self.offsets.low + by,
                high: self.offsets.high + by,
            },
            ..*self
        }
    }

    /// The nearest possible rate to `rate`.
    pub(super) fn nearest_rate(&self, rate: f64) -> f64 {
        rate.max(self.slowest).min(self.fastest)
    }

    /// How wrong the time of `clock` may be at `now`, until it is slewed to where it goes, too.
    pub(super) fn error_of(&self, clock: &ClockModel, scale: &Timescale, now: ClockReadings) -> NtpDuration {
        let served = clock.served(now) - scale.at(now.raw);
        let offsets = self.at(now.raw).offsets;
        offsets
            .farthest(served)
            .max(offsets.farthest(served + clock.to_slew()))
    }

    /// How fast the error of a clock of this rate may grow.
    pub(super) fn growth(&self, rate: f64) -> f64 {
        (self.fastest - rate)
            .max(rate - self.slowest)
            .max(MAX_CLOCK_ERROR)
    }
}
