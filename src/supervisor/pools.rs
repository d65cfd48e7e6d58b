//! Impure. The pools of the clock manager: look-ups, changes of members, and what is logged and recorded of them.

use std::future::pending;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

use super::clock_manager::ClockManager;
use crate::history::observer::change;
use crate::host::changes::Changes;
use crate::host::clock;
use crate::observe::pool_status::PoolStatus;
use crate::time::ClockReadings;
use crate::upstream::peer::{Peer, Polling};
use crate::upstream::pool::{MemberJudgement, PoolChange};
use crate::upstream::pool_resolver::PoolAnswer;
use crate::upstream::system_process::State;
use crate::upstream::{Pooling, Upstream};

/// The kernel's notices that the network has changed, for pools that wait for that.
#[derive(Debug)]
pub(super) struct NetworkNotices {
    /// `None` if there can be none: then the pauses between look-ups are short enough.
    changes: Option<Changes>,
    /// The time at which a change is told, by the raw counter: others that follow it are one with it.
    due: Option<Duration>,
}

/// Time for which changes are one. A router may get thousands of notices per second.
const ONE_CHANGE: Duration = Duration::from_millis(200);

impl NetworkNotices {
    /// Subscribes to them.
    pub(super) fn new() -> Self {
        Self {
            changes: Changes::watch().ok(),
            due: None,
        }
    }

    /// Waits for a change.
    pub(super) async fn changed(&mut self) {
        if self.due.is_none() {
            let Some(changes) = &self.changes else {
                return pending().await;
            };
            if changes.changed().await.is_err() {
                self.changes = None;
            }
            self.due = Some(clock::raw().saturating_add(ONE_CHANGE));
        }
        // This may be given up for something else, and begun again: the change stays due.
        sleep(self.due.unwrap_or_default().saturating_sub(clock::raw())).await;
        self.due = None;
    }
}

impl ClockManager {
    /// Whether a pool waits for a change of the network.
    pub(super) fn waits_for_network(&self) -> bool {
        self.pools.wait_for_network()
    }

    /// Has names that could not be resolved resolved again, since the network has changed.
    pub(super) fn network_changed(&mut self) {
        self.pools.network_changed();
    }

    /// Takes the result of a look-up.
    pub(super) fn take_addresses(&mut self, answer: &PoolAnswer) {
        let PoolAnswer { pool, found } = answer;
        let fault = found.as_ref().err().copied();
        self.pools
            .found(pool, found.as_deref().map_err(|fault| *fault), clock::raw());
        // Without members there is no poller that says so.
        let is_empty = |settings: &Upstream| matches!(settings.pooling, Pooling::Pool { .. });
        let entry = self
            .upstreams
            .iter()
            .find(|one| is_empty(&one.settings) && one.settings.endpoint() == *pool);
        let Some(entry) = entry else {
            return;
        };
        if let (Some(fault), true) = (fault, entry.peer.fault != fault) {
            let name = entry.settings.to_string();
            warn!(upstream = name, reason = %fault, "upstream {name} can't be polled: {fault}");
        }
        let peer = Peer {
            fault,
            ..Peer::unknown(&entry.settings)
        };
        let id = entry.id;
        self.upstreams.update(id, peer, Polling::default());
    }

    /// Changes the members of the pools by the last decision, and begins the look-ups that are due.
    pub(super) fn tend_pools(&mut self, now: ClockReadings) {
        let (decided, system) = (&self.decided, &self.system);
        let has_majority = decided.state == State::Synchronized;
        let changes = self
            .pools
            .step(now.raw, &self.upstreams, |entry| MemberJudgement {
                standing: decided.standing(entry.id),
                has_majority,
                agrees: entry
                    .settings
                    .is_on_trial()
                    .then(|| system.would_agree(now, entry))
                    .flatten(),
            });
        if !changes.is_empty() {
            self.follow_members();
        }
        for (pool, change) in changes {
            self.tell(&pool, &change);
        }
        self.look_up();
    }

    fn follow_members(&mut self) {
        let wanted = self.pools.upstreams(&self.configured);
        self.upstreams.reconfigure(&wanted);
        let (view, resample_requests) = self.system.for_pollers();
        self.pollers
            .follow_members(&self.upstreams, view, resample_requests);
        self.system.forget_gone(&self.upstreams);
    }

    fn look_up(&mut self) {
        for pool in self.pools.due_lookups(clock::raw()) {
            self.pollers.look_up(pool);
        }
    }

    /// Logs and records a change of a pool's members.
    fn tell(&mut self, pool: &Upstream, change_of_pool: &PoolChange) {
        let text = |address: &IpAddr| address.to_string();
        let (from, to, why) = match change_of_pool {
            PoolChange::Added(new) => {
                info!(pool = %pool, address = %new, "pool {pool}: {new} is polled");
                (None, Some(text(new)), None)
            }
            PoolChange::Tried(new) => {
                info!(pool = %pool, address = %new, "pool {pool}: {new} is polled on trial");
                return;
            }
            PoolChange::Replaced { old, why, new } => {
                let why = why.name();
                info!(pool = %pool, address = %new, replaced = %old, reason = why, "pool {pool}: {new} replaces {old} ({why})");
                (Some(text(old)), Some(text(new)), Some(why.to_owned()))
            }
            PoolChange::Dismissed(old, why) => {
                let why = why.map_or("not needed", |why| why.name());
                info!(pool = %pool, address = %old, reason = why, "pool {pool}: {old} is not polled any more ({why})");
                return;
            }
        };
        self.note(change("pool", Some(pool.to_string()), from, to, why));
    }

    /// Returns the state of each pool, in the order of the configuration.
    pub(super) fn pool_statuses(&self) -> Vec<PoolStatus> {
        self.pools.states().iter().map(PoolStatus::of).collect()
    }
}
