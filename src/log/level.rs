//! Pure. The levels of the log.

use strum::{IntoStaticStr, VariantArray};

/// The least important message that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum LogLevel {
    /// Only what stops the service from doing its work.
    Error,
    /// Also what will need attention.
    Warn,
    /// Also what changed: states, upstreams, start and stop.
    Info,
    /// Also every sample and refusal of an upstream.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
