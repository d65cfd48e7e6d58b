//! Pure. Who tells the truth: the intersection of what each says that the time can be (RFC 5905 §11.2.1,
//! after Marzullo), and what to make of those who do (§11.2.2, §11.2.3).

use crate::wire::NtpDuration;

/// What one upstream says: the true offset is within `offset` ± `distance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Offset of the upstream's clock from the host's.
    pub offset: NtpDuration,
    /// How wrong that may be; not negative.
    pub distance: NtpDuration,
}

impl Claim {
    fn lowest(&self) -> NtpDuration {
        self.offset - self.distance
    }

    fn highest(&self) -> NtpDuration {
        self.offset + self.distance
    }

    /// Does it allow every offset from `low` to `high`?
    pub fn contains(&self, low: NtpDuration, high: NtpDuration) -> bool {
        self.lowest() <= low && self.highest() >= high
    }
}

/// The points that lie within the most claims, if those claims are a majority and the points lie together.
///
/// The RFC's own algorithm takes everything between the first and the last such point: with a vague third, two
/// that contradict each other would both be believed. Here that is what it is, a tie without a winner.
pub fn intersection(claims: &[Claim]) -> Option<(NtpDuration, NtpDuration)> {
    // Where the most claims overlap, the last start before it and the first end after it are its edges.
    let mut regions = Vec::new();
    let (mut depth, mut last_start) = (0_usize, None);
    for (point, edge) in edges(claims) {
        match edge {
            Edge::Start => {
                depth += 1;
                last_start = Some(point);
            }
            Edge::End => {
                regions.extend(last_start.take().map(|start| (depth, start, point)));
                depth -= 1;
            }
        }
    }
    let deepest = regions.iter().map(|region| region.0).max()?;
    let mut winners = regions.iter().filter(|region| region.0 == deepest);
    match (winners.next(), winners.next()) {
        (Some(&(depth, low, high)), None) if depth * 2 > claims.len() => Some((low, high)),
        _ => None,
    }
}

/// From the lowest to the highest point that lies within the claims of a majority: as long as liars are a minority, the
/// truth is not outside. `None` if there is no such point.
pub fn hull(claims: &[Claim]) -> Option<(NtpDuration, NtpDuration)> {
    let mut depth = 0_usize;
    let mut points = Vec::new();
    for (point, edge) in edges(claims) {
        match edge {
            Edge::Start => {
                depth += 1;
                points.extend((depth * 2 > claims.len()).then_some(point));
            }
            Edge::End => {
                points.extend((depth * 2 > claims.len()).then_some(point));
                depth -= 1;
            }
        }
    }
    points.first().copied().zip(points.last().copied())
}

/// For each claim: is it a truechimer, does it contain the [`intersection`]? So all of them agree.
pub fn truechimers(claims: &[Claim]) -> Option<Vec<bool>> {
    let (low, high) = intersection(claims)?;
    Some(
        claims
            .iter()
            .map(|claim| claim.lowest() <= low && claim.highest() >= high)
            .collect(),
    )
}

/// One of those who agree, as the cluster algorithm sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Survivor {
    /// Offset of its clock, in seconds from any common point.
    pub offset: f64,
    /// Weighted deviation of its samples, in seconds.
    pub jitter: f64,
    /// How wrong it may be, in seconds.
    pub distance: f64,
}

/// So many survivors are kept at least (RFC 5905 §7.2, NMIN).
const SURVIVORS_MIN: usize = 3;

