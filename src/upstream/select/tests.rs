//! Pure. Tests of the selection, cluster and combine algorithms: tables and properties.

use super::*;
use proptest::prelude::*;

fn claim(offset: f64, distance: f64) -> Interval {
    Interval::around(
        NtpDuration::from_seconds(offset),
        NtpDuration::from_seconds(distance),
    )
}

fn claims_of(claims: &[(f64, f64)]) -> Vec<Interval> {
    let claims = claims.iter();
    claims
        .map(|&(offset, distance)| claim(offset, distance))
        .collect()
}

fn judged(claims: &[Interval]) -> Option<Vec<bool>> {
    let agreement = Agreement::of(claims)?;
    Some(claims.iter().map(|claim| agreement.includes(claim)).collect())
}

//= RFC 5905 §11.2.1 interval
//= RFC 5905 §11.2.1 majority
#[test]
fn who_agrees_with_whom() {
    type Case<'a> = (&'a [(f64, f64)], Option<Vec<bool>>);
    let cases: [Case<'_>; 11] = [
        (&[], None),
        (&[(5.0, 0.1)], Some(vec![true])),
        (&[(0.0, 0.1), (0.05, 0.1)], Some(vec![true, true])),
        // Two that disagree: there is no majority.
        (&[(0.0, 0.1), (10.0, 0.1)], None),
        (&[(0.0, 0.1), (0.15, 0.1)], Some(vec![true, true])),
        (
            &[(0.0, 0.1), (10.0, 0.1), (0.02, 0.1)],
            Some(vec![true, false, true]),
        ),
        // Two against two.
        (&[(0.0, 0.1), (0.01, 0.1), (10.0, 0.1), (10.01, 0.1)], None),
        // A wide claim agrees with each of two others that disagree: either of these may be right.
        (
            &[(0.0, 0.1), (10.0, 0.1), (5.0, 20.0)],
            Some(vec![true, true, true]),
        ),
        (
            &[(0.0, 0.1), (10.0, 0.1), (5.0, 20.0), (0.0, 0.2)],
            Some(vec![true, false, true, true]),
        ),
        (
            &[(0.0, 0.1), (0.01, 0.05), (10.0, 0.1), (9.0, 0.2), (-0.01, 0.1)],
            Some(vec![true, true, false, false, true]),
        ),
        // The place with the most claims counts, not one with just a majority.
        (
            &[(0.0, 0.1), (0.0, 0.1), (0.0, 0.1), (1.0, 0.95), (2.0, 0.1)],
            Some(vec![true, true, true, true, false]),
        ),
    ];
    for (claims, expected) in cases {
        assert_eq!(judged(&claims_of(claims)), expected, "{claims:?}");
    }
}

#[test]
fn where_the_truth_can_be() {
    type Case<'a> = (&'a [(f64, f64)], Option<(f64, f64)>);
    let cases: [Case<'_>; 8] = [
        (&[], None),
        (&[(5.0, 1.0)], Some((4.0, 6.0))),
        // Of two either may be false.
        (&[(0.0, 2.0), (1.0, 0.25)], Some((-2.0, 2.0))),
        (&[(0.0, 1.0), (1.5, 1.0)], Some((-1.0, 2.5))),
        (&[(0.0, 1.0), (3.0, 1.0)], Some((-1.0, 4.0))),
        // The nearest of three may be false: then true time is where the other two agree.
        (&[(0.0, 30.0), (1.0, 35.0), (25.0, 0.125)], Some((-30.0, 30.0))),
        (&[(0.0, 1.0), (10.0, 1.0), (5.0, 20.0)], Some((-1.0, 11.0))),
        (
            &[(0.0, 1.0), (0.0, 2.0), (0.0, 4.0), (0.0, 8.0), (0.0, 16.0)],
            Some((-4.0, 4.0)),
        ),
    ];
    for (claims, expected) in cases {
        let ends = |interval: Interval| (interval.low.to_seconds(), interval.high.to_seconds());
        assert_eq!(
            majority_hull(&claims_of(claims), 0).map(ends),
            expected,
            "{claims:?}"
        );
    }
}

