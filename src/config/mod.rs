//! Pure. The configuration: `raw` has what file and flags say, `validate` makes what it means of that.
//!
//! `file` finds and reads the file (impure, thin); [`load`] is everything else. A fault names its place, what was
//! found and what is expected, and all faults are gathered. A new key is a row in `keys`. `diff` gives the
//! differences between two configurations. `import` converts the configuration of another server.

pub mod address;
pub mod check;
mod deciding;
pub mod diff;
mod drop_ins;
pub mod effective;
mod entries;
pub mod fault;
pub mod file;
mod file_faults;
pub mod import;
pub mod keys;
pub mod kind;
mod lenient;
mod listeners;
mod nts_files;
mod policies;
mod raw;
mod raw_value;
mod roots;
pub mod row;
mod source;
mod sources;
mod symmetric_keys;
mod upstreams;
mod validate;
mod validator;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::BufRead;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cli::Flags;
use crate::leap::Smear;
use crate::log::{LogFormat, LogLevel};
use crate::server::Listener;
use crate::server::policy::budget::Budget;
use crate::upstream::Upstream;
use crate::upstream::clock_policy::ClockPolicy;

pub use deciding::{DecidingRule, DecidingRules};
pub use diff::{Change, Difference, ListDifference};
pub use effective::Effective;
pub use fault::{Fault, Place, listing};
pub use keys::{
    CensusKeys, CommandAccess, Control, FastPath, HistoryKeys, Metrics, NtsClientKeys, NtsKeys, Process,
    Ready,
};
pub use nts_files::NtsFiles;
pub use source::decode;
pub use sources::{ReadSources, SourcesText};
pub use symmetric_keys::KeysInUse;

use keys::MetricsKeys;
use raw::Raw;
use raw_value::Section;
use row::Keys;
use source::Source;
use toml::Spanned;
use toml::de::DeTable;
use validator::Validator;

/// A configuration that was validated: each value is in its range, and the values agree.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The settings of the process once its sockets are open.
    pub process: Process,
    /// The least important message that is logged.
    pub log_level: LogLevel,
    /// The form of the log.
    pub log_format: LogFormat,
    /// The conditions under which a time is believed and served.
    pub clock: ClockPolicy,
    /// The list of leap seconds to read at the start; `None` for no list.
    pub leap_seconds: Option<PathBuf>,
    /// The socket where the running server is asked about itself.
    pub control: Control,
    /// Whether and how clients are counted.
    pub census: CensusKeys,
    /// The address where the metrics are read over HTTP.
    pub metrics: Metrics,
    /// Whether there is a page for people, too.
    pub metrics_page: bool,
    /// The record of what was served.
    pub history: HistoryKeys,
    /// The interfaces where plain requests are answered before the network stack sees them.
    pub fast_path: FastPath,
    /// The symmetric keys.
    pub symmetric_keys: KeysInUse,
    /// Network Time Security for upstreams.
    pub nts_client: NtsClientKeys,
    /// The listeners that answer clients: at least one, and no address twice.
    pub listeners: Vec<Listener>,
    /// Network Time Security: the keys of its clients, and where they get them.
    pub nts: NtsKeys,
    /// The ceiling for all that is sent.
    pub budget: Budget,
    /// The TCP ports of key establishment that the sandbox permits: those of the upstreams, and the usual one.
    ///
    /// Only a restart can add one.
    pub ke_ports: BTreeSet<u16>,
    /// The servers that are asked for the time: none only if there is a local reference, and none twice.
    pub upstreams: Vec<Upstream>,
}

