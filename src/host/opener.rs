//! Impure. A process of its own that opens files for this one: those that are read again after they were replaced.
//!
//! Landlock knows files, not names: a file that replaces `/etc/resolv.conf` is another file, and to permit
//! it, all of `/etc` would have to be permitted. So a copy of this process, made at the start, has those
//! directories permitted, and nothing else: no socket except the one to its parent, no shared memory, three
//! system calls and some for its end. It receives the number of a path that it has known from the start, and
//! sends the open file. It ends with its parent.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::prctl::set_name;
use nix::sys::signal::SigSet;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    setsockopt, socketpair, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::privileges::{self, Identity};
use super::rooted_file::RootedFile;
use super::sandbox::{self, AllowedAccess, seccomp};
use super::sys;

/// Name of the process (15 bytes at most).
const NAME: &std::ffi::CStr = c"ntpfront-files";
/// The longest wait for a file, in seconds: a working file system takes less.
const PATIENCE_S: i64 = 2;
/// Length of a message in bytes.
///
/// A request is its turn and the number of a path. An answer is the same turn and an error number, or 0 and a
/// descriptor.
const MESSAGE: usize = 8;

static OPENER: OnceLock<Mutex<Opener>> = OnceLock::new();

/// The connection to the other process.
#[derive(Debug)]
struct Opener {
    socket: OwnedFd,
    paths: Vec<PathBuf>,
    turn: u32,
}

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
    let opener = Opener {
        socket: ours,
        paths: paths.to_vec(),
        turn: 0,
    };
    OPENER.get_or_init(|| Mutex::new(opener));
    Ok(())
}

/// Opens the file that `path` is now, for reading, through the other process.
///
/// # Errors
/// `None`: there is no such process, or it doesn't know the path. Else the kernel's error there, or that the
/// process has ended.
pub(super) fn open(path: &Path) -> Option<io::Result<OwnedFd>> {
    let mut opener = OPENER.get()?.lock().unwrap_or_else(PoisonError::into_inner);
    let number = opener.paths.iter().position(|known| known == path)?;
    Some(opener.request(number))
}

impl Opener {
    fn request(&mut self, number: usize) -> io::Result<OwnedFd> {
        self.turn = self.turn.wrapping_add(1);
        let number = u32::try_from(number).map_err(io::Error::other)?;
        send(self.socket.as_raw_fd(), self.turn, number, None).map_err(ended)?;
        loop {
            let answer = receive(self.socket.as_raw_fd())?.ok_or_else(|| ended(Errno::EPIPE.into()))?;
            match answer {
                // An answer to an older request, after the wait for it had ended.
                (turn, _, _) if turn != self.turn => {}
                (_, 0, Some(file)) => return Ok(file),
                (_, error, _) => {
                    return Err(io::Error::from_raw_os_error(error.cast_signed()));
                }
            }
        }
    }
}

fn ended(error: io::Error) -> io::Error {
    let kind = error.kind();
    io::Error::new(
        kind,
        format!(
            "{error} (the process {}, which opens this file, has ended: restart ntpfront)",
            NAME.to_string_lossy()
        ),
    )
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

fn send(socket: RawFd, turn: u32, number: u32, file: Option<RawFd>) -> io::Result<()> {
    let mut message = [0; MESSAGE];
    let (first, second) = message.split_at_mut(MESSAGE / 2);
    first.copy_from_slice(&turn.to_ne_bytes());
    second.copy_from_slice(&number.to_ne_bytes());
    let files: Vec<RawFd> = file.into_iter().collect();
    let rights = [ControlMessage::ScmRights(&files)];
    let rights = if files.is_empty() { &[][..] } else { &rights };
    sendmsg::<()>(
        socket,
        &[IoSlice::new(&message)],
        rights,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(())
}

/// Receives a message and the descriptor that came with it; `None` if the other side has ended.
fn receive(socket: RawFd) -> io::Result<Option<(u32, u32, Option<OwnedFd>)>> {
    let mut message = [0; MESSAGE];
    let mut space = cmsg_space!([RawFd; 1]);
    let mut parts = [IoSliceMut::new(&mut message)];
    let received = recvmsg::<()>(socket, &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut files = Vec::new();
    for control in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            files.extend(sys::inherited(numbers));
        }
    }
    if received.bytes != MESSAGE {
        return Ok(None);
    }
    let word = |bytes: &[u8]| bytes.try_into().map(u32::from_ne_bytes).unwrap_or_default();
    let (first, second) = message.split_at(MESSAGE / 2);
    Ok(Some((word(first), word(second), files.pop())))
}
