//! Pure. The served clock: the host's time of day as it is, or time as a linear function of the raw counter.

use std::time::Duration;

use crate::time::{ClockReadings, NtpDuration, NtpTimestamp, within_slew};

/// The clock that is served, as a function of the host's clocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClockModel {
    /// The host's time of day, as it is.
    Host,
    /// Time as a linear function of the raw counter.
    Tracked {
        /// Reading of the raw counter at which it is `time`.
        epoch: Duration,
        /// The time then.
        time: NtpTimestamp,
        /// Frequency relative to the raw counter, less one (1e-6 is 1 ppm faster).
        rate: f64,
        /// Additional rate while a correction is slewed.
        slew: f64,
        /// Length of the slew from `epoch` on; it ends without another command.
        slew_for: Duration,
    },
}

impl ClockModel {
    /// Returns the served time at `now`.
    pub fn served(&self, now: ClockReadings) -> NtpTimestamp {
        match *self {
            Self::Host => now.realtime,
            Self::Tracked {
                epoch,
                time,
                rate,
                slew,
                slew_for,
            } => {
                let elapsed = NtpDuration::between(epoch, now.raw);
                let seconds = elapsed.to_seconds();
                let ahead = seconds * rate + seconds.clamp(0.0, slew_for.as_secs_f64()) * slew;
                time + elapsed + NtpDuration::from_seconds(ahead)
            }
        }
    }

    /// Returns the served time at an earlier `stamp` of the host's time of day.
    ///
    /// `None` if the stamp is in the future or older than a second: the host's clock was stepped since then, so
    /// only the time at `now` is known.
    //= RFC 5905 §7.3 timestamping
    pub fn served_at_stamp(&self, stamp: NtpTimestamp, now: ClockReadings) -> Option<NtpTimestamp> {
        let age = now.realtime - stamp;
        (NtpDuration::ZERO..=NtpDuration::SECOND)
            .contains(&age)
            .then(|| self.served(now) - age)
    }

    /// Returns the correction that the slew makes from `epoch` to its end; negative if it is backwards.
    pub fn to_slew(&self) -> NtpDuration {
        match *self {
            Self::Host => NtpDuration::ZERO,
            Self::Tracked { slew, slew_for, .. } => NtpDuration::from_seconds(slew * slew_for.as_secs_f64()),
        }
    }

    /// Returns whether this clock jumped since it was `published`, so that what was checked does not hold any more.
    ///
    /// The host's clock jumps when it is stepped or the host sleeps; a tracked clock only when the host sleeps, since
    /// the raw counter stops then.
    pub fn jumped(&self, published: ClockReadings, now: ClockReadings) -> bool {
        let raw = NtpDuration::between(published.raw, now.raw);
        let moved = match self {
            Self::Tracked { .. } => NtpDuration::between(published.boot, now.boot),
            Self::Host => now.realtime - published.realtime,
        };
        !within_slew(moved, raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moment(realtime: f64, raw: f64) -> ClockReadings {
        let start = NtpTimestamp::from_unix(1_700_000_000, 0);
        ClockReadings {
            realtime: start + NtpDuration::from_seconds(realtime),
            raw: Duration::from_secs_f64(raw),
            boot: Duration::from_secs_f64(raw + 5000.0),
        }
    }

    #[test]
    fn a_tracked_clock_is_linear_and_deaf_to_the_host() {
        let start = moment(5.0, 100.0);
        let model = ClockModel::Tracked {
            epoch: start.raw,
            time: start.realtime,
            rate: 50e-6,
            slew: 0.0,
            slew_for: Duration::ZERO,
        };
        let later = moment(-3600.0, 110.0);
        let expected = start.realtime + NtpDuration::from_seconds(10.0005);
        assert!((model.served(later) - expected).abs() < NtpDuration::from_seconds(1e-9));
        assert!(!model.jumped(start, later));
        let slept = ClockReadings {
            boot: later.boot + Duration::from_secs(2),
            ..later
        };
        assert!(model.jumped(start, slept));
        let stamp = later.realtime - NtpDuration::from_seconds(0.25);
        let served = model.served_at_stamp(stamp, later).unwrap();
        assert!(
            (served - expected + NtpDuration::from_seconds(0.25)).abs() < NtpDuration::from_seconds(1e-9)
        );
        assert_eq!(
            model.served_at_stamp(later.realtime + NtpDuration::SECOND, later),
            None
        );
        assert_eq!(
            model.served_at_stamp(later.realtime - NtpDuration::from_seconds(1.1), later),
            None
        );
    }

    #[test]
    fn a_slew_ends_by_itself() {
        let start = moment(0.0, 100.0);
        let slew_for = Duration::from_secs(4);
        let model = ClockModel::Tracked {
            epoch: start.raw,
            time: start.realtime,
            rate: 0.0,
            slew: 500e-6,
            slew_for,
        };
        for (raw, ahead) in [(98.0, 0.0), (102.0, 0.001), (104.0, 0.002), (5000.0, 0.002)] {
            let served = model.served(moment(0.0, raw)) - moment(raw - 100.0, 0.0).realtime;
            assert!((served.to_seconds() - ahead).abs() < 1e-8, "{raw}: {served:?}");
        }
    }

    #[test]
    fn a_step_of_the_host_is_seen_and_a_slew_is_none() {
        for (realtime, raw, stepped) in [
            (1.0, 101.0, false),
            (1.08, 101.0, false),
            (0.92, 101.0, false),
            (1.2, 101.0, true),
            (-3600.0, 100.0, true),
        ] {
            assert_eq!(
                ClockModel::Host.jumped(moment(0.0, 100.0), moment(realtime, raw)),
                stepped,
                "{realtime} {raw}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_reply_never_leaves_before_its_request_came(age in 0_i64..1 << 32, rate in -600e-6..600e-6, elapsed in 0.0..20.0) {
            let now = moment(elapsed, 100.0 + elapsed);
            let model = ClockModel::Tracked { epoch: Duration::from_secs(100), time: now.realtime, rate, slew: 0.0, slew_for: Duration::ZERO };
            let stamp = now.realtime - NtpDuration::from_units(age);
            let received = model.served_at_stamp(stamp, now).unwrap();
            prop_assert!(!received.is_after(model.served(now)));
        }
    }
}
