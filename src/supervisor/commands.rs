//! Impure. The commands of the control socket that change the running server: permitted, logged, counted, answered.

use std::iter;
use std::path::Path;

use tracing::{info, warn};

use super::drain::Drain;
use super::{Supervisor, overlay};
use crate::cli::Flags;
use crate::config::{self, Fault, Place};
use crate::control::command::{
    Caller, CommandReport, CommandResult, ControlCommand, UpstreamCommand, refusal, too_soon,
};
use crate::control::protocol::ControlAnswer;
use crate::control::server::Reply;
use crate::host::clock;
use crate::upstream::Upstream;

/// The way back to the client of a command.
pub(super) struct CommandReply(Reply);

impl Supervisor {
    /// Does what `command` says, now or later, if its caller may give commands.
    pub(super) fn command(&mut self, command: &ControlCommand, caller: Option<Caller>, reply: Reply) {
        let by = caller.map_or_else(|| "unknown user".to_owned(), |caller| caller.to_string());
        let reply = CommandReply(reply);
        let access = self.running.config.control.commands;
        if let Some(reason) = refusal(access, caller, self.user) {
            if self.refused_commands.pass(clock::raw()) {
                warn!(%command, by, "command refused: {command} ({by}): {reason}");
            }
            return self.end_command(reply, CommandReport::refused(reason.to_owned()));
        }
        info!(%command, by, "command: {command} ({by})");
        let report = match *command {
            ControlCommand::Reload => return self.reading.want_reload(Some(reply)),
            ControlCommand::Refresh => self.refresh(),
            ControlCommand::Upstream(ref change) => self.change_upstreams(change),
            ControlCommand::Drain {
                listener,
                after,
                length,
            } => {
                let now = clock::raw();
                let drain = Drain::new(now, after, length);
                let begins = match after {
                    0 => String::new(),
                    after => format!(" in {after} s, health reports it now"),
                };
                let ends = length.map_or_else(String::new, |length| format!(", for {length} s"));
                let lines = self.listeners.drain(listener, drain, now);
                report(lines, format!("drained{begins}{ends}"))
            }
            ControlCommand::Undrain { listener } => {
                report(self.listeners.undrain(listener), "not drained".to_owned())
            }
        };
        if report.result == CommandResult::Refused {
            warn!(%command, by, "command refused: {command}: {}", report.summary);
        }
        self.serve_open_listeners();
        self.end_command(reply, report);
    }

    /// Resolves all names again and polls all upstreams, unless that was done shortly before.
    fn refresh(&mut self) -> CommandReport {
        let now = clock::raw();
        if let Some(reason) = too_soon(self.last_refresh, now) {
            return CommandReport::refused(reason);
        }
        self.last_refresh = Some(now);
        CommandReport::of_changes("refreshed".to_owned(), self.clock_manager.refresh())
    }

    /// Changes the upstreams over those of the configuration.
    fn change_upstreams(&mut self, wanted: &UpstreamCommand) -> CommandReport {
        let configured = &self.running.config.upstreams;
        let changed = match wanted {
            UpstreamCommand::Add { address, options } => {
                let listeners = self.running.config.listeners.iter().map(|one| one.address);
                let text = overlay::configuration(address, options, listeners);
                let added = text.and_then(|text| added(&text));
                added.and_then(|one| self.overlay.add(one, configured).map(Some))
            }
            UpstreamCommand::Remove { address } => self.overlay.remove(address, configured).map(Some),
            UpstreamCommand::Pause { address } => self.overlay.pause(address, configured),
            UpstreamCommand::Resume { address } => self.overlay.resume(address, configured),
        };
        match changed {
            Err(reason) => CommandReport::refused(reason),
            Ok(None) => CommandReport::unchanged("it is so already".to_owned()),
            Ok(Some(line)) => {
                self.reconfigure_clock();
                let upstreams = self.overlay.upstreams(&self.running.config.upstreams);
                let shortage = overlay::shortage(&upstreams, self.running.config.clock.min_sources.into());
                for line in iter::once(&line).chain(&shortage) {
                    warn!("by command, until the restart: {line}");
                }
                self.decide();
                CommandReport {
                    details: shortage.into_iter().collect(),
                    ..CommandReport::changed(line)
                }
            }
        }
    }

    /// Polls the upstreams of the configuration with the changes by command, as the configuration says.
    pub(super) fn reconfigure_clock(&mut self) {
        let mut config = self.running.config.clone();
        config.upstreams = self.overlay.upstreams(&config.upstreams);
        self.clock_manager.reconfigure(&config, self.leaps.read());
    }

    /// Answers a command, and counts it.
    pub(super) fn end_command(&mut self, reply: CommandReply, report: CommandReport) {
        match report.result {
            CommandResult::Changed | CommandResult::Unchanged => self.commands.done += 1,
            CommandResult::Refused => self.commands.refused += 1,
        }
        reply.0.send(ControlAnswer::Command(report));
    }

    /// Begins and ends the drains whose time has come.
    pub(super) fn follow_drains(&mut self) {
        if self.listeners.follow_drains(clock::raw()) {
            self.serve_open_listeners();
        }
    }

    /// Tells the fast path which listeners are open, and how they answer.
    pub(super) fn serve_open_listeners(&mut self) {
        if let Some(fast) = &mut self.fast {
            fast.serve(self.listeners.open_listeners());
        }
    }
}

/// Returns the upstream of a configuration that has one.
///
/// # Errors
/// All errors, in one line.
fn added(text: &str) -> Result<Upstream, String> {
    let loaded = config::load(&Flags::default(), Some((Path::new("command"), text)));
    let all = |faults: Vec<Fault>| {
        let lines: Vec<String> = faults
            .into_iter()
            .map(|fault| {
                Fault {
                    place: Place::Default,
                    ..fault
                }
                .to_string()
            })
            .collect();
        lines.join("; ")
    };
    let upstreams = loaded.map_err(all)?.config.upstreams;
    upstreams
        .into_iter()
        .next()
        .ok_or_else(|| "no upstream".to_owned())
}

/// Returns the report of the changes of a command, or of its refusal.
fn report(lines: Result<Vec<String>, String>, summary: String) -> CommandReport {
    match lines {
        Ok(lines) => CommandReport::of_changes(summary, lines),
        Err(reason) => CommandReport::refused(reason),
    }
}
