//! Impure. The census of this process: the settings of its workers' counts, and the report of all of them.

use std::io;

use tokio::task::yield_now;

use super::inspect;
use crate::census::{CensusReader, CensusSettings, Merge, SampledHistory};
use crate::config::CensusKeys;
use crate::control::protocol::{ControlAnswer, ControlFailure, Format};
use crate::host::{clock, entropy};
use crate::observe::clients_text;

/// Makes the settings for counting clients; `None` if the census is off.
pub(super) fn settings(census: CensusKeys) -> io::Result<Option<CensusSettings>> {
    if !census.enabled {
        return Ok(None);
    }
    let seed = entropy::random()?;
    let clients = census.clients;
    Ok(Some(CensusSettings { seed, clients }))
}

/// Answers `clients` from the counts of these workers, and those of the fast path.
///
/// Each takes about a millisecond: other tasks continue in between.
pub(super) async fn clients(
    censuses: Vec<CensusReader>,
    fast: Option<SampledHistory>,
    format: Format,
) -> ControlAnswer {
    let mut merge = Merge::new(clock::raw());
    for census in &censuses {
        census.read(|history| merge.add(history));
        yield_now().await;
    }
    if let Some(fast) = &fast {
        merge.add_sampled(fast);
    }
    if censuses.is_empty() {
        return ControlAnswer::Failed(ControlFailure::CensusOff);
    }
    let clients = merge.report();
    match format {
        Format::Text => ControlAnswer::Report {
            text: clients_text::text(&clients),
        },
        Format::Json => inspect::json(&clients),
    }
}
