//! Pure. What the subcommands `check` and `config` answer.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::diff::{Change, diff};
use super::fault::{Fault, printable};
use super::{Config, FastPath, Loaded};
use crate::host::xdp_mode::Mode;

/// Exit status of a fault on the command line or in the configuration.
pub const STATUS_FAULT: u8 = 2;

/// Exit status where all is well, but only a restart would make all of it true.
pub const STATUS_RESTART: u8 = 3;

/// What to print, and how to end. The control socket sends it as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// For standard output, line ends included.
    pub out: String,
    /// For standard error, line ends included.
    pub err: String,
    /// Exit status.
    pub status: u8,
}

/// `ntpfront check`: all faults and how many, or what there is.
pub fn check(loaded: &Result<Loaded, Vec<Fault>>) -> Answer {
    match loaded {
        Ok(loaded) => Answer::fine(summary(loaded)),
        Err(faults) => refused(faults),
    }
}

/// What `ntpfront check` says beside where the file has nothing in it: that is good, and hardly what somebody wanted.
pub fn check_empty(answer: &mut Answer, path: &Path) {
    let path = printable(&path.to_string_lossy());
    answer.err +=
        &format!("{path}: there is nothing in it: all is as without a file, and everybody is answered\n");
}

/// What `ntpfront check` says beside where limits of this host are too low for the file, a line each.
pub fn check_limits(answer: &mut Answer, shortfalls: &[String]) {
    shortfalls
        .iter()
        .for_each(|shortfall| answer.err += &format!("{shortfall}\n"));
}

/// What `ntpfront check` says beside that of the fast path, if one is wanted: why this host can't have one (`impossible`), or
/// which interfaces are not there now. It is a fault where a start would fail.
pub fn check_fast_path(answer: &mut Answer, wanted: &FastPath, impossible: Option<&str>, absent: &[&str]) {
    if wanted.interfaces.is_empty() {
        return;
    }
    if let Some(why) = impossible {
        answer.err += &format!("fast-path: {why}\n");
        if wanted.mode != Mode::Auto {
            answer.status = STATUS_FAULT;
        }
    }
    for name in absent {
        answer.err += &format!("fast-path.interfaces: \"{name}\" is not there now: it is used once it is\n");
    }
}

/// `ntpfront check --against-running`: what a reload would make of a server that runs as `running`.
pub fn compare(running: &Config, loaded: &Result<Loaded, Vec<Fault>>) -> Answer {
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(faults) => return refused(faults),
    };
    let changes = diff(running, &loaded.config);
    let lines: String = changes.iter().map(|change| format!("{change}\n")).collect();
    let needs_restart = changes.iter().any(Change::needs_restart);
    let count = match changes.len() {
        0 => "a reload changes nothing".to_owned(),
        some => format!("against the running server: {}", number(some, "change")),
    };
    Answer {
        out: format!("{}{count}\n{lines}", summary(loaded)),
        err: String::new(),
        status: if needs_restart { STATUS_RESTART } else { 0 },
    }
}

/// `ntpfront config`: the effective configuration as a file, with the origin of each value.
pub fn show(loaded: &Result<Loaded, Vec<Fault>>) -> Answer {
    match loaded {
        Ok(loaded) => Answer::fine(loaded.effective.to_string()),
        Err(faults) => refused(faults),
    }
}

/// All faults, one a line, and then their number: what is said wherever a configuration is refused.
pub fn report(faults: &[Fault]) -> String {
    let lines: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
    format!("{lines}{}\n", number(faults.len(), "fault"))
}

impl Answer {
    /// All is well.
    pub fn fine(out: String) -> Self {
        Self {
            out,
            err: String::new(),
            status: 0,
        }
    }

    /// Why it can't be had.
    pub fn failed(why: &str) -> Self {
        Self {
            out: String::new(),
            err: format!("{why}\n"),
            status: 1,
        }
    }

    /// To a request that means nothing to this version.
    pub fn misunderstood(verb: &str) -> Self {
        Self {
            out: String::new(),
            err: format!(
                "the running server does not know the request \"{}\"\n",
                printable(verb)
            ),
            status: STATUS_FAULT,
        }
    }
}

fn refused(faults: &[Fault]) -> Answer {
    Answer {
        out: String::new(),
        err: report(faults),
        status: STATUS_FAULT,
    }
}

fn summary(loaded: &Loaded) -> String {
    let name = match &loaded.path {
        Some(path) => printable(&path.to_string_lossy()),
        None => "no configuration file".to_owned(),
    };
    let listeners = number(loaded.config.listeners.len(), "listener");
    let upstreams = number(loaded.config.upstreams.len(), "upstream");
    format!("{name}: ok: {listeners}, {upstreams}\n")
}

fn number(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}
