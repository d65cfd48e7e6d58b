//! Proves, in networks of its own, that what this host itself lacks (a route, an interface, descriptors) is no silence: it
//! ends when it ends, and is called by its name; and that a name can't turn this host to itself.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use ntpfront::wire::Leap;

use crate::common::client::v4;
use crate::common::daemon::Daemon;
use crate::common::neighbor::Neighbor;
use crate::common::network::{in_own_network, ip};
use crate::common::port::free_port;
use crate::common::scripted::{Scripted, honest};
use crate::common::watch::Watch;
use crate::common::{SOON, TempDir, run, wait_until};

/// Slack for two slow cores that somebody else uses, too.
const SLACK: Duration = Duration::from_secs(2);

/// ntpfront, for which names stand for what `hosts` says, and its watch.
struct Front {
    daemon: Daemon,
    watch: Watch,
    server: SocketAddr,
    started: Instant,
    _directory: TempDir,
}

impl Front {
    /// `text`: all of the configuration but the listener, which is on all addresses; `PORT` in it is the listener's.
    fn start(hosts: &str, text: &str) -> Self {
        let directory = TempDir::new();
        let (hosts, nobody) = (directory.file("hosts", hosts), directory.file("resolv.conf", ""));
        let mount = format!(
            "mount --bind {} /etc/hosts && mount --bind {} /etc/resolv.conf && exec \"$@\"",
            hosts.display(),
            nobody.display()
        );
        let port = free_port();
        let started = Instant::now();
        let text = text.replace("PORT", &port.to_string());
        let daemon = Daemon::configured_by(
            &["unshare", "--mount", "sh", "-c", &mount, "sh"],
            &format!("{text}[[listener]]\naddress = \"0.0.0.0:{port}\"\n"),
        );
        let server = v4(port);
        let daemon = daemon.answering(server);
        Self {
            daemon,
            watch: Watch::on(server),
            server,
            started,
            _directory: directory,
        }
    }

    fn becomes_synchronized(&self) {
        let has_time = |reply: &ntpfront::wire::Header| reply.leap == Leap::NoWarning;
        self.watch.wait_for("a synchronized reply", SOON, has_time);
    }

    fn says(&self, words: &str) {
        wait_until(words, SOON, || self.daemon.log().contains(words).then_some(()));
    }

    fn was_never_synchronized(&self) {
        let seen = self.watch.seen();
        assert!(seen.iter().all(|reply| reply.leap == Leap::Unsynchronized));
    }
}

/// `test` in a network with a neighbor that serves the time at 192.0.2.2.
fn with_server(test: impl FnOnce() + Send) {
    in_own_network(|| {
        let neighbor = Neighbor::plug_in();
        let _server = neighbor.run(|| Scripted::at(([192, 0, 2, 2], 123).into(), honest));
        test();
    });
}

#[test]
fn a_name_of_both_families_on_a_host_without_ipv6_routes() {
    with_server(|| {
        let front = Front::start(
            "2001:db8::2 time.example\n192.0.2.2 time.example\n",
            "[[upstream]]\naddress = \"time.example\"\n",
        );
        front.becomes_synchronized();
        let after = front.started.elapsed();
        assert!(after < Duration::from_secs(5) + SLACK, "{after:?}");
    });
}

#[test]
fn ten_dead_addresses_before_one_that_lives() {
    with_server(|| {
        let mut hosts = "2001:db8::9 time.example\n".to_owned();
        (11..=20).for_each(|dead| hosts += &format!("192.0.2.{dead} time.example\n"));
        hosts += "192.0.2.2 time.example\n";
        let front = Front::start(&hosts, "[[upstream]]\naddress = \"time.example\"\n");
        front.becomes_synchronized();
        let after = front.started.elapsed();
        assert!(after < Duration::from_secs(15) + SLACK, "{after:?}");
    });
}

