//! Impure. A reload: the configuration is read again, and its differences from the running one are applied.
//!
//! An error anywhere leaves everything as it was.

use tracing::{error, info, warn};

use super::listeners::Prepared;
use super::needs::Needs;
use super::reading::Read;
use super::{Supervisor, nts_manager, system_limits};
use crate::config::check::CheckReport;
use crate::config::{Config, Difference, Fault, Loaded};
use crate::control::command::CommandReport;
use crate::control::protocol::ControlAnswer;
use crate::host::{clock, limits};

/// Logs what of the files of other programs is left out.
pub(super) fn log_left_out(left_out: &[String]) {
    for one in left_out {
        warn!(
            left_out = one,
            "an upstream of another program's file is left out: {one}"
        );
    }
}

impl Supervisor {
    /// Begins to read the configuration again.
    pub(super) fn begin_reload(&mut self) {
        self.manager.notify_reloading();
        if let Err(error) = self.reading.begin_reload() {
            let reason = format!(
                "cannot start a thread to read it: {}",
                limits::explain_thread(&error)
            );
            self.end_reload(Err(ReloadRefusal::of(reason)));
        }
    }

    /// Takes what was read: applies the differences, all or none, or answers the client of a check.
    pub(super) async fn take(&mut self, read: Read) {
        self.reading.end(&read);
        match read {
            Read::Reload(Ok(loaded)) => {
                let applied = self.apply(loaded).await.map_err(ReloadRefusal::of);
                self.end_reload(applied);
            }
            Read::Reload(Err(faults)) => self.end_reload(Err(log_faults(&faults))),
            Read::Digest(digest) => self.compare_file(digest),
            Read::NtsFiles(None) => {}
            Read::NtsFiles(Some(Err(faults))) => nts_manager::log_unused_files(&faults),
            Read::NtsFiles(Some(Ok(files))) => {
                if self.nts.replace_files(files, self.clock_manager.period_clocks()) {
                    self.hand_keyring();
                }
            }
            Read::Check(reply, loaded) => {
                let mut report = CheckReport::against(&self.running.config, &loaded, self.fast.is_some());
                if let Ok(loaded) = &loaded {
                    let needs = Needs::of(&loaded.config, loaded.lists, self.fast.is_some());
                    report.note_limits(&needs.shortfalls(&self.limits));
                    self.note_leap_list(&mut report, &loaded.config);
                }
                reply.send(ControlAnswer::Check(report));
            }
            Read::Census(pending) => self.answer_census(pending).await,
            Read::Clients(asked, found) => self.answer_clients(asked, &found).await,
        }
        self.reading.begin_pending();
    }

    /// Takes note whether the configuration file is still the one in effect, and logs that it is not any more.
    fn compare_file(&mut self, digest: Option<Option<u64>>) {
        // A file that can't be read now may be the same: `warn_if_unreadable` has said it.
        let Some(found) = digest else {
            return;
        };
        let running = self.running.digest;
        if self.file_watch.compare(found, running, clock::raw()) {
            let configuration = self.running.origin();
            warn!(
                configuration,
                "the configuration file has changed and is not in effect: ntpfront check, then ntpfront reload"
            );
        }
    }

    /// Adds to a check what is wrong with the list of leap seconds, if it is the one that this server has read.
    ///
    /// Another one may be out of its reach.
    fn note_leap_list(&self, report: &mut CheckReport, wanted: &Config) {
        if wanted.leap_seconds.as_deref() == self.leaps.path() {
            let list = self.leaps.known().ok_or("it can't be read");
            report.note_leap_list(wanted, list, clock::realtime());
        }
    }

    /// Ends a reload with the changes that it made, or with its refusal; the commands that wait for it get the same.
    fn end_reload(&mut self, outcome: Result<Vec<String>, ReloadRefusal>) {
        let report = match outcome {
            Ok(changes) => {
                self.record_reload(None);
                self.reloads.fault = None;
                self.reloads.done += 1;
                log_left_out(&self.running.left_out);
                CommandReport::of_changes(reloaded(&self.running.origin(), changes.len()), changes)
            }
            Err(ReloadRefusal { reason, faults }) => {
                self.record_reload(Some(&reason));
                self.reloads.refused += 1;
                error!(reason, "{REFUSED}: {reason}");
                self.reloads.fault = Some(reason);
                CommandReport {
                    details: faults,
                    ..CommandReport::refused(REFUSED.to_owned())
                }
            }
        };
        self.notify_ready();
        for command in self.reading.take_served() {
            self.end_command(command, report.clone());
        }
    }

