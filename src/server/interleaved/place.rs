//! Impure. A place for a pair of numbers that any thread may fill and empty, and none ever waits.
//!
//! A thread that puts the mark of an owner into the key owns the place until it writes another key: so no two threads ever
//! have a pair at once, and no pair is of two.

use super::sync::{AtomicU64, Ordering};

/// The key of an empty place.
pub(super) const EMPTY: u64 = 0;
/// The key of a place that a thread owns just now.
pub(super) const OWNED: u64 = 2;

/// A pair: a key, which is odd, and its value.
#[derive(Debug, Default)]
pub(super) struct SavedPair {
    key: AtomicU64,
    value: AtomicU64,
}

impl SavedPair {
    /// Returns the key: [`EMPTY`], odd, or [`OWNED`].
    pub(super) fn key(&self) -> u64 {
        self.key.load(Ordering::Relaxed)
    }

    /// Puts a pair in the place of the one with the key `seen`, and returns whether it did: it does nothing if that is gone.
    pub(super) fn put(&self, seen: u64, key: u64, value: u64) -> bool {
        let is_owner = seen != OWNED && self.own(seen);
        if is_owner {
            self.value.store(value, Ordering::Relaxed);
            self.key.store(key, Ordering::Release);
        }
        is_owner
    }

    /// Takes the pair with this `key` away if `is_wanted` says so of its value, which it returns. Only one taker gets it.
    pub(super) fn take(&self, key: u64, is_wanted: impl FnOnce(u64) -> bool) -> Option<u64> {
        if !self.own(key) {
            return None;
        }
        let value = self.value.load(Ordering::Relaxed);
        let is_taken = is_wanted(value);
        self.key
            .store(if is_taken { EMPTY } else { key }, Ordering::Release);
        is_taken.then_some(value)
    }

    /// Returns the value of the pair, if there is one; that of another pair if a thread just changes the place.
    pub(super) fn glance(&self) -> Option<u64> {
        let is_pair = self.key() & 1 == 1;
        is_pair.then(|| self.value.load(Ordering::Relaxed))
    }

    fn own(&self, seen: u64) -> bool {
        let owned = self
            .key
            .compare_exchange(seen, OWNED, Ordering::Acquire, Ordering::Relaxed);
        owned.is_ok()
    }
}
