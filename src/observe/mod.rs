//! The view of operators: log, status, metrics, health.
//!
//! The log, and how often it may say something (`throttle`); a `snapshot` of everything, as `status_text`, as
//! `metrics`, as `health`; the score that the NTP `pool` would give; and the census (`clients_text`).

pub mod clients_text;
pub mod clock_status;
pub mod health;
pub mod journal;
pub mod log;
pub mod metrics;
pub mod pool;
mod rate_meter;
pub mod snapshot;
pub mod status_text;
pub mod throttle;
pub mod upstream_status;

pub use rate_meter::RateMeter;

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
