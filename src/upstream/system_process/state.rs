//! Pure. The state of the served time.

use strum::{IntoStaticStr, VariantArray};

/// The state of the served time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
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

impl State {
    /// All states.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::VARIANTS.iter().copied()
    }

    /// Returns its word in logs and metrics.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
