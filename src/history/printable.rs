//! Pure. Texts of the record as a terminal may show them.

/// Returns the text with `?` in the place of control characters: a record that was changed could have orders for a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}
