//! Impure. The connection to the process that opens files for this one (`opener_process`).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use super::sys;

/// Name of the process (15 bytes at most).
pub(super) const NAME: &std::ffi::CStr = c"ntpfront-files";
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

/// Opens files from now on through `socket`, by the process that knows these `paths`.
pub(super) fn connect(socket: OwnedFd, paths: Vec<PathBuf>) {
    let turn = 0;
    let opener = Opener { socket, paths, turn };
    OPENER.get_or_init(|| Mutex::new(opener));
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

/// Sends a message, with a descriptor if there is a `file`.
pub(super) fn send(socket: RawFd, turn: u32, number: u32, file: Option<RawFd>) -> io::Result<()> {
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
pub(super) fn receive(socket: RawFd) -> io::Result<Option<(u32, u32, Option<OwnedFd>)>> {
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
