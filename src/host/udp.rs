//! Impure. UDP sockets: the group of a listener, one socket per worker, and the socket of a query.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrStorage, TimestampingFlag,
    bind, getsockopt, recvmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Uid, fchown};

use super::bind_fault::BindFault;
use super::clock;
use super::{addresses, limits, sys};
use crate::time::NtpTimestamp;

/// Size of the send buffer, in bytes.
///
/// Replies to addresses of a local network that don't exist wait in it for three seconds, until the kernel
/// has given up to resolve them. It is enough for 3500 of them per second. Unused memory costs nothing.
const SEND_BUFFER: usize = 4 << 20;

/// The most messages of an error queue that are read for a transmit timestamp.
const MOST_ERRORS: u32 = 8;

/// Fails if any socket of this host has the port of `address`, also one of this user's other processes.
///
/// With `SO_REUSEPORT` alone two servers of one user would share a port unnoticed, and each get half of the
/// requests. So the port is first taken exclusively, for a moment.
///
/// # Errors
/// [`BindError`], as for [`bind_members`].
pub fn check_free(address: SocketAddr) -> Result<(), BindError> {
    let alone = unbound(address).and_then(|socket| Ok(bind(socket.as_raw_fd(), &storage(address))?));
    alone.map_err(|cause| BindError::new(address, cause))
}

/// Opens `count` sockets on the same `address`, each stamping arrivals.
///
/// They are new members of the group of those that are bound there already. `owner` is the user that will add
/// members later, for the kernel permits no other; `None` is the current one.
///
/// # Errors
/// [`BindError`]: the port is taken, the address is absent, a privilege is missing, or there are no more
/// descriptors.
pub fn bind_members(
    address: SocketAddr,
    count: u16,
    owner: Option<Uid>,
) -> Result<Vec<UdpSocket>, BindError> {
    let members = (0..count).map(|_| bind_member(address, owner));
    members
        .collect::<io::Result<_>>()
        .map_err(|cause| BindError::new(address, cause))
}

fn bind_member(address: SocketAddr, owner: Option<Uid>) -> io::Result<UdpSocket> {
    let socket = unbound(address)?;
    if owner.is_some() {
        // Without CAP_CHOWN the socket stays root's, and a reload that adds workers is refused.
        let _owned = fchown(&socket, owner, None);
    }
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    prepare(&socket, address)?;
    bind(socket.as_raw_fd(), &storage(address))?;
    Ok(socket)
}

/// Prepares a socket that the service manager bound; returns its address and the socket, ready for a worker.
///
/// # Errors
/// `InvalidInput` if it is not a UDP socket of IPv4, or of IPv6 alone.
pub fn adopt(descriptor: OwnedFd) -> io::Result<(SocketAddr, UdpSocket)> {
    let refused = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
    if getsockopt(&descriptor, sockopt::SockType)? != SockType::Datagram {
        return Err(refused("not a datagram socket: use ListenDatagram="));
    }
    let socket = UdpSocket::from(descriptor);
    let address = socket.local_addr()?;
    if address.is_ipv6() && !getsockopt(&socket, sockopt::Ipv6V6Only)? {
        return Err(refused(
            "it receives IPv4 packets, too: set BindIPv6Only=ipv6-only",
        ));
    }
    prepare(&socket, address)?;
    Ok((address, socket))
}

