//! Impure. The list of leap seconds, read by a command.

use std::fs;
use std::path::Path;

use crate::leap::LeapTable;

/// Reads the list at `path`, current or not.
///
/// # Errors
/// The reason why there is none, in words.
pub(super) fn read(path: &Path) -> Result<LeapTable, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    LeapTable::parse(&text)
}
