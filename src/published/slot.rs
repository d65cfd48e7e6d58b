//! Impure. A value behind a lock, and the number of its changes.
//!
//! A subscriber reads that number, and takes the lock only after a change.

use std::sync::{PoisonError, TryLockError};

use super::sync::{Arc, AtomicU64, Mutex, Ordering};

#[derive(Debug)]
struct Slot<T> {
    changes: AtomicU64,
    value: Mutex<T>,
}

impl<T> Slot<T> {
    fn access<R>(&self, access: impl FnOnce(&mut T) -> R) -> R {
        access(&mut self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn try_access<R>(&self, access: impl FnOnce(&mut T) -> R) -> Option<R> {
        match self.value.try_lock() {
            Ok(mut value) => Some(access(&mut value)),
            Err(TryLockError::Poisoned(poisoned)) => Some(access(&mut poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Returns both ends of a new value; the subscriber counts as having read `first`.
pub fn published<T>(first: T) -> (Publisher<T>, Subscriber<T>) {
    let slot = Arc::new(Slot {
        changes: AtomicU64::new(0),
        value: Mutex::new(first),
    });
    (Publisher(Arc::clone(&slot)), Subscriber { slot, seen: 0 })
}

/// The publishing end of a value.
#[derive(Debug)]
pub struct Publisher<T>(Arc<Slot<T>>);

impl<T> Publisher<T> {
    /// Changes the value; from now on [`Subscriber::is_changed`] is true.
    ///
    /// Waits while a subscriber accesses the value.
    pub fn change(&self, change: impl FnOnce(&mut T)) {
        self.0.access(|value| {
            change(value);
            // Under the lock, so that a number belongs to one value.
            self.0.changes.fetch_add(1, Ordering::Release);
        });
    }

    /// Accesses the value without marking it as changed; returns `None` at once while a subscriber accesses it.
    pub fn try_access<R>(&self, access: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.0.try_access(access)
    }
}

/// A reading end of a value; each thread has its own.
#[derive(Debug)]
pub struct Subscriber<T> {
    slot: Arc<Slot<T>>,
    seen: u64,
}

impl<T> Subscriber<T> {
    /// Returns whether the value was changed since the last successful [`Self::take`].
    pub fn is_changed(&self) -> bool {
        self.slot.changes.load(Ordering::Acquire) != self.seen
    }

    /// Calls `take` with the value, and marks it as read.
    ///
    /// Never waits: while the publisher accesses the value, nothing happens, and it stays changed.
    pub fn take(&mut self, take: impl FnOnce(&mut T)) {
        let seen = self.slot.try_access(|value| {
            take(value);
            // Under the lock, so that this is exactly the number of this value.
            self.slot.changes.load(Ordering::Acquire)
        });
        self.seen = seen.unwrap_or(self.seen);
    }

    /// Reads the value; waits while the publisher accesses it.
    pub fn read<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        self.slot.access(|value| read(value))
    }

    /// Returns another subscriber, which counts as having read the newest value, and the result of `read` on it.
    ///
    /// Waits as [`Self::read`] does.
    pub fn another<R>(&self, read: impl FnOnce(&T) -> R) -> (Self, R) {
        self.slot.access(|value| {
            let seen = self.slot.changes.load(Ordering::Acquire);
            let slot = Arc::clone(&self.slot);
            (Self { slot, seen }, read(value))
        })
    }
}

/// A clone subscribes to the same value, and has read what the original has read.
impl<T> Clone for Subscriber<T> {
    fn clone(&self) -> Self {
        Self {
            slot: Arc::clone(&self.slot),
            seen: self.seen,
        }
    }
}
