//! Proves the serving rules on the daemon as built: who is answered, from where, with what, by whom.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use nix::sys::signal::Signal;
use ntpfront::time::NtpTimestamp;
use ntpfront::wire::{HEADER_LEN, Mode};

use crate::common::client::{self, ask, exchange, is_ignored, request, socket, synchronized, v4, v6};
use crate::common::daemon::{Counters, Daemon, LOCAL, Reload};
use crate::common::neighbor::{Neighbor, device_number};
use crate::common::network::{in_own_network, ip};
use crate::common::port::free_port;
use crate::common::random::Random;
use crate::common::watch::honest;
use crate::common::{SOON, now, wait_until};

/// A daemon without upstreams that serves this host's clock at once, as stratum 10, on these listeners.
fn local(listeners: &[(SocketAddr, u16)]) -> Daemon {
    let mut text = LOCAL.to_owned();
    for (address, workers) in listeners {
        text += &format!("[[listener]]\naddress = \"{address}\"\nworkers = {workers}\n");
    }
    let daemon = Daemon::configured(&text);
    listeners.iter().fold(daemon, |daemon, (address, _)| {
        daemon.answering(reachable(*address))
    })
}

/// A wildcard address is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) if address.ip().is_unspecified() => v4(address.port()),
        SocketAddr::V6(_) if address.ip().is_unspecified() => v6(address.port()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => address,
    }
}

#[test]
fn without_upstreams_the_local_reference_is_announced_as_such() {
    let server = v4(free_port());
    let _daemon = local(&[(server, 1)]);
    synchronized(server);
    let reply = client::header(server);
    assert_eq!((reply.stratum, reply.mode), (10, Mode::Server));
    assert_eq!(reply.reference_id.to_bytes(), [127, 127, 1, 1]);
    assert!(client::ahead(&reply).abs() < 5.0, "{reply:?}");
}

#[test]
fn versions_are_echoed_and_modes_answered() {
    let port = free_port();
    let _daemon = local(&[(v4(port), 1), (v6(port), 1)]);
    for server in [v4(port), v6(port)] {
        for (version, mode, answer_mode) in [
            (1, 0, Mode::Server),
            (1, 1, Mode::SymmetricPassive),
            (1, 3, Mode::Server),
            (2, 1, Mode::SymmetricPassive),
            (2, 3, Mode::Server),
            (3, 1, Mode::SymmetricPassive),
            (3, 3, Mode::Server),
            (4, 1, Mode::SymmetricPassive),
            (4, 3, Mode::Server),
        ] {
            let reply = wait_until("an answer", SOON, || ask(server, &request(version, mode))).header();
            assert_eq!((reply.version.number(), reply.mode), (version, answer_mode));
        }
    }
}

#[test]
fn every_way_of_steering_answers() {
    for steering in ["source", "cpu", "kernel"] {
        let server = v4(free_port());
        let _daemon = Daemon::configured(&format!(
            "upstream = []\n[local]\nenabled = true\n\
             [[listener]]\naddress = \"{server}\"\nworkers = 3\nsteering = \"{steering}\"\n"
        ))
        .answering(server);
        for last in 1..=20 {
            let from = socket(([127, 0, 4, last], 0));
            exchange(&from, server, &request(4, 3), SOON).expect("an answer");
        }
    }
}

