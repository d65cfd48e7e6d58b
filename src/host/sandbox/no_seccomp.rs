//! Pure. The replacement for `seccomp` on architectures that the filter compiler doesn't know.

use std::fmt;

use super::NeededCalls;

/// The error that there are no filters.
#[derive(Debug)]
pub struct FilterError;

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not available for this architecture")
    }
}

impl std::error::Error for FilterError {}

/// Applies no filter.
///
/// # Errors
/// Always.
pub fn limit_process(_: NeededCalls) -> Result<(), FilterError> {
    Err(FilterError)
}

/// Applies no filter.
///
/// # Errors
/// Never: the process has no filter either.
pub fn limit_worker() -> Result<(), FilterError> {
    Ok(())
}

/// Applies no filter.
///
/// # Errors
/// Never: the process has no filter either.
pub fn limit_key_establishment() -> Result<(), FilterError> {
    Ok(())
}

/// Applies no filter.
///
/// # Errors
/// Never: the process has no filter either.
pub fn limit_recorder() -> Result<(), FilterError> {
    Ok(())
}

/// Applies no filter.
///
/// # Errors
/// Never: this process can hardly do more than its filter would permit.
pub fn limit_opener() -> Result<(), FilterError> {
    Ok(())
}
