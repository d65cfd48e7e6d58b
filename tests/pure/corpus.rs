//! Replays the fuzz targets' corpora through the very functions that are fuzzed.

#[path = "../fuzz/checks.rs"]
mod checks;
#[path = "../fuzz/history_checks.rs"]
mod history_checks;
#[path = "../fuzz/nts_checks.rs"]
mod nts_checks;

use std::path::Path;

/// Calls `check` with every file of a corpus.
fn replay(target: &str, check: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        check(&std::fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count >= 20, "{count} files in {}", directory.display());
}

#[test]
fn packets() {
    replay("packet", checks::packet);
}

#[test]
fn extension_fields() {
    replay("extension", checks::extension);
}

#[test]
fn requests_with_nts() {
    replay("nts", checks::nts);
}

#[test]
fn replies_with_nts() {
    replay("nts_reply", checks::nts_reply);
}

#[test]
fn key_establishments() {
    replay("ke", checks::ke);
}

#[test]
fn macs_and_key_files() {
    replay("mac", checks::mac);
}

#[test]
fn answers_to_damaged_requests() {
    replay("nts_answer", nts_checks::nts_answer);
}

#[test]
fn whole_key_establishments() {
    replay("ke_session", nts_checks::ke_session);
}

#[test]
fn both_ciphers() {
    replay("ciphers", nts_checks::ciphers);
}

#[test]
fn files_of_the_record() {
    replay("history", history_checks::history);
}

#[test]
fn configurations() {
    replay("config", checks::config);
}
