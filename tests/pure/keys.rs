//! Proves the rows of the keys: each key takes what its row says and nothing beyond, and each value has an effect; the text of
//! a row has the range or the words; and what flags and other documents say of keys is what their rows say.

use std::path::Path;

use ntpfront::cli::{Flags, definition};
use ntpfront::config::check::{CheckReport, CheckResult};
use ntpfront::config::keys::tables;
use ntpfront::config::kind::KeyType;
use ntpfront::config::row::{Applied, Key, Table};
use ntpfront::config::{Fault, Loaded, NamedFiles, PrivateFile, load_with};
use zeroize::Zeroizing;

use crate::common::samples::samples;

fn load(text: &str) -> Result<Loaded, Vec<Fault>> {
    let list = |path: &Path| {
        let is_list = path.extension().is_none();
        let pem = &b"-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n"[..];
        let text = if is_list { &b"198.51.100.0/24\n"[..] } else { pem };
        Ok(Box::new(text) as Box<dyn std::io::BufRead>)
    };
    let private = |_: &Path, _: u64| {
        Ok(PrivateFile {
            bytes: Zeroizing::new(b"7 SHA1 secret\n4294967295 SHA1 x\n".to_vec()),
            mode: 0o600,
        })
    };
    let files = NamedFiles {
        sources: Some(&|_| Ok(vec![("/somewhere/x.sources".into(), Ok("192.0.2.77".to_owned()))])),
        lists: &list,
        private: Some(&private),
        asked: &[],
    };
    load_with(&Flags::default(), Some((Path::new("f"), text)), &[], files)
}

/// Every key with its path, as in `listener.limit.burst`.
fn keys() -> Vec<(String, Key)> {
    fn of(table: &Table, name: &str) -> Vec<(String, Key)> {
        let own = table
            .keys
            .iter()
            .map(|key| (format!("{name}.{}", key.name), key.clone()));
        let inner = table
            .tables
            .iter()
            .flat_map(|inner| of(inner, &format!("{name}.{}", inner.name())));
        own.chain(inner).collect()
    }
    tables()
        .iter()
        .flat_map(|table| of(table, table.name()))
        .collect()
}

fn key(path: &str) -> Key {
    let found = keys().into_iter().find(|(known, _)| known == path);
    found.unwrap_or_else(|| panic!("no key {path}")).1
}

#[test]
fn each_key_takes_what_its_row_says_and_nothing_beyond() {
    let samples = samples();
    assert!(samples.len() > 300, "only {}", samples.len());
    for sample in samples {
        match (load(&sample.text), sample.is_good) {
            (Ok(_), true) => {}
            (Ok(_), false) => panic!("{} takes {}", sample.key, sample.value),
            (Err(faults), true) => panic!("{}\n{faults:#?}", sample.text),
            (Err(faults), false) => {
                // The fault is at the value, or at the item of it that is wrong.
                let path = sample
                    .key
                    .replace("listener.", "listener[1].")
                    .replace("upstream.", "upstream[1].");
                let [fault] = faults.as_slice() else {
                    panic!("{faults:#?}\n{}", sample.text)
                };
                assert_eq!(fault.key, path, "{fault}");
                assert!(!fault.expected.is_empty(), "{fault}");
                let range = key(&sample.key).range().replace(" to ", " and ");
                assert!(
                    fault.expected.replace(" to ", " and ").contains(&range),
                    "{fault}"
                );
            }
        }
    }
}

/// What one more value changes: the configuration, and only with a restart where the table says so.
#[test]
fn each_key_has_an_effect() {
    let applied = |path: &str| {
        let name = path.split('.').next();
        let table = tables().into_iter().find(|table| Some(table.name()) == name);
        table.unwrap().applied
    };
    let mut without: Vec<String> = keys().into_iter().map(|(path, _)| path).collect();
    for sample in samples().iter().filter(|sample| sample.is_good) {
        let name = sample.key.rsplit('.').next().unwrap();
        let base = sample
            .text
            .replacen(&format!("\n{name} = {}\n", sample.value), "\n", 1);
        assert_ne!(base, sample.text);
        let Ok(base) = load(&base) else {
            // A listener or an upstream is nothing without its address.
            assert_eq!(name, "address", "{base}");
            without.retain(|path| *path != sample.key);
            continue;
        };
        let with = load(&sample.text);
        if with.as_ref().unwrap().config == base.config {
            continue;
        }
        let report = CheckReport::against(&base.config, &with, false);
        let expected = match (applied(&sample.key), sample.key.as_str()) {
            // Only commands read them.
            (_, "history.limits") => CheckResult::Accepted,
            // The upstream is polled after a reload, but the sandbox forbids a new port. The samples have no fast path
            // before, and only a restart begins one.
            (Applied::Restart, _) | (_, "upstream.ke-port" | "fast-path.interfaces" | "fast-path.mode") => {
                CheckResult::NeedsRestart
            }
            (Applied::Reload, _) => CheckResult::Accepted,
        };
        assert_eq!(report.result, expected, "{}: {}", sample.key, report.summary);
        without.retain(|path| *path != sample.key);
    }
    assert!(
        without.is_empty(),
        "no value of these changes anything: {without:?}"
    );
}