/// Stops arrivals on `socket`; queued packets stay, and can be answered.
///
/// Packets for its address go to another socket that takes them, as one on the wildcard address does.
///
/// # Errors
/// As `connect(2)`.
pub fn stop_receiving(socket: &UdpSocket) -> io::Result<()> {
    /// Port "Discard" (RFC 863): no client asks for the time from there, least of all on this host.
    const DISCARD: u16 = 9;
    let mut here = socket.local_addr()?;
    if here.ip().is_unspecified() {
        here.set_ip(match here {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    here.set_port(DISCARD);
    // A connected socket gets only its peer's packets. It can still send to any address.
    socket.connect(here)
}

/// Sets the options that a worker needs of its socket.
fn prepare(socket: &UdpSocket, address: SocketAddr) -> io::Result<()> {
    // Where transmit timestamps can't be had, those of arrivals come alone, in another form.
    let is_stamped = sys::stamp_datagrams(socket.as_fd()).is_ok();
    setsockopt(socket, sockopt::ReceiveTimestampns, &!is_stamped)?;
    sys::send_plainly(socket.as_fd(), address.is_ipv6())?;
    // A socket that is bound to one address answers from it anyway.
    if address.ip().is_unspecified() {
        match address {
            SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
    }
    socket.set_nonblocking(false)?;
    // A worker waits until a packet comes, or a signal interrupts it (*measured*: a timer would cost 0.3 us
    // per packet that comes alone).
    socket.set_read_timeout(None)?;
    widen_send_buffer(socket)
}

/// Sets the send buffer of `socket` to [`SEND_BUFFER`] bytes.
///
/// Without the privilege to exceed the system's limit (`net.core.wmem_max`) it gets as many as that allows.
fn widen_send_buffer(socket: &UdpSocket) -> io::Result<()> {
    // The kernel doubles the given size, for its own needs.
    if getsockopt(socket, sockopt::SndBuf)? / 2 >= SEND_BUFFER {
        return Ok(());
    }
    setsockopt(socket, sockopt::SndBufForce, &SEND_BUFFER)
        .or_else(|_| setsockopt(socket, sockopt::SndBuf, &SEND_BUFFER))?;
    Ok(())
}

/// Sets the receive buffer of `socket` to `bytes` of packets (`SO_RCVBUF`), and returns its size now.
///
/// Without the privilege to exceed the system's limit (`net.core.rmem_max`) it gets as many as that allows.
///
/// # Errors
/// As `setsockopt(2)`.
pub fn set_receive_buffer(socket: &UdpSocket, bytes: u32) -> io::Result<u32> {
    let wanted = usize::try_from(bytes).unwrap_or(usize::MAX);
    setsockopt(socket, sockopt::RcvBufForce, &wanted)
        .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &wanted))?;
    receive_buffer(socket)
}

/// Returns the size of the receive buffer of `socket`, in bytes of packets.
///
/// # Errors
/// As `getsockopt(2)`.
pub fn receive_buffer(socket: &UdpSocket) -> io::Result<u32> {
    // The kernel doubles the given size, for its own needs.
    let doubled = getsockopt(socket, sockopt::RcvBuf)?;
    Ok(u32::try_from(doubled / 2).unwrap_or(u32::MAX))
}

/// Makes the kernel poll the network card for this many microseconds before a receiver of `socket` sleeps.
///
/// # Errors
/// As `setsockopt(2)`: to raise it needs CAP_NET_ADMIN.
pub fn set_busy_poll(socket: &UdpSocket, microseconds: u16) -> io::Result<()> {
    sys::set_busy_poll(socket.as_fd(), microseconds)
}

/// Returns whether the kernel tells when datagrams left that `socket` sends to be stamped.
pub fn stamps_departures(socket: &UdpSocket) -> bool {
    getsockopt(socket, sockopt::Timestamping)
        .is_ok_and(|flags| flags.contains(TimestampingFlag::SOF_TIMESTAMPING_OPT_ID))
}

/// Makes a UDP socket of the family of `address`; one of IPv6 takes no IPv4 packets, whatever the system's default.
fn unbound(address: SocketAddr) -> io::Result<UdpSocket> {
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    Ok(UdpSocket::from(socket))
}

fn storage(address: SocketAddr) -> SockaddrStorage {
    SockaddrStorage::from(address)
}

/// Opens a socket for one query to `peer`.
///
/// The kernel chooses a random source port (RFC 9109), lets only answers of that address and port through,
/// and stamps them.
///
/// # Errors
/// The kernel's error: no route, no such family, no more descriptors.
//= RFC 5905 §9.1 source-port
pub fn ask(peer: SocketAddr) -> io::Result<UdpSocket> {
    let any = match peer {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    // Also a router's report that there is no route ends the wait, and not only that of a host without such a
    // port.
    match peer {
        SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
        SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
    }
    // Where the kernel can't tell when the question leaves, it is when it is given to it.
    let flags = TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY;
    let _stamped = setsockopt(&socket, sockopt::Timestamping, &flags);
    socket.connect(peer)?;
    Ok(socket)
}

/// Returns the kernel's time at which the question on `socket` was given to the network card, once it is known.
pub fn sent_at(socket: &impl AsFd) -> Option<NtpTimestamp> {
    let mut control = cmsg_space!([TimeSpec; 3], [u8; 64]);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    // There may be errors that the network reports, too.
    (0..MOST_ERRORS).find_map(|_| {
        let descriptor = socket.as_fd().as_raw_fd();
        let message = recvmsg::<()>(descriptor, &mut [], Some(&mut control), flags).ok()?;
        message.cmsgs().ok()?.find_map(|control| {
            if let ControlMessageOwned::ScmTimestampsns(times) = control {
                Some(clock::timestamp(times.system))
            } else {
                None
            }
        })
    })
}

/// Receives one datagram: its length (cut at the buffer's) and the kernel's time of its arrival.
///
/// # Errors
/// As `recvmsg(2)`; `WouldBlock` if none is queued, `ConnectionRefused` if nothing listens at the peer.
pub fn receive_stamped(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<NtpTimestamp>)> {
    // The arrival time comes in two forms.
    let mut control = cmsg_space!(TimeSpec, [TimeSpec; 3]);
    let mut vector = [IoSliceMut::new(buffer)];
    let descriptor = socket.as_fd().as_raw_fd();
    let message = recvmsg::<()>(
        descriptor,
        &mut vector,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let arrived_at = message.cmsgs()?.find_map(|control| {
        if let ControlMessageOwned::ScmTimestampns(time) = control {
            Some(clock::timestamp(time))
        } else {
            None
        }
    });
    Ok((message.bytes, arrived_at))
}

/// Checks that the address can be bound; whether its port is taken is not seen here.
///
/// # Errors
/// [`BindError`]: it is absent, or there are no more descriptors.
pub fn check_address(address: SocketAddr) -> Result<(), BindError> {
    let mut any_port = address;
    any_port.set_port(0);
    let bound = unbound(address).and_then(|socket| Ok(bind(socket.as_raw_fd(), &storage(any_port))?));
    bound.map_err(|cause| BindError::new(address, cause))
}

/// The reason why a listener can't be opened.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
    cause: io::Error,
    fault: BindFault,
}

impl BindError {
    pub(super) fn new(address: SocketAddr, cause: io::Error) -> Self {
        let fault = match cause.raw_os_error().unwrap_or(0) {
            libc::EADDRNOTAVAIL if has_address(address) => BindFault::Tentative,
            libc::EADDRNOTAVAIL => BindFault::NoAddress,
            libc::ENODEV => BindFault::NoInterface,
            libc::EAFNOSUPPORT => BindFault::NoFamily,
            libc::EADDRINUSE => BindFault::Taken,
            libc::EACCES | libc::EPERM => BindFault::Forbidden,
            other => limits::shortage_of(other).map_or(BindFault::Refused, BindFault::Short),
        };
        Self {
            address,
            cause,
            fault,
        }
    }

    /// Returns the kind of the failure.
    pub fn fault(&self) -> BindFault {
        self.fault
    }

    /// Whether this host lacks the whole address family.
    pub fn is_family_missing(&self) -> bool {
        self.fault == BindFault::NoFamily
    }
}

/// Whether an interface (the one that the address names, if it does) has the address. It may not be usable yet.
fn has_address(address: SocketAddr) -> bool {
    let scope = match address {
        SocketAddr::V6(v6) => v6.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    let interfaces = addresses::interfaces().unwrap_or_default();
    interfaces
        .iter()
        .filter(|one| scope == 0 || one.index == scope)
        .any(|one| one.addresses.contains(&address.ip()))
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address,
            cause,
            fault,
        } = self;
        let remedy = if let BindFault::Short(shortage) = fault {
            limits::told(*shortage)
        } else {
            fault.remedy(*address)
        };
        write!(f, "cannot listen on {address}: {cause}: {remedy}")
    }
}

impl std::error::Error for BindError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::NtpDuration;
    use std::net::IpAddr;

    /// A group of `members` on a free port of `ip`.
    fn group(ip: &str, members: u16) -> (SocketAddr, Vec<UdpSocket>) {
        let ip: IpAddr = ip.parse().unwrap();
        let port = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap().port();
        let address = SocketAddr::from((ip, port));
        let group = bind_members(address, members, None).unwrap();
        (address, group)
    }

    #[test]
    fn who_is_turned_away_goes_to_the_wildcard_and_what_was_queued_stays() {
        for (one, any) in [("127.0.0.1", "0.0.0.0"), ("::1", "::")] {
            let (address, closing) = group(one, 2);
            let wildcard = SocketAddr::new(any.parse().unwrap(), address.port());
            let other = bind_members(wildcard, 1, None).unwrap();
            let client = UdpSocket::bind((address.ip(), 0)).unwrap();
            client.send_to(b"before", address).unwrap();
            closing.iter().for_each(|socket| stop_receiving(socket).unwrap());
            client.send_to(b"after", address).unwrap();
            let mut buffer = [0; 10];
            assert_eq!(other[0].recv(&mut buffer).unwrap(), 5);
            let queued = closing.iter().find_map(|socket| {
                socket.set_nonblocking(true).unwrap();
                socket.recv_from(&mut buffer).ok().map(|(_, from)| (socket, from))
            });
            let (socket, from) = queued.unwrap();
            assert_eq!(from, client.local_addr().unwrap());
            socket.send_to(b"answer", from).unwrap();
            assert_eq!(client.recv(&mut buffer).unwrap(), 6);
        }
    }

    #[test]
    fn a_port_in_use_is_said_even_among_ourselves() {
        let (address, _group) = group("127.0.0.1", 2);
        let error = check_free(address).unwrap_err().to_string();
        assert!(
            error.contains(&address.to_string()) && error.contains("another program"),
            "{error}"
        );
    }

    #[test]
    fn an_address_that_is_not_there_is_said() {
        let error = check_free("192.0.2.1:12345".parse().unwrap())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no interface of this host has the address 192.0.2.1"),
            "{error}"
        );
    }

    #[test]
    fn ipv6_leaves_ipv4_alone() {
        let (address, _group) = group("::", 1);
        check_free((Ipv4Addr::UNSPECIFIED, address.port()).into()).unwrap();
    }

    #[test]
    fn an_answer_is_stamped_and_unsolicited_packets_are_not_read() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let question = ask(server.local_addr().unwrap()).unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(b"lie", question.local_addr().unwrap()).unwrap();
        let mut buffer = [0; 100];
        assert_eq!(
            receive_stamped(&question, &mut buffer).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        server.send_to(b"truth", question.local_addr().unwrap()).unwrap();
        let (length, arrived_at) = receive_stamped(&question, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"truth");
        assert!((clock::realtime() - arrived_at.unwrap()).abs() < NtpDuration::SECOND);
    }
}
