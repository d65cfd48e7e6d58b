//! Pure. Tables of TOML with the places of their keys, so that remarks can name a line.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::SourceLine;
use super::draft::Draft;

/// The reason for a key that is not known.
pub(super) const NOT_KNOWN: &str = "no such key is known here";

/// A file, so that remarks can name a line of it.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl<'a> File<'a> {
    /// Returns the line of the byte number `at`.
    pub(super) fn line(self, at: usize) -> SourceLine<'a> {
        let before = self.text.get(..at).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = self.text.get(start..).and_then(|rest| rest.lines().next());
        SourceLine {
            path: self.path,
            number: before.matches('\n').count() + 1,
            text: line.unwrap_or_default().trim(),
            keyword: String::new(),
            words: Vec::new(),
        }
    }
}

/// A table of the file, with its place, and its keys in the order of the file.
pub(super) struct PlacedTable<'a, 'd> {
    pub(super) file: File<'a>,
    pub(super) at: usize,
    pub(super) keys: Vec<(&'d str, &'d Spanned<DeValue<'a>>, usize)>,
}

impl<'a, 'd> PlacedTable<'a, 'd> {
    pub(super) fn new(file: File<'a>, at: usize, table: &'d DeTable<'a>) -> Self {
        let keys = table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), value, key.span().start));
        let mut keys: Vec<_> = keys.collect();
        keys.sort_by_key(|(_, _, at)| *at);
        Self { file, at, keys }
    }

    pub(super) fn of(file: File<'a>, value: &'d Spanned<DeValue<'a>>) -> Option<Self> {
        let table = value.get_ref().as_table()?;
        Some(Self::new(file, value.span().start, table))
    }

    pub(super) fn get(&self, wanted: &str) -> Option<&'d DeValue<'a>> {
        let found = self.keys.iter().find(|(key, ..)| *key == wanted);
        found.map(|(_, value, _)| value.get_ref())
    }

    pub(super) fn text(&self, key: &str) -> Option<&'d str> {
        self.get(key)?.as_str()
    }

    /// Adds a remark that the whole table is left.
    pub(super) fn leave(&self, draft: &mut Draft, why: &str) {
        draft.leave(&self.file.line(self.at), why);
    }

    /// Adds a remark that a key is left, if the table has it.
    pub(super) fn leave_key(&self, draft: &mut Draft, wanted: &str, why: &str) {
        if let Some((_, _, at)) = self.keys.iter().find(|(key, ..)| *key == wanted) {
            draft.leave(&self.file.line(*at), why);
        }
    }

    /// Adds a remark for each key that isn't one of `known`, with the reason for those of `left`.
    pub(super) fn leave_others(&self, draft: &mut Draft, known: &[&str], left: &[(&str, &str)]) {
        for (key, _, at) in &self.keys {
            let why = left.iter().find(|(name, _)| name == key).map(|(_, why)| *why);
            if !known.contains(key) {
                draft.leave(&self.file.line(*at), why.unwrap_or(NOT_KNOWN));
            }
        }
    }
}

pub(super) fn whole(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}
