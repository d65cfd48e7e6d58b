//! Impure. The running server, as subcommands ask it.

use std::path::PathBuf;
use std::process::ExitCode;

use super::output::{FAILURE, fail, print};
use crate::cli::{Flags, RunningServer};
use crate::config::{file, listing};
use crate::control::client::{self, AskError};
use crate::control::protocol::{ControlAnswer, ControlRequest, Format};

/// Prints the report that the running server gives to `request`, for the subcommand `name`.
pub(super) fn report(name: &str, server: &RunningServer, flags: &Flags, request: ControlRequest) -> ExitCode {
    match ask(server, flags, request) {
        Ok(ControlAnswer::Report { text }) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Ok(_) => fail(name, &no_such_answer(), FAILURE),
        Err(why) => fail(name, &why, FAILURE),
    }
}

/// The answer of the running server, or why there is none.
pub(super) fn ask(
    server: &RunningServer,
    flags: &Flags,
    request: ControlRequest,
) -> Result<ControlAnswer, String> {
    let socket = socket(server, flags).map_err(|why| refusal(&why))?;
    client::ask(&socket, request).map_err(|error| explain(&error))
}

/// The path of the control socket, or why there is none.
pub(super) fn socket(server: &RunningServer, flags: &Flags) -> Result<PathBuf, String> {
    if let Some(socket) = &server.socket {
        return Ok(socket.clone());
    }
    let loaded = file::load(flags).map_err(|faults| listing(&faults).trim_end().to_owned())?;
    let socket = loaded.config.control.socket;
    socket.ok_or_else(|| "control.socket is empty: there is no socket to connect to".to_owned())
}

/// The form of the answer that is wanted.
pub(super) fn format(server: &RunningServer) -> Format {
    if server.json { Format::Json } else { Format::Text }
}

/// The reason why there is no answer.
pub(super) fn explain(error: &AskError) -> String {
    match error {
        AskError::Failed(failure) => failure.to_string(),
        AskError::Unreachable(..) | AskError::Incompatible(..) => refusal(&error.to_string()),
    }
}

/// The reason why the running server can't be asked at all.
pub(super) fn refusal(why: &str) -> String {
    format!("cannot ask the running server: {why}")
}

/// The reason where the answer is that to another request.
pub(super) fn no_such_answer() -> String {
    refusal("unexpected reply: it belongs to another request (is the server another version?)")
}
