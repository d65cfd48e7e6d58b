//! Impure. The census of this process: the settings of its workers' counts, and the report of all of them.

use std::io;
use std::net::IpAddr;

use tokio::sync::mpsc;
use tokio::task::yield_now;

use super::Supervisor;
use super::reading::{PendingCensus, Read};
use crate::census::{CensusReader, CensusSettings, CensusWanted, Merge, SampledHistory};
use crate::config::CensusKeys;
use crate::control::protocol::{ControlAnswer, ControlFailure};
use crate::control::server::Reply;
use crate::host::{clock, entropy};
use crate::observe::client_status::MOST_CLIENTS;

/// Makes the settings for counting clients; `None` if the census is off.
pub(super) fn settings(census: CensusKeys) -> io::Result<Option<CensusSettings>> {
    if !census.enabled {
        return Ok(None);
    }
    let seed = entropy::random()?;
    let clients = census.clients;
    Ok(Some(CensusSettings { seed, clients }))
}

/// Makes the report for `clients` of the counts of these workers, and those of the fast path, and sends it to `done`.
///
/// Each takes about a millisecond: other tasks continue in between.
pub(super) async fn clients(
    censuses: Vec<CensusReader>,
    fast: Option<SampledHistory>,
    wanted: CensusWanted,
    reply: Reply,
    done: mpsc::Sender<Read>,
) {
    if censuses.is_empty() {
        return reply.send(ControlAnswer::Failed(ControlFailure::CensusOff));
    }
    let mut merge = Merge::new(clock::raw());
    for census in &censuses {
        census.read(|history| merge.add(history));
        yield_now().await;
    }
    if let Some(fast) = &fast {
        merge.add_sampled(fast);
    }
    let report = merge.report(&wanted);
    let pending = PendingCensus {
        report,
        wanted,
        reply,
    };
    // Where the supervisor has ended, nothing waits for it.
    let _sent = done.send(Read::Census(pending)).await;
}

impl Supervisor {
    /// Adds what the workers know to a report, and sends it.
    pub(super) async fn answer_census(&self, pending: PendingCensus) {
        let PendingCensus {
            mut report,
            wanted,
            reply,
        } = pending;
        let mut known = Vec::new();
        for clients in report.listed().chunks(MOST_CLIENTS) {
            if reply.is_closed() {
                return;
            }
            let (found, now) = (self.listeners.find(clients).await, clock::raw());
            let knowledge = |(place, client): (usize, &IpAddr)| {
                let fast = self.fast.as_ref();
                let fast = fast.and_then(|fast| fast.last_request(*client, now));
                let last = found.last_request(place).into_iter().chain(fast).min();
                (last, found.unanswered(place))
            };
            known.extend(clients.iter().enumerate().map(knowledge));
        }
        report.note(known);
        report.choose(&wanted);
        reply.send(ControlAnswer::Clients(report));
    }
}
