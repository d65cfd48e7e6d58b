//! The daemon as built with its fast path, at one end of a cable, and real clients at the other.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use ntpfront::fast_path::AttachMode;
use ntpfront::fast_path::loader::Program;
use ntpfront::wire::{HEADER_LEN, Header, Leap};

use crate::common::chrony::ChronyClient;
use crate::common::client::{ask, request};
use crate::common::daemon::{Daemon, LOCAL, Reload};
use crate::common::neighbor::{Neighbor, device_number};
use crate::common::network::{in_own_network, ip};
use crate::common::program::command;
use crate::common::status::status;
use crate::common::{SOON, TempDir, chrony, peer, root, run, wait_until};

pub(crate) const SERVER4: &str = "192.0.2.1:123";
pub(crate) const SERVER6: &str = "[2001:db8::1]:123";

/// A daemon and its neighbor, who sends whole checksums, as a network card would.
pub(crate) struct Pair {
    daemon: Daemon,
    pub(crate) neighbor: Neighbor,
    directory: TempDir,
}

impl Pair {
    /// Without a program.
    pub(crate) fn of_sockets() -> Self {
        let directory = TempDir::new();
        let neighbor = plug_in();
        let text = text(&directory, "auto", "").replace("interfaces = [\"near\"]", "");
        let daemon = Daemon::configured(&text).answering(([127, 0, 0, 1], 123).into());
        Self {
            daemon,
            neighbor,
            directory,
        }
    }

    pub(crate) fn start(mode: &str, more: &str) -> Self {
        let directory = TempDir::new();
        let neighbor = plug_in();
        let text = text(&directory, mode, more);
        let daemon = Daemon::configured(&text).answering(([127, 0, 0, 1], 123).into());
        Self {
            daemon,
            neighbor,
            directory,
        }
    }

    /// At these interfaces, as TOML lists them, once `shape` has changed the cable's near end.
    pub(crate) fn shaped(shape: impl FnOnce(&Neighbor), interfaces: &str, mode: &str) -> Self {
        let directory = TempDir::new();
        let neighbor = plug_in();
        shape(&neighbor);
        let text = text(&directory, mode, "").replace("[\"near\"]", interfaces);
        let daemon = Daemon::configured(&text).answering(([127, 0, 0, 1], 123).into());
        Self {
            daemon,
            neighbor,
            directory,
        }
    }

    /// Reloads with other interfaces and another mode.
    pub(crate) fn reattach(&self, interfaces: &str, mode: &str) -> Reload {
        let text = text(&self.directory, mode, "").replace("[\"near\"]", interfaces);
        self.daemon.reload(&text)
    }

    /// Reloads with more text.
    pub(crate) fn reload_with(&self, more: &str) -> Reload {
        self.daemon.reload(&text(&self.directory, "native", more))
    }

    /// The census, as `ntpfront clients` has it.
    pub(crate) fn clients(&self) -> Value {
        let socket = self.directory.path().join("socket");
        let outcome = run(command().args(["clients", "--json", "--socket"]).arg(socket));
        assert_eq!(outcome.status, Some(0), "{}", outcome.said());
        serde_json::from_str(&outcome.stdout).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        self.daemon.log()
    }

    /// What the status has of the interface of this name.
    pub(crate) fn interface(&self, name: &str) -> Value {
        let status = self.status();
        let all = status["fast_path"]["interfaces"].as_array().unwrap();
        all.iter()
            .find(|one| one["name"] == name)
            .cloned()
            .unwrap_or(Value::Null)
    }

    /// Waits until the program answers from this address.
    pub(crate) fn becomes_fast_at(&self, server: &'static str) {
        wait_until("an answer of the fast path", SOON, || {
            let (before, _) = self.counts();
            self.ask(server)?;
            (self.counts().0 > before).then_some(())
        });
    }

    pub(crate) fn status(&self) -> Value {
        status(&self.directory.path().join("socket"))
    }

    /// How many requests had this verdict.
    pub(crate) fn verdict(&self, name: &str) -> u64 {
        self.status()["requests"]["verdicts"][name].as_u64().unwrap_or(0)
    }

    /// How many replies the kernel didn't send.
    pub(crate) fn unsent(&self) -> u64 {
        self.status()["requests"]["send_failed"].as_u64().unwrap()
    }

