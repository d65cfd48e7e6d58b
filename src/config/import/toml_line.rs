//! Pure. Lines of TOML.

/// Writes a number of hours, in days if they are whole.
pub(super) fn hours(hours: u32) -> String {
    match hours % 24 {
        0 => format!("{}d", hours / 24),
        _ => format!("{hours}h"),
    }
}

/// Writes a key with its value, as it is in TOML; an empty text without one.
pub(super) fn line(key: &str, value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(String::new, |value| format!("{key} = {value}\n"))
}
