//! Impure. `ntpfront upstreams`: all that the running server knows of each upstream.

use std::process::ExitCode;

use super::running::{format, report};
use crate::cli::{Flags, RunningServer};
use crate::control::protocol::ControlRequest;

pub(super) fn run(server: &RunningServer, flags: &Flags) -> ExitCode {
    let format = format(server);
    report("upstreams", server, flags, ControlRequest::Upstreams { format })
}
