//! Proves that the walls between the rooms of `src/` stand: which room may use which, which files are pure, where
//! `unsafe` may be, and how comments are written. It reads the source, and proves on bad samples that it would see
//! them.

use std::path::{Path, PathBuf};

/// Each room and the rooms of ours that it may use. `lib.rs` and `main.rs` are no rooms: one is the map, the
/// other starts the supervisor.
const ARROWS: [(&str, &[&str]); 22] = [
    ("hash", &[]),
    ("published", &[]),
    ("time", &[]),
    ("cli", &[]),
    ("log", &[]),
    ("wire", &["time"]),
    ("host", &["time"]),
    ("nts", &["wire"]),
    ("symmetric", &["wire"]),
    ("ke", &["host", "log", "nts"]),
    ("leap", &["time", "wire"]),
    ("clock", &["published", "time", "wire", "leap"]),
    ("census", &["hash", "published", "time", "host"]),
    (
        "server",
        &[
            "hash",
            "published",
            "time",
            "wire",
            "nts",
            "leap",
            "symmetric",
            "clock",
            "census",
            "host",
            "log",
        ],
    ),
    (
        "upstream",
        &["time", "wire", "nts", "symmetric", "leap", "clock", "host", "log"],
    ),
    (
        "observe",
        &[
            "time", "wire", "log", "leap", "clock", "census", "server", "upstream", "nts", "ke",
        ],
    ),
    (
        "fast_path",
        &["time", "wire", "clock", "census", "server", "host", "observe"],
    ),
    (
        "config",
        &[
            "cli",
            "time",
            "wire",
            "leap",
            "nts",
            "symmetric",
            "host",
            "census",
            "server",
            "fast_path",
            "upstream",
            "log",
            "nts",
            "ke",
            "history",
        ],
    ),
    (
        "history",
        &["time", "leap", "host", "log", "server", "upstream", "observe"],
    ),
    (
        "control",
        &["host", "log", "census", "observe", "config", "history"],
    ),
    (
        "supervisor",
        &[
            "time",
            "wire",
            "nts",
            "host",
            "cli",
            "log",
            "leap",
            "clock",
            "census",
            "server",
            "fast_path",
            "upstream",
            "observe",
            "config",
            "control",
            "history",
            "nts",
            "ke",
        ],
    ),
    (
        "commands",
        &[
            "time",
            "wire",
            "leap",
            "clock",
            "census",
            "server",
            "cli",
            "log",
            "nts",
            "wire",
            "host",
            "fast_path",
            "upstream",
            "observe",
            "config",
            "control",
            "history",
            "supervisor",
            "nts",
        ],
    ),
];

/// Rooms that may use only a part of another one: from which, of which, and what. The fast path is driven by the
/// supervisor alone; others know what can be asked for. `trusted` is of `upstream::nts`. The census asks the host for
/// memory, and to load it ahead, only.
const NARROW: [(&str, &str, &[&str]); 4] = [
    ("census", "host", &["large_table", "prefetch"]),
    (
        "config",
        "fast_path",
        &["AVAILABLE", "AttachMode", "MOST_INTERFACES"],
    ),
    ("commands", "fast_path", &["requirements"]),
    ("commands", "nts", &["ke", "secret_file", "trusted"]),
];

/// What a pure file never names: sockets, threads, files, processes, clocks, randomness, the log.
const IMPURE: [&str; 23] = [
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "thread::",
    "fs::",
    "SystemTime",
    "Instant",
    "tokio",
    "tracing",
    "nix",
    "libc",
    "getrandom",
    "crate::host::clock",
    "Mutex",
    "RwLock",
    "std::sync::atomic",
];

/// The only place with `unsafe`: this file, and what is in its folder.
const UNSAFE: &str = "host/sys";

/// A file of `src/`, its path relative to it.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The room that it belongs to; none for the crate's own two files.
    pub(crate) fn room(&self) -> Option<&str> {
        let first = self.path.split('/').next().unwrap();
        let room = first.strip_suffix(".rs").unwrap_or(first);
        (!matches!(room, "lib" | "main")).then_some(room)
    }

    /// May it go without saying whether it is pure? Files of declarations, the map and the thin shell may.
    fn is_free(&self) -> bool {
        self.path.ends_with("mod.rs") || self.room().is_none()
    }

    fn is_pure(&self) -> bool {
        self.text.starts_with("//! Pure.")
    }

    /// The code without comments.
    fn code(&self) -> String {
        let lines = self.text.lines().map(|line| line.split("//").next().unwrap());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The code that ships: tests come last in a file.
    fn shipped(&self) -> String {
        let code = self.code();
        code.split("#[cfg(test)]").next().unwrap().to_owned()
    }
}

