//! Impure. What a subcommand prints, and its exit status.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::{Fault, listing};

/// Exit status of a failure while running, or of an answer that is not good.
pub(super) const FAILURE: u8 = 1;
/// Exit status of a fault on the command line or in the configuration.
pub(super) const FAULT: u8 = 2;
/// Exit status where all is well, but only a restart would make all of it true.
pub(super) const RESTART: u8 = 3;

/// Writes a whole text to standard output.
///
/// A reader that closes the pipe before its end (as `head` does) has enough.
pub(super) fn print(text: &str) {
    let _written = io::stdout().write_all(text.as_bytes());
}

/// Writes a whole text to standard error.
pub(super) fn complain(text: &str) {
    let _written = io::stderr().write_all(text.as_bytes());
}

/// Ends subcommand `name` with a reason and an exit status.
pub(super) fn fail(name: &str, why: &str, status: u8) -> ExitCode {
    complain(&format!("ntpfront {name}: {why}\n"));
    status.into()
}

/// Ends a subcommand with the faults of its configuration.
pub(super) fn refuse(faults: &[Fault]) -> ExitCode {
    complain(&listing(faults));
    FAULT.into()
}
