//! Impure. The record of the running server: what the supervisor sees goes into its memory, and to the recorder.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::unistd::gethostname;
use tracing::error;

use super::Supervisor;
use super::clock_manager::ClockManager;
use crate::config::{HistoryKeys, Loaded};
use crate::history::chain;
use crate::history::curves::Curves;
use crate::history::folder::HistoryFolder;
use crate::history::line::{HistoryLine, Note, StartNote};
use crate::history::observer::{HistoryObserver, change, sample};
use crate::history::recorder::{RecordSettings, Recorder};
use crate::history::ring::HistoryRing;
use crate::history::segment::Retention;
use crate::history::stamp::Stamp;
use crate::host::{clock, limits};
use crate::observe::history_status::HistoryStatus;
use crate::upstream::poller::PollerReport;

/// The part of the time between two records by which one may come too early: timers have a millisecond.
const EARLY: Duration = Duration::from_millis(50);

/// The memory, and the recorder, if there is one.
pub(super) struct HistoryKeeper {
    ring: HistoryRing,
    observer: HistoryObserver,
    record: RecordOutput,
    every: Duration,
    served_at: Option<Duration>,
    leap_list: Option<String>,
}

/// The record on the disk.
enum RecordOutput {
    Off,
    Written(Recorder),
    /// None, for this reason.
    Refused(HistoryStatus),
}

/// Takes the handle on the place of the record, if one is configured, before the root directory changes.
pub(super) fn open(keys: &HistoryKeys) -> Option<io::Result<HistoryFolder>> {
    keys.directory.as_deref().map(HistoryFolder::at)
}

impl HistoryKeeper {
    /// Starts the recorder, if there is a place for the record. That there is none is only logged: time is served anyway.
    pub(super) fn start(folder: Option<io::Result<HistoryFolder>>, keys: &HistoryKeys) -> Self {
        let directory = keys.directory.as_deref().unwrap_or(Path::new(""));
        let record = match folder.map(|folder| begin(folder, keys)) {
            None => RecordOutput::Off,
            Some(Ok(recorder)) => RecordOutput::Written(recorder),
            Some(Err(error)) => {
                let (why, place) = (limits::explain(&error), directory.display());
                error!(
                    error = why,
                    "history: nothing is recorded: cannot open the directory around {place} (history.directory): {why}"
                );
                RecordOutput::Refused(HistoryStatus {
                    directory: directory.to_owned(),
                    files: 0,
                    bytes: 0,
                    written: 0,
                    lost: 0,
                    fault: Some(why),
                })
            }
        };
        Self {
            ring: HistoryRing::default(),
            observer: HistoryObserver::default(),
            record,
            every: Duration::from_secs(keys.every.into()),
            served_at: None,
            leap_list: None,
        }
    }

    /// Records the start.
    pub(super) fn note_start(&self, time: Stamp, loaded: &Loaded) {
        let note = StartNote {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: clock::boot(),
            configuration: loaded.origin(),
            digest: digest(loaded),
        };
        self.write(time, Note::Start(note));
    }

    /// Records what a poller reports, before it is learned.
    pub(super) fn note_report(&mut self, clocks: &ClockManager, report: &PollerReport) {
        let Some(before) = clocks.upstream(report.id) else {
            return;
        };
        let (time, served) = clocks.served_time();
        if let Some(note) = sample(before, report, served) {
            self.ring.add_sample(time, &note);
            self.write(time, Note::Sample(note));
        }
    }

    /// Records what is new after a decision.
    pub(super) fn note_changes(&mut self, clocks: &mut ClockManager) {
        let (time, _) = clocks.served_time();
        let events = clocks.take_events();
        let changes = self.observer.changes(&clocks.clock_status(), &clocks.upstreams());
        for note in events.into_iter().chain(changes) {
            self.write(time, note);
        }
    }

    /// Records a change.
    pub(super) fn note(&self, time: Stamp, note: Note<'static>) {
        self.write(time, note);
    }

    fn write(&self, time: Stamp, note: Note<'static>) {
        if let RecordOutput::Written(recorder) = &self.record {
            recorder.write(HistoryLine { time, note });
        }
    }

    /// Returns the state of the record; `None` if none is wanted.
    pub(super) fn status(&self) -> Option<HistoryStatus> {
        match &self.record {
            RecordOutput::Off => None,
            RecordOutput::Refused(status) => Some(status.clone()),
            RecordOutput::Written(recorder) => Some(recorder.status()),
        }
    }

    /// Returns the curves of the last `seconds`.
    pub(super) fn curves(&self, now: Stamp, seconds: u32) -> Curves {
        self.ring.curves(now, seconds)
    }

    /// Records the end, and waits for the disk, but not for long.
    pub(super) fn end(self, time: Stamp) {
        self.write(time, Note::Stop);
        if let RecordOutput::Written(recorder) = self.record {
            recorder.end();
        }
    }

    /// Whether a record of the served time is due.
    fn is_due(&mut self, now: Duration) -> bool {
        let is_due = self
            .served_at
            .is_none_or(|last| now.saturating_sub(last) + EARLY >= self.every);
        if is_due {
            self.served_at = Some(now);
        }
        is_due
    }
}

fn begin(folder: io::Result<HistoryFolder>, keys: &HistoryKeys) -> io::Result<Recorder> {
    let host = gethostname().map(|name| name.to_string_lossy().into_owned());
    let settings = RecordSettings {
        retention: Retention {
            size: keys.size,
            days: keys.age_days,
        },
        every: keys.every,
        sync: Duration::from_secs(keys.sync.into()),
        host: host.unwrap_or_default(),
    };
    Recorder::start(folder?, settings)
}

fn digest(loaded: &Loaded) -> String {
    chain::sum(loaded.effective.to_string().as_bytes())
}

impl Supervisor {
    /// Records the served time once per interval, and the rest that changes rarely.
    pub(super) fn record(&mut self) {
        if !self.history.is_due(clock::raw()) {
            return;
        }
        let (time, _) = self.clock_manager.served_time();
        let (status, served) = (
            self.clock_manager.clock_status(),
            self.clock_manager.served_clock(),
        );
        let (traffic, listeners) = (
            self.inspect().traffic(),
            self.listeners.statuses(status.reference.stratum),
        );
        for note in self.history.observer.listeners(&listeners) {
            self.history.note(time, note);
        }
        let list = self
            .leaps
            .known()
            .map(|list| format!("expires {}", list.expiry()));
        if self.history.leap_list != list {
            let was = std::mem::replace(&mut self.history.leap_list, list.clone());
            self.history
                .note(time, change("leap-list", None, was, list, None));
        }
        let note = self.history.observer.served(&status, served, &traffic);
        self.history.ring.add_served(time, &note);
        self.history.note(time, Note::Served(note));
    }

    /// Records a reload, and what became of it.
    pub(super) fn record_reload(&self, fault: Option<&String>) {
        let (time, _) = self.clock_manager.served_time();
        let (name, reason) = (Some(self.running.origin()), fault.cloned());
        let to = if fault.is_some() {
            "refused".to_owned()
        } else {
            digest(&self.running)
        };
        self.history
            .note(time, change("configuration", name, None, Some(to), reason));
    }
}
