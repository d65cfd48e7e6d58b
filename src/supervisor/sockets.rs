//! Impure. The sockets of a listener before a worker serves on them: bound by us, kept for us across a restart by the
//! service manager's descriptor store, or bound for us by its socket units.

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

/// What the sockets of one address are called in the descriptor store: unique, and without colons (`sd_notify(3)`).
const STORED: &str = "udp-";

/// The sockets of one listener, in the order in which the kernel numbers them.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) listener: Listener,
    pub(super) members: Vec<Arc<UdpSocket>>,
    /// A socket unit bound them: only it can add some or take some away.
    pub(super) of_unit: bool,
    /// Why there are none, or why no client is served there.
    pub(super) fault: Option<BindFault>,
}

/// The name of a listener's socket in the descriptor store.
pub(super) fn stored_name(address: SocketAddr, member: usize) -> String {
    let address = address.to_string().replace(':', "_");
    format!("{STORED}{address}-{member}")
}

/// The number of a socket by its name in the descriptor store; `None` if it comes from a socket unit.
fn stored_number(name: &str) -> Option<usize> {
    name.strip_prefix(STORED)?.rsplit_once('-')?.1.parse().ok()
}

/// What the service manager gave us, by address.
#[derive(Debug, Default)]
pub(super) struct InheritedSockets(HashMap<SocketAddr, Vec<(Option<usize>, UdpSocket)>>);

impl InheritedSockets {
    /// Looks at each; what is no UDP socket for us is told and closed.
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
                    "a socket of the service manager can't be used"
                ),
            }
        }
        // What comes from a unit keeps its order, before what was stored.
        given
            .values_mut()
            .for_each(|sockets| sockets.sort_by_key(|(number, _)| *number));
        Self(given)
    }

    /// Is any of them where a socket on `address` would get in its way?
    pub(super) fn overlap(&self, address: SocketAddr) -> bool {
        self.0.keys().any(|&given| overlap(given, address))
    }

    /// The sockets for `listener`, if there are any.
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
    /// None, for this reason.
    pub(super) fn absent(listener: Listener, fault: BindFault) -> Self {
        Self {
            listener,
            members: Vec::new(),
            of_unit: false,
            fault: Some(fault),
        }
    }

    /// Those that were given for `listener`, and as many more as its workers need. `owner` as in [`udp::bind_members`].
    pub(super) fn open(
        listener: Listener,
        given: &mut InheritedSockets,
        owner: Option<Uid>,
    ) -> Result<Self, BindError> {
        let mut sockets = given.take(&listener).unwrap_or_else(|| Self {
            fault: None,
            ..Self::absent(listener, BindFault::NoAddress)
        });
        // The service manager may have given them more.
        sockets.tune(&sockets.members, |now, wanted| now < wanted);
        let more = sockets.missing(sockets.listener.workers, owner)?;
        sockets.members.extend(more);
        Ok(sockets)
    }

    /// Gives all members what the listener's tuning says now.
    pub(super) fn tune_all(&self) {
        self.tune(&self.members, |now, wanted| now != wanted);
        if self.listener.tuning.busy_poll == 0 {
            // To end it needs no right.
            self.members.iter().for_each(|socket| {
                let _ended = udp::set_busy_poll(socket, 0);
            });
        }
    }

    /// Gives `members` what the listener's tuning says, as far as we may; their receive buffers if `is_due`, told of what there is
    /// and what is wanted, says so.
    fn tune(&self, members: &[Arc<UdpSocket>], is_due: impl Fn(u32, u32) -> bool) {
        let (address, tuning) = (self.listener.address, self.listener.tuning);
        let wanted = tuning.receive_buffer;
        let set = |socket: &Arc<UdpSocket>| {
            // Where nothing is said the system's default (net.core.busy_read) counts.
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
                        "the receive buffers are smaller than listener.receive-buffer, as net.core.rmem_max is: raise it with sysctl"
                    );
                }
            }
            Err(error) => {
                let error = limits::explain(&error);
                warn!(listener = %address, error, "the receive buffers can't be set");
            }
        }
    }

    /// As many new members as `workers` need; none where a socket unit has the say: then workers share its sockets.
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

/// Do packets to one of both addresses reach sockets of the other, if its own are not there?
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
