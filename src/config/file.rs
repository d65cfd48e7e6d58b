//! Impure. Finds and reads the configuration file and the files that it names.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::fault::Fault;
use super::file_faults::{of_file, unlisted, unreadable};
use super::nts_files::NtsFiles;
use super::sources::SourcesText;
use super::{ConfigText, Effective, Loaded, NamedFiles, NtsKeys, PrivateFile, decode};
use crate::cli::{DEFAULT_FILE, Flags};
use crate::host::limits;
use crate::host::rooted_file::{ReadError, RootedFile};

/// Longest configuration, in bytes: a longer file is a mistake (a log, an image, a device).
pub const LONGEST: u64 = 1024 * 1024;
/// Name of the directory of drop-ins, beside the configuration file, and the end of their names.
const DROP_INS: &str = "conf.d";
const DROP_IN_SUFFIX: &[u8] = b".toml";
/// Maximum number of drop-ins, and of files in a directory of `[sources]`.
const MOST_DROP_INS: usize = 256;
/// The end of the names of files in a directory of `[sources]`, and the largest length of one in bytes.
const SOURCES_SUFFIX: &[u8] = b".sources";
const LONGEST_SOURCES: u64 = 64 * 1024;
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
/// The same of a text of the configuration, with its path.
type FoundText = (PathBuf, FoundFile);
/// The same without a path; `None` if the file can't be opened.
type FileIdentity = Option<FoundFile>;

/// The reader of a running server's configuration, at the start and at each reload.
#[derive(Debug)]
pub struct Loader {
    flags: Flags,
    path: PathBuf,
    /// Stays open, as the root directory may change; `None` where the directory doesn't exist.
    file: Option<RootedFile>,
    /// The directory of drop-ins beside it; `None` where its own directory doesn't exist.
    drop_ins: Option<RootedFile>,
    /// The directories of `[sources]`, kept open for the same reason.
    sources: RefCell<HashMap<PathBuf, RootedFile>>,
    /// The files that the configuration names, kept open for the same reason.
    named: RefCell<HashMap<PathBuf, RootedFile>>,
    /// The addresses for which deciding rules are wanted, sorted: none but for [`Self::deciding_rules`].
    asked: Vec<IpAddr>,
    /// The files of `[nts]` as they were when they were read.
    nts_seen: RefCell<Vec<FileIdentity>>,
    /// The file and its drop-ins as a look at them found them last, and their digest.
    looked: Option<(Vec<FoundText>, Option<u64>)>,
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
            drop_ins: RootedFile::open(&path.with_file_name(DROP_INS)).ok(),
            sources: RefCell::default(),
            named: RefCell::default(),
            asked: Vec::new(),
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

