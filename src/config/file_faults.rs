//! Impure. The faults of files that can't be read: the cause and the remedy, for which their permissions are looked at.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::libc;
use nix::unistd::{getegid, geteuid};

use super::fault::{Fault, Place};
use crate::host::limits;
use crate::host::rooted_file::ReadError;

/// Returns why a file can't be read, and the remedy.
pub(super) fn unreadable(path: &Path, error: &ReadError) -> Vec<Fault> {
    let (found, hint) = match error {
        ReadError::TooLong(_) => ("is larger than 1 MiB, so it is no configuration".to_owned(), None),
        ReadError::Open(cause) => (error.to_string(), remedy(path, cause)),
        ReadError::Look(_) | ReadError::Kind(_) | ReadError::Read(_) => (error.to_string(), None),
    };
    vec![Fault {
        hint,
        ..of_file(path, found, String::new())
    }]
}

/// Returns why the names in a directory can't be read, and the remedy.
pub(super) fn unlisted(directory: &Path, error: &io::Error) -> Fault {
    let hint = match error.raw_os_error() {
        Some(libc::EACCES) => Some(format!(
            "{}; a directory that was made or replaced after the start is not accessible to a server with process.landlock until it is restarted",
            permissions(directory)
        )),
        _ => None,
    };
    let found = format!("cannot list: {}", limits::explain(error));
    Fault {
        hint,
        ..of_file(directory, found, String::new())
    }
}

/// Returns a fault of a whole file.
pub(super) fn of_file(path: &Path, found: String, expected: String) -> Fault {
    Fault {
        place: Place::WholeFile(path.to_owned()),
        key: String::new(),
        found,
        expected,
        hint: None,
    }
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

/// Returns our user and group, and the owner and mode of the file, or of the innermost directory that we can read.
fn permissions(path: &Path) -> String {
    let mut look = path
        .ancestors()
        .filter_map(|path| Some((path, fs::metadata(path).ok()?)));
    let we = format!("we are user {} and group {}", geteuid(), getegid());
    match look.next() {
        Some((at, metadata)) => {
            let (mode, uid, gid) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
            let place = Place::WholeFile(at.to_owned());
            format!("{we}, but {place} has mode {mode:04o}, owner {uid} and group {gid}")
        }
        None => we,
    }
}
