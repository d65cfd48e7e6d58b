//! Impure. A file that stays readable, and is read again on demand.
//!
//! It is found by its path from before the root directory and the user changed.
//!
//! Two handles are held, opened early. Through the old *root directory* the whole path is resolved again each
//! time (`openat2(2)` with `RESOLVE_IN_ROOT`), so that every change on the way counts: an editor's rename, a
//! directory put in the place of another, links, both relative (Kubernetes' `..data`) and absolute (NixOS,
//! `/etc/resolv.conf`). Through the file's own *directory* it is found where that way is closed: to a user
//! that may not pass the directories above, and on kernels before 5.6.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::libc;
use nix::sys::stat::Mode;

use super::{limits, opener};

/// A file by its path under the root directory of the start.
#[derive(Debug)]
pub struct RootedFile {
    path: PathBuf,
    root: OwnedFd,
    directory: OwnedFd,
    name: OsString,
}

/// The reason why a file can't be read.
#[derive(Debug)]
pub enum ReadError {
    /// The file can't be opened: it does not exist, or its permissions forbid it.
    Open(io::Error),
    /// The file's status can't be read.
    Look(io::Error),
    /// The file is not a regular one but this, with its article.
    Kind(&'static str),
    /// The file can't be read.
    Read(io::Error),
    /// The file is longer than this limit, in bytes.
    TooLong(u64),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(cause) => write!(f, "cannot open: {}", limits::explain(cause)),
            Self::Look(cause) => write!(f, "cannot read its status: {}", limits::explain(cause)),
            Self::Kind(kind) => write!(f, "is {kind}, not a regular file"),
            Self::Read(cause) => write!(f, "cannot read: {}", limits::explain(cause)),
            Self::TooLong(limit) => write!(f, "is larger than {limit} bytes"),
        }
    }
}

impl std::error::Error for ReadError {}

impl RootedFile {
    /// Opens handles for the file at `path`, which need not exist.
    ///
    /// # Errors
    /// Its directory does not exist or can't be reached, or there are no more file descriptors.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = absolute(path)?;
        let (directory, name) = split(&path);
        Ok(Self {
            root: handle(Path::new("/"))?,
            directory: handle(directory)?,
            name: name.to_owned(),
            path,
        })
    }

    /// Opens handles for another file, by its absolute path under the same root directory.
    ///
    /// # Errors
    /// As [`RootedFile::open`].
    pub fn another(&self, path: &Path) -> io::Result<Self> {
        let (directory, name) = split(path);
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let as_before = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        Ok(Self {
            directory: openat2(&self.root, directory, as_before)?,
            root: self.root.try_clone()?,
            name: name.to_owned(),
            path: path.to_owned(),
        })
    }

    /// Returns the file's absolute path, as it was at the start.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads all bytes of a regular file of at most `limit` bytes.
    ///
    /// It never waits: opening a pipe would wait for a writer, and reading some devices never ends.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&self, limit: u64) -> Result<Vec<u8>, ReadError> {
        all_of(self.regular_file(limit)?.0, limit)
    }

    /// Does the same with a file of this name in the directory that this is.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_in(&self, name: &OsStr, limit: u64) -> Result<Vec<u8>, ReadError> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let opened = self
            .reopen()
            .and_then(|directory| openat(&directory, name, flags, Mode::empty()));
        let file = opened.map_err(|error| ReadError::Open(error.into()))?;
        all_of(regular(file, limit)?.0, limit)
    }

    /// Opens the regular file of at most `limit` bytes, and returns it with its length.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn regular_file(&self, limit: u64) -> Result<(File, u64), ReadError> {
        regular(self.reopen_anyhow().map_err(ReadError::Open)?, limit)
    }

    /// Returns the names in it, if it is a directory, in their order.
    ///
    /// # Errors
    /// It does not exist, is no directory, or can't be read.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut directory = Dir::from_fd(self.reopen()?)?;
        let names = directory.iter().map(|entry| {
            let name = entry?.file_name().to_bytes().to_owned();
            Ok(OsString::from_vec(name))
        });
        let mut names = names.collect::<io::Result<Vec<_>>>()?;
        names.retain(|name| name != "." && name != "..");
        names.sort();
        Ok(names)
    }

    /// Opens the file, or has the other process open it if it has been replaced and is out of reach.
    fn reopen_anyhow(&self) -> io::Result<OwnedFd> {
        match self.reopen() {
            Err(Errno::EACCES) => opener::open(&self.path).unwrap_or(Err(Errno::EACCES.into())),
            found => Ok(found?),
        }
    }

    /// Opens the current file for reading, without waiting.
    ///
    /// # Errors
    /// As `open(2)`.
    pub(super) fn reopen(&self) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let as_before = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        let whole_way = openat2(&self.root, &self.path, as_before);
        match whole_way {
            // Closed is not missing: if the file was moved away, a handle on its old place must not find
            // another. (EXDEV and ELOOP: such links of /proc as /dev/stdin lead through.)
            Err(Errno::EACCES | Errno::EPERM | Errno::ENOSYS | Errno::EXDEV | Errno::ELOOP) => {
                openat(&self.directory, self.name.as_os_str(), flags, Mode::empty())
            }
            found => found,
        }
    }
}

