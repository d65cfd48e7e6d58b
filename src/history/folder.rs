//! Impure. The directory of the record: its files are made, grow, and go. It is found through handles of the start.
//!
//! A directory that is removed while the server runs is made again, as far as that is permitted.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, fdatasync, fsync, ftruncate, unlinkat};

use super::segment::SegmentName;
use crate::host::rooted_file;

/// The end of the name of a file that is not complete yet, before it replaces another one.
const NEW: &str = ".new";

/// The directory.
#[derive(Debug)]
pub struct HistoryFolder {
    path: PathBuf,
    parent: OwnedFd,
    name: OsString,
    open: Option<OwnedFd>,
}

impl HistoryFolder {
    /// Takes a handle on the directory around the one at `path`; that one need not exist.
    ///
    /// # Errors
    /// The directory around it does not exist, or can't be reached.
    pub fn at(path: &Path) -> io::Result<Self> {
        let path = absolute(path)?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        Ok(Self {
            parent: rooted_file::handle(parent)?,
            name: name.to_owned(),
            path,
            open: None,
        })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the directory as it is now, and makes it if it does not exist.
    ///
    /// # Errors
    /// As `open(2)` and `mkdir(2)`.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.open = None;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let name = self.name.as_os_str();
        let opened = match openat(&self.parent, name, flags, Mode::empty()) {
            Err(Errno::ENOENT) => {
                // The group may read it, as it may ask the server.
                mkdirat(&self.parent, name, Mode::from_bits_truncate(0o750))?;
                openat(&self.parent, name, flags, Mode::empty())
            }
            opened => opened,
        };
        self.open = Some(opened?);
        Ok(())
    }

    fn handle(&self) -> io::Result<&OwnedFd> {
        self.open.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Returns the files of the record with their lengths, in the order of their numbers; removes unfinished ones.
    pub(super) fn files(&self) -> io::Result<Vec<(SegmentName, u64)>> {
        let handle = self.handle()?;
        // One of its own: reading moves its position.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut directory = Dir::openat(handle, ".", flags, Mode::empty())?;
        let mut found = Vec::new();
        for entry in directory.iter() {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if let Some(segment) = SegmentName::read(name) {
                let status: FileStat = fstatat(handle, name, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)?;
                found.push((segment, u64::try_from(status.st_size).unwrap_or(0)));
            } else if name.strip_suffix(NEW).and_then(SegmentName::read).is_some() {
                unlinkat(handle, name, UnlinkatFlags::NoRemoveDir)?;
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Reads a whole file.
    pub(super) fn read(&self, name: SegmentName) -> io::Result<Vec<u8>> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = openat(self.handle()?, name.to_string().as_str(), flags, Mode::empty())?;
        let mut bytes = Vec::new();
        File::from(file).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Opens a file to append to it, and makes it if it is new.
    pub(super) fn append(&self, name: SegmentName, is_new: bool) -> io::Result<GrowingFile> {
        let new = if is_new {
            OFlag::O_CREAT | OFlag::O_EXCL
        } else {
            OFlag::empty()
        };
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | new;
        let handle = self.handle()?;
        let file = openat(
            handle,
            name.to_string().as_str(),
            flags,
            Mode::from_bits_truncate(0o640),
        )?;
        if is_new {
            fsync(handle)?;
        }
        Ok(GrowingFile(file.into()))
    }

    /// Replaces a file: it has the old content or the new one at every moment.
    pub(super) fn replace(&self, name: SegmentName, bytes: &[u8]) -> io::Result<()> {
        let handle = self.handle()?;
        let new = format!("{name}{NEW}");
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let file = openat(handle, new.as_str(), flags, Mode::from_bits_truncate(0o640))?;
        let written = File::from(file).write_all(bytes).and_then(|()| {
            let file = openat(
                handle,
                new.as_str(),
                OFlag::O_WRONLY | OFlag::O_CLOEXEC,
                Mode::empty(),
            )?;
            fdatasync(&file)?;
            renameat(handle, new.as_str(), handle, name.to_string().as_str())?;
            Ok(fsync(handle)?)
        });
        if written.is_err() {
            let _removed = unlinkat(handle, new.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    /// Removes a file.
    pub(super) fn remove(&self, name: SegmentName) -> io::Result<()> {
        Ok(unlinkat(
            self.handle()?,
            name.to_string().as_str(),
            UnlinkatFlags::NoRemoveDir,
        )?)
    }

    /// Returns handles for the sandbox: of the directory around this one, and of this one, if it exists.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub fn handles(&self) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
        let around = self.parent.try_clone()?;
        Ok((around, rooted_file::handle(&self.path).ok()))
    }
}

/// A file that grows.
#[derive(Debug)]
pub(super) struct GrowingFile(File);

impl GrowingFile {
    /// Appends bytes.
    ///
    /// # Errors
    /// As `write(2)`; a part of them may be in the file then.
    pub(super) fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Whether it was removed: nothing that is added can be found any more.
    pub(super) fn is_gone(&self) -> bool {
        self.0.metadata().is_ok_and(|found| found.nlink() == 0)
    }

    /// Cuts it to this length.
    pub(super) fn cut(&self, length: usize) -> io::Result<()> {
        Ok(ftruncate(
            self.0.as_fd(),
            i64::try_from(length).unwrap_or(i64::MAX),
        )?)
    }

    /// Waits until the disk has all of it.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(fdatasync(self.0.as_fd())?)
    }
}