    /// Changes the running configuration to `wanted`, and returns a line for each change. All that can fail is done first.
    async fn apply(&mut self, wanted: Loaded) -> Result<Vec<String>, String> {
        let difference = Difference::between(&self.running.config, &wanted.config, self.fast.is_some());
        let plan = self.listeners.plan(&difference.listeners);
        let clocks = self.clock_manager.period_clocks();
        let nts = self.nts.prepare(&wanted, clocks)?;
        let attachments = difference.settings.fast_path.as_ref();
        if let (Some(fast), Some(change)) = (&mut self.fast, attachments) {
            fast.reattach(&change.to.interfaces, change.to.mode)?;
        }
        let prepared = match self.listeners.prepare(plan, &wanted) {
            Ok(prepared) => prepared,
            Err(error) => {
                if let (Some(fast), Some(change)) = (&mut self.fast, attachments) {
                    fast.reattach(&change.from.interfaces, change.from.mode)?;
                }
                return Err(error.to_string());
            }
        };
        // The workers first: no client has a cookie that they can't open.
        self.listeners.set_keyring(nts.keyring());
        self.nts.commit(nts, &self.manager).await;
        let changes = self.commit(&difference, prepared, wanted).await;
        // Those workers, too, that were prepared before.
        self.listeners.set_keyring(self.nts.keyring());
        Ok(changes)
    }

    async fn commit(&mut self, difference: &Difference, prepared: Prepared, wanted: Loaded) -> Vec<String> {
        let changes = self.log_difference(difference);
        let settings = &difference.settings;
        self.running.config.apply(difference);
        if let Some(list) = &settings.leap_seconds {
            self.leaps.change(list.to.as_deref());
        }
        self.overlay.settle(&self.running.config.upstreams);
        self.reconfigure_clock();
        self.leaps.warn_if_smeared(&self.running.config.listeners);
        if let Some(budget) = &settings.budget {
            self.listeners.set_budget(budget.to);
        }
        self.listeners.commit(prepared, &self.manager).await;
        self.listeners.arrange(&self.running.config.listeners);
        self.serve_open_listeners();
        self.running.effective = wanted.effective;
        self.running.default_listeners = wanted.default_listeners;
        self.running.path = wanted.path;
        self.running.drop_ins = wanted.drop_ins;
        self.running.left_out = wanted.left_out;
        self.running.digest = wanted.digest;
        self.file_watch.reset();
        self.running.lists = wanted.lists;
        system_limits::warn_if_low(&self.running, self.fast.is_some(), &self.limits);
        let (configuration, count) = (self.running.origin(), changes.len());
        let summary = reloaded(&configuration, count);
        info!(changes = count, configuration, "{summary}");
        changes
    }

    /// Logs each change, at the more verbose of the old and the new level, and switches to the new one.
    ///
    /// Returns a line for each.
    fn log_difference(&self, difference: &Difference) -> Vec<String> {
        let level = difference.settings.log_level.as_ref();
        if let Some(level) = level {
            self.log.set(level.from.max(level.to));
        }
        for change in &difference.restart {
            warn!(%change, "reload: {change}");
        }
        let changes = difference.changes();
        for change in &changes {
            info!(change, "reload: {change}");
        }
        if let Some(level) = level {
            self.log.set(level.to);
        }
        if let Some(format) = &difference.settings.log_format {
            self.log.set_format(format.to);
        }
        let restart = difference.restart.iter().map(ToString::to_string);
        restart.chain(changes).collect()
    }
}

/// The words for a reload that changed nothing, because of an error.
const REFUSED: &str = "configuration refused; the previous one stays in effect";

/// Returns the line that sums up a reload.
fn reloaded(configuration: &str, changes: usize) -> String {
    format!("reloaded: {configuration}: {changes} changes")
}

/// The reason why a reload changed nothing.
struct ReloadRefusal {
    /// The reason in one line.
    reason: String,
    /// All errors, a line each.
    faults: Vec<String>,
}

impl ReloadRefusal {
    /// Returns the refusal for one reason.
    fn of(reason: String) -> Self {
        Self {
            faults: vec![reason.clone()],
            reason,
        }
    }
}

/// Logs each error by itself, unless it is the only one, which the refusal names; returns them with their summary.
fn log_faults(faults: &[Fault]) -> ReloadRefusal {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    if let [fault] = lines.as_slice() {
        return ReloadRefusal::of(fault.clone());
    }
    for fault in &lines {
        error!(fault, "configuration: {fault}");
    }
    ReloadRefusal {
        reason: format!("{} faults", lines.len()),
        faults: lines,
    }
}
