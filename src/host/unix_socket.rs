//! Impure. UNIX sockets with a name: their owner and permissions, without a moment in which they are others.
//!
//! A root process that will change its user opens them before that. In a directory that other users can
//! change, whatever root does to a path may hit another file, as a link may have been put there meanwhile. So
//! `owner` decides with which user's permissions a socket is made there; its mode comes from the umask, and
//! nothing is changed afterwards that another user could swap.

mod owner;

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, setsockopt, socket};
use nix::sys::stat::{Mode, umask};
use nix::sys::time::TimeVal;
use nix::unistd::{Gid, Uid, geteuid, setfsgid, setfsuid};

use owner::{Maker, PathElement, SET_GROUP, maker};

/// More links than the kernel follows (`path_resolution(7)`).
const MOST_LINKS: usize = 40;

/// Mode bits to mask: all except reading and writing by user and group.
const HIDDEN: Mode = Mode::from_bits_truncate(0o117);

/// Connects to the server that listens at `path`, within `limit`.
///
/// A server that accepts no more connections would otherwise keep its clients waiting, once its queue is full.
///
/// # Errors
/// No server is there, or the socket is closed to this user; [`io::ErrorKind::WouldBlock`] if it takes too long.
pub fn connect(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let socket = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let limit = limit.max(Duration::from_micros(1));
    let limit = TimeVal::new(
        limit.as_secs().try_into().map_err(io::Error::other)?,
        limit.subsec_micros().into(),
    );
    setsockopt(&socket, SendTimeout, &limit)?;
    let address = UnixAddr::new(path)?;
    loop {
        match nix::sys::socket::connect(socket.as_raw_fd(), &address) {
            Ok(()) => return Ok(socket.into()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Opens a socket at `path` that only `owner` and that user's group may connect to; `None` is the current user.
///
/// A socket left by a server that died is replaced; one that is in use is an error. Must run while the
/// process has one thread.
///
/// In a directory whose files inherit its group (set-group-ID) the group is that one.
///
/// # Errors
/// The directory does not exist, or is closed to the user that has to make the socket; or a server listens
/// there.
pub fn open(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<UnixListener> {
    let path = absolute(path)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let (directory, way) = walk(parent)?;
    let path = directory.join(name);
    let maker = maker(geteuid().as_raw(), owner.map(|(uid, _)| uid.as_raw()), &way);
    let _mode = Umask::set(HIDDEN);
    let listener = match (maker, owner) {
        (Maker::Owner, Some((uid, gid))) => as_user(uid, gid, || bind(&path)).map_err(|error| {
            // Root could do it, and is not asked to: the error must say why.
            let kind = error.kind();
            let why = format!(
                "{error} (as user {uid}, since users other than root can change {})",
                directory.display()
            );
            io::Error::new(kind, why)
        })?,
        (_, _) => bind(&path)?,
    };
    if let (Maker::RootForOwner, Some((uid, gid))) = (maker, owner) {
        let inherited = way.last().is_some_and(|own| own.mode & SET_GROUP != 0);
        let group = (!inherited).then_some(gid.as_raw());
        // Only root can change what is at this path.
        lchown(&path, Some(uid.as_raw()), group)?;
    }
    Ok(listener)
}

/// Returns the directory that an absolute path leads to, without links, and all elements that decide where it leads.
///
/// Those are each directory that is passed, the last one included, and each link.
fn walk(path: &Path) -> io::Result<(PathBuf, Vec<PathElement>)> {
    let mut here = PathBuf::from("/");
    let mut steps = vec![seen(&fs::metadata(&here)?)];
    let mut links = 0;
    let mut ahead: Vec<PathBuf> = path
        .components()
        .rev()
        .map(|part| part.as_os_str().into())
        .collect();
    while let Some(part) = ahead.pop() {
        // As the kernel does it: "/" leads to the top, ".." up, and "." nowhere.
        let next = match part.to_str() {
            Some(".") => continue,
            Some("..") => here.parent().unwrap_or(&here).to_owned(),
            _ => here.join(&part),
        };
        let found = fs::symlink_metadata(&next)?;
        steps.push(seen(&found));
        if found.is_symlink() {
            links += 1;
            if links > MOST_LINKS {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            let target = fs::read_link(&next)?;
            ahead.extend(target.components().rev().map(|part| part.as_os_str().into()));
        } else {
            here = next;
        }
    }
    Ok((here, steps))
}

fn seen(found: &Metadata) -> PathElement {
    PathElement {
        user: found.uid(),
        group: found.gid(),
        // All users may do everything with a link except change it.
        mode: if found.is_symlink() { 0o755 } else { found.mode() },
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let is_dead =
        || UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if is_socket && is_dead() {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Runs `job` with another user's permissions for files, and none of root's (`setfsuid(2)`).
fn as_user<T>(user: Uid, group: Gid, job: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let (our_user, our_group) = (setfsuid(user), setfsgid(group));
    // These calls return only the previous user; no user has the highest number.
    let unknown = (Uid::from_raw(u32::MAX), Gid::from_raw(u32::MAX));
    let became = (setfsuid(unknown.0), setfsgid(unknown.1)) == (user, group);
    let done = if became {
        job()
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    };
    let (_user, _group) = (setfsuid(our_user), setfsgid(our_group));
    if (setfsuid(unknown.0), setfsgid(unknown.1)) != (our_user, our_group) {
        return Err(io::Error::other("cannot return to the previous user"));
    }
    done
}

/// Permissions that new files don't get, until this is dropped.
struct Umask(Mode);

impl Umask {
    fn set(mask: Mode) -> Self {
        Self(umask(mask))
    }
}

impl Drop for Umask {
    fn drop(&mut self) {
        umask(self.0);
    }
}

#[cfg(test)]
mod tests;
