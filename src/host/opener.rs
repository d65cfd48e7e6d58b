//! Impure. A process of its own that opens files for this one: those that are read again, when others have been put in their
//! place.
//!
//! Landlock knows files, not names: a file that replaces `/etc/resolv.conf` is another one, and to have it in reach all of
//! `/etc` would have to be. So a copy of this process, made at the start, has those directories in its reach, and nothing else: no
//! socket but the one to us, no memory in common, three system calls and some for its end. It is told the number of a path that it
//! has known from the start, and hands the open file over. It ends when we do.

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

/// Its name among the processes (15 bytes at most).
const NAME: &std::ffi::CStr = c"ntpfront-files";
/// To open a file takes no longer, where the file system is well.
const PATIENCE_S: i64 = 2;
/// A question is its turn and the number of a path, an answer the same turn and an error number, or 0 and a descriptor.
const MESSAGE: usize = 8;

static OPENER: OnceLock<Mutex<Opener>> = OnceLock::new();

/// The connection to the other process.
#[derive(Debug)]
struct Opener {
    socket: OwnedFd,
    paths: Vec<PathBuf>,
    turn: u32,
}

/// Starts it, for `paths`, with the rights of `user` if it is to become one. `forget` gives up what takes much memory, in the copy
/// alone: what it keeps, the system has twice once this process replaces it. Must run while the process has one thread, with the
/// rights and the root directory of the start.
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
    // A signal to end or to reload is not for the copy; ours must not come meanwhile.
    let before = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)?;
    let started = sys::start_copy(|| {
        forget();
        serve(&theirs, paths, user);
    });
    before.thread_set_mask()?;
    started?;
    drop(theirs);
    // It says so when it has locked itself up: where it can't, it is gone.
    if receive(ours.as_raw_fd())?.is_none() {
        return Err(io::Error::other("it has ended at once"));
    }
    let opener = Opener {
        socket: ours,
        paths: paths.to_vec(),
        turn: 0,
    };
    OPENER.get_or_init(|| Mutex::new(opener));
    Ok(())
}

/// The file that `path` is now, open for reading, from the other process.
///
/// # Errors
/// `None`: there is no such process, or it doesn't know the path. Else what it got from the kernel; or that it has ended.
pub(super) fn open(path: &Path) -> Option<io::Result<OwnedFd>> {
    let mut opener = OPENER.get()?.lock().unwrap_or_else(PoisonError::into_inner);
    let number = opener.paths.iter().position(|known| known == path)?;
    Some(opener.ask(number))
}

impl Opener {
    fn ask(&mut self, number: usize) -> io::Result<OwnedFd> {
        self.turn = self.turn.wrapping_add(1);
        let number = u32::try_from(number).map_err(io::Error::other)?;
        send(self.socket.as_raw_fd(), self.turn, number, None).map_err(ended)?;
        loop {
            let answer = receive(self.socket.as_raw_fd())?.ok_or_else(|| ended(Errno::EPIPE.into()))?;
            match answer {
                // To an older question, whose turn we did not wait for.
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
            "{error} (the process {} that opens it has ended: restart)",
            NAME.to_string_lossy()
        ),
    )
}

/// The life of the copy.
fn serve(socket: &OwnedFd, paths: &[PathBuf], user: Option<&Identity>) {
    let _named = set_name(NAME);
    if sys::close_all_but(socket.as_raw_fd()).is_err() {
        return;
    }
    let files: Vec<Option<RootedFile>> = paths.iter().map(|path| RootedFile::open(path).ok()).collect();
    let mut access = AllowedAccess::default();
    paths.iter().for_each(|path| access.read_beside(path));
    // What can't be given up here is worse than no process at all.
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

/// A message and what came with it; `None` when the other side has ended.
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
