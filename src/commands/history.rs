//! Impure. `ntpfront history`: what was served, from the files of the record, whether the server runs or not.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::output::{FAILURE, FAULT, fail, fail_with_faults, print};
use super::paint::{fitted, terminal_width};
use super::running::query_running;
use crate::cli::{Flags, HistoryAction, HistoryQuery, RunningServer};
use crate::config::file;
use crate::control::protocol::{ControlAnswer, ControlRequest};
use crate::history::chain::{ChainCheck, FileCheck};
use crate::history::curves::{CurveMaker, Curves};
use crate::history::events::event;
use crate::history::files::HistoryFiles;
use crate::history::line::{HistoryLine, Note};
use crate::history::moment::{MomentFinder, MomentVerdict};
use crate::history::overview::overview;
use crate::history::picture::{PictureStyle, png, svg};
use crate::history::segment::SegmentName;
use crate::history::stamp::Stamp;
use crate::history::{csv, span};
use crate::host::{clock, limits};
use crate::observe::screen::USUAL_WIDTH;

/// The time that is shown if none is named: an hour.
const HOUR: i64 = 3600;

/// The place of the record.
pub(super) enum RecordPlace {
    /// These files.
    Files(HistoryFiles),
    /// No files: the memory of the running server.
    Memory,
}

/// Finds the record; its exit status if that fails.
pub(super) fn place(name: &str, directory: Option<&Path>, flags: &Flags) -> Result<RecordPlace, ExitCode> {
    let directory: PathBuf = match directory {
        Some(directory) => directory.to_owned(),
        None => {
            let loaded = file::load(flags).map_err(|faults| fail_with_faults(&faults))?;
            match loaded.config.history.directory {
                Some(directory) => directory,
                None => return Ok(RecordPlace::Memory),
            }
        }
    };
    let files = HistoryFiles::list(&directory).map_err(|error| {
        let why = format!("cannot read {}: {}", directory.display(), limits::explain(&error));
        fail(name, &why, FAULT)
    })?;
    Ok(RecordPlace::Files(files))
}

/// Prints what is asked for.
pub(super) fn run(query: &HistoryQuery, flags: &Flags) -> ExitCode {
    let files = match place("history", query.directory.as_deref(), flags) {
        Ok(RecordPlace::Files(files)) => files,
        Ok(RecordPlace::Memory) => return from_memory(query, flags),
        Err(status) => return status,
    };
    let done = match (query.action, &query.at) {
        (Some(HistoryAction::Verify), _) => verify(&files),
        (None, Some(at)) => show_moment(&files, at, query.json),
        (None, None) => show_span(&files, query),
    };
    done.unwrap_or_else(|why| fail("history", &why, FAULT))
}

/// Checks all files: exit status 0 as they were written, 1 not, 2 there are none.
fn verify(files: &HistoryFiles) -> Result<ExitCode, String> {
    let names = files.names();
    let parts = files.parts(names, |share| {
        let read = |name: &SegmentName| {
            let bytes = files.bytes(*name)?;
            Ok(FileCheck::read(*name, &bytes, names.last() == Some(name), |_| {}))
        };
        share.iter().map(read).collect::<io::Result<Vec<_>>>()
    });
    let mut check = ChainCheck::default();
    for file in parts
        .map_err(|error| limits::explain(&error))?
        .into_iter()
        .flatten()
    {
        check.add(file);
    }
    let result = check.finish();
    print(&fitted(result.to_string()));
    Ok(match (result.faults.is_empty(), result.files) {
        (_, 0) => FAULT.into(),
        (true, _) => ExitCode::SUCCESS,
        (false, _) => FAILURE.into(),
    })
}

/// Prints one moment: exit status 0 a time was told, 1 none, 2 no record.
fn show_moment(files: &HistoryFiles, at: &str, json: bool) -> Result<ExitCode, String> {
    let at = time(at, "--at")?;
    let mut finder = MomentFinder::new(at);
    // The reason for a lack of records stands in the next file that there is.
    let near = files.between(at, at);
    let after = files
        .names()
        .iter()
        .filter(|name| near.last().is_none_or(|last| *name > last));
    let after = after.filter(|name| name.hour >= at.hour()).take(1);
    let names: Vec<_> = near.iter().chain(after).copied().collect();
    each_line(files, &names, |line, _| finder.add(line))?;
    let moment = finder.finish();
    if json {
        let text = serde_json::to_string(&moment).map_err(|error| error.to_string())?;
        print(&(text + "\n"));
    } else {
        print(&fitted(moment.to_string()));
    }
    Ok(match moment.verdict() {
        MomentVerdict::Told => ExitCode::SUCCESS,
        MomentVerdict::NotTold => FAILURE.into(),
        MomentVerdict::Unknown => FAULT.into(),
    })
}

fn time(text: &str, flag: &str) -> Result<Stamp, String> {
    let now = Stamp::of(clock::realtime());
    span::read(text, now).ok_or_else(|| {
        format!("{flag}: {text:?} is neither a time in UTC, such as 2026-11-27T12:03:07, nor one before now, such as 2h")
    })
}

