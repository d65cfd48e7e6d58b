//! Pure. What the load found, as the one line of JSON that it prints and the tests read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// All of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// How long it sent, in seconds.
    pub(crate) seconds: f64,
    /// Requests that left, over all targets.
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    /// Not answered within two seconds after the last request.
    pub(crate) lost: u64,
    /// Answers that said "unsynchronized" (leap 3); they count as answered.
    pub(crate) unsynchronized: u64,
    /// The reference IDs of those, and how often each came.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// Second answers to one request.
    pub(crate) duplicate: u64,
    /// Packets that answer nothing that was asked, bit for bit, from where it was asked.
    pub(crate) wrong: u64,
    /// Requests that the kernel refused to send; they count as nothing else.
    pub(crate) unsent: u64,
    /// Answers that the load's own sockets dropped: then `lost` is the load's fault.
    pub(crate) own_drops: u64,
    /// What this network namespace counted meanwhile. A loss that is in neither went down with a closed socket.
    pub(crate) kernel: Kernel,
    pub(crate) targets: Vec<Target>,
}

/// The UDP counters of a network namespace that tell why a packet is lost, both families together.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Kernel {
    /// Packets to a port where nobody listened.
    pub(crate) no_ports: u64,
    /// Packets to a socket whose queue was full.
    pub(crate) queue_full: u64,
}

/// One server address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) address: String,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) lost: u64,
    /// When those left, in milliseconds from the start: the first ones.
    pub(crate) lost_at_ms: Vec<f64>,
    pub(crate) unsynchronized: u64,
    pub(crate) duplicate: u64,
    /// The longest time without an answer, from the first request on, in milliseconds.
    pub(crate) max_gap_ms: f64,
    /// From request to answer, in microseconds.
    pub(crate) latency_us: Latency,
}

/// Percentiles; all zero without an answer.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}
