//! Impure. The only reader of randomness.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the one room that reads randomness"
)]

use std::io;

/// Sixty-four bits that nobody can guess.
///
/// # Errors
/// Where the kernel gives no randomness (before `getrandom` existed, or forbidden by a filter).
pub fn random() -> io::Result<u64> {
    getrandom::u64().map_err(io::Error::from)
}
