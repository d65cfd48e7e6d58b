//! What an operator sees: the log, and what it may say how often; a `snapshot` of everything, as a `screen`, as `metrics`, as
//! `health`; what the NTP `pool` would think; and the census (`clients`).

pub mod clients;
pub mod health;
pub mod journal;
pub mod log;
pub mod metrics;
pub mod pool;
pub mod screen;
pub mod snapshot;
pub mod throttle;

/// The least important message that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// The word for it in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
