//! Impure. A value that one thread publishes to others, which never wait for it.
//!
//! All data between threads goes through it: the announced time and the policies for the workers, and their counts of
//! clients. So it is small, and `model` checks all interleavings of two or three threads that use it.

mod slot;

#[cfg(test)]
mod model;

pub use slot::{Publisher, Subscriber, published};

/// The synchronization primitives; `model` compiles the same code with those of the model checker.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
    pub(super) use std::sync::{Arc, Mutex};
}
