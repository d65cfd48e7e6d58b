//! Pure. The operator's policy for the served clock, and the clock's state.

use std::time::Duration;

use crate::time::NtpDuration;

/// The clock to serve, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockSource {
    /// `System` where an upstream is on this host, else `Tracked`.
    Auto,
    /// The host's time of day.
    System,
    /// A clock of ntpfront's own, steered to the upstreams.
    Tracked,
}

/// The reaction to a dispute among the upstreams, or of them with the host's daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDispute {
    /// Announce that there is no time.
    Unsynchronized,
    /// Serve the tracked clock, steered to the majority; without a majority, announce that there is no time.
    Track,
    /// Send no replies.
    Drop,
    /// Keep mirroring the daemon on this host; without one, announce that there is no time.
    Serve,
}

/// The conditions under which an upstream is used and a time is served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockPolicy {
    /// The clock to serve.
    pub source: ClockSource,
    /// Number of upstreams that must be available and agree: 1 to 255.
    pub min_sources: u8,
    /// Largest root distance at which an upstream is used, and at which a time is announced.
    pub max_distance: NtpDuration,
    /// Largest jitter, in seconds, at which an upstream is used.
    pub max_jitter: f64,
    /// The reaction to a dispute.
    pub on_dispute: OnDispute,
    /// The local reference to serve when no upstream is usable; `None` announces "unsynchronized".
    pub local: Option<LocalReference>,
}

/// The settings of a local reference: the host's clock, announced as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalReference {
    /// Stratum announced: 1 to 15.
    pub stratum: u8,
    /// Time without a usable upstream after which the host's clock is served.
    pub wait: Duration,
    /// Root dispersion announced: the maximum error of the host's clock, by the operator's knowledge.
    pub distance: NtpDuration,
}

/// The state of the served time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No upstream was usable yet.
    Init,
    /// Enough upstreams are available and agree.
    Synchronized,
    /// Not enough upstreams agree any more, but the error of the last time is still known to be small.
    Holdover,
    /// The last time is too long ago, or the host's clock was stepped.
    Unsynchronized,
    /// Upstreams contradict each other, or the daemon that keeps the host's clock, and it lasts.
    Disputed,
    /// The host's clock is served as a local reference.
    Local,
}

impl ClockSource {
    /// Returns its word in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::System => "system",
            Self::Tracked => "tracked",
        }
    }
}

impl State {
    /// All states.
    pub const ALL: [Self; 6] = [
        Self::Init,
        Self::Synchronized,
        Self::Holdover,
        Self::Unsynchronized,
        Self::Disputed,
        Self::Local,
    ];

    /// Returns its word in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Synchronized => "synchronized",
            Self::Holdover => "holdover",
            Self::Unsynchronized => "unsynchronized",
            Self::Disputed => "disputed",
            Self::Local => "local",
        }
    }
}
