//! Impure. The list of leap seconds, read at the start, on each reload and once a day.
//!
//! tzdata brings a new one twice a year.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::warn;

use crate::host::rooted_file::{ReadError, RootedFile};
use crate::host::{clock, limits};
use crate::upstream::leap::LeapTable;

/// Longest file, in bytes; the list has 6 kB.
const LONGEST: u64 = 1024 * 1024;
/// Greatest age of what was read.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The file with the list, and when it was read.
#[derive(Debug)]
pub(super) struct LeapList {
    path: Option<PathBuf>,
    /// Handles for the file that was opened last; its root directory is that of the start.
    file: Option<RootedFile>,
    /// The reason why there are no handles for `path`.
    unopened: Option<io::Error>,
    read_at: Duration,
    /// Problem that was logged last: the same one again is not logged.
    told: Option<String>,
}

impl LeapList {
    /// Opens handles for the file at `path`; `None` is no list.
    pub(super) fn open(path: Option<&Path>) -> Self {
        let mut new = Self {
            path: None,
            file: None,
            unopened: None,
            read_at: Duration::ZERO,
            told: None,
        };
        new.change(path);
        new
    }

    /// Changes the list, found through the same root directory as before.
    pub(super) fn change(&mut self, path: Option<&Path>) {
        self.path = path.map(Path::to_owned);
        let Some(path) = path else {
            return;
        };
        let opened = match &self.file {
            Some(old) => old.another(path),
            None => RootedFile::open(path),
        };
        match opened {
            Ok(file) => (self.file, self.unopened) = (Some(file), None),
            Err(error) => self.unopened = Some(error),
        }
    }

    /// Its file, for a sandbox that must leave it readable.
    pub(super) fn file(&self) -> Option<&RootedFile> {
        let is_open = self.path.is_some() && self.unopened.is_none();
        self.file.as_ref().filter(|_| is_open)
    }

    /// Whether it is time to read it again.
    pub(super) fn is_old(&self, now: Duration) -> bool {
        self.path.is_some() && now.saturating_sub(self.read_at) >= DAY
    }

    /// Reads it. A problem is only logged: without the list the upstreams' majority decides alone.
    pub(super) fn read(&mut self) -> Option<LeapTable> {
        self.read_at = clock::raw();
        let path = self.path.as_deref()?;
        let found = self.find();
        let trouble = found.as_ref().err().cloned();
        if let Some(error) = trouble.as_ref().filter(|_| trouble != self.told) {
            warn!(path = %path.display(), error, "the list of leap seconds is not used: {error}");
        }
        self.told = trouble;
        found.ok().flatten()
    }

    /// Returns the list in the file; `None` if there is no such file.
    fn find(&self) -> Result<Option<LeapTable>, String> {
        match (&self.unopened, self.file()) {
            (Some(error), _) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            (Some(error), _) => Err(format!("cannot open: {}", limits::explain(error))),
            (None, Some(file)) => table(file),
            (None, None) => Ok(None),
        }
    }
}

fn table(file: &RootedFile) -> Result<Option<LeapTable>, String> {
    let bytes = match file.read(LONGEST) {
        Ok(bytes) => bytes,
        Err(ReadError::Open(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let table = LeapTable::parse(&String::from_utf8_lossy(&bytes)).map_err(|error| error.to_string())?;
    if table.is_current(clock::realtime()) {
        Ok(Some(table))
    } else {
        Err("it has expired: update tzdata".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use nix::unistd::mkdtemp;

    /// As when descriptors run out: the file is there, and it, or its directory, can't be opened.
    #[test]
    fn an_unreadable_list_is_not_an_absent_one() {
        let directory = mkdtemp(&std::env::temp_dir().join("ntpfront-leaps-XXXXXX")).unwrap();
        let file = directory.join("file");
        fs::write(&file, "").unwrap();
        let mut list = LeapList::open(None);
        for (path, expected) in [
            (None, None),
            (Some(directory.join("absent")), None),
            (Some(directory.join("absent/list")), None),
            (Some(file.join("list")), Some("cannot open: Not a directory")),
            (
                Some(directory.clone()),
                Some("is a directory, not a regular file"),
            ),
            (Some(directory.join("absent")), None),
        ] {
            let opened = LeapList::open(path.as_deref());
            list.change(path.as_deref());
            for one in [&opened, &list] {
                let said = one.find().err().unwrap_or_default();
                assert!(said.starts_with(expected.unwrap_or_default()), "{path:?}: {said}");
                assert_eq!(said.is_empty(), expected.is_none(), "{path:?}: {said}");
            }
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}
