//! Impure. Finds and reads the configuration file and the files that it names.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::{getegid, geteuid};
use zeroize::Zeroizing;

use super::fault::{Fault, Place};
use super::nts_files::NtsFiles;
use super::{Effective, Loaded, NamedFiles, NtsKeys, PrivateFile, decode};
use crate::cli::{DEFAULT_FILE, Flags};
use crate::host::limits;
use crate::host::rooted_file::{ReadError, RootedFile};

/// Longest configuration, in bytes: a longer file is a mistake (a log, an image, a device).
pub const LONGEST: u64 = 1024 * 1024;
/// Longest list, in bytes: 100,000 prefixes take about 2 MB.
const LONGEST_LIST: u64 = 64 * 1024 * 1024;
/// Longest lists of a configuration together, in bytes, each counted for each listener that reads it.
///
/// That is about 20 million prefixes.
const ALL_LISTS: u64 = 256 * 1024 * 1024;
/// The part of a list that is in memory at once, in bytes.
const PIECE: usize = 64 * 1024;

/// Whether a list's file stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Yes,
    No,
}

/// Whether files with secrets are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Secrets {
    Read,
    Leave,
}

/// Device, inode, length and time of change of a file.
type FoundFile = (u64, u64, u64, i64, i64);
/// The same; `None` if the file can't be opened.
type FileIdentity = Option<FoundFile>;

/// The reader of a running server's configuration, at the start and at each reload.
#[derive(Debug)]
pub struct Loader {
    flags: Flags,
    path: PathBuf,
    /// Stays open, as the root directory may change; `None` where the directory doesn't exist.
    file: Option<RootedFile>,
    /// The files that the configuration names, kept open for the same reason.
    named: RefCell<HashMap<PathBuf, RootedFile>>,
    /// The files of `[nts]` as they were when they were read.
    nts_seen: RefCell<Vec<FileIdentity>>,
    /// The file as a look at it found it last, and its digest.
    looked: Option<(FoundFile, u64)>,
    /// Whether the file must exist: a flag names it, or it was read before.
    ///
    /// To serve without it would then not be intended.
    needed: bool,
}

impl Loader {
    /// Opens the file that `flags` name, or the default one.
    pub fn new(flags: &Flags) -> Self {
        Self::with_default(flags, Path::new(DEFAULT_FILE))
    }

    /// Opens the file that `flags` name, or `default`, which need not exist.
    pub fn with_default(flags: &Flags, default: &Path) -> Self {
        let path = flags.config.as_deref().unwrap_or(default).to_owned();
        Self {
            flags: flags.clone(),
            file: RootedFile::open(&path).ok(),
            named: RefCell::default(),
            nts_seen: RefCell::default(),
            looked: None,
            needed: flags.config.is_some(),
            path,
        }
    }

    /// Reads the file together with the flags, which take precedence each time.
    ///
    /// # Errors
    /// All faults, at least one; a file that can't be read is one.
    pub fn load(&mut self) -> Result<Loaded, Vec<Fault>> {
        self.load_own(Secrets::Leave)
    }

    fn load_own(&mut self, secrets: Secrets) -> Result<Loaded, Vec<Fault>> {
        let text = match &self.file {
            _ if !self.needed && is_absent(&self.path) => {
                return self.load_text(None, Keep::Yes, secrets);
            }
            Some(file) => read_again(&self.path, file)?,
            None => read(&self.path)?,
        };
        let loaded = self.load_text(Some((&self.path, &text)), Keep::Yes, secrets)?;
        self.needed = true;
        Ok(Loaded {
            digest: Some(digest(&text)),
            ..loaded
        })
    }

