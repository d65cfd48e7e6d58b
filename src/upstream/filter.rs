//! Pure. The clock filter: estimates the offset and frequency of one upstream from its samples, with their errors.
//!
//! In place of the RFC's register of eight (RFC 5905 §10) it is a weighted least-squares line, as the frequency is
//! needed, too.
//!
//! * A sample's error is at most half of its delay.
//! * The network delay beyond the shortest one was spent in queues: so a longer one gives a smaller weight. It is without
//!   all of the turnaround, which an upstream only claims: so it weighs its own samples, and bounds no error.
//! * If queues are mostly in one direction, the errors of all samples have the same sign and grow with the delay: that
//!   slope is fitted, too, and subtracted.
//! * Before there are many samples, their error is assumed to be a part of the delay.
//! * An oscillator's frequency wanders: so an older sample has a smaller weight.
//! * A line that does not fit any more shows in residuals of one sign for long: then the oldest samples are dropped.
//! * A sample that contradicts all others waits for a second one that agrees with it: then the clock was stepped. Three
//!   in a row that contradict all others replace those, even if they do not agree: the old samples are wrong then.

mod fit;

use std::collections::VecDeque;
use std::time::Duration;

use self::fit::fit;
use super::packet::Sample;
use crate::time::NtpDuration;

/// Maximum number of samples: as in chrony, and enough for hours.
//= RFC 5905 §10 register
const SAMPLES_MAX: usize = 64;
/// Minimum number of samples for the runs test.
const RUNS_FROM: usize = 8;
/// Assumed standard deviation of an oscillator's frequency before it is measured: 100 ppm.
const FREQUENCY_SD_UNKNOWN: f64 = 100e-6;
/// Random walk of an oscillator's frequency, per square root of a second: 3e-9 is 0.1 ppm in 20 minutes.
const FREQUENCY_WANDER: f64 = 3e-9;
/// Largest frequency error of a clock: 500 ppm (RFC 5905 A.1.1, MAXFREQ).
const FREQUENCY_MAX: f64 = 500e-6;
/// Number of standard deviations that an error bound covers.
const BOUND_SIGMAS: f64 = 3.0;
/// Number of samples in a row that replace all others if they contradict them.
const SUSPECTS_MAX: usize = 3;
/// Largest frequency that is assumed of a clock; one that seems to be faster was stepped.
const MAX_APPARENT_FREQUENCY: f64 = 5e-3;
/// Number of standard deviations beyond what the delays explain, above which a sample contradicts the others.
const CONTRADICTION: f64 = 5.0;

/// A leap second: its instant by the raw counter, and its shift of UTC.
pub type LeapShift = (Duration, NtpDuration);

/// The last jump of the host's clocks against each other, and the sum of all jumps since the start (not negative).
///
/// The raw counter may have moved against true time by as much.
pub type Jump = (Duration, NtpDuration);

/// The corrections that older samples need after events on this host.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct View {
    /// Samples from before this reading of the raw counter are void: the host slept then, or the counter jumped.
    pub since: Duration,
    /// A leap second: all samples from before it are shifted, unless their filter has done so already.
    pub leap: Option<LeapShift>,
    /// A jump of the host's clocks against each other: the error of samples from before grows by as much.
    ///
    /// Samples whose filter has done so already are left as they are.
    pub jump: Option<Jump>,
}

/// The last samples of one upstream.
#[derive(Clone, Debug, Default)]
pub struct ClockFilter {
    samples: VecDeque<Sample>,
    /// The newest samples, if they contradict the others; they wait for one that agrees with them.
    suspects: Vec<Sample>,
    /// The instant of the leap second that the samples are shifted by already.
    leapt: Option<Duration>,
    /// The sum of jumps that is part of their errors already.
    jumped: NtpDuration,
    /// The assumed deviation of the frequency, if it is more than usual: as it seemed when samples were last replaced.
    assumed_frequency: Option<f64>,
}

