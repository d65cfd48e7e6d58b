//! Pure. The upstreams that are asked: one entry each, under an identity that is never given to another one.
//!
//! What a reload does with them is a [`Plan`]. All else that remembers something of an upstream (its poller, the system
//! process, the journal) remembers it by its [`UpstreamId`], and forgets those that the registry does not know any more. So
//! nothing has to be moved when the configuration turns around, and a report that comes late, of a poller that is gone, finds no
//! entry, even if the same server was added again meanwhile.

mod identity;
mod plan;

use std::collections::BTreeMap;

use super::Upstream;
use super::association::{Peer, Polling};

pub use identity::{Endpoint, UpstreamId};
pub use plan::{Configured, Plan, plan};

/// An upstream that is asked.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What tells it from all others that are or were asked.
    pub id: UpstreamId,
    /// How it is asked and believed.
    pub settings: Upstream,
    /// What its poller reported last of its answers.
    pub peer: Peer,
    /// What it reported last of how it asks.
    pub polling: Polling,
    /// Its number in the configuration: what is displayed is in that order, and nothing else hangs on it.
    place: usize,
}

impl Entry {
    /// Nothing is known of it yet.
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

/// All upstreams that are asked.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    entries: BTreeMap<UpstreamId, Entry>,
    /// The identity of the next one that is new.
    next: UpstreamId,
}

impl Registry {
    /// Those of a configuration, of which nothing is known yet.
    pub fn new(wanted: &[Upstream]) -> Self {
        let mut new = Self::default();
        new.reconfigure(wanted);
        new
    }

    /// Those that are `wanted` are asked from now on. Those that were asked before keep their identity and what is known of
    /// them.
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

    /// Takes what a poller reports, if its upstream is still there.
    pub fn update(&mut self, id: UpstreamId, peer: Peer, polling: Polling) {
        if let Some(entry) = self.entries.get_mut(&id) {
            (entry.peer, entry.polling) = (peer, polling);
        }
    }

    /// The upstream with this identity, if it is still there.
    pub fn get(&self, id: UpstreamId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Whether the upstream with this identity is still there.
    pub fn contains(&self, id: UpstreamId) -> bool {
        self.entries.contains_key(&id)
    }

    /// All of them, those that have been there for longer first: whatever order the configuration has, this one stays.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.entries.values()
    }

    /// All of them as the configuration has them, to be displayed.
    pub fn in_configured_order(&self) -> Vec<&Entry> {
        let mut all: Vec<&Entry> = self.iter().collect();
        all.sort_by_key(|one| one.place);
        all
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is asked.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests;
