//! Pure. The weighted least-squares line through the samples of one upstream, and its errors.

use std::time::Duration;

use super::{Estimate, count, drift_bound, seconds, wander};
use crate::time::NtpDuration;
use crate::upstream::packet::Sample;

/// Assumed standard deviation of the asymmetry: the part of a sample's queueing time that is its error.
///
/// It is between -1/2 and 1/2, depending on the direction of the queues, and uniform before any sample.
const ASYMMETRY_SD: f64 = 0.29;
/// Smallest factor by which the samples' variance may be below the assumed one.
const LEAST_MISFIT: f64 = 0.25;
/// Maximum number of times that the weights are corrected by the residuals.
const REFITS: u32 = 4;
/// Minimum number of samples for a variance below the assumed one.
const MISFIT_FROM: usize = 9;

/// Returns the least-squares line through `samples`, the oldest first.
///
/// The frequency has the prior `assumed_frequency` (one sigma, mean zero), so that one sample is enough for an
/// estimate, and two that are close together don't give an extreme one.
//= RFC 5905 §10 shortest-delay
pub(super) fn fit(samples: impl Iterator<Item = Sample> + Clone, assumed_frequency: f64) -> Option<Estimate> {
    let newest = samples.clone().last()?;
    let delay = samples.clone().map(|sample| sample.delay).min()?;
    let network_delay = samples.clone().map(|sample| sample.network_delay).min()?;
    let shortest = ShortestDelays { delay, network_delay };
    let with = |base| {
        Fitted::of(
            points(samples.clone(), &newest, shortest, base),
            assumed_frequency,
        )
    };
    let mut base = usual_error(samples.clone(), shortest, &newest);
    let mut fitted = with(base);
    // If queues explain too little of the residuals, the common part of all errors grows, and the weights differ less.
    for _ in 0..REFITS {
        if fitted.excess() <= 1.0 {
            break;
        }
        base *= fitted.excess().sqrt();
        fitted = with(base);
    }
    let number = fitted.points.len();
    let scale = if number > 2 {
        let least = if number < MISFIT_FROM { 1.0 } else { LEAST_MISFIT };
        fitted.excess().max(least) * small_sample_factor(fitted.freedom()).powi(2)
    } else {
        1.0
    };
    let [offset_sd, frequency_sd] =
        [fitted.offset_variance(), fitted.slope_variance()].map(|one| (scale * one).sqrt());
    let covariance = scale * fitted.covariance();
    let Fitted {
        points,
        sums,
        line,
        misfit,
        ..
    } = fitted;
    Some(Estimate {
        at: newest.at,
        offset: newest.offset + NtpDuration::from_seconds(line.offset),
        offset_sd,
        frequency: line.slope,
        frequency_sd,
        assumed_frequency,
        covariance,
        delay,
        //= RFC 5905 §10 jitter
        jitter: (misfit / sums.weight).sqrt(),
        limits: [1.0, -1.0]
            .map(|sign| limit(sign, &points, &line, (frequency_sd, assumed_frequency), &newest)),
        dispersion: newest.dispersion,
        samples: number,
    })
}

/// The shortest delays of all samples.
#[derive(Clone, Copy)]
struct ShortestDelays {
    delay: NtpDuration,
    network_delay: NtpDuration,
}

/// A sample in the form of the fit, all in seconds.
struct Point {
    /// Its instant, by the raw counter.
    taken: Duration,
    /// Its time relative to the newest sample: not positive.
    age: f64,
    /// Its offset relative to that of the newest sample.
    offset: f64,
    /// Its queueing time: the network delay beyond the shortest one.
    queues: f64,
    /// The bound of its error, apart from half of the shortest delay: half of the delay beyond that.
    bound: f64,
    /// The inverse of the variance of its error.
    weight: f64,
}

/// Returns the samples as points; those of the shortest delay have an error of `base` seconds (one sigma).
fn points(
    samples: impl Iterator<Item = Sample>,
    newest: &Sample,
    shortest: ShortestDelays,
    base: f64,
) -> Vec<Point> {
    let point = |sample: Sample| {
        let age = seconds(newest.at, sample.at);
        let queues = (sample.network_delay - shortest.network_delay).to_seconds();
        Point {
            taken: sample.at,
            age,
            offset: (sample.offset - newest.offset).to_seconds(),
            queues,
            bound: (sample.delay - shortest.delay).half().to_seconds(),
            weight: 1.0 / ((base + queues / 2.0).powi(2) + wander(-age).powi(2)),
        }
    };
    samples.map(point).collect()
}

/// The line through some points, and their residuals.
struct Fitted {
    points: Vec<Point>,
    sums: Sums,
    line: FittedLine,
    /// The weighted sum of squares of the residuals.
    misfit: f64,
    /// The line through the queueing times, and one over the variance of the asymmetry: its part of the line's error.
    queues: FittedLine,
    square: f64,
}

impl Fitted {
    fn of(points: Vec<Point>, assumed_frequency: f64) -> Self {
        let sums = Sums::of(&points, assumed_frequency);
        let (offsets, queues) = (
            sums.line(&points, |point| point.offset),
            sums.line(&points, |point| point.queues),
        );
        let (asymmetry, square) = asymmetry(&points, &offsets, &queues);
        let line = offsets.less(asymmetry, &queues);
        let left = |point: &Point| point.offset - asymmetry * point.queues - line.at(point.age);
        let misfit = points
            .iter()
            .map(|point| point.weight * left(point).powi(2))
            .sum();
        Self {
            points,
            sums,
            line,
            misfit,
            queues,
            square,
        }
    }

