//! The climb: those that came nearest to a violation are kept, varied and crossed.

use std::fmt;

use super::shrink::{self, shrunk};
use super::strategy::Strategy;
use super::world::{Goal, Played, breaks_with, judge, tell};
use crate::random::Random;

/// So many are kept for each goal, number of upstreams and clock that is served.
const KEPT: usize = 10;
const PLACES: usize = 16;
/// Of all, these are new; of the rest, these are children of two.
const NEW: f64 = 0.12;
const CROSSED: f64 = 0.25;
/// How often the order is tried as well.
const ORDERS: f64 = 0.2;
/// So many violations are looked at closely, then one in `SELDOM`: with code that is full of holes the search shall go on.
const CLOSELY: u64 = 6;
const SELDOM: u64 = 100;
/// With so many of 8 other seeds a strategy breaks the promise, or it was luck.
const SURE: u32 = 2;

/// A strategy and how near it came.
#[derive(Clone, Debug)]
pub(crate) struct Near {
    pub(crate) near: f64,
    pub(crate) strategy: Strategy,
}

/// A violation, made small.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The promise, and what is left of the means.
    pub(crate) kind: String,
    pub(crate) strategy: Strategy,
    /// With how many of 8 other seeds it breaks the promise as well.
    pub(crate) seeds: u32,
    pub(crate) told: String,
    /// How many strategies had been tried.
    pub(crate) after: u64,
}

impl Found {
    pub(crate) fn is_luck(&self) -> bool {
        self.seeds < SURE
    }
}

/// As it can be played again: all but the first two lines.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_luck() { "luck" } else { "VIOLATION" };
        writeln!(f, "{word} of {} ({} of 8 other seeds)", self.kind, self.seeds)?;
        writeln!(f, "  after {} strategies: {}", self.after, self.told)?;
        let text = self.strategy.to_string();
        text.lines().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

/// One climber: with the same seed it does always the same.
#[derive(Debug)]
pub(crate) struct Search {
    random: Random,
    /// For each goal, and for each number of upstreams and clock that is served; the nearest first.
    pools: Vec<Vec<Vec<Near>>>,
    /// Only strategies with all of these words in their text are tried, and with none of those.
    with: Vec<String>,
    without: Vec<String>,
    /// So many violations of each promise are looked at closely.
    pub(crate) closely: u64,
    pub(crate) tried: u64,
    /// How many broke each promise, luck included.
    pub(crate) broke: [u64; 3],
    pub(crate) found: Vec<Found>,
    /// The nearest misses of a tracked clock. The host's own is announced with its measured offset as an error, so that it
    /// is always near.
    pub(crate) nearest: [Option<Near>; 3],
}

impl Search {
    pub(crate) fn new(seed: u64, with: Vec<String>, without: Vec<String>) -> Self {
        Self {
            random: Random::new(seed),
            pools: vec![vec![Vec::new(); PLACES]; Goal::ALL.len()],
            with,
            without,
            closely: CLOSELY,
            tried: 0,
            broke: [0; 3],
            found: Vec::new(),
            nearest: [const { None }; 3],
        }
    }

    /// Tries one strategy.
    pub(crate) fn step(&mut self) {
        let strategy = self.next();
        self.tried += 1;
        let orders = self.random.happens(ORDERS);
        let played = judge(&strategy, orders);
        for goal in Goal::ALL {
            if played.near(goal) > 1.0 {
                self.violation(&strategy, goal);
            }
        }
        if played.near.iter().all(|near| *near <= 1.0) {
            self.keep(&strategy, &played);
        }
    }

    fn next(&mut self) -> Strategy {
        for _ in 0..1000 {
            let strategy = self.offer();
            let text = strategy.to_string();
            let says = |word: &String| text.contains(word.as_str());
            if self.with.iter().all(says) && !self.without.iter().any(says) {
                return strategy;
            }
        }
        self.offer()
    }

    fn offer(&mut self) -> Strategy {
        let random = &mut self.random;
        let goal = match random.unit() {
            part if part < 0.65 => Goal::Truth,
            part if part < 0.85 => Goal::Usable,
            _ => Goal::Order,
        };
        let pools = &self.pools[goal as usize];
        let filled: Vec<&Vec<Near>> = pools.iter().filter(|pool| pool.len() >= KEPT / 2).collect();
        if random.happens(NEW) || filled.is_empty() {
            return Strategy::random(random);
        }
        let pick = |random: &mut Random| {
            let pool = filled[random.below(filled.len())];
            // The nearer, the more often.
            let place = random.below(pool.len()).min(random.below(pool.len()));
            &pool[place].strategy
        };
        let one = pick(random);
        if random.happens(CROSSED) {
            let two = pick(random);
            let child = one.cross(two, random);
            return if random.happens(0.5) {
                child.mutate(random)
            } else {
                child
            };
        }
        one.mutate(random)
    }

    fn keep(&mut self, strategy: &Strategy, played: &Played) {
        let is_tracked = strategy.world.word("source") == "tracked";
        let place = strategy.upstreams() + if is_tracked { 0 } else { PLACES / 2 };
        for goal in Goal::ALL {
            let near = played.near(goal);
            if near <= 0.0 {
                continue;
            }
            let is_nearest = self.nearest[goal as usize]
                .as_ref()
                .is_none_or(|nearest| near > nearest.near)
                && is_tracked;
            let kept = Near {
                near,
                strategy: strategy.clone(),
            };
            if is_nearest {
                self.nearest[goal as usize] = Some(kept.clone());
            }
            let pool = &mut self.pools[goal as usize][place];
            let rank = pool.partition_point(|one| one.near >= near);
            if rank < KEPT {
                pool.insert(rank, kept);
                pool.truncate(KEPT);
            }
        }
    }

    fn violation(&mut self, strategy: &Strategy, goal: Goal) {
        let count = &mut self.broke[goal as usize];
        *count += 1;
        if *count > self.closely && !count.is_multiple_of(SELDOM) {
            return;
        }
        let is_sure = breaks_with(strategy, goal) >= SURE;
        let small = shrunk(strategy, goal, is_sure, shrink::PLAYS);
        let seeds = breaks_with(&small, goal);
        let of_two = if small.upstreams() == 2 { " of two" } else { "" };
        let kind = format!("{}{of_two}: {}", goal.name(), small.features().join(" "));
        let told = tell(&small, goal);
        let found = Found {
            kind,
            strategy: small,
            seeds,
            told,
            after: self.tried,
        };
        match self.found.iter_mut().find(|old| old.kind == found.kind) {
            Some(old) if shrink::size(&found.strategy) < shrink::size(&old.strategy) => *old = found,
            Some(_) => {}
            None => self.found.push(found),
        }
    }
}
