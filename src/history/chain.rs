//! Pure. The proof that the record was not changed: each file begins with the SHA-256 of the one before.
//!
//! It finds a changed bit, and a file that was removed, replaced or renamed. It can't know of files that were removed at
//! either end, nor of a whole record that was made up: so the sum of the last file has to be kept elsewhere.

use std::fmt;

use sha2::{Digest, Sha256};

use super::line::{FORMAT, FileNote, HistoryLine, Note};
use super::members;
use super::printable::printable;
use super::segment::SegmentName;

/// The findings on the files so far.
#[derive(Clone, Debug, Default)]
pub struct ChainCheck {
    files: Vec<FileCheck>,
    faults: Vec<ChainFault>,
}

/// The findings on a file by itself.
#[derive(Clone, Debug)]
pub struct FileCheck {
    name: SegmentName,
    sum: String,
    faults: Vec<ChainFault>,
    lines: u64,
    /// The sum of the file before, by its first line; `None` if that can't be read.
    previous: Option<Option<String>>,
    /// The bytes at its end that are no whole member, if it is the last one.
    torn: usize,
}

/// A fault in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainFault {
    /// The name of the file.
    pub file: SegmentName,
    /// The fault in words.
    pub what: String,
}

/// The result for all files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainResult {
    /// The faults, in the order of the files.
    pub faults: Vec<ChainFault>,
    /// The first and the last file.
    pub ends: Option<(SegmentName, SegmentName)>,
    /// Number of files.
    pub files: usize,
    /// Number of lines.
    pub lines: u64,
    /// SHA-256 of the last file.
    pub head: Option<String>,
    /// The bytes at the end of the last file that were not written to their end.
    pub torn: usize,
}

