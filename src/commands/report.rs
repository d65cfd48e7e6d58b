//! Impure. `ntpfront report`: the report on a month, from the files of the record.

use std::process::ExitCode;

use super::history::{RecordPlace, place};
use super::output::{FAULT, fail, fail_with_faults, print};
use crate::cli::{Flags, ReportQuery};
use crate::config::file;
use crate::history::chain::{ChainCheck, FileCheck};
use crate::history::files::HistoryFiles;
use crate::history::line::{HistoryLine, Note};
use crate::history::report::{HistoryLimit, HistoryReport, ReportPart};
use crate::history::span;
use crate::history::stamp::Stamp;
use crate::host::{clock, limits};

/// Prints the report: exit status 0, or 2 without a record.
pub(super) fn run(query: &ReportQuery, flags: &Flags) -> ExitCode {
    let limit = match limit(&query.limit, query, flags) {
        Ok(limit) => limit,
        Err(status) => return status,
    };
    let files = match place("report", query.directory.as_deref(), flags) {
        Ok(RecordPlace::Files(files)) => files,
        Ok(RecordPlace::Memory) => {
            return fail(
                "report",
                "history.directory is not set: there is no record",
                FAULT,
            );
        }
        Err(status) => return status,
    };
    match report(&files, query, limit) {
        Ok(report) => {
            let now = Stamp::of(clock::realtime());
            print(&if query.csv {
                report.csv(now)
            } else {
                report.markdown(now)
            });
            ExitCode::SUCCESS
        }
        Err(why) => fail("report", &why, FAULT),
    }
}

/// Returns a limit by its name in the configuration, or of a number of seconds.
fn limit(name: &str, query: &ReportQuery, flags: &Flags) -> Result<HistoryLimit, ExitCode> {
    let number = name
        .parse()
        .ok()
        .filter(|seconds: &f64| seconds.is_finite() && *seconds > 0.0);
    if let Some(seconds) = number {
        return Ok(HistoryLimit {
            name: format!("{seconds} s"),
            seconds,
        });
    }
    let loaded = file::load(flags).map_err(|faults| fail_with_faults(&faults))?;
    let all = loaded.config.history.limits;
    let found = all.iter().find(|limit| limit.name == name).cloned();
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|limit| limit.name.as_str()).collect();
        let known = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        let why = format!(
            "--limit: {:?} is neither a number of seconds nor one of history.limits ({known})",
            query.limit
        );
        fail("report", &why, FAULT)
    })
}

fn report(files: &HistoryFiles, query: &ReportQuery, limit: HistoryLimit) -> Result<HistoryReport, String> {
    let Some((since, until)) = span::month(&query.month) else {
        return Err(format!(
            "--month: {:?} is not a month, such as 2026-11",
            query.month
        ));
    };
    let names = files.between(since, until);
    let seconds = limit.seconds;
    let last = files.names().last();
    let parts = files.parts(&names, |share| {
        let mut part = ReportPart::new(since, until, seconds);
        let (mut checks, mut host) = (Vec::new(), None);
        for name in share {
            let bytes = files.bytes(*name)?;
            checks.push(FileCheck::read(*name, &bytes, last == Some(name), |line| {
                if let HistoryLine {
                    note: Note::File(file),
                    ..
                } = line
                {
                    host = Some(file.host.clone());
                }
                part.add(line);
            }));
        }
        Ok((part, checks, host))
    });
    let mut whole = ReportPart::new(since, until, seconds);
    let (mut check, mut host) = (ChainCheck::default(), String::new());
    for (part, checks, found) in parts.map_err(|error| limits::explain(&error))? {
        whole.join(part);
        checks.into_iter().for_each(|one| check.add(one));
        host = found.unwrap_or(host);
    }
    if whole.is_empty() {
        return Err(format!("no record of {}", query.month));
    }
    Ok(HistoryReport {
        month: query.month.clone(),
        host,
        limit,
        part: whole,
        chain: check.finish(),
    })
}
