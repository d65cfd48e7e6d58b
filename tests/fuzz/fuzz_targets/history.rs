//! Fuzzes `history_checks::history`.
#![no_main]

#[path = "../history_checks.rs"]
mod history_checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| history_checks::history(bytes));
