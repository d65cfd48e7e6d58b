//! The tests of the adversary, and with it.

use std::thread;

use super::found::FOUND;
use super::search::Found;
use super::strategy::Strategy;
use super::world::{DEFINITIONS, Goal, breaks, judge, tell};
use super::{Search, strategy};
use crate::random::Random;
use crate::watch::{Seen, Watch};

/// Each climber has a seed of its own, and tries so many strategies.
const CLIMBERS: [u64; 2] = [1, 2];
const STRATEGIES: u64 = 2000;
/// Violations that are made small, for each climber and promise: that takes as long as all the rest.
const CLOSELY: u64 = 1;

#[test]
fn no_minority_of_liars_breaks_a_promise() {
    let climb = |seed| {
        let mut search = Search::new(seed, Vec::new(), Vec::new());
        search.closely = CLOSELY;
        while search.tried < STRATEGIES {
            search.step();
        }
        search
    };
    let climbers: Vec<_> = CLIMBERS
        .map(|seed| thread::spawn(move || climb(seed)))
        .into_iter()
        .collect();
    let searches: Vec<Search> = climbers.into_iter().map(|one| one.join().unwrap()).collect();
    for goal in Goal::ALL {
        let nearest = searches
            .iter()
            .filter_map(|one| one.nearest[goal as usize].as_ref());
        let nearest = nearest.map(|one| one.near).fold(0.0, f64::max);
        let broke: u64 = searches.iter().map(|one| one.broke[goal as usize]).sum();
        println!("{}: {broke} broken, nearest miss {nearest:.4}", goal.name());
    }
    let found: Vec<&Found> = searches.iter().flat_map(|one| &one.found).collect();
    found.iter().for_each(|one| println!("{one}"));
    let sure: Vec<String> = found
        .iter()
        .filter(|one| !one.is_luck())
        .map(ToString::to_string)
        .collect();
    assert!(
        sure.is_empty(),
        "{} violations; a strategy replays as `cargo run --release --example adversary -- --replay FILE`. What is \
         promised:\n{DEFINITIONS}\n{}",
        sure.len(),
        sure.join("\n")
    );
}

#[test]
fn what_was_found_is_found_no_more() {
    let mut broken = Vec::new();
    for (name, text) in FOUND {
        let strategy: Strategy = text.parse().unwrap();
        let played = judge(&strategy, true);
        let bad = Goal::ALL.into_iter().filter(|goal| played.near(*goal) > 1.0);
        broken.extend(bad.map(|goal| format!("{name}: {}: {}", goal.name(), tell(&strategy, goal))));
    }
    assert!(broken.is_empty(), "{}:\n{}", broken.len(), broken.join("\n"));
}

/// What it would not see if nothing were looked at.
#[test]
fn a_majority_of_liars_is_seen_to_break_the_truth() {
    let plain = "honest\nliar offset=0.1\nliar offset=0.1";
    assert!(breaks(&plain.parse().unwrap(), Goal::Truth));
    let mut random = Random::new(5);
    let mut others = (0..1000).map(|_| Strategy::of(1, 2, &mut random));
    let broken = others.find(|one| breaks(one, Goal::Truth));
    assert!(broken.is_some(), "of 1000 none breaks the truth");
}

fn seen(now: f64, usable: bool, error: f64) -> Seen {
    let distance = 0.010;
    Seen {
        now,
        usable,
        error,
        distance,
    }
}

#[test]
fn a_missing_time_and_another_one_are_seen() {
    let watch = |looks: &[Seen]| {
        let mut watch = Watch::new(30.0, 60.0);
        watch.keeps_trace = true;
        looks.iter().for_each(|look| watch.look(*look));
        watch
    };
    let [early, gone, still, back] = [
        seen(50.0, false, 0.0),
        seen(70.0, false, 0.0),
        seen(101.0, false, 0.0),
        seen(102.0, true, 0.0),
    ];
    assert!(watch(&[early, gone, still, back]).idle > 1.0);
    assert!(watch(&[early, gone, back, seen(120.0, false, 0.0)]).idle <= 1.0);
    let one = watch(&[early, back]);
    for other in [
        seen(102.0, true, 2e-6),
        seen(102.0, false, 0.0),
        seen(102.1, true, 0.0),
    ] {
        assert!(one.differs(&watch(&[early, other])).0 > 1.0, "{other:?}");
    }
    assert!(one.differs(&watch(&[early, seen(102.0, true, 1e-7)])).0 <= 1.0);
    // Two of three lie: no time is owed.
    let most = "world rounds=60 min-sources=2\nhonest\nliar leap=3\nliar leap=3";
    assert_eq!(judge(&most.parse().unwrap(), false).near(Goal::Usable), 0.0);
}

#[test]
fn where_nobody_lies_all_is_kept() {
    for honest in 2..=7 {
        let one = |place: usize| format!("honest rtt=0.0{place}1 skew=0.2 jitter=0.1 error=0.3 noise=0.05\n");
        let text: String = (1..=honest).map(one).collect();
        let strategy: Strategy = format!("seed 3\nworld rounds=40 ppm=30\n{text}").parse().unwrap();
        let played = judge(&strategy, true);
        assert!(played.near.iter().all(|near| *near < 1.0), "{honest}: {played:?}");
    }
}

#[test]
fn a_strategy_is_what_it_prints() {
    let mut random = Random::new(9);
    let mut before = Strategy::random(&mut random);
    for _ in 0..300 {
        let new = Strategy::random(&mut random);
        let child = before.cross(&new, &mut random).mutate(&mut random);
        for one in [&new, &child] {
            let mut sorted = one.clone();
            sorted.settle(&mut random);
            let read: Strategy = sorted.to_string().parse().unwrap();
            assert_eq!(read, sorted, "{sorted}");
            assert!(
                sorted.liars.len() <= strategy::minority(sorted.upstreams()),
                "{sorted}"
            );
        }
        before = child;
    }
    for wrong in [
        "",
        "honest rtt=9",
        "honest\norder 1",
        "liar trick=dance",
        "world moon=1",
    ] {
        assert!(wrong.parse::<Strategy>().is_err(), "{wrong}");
    }
}

#[test]
fn the_same_seed_searches_the_same() {
    let run = |seed| {
        let mut search = Search::new(seed, Vec::new(), Vec::new());
        search.closely = 0;
        (0..30).for_each(|_| search.step());
        let nearest = search.nearest.iter().flatten();
        let nearest: Vec<String> = nearest
            .map(|one| format!("{} {}", one.near, one.strategy))
            .collect();
        (search.broke, nearest)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
