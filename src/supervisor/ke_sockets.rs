//! Impure. The listening sockets of key establishment: opened by this process, or kept over a restart.
//!
//! One socket per address, which all threads share: so their number can change, and no connection is refused.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tracing::{info, warn};

use super::absence::{Outcome, outcome};
use crate::config::NtsKeys;
use crate::host::systemd::ServiceManager;
use crate::host::tcp::{self, ListenError};
use crate::host::{limits, privileges};

/// Prefix of a socket's name in the descriptor store.
const STORED: &str = "ke-";

/// A socket of key establishment.
#[derive(Clone, Debug)]
struct KeSocket {
    address: SocketAddr,
    /// `None` while the address is absent.
    listener: Option<Arc<TcpListener>>,
    /// Whether a socket unit bound it: the service manager keeps it anyway.
    of_unit: bool,
}

/// The sockets of all addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct KeSockets(Vec<KeSocket>);

/// Returns the name of a socket in the descriptor store.
fn stored_name(address: SocketAddr) -> String {
    format!("{STORED}{}", address.to_string().replace(':', "_"))
}

impl KeSockets {
    /// Takes the sockets that the service manager gave, and opens the missing ones; closes those that are not wanted.
    ///
    /// # Errors
    /// A port is taken or not permitted.
    pub(super) fn open(
        keys: &NtsKeys,
        given: Vec<(String, OwnedFd)>,
        manager: &ServiceManager,
    ) -> Result<Self, ListenError> {
        let mut inherited = Self::default();
        for (name, descriptor) in given {
            match tcp::adopt(descriptor) {
                Ok((address, listener)) => inherited.0.push(KeSocket {
                    address,
                    listener: Some(Arc::new(listener)),
                    of_unit: !name.starts_with(STORED),
                }),
                Err(error) => warn!(
                    name,
                    error = limits::explain(&error),
                    "cannot use a socket of the service manager: {error}"
                ),
            }
        }
        let opened = inherited.changed_by(keys, tcp::open)?;
        opened.settle(&inherited, manager);
        Ok(opened)
    }

    /// Returns the sockets as `keys` want them: those that are open stay.
    ///
    /// Must not be called with the privileges of the start: it ends them.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn changed(&self, keys: &NtsKeys) -> Result<Self, ListenError> {
        self.changed_by(keys, |address| privileges::with_low_ports(|| tcp::open(address)))
    }

    fn changed_by(
        &self,
        keys: &NtsKeys,
        open: impl Fn(SocketAddr) -> Result<TcpListener, ListenError>,
    ) -> Result<Self, ListenError> {
        let mut sockets = Vec::new();
        let wanted = if keys.establishes() {
            keys.listen.as_slice()
        } else {
            &[]
        };
        for &address in wanted {
            let known = self.0.iter().find(|socket| socket.address == address);
            match known {
                Some(known) if known.listener.is_some() => sockets.push(known.clone()),
                Some(_) | None => sockets.extend(admitted(keys, address, open(address))?),
            }
        }
        Ok(Self(sockets))
    }

    /// Puts what is new since `before` into the descriptor store, and removes what is not there any more.
    pub(super) fn settle(&self, before: &Self, manager: &ServiceManager) {
        for socket in &self.0 {
            let was_open = before
                .0
                .iter()
                .any(|one| one.address == socket.address && one.listener.is_some());
            if let Some(listener) = socket.listener.as_ref().filter(|_| !was_open) {
                info!(address = %socket.address, "establishing keys on {} (NTS)", socket.address);
                manager.store(&stored_name(socket.address), listener);
            }
        }
        for gone in before
            .0
            .iter()
            .filter(|one| !self.0.iter().any(|socket| socket.address == one.address))
        {
            if gone.of_unit {
                warn!(address = %gone.address, "systemd holds a socket for {}, where no keys are established: its connections get no answer (nts.listen, or stop its socket unit)", gone.address);
            } else {
                manager.forget(&stored_name(gone.address));
            }
        }
    }

    /// Opens the sockets whose address was absent. Returns whether there are more now.
    pub(super) fn retry_absent(&mut self, keys: &NtsKeys, manager: &ServiceManager) -> bool {
        if self.0.iter().all(|socket| socket.listener.is_some()) {
            return false;
        }
        let before = self.clone();
        let opened = |sockets: &Self| {
            let open = sockets.0.iter().filter(|socket| socket.listener.is_some());
            open.count()
        };
        match self.changed(keys) {
            Ok(now) if opened(&now) > opened(&before) => {
                now.settle(&before, manager);
                *self = now;
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Returns the open sockets.
    pub(super) fn listeners(&self) -> Vec<Arc<TcpListener>> {
        self.0
            .iter()
            .filter_map(|socket| socket.listener.clone())
            .collect()
    }

    /// Returns each address, and whether it is open.
    pub(super) fn states(&self) -> impl Iterator<Item = (SocketAddr, bool)> {
        self.0
            .iter()
            .map(|socket| (socket.address, socket.listener.is_some()))
    }
}

/// Returns the socket; `None` if it is left out, and one without a listener if its address is absent.
fn admitted(
    keys: &NtsKeys,
    address: SocketAddr,
    opened: Result<TcpListener, ListenError>,
) -> Result<Option<KeSocket>, ListenError> {
    let socket = |listener| KeSocket {
        address,
        listener,
        of_unit: false,
    };
    let error = match opened {
        Ok(listener) => return Ok(Some(socket(Some(Arc::new(listener))))),
        Err(error) => error,
    };
    match outcome(error.fault(), false, keys.is_default(address)) {
        Outcome::Refuse => Err(error),
        Outcome::LeaveOut => {
            info!(%address, "this host has no such address family: no keys are established on {address}");
            Ok(None)
        }
        Outcome::Wait => {
            warn!(%address, %error, "{error}; tried again until it is there");
            Ok(Some(socket(None)))
        }
    }
}
