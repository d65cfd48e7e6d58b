//! Pure. The exchange of policies between the supervisor and a worker, and the means by which one is applied.
//!
//! The supervisor publishes the newest policy, together with a table of clients if another size is needed: a worker may
//! not get memory from the system. The worker looks once a batch, and takes the new in exchange for the old: others
//! free that.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::published::{Publisher, Subscriber, published};
use crate::server::policy::allowance::Allowance;
use crate::server::policy::limit::{Clients, RequestContext};
use crate::server::policy::probability::Random;
use crate::server::policy::{Annotation, Policy, Ruling};

/// A policy that the supervisor offers, or that the worker left.
#[derive(Debug)]
struct Offer {
    policy: Arc<Policy>,
    /// Another table, if another is needed.
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
}

/// The worker's end, with all that it needs to apply the policy.
#[derive(Debug)]
pub(in crate::server) struct PolicyReader {
    offer: Subscriber<Offer>,
    policy: Arc<Policy>,
    clients: Clients,
    random: Random,
    allowance: Arc<Allowance>,
}

/// Makes both ends for a new worker; `secret` is random.
pub(in crate::server) fn exchange(
    policy: &Arc<Policy>,
    allowance: &Arc<Allowance>,
    secret: [u64; 3],
) -> (PolicyWriter, PolicyReader) {
    let [seed, secret @ ..] = secret;
    let wanted = size(policy);
    let (publisher, subscriber) = published(Offer {
        policy: Arc::clone(policy),
        clients: None,
        is_taken: true,
    });
    let writer = PolicyWriter {
        offer: publisher,
        secret,
        clients: wanted,
        newest: Arc::clone(policy),
    };
    let reader = PolicyReader {
        offer: subscriber,
        policy: Arc::clone(policy),
        clients: Clients::new(wanted, secret),
        random: Random::new(seed),
        allowance: Arc::clone(allowance),
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
        self.offer.change(|offer| {
            // What the worker left is not needed any more; what it has not taken yet, it still needs.
            if offer.is_taken {
                offer.clients = None;
            }
            offer.policy = Arc::clone(policy);
            offer.clients = clients.or(offer.clients.take());
            offer.is_taken = false;
        });
    }

    /// Frees what the worker has left, if it is there: a list may be long.
    pub(in crate::server) fn free_leftovers(&self) {
        self.offer.try_access(|offer| {
            if offer.is_taken {
                offer.policy = Arc::clone(&self.newest);
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
        &self.policy
    }

    #[cold]
    fn take(&mut self) {
        let (policy, own) = (&mut self.policy, &mut self.clients);
        self.offer.take(|offer| {
            std::mem::swap(policy, &mut offer.policy);
            if let Some(clients) = &mut offer.clients {
                std::mem::swap(own, clients);
            }
            offer.is_taken = true;
        });
    }

    /// Loads into the cache where `sources` will be looked up soon.
    pub(in crate::server) fn prefetch(&self, sources: impl Iterator<Item = IpAddr>) {
        if self.policy.remembers() {
            sources.for_each(|source| self.clients.prefetch(&self.policy.limit, source));
        }
    }

    /// Decides about a request of `source` at `now`, by the raw counter.
    pub(in crate::server) fn rule(
        &mut self,
        source: IpAddr,
        now: Duration,
        annotate: impl FnMut(Annotation),
    ) -> Ruling {
        let asked = RequestContext {
            source,
            now,
            budget: self.policy.budget,
            allowance: &self.allowance,
        };
        self.policy
            .rule(&mut self.clients, &asked, &mut self.random, annotate)
    }
}
