//! Impure. Questions to the workers about some clients, and what else their listeners know.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{ListenerGroup, Listeners};
use crate::census::{ClientCensus, OneClient, SampledHistory};
use crate::host::clock;
use crate::server::ClientFinding;
use crate::server::judgement::{Judgement, ListenerView, judge};
use crate::server::policy::Policy;
use crate::server::policy::limit::ClientState;
use crate::supervisor::reading::ServedTables;

/// Interval of looks for the workers' answers.
const LOOK: Duration = Duration::from_millis(1);
/// The most looks. (A worker that does not reply in this time hangs, or its host is overloaded.)
const LOOKS: u32 = 50;

/// The answers of the workers of all listeners to a question.
pub(in super::super) struct FoundClients(Vec<(SocketAddr, Vec<Option<Vec<ClientFinding>>>)>);

/// A client at the workers of one listener.
pub(in super::super) struct KnownClient {
    /// The worker that remembers it, the one with its last request if several do.
    pub(in super::super) worker: Option<u16>,
    /// The knowledge of that worker.
    pub(in super::super) state: ClientState,
    /// The number of workers that did not reply.
    pub(in super::super) silent: u16,
}

impl Listeners {
    /// Asks all workers about these clients, and waits for them, for 50 ms at most.
    pub(in super::super) async fn find(&self, clients: &[IpAddr]) -> FoundClients {
        self.workers().for_each(|slot| slot.worker.ask(clients));
        let mut found: Vec<(SocketAddr, Vec<Option<Vec<ClientFinding>>>)> = self
            .groups
            .iter()
            .map(|group| (group.address(), vec![None; group.workers.len()]))
            .collect();
        for _ in 0..LOOKS {
            sleep(LOOK).await;
            let mut is_whole = true;
            for (group, (_, found)) in self.groups.iter().zip(&mut found) {
                for (slot, found) in group.workers.iter().zip(found) {
                    if found.is_none() {
                        *found = slot.worker.findings();
                    }
                    if found.is_none() {
                        is_whole = false;
                        // It may have been about to wait for a packet.
                        slot.worker.nudge();
                    }
                }
            }
            if is_whole {
                break;
            }
        }
        FoundClients(found)
    }

    /// Returns what the listeners have in use that takes time to look through.
    pub(in super::super) fn tables(&self) -> Vec<ServedTables> {
        let tables = |group: &ListenerGroup| ServedTables {
            address: group.address(),
            policy: Arc::clone(&group.sockets.listener.policy),
            saved: group.saved.clone(),
        };
        self.groups.iter().map(tables).collect()
    }

    /// Returns the policy in effect at the listener of this address.
    pub(in super::super) fn policy(&self, listener: SocketAddr) -> Option<&Arc<Policy>> {
        let group = self.groups.iter().find(|group| group.address() == listener)?;
        Some(&group.sockets.listener.policy)
    }

    /// Judges a request of `client`, which the worker that gets it knows as `state`, at the listener of this address.
    ///
    /// `None` if it is gone.
    pub(in super::super) fn judge(
        &self,
        listener: SocketAddr,
        client: IpAddr,
        state: &ClientState,
    ) -> Option<Judgement> {
        let policy = self.policy(listener)?;
        // A new one begins with what was published last.
        let reference = self.reader.clone();
        let now = clock::now();
        let (variables, reference, _) = reference.at_listener(policy.smear, now);
        let view = ListenerView {
            policy,
            variables,
            answers: reference.answers,
            allowance: self.shedding.allowance(),
        };
        Some(judge(&view, client, state, now.raw))
    }

    /// Returns the recent requests up to which the budget takes a client for light.
    pub(in super::super) fn light(&self) -> f32 {
        self.shedding.allowance().light()
    }

    /// Returns what the censuses know of these clients, those of the fast path included; `None` without a census.
    pub(in super::super) fn census_of(
        &self,
        clients: &[(IpAddr, Option<Duration>)],
        fast: Option<&SampledHistory>,
    ) -> Option<Vec<ClientCensus>> {
        let (settings, now) = (self.census?, clock::raw());
        let counts = clients
            .iter()
            .map(|(client, _)| OneClient::new(*client, settings.seed, now));
        let mut counts: Vec<_> = counts.collect();
        for census in self.censuses() {
            census.read(|history| counts.iter_mut().for_each(|one| one.add(history)));
        }
        if let Some(fast) = fast {
            counts.iter_mut().for_each(|one| one.add_sampled(fast));
        }
        let reports = counts.iter().zip(clients);
        Some(reports.map(|(one, (_, last))| one.report(*last)).collect())
    }
}

impl FoundClients {
    /// Returns what the workers of a listener know of the client at this place of the question, at `now`.
    pub(in super::super) fn known(&self, listener: SocketAddr, place: usize, now: Duration) -> KnownClient {
        let workers = self.0.iter().find(|(address, _)| *address == listener);
        let workers = workers.map_or(&[][..], |(_, workers)| workers);
        let found = (0_u16..).zip(workers);
        let found = found.filter_map(|(number, found)| Some((number, found.as_ref()?.get(place)?.state)));
        // Under steering by source one worker knows it at most.
        let known = found.min_by_key(|(_, state)| {
            let ago = state.last_request(now);
            (ago.is_none(), ago, Reverse(state.wider_is_full_at()))
        });
        let silent = workers.iter().filter(|found| found.is_none()).count();
        KnownClient {
            worker: known
                .filter(|(_, state)| state.is_remembered())
                .map(|(number, _)| number),
            state: known.map_or_else(ClientState::unknown, |(_, state)| state),
            silent: u16::try_from(silent).unwrap_or(u16::MAX),
        }
    }

    /// Returns the number of its requests that limit or budget refused, as far as the workers remember them.
    pub(in super::super) fn unanswered(&self, place: usize) -> u32 {
        let workers = self.0.iter().flat_map(|(_, workers)| workers).flatten();
        let found = workers.filter_map(|found| found.get(place));
        found.map(|found| u32::from(found.state.unanswered())).sum()
    }

    /// Returns the time since the last request of the client at this place, if the census of any worker knows it.
    pub(in super::super) fn last_request(&self, place: usize) -> Option<Duration> {
        let workers = self.0.iter().flat_map(|(_, workers)| workers).flatten();
        let found = workers.filter_map(|found| found.get(place));
        found.filter_map(|found| found.last_request).min()
    }
}