/// A request that waited longer than `max-wait` is counted and not answered; one that waited less says when it came.
//= RFC 5905 §7.3 timestamping
#[test]
fn what_waited_too_long_is_not_answered() {
    let server = v4(free_port());
    for (max_wait, is_answered) in [("0.1", false), ("1.0", true)] {
        let daemon = Daemon::configured(&format!(
            "{LOCAL}\
             [[listener]]\naddress = \"{server}\"\nmax-wait = {max_wait}\n"
        ))
        .answering(server);
        let from = socket(([127, 0, 0, 1], 0));
        daemon.signal(Signal::SIGSTOP);
        wait_until("all threads stand still", SOON, || {
            let all = threads(&daemon);
            all.iter()
                .all(|status| field(status, "State:").starts_with('T'))
                .then_some(())
        });
        let (old, new) = (request(4, 3), request(4, 3));
        let sent_at = now();
        from.send_to(&old, server).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        daemon.signal(Signal::SIGCONT);
        let first = exchange(&from, server, &new, SOON).expect("an answer").header();
        let origin = |request: &[u8; HEADER_LEN]| {
            NtpTimestamp::from_bits(u64::from_be_bytes(request[40..].try_into().unwrap()))
        };
        assert_eq!(
            first.origin_timestamp,
            origin(if is_answered { &old } else { &new })
        );
        if is_answered {
            let (came, left) = (
                first.receive_timestamp - sent_at,
                first.transmit_timestamp - sent_at,
            );
            assert!(
                came.to_seconds() < 0.1 && left.to_seconds() >= 0.3,
                "{came:?} {left:?}"
            );
        }
        let counted = &daemon.counters(1)[0];
        let refused = counted.count("received") - counted.count("answered");
        assert_eq!(
            (refused, daemon.log().contains("refused-late=1")),
            (u64::from(!is_answered), !is_answered)
        );
    }
}

/// What the kernel tells of each of the daemon's threads (`/proc/PID/status`).
fn threads(daemon: &Daemon) -> Vec<String> {
    let all = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    all.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap())
        .collect()
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.expect("a field of every thread").trim()
}

/// The CPUs of each worker's thread, in the order of their names.
fn cpus_of_workers(daemon: &Daemon) -> Vec<String> {
    let all = threads(daemon);
    let named = |status: &String| {
        (
            field(status, "Name:").to_owned(),
            field(status, "Cpus_allowed_list:").to_owned(),
        )
    };
    let workers = all
        .iter()
        .map(named)
        .filter(|(name, _)| name.starts_with("worker-"));
    let sorted: BTreeMap<String, String> = workers.collect();
    sorted.into_values().collect()
}

#[test]
fn tuning_changes_while_it_serves() {
    let server = v4(free_port());
    let text = |tuning: &str| {
        format!(
            "upstream = []\n[local]\nenabled = true\n\
             [[listener]]\naddress = \"{server}\"\nworkers = 3\n{tuning}\n"
        )
    };
    let daemon = Daemon::configured(&text("pin = true\nbatch = 1\nreceive-buffer = 65536")).answering(server);
    let pinned = cpus_of_workers(&daemon);
    let main = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let all = field(&main, "Cpus_allowed_list:").to_owned();
    let is_one = |cpus: &String| cpus.parse::<u32>().is_ok();
    assert!(pinned.len() == 3 && pinned.iter().all(is_one), "{pinned:?}");
    // A fourth worker, and those that are there let go.
    let wider = text("batch = 256\nreceive-buffer = 131072").replace("workers = 3", "workers = 4");
    assert_eq!(daemon.reload(&wider), Reload::Done);
    assert_eq!(cpus_of_workers(&daemon), vec![all; 4]);
    assert_eq!(daemon.reload(&text("pin = true")), Reload::Done);
    assert_eq!(cpus_of_workers(&daemon), pinned);
    for last in 1..=20 {
        let from = socket(([127, 0, 4, last], 0));
        exchange(&from, server, &request(4, 3), SOON).expect("an answer");
    }
}

//= RFC 5905 §9.2 discard
//= RFC 5905 §9.2 format
#[test]
fn what_is_no_request_is_never_answered() {
    let port = free_port();
    let _daemon = local(&[(v4(port), 1), (v6(port), 1)]);
    for server in [v4(port), v6(port)] {
        let from = socket(SocketAddr::new(server.ip(), 0));
        for version in 0..8 {
            for mode in 0..8 {
                let is_request =
                    (1..=4).contains(&version) && matches!(mode, 1 | 3) || (version, mode) == (1, 0);
                assert!(
                    is_request || is_ignored(&from, server, &request(version, mode)),
                    "version {version} mode {mode}"
                );
            }
        }
        for length in [0, 1, 47] {
            assert!(
                is_ignored(&from, server, &request(4, 3)[..length]),
                "{length} bytes"
            );
        }
    }
}

