//! Pure. The clock filter: from the samples of one upstream to its offset and frequency, and how well both are
//! known. In place of the RFC's register of eight (RFC 5905 §10) it is a weighted least-squares line, as the
//! frequency is wanted too.
//!
//! * A sample's error is at most half of its delay, and what is beyond the shortest delay was spent in queues: so
//!   a sample counts the less, the longer it took.
//! * What is not seen yet is assumed: before there are many samples, their error is a part of the delay.
//! * An oscillator wanders: so a sample counts the less, the older it is.
//! * A line that fits no more shows in residuals that stay on one side for long: then the oldest samples go.
//! * A sample that contradicts all others waits for a second one that agrees with it: then the clock was stepped.

use std::collections::VecDeque;
use std::time::Duration;

use super::packet::Sample;
use crate::reference::since;
use crate::wire::NtpDuration;

/// Samples kept: chrony's number, and enough for hours.
const KEPT: usize = 64;
/// Fewer can't show a run.
const RUNS_FROM: usize = 8;
/// What is assumed of an oscillator before anything is known: its frequency is wrong by 100 ppm (one sigma).
const UNKNOWN_FREQUENCY: f64 = 100e-6;
/// Random walk of its frequency, per square root of a second: 3e-9 is 0.1 ppm in 20 minutes.
const WANDER: f64 = 3e-9;
/// No clock is further off in frequency (RFC 5905 §7.2, MAXFREQ).
const WORST_FREQUENCY: f64 = 500e-6;
/// So many standard deviations are said to be possible.
const SURELY: f64 = 3.0;
/// A sample is a contradiction only if it is further off than this many deviations, beside what delays explain.
const CONTRADICTION: f64 = 5.0;

/// A leap second: when it was by the raw counter, and by how much it shifted UTC.
pub type LeapShift = (Duration, NtpDuration);

/// A part of the past that must be seen in another light.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct View {
    /// Samples from before this reading of the raw counter do not count: the host slept then.
    pub since: Duration,
    /// A leap second: from this reading on UTC is shifted, and all samples from before with it, unless their filter
    /// knows of it already.
    pub leap: Option<LeapShift>,
}

/// The last samples of one upstream.
#[derive(Clone, Debug, Default)]
pub struct ClockFilter {
    samples: VecDeque<Sample>,
    /// It contradicts the others, and waits for a second that agrees with it.
    suspect: Option<Sample>,
    /// When the leap second was that the samples are shifted by already.
    leapt: Option<Duration>,
}

/// What the samples say about an upstream's clock against the local timescale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// When the newest sample was taken.
    pub at: Duration,
    /// Offset at that moment.
    pub offset: NtpDuration,
    /// Its standard deviation in seconds.
    pub offset_sd: f64,
    /// How much faster the upstream's clock runs than the local timescale (1e-6 is a millionth).
    pub frequency: f64,
    /// Its standard deviation.
    pub frequency_sd: f64,
    /// Covariance of offset and frequency.
    covariance: f64,
    /// Shortest delay: half of it is the error that no statistic can find.
    pub delay: NtpDuration,
    /// Weighted deviation of the samples from the line, in seconds.
    pub jitter: f64,
    /// The sample of the shortest delay: when it was taken, and how far it is from the line, in seconds.
    nearest: (Duration, f64),
    /// Dispersion of one measurement: precisions of both clocks.
    pub dispersion: NtpDuration,
    /// How many samples it is made of.
    pub samples: usize,
}

impl ClockFilter {
    /// Adds the newest sample. Was it the second of a step, so that all before it went?
    pub fn add(&mut self, sample: Sample) -> bool {
        if let Some(estimate) = fit(self.samples.iter().copied())
            && contradicts(&estimate, &sample)
        {
            let confirmed = self.suspect.replace(sample).filter(|first| agree(first, &sample));
            if let Some(first) = confirmed {
                self.suspect = None;
                self.samples.clear();
                self.samples.extend([first, sample]);
            }
            return confirmed.is_some();
        }
        self.suspect = None;
        self.samples.push_back(sample);
        while self.samples.len() > KEPT || self.runs_too_long() {
            self.samples.pop_front();
        }
        false
    }

    /// A leap second happened at `at`: what was measured before is shifted by it, once.
    pub fn leap(&mut self, at: Duration, by: NtpDuration) {
        if self.leapt != Some(at) {
            self.leapt = Some(at);
            let before = self
                .samples
                .iter_mut()
                .chain(&mut self.suspect)
                .filter(|sample| sample.at < at);
            before.for_each(|sample| sample.offset += by);
        }
    }