impl Config {
    /// Returns each key that only a restart can change, with its value as TOML, always in the same order.
    fn restart_only(&self) -> Vec<(String, String)> {
        let metrics = MetricsKeys {
            listen: self.metrics.clone(),
            page: self.metrics_page,
        };
        // Only commands read the limits.
        let mut history = self.history.shown();
        history.retain(|(key, _)| *key != "limits");
        let tables = [
            (Process::HEAD, self.process.shown()),
            (Control::HEAD, self.control.shown()),
            (CensusKeys::HEAD, self.census.shown()),
            (MetricsKeys::HEAD, metrics.shown()),
            (HistoryKeys::HEAD, history),
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

/// A configuration, and the origin of its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every setting with its origin.
    pub effective: Effective,
    /// The built-in listeners, if neither a file nor a flag asks for any.
    ///
    /// If the host lacks the address family of such a listener, that is worth a warning and is no failure. (This is
    /// not part of `config`: a file that names the same addresses has the same configuration.)
    pub default_listeners: Vec<SocketAddr>,
    /// Whether the control socket is the built-in one: if its directory is missing, that is no failure.
    pub default_control: bool,
    /// The file that was read, if there was one.
    pub path: Option<PathBuf>,
    /// The drop-ins beside it, in their order.
    pub drop_ins: Vec<PathBuf>,
    /// Lines of the files of other programs that are left out (`[sources]`), each with its place and the reason.
    pub left_out: Vec<String>,
    /// The digest of their texts; `None` without a file, or if the texts were not read from files.
    pub digest: Option<u64>,
    /// The number of files with lists that it names.
    pub lists: usize,
    /// The smear, whether a listener has it or not.
    pub smear: Smear,
    /// The rules of the access lists that decide about the addresses that were asked about; usually none is.
    pub deciding: DecidingRules,
    /// The files that `[nts]` names; `None` if they were not read.
    pub nts_files: Option<NtsFiles>,
}

impl Loaded {
    /// Whether `listener` is a built-in one that neither a file nor a flag asks for.
    pub fn is_default(&self, listener: &Listener) -> bool {
        self.default_listeners.contains(&listener.address)
    }

    /// Returns the origin of the configuration, for the log.
    pub fn origin(&self) -> String {
        let file = self.path.as_ref().map(|path| path.display().to_string());
        let file = file.unwrap_or_else(|| "flags and defaults".to_owned());
        match self.drop_ins.len() {
            0 => file,
            1 => format!("{file}, and 1 drop-in"),
            more => format!("{file}, and {more} drop-ins"),
        }
    }
}

/// Reads the flags and the text of a file together; faults name the path that is beside the text.
///
/// Files that the text names are not read.
///
/// # Errors
/// All faults, in the order of their places: at least one.
pub fn load(flags: &Flags, text: Option<(&Path, &str)>) -> Result<Loaded, Vec<Fault>> {
    let files = NamedFiles {
        sources: None,
        lists: &|_| Err("no other file is read here".to_owned()),
        private: None,
        asked: &[],
    };
    load_with(flags, text, &[], files)
}

/// A function that gives the lines of a file that the configuration names, or the reason why it can't.
pub type Lists<'a> = &'a dyn Fn(&Path) -> Result<Box<dyn BufRead>, String>;

/// The content of a file with secrets, and its mode as in `stat(2)`.
pub struct PrivateFile {
    /// All of it.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The mode.
    pub mode: u32,
}

/// The rights of other users on a file.
const OTHERS: u32 = 0o007;

impl PrivateFile {
    /// Returns why others than its owner and its group may know its secrets, and the remedy.
    fn exposure(&self, path: &Path) -> Option<(String, String)> {
        (self.mode & OTHERS != 0).then(|| {
            let (mode, path) = (self.mode & 0o7777, Place::WholeFile(path.to_owned()));
            (
                format!("others can access it: its mode is {mode:04o}"),
                format!("`chmod 640 {path}`, and `chgrp` it to the user's group"),
            )
        })
    }
}

/// A function that gives a file of at most this many bytes, or the reason why it can't.
pub type ReadPrivate<'a> = &'a dyn Fn(&Path, u64) -> Result<PrivateFile, String>;

/// The functions that read the files that a configuration names.
#[derive(Clone, Copy)]
pub struct NamedFiles<'a> {
    /// For directories with files that name upstreams; if `None`, there are none of them.
    pub sources: Option<ReadSources<'a>>,
    /// For files with prefixes.
    pub lists: Lists<'a>,
    /// For the file with symmetric keys; if `None`, the configuration has none of them.
    pub private: Option<ReadPrivate<'a>>,
    /// The addresses for which the deciding rules of access lists are wanted, sorted.
    pub asked: &'a [IpAddr],
}

/// A file of a configuration: its path and its text.
pub type ConfigText = (PathBuf, String);

/// Does the same as [`load`], with the `drop_ins` beside the file, and with `files` to read the files that they name.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    flags: &Flags,
    text: Option<(&Path, &str)>,
    drop_ins: &[ConfigText],
    files: NamedFiles<'_>,
) -> Result<Loaded, Vec<Fault>> {
    let further = drop_ins
        .iter()
        .map(|(path, text)| (path.as_path(), text.as_str()));
    let source = Source::new(text.into_iter().chain(further));
    let mut raw = read(&source)?;
    raw.said.fill(flags);
    if let Some(read) = files.sources {
        let configured = raw.said.upstream.said.as_deref().unwrap_or_default();
        raw.said.found = sources::find(&raw.said.sources.said, configured, read);
    }
    let named = RefCell::new(BTreeSet::new());
    let counted = |path: &Path| {
        named.borrow_mut().insert(path.to_owned());
        (files.lists)(path)
    };
    let files = NamedFiles {
        lists: &counted,
        ..files
    };
    let own = text.map(|(path, _)| path.to_owned());
    let beside_drop_ins = || Some(drop_ins.first()?.0.parent()?.parent()?.to_owned());
    let directory = own.as_ref().and_then(|path| Some(path.parent()?.to_owned()));
    let validator = Validator::new(
        &source,
        directory.or_else(beside_drop_ins).unwrap_or_default(),
        files,
    );
    let loaded = validate::validate(&raw, validator)?;
    Ok(Loaded {
        lists: named.into_inner().len(),
        path: own,
        drop_ins: drop_ins.iter().map(|(path, _)| path.clone()).collect(),
        ..loaded
    })
}

/// Reads all texts; faults of all of them are named.
fn read(source: &Source<'_>) -> Result<Section<Raw>, Vec<Fault>> {
    let mut all: Option<Spanned<DeTable<'_>>> = None;
    let mut faults = Vec::new();
    for (start, text) in source.texts() {
        match (lenient::parse(start, text), &mut all) {
            (Ok(document), None) => all = Some(document),
            (Ok(document), Some(all)) => {
                faults.extend(drop_ins::merge(all.get_mut(), document.into_inner(), source));
            }
            (Err(error), _) => faults.push(not_toml(&error, start, source)),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let raw = all.map_or_else(|| Ok(Section::default()), lenient::read);
    raw.map_err(|error| vec![not_toml(&error, 0, source)])
}

fn not_toml(error: &toml::de::Error, start: usize, source: &Source<'_>) -> Fault {
    let message = error.message().trim_end_matches(", expected nothing");
    Fault {
        place: source.place(start + error.span().map_or(0, |span| span.start)),
        key: String::new(),
        found: format!("not valid TOML: {}", fault::printable(message)),
        expected: String::new(),
        hint: toml_hint(message).map(str::to_owned),
    }
}

/// Returns the usual cause behind a message of the TOML parser that doesn't name it.
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
