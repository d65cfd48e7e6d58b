//! Impure. Listening TCP sockets: those that this process opens, and those that the service manager kept.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::libc::linger;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, getsockopt, listen, setsockopt,
    socket, sockopt,
};

use super::bind_fault::BindFault;
use super::sys;
use super::udp::BindError;

/// Seconds in which a client that sends nothing does not even become a connection.
const SILENT: u16 = 2;

/// Opens a listening socket at `address`, where clients speak first.
///
/// # Errors
/// The port is taken, the address is absent, a privilege is missing, or there are no more descriptors.
pub fn open(address: SocketAddr) -> Result<TcpListener, ListenError> {
    bound(address).map_err(|cause| ListenError {
        address,
        error: BindError::new(address, cause),
    })
}

/// The reason why nothing can listen at an address.
#[derive(Debug)]
pub struct ListenError {
    address: SocketAddr,
    error: BindError,
}

impl ListenError {
    /// Returns the address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the kind of the failure.
    pub fn fault(&self) -> BindFault {
        self.error.fault()
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, error } = self;
        if error.fault() == BindFault::Taken {
            let port = address.port();
            return write!(
                f,
                "cannot listen on {address}: another program has this TCP port (`ss -tlpn 'sport = :{port}'` names it): stop it, or configure another address or port"
            );
        }
        error.fmt(f)
    }
}

impl std::error::Error for ListenError {}

fn bound(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    // Connections of the previous process that still end don't keep the port taken.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    prepare(TcpListener::from(socket))
}

fn prepare(listener: TcpListener) -> io::Result<TcpListener> {
    // A kernel without it gives such connections at once.
    let _deferred = sys::defer_accept(listener.as_fd(), SILENT);
    // Accepted connections have it, too: the end of TLS does not wait for the client to acknowledge the answer.
    setsockopt(&listener, sockopt::TcpNoDelay, &true)?;
    listener.set_nonblocking(true)?;
    // As many connections can wait as the system allows (net.core.somaxconn, 4096): a thousand clients that come back at
    // once must not keep others out. A number would be checked against a constant, which is 128 in musl.
    listen(&listener, Backlog::MAXALLOWABLE)?;
    Ok(listener)
}

/// Whether `descriptor` is a stream socket, as those for TCP are.
pub fn is_stream(descriptor: &OwnedFd) -> bool {
    getsockopt(descriptor, sockopt::SockType).is_ok_and(|kind| kind == SockType::Stream)
}

/// Takes a socket that the service manager kept or bound; returns its address and the socket.
///
/// # Errors
/// `InvalidInput` if it is not a listening TCP socket of IPv4, or of IPv6 alone.
pub fn adopt(descriptor: OwnedFd) -> io::Result<(SocketAddr, TcpListener)> {
    let refused = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
    if !getsockopt(&descriptor, sockopt::AcceptConn)? {
        return Err(refused("it does not listen"));
    }
    let listener = TcpListener::from(descriptor);
    let address = listener.local_addr()?;
    if address.is_ipv6() && !getsockopt(&listener, sockopt::Ipv6V6Only)? {
        return Err(refused(
            "it accepts IPv4 connections, too: set BindIPv6Only=ipv6-only",
        ));
    }
    Ok((address, prepare(listener)?))
}

/// Closes a connection at once, without a farewell: the client sees a reset, and the kernel keeps nothing of it.
pub fn reset(stream: &impl AsFd) {
    let at_once = linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let _set = setsockopt(stream, sockopt::Linger, &at_once);
}
