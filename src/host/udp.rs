//! Impure. UDP sockets: the group of a listener, one socket a worker, and the socket of a question.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrStorage, bind, recvmsg,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;

use super::clock::UnixTime;

/// How the kernel chooses the worker that gets a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// By the source address: one client always meets the same worker.
    Source,
    /// By the CPU that received the packet: best where every CPU has a hardware queue of its own.
    Cpu,
    /// By the kernel's own hash of addresses and ports.
    Kernel,
}

/// How long a worker waits for a packet before it looks whether it shall end.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(250);
/// A network that takes no packet for this long has lost them anyway.
const SEND_TIMEOUT: Duration = Duration::from_millis(100);
/// The system's default holds about 50 requests (*measured*); this holds about 500, some milliseconds' worth.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Fails if any socket of this host has the port of `address`, be it another process of ours.
///
/// With `SO_REUSEPORT` alone two servers of one user would share a port in silence and each get half of the
/// requests, so the port is first taken for ourselves alone, for a moment.
///
/// # Errors
/// [`BindError`], as for [`bind_group`].
pub fn check_free(address: SocketAddr) -> Result<(), BindError> {
    let alone = unbound(address).and_then(|socket| Ok(bind(socket.as_raw_fd(), &storage(address))?));
    alone.map_err(|cause| BindError { address, cause })
}

/// Opens one socket a worker on the same `address`, each stamping arrivals, and steers packets among them.
///
/// # Errors
/// [`BindError`]: the port is taken, the address is not there, no right to it, or out of descriptors.
pub fn bind_group(
    address: SocketAddr,
    workers: u16,
    steering: Steering,
) -> Result<Vec<UdpSocket>, BindError> {
    let open = || -> io::Result<Vec<UdpSocket>> {
        let group = (0..workers)
            .map(|_| bind_member(address))
            .collect::<io::Result<Vec<_>>>()?;
        if let Some(first) = group.first() {
            steer(first, address, steering, workers)?;
        }
        Ok(group)
    };
    open().map_err(|cause| BindError { address, cause })
}

fn bind_member(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = unbound(address)?;
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    // A socket that is bound to one address answers from it anyway.
    if address.ip().is_unspecified() {
        match address {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
    }
    // Root may go past the system's limit; others get as much of it as the limit allows.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    }
    socket.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    bind(socket.as_raw_fd(), &storage(address))?;
    Ok(socket)
}

/// A UDP socket of the family of `address`; one of IPv6 takes no IPv4 packets, whatever the system's default.
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

/// Gives the whole group of `member` the program that chooses one of `workers` for each packet.
fn steer(member: &UdpSocket, address: SocketAddr, steering: Steering, workers: u16) -> io::Result<()> {
    let mut program = match steering {
        Steering::Kernel => return Ok(()),
        Steering::Cpu => steering::by_cpu(workers),
        Steering::Source if address.is_ipv4() => steering::by_ipv4_source(workers),
        Steering::Source => steering::by_ipv6_source(workers),
    };
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_mut_ptr(),
    };
    Ok(setsockopt(member, sockopt::AttachReusePortCbpf, &program)?)
}

/// Classic BPF programs for `SO_ATTACH_REUSEPORT_CBPF`: they return the index of the chosen socket.
mod steering {
    use libc::sock_filter as Instruction;

    /// Absolute loads from here on see the network header (linux/filter.h, SKF_NET_OFF = -0x100000).
    const NETWORK_HEADER: u32 = 0_u32.wrapping_sub(0x10_0000);
    /// The CPU that handles the packet (linux/filter.h, SKF_AD_OFF = -0x1000 and SKF_AD_CPU = 36).
    const CPU: u32 = 0_u32.wrapping_sub(0x1000) + 36;
    /// 2^32 divided by the golden ratio: multiplied by it, near addresses come to lie far apart.
    const SPREAD: u32 = 0x9E37_79B1;

    pub(super) fn by_cpu(workers: u16) -> Vec<Instruction> {
        vec![load(CPU), modulo(workers), RETURN]
    }

    pub(super) fn by_ipv4_source(workers: u16) -> Vec<Instruction> {
        vec![
            load(NETWORK_HEADER + 12),
            MULTIPLY,
            HIGH_HALF,
            modulo(workers),
            RETURN,
        ]
    }

    /// All 128 bits count: a whole LAN may share its first 64, and one worker would serve it alone.
    pub(super) fn by_ipv6_source(workers: u16) -> Vec<Instruction> {
        let mut program = vec![load(NETWORK_HEADER + 8), MULTIPLY];
        for word in [12, 16, 20] {
            program.extend([KEEP, load(NETWORK_HEADER + word), MIX, MULTIPLY]);
        }
        program.extend([HIGH_HALF, modulo(workers), RETURN]);
        program
    }

    const fn instruction(code: u32, k: u32) -> Instruction {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "operation codes have 8 bits (linux/bpf_common.h)"
        )]
        Instruction {
            code: code as u16,
            jt: 0,
            jf: 0,
            k,
        }
    }

    const fn load(from: u32) -> Instruction {
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, from)
    }

    fn modulo(workers: u16) -> Instruction {
        instruction(
            libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K,
            u32::from(workers.max(1)),
        )
    }

    const MULTIPLY: Instruction = instruction(libc::BPF_ALU | libc::BPF_MUL | libc::BPF_K, SPREAD);
    const HIGH_HALF: Instruction = instruction(libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K, 16);
    const KEEP: Instruction = instruction(libc::BPF_MISC | libc::BPF_TAX, 0);
    const MIX: Instruction = instruction(libc::BPF_ALU | libc::BPF_XOR | libc::BPF_X, 0);
    const RETURN: Instruction = instruction(libc::BPF_RET | libc::BPF_A, 0);
}

