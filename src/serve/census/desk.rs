//! Impure. Where a worker lays its census down for others to read: a lock that the worker never waits for.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use super::{Census, History, Method};

/// How often a copy is laid down (*measured*: 3 µs, and 6 once in 5 minutes).
const APART: Duration = Duration::from_secs(1);

/// The worker's side.
#[derive(Debug)]
pub struct Desk {
    census: Census,
    told_at: Duration,
    shared: Shared,
}

/// The reader's side: what the worker laid down a second ago, or a bit more on a busy machine.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<History>>);

impl Desk {
    /// All memory that it will ever have.
    pub fn new(method: Method, now: Duration) -> Self {
        Self {
            census: Census::new(method, now),
            told_at: now,
            shared: Shared(Arc::new(Mutex::new(History::new(now)))),
        }
    }

    /// For whoever reads it.
    pub fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// Packets from `sources` came at `now`.
    pub fn note(&mut self, sources: impl Iterator<Item = IpAddr>, now: Duration) {
        self.census.note(sources, now);
    }

    /// Lays a copy down when the last one is a second old: to be called after each batch, and now and then without one.
    pub fn tell(&mut self, now: Duration) {
        if now.saturating_sub(self.told_at) >= APART {
            self.tell_now(now);
        }
    }

    #[cold]
    fn tell_now(&mut self, now: Duration) {
        let mut history = match self.shared.0.try_lock() {
            Ok(history) => history,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Somebody reads: then after the next batch.
            Err(TryLockError::WouldBlock) => return,
        };
        self.census.tell(&mut history, now);
        self.told_at = now;
    }
}

impl Shared {
    /// Lets `read` look, for as long as it likes: the worker goes on without telling.
    pub fn read<T>(&self, read: impl FnOnce(&History) -> T) -> T {
        read(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tally;
    use super::*;
    use std::net::Ipv4Addr;

    fn requests(shared: &Shared, now: Duration) -> u64 {
        let mut tally = Tally::new(now);
        shared.read(|history| tally.add(history));
        tally.report().requests
    }

    #[test]
    fn the_worker_tells_once_a_second_and_never_waits() {
        let second = Duration::from_secs(1);
        let method = Method { seed: 1, clients: 64 };
        let mut desk = Desk::new(method, second);
        let shared = desk.shared();
        desk.note([Ipv4Addr::LOCALHOST.into()].into_iter(), second);
        desk.tell(second + second / 2);
        assert_eq!(requests(&shared, second * 2), 0);
        shared.read(|_| desk.tell(second * 2));
        assert_eq!(requests(&shared, second * 2), 0);
        desk.tell(second * 2);
        assert_eq!(requests(&shared, second * 2), 1);
    }
}
