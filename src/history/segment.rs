//! Pure. The files of the record: their names, their order, and which of them have to go.

use std::fmt;

use super::stamp::Hour;

/// The end of the name of a file.
const ENDING: &str = ".jsonl.gz";

/// A file of the record, by its name: `000123-20261127T12.jsonl.gz`.
///
/// The number decides the order: the hour goes back if the served clock is stepped back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// The number, from 1 on.
    pub number: u64,
    /// The hour of its first line.
    pub hour: Hour,
}

/// The room that the record may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Bytes of all files together, at most.
    pub size: u64,
    /// Days that a file is kept; 0 is no limit.
    pub days: u32,
}

impl SegmentName {
    /// Reads a name; `None` for that of another file.
    pub fn read(name: &str) -> Option<Self> {
        let (number, hour) = name.strip_suffix(ENDING)?.split_once('-')?;
        let is_number = number.len() >= 6 && number.bytes().all(|byte| byte.is_ascii_digit());
        let read = Self {
            number: number.parse().ok().filter(|_| is_number)?,
            hour: Hour::read(hour)?,
        };
        (read.to_string() == name).then_some(read)
    }

    /// Returns the name of the file after it, which begins in this hour.
    #[must_use]
    pub fn next(self, hour: Hour) -> Self {
        Self {
            number: self.number.saturating_add(1),
            hour,
        }
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}-{}{ENDING}", self.number, self.hour)
    }
}

impl Retention {
    /// Returns the files that have to go at this hour, the oldest first.
    ///
    /// `files` have their lengths in bytes, and are in the order of their numbers. The last one always stays.
    pub fn surplus(self, files: &[(SegmentName, u64)], now: Hour) -> Vec<SegmentName> {
        let mut total: u64 = files.iter().map(|(_, length)| length).sum();
        let oldest = now.plus(-24 * i64::from(self.days));
        let mut gone = Vec::new();
        let may_go = files.len().saturating_sub(1);
        for (name, length) in files.iter().take(may_go) {
            let is_old = self.days > 0 && name.hour < oldest;
            if !is_old && total <= self.size {
                break;
            }
            gone.push(*name);
            total = total.saturating_sub(*length);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u64, hour: i64) -> SegmentName {
        SegmentName {
            number,
            hour: Hour(498_000 + hour),
        }
    }

    #[test]
    fn names_are_written_and_read() {
        let written = name(123, 0).to_string();
        assert_eq!(SegmentName::read(&written), Some(name(123, 0)));
        assert_eq!(written, "000123-20261024T00.jsonl.gz");
        let large = name(12_345_678, 0);
        assert_eq!(SegmentName::read(&large.to_string()), Some(large));
        for other in [
            "",
            "000123-20261023T00.jsonl.gz.new",
            "123-20261023T00.jsonl.gz",
            "000123-20261023T24.jsonl.gz",
            "0000123-20261023T00.jsonl.gz",
            "+00123-20261023T00.jsonl.gz",
        ] {
            assert_eq!(SegmentName::read(other), None, "{other}");
        }
    }

    #[test]
    fn the_oldest_go_first_and_the_last_stays() {
        let files: Vec<(SegmentName, u64)> =
            (0..5).map(|at| (name(10 + at, at.cast_signed()), 100)).collect();
        let gone = |size, days, now: i64| {
            let retention = Retention { size, days };
            let gone = retention.surplus(&files, Hour(498_000 + now));
            gone.iter().map(|name| name.number).collect::<Vec<_>>()
        };
        assert_eq!(gone(500, 0, 4), [0; 0]);
        assert_eq!(gone(499, 0, 4), [10]);
        assert_eq!(gone(250, 0, 4), [10, 11, 12]);
        assert_eq!(gone(0, 0, 4), [10, 11, 12, 13]);
        assert_eq!(gone(500, 1, 24), [0; 0]);
        assert_eq!(gone(500, 1, 26), [10, 11]);
        assert_eq!(gone(500, 1, 1000), [10, 11, 12, 13]);
        assert!(Retention { size: 0, days: 0 }.surplus(&[], Hour(0)).is_empty());
    }
}