    /// Reads the configuration as [`Self::load`] does, with the rules that decide about these `addresses`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn deciding_rules(&mut self, addresses: &[IpAddr]) -> Result<Loaded, Vec<Fault>> {
        self.asked = addresses.to_vec();
        self.asked.sort_unstable();
        self.asked.dedup();
        let loaded = self.load();
        self.asked.clear();
        loaded
    }

    fn load_own(&mut self, secrets: Secrets) -> Result<Loaded, Vec<Fault>> {
        let (text, drop_ins) = self.texts()?;
        let own = text.as_ref().map(|text| (self.path.as_path(), text.as_str()));
        let loaded = self.load_texts(own, &drop_ins, Keep::Yes, secrets)?;
        self.needed |= text.is_some();
        Ok(Loaded {
            digest: digest(text.as_deref(), &drop_ins),
            ..loaded
        })
    }

    /// Returns the digest of the file and its drop-ins as they are now; `None` if there are none.
    ///
    /// The texts are read only if the files are not those of the last look.
    ///
    /// # Errors
    /// One can't be opened now.
    pub fn digest(&mut self) -> Result<Option<u64>, ReadError> {
        let identities = self.identities_of_texts()?;
        if let Some((_, digest)) = self.looked.as_ref().filter(|(seen, _)| *seen == identities) {
            return Ok(*digest);
        }
        // What is no text is another one than any that is in effect.
        let digest = self
            .texts()
            .map_or(Some(0), |(text, drop_ins)| digest(text.as_deref(), &drop_ins));
        self.looked = Some((identities, digest));
        Ok(digest)
    }

    /// Returns what tells the file and its drop-ins from others, each with its path.
    fn identities_of_texts(&self) -> Result<Vec<FoundText>, ReadError> {
        let drop_ins = match &self.drop_ins {
            Some(handle) => files_in(handle, &self.path.with_file_name(DROP_INS), DROP_IN_SUFFIX),
            None => Ok(Vec::new()),
        };
        let drop_ins = drop_ins.map_err(ReadError::Open)?;
        let mut identities = Vec::new();
        for path in std::iter::once(&self.path).chain(&drop_ins) {
            let opened = match &self.file {
                Some(own) if *path == self.path => own.regular_file(u64::MAX),
                Some(_) | None => self.find(path).map_err(ReadError::Open)?.regular_file(u64::MAX),
            };
            match opened {
                Ok((file, _)) => {
                    let about = file.metadata().map_err(ReadError::Look)?;
                    identities.push((path.clone(), identity(&about)));
                }
                Err(ReadError::Open(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(identities)
    }

    /// Reads the drop-ins: each with its path, in the order of their names. The file itself has `length` bytes.
    fn drop_ins(&self, length: usize) -> Result<Vec<ConfigText>, Vec<Fault>> {
        let Some(handle) = &self.drop_ins else {
            return Ok(Vec::new());
        };
        let directory = self.path.with_file_name(DROP_INS);
        let paths = files_in(handle, &directory, DROP_IN_SUFFIX)
            .map_err(|error| vec![unlisted(&directory, &error)])?;
        // Those that are gone need no descriptors.
        let is_gone = |path: &PathBuf| path.parent() == Some(&directory) && !paths.contains(path);
        self.named.borrow_mut().retain(|path, _| !is_gone(path));
        if paths.len() > MOST_DROP_INS {
            let found = format!("{} drop-ins", paths.len());
            return Err(vec![of_file(
                &directory,
                found,
                format!("at most {MOST_DROP_INS}"),
            )]);
        }
        let mut left = LONGEST.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
        let (mut texts, mut faults) = (Vec::new(), Vec::new());
        for path in paths {
            match self.drop_in(&path, &mut left) {
                Ok(text) => texts.push((path, text)),
                Err(why) => faults.extend(why),
            }
        }
        if faults.is_empty() { Ok(texts) } else { Err(faults) }
    }

    /// Reads a drop-in. All files together have at most as many bytes as one may have: `left` more.
    fn drop_in(&self, path: &Path, left: &mut u64) -> Result<String, Vec<Fault>> {
        let fault = |found| vec![of_file(path, found, String::new())];
        let (file, length) = self.open_named(path, u64::MAX, Keep::Yes).map_err(fault)?;
        *left = left
            .checked_sub(length)
            .ok_or_else(|| fault("with it the configuration is larger than 1 MiB".to_owned()))?;
        let mut bytes = Vec::new();
        file.take(length)
            .read_to_end(&mut bytes)
            .map_err(|error| fault(format!("cannot read: {}", limits::explain(&error))))?;
        decode(path, bytes)
    }

    /// Reads the files of a directory of `[sources]`; it need not exist.
    ///
    /// They are looked up in the directory each time, and none stays open: other programs replace them.
    fn sources(&self, directory: &Path, keep: Keep) -> Result<Vec<SourcesText>, String> {
        let told = |error: &io::Error| unlisted(directory, error).to_string();
        let mut known = self.sources.borrow_mut();
        let once;
        let handle: &RootedFile = match known.entry(directory.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => match self.find(directory) {
                Ok(handle) if keep == Keep::Yes => new.insert(handle),
                Ok(handle) => {
                    once = handle;
                    &once
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(told(&error)),
            },
        };
        let paths = files_in(handle, directory, SOURCES_SUFFIX).map_err(|error| told(&error))?;
        let mut texts = Vec::new();
        for path in paths.into_iter().take(MOST_DROP_INS) {
            let bytes = handle.read_in(path.file_name().unwrap_or_default(), LONGEST_SOURCES);
            let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            texts.push((path, text.map_err(|error| error.to_string())));
        }
        Ok(texts)
    }

    /// Checks a file of this `text` together with the flags; faults name its `path`.
    ///
    /// # Errors
    /// All faults, at least one.
    pub fn check(&self, path: &str, text: &str) -> Result<Loaded, Vec<Fault>> {
        self.check_texts((path, text), &[], Secrets::Leave)
    }

    fn check_texts(
        &self,
        (path, text): (&str, &str),
        drop_ins: &[ConfigText],
        secrets: Secrets,
    ) -> Result<Loaded, Vec<Fault>> {
        // The files of a question don't stay open: each would cost a descriptor.
        self.load_texts(Some((Path::new(path), text)), drop_ins, Keep::No, secrets)
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

    /// Checks a text as [`Self::check`] does, and its drop-ins and the files with secrets.
    ///
    /// # Errors
    /// All faults, at least one.
    pub fn check_all(&self, path: &str, text: &str, drop_ins: &[ConfigText]) -> Result<Loaded, Vec<Fault>> {
        let loaded = self.check_texts((path, text), drop_ins, Secrets::Read)?;
        self.with_nts_files(loaded, Keep::No)
    }

    /// Reads the texts of the file, if there is one, and of its drop-ins, for a check elsewhere.
    ///
    /// # Errors
    /// One of them can't be read.
    pub fn texts(&self) -> Result<(Option<String>, Vec<ConfigText>), Vec<Fault>> {
        let text = match &self.file {
            _ if !self.needed && is_absent(&self.path) => None,
            Some(file) => Some(read_again(&self.path, file)?),
            None => Some(read(&self.path)?),
        };
        let drop_ins = self.drop_ins(text.as_ref().map_or(0, String::len))?;
        Ok((text, drop_ins))
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

    fn load_texts(
        &self,
        text: Option<(&Path, &str)>,
        drop_ins: &[ConfigText],
        keep: Keep,
        secrets: Secrets,
    ) -> Result<Loaded, Vec<Fault>> {
        let left = Cell::new(ALL_LISTS);
        let private = |path: &Path, longest: u64| self.private_file(path, longest, keep);
        let sources = |directory: &Path| self.sources(directory, keep);
        let files = NamedFiles {
            sources: Some(&sources),
            lists: &|path| self.list(path, keep, &left),
            private: (secrets == Secrets::Read).then_some(&private),
            asked: &self.asked,
        };
        super::load_with(&self.flags, text, drop_ins, files)
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

    /// Returns the directories whose files are read, for a sandbox that leaves them within reach; they need not exist.
    pub fn directories(&self) -> Vec<PathBuf> {
        let sources = self.sources.borrow();
        let all = self.drop_ins.iter().chain(sources.values());
        all.map(|one| one.path().to_owned()).collect()
    }

    /// Returns the paths of the file and of those that it names, for a sandbox that leaves them within reach.
    pub fn paths(&self) -> Vec<PathBuf> {
        let named = self.named.borrow();
        let files = self.file.iter().chain(named.values());
        files.map(|file| file.path().to_owned()).collect()
    }
}

/// Returns a number that other texts hardly have: it is compared within one process only.
fn digest(text: Option<&str>, drop_ins: &[ConfigText]) -> Option<u64> {
    if text.is_none() && drop_ins.is_empty() {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    (text, drop_ins).hash(&mut hasher);
    Some(hasher.finish())
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

/// Returns the paths of the files with this ending, in the order of their names; none if there is no directory.
fn files_in(handle: &RootedFile, directory: &Path, suffix: &[u8]) -> io::Result<Vec<PathBuf>> {
    let names = match handle.names() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names?,
    };
    let is_meant = |name: &&OsString| {
        let name = name.as_encoded_bytes();
        name.ends_with(suffix) && !name.starts_with(b".")
    };
    Ok(names
        .iter()
        .filter(is_meant)
        .map(|name| directory.join(name))
        .collect())
}
