//! Impure. The snapshot of the running server, and the reports made from it.

use std::time::Duration;

use serde::Serialize;

use super::clock_manager::ClockManager;
use super::history::HistoryKeeper;
use super::leaps::LeapList;
use super::listeners::Listeners;
use super::nts_manager::NtsManager;
use crate::control::protocol::{ControlAnswer, ControlFailure, Format};
use crate::fast_path::driver::Driver;
use crate::host::clock;
use crate::log;
use crate::observe::health::Health;
use crate::observe::pool::PoolScore;
use crate::observe::snapshot::{ListenerStatus, Reloads, Snapshot, Traffic};
use crate::observe::status_text::{StatusText, UpstreamsText};

/// The parts of the running server that a snapshot shows.
pub(super) struct Inspection<'a> {
    pub(super) clock_manager: &'a ClockManager,
    pub(super) listeners: &'a Listeners,
    pub(super) fast: Option<&'a Driver>,
    pub(super) leaps: &'a LeapList,
    pub(super) nts: &'a NtsManager,
    pub(super) reloads: &'a Reloads,
    pub(super) history: &'a HistoryKeeper,
    /// Start of the service, by the raw counter.
    pub(super) started: Duration,
}

impl Inspection<'_> {
    /// Makes the snapshot of the current moment.
    pub(super) fn snapshot(&self) -> Snapshot {
        let clock_status = self.clock_manager.clock_status();
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            uptime: clock::raw().saturating_sub(self.started).as_secs_f64(),
            pool: PoolScore::of(&clock_status),
            clock_status,
            leap_seconds: self
                .clock_manager
                .leap_status(self.leaps.known(), self.smearing_listeners()),
            requests: self.traffic(),
            reloads: self.reloads.clone(),
            log_lines_dropped: log::dropped(),
            history: self.history.status(),
            listeners: self.listener_statuses(),
            fast_path: self.fast.map(Driver::status),
            nts: self.nts.status(self.clock_manager.unix_time()),
            upstream_pools: self.clock_manager.pool_statuses(),
            upstreams: self.clock_manager.upstreams(),
        }
    }

    fn smearing_listeners(&self) -> usize {
        let listeners = self.listeners.open_listeners();
        listeners.filter(|one| one.policy.smear.is_some()).count()
    }

    /// Sums up the outcomes of all packets, at the sockets and on the fast path.
    pub(super) fn traffic(&self) -> Traffic {
        let ended = self.fast.map(Driver::ended).unwrap_or_default();
        let all = self.listeners.traffic().plus(ended, 0.0);
        let counts = self.fast.into_iter().flat_map(Driver::counts);
        counts.fold(all, |traffic, (_, counts, per_second)| {
            traffic.plus(counts, per_second)
        })
    }

    /// Returns each listener with its workers, and the fast path's counts for it.
    fn listener_statuses(&self) -> Vec<ListenerStatus> {
        let mut statuses = self.listeners.statuses();
        for (address, counts, per_second) in self.fast.into_iter().flat_map(Driver::counts) {
            let served = statuses.iter_mut().filter(|one| one.address == address);
            served.for_each(|one| one.traffic = one.traffic.plus(counts, per_second));
        }
        statuses
    }

    /// Answers `status`.
    pub(super) fn status(&self, format: Format) -> ControlAnswer {
        let snapshot = self.snapshot();
        report(format, &snapshot, || StatusText(&snapshot).to_string())
    }

    /// Answers `upstreams`.
    pub(super) fn upstreams(&self, format: Format) -> ControlAnswer {
        let snapshot = self.snapshot();
        report(format, &snapshot.upstreams, || {
            UpstreamsText(&snapshot).to_string()
        })
    }

    /// Answers `health`, with the largest healthy root distance, in seconds, if there is a limit.
    pub(super) fn health(&self, format: Format, max_distance: Option<f64>) -> ControlAnswer {
        let health = Health::of(&self.snapshot(), max_distance);
        let healthy = health.healthy;
        match write(format, &health, || health.line()) {
            Ok(text) => ControlAnswer::Health { healthy, text },
            Err(failure) => ControlAnswer::Failed(failure),
        }
    }
}

/// Makes a report of `thing`.
pub(super) fn report(format: Format, thing: &impl Serialize, text: impl FnOnce() -> String) -> ControlAnswer {
    match write(format, thing, text) {
        Ok(text) => ControlAnswer::Report { text },
        Err(failure) => ControlAnswer::Failed(failure),
    }
}

/// Writes a thing as one JSON value on a line of its own, or as its text.
fn write(
    format: Format,
    thing: &impl Serialize,
    text: impl FnOnce() -> String,
) -> Result<String, ControlFailure> {
    match format {
        Format::Text => Ok(text()),
        Format::Json => serde_json::to_string(thing)
            .map(|json| json + "\n")
            .map_err(|error| ControlFailure::Unwritable(error.to_string())),
    }
}
