//! Impure. Words to the service manager (`sd_notify(3)`), through a socket that is connected early: after a
//! change of the root directory its path is not there any more.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use sd_notify::NotifyState;

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
        if let Some(socket) = &self.0 {
            let message: String = states.iter().map(|state| format!("{state}\n")).collect();
            let _sent = socket.send(message.as_bytes());
        }
    }
}
