//! Key establishment as a server: threads of their own that accept connections, speak TLS, and answer one request on each.
//!
//! `admission` decides which connections become sessions, and which session makes room for another (pure). `session` is
//! one of them, `thread` has the loop that accepts them, `server` the handle of all threads. What is said inside TLS is in
//! `nts::ke`.

pub mod admission;
mod counters;
pub mod expiry;
mod outcome;
mod server;
mod service;
mod session;
mod sessions;
mod thread;

pub use crate::host::tls::certificate::CertificateFacts;
pub use counters::KeCounts;
pub use outcome::{KeOutcome, KeRefusal};
pub use server::KeThreads;
pub use service::KeService;