pub(crate) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    gather(&root, &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| Source {
            text: std::fs::read_to_string(&path).unwrap(),
            path: path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(),
        })
        .collect()
}

pub(crate) fn gather(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The names at the place of `_` in `crate::_`, `crate::{_, _::more}` and, for the way around, `super::super::_`.
fn rooms_named(code: &str) -> Vec<String> {
    let mut named = Vec::new();
    for way in ["crate::", "super::super::"] {
        for (at, _) in code.match_indices(way) {
            let inside_a_word =
                code[..at].ends_with(|before: char| before == '_' || before.is_alphanumeric());
            if !inside_a_word {
                named.extend(first_names(&code[at + way.len()..]));
            }
        }
    }
    named
}

/// The identifier at the start of `path`, or each one at the top of its braces.
fn first_names(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        return vec![identifier(path)];
    };
    let mut depth = 0;
    let mut names = vec![identifier(group)];
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(identifier(&group[at + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn identifier(text: &str) -> String {
    text.trim_start()
        .chars()
        .take_while(|character| *character == '_' || character.is_alphanumeric())
        .collect()
}

/// Is `word` in `code`, not as a part of a longer name?
fn names(code: &str, word: &str) -> bool {
    let part_of_name = |character: char| character == '_' || character.is_alphanumeric();
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(part_of_name) && (word.ends_with(':') || !after.is_some_and(part_of_name))
    })
}

/// Everything that is wrong with `source`.
fn faults(source: &Source) -> Vec<String> {
    let mut faults = arrows(source);
    faults.extend(narrowness(source));
    faults.extend(purity(source));
    faults.extend(unsafety(source));
    faults
        .into_iter()
        .map(|fault| format!("src/{}: {fault}", source.path))
        .collect()
}

fn arrows(source: &Source) -> Vec<String> {
    let Some(room) = source.room() else {
        return Vec::new();
    };
    let Some((_, may)) = ARROWS.iter().find(|(name, _)| *name == room) else {
        return vec![format!("room {room} has no line in ARROWS")];
    };
    rooms_named(&source.code())
        .into_iter()
        .filter(|named| ARROWS.iter().any(|(name, _)| name == named))
        .filter(|named| named != room && !may.contains(&named.as_str()))
        .map(|named| format!("{room} may not use {named}"))
        .collect()
}

/// The uses of another room that go beyond the part of it that `source` may use.
fn narrowness(source: &Source) -> Vec<String> {
    let code = source.code();
    let mut faults = Vec::new();
    for (_, other, part) in NARROW.iter().filter(|(room, ..)| source.room() == Some(room)) {
        // Also where the room itself was brought in, as in `fast_path::AVAILABLE`; not where that is a module beside.
        let has_its_own = names(&code, &format!("mod {other}"));
        let way = format!("{}{other}::", if has_its_own { "crate::" } else { "" });
        let whole = code.match_indices(&way).filter(|(at, _)| {
            !code[..*at].ends_with(|before: char| before == '_' || before.is_alphanumeric())
        });
        let used = whole.flat_map(|(at, _)| first_names(&code[at + way.len()..]));
        let beyond = used.filter(|name| name != "self" && !part.contains(&name.as_str()));
        faults.extend(beyond.map(|name| format!("only a part of {other} is for it, and {name} is not")));
    }
    faults
}

fn purity(source: &Source) -> Vec<String> {
    let says = source.is_pure() || source.text.starts_with("//! Impure.");
    if !says && !source.is_free() {
        return vec!["the first line says neither `//! Pure.` nor `//! Impure.`".to_owned()];
    }
    let first = source
        .text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("//! "));
    if !says && first.is_none_or(|sentence| sentence.split_whitespace().count() < 2) {
        return vec!["the first line doesn't say what is in here".to_owned()];
    }
    if !source.is_pure() {
        return Vec::new();
    }
    let code = source.shipped();
    IMPURE
        .iter()
        .filter(|word| names(&code, word))
        .map(|word| format!("is pure and names {word}"))
        .collect()
}

fn unsafety(source: &Source) -> Vec<String> {
    let rest = source.path.strip_prefix(UNSAFE);
    let may = rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'));
    if may || !names(&source.code(), "unsafe") {
        return Vec::new();
    }
    vec![format!("unsafe is for {UNSAFE} alone")]
}

#[test]
fn the_walls_stand() {
    let sources = sources();
    assert!(sources.len() > 10, "the source is not where it was");
    let faults: Vec<_> = sources.iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_room_that_is_there_has_a_line_and_every_line_a_room() {
    let sources = sources();
    for (room, _) in ARROWS {
        assert!(
            sources.iter().any(|source| source.room() == Some(room)),
            "no room {room}"
        );
    }
}

#[test]
fn it_sees_what_is_wrong() {
    for (path, text, expected) in [
        (
            "wire/a.rs",
            "//! Pure.\nuse crate::clock::Reference;",
            "wire may not use clock",
        ),
        (
            "server/a.rs",
            "//! Pure.\nfn f() -> crate::upstream::X {}",
            "server may not use upstream",
        ),
        (
            "upstream/a.rs",
            "//! Impure.\nuse crate::wire::{A, B};
use crate::server::C;",
            "upstream may not use server",
        ),
        (
            "upstream/a.rs",
            "//! Impure.\nuse crate::{\n    server::C,\n};",
            "upstream may not use server",
        ),
        (
            "host/a.rs",
            "//! Impure.\nuse super::super::wire::Header;",
            "host may not use wire",
        ),
        (
            "server/a.rs",
            "//! Impure.\nuse crate::supervisor::X;",
            "server may not use supervisor",
        ),
        (
            "fast_path/a.rs",
            "//! Impure.\nuse crate::supervisor::listeners::X;",
            "fast_path may not use supervisor",
        ),
        (
            "server/a.rs",
            "//! Pure.\nuse crate::fast_path::AttachMode;",
            "server may not use fast_path",
        ),
        (
            "config/a.rs",
            "//! Pure.\nuse crate::fast_path::{self, AttachMode, driver::Driver};",
            "only a part of fast_path is for it, and driver is not",
        ),
        (
            "commands/a.rs",
            "//! Impure.\nuse crate::fast_path;\nfn f() { fast_path::loader::f() }",
            "only a part of fast_path is for it, and loader is not",
        ),
        (
            "config/a.rs",
            "//! Pure.\nmod fast_path;\nuse crate::fast_path::driver::Driver;",
            "only a part of fast_path is for it, and driver is not",
        ),
        (
            "cli.rs",
            "//! Pure.\nuse crate::config::Config;",
            "cli may not use config",
        ),
        ("new/a.rs", "//! Pure.\n", "room new has no line in ARROWS"),
        (
            "server/a.rs",
            "use std::fmt;",
            "the first line says neither `//! Pure.` nor `//! Impure.`",
        ),
        (
            "server/a.rs",
            "//! Pure.\nuse std::net::{IpAddr, UdpSocket};",
            "is pure and names UdpSocket",
        ),
        (
            "server/a.rs",
            "//! Pure.\nuse tokio::net;",
            "is pure and names tokio",
        ),
        (
            "server/a.rs",
            "//! Pure.\nfn f() { tracing::info!(\"x\"); }",
            "is pure and names tracing",
        ),
        (
            "wire/mod.rs",
            "//! Pure.\nuse std::time::Instant;",
            "is pure and names Instant",
        ),
        (
            "host/udp.rs",
            "//! Impure.\nunsafe fn f() {}",
            "unsafe is for host/sys alone",
        ),
        (
            "wire/mod.rs",
            "use std::fmt;",
            "the first line doesn't say what is in here",
        ),
        (
            "main.rs",
            "//!\nuse std::fmt;",
            "the first line doesn't say what is in here",
        ),
    ] {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let found = faults(&source);
        assert!(
            found.iter().any(|fault| fault.ends_with(expected)),
            "{path}: {found:?}"
        );
    }
}

#[test]
fn it_does_not_see_what_is_right() {
    for (path, text) in [
        (
            "server/a.rs",
            "//! Pure. Not crate::upstream::X.\nuse crate::wire::A; // unsafe, tokio",
        ),
        (
            "server/a.rs",
            "//! Pure.\nuse std::net::IpAddr;\nlet unix = 1;\nlet nixed = 2;",
        ),
        (
            "server/a.rs",
            "//! Pure.\n#[cfg(test)]\nmod tests { use std::thread; }",
        ),
        ("host/sys.rs", "//! Impure.\nunsafe { f() }"),
        ("main.rs", "//! The shell.\nuse ntpfront::supervisor;"),
        (
            "server/mod.rs",
            "//! The room.\nmod respond;\npub use crate::host::steering::Steering;",
        ),
        (
            "config/a.rs",
            "//! Pure.\nuse crate::fast_path::{self, AttachMode};\nconst A: bool = fast_path::AVAILABLE;",
        ),
        (
            "config/a.rs",
            "//! Pure.\nmod fast_path;\npub use fast_path::FastPath;",
        ),
        (
            "config/a.rs",
            "//! Pure.\n#![deny(unsafe_code)]\nuse super::fault::QueryFault;",
        ),
    ] {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(faults(&source), Vec::<String>::new(), "{path}: {text}");
    }
}
