//! Pure. An operator's words: `raw` (what was said, by file and flags) becomes `validate` (what is meant).
//!
//! `file` finds and reads (impure, thin); [`load`] is everything else. A fault names its place, what was found
//! and what is expected, and all faults are gathered. A new key is a row in `keys`. `diff` tells by what one configuration differs from another,
//! `import` what another server's configuration is here.

pub mod address;
pub mod check;
pub mod diff;
pub mod effective;
mod entries;
pub mod fault;
pub mod file;
pub mod import;
pub mod keys;
pub mod kind;
mod lenient;
mod listeners;
mod policies;
mod raw;
mod raw_value;
pub mod row;
mod source;
mod upstreams;
mod validate;
mod validator;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::BufRead;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::cli::Flags;
use crate::log::LogLevel;
use crate::server::Listener;
use crate::server::policy::budget::Budget;
use crate::upstream::Upstream;
use crate::upstream::clock_policy::ClockPolicy;

pub use diff::{Change, Difference, ListDifference};
pub use effective::Effective;
pub use fault::{Fault, Place, listing};
pub use keys::{CensusKeys, Control, FastPath, Metrics, Process, Ready};
pub use source::decode;

use keys::MetricsKeys;
use raw::Raw;
use raw_value::Section;
use row::Keys;
use source::Source;

/// What we are to do. A value of this type was validated: every range and agreement holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What becomes of the process once its sockets are open.
    pub process: Process,
    /// The least important message that is logged.
    pub log_level: LogLevel,
    /// What must hold before a time is believed and served.
    pub clock: ClockPolicy,
    /// The list of leap seconds to read when starting; `None` if none shall be.
    pub leap_seconds: Option<PathBuf>,
    /// Where the running server is asked.
    pub control: Control,
    /// Whether and how it is counted who asks.
    pub census: CensusKeys,
    /// Where the metrics are read over HTTP.
    pub metrics: Metrics,
    /// Where plain requests are answered before the network stack sees them.
    pub fast_path: FastPath,
    /// Where clients are answered: at least one, no address twice.
    pub listeners: Vec<Listener>,
    /// What may be sent in all.
    pub budget: Budget,
    /// Who is asked for the time: none only if there is a local reference, nobody twice.
    pub upstreams: Vec<Upstream>,
}

impl Config {
    /// Each key that only a restart can change, with its value as TOML, always in the same order.
    fn restart_only(&self) -> Vec<(String, String)> {
        let metrics = MetricsKeys {
            listen: self.metrics.clone(),
        };
        let tables = [
            (Process::HEAD, self.process.shown()),
            (Control::HEAD, self.control.shown()),
            (CensusKeys::HEAD, self.census.shown()),
            (MetricsKeys::HEAD, metrics.shown()),
            (FastPath::HEAD, self.fast_path.shown()),
        ];
        let settings = tables.into_iter().flat_map(|(head, settings)| {
            let name = head.trim_matches(['[', ']']);
            settings.into_iter().map(move |(key, value)| {
                let value = value.unwrap_or_else(|| "not set".to_owned());
                (format!("{name}.{key}"), value)
            })
        });
        settings.collect()
    }
}

/// A configuration, and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What we are to do.
    pub config: Config,
    /// Every setting with its origin.
    pub effective: Effective,
    /// Listeners that nobody asked for, neither by a file nor by a flag: the built-in ones. Where the host has
    /// no such address family, that is worth a warning and no failure. (Not part of `config`, since saying the
    /// same aloud does not make it another configuration.)
    pub default_listeners: Vec<SocketAddr>,
    /// Nobody asked for the control socket: where there is no place for it, that is no failure.
    pub default_control: bool,
    /// The file that was read, if there was one.
    pub path: Option<PathBuf>,
    /// How many files with lists it names.
    pub lists: usize,
}

impl Loaded {
    /// Did nobody ask for `listener`?
    pub fn is_default(&self, listener: &Listener) -> bool {
        self.default_listeners.contains(&listener.address)
    }

    /// Where it comes from, for the log.
    pub fn origin(&self) -> String {
        let file = self.path.as_ref().map(|path| path.display().to_string());
        file.unwrap_or_else(|| "flags and defaults".to_owned())
    }
}

/// What the flags and a file's text (with the path that faults shall name) mean together. Files that it names itself are
/// out of reach.
///
/// # Errors
/// All faults, in the order of their places: at least one.
pub fn load(flags: &Flags, text: Option<(&Path, &str)>) -> Result<Loaded, Vec<Fault>> {
    load_with(flags, text, &|_| Err("no other file is read here".to_owned()))
}

/// Gives the lines of a file that the configuration names, or says what keeps it from that.
pub type Lists<'a> = &'a dyn Fn(&Path) -> Result<Box<dyn BufRead>, String>;

/// The same, where `lists` gives the lines of a file with prefixes, or says why it can't.
///
/// # Errors
/// As [`load`].
pub fn load_with(flags: &Flags, text: Option<(&Path, &str)>, lists: Lists<'_>) -> Result<Loaded, Vec<Fault>> {
    let source = text.map(|(path, text)| Source::new(path, text));
    let mut raw = match text {
        Some((path, text)) => read(path, text)?,
        None => Section::default(),
    };
    raw.said.fill(flags);
    let named = RefCell::new(BTreeSet::new());
    let counted = |path: &Path| {
        named.borrow_mut().insert(path.to_owned());
        lists(path)
    };
    let loaded = validate::validate(&raw, source.as_ref(), &counted)?;
    Ok(Loaded {
        lists: named.into_inner().len(),
        ..loaded
    })
}

fn read(path: &Path, text: &str) -> Result<Section<Raw>, Vec<Fault>> {
    lenient::read(text).map_err(|error| {
        let source = Source::new(path, text);
        let message = error.message().trim_end_matches(", expected nothing");
        let start = error.span().map_or(0, |span| span.start);
        vec![Fault {
            place: source.place(start),
            key: String::new(),
            found: format!("not valid TOML: {}", fault::printable(message)),
            expected: String::new(),
            hint: toml_hint(message).map(str::to_owned),
        }]
    })
}

/// What usually is behind a message of the TOML parser that doesn't say so.
fn toml_hint(message: &str) -> Option<&'static str> {
    match message {
        "duplicate key" => {
            Some("the same key or [table] stands further up, too; several are written [[listener]]")
        }
        _ if message.starts_with("key with no value") => Some("a setting is written key = value"),
        _ if ["boolean", "float", "integer", "datetime", "quoted"]
            .iter()
            .any(|word| message.contains(word)) =>
        {
            Some("texts such as addresses and names are written in quotes")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
