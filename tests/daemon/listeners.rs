//! Proves, in networks of its own, that a listener whose address is not there takes nobody down: it is told, and served once
//! the address comes, with the policy and the counters that are its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};
use ntpfront::wire::Leap;
use serde_json::Value;

use crate::common::client::{ask, request};
use crate::common::daemon::{Daemon, Reload};
use crate::common::neighbor::Neighbor;
use crate::common::network::{in_own_network, ip};
use crate::common::program::command;
use crate::common::status::status;
use crate::common::{SOON, TempDir, root, run, wait_until};

/// From the kernel's news to the service: what is said to take at most a second, on two slow cores that somebody else uses.
const SERVED_WITHIN: Duration = Duration::from_secs(4);
/// Always there.
const HOME: &str = "127.0.0.1:123";
/// Added and taken away.
const AWAY: &str = "192.0.2.7:123";

/// A server as it is started by the service: as root, becoming somebody else.
struct Served {
    daemon: Daemon,
    directory: TempDir,
}

/// Each of these listeners: its address, and more of its table.
type Listeners<'a> = &'a [(&'a str, &'a str)];

impl Served {
    fn start(listeners: Listeners<'_>) -> Self {
        let directory = TempDir::new();
        let daemon = Daemon::configured(&text(&directory, listeners)).answering(at(listeners[0].0));
        Self { daemon, directory }
    }

