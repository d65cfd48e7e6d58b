//! Impure. `ntpfront import`: a configuration made of another server's.

use std::path::PathBuf;
use std::process::ExitCode;

use super::output::{FAILURE, FAULT, fail_with_faults, print, print_error};
use crate::cli::Import;
use crate::config::import::{ImportResult, import};
use crate::config::{Fault, file};

pub(super) fn run(asked: &Import) -> ExitCode {
    let read = |path: &PathBuf| Ok((path.clone(), file::read_foreign(path)?));
    let files: Result<Vec<_>, Vec<Fault>> = asked.files.iter().map(read).collect();
    let files = match files {
        Ok(files) => files,
        Err(mut faults) => {
            // They would be about the file that is served.
            faults.iter_mut().for_each(|fault| fault.hint = None);
            return fail_with_faults(&faults);
        }
    };
    let report = import(asked.from, &files);
    print(&report.configuration);
    print_error(&report.remarks);
    match report.result {
        ImportResult::Whole => ExitCode::SUCCESS,
        ImportResult::InPart => FAILURE.into(),
        ImportResult::Nothing => FAULT.into(),
    }
}
