//! Pure. The clock filter: from the samples of one upstream to its offset and frequency, and how well both are
//! known. In place of the RFC's register of eight (RFC 5905 §10) it is a weighted least-squares line, as the
//! frequency is wanted too.
//!
//! * A sample's error is at most half of its delay, and what is beyond the shortest delay was spent in queues: so
//!   a sample counts the less, the longer it took.
//! * Where queues are mostly on one way, all samples are wrong to the same side, the more the longer they took: that
//!   slope is fitted too, and taken out.
//! * What is not seen yet is assumed: before there are many samples, their error is a part of the delay.
//! * An oscillator wanders: so a sample counts the less, the older it is.
//! * A line that fits no more shows in residuals that stay on one side for long: then the oldest samples go.
//! * A sample that contradicts all others waits for a second one that agrees with it: then the clock was stepped. Three in
//!   a row that contradict all others end those, whatever they say: it is not the answers that are wrong then.

mod fit;

use std::collections::VecDeque;
use std::time::Duration;

use self::fit::fit;
use super::packet::Sample;
use crate::time::NtpDuration;

/// Samples kept: chrony's number, and enough for hours.
//= RFC 5905 §10 register
const SAMPLES_MAX: usize = 64;
/// Fewer can't show a run.
const RUNS_FROM: usize = 8;
/// What is assumed of an oscillator before anything is known: its frequency is wrong by 100 ppm (one sigma).
const FREQUENCY_SD_UNKNOWN: f64 = 100e-6;
/// Random walk of its frequency, per square root of a second: 3e-9 is 0.1 ppm in 20 minutes.
const FREQUENCY_WANDER: f64 = 3e-9;
/// No clock is further off in frequency (RFC 5905 A.1.1, MAXFREQ).
const FREQUENCY_MAX: f64 = 500e-6;
/// So many standard deviations are said to be possible.
const BOUND_SIGMAS: f64 = 3.0;
/// So many samples in a row that contradict all others end those.
const SUSPECTS_MAX: usize = 3;
/// A clock that seems to run away from its samples faster than this was stepped.
const MAX_APPARENT_FREQUENCY: f64 = 5e-3;
/// A sample is a contradiction only if it is further off than this many deviations, beside what delays explain.
const CONTRADICTION: f64 = 5.0;

/// A leap second: when it was by the raw counter, and by how much it shifted UTC.
pub type LeapShift = (Duration, NtpDuration);

/// The last time that the host's clocks jumped against each other, and by how much they did in all since the start (not
/// negative): the raw counter may have gone otherwise than true time by as much.
pub type Jump = (Duration, NtpDuration);

/// A part of the past that must be seen in another light.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct View {
    /// Samples from before this reading of the raw counter do not count: the host slept then, or the counter jumped.
    pub since: Duration,
    /// A leap second: from this reading on UTC is shifted, and all samples from before with it, unless their filter
    /// knows of it already.
    pub leap: Option<LeapShift>,
    /// The host's clocks jumped against each other: samples from before may be wrong by so much more, unless their filter
    /// knows of it already.
    pub jump: Option<Jump>,
}

/// The last samples of one upstream.
#[derive(Clone, Debug, Default)]
pub struct ClockFilter {
    samples: VecDeque<Sample>,
    /// The newest ones contradict the others, and wait for one that agrees with them.
    suspects: Vec<Sample>,
    /// When the leap second was that the samples are shifted by already.
    leapt: Option<Duration>,
    /// How much of all jumps they are widened by already.
    jumped: NtpDuration,
    /// How fast the clock may run, if that was more than is usual: it seemed to when the last samples were given up.
    assumed_frequency: Option<f64>,
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
    /// What was assumed of the frequency before anything was known (one sigma).
    assumed_frequency: f64,
    /// Covariance of offset and frequency.
    covariance: f64,
    /// Shortest delay: half of it is the error that no statistic can find.
    pub delay: NtpDuration,
    /// Weighted deviation of the samples from the line, in seconds.
    pub jitter: f64,
    /// How far the true offset may be above and below the line, in seconds, beside half of the shortest delay:
    /// the sample that says so best, and when it was taken.
    limits: [(Duration, f64); 2],
    /// Dispersion of one measurement: precisions of both clocks.
    pub dispersion: NtpDuration,
    /// How many samples it is made of.
    pub samples: usize,
}

impl ClockFilter {
    /// Adds the newest sample. Did it end those before, as the clock was stepped or runs at another pace?
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

