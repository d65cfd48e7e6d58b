//! Pure. How a policy reaches a worker, and what the worker needs to obey it.
//!
//! The supervisor lays the newest policy ready, together with a table of clients if another size is needed: a worker may
//! not get memory from the system. The worker looks at one number a batch, and takes what is new if nobody is just laying it
//! there. What it had before it leaves in its place, to be freed by others.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use super::allowance::Allowance;
use super::limit::{Asked, Clients};
use super::policy::{Policy, Remark, Ruling};
use super::random::Random;

#[derive(Debug)]
struct Ready {
    policy: Arc<Policy>,
    /// Another table, if another is needed.
    clients: Option<Clients>,
    taken: bool,
}

#[derive(Debug)]
struct Shelf {
    generation: AtomicU64,
    ready: Mutex<Ready>,
}

/// The supervisor's end of a worker's policy.
#[derive(Debug)]
pub(super) struct Doorman {
    shelf: Arc<Shelf>,
    secret: [u64; 2],
    /// The size of the table that the worker has, or will have.
    clients: u32,
    /// What the worker obeys, or will.
    newest: Arc<Policy>,
}

/// The worker's end, with all that it needs to obey.
#[derive(Debug)]
pub(super) struct Gate {
    shelf: Arc<Shelf>,
    seen: u64,
    policy: Arc<Policy>,
    clients: Clients,
    random: Random,
    allowance: Arc<Allowance>,
}

/// Both ends for a new worker; `secret` is random.
pub(super) fn gate(policy: &Arc<Policy>, allowance: &Arc<Allowance>, secret: [u64; 3]) -> (Doorman, Gate) {
    let [seed, secret @ ..] = secret;
    let wanted = size(policy);
    let shelf = Arc::new(Shelf {
        generation: AtomicU64::new(0),
        ready: Mutex::new(Ready {
            policy: Arc::clone(policy),
            clients: None,
            taken: true,
        }),
    });
    let doorman = Doorman {
        shelf: Arc::clone(&shelf),
        secret,
        clients: wanted,
        newest: Arc::clone(policy),
    };
    let gate = Gate {
        shelf,
        seen: 0,
        policy: Arc::clone(policy),
        clients: Clients::new(wanted, secret),
        random: Random::new(seed),
        allowance: Arc::clone(allowance),
    };
    (doorman, gate)
}

/// How many clients to remember.
pub(super) fn size(policy: &Policy) -> u32 {
    if policy.remembers() {
        policy.limit.clients
    } else {
        0
    }
}

impl Doorman {
    /// From its next batch on the worker obeys `policy`. It goes on with what it knows of its clients, unless they need
    /// another room.
    pub(super) fn obey(&mut self, policy: &Arc<Policy>) {
        let wanted = size(policy);
        let clients = (wanted != self.clients).then(|| Clients::new(wanted, self.secret));
        self.clients = wanted;
        self.newest = Arc::clone(policy);
        let shelf = &self.shelf;
        let mut ready = shelf.ready.lock().unwrap_or_else(PoisonError::into_inner);
        // What the worker left there is not needed any more; what it has not taken yet, it still needs.
        if ready.taken {
            ready.clients = None;
        }
        ready.policy = Arc::clone(policy);
        ready.clients = clients.or(ready.clients.take());
        ready.taken = false;
        shelf.generation.fetch_add(1, Ordering::Release);
    }
}

impl Doorman {
    /// Frees what the worker has left, if it is there: a list may be long.
    pub(super) fn tidy(&self) {
        if let Ok(mut ready) = self.shelf.ready.try_lock()
            && ready.taken
        {
            ready.policy = Arc::clone(&self.newest);
            ready.clients = None;
        }
    }
}

impl Gate {
    /// Takes what is new; to be called before each batch.
    pub(super) fn look(&mut self) -> &Policy {
        if self.shelf.generation.load(Ordering::Acquire) != self.seen {
            self.take();
        }
        &self.policy
    }

    #[cold]
    fn take(&mut self) {
        let mut ready = match self.shelf.ready.try_lock() {
            Ok(ready) => ready,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        // Counted under the lock, so that this is exactly the number of what lies there.
        self.seen = self.shelf.generation.load(Ordering::Acquire);
        std::mem::swap(&mut self.policy, &mut ready.policy);
        if let Some(clients) = &mut ready.clients {
            std::mem::swap(&mut self.clients, clients);
        }
        ready.taken = true;
    }

    /// Looks where `sources` will be looked up soon.
    pub(super) fn foresee(&self, sources: impl Iterator<Item = IpAddr>) {
        if self.policy.remembers() {
            sources.for_each(|source| self.clients.foresee(&self.policy.limit, source));
        }
    }

    /// Decides about a request of `source` at `now`, by the raw counter.
    pub(super) fn rule(&mut self, source: IpAddr, now: Duration, remark: impl FnMut(Remark)) -> Ruling {
        let asked = Asked {
            source,
            now,
            budget: self.policy.budget,
            allowance: &self.allowance,
        };
        self.policy
            .rule(&mut self.clients, &asked, &mut self.random, remark)
    }
}
