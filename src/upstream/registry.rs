//! Pure. The upstreams that are polled: one entry each, under an identity that is never used for another one.
//!
//! A reload changes them by a [`Plan`]. All other state of an upstream (its poller's, the system process's, the
//! journal's) is kept by its [`UpstreamId`], and dropped when the registry has no such entry any more. So nothing has
//! to be moved when the order of the configuration changes; and a late report of a poller that has ended finds no
//! entry, even if the same server was added again meanwhile.

mod identity;
mod plan;

use std::collections::BTreeMap;

use super::Upstream;
use super::peer::{Peer, Polling};

pub use identity::{Endpoint, UpstreamId};
pub use plan::{Configured, Plan, plan};

/// An upstream that is polled.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its identity, different from those of all others that are or were polled.
    pub id: UpstreamId,
    /// Its configuration.
    pub settings: Upstream,
    /// The last report of its poller on its answers.
    pub peer: Peer,
    /// The last report of its poller on the polling.
    pub polling: Polling,
    /// Its number in the configuration, which is the order of displays; nothing else depends on it.
    place: usize,
}

impl Entry {
    /// Creates the entry of an upstream that was not polled yet.
    fn new(id: UpstreamId, configured: Configured) -> Self {
        let Configured { place, settings } = configured;
        Self {
            id,
            peer: Peer::unknown(&settings),
            polling: Polling::default(),
            settings,
            place,
        }
    }
}

/// All upstreams that are polled.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    entries: BTreeMap<UpstreamId, Entry>,
    /// The identity of the next new one.
    next: UpstreamId,
}

impl Registry {
    /// Creates the registry of a configuration, with upstreams that were not polled yet.
    pub fn new(wanted: &[Upstream]) -> Self {
        let mut new = Self::default();
        new.reconfigure(wanted);
        new
    }

    /// Changes the upstreams to the `wanted` ones; those that stay keep their identity and state.
    pub fn reconfigure(&mut self, wanted: &[Upstream]) {
        let running = self.iter().map(|one| (one.id, one.settings.endpoint()));
        let Plan { keep, start, stop } = plan(running, wanted);
        for gone in &stop {
            self.entries.remove(gone);
        }
        for (id, Configured { place, settings }) in keep {
            if let Some(entry) = self.entries.get_mut(&id) {
                (entry.place, entry.settings) = (place, settings);
            }
        }
        for configured in start {
            let id = self.next;
            self.next = id.next();
            self.entries.insert(id, Entry::new(id, configured));
        }
    }

    /// Takes the report of a poller, if its upstream is still there.
    pub fn update(&mut self, id: UpstreamId, peer: Peer, polling: Polling) {
        if let Some(entry) = self.entries.get_mut(&id) {
            (entry.peer, entry.polling) = (peer, polling);
        }
    }

    /// Returns the upstream with this identity, if it is still there.
    pub fn get(&self, id: UpstreamId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Returns whether the upstream with this identity is still there.
    pub fn contains(&self, id: UpstreamId) -> bool {
        self.entries.contains_key(&id)
    }

    /// Returns all upstreams, the oldest first: this order does not depend on the configuration's.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.entries.values()
    }

    /// Returns all upstreams in the order of the configuration, for displays.
    pub fn in_configured_order(&self) -> Vec<&Entry> {
        let mut all: Vec<&Entry> = self.iter().collect();
        all.sort_by_key(|one| one.place);
        all
    }

    /// Returns the number of upstreams.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no upstreams.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests;
