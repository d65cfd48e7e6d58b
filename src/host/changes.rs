//! Impure. Notices of the kernel about links, addresses and routes (rtnetlink(7)): that something changed, not what.

use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket,
    sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Multicast groups for links and addresses of both families (linux/rtnetlink.h).
const ADDRESSES: i32 = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
/// The same, and those for routes.
const ROUTES: i32 = ADDRESSES | libc::RTMGRP_IPV4_ROUTE | libc::RTMGRP_IPV6_ROUTE;

/// Memory for notices that wait to be read, in bytes: a router may get thousands a second.
const QUEUE: usize = 16 * 1024;

/// A subscription to the kernel's notices, from its creation on.
#[derive(Debug)]
pub struct Changes {
    /// A datagram socket, though not a UDP one: the type is used only for its way to wait.
    socket: UdpSocket,
}

impl Changes {
    /// Subscribes to changes of links, addresses and routes.
    ///
    /// # Errors
    /// No such socket is allowed, there are no more descriptors, or there is no tokio runtime.
    pub fn watch() -> io::Result<Self> {
        Self::of(ROUTES)
    }

    /// Subscribes to changes of links and addresses alone: on a router they are rarer than those of routes.
    ///
    /// # Errors
    /// As [`Changes::watch`].
    pub fn watch_addresses() -> io::Result<Self> {
        Self::of(ADDRESSES)
    }

    fn of(groups: i32) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            flags,
            SockProtocol::NetlinkRoute,
        )?;
        let _smaller_is_better = setsockopt(&socket, sockopt::RcvBuf, &QUEUE);
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups.cast_unsigned()))?;
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Self { socket })
    }

    /// Waits for a change since the last call.
    ///
    /// # Errors
    /// The socket can't be used any more.
    pub async fn changed(&self) -> io::Result<()> {
        let interest = Interest::READABLE.add(Interest::ERROR);
        self.socket.async_io(interest, || take(&self.socket)).await?;
        self.drain();
        Ok(())
    }

    /// Discards the notices so far, at most as many as the queue holds.
    fn drain(&self) {
        for _ in 0..QUEUE {
            if take(&self.socket).is_err() {
                return;
            }
        }
    }
}

/// Takes one message, whatever it says. A report of lost messages is a change, too.
fn take(socket: &UdpSocket) -> io::Result<()> {
    let mut nothing = [0; 1];
    match recv(
        socket.as_raw_fd(),
        &mut nothing,
        MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC,
    ) {
        Ok(_) | Err(Errno::ENOBUFS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
