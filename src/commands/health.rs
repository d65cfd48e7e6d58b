//! Impure. `ntpfront health`: whether the running server is healthy.

use std::process::ExitCode;

use super::output::{FAILURE, FAULT, fail, print};
use super::running::{format, query_running, unexpected_answer};
use crate::cli::{Flags, RunningServer};
use crate::control::protocol::{ControlAnswer, ControlRequest};

/// Exit status 0 for yes, 1 for no, and 2 without an answer.
pub(super) fn run(server: &RunningServer, flags: &Flags, max_distance: Option<f64>) -> ExitCode {
    let request = ControlRequest::Health {
        format: format(server),
        max_distance,
    };
    match query_running(server, flags, request) {
        Ok(ControlAnswer::Health { healthy, text }) => {
            print(&text);
            if healthy {
                ExitCode::SUCCESS
            } else {
                FAILURE.into()
            }
        }
        Ok(_) => fail("health", &unexpected_answer(), FAULT),
        Err(why) => fail("health", &why, FAULT),
    }
}
