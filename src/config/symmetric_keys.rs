//! Pure. The file of symmetric keys, read, and the keys of it that are used.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::{Fault, Place, excerpt, printable};
use super::keys::SymmetricKeys;
use super::raw::Raw;
use super::raw_value::{Origin, RawValue};
use super::row::Keys;
use super::validator::Validator;
use crate::symmetric::{KeyId, KeyTable, SymmetricKey, key_file};

/// Longest key file, in bytes: about 20,000 keys.
pub(super) const LONGEST: u64 = 1024 * 1024;
/// The largest number of faults that are printed of a key file: it may be a file of another kind.
const MOST_FAULTS: usize = 20;
/// The rights of other users on a file.
const OTHERS: u32 = 0o007;

/// The keys, and their file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysInUse {
    /// The file that has them; `None` if the configuration names none.
    pub file: Option<PathBuf>,
    /// The keys that are used; `None` without a file.
    pub table: Option<Arc<KeyTable>>,
}

/// Half a line: the number of keys, and their file.
impl fmt::Display for KeysInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.table, &self.file) {
            (Some(table), Some(path)) => {
                let path = printable(&path.to_string_lossy());
                write!(f, "{} of {path}", table.keys().len())
            }
            (_, _) => f.write_str("none"),
        }
    }
}

/// Reads `[symmetric-keys]` and its file. `None` after a fault.
pub(super) fn validate(validator: &mut Validator<'_>, raw: &Raw) -> Option<KeysInUse> {
    let section = &raw.symmetric_keys;
    let keys = SymmetricKeys::read_one(validator, section, &SymmetricKeys::default())?;
    let (Some(path), Some(said)) = (&keys.file, &section.said.file) else {
        return Some(KeysInUse::default());
    };
    let table = read(validator, path, said, keys.allow_md5)?;
    let table = trusted(validator, &keys, section.said.trusted.as_ref(), table)?;
    Some(KeysInUse {
        file: Some(path.clone()),
        table: Some(Arc::new(table)),
    })
}

fn read(validator: &mut Validator<'_>, path: &Path, said: &RawValue, allow_md5: bool) -> Option<KeyTable> {
    let whole = Place::WholeFile(path.to_owned());
    let read = validator.read_private(path, LONGEST);
    let mut fault = |why: String, hint: Option<String>| {
        validator.fault(&said.origin, "file", format!("{whole}: {why}"), "", hint);
    };
    let file = match read {
        Ok(file) => file,
        Err(why) => {
            fault(why, None);
            return None;
        }
    };
    if file.mode & OTHERS != 0 {
        let why = format!("others can access it: its mode is {:04o}", file.mode & 0o7777);
        let hint = format!("`chmod 640 {whole}`, and `chgrp` it to the user's group");
        fault(why, Some(hint));
        return None;
    }
    let Ok(text) = std::str::from_utf8(&file.bytes) else {
        fault("is not text in UTF-8".to_owned(), None);
        return None;
    };
    let errors = match key_file::parse(text, allow_md5) {
        Ok(table) => return Some(table),
        Err(errors) => errors,
    };
    let faults = errors.into_iter().take(MOST_FAULTS).map(|error| Fault {
        place: Place::File {
            path: path.to_owned(),
            line: error.line,
            column: 1,
        },
        key: String::new(),
        found: error.reason.to_string(),
        expected: String::new(),
        hint: None,
    });
    validator.faults.extend(faults);
    None
}

/// Keeps the keys that are trusted; each range has to be of at least one key of the file.
fn trusted(
    validator: &mut Validator<'_>,
    keys: &SymmetricKeys,
    said: Option<&RawValue>,
    table: KeyTable,
) -> Option<KeyTable> {
    if keys.trusted.is_empty() {
        return Some(table);
    }
    let ids: Vec<KeyId> = table.keys().iter().map(SymmetricKey::id).collect();
    let mut is_good = true;
    for (index, range) in keys.trusted.iter().enumerate() {
        if ids.iter().any(|id| range.contains(*id)) {
            continue;
        }
        is_good = false;
        let item = said.and_then(RawValue::as_list).and_then(|list| list.get(index));
        if let Some(item) = item {
            validator.fault_at(item, "trusted", "a key of symmetric-keys.file", None);
        }
    }
    let is_trusted = |id: &KeyId| keys.trusted.iter().any(|range| range.contains(*id));
    let ids: Vec<KeyId> = ids.into_iter().filter(is_trusted).collect();
    is_good.then(|| table.trusted(&ids))
}

/// Returns the key of this identifier, that an upstream names; 0 is none. `None` after a fault.
///
/// `in_use` is `None` if the keys have a fault: then nothing is known of this one.
pub(super) fn of_upstream(
    validator: &mut Validator<'_>,
    id: u32,
    said: Option<&RawValue>,
    in_use: Option<&KeysInUse>,
) -> Option<Option<Arc<SymmetricKey>>> {
    let (Some(id), Some(said)) = (KeyId::new(id), said) else {
        return Some(None);
    };
    let in_use = in_use?;
    let (expected, hint) = match (&in_use.file, &in_use.table) {
        (Some(path), Some(table)) => {
            if let Some(key) = table.get(id) {
                return Some(Some(Arc::new(key.clone())));
            }
            let path = excerpt(&path.to_string_lossy());
            (
                format!("a key that {path} has, and symmetric-keys.trusted names"),
                None,
            )
        }
        (_, _) => (
            "a file with the key".to_owned(),
            Some("name it with symmetric-keys.file".to_owned()),
        ),
    };
    validator.fault_at(said, "key", expected, hint);
    None
}

/// Notes a fault if a listener requires authentication, and there is no key for it.
pub(super) fn agrees(
    validator: &mut Validator<'_>,
    is_required: bool,
    said: Option<&RawValue>,
    in_use: &KeysInUse,
) {
    if is_required && in_use.table.is_none() {
        let origin = said.map_or(&Origin::Default, |said| &said.origin);
        let hint =
            Some("name a file with symmetric-keys.file, or require NTS with nts = \"require\"".to_owned());
        let found = "no symmetric key";
        validator.fault(origin, "authentication", found, "one at least", hint);
    }
}
