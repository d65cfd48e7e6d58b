//! Pure. The file of symmetric keys, read, and the keys of it that are used.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::PrivateFile;
use super::fault::{Fault, Place, excerpt, printable};
use super::keys::SymmetricKeys;
use super::raw::Raw;
use super::raw_value::RawValue;
use super::row::Keys;
use super::validator::Validator;
use crate::server::policy::AuthenticationMode;
use crate::symmetric::{KeyId, KeyTable, SymmetricKey, key_file};

/// Longest key file, in bytes: about 20,000 keys.
pub(super) const LONGEST: u64 = 1024 * 1024;
/// The largest number of faults that are printed of a key file: it may be a file of another kind.
const MOST_FAULTS: usize = 20;

/// The keys, and their file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysInUse {
    /// The file that has them; `None` if the configuration names none.
    pub file: Option<PathBuf>,
    /// Whether keys of type MD5 are accepted.
    pub allow_md5: bool,
    /// The keys that are used; `None` without a file, and if it was not read.
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
    let mut in_use = KeysInUse {
        file: keys.file.clone(),
        allow_md5: keys.allow_md5,
        table: None,
    };
    if let (Some(path), Some(said)) = (&keys.file, &section.said.file)
        && let Some(read) = validator.read_private(path, LONGEST)
    {
        let table = parsed(validator, path, said, read, keys.allow_md5)?;
        let table = trusted(validator, &keys, section.said.trusted.as_ref(), table)?;
        in_use.table = Some(Arc::new(table));
    }
    Some(in_use)
}

/// The keys of a file that was read, or not.
fn parsed(
    validator: &mut Validator<'_>,
    path: &Path,
    said: &RawValue,
    read: Result<PrivateFile, String>,
    allow_md5: bool,
) -> Option<KeyTable> {
    let whole = Place::WholeFile(path.to_owned());
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
    if let Some((why, hint)) = file.exposure(path) {
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
/// `in_use` is `None` if the keys have a fault: then nothing is known of this one. If they were not read, it is `None`.
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
        (None, _) => (
            "a key, and a file that has it".to_owned(),
            Some("name the file with symmetric-keys.file".to_owned()),
        ),
        (Some(_), None) => return Some(None),
        (Some(path), Some(table)) => {
            if let Some(key) = table.get(id) {
                return Some(Some(Arc::new(key.clone())));
            }
            let path = excerpt(&path.to_string_lossy());
            (
                format!("a key of {path} that symmetric-keys.trusted does not exclude"),
                None,
            )
        }
    };
    validator.fault_at(said, "key", expected, hint);
    None
}

