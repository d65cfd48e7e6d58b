//! Pure. In the place of `seccomp` where the crate that compiles its filters doesn't know the architecture.

use std::fmt;

use super::NeededCalls;

/// There are no filters.
#[derive(Debug)]
pub struct FilterError;

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not known how for this architecture")
    }
}

impl std::error::Error for FilterError {}

/// Puts nothing on.
///
/// # Errors
/// Always.
pub fn limit_process(_: NeededCalls) -> Result<(), FilterError> {
    Err(FilterError)
}

/// Puts nothing on.
///
/// # Errors
/// Never: the process has no filter either.
pub fn limit_worker() -> Result<(), FilterError> {
    Ok(())
}

/// Puts nothing on.
///
/// # Errors
/// Never: what this is for has hardly more to it than that.
pub fn limit_opener() -> Result<(), FilterError> {
    Ok(())
}