    /// Returns the digest of the file as it is now; `None` if there is no file.
    ///
    /// The text is read only if the file is not the one of the last look.
    ///
    /// # Errors
    /// It can't be read now.
    pub fn digest(&mut self) -> Result<Option<u64>, ReadError> {
        let Some(file) = &self.file else {
            return Err(ReadError::Open(io::ErrorKind::NotFound.into()));
        };
        let opened = match file.regular_file(LONGEST) {
            Ok((opened, _)) => opened,
            Err(ReadError::Open(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let identity = identity(&opened.metadata().map_err(ReadError::Look)?);
        if let Some((_, digest)) = self.looked.filter(|(seen, _)| *seen == identity) {
            return Ok(Some(digest));
        }
        let mut bytes = Vec::new();
        opened
            .take(LONGEST)
            .read_to_end(&mut bytes)
            .map_err(ReadError::Read)?;
        // What is no text is another one than any that is in effect.
        let digest = decode(&self.path, bytes).map_or(0, |text| digest(&text));
        self.looked = Some((identity, digest));
        Ok(Some(digest))
    }

    /// Checks a file of this `text` together with the flags; faults name its `path`.
    ///
    /// # Errors
    /// All faults, at least one.
    pub fn check(&self, path: &str, text: &str) -> Result<Loaded, Vec<Fault>> {
        self.check_text(path, text, Secrets::Leave)
    }

    fn check_text(&self, path: &str, text: &str, secrets: Secrets) -> Result<Loaded, Vec<Fault>> {
        // The files of a question don't stay open: each would cost a descriptor.
        self.load_text(Some((Path::new(path), text)), Keep::No, secrets)
    }

    /// Reads the configuration as [`Self::load`] does, and the files with secrets, which only the server itself may read.
    ///
    /// They are those of `[nts]`, and the symmetric keys.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_all(&mut self) -> Result<Loaded, Vec<Fault>> {
        let loaded = self.load_own(Secrets::Read)?;
        self.with_nts_files(loaded, Keep::Yes)
    }

    /// Checks a text as [`Self::check`] does, and the files with secrets.
    ///
    /// # Errors
    /// All faults, at least one.
    pub fn check_all(&self, path: &str, text: &str) -> Result<Loaded, Vec<Fault>> {
        self.with_nts_files(self.check_text(path, text, Secrets::Read)?, Keep::No)
    }

    fn with_nts_files(&self, loaded: Loaded, keep: Keep) -> Result<Loaded, Vec<Fault>> {
        let (identities, files) = self.nts_files(&loaded.config.nts, &loaded.effective, keep);
        if keep == Keep::Yes {
            self.nts_seen.replace(identities);
        }
        Ok(Loaded {
            nts_files: Some(files?),
            ..loaded
        })
    }

    fn nts_files(
        &self,
        keys: &NtsKeys,
        effective: &Effective,
        keep: Keep,
    ) -> (Vec<FileIdentity>, Result<NtsFiles, Vec<Fault>>) {
        // Before they are read: a change meanwhile is noticed the next time.
        let identities = self.identities(keys);
        let read = |path: &Path, longest: u64| self.private_file(path, longest, keep);
        (identities, NtsFiles::read(keys, effective, &read))
    }

    /// Reads the files of `[nts]` again if one of them is another one than last time; `None` if not.
    pub fn changed_nts_files(
        &self,
        keys: &NtsKeys,
        effective: &Effective,
    ) -> Option<Result<NtsFiles, Vec<Fault>>> {
        let now = self.identities(keys);
        if *self.nts_seen.borrow() == now {
            return None;
        }
        let (identities, files) = self.nts_files(keys, effective, Keep::Yes);
        self.nts_seen.replace(identities);
        Some(files)
    }

    fn identities(&self, keys: &NtsKeys) -> Vec<FileIdentity> {
        let of_path = |path: &PathBuf| {
            let (file, _) = self.open_named(path, u64::MAX, Keep::Yes).ok()?;
            Some(identity(&file.metadata().ok()?))
        };
        keys.paths().map(of_path).collect()
    }

    fn private_file(&self, path: &Path, longest: u64, keep: Keep) -> Result<PrivateFile, String> {
        let (file, length) = self.open_named(path, longest, keep)?;
        let failed = |error: io::Error| format!("cannot read: {}", limits::explain(&error));
        let mode = file.metadata().map_err(failed)?.mode();
        // No reallocation, which would leave a copy behind.
        let room = usize::try_from(length).unwrap_or_default() + 1;
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        file.take(length).read_to_end(&mut bytes).map_err(failed)?;
        Ok(PrivateFile { bytes, mode })
    }

    fn load_text(
        &self,
        text: Option<(&Path, &str)>,
        keep: Keep,
        secrets: Secrets,
    ) -> Result<Loaded, Vec<Fault>> {
        let left = Cell::new(ALL_LISTS);
        let private = |path: &Path, longest: u64| self.private_file(path, longest, keep);
        let files = NamedFiles {
            lists: &|path| self.list(path, keep, &left),
            private: (secrets == Secrets::Read).then_some(&private),
        };
        super::load_with(&self.flags, text, files)
    }

    /// Returns the lines of a file that the configuration names.
    ///
    /// `left` is the number of bytes that all lists may still have. `keep` says whether the file stays open, as the
    /// root directory may change.
    fn list(&self, path: &Path, keep: Keep, left: &Cell<u64>) -> Result<Box<dyn BufRead>, String> {
        let (file, length) = self.open_named(path, LONGEST_LIST, keep)?;
        left.set(left.get().checked_sub(length).ok_or_else(|| {
            format!("with it all lists together are larger than {ALL_LISTS} bytes, each counted for each listener that reads it")
        })?);
        // A file that grows meanwhile is cut, and its last line may be a fault.
        Ok(Box::new(BufReader::with_capacity(PIECE, file.take(length))))
    }

    /// Opens a file that the configuration names, and returns it with its length.
    fn open_named(&self, path: &Path, longest: u64, keep: Keep) -> Result<(File, u64), String> {
        let find = || {
            self.find(path)
                .map_err(|error| format!("cannot open: {}", limits::explain(&error)))
        };
        let mut named = self.named.borrow_mut();
        let once;
        let rooted: &RootedFile = match named.entry(path.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) if keep == Keep::Yes => new.insert(find()?),
            Entry::Vacant(_) => {
                once = find()?;
                &once
            }
        };
        rooted.regular_file(longest).map_err(|error| error.to_string())
    }

    fn find(&self, path: &Path) -> io::Result<RootedFile> {
        let path = std::path::absolute(path)?;
        match &self.file {
            Some(file) => file.another(&path).or_else(|_| RootedFile::open(&path)),
            None => RootedFile::open(&path),
        }
    }

    /// Whether a right is missing to open any of these files.
    pub fn is_denied(&self) -> bool {
        let named = self.named.borrow();
        let mut files = self.file.iter().chain(named.values());
        files.any(|file| {
            let opened = file.regular_file(LONGEST_LIST);
            matches!(opened, Err(ReadError::Open(error)) if error.kind() == io::ErrorKind::PermissionDenied)
        })
    }

    /// Returns the paths of the file and of those that it names, for a sandbox that leaves them within reach.
    pub fn paths(&self) -> Vec<PathBuf> {
        let named = self.named.borrow();
        let files = self.file.iter().chain(named.values());
        files.map(|file| file.path().to_owned()).collect()
    }
}

/// Returns a number that other texts hardly have: it is compared within one process only.
fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn identity(about: &Metadata) -> FoundFile {
    (
        about.dev(),
        about.ino(),
        about.len(),
        about.mtime(),
        about.mtime_nsec(),
    )
}

/// Reads the file that the flags name, or the default one if it exists, together with the flags.
///
/// # Errors
/// As [`Loader::load`].
pub fn load(flags: &Flags) -> Result<Loaded, Vec<Fault>> {
    Loader::new(flags).load()
}

/// Reads what [`load`] does, and the files with secrets.
///
/// # Errors
/// As [`Loader::load`].
pub fn load_all(flags: &Flags) -> Result<Loaded, Vec<Fault>> {
    Loader::new(flags).load_all()
}

/// Whether there is nothing at `path`; a link that leads nowhere is not absent, as it has a purpose.
fn is_absent(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Returns the text of a regular file of at most 1 MiB.
///
/// # Errors
/// The file can't be read: the cause, and the remedy.
pub fn read(path: &Path) -> Result<String, Vec<Fault>> {
    let file = RootedFile::open(path).map_err(|error| unreadable(path, &ReadError::Open(error)))?;
    read_again(path, &file)
}

/// Returns the text of another daemon's file, with replacements for bytes that are no UTF-8.
///
/// Such a daemon accepts comments in any encoding. `None` if there is no such file.
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

/// Returns the text of a file that stayed open; faults name `path`.
///
/// # Errors
/// As [`read`].
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
        place: Place::WholeFile(path.to_owned()),
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