//= RFC 7822 §7.5 unknown
#[test]
fn whatever_follows_the_header_the_reply_has_48_bytes() {
    let server = v4(free_port());
    let _daemon = local(&[(server, 1)]);
    let from = socket(([127, 0, 0, 1], 0));
    for length in [48, 49, 52, 68, 72, 100, 468, 548, 600, 1400] {
        let mut long = request(4, 3).to_vec();
        long.resize(length, 0xA5);
        let answer = exchange(&from, server, &long, SOON).expect("an answer");
        assert_eq!(
            (answer.bytes.len(), answer.from),
            (HEADER_LEN, server),
            "asked with {length}"
        );
    }
}

//= RFC 5905 §8 copy
#[test]
fn the_reply_field_by_field() {
    let server = v4(free_port());
    let _daemon = local(&[(server, 1)]);
    let from = socket(([127, 0, 0, 1], 0));
    for poll in [0_u8, 3, 6, 10, 17, 127, 0x80, 0xFF] {
        let mut asked = request(4, 3);
        asked[2] = poll;
        let before = now();
        let answer = exchange(&from, server, &asked, SOON).expect("an answer");
        let after = now();
        honest(&asked, &answer.bytes).unwrap();
        assert_eq!(
            answer.bytes[24..32],
            asked[40..48],
            "origin is the client's transmit"
        );
        let reply = answer.header();
        assert!(
            !before.is_after(reply.receive_timestamp) && !reply.transmit_timestamp.is_after(after),
            "{before:?} {reply:?} {after:?}"
        );
        assert!((-32..=-10).contains(&reply.precision), "{}", reply.precision);
    }
}

#[test]
fn the_reply_leaves_from_the_address_that_was_asked() {
    in_own_network(|| {
        ip("addr add fd00::7/128 dev lo nodad");
        ip("addr add fd00::8/128 dev lo nodad");
        let all: [SocketAddr; 2] = ["0.0.0.0:123".parse().unwrap(), "[::]:123".parse().unwrap()];
        let _daemon = local(&[(all[0], 2), (all[1], 2)]);
        for asked in ["127.0.0.1", "127.0.0.7", "127.1.2.3", "::1", "fd00::7", "fd00::8"] {
            let server = SocketAddr::new(asked.parse().unwrap(), 123);
            let wildcard = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let from = socket(wildcard.parse::<SocketAddr>().unwrap());
            let answer = exchange(&from, server, &request(4, 3), SOON).expect("an answer");
            assert_eq!(answer.from, server);
        }
    });
}

#[test]
fn many_addresses_asked_in_one_batch_each_answer_for_themselves() {
    let port = free_port();
    let _daemon = local(&[(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), 1)]);
    let from = socket(([127, 0, 0, 1], 0));
    let mut asked = BTreeMap::new();
    for last in 1..=60 {
        let request = request(4, 3);
        let server = SocketAddr::from(([127, 0, 9, last], port));
        asked.insert(request[40..].to_vec(), server);
        from.send_to(&request, server).unwrap();
    }
    while !asked.is_empty() {
        let answer = client::receive(&from, SOON).expect("all are answered");
        let server = asked
            .remove(&answer.bytes[24..32])
            .expect("an answer to a question");
        assert_eq!(answer.from, server);
    }
}

#[test]
fn link_local_addresses_keep_their_scope_over_a_cable() {
    in_own_network(|| {
        let neighbor = Neighbor::plug_in();
        let all: [SocketAddr; 2] = ["0.0.0.0:123".parse().unwrap(), "[::]:123".parse().unwrap()];
        let _daemon = local(&[(all[0], 1), (all[1], 1)]);
        let (v4, v6) = neighbor.run(|| {
            let scope = device_number("far");
            let here = SocketAddrV6::new("fe80::1".parse().unwrap(), 123, 0, scope).into();
            ["192.0.2.1:123".parse().unwrap(), here]
                .map(|server: SocketAddr| {
                    let answer = wait_until("an answer over the cable", SOON, || ask(server, &request(4, 3)));
                    (server, answer.from)
                })
                .into()
        });
        assert_eq!(v4.0, v4.1);
        assert_eq!(v6.0, v6.1);
    });
}