/// Notes a fault if a listener requires authentication, and there is no file with keys for it.
pub(super) fn has_keys(
    validator: &mut Validator<'_>,
    mode: AuthenticationMode,
    said: &RawValue,
    in_use: Option<&KeysInUse>,
) {
    if mode == AuthenticationMode::Require && in_use.is_some_and(|in_use| in_use.file.is_none()) {
        let hint =
            "set symmetric-keys.file; where clients have NTS alone, require that with nts = \"require\"";
        let expected = "\"accept\" or \"off\" without [symmetric-keys]";
        validator.fault_at(said, "authentication", expected, Some(hint.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::cli::Flags;
    use crate::config::{Config, NamedFiles, load_with};

    const KEYS: &[u8] = b"# two\n7 SHA1 secret\n8 AES128 HEX:000102030405060708090a0b0c0d0e0f\n";

    fn load(text: &str, is_read: bool) -> Result<Config, String> {
        let private = |path: &Path, longest: u64| {
            let (bytes, mode) = match path.to_str().unwrap() {
                "/keys" => (KEYS, 0o640),
                "/md5" => (&b"9 MD5 secret\n"[..], 0o600),
                "/open" => (KEYS, 0o644),
                "/latin" => (&b"7 SHA1 \xE4\n"[..], 0o600),
                "/wrong" => (&b"7\n\n8 AES128 short\n8 SHA1 x\n8 SHA1 x\n"[..], 0o600),
                "/empty" => (&b"# none\n"[..], 0o600),
                _ => return Err("cannot open: no such file".to_owned()),
            };
            assert_eq!(longest, LONGEST);
            Ok(PrivateFile {
                bytes: Zeroizing::new(bytes.to_vec()),
                mode: mode | 0o100_000,
            })
        };
        let files = NamedFiles {
            sources: None,
            lists: &|_| Err("no list".to_owned()),
            private: is_read.then_some(&private),
            asked: &[],
        };
        let loaded = load_with(&Flags::default(), Some((Path::new("f.toml"), text)), &[], files);
        let loaded = loaded.map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            lines.join("\n")
        });
        Ok(loaded?.config)
    }

    fn listener(mode: &str) -> String {
        format!("\n[[listener]]\naddress = \"192.0.2.1:123\"\nauthentication = \"{mode}\"\n")
    }

    fn file(name: &str, more: &str) -> String {
        format!("[symmetric-keys]\nfile = \"/{name}\"\n{more}")
    }

    fn ids(table: Option<&Arc<KeyTable>>) -> Vec<u32> {
        let keys = table.into_iter().flat_map(|table| table.keys());
        keys.map(|key| key.id().get()).collect()
    }

    #[test]
    fn keys_are_those_of_the_file_that_are_trusted() {
        for (text, expected) in [
            (file("keys", ""), vec![7, 8]),
            (file("keys", "trusted = [\"8\"]\n"), vec![8]),
            (file("keys", "trusted = [\"1-7\", \"8\"]\n"), vec![7, 8]),
            (file("md5", "allow-md5 = true\n"), vec![9]),
            (file("empty", ""), vec![]),
            (String::new(), vec![]),
        ] {
            let config = load(&text, true).unwrap();
            assert_eq!(ids(config.symmetric_keys.table.as_ref()), expected, "{text}");
            let policy = &config.listeners[0].policy;
            assert_eq!(ids(policy.keys.as_ref()), expected);
            assert_eq!(policy.keys.is_some(), text.contains("file"));
        }
    }

    #[test]
    fn listeners_have_them_unless_they_ignore_macs() {
        for (mode, has_keys) in [("accept", true), ("require", true), ("off", false)] {
            let config = load(&(file("keys", "") + &listener(mode)), true).unwrap();
            let policy = &config.listeners[0].policy;
            assert_eq!(
                (policy.authentication.name(), policy.keys.is_some()),
                (mode, has_keys)
            );
        }
    }

    #[test]
    fn upstreams_have_theirs() {
        let upstream = "[[upstream]]\naddress = \"192.0.2.9\"\nkey = 8\n";
        let config = load(&file("keys", upstream), true).unwrap();
        assert_eq!(
            config.upstreams[0].key.as_ref().map(|key| key.id().get()),
            Some(8)
        );
        let without = load(&file("keys", &upstream.replace('8', "0")), true).unwrap();
        assert_eq!(without.upstreams[0].key, None);
        assert_ne!(config.upstreams[0].endpoint(), without.upstreams[0].endpoint());
    }

    /// Users without a right to the keys may ask for the status.
    #[test]
    fn without_the_file_there_are_no_keys_and_no_faults() {
        let upstream = "[[upstream]]\naddress = \"192.0.2.9\"\nkey = 99\n";
        let text = file("absent", upstream) + &listener("require");
        let config = load(&text, false).unwrap();
        assert_eq!(config.symmetric_keys.table, None);
        assert_eq!(config.upstreams[0].key, None);
    }

    #[test]
    fn each_fault_has_its_place_and_its_remedy_and_never_a_secret() {
        let upstream = "[[upstream]]\naddress = \"192.0.2.9\"\nkey = 9\n";
        for (text, expected) in [
            (
                file("absent", ""),
                "f.toml:2:8: symmetric-keys.file: /absent: cannot open: no such file",
            ),
            (
                file("open", ""),
                "f.toml:2:8: symmetric-keys.file: /open: others can access it: its mode is 0644; `chmod 640 /open`, and `chgrp` it to the user's group",
            ),
            (
                file("latin", ""),
                "f.toml:2:8: symmetric-keys.file: /latin: is not text in UTF-8",
            ),
            (
                file("wrong", ""),
                "/wrong:1:1: there is no key; a line is: IDENTIFIER [TYPE] KEY\n\
                 /wrong:3:1: the key has 5 bytes, a key of type AES128 has 16; write it as HEX: and 32 digits\n\
                 /wrong:5:1: the identifier is already used in line 4",
            ),
            (
                file("md5", ""),
                "/md5:1:1: MD5 is not safe (RFC 8573), and not allowed here; use AES128 at both ends, or set symmetric-keys.allow-md5 = true",
            ),
            (
                file("keys", "trusted = [\"7\", \"9-20\"]\n"),
                "f.toml:3:17: symmetric-keys.trusted: found \"9-20\", expected a key of symmetric-keys.file",
            ),
            (
                file("keys", upstream),
                "f.toml:5:7: upstream[1].key: found 9, expected a key of /keys that symmetric-keys.trusted does not exclude",
            ),
            (
                file(
                    "keys",
                    &format!("trusted = [\"7\"]\n{}", upstream.replace("= 9", "= 8")),
                ),
                "f.toml:6:7: upstream[1].key: found 8, expected a key of /keys that symmetric-keys.trusted does not exclude",
            ),
            (
                upstream.to_owned(),
                "f.toml:3:7: upstream[1].key: found 9, expected a key, and a file that has it; name the file with symmetric-keys.file",
            ),
            (
                listener("require"),
                "f.toml:4:18: listener[1].authentication: found \"require\", expected \"accept\" or \"off\" without [symmetric-keys]; set symmetric-keys.file; where clients have NTS alone, require that with nts = \"require\"",
            ),
        ] {
            let told = load(&text, true).unwrap_err();
            let told = told.replace("\"\"", "\"");
            assert_eq!(told, expected, "{text}");
            assert!(!told.contains("secret"), "{told}");
        }
        // A fault of the keys is no fault of those who name one.
        let told = load(&file("open", upstream), true).unwrap_err();
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}
