//! Pure. The validation of single values: each becomes either a setting in effect or a fault, and none is lost.

use std::io::BufRead;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::deciding::DecidingRules;
use super::effective::{Effective, EffectiveTable, Setting, either};
use super::fault::{Fault, Place, excerpt};
use super::kind::{Kind, Refused, did_you_mean};
use super::raw_value::{Origin, RawValue, Unknown, Value};
use super::source::Source;
use super::{NamedFiles, PrivateFile};

/// The faults and settings so far.
///
/// Each key is validated by one call, which gives `None` if the key has a fault.
pub(super) struct Validator<'a> {
    source: &'a Source<'a>,
    /// The directory where relative paths start.
    directory: PathBuf,
    files: NamedFiles<'a>,
    /// The table that is being validated, as in `listener[2]`.
    table: String,
    pub(super) faults: Vec<Fault>,
    pub(super) effective: Effective,
    /// Lines that are left out without being faults, each with its place and the reason.
    pub(super) left_out: Vec<String>,
    /// The rules that decide about the addresses that are asked about.
    pub(super) deciding: DecidingRules,
}

impl<'a> Validator<'a> {
    pub(super) fn new(source: &'a Source<'a>, directory: PathBuf, files: NamedFiles<'a>) -> Self {
        Self {
            source,
            directory,
            files,
            table: String::new(),
            faults: Vec::new(),
            effective: Effective::default(),
            left_out: Vec::new(),
            deciding: DecidingRules::new(files.asked),
        }
    }

    /// Sets the name of the table in the faults that follow.
    pub(super) fn name(&mut self, table: impl Into<String>) {
        self.table = table.into();
    }

    /// Begins a table: `name` is its name in faults, `head` its head in the effective configuration.
    pub(super) fn enter(&mut self, name: impl Into<String>, head: &'static str) {
        self.name(name);
        self.effective.tables.push(EffectiveTable {
            head,
            settings: Vec::new(),
        });
    }

    /// Removes the defaults from the table that was entered last, and the table if it is empty then.
    ///
    /// Those keys are as for all listeners. Returns whether the table stays.
    pub(super) fn keep_said(&mut self) -> bool {
        let Some(mut table) = self.effective.tables.pop() else {
            return false;
        };
        table.settings.retain(|setting| setting.origin != Place::Default);
        let said = !table.settings.is_empty();
        self.effective.tables.extend(Some(table).filter(|_| said));
        said
    }

    /// Returns the path of a file that the configuration names; a relative path starts at the directory of its file.
    pub(super) fn beside(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    /// Returns the addresses for which deciding rules are wanted, sorted.
    pub(super) fn asked(&self) -> &'a [IpAddr] {
        self.files.asked
    }

    /// Returns the lines of such a file.
    pub(super) fn read(&self, path: &Path) -> Result<Box<dyn BufRead>, String> {
        (self.files.lists)(path)
    }

    /// Returns the content of a file with secrets, of at most `longest` bytes; `None` if such are not read.
    pub(super) fn read_private(&self, path: &Path, longest: u64) -> Option<Result<PrivateFile, String>> {
        Some((self.files.private?)(path, longest))
    }

    /// Validates a key: its value, or else the one in `base`; `None` after a fault.
    ///
    /// If a key is absent that can't be left out, the place of the fault is its table.
    pub(super) fn key<K: Kind>(
        &mut self,
        name: &'static str,
        kind: &K,
        said: Option<&RawValue>,
        table: &Origin,
        base: &K::Value,
    ) -> Option<K::Value> {
        match (said, kind.required()) {
            (None, None) => {
                self.set(name, kind.shown(base), &Origin::Default);
                Some(base.clone())
            }
            (None, Some(expected)) => {
                self.fault(table, name, "nothing", expected, None);
                None
            }
            (Some(said), _) => match kind.read(said) {
                Ok(value) => {
                    self.set(name, kind.shown(&value), &said.origin);
                    Some(value)
                }
                Err(refused) => {
                    self.refuse(name, refused);
                    None
                }
            },
        }
    }

