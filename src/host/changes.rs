//! Impure. The kernel's news of links, addresses and routes (rtnetlink(7)): that something changed, not what.

use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket,
    sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Links and addresses of both families (linux/rtnetlink.h).
const ADDRESSES: i32 = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
/// And routes.
const ROUTES: i32 = ADDRESSES | libc::RTMGRP_IPV4_ROUTE | libc::RTMGRP_IPV6_ROUTE;

/// News that nobody reads take no more memory than this, however many there are: on a router thousands a second.
const QUEUE: usize = 16 * 1024;

/// Hears of what changes from its making on.
#[derive(Debug)]
pub struct Changes {
    /// No UDP socket, but a socket of datagrams: all that the type knows of it here is how to wait.
    socket: UdpSocket,
}

impl Changes {
    /// Begins to listen, for links, addresses and routes.
    ///
    /// # Errors
    /// No such socket allowed, out of descriptors, or no runtime of tokio around.
    pub fn watch() -> io::Result<Self> {
        Self::of(ROUTES)
    }

    /// The same for links and addresses alone, which change more rarely than routes do on a router.
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

    /// Waits until something has changed that this call, or the one before, has not told of.
    ///
    /// # Errors
    /// The socket is of no use any more.
    pub async fn changed(&self) -> io::Result<()> {
        let interest = Interest::READABLE.add(Interest::ERROR);
        self.socket.async_io(interest, || take(&self.socket)).await?;
        self.drain();
        Ok(())
    }

    /// All that was said so far is no news any more. At most as much as the queue holds.
    fn drain(&self) {
        for _ in 0..QUEUE {
            if take(&self.socket).is_err() {
                return;
            }
        }
    }
}

/// One message, whatever it says; so many that some were lost are news, too.
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
