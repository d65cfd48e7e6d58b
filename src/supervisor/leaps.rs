//! Impure. The list of leap seconds, read at the start, on each reload and once a day.
//!
//! tzdata brings a new one twice a year.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{error, info, warn};

use crate::host::rooted_file::{ReadError, RootedFile};
use crate::host::{clock, limits};
use crate::leap::{LEAP_LIST_WARNS, LeapTable};
use crate::server::Listener;

/// Longest file, in bytes; the list has 6 kB.
const LONGEST: u64 = 1024 * 1024;
/// The problem of a list that is not complete any more.
const EXPIRED: &str = "it has expired: update tzdata";
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
    /// The list that was read last.
    known: Option<LeapTable>,
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
            known: None,
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

    /// Reads it, current or not. A problem is only logged: without a current list the upstreams' majority decides alone.
    pub(super) fn read(&mut self) -> Option<LeapTable> {
        self.read_at = clock::raw();
        let path = self.path.as_deref()?;
        let found = self.find();
        let now = clock::realtime();
        let trouble = match &found {
            Err(error) => Some(error.clone()),
            Ok(Some(table)) if !table.is_current(now) => Some(EXPIRED.to_owned()),
            Ok(_) => None,
        };
        if let Some(error) = trouble.as_ref().filter(|_| trouble != self.told) {
            warn!(path = %path.display(), error, "the list of leap seconds is not used: {error}");
        }
        self.told = trouble;
        self.known = found.ok().flatten();
        self.known.clone()
    }

    /// Returns the list that was read last, current or not.
    pub(super) fn known(&self) -> Option<&LeapTable> {
        self.known.as_ref()
    }

    /// Returns the path of the list.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Warns of what smearing listeners need: a current list, and clients of their own.
    pub(super) fn warn_if_smeared(&self, listeners: &[Listener]) {
        for one in listeners.iter().filter(|one| one.policy.smear.is_some()) {
            let listener = one.address;
            match self.known.as_ref().map(|list| list.expires_in(clock::realtime())) {
                Some(left) if left > LEAP_LIST_WARNS => info!(
                    %listener,
                    "{listener} smears leap seconds: no client may also ask servers with UTC, and the NTP Pool forbids it"
                ),
                Some(left) if left > 0 => warn!(
                    %listener,
                    "{listener} smears leap seconds, and the list of them expires in {} days: update tzdata",
                    left / 86_400
                ),
                Some(_) | None => error!(
                    %listener,
                    "{listener} is to smear leap seconds, and there is no current list of them: it serves UTC"
                ),
            }
        }
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
    LeapTable::parse(&String::from_utf8_lossy(&bytes)).map(Some)
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