    /// What the samples say; `None` if there are none in this `view`.
    pub fn estimate(&self, view: &View) -> Option<Estimate> {
        let shifted = |sample: &Sample| match view.leap {
            Some((at, by)) if sample.at < at && self.leapt != Some(at) => Sample {
                offset: sample.offset + by,
                ..*sample
            },
            _ => *sample,
        };
        fit(self
            .samples
            .iter()
            .filter(|sample| sample.at >= view.since)
            .map(shifted))
    }

    /// Does the newest sample contradict the others?
    pub fn is_in_doubt(&self) -> bool {
        self.suspect.is_some()
    }

    /// How many samples are in use.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The runs test (Wald and Wolfowitz): are there fewer changes of sign among the residuals than chance
    /// would make (less than 1 in 40)?
    fn runs_too_long(&self) -> bool {
        if self.samples.len() < RUNS_FROM {
            return false;
        }
        let Some(estimate) = fit(self.samples.iter().copied()) else {
            return false;
        };
        let signs: Vec<bool> = self
            .samples
            .iter()
            .map(|sample| estimate.residual(sample) > 0.0)
            .collect();
        let changes = signs
            .iter()
            .zip(signs.iter().skip(1))
            .filter(|(one, next)| one != next)
            .count();
        let (above, below) = (
            count(signs.iter().filter(|&&sign| sign)),
            count(signs.iter().filter(|&&sign| !sign)),
        );
        let all = above + below;
        let expected = 2.0 * above * below / all + 1.0;
        let variance = (expected - 1.0) * (expected - 2.0) / (all - 1.0);
        count(0..=changes) < expected - 2.0 * variance.max(0.0).sqrt()
    }
}

#[expect(clippy::cast_precision_loss, reason = "never more than a few dozen")]
fn count<T>(things: impl IntoIterator<Item = T>) -> f64 {
    things.into_iter().count() as f64
}

impl Estimate {
    /// The offset at `now`.
    pub fn offset_at(&self, now: Duration) -> NtpDuration {
        self.offset + NtpDuration::from_seconds(self.frequency * seconds(self.at, now))
    }

    /// The standard deviation of the offset at `now`, in seconds: it grows with what is not known of the
    /// frequency, and with the frequency's wandering.
    pub fn offset_sd_at(&self, now: Duration) -> f64 {
        let age = seconds(self.at, now).max(0.0);
        let fitted = self.offset_sd.powi(2) + 2.0 * age * self.covariance + (age * self.frequency_sd).powi(2);
        (fitted.max(0.0) + wander(age).powi(2)).sqrt()
    }

    /// How wrong the offset may be at `now`, in seconds, beside half of the shortest delay.
    ///
    /// Two bounds hold: what the statistics say, once there are enough samples for any; and that the sample of the
    /// shortest delay is wrong by no more than half of that, and has strayed by the unknown frequency since.
    pub fn error_at(&self, now: Duration) -> f64 {
        let (taken, residual) = self.nearest;
        let age = seconds(taken, now).max(0.0);
        let strayed = (SURELY * self.frequency_sd).min(WORST_FREQUENCY) * age + SURELY * wander(age);
        let nearest = residual.abs() + strayed;
        if self.samples > 2 {
            nearest.min(SURELY * self.offset_sd_at(now))
        } else {
            nearest
        }
    }

    fn residual(&self, sample: &Sample) -> f64 {
        (sample.offset - self.offset_at(sample.at)).to_seconds()
    }
}

/// The least-squares line through `samples`, oldest first.
///
/// Frequency is held near zero by what is assumed of an oscillator, so that one sample is enough for an estimate
/// and two that are close together make no wild one.
fn fit(samples: impl Iterator<Item = Sample> + Clone) -> Option<Estimate> {
    let newest = samples.clone().last()?;
    let delay = samples.clone().map(|sample| sample.delay).min()?;
    let number = samples.clone().count();
    let assumed = delay.to_seconds() / (4.0 * count(0..number).powi(2));
    let base = usual_error(samples.clone(), delay)
        .max(newest.dispersion.to_seconds())
        .max(assumed);
    let weighted = samples.clone().map(|sample| {
        let age = seconds(newest.at, sample.at);
        let queues = (sample.delay - delay).half().to_seconds();
        let variance = (base + queues).powi(2) + wander(-age).powi(2);
        (1.0 / variance, age, (sample.offset - newest.offset).to_seconds())
    });
    let mut sums = Sums {
        square: UNKNOWN_FREQUENCY.powi(-2),
        ..Sums::default()
    };
    weighted
        .clone()
        .for_each(|(weight, age, offset)| sums.add(weight, age, offset));
    let (offset, frequency) = sums.line();
    let misfit: f64 = weighted
        .map(|(weight, age, y)| weight * (y - offset - frequency * age).powi(2))
        .sum();
    // Errors larger than assumed make the line as much less certain; smaller ones are not believed.
    let scale = if number > 2 {
        (misfit / count(2..number)).max(1.0) * few(number).powi(2)
    } else {
        1.0
    };
    let determinant = sums.determinant();
    let nearest = samples.clone().min_by_key(|sample| sample.delay)?;
    let line = |at: Duration| NtpDuration::from_seconds(offset + frequency * seconds(newest.at, at));
    let residual = nearest.offset - newest.offset - line(nearest.at);
    Some(Estimate {
        nearest: (nearest.at, residual.to_seconds()),
        at: newest.at,
        offset: newest.offset + NtpDuration::from_seconds(offset),
        offset_sd: (scale * sums.square / determinant).sqrt(),
        frequency,
        frequency_sd: (scale * sums.weight / determinant).sqrt(),
        covariance: -scale * sums.age / determinant,
        delay,
        jitter: (misfit / sums.weight).sqrt(),
        dispersion: newest.dispersion,
        samples: number,
    })
}