/// Returns the SHA-256 of bytes in hexadecimal digits.
pub fn sum(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl FileCheck {
    /// Checks a file by itself, and gives each of its lines to `take`.
    ///
    /// Only the last one of a record may end in the middle of a member: the server runs, or was killed.
    pub fn read(name: SegmentName, bytes: &[u8], is_last: bool, take: impl FnMut(&HistoryLine<'_>)) -> Self {
        let content = members::read(bytes);
        let rest = bytes.get(content.whole..).unwrap_or_default();
        let mut check = Self {
            name,
            sum: sum(bytes),
            faults: Vec::new(),
            lines: 0,
            previous: None,
            torn: if is_last { rest.len() } else { 0 },
        };
        if is_last && !members::is_plain(bytes.get(..content.whole).unwrap_or_default()) {
            check.fault("some bits between its members were changed".to_owned());
        }
        if !(rest.is_empty() || is_last && looks_torn(rest)) {
            check.fault(format!(
                "damaged at byte {}: no line behind it can be trusted",
                content.whole
            ));
        }
        let first = check.read_lines(&content.text, take);
        check.check_first(first.as_ref());
        check.previous = first.map(|first| first.previous);
        check
    }

    /// Reads all lines, and returns the first one.
    fn read_lines(&mut self, text: &str, mut take: impl FnMut(&HistoryLine<'_>)) -> Option<FileNote> {
        let mut first = None;
        for text in text.lines() {
            let index = self.lines;
            self.lines += 1;
            let line = match HistoryLine::read(text) {
                Ok(Some(line)) => line,
                Ok(None) => continue,
                Err(error) => {
                    self.fault(format!("line {}: not a line of the record: {error}", self.lines));
                    continue;
                }
            };
            take(&line);
            match line.note {
                Note::File(note) if index == 0 => first = Some(note),
                Note::End(end) if end.lines != index => {
                    self.fault(format!(
                        "line {}: it says that there are {} before it",
                        self.lines, end.lines
                    ));
                }
                Note::File(_)
                | Note::Start(_)
                | Note::Stop
                | Note::Served(_)
                | Note::Sample(_)
                | Note::Standing(_)
                | Note::Change(_)
                | Note::Gap(_)
                | Note::End(_) => {}
            }
        }
        first
    }

    fn check_first(&mut self, first: Option<&FileNote>) {
        match first {
            None => self.fault("it does not begin with the line of a file".to_owned()),
            Some(note) if note.number != self.name.number => {
                self.fault(format!(
                    "its first line has the number {:06}: it was renamed",
                    note.number
                ));
            }
            Some(note) if note.format != FORMAT => {
                self.fault(format!(
                    "its format is {}, and only {FORMAT} is known",
                    note.format
                ));
            }
            Some(_) => {}
        }
    }

    fn fault(&mut self, what: String) {
        self.faults.push(ChainFault {
            file: self.name,
            what: printable(&what),
        });
    }
}

impl ChainCheck {
    /// Adds the findings on the next file: they come in the order of their numbers.
    pub fn add(&mut self, mut next: FileCheck) {
        if let Some(before) = self.files.last()
            && before.name.number.checked_add(1) != Some(next.name.number)
        {
            next.fault(format!(
                "the files from {:06} on are missing before it",
                before.name.number.saturating_add(1)
            ));
        }
        self.faults.append(&mut next.faults);
        self.files.push(next);
    }

    /// Compares the sums, and returns the result.
    pub fn finish(mut self) -> ChainResult {
        let pairs = self.files.iter().zip(self.files.iter().skip(1));
        let broken: Vec<ChainFault> = pairs
            .filter(|(one, next)| one.name.number.checked_add(1) == Some(next.name.number))
            .filter(|(one, next)| {
                let said = next.previous.as_ref();
                said.is_some_and(|said| said.as_ref() != Some(&one.sum))
            })
            .map(|(one, next)| ChainFault {
                file: one.name,
                what: format!("not as it was when {:06} began", next.name.number),
            })
            .collect();
        self.faults.extend(broken);
        self.faults.sort_by_key(|fault| fault.file);
        ChainResult {
            faults: self.faults,
            ends: self
                .files
                .first()
                .map(|file| file.name)
                .zip(self.files.last().map(|file| file.name)),
            files: self.files.len(),
            lines: self.files.iter().map(|file| file.lines).sum(),
            head: self.files.last().map(|file| file.sum.clone()),
            torn: self.files.last().map_or(0, |file| file.torn),
        }
    }
}

/// Whether these bytes are the beginning of a member: a file may end with such.
///
/// A member that is whole and yet unreadable is damaged. It can't be told from a torn one if its end was cut, too.
fn looks_torn(bytes: &[u8]) -> bool {
    const LONGEST_TORN: usize = 1 << 20;
    bytes.len() < LONGEST_TORN && members::ends_early(bytes)
}

impl fmt::Display for ChainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.what)
    }
}

