//! The whole way from an upstream's packet to the served time, in a virtual network under a virtual clock.
//!
//! Every scenario is run with many seeds; after each step a worker looks at what is published, and the invariants
//! of `record.rs` are checked. `cargo test --test simulation -- --nocapture` prints the table at the end.
//! `NTPFRONT_SEED=7` runs that seed alone, `NTPFRONT_SEEDS=500` as many, `NTPFRONT_SCENARIO=word` the scenarios
//! with that word in their name. `adversary.rs` searches for what no scenario thinks of.
#![cfg(test)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "a simulation's numbers are small, and most of its arms are for what does not happen"
)]

mod adversary;
mod host;
mod liar;
mod network;
mod random;
mod record;
mod scenarios;
mod server;
mod smear;
mod watch;

use std::env;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use network::{Bound, Network};
use scenarios::{Scenario, scenarios};

const SEEDS: u64 = 20;

/// What all seeds of a scenario showed together.
#[derive(Default)]
struct Outcome {
    worst: Vec<Bound>,
    /// Each with its seed.
    failures: Vec<String>,
}

#[test]
fn every_scenario_keeps_its_bounds_and_the_invariants() {
    let wanted = env::var("NTPFRONT_SCENARIO").unwrap_or_default();
    let seeds = seeds();
    let mut failures = Vec::new();
    let mut rows = Vec::new();
    let exact = scenarios().any(|one| one.name == wanted);
    let is_wanted = |name: &str| {
        if exact {
            name == wanted
        } else {
            name.contains(&wanted)
        }
    };
    let wanted: Vec<&Scenario> = scenarios().filter(|one| is_wanted(one.name)).collect();
    for (scenario, outcome) in wanted.iter().zip(play_all(&wanted, &seeds)) {
        rows.extend(table_rows(scenario, &outcome, seeds.len()));
        failures.extend(outcome.failures);
    }
    print_table(&rows);
    assert!(
        failures.is_empty(),
        "{} failures; NTPFRONT_SEED=N NTPFRONT_SCENARIO=NAME replays one:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn a_seed_makes_always_the_same() {
    let play = |seed| {
        let mut network = Network::new(seed);
        network.honest(3);
        network.run(600.0);
        (
            network.error(),
            network.record.worst_distance,
            network.servers[0].asked.clone(),
        )
    };
    assert_eq!(play(7), play(7));
    assert_ne!(play(7), play(8));
}

fn seeds() -> Vec<u64> {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("NTPFRONT_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("NTPFRONT_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

/// What each scenario showed, in their order. As many are played at once as there are processors.
fn play_all(scenarios: &[&Scenario], seeds: &[u64]) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let play_some = || {
        let mut played = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(scenario) = scenarios.get(place) else {
                return played;
            };
            played.push((place, play(scenario, seeds)));
        }
    };
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let mut played: Vec<(usize, Outcome)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..processors).map(|_| scope.spawn(play_some)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    played.sort_by_key(|(place, _)| *place);
    played.into_iter().map(|(_, outcome)| outcome).collect()
}

fn play(scenario: &Scenario, seeds: &[u64]) -> Outcome {
    let mut outcome = Outcome::default();
    for &seed in seeds {
        let played = catch_unwind(AssertUnwindSafe(|| {
            let mut network = Network::new(seed);
            (scenario.run)(&mut network);
            network
        }));
        match played {
            Ok(network) => outcome.add(scenario, seed, network),
            Err(_) => outcome
                .failures
                .push(format!("{} seed {seed}: panicked (see above)", scenario.name)),
        }
    }
    outcome
}

impl Outcome {
    fn add(&mut self, scenario: &Scenario, seed: u64, network: Network) {
        let name = scenario.name;
        let faults = network.record.faults.iter();
        self.failures
            .extend(faults.map(|fault| format!("{name} seed {seed}: {fault}")));
        let broken = network.bounds.iter().filter(|bound| !bound.is_kept());
        self.failures
            .extend(broken.map(|bound| format!("{name} seed {seed}: {}: {:.6}", bound.said(), bound.seen)));
        if self.worst.is_empty() {
            self.worst = network.bounds;
            return;
        }
        let both = self.worst.drain(..).zip(network.bounds);
        self.worst = both.map(|(one, other)| one.worse(other)).collect();
    }
}

impl Bound {
    /// The bound in words.
    fn said(&self) -> String {
        match self.most {
            true => format!("{} <= {}", self.what, self.limit),
            false if self.limit == 1.0 => self.what.to_owned(),
            false => format!("{} >= {}", self.what, self.limit),
        }
    }

    fn seen_in_words(&self) -> String {
        match (self.most || self.limit != 1.0, self.is_kept()) {
            (true, _) => format!("{:.3}", self.seen),
            (false, true) => "yes".to_owned(),
            (false, false) => "NO".to_owned(),
        }
    }
}

/// One row a bound; the scenario's name stands in the first.
fn table_rows(scenario: &Scenario, outcome: &Outcome, seeds: usize) -> Vec<[String; 5]> {
    let mut first = [scenario.name, scenario.what].map(str::to_owned);
    let mut rows = Vec::new();
    for bound in &outcome.worst {
        let [name, what] = std::mem::take(&mut first);
        let mark = if bound.is_kept() { "" } else { " (!)" };
        let seen = bound.seen_in_words() + mark;
        let count = if name.is_empty() {
            String::new()
        } else {
            seeds.to_string()
        };
        rows.push([name, what, bound.said(), seen, count]);
    }
    rows
}

fn print_table(rows: &[[String; 5]]) {
    let head = ["name", "what happens", "bound", "worst seen", "seeds"].map(str::to_owned);
    let all = || std::iter::once(&head).chain(rows);
    let widths: Vec<usize> = (0..5)
        .map(|column| all().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    println!();
    for row in all() {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        println!("{}", cells.join(" | ").trim_end());
    }
}
