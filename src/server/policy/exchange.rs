//! Pure. The exchange of policies and keys between the supervisor and a worker, and how a policy is applied.
//!
//! The supervisor publishes the newest policy, keyring and table for interleaved mode, with a table of clients if another
//! size is needed: a worker may not get memory from the system. The worker looks once a batch, and takes the new in
//! exchange for the old: others free that.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::nts::keyring::Keyring;
use crate::published::{Publisher, Subscriber, published};
use crate::server::interleaved::SavedTimestamps;
use crate::server::policy::allowance::Allowance;
use crate::server::policy::limit::{ClientState, Clients, RequestClass, RequestContext};
use crate::server::policy::probability::Random;
use crate::server::policy::{Annotation, NtsMode, Policy, Ruling};

/// A policy and keys that the supervisor offers, or that the worker left.
#[derive(Debug)]
struct Offer {
    policy: Arc<Policy>,
    /// The keys of cookies; `None` without NTS.
    keyring: Option<Arc<Keyring>>,
    /// The table for interleaved mode; `None` without it.
    saved: Option<Arc<SavedTimestamps>>,
    /// Another table of clients, if another is needed.
    clients: Option<Clients>,
    is_taken: bool,
}

/// The supervisor's end of a worker's policy.
#[derive(Debug)]
pub(in crate::server) struct PolicyWriter {
    offer: Publisher<Offer>,
    secret: [u64; 2],
    /// The size of the table that the worker has, or will have.
    clients: u32,
    /// The policy that the worker applies, or will.
    newest: Arc<Policy>,
    /// The keys that it has, or will have.
    newest_keyring: Option<Arc<Keyring>>,
    /// The table for interleaved mode that it has, or will have.
    newest_saved: Option<Arc<SavedTimestamps>>,
}

/// The worker's end.
#[derive(Debug)]
pub(in crate::server) struct PolicyReader {
    offer: Subscriber<Offer>,
    keyring: Option<Arc<Keyring>>,
    saved: Option<Arc<SavedTimestamps>>,
    rules: PolicyRules,
}

/// A policy, and all that is needed to apply it.
#[derive(Debug)]
pub(in crate::server) struct PolicyRules {
    policy: Arc<Policy>,
    clients: Clients,
    random: Random,
    allowance: Arc<Allowance>,
}

/// Makes both ends for a new worker, without interleaved mode; `secret` is random.
pub(in crate::server) fn exchange(
    policy: &Arc<Policy>,
    keyring: Option<&Arc<Keyring>>,
    allowance: &Arc<Allowance>,
    secret: [u64; 3],
) -> (PolicyWriter, PolicyReader) {
    let [seed, secret @ ..] = secret;
    let wanted = size(policy);
    let (publisher, subscriber) = published(Offer {
        policy: Arc::clone(policy),
        keyring: keyring.cloned(),
        saved: None,
        clients: None,
        is_taken: true,
    });
    let writer = PolicyWriter {
        offer: publisher,
        secret,
        clients: wanted,
        newest: Arc::clone(policy),
        newest_keyring: keyring.cloned(),
        newest_saved: None,
    };
    let rules = PolicyRules {
        policy: Arc::clone(policy),
        clients: Clients::new(wanted, secret),
        random: Random::new(seed),
        allowance: Arc::clone(allowance),
    };
    let reader = PolicyReader {
        offer: subscriber,
        keyring: keyring.cloned(),
        saved: None,
        rules,
    };
    (writer, reader)
}

/// Returns the number of clients to remember.
pub(in crate::server) fn size(policy: &Policy) -> u32 {
    if policy.remembers() {
        policy.limit.clients
    } else {
        0
    }
}

impl PolicyWriter {
    /// Has the worker apply `policy` from its next batch on.
    ///
    /// It keeps its knowledge of its clients, unless their number changes.
    pub(in crate::server) fn set(&mut self, policy: &Arc<Policy>) {
        let wanted = size(policy);
        let clients = (wanted != self.clients).then(|| Clients::new(wanted, self.secret));
        self.clients = wanted;
        self.newest = Arc::clone(policy);
        self.publish(clients);
    }

    /// Has the worker open and seal with `keyring` from its next batch on; with none, it is a server without NTS.
    pub(in crate::server) fn set_keyring(&mut self, keyring: Option<&Arc<Keyring>>) {
        self.newest_keyring = keyring.cloned();
        self.publish(None);
    }

    /// Has the worker answer in interleaved mode with the table `saved` from its next batch on; with none, in basic mode.
    pub(in crate::server) fn set_saved(&mut self, saved: Option<&Arc<SavedTimestamps>>) {
        self.newest_saved = saved.cloned();
        self.publish(None);
    }