fn survivor(offset: f64, jitter: f64, distance: f64) -> Survivor {
    Survivor {
        offset,
        jitter,
        distance,
        shared_by: 1,
        survived: false,
    }
}

//= RFC 5905 §11.2.2 nmin
#[test]
fn outliers_are_left_out_until_three_are_left() {
    let close = |offset| survivor(offset, 0.001, 0.001);
    assert_eq!(
        cluster(&[close(0.0), close(0.0005), close(-0.0005), close(0.05)]),
        [true, true, true, false]
    );
    assert_eq!(cluster(&[close(0.0), close(0.0001), close(0.05)]), [true; 3]);
    // The jitter of all is larger than their differences.
    assert_eq!(
        cluster(&[0.0, 0.01, 0.02, 0.03].map(|offset| survivor(offset, 0.05, 0.1))),
        [true; 4]
    );
    // They differ by less than a path's asymmetry usually makes.
    assert_eq!(
        cluster(&[0.0, 3e-6, -2e-6, 5e-6].map(|offset| survivor(offset, 1e-7, 60e-6))),
        [true; 4]
    );
    assert!(cluster(&[]).is_empty());
}

#[test]
fn who_survived_needs_more_to_be_an_outlier() {
    let all = |survived| {
        [0.0, 0.0, 0.0, 0.0018].map(|offset| Survivor {
            survived,
            ..survivor(offset, 0.001, 0.001)
        })
    };
    assert_eq!(cluster(&all(false)), [true, true, true, false]);
    assert_eq!(cluster(&all(true)), [true; 4]);
}

#[test]
fn near_ones_weigh_more() {
    let two = [survivor(0.0, 0.0, 0.010), survivor(0.030, 0.0, 0.020)];
    let mean = combine(&two, None).unwrap();
    assert!((mean - 0.006).abs() < 1e-12, "{mean}");
    assert_eq!(combine(&two, Some((0.007, 0.010))), Some(0.007));
    assert_eq!(combine(&[], None), None);
    // Two addresses of one server have the weight of one.
    let shared = Survivor {
        shared_by: 2,
        ..survivor(0.0, 0.0, 0.010)
    };
    let mean = combine(&[shared, shared, survivor(0.010, 0.0, 0.010)], None).unwrap();
    assert!((mean - 0.005).abs() < 1e-12, "{mean}");
}

fn claims() -> impl Strategy<Value = Vec<Interval>> {
    prop::collection::vec((-1000_i32..1000, 0_i32..1000), 0..12).prop_map(|claims| {
        let claims = claims.into_iter();
        claims
            .map(|(offset, distance)| claim(f64::from(offset) / 100.0, f64::from(distance) / 100.0))
            .collect()
    })
}

const TRUTH: Interval = Interval {
    low: NtpDuration::ZERO,
    high: NtpDuration::ZERO,
};

/// The `claims` that contain the true time, and fewer of the `false_claims`.
fn a_minority_is_false(claims: Vec<Interval>, false_claims: &[Interval]) -> Vec<Interval> {
    let honest: Vec<Interval> = claims
        .into_iter()
        .filter(|claim| claim.contains(&TRUTH))
        .collect();
    let false_claims = false_claims.iter().take(honest.len().saturating_sub(1));
    honest.iter().chain(false_claims).copied().collect()
}

