//! Pure. The state of the record of what was served.
//!
//! Its JSON names are stable, as those of the whole [snapshot](super::snapshot).

use std::path::PathBuf;

use serde::Serialize;

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryStatus {
    /// The directory of its files.
    pub directory: PathBuf,
    /// Number of files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Lines that were written since the start.
    pub written: u64,
    /// Lines that could not be written since the start.
    pub lost: u64,
    /// The reason why nothing is written at the moment; `null` if all is well.
    pub fault: Option<String>,
}

impl HistoryStatus {
    /// Returns it in a line for people, without its end.
    pub fn line(&self) -> String {
        let directory = self.directory.display();
        if let Some(fault) = &self.fault {
            return format!("NOT WRITTEN to {directory}: {fault}");
        }
        let lost = match self.lost {
            0 => String::new(),
            lost => format!(", {lost} lines lost"),
        };
        let megabytes = (self.bytes as f64) / 1e6;
        let files = if self.files == 1 { "file" } else { "files" };
        format!("{} {files}, {megabytes:.1} MB in {directory}{lost}", self.files)
    }
}

/// A record for tests.
#[cfg(test)]
pub(super) fn example() -> HistoryStatus {
    HistoryStatus {
        directory: "/var/lib/ntpfront/history".into(),
        files: 300,
        bytes: 21_600_000,
        written: 4000,
        lost: 0,
        fault: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_in_a_line() {
        let mut status = example();
        assert_eq!(status.line(), "300 files, 21.6 MB in /var/lib/ntpfront/history");
        status.lost = 7;
        assert_eq!(
            status.line(),
            "300 files, 21.6 MB in /var/lib/ntpfront/history, 7 lines lost"
        );
        status.fault = Some("no space left".to_owned());
        assert_eq!(
            status.line(),
            "NOT WRITTEN to /var/lib/ntpfront/history: no space left"
        );
    }
}
