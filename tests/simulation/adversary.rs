//! A search for strategies with which a minority of liars breaks a promise.
//!
//! The promises: the truth is inside what is served ± the announced root distance; an honest majority stays usable; and
//! the order of the upstreams in the configuration changes nothing. `world.rs` says exactly when each is owed, and who is
//! honest. A [`Strategy`] is numbers with names (`genes.rs`) and a text that can be played again. [`Search`] keeps those
//! that came nearest to a violation, varies and crosses them; what it finds is made small (`shrink.rs`).

#[cfg(test)]
mod checks;
#[cfg(test)]
mod found;
pub(crate) mod genes;
pub(crate) mod search;
pub(crate) mod shrink;
pub(crate) mod strategy;
pub(crate) mod world;

pub(crate) use search::Search;
