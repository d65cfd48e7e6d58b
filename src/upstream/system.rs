//! Pure. From what the upstreams say to what we announce: the system process (RFC 5905 §11).

use std::time::Duration;

use crate::wire::NtpDuration;

/// What must hold before a time is believed and served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockPolicy {
    /// How many upstreams must be available and agree: 1 to 255.
    pub min_sources: u8,
    /// Largest root distance at which an upstream is believed and our own time is announced.
    pub max_distance: NtpDuration,
    /// What to serve when no upstream is usable; `None` is an honest "unsynchronized".
    pub local: Option<LocalReference>,
}

/// The host's clock as a reference of its own, announced as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalReference {
    /// Stratum announced: 1 to 15.
    pub stratum: u8,
    /// How long no upstream must have been usable before the host's clock stands in.
    pub wait: Duration,
    /// Root dispersion announced: how wrong the operator says that the host's clock may be.
    pub distance: NtpDuration,
}
