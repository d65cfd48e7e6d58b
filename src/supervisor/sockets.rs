//! Impure. The sockets of a listener before a worker serves on them.
//!
//! They are bound by this process, kept across a restart by the service manager's descriptor store, or bound
//! by its socket units.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::unistd::Uid;
use tracing::{info, warn};

use crate::host::bind_fault::BindFault;
use crate::host::limits;
use crate::host::udp::{self, BindError};
use crate::server::Listener;

/// Prefix of a socket's name in the descriptor store: unique, and without colons (`sd_notify(3)`).
const STORED: &str = "udp-";

/// The sockets of one listener, in the order in which the kernel numbers them.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) listener: Listener,
    pub(super) members: Vec<Arc<UdpSocket>>,
    /// Whether a socket unit bound them: then this process can't add or remove any.
    pub(super) of_unit: bool,
    /// The reason why there are none, or why no client is served there.
    pub(super) fault: Option<BindFault>,
}

/// The name of a listener's socket in the descriptor store.
pub(super) fn stored_name(address: SocketAddr, member: usize) -> String {
    let address = address.to_string().replace(':', "_");
    format!("{STORED}{address}-{member}")
}

/// Returns the number of a socket by its name in the descriptor store; `None` if it comes from a socket unit.
fn stored_number(name: &str) -> Option<usize> {
    name.strip_prefix(STORED)?.rsplit_once('-')?.1.parse().ok()
}

/// The sockets from the service manager, by address.
#[derive(Debug, Default)]
pub(super) struct InheritedSockets(HashMap<SocketAddr, Vec<(Option<usize>, UdpSocket)>>);

impl InheritedSockets {
    /// Checks each descriptor; those that are no suitable UDP socket are logged and closed.
    pub(super) fn from(descriptors: Vec<(String, OwnedFd)>) -> Self {
        let mut given: HashMap<SocketAddr, Vec<_>> = HashMap::new();
        for (name, descriptor) in descriptors {
            match udp::adopt(descriptor) {
                Ok((address, socket)) => given
                    .entry(address)
                    .or_default()
                    .push((stored_number(&name), socket)),
                Err(error) => warn!(
                    name,
                    error = limits::explain(&error),
                    "cannot use a socket of the service manager: {error}"
                ),
            }
        }
        // Those of a unit keep their order, before the stored ones.
        given
            .values_mut()
            .for_each(|sockets| sockets.sort_by_key(|(number, _)| *number));
        Self(given)
    }

    /// Whether any of them would be in the way of a socket on `address`.
    pub(super) fn overlap(&self, address: SocketAddr) -> bool {
        self.0.keys().any(|&given| overlap(given, address))
    }

    /// Takes the sockets for `listener`, if there are any.
    fn take(&mut self, listener: &Listener) -> Option<Sockets> {
        let sockets = self.0.remove(&listener.address)?;
        let of_unit = sockets.iter().any(|(number, _)| number.is_none());
        let members = sockets.into_iter().map(|(_, socket)| Arc::new(socket)).collect();
        Some(Sockets {
            listener: listener.clone(),
            members,
            of_unit,
            fault: None,
        })
    }

    /// The addresses that no listener took.
    pub(super) fn left(&self) -> impl Iterator<Item = &SocketAddr> {
        self.0.keys()
    }
}

impl Sockets {
    /// Makes an empty set, for this reason.
    pub(super) fn absent(listener: Listener, fault: BindFault) -> Self {
        Self {
            listener,
            members: Vec::new(),
            of_unit: false,
            fault: Some(fault),
        }
    }

    /// Takes the inherited sockets for `listener`, and opens as many more as its workers need.
    ///
    /// `owner` is as in [`udp::bind_members`].
    pub(super) fn open(
        listener: Listener,
        given: &mut InheritedSockets,
        owner: Option<Uid>,
    ) -> Result<Self, BindError> {
        let mut sockets = given.take(&listener).unwrap_or_else(|| Self {
            fault: None,
            ..Self::absent(listener, BindFault::NoAddress)
        });
        // The service manager may have given them larger ones.
        sockets.tune(&sockets.members, |now, wanted| now < wanted);
        let more = sockets.missing(sockets.listener.workers, owner)?;
        sockets.members.extend(more);
        Ok(sockets)
    }

    /// Applies the listener's current tuning to all members.
    pub(super) fn tune_all(&self) {
        self.tune(&self.members, |now, wanted| now != wanted);
        if self.listener.tuning.busy_poll == 0 {
            // Turning it off needs no privilege.
            self.members.iter().for_each(|socket| {
                let _ended = udp::set_busy_poll(socket, 0);
            });
        }
    }

