//! Pure. The rows of `[history]`.

use std::path::PathBuf;

use super::texts::path_or_none;
use crate::config::address::Refusal;
use crate::config::effective::quoted;
use crate::config::kind::{Parsed, Texts, parsed, texts, whole};
use crate::config::row::table;
use crate::history::report::HistoryLimit;

/// The units of a size, the smallest first.
const UNITS: [(char, u64); 3] = [('M', 1 << 20), ('G', 1 << 30), ('T', 1 << 40)];
const LEAST: u64 = 8 << 20;
const MOST: u64 = 1 << 40;

table! {
    /// The record of what was served: each second the announced time with its error, and each change, in files of one hour.
    ///
    /// `ntpfront history` and `ntpfront report` read it. It has no addresses of clients. Time is served as before if the
    /// disk is full, slow or broken. The files are JSON, compressed with gzip; the document history.md describes them.
    "[history]": Restart, RawHistory
    /// The record of what was served.
    #[derive(Clone, Debug, PartialEq)]
    pub struct HistoryKeys {
        /// The directory of the files, an absolute path, or "" for none.
        ///
        /// It is made if the directory around it exists, and nothing else may be in it. The user of the process must be
        /// able to write there. The packages set it to /var/lib/ntpfront/history.
        directory: Option<PathBuf> = None, path_or_none();
        /// The room for all files: megabytes ("64M"), gigabytes ("1G") or terabytes, from 8M to 1T.
        ///
        /// The oldest files are removed. With one record per second, and eight upstreams polled every 64 s, a day takes up
        /// to 2 MB.
        size: u64 = 64 << 20, size();
        /// The number of days after which a file is removed: {range}; 0: only the size counts.
        age_days: u32 = 0, whole(0..=3650);
        /// The seconds from one record of the served time to the next: {range}.
        every: u32 = 1, whole(1..=60);
        /// The seconds after which the disk must have what was written: {range}.
        ///
        /// That is lost at most if the host loses its power. If the process is killed, it is 10 s.
        sync: u32 = 60, whole(1..=3600);
        /// The limits that a report can name: "NAME=SECONDS", such as "mifid-1ms=0.001".
        ///
        /// Only `ntpfront report` reads them, so no restart is needed.
        limits: Vec<HistoryLimit> = Vec::new(), limits();
    }
}

fn size() -> Parsed<u64> {
    parsed(
        |text| {
            let size = text.and_then(size_of);
            size.ok_or_else(|| Refusal::new("a size such as \"64M\" or \"2G\", from \"8M\" to \"1T\""))
        },
        |size| {
            let units = UNITS.iter().rev().find(|(_, unit)| size % unit == 0);
            let (letter, unit) = units.copied().unwrap_or(('M', 1 << 20));
            Some(quoted(&format!("{}{letter}", size / unit)))
        },
    )
}

fn size_of(text: &str) -> Option<u64> {
    let (_, unit) = UNITS.iter().find(|(letter, _)| text.ends_with(*letter))?;
    let number = text.get(..text.len() - 1)?;
    let is_plain = number.bytes().all(|digit| digit.is_ascii_digit());
    let size = unit.checked_mul(number.parse().ok().filter(|_| is_plain)?)?;
    (LEAST..=MOST).contains(&size).then_some(size)
}

fn limits() -> Texts<HistoryLimit> {
    texts(
        |text| limit_of(text).ok_or_else(|| Refusal::new("a name and seconds, such as \"mifid-1ms=0.001\"")),
        |limit| quoted(&format!("{}={}", limit.name, limit.seconds)),
    )
}

fn limit_of(text: &str) -> Option<HistoryLimit> {
    let (name, seconds) = text.split_once('=')?;
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let seconds: f64 = seconds.parse().ok()?;
    (is_name && seconds.is_finite() && seconds > 0.0).then(|| HistoryLimit {
        name: name.to_owned(),
        seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::kind::Kind;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, shown, bytes) in [
            ("8M", "\"8M\"", 8 << 20),
            ("1024M", "\"1G\"", 1 << 30),
            ("1T", "\"1T\"", 1 << 40),
            ("1500M", "\"1500M\"", 1500 << 20),
        ] {
            assert_eq!(size_of(text), Some(bytes));
            assert_eq!(size().shown(&bytes).as_deref(), Some(shown));
        }
        for text in [
            "",
            "M",
            "7M",
            "2T",
            "64",
            "64m",
            "+64M",
            "6.4G",
            "64 M",
            "99999999999999999999M",
            "64Ä",
        ] {
            assert_eq!(size_of(text), None, "{text}");
        }
    }

    #[test]
    fn limits_have_a_name() {
        let limit = limit_of("mifid-1ms=0.001").unwrap();
        assert_eq!((limit.name.as_str(), limit.seconds), ("mifid-1ms", 0.001));
        assert_eq!(
            limits().shown(&vec![limit]).as_deref(),
            Some("[\"mifid-1ms=0.001\"]")
        );
        for text in ["", "0.001", "a=", "=1", "a=0", "a=-1", "a=nan", "a b=1", "a=1s"] {
            assert_eq!(limit_of(text), None, "{text}");
        }
    }
}
