//! Impure. Requests of subcommands to the running server.

use std::path::PathBuf;
use std::process::ExitCode;

use super::output::{FAILURE, fail, print};
use crate::cli::{Flags, RunningServer};
use crate::config::{Loaded, file, listing};
use crate::control::client::{self, RequestError};
use crate::control::protocol::{ControlAnswer, ControlRequest};
use crate::control::socket::SocketPlaces;

/// Prints the report that the running server gives to `request`, for the subcommand `name`.
pub(super) fn report(name: &str, server: &RunningServer, flags: &Flags, request: ControlRequest) -> ExitCode {
    match query_running(server, flags, request) {
        Ok(ControlAnswer::Report { text }) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Ok(_) => fail(name, &unexpected_answer(), FAILURE),
        Err(why) => fail(name, &why, FAILURE),
    }
}

/// Sends a request to the running server, and returns its answer, or the reason why there is none.
pub(super) fn query_running(
    server: &RunningServer,
    flags: &Flags,
    request: ControlRequest,
) -> Result<ControlAnswer, String> {
    let socket = socket(server, flags).map_err(|why| refusal(&why))?;
    client::send_request(&socket, request).map_err(|error| explain(&error))
}

/// Returns the path of the control socket, or the reason why there is none.
pub(super) fn socket(server: &RunningServer, flags: &Flags) -> Result<PathBuf, String> {
    places(server, flags).map(|places| places.find().to_owned())
}

/// Returns the places where the control socket can be, or the reason why there is none.
pub(super) fn places(server: &RunningServer, flags: &Flags) -> Result<SocketPlaces, String> {
    if let Some(socket) = &server.socket {
        return Ok(SocketPlaces::only(socket.clone()));
    }
    let loaded = file::load(flags).map_err(|faults| listing(&faults).trim_end().to_owned())?;
    places_of(&loaded)
}

/// Returns the places where the control socket of a configuration can be, or the reason why there is none.
pub(super) fn places_of(loaded: &Loaded) -> Result<SocketPlaces, String> {
    let Some(socket) = loaded.config.control.socket.clone() else {
        return Err("control.socket is empty: there is no socket to connect to".to_owned());
    };
    Ok(SocketPlaces::of_configuration(socket, loaded.default_control))
}

/// The reason why there is no answer.
pub(super) fn explain(error: &RequestError) -> String {
    match error {
        RequestError::Failed(failure) => failure.to_string(),
        RequestError::Unreachable(..)
        | RequestError::Late(..)
        | RequestError::Unanswered(..)
        | RequestError::Incompatible(..) => refusal(&error.to_string()),
    }
}

/// Returns the reason why the running server can't be queried at all.
pub(super) fn refusal(why: &str) -> String {
    format!("cannot query the running server: {why}")
}

/// Returns the reason for an answer that belongs to another request.
pub(super) fn unexpected_answer() -> String {
    refusal("unexpected reply: it belongs to another request (is the server another version?)")
}