/// The cluster algorithm (RFC 5905 §11.2.2): of those who agree, leaves out one by one who is further from the
/// others than any is from itself. For each: does it survive?
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
            (squares / count(left.len().saturating_sub(1).max(1))).sqrt()
        };
        let worst = left
            .iter()
            .map(|&(index, one)| (index, selection_jitter(one)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        let quietest = left
            .iter()
            .map(|(_, one)| one.jitter)
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

/// The combine algorithm (RFC 5905 §11.2.3): the mean of the offsets, each with the weight of 1/distance.
/// `None` for nobody.
pub fn combine(survivors: &[Survivor]) -> Option<f64> {
    let weight = |one: &Survivor| 1.0 / one.distance.max(1e-9);
    let weights: f64 = survivors.iter().map(weight).sum();
    let sum: f64 = survivors.iter().map(|one| weight(one) * one.offset).sum();
    (!survivors.is_empty()).then(|| sum / weights)
}

#[expect(clippy::cast_precision_loss, reason = "the number of upstreams")]
fn count(number: usize) -> f64 {
    number as f64
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    Start,
    End,
}

/// All ends of all claims from low to high; where two meet in one point, they share it.
fn edges(claims: &[Claim]) -> Vec<(NtpDuration, Edge)> {
    let ends = |claim: &Claim| [(claim.lowest(), Edge::Start), (claim.highest(), Edge::End)];
    let mut edges: Vec<_> = claims.iter().flat_map(ends).collect();
    edges.sort_unstable();
    edges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(offset: f64, distance: f64) -> Claim {
        Claim {
            offset: NtpDuration::from_seconds(offset),
            distance: NtpDuration::from_seconds(distance),
        }
    }

    fn judged(claims: &[(f64, f64)]) -> Option<Vec<bool>> {
        truechimers(
            &claims
                .iter()
                .map(|&(offset, distance)| claim(offset, distance))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn who_agrees_with_whom() {
        type Case<'a> = (&'a [(f64, f64)], Option<Vec<bool>>);
        let cases: [Case<'_>; 10] = [
            (&[], None),
            (&[(5.0, 0.1)], Some(vec![true])),
            (&[(0.0, 0.1), (0.05, 0.1)], Some(vec![true, true])),
            // Two that disagree: nobody is believed.
            (&[(0.0, 0.1), (10.0, 0.1)], None),
            (&[(0.0, 0.1), (0.15, 0.1)], Some(vec![true, true])),
            (
                &[(0.0, 0.1), (10.0, 0.1), (0.02, 0.1)],
                Some(vec![true, false, true]),
            ),
            // Two against two.
            (&[(0.0, 0.1), (0.01, 0.1), (10.0, 0.1), (10.01, 0.1)], None),
            // A vague one agrees with everybody, and is no judge between two others.
            (&[(0.0, 0.1), (10.0, 0.1), (5.0, 20.0)], None),
            (
                &[(0.0, 0.1), (10.0, 0.1), (5.0, 20.0), (0.0, 0.2)],
                Some(vec![true, false, true, true]),
            ),
            (
                &[(0.0, 0.1), (0.01, 0.05), (10.0, 0.1), (9.0, 0.2), (-0.01, 0.1)],
                Some(vec![true, true, false, false, true]),
            ),
        ];
        for (claims, expected) in cases {
            assert_eq!(judged(claims), expected, "{claims:?}");
        }
    }

    fn survivor(offset: f64, jitter: f64, distance: f64) -> Survivor {
        Survivor {
            offset,
            jitter,
            distance,
        }
    }

    #[test]
    fn outliers_are_left_out_until_three_are_left() {
        let close = |offset| survivor(offset, 0.001, 0.1);
        assert_eq!(
            cluster(&[close(0.0), close(0.0005), close(-0.0005), close(0.05)]),
            [true, true, true, false]
        );
        assert_eq!(cluster(&[close(0.0), close(0.0001), close(0.05)]), [true; 3]);
        // All are noisier than they are apart.
        assert_eq!(
            cluster(&[0.0, 0.01, 0.02, 0.03].map(|offset| survivor(offset, 0.05, 0.1))),
            [true; 4]
        );
        assert!(cluster(&[]).is_empty());
    }

    #[test]
    fn near_ones_weigh_more() {
        let mean = combine(&[survivor(0.0, 0.0, 0.010), survivor(0.030, 0.0, 0.020)]).unwrap();
        assert!((mean - 0.010).abs() < 1e-12, "{mean}");
        assert_eq!(combine(&[]), None);
    }

    fn claims() -> impl Strategy<Value = Vec<Claim>> {
        prop::collection::vec((-1000_i32..1000, 0_i32..1000), 0..12).prop_map(|claims| {
            let claims = claims.into_iter();
            claims
                .map(|(offset, distance)| claim(f64::from(offset) / 100.0, f64::from(distance) / 100.0))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn the_believed_are_a_majority(claims in claims()) {
            if let Some(judged) = truechimers(&claims) {
                prop_assert!(judged.iter().filter(|&&truth| truth).count() * 2 > claims.len());
            }
        }

        #[test]
        fn the_hull_holds_the_truth_against_any_minority(claims in claims(), lies in claims()) {
            let honest: Vec<Claim> = claims.into_iter().filter(|claim| claim.contains(NtpDuration::ZERO, NtpDuration::ZERO)).collect();
            let all: Vec<Claim> = honest.iter().chain(lies.iter().take(honest.len().saturating_sub(1))).copied().collect();
            if !honest.is_empty() {
                let (low, high) = hull(&all).unwrap();
                prop_assert!(low <= NtpDuration::ZERO && high >= NtpDuration::ZERO);
            }
        }

        #[test]
        fn order_does_not_matter(claims in claims(), turn in 0_usize..12) {
            let mut turned = claims.clone();
            turned.rotate_left(turn.min(claims.len()));
            turned.reverse();
            prop_assert_eq!(intersection(&claims), intersection(&turned));
        }

        #[test]
        fn the_believed_agree_with_each_other(claims in claims()) {
            let judged = truechimers(&claims).unwrap_or_default();
            let believed: Vec<&Claim> = claims.iter().zip(judged).filter_map(|(claim, truth)| truth.then_some(claim)).collect();
            for (one, other) in believed.iter().zip(believed.iter().skip(1)) {
                prop_assert!(one.lowest() <= other.highest() && other.lowest() <= one.highest());
            }
        }

        #[test]
        fn honest_ones_that_are_a_majority_win(honest in prop::collection::vec((-100_i32..100, 100_i32..300), 1..8), lies in prop::collection::vec((500_i32..5000, 0_i32..50), 0..8)) {
            // Honest claims contain the true offset 0, and those lies are too far to meet any of them.
            prop_assume!(lies.len() < honest.len());
            let claims: Vec<Claim> = honest.iter().chain(&lies)
                .map(|&(offset, distance)| claim(f64::from(offset) / 100.0, f64::from(distance) / 100.0)).collect();
            let expected: Vec<bool> = claims.iter().enumerate().map(|(at, _)| at < honest.len()).collect();
            prop_assert_eq!(truechimers(&claims), Some(expected));
        }
    }
}