/// Weighted sums of a line's normal equations.
#[derive(Default)]
struct Sums {
    weight: f64,
    age: f64,
    square: f64,
    offset: f64,
    product: f64,
}

impl Sums {
    fn add(&mut self, weight: f64, age: f64, offset: f64) {
        self.weight += weight;
        self.age += weight * age;
        self.square += weight * age * age;
        self.offset += weight * offset;
        self.product += weight * age * offset;
    }

    fn determinant(&self) -> f64 {
        self.weight * self.square - self.age * self.age
    }

    /// Offset at age zero, and slope.
    fn line(&self) -> (f64, f64) {
        let determinant = self.determinant();
        let offset = (self.square * self.offset - self.age * self.product) / determinant;
        (
            offset,
            (self.weight * self.product - self.age * self.offset) / determinant,
        )
    }
}

/// What a sample of the shortest delay is wrong by, usually: half of what queues add to the middle one.
fn usual_error(samples: impl Iterator<Item = Sample>, shortest: NtpDuration) -> f64 {
    let mut queues: Vec<NtpDuration> = samples.map(|sample| (sample.delay - shortest).half()).collect();
    queues.sort_unstable();
    queues
        .get(queues.len() / 2)
        .map_or(0.0, |middle| middle.half().to_seconds())
}

/// By how much a deviation of so few samples must be widened to mean what three of many mean: the quantiles of
/// Student's t for 99.73 % over three, with two degrees of freedom less than samples.
fn few(samples: usize) -> f64 {
    const QUANTILES: [f64; 9] = [78.0, 6.4, 3.1, 2.2, 1.85, 1.65, 1.53, 1.43, 1.37];
    let freedom = samples.saturating_sub(2).max(1);
    QUANTILES
        .get(freedom - 1)
        .copied()
        .unwrap_or_else(|| 1.0 + 3.0 / count(0..freedom))
}

/// How far an oscillator strays in `age` seconds because its frequency wanders (integral of a random walk).
fn wander(age: f64) -> f64 {
    WANDER * age.max(0.0).powf(1.5) / 3.0_f64.sqrt()
}

/// Is the sample further off than both delays and the estimate's uncertainty can explain?
fn contradicts(estimate: &Estimate, sample: &Sample) -> bool {
    let delays = (sample.delay.half() + estimate.delay.half() + sample.dispersion).to_seconds();
    let explained = delays + CONTRADICTION * estimate.offset_sd_at(sample.at);
    estimate.residual(sample).abs() > explained
}

/// Do two samples in a row say the same, as far as delays and an oscillator's error tell?
fn agree(one: &Sample, other: &Sample) -> bool {
    let drift = CONTRADICTION * UNKNOWN_FREQUENCY * seconds(one.at, other.at).abs();
    let explained = (one.delay.half() + other.delay.half() + one.dispersion + other.dispersion).to_seconds();
    (one.offset - other.offset).abs().to_seconds() <= explained + drift
}