    /// Returns the degrees of freedom: the number of points, less two for a line.
    ///
    /// One less if the asymmetry follows from the points rather than from the assumption.
    fn freedom(&self) -> usize {
        let is_estimated = self.square > 2.0 * ASYMMETRY_SD.powi(-2);
        self.points
            .len()
            .saturating_sub(2 + usize::from(is_estimated))
            .max(1)
    }

    /// Returns the variance of the line's value at age zero, if the points' errors are as assumed.
    ///
    /// The next two return the variance of the slope and the covariance of both in the same way.
    fn offset_variance(&self) -> f64 {
        self.sums.square / self.sums.determinant() + self.queues.offset.powi(2) / self.square
    }

    fn slope_variance(&self) -> f64 {
        self.sums.weight / self.sums.determinant() + self.queues.slope.powi(2) / self.square
    }

    fn covariance(&self) -> f64 {
        self.queues.offset * self.queues.slope / self.square - self.sums.age / self.sums.determinant()
    }

    /// Returns the ratio of the points' variance to the assumed one.
    fn excess(&self) -> f64 {
        self.misfit / count(0..self.freedom())
    }
}

/// Returns the asymmetry with which the samples fit best, and one over its variance.
///
/// It is the regression of the residuals of the offsets on those of the queueing times.
fn asymmetry(points: &[Point], offsets: &FittedLine, queues: &FittedLine) -> (f64, f64) {
    let (mut product, mut square) = (0.0, ASYMMETRY_SD.powi(-2));
    for point in points {
        product += point.weight * point.queues * (point.offset - offsets.at(point.age));
        square += point.weight * point.queues * (point.queues - queues.at(point.age));
    }
    ((product / square).clamp(-0.5, 0.5), square)
}

/// Returns the limit of the true offset above (`sign` 1) or below (-1) the line, by the sample that limits it most.
fn limit(
    sign: f64,
    points: &[Point],
    line: &FittedLine,
    frequency: (f64, f64),
    newest: &Sample,
) -> (Duration, f64) {
    let says = |point: &Point| sign * (point.offset - line.at(point.age)) + point.bound;
    points
        .iter()
        .map(|point| (says(point) + drift_bound(frequency, -point.age), point))
        .min_by(|one, other| one.0.total_cmp(&other.0))
        .map_or((newest.at, 0.0), |(_, point)| (point.taken, says(point)))
}

/// A line over the ages of points.
struct FittedLine {
    /// Its value at age zero.
    offset: f64,
    slope: f64,
}

impl FittedLine {
    fn at(&self, age: f64) -> f64 {
        self.offset + self.slope * age
    }

    /// Returns this line less `times` the other.
    fn less(&self, times: f64, other: &Self) -> Self {
        Self {
            offset: self.offset - times * other.offset,
            slope: self.slope - times * other.slope,
        }
    }
}

/// The weighted sums of a line's normal equations that do not depend on the fitted values.
struct Sums {
    weight: f64,
    age: f64,
    square: f64,
}

impl Sums {
    fn of(points: &[Point], assumed_frequency: f64) -> Self {
        let nothing = Self {
            weight: 0.0,
            age: 0.0,
            square: assumed_frequency.powi(-2),
        };
        points.iter().fold(nothing, |sums, point| Self {
            weight: sums.weight + point.weight,
            age: sums.age + point.weight * point.age,
            square: sums.square + point.weight * point.age * point.age,
        })
    }

    fn determinant(&self) -> f64 {
        self.weight * self.square - self.age * self.age
    }

    /// Returns the line that fits `value` best.
    fn line(&self, points: &[Point], value: impl Fn(&Point) -> f64) -> FittedLine {
        let sum: f64 = points.iter().map(|point| point.weight * value(point)).sum();
        let product: f64 = points
            .iter()
            .map(|point| point.weight * point.age * value(point))
            .sum();
        let determinant = self.determinant();
        FittedLine {
            offset: (self.square * sum - self.age * product) / determinant,
            slope: (self.weight * product - self.age * sum) / determinant,
        }
    }
}

/// Returns the usual error of a sample of the shortest network delay, in seconds: half of the median queueing error.
///
/// It is not below the clocks' precision, nor below the part of the delay that is assumed for few samples (not of the network
/// delay: no claimed turnaround makes it smaller).
fn usual_error(
    samples: impl Iterator<Item = Sample> + Clone,
    shortest: ShortestDelays,
    newest: &Sample,
) -> f64 {
    let assumed = shortest.delay.to_seconds() / (4.0 * count(samples.clone()).powi(2));
    let mut queues: Vec<NtpDuration> = samples
        .map(|sample| (sample.network_delay - shortest.network_delay).half())
        .collect();
    queues.sort_unstable();
    let middle = queues
        .get(queues.len() / 2)
        .map_or(0.0, |middle| middle.half().to_seconds());
    middle.max(newest.dispersion.to_seconds()).max(assumed)
}

/// Returns the factor for a standard deviation with few degrees of freedom, so that three of it still cover 99.73 %.
///
/// These are the quantiles of Student's t, divided by three.
fn small_sample_factor(freedom: usize) -> f64 {
    const QUANTILES: [f64; 9] = [78.0, 6.4, 3.1, 2.2, 1.85, 1.65, 1.53, 1.43, 1.37];
    QUANTILES
        .get(freedom - 1)
        .copied()
        .unwrap_or_else(|| 1.0 + 3.0 / count(0..freedom))
}