    fn reload(&self, listeners: Listeners<'_>) -> Reload {
        self.daemon.reload(&text(&self.directory, listeners))
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn ask(&self, words: &[&str]) -> String {
        let outcome = run(command().args(words).arg("--socket").arg(self.socket("control")));
        outcome.said()
    }

    /// What `status` says of the listener at `address`.
    fn sight(&self, address: &str) -> Value {
        let status = status(&self.socket("control"));
        let listeners = status["listeners"].as_array().unwrap();
        let found = listeners.iter().find(|one| one["address"] == address);
        found.unwrap_or_else(|| panic!("{address}: {status}")).clone()
    }

    fn scrape(&self) -> String {
        let mut stream = UnixStream::connect(self.socket("metrics")).unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    }

    fn says(&self, words: &str) {
        wait_until(words, SOON, || self.daemon.log().contains(words).then_some(()));
    }
}

fn text(directory: &TempDir, listeners: Listeners<'_>) -> String {
    let path = directory.path().display();
    let mut text = format!(
        "upstream = []\n[process]\nuser = \"nobody\"\n[local]\nenabled = true\nwait = 0\n\
         [control]\nsocket = \"{path}/control\"\n[metrics]\nlisten = \"unix:{path}/metrics\"\n"
    );
    for (address, more) in listeners {
        text += &format!("[[listener]]\naddress = \"{address}\"\n{more}\n");
    }
    text
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// Waits for an answer there, and no longer than the kernel's news take.
#[track_caller]
fn is_served_soon(address: &str) {
    let since = Instant::now();
    wait_until("an answer", SERVED_WITHIN, || {
        // Until the address is there, there is no way to it.
        let from = UdpSocket::bind(if at(address).is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        })
        .unwrap();
        from.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        from.send_to(&request(4, 3), at(address)).ok()?;
        from.recv(&mut [0; 100]).ok()
    });
    eprintln!("{address} was served after {:?}", since.elapsed());
}

fn in_network(test: impl FnOnce() + Send) {
    if root() {
        in_own_network(test);
    }
}

#[test]
fn an_address_that_comes_later_is_served_when_it_comes() {
    in_network(|| {
        let served = Served::start(&[(HOME, ""), (AWAY, "workers = 2\nanswer = \"unsynchronized\"")]);
        let error = "no interface of this host has the address 192.0.2.7 (`ip address` lists them)";
        served.says(error);
        let log = served.daemon.log();
        let line = log.lines().find(|line| line.contains(error)).unwrap();
        assert!(line.contains("ERROR"), "{line}");
        let sight = served.sight(AWAY);
        assert_eq!(sight["serving"], false, "{sight}");
        assert_eq!(sight["workers"].as_array().unwrap().len(), 0, "{sight}");
        assert!(
            sight["fault"].as_str().unwrap().contains("EADDRNOTAVAIL"),
            "{sight}"
        );
        assert_eq!(served.sight(HOME)["serving"], true);
        assert!(
            served
                .ask(&["status"])
                .contains("not served: no interface of this host")
        );
        let health = served.ask(&["health"]);
        assert!(
            health.starts_with("status Some(0)\nhealthy:") && health.contains("not served: 192.0.2.7:123"),
            "{health}"
        );
        let gauge =
            |value| format!("ntpfront_listener_serving{{listener=\"{AWAY}\",family=\"ipv4\"}} {value}\n");
        let page = served.scrape();
        assert!(page.contains(&gauge(0)), "{page}");

        // Below 1024, after all rights but one were given up.
        ip("addr add 192.0.2.7/24 dev lo");
        is_served_soon(AWAY);
        let sight = served.sight(AWAY);
        assert_eq!((&sight["serving"], &sight["fault"]), (&true.into(), &Value::Null));
        assert_eq!(sight["workers"].as_array().unwrap().len(), 2, "{sight}");
        assert!(
            served
                .daemon
                .log()
                .contains("listening on 192.0.2.7:123, workers 2")
        );
        // The policy is the listener's own.
        let leap = |address: &str| ask(at(address), &request(4, 3)).unwrap().header().leap;
        assert_eq!((leap(HOME), leap(AWAY)), (Leap::NoWarning, Leap::Unsynchronized));
        wait_until("a scrape that is not a second old", SOON, || {
            served.scrape().contains(&gauge(1)).then_some(())
        });
        // What an error was is one line, not many.
        assert_eq!(
            served
                .daemon
                .log()
                .matches("no interface of this host has")
                .count(),
            1
        );
    });
}

#[test]
fn a_tentative_address_is_served_when_the_detection_ends() {
    in_network(|| {
        let _neighbor = Neighbor::plug_in();
        std::fs::write("/proc/sys/net/ipv6/conf/near/dad_transmits", "3").unwrap();
        ip("addr add fd99::1/64 dev near");
        let served = Served::start(&[(HOME, ""), ("[fd99::1]:123", "")]);
        served.says("duplicate address detection has not ended");
        assert_eq!(served.sight("[fd99::1]:123")["serving"], false);
        wait_until("the end of the detection", SOON, || {
            run(std::process::Command::new("ip").args(["addr", "show", "dev", "near", "tentative"]))
                .stdout
                .is_empty()
                .then_some(())
        });
        is_served_soon("[fd99::1]:123");
    });
}

#[test]
fn an_interface_that_comes_later_is_served_when_it_comes() {
    in_network(|| {
        let address = "[fe80::7%42]:123";
        let served = Served::start(&[(HOME, ""), (address, "")]);
        served.says("there is no interface of the number after %");
        assert!(
            served.sight(address)["fault"]
                .as_str()
                .unwrap()
                .contains("ENODEV")
        );
        ip("link add late index 42 type veth peer name later");
        ip("link set late up");
        ip("link set later up");
        ip("addr add fe80::7/64 dev late nodad");
        is_served_soon(address);
    });
}

#[test]
fn a_listener_that_is_required_is_served_or_nothing_is() {
    in_network(|| {
        let directory = TempDir::new();
        let required = [(HOME, ""), (AWAY, "required = true")];
        let file = directory.file("required.toml", text(&directory, &required));
        let outcome = run(command().arg("-c").arg(file));
        assert_eq!(outcome.status, Some(1), "{}", outcome.said());
        assert!(
            outcome.stderr.contains("cannot listen on 192.0.2.7:123"),
            "{}",
            outcome.said()
        );

        let served = Served::start(&[(HOME, "")]);
        assert_eq!(served.reload(&required), Reload::Refused);
        assert_eq!(served.reload(&[(HOME, ""), (AWAY, "")]), Reload::Done);
        // To be absent is refused now, too.
        assert_eq!(served.reload(&required), Reload::Refused);
        ip("addr add 192.0.2.7/24 dev lo");
        is_served_soon(AWAY);
        assert_eq!(served.reload(&required), Reload::Done);
        assert!(served.ask(&["health"]).contains("\nhealthy: "));
        ip("addr del 192.0.2.7/24 dev lo");
        wait_until("it is not fit any more", SOON, || {
            served
                .ask(&["health"])
                .contains("not healthy: local, stratum 10, maximum error 0.5")
                .then_some(())
        });
    });
}

#[test]
fn none_at_all_is_an_error_at_the_start_and_at_a_reload() {
    in_network(|| {
        let directory = TempDir::new();
        let file = directory.file("none.toml", text(&directory, &[(AWAY, "")]));
        let outcome = run(command().arg("-c").arg(file));
        assert_eq!(outcome.status, Some(1), "{}", outcome.said());
        assert!(
            outcome
                .stderr
                .contains("no interface of this host has the address 192.0.2.7")
        );
        let served = Served::start(&[(HOME, "")]);
        assert_eq!(served.reload(&[(AWAY, "")]), Reload::Refused);
        assert_eq!(served.sight(HOME)["serving"], true);
    });
}

#[test]
fn an_address_that_goes_serves_again_when_it_is_back() {
    in_network(|| {
        ip("addr add 192.0.2.7/24 dev lo");
        let served = Served::start(&[(HOME, ""), (AWAY, "")]);
        is_served_soon(AWAY);
        let received = |sight: Value| sight["received"].as_u64().unwrap();
        let before = received(served.sight(AWAY));
        assert!(before > 0);
        ip("addr del 192.0.2.7/24 dev lo");
        served.says("the address of 192.0.2.7:123 is gone");
        let sight = served.sight(AWAY);
        assert_eq!(sight["serving"], false, "{sight}");
        // More workers are wanted while it is away: they come with it.
        assert_eq!(served.reload(&[(HOME, ""), (AWAY, "workers = 3")]), Reload::Done);
        let sight = served.sight(AWAY);
        assert_eq!(sight["workers"].as_array().unwrap().len(), 1, "{sight}");
        ip("addr add 192.0.2.7/24 dev lo");
        is_served_soon(AWAY);
        let sight = wait_until("all workers", SOON, || {
            let sight = served.sight(AWAY);
            (sight["workers"].as_array().unwrap().len() == 3).then_some(sight)
        });
        assert_eq!((&sight["serving"], &sight["fault"]), (&true.into(), &Value::Null));
        assert!(received(sight) > before);
    });
}

#[test]
fn a_listener_that_waits_is_taken_away_and_changed_by_reloads() {
    in_network(|| {
        let served = Served::start(&[(HOME, ""), (AWAY, "")]);
        assert_eq!(served.reload(&[(HOME, "")]), Reload::Done);
        ip("addr add 192.0.2.7/24 dev lo");
        // Longer than the news take.
        std::thread::sleep(SERVED_WITHIN / 2);
        assert!(ask(at(AWAY), &request(4, 3)).is_none());
        ip("addr del 192.0.2.7/24 dev lo");
        assert_eq!(served.reload(&[(HOME, ""), (AWAY, "")]), Reload::Done);
        let changed = "workers = 2\nanswer = \"unsynchronized\"";
        assert_eq!(served.reload(&[(HOME, ""), (AWAY, changed)]), Reload::Done);
        ip("addr add 192.0.2.7/24 dev lo");
        is_served_soon(AWAY);
        assert_eq!(served.sight(AWAY)["workers"].as_array().unwrap().len(), 2);
        let reply = ask(at(AWAY), &request(4, 3)).unwrap().header();
        assert_eq!(reply.leap, Leap::Unsynchronized);
    });
}

/// Somebody else who has the port at that address, be it there or not.
fn taken() -> OwnedFd {
    let other = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    setsockopt(&other, sockopt::IpFreebind, &true).unwrap();
    bind(other.as_raw_fd(), &SockaddrStorage::from(at(AWAY))).unwrap();
    other
}

/// Sockets of one user may share a port, if both ask for it: then the kernel doesn't keep ours from it.
#[test]
fn a_port_that_another_program_would_share_is_an_error_behind_a_listener_of_ours_too() {
    in_network(|| {
        let served = Served::start(&[(HOME, "")]);
        let other = socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .unwrap();
        setsockopt(&other, sockopt::ReusePort, &true).unwrap();
        bind(other.as_raw_fd(), &SockaddrStorage::from(at("127.0.0.2:223"))).unwrap();
        let more = [(HOME, ""), ("127.0.0.1:223", ""), ("0.0.0.0:223", "")];
        assert_eq!(served.reload(&more), Reload::Refused);
        drop(other);
        assert_eq!(served.reload(&more), Reload::Done);
        is_served_soon("127.0.0.1:223");
    });
}

#[test]
fn a_port_that_is_taken_is_an_error_and_one_that_is_free_again_is_used() {
    in_network(|| {
        let other = taken();
        let served = Served::start(&[(HOME, "")]);
        ip("addr add 192.0.2.7/24 dev lo");
        assert_eq!(served.reload(&[(HOME, ""), (AWAY, "")]), Reload::Refused);
        drop(other);
        // Waited for, then taken by somebody else, then free.
        ip("addr del 192.0.2.7/24 dev lo");
        assert_eq!(served.reload(&[(HOME, ""), (AWAY, "")]), Reload::Done);
        let other = taken();
        ip("addr add 192.0.2.7/24 dev lo");
        wait_until("the fault", SOON, || {
            let fault = served.sight(AWAY)["fault"].clone();
            fault.as_str().unwrap().contains("EADDRINUSE").then_some(())
        });
        let log = served.daemon.log();
        let told = log.lines().filter(|line| {
            line.contains("another program has this port (`ss -ulpn 'sport = :123'`")
                && line.contains("not served until then")
        });
        assert_eq!(told.count(), 1);
        drop(other);
        ip("addr add 192.0.2.9/24 dev lo");
        is_served_soon(AWAY);
    });
}