/// A socket to ask `peer` one question: the kernel chooses a random source port (RFC 9109), lets only answers
/// of that address and port through, and stamps them.
///
/// # Errors
/// What the kernel says: no route, no such family, out of descriptors.
pub fn ask(peer: SocketAddr) -> io::Result<UdpSocket> {
    let any = match peer {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    socket.connect(peer)?;
    Ok(socket)
}

/// Takes one datagram: its length (cut at the buffer's) and when the kernel got it.
///
/// # Errors
/// What `recvmsg(2)` gives; `WouldBlock` when nothing is there, `ConnectionRefused` when nobody listens.
pub fn receive_stamped(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<UnixTime>)> {
    let mut control = cmsg_space!(TimeSpec);
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
            Some(UnixTime::from(time))
        } else {
            None
        }
    });
    Ok((message.bytes, arrived_at))
}

/// Why a listener can't be opened.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
    cause: io::Error,
}

impl BindError {
    /// Does this host lack the whole address family?
    pub fn is_family_missing(&self) -> bool {
        self.cause.raw_os_error() == Some(libc::EAFNOSUPPORT)
    }

    fn remedy(&self) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        match self.cause.raw_os_error().unwrap_or(0) {
            libc::EADDRINUSE => format!(
                "another program has this port (`ss -ulpn 'sport = :{port}'` names it): stop it, or configure another address or port"
            ),
            libc::EADDRNOTAVAIL => format!(
                "no interface of this host has the address {ip} (`ip address` lists them): add it first, or configure another"
            ),
            libc::EACCES | libc::EPERM => format!(
                "no right to port {port}: start as root with --user, give the service CAP_NET_BIND_SERVICE, or use a port from 1024 on"
            ),
            libc::EAFNOSUPPORT => {
                "this host has no such address family: where IPv6 is off, say `-6 0`".to_owned()
            }
            libc::EMFILE | libc::ENFILE => {
                "out of file descriptors: raise LimitNOFILE= or use fewer workers".to_owned()
            }
            _ => "the kernel refused it".to_owned(),
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot listen on {}: {}: {}",
            self.address,
            self.cause,
            self.remedy()
        )
    }
}

impl std::error::Error for BindError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::net::IpAddr;

    /// A group on a free port of `ip`, each member waiting only briefly.
    fn group(ip: &str, workers: u16, steering: Steering) -> (SocketAddr, Vec<UdpSocket>) {
        let ip: IpAddr = ip.parse().unwrap();
        let port = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap().port();
        let address = SocketAddr::from((ip, port));
        let group = bind_group(address, workers, steering).unwrap();
        for member in &group {
            member.set_nonblocking(true).unwrap();
        }
        (address, group)
    }

    /// Which members got something, and how much.
    fn received(group: &[UdpSocket]) -> HashMap<usize, usize> {
        let mut counts = HashMap::new();
        for (index, member) in group.iter().enumerate() {
            while member.recv(&mut [0; 10]).is_ok() {
                *counts.entry(index).or_default() += 1;
            }
        }
        counts
    }

    #[test]
    fn one_client_meets_one_worker_and_all_workers_are_busy() {
        let (address, group) = group("127.0.0.1", 4, Steering::Source);
        let mut clients_of = HashMap::new();
        for host in 1..=100 {
            for _ in 0..10 {
                // A new source port each time: only the address may matter.
                let client = UdpSocket::bind((Ipv4Addr::new(127, 0, 1, host), 0)).unwrap();
                client.send_to(b"?", address).unwrap();
            }
            let counts = received(&group);
            assert_eq!(counts.len(), 1, "127.0.1.{host}: {counts:?}");
            *clients_of.entry(*counts.keys().next().unwrap()).or_insert(0) += 1;
        }
        assert_eq!(clients_of.len(), 4, "{clients_of:?}");
        assert!(
            clients_of.values().all(|&clients| clients >= 10),
            "{clients_of:?}"
        );
    }

    #[test]
    fn one_ipv6_client_meets_one_worker() {
        let (address, group) = group("::1", 3, Steering::Source);
        for _ in 0..30 {
            UdpSocket::bind("[::1]:0")
                .unwrap()
                .send_to(b"?", address)
                .unwrap();
        }
        let counts = received(&group);
        assert_eq!(counts.values().copied().collect::<Vec<_>>(), [30], "{counts:?}");
    }

    #[test]
    fn the_other_ways_of_steering_lose_nothing() {
        for steering in [Steering::Cpu, Steering::Kernel] {
            for ip in ["127.0.0.1", "::1"] {
                let (address, group) = group(ip, 3, steering);
                for _ in 0..30 {
                    UdpSocket::bind((address.ip(), 0))
                        .unwrap()
                        .send_to(b"?", address)
                        .unwrap();
                }
                assert_eq!(received(&group).values().sum::<usize>(), 30, "{steering:?} {ip}");
            }
        }
    }

    #[test]
    fn a_port_in_use_is_said_even_among_ourselves() {
        let (address, _group) = group("127.0.0.1", 2, Steering::Source);
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
        let (address, _group) = group("::", 1, Steering::Source);
        check_free((Ipv4Addr::UNSPECIFIED, address.port()).into()).unwrap();
    }

    #[test]
    fn an_answer_is_stamped_and_strangers_are_not_heard() {
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
        assert!(arrived_at.unwrap().seconds > 1_600_000_000);
    }
}