    /// Validates a value that has to be of this kind, too; it does not become a setting in effect.
    pub(super) fn value<K: Kind>(&mut self, said: &RawValue, key: &str, kind: &K) -> Option<K::Value> {
        let value = kind.read(said);
        value.map_err(|refused| self.refuse(key, refused)).ok()
    }

    fn refuse(&mut self, key: &str, refused: Refused<'_>) {
        for (said, refusal) in refused {
            self.fault_at(said, key, refusal.expected, refusal.hint);
        }
    }

    /// Notes an unknown key.
    pub(super) fn unknown(&mut self, table: &str, unknown: &Unknown) {
        self.name(table);
        let hint = did_you_mean(&unknown.key, unknown.known);
        let (key, expected) = (shown_key(&unknown.key), either(unknown.known));
        self.fault(&unknown.origin, &key, "an unknown key", expected, hint);
    }

    /// Notes a value that is no table or no array of tables, where one is expected.
    pub(super) fn misshapen(&mut self, name: &str, origin: &Origin, expected: &str, hint: String) {
        self.name("");
        let found = self.found(origin);
        self.fault(origin, name, found, expected, Some(hint));
    }

    /// Notes a setting in effect.
    pub(super) fn set(&mut self, key: &'static str, value: Option<String>, origin: &Origin) {
        let origin = self.place(origin);
        if let Some(table) = self.effective.tables.last_mut() {
            table.settings.push(Setting { key, value, origin });
        }
    }

    /// Runs `read`, which validates a table that is no fault if it can't be used; `None` if there was one.
    ///
    /// Then the table is left out, and the reason kept.
    pub(super) fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let (faults, tables) = (self.faults.len(), self.effective.tables.len());
        let result = read(self);
        let found = self.faults.split_off(faults);
        if found.is_empty() && result.is_some() {
            return result;
        }
        self.effective.tables.truncate(tables);
        self.left_out.extend(found.iter().map(ToString::to_string));
        None
    }

    /// Notes a fault of a value that was given.
    pub(super) fn fault_at(
        &mut self,
        said: &RawValue,
        key: &str,
        expected: impl Into<String>,
        hint: Option<String>,
    ) {
        let found = match (&said.origin, &said.value) {
            (Origin::Flag(_) | Origin::Variable(_) | Origin::Line(_), Value::Text(text)) => {
                format!("\"{}\"", excerpt(text))
            }
            (origin, _) => self.found(origin),
        };
        self.fault(&said.origin, key, found, expected, hint);
    }

    /// Notes a fault.
    pub(super) fn fault(
        &mut self,
        origin: &Origin,
        key: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
        hint: Option<String>,
    ) {
        let key = match self.table.as_str() {
            "" => key.to_owned(),
            table => format!("{table}.{key}"),
        };
        let (place, found, expected) = (self.place(origin), found.into(), expected.into());
        self.faults.push(Fault {
            place,
            key,
            found,
            expected,
            hint,
        });
    }

    /// Returns the place of `origin`.
    pub(super) fn place(&self, origin: &Origin) -> Place {
        match origin {
            Origin::File(span) => self.source.place(span.start),
            Origin::Flag(flag) => Place::Flag(flag),
            Origin::Variable(name) => Place::Variable(name),
            Origin::Line(place) => place.clone(),
            Origin::Default => Place::Default,
        }
    }

    fn found(&self, origin: &Origin) -> String {
        match origin {
            Origin::File(span) if !self.source.excerpt(span).is_empty() => excerpt(self.source.excerpt(span)),
            Origin::File(_) | Origin::Flag(_) | Origin::Variable(_) | Origin::Line(_) | Origin::Default => {
                "nothing".to_owned()
            }
        }
    }
}

/// Writes a key as TOML needs it: in quotes unless it is plain.
fn shown_key(key: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match key.is_empty() || !key.chars().all(is_plain) {
        true => format!("\"{}\"", excerpt(key)),
        false => excerpt(key),
    }
}