    /// Another one that contradicts those in use. Are they given up for the newer ones?
    fn suspect(&mut self, sample: Sample) -> bool {
        let first = self.suspects.last().copied().filter(|last| agree(last, &sample));
        self.suspects.push(sample);
        let new: Vec<Sample> = match first {
            Some(first) => vec![first, sample],
            None if self.suspects.len() >= SUSPECTS_MAX.min(self.samples.len() + 1) => self.suspects.clone(),
            None => return false,
        };
        // Was it a step, or does it run away?
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

    /// From now on all samples are as they count in this view.
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

    /// What the samples say; `None` if there are none in this `view`.
    pub fn estimate(&self, view: &View) -> Option<Estimate> {
        let in_view = self.samples.iter().filter(|sample| sample.at >= view.since);
        let seen = self.seen();
        fit(
            in_view.map(|sample| seen.revised(*sample, view)),
            self.assumed_frequency(),
        )
    }

    /// Does the newest sample contradict the others?
    pub fn has_conflict(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// The newest sample, if it contradicts the others: what they say and what it says may both be so.
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

/// What samples have been revised for already.
#[derive(Clone, Copy)]
struct Revisions {
    leapt: Option<Duration>,
    jumped: NtpDuration,
}

impl Revisions {
    /// A sample as it counts in this view.
    fn revised(self, sample: Sample, view: &View) -> Sample {
        let leap = view
            .leap
            .filter(|&(at, _)| sample.at < at && self.leapt != Some(at));
        let jump = view.jump.filter(|&(at, _)| sample.at < at);
        let shift = leap.map_or(NtpDuration::ZERO, |(_, by)| by);
        let error = jump.map_or(NtpDuration::ZERO, |(_, total)| total - self.jumped);
        Sample {
            offset: sample.offset + shift,
            // What is said of a sample's error is half of its delay.
            delay: sample.delay + error + error,
            ..sample
        }
    }
}

/// A sample that contradicts those before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConflictingSample {
    /// The offset that it says.
    pub offset: NtpDuration,
    /// How wrong that was when it was taken, in seconds.
    error: f64,
    /// How fast the clock runs away, if it was not stepped.
    growth: f64,
    at: Duration,
}

impl ConflictingSample {
    /// How wrong the offset may be at `now`, if the clock runs on as it seems to.
    pub fn error_at(&self, now: Duration) -> NtpDuration {
        NtpDuration::from_seconds(self.error + self.growth * seconds(self.at, now).max(0.0))
    }

    /// What the clock may gain or lose in a second.
    pub fn growth(&self) -> NtpDuration {
        NtpDuration::from_seconds(self.growth)
    }
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

    /// The offset at `now` if `frequency` is known better from elsewhere: the line of that slope that fits best.
    pub fn offset_given(&self, frequency: f64, now: Duration) -> NtpDuration {
        let turned = self.covariance / self.frequency_sd.powi(2) * (frequency - self.frequency);
        self.offset + NtpDuration::from_seconds(turned + frequency * seconds(self.at, now))
    }

    /// By how much the frequency may be wrong, as it was when the newest sample was taken.
    pub fn frequency_error(&self) -> f64 {
        frequency_bound(self.frequency_sd, self.assumed_frequency)
    }

    /// By how much it may be wrong at `now`, as it wanders.
    pub fn frequency_error_at(&self, now: Duration) -> f64 {
        self.frequency_error() + BOUND_SIGMAS * FREQUENCY_WANDER * seconds(self.at, now).max(0.0).sqrt()
    }

    /// How wrong the offset may be at `now`, in seconds, beside half of the shortest delay.
    ///
    /// Two bounds hold: what the statistics say, once there are enough samples for any; and that no sample is wrong
    /// by more than half of its delay, and what it has strayed by the unknown frequency since.
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

    /// How fast the clock runs, if it has run to `sample` since the newest one and was not stepped.
    fn apparent_frequency(&self, sample: &Sample) -> f64 {
        let meanwhile = seconds(self.at, sample.at).max(1.0);
        (self.residual(sample).abs() / meanwhile + self.frequency.abs()).min(MAX_APPARENT_FREQUENCY)
    }
}

/// How far an oscillator may stray in `age` seconds because its frequency wanders, in seconds.
pub fn wander_bound(age: f64) -> f64 {
    BOUND_SIGMAS * wander(age)
}

/// How far an oscillator strays in `age` seconds because its frequency wanders (integral of a random walk).
fn wander(age: f64) -> f64 {
    let age = age.max(0.0);
    FREQUENCY_WANDER * age * (age / 3.0).sqrt()
}

/// By how much a frequency of this deviation may be wrong, when `pace` was assumed of it.
fn frequency_bound(frequency_sd: f64, assumed_frequency: f64) -> f64 {
    (BOUND_SIGMAS * frequency_sd).min(FREQUENCY_MAX.max(BOUND_SIGMAS * assumed_frequency))
}

/// What may be added to an error in `age` seconds, when the frequency is known with this deviation and assumption.
fn drift_bound((frequency_sd, assumed_frequency): (f64, f64), age: f64) -> f64 {
    frequency_bound(frequency_sd, assumed_frequency) * age.max(0.0) + BOUND_SIGMAS * wander(age)
}

/// Is the sample further off than both delays and the estimate's uncertainty can explain?
fn contradicts(estimate: &Estimate, sample: &Sample) -> bool {
    let delays = (sample.delay.half() + estimate.delay.half() + sample.dispersion).to_seconds();
    let explained = delays + CONTRADICTION * estimate.offset_sd_at(sample.at);
    estimate.residual(sample).abs() > explained
}

/// Do two samples in a row say the same, as far as delays and an oscillator's error tell?
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
