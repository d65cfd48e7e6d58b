//! Impure. The only reader of the clocks.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the one room that reads the clock"
)]

use std::fs;
use std::io;
use std::sync::LazyLock;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{self, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};

use crate::time::{AlignedReadings, ClockReadings, NtpTimestamp};

/// The longest time that one set of readings takes, unless the thread is interrupted meanwhile.
///
/// It is a few times what it takes here at best: a microsecond or less where the clock is read without a system call.
static UNINTERRUPTED: LazyLock<Duration> = LazyLock::new(|| {
    let shortest = (0..100).map(|_| read_in().1).min().unwrap_or_default();
    4 * shortest
});
/// Maximum number of attempts at a set of readings.
const ATTEMPTS: u32 = 5;

/// Reads all clocks, at one moment.
///
/// The error of a set is the time that it took: an interrupt between two of its readings would move the served time.
pub fn now() -> ClockReadings {
    closest(read_in, *UNINTERRUPTED)
}

/// Reads all clocks, and says how long that took.
fn read_in() -> (ClockReadings, Duration) {
    let readings = read_all();
    (readings, raw().saturating_sub(readings.raw))
}

/// Returns the first result that took no longer than `enough`, or the quickest of all attempts.
fn closest<T>(mut attempt: impl FnMut() -> (T, Duration), enough: Duration) -> T {
    let (mut best, mut took) = attempt();
    for _ in 1..ATTEMPTS {
        if took <= enough {
            break;
        }
        let (next, next_took) = attempt();
        if next_took < took {
            (best, took) = (next, next_took);
        }
    }
    best
}

fn read_all() -> ClockReadings {
    ClockReadings {
        raw: raw(),
        realtime: realtime(),
        boot: read(ClockId::CLOCK_BOOTTIME),
    }
}

/// Reads the host's time of day.
pub fn realtime() -> NtpTimestamp {
    timestamp(read_raw(ClockId::CLOCK_REALTIME))
}

/// Reads the host's time of day in whole seconds since 1970.
pub fn unix() -> i64 {
    read_raw(ClockId::CLOCK_REALTIME).tv_sec()
}

/// Converts the kernel's time of day.
pub(super) fn timestamp(time: TimeSpec) -> NtpTimestamp {
    NtpTimestamp::from_unix(time.tv_sec(), u32::try_from(time.tv_nsec()).unwrap_or(0))
}

/// Reads the raw counter of the host's oscillator.
pub fn raw() -> Duration {
    read(ClockId::CLOCK_MONOTONIC_RAW)
}

fn read(clock: ClockId) -> Duration {
    Duration::from(read_raw(clock))
}

fn read_raw(clock: ClockId) -> TimeSpec {
    // All these clocks exist on every Linux; the call fails only for an unknown one.
    clock_gettime(clock).unwrap_or(TimeSpec::new(0, 0))
}

/// Returns the identity of this boot of the host, if it can be read (systemd's `ProcSubset=pid` hides it).
pub fn boot() -> Option<String> {
    let said = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(said.trim().to_owned()).filter(|id| !id.is_empty())
}

/// The distances between the host's clocks: only a step of its time of day, or a suspension, changes them.
///
/// `CLOCK_REALTIME`, `CLOCK_BOOTTIME` and `CLOCK_MONOTONIC` run at the same rate, however they are slewed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockGaps {
    /// Time of day minus time since boot: a step changes it.
    pub realtime: Duration,
    /// Time since boot minus time awake: a suspension changes it.
    pub asleep: Duration,
}

/// Measures the distances now.
pub fn gaps() -> ClockGaps {
    let realtime = || read(ClockId::CLOCK_REALTIME);
    let boottime = || read(ClockId::CLOCK_BOOTTIME);
    let awake = || read(ClockId::CLOCK_MONOTONIC);
    ClockGaps {
        realtime: length(ahead(realtime, boottime)),
        asleep: length(ahead(boottime, awake)),
    }
}

/// Returns `one` minus `other`, in nanoseconds.
///
/// A pause between two readings would look like a jump, so the closest of some pairs around it counts.
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

