//! The view of operators: log, status, metrics, health.
//!
//! A `snapshot` of everything, with the advice of the `advisor`; as lines of a `screen` (`status_text`,
//! `upstreams_text`), as `metrics`, as `health` (for `nagios`, too, and watched by `health_watch`); the state of the
//! record (`history_status`); the score that the NTP `pool` would give; a `query_table` of several servers; the census
//! (`clients_text`), one client (`client_status`, `client_text`); what is served around a leap second (`leap_forecast`);
//! and what the log says of all that (`journal`).

pub mod advice;
pub mod advisor;
pub mod client_status;
pub mod client_text;
pub mod clients_text;
pub mod clock_status;
mod command_text;
mod fast_path_text;
pub mod health;
pub mod health_watch;
pub mod history_status;
mod interleaved_text;
pub mod journal;
pub mod leap_forecast;
pub mod leap_status;
mod listeners_text;
mod mac_text;
pub mod metrics;
pub mod nagios;
pub mod nts_status;
mod nts_text;
pub mod pool;
pub mod pool_status;
mod pools_text;
pub mod query_table;
pub mod screen;
pub mod snapshot;
pub mod status_text;
mod units;
pub mod upstream_status;
mod upstreams_text;
