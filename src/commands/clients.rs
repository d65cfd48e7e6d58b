//! Impure. `ntpfront clients`: the clients of the running server in the last hour.

use std::process::ExitCode;

use super::running::{format, report};
use crate::cli::{Flags, RunningServer};
use crate::control::protocol::ControlRequest;

pub(super) fn run(server: &RunningServer, flags: &Flags) -> ExitCode {
    let format = format(server);
    report("clients", server, flags, ControlRequest::Clients { format })
}