/// Converts nanoseconds; negative ones are zero.
fn length(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

/// Reads all clocks at one moment; `None` if the time of day is being stepped meanwhile.
///
/// The result is as exact as it says, if this thread is not interrupted.
pub fn aligned() -> Option<AlignedReadings> {
    let realtime = || read(ClockId::CLOCK_REALTIME);
    let ahead_of_boot = |clock: &dyn Fn() -> Duration| ahead(clock, || read(ClockId::CLOCK_BOOTTIME));
    let before = ahead_of_boot(&realtime);
    let raw = ahead_of_boot(&raw);
    let ahead = ahead_of_boot(&realtime);
    let boot = read(ClockId::CLOCK_BOOTTIME);
    let at = |ahead: i128| {
        let nanos = u64::try_from(nanos(boot) + ahead).ok()?;
        Some(Duration::from_nanos(nanos))
    };
    let time = at(ahead)?;
    let unix = i64::try_from(time.as_secs()).ok()?;
    let clocks = ClockReadings::from_unix(unix, time.subsec_nanos(), at(raw)?, boot);
    ((ahead - before).unsigned_abs() < SAME.as_nanos()).then_some(AlignedReadings {
        clocks,
        unix,
        raw_faster: None,
    })
}

/// The most by which two measurements of the same distance differ.
const SAME: Duration = Duration::from_micros(2);

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

/// A timer that never ends, unless the time of day is stepped.
#[derive(Debug)]
pub struct StepTimer(TimerFd);

impl StepTimer {
    /// Starts it: no step from now on is missed.
    ///
    /// # Errors
    /// As `timerfd_create(2)`.
    pub fn new() -> io::Result<Self> {
        let timer = TimerFd::new(timerfd::ClockId::CLOCK_REALTIME, TimerFlags::TFD_CLOEXEC)?;
        // In the year 2255; the kernel's time ends in 2262.
        let end_of_time = TimeSpec::from(Duration::from_secs(9_000_000_000));
        let until_a_step = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        timer.set(Expiration::OneShot(end_of_time), until_a_step)?;
        Ok(Self(timer))
    }

    /// Waits for a step since the last call: of the time of day, or (since Linux 5.15) by a sleep of the host.
    ///
    /// Slewing is no step. Many steps may be reported as one.
    ///
    /// # Errors
    /// As `read(2)`.
    pub fn wait(&self) -> io::Result<()> {
        // The error that means a step is no error here; the timer goes on without being set again.
        Ok(self.0.wait()?)
    }
}

/// Returns the precision of the host's clock, in log2 seconds (RFC 5905 §7.3).
///
/// It is the shortest time between two readings: the larger of the clock's resolution and the cost of reading
/// it.
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

/// Returns the exponent of the smallest power of two that is at least `step`.
fn log2_at_least(step: Duration) -> i8 {
    (-30..0_i8)
        .find(|&power| f64::from(power).exp2() >= step.as_secs_f64())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_reading_is_made_again() {
        for (took, expected, attempts) in [
            (&[90_u64][..], 0, 1),
            (&[400, 90], 0, 1),
            (&[401, 90], 1, 2),
            (&[65_000, 5_000, 700, 3_000, 300, 90], 4, 5),
            (&[65_000, 5_000, 700, 3_000, 900, 90], 2, 5),
            (&[900, 901, 902, 903, 904, 90], 0, 5),
        ] {
            let mut made = 0;
            let chosen = closest(
                || {
                    made += 1;
                    (made - 1, Duration::from_nanos(took[made - 1]))
                },
                Duration::from_nanos(400),
            );
            assert_eq!((chosen, made), (expected, attempts), "{took:?}");
        }
    }

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
        let before = gaps();
        std::thread::sleep(Duration::from_millis(20));
        let after = gaps();
        assert!(after.realtime.abs_diff(before.realtime) < Duration::from_millis(5));
        assert!(after.asleep.abs_diff(before.asleep) < Duration::from_millis(5));
    }
}
