//! Impure. The listeners that are served: their sockets and workers, from their start to their end.
//!
//! Changes while packets arrive are decided in `plan`, and done in `apply`; `drains` are commands, and `clients` asks the
//! workers about some.

mod apply;
mod clients;
mod drains;
mod group;
mod plan;
mod prepare_error;
mod presence;
mod progress;
mod traffic;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::drain::Drain;
use super::shedding::Shedding;
use super::sockets::Sockets;
use crate::census::{CensusReader, CensusSettings};
use crate::clock::ReferenceReader;
use crate::config::ListDifference;
use crate::fast_path::budget_share::Demand;
use crate::host::systemd::ServiceManager;
use crate::log::throttle::ThrottledChange;
use crate::nts::keyring::Keyring;
use crate::observe::journal;
use crate::observe::snapshot::BudgetStatus;
use crate::server::policy::budget::{Budget, SentCounts};
use crate::server::{Counts, Listener};

pub(super) use apply::Prepared;
pub(super) use clients::{FoundClients, KnownClient};
use group::{ListenerGroup, WorkerSlot, end};
use plan::{GroupState, ListenerPlan};
pub(super) use prepare_error::PrepareError;
pub(super) use presence::{Lookout, log_absent};
use traffic::Drops;

/// All listeners, those included that wait for their address.
pub(super) struct Listeners {
    groups: Vec<ListenerGroup>,
    reader: ReferenceReader,
    /// Settings for counting clients; `None` if the census is off.
    census: Option<CensusSettings>,
    /// The keys of cookies; `None` without NTS.
    keyring: Option<Arc<Keyring>>,
    shedding: Shedding,
    /// The drain of all listeners by command, which is that of listeners to come, too.
    drain_of_all: Option<Drain>,
    /// Number of groups so far: workers' threads are named after it.
    named: usize,
    /// Counts of workers of listeners that were removed.
    ended: Counts,
    /// Packets that the kernel dropped at sockets of listeners that were removed.
    dropped: u64,
}

impl Listeners {
    /// Starts the workers of each listener on its sockets, within `budget`, with the keys of cookies.
    pub(super) fn start(
        opened: Vec<Sockets>,
        reader: &ReferenceReader,
        census: Option<CensusSettings>,
        budget: Budget,
        keyring: Option<Arc<Keyring>>,
    ) -> Result<Self, PrepareError> {
        let mut listeners = Self {
            groups: Vec::new(),
            reader: reader.clone(),
            census,
            keyring,
            shedding: Shedding::new(budget),
            drain_of_all: None,
            named: 0,
            ended: Counts::default(),
            dropped: 0,
        };
        for sockets in opened {
            let logged = ThrottledChange::new(sockets.fault);
            let group = listeners.group(sockets)?;
            listeners.groups.push(ListenerGroup { logged, ..group });
        }
        Ok(listeners)
    }

    /// Returns the plan for the `difference` from the running configuration.
    pub(super) fn plan(&self, difference: &ListDifference<Listener>) -> ListenerPlan {
        ListenerPlan::new(&self.states(), difference)
    }

    fn states(&self) -> Vec<GroupState> {
        self.groups.iter().map(ListenerGroup::state).collect()
    }

    /// Puts the groups in the order of the `configured` listeners, which is the order of displays.
    pub(super) fn arrange(&mut self, configured: &[Listener]) {
        let place = |group: &ListenerGroup| {
            let address = group.address();
            configured.iter().position(|listener| listener.address == address)
        };
        self.groups
            .sort_by_key(|group| place(group).unwrap_or(usize::MAX));
    }

    fn group_mut(&mut self, address: SocketAddr) -> Option<&mut ListenerGroup> {
        self.groups.iter_mut().find(|group| group.address() == address)
    }

    fn workers(&self) -> impl Iterator<Item = &WorkerSlot> {
        self.groups.iter().flat_map(|group| &group.workers)
    }

    /// Returns the number of workers.
    pub(super) fn count(&self) -> usize {
        self.workers().count()
    }

    /// Returns each worker's census of its clients; none if the census is off.
    pub(super) fn censuses(&self) -> Vec<CensusReader> {
        let censuses = self.workers().filter_map(|slot| slot.worker.census());
        censuses.cloned().collect()
    }

    /// The listeners that are open, as they are served.
    pub(super) fn open_listeners(&self) -> impl Iterator<Item = &Listener> + Clone {
        let open = self.groups.iter().filter(|group| group.is_open());
        open.map(|group| &group.sockets.listener)
    }

    /// Sets the budget for replies.
    pub(super) fn set_budget(&mut self, budget: Budget) {
        self.shedding.set_budget(budget);
    }

    /// Has all workers, and those to come, open and seal with `keyring` from their next batch on.
    ///
    /// With none they are servers without NTS.
    pub(super) fn set_keyring(&mut self, keyring: Option<Arc<Keyring>>) {
        self.keyring = keyring;
        for slot in self.groups.iter_mut().flat_map(|group| &mut group.workers) {
            slot.worker.set_keyring(self.keyring.as_ref());
        }
    }

    /// Sheds requests beyond the budget, of which the fast path sent `fast`; returns what is asked, once a second.
    pub(super) fn shed(&mut self, fast: SentCounts) -> Option<Demand> {
        let sent = self.sent();
        self.shedding.update(sent, fast)
    }

    /// Has the workers answer what the fast path answered until now, as far as the budget allows.
    pub(super) fn take_over(&mut self) {
        self.shedding.take_over();
    }

    /// Returns the status of the budget; `None` without one.
    pub(super) fn budget_status(&self) -> Option<BudgetStatus> {
        self.shedding.status()
    }

    /// Makes every worker run its loop once, whether or not packets come.
    pub(super) fn nudge(&self) {
        self.workers().for_each(|slot| slot.worker.nudge());
    }

    /// Returns the listener and number of a worker that did not run its loop for `limit` until `now`, if there is one.
    pub(super) fn stuck(&mut self, now: Duration, limit: Duration) -> Option<(SocketAddr, usize)> {
        let mut stuck = None;
        for group in &mut self.groups {
            let address = group.address();
            for (number, slot) in group.workers.iter_mut().enumerate() {
                let rounds = slot.worker.counters().rounds();
                if slot.progress.is_stuck(rounds, now, limit) {
                    stuck = Some((address, number));
                }
            }
        }
        stuck
    }

    /// Puts all sockets into the service manager's descriptor store, so that a restart finds them with their queues.
    pub(super) fn store(&self, manager: &ServiceManager) {
        self.groups.iter().for_each(|group| group.store(manager, 0));
    }

    /// Makes each worker answer what is queued, waits for all, and logs their counts.
    ///
    /// Later requests wait in the descriptor store for the next process, if there is one.
    pub(super) async fn stop(self) {
        for group in self.groups {
            let address = group.address();
            let counts = end(group.workers)
                .await
                .into_iter()
                .fold(group.ended, Counts::plus);
            journal::log_counts(address, None, &counts);
        }
    }
}

#[cfg(test)]
mod tests;
