//! Impure. `ntpfront status`: one screen of everything that the running server does.

use std::process::ExitCode;

use super::running::{format, report};
use crate::cli::{Flags, RunningServer};
use crate::control::protocol::ControlRequest;

pub(super) fn run(server: &RunningServer, flags: &Flags) -> ExitCode {
    let format = format(server);
    report("status", server, flags, ControlRequest::Status { format })
}
