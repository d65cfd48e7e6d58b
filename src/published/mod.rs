//! Impure. A value that one thread gives to others, which never wait for it.
//!
//! Everything that threads tell each other goes through it: what is announced to the workers, their policies, and what they
//! count about clients. So it is small, and `model` tries all ways in which two or three threads can meet in it.

mod slot;

#[cfg(test)]
mod model;

pub use slot::{Publisher, Subscriber, published};

/// What the threads' meetings are made of; the model has its own.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
    pub(super) use std::sync::{Arc, Mutex};
}
