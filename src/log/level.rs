//! Pure. The levels of the log.

use strum::{IntoStaticStr, VariantArray};

/// The least important message that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum LogLevel {
    /// Failures that stop the service from doing its work.
    Error,
    /// In addition, what will need attention.
    Warn,
    /// In addition, what changed: states, upstreams, start and stop.
    Info,
    /// In addition, every sample and refusal of an upstream.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// Name in the configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
