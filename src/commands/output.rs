//! Impure. The output of a subcommand, and its exit status.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::{Fault, listing};

/// Exit status of a failure while running, or of an answer that is not good.
pub(super) const FAILURE: u8 = 1;
/// Exit status of an error on the command line or in the configuration.
pub(super) const FAULT: u8 = 2;
/// Exit status of a good result of which a part needs a restart to take effect.
pub(super) const RESTART: u8 = 3;

/// Writes a whole text to standard output.
///
/// A reader that closes the pipe before the end (as `head` does) is no error.
pub(super) fn print(text: &str) {
    let _written = io::stdout().write_all(text.as_bytes());
}

/// Writes a whole text to standard error.
pub(super) fn print_error(text: &str) {
    let _written = io::stderr().write_all(text.as_bytes());
}

/// Ends subcommand `name` with a reason and an exit status.
pub(super) fn fail(name: &str, why: &str, status: u8) -> ExitCode {
    print_error(&format!("ntpfront {name}: {why}\n"));
    status.into()
}

/// Ends a subcommand with the errors of its configuration.
pub(super) fn fail_with_faults(faults: &[Fault]) -> ExitCode {
    print_error(&listing(faults));
    FAULT.into()
}