/// Writes the result for people: what was found, and what has to be kept elsewhere.
impl fmt::Display for ChainResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            writeln!(f, "{fault}")?;
        }
        let verdict = match (self.faults.first(), self.files) {
            (Some(first), _) => format!("not as it was written: the first fault is in {}", first.file),
            (None, 0) => "there is no record".to_owned(),
            (None, _) => "as it was written".to_owned(),
        };
        writeln!(f, "{verdict}: {} files, {} lines", self.files, self.lines)?;
        if self.torn > 0 {
            writeln!(
                f,
                "the last {} bytes are not written to their end yet: the server runs, or was killed; the next start removes them",
                self.torn
            )?;
        }
        if let (Some((first, last)), Some(head)) = (self.ends, &self.head) {
            writeln!(f, "from {first} to {last}")?;
            writeln!(f, "head {head}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::line::EndNote;
    use crate::history::line::tests::served;
    use crate::history::stamp::Stamp;
    use proptest::prelude::*;

    /// The files of these hours: all complete but the last one, which has two members.
    fn record(count: u64) -> Vec<(SegmentName, Vec<u8>)> {
        let start = Stamp::read("2026-11-27T00:00:00Z").unwrap();
        let mut previous = None;
        (1..=count)
            .map(|number| {
                let hour = start.hour().plus(number.cast_signed());
                let first = HistoryLine {
                    time: hour.start(),
                    note: Note::File(FileNote {
                        format: FORMAT,
                        number,
                        previous: previous.clone(),
                        ..FileNote::default()
                    }),
                };
                let mut text = first.write();
                for second in 0..4 {
                    text += &served(
                        hour.start().plus(second),
                        "synchronized",
                        Some(1e-5 * (number as f64)),
                    )
                    .write();
                }
                let bytes = if number < count {
                    let note = Note::End(EndNote { lines: 5 });
                    text += &HistoryLine {
                        time: hour.start().plus(4),
                        note,
                    }
                    .write();
                    members::packed(&text)
                } else {
                    let more = served(hour.start().plus(5), "holdover", None).write();
                    [members::member(text.as_bytes()), members::member(more.as_bytes())].concat()
                };
                previous = Some(sum(&bytes));
                (SegmentName { number, hour }, bytes)
            })
            .collect()
    }

    fn check(files: &[(SegmentName, Vec<u8>)]) -> ChainResult {
        let mut check = ChainCheck::default();
        for (index, (name, bytes)) in files.iter().enumerate() {
            check.add(FileCheck::read(*name, bytes, index + 1 == files.len(), |_| {}));
        }
        check.finish()
    }

    #[test]
    fn a_record_as_it_was_written_has_no_fault() {
        let files = record(4);
        let result = check(&files);
        assert_eq!(result.faults, []);
        assert_eq!((result.files, result.lines, result.torn), (4, 3 * 6 + 6, 0));
        assert!(
            result
                .to_string()
                .starts_with("as it was written: 4 files, 24 lines\nfrom 000001-"),
            "{result}"
        );
        // The oldest may have been removed, as the room is limited.
        assert_eq!(check(&files[2..]).faults, []);
        assert!(check(&[]).to_string().starts_with("there is no record"));
    }

    #[test]
    fn the_last_file_may_end_anywhere() {
        let files = record(3);
        for cut in 1..files[2].1.len() {
            let mut cut_off = files.clone();
            cut_off[2].1.truncate(cut);
            let result = check(&cut_off);
            let only = result
                .faults
                .iter()
                .all(|fault| fault.what.starts_with("it does not begin"));
            assert!(only, "{cut}: {result}");
        }
    }

    #[test]
    fn each_bit_that_is_changed_in_a_small_record_is_found() {
        let files = record(3);
        for (index, (name, bytes)) in files.iter().enumerate() {
            for bit in 0..bytes.len() * 8 {
                let mut changed = files.clone();
                changed[index].1[bit / 8] ^= 1 << (bit % 8);
                let result = check(&changed);
                // The end of the last file may look as if it were not written to its end: that is told, too.
                if index == 2 && result.torn > 0 && result.faults.is_empty() {
                    continue;
                }
                let first = result
                    .faults
                    .first()
                    .unwrap_or_else(|| panic!("{name}: bit {bit} of {}", bytes.len() * 8));
                assert_eq!(first.file, *name, "bit {bit}: {result}");
            }
        }
    }

    proptest! {
        #[test]
        fn files_that_are_removed_swapped_or_replaced_are_found(one in 1_usize..5, other in 1_usize..5, how in 0..3) {
            let files = record(6);
            let mut changed = files.clone();
            match how {
                0 => { changed.remove(one); }
                1 => {
                    prop_assume!(one != other);
                    let bytes = changed[one].1.clone();
                    changed[one].1 = std::mem::replace(&mut changed[other].1, bytes);
                }
                _ => {
                    // A line is changed, and the file made again.
                    let text = members::read(&changed[one].1).text.replace("20114", "20115");
                    changed[one].1 = members::packed(&text);
                }
            }
            let result = check(&changed);
            let first = result.faults.first().map(|fault| fault.file.number);
            let expected = match how {
                0 => files[one + 1].0.number,
                1 => files[one.min(other)].0.number,
                _ => files[one].0.number,
            };
            // Before a file in another's place stands one that it does not know.
            let near = [Some(expected), Some(expected - u64::from(how == 1))];
            prop_assert!(near.contains(&first), "{result}");
        }
    }
}
