//! Pure. Who tells the truth: the intersection of what each upstream says that the time can be (RFC 5905 §11.2.1,
//! after Marzullo), and what to make of those who do (§11.2.2, §11.2.3).
//!
//! Of `n` claims a minority, (n − 1) / 2 rounded down, may be lies. Then the truth is somewhere in what a majority of the
//! claims contains, and nothing narrower is sure: the nearest claim may be the lie. So the [`majority_hull`] is what
//! is announced, and a single claim can move the served time no further than the others make plausible
//! ([`combine`]).

use std::cmp::Ordering;

use crate::time::NtpDuration;

/// A correctness interval: all offsets that one upstream says are possible (RFC 5905 §11.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The lowest of them.
    pub low: NtpDuration,
    /// The highest; not below `low`.
    pub high: NtpDuration,
}

impl Interval {
    /// All offsets that are no further than `distance` (not negative) from `offset`.
    //= RFC 5905 §11.2.1 interval
    pub fn around(offset: NtpDuration, distance: NtpDuration) -> Self {
        Self {
            low: offset - distance,
            high: offset + distance,
        }
    }

    /// Contains all of `other`.
    pub fn contains(&self, other: &Self) -> bool {
        self.low <= other.low && self.high >= other.high
    }

    /// Has a point in common with `other`.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }

    /// The shortest interval that contains both.
    #[must_use]
    pub fn hull(&self, other: &Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
        }
    }

    /// How far the farther end is from `point`; never negative.
    pub fn farthest(&self, point: NtpDuration) -> NtpDuration {
        (self.high - point).max(point - self.low).max(NtpDuration::ZERO)
    }
}

/// How many of `votes` are a majority: with fewer liars than that, the truth is among what so many contain.
//= RFC 5905 §11.2.1 majority
pub const fn majority(votes: usize) -> usize {
    votes / 2 + 1
}

/// Where a majority agrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Where the most claims overlap: one place, or several that lie within equally many.
    places: Vec<Interval>,
}

impl Agreement {
    /// The places that lie within the most of the claims, if that is a majority.
    ///
    /// Where there are several, nobody can tell which of them is right, and the [`majority_hull`] covers all.
    //= RFC 5905 §11.2.1 intersection
    pub fn of(claims: &[Interval]) -> Option<Self> {
        let regions = regions(claims);
        let depth = regions.iter().map(|region| region.0).max()?;
        let places = regions.into_iter().filter(|region| region.0 == depth);
        (depth >= majority(claims.len())).then(|| Self {
            places: places.map(|region| region.1).collect(),
        })
    }

    /// Is the upstream of this claim a truechimer, does it contain one of the places?
    //= RFC 5905 §11.2.1 midpoints
    pub fn includes(&self, claim: &Interval) -> bool {
        self.places.iter().any(|place| claim.contains(place))
    }

    /// How many of the claims agree with each other, at most.
    pub fn depth(&self, claims: &[Interval]) -> usize {
        let within = |place: &Interval| claims.iter().filter(|claim| claim.contains(place)).count();
        self.places.iter().map(within).max().unwrap_or(0)
    }
}

/// How many of so many claims have to contain a point that may be the truth, when as many more votes are still `unknown`:
/// these may turn out to contain any point. Of two claims either may be the lie.
fn least(claims: usize, unknown: usize) -> usize {
    match (claims, unknown) {
        (2, 0) => 1,
        _ => majority(claims + unknown).saturating_sub(unknown).max(1),
    }
}

/// From the lowest to the highest point that may be the truth: a majority of the votes contains it (of two, one of them),
/// or would if all that are still `unknown` did. As long as liars are a minority, the truth is not outside. `None` if there
/// is no such point.
pub fn majority_hull(claims: &[Interval], unknown: usize) -> Option<Interval> {
    let least = least(claims.len(), unknown);
    let mut depth = 0_usize;
    let mut points = Vec::new();
    for (point, edge) in edges(claims) {
        if edge == Edge::Start {
            depth += 1;
        }
        points.extend((depth >= least).then_some(point));
        if edge == Edge::End {
            depth -= 1;
        }
    }
    let (low, high) = points.first().copied().zip(points.last().copied())?;
    Some(Interval { low, high })
}

/// Between the k-th lowest and the k-th highest end of the claims, k being how many must contain the truth, as for the
/// [`majority_hull`]. A minority of liars can move neither end past those of all honest claims, whether
/// the claims have a point in common or not. `None` for no claims.
pub fn majority_span(claims: &[Interval], unknown: usize) -> Option<Interval> {
    let place = least(claims.len(), unknown) - 1;
    let mut lows: Vec<_> = claims.iter().map(|claim| claim.low).collect();
    let mut highs: Vec<_> = claims.iter().map(|claim| claim.high).collect();
    lows.sort_unstable();
    highs.sort_unstable();
    let (low, high) = lows
        .get(place)
        .copied()
        .zip(highs.iter().rev().nth(place).copied())?;
    Some(Interval {
        low: low.min(high),
        high: low.max(high),
    })
}

