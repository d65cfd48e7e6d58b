//! Fuzzes `nts_checks::nts_answer`.
#![no_main]

#[allow(dead_code, reason = "the other targets use the rest")]
#[path = "../nts_checks.rs"]
mod nts_checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nts_checks::nts_answer(bytes));
