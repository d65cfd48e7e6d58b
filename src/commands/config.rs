//! Impure. `ntpfront config`: the effective configuration as a file, with the origin of each value.

use std::process::ExitCode;

use super::output::{fail_with_faults, print};
use crate::cli::Flags;
use crate::config::file;

pub(super) fn run(flags: &Flags) -> ExitCode {
    match file::load(flags) {
        Ok(loaded) => {
            print(&loaded.effective.to_string());
            ExitCode::SUCCESS
        }
        Err(faults) => fail_with_faults(&faults),
    }
}
