//! Impure. `ntpfront upstreams`: all that the running server knows of each upstream.

use std::process::ExitCode;

use super::paint::print_screen;
use super::running::report;
use crate::cli::{Flags, RunningServer};
use crate::control::protocol::ControlRequest;

pub(super) fn run(server: &RunningServer, flags: &Flags) -> ExitCode {
    if server.json {
        return report("upstreams", server, flags, ControlRequest::Upstreams);
    }
    print_screen("upstreams", server, flags, false, |screen| screen.details)
}
