//! Impure. The service manager: notifications to it (`sd_notify(3)`), its watchdog, and the sockets that it keeps.
//!
//! Its socket is connected early: after a change of the root directory its path does not exist any more.

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

/// The connection to the service manager, if there is one.
#[derive(Debug)]
pub struct ServiceManager(Option<UnixDatagram>);

impl ServiceManager {
    /// Connects to the socket that `$NOTIFY_SOCKET` names; without one every message is dropped.
    ///
    /// # Errors
    /// The variable is set and nothing can be reached there: the manager would wait in vain.
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

    /// Sends `states`, together. A message that can't be sent is lost: that is no reason to stop.
    pub fn notify(&self, states: &[NotifyState<'_>]) {
        self.send(states, &[]);
    }

    /// Reports that the configuration is being read again: until `NotifyState::Ready` follows, this is not done.
    pub fn notify_reloading(&self) {
        let now = NotifyState::monotonic_usec_now();
        let states = now.map_or_else(
            |_| vec![NotifyState::Reloading],
            |now| vec![NotifyState::Reloading, now],
        );
        self.notify(&states);
    }

    /// Whether there is a manager.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Puts a copy of `socket` into the descriptor store, to be kept across a restart under this unique `name`.
    ///
    /// The name has no colon and at most 255 bytes.
    pub fn store(&self, name: &str, socket: &impl AsFd) {
        // Without polling: an error that waits on a UDP socket (from an ICMP message) says nothing about its
        // health.
        let states = [format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}")];
        self.send(
            &states,
            &[ControlMessage::ScmRights(&[socket.as_fd().as_raw_fd()])],
        );
    }

    /// Makes it close what it keeps under `name`.
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

/// Returns the interval in which the manager expects a sign of life; `None` without a watchdog.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Returns the descriptors that the manager passed, each with its name: of socket units, and from the descriptor store.
///
/// To be called once.
///
/// # Errors
/// The environment's description of them is wrong.
pub fn given() -> io::Result<Vec<(String, OwnedFd)>> {
    // This checks each of them, and sets close-on-exec.
    let (numbers, names): (Vec<_>, Vec<_>) = sd_notify::listen_fds_with_names()?.unzip();
    Ok(names.into_iter().zip(sys::inherited(numbers)).collect())
}