#[test]
fn a_listener_on_a_link_local_address_answers() {
    in_own_network(|| {
        let neighbor = Neighbor::plug_in();
        let here = SocketAddrV6::new("fe80::1".parse().unwrap(), 123, 0, device_number("near"));
        let daemon = Daemon::configured(&format!(
            "upstream = []\n[local]\nenabled = true\n[[listener]]\naddress = \"[fe80::1%{}]:123\"\n",
            here.scope_id()
        ));
        let _daemon = daemon.answering(here.into());
        let (asked, from) = neighbor.run(|| {
            let scope = device_number("far");
            let there: SocketAddr = SocketAddrV6::new("fe80::1".parse().unwrap(), 123, 0, scope).into();
            let answer = wait_until("an answer over the cable", SOON, || ask(there, &request(4, 3)));
            (there, answer.from)
        });
        assert_eq!(asked, from);
    });
}

#[test]
fn an_ipv6_listener_never_takes_ipv4() {
    let port = free_port();
    let _six = local(&[(SocketAddr::new("::".parse::<IpAddr>().unwrap(), port), 1)]);
    // The same port of IPv4 is free, also for a wildcard.
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
}

/// Which worker counted `packets` more; exactly one did, or the test fails.
fn the_one_that_moved(before: &[Counters], after: &[Counters], packets: u64) -> String {
    let moved: Vec<_> = after
        .iter()
        .filter_map(|now| {
            let then = before.iter().find(|then| then.worker() == now.worker()).unwrap();
            let more = now.count("received") - then.count("received");
            (more != 0).then(|| (now.worker().1.to_owned(), more))
        })
        .collect();
    assert_eq!(moved.len(), 1, "one client met several workers: {moved:?}");
    assert_eq!(moved[0].1, packets);
    moved[0].0.clone()
}

#[test]
fn a_client_always_meets_the_same_worker_and_all_workers_are_busy() {
    const WORKERS: usize = 4;
    let server = v4(free_port());
    let daemon = local(&[(server, 4)]);
    let mut busy = BTreeMap::<String, u32>::new();
    let mut before = daemon.counters(WORKERS);
    for client in 1..=100 {
        // Each request from a port of its own: only the address counts.
        for _ in 0..10 {
            let from = socket(([127, 0, 3, client], 0));
            exchange(&from, server, &request(4, 3), SOON).expect("an answer");
        }
        let after = daemon.counters(WORKERS);
        *busy.entry(the_one_that_moved(&before, &after, 10)).or_default() += 1;
        before = after;
    }
    println!("clients of each worker: {busy:?}");
    assert_eq!(busy.len(), WORKERS, "idle workers: {busy:?}");
    for worker in &before {
        assert_eq!(worker.count("received"), worker.count("answered"));
    }
}

#[test]
fn ipv6_clients_keep_their_worker_too() {
    in_own_network(|| {
        const WORKERS: usize = 4;
        (1..=40).for_each(|client| ip(&format!("addr add fd00::{client:x}/128 dev lo nodad")));
        let server = v6(free_port());
        let daemon = local(&[(server, 4)]);
        let mut busy = BTreeMap::<String, u32>::new();
        let mut before = daemon.counters(WORKERS);
        for client in 1..=40 {
            for _ in 0..5 {
                let from = socket(format!("[fd00::{client:x}]:0").parse::<SocketAddr>().unwrap());
                exchange(&from, server, &request(4, 3), SOON).expect("an answer");
            }
            let after = daemon.counters(WORKERS);
            *busy.entry(the_one_that_moved(&before, &after, 5)).or_default() += 1;
            before = after;
        }
        println!("clients of each worker: {busy:?}");
        assert_eq!(busy.len(), WORKERS, "idle workers: {busy:?}");
    });
}