/// The places where claims overlap more than right beside them, and how many do there, from low to high.
fn regions(claims: &[Interval]) -> Vec<(usize, Interval)> {
    let mut regions = Vec::new();
    let (mut depth, mut last_start) = (0_usize, None);
    for (point, edge) in edges(claims) {
        match edge {
            Edge::Start => {
                depth += 1;
                last_start = Some(point);
            }
            Edge::End => {
                let region = last_start.take().map(|low| Interval { low, high: point });
                regions.extend(region.map(|region| (depth, region)));
                depth -= 1;
            }
        }
    }
    regions
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    Start,
    End,
}

/// All ends of all claims from low to high; where two meet in one point, they share it.
fn edges(claims: &[Interval]) -> Vec<(NtpDuration, Edge)> {
    let ends = |claim: &Interval| [(claim.low, Edge::Start), (claim.high, Edge::End)];
    let mut edges: Vec<_> = claims.iter().flat_map(ends).collect();
    edges.sort_unstable();
    edges
}

/// One of those who agree, as the cluster and combine algorithms see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Survivor {
    /// Offset of its clock, in seconds from any common point.
    pub offset: f64,
    /// Weighted deviation of its samples, in seconds.
    pub jitter: f64,
    /// How wrong it may be, in seconds.
    pub distance: f64,
    /// How many of the upstreams are the same server as this one, itself included: they share one vote.
    pub shared_by: usize,
    /// It survived the last time.
    pub survived: bool,
}

/// So many survivors are kept at least (RFC 5905 §11.1, NMIN).
//= RFC 5905 §11.2.2 nmin
const SURVIVORS_MIN: usize = 3;
/// Who survived the last time has to be so many times further from the others than who did not, or standings would flip
/// for nothing.
//= RFC 5905 §11.2.2 selection-jitter
const SURVIVES_LONGER: f64 = 2.0;
/// A path's asymmetry is usually below this part of the distance: what differs by less is no outlier.
//= RFC 5905 §11.2.2 psi-min
const USUAL_ASYMMETRY: f64 = 1.0 / 8.0;

/// The cluster algorithm (RFC 5905 §11.2.2): of those who agree, leaves out one by one who is further from the
/// others than any is from itself. For each: does it survive?
//= RFC 5905 §11.2.2 nmin
pub fn cluster(truechimers: &[Survivor]) -> Vec<bool> {
    let mut survives = vec![true; truechimers.len()];
    loop {
        let left: Vec<(usize, &Survivor)> = truechimers
            .iter()
            .enumerate()
            .filter(|(index, _)| survives.get(*index) == Some(&true))
            .collect();
        let selection_jitter = |one: &Survivor| {
            let squares: f64 = left
                .iter()
                .map(|(_, other)| (one.offset - other.offset).powi(2))
                .sum();
            let stays = if one.survived { SURVIVES_LONGER } else { 1.0 };
            (squares / count(left.len().saturating_sub(1).max(1))).sqrt() / stays
        };
        let worst = left
            .iter()
            .map(|&(index, one)| (index, selection_jitter(one)))
            .max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| order(truechimers, a.0, b.0)));
        let quietest = left
            .iter()
            .map(|(_, one)| one.jitter.max(one.distance * USUAL_ASYMMETRY))
            .fold(f64::INFINITY, f64::min);
        match worst {
            Some((index, jitter)) if left.len() > SURVIVORS_MIN && jitter > quietest => {
                survives
                    .iter_mut()
                    .skip(index)
                    .take(1)
                    .for_each(|one| *one = false);
            }
            _ => return survives,
        }
    }
}

/// An order of two that are equally far from the others which does not depend on their places.
fn order(all: &[Survivor], one: usize, other: usize) -> Ordering {
    let key = |index: usize| {
        all.get(index)
            .map_or((0.0, 0.0), |one| (one.distance, one.offset))
    };
    let (one, other) = (key(one), key(other));
    one.0.total_cmp(&other.0).then_with(|| one.1.total_cmp(&other.1))
}

/// The combine algorithm (RFC 5905 §11.2.3): the mean of the offsets. Each has the weight of 1/distance², not the
/// RFC's 1/distance: errors that nobody sees (asymmetry) grow with the distance, and a mean is best by variances.
/// `None` for nobody.
///
/// Who claims a small distance has nearly all the weight, so the mean is kept within what a majority of the upstreams
/// find `plausible`, in seconds from the same point.
//= RFC 5905 §11.2.3 combine
pub fn combine(survivors: &[Survivor], plausible: Option<(f64, f64)>) -> Option<f64> {
    let weight = |one: &Survivor| one.distance.max(1e-9).powi(-2) / count(one.shared_by.max(1));
    let weights: f64 = survivors.iter().map(weight).sum();
    let sum: f64 = survivors.iter().map(|one| weight(one) * one.offset).sum();
    let mean = (!survivors.is_empty()).then(|| sum / weights)?;
    Some(plausible.map_or(mean, |(low, high)| mean.max(low).min(high)))
}

/// What one upstream finds plausible: no further from its offset than a path's asymmetry usually makes it wrong.
pub fn plausible(offset: NtpDuration, distance: NtpDuration) -> Interval {
    Interval::around(
        offset,
        NtpDuration::from_seconds(distance.to_seconds() * USUAL_ASYMMETRY),
    )
}

#[expect(clippy::cast_precision_loss, reason = "the number of upstreams")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