    /// Offers the newest, with another table of `clients`, if another is needed.
    fn publish(&self, clients: Option<Clients>) {
        self.offer.change(|offer| {
            // What the worker left is not needed any more; what it has not taken yet, it still needs.
            if offer.is_taken {
                offer.clients = None;
            }
            offer.policy = Arc::clone(&self.newest);
            offer.keyring.clone_from(&self.newest_keyring);
            offer.saved.clone_from(&self.newest_saved);
            offer.clients = clients.or(offer.clients.take());
            offer.is_taken = false;
        });
    }

    /// Frees what the worker has left, if it is there: a list may be long, and keys are secret.
    pub(in crate::server) fn free_leftovers(&self) {
        self.offer.try_access(|offer| {
            if offer.is_taken {
                offer.policy = Arc::clone(&self.newest);
                offer.keyring.clone_from(&self.newest_keyring);
                offer.saved.clone_from(&self.newest_saved);
                offer.clients = None;
            }
        });
    }
}

impl PolicyReader {
    /// Takes what is new; to be called before each batch.
    pub(in crate::server) fn latest(&mut self) -> &Policy {
        if self.offer.is_changed() {
            self.take();
        }
        &self.rules.policy
    }

    #[cold]
    fn take(&mut self) {
        let PolicyRules { policy, clients, .. } = &mut self.rules;
        let (keyring, saved) = (&mut self.keyring, &mut self.saved);
        self.offer.take(|offer| {
            std::mem::swap(policy, &mut offer.policy);
            std::mem::swap(keyring, &mut offer.keyring);
            std::mem::swap(saved, &mut offer.saved);
            if let Some(others) = &mut offer.clients {
                std::mem::swap(clients, others);
            }
            offer.is_taken = true;
        });
    }

    /// Returns whether fields of NTS mean anything here.
    pub(in crate::server) fn has_nts(&self) -> bool {
        self.keyring.is_some() && self.rules.policy.nts != NtsMode::Off
    }

    /// Returns the rules, and the keys of cookies and the table for interleaved mode, if there are any.
    pub(in crate::server) fn parts(
        &mut self,
    ) -> (&mut PolicyRules, Option<&Keyring>, Option<&SavedTimestamps>) {
        (&mut self.rules, self.keyring.as_deref(), self.saved.as_deref())
    }

    /// Returns the table for interleaved mode, if there is one.
    pub(in crate::server) fn saved(&self) -> Option<&SavedTimestamps> {
        self.saved.as_deref()
    }

    /// Returns what is remembered of `source`, as far as plain requests depend on it.
    pub(in crate::server) fn state_of(&self, source: IpAddr) -> ClientState {
        let PolicyRules { policy, clients, .. } = &self.rules;
        clients.state_of(&policy.limit, source)
    }

    /// Loads into the cache where `sources` will be looked up soon.
    pub(in crate::server) fn prefetch(&self, sources: impl Iterator<Item = IpAddr>) {
        self.rules.prefetch(sources, RequestClass::Plain);
    }

    /// Decides about a plain request of `source` at `now`, by the raw counter.
    pub(in crate::server) fn rule(
        &mut self,
        source: IpAddr,
        now: Duration,
        annotate: impl FnMut(Annotation),
    ) -> Ruling {
        self.rules.rule(source, RequestClass::Plain, now, annotate)
    }
}

impl PolicyRules {
    /// Returns the policy.
    pub(in crate::server) const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Returns whether requests of `source` get no reply at all.
    pub(in crate::server) fn drops(&self, source: IpAddr) -> bool {
        self.policy.drops(source)
    }

    /// Loads into the cache where requests of this `class` of `sources` will be looked up soon.
    pub(in crate::server) fn prefetch(&self, sources: impl Iterator<Item = IpAddr>, class: RequestClass) {
        if self.policy.remembers() {
            let Policy { limit, budget, .. } = &*self.policy;
            sources.for_each(|source| self.clients.prefetch(limit, *budget, source, class));
        }
    }

    /// Decides about a request of `source` at `now`, by the raw counter.
    #[inline]
    pub(in crate::server) fn rule(
        &mut self,
        source: IpAddr,
        class: RequestClass,
        now: Duration,
        annotate: impl FnMut(Annotation),
    ) -> Ruling {
        let asked = RequestContext {
            source,
            class,
            now,
            budget: self.policy.budget,
            allowance: &self.allowance,
        };
        self.policy
            .rule(&mut self.clients, &asked, &mut self.random, annotate)
    }
}