#[test]
fn a_million_random_packets() {
    const PACKETS: u32 = 1_000_000;
    // So few at a time that the socket's buffer holds them all: none may be lost unread.
    const AT_ONCE: u32 = 50;
    let server = v4(free_port());
    let mut daemon = local(&[(server, 1)]);
    synchronized(server);
    let from = socket(([127, 0, 0, 1], 0));
    let mut random = Random::seeded();
    let (lines, received) = (daemon.log_lines(), daemon.counters(1)[0].count("received"));
    let lines = lines + 1;

    let mut buffer = [0; 600];
    let mut answered = 0_u32;
    for _ in 0..PACKETS / AT_ONCE {
        let mut lengths = BTreeMap::new();
        for _ in 0..AT_ONCE {
            let length = random.below(601);
            let packet = &mut buffer[..length];
            random.fill(packet);
            if length >= HEADER_LEN {
                lengths.insert(packet[40..48].to_vec(), length);
            }
            from.send_to(packet, server).unwrap();
        }
        let last = request(4, 3);
        from.send_to(&last, server).unwrap();
        loop {
            let answer = client::receive(&from, SOON).expect("still alive");
            if answer.bytes[24..32] == last[40..48] {
                break;
            }
            let length = lengths
                .remove(&answer.bytes[24..32])
                .expect("an answer to something that was asked");
            assert!(
                answer.bytes.len() <= length,
                "{} bytes for {length}",
                answer.bytes.len()
            );
            answered += 1;
        }
    }

    assert!(daemon.ended().is_none());
    let logged = daemon.log_lines() - lines;
    let counted = daemon.counters(1)[0].count("received") - received;
    println!("{answered} of {PACKETS} were requests by chance; {logged} lines logged");
    assert_eq!(
        counted,
        u64::from(PACKETS + PACKETS / AT_ONCE),
        "every packet was read"
    );
    assert!(logged <= 10, "{logged} lines");
}

#[test]
fn source_port_0_is_neither_answered_nor_logged() {
    in_own_network(|| {
        let server = v4(free_port());
        let daemon = local(&[(server, 1)]);
        let (lines, before) = (daemon.log_lines(), daemon.counters(1).remove(0));
        let lines = lines + 1;
        for _ in 0..1000 {
            send_from_port_0(server, &request(4, 3));
        }
        // The same socket and thus the same queue: when this is answered, the others have been seen.
        client::header(server);
        let logged = daemon.log_lines() - lines;
        let after = daemon.counters(1).remove(0);
        assert!(logged <= 10, "{logged} lines");
        let more = |name| after.count(name) - before.count(name);
        assert!(more("received") > 1, "no packet from port 0 arrived: {after:?}");
        assert_eq!(more("answered"), 1, "{after:?}");
    });
}

/// A UDP packet whose source port is 0, which only a raw socket can send.
fn send_from_port_0(server: SocketAddr, payload: &[u8]) {
    use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto};
    let SocketAddr::V4(address) = server else {
        panic!("IPv4 only");
    };
    let raw = nix::sys::socket::socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Udp,
    )
    .unwrap();
    let length = u16::try_from(8 + payload.len()).unwrap();
    // Source port 0, destination port, length, checksum 0 (none).
    let mut datagram = vec![0, 0];
    datagram.extend(address.port().to_be_bytes());
    datagram.extend(length.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    let to = SockaddrIn::from(address);
    sendto(
        std::os::fd::AsRawFd::as_raw_fd(&raw),
        &datagram,
        &to,
        MsgFlags::empty(),
    )
    .unwrap();
}

//= RFC 5905 §9.2 fxmit-unicast
#[test]
fn broadcast_and_multicast_are_not_answered() {
    in_own_network(|| {
        let neighbor = Neighbor::plug_in();
        let _daemon = local(&[("0.0.0.0:123".parse().unwrap(), 1)]);
        let answered = neighbor.run(|| {
            let from = socket(([192, 0, 2, 2], 0));
            from.set_broadcast(true).unwrap();
            let everybody: SocketAddr = "192.0.2.255:123".parse().unwrap();
            let one: SocketAddr = "192.0.2.1:123".parse().unwrap();
            wait_until("an answer over the cable", SOON, || ask(one, &request(4, 3)));
            let (odd, ordinary) = (request(4, 3), request(4, 3));
            from.send_to(&odd, everybody).unwrap();
            let answer = exchange(&from, one, &ordinary, SOON).expect("an answer");
            let second = client::receive(&from, Duration::from_millis(300));
            (answer.bytes[24..32] == ordinary[40..48], second)
        });
        assert_eq!(answered, (true, None));
    });
}
