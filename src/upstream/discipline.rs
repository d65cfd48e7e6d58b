//! Pure. The clock discipline of the tracked clock.
//!
//! RFC 5905 §12 disciplines the host's clock; this one is computed, so it is simpler.

use std::time::Duration;

use crate::clock::ClockModel;
use crate::time::{ClockReadings, NtpDuration, NtpTimestamp};

/// Fastest slew of the served time: 500 ppm, what clients expect of a clock (RFC 5905 A.1.1, as MAXFREQ).
const SLEW_MAX: f64 = 500e-6;
/// Length of a slew in seconds, unless that would be faster than [`SLEW_MAX`].
const SLEW_TIME: f64 = 4.0;
/// Larger corrections are stepped, once (RFC 5905 A.1.1, STEPT: 128 ms; §11.3 says 125 ms).
//= RFC 5905 §11.3 stepout
const STEP: NtpDuration = NtpDuration::from_units((1 << 32) / 1000 * 128);

/// Returns the clock that is slewed or stepped to the time `believed` at `now`.
///
/// It continues the clock `before`, if that was announced. `frequency` is the frequency of true time relative to the
/// raw counter, less one.
//= RFC 5905 §11.2.3 step
//= RFC 5905 §11.3 loop-filter
//= RFC 5905 §12 adjust
pub fn steer(
    before: Option<&ClockModel>,
    now: ClockReadings,
    believed: NtpTimestamp,
    frequency: f64,
) -> ClockModel {
    let served = before.map_or(believed, |before| before.served(now));
    let correction = believed - served;
    if correction.abs() > STEP {
        return clock(now.raw, believed, frequency, 0.0, 0.0);
    }
    let slew = (correction.to_seconds() / SLEW_TIME).clamp(-SLEW_MAX, SLEW_MAX);
    let seconds = if slew == 0.0 {
        0.0
    } else {
        correction.to_seconds() / slew
    };
    clock(now.raw, served, frequency, slew, seconds)
}

fn clock(epoch: Duration, time: NtpTimestamp, rate: f64, slew: f64, seconds: f64) -> ClockModel {
    let slew_for = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO);
    ClockModel::Tracked {
        epoch,
        time,
        rate,
        slew,
        slew_for,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(raw: f64) -> ClockReadings {
        ClockReadings {
            realtime: NtpTimestamp::ZERO,
            raw: Duration::from_secs_f64(raw),
            boot: Duration::from_secs_f64(raw),
        }
    }

    fn at(seconds: f64) -> NtpTimestamp {
        NtpTimestamp::from_unix(1_700_000_000, 0) + NtpDuration::from_seconds(seconds)
    }

    #[test]
    fn the_first_time_is_taken_as_it_is() {
        let model = steer(None, moment(10.0), at(0.0), 20e-6);
        assert_eq!(model.to_slew(), NtpDuration::ZERO);
        assert!((model.served(moment(20.0)) - at(10.0002)).abs() < NtpDuration::from_seconds(1e-9));
    }

    #[test]
    fn small_corrections_are_slewed_and_never_faster_than_500_ppm() {
        let mut model = steer(None, moment(0.0), at(0.0), 0.0);
        let mut last = model.served(moment(0.0));
        for second in 1..200 {
            let now = moment(f64::from(second));
            let believed = at(f64::from(second) + 0.020);
            let steered = steer(Some(&model), now, believed, 0.0);
            let served = steered.served(now);
            assert!(((served - last).to_seconds() - 1.0).abs() <= 501e-6, "{second}");
            let left = believed - served - steered.to_slew();
            assert!(left.abs() < NtpDuration::from_seconds(1e-9), "{second}");
            (model, last) = (steered, served);
        }
        assert!((last - at(199.020)).abs() < NtpDuration::from_seconds(1e-6));
    }

    #[test]
    fn large_ones_step_once() {
        let model = steer(None, moment(0.0), at(0.0), 0.0);
        let steered = steer(Some(&model), moment(1.0), at(1.5), 0.0);
        assert_eq!(steered.served(moment(1.0)), at(1.5));
    }
}
