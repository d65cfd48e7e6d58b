//! Pure. What the subcommands `check` and `config` answer.

use super::Loaded;
use super::fault::{Fault, printable};

/// Exit status of a fault on the command line or in the configuration.
pub const STATUS_FAULT: u8 = 2;

/// What to print, and how to end.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        Ok(loaded) => fine(summary(loaded)),
        Err(faults) => refused(faults),
    }
}

/// `ntpfront config`: the effective configuration as a file, with the origin of each value.
pub fn show(loaded: &Result<Loaded, Vec<Fault>>) -> Answer {
    match loaded {
        Ok(loaded) => fine(loaded.effective.to_string()),
        Err(faults) => refused(faults),
    }
}

/// All faults, one a line, and then their number: what is said wherever a configuration is refused.
pub fn report(faults: &[Fault]) -> String {
    let lines: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
    format!("{lines}{}\n", number(faults.len(), "fault"))
}

fn fine(out: String) -> Answer {
    Answer {
        out,
        err: String::new(),
        status: 0,
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
