//! Impure. Questions to the kernel about its network (netlink(7)), each answered by a list.

pub mod message;

use std::io;
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use message::{End, ListRequest, messages};

/// Memory for one message of a list, in bytes: the kernel's own limit.
const LONGEST: usize = 32 * 1024;

/// Asks for a list, and passes each entry to `take`.
///
/// Needs no privilege for links, addresses, routes and rules; `CAP_NET_ADMIN` for the rules of nf_tables.
///
/// # Errors
/// No such socket is allowed (EPROTONOSUPPORT, EACCES), or the kernel refuses (EPERM, EOPNOTSUPP).
pub fn list(request: &ListRequest<'_>, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let protocol = match request.is_of_filter() {
        false => SockProtocol::NetlinkRoute,
        true => SockProtocol::NetlinkNetFilter,
    };
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        protocol,
    )?;
    send(socket.as_raw_fd(), &request.bytes(), MsgFlags::empty())?;
    let mut buffer = vec![0; LONGEST];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let received = buffer.get(..length).unwrap_or_default();
        if received.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for message in messages(received) {
            match message {
                Ok(payload) => take(payload),
                Err(End::Done) => return Ok(()),
                Err(End::Refused(error)) => return Err(io::Error::from_raw_os_error(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_links_and_rules() {
        let mut links = Vec::new();
        list(&ListRequest::LINKS, |entry| links.extend(message::link(entry))).unwrap();
        let loopback = nix::net::if_::if_nametoindex("lo").unwrap();
        assert!(links.iter().any(|link| link.index == loopback), "{links:?}");
        let mut rules = 0;
        list(&ListRequest::RULES4, |_| rules += 1).unwrap();
        assert!(rules >= 1, "local, main and default");
    }
}