    /// How many requests the program answered, and how many packets came to the sockets.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let status = self.status();
        let number = |value: &Value| value.as_u64().unwrap();
        let fast = number(&status["fast_path"]["answered"]);
        (fast, number(&status["requests"]["received"]) - fast)
    }

    /// Waits until the counts of `counts` are as wanted.
    fn changes(&self, what: &str, is_wanted: impl Fn(u64, u64) -> bool) {
        wait_until(what, SOON, || {
            let (fast, slow) = self.counts();
            is_wanted(fast, slow).then_some(())
        });
    }

    /// Asks once from over there.
    pub(crate) fn ask(&self, server: &'static str) -> Option<Header> {
        self.neighbor
            .run(move || ask(server.parse().unwrap(), &request(4, 3)))
            .map(|answer| answer.header())
    }

    /// Waits until the program answers: it does so once the clock was looked at twice.
    pub(crate) fn becomes_fast(&self) {
        self.becomes_fast_at(SERVER4);
    }
}

fn text(directory: &TempDir, mode: &str, more: &str) -> String {
    let socket = directory.path().join("socket");
    format!(
        "{LOCAL}[control]\nsocket = \"{}\"\n[fast-path]\ninterfaces = [\"near\"]\nmode = \"{mode}\"\n{more}",
        socket.display()
    )
}

fn plug_in() -> Neighbor {
    let neighbor = Neighbor::plug_in();
    ip("addr add 2001:db8::1/64 dev near nodad");
    neighbor.run(|| {
        ip("addr add 2001:db8::2/64 dev far nodad");
        no_offload("far");
        // A cable of this kind delivers what XDP sends only to somebody who has a program, too: one that knows no time.
        let program = Program::load(1).unwrap();
        let link = program.attach(device_number("far"), AttachMode::Native).unwrap();
        // Until the end of this test program.
        std::mem::forget((program, link));
    });
    neighbor
}

fn no_offload(device: &str) {
    let outcome = run(Command::new("ethtool").args(["-K", device, "tx", "off"]));
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
}

pub(crate) fn has_ethtool() -> bool {
    root() && peer("ethtool", "ethtool").is_some()
}

#[test]
fn real_clients_are_answered_by_the_program() {
    if !has_ethtool() {
        return;
    }
    for mode in ["native", "generic"] {
        in_own_network(|| {
            let pair = Pair::start(mode, "");
            assert_eq!(pair.status()["fast_path"]["interfaces"][0]["mode"], mode);
            pair.becomes_fast();
            for (client, host) in clients() {
                let (fast, slow) = pair.counts();
                let said = pair.neighbor.run(move || client(host));
                let after = pair.counts();
                assert!(after.0 > fast, "{mode} {host}: {after:?} {said}");
                assert_eq!(after.1, slow, "{mode} {host}: at the sockets, too: {said}");
            }
        });
    }
}

/// The program's replies make a client in interleaved mode a candidate, and then the sockets tell it when they sent.
#[test]
fn a_client_in_interleaved_mode_is_passed_on_and_the_others_stay_fast() {
    let Some(chronyd) = chrony::program().filter(|_| has_ethtool()) else {
        return;
    };
    in_own_network(|| {
        let pair = Pair::start("native", "");
        pair.becomes_fast();
        let lines = ["192.0.2.1", "2001:db8::1"]
            .map(|server| format!("server {server} minpoll -4 maxpoll -4 xleave\n"));
        let client = pair
            .neighbor
            .run(move || ChronyClient::configured(&chronyd, &lines.concat()));
        let before = pair.counts().0;
        wait_until("interleaved measurements over both families", SOON, || {
            let all = client.measurements();
            let interleaved = |server: &str| {
                let of = all
                    .iter()
                    .filter(|one| one.server == server && one.is_interleaved);
                of.count()
            };
            (interleaved("192.0.2.1") > 20 && interleaved("2001:db8::1") > 20).then_some(())
        });
        for one in client.measurements() {
            assert!(one.offset.abs() < 0.02 && one.delay < 0.02, "{one:?}");
        }
        assert!(
            pair.counts().0 - before >= 2,
            "its first requests were answered by the program"
        );
        let (fast, slow) = pair.counts();
        assert!(pair.ask(SERVER4).is_some());
        assert_eq!(pair.counts().0, fast + 1, "at the sockets: {slow}");
    });
}

