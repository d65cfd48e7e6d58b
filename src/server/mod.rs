//! Impure. The way of a client's packet: from the socket to the reply.
//!
//! By the listener's `policy` (`access`, `limit`, `budget`), `respond` decides whether the client is answered, and
//! `respond_mac` about requests with a MAC, `respond_nts` about those with NTS, `interleaved` whether the reply tells when
//! the previous one left (pure). `worker` moves bytes. `judgement` says what a request would get, and `probe` asks a worker
//! what it knows of its client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

mod counters;
pub mod interleaved;
pub mod judgement;
mod nts_counts;
pub mod policy;
mod probe;
mod reply;
mod residence;
mod respond;
mod respond_mac;
mod respond_nts;
mod verdict;
mod worker;

pub use crate::host::steering::Steering;
pub use counters::{CountParts, Counters, Counts};
pub use interleaved::{InterleavedMode, SavedCounts, SavedTimestamps};
pub use nts_counts::{CookieAge, NakReason, NtsCounts};
pub use policy::Policy;
pub use policy::allowance::Allowance;
pub use probe::ClientFinding;
pub use reply::ReplyBuffer;
pub use residence::Residence;
pub use respond::{Request, respond};
pub use respond_nts::{NtsBatch, NtsOutcome, NtsOutcomes, NtsPacket};
pub use verdict::Verdict;
pub use worker::{INTERRUPT, Worker};

/// An address that clients ask, and the workers that answer there.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// The address and port; a wildcard address (`0.0.0.0`, `[::]`) means every address of that family.
    pub address: SocketAddr,
    /// The number of threads, each with a socket of its own: 1 to 1024.
    pub workers: u16,
    /// The way in which the kernel spreads the packets over the workers.
    pub steering: Steering,
    /// Whether there is no start, no reload and no health without it. Otherwise an absent address is waited for.
    pub required: bool,
    /// The settings of the workers and of their sockets.
    pub tuning: Tuning,
    /// The policy: the clients that are answered, and the content of the answers.
    pub policy: Arc<Policy>,
}

/// Settings of workers and of their sockets, which can change while they work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// The most requests that a worker takes at once: 1 to [`Tuning::LARGEST_BATCH`].
    pub batch: u16,
    /// A request that waited longer in the queue is not answered: 1 ms to 1 s.
    pub max_wait: Duration,
    /// The bytes of packets that each socket's queue may take (`SO_RCVBUF`): 65,536 to 512 MiB.
    ///
    /// The kernel counts 400 to 2200 bytes for a request.
    pub receive_buffer: u32,
    /// The time for which the kernel polls the network card before a worker sleeps, in microseconds: 0 to 10,000.
    ///
    /// With 0 it does not poll.
    pub busy_poll: u16,
    /// Whether each worker keeps to a CPU of its own.
    pub pin: bool,
    /// The number of replies whose transmit timestamps are saved for interleaved mode; `None`: all replies are in basic mode.
    pub saved_timestamps: Option<u32>,
}

impl Listener {
    /// Returns whether it is served in another way than `other`, whichever clients are answered.
    pub fn is_served_differently(&self, other: &Self) -> bool {
        let Self {
            address,
            workers,
            steering,
            required,
            tuning,
            policy: _,
        } = self;
        (*address, *workers, *steering, *required, *tuning)
            != (
                other.address,
                other.workers,
                other.steering,
                other.required,
                other.tuning,
            )
    }
}

impl Tuning {
    /// The largest batch. More gain nothing, and make the predicted time of the last reply vague.
    pub const LARGEST_BATCH: u16 = 256;
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            batch: 32,
            max_wait: Duration::from_secs(1),
            receive_buffer: 1 << 20,
            busy_poll: 0,
            pin: false,
            saved_timestamps: None,
        }
    }
}