proptest! {
    //= RFC 5905 §11.2.1 majority
    #[test]
    fn the_believed_are_a_majority(claims in claims()) {
        if let Some(judged) = judged(&claims) {
            prop_assert!(judged.iter().filter(|&&truth| truth).count() >= majority(claims.len()));
        }
    }

    #[test]
    fn the_hull_holds_the_truth_against_any_minority(claims in claims(), false_claims in claims()) {
        let all = a_minority_is_false(claims, &false_claims);
        if !all.is_empty() {
            prop_assert!(majority_hull(&all, 0).unwrap().contains(&TRUTH));
            prop_assert!(majority_span(&all, 0).unwrap().contains(&majority_hull(&all, 0).unwrap()));
            prop_assert!(Agreement::of(&all).is_some());
        }
    }

    #[test]
    fn the_hull_holds_the_truth_whichever_answers_first(claims in claims(), false_claims in claims(), first in 1_usize..12) {
        // The false ones answer first, and some true ones have not answered yet.
        let mut all = a_minority_is_false(claims, &false_claims);
        all.reverse();
        let unknown = all.len().saturating_sub(first);
        all.truncate(first);
        if !all.is_empty() && all.iter().any(|claim| claim.contains(&TRUTH)) {
            prop_assert!(majority_hull(&all, unknown).unwrap().contains(&TRUTH));
        }
    }

    #[test]
    fn of_two_that_agree_either_may_lie(honest in 0_i32..100, offset in -100_i32..100, distance in 0_i32..100) {
        let two = [claim(0.0, f64::from(honest)), claim(f64::from(offset), f64::from(distance))];
        let hull = majority_hull(&two, 0).unwrap();
        prop_assert!(hull.contains(&two[0]) && hull.contains(&two[1]));
    }

    #[test]
    fn order_does_not_matter(claims in claims(), turn in 0_usize..12) {
        let mut turned = claims.clone();
        turned.rotate_left(turn.min(claims.len()));
        turned.reverse();
        prop_assert_eq!(Agreement::of(&claims), Agreement::of(&turned));
        prop_assert_eq!(majority_hull(&claims, 0), majority_hull(&turned, 0));
        prop_assert_eq!(majority_span(&claims, 0), majority_span(&turned, 0));
    }

    #[test]
    fn a_minority_can_not_move_the_mean_past_what_the_honest_find_plausible(
        honest in prop::collection::vec((-0.010..0.010_f64, 0.010..0.050_f64), 2..5),
        false_claims in prop::collection::vec((-0.050..0.050_f64, 1e-6..0.050_f64), 0..4),
    ) {
        let all: Vec<_> = honest.iter().chain(false_claims.iter().take(honest.len() - 1)).copied().collect();
        let survivors: Vec<_> = all.iter().map(|&(offset, distance)| survivor(offset, 0.0, distance)).collect();
        let plausible: Vec<_> = all.iter().map(|&(offset, distance)| {
            super::plausible(NtpDuration::from_seconds(offset), NtpDuration::from_seconds(distance))
        }).collect();
        // Of two, both are plausible.
        let span = majority_span(&plausible, 0).unwrap();
        let mean = combine(&survivors, Some((span.low.to_seconds(), span.high.to_seconds()))).unwrap();
        let farthest = honest.iter().map(|(offset, distance)| offset.abs() + distance * USUAL_ASYMMETRY);
        prop_assert!(mean.abs() <= farthest.fold(0.0, f64::max) + 1e-9);
    }

    //= RFC 5905 §11.2.1 majority
    #[test]
    fn honest_ones_that_are_a_majority_win(honest in prop::collection::vec((-100_i32..100, 100_i32..300), 1..8), false_claims in prop::collection::vec((500_i32..5000, 0_i32..50), 0..8)) {
        // True claims contain the true offset 0, and these false ones are too far away to overlap any of them.
        prop_assume!(false_claims.len() < honest.len());
        let claims: Vec<Interval> = honest.iter().chain(&false_claims)
            .map(|&(offset, distance)| claim(f64::from(offset) / 100.0, f64::from(distance) / 100.0)).collect();
        let expected: Vec<bool> = claims.iter().enumerate().map(|(at, _)| at < honest.len()).collect();
        prop_assert_eq!(judged(&claims), Some(expected));
    }
}
