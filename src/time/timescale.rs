//! Pure. The timescale against which all samples are measured.

use std::time::Duration;

use super::{ClockReadings, NtpDuration, NtpTimestamp};

/// The raw counter (`CLOCK_MONOTONIC_RAW`) as a timescale: it starts at the host's time of day, then runs free.
///
/// All samples are measured against it, so steps and slews of the host's time of day do not change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timescale {
    base: NtpTimestamp,
}

impl Timescale {
    /// Creates the timescale on which it is `start.realtime` at `start.raw`.
    pub fn new(start: ClockReadings) -> Self {
        Self {
            base: start.realtime - NtpDuration::from_std(start.raw),
        }
    }

    /// Returns the time on this scale when the raw counter reads `raw`.
    pub fn at(&self, raw: Duration) -> NtpTimestamp {
        self.base + NtpDuration::from_std(raw)
    }

    /// Returns the offset of the host's time of day from this scale; positive if the host's is ahead.
    pub fn host_offset(&self, now: ClockReadings) -> NtpDuration {
        now.realtime - self.at(now.raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(realtime: f64, raw: f64) -> ClockReadings {
        let start = NtpTimestamp::from_unix(1_700_000_000, 0);
        ClockReadings {
            realtime: start + NtpDuration::from_seconds(realtime),
            raw: Duration::from_secs_f64(raw),
            boot: Duration::from_secs_f64(raw + 5000.0),
        }
    }

    #[test]
    fn the_timescale_follows_the_raw_counter_alone() {
        let scale = Timescale::new(moment(0.0, 100.0));
        assert_eq!(scale.at(Duration::from_secs(100)), moment(0.0, 0.0).realtime);
        assert_eq!(scale.at(Duration::from_secs(160)), moment(60.0, 0.0).realtime);
        assert_eq!(
            scale.host_offset(moment(3660.0, 160.0)),
            NtpDuration::from_seconds(3600.0)
        );
    }
}