/// Returns the file with its length, if it is a regular one of at most `limit` bytes.
fn regular(file: OwnedFd, limit: u64) -> Result<(File, u64), ReadError> {
    let file = File::from(file);
    let metadata = file.metadata().map_err(ReadError::Look)?;
    if !metadata.is_file() {
        return Err(ReadError::Kind(kind(&metadata)));
    }
    match metadata.len() {
        length if length <= limit => Ok((file, length)),
        _ => Err(ReadError::TooLong(limit)),
    }
}

/// Reads a file to its end; it may have grown meanwhile.
fn all_of(file: File, limit: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(ReadError::Read)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
        Ok(bytes)
    } else {
        Err(ReadError::TooLong(limit))
    }
}

/// Splits a path into the directory of the file and its name there.
fn split(path: &Path) -> (&Path, &OsStr) {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => (parent, name),
        // "/" and paths that end in "..": directories themselves.
        (_, _) => (path, OsStr::new(".")),
    }
}

/// Opens a handle on a directory: for resolving paths below it, not for reading it.
///
/// # Errors
/// It is no directory, does not exist, can't be reached, or there are no more file descriptors.
pub fn handle(directory: &Path) -> nix::Result<OwnedFd> {
    open(
        directory,
        OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
}

fn kind(metadata: &Metadata) -> &'static str {
    match metadata.mode() & libc::S_IFMT {
        libc::S_IFDIR => "a directory",
        libc::S_IFIFO => "a pipe",
        libc::S_IFCHR => "a character device",
        libc::S_IFBLK => "a block device",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::thread;

    use nix::sched::{CloneFlags, unshare};
    use nix::unistd::{chdir, chroot, geteuid, mkdtemp};

    /// A directory for one test, removed at its end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            Self(mkdtemp(&std::env::temp_dir().join("ntpfront-rooted-file-XXXXXX")).unwrap())
        }

        fn make(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Whether the test runs as root; false only if `tests/run` left root out.
    fn root() -> bool {
        let without = std::env::var("NTPFRONT_WITHOUT").unwrap_or_default();
        let left_out = without.split_whitespace().any(|word| word == "root");
        assert!(
            left_out || geteuid().is_root(),
            "this test needs root: leave it out with NTPFRONT_WITHOUT=root"
        );
        !left_out
    }

    #[track_caller]
    fn holds(rooted: &RootedFile, text: &str) {
        assert_eq!(
            String::from_utf8(rooted.read(1000).unwrap()).unwrap(),
            text,
            "{rooted:?}"
        );
    }

    #[test]
    fn what_is_there_now_is_read() {
        let scratch = Scratch::new();
        let path = scratch.0.join("file");
        let rooted = RootedFile::open(&path).unwrap();
        assert_eq!(rooted.path(), path);
        assert!(
            matches!(rooted.read(10), Err(ReadError::Open(error)) if error.kind() == io::ErrorKind::NotFound)
        );
        scratch.make("file", "one");
        holds(&rooted, "one");
        fs::rename(scratch.make("new", "two"), &path).unwrap();
        holds(&rooted, "two");
        assert!(matches!(rooted.read(2), Err(ReadError::TooLong(2))));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(rooted.read(10), Err(ReadError::Kind("a directory"))));
    }

    #[test]
    fn another_directory_in_its_place_counts_and_the_old_one_does_not() {
        let scratch = Scratch::new();
        let rooted = RootedFile::open(&scratch.make("etc/file", "old")).unwrap();
        fs::rename(scratch.0.join("etc"), scratch.0.join("old")).unwrap();
        assert!(
            matches!(rooted.read(10), Err(ReadError::Open(error)) if error.kind() == io::ErrorKind::NotFound)
        );
        scratch.make("etc/file", "new");
        holds(&rooted, "new");
    }

    /// As Kubernetes updates a mounted map: `file` -> `..data/file`, `..data` -> `..version`.
    #[test]
    fn links_are_followed_as_they_stand_now() {
        let scratch = Scratch::new();
        for version in ["..1", "..2"] {
            scratch.make(&format!("{version}/file"), version);
        }
        let (data, path) = (scratch.0.join("..data"), scratch.0.join("file"));
        symlink("..1", &data).unwrap();
        symlink("..data/file", &path).unwrap();
        let rooted = RootedFile::open(&path).unwrap();
        holds(&rooted, "..1");
        symlink("..2", scratch.0.join("next")).unwrap();
        fs::rename(scratch.0.join("next"), &data).unwrap();
        holds(&rooted, "..2");
    }

    /// The root directory belongs to a thread once it no longer shares it (`CLONE_FS`).
    #[test]
    fn a_change_of_the_root_hides_nothing() {
        if !geteuid().is_root() {
            let left_out = std::env::var("NTPFRONT_WITHOUT").unwrap_or_default();
            assert!(
                left_out.contains("root"),
                "only root can change the root directory"
            );
            return;
        }
        let scratch = Scratch::new();
        let file = scratch.make("outside/file", "one");
        let (absolute, relative) = (scratch.0.join("absolute"), scratch.0.join("relative"));
        symlink(&file, &absolute).unwrap();
        symlink("outside/../outside/file", &relative).unwrap();
        let cage = scratch.0.join("cage");
        fs::create_dir(&cage).unwrap();
        let files = [&file, &absolute, &relative].map(|path| RootedFile::open(path).unwrap());
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_FS).unwrap();
            chroot(&cage).unwrap();
            chdir("/").unwrap();
            assert!(!file.exists());
            files.iter().for_each(|rooted| holds(rooted, "one"));
        })
        .join()
        .unwrap();
    }

    /// The file is open to all users, a directory above it is not.
    #[test]
    fn a_closed_directory_above_is_passed_by_the_handle() {
        if !root() {
            return;
        }
        let scratch = Scratch::new();
        let file = scratch.make("closed/open/file", "one");
        let all = fs::Permissions::from_mode(0o755);
        fs::set_permissions(file.parent().unwrap(), all).unwrap();
        fs::set_permissions(scratch.0.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
        let rooted = RootedFile::open(&file).unwrap();
        // The file system user of a thread decides which files it may open (setfsuid(2)); it ends with the
        // thread.
        thread::spawn(move || {
            nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
            assert_eq!(
                fs::read(&file).unwrap_err().kind(),
                io::ErrorKind::PermissionDenied
            );
            holds(&rooted, "one");
        })
        .join()
        .unwrap();
    }
}
