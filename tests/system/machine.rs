//! Which tests share the machine. Each test of this program begins with one of these two: else it would disturb others, or be
//! disturbed.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::new(());

/// The whole machine, for a test that puts a full load on it, measures times, or runs the daemon within valgrind, which would take
/// longer than a test waits beside others.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    // Another test's failure is no reason to fail here.
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// A part of the machine, for a test whose neighbors may slow it down.
pub(crate) fn shared() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}
