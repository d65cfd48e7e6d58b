//! Searches on for what the tests' adversary did not find in its minute:
//! `cargo run --release --example adversary -- --minutes 15 --seed 1 --threads 2`.
//!
//! `--help` tells the rest. The exit status is 1 after a violation.

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
mod smear;
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
use clap::{ArgGroup, Parser};

/// Searches for strategies of upstreams by which a promise is broken, in virtual time.
#[derive(Parser)]
#[command(group = ArgGroup::new("until").required(true).multiple(true).args(["minutes", "strategies", "replay"]))]
struct Arguments {
    /// How long to search.
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// How many strategies to try in all threads together: so a run can be repeated to the bit.
    #[arg(long, value_name = "N")]
    strategies: Option<u64>,
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// One for each processor if it is not given.
    #[arg(long, value_name = "N")]
    threads: Option<u64>,
    /// Tries only strategies with this word in their text (may be repeated).
    #[arg(long, value_name = "WORD")]
    with: Vec<String>,
    /// Leaves out strategies with this word in their text (may be repeated): `copies=`, say.
    #[arg(long, value_name = "WORD")]
    without: Vec<String>,
    /// Makes the first N violations of each promise and thread small, and of the rest one in a hundred.
    #[arg(long, value_name = "N")]
    closely: Option<u64>,
    /// Plays the one strategy of this file.
    #[arg(long, value_name = "FILE")]
    replay: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(file) = &arguments.replay {
        return replay(&std::fs::read_to_string(file).unwrap());
    }
    println!("{DEFINITIONS}\n");
    let began = Instant::now();
    let until = began + Duration::from_secs_f64(arguments.minutes.unwrap_or(1e6) * 60.0);
    let processors = || thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let threads = arguments.threads.unwrap_or_else(processors).max(1);
    let most = arguments.strategies.map_or(u64::MAX, |all| all.div_ceil(threads));
    let (sender, news) = mpsc::channel();
    let climbers: Vec<_> = (0..threads)
        .map(|thread| {
            let seed = arguments.seed * 1000 + thread;
            let mut search = Search::new(seed, arguments.with.clone(), arguments.without.clone());
            search.closely = arguments.closely.unwrap_or(search.closely);
            let sender = sender.clone();
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
