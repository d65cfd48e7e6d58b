//! Impure. Finding and reading the configuration file.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::{getegid, geteuid};

use super::fault::{Fault, Place};
use super::{Loaded, decode};
use crate::cli::{DEFAULT_FILE, Flags};
use crate::host::limits;
use crate::host::rooted_file::{ReadError, RootedFile};

/// Longest configuration, in bytes: one that is longer is a mistake (a log, an image, a device).
pub const LONGEST: u64 = 1024 * 1024;
/// A list of 100,000 prefixes has about 2 MB.
const LONGEST_LIST: u64 = 64 * 1024 * 1024;
/// All lists of one configuration together, each as often as a listener reads it: about 20 million prefixes.
const ALL_LISTS: u64 = 256 * 1024 * 1024;
/// So much of a list is in memory at once.
const PIECE: usize = 64 * 1024;

/// Is a list's file held on to?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Yes,
    No,
}

/// What a running server reads its configuration with, again and again.
#[derive(Debug)]
pub struct Loader {
    flags: Flags,
    path: PathBuf,
    /// Kept open for when the root directory has changed; `None` where the directory isn't there.
    file: Option<RootedFile>,
    /// The same for the files that it names.
    lists: RefCell<HashMap<PathBuf, RootedFile>>,
    /// Somebody named the file, or it was there before: to do without it would not be what was meant.
    needed: bool,
}

impl Loader {
    /// Holds on to the file that `flags` name, or the default one.
    pub fn new(flags: &Flags) -> Self {
        Self::with_default(flags, Path::new(DEFAULT_FILE))
    }

    /// The same with another file by default, which need not be there.
    pub fn with_default(flags: &Flags, default: &Path) -> Self {
        let path = flags.config.as_deref().unwrap_or(default).to_owned();
        Self {
            flags: flags.clone(),
            file: RootedFile::open(&path).ok(),
            lists: RefCell::default(),
            needed: flags.config.is_some(),
            path,
        }
    }

    /// Reads the file, and takes it together with the flags: they win, each time.
    ///
    /// # Errors
    /// All faults, at least one; a file that can't be read is one.
    pub fn load(&mut self) -> Result<Loaded, Vec<Fault>> {
        let text = match &self.file {
            _ if !self.needed && is_absent(&self.path) => return self.load_text(None, Keep::Yes),
            Some(file) => read_again(&self.path, file)?,
            None => read(&self.path)?,
        };
        let loaded = self.load_text(Some((&self.path, &text)), Keep::Yes)?;
        self.needed = true;
        Ok(loaded)
    }

    /// What a file of this `text` would mean, together with the flags; faults name its `path`.
    ///
    /// # Errors
    /// All faults, at least one.
    pub fn check(&self, path: &str, text: &str) -> Result<Loaded, Vec<Fault>> {
        // Whoever asks about files leaves no descriptor behind.
        self.load_text(Some((Path::new(path), text)), Keep::No)
    }

    fn load_text(&self, text: Option<(&Path, &str)>, keep: Keep) -> Result<Loaded, Vec<Fault>> {
        let left = Cell::new(ALL_LISTS);
        super::load_with(&self.flags, text, &|path| self.list(path, keep, &left))
    }

    /// The lines of a file that the configuration names, of which so many bytes more are `left`. It may be held on to, for
    /// when the root directory has changed.
    fn list(&self, path: &Path, keep: Keep, left: &Cell<u64>) -> Result<Box<dyn BufRead>, String> {
        let find = || {
            self.find(path)
                .map_err(|error| format!("cannot open: {}", limits::explain(&error)))
        };
        let mut lists = self.lists.borrow_mut();
        let once;
        let rooted: &RootedFile = match lists.entry(path.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) if keep == Keep::Yes => new.insert(find()?),
            Entry::Vacant(_) => {
                once = find()?;
                &once
            }
        };
        let (file, length) = rooted
            .regular_file(LONGEST_LIST)
            .map_err(|error| error.to_string())?;
        left.set(left.get().checked_sub(length).ok_or_else(|| {
            format!("with it all lists together are larger than {ALL_LISTS} bytes, each counted for each listener that reads it")
        })?);
        // One that grows meanwhile is cut, and its last line faulty.
        Ok(Box::new(BufReader::with_capacity(PIECE, file.take(length))))
    }

    fn find(&self, path: &Path) -> io::Result<RootedFile> {
        let path = std::path::absolute(path)?;
        match &self.file {
            Some(file) => file.another(&path).or_else(|_| RootedFile::open(&path)),
            None => RootedFile::open(&path),
        }
    }

    /// Is there any of these files that can't be opened for lack of a right to it?
    pub fn is_denied(&self) -> bool {
        let lists = self.lists.borrow();
        let mut files = self.file.iter().chain(lists.values());
        files.any(|file| {
            let opened = file.regular_file(LONGEST_LIST);
            matches!(opened, Err(ReadError::Open(error)) if error.kind() == io::ErrorKind::PermissionDenied)
        })
    }

    /// The paths of the file and of those that it names, for a sandbox that shall leave them within reach.
    pub fn paths(&self) -> Vec<PathBuf> {
        let lists = self.lists.borrow();
        let files = self.file.iter().chain(lists.values());
        files.map(|file| file.path().to_owned()).collect()
    }
}