type Client = fn(&'static str) -> String;

/// Each with the address that it asks.
fn clients() -> Vec<(Client, &'static str)> {
    let programs: [(&str, &str, Client); 3] = [
        ("chronyd", "chronyd", chronyd),
        ("ntpdig", "ntpdig", ntpdig),
        ("busybox", "busybox-ntpd", busybox),
    ];
    let there = programs
        .into_iter()
        .filter(|(what, program, _)| peer(what, program).is_some());
    there
        .flat_map(|(.., client)| [(client, "192.0.2.1"), (client, "2001:db8::1")])
        .collect()
}

fn chronyd(host: &'static str) -> String {
    let directory = TempDir::new();
    let outcome = run(Command::new(chrony::program().unwrap())
        .args(["-Q", "-U", "-u", &chrony::me(), "-t", "20"])
        .args([
            &format!("pidfile {}", directory.path().join("pid").display()),
            "cmdport 0",
            "bindcmdaddress /",
            &format!("server {host} iburst maxsamples 1"),
        ]));
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    outcome.said()
}

fn ntpdig(host: &'static str) -> String {
    let outcome = run(Command::new("ntpdig").args(["-j", host]));
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    assert!(outcome.stdout.contains("\"stratum\":10"), "{}", outcome.said());
    outcome.said()
}

fn busybox(host: &'static str) -> String {
    let ntpd = peer("busybox", "busybox-ntpd").unwrap();
    let outcome = run(Command::new("timeout")
        .arg("4")
        .arg(ntpd)
        .args(["ntpd", "-n", "-w", "-p", host]));
    assert!(outcome.said().contains("reply from"), "{}", outcome.said());
    outcome.said()
}

/// A supervisor that stands still leaves the time to nobody; a server that is killed leaves no program behind.
#[test]
fn nobody_tells_an_old_time() {
    if !has_ethtool() {
        return;
    }
    in_own_network(|| {
        let mut pair = Pair::start("native", "[clock]\nsource = \"system\"\n");
        pair.becomes_fast();
        pair.daemon.signal(Signal::SIGSTOP);
        wait_until("no answer any more", SOON, || match pair.ask(SERVER4) {
            None => Some(()),
            Some(_) => None,
        });
        pair.daemon.signal(Signal::SIGCONT);
        pair.becomes_fast();
        pair.daemon.signal(Signal::SIGKILL);
        pair.daemon.wait();
        let outcome = run(Command::new("ip").args(["link", "show", "near"]));
        assert!(!outcome.stdout.contains("xdp"), "{}", outcome.said());
        assert_eq!(pair.ask(SERVER4), None);
    });
}

#[test]
fn without_a_time_the_sockets_say_so() {
    if !has_ethtool() {
        return;
    }
    in_own_network(|| {
        let directory = TempDir::new();
        let neighbor = plug_in();
        let unknown =
            text(&directory, "auto", "").replace(LOCAL, "[[upstream]]\naddress = \"192.0.2.77:123\"\n");
        let daemon = Daemon::configured(&unknown).answering(([127, 0, 0, 1], 123).into());
        let pair = Pair {
            daemon,
            neighbor,
            directory,
        };
        let reply = pair.ask(SERVER6).unwrap();
        assert_eq!((reply.leap, reply.stratum), (Leap::Unsynchronized, 0));
        assert_eq!(pair.counts().0, 0);
        // The end of this process is not the end of its requests.
        assert!(pair.daemon.log().contains("attached"), "{}", pair.daemon.log());
    });
}

#[test]
fn an_interface_that_comes_back_is_used_again() {
    if !has_ethtool() {
        return;
    }
    in_own_network(|| {
        let pair = Pair::start("native", "");
        pair.becomes_fast();
        ip("link del near");
        wait_until("the end of the interface", SOON, || {
            pair.status()["fast_path"]["interfaces"][0]["mode"]
                .is_null()
                .then_some(())
        });
        let another = Pair {
            neighbor: plug_in(),
            ..pair
        };
        wait_until("the interface again", SOON, || {
            let status = another.status();
            (status["fast_path"]["interfaces"][0]["mode"] == "native").then_some(())
        });
        another.becomes_fast();
        assert_eq!(another.ask(SERVER6).unwrap().stratum, 10);
    });
}

/// Every request is answered once while the policy changes a hundred times, and each policy is obeyed.
#[test]
fn reloads_lose_nothing() {
    if !has_ethtool() {
        return;
    }
    in_own_network(|| {
        let pair = Pair::start("native", "");
        pair.becomes_fast();
        let load = pair.neighbor.run(Load::start);
        for round in 0..100 {
            let prefixes: Vec<String> = (0..round)
                .map(|number| format!("\"198.51.{number}.0/24\""))
                .collect();
            let more = format!(
                "[access]\ndeny = [{}]\n[limit]\nmode = \"dry-run\"\n",
                prefixes.join(", ")
            );
            let _done = pair.daemon.reload(&text(&pair.directory, "native", &more));
        }
        let (sent, answered) = load.stop();
        assert!(
            sent > 1000 && sent == answered,
            "{sent} sent, {answered} answered"
        );
        let (fast, slow) = pair.counts();
        assert!(
            fast > sent / 2,
            "{fast} on the fast path, {slow} at the sockets, {sent} sent"
        );
        let denied = text(&pair.directory, "native", "[access]\ndeny = [\"192.0.2.2\"]\n");
        let _done = pair.daemon.reload(&denied);
        assert_eq!(pair.ask(SERVER4), None);
        assert!(pair.ask(SERVER6).is_some());
        assert_eq!(
            pair.status()["requests"]["verdicts"]["refused-denied"].as_u64(),
            Some(ATTEMPTS)
        );
    });
}

/// While less than four fifths of the budget is asked the program answers, and beyond that the sockets alone.
#[test]
fn the_sockets_shed_what_is_beyond_the_budget() {
    if !has_ethtool() {
        return;
    }
    in_own_network(|| {
        let budget = |packets: f64| format!("[budget]\nmode = \"on\"\npackets-per-second = {packets:.1}\n");
        let pair = Pair::start("native", &budget(20_000.0));
        pair.becomes_fast();
        let load = pair.neighbor.run(Load::start);
        let before = pair.counts();
        pair.changes("answers by the program", |fast, _| fast > before.0 + 500);
        let (_, slow) = pair.counts();
        assert!(slow < before.1 + 500, "{slow}");
        // A busy machine asks less often. 0.87 of the budget is asked from now on.
        let (since, before) = (Instant::now(), pair.counts().0);
        std::thread::sleep(Duration::from_secs(2));
        let answered = u32::try_from(pair.counts().0 - before).unwrap();
        let asked = f64::from(answered) / since.elapsed().as_secs_f64();
        assert_eq!(pair.reload_with(&budget(asked * 1.15)), Reload::Done);
        wait_until("the sockets answer alone", SOON, || {
            pair.log().contains("more than 4/5 of the budget").then_some(())
        });
        // What was answered until then is counted once the program has left it.
        std::thread::sleep(Duration::from_millis(20));
        let before = pair.counts();
        pair.changes("answers by the sockets", |_, slow| slow > before.1 + 500);
        assert_eq!(pair.counts().0, before.0);
        let (sent, answered) = load.stop();
        // The budget is not reached: at the change hardly any is lost. (Without the tokens of `take_over` it is half a second's.)
        assert!(answered > 1_000 && sent - answered < 200, "{sent} {answered}");
    });
}

/// `client::ask` asks once.
const ATTEMPTS: u64 = 1;

/// Asks a thousand times a second, and counts the answers.
pub(crate) struct Load {
    thread: JoinHandle<(u64, u64)>,
    stop: Arc<AtomicBool>,
}

impl Load {
    pub(crate) fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || Self::run(&stop)
        });
        Self { thread, stop }
    }

    fn run(stop: &AtomicBool) -> (u64, u64) {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.connect(SERVER4.parse::<SocketAddr>().unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let (mut sent, mut answered) = (0, 0);
        let mut last = Instant::now();
        loop {
            let ends = stop.load(Ordering::Relaxed);
            if !ends {
                socket.send(&request(4, 3)).unwrap();
                sent += 1;
                last = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(1));
            let mut reply = [0; HEADER_LEN + 1];
            while let Ok(length) = socket.recv(&mut reply) {
                assert_eq!((length, reply[0] & 7, reply[1]), (HEADER_LEN, 4, 10));
                answered += 1;
            }
            if ends && (answered == sent || last.elapsed() > Duration::from_secs(5)) {
                return (sent, answered);
            }
        }
    }

    pub(crate) fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[test]
fn a_mode_that_cannot_be_had_ends_the_start_and_auto_goes_on() {
    in_own_network(|| {
        // The loopback interface has no driver that could.
        let text = |mode: &str| {
            format!(
                "{LOCAL}[fast-path]\ninterfaces = [\"lo\"]\nmode = \"{mode}\"\n[control]\nsocket = \"\"\n"
            )
        };
        let mut native = Daemon::configured(&text("native"));
        let (status, _) = native.wait();
        assert_eq!(status.code(), Some(1), "{}", native.log());
        assert!(
            native.log().contains("fast path: lo: cannot attach (native)"),
            "{}",
            native.log()
        );
        let auto = Daemon::configured(&text("auto")).answering(([127, 0, 0, 1], 123).into());
        assert!(auto.log().contains("lo: attached (generic)"), "{}", auto.log());
        // Another program is there already.
        let second = text("auto").replace(
            "[fast-path]",
            "[[listener]]\naddress = \"127.0.0.1:124\"\n[fast-path]",
        );
        let second = Daemon::configured(&second).answering(([127, 0, 0, 1], 124).into());
        assert!(
            second.log().contains("another XDP program is there"),
            "{}",
            second.log()
        );
    });
}

/// The rights that the drop-in for systemd gives to a user who is nobody are enough, and none of them stays.
#[test]
fn the_rights_of_the_drop_in_are_enough() {
    if !root() || peer("setpriv", "setpriv").is_none() {
        return;
    }
    let unit = include_str!("../../systemd/20-fast-path.conf");
    let given = unit
        .lines()
        .find_map(|line| line.strip_prefix("AmbientCapabilities="))
        .unwrap();
    let rights = given.replace("CAP_", "+").replace(' ', ",").to_lowercase() + ",+net_bind_service";
    in_own_network(|| {
        let text = format!("{LOCAL}[fast-path]\ninterfaces = [\"lo\"]\n[control]\nsocket = \"\"\n");
        let only = ["setpriv", "--reuid=65534", "--clear-groups", "--bounding-set"];
        let bound = format!("-all,{rights}");
        let rest = ["--inh-caps", rights.as_str(), "--ambient-caps", rights.as_str()];
        let wrapper = [&only[..], &[bound.as_str()], &rest].concat();
        let daemon = Daemon::configured_by(&wrapper, &text).answering(([127, 0, 0, 1], 123).into());
        assert!(
            daemon.log().contains("lo: attached (generic)"),
            "{}",
            daemon.log()
        );
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
        let capabilities = |set: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(set))
                .unwrap()
                .trim()
                .to_owned()
        };
        // CAP_NET_BIND_SERVICE is bit 10.
        assert_eq!(capabilities("CapPrm:"), "0000000000000400");
        assert_eq!(capabilities("CapEff:"), "0000000000000000");
        assert_eq!(capabilities("CapAmb:"), "0000000000000000");
    });
}

/// Without the rights that it takes the sockets serve.
#[test]
fn without_rights_there_is_no_fast_path() {
    if !root() || peer("setpriv", "setpriv").is_none() {
        return;
    }
    in_own_network(|| {
        let text = format!("{LOCAL}[fast-path]\ninterfaces = [\"lo\"]\n[control]\nsocket = \"\"\n");
        let less = [
            "setpriv",
            "--bounding-set",
            "-bpf,-sys_admin",
            "--inh-caps",
            "-bpf,-sys_admin",
        ];
        let daemon = Daemon::configured_by(&less, &text).answering(([127, 0, 0, 1], 123).into());
        let log = daemon.log();
        assert!(
            log.contains("CAP_BPF") && log.contains("the sockets answer alone"),
            "{log}"
        );
    });
}
