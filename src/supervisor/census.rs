//! Impure. The census of this process: how its workers count clients, and the report of all of them.

use std::io;

use tokio::task::yield_now;

use super::inspect;
use crate::census::{CensusReader, CensusSettings, Merge};
use crate::config::CensusKeys;
use crate::control::protocol::{ControlAnswer, ControlFailure, Format};
use crate::host::{clock, entropy};
use crate::observe::clients_text;

/// How the workers of this process count, if they do.
pub(super) fn settings(census: CensusKeys) -> io::Result<Option<CensusSettings>> {
    if !census.enabled {
        return Ok(None);
    }
    let seed = entropy::random()?;
    let clients = census.clients;
    Ok(Some(CensusSettings { seed, clients }))
}

/// The answer to `clients`, of what the workers of these censuses counted.
///
/// Each takes about a millisecond: what else is due goes on in between.
pub(super) async fn clients(censuses: Vec<CensusReader>, format: Format) -> ControlAnswer {
    let mut merge = Merge::new(clock::raw());
    for census in &censuses {
        census.read(|history| merge.add(history));
        yield_now().await;
    }
    if censuses.is_empty() {
        return ControlAnswer::Failed(ControlFailure::CensusOff);
    }
    let clients = merge.report();
    inspect::report(format, &clients, || clients_text::text(&clients))
}