#[test]
fn the_text_of_a_row_has_the_range_or_the_words() {
    for table in tables() {
        let all: String = table.keys.iter().map(|key| format!("{}\n", key.doc)).collect();
        assert!(
            table.keys.first().is_some_and(|key| !key.doc.is_empty()),
            "{}",
            table.head
        );
        assert!(
            !all.contains(['{', '}']),
            "{}: a name that is not known: {all}",
            table.head
        );
        for key in &table.keys {
            assert!(all.contains(&key.range()), "{}: {all}", key.name);
            if let KeyType::Word(words) = &key.key_type {
                let said = words.iter().all(|word| key.doc.contains(&format!("\"{word}\"")));
                assert!(said, "{}: {words:?} in {}", key.name, key.doc);
            }
        }
    }
}

/// The flags that say the same as a key, each with what its default is to people who give neither.
const FLAGS: [(&str, &str, Default); 10] = [
    ("ipv4-workers", "listener.workers", Default::OfRow),
    ("ipv6-workers", "listener.workers", Default::OfRow),
    ("ipv4-address", "listener.address", Default::OfRow),
    ("ipv6-address", "listener.address", Default::Other("[::]:123")),
    ("upstream", "upstream.address", Default::OfRow),
    (
        "min-sources",
        "clock.min-sources",
        Default::Other("2 of three or more, or else 1"),
    ),
    ("user", "process.user", Default::NotSet),
    ("chroot", "process.chroot", Default::NotSet),
    ("debug", "log.level", Default::OfRow),
    ("log-format", "log.format", Default::OfRow),
];

enum Default {
    /// What its row says.
    OfRow,
    /// Another one: of a second table that there is by default, or one that depends on other keys.
    Other(&'static str),
    /// None.
    NotSet,
}

fn default_of(path: &str, default: &Default) -> Option<String> {
    let of_row = key(path).default.map(|value| value.trim_matches('"').to_owned());
    match default {
        Default::OfRow => Some(of_row.unwrap()),
        Default::Other(text) => Some((*text).to_owned()),
        Default::NotSet => {
            assert_eq!(of_row, None, "{path}");
            None
        }
    }
}

#[test]
fn flags_say_what_the_rows_of_their_keys_say() {
    let definition = definition();
    for (flag, path, default) in &FLAGS {
        let argument = definition
            .get_arguments()
            .find(|argument| argument.get_long() == Some(flag));
        let help = argument.unwrap().get_help().unwrap().to_string();
        if *flag == "debug" {
            assert!(matches!(key(path).key_type, KeyType::Word(words) if words.contains(&"debug")));
            assert!(help.contains(&format!("{path} = \"debug\"")), "{help}");
            continue;
        }
        if let Some(default) = default_of(path, default) {
            assert!(
                help.ends_with(&format!("[default: {default}]")),
                "{flag}: {default}: {help}"
            );
        }
        if let KeyType::Integer { least, most } = key(path).key_type {
            // No worker of a family may be asked for, too.
            let least = if flag.ends_with("workers") { 0 } else { least };
            assert!(help.contains(&format!(", {least} to {most};")), "{flag}: {help}");
        }
    }
}

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging/doc")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_table_of_flags_says_what_the_rows_say() {
    let text = document("configuration.md");
    let rows = text.lines().filter(|line| line.starts_with("| `-"));
    let rows: Vec<Vec<&str>> = rows
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    for (flag, path, default) in &FLAGS {
        let named = |row: &&Vec<&str>| row[1].contains(&format!("`--{flag}`"));
        let row = rows
            .iter()
            .find(named)
            .unwrap_or_else(|| panic!("no row of --{flag}"));
        assert_eq!(row[2], format!("`{path}`"), "{flag}");
        if let Some(default) = default_of(path, default) {
            assert_eq!(row[4], default, "{flag}");
        }
    }
    let files = rows.iter().filter(|row| row[2].is_empty()).count();
    assert_eq!(rows.len(), FLAGS.len() + files, "a row without a flag");
    assert_eq!(files, 1, "only -c has no key");
}

#[test]
fn the_document_of_reloads_names_what_needs_a_restart() {
    let text = document("reload.md");
    let (_, said) = text
        .split_once("**Only a restart** applies changes to the keys of")
        .unwrap();
    let (said, _) = said.split_once(". ").or_else(|| said.split_once(".\n")).unwrap();
    for table in tables() {
        let is_named = said.contains(&format!("`{}`", table.head));
        assert_eq!(
            is_named,
            table.applied == Applied::Restart,
            "{} in {said}",
            table.head
        );
    }
}
