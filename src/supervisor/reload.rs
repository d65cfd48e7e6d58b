//! Impure. A reload: the configuration is read again, compared with the one that runs, and what is new is applied. A fault
//! anywhere leaves everything as it was.

use tracing::{error, info, warn};

use super::listeners::Prepared;
use super::needs::Needs;
use super::reading::Read;
use super::{Supervisor, system_limits};
use crate::config::check::CheckReport;
use crate::config::{Change, Fault, Loaded, diff};
use crate::control::protocol::ControlAnswer;
use crate::host::limits;

impl Supervisor {
    /// Begins to read the configuration again.
    pub(super) fn begin_reload(&mut self) {
        self.manager.tell_reloading();
        if let Err(error) = self.reading.begin_reload() {
            self.end_reload(Some(format!(
                "cannot start a thread to read it: {}",
                limits::explain_thread(&error)
            )));
        }
    }

    /// Takes what was read: applies what is new, as a whole or not at all, or answers who asked.
    pub(super) async fn take(&mut self, read: Read) {
        self.reading.end(&read);
        match read {
            Read::Reload(Ok(loaded)) => {
                let fault = self.apply(loaded).await.err();
                self.end_reload(fault);
            }
            Read::Reload(Err(faults)) => self.end_reload(Some(refuse(&faults))),
            Read::Check(reply, loaded) => {
                let mut report = CheckReport::against(&self.running.config, &loaded);
                if let Ok(loaded) = &loaded {
                    let needs = Needs::of(&loaded.config, loaded.lists);
                    report.note_limits(&needs.shortfalls(&self.limits));
                }
                reply.send(ControlAnswer::Check(report));
            }
        }
        self.reading.begin_check();
    }

    fn end_reload(&mut self, fault: Option<String>) {
        self.reloads.fault = fault;
        if let Some(reason) = &self.reloads.fault {
            self.reloads.refused += 1;
            error!(reason, "configuration refused, the old one goes on: {reason}");
        } else {
            self.reloads.done += 1;
        }
        self.tell_ready();
    }

    /// Leads from what runs to `wanted`. All that can fail is done first.
    async fn apply(&mut self, wanted: Loaded) -> Result<(), String> {
        let changes = diff(&self.running.config, &wanted.config);
        let prepared = self
            .listeners
            .prepare(&changes, &wanted)
            .map_err(|error| error.to_string())?;
        self.commit(&changes, prepared, wanted).await;
        Ok(())
    }

    async fn commit(&mut self, changes: &[Change], prepared: Prepared, wanted: Loaded) {
        for change in changes {
            if change.needs_restart() {
                warn!(%change, "reload: {change}");
            } else {
                info!(%change, "reload: {change}");
            }
            self.running.config.apply(change);
            match change {
                Change::LogLevel(level) => self.log.set(*level),
                Change::LeapSeconds(path) => self.leaps.change(path.as_deref()),
                // The clock_manager is told of all upstreams at once; the listeners do theirs by themselves.
                Change::Clock(_)
                | Change::Restart(_)
                | Change::RemoveUpstream(_)
                | Change::AddUpstream(_)
                | Change::ChangeUpstream(_)
                | Change::Budget(_)
                | Change::Policy(..)
                | Change::OpenListener(..)
                | Change::ChangeListener(_)
                | Change::CloseListener(_) => {}
            }
        }
        self.clock_manager
            .reconfigure(&self.running.config, self.leaps.read());
        self.listeners.commit(prepared, changes, &self.manager).await;
        if let Some(fast) = &mut self.fast {
            fast.apply(&self.listeners.policies_served());
        }
        self.running.default_listeners = wanted.default_listeners;
        self.running.path = wanted.path;
        self.running.lists = wanted.lists;
        system_limits::warn_if_low(&self.running, &self.limits);
        let (changes, configuration) = (changes.len(), self.running.origin());
        info!(
            changes,
            configuration, "reloaded: {configuration}: {changes} changes"
        );
    }
}

/// Tells each fault by itself, and their number.
fn refuse(faults: &[Fault]) -> String {
    faults
        .iter()
        .for_each(|fault| error!(%fault, "configuration: {fault}"));
    match faults {
        [fault] => fault.to_string(),
        _ => format!("{} faults", faults.len()),
    }
}
