//! Impure. The server itself, without a subcommand: serves time until a signal ends it.

use std::process::ExitCode;

use super::output::{FAILURE, fail_with_faults};
use crate::cli::Flags;
use crate::config::file::Loader;
use crate::supervisor;

pub(super) fn run(flags: &Flags) -> ExitCode {
    let mut loader = Loader::new(flags);
    let loaded = match loader.load_all() {
        Ok(loaded) => loaded,
        Err(faults) => return fail_with_faults(&faults),
    };
    match supervisor::run(loader, loaded) {
        Ok(()) => ExitCode::SUCCESS,
        // The log has said why.
        Err(_) => FAILURE.into(),
    }
}
