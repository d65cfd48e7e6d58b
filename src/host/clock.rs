//! Impure. The only reader of the clocks.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the one room that reads the clock"
)]

use std::fs;
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

/// All clocks, read one right after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The host's time of day, which somebody may slew or step.
    pub realtime: UnixTime,
    /// `CLOCK_MONOTONIC_RAW`: the host's oscillator, which nobody touches. It stands still while the host sleeps.
    pub raw: Duration,
    /// `CLOCK_BOOTTIME`: it goes on while the host sleeps.
    pub boot: Duration,
}

/// Readings that are further apart are not one reading: the thread was not running between them.
const TOGETHER: Duration = Duration::from_micros(100);
/// How often to try for better ones.
const TRIES: u32 = 4;

/// What time it is, by all clocks.
pub fn now() -> Reading {
    let mut reading = read_all();
    for _ in 0..TRIES {
        if raw().saturating_sub(reading.raw) <= TOGETHER {
            break;
        }
        reading = read_all();
    }
    reading
}

fn read_all() -> Reading {
    Reading {
        raw: raw(),
        realtime: realtime(),
        boot: read(ClockId::CLOCK_BOOTTIME),
    }
}

/// What time of day the host has.
pub fn realtime() -> UnixTime {
    // All these clocks exist on every Linux; the call fails only for an unknown one.
    clock_gettime(ClockId::CLOCK_REALTIME).map_or(UnixTime::default(), UnixTime::from)
}

/// What the host's oscillator has counted.
pub fn raw() -> Duration {
    read(ClockId::CLOCK_MONOTONIC_RAW)
}

fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

/// The identity of this boot of the host, if it tells (systemd's `ProcSubset=pid` hides it).
pub fn boot() -> Option<String> {
    let said = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(said.trim().to_owned()).filter(|id| !id.is_empty())
}

/// What only a step of the host's clock, or a sleep of the host, can change. `CLOCK_REALTIME`, `CLOCK_BOOTTIME` and
/// `CLOCK_MONOTONIC` run at the same pace, however they are slewed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jumps {
    /// How far the time of day is ahead of the time since boot: a step changes it.
    pub realtime: Duration,
    /// How far the time since boot is ahead of the time awake: a sleep changes it.
    pub asleep: Duration,
}

/// How the clocks stand to each other now.
pub fn jumps() -> Jumps {
    let realtime = || since_1970(realtime());
    let boottime = || read(ClockId::CLOCK_BOOTTIME);
    let awake = || read(ClockId::CLOCK_MONOTONIC);
    Jumps {
        realtime: length(ahead(realtime, boottime)),
        asleep: length(ahead(boottime, awake)),
    }
}

/// How far one clock is ahead of another, in nanoseconds. A pause between two readings would look like a jump, so the closest
/// of some pairs around it counts.
fn ahead(one: impl Fn() -> Duration, other: impl Fn() -> Duration) -> i128 {
    let mut best = (i128::MAX, 0);
    for _ in 0..5 {
        let (before, one, after) = (nanos(other()), nanos(one()), nanos(other()));
        if after - before < best.0 {
            best = (after - before, one - before.midpoint(after));
        }
    }
    best.1
}

/// None, if it is negative.
fn length(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

/// All clocks at one moment, with those that a BPF program can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Together {
    /// Those that are served.
    pub reading: Reading,
    /// `CLOCK_MONOTONIC`, which stands still while the host sleeps, and is slewed as the time of day is.
    pub monotonic: Duration,
    /// How far `CLOCK_TAI` is ahead of that: only a step of the time of day (but no leap second), a sleep, or another
    /// offset of TAI changes it.
    pub tai_ahead: Duration,
}

/// Each to about 30 ns, if nobody keeps this thread from running; `None` if the time of day is just being stepped.
pub fn together() -> Option<Together> {
    let realtime = || since_1970(realtime());
    let ahead_of_monotonic = |clock: &dyn Fn() -> Duration| ahead(clock, || read(ClockId::CLOCK_MONOTONIC));
    let before = ahead_of_monotonic(&realtime);
    let raw = ahead_of_monotonic(&raw);
    let boot = ahead_of_monotonic(&|| read(ClockId::CLOCK_BOOTTIME));
    let tai = ahead_of_monotonic(&|| read(ClockId::CLOCK_TAI));
    let ahead = ahead_of_monotonic(&realtime);
    let monotonic = read(ClockId::CLOCK_MONOTONIC);
    let at = |ahead: i128| {
        let nanos = u64::try_from(nanos(monotonic) + ahead).ok()?;
        Some(Duration::from_nanos(nanos))
    };
    let time = at(ahead)?;
    let reading = Reading {
        realtime: UnixTime {
            seconds: i64::try_from(time.as_secs()).ok()?,
            nanos: time.subsec_nanos(),
        },
        raw: at(raw)?,
        boot: at(boot)?,
    };
    ((ahead - before).unsigned_abs() < SAME.as_nanos()).then_some(Together {
        reading,
        monotonic,
        tai_ahead: Duration::from_nanos(u64::try_from(tai).ok()?),
    })
}

/// Two measurements of the same distance differ by less.
const SAME: Duration = Duration::from_micros(2);

fn since_1970(time: UnixTime) -> Duration {
    time.since(UnixTime::default()).unwrap_or(Duration::ZERO)
}

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

/// Precision of the host's clock, log2 seconds: the shortest time between two readings, which is the larger of
/// its resolution and the cost of reading it (RFC 5905 §7.3).
//= RFC 5905 §11.1 precision
pub fn precision() -> i8 {
    let mut shortest = Duration::from_millis(10);
    let mut last = raw();
    for _ in 0..1000 {
        let now = raw();
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

    //= RFC 5905 §11.1 precision
    #[test]
    fn precision_is_rounded_up() {
        for (nanos, power) in [(1, -29), (30, -24), (60, -23), (953, -20), (10_000_000, -6)] {
            assert_eq!(log2_at_least(Duration::from_nanos(nanos)), power, "{nanos} ns");
        }
        assert!((-30..=-6).contains(&precision()));
    }

    #[test]
    fn without_a_step_or_a_sleep_nothing_jumps() {
        let before = jumps();
        std::thread::sleep(Duration::from_millis(20));
        let after = jumps();
        assert!(after.realtime.abs_diff(before.realtime) < Duration::from_millis(5));
        assert!(after.asleep.abs_diff(before.asleep) < Duration::from_millis(5));
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
