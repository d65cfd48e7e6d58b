//! Impure. The snapshot of the running server, and the reports made from it.

use std::time::Duration;

use serde::Serialize;

use super::clock_manager::ClockManager;
use super::history::HistoryKeeper;
use super::leaps::LeapList;
use super::listeners::Listeners;
use super::nts_manager::NtsManager;
use super::overlay::Overlay;
use crate::census::ClientNumbers;
use crate::control::protocol::{ControlAnswer, ControlFailure};
use crate::fast_path::driver::{Driver, ListenerCounts};
use crate::host::clock;
use crate::log;
use crate::observe::advisor;
use crate::observe::health::HealthView;
use crate::observe::pool::PoolScore;
use crate::observe::screen::ScreenWanted;
use crate::observe::snapshot::{CommandCounts, ListenerStatus, Reloads, Snapshot, Traffic};
use crate::observe::status_text::screen;

/// The parts of the running server that a snapshot shows.
pub(super) struct Inspection<'a> {
    pub(super) clock_manager: &'a ClockManager,
    pub(super) listeners: &'a Listeners,
    pub(super) fast: Option<&'a Driver>,
    pub(super) leaps: &'a LeapList,
    pub(super) nts: &'a NtsManager,
    pub(super) reloads: &'a Reloads,
    /// Time since the configuration file was found to be another one than that in effect.
    pub(super) file_changed_for: Option<Duration>,
    pub(super) commands: CommandCounts,
    pub(super) overlay: &'a Overlay,
    pub(super) history: &'a HistoryKeeper,
    /// Lines of the files of other programs that are left out.
    pub(super) left_out: &'a [String],
    /// Start of the service, by the raw counter.
    pub(super) started: Duration,
}

impl Inspection<'_> {
    /// Makes the snapshot of the current moment.
    pub(super) fn snapshot(&self) -> Snapshot {
        let clock_status = self.clock_manager.clock_status();
        let stratum = clock_status.reference.stratum;
        let fast_counts = self.fast_counts();
        let mut snapshot = Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            uptime: clock::raw().saturating_sub(self.started).as_secs_f64(),
            advice: Vec::new(),
            pool: PoolScore::of(&clock_status),
            clock_status,
            leap_seconds: self
                .clock_manager
                .leap_status(self.leaps.known(), self.smearing_listeners()),
            requests: self.traffic_with(&fast_counts),
            reloads: Reloads {
                file_changed_for: self.file_changed_for.map(|time| time.as_secs_f64()),
                ..self.reloads.clone()
            },
            commands: self.commands,
            log_lines_dropped: log::dropped(),
            history: self.history.status(),
            clients: self.client_numbers(),
            budget: self.listeners.budget_status(),
            listeners: self.listener_statuses(stratum, &fast_counts),
            fast_path: self.fast.map(|fast| fast.status(&fast_counts)),
            nts: self.nts.status(self.clock_manager.unix_time()),
            upstream_changes: self.overlay.changes(),
            left_out: self.left_out.to_vec(),
            upstream_pools: self.clock_manager.pool_statuses(),
            upstreams: self.clock_manager.upstreams(),
        };
        snapshot.advice = advisor::advice(&snapshot);
        snapshot
    }

    /// Returns the numbers of clients; `None` if the census is off.
    fn client_numbers(&self) -> Option<ClientNumbers> {
        let censuses = self.listeners.censuses();
        let fast = self.fast.and_then(Driver::census);
        (!censuses.is_empty()).then(|| ClientNumbers::of(&censuses, fast, clock::raw()))
    }

    fn smearing_listeners(&self) -> usize {
        let listeners = self.listeners.open_listeners();
        listeners.filter(|one| one.policy.smear.is_some()).count()
    }

    /// Sums up the outcomes of all packets, at the sockets and on the fast path.
    pub(super) fn traffic(&self) -> Traffic {
        self.traffic_with(&self.fast_counts())
    }

    fn traffic_with(&self, fast_counts: &[ListenerCounts]) -> Traffic {
        let ended = self.fast.map(Driver::ended).unwrap_or_default();
        let all = self.listeners.traffic().plus(ended, 0.0);
        fast_counts.iter().fold(all, |traffic, (_, counts, per_second)| {
            traffic.plus(*counts, *per_second)
        })
    }

    /// Reads what the fast path counted. All of a snapshot has the same reading: the program goes on counting.
    fn fast_counts(&self) -> Vec<ListenerCounts> {
        self.fast.into_iter().flat_map(Driver::counts).collect()
    }

    /// Returns each listener with its workers, and the fast path's counts for it.
    fn listener_statuses(&self, stratum: u8, fast_counts: &[ListenerCounts]) -> Vec<ListenerStatus> {
        let mut statuses = self.listeners.statuses(stratum);
        for (address, counts, per_second) in fast_counts {
            let served = statuses.iter_mut().filter(|one| one.address == *address);
            served.for_each(|one| one.traffic = one.traffic.plus(*counts, *per_second));
        }
        statuses
    }

    /// Answers `status`.
    pub(super) fn status(&self) -> ControlAnswer {
        json(&self.snapshot())
    }

    /// Answers `upstreams`.
    pub(super) fn upstreams(&self) -> ControlAnswer {
        json(&self.snapshot().upstreams)
    }

    /// Answers a request for a screen.
    pub(super) fn screen(&self, wanted: &ScreenWanted) -> ControlAnswer {
        ControlAnswer::Screen(screen(&self.snapshot(), wanted))
    }

    /// Returns what is `made` of all that health depends on.
    ///
    /// It takes less than a snapshot: watchers get it ten times per second.
    pub(super) fn health<T>(&self, made: impl FnOnce(&HealthView<'_>) -> T) -> T {
        let clock = self.clock_manager.clock_status();
        let nts = self.nts.status(self.clock_manager.unix_time());
        let history = self.history.status();
        made(&HealthView {
            listeners: self.listeners.health(clock.reference.stratum),
            clock: &clock,
            nts: nts.as_ref(),
            history: history.as_ref(),
        })
    }
}

/// Reports `thing` as one JSON value on a line of its own.
pub(super) fn json(thing: &impl Serialize) -> ControlAnswer {
    match serde_json::to_string(thing) {
        Ok(json) => ControlAnswer::Report { text: json + "\n" },
        Err(error) => ControlAnswer::Failed(ControlFailure::Unwritable(error.to_string())),
    }
}
