//! Configurations as an operator meets them: files that are wrong, each with all that is said about it.
//!
//! `tests/bad-configs/NAME.toml` must give exactly `NAME.expected`. After a change of words,
//! `NTPFRONT_EXPECT=write cargo test --test config` writes them anew (and fails): then read the diff.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "in tests a failed expectation is the point; clippy's own switch for that knows only #[test] functions"
)]

use std::fs;
use std::path::{Path, PathBuf};

use ntpfront::cli::Flags;
use ntpfront::config::{commands, file};

fn flags(path: &Path) -> Flags {
    Flags {
        config: Some(path.to_owned()),
        ..Flags::default()
    }
}

/// What `ntpfront check -c PATH` says.
fn check(path: &Path) -> commands::Answer {
    commands::check(&file::load(&flags(path)))
}

#[test]
fn every_bad_file_gets_its_faults() {
    let mut paths: Vec<PathBuf> = fs::read_dir("tests/bad-configs")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(paths.len() >= 40, "only {} bad files", paths.len());
    let wrong: Vec<String> = paths.iter().filter_map(|path| differs(path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn differs(path: &Path) -> Option<String> {
    let answer = check(path);
    assert_eq!(
        (answer.status, answer.out.as_str()),
        (2, ""),
        "{} has no fault",
        path.display()
    );
    let beside = path.with_extension("expected");
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    if answer.err == expected {
        return None;
    }
    if std::env::var_os("NTPFRONT_EXPECT").is_some_and(|wish| wish == "write") {
        fs::write(&beside, &answer.err).unwrap();
    }
    Some(format!(
        "{}:\n{}instead of:\n{expected}",
        path.display(),
        answer.err
    ))
}