/// The estimate of an upstream's clock against the local timescale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The instant of the newest sample, by the raw counter.
    pub at: Duration,
    /// Offset at that instant.
    pub offset: NtpDuration,
    /// Its standard deviation in seconds.
    pub offset_sd: f64,
    /// Frequency of the upstream's clock relative to the local timescale, less one (1e-6 is 1 ppm faster).
    pub frequency: f64,
    /// Its standard deviation.
    pub frequency_sd: f64,
    /// The standard deviation of the frequency that was assumed before any sample.
    assumed_frequency: f64,
    /// Covariance of offset and frequency.
    covariance: f64,
    /// Shortest delay: half of it is an error that statistics can't find.
    pub delay: NtpDuration,
    /// Weighted deviation of the samples from the line, in seconds.
    pub jitter: f64,
    /// The limits of the true offset above and below the line, in seconds, apart from half of the shortest delay.
    ///
    /// Each is that of the sample that limits it most, with its instant.
    limits: [(Duration, f64); 2],
    /// Dispersion of one measurement: the precisions of both clocks.
    pub dispersion: NtpDuration,
    /// Number of samples in the estimate.
    pub samples: usize,
}

impl ClockFilter {
    /// Adds the newest sample.
    ///
    /// Returns true if it replaced those before, since the clock was stepped or has another frequency.
    //= RFC 5905 §11.3 states
    pub fn add(&mut self, sample: Sample) -> bool {
        if let Some(estimate) = fit(self.samples.iter().copied(), self.assumed_frequency())
            && contradicts(&estimate, &sample)
        {
            return self.suspect(sample);
        }
        self.suspects.clear();
        self.samples.push_back(sample);
        while self.samples.len() > SAMPLES_MAX || self.has_long_runs() {
            self.samples.pop_front();
        }
        false
    }

    /// Puts a better measurement of the same exchange in the place of a sample, and returns by how much the offset changed.
    ///
    /// `None` if that sample is not there any more.
    pub fn correct(&mut self, sample: Sample) -> Option<NtpDuration> {
        let mut all = self.suspects.iter_mut().chain(&mut self.samples);
        let old = all.find(|old| old.at == sample.at)?;
        let by = sample.offset - old.offset;
        *old = sample;
        Some(by)
    }

    /// Adds a sample that contradicts those in use; returns whether newer ones replaced them.
    fn suspect(&mut self, sample: Sample) -> bool {
        let first = self.suspects.last().copied().filter(|last| agree(last, &sample));
        self.suspects.push(sample);
        let new: Vec<Sample> = match first {
            Some(first) => vec![first, sample],
            None if self.suspects.len() >= SUSPECTS_MAX.min(self.samples.len() + 1) => self.suspects.clone(),
            None => return false,
        };
        // Either it was a step, or the frequency is larger than assumed.
        self.assumed_frequency = match (
            fit(self.samples.iter().copied(), self.assumed_frequency()),
            new.first(),
        ) {
            (Some(before), Some(first)) => Some(before.apparent_frequency(first).max(FREQUENCY_SD_UNKNOWN)),
            (None, _) | (_, None) => self.assumed_frequency,
        };
        self.suspects.clear();
        self.samples = new.into();
        true
    }

    fn assumed_frequency(&self) -> f64 {
        self.assumed_frequency.unwrap_or(FREQUENCY_SD_UNKNOWN)
    }

    /// Corrects all samples for this view.
    pub fn revise(&mut self, view: &View) {
        self.samples.retain(|sample| sample.at >= view.since);
        self.suspects.retain(|sample| sample.at >= view.since);
        let seen = self.seen();
        for sample in self.samples.iter_mut().chain(&mut self.suspects) {
            *sample = seen.revised(*sample, view);
        }
        self.leapt = view.leap.map(|(at, _)| at).or(self.leapt);
        self.jumped = view.jump.map_or(self.jumped, |(_, total)| total);
    }

    fn seen(&self) -> Revisions {
        Revisions {
            leapt: self.leapt,
            jumped: self.jumped,
        }
    }

