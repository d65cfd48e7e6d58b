//! Impure. `ntpfront check`: all errors of a configuration, and what the host lacks for it.

use std::path::Path;
use std::process::ExitCode;

use super::output::{FAILURE, FAULT, RESTART, fail, print, print_error};
use super::{leap_list, running};
use crate::cli::Flags;
use crate::config::check::{CheckReport, CheckResult};
use crate::config::file::Loader;
use crate::config::{Config, Loaded, file, listing};
use crate::control::client::send_request;
use crate::control::protocol::{ControlAnswer, ControlRequest};
use crate::fast_path::requirements;
use crate::host::privileges::Identity;
use crate::host::{clock, reach};
use crate::supervisor::needs::Needs;
use crate::supervisor::system_limits;

/// Checks the file, and whether this host has what it needs.
pub(super) fn run(flags: &Flags) -> ExitCode {
    let loaded = file::load_all(flags);
    let mut report = CheckReport::of(&loaded);
    if let Ok(loaded) = &loaded {
        note_host(&mut report, loaded);
    }
    end(&report)
}

fn note_host(report: &mut CheckReport, loaded: &Loaded) {
    if let (Some(path), true) = (&loaded.path, loaded.drop_ins.is_empty())
        && file::read(path).is_ok_and(|text| text.trim().is_empty())
    {
        report.note_empty(path);
    }
    if let Some(path) = &loaded.config.leap_seconds {
        let list = leap_list::read(path);
        let list = list.as_ref().map_err(String::as_str);
        report.note_leap_list(&loaded.config, list, clock::realtime());
    }
    if let Some(files) = &loaded.nts_files {
        report.note_certificates(files, clock::unix());
    }
    note_unreadable(report, &loaded.config);
    let wanted = &loaded.config.fast_path;
    let (impossible, absent) = (
        requirements::impossible(),
        requirements::absent(&wanted.interfaces),
    );
    let bypassed = match wanted.is_wanted() {
        true => requirements::bypassed(&wanted.interfaces).lines(),
        false => Vec::new(),
    };
    report.note_fast_path(wanted, impossible.as_deref(), &absent, &bypassed);
    let needs = Needs::of(&loaded.config, loaded.lists, false);
    report.note_limits(&needs.shortfalls(&system_limits::raised()));
}

/// Notes the files with secrets that the user of the server can't read, if the start drops the privileges.
fn note_unreadable(report: &mut CheckReport, config: &Config) {
    let Some(name) = &config.process.user else {
        return;
    };
    let Ok(identity) = Identity::look_up(name) else {
        return;
    };
    let user = identity.uid_and_gid();
    let of_nts = config.nts.paths().map(|path| ("nts", path));
    let of_keys = config
        .symmetric_keys
        .file
        .iter()
        .map(|path| ("symmetric-keys", path));
    let obstacles = of_nts.chain(of_keys).filter_map(|(table, path)| {
        let obstacle = reach::obstacle(path, user)?;
        Some((table, path.clone(), obstacle))
    });
    report.note_unreadable(name, &obstacles.collect::<Vec<_>>());
}

/// Asks the running server what a reload would make of the file.
///
/// The file is checked here first, so that a failure of the request is never the file's.
pub(super) fn run_against_running(flags: &Flags) -> ExitCode {
    let loaded = match file::load(flags) {
        Ok(loaded) => loaded,
        Err(faults) => return end(&CheckReport::of(&Err(faults))),
    };
    match compare(flags, &loaded) {
        Ok(report) => end(&report),
        Err(why) => fail("check", &why, FAILURE),
    }
}

fn compare(flags: &Flags, loaded: &Loaded) -> Result<CheckReport, String> {
    let places = running::places_of(loaded).map_err(|why| running::refusal(&why))?;
    let path = loaded.path.as_deref();
    let texts = Loader::new(flags).texts();
    let (text, drop_ins) = texts.map_err(|faults| running::refusal(listing(&faults).trim_end()))?;
    let drop_ins = drop_ins
        .into_iter()
        .map(|(path, text)| (path.display().to_string(), text));
    let request = ControlRequest::Check {
        path: path.unwrap_or(Path::new("")).display().to_string(),
        text: text.unwrap_or_default(),
        drop_ins: drop_ins.collect(),
    };
    match send_request(places.find(), request) {
        Ok(ControlAnswer::Check(report)) => Ok(report),
        Ok(_) => Err(running::unexpected_answer()),
        Err(error) => Err(running::explain(&error)),
    }
}

fn end(report: &CheckReport) -> ExitCode {
    print(&report.summary);
    print_error(&report.notes);
    match report.result {
        CheckResult::Accepted => ExitCode::SUCCESS,
        CheckResult::NeedsRestart => RESTART.into(),
        CheckResult::Refused => FAULT.into(),
    }
}
