//! Pure. The text of a configuration file, and the places in it.

use std::ops::Range;
use std::path::Path;

use super::fault::{Fault, Place};

/// The text of a file; lines and columns count from 1, columns in characters.
#[derive(Debug)]
pub(super) struct Source<'a> {
    path: &'a Path,
    text: &'a str,
    /// The offset of each line, so that a place is found without another reading of the file from its start.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            path,
            text,
            lines: std::iter::once(0).chain(after_breaks).collect(),
        }
    }

    pub(super) fn path(&self) -> &'a Path {
        self.path
    }

    /// Returns the text at these bytes, as it was written.
    pub(super) fn excerpt(&self, span: &Range<usize>) -> &'a str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// Returns the place of a byte.
    pub(super) fn place(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|&start| start <= offset);
        let start = line
            .checked_sub(1)
            .and_then(|index| self.lines.get(index))
            .copied()
            .unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or_default();
        Place::File {
            path: self.path.to_owned(),
            line,
            column: before.chars().count() + 1,
        }
    }
}

/// Returns the bytes of a file as text, without a byte order mark.
///
/// # Errors
/// The bytes are no UTF-8, or one is NUL: the place of the first such byte.
pub fn decode(path: &Path, bytes: Vec<u8>) -> Result<String, Vec<Fault>> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let byte = error.as_bytes().get(good).copied().unwrap_or_default();
        let before = String::from_utf8_lossy(error.as_bytes().get(..good).unwrap_or_default());
        no_text(path, &before, format!("the byte 0x{byte:02x}"))
    })?;
    if let Some(at) = text.find('\0') {
        return Err(no_text(
            path,
            text.get(..at).unwrap_or_default(),
            "a NUL byte".to_owned(),
        ));
    }
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn no_text(path: &Path, before: &str, found: String) -> Vec<Fault> {
    vec![Fault {
        place: Source::new(path, before).place(before.len()),
        key: String::new(),
        found,
        expected: "text in UTF-8".to_owned(),
        hint: None,
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, offset: usize) -> String {
        Source::new(Path::new("f"), text).place(offset).to_string()
    }

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        for (text, offset, expected) in [
            ("", 0, "f:1:1"),
            ("abc", 2, "f:1:3"),
            ("abc\n", 3, "f:1:4"),
            ("abc\n", 4, "f:2:1"),
            ("a\r\nb = 1", 7, "f:2:5"),
            ("é = 1\nüü = 2", 12, "f:2:4"),
            ("short", 99, "f:1:1"),
        ] {
            assert_eq!(place(text, offset), expected, "{text:?} {offset}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_placed() {
        let fault = |bytes: &[u8]| decode(Path::new("f"), bytes.to_vec()).unwrap_err()[0].to_string();
        assert_eq!(
            fault(b"a\nb\xff"),
            "f:2:2: found the byte 0xff, expected text in UTF-8"
        );
        assert_eq!(fault(b"a\0"), "f:1:2: found a NUL byte, expected text in UTF-8");
        assert_eq!(
            fault(b"\xc3"),
            "f:1:1: found the byte 0xc3, expected text in UTF-8"
        );
        assert_eq!(
            decode(Path::new("f"), b"\xef\xbb\xbfa = 1".to_vec()).unwrap(),
            "a = 1"
        );
    }
}
