//! Impure. The service manager: words to it (`sd_notify(3)`), what it expects of us, and the sockets that it keeps for us.
//!
//! Its socket is connected early: after a change of the root directory its path is not there any more.

use std::env;
use std::fmt::Display;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use sd_notify::NotifyState;

use super::sys;

/// The way to the service manager, if there is one.
#[derive(Debug)]
pub struct ServiceManager(Option<UnixDatagram>);

impl ServiceManager {
    /// Connects to the socket that `$NOTIFY_SOCKET` names; without one every message is dropped.
    ///
    /// # Errors
    /// When the variable is set and nobody can be reached there: the manager would wait for us in vain.
    pub fn connect() -> io::Result<Self> {
        let Some(path) = env::var_os("NOTIFY_SOCKET") else {
            return Ok(Self(None));
        };
        let address = match path.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&path)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.set_nonblocking(true)?;
        Ok(Self(Some(socket)))
    }

    /// Tells `states`, together. A manager that doesn't listen is not worth more than a lost message.
    pub fn tell(&self, states: &[NotifyState<'_>]) {
        self.send(states, &[]);
    }

    /// Says that the configuration is read again: until `NotifyState::Ready` follows, this is not done.
    pub fn tell_reloading(&self) {
        let now = NotifyState::monotonic_usec_now();
        let states = now.map_or_else(
            |_| vec![NotifyState::Reloading],
            |now| vec![NotifyState::Reloading, now],
        );
        self.tell(&states);
    }

    /// Gives a copy of `socket` into the descriptor store, to be kept across a restart under this unique `name` (no colon,
    /// at most 255 bytes).
    pub fn store(&self, name: &str, socket: &impl AsFd) {
        // Without polling: an error that waits on a UDP socket (somebody's ICMP message) says nothing of its health.
        let states = [format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}")];
        self.send(
            &states,
            &[ControlMessage::ScmRights(&[socket.as_fd().as_raw_fd()])],
        );
    }

    /// Has it closed what it keeps under `name`.
    pub fn forget(&self, name: &str) {
        self.send(&[format!("FDSTOREREMOVE=1\nFDNAME={name}")], &[]);
    }

    fn send(&self, states: &[impl Display], rights: &[ControlMessage<'_>]) {
        if let Some(socket) = &self.0 {
            let message: String = states.iter().map(|state| format!("{state}\n")).collect();
            let text = [IoSlice::new(message.as_bytes())];
            let _sent = sendmsg::<()>(socket.as_raw_fd(), &text, rights, MsgFlags::MSG_NOSIGNAL, None);
        }
    }
}

/// How often the manager wants to hear that we live; `None` if it doesn't watch us.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// The descriptors that the manager gave us, each with its name: of socket units, and from the descriptor store.
///
/// To be called once.
///
/// # Errors
/// When what the environment says of them can't be.
pub fn given() -> io::Result<Vec<(String, OwnedFd)>> {
    // This looks at each of them, and lets no child of ours inherit it.
    let (numbers, names): (Vec<_>, Vec<_>) = sd_notify::listen_fds_with_names()?.unzip();
    Ok(names.into_iter().zip(sys::inherited(numbers)).collect())
}
