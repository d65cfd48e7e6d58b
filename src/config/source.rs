//! Pure. The texts of a configuration, and the places in them.

use std::ops::Range;
use std::path::Path;

use super::fault::{Fault, Place};

/// The texts of the files of a configuration, one behind the other; lines and columns count from 1, columns in characters.
///
/// An offset counts in all of them: each file begins one byte behind the end of the one before.
#[derive(Debug)]
pub(super) struct Source<'a> {
    files: Vec<SourceFile<'a>>,
}

#[derive(Debug)]
struct SourceFile<'a> {
    path: &'a Path,
    text: &'a str,
    /// The offset of its first byte.
    start: usize,
    /// The offset of each line in it, so that a place is found without another reading of the file from its start.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(files: impl IntoIterator<Item = (&'a Path, &'a str)>) -> Self {
        let mut next = 0;
        let files = files.into_iter().map(|(path, text)| {
            let start = next;
            next += text.len() + 1;
            let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
            SourceFile {
                path,
                text,
                start,
                lines: std::iter::once(0).chain(after_breaks).collect(),
            }
        });
        Self {
            files: files.collect(),
        }
    }

    /// Returns each text with the offset of its first byte.
    pub(super) fn texts(&self) -> impl Iterator<Item = (usize, &'a str)> {
        self.files.iter().map(|file| (file.start, file.text))
    }

    /// Returns the text at these bytes, as it was written.
    pub(super) fn excerpt(&self, span: &Range<usize>) -> &'a str {
        let Some(file) = self.file(span.start) else {
            return "";
        };
        let in_file = span.start - file.start..span.end.saturating_sub(file.start);
        file.text.get(in_file).unwrap_or_default()
    }

    /// Returns the place of a byte.
    pub(super) fn place(&self, offset: usize) -> Place {
        let Some(file) = self.file(offset) else {
            return Place::Default;
        };
        let offset = offset - file.start;
        let line = file.lines.partition_point(|&start| start <= offset);
        let start = line
            .checked_sub(1)
            .and_then(|index| file.lines.get(index))
            .copied()
            .unwrap_or(0);
        let before = file.text.get(start..offset).unwrap_or_default();
        Place::File {
            path: file.path.to_owned(),
            line,
            column: before.chars().count() + 1,
        }
    }

    fn file(&self, offset: usize) -> Option<&SourceFile<'a>> {
        self.files.iter().rfind(|file| file.start <= offset)
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
        place: Source::new([(path, before)]).place(before.len()),
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
        Source::new([(Path::new("f"), text)]).place(offset).to_string()
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
    fn each_file_has_places_of_its_own() {
        let files = [("a", "x = 1\n"), ("b", ""), ("c", "y =\n  2")];
        let source = Source::new(files.map(|(path, text)| (Path::new(path), text)));
        let starts: Vec<usize> = source.texts().map(|(start, _)| start).collect();
        assert_eq!(starts, [0, 7, 8]);
        for (span, place, excerpt) in [
            (4..5, "a:1:5", "1"),
            (6..6, "a:2:1", ""),
            (7..7, "b:1:1", ""),
            (8..9, "c:1:1", "y"),
            (14..15, "c:2:3", "2"),
        ] {
            assert_eq!(source.place(span.start).to_string(), place);
            assert_eq!(source.excerpt(&span), excerpt);
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
