//! Pure. The selection: intersection of the upstreams' correctness intervals, clustering, and combination.
//!
//! The intersection is that of RFC 5905 §11.2.1 (after Marzullo), the cluster and combine algorithms those of §11.2.2
//! and §11.2.3.
//!
//! A claim is a correctness interval. Of `n` claims a minority, (n − 1) / 2 rounded down, may be false. Then the true
//! time is somewhere in what a majority of the claims contains, and nothing narrower is certain: the nearest claim may
//! be a false one. So the [`majority_hull`] is announced, and a single claim can move the served time no further than
//! the others make plausible ([`combine`]).

use std::cmp::Ordering;

use crate::time::NtpDuration;

/// A correctness interval: all offsets that are possible by one upstream's samples (RFC 5905 §11.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The lowest offset.
    pub low: NtpDuration,
    /// The highest offset; not below `low`.
    pub high: NtpDuration,
}

impl Interval {
    /// Returns all offsets that are no further than `distance` (not negative) from `offset`.
    //= RFC 5905 §11.2.1 interval
    pub fn around(offset: NtpDuration, distance: NtpDuration) -> Self {
        Self {
            low: offset - distance,
            high: offset + distance,
        }
    }

    /// Returns whether it contains all of `other`.
    pub fn contains(&self, other: &Self) -> bool {
        self.low <= other.low && self.high >= other.high
    }

    /// Returns whether it has a point in common with `other`.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }

    /// Returns the shortest interval that contains both.
    #[must_use]
    pub fn hull(&self, other: &Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
        }
    }

    /// Returns the distance of the farther end from `point`; never negative.
    pub fn farthest(&self, point: NtpDuration) -> NtpDuration {
        (self.high - point).max(point - self.low).max(NtpDuration::ZERO)
    }
}

/// Returns the number of `votes` that is a majority.
///
/// If the false ones are a minority, the true time is where this many claims overlap.
//= RFC 5905 §11.2.1 majority
pub const fn majority(votes: usize) -> usize {
    votes / 2 + 1
}

/// The agreement of a majority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The places where the most claims overlap: one, or several with equally many claims.
    places: Vec<Interval>,
}

impl Agreement {
    /// Returns the places where the most claims overlap, if these are a majority.
    ///
    /// If there are several, any of them may be right, and the [`majority_hull`] covers all.
    //= RFC 5905 §11.2.1 intersection
    pub fn of(claims: &[Interval]) -> Option<Self> {
        let regions = regions(claims);
        let depth = regions.iter().map(|region| region.0).max()?;
        let places = regions.into_iter().filter(|region| region.0 == depth);
        (depth >= majority(claims.len())).then(|| Self {
            places: places.map(|region| region.1).collect(),
        })
    }

    /// Returns whether the upstream of this claim is a truechimer: whether the claim contains one of the places.
    //= RFC 5905 §11.2.1 midpoints
    pub fn includes(&self, claim: &Interval) -> bool {
        self.places.iter().any(|place| claim.contains(place))
    }

    /// Returns the places that at least `least` of other `claims` have a point in common with; `None` if there is none.
    ///
    /// A claim that is one of those that agree contains the place, unless it is only a part of one.
    pub fn among(self, claims: &[Interval], least: usize) -> Option<Self> {
        let near = |place: &Interval| claims.iter().filter(|claim| claim.overlaps(place)).count();
        let places: Vec<_> = self
            .places
            .into_iter()
            .filter(|place| near(place) >= least)
            .collect();
        (!places.is_empty()).then_some(Self { places })
    }

    /// Returns the largest number of claims that agree with each other.
    pub fn depth(&self, claims: &[Interval]) -> usize {
        let within = |place: &Interval| claims.iter().filter(|claim| claim.contains(place)).count();
        self.places.iter().map(within).max().unwrap_or(0)
    }
}

