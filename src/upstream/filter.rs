//! Pure. The clock filter: which of the last samples of one upstream to believe (RFC 5905 §10).

use std::time::Duration;

use super::packet::Sample;
use crate::wire::NtpDuration;

/// RFC 5905 §7.2, NSTAGE.
const STAGES: usize = 8;

/// The last eight samples of one upstream.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClockFilter {
    samples: [Option<Sample>; STAGES],
    next: usize,
}

impl ClockFilter {
    /// Adds the newest sample in place of the oldest.
    pub fn add(&mut self, sample: Sample) {
        if let Some(place) = self.samples.get_mut(self.next) {
            *place = Some(sample);
        }
        self.next = (self.next + 1) % STAGES;
    }

    /// The sample that is known best at `now`: a short delay measures well, but it fades with age. Those
    /// taken before `since` do not count (the host's clock was another then).
    pub fn best(&self, now: Duration, since: Duration) -> Option<Sample> {
        let fresh = self.samples.iter().flatten().filter(|sample| sample.at >= since);
        fresh.min_by_key(|sample| error_at(sample, now)).copied()
    }
}

fn error_at(sample: &Sample, now: Duration) -> NtpDuration {
    sample.delay.half() + sample.dispersion_at(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: u64, delay: f64) -> Sample {
        Sample {
            offset: NtpDuration::ZERO,
            delay: NtpDuration::from_seconds(delay),
            dispersion: NtpDuration::from_seconds(1e-6),
            at: Duration::from_secs(at),
        }
    }

    fn best(samples: &[(u64, f64)], now: u64, since: u64) -> Option<u64> {
        let mut filter = ClockFilter::default();
        samples
            .iter()
            .for_each(|&(at, delay)| filter.add(sample(at, delay)));
        filter
            .best(Duration::from_secs(now), Duration::from_secs(since))
            .map(|sample| sample.at.as_secs())
    }

    #[test]
    fn short_delays_win_until_they_are_old() {
        assert_eq!(best(&[], 10, 0), None);
        assert_eq!(best(&[(1, 0.010), (2, 0.002), (3, 0.012)], 3, 0), Some(2));
        // 1000 s of 15 ppm are worse than 10 ms more of delay.
        assert_eq!(best(&[(1, 0.002), (1001, 0.012)], 1001, 0), Some(1001));
    }

    #[test]
    fn only_the_last_eight_since_the_step_count() {
        let samples: Vec<(u64, f64)> = (1..=9)
            .map(|at| (at, if at == 1 { 0.001 } else { 0.01 }))
            .collect();
        assert_ne!(best(&samples, 9, 0), Some(1));
        assert_eq!(best(&[(1, 0.001), (5, 0.1)], 6, 5), Some(5));
        assert_eq!(best(&[(1, 0.001), (5, 0.1)], 6, 6), None);
    }
}