    /// Applies the listener's tuning to `members`, as far as privileges allow.
    ///
    /// Their receive buffers are set if `is_due`, given the current and the wanted size, says so.
    fn tune(&self, members: &[Arc<UdpSocket>], is_due: impl Fn(u32, u32) -> bool) {
        let (address, tuning) = (self.listener.address, self.listener.tuning);
        let wanted = tuning.receive_buffer;
        let set = |socket: &Arc<UdpSocket>| {
            // If it is not set, the system's default (net.core.busy_read) counts.
            if tuning.busy_poll > 0
                && let Err(error) = udp::set_busy_poll(socket, tuning.busy_poll)
            {
                warn!(listener = %address, %error, "listener.busy-poll needs CAP_NET_ADMIN when a socket is opened: start as root");
            }
            match udp::receive_buffer(socket)? {
                now if is_due(now, wanted) => udp::set_receive_buffer(socket, wanted),
                now => Ok(now),
            }
        };
        match members.iter().map(set).collect::<io::Result<Vec<u32>>>() {
            Ok(buffers) => {
                if let Some(least) = buffers.into_iter().min().filter(|&least| least < wanted) {
                    info!(
                        listener = %address, bytes = least, wanted,
                        "the receive buffers are smaller than listener.receive-buffer: raise net.core.rmem_max with sysctl"
                    );
                }
            }
            Err(error) => {
                let error = limits::explain(&error);
                warn!(listener = %address, error, "cannot set the receive buffers: {error}");
            }
        }
    }

    /// Opens as many new members as `workers` need; none beside those of a socket unit: workers share them.
    pub(super) fn missing(&self, workers: u16, owner: Option<Uid>) -> Result<Vec<Arc<UdpSocket>>, BindError> {
        let have = u16::try_from(self.members.len()).unwrap_or(u16::MAX);
        if self.of_unit {
            return Ok(Vec::new());
        }
        let bound = udp::bind_members(self.listener.address, workers.saturating_sub(have), owner)?;
        let bound: Vec<_> = bound.into_iter().map(Arc::new).collect();
        self.tune(&bound, |now, wanted| now != wanted);
        Ok(bound)
    }
}

/// Whether packets to one of both addresses reach sockets of the other, if there are none of its own.
pub(super) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && (any || one.ip() == other.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Steering, Tuning};

    #[test]
    fn a_stored_name_is_unique_and_knows_its_number() {
        for (address, expected) in [
            ("0.0.0.0:123", "udp-0.0.0.0_123-7"),
            ("[::1]:123", "udp-[__1]_123-7"),
        ] {
            let name = stored_name(address.parse().unwrap(), 7);
            assert_eq!(name, expected);
            assert_eq!(stored_number(&name), Some(7));
        }
        for other in ["ntpfront.socket", "unknown", "udp-", "udp-x", ""] {
            assert_eq!(stored_number(other), None, "{other}");
        }
    }

    #[test]
    fn given_sockets_are_taken_in_their_order_and_completed() {
        let first = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        drop(first);
        let bound = udp::bind_members(address, 2, None).unwrap();
        let inode = |socket: &UdpSocket| nix::sys::stat::fstat(socket).unwrap().st_ino;
        let order: Vec<u64> = bound.iter().map(inode).collect();
        let mut turned: Vec<(String, OwnedFd)> = bound
            .into_iter()
            .enumerate()
            .map(|(number, socket)| (stored_name(address, number), socket.into()))
            .collect();
        turned.reverse();
        let mut given = InheritedSockets::from(turned);
        assert!(given.overlap(address));
        let default = crate::config::load(&crate::cli::Flags::default(), None)
            .unwrap()
            .config;
        let listener = Listener {
            address,
            workers: 3,
            steering: Steering::Source,
            required: false,
            tuning: Tuning::default(),
            policy: Arc::clone(&default.listeners[0].policy),
        };
        let sockets = Sockets::open(listener, &mut given, None).unwrap();
        let found: Vec<u64> = sockets.members.iter().map(|socket| inode(socket)).collect();
        assert_eq!(
            (found.len(), &found[..2], sockets.of_unit),
            (3, &order[..], false)
        );
        assert_eq!(given.left().count(), 0);
    }

    #[test]
    fn a_stream_socket_is_no_use() {
        let stream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let given = InheritedSockets::from(vec![("x".to_owned(), stream.into())]);
        assert_eq!(given.left().count(), 0);
    }

    #[test]
    fn wildcards_overlap_addresses_of_their_family_and_port() {
        for (one, other, expected) in [
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "0.0.0.0:1", true),
            ("0.0.0.0:1", "127.0.0.1:2", false),
            ("0.0.0.0:1", "[::]:1", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("[::]:1", "[::1]:1", true),
        ] {
            assert_eq!(
                overlap(one.parse().unwrap(), other.parse().unwrap()),
                expected,
                "{one} {other}"
            );
        }
    }
}
