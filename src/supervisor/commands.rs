//! Impure. The commands of the control socket that change the running server: permitted, logged, counted, answered.

use tracing::{info, warn};

use super::Supervisor;
use super::drain::Drain;
use crate::control::command::{Caller, CommandReport, CommandResult, ControlCommand, refusal};
use crate::control::protocol::ControlAnswer;
use crate::control::server::Reply;
use crate::host::clock;

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

/// Returns the report of the changes of a command, or of its refusal.
fn report(lines: Result<Vec<String>, String>, summary: String) -> CommandReport {
    match lines {
        Ok(lines) => CommandReport::of_changes(summary, lines),
        Err(reason) => CommandReport::refused(reason),
    }
}
