//! Impure. `ntpfront reload`, `drain`, `undrain`, `refresh`, `upstream`: commands that change the running server.

use std::net::SocketAddr;
use std::process::ExitCode;

use super::output::{FAILURE, FAULT, fail, print, print_error};
use super::running::{query_running, unexpected_answer};
use crate::cli::{Act, Flags, RunningServer, UpstreamAction};
use crate::config::address;
use crate::control::command::{CommandReport, CommandResult, ControlCommand, UpstreamCommand};
use crate::control::protocol::{ControlAnswer, ControlRequest};

/// Exit status 0 if it is as wanted now, 1 if it was refused, and 2 without an answer.
pub(super) fn run(act: &Act, server: &RunningServer, flags: &Flags) -> ExitCode {
    let command = match command(act) {
        Ok(command) => command,
        Err(why) => return fail(act.name(), &why, FAULT),
    };
    match query_running(server, flags, ControlRequest::Command(command)) {
        Ok(ControlAnswer::Command(report)) => end(act.name(), &report, server.json),
        Ok(_) => fail(act.name(), &unexpected_answer(), FAULT),
        Err(why) => fail(act.name(), &why, FAULT),
    }
}

fn command(act: &Act) -> Result<ControlCommand, String> {
    Ok(match act {
        Act::Reload => ControlCommand::Reload,
        Act::Refresh => ControlCommand::Refresh,
        Act::Upstream {
            action,
            address,
            options,
        } => ControlCommand::Upstream(change(*action, address.clone(), options.clone())?),
        Act::Drain {
            listener,
            after,
            length,
        } => ControlCommand::Drain {
            listener: self::listener(listener.as_deref())?,
            after: *after,
            length: *length,
        },
        Act::Undrain { listener } => ControlCommand::Undrain {
            listener: self::listener(listener.as_deref())?,
        },
    })
}

fn change(
    action: UpstreamAction,
    address: String,
    options: Vec<(String, String)>,
) -> Result<UpstreamCommand, String> {
    Ok(match action {
        UpstreamAction::Add => UpstreamCommand::Add { address, options },
        _ if !options.is_empty() => return Err("only `upstream add` takes KEY=VALUE".to_owned()),
        UpstreamAction::Remove => UpstreamCommand::Remove { address },
        UpstreamAction::Pause => UpstreamCommand::Pause { address },
        UpstreamAction::Resume => UpstreamCommand::Resume { address },
    })
}

/// Reads the address of a listener as the configuration does.
fn listener(text: Option<&str>) -> Result<Option<SocketAddr>, String> {
    let read = |text: &str| address::listener(text).map_err(|refusal| refusal.expected_instead_of(text));
    text.map(read).transpose()
}

fn end(name: &str, report: &CommandReport, is_json: bool) -> ExitCode {
    let is_refused = report.result == CommandResult::Refused;
    if is_json {
        // All of it are texts and a word: nothing can go wrong.
        print(&(serde_json::to_string(report).unwrap_or_default() + "\n"));
    } else if is_refused {
        print_error(&format!("ntpfront {name}: {}", report.text()));
    } else {
        print(&report.text());
    }
    if is_refused {
        FAILURE.into()
    } else {
        ExitCode::SUCCESS
    }
}
