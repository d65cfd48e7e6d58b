//! Impure. A value behind a lock, and the number of its changes: a subscriber looks at one number, and takes the lock only after
//! a change.

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

/// Both ends of a new value: `first` is known to the subscriber already.
pub fn published<T>(first: T) -> (Publisher<T>, Subscriber<T>) {
    let slot = Arc::new(Slot {
        changes: AtomicU64::new(0),
        value: Mutex::new(first),
    });
    (Publisher(Arc::clone(&slot)), Subscriber { slot, seen: 0 })
}

/// The end that changes the value.
#[derive(Debug)]
pub struct Publisher<T>(Arc<Slot<T>>);

impl<T> Publisher<T> {
    /// Changes the value: from now on every subscriber that looks finds it changed. Waits for one that has it just now.
    pub fn change(&self, change: impl FnOnce(&mut T)) {
        self.0.access(|value| {
            change(value);
            // Under the lock, so that a number belongs to one value.
            self.0.changes.fetch_add(1, Ordering::Release);
        });
    }

    /// Accesses the value without telling the subscribers; `None` at once if one has it just now.
    pub fn try_access<R>(&self, access: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.0.try_access(access)
    }
}

/// An end that looks at the value; each thread has its own.
#[derive(Debug)]
pub struct Subscriber<T> {
    slot: Arc<Slot<T>>,
    seen: u64,
}

impl<T> Subscriber<T> {
    /// Whether the value was changed since it was taken last.
    pub fn is_changed(&self) -> bool {
        self.slot.changes.load(Ordering::Acquire) != self.seen
    }

    /// Takes what is new, in the way of `take`. Never waits: while the publisher has it, nothing is taken, and it stays new.
    pub fn take(&mut self, take: impl FnOnce(&mut T)) {
        let seen = self.slot.try_access(|value| {
            take(value);
            // Under the lock, so that this is exactly the number of this value.
            self.slot.changes.load(Ordering::Acquire)
        });
        self.seen = seen.unwrap_or(self.seen);
    }

    /// Reads the value; waits for the publisher if that has it just now.
    pub fn read<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        self.slot.access(|value| read(value))
    }

    /// Another end, and what `read` finds: the newest value is no news to it. Waits as [`Self::read`] does.
    pub fn another<R>(&self, read: impl FnOnce(&T) -> R) -> (Self, R) {
        self.slot.access(|value| {
            let seen = self.slot.changes.load(Ordering::Acquire);
            let slot = Arc::clone(&self.slot);
            (Self { slot, seen }, read(value))
        })
    }
}

/// The same value: each end has what it has seen.
impl<T> Clone for Subscriber<T> {
    fn clone(&self) -> Self {
        Self {
            slot: Arc::clone(&self.slot),
            seen: self.seen,
        }
    }
}
