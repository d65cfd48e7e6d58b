//! Impure. The only reader of randomness.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the one room that reads randomness"
)]

use std::io;

/// Returns 64 unpredictable bits.
///
/// # Errors
/// The kernel gives no randomness: it is older than `getrandom`, or a filter forbids it.
pub fn random() -> io::Result<u64> {
    getrandom::u64().map_err(io::Error::from)
}

/// Returns unpredictable bytes.
///
/// # Errors
/// As [`random`].
pub fn bytes<const LENGTH: usize>() -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
