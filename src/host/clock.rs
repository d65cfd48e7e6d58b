//! Impure. The only reader of the clocks.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the one room that reads the clock"
)]

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

/// A point of the host's `CLOCK_REALTIME`: seconds since 1970 and nanoseconds of that second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime {
    /// Whole seconds since 1970-01-01 00:00 UTC.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

impl From<TimeSpec> for UnixTime {
    fn from(time: TimeSpec) -> Self {
        Self {
            seconds: time.tv_sec(),
            nanos: u32::try_from(time.tv_nsec()).unwrap_or(0),
        }
    }
}

impl UnixTime {
    /// How much later `self` is than `earlier`, or `None` if it is earlier.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        let nanos = (i128::from(self.seconds) - i128::from(earlier.seconds)) * 1_000_000_000
            + i128::from(self.nanos)
            - i128::from(earlier.nanos);
        u64::try_from(nanos).ok().map(Duration::from_nanos)
    }
}

/// Both clocks, read one right after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The host's time of day, which somebody may step.
    pub realtime: UnixTime,
    /// `CLOCK_MONOTONIC`: since the start of the host; nobody steps it.
    pub monotonic: Duration,
}

/// What time it is, by both clocks.
pub fn now() -> Reading {
    Reading {
        realtime: realtime(),
        monotonic: monotonic(),
    }
}

/// How far the time of day is ahead of the monotonic clock. Both run at the same pace, however the host's clock
/// is slewed, so this changes only when somebody steps it (or when the host slept).
pub fn realtime_ahead() -> Duration {
    let mut best = (Duration::MAX, Duration::ZERO);
    for _ in 0..5 {
        // A pause between two readings would look like a step: take the closest pair.
        let (before, realtime, after) = (monotonic(), realtime(), monotonic());
        let gap = after.saturating_sub(before);
        if gap < best.0 {
            let realtime = realtime.since(UnixTime::default()).unwrap_or(Duration::ZERO);
            best = (gap, realtime.saturating_sub(before));
        }
    }
    best.1
}

/// What time of day the host has.
pub fn realtime() -> UnixTime {
    // Both clocks exist on every Linux; the call fails only for an unknown clock.
    let time = clock_gettime(ClockId::CLOCK_REALTIME).unwrap_or(nix::sys::time::TimeSpec::new(0, 0));
    UnixTime {
        seconds: time.tv_sec(),
        nanos: u32::try_from(time.tv_nsec()).unwrap_or(0),
    }
}

/// How long the host has been up.
pub fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Precision of the host's clock, log2 seconds: the shortest time between two readings, which is the larger of
/// its resolution and the cost of reading it (RFC 5905 §7.3).
pub fn precision() -> i8 {
    let mut shortest = Duration::from_millis(10);
    let mut last = monotonic();
    for _ in 0..1000 {
        let now = monotonic();
        if now > last {
            shortest = shortest.min(now - last);
        }
        last = now;
    }
    log2_at_least(shortest)
}

/// The smallest power of two that is at least `step`.
fn log2_at_least(step: Duration) -> i8 {
    (-30..0_i8)
        .find(|&power| f64::from(power).exp2() >= step.as_secs_f64())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_is_rounded_up() {
        for (nanos, power) in [(1, -29), (30, -24), (60, -23), (953, -20), (10_000_000, -6)] {
            assert_eq!(log2_at_least(Duration::from_nanos(nanos)), power, "{nanos} ns");
        }
        assert!((-30..=-6).contains(&precision()));
    }

    #[test]
    fn both_clocks_run_at_the_same_pace() {
        let before = realtime_ahead();
        std::thread::sleep(Duration::from_millis(20));
        assert!(realtime_ahead().abs_diff(before) < Duration::from_millis(5));
    }

    #[test]
    fn time_since() {
        let at = |seconds, nanos| UnixTime { seconds, nanos };
        assert_eq!(at(2, 1).since(at(1, 999_999_999)), Some(Duration::from_nanos(2)));
        assert_eq!(at(1, 0).since(at(1, 0)), Some(Duration::ZERO));
        assert_eq!(at(1, 0).since(at(1, 1)), None);
        assert_eq!(at(i64::MAX, 0).since(at(i64::MIN, 0)), None);
    }
}