    /// Returns the estimate; `None` if no sample is valid in this `view`.
    pub fn estimate(&self, view: &View) -> Option<Estimate> {
        let in_view = self.samples.iter().filter(|sample| sample.at >= view.since);
        let seen = self.seen();
        fit(
            in_view.map(|sample| seen.revised(*sample, view)),
            self.assumed_frequency(),
        )
    }

    /// Returns the newest sample, whether it contradicts the others or not.
    pub fn newest(&self) -> Option<&Sample> {
        self.suspects.last().or(self.samples.back())
    }

    /// Returns whether the newest sample contradicts the others.
    pub fn has_conflict(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Returns the newest sample if it contradicts the others: either side may be right.
    pub fn conflicting_sample(&self, view: &View) -> Option<ConflictingSample> {
        let sample = self.seen().revised(*self.suspects.last()?, view);
        let estimate = self.estimate(view)?;
        (sample.at >= view.since).then(|| ConflictingSample {
            offset: sample.offset,
            error: (sample.delay.half() + sample.dispersion).to_seconds(),
            growth: estimate.apparent_frequency(&sample),
            at: sample.at,
        })
    }

    /// Returns the number of samples in use.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Returns whether no sample is in use.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The runs test (Wald and Wolfowitz): returns whether the residuals change their sign too rarely.
    ///
    /// Too rarely is less often than by chance in all but 1 of 40 cases.
    fn has_long_runs(&self) -> bool {
        if self.samples.len() < RUNS_FROM {
            return false;
        }
        let Some(estimate) = fit(self.samples.iter().copied(), self.assumed_frequency()) else {
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

/// The corrections that samples have already.
#[derive(Clone, Copy)]
struct Revisions {
    leapt: Option<Duration>,
    jumped: NtpDuration,
}

impl Revisions {
    /// Returns the sample with the corrections of this view.
    fn revised(self, sample: Sample, view: &View) -> Sample {
        let leap = view
            .leap
            .filter(|&(at, _)| sample.at < at && self.leapt != Some(at));
        let jump = view.jump.filter(|&(at, _)| sample.at < at);
        let shift = leap.map_or(NtpDuration::ZERO, |(_, by)| by);
        let error = jump.map_or(NtpDuration::ZERO, |(_, total)| total - self.jumped);
        Sample {
            offset: sample.offset + shift,
            // Half of a sample's delay is its error.
            delay: sample.delay + error + error,
            network_delay: sample.network_delay + error + error,
            ..sample
        }
    }
}

/// A sample that contradicts those before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConflictingSample {
    /// Its offset.
    pub offset: NtpDuration,
    /// Its maximum error when it was taken, in seconds.
    error: f64,
    /// Growth of the error in seconds per second, if the clock was not stepped but has another frequency.
    growth: f64,
    at: Duration,
}

impl ConflictingSample {
    /// Returns the maximum error of the offset at `now`, if the clock's frequency stays what it seems to be.
    pub fn error_at(&self, now: Duration) -> NtpDuration {
        NtpDuration::from_seconds(self.error + self.growth * seconds(self.at, now).max(0.0))
    }

    /// Returns what the clock may gain or lose per second.
    pub fn growth(&self) -> NtpDuration {
        NtpDuration::from_seconds(self.growth)
    }
}

impl Estimate {
    /// Returns the offset at `now`.
    pub fn offset_at(&self, now: Duration) -> NtpDuration {
        self.offset + NtpDuration::from_seconds(self.frequency * seconds(self.at, now))
    }

    /// Returns the standard deviation of the offset at `now`, in seconds.
    ///
    /// It grows with the error of the frequency, and with the frequency's random walk.
    pub fn offset_sd_at(&self, now: Duration) -> f64 {
        let age = seconds(self.at, now).max(0.0);
        let fitted = self.offset_sd.powi(2) + 2.0 * age * self.covariance + (age * self.frequency_sd).powi(2);
        (fitted.max(0.0) + wander(age).powi(2)).sqrt()
    }

    /// Returns the offset at `now` by the best line of the slope `frequency`, if that is known better from elsewhere.
    pub fn offset_given(&self, frequency: f64, now: Duration) -> NtpDuration {
        let turned = self.covariance / self.frequency_sd.powi(2) * (frequency - self.frequency);
        self.offset + NtpDuration::from_seconds(turned + frequency * seconds(self.at, now))
    }

    /// Returns the maximum error of the frequency at the newest sample.
    pub fn frequency_error(&self) -> f64 {
        frequency_bound(self.frequency_sd, self.assumed_frequency)
    }

    /// Returns the maximum error of the frequency at `now`, which grows with its random walk.
    pub fn frequency_error_at(&self, now: Duration) -> f64 {
        self.frequency_error() + BOUND_SIGMAS * FREQUENCY_WANDER * seconds(self.at, now).max(0.0).sqrt()
    }

    /// Returns the maximum error of the offset at `now`, in seconds, apart from half of the shortest delay.
    ///
    /// It is the smaller of two bounds: the statistical one, if there are more than two samples; and the one by which
    /// no sample is wrong by more than half of its delay plus its drift by the unknown frequency since then.
    //= RFC 5905 §10 dispersion
    //= RFC 5905 §10 dummy
    pub fn error_at(&self, now: Duration) -> f64 {
        let limit = self
            .limits
            .iter()
            .map(|&(taken, limit)| {
                limit + drift_bound((self.frequency_sd, self.assumed_frequency), seconds(taken, now))
            })
            .fold(0.0, f64::max);
        if self.samples > 2 {
            limit.min(BOUND_SIGMAS * self.offset_sd_at(now))
        } else {
            limit
        }
    }

    fn residual(&self, sample: &Sample) -> f64 {
        (sample.offset - self.offset_at(sample.at)).to_seconds()
    }

    /// Returns the frequency that leads from the newest sample to `sample`, if the clock was not stepped between them.
    fn apparent_frequency(&self, sample: &Sample) -> f64 {
        let meanwhile = seconds(self.at, sample.at).max(1.0);
        (self.residual(sample).abs() / meanwhile + self.frequency.abs()).min(MAX_APPARENT_FREQUENCY)
    }
}

/// Returns the maximum error in seconds that the frequency's random walk causes in `age` seconds.
pub fn wander_bound(age: f64) -> f64 {
    BOUND_SIGMAS * wander(age)
}

/// Returns the standard deviation of that error (the integral of a random walk).
fn wander(age: f64) -> f64 {
    let age = age.max(0.0);
    FREQUENCY_WANDER * age * (age / 3.0).sqrt()
}

/// Returns the maximum error of a frequency of this deviation, when `assumed_frequency` was its assumed one.
fn frequency_bound(frequency_sd: f64, assumed_frequency: f64) -> f64 {
    (BOUND_SIGMAS * frequency_sd).min(FREQUENCY_MAX.max(BOUND_SIGMAS * assumed_frequency))
}

/// Returns the maximum growth of an error in `age` seconds, with this deviation and assumption of the frequency.
fn drift_bound((frequency_sd, assumed_frequency): (f64, f64), age: f64) -> f64 {
    frequency_bound(frequency_sd, assumed_frequency) * age.max(0.0) + BOUND_SIGMAS * wander(age)
}

/// Returns whether the sample is further off than both delays and the estimate's uncertainty explain.
fn contradicts(estimate: &Estimate, sample: &Sample) -> bool {
    let delays = (sample.delay.half() + estimate.delay.half() + sample.dispersion).to_seconds();
    let explained = delays + CONTRADICTION * estimate.offset_sd_at(sample.at);
    estimate.residual(sample).abs() > explained
}

/// Returns whether the delays and an oscillator's error explain the difference between two samples in a row.
fn agree(one: &Sample, other: &Sample) -> bool {
    let drift = CONTRADICTION * FREQUENCY_SD_UNKNOWN * seconds(one.at, other.at).abs();
    let explained = (one.delay.half() + other.delay.half() + one.dispersion + other.dispersion).to_seconds();
    (one.offset - other.offset).abs().to_seconds() <= explained + drift
}

fn seconds(from: Duration, to: Duration) -> f64 {
    NtpDuration::between(from, to).to_seconds()
}

#[cfg(test)]
mod tests;
