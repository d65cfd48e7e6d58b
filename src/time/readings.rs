//! Pure. What the host's clocks read.

use std::time::Duration;

use super::{NtpDuration, NtpTimestamp};

/// The kernel slews the host's clocks by a tenth at most.
const FASTEST_SLEW: i64 = 10;
/// Readings are not taken at exactly the same time.
const READING_ERROR: NtpDuration = NtpDuration::from_units((1 << 32) / 100);

/// The host's clocks, read one right after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReadings {
    /// The time of day (`CLOCK_REALTIME`), which somebody may slew or step.
    pub realtime: NtpTimestamp,
    /// The raw counter (`CLOCK_MONOTONIC_RAW`), which nobody touches. It stands still while the host sleeps.
    pub raw: Duration,
    /// The time since boot (`CLOCK_BOOTTIME`), slewed as the time of day is: it goes on while the host sleeps.
    pub boot: Duration,
}

impl ClockReadings {
    /// As the host's clocks read: `seconds` since 1970 and `nanos` of that second (0..1e9), the others as they are.
    pub fn from_unix(seconds: i64, nanos: u32, raw: Duration, boot: Duration) -> Self {
        Self {
            realtime: NtpTimestamp::from_unix(seconds, nanos),
            raw,
            boot,
        }
    }

    /// Whether all clocks ran on alike from `earlier` to here. They did not if the host slept or was started anew, or if its
    /// time of day was stepped.
    pub fn ran_alike_since(&self, earlier: Self) -> bool {
        let raw = NtpDuration::between(earlier.raw, self.raw);
        let moved = [
            self.realtime - earlier.realtime,
            NtpDuration::between(earlier.boot, self.boot),
        ];
        moved.into_iter().all(|moved| within_slew(moved, raw))
    }
}

/// Whether a clock that is at most slewed can move by `moved` while the raw counter moves by `raw`.
pub fn within_slew(moved: NtpDuration, raw: NtpDuration) -> bool {
    (moved - raw).abs() <= READING_ERROR + NtpDuration::from_units(raw.abs().to_units() / FASTEST_SLEW)
}

/// The host's clocks at one moment, with those that a BPF program can read: each to about 30 ns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlignedReadings {
    /// Those that are served.
    pub clocks: ClockReadings,
    /// Seconds since 1970 by the host's time of day: its era.
    pub unix: i64,
    /// `CLOCK_MONOTONIC`, which stands still while the host sleeps, and is slewed as the time of day is.
    pub monotonic: Duration,
    /// How far `CLOCK_TAI` is ahead of `CLOCK_MONOTONIC`.
    ///
    /// Only a step of the time of day (but no leap second), a sleep, or another offset of TAI changes it.
    pub tai_ahead: Duration,
    /// How much faster the raw counter runs than `CLOCK_MONOTONIC`, as a fraction of one; `None` while that is not known.
    pub raw_faster: Option<f64>,
}
