//! Impure. Finding and reading the configuration file.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::{getegid, geteuid};

use super::fault::{Fault, Place};
use super::{Loaded, decode};
use crate::cli::{DEFAULT_FILE, Flags};
use crate::host::anchor::{Anchor, ReadError};

/// A configuration that is longer is a mistake: a log, an image, a device.
const LONGEST: u64 = 1024 * 1024;

/// What a running server reads its configuration with, again and again.
#[derive(Debug)]
pub struct Loader {
    flags: Flags,
    path: PathBuf,
    /// Kept open for when the root directory has changed; `None` where the directory isn't there.
    way: Option<Anchor>,
    /// Somebody named the file, or it was there before: to do without it would not be what was meant.
    needed: bool,
}

impl Loader {
    /// Holds on to the way to the file that `flags` name, or the default one.
    pub fn new(flags: &Flags) -> Self {
        Self::with_default(flags, Path::new(DEFAULT_FILE))
    }

    /// The same with another file by default, which need not be there.
    pub fn with_default(flags: &Flags, default: &Path) -> Self {
        let path = flags.config.as_deref().unwrap_or(default).to_owned();
        Self {
            flags: flags.clone(),
            way: Anchor::open(&path).ok(),
            needed: flags.config.is_some(),
            path,
        }
    }

    /// Reads the file, and takes it together with the flags: they win, each time.
    ///
    /// # Errors
    /// All faults, at least one; a file that can't be read is one.
    pub fn load(&mut self) -> Result<Loaded, Vec<Fault>> {
        let text = match &self.way {
            _ if !self.needed && is_absent(&self.path) => return super::load(&self.flags, None),
            Some(way) => read_again(&self.path, way)?,
            None => read(&self.path)?,
        };
        let loaded = super::load(&self.flags, Some((&self.path, &text)))?;
        self.needed = true;
        Ok(loaded)
    }

    /// What a file of this `text` would mean, together with the flags; faults name its `path`.
    ///
    /// # Errors
    /// All faults, at least one.
    pub fn judge(&self, path: &str, text: &str) -> Result<Loaded, Vec<Fault>> {
        super::load(&self.flags, Some((Path::new(path), text)))
    }

    /// The way to the file, for a sandbox that shall leave it within reach.
    pub fn way(&self) -> Option<&Anchor> {
        self.way.as_ref()
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
    let anchor = Anchor::open(path).map_err(|error| unreadable(path, &ReadError::Open(error)))?;
    read_again(path, &anchor)
}

/// The same through a way that was kept open; faults name `path`.
///
/// # Errors
/// What keeps us from reading it, and what to do.
fn read_again(path: &Path, anchor: &Anchor) -> Result<String, Vec<Fault>> {
    let bytes = anchor.read(LONGEST).map_err(|error| unreadable(path, &error))?;
    decode(path, bytes)
}

fn unreadable(path: &Path, error: &ReadError) -> Vec<Fault> {
    let (found, hint) = match error {
        ReadError::TooLong(_) => ("is larger than 1 MiB, so it is no configuration".to_owned(), None),
        ReadError::Open(cause) => (error.to_string(), remedy(path, cause)),
        ReadError::Look(_) | ReadError::Kind(_) | ReadError::Read(_) => (error.to_string(), None),
    };
    vec![Fault {
        place: Place::Whole(path.to_owned()),
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
            let place = Place::Whole(at.to_owned());
            format!("{we}, but {place} has mode {mode:04o}, owner {uid} and group {gid}")
        }
        None => we,
    }
}