fn seconds(from: Duration, to: Duration) -> f64 {
    since(from, to).to_seconds()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(at: f64, offset: f64, delay: f64) -> Sample {
        Sample {
            offset: NtpDuration::from_seconds(offset),
            delay: NtpDuration::from_seconds(delay),
            dispersion: NtpDuration::from_seconds(1e-6),
            at: Duration::from_secs_f64(at),
        }
    }

    fn filter(samples: impl IntoIterator<Item = (f64, f64, f64)>) -> ClockFilter {
        let mut filter = ClockFilter::default();
        for (at, offset, delay) in samples {
            filter.add(sample(at, offset, delay));
        }
        filter
    }

    fn estimate(filter: &ClockFilter) -> Estimate {
        filter.estimate(&View::default()).unwrap()
    }

    #[test]
    fn one_sample_is_known_by_its_delay_and_fades_by_the_unknown_frequency() {
        let estimate = estimate(&filter([(100.0, 0.5, 0.020)]));
        assert_eq!(
            (estimate.offset, estimate.delay),
            (sample(0.0, 0.5, 0.020).offset, sample(0.0, 0.5, 0.020).delay)
        );
        assert!(estimate.error_at(Duration::from_secs(100)) < 1e-9 && estimate.frequency.abs() < 1e-9);
        let later = estimate.error_at(Duration::from_secs(110));
        assert!((later - 30.0 * UNKNOWN_FREQUENCY).abs() < 1e-5, "{later}");
    }

    #[test]
    fn a_line_without_noise_is_found() {
        let line = filter((0_u32..20).map(|step| {
            let at = f64::from(step) * 16.0;
            (at, 0.1 + 200e-6 * at, 0.010)
        }));
        let estimate = estimate(&line);
        assert!((estimate.frequency - 200e-6).abs() < 1e-7, "{estimate:?}");
        let later = estimate.offset_at(Duration::from_secs(400)).to_seconds();
        assert!((later - 0.18).abs() < 1e-5, "{later}");
    }

    #[test]
    fn long_delays_count_little() {
        // Every second sample waited 30 ms in one direction: 15 ms of offset that is not there.
        let estimate = estimate(&filter((0_u32..20).map(|step| {
            let queue = f64::from(step % 2) * 0.030;
            (f64::from(step) * 16.0, queue / 2.0, 0.010 + queue)
        })));
        assert!(estimate.offset.abs().to_seconds() < 0.004, "{estimate:?}");
    }

    #[test]
    fn one_contradiction_waits_and_a_second_one_is_a_step() {
        let mut filter = filter((0_u32..10).map(|step| (f64::from(step) * 16.0, 0.0, 0.001)));
        assert!(!filter.add(sample(160.0, 5.0, 0.001)));
        assert_eq!(estimate(&filter).offset, NtpDuration::ZERO);
        assert!(!filter.add(sample(176.0, 0.0, 0.001)));
        assert_eq!(filter.len(), 11);
        assert!(!filter.add(sample(192.0, 1.0, 0.001)));
        assert!(filter.add(sample(208.0, 1.0, 0.001)));
        assert!((estimate(&filter).offset.to_seconds() - 1.0).abs() < 1e-4);
        assert_eq!(filter.len(), 2);
    }

    #[test]
    fn a_bend_lets_the_old_samples_go() {
        let bend = filter((0_u32..60).map(|step| {
            let at = f64::from(step) * 16.0;
            (at, if at > 480.0 { (at - 480.0) * 20e-6 } else { 0.0 }, 0.001)
        }));
        let estimate = estimate(&bend);
        assert!(estimate.samples < 40, "{estimate:?}");
        assert!((estimate.frequency - 20e-6).abs() < 3e-6, "{estimate:?}");
    }

    #[test]
    fn the_past_in_another_light() {
        let filter = filter([(10.0, 0.0, 0.001), (20.0, 0.0, 0.001)]);
        let since = View {
            since: Duration::from_secs(15),
            leap: None,
        };
        assert_eq!(filter.estimate(&since).unwrap().samples, 1);
        assert_eq!(
            filter.estimate(&View {
                since: Duration::from_secs(21),
                leap: None
            }),
            None
        );
        let leap = View {
            since: Duration::ZERO,
            leap: Some((Duration::from_secs(25), -NtpDuration::SECOND)),
        };
        assert_eq!(filter.estimate(&leap).unwrap().offset, -NtpDuration::SECOND);
    }

    proptest! {
        #[test]
        fn the_truth_is_inside(
            frequency in -300e-6..300e-6_f64,
            queues in prop::collection::vec((0.0..0.010_f64, 0.0..0.010_f64), 1..80),
            interval in 2.0..128.0_f64,
        ) {
            // A symmetric path of 10 ms, and queues in both directions.
            let mut filter = ClockFilter::default();
            for (step, (out, back)) in queues.iter().enumerate() {
                let at = f64::from(u32::try_from(step).unwrap()) * interval;
                filter.add(sample(at, frequency * at + (out - back) / 2.0, 0.010 + out + back));
                let estimate = estimate(&filter);
                let later = at + interval;
                let error = estimate.offset_at(Duration::from_secs_f64(later)).to_seconds() - frequency * later;
                let later = Duration::from_secs_f64(later);
                let bound = estimate.delay.half().to_seconds() + estimate.error_at(later);
                prop_assert!(error.abs() <= bound, "{error} > {bound} after {step}: {estimate:?}");
            }
        }
    }
}
