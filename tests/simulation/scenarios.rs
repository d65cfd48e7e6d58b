//! One behavior each, with bounds. Upstreams are numbered from 0 in the order in which they were added.
//!
//! The truth lies inside what is announced at all times, in all of them (`record.rs`), unless a scenario says
//! `truth_excused`: then a majority lies, or nobody can know yet.

mod leap;
mod lies;
mod network;
mod nts;
mod policy;
mod reload;
mod smear;
mod strangers;
mod trouble;

use super::network::Network;

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) run: fn(&mut Network),
}

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3600.0;

/// All of them, in the order of the table.
pub(crate) fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    [
        network::ALL,
        lies::ALL,
        policy::ALL,
        reload::ALL,
        trouble::ALL,
        leap::ALL,
        smear::ALL,
        strangers::ALL,
        nts::ALL,
    ]
    .into_iter()
    .flatten()
}

/// The usual bounds on what was served since the last `forget`: its error, and how much of the time there was one.
fn served_well(network: &mut Network, milliseconds: f64, percent: f64) {
    let error = network.record.worst_error * 1e3;
    let usable = network.record.usable_percent();
    network.at_most("error, ms", milliseconds, error);
    network.at_least("usable, %", percent, usable);
}

/// Three honest upstreams, known for a quarter of an hour; the numbers start from here.
fn three_known(network: &mut Network) {
    network.honest(3);
    settle(network);
}

/// A quarter of an hour and a bit, so that nothing happens in step with anything; the numbers start from here.
fn settle(network: &mut Network) {
    let bit = network.random.between(0.0, 60.0);
    network.run(15.0 * MINUTE + bit);
    network.record.forget();
}
