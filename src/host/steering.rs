//! Impure. The choice of the socket of a group that gets a packet.
//!
//! It is made by classic BPF programs for `SO_ATTACH_REUSEPORT_CBPF`, which need no privilege and return the
//! index of the chosen socket.
//!
//! The kernel numbers the sockets of a group as they are bound, and closing one moves the last one to its
//! place: so only the last ones are ever closed, after packets were steered away from them.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use libc::sock_filter as Instruction;
use nix::sys::socket::{setsockopt, sockopt};
use strum::{IntoStaticStr, VariantArray};

use super::sys;

/// The kernel's choice of the worker that gets a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Steering {
    /// By the source address: a client always gets the same worker.
    Source,
    /// By the CPU that received the packet: best if every CPU has a hardware queue of its own.
    Cpu,
    /// By the kernel's own hash of addresses and ports.
    Kernel,
}

/// Steers packets to the first `members` sockets of the group of `member`, and to no others.
///
/// More of them may be bound already, or still be bound.
///
/// # Errors
/// As `setsockopt(2)`: the socket is in no group.
pub fn steer(member: &UdpSocket, steering: Steering, members: u16) -> io::Result<()> {
    let address = member.local_addr()?;
    match steering {
        Steering::Kernel => sys::detach_reuseport(member.as_fd()),
        Steering::Cpu => attach(member, by_cpu(members)),
        Steering::Source => attach(member, by_source(address, members)),
    }
}

/// Steers packets as [`steer`] does, while some members are about to be closed.
///
/// The kernel's own choice would still find those.
///
/// # Errors
/// As [`steer`].
pub fn steer_away(member: &UdpSocket, steering: Steering, members: u16) -> io::Result<()> {
    match steering {
        Steering::Kernel => steer(member, Steering::Source, members),
        Steering::Cpu | Steering::Source => steer(member, steering, members),
    }
}

fn attach(member: &UdpSocket, mut program: Vec<Instruction>) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_mut_ptr(),
    };
    Ok(setsockopt(member, sockopt::AttachReusePortCbpf, &program)?)
}

fn by_source(address: SocketAddr, members: u16) -> Vec<Instruction> {
    match address {
        SocketAddr::V4(_) => by_ipv4_source(members),
        SocketAddr::V6(_) => by_ipv6_source(members),
    }
}

/// Offset of the network header for absolute loads (linux/filter.h, SKF_NET_OFF = -0x100000).
const NETWORK_HEADER: u32 = 0_u32.wrapping_sub(0x10_0000);
/// Offset that loads the CPU that handles the packet (linux/filter.h, SKF_AD_OFF = -0x1000 and SKF_AD_CPU = 36).
const CPU: u32 = 0_u32.wrapping_sub(0x1000) + 36;
/// 2^32 divided by the golden ratio: multiplied by it, near addresses lie far apart.
const SPREAD: u32 = 0x9E37_79B1;

fn by_cpu(members: u16) -> Vec<Instruction> {
    vec![load(CPU), modulo(members), RETURN]
}

fn by_ipv4_source(members: u16) -> Vec<Instruction> {
    vec![
        load(NETWORK_HEADER + 12),
        MULTIPLY,
        HIGH_HALF,
        modulo(members),
        RETURN,
    ]
}

/// Makes the program for IPv6. All 128 bits count: a whole LAN may share its first 64, and one worker would serve it.
fn by_ipv6_source(members: u16) -> Vec<Instruction> {
    let mut program = vec![load(NETWORK_HEADER + 8), MULTIPLY];
    for word in [12, 16, 20] {
        program.extend([KEEP, load(NETWORK_HEADER + word), MIX, MULTIPLY]);
    }
    program.extend([HIGH_HALF, modulo(members), RETURN]);
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

fn modulo(members: u16) -> Instruction {
    instruction(
        libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K,
        u32::from(members.max(1)),
    )
}

const MULTIPLY: Instruction = instruction(libc::BPF_ALU | libc::BPF_MUL | libc::BPF_K, SPREAD);
const HIGH_HALF: Instruction = instruction(libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K, 16);
const KEEP: Instruction = instruction(libc::BPF_MISC | libc::BPF_TAX, 0);
const MIX: Instruction = instruction(libc::BPF_ALU | libc::BPF_XOR | libc::BPF_X, 0);
const RETURN: Instruction = instruction(libc::BPF_RET | libc::BPF_A, 0);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::net::{IpAddr, Ipv4Addr};

    use crate::host::udp::bind_members;

    /// A group on a free port of `ip`.
    fn group(ip: &str, members: u16, steering: Steering) -> (SocketAddr, Vec<UdpSocket>) {
        let ip: IpAddr = ip.parse().unwrap();
        let port = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap().port();
        let address = SocketAddr::from((ip, port));
        let group = more(address, members);
        steer(&group[0], steering, members).unwrap();
        (address, group)
    }

    /// As many more `members` of the group on `address`, which wait for nothing.
    fn more(address: SocketAddr, members: u16) -> Vec<UdpSocket> {
        let more = bind_members(address, members, None).unwrap();
        more.iter()
            .for_each(|member| member.set_nonblocking(true).unwrap());
        more
    }

    /// The members that got something, and how much.
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
    fn who_is_steered_away_from_gets_nothing_more_and_keeps_what_it_has() {
        for steering in [Steering::Source, Steering::Cpu, Steering::Kernel] {
            for ip in ["127.0.0.1", "::1"] {
                let (address, mut group) = group(ip, 4, steering);
                let send = || {
                    for _ in 0..40 {
                        let client = UdpSocket::bind((address.ip(), 0)).unwrap();
                        client.send_to(b"?", address).unwrap();
                    }
                };
                send();
                steer_away(&group[0], steering, 2).unwrap();
                assert_eq!(received(&group).values().sum::<usize>(), 40, "{steering:?} {ip}");
                send();
                let counts = received(&group);
                assert_eq!(counts.values().sum::<usize>(), 40, "{steering:?} {ip}");
                assert!(
                    counts.keys().all(|&member| member < 2),
                    "{steering:?} {ip} {counts:?}"
                );
                // Closed and replaced: the group is whole again.
                group.truncate(2);
                group.extend(more(address, 1));
                steer(&group[0], steering, 3).unwrap();
                send();
                assert_eq!(received(&group).values().sum::<usize>(), 40, "{steering:?} {ip}");
            }
        }
    }
}
