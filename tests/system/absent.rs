//! Proves that requests in the name of addresses that are not there, on the server's own network, harm nobody: replies to
//! them wait in the kernel for seconds, and nobody waits with them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};
use serde_json::Value;

use std::os::fd::AsRawFd;

use crate::common::client::{self, request};
use crate::common::daemon::Daemon;
use crate::common::neighbor::Neighbor;
use crate::common::network::{in_own_network, ip};
use crate::common::status::status;
use crate::common::{TempDir, root};
use crate::machine;

/// So many absent addresses of each family ask,
const ABSENT: u16 = 100;
/// together so often a second, as fills a send buffer of the kernel's default size, or one of any size,
const RATES: [u32; 2] = [300, 6000];
/// for so long: the kernel gives up an address after three seconds, so that it is as full as it gets by then.
const TIME: Duration = Duration::from_secs(7);
/// An honest client asks so often.
const HONEST: Duration = Duration::from_millis(10);
const SERVERS: [&str; 2] = ["192.0.2.1:123", "[fd99::1]:123"];

/// What an honest client of one family saw.
#[derive(Debug)]
struct Seen {
    asked: usize,
    /// Round trips of those that were answered, in ascending order.
    answered: Vec<Duration>,
}

impl Seen {
    fn share(&self) -> f64 {
        self.answered.len() as f64 / self.asked as f64
    }

    fn median(&self) -> Duration {
        self.answered[self.answered.len() / 2]
    }
}

/// A socket that sends in the name of `address`, which nobody has.
fn forged(address: IpAddr) -> UdpSocket {
    let family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    let forged = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).unwrap();
    if address.is_ipv4() {
        setsockopt(&forged, sockopt::IpTransparent, &true).unwrap();
    }
    bind(
        forged.as_raw_fd(),
        &SockaddrStorage::from(SocketAddr::new(address, 4000)),
    )
    .unwrap();
    UdpSocket::from(forged)
}

/// Absent ones ask `server`, and an honest client beside them.
fn asks(server: SocketAddr, rate: u32) -> Seen {
    let absent: Vec<UdpSocket> = (1000..1000 + ABSENT)
        .map(|number| {
            forged(match server {
                SocketAddr::V4(_) => Ipv4Addr::new(192, 0, 2, (number - 900).to_be_bytes()[1]).into(),
                SocketAddr::V6(_) => Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0xdead, number).into(),
            })
        })
        .collect();
    let honest = client::socket(match server {
        SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0; 8], 0)),
    });
    let start = Instant::now();
    let (mut sent, mut seen) = (
        0,
        Seen {
            asked: 0,
            answered: Vec::new(),
        },
    );
    while start.elapsed() < TIME {
        while f64::from(sent) < start.elapsed().as_secs_f64() * f64::from(rate) {
            absent[usize::try_from(sent).unwrap() % absent.len()]
                .send_to(&request(4, 3), server)
                .unwrap();
            sent += 1;
        }
        let asked = Instant::now();
        seen.asked += 1;
        let answer = client::exchange(&honest, server, &request(4, 3), Duration::from_millis(200));
        seen.answered.extend(answer.map(|_| asked.elapsed()));
        std::thread::sleep(HONEST.saturating_sub(asked.elapsed()));
    }
    seen.answered.sort();
    seen
}

/// A server that absent ones, so often a second, and honest clients of both families ask; what the honest saw, and what the
/// server says of all. `queued`: bytes that may wait for one address.
fn asked(rate: u32, queued: Option<&str>) -> ([Seen; 2], Value) {
    let directory = TempDir::new();
    let control = directory.path().join("control");
    let mut found = None;
    let _machine = machine::alone();
    in_own_network(|| {
        let neighbor = Neighbor::plug_in();
        ip("addr add fd99::1/64 dev near nodad");
        neighbor.run(|| {
            ip("addr add fd99::2/64 dev far nodad");
            // So that it may forge.
            std::fs::write("/proc/sys/net/ipv6/ip_nonlocal_bind", "1").unwrap();
        });
        for family in ["ipv4", "ipv6"] {
            if let Some(bytes) = queued {
                std::fs::write(
                    format!("/proc/sys/net/{family}/neigh/near/unres_qlen_bytes"),
                    bytes,
                )
                .unwrap();
            }
        }
        let mut text = format!(
            "upstream = []\n[control]\nsocket = \"{}\"\n[local]\nenabled = true\n",
            control.display()
        );
        for server in SERVERS {
            text += &format!("[[listener]]\naddress = \"{server}\"\n");
        }
        let daemon = Daemon::configured(&text).answering(SERVERS[0].parse().unwrap());
        let seen = neighbor.run(move || {
            let [first, second] =
                SERVERS.map(|server| std::thread::spawn(move || asks(server.parse().unwrap(), rate)));
            [first.join().unwrap(), second.join().unwrap()]
        });
        let status = status(&control);
        for (server, one) in SERVERS.iter().zip(&seen) {
            println!(
                "{server}: {:.1} % of {}, round trip {:?}, at most {:?}",
                100.0 * one.share(),
                one.asked,
                one.median(),
                one.answered.last().unwrap()
            );
        }
        println!("full: {}", status["requests"]["send_buffer_full"]);
        drop(daemon);
        found = Some((seen, status));
    });
    found.unwrap()
}

#[test]
fn absent_addresses_harm_nobody() {
    if !root() {
        return;
    }
    let (seen, status) = asked(RATES[0], None);
    for one in seen {
        assert!(
            one.share() >= 0.99 && one.median() < Duration::from_millis(5),
            "{one:?}"
        );
    }
    assert_eq!(status["requests"]["send_buffer_full"], 0);
}

#[test]
fn who_finds_the_send_buffer_full_is_counted_and_delays_nobody() {
    if !root() {
        return;
    }
    let (seen, status) = asked(RATES[1], None);
    for one in seen {
        assert!(
            one.share() > 0.2 && one.median() < Duration::from_millis(5),
            "{one:?}"
        );
    }
    let requests = &status["requests"];
    assert!(requests["send_buffer_full"].as_u64() > Some(100), "{status}");
    assert_eq!(requests["send_failed"], 0, "{status}");
}

#[test]
fn the_advice_helps_at_any_rate() {
    if !root() {
        return;
    }
    let advice = std::fs::read_to_string("packaging/doc/ntpfront-sysctl.conf").unwrap();
    let settings: Vec<&str> = advice
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(".neigh.default.unres_qlen_bytes = "))
        .map(|(_, bytes)| bytes)
        .collect();
    assert!(settings.len() == 2 && settings[0] == settings[1], "{settings:?}");
    let (seen, _) = asked(RATES[1], Some(settings[0]));
    for one in seen {
        assert!(
            one.share() >= 0.99 && one.median() < Duration::from_millis(5),
            "{one:?}"
        );
    }
}