/// Returns the time from `--since` to `--until`.
fn asked_span(query: &HistoryQuery) -> Result<(Stamp, Stamp), String> {
    let until = match &query.until {
        Some(text) => time(text, "--until")?,
        None => Stamp::of(clock::realtime()),
    };
    let since = match &query.since {
        Some(text) => time(text, "--since")?,
        None => until.plus(-HOUR),
    };
    if since >= until {
        return Err("--since has to be before --until".to_owned());
    }
    Ok((since, until))
}

fn each_line(
    files: &HistoryFiles,
    names: &[SegmentName],
    take: impl FnMut(&HistoryLine<'_>, &str),
) -> Result<(), String> {
    files
        .each_line(names, take)
        .map_err(|error| limits::explain(&error))
}

/// Prints or draws a time: exit status 0, or 2 without a record.
fn show_span(files: &HistoryFiles, query: &HistoryQuery) -> Result<ExitCode, String> {
    let (since, until) = asked_span(query)?;
    let names = files.between(since, until);
    let mut found = 0_u64;
    let mut out = io::stdout().lock();
    let mut curves = CurveMaker::new(since, until);
    let mut events = Vec::new();
    if query.csv {
        let _written = out.write_all(csv::HEADER.as_bytes());
    }
    each_line(files, &names, |line, text| {
        if line.time < since || line.time >= until {
            return;
        }
        found += 1;
        let said = event(line);
        // A reader that closes the pipe before the end is no error.
        let _written = match (query, &line.note) {
            (HistoryQuery { csv: true, .. }, Note::Served(served)) => {
                out.write_all(csv::row(line.time, served).as_bytes())
            }
            (HistoryQuery { csv: true, .. }, _) => Ok(()),
            (
                HistoryQuery {
                    json: true,
                    events: true,
                    ..
                },
                _,
            ) if said.is_none() => Ok(()),
            (HistoryQuery { json: true, .. }, _) => writeln!(out, "{text}"),
            (HistoryQuery { events: true, .. }, _) => said
                .into_iter()
                .try_for_each(|said| out.write_all(fitted(said + "\n").as_bytes())),
            _ => {
                curves.add(line);
                events.extend(said);
                Ok(())
            }
        };
    })?;
    if found == 0 {
        return Err(format!("no record from {since} to {until}"));
    }
    drop(out);
    if !(query.csv || query.json || query.events) {
        show_curves(&curves.finish(), (since, until), query, &events)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints curves, or draws them to files.
fn show_curves(
    curves: &Curves,
    span: (Stamp, Stamp),
    query: &HistoryQuery,
    events: &[String],
) -> Result<(), String> {
    let style = PictureStyle::file(format!("Time served from {} to {}", span.0, span.1));
    let write = |path: &Path, bytes: &[u8]| {
        let written = fs::write(path, bytes);
        written.map_err(|error| format!("cannot write {}: {}", path.display(), limits::explain(&error)))
    };
    if let Some(path) = &query.svg {
        write(path, svg(curves, span, &style)?.as_bytes())?;
    }
    if let Some(path) = &query.png {
        write(path, &png(curves, span, &style)?)?;
    }
    if query.svg.is_none() && query.png.is_none() {
        let width = terminal_width().unwrap_or(USUAL_WIDTH);
        print(&fitted(overview(curves, span.0, span.1, events, width.into())));
    }
    Ok(())
}

/// Shows what the running server has in its memory: the last hour, or up to 30 days by five minutes.
fn from_memory(query: &HistoryQuery, flags: &Flags) -> ExitCode {
    let needs_files = query.action.is_some() || query.at.is_some() || query.csv || query.events;
    if needs_files || query.until.is_some() {
        let why = "history.directory is not set: there is no record, and the memory of the running server has only curves (--since, --json, --svg, --png)";
        return fail("history", why, FAULT);
    }
    let shown = asked_span(query).and_then(|span| {
        let seconds = span.1.since(span.0).ceil();
        let curves = curves_of_server(seconds, flags)?;
        if query.json {
            let text = serde_json::to_string(&curves).map_err(|error| error.to_string())?;
            print(&(text + "\n"));
            return Ok(());
        }
        show_curves(&curves, span, query, &[])
    });
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail("history", &why, FAULT),
    }
}

fn curves_of_server(seconds: f64, flags: &Flags) -> Result<Curves, String> {
    let server = RunningServer {
        socket: None,
        json: true,
    };
    match query_running(
        &server,
        flags,
        ControlRequest::Curves {
            seconds: span::whole(seconds),
        },
    )? {
        ControlAnswer::Report { text } => serde_json::from_str(&text).map_err(|error| error.to_string()),
        ControlAnswer::Screen(_)
        | ControlAnswer::Client(_)
        | ControlAnswer::Clients(_)
        | ControlAnswer::Health { .. }
        | ControlAnswer::Check(_)
        | ControlAnswer::Command(_)
        | ControlAnswer::Failed(_) => Err(super::running::unexpected_answer()),
    }
}
