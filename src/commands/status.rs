//! Impure. `ntpfront status`: one screen of everything that the running server does.

use std::process::ExitCode;

use super::paint::print_screen;
use super::running::report;
use crate::cli::{Flags, RunningServer};
use crate::control::protocol::ControlRequest;
use crate::observe::screen::Screen;

pub(super) fn run(server: &RunningServer, flags: &Flags, workers: bool) -> ExitCode {
    if server.json {
        return report("status", server, flags, ControlRequest::Status);
    }
    print_screen("status", server, flags, workers, Screen::status)
}