/// Reads the file that the flags name, or the default one if it exists, and takes it together with the flags.
///
/// # Errors
/// As [`Loader::load`].
pub fn load(flags: &Flags) -> Result<Loaded, Vec<Fault>> {
    Loader::new(flags).load()
}

/// A link that leads nowhere is not absent: somebody meant something by it.
fn is_absent(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The text of a regular file of at most 1 MiB.
///
/// # Errors
/// What keeps us from reading it, and what to do.
pub fn read(path: &Path) -> Result<String, Vec<Fault>> {
    let file = RootedFile::open(path).map_err(|error| unreadable(path, &ReadError::Open(error)))?;
    read_again(path, &file)
}

/// The text of a file of another daemon's, which doesn't mind in which encoding its comments are: what is no UTF-8 is replaced.
/// None if there is no such file.
///
/// # Errors
/// As [`read`].
pub fn read_foreign(path: &Path) -> Result<Option<String>, Vec<Fault>> {
    if is_absent(path) {
        return Ok(None);
    }
    let file = RootedFile::open(path).map_err(|error| unreadable(path, &ReadError::Open(error)))?;
    let bytes = file.read(LONGEST).map_err(|error| unreadable(path, &error))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    decode(path, text.into_bytes()).map(Some)
}

/// The same of a file that was held on to; faults name `path`.
///
/// # Errors
/// What keeps us from reading it, and what to do.
fn read_again(path: &Path, file: &RootedFile) -> Result<String, Vec<Fault>> {
    let bytes = file.read(LONGEST).map_err(|error| unreadable(path, &error))?;
    decode(path, bytes)
}

fn unreadable(path: &Path, error: &ReadError) -> Vec<Fault> {
    let (found, hint) = match error {
        ReadError::TooLong(_) => ("is larger than 1 MiB, so it is no configuration".to_owned(), None),
        ReadError::Open(cause) => (error.to_string(), remedy(path, cause)),
        ReadError::Look(_) | ReadError::Kind(_) | ReadError::Read(_) => (error.to_string(), None),
    };
    vec![Fault {
        place: Place::Integer(path.to_owned()),
        key: String::new(),
        found,
        expected: String::new(),
        hint,
    }]
}

fn remedy(path: &Path, error: &io::Error) -> Option<String> {
    match error.raw_os_error() {
        Some(libc::ENOENT) if fs::symlink_metadata(path).is_ok() => {
            Some("it is a symbolic link to a file that is not there".to_owned())
        }
        Some(libc::ENOENT) => Some("name another file with -c, or create it".to_owned()),
        Some(libc::ELOOP) => Some("symbolic links lead in a circle: see `namei` for each step".to_owned()),
        Some(libc::EACCES) => Some(permissions(path)),
        Some(libc::ENXIO) => Some("it is a socket or a device without a driver".to_owned()),
        _ => None,
    }
}

/// Who we are, and whose the file is, or else the innermost directory that lets us look.
fn permissions(path: &Path) -> String {
    let mut look = path
        .ancestors()
        .filter_map(|path| Some((path, fs::metadata(path).ok()?)));
    let we = format!("we are user {} and group {}", geteuid(), getegid());
    match look.next() {
        Some((at, metadata)) => {
            let (mode, uid, gid) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
            let place = Place::Integer(at.to_owned());
            format!("{we}, but {place} has mode {mode:04o}, owner {uid} and group {gid}")
        }
        None => we,
    }
}
