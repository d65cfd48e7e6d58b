//! Pure. Readings of the host's clocks.

use std::time::Duration;

use super::{NtpDuration, NtpTimestamp};

/// The kernel slews the host's clocks by at most one part in this many.
const FASTEST_SLEW: i64 = 10;
/// The most by which two readings may differ because they are not taken at exactly the same time: 10 ms.
const READING_ERROR: NtpDuration = NtpDuration::from_units((1 << 32) / 100);

/// The host's clocks, read one right after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReadings {
    /// The time of day (`CLOCK_REALTIME`), which a daemon or an operator may slew or step.
    pub realtime: NtpTimestamp,
    /// The raw counter (`CLOCK_MONOTONIC_RAW`), which can't be slewed or stepped. It stops while the host sleeps.
    pub raw: Duration,
    /// The time since boot (`CLOCK_BOOTTIME`), slewed as the time of day is. It runs while the host sleeps.
    pub boot: Duration,
}

impl ClockReadings {
    /// Converts the kernel's readings: `seconds` since 1970 with `nanos` of that second (0..1e9), `raw` and `boot`.
    pub fn from_unix(seconds: i64, nanos: u32, raw: Duration, boot: Duration) -> Self {
        Self {
            realtime: NtpTimestamp::from_unix(seconds, nanos),
            raw,
            boot,
        }
    }

    /// Returns whether all clocks advanced alike since `earlier`.
    ///
    /// They did not if the host slept or was booted again, or if its time of day was stepped.
    pub fn ran_alike_since(&self, earlier: Self) -> bool {
        let raw = NtpDuration::between(earlier.raw, self.raw);
        let moved = [
            self.realtime - earlier.realtime,
            NtpDuration::between(earlier.boot, self.boot),
        ];
        moved.into_iter().all(|moved| within_slew(moved, raw))
    }
}

/// Returns whether a clock that is slewed, not stepped, can advance by `moved` while the raw counter advances by `raw`.
pub fn within_slew(moved: NtpDuration, raw: NtpDuration) -> bool {
    (moved - raw).abs() <= READING_ERROR + NtpDuration::from_units(raw.abs().to_units() / FASTEST_SLEW)
}

/// Readings of the host's clocks at one instant, to about 30 ns each. A BPF program can read the time since boot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlignedReadings {
    /// The clocks that can be served.
    pub clocks: ClockReadings,
    /// The host's time of day in seconds since 1970, which also gives the NTP era.
    pub unix: i64,
    /// The frequency of the raw counter relative to `CLOCK_BOOTTIME`, less one; positive if it is faster.
    ///
    /// `None` while it is not known.
    pub raw_faster: Option<f64>,
}
