//! Pure. Texts that several tables have: users and paths.

use std::path::{Path, PathBuf};

use crate::config::address::Refusal;
use crate::config::effective::quoted;
use crate::config::kind::{Parsed, parsed};

/// Returns the kind of names of users; `None` is not set.
pub(super) fn user() -> Parsed<Option<String>> {
    parsed(
        |text| match text.filter(|text| is_user(text)) {
            Some(name) => Ok(Some(name.to_owned())),
            None => Err(Refusal::new("the name of a user, without ':' and '/'")),
        },
        |name| name.as_deref().map(quoted),
    )
}

/// Returns the kind of absolute paths; `None` is not set.
pub(super) fn path() -> Parsed<Option<PathBuf>> {
    parsed(
        |text| match text.filter(|text| is_absolute(text)) {
            Some(path) => Ok(Some(path.into())),
            None => Err(Refusal::new("an absolute path without control characters")),
        },
        |path| path.as_deref().map(shown),
    )
}

/// Returns the kind of absolute paths where the empty text is `None`.
///
/// A key that is left out has its default.
pub(super) fn path_or_none() -> Parsed<Option<PathBuf>> {
    parsed(
        |text| match text {
            Some("") => Ok(None),
            Some(path) if is_absolute(path) => Ok(Some(path.into())),
            Some(_) | None => Err(Refusal::new(
                "an absolute path without control characters, or \"\" for none",
            )),
        },
        |path| Some(path.as_deref().map_or_else(|| quoted(""), shown)),
    )
}

fn shown(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// Whether `name` can be the first field of a line of passwd(5).
fn is_user(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_control() || matches!(c, ':' | '/'))
}

/// Whether the path is absolute and safe to print.
pub(super) fn is_absolute(path: &str) -> bool {
    Path::new(path).is_absolute() && !path.contains(char::is_control)
}
