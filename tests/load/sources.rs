//! Impure. The clients: a socket each, with an address of its own where the network lets it have one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};

/// Room for far more answers than one source ever awaits.
const RECEIVE_BUFFER: usize = 8 << 20;

/// All clients: the same number of either family that is asked.
pub(crate) struct Sources {
    four: Vec<UdpSocket>,
    six: Vec<UdpSocket>,
}

impl Sources {
    /// `count` sources of each family of `targets`. Those of IPv6 are in `network` (the lowest 64 bits count), or all
    /// `::1` without one.
    pub(crate) fn open(targets: &[SocketAddr], count: usize, network: Option<Ipv6Addr>) -> Self {
        let has = |six: bool| targets.iter().any(|target| target.is_ipv6() == six);
        let sockets = |wanted: bool, address: &dyn Fn(u32) -> IpAddr| {
            let count = if wanted { u32::try_from(count).unwrap() } else { 0 };
            (1..=count).map(|index| open(address(index))).collect()
        };
        Self {
            four: sockets(has(false), &|index| ipv4(index).into()),
            six: sockets(has(true), &|index| ipv6(network, index).into()),
        }
    }

    /// The source of this index that can ask `target`.
    pub(crate) fn towards(&self, target: SocketAddr, index: usize) -> &UdpSocket {
        if target.is_ipv6() {
            &self.six[index]
        } else {
            &self.four[index]
        }
    }

    /// All of them, each with its index.
    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, &UdpSocket)> {
        self.four.iter().enumerate().chain(self.six.iter().enumerate())
    }
}

/// 127.1.x.y: the whole of 127/8 is this host.
fn ipv4(index: u32) -> Ipv4Addr {
    let [_, _, high, low] = index.to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

fn ipv6(network: Option<Ipv6Addr>, index: u32) -> Ipv6Addr {
    network.map_or(Ipv6Addr::LOCALHOST, |network| {
        Ipv6Addr::from_bits(network.to_bits() + u128::from(index))
    })
}

fn open(address: IpAddr) -> UdpSocket {
    let family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(family, SockType::Datagram, flags, None).expect("a UDP socket");
    // As root any size; else what the system allows.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER).expect("a receive buffer");
    }
    // An address of a route that is all local is nobody's own: without this it can't be bound in IPv6.
    setsockopt(&socket, sockopt::IpFreebind, &true).expect("any address of ours");
    let local = SockaddrStorage::from(SocketAddr::new(address, 0));
    bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &local)
        .unwrap_or_else(|error| panic!("cannot ask from {address}: {error}"));
    UdpSocket::from(socket)
}
