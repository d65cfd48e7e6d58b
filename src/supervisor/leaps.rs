//! Impure. The list of leap seconds, read at the start, on each reload and once a day.
//!
//! tzdata brings a new one twice a year.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::warn;

use crate::host::clock;
use crate::host::rooted_file::{ReadError, RootedFile};
use crate::upstream::leap::LeapTable;

/// Longest file, in bytes; the list has 6 kB.
const LONGEST: u64 = 1024 * 1024;
/// Greatest age of what was read.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The file with the list, and when it was read.
#[derive(Debug)]
pub(super) struct LeapList {
    path: Option<PathBuf>,
    file: Option<RootedFile>,
    read_at: Duration,
    /// Problem that was logged last: the same one again is not logged.
    told: Option<String>,
}

impl LeapList {
    /// Opens handles for the file at `path`; `None` is no list.
    pub(super) fn open(path: Option<&Path>) -> Self {
        Self {
            path: path.map(Path::to_owned),
            file: path.and_then(|path| RootedFile::open(path).ok()),
            read_at: Duration::ZERO,
            told: None,
        }
    }

    /// Changes the list, found through the same root directory as before.
    pub(super) fn change(&mut self, path: Option<&Path>) {
        let old = self.file.take();
        self.file = path.and_then(|path| {
            old.map_or_else(|| RootedFile::open(path), |old| old.another(path))
                .ok()
        });
        self.path = path.map(Path::to_owned);
    }

    /// Its file, for a sandbox that must leave it readable.
    pub(super) fn file(&self) -> Option<&RootedFile> {
        self.file.as_ref()
    }

    /// Whether it is time to read it again.
    pub(super) fn is_old(&self, now: Duration) -> bool {
        self.path.is_some() && now.saturating_sub(self.read_at) >= DAY
    }

    /// Reads it. A problem is only logged: without the list the upstreams' majority decides alone.
    pub(super) fn read(&mut self) -> Option<LeapTable> {
        self.read_at = clock::raw();
        let path = self.path.as_deref()?;
        let found = self.file.as_ref().map_or_else(|| Ok(None), table);
        let trouble = found.as_ref().err().cloned();
        if let Some(error) = trouble.as_ref().filter(|_| trouble != self.told) {
            warn!(path = %path.display(), error, "the list of leap seconds is not used: {error}");
        }
        self.told = trouble;
        found.ok().flatten()
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
