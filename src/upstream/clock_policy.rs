//! Pure. The operator's policy for the served clock, and the clock's state.

use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};

use crate::time::NtpDuration;

/// The clock to serve, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum ClockSource {
    /// `System` where an upstream is on this host, else `Tracked`.
    Auto,
    /// The host's time of day.
    System,
    /// A clock of ntpfront's own, steered to the upstreams.
    Tracked,
}

/// The reaction to a dispute among the upstreams, or of them with the host's daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
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

/// The votes of plain upstreams beside authenticated ones: with NTS, or with a symmetric key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Authenticated {
    /// Only authenticated upstreams have a vote.
    Require,
    /// There is no majority without a majority of the authenticated upstreams, if there are any.
    Prefer,
    /// All have the same vote.
    Mix,
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
    /// The votes of plain upstreams.
    pub authenticated: Authenticated,
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

impl ClockSource {
    /// Returns its word in the configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
