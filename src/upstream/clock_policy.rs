//! Pure. What the operator wants of the served clock, and where it stands.

use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};

use crate::time::NtpDuration;

/// Which clock to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum ClockSource {
    /// `System` where an upstream is on this host, else `Tracked`.
    Auto,
    /// The host's time of day.
    System,
    /// Our own, steered after the upstreams.
    Tracked,
}

/// What to do while upstreams contradict each other, or the host's daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum OnDispute {
    /// Announce that there is no time.
    Unsynchronized,
    /// Follow the majority with a clock of our own; without a majority, announce that there is no time.
    Track,
    /// Answer nobody.
    Drop,
    /// Go on as the daemon on this host says; without one, announce that there is no time.
    Serve,
}

/// What must hold before a time is believed and served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockPolicy {
    /// Which clock to serve.
    pub source: ClockSource,
    /// How many upstreams must be available and agree: 1 to 255.
    pub min_sources: u8,
    /// Largest root distance at which an upstream is believed and our own time is announced.
    pub max_distance: NtpDuration,
    /// Largest jitter, in seconds, at which an upstream is believed.
    pub max_jitter: f64,
    /// What to do while upstreams contradict each other.
    pub on_dispute: OnDispute,
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

impl ClockSource {
    /// The word for it in the configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