/// Returns the least number of the `claims` that contain a point that may be the true time.
///
/// `unknown` is the number of further votes whose claims are not known yet: they may contain any point. Of two claims
/// either may be false.
fn least(claims: usize, unknown: usize) -> usize {
    match (claims, unknown) {
        (2, 0) => 1,
        _ => majority(claims + unknown).saturating_sub(unknown).max(1),
    }
}

/// Returns the interval from the lowest to the highest point that may be the true time; `None` if there is none.
///
/// A majority of the votes contains each such point (of two votes, one of them), or would if all `unknown` votes did.
/// If the false ones are a minority, the true time is inside.
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

/// Returns the interval between the k-th lowest and the k-th highest end of the claims; `None` for no claims.
///
/// k is the number of claims that must contain the true time, as for the [`majority_hull`]. A minority of false claims
/// can move neither end past those of all true claims, even if the claims have no point in common.
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

/// Returns the places where more claims overlap than right beside them, each with their number, from low to high.
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

/// Returns all ends of all claims from low to high; claims that meet in one point share it.
fn edges(claims: &[Interval]) -> Vec<(NtpDuration, Edge)> {
    let ends = |claim: &Interval| [(claim.low, Edge::Start), (claim.high, Edge::End)];
    let mut edges: Vec<_> = claims.iter().flat_map(ends).collect();
    edges.sort_unstable();
    edges
}

/// A truechimer in the form of the cluster and combine algorithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Survivor {
    /// Offset of its clock, in seconds from any common point.
    pub offset: f64,
    /// Weighted deviation of its samples, in seconds.
    pub jitter: f64,
    /// Root distance, in seconds.
    pub distance: f64,
    /// Number of the upstreams that are the same server as this one, itself included: they share one vote.
    pub shared_by: usize,
    /// Whether it survived the last time.
    pub survived: bool,
}

/// Minimum number of survivors (RFC 5905 §11.1, NMIN).
//= RFC 5905 §11.2.2 nmin
const SURVIVORS_MIN: usize = 3;
/// Factor by which a survivor of the last time may be further from the others, so that standings do not change often.
//= RFC 5905 §11.2.2 selection-jitter
const SURVIVES_LONGER: f64 = 2.0;
/// Usual asymmetry of a path as a part of the root distance: an offset that differs by less is no outlier.
//= RFC 5905 §11.2.2 psi-min
const USUAL_ASYMMETRY: f64 = 1.0 / 8.0;

/// The cluster algorithm (RFC 5905 §11.2.2); returns for each truechimer whether it survives.
///
/// It repeatedly drops the one with the largest selection jitter, while that is above the smallest jitter of any.
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

/// Orders two truechimers of equal selection jitter independently of their places.
fn order(all: &[Survivor], one: usize, other: usize) -> Ordering {
    let key = |index: usize| {
        all.get(index)
            .map_or((0.0, 0.0), |one| (one.distance, one.offset))
    };
    let (one, other) = (key(one), key(other));
    one.0.total_cmp(&other.0).then_with(|| one.1.total_cmp(&other.1))
}

/// The combine algorithm (RFC 5905 §11.2.3); returns the weighted mean of the offsets, or `None` without survivors.
///
/// The weight is 1/distance², not the RFC's 1/distance: hidden errors (asymmetry) grow with the distance, and a mean is
/// best if weighted by variances.
///
/// An upstream that claims a small distance has nearly all the weight, so the mean is limited to what a majority of the
/// upstreams finds `plausible`, in seconds from the same point.
//= RFC 5905 §11.2.3 combine
pub fn combine(survivors: &[Survivor], plausible: Option<(f64, f64)>) -> Option<f64> {
    let weight = |one: &Survivor| one.distance.max(1e-9).powi(-2) / count(one.shared_by.max(1));
    let weights: f64 = survivors.iter().map(weight).sum();
    let sum: f64 = survivors.iter().map(|one| weight(one) * one.offset).sum();
    let mean = (!survivors.is_empty()).then(|| sum / weights)?;
    Some(plausible.map_or(mean, |(low, high)| mean.max(low).min(high)))
}

/// Returns the offsets that one upstream makes plausible: within a path's usual asymmetry.
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
