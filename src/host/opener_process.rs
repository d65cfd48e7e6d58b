//! Impure. The process that opens files for this one: those that are read again after they were replaced.
//!
//! Landlock knows files, not names: a file that replaces `/etc/resolv.conf` is another file, and to permit
//! it, all of `/etc` would have to be permitted. So a copy of this process, made at the start, has those
//! directories permitted, and nothing else: no socket except the one to its parent, no shared memory, three
//! system calls and some for its end. It receives the number of a path that it has known from the start, and
//! sends the open file (`opener`). It ends with its parent.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::prctl::set_name;
use nix::sys::signal::SigSet;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::opener::{self, NAME, receive, send};
use super::privileges::{self, Identity};
use super::rooted_file::RootedFile;
use super::sandbox::{self, AllowedAccess, seccomp};
use super::sys;

/// The longest wait for a file, in seconds: a working file system takes less.
const PATIENCE_S: i64 = 2;

/// Starts the process, for `paths`, with the permissions of `user` if it becomes one.
///
/// `forget` releases what takes much memory, in the copy alone: the system has twice what the copy keeps,
/// once this process replaces it. Must run while the process has one thread, with the permissions and the
/// root directory of the start.
///
/// # Errors
/// There can be no other process.
pub fn start(paths: &[PathBuf], user: Option<&Identity>, forget: impl FnOnce()) -> io::Result<()> {
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    setsockopt(&ours, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE_S))?;
    // A signal to end or to reload is not for the copy; the parent's must not be lost meanwhile.
    let before = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)?;
    let started = sys::start_copy(|| {
        forget();
        serve(&theirs, paths, user);
    });
    before.thread_set_mask()?;
    started?;
    drop(theirs);
    // It reports when it is confined; if it can't be, it has ended.
    if receive(ours.as_raw_fd())?.is_none() {
        return Err(io::Error::other("the process ended immediately"));
    }
    opener::connect(ours, paths.to_vec());
    Ok(())
}

/// Runs the copy until its parent ends.
fn serve(socket: &OwnedFd, paths: &[PathBuf], user: Option<&Identity>) {
    let _named = set_name(NAME);
    if sys::close_all_but(socket.as_raw_fd()).is_err() {
        return;
    }
    let files: Vec<Option<RootedFile>> = paths.iter().map(|path| RootedFile::open(path).ok()).collect();
    let mut access = AllowedAccess::default();
    paths.iter().for_each(|path| access.read_beside(path));
    // A process with privileges that can't be dropped is worse than none.
    if privileges::drop_to(None, user, false).is_err()
        || sandbox::limit_to(&access).is_err()
        || seccomp::limit_opener().is_err()
    {
        return;
    }
    drop(access);
    let _told = send(socket.as_raw_fd(), 0, 0, None);
    while let Ok(Some((turn, number, _))) = receive(socket.as_raw_fd()) {
        let file = usize::try_from(number)
            .ok()
            .and_then(|number| files.get(number)?.as_ref());
        let opened = file.ok_or(Errno::EACCES).and_then(RootedFile::reopen);
        let file = opened.as_ref().ok().map(AsRawFd::as_raw_fd);
        let error = opened
            .as_ref()
            .err()
            .map_or(0, |error| (*error as i32).cast_unsigned());
        if send(socket.as_raw_fd(), turn, error, file).is_err() {
            return;
        }
    }
}