#[test]
fn a_network_that_comes_late_is_used_when_it_comes() {
    with_server(|| {
        ip("link set near down");
        let front = Front::start("", "[[upstream]]\naddress = \"192.0.2.2\"\n");
        front.says("can't be polled: no route to it (ENETUNREACH)");
        // Past the attempt after 4 s: the next one, without news of the kernel, is 8 s after it.
        std::thread::sleep(Duration::from_secs(9).saturating_sub(front.started.elapsed()));
        front.was_never_synchronized();
        ip("link set near up");
        let up = Instant::now();
        front.becomes_synchronized();
        let after = up.elapsed();
        assert!(after < Duration::from_secs(2) + SLACK, "{after:?}");
    });
}

#[test]
fn no_descriptors_are_called_by_their_name_and_are_no_silence() {
    with_server(|| {
        let front = Front::start(
            "",
            "[[upstream]]\naddress = \"192.0.2.2\"\nminpoll = 1\nmaxpoll = 1\n",
        );
        front.becomes_synchronized();
        let limit = |limit: usize| {
            let pid = front.daemon.pid().to_string();
            let outcome =
                run(Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={limit}:4096")]));
            assert_eq!(outcome.status, Some(0), "{}", outcome.said());
        };
        limit(3);
        front.says("too many open files (EMFILE): raise LimitNOFILE=");
        limit(1024);
        let lines = front.daemon.log_lines();
        front.watch.during(Duration::from_secs(10));
        let log = front.daemon.log();
        let since: Vec<&str> = log.lines().skip(lines).collect();
        assert!(!since.iter().any(|line| line.contains("EMFILE")), "{since:?}");
        assert!(!log.contains("no-answer"), "{log}");
    });
}

#[test]
fn a_name_that_stands_for_ourselves_is_a_loop_and_no_source() {
    with_server(|| {
        let front = Front::start(
            "192.0.2.1 we.example\n",
            "[clock]\nmin-sources = 2\n[[upstream]]\naddress = \"we.example:PORT\"\n\
             [[upstream]]\naddress = \"192.0.2.2\"\n",
        );
        front.says("can't be polled: it is this server");
        front.says("too-few");
        front.watch.during(Duration::from_secs(5));
        front.was_never_synchronized();
        assert!(front.server.ip().is_loopback());
    });
}

#[test]
fn an_address_of_ourselves_is_a_loop_and_no_source() {
    with_server(|| {
        let front = Front::start(
            "",
            "[clock]\nmin-sources = 2\n[[upstream]]\naddress = \"192.0.2.1:PORT\"\n\
             [[upstream]]\naddress = \"192.0.2.2\"\n",
        );
        front.says("can't be polled: it is this server");
        front.says("refused, it is this server");
        front.watch.during(Duration::from_secs(5));
        front.was_never_synchronized();
    });
}

#[test]
fn a_name_that_stands_for_loopback_does_not_decide_which_clock_is_served() {
    with_server(|| {
        let _daemon = Scripted::at(([127, 0, 0, 1], 11_123).into(), honest);
        let front = Front::start(
            "127.0.0.1 time.example\n192.0.2.2 other.example\n127.0.0.1 other.example\n",
            "[[upstream]]\naddress = \"time.example:11123\"\n[[upstream]]\naddress = \"other.example\"\n",
        );
        front.becomes_synchronized();
        front.says("its name stands for a loopback address");
        let log = front.daemon.log();
        assert!(
            log.contains("clock source: tracked") && !log.contains("clock source: system"),
            "{log}"
        );
    });
}

#[test]
fn localhost_is_this_host_whatever_a_name_server_says() {
    with_server(|| {
        let _daemon = Scripted::at(([127, 0, 0, 1], 11_123).into(), honest);
        let front = Front::start(
            "192.0.2.2 localhost\n",
            "[[upstream]]\naddress = \"LocalHost:11123\"\n",
        );
        front.becomes_synchronized();
        front.says("clock source: system");
    });
}
