//! Searches on for what the tests' adversary did not find in its minute:
//! `cargo run --release --example adversary -- --minutes 15 --seed 1 --threads 2`.
//!
//! `--strategies N` ends after as many (of all threads), whatever the time: so a run can be repeated to the bit.
//! `--without WORD` (again and again) leaves out all strategies with that word in their text: `--without copies=` looks
//! for what can be done without copying; `--with WORD` tries only those that have it. `--closely N` makes the first N
//! violations of each promise (and thread) small; of the rest, one in a hundred. `--replay FILE` plays one strategy.
//! The exit status is 1 after a violation.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    dead_code,
    reason = "as in the tests, whose modules these are; it stops by the clock"
)]

mod adversary;
mod host;
mod liar;
mod network;
mod random;
mod record;
mod server;
mod watch;

use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use adversary::Search;
use adversary::search::Found;
use adversary::shrink::{self, shrunk};
use adversary::strategy::Strategy;
use adversary::world::{DEFINITIONS, Goal, breaks_with, judge, tell};

struct Arguments {
    minutes: f64,
    strategies: u64,
    seed: u64,
    threads: u64,
    with: Vec<String>,
    without: Vec<String>,
    replay: Option<String>,
    closely: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = arguments();
    if let Some(file) = &arguments.replay {
        return replay(&std::fs::read_to_string(file).unwrap());
    }
    println!("{DEFINITIONS}\n");
    let began = Instant::now();
    let until = began + Duration::from_secs_f64(arguments.minutes * 60.0);
    let (sender, news) = mpsc::channel();
    let climbers: Vec<_> = (0..arguments.threads)
        .map(|thread| {
            let seed = arguments.seed * 1000 + thread;
            let mut search = Search::new(seed, arguments.with.clone(), arguments.without.clone());
            search.closely = arguments.closely.unwrap_or(search.closely);
            let (most, sender) = (arguments.strategies / arguments.threads, sender.clone());
            thread::spawn(move || climb(search, until, most, &sender))
        })
        .collect();
    drop(sender);
    let mut seen: Vec<String> = Vec::new();
    for found in news {
        if !seen.contains(&found.kind) {
            seen.push(found.kind.clone());
            println!("after {:.0} s:", began.elapsed().as_secs_f64());
            println!("{found}");
        }
    }
    let searches = climbers.into_iter().map(|one| one.join().unwrap()).collect();
    summary(searches, began.elapsed())
}

fn climb(mut search: Search, until: Instant, most: u64, news: &mpsc::Sender<Found>) -> Search {
    let mut told = 0;
    while Instant::now() < until && search.tried < most {
        search.step();
        for found in search.found.iter().skip(told) {
            news.send(found.clone()).unwrap();
        }
        told = search.found.len();
    }
    search
}

fn summary(searches: Vec<Search>, elapsed: Duration) -> ExitCode {
    let tried: u64 = searches.iter().map(|one| one.tried).sum();
    let sum = |goal: Goal| searches.iter().map(|one| one.broke[goal as usize]).sum::<u64>();
    let [truth, usable, order] = Goal::ALL.map(sum);
    let mut kinds: Vec<&Found> = Vec::new();
    for found in searches.iter().flat_map(|one| &one.found) {
        match kinds.iter_mut().find(|old| old.kind == found.kind) {
            Some(old) if shrink::size(&found.strategy) < shrink::size(&old.strategy) => *old = found,
            Some(_) => {}
            None => kinds.push(found),
        }
    }
    kinds.sort_by_key(|one| (one.is_luck(), shrink::size(&one.strategy)));
    println!("\n=== each kind, the smallest first");
    kinds.iter().for_each(|found| println!("{found}"));
    for goal in Goal::ALL {
        let nearest = searches
            .iter()
            .filter_map(|one| one.nearest[goal as usize].as_ref());
        if let Some(nearest) = nearest.max_by(|one, two| one.near.total_cmp(&two.near)) {
            println!("\nnearest miss of {} (tracked): {:.4}", goal.name(), nearest.near);
            println!("{}", nearest.strategy);
        }
    }
    let sure = kinds.iter().filter(|one| !one.is_luck()).count();
    println!("{tried} strategies in {:.0} s", elapsed.as_secs_f64());
    println!("broken, luck included: truth {truth}, usable {usable}, order {order}");
    println!(
        "looked at closely: {sure} kinds of violations, {} of luck",
        kinds.len() - sure
    );
    ExitCode::from(u8::from(sure > 0))
}

fn replay(text: &str) -> ExitCode {
    let strategy: Strategy = text.parse().unwrap();
    let played = judge(&strategy, true);
    let mut is_broken = false;
    for goal in Goal::ALL {
        let near = played.near(goal);
        println!("{}: {near:.4}: {}", goal.name(), tell(&strategy, goal));
        if near > 1.0 {
            is_broken = true;
            let seeds = breaks_with(&strategy, goal);
            println!("  broken, also with {seeds} of 8 other seeds; smaller:");
            println!("{}", shrunk(&strategy, goal, seeds >= 2, 4 * shrink::PLAYS));
        }
    }
    ExitCode::from(u8::from(is_broken))
}

fn arguments() -> Arguments {
    let mut given = Arguments {
        minutes: f64::INFINITY,
        strategies: u64::MAX,
        seed: 1,
        threads: thread::available_parallelism().map_or(1, |count| count.get() as u64),
        with: Vec::new(),
        without: Vec::new(),
        replay: None,
        closely: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_else(|| panic!("{word} what?"));
        match word.as_str() {
            "--minutes" => given.minutes = value.parse().unwrap(),
            "--strategies" => given.strategies = value.parse().unwrap(),
            "--seed" => given.seed = value.parse().unwrap(),
            "--threads" => given.threads = value.parse().unwrap(),
            "--with" => given.with.push(value),
            "--without" => given.without.push(value),
            "--closely" => given.closely = Some(value.parse().unwrap()),
            "--replay" => given.replay = Some(value),
            _ => panic!("{word}: not known"),
        }
    }
    assert!(
        given.minutes.is_finite() || given.strategies < u64::MAX || given.replay.is_some(),
        "--minutes N or --strategies N"
    );
    given.minutes = given.minutes.min(1e6);
    given
}
