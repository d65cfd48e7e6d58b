//! Proves that real NTP programs understand ntpfront, and ntpfront them: chronyd as upstream and as client,
//! ntpdig, busybox ntpd, Python's ntplib, over both families, and Wireshark finds nothing odd in any packet.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ntpfront::wire::{Header, Leap};

use crate::common::chrony::{self, Chronyd};
use crate::common::client::{self, ask, request, socket, v4, v6};
use crate::common::daemon::Daemon;
use crate::common::network::in_own_network;
use crate::common::port::free_port;
use crate::common::program::command;
use crate::common::{SOON, TempDir, peer, run, wait_until};

/// What chronyd announces: odd enough to be nobody else's.
const STRATUM: u8 = 7;
/// `offset`s of real clients are far below this on loopback; a busy machine may delay a packet by so much.
const CLOSE: f64 = 0.5;

/// The same clock on both ports: ntpfront in front of chronyd, mirrored.
struct Pair {
    _chronyd: Chronyd,
    _daemon: Daemon,
    port: u16,
}

impl Pair {
    fn start(program: &Path) -> Self {
        let (port, upstream) = (free_port(), free_port());
        let chronyd = Chronyd::start(program, upstream, STRATUM);
        let (four, six) = (v4(port).to_string(), v6(port).to_string());
        let daemon = Daemon::start(&["-a", &four, "-b", &six, "-s", &v4(upstream).to_string()]);
        let daemon = daemon.answering(v4(port)).answering(v6(port));
        mirrored(v4(port));
        Self {
            _chronyd: chronyd,
            _daemon: daemon,
            port,
        }
    }
}

/// Waits until what chronyd says is said here too.
fn mirrored(server: SocketAddr) -> Header {
    wait_until("chronyd's own stratum", SOON, || {
        Some(client::header(server)).filter(|reply| reply.stratum == STRATUM)
    })
}

#[test]
fn a_chronyd_on_this_host_is_mirrored() {
    let Some(program) = chrony::program() else {
        return;
    };
    let (port, upstream) = (free_port(), free_port());
    let _chronyd = Chronyd::start(&program, upstream, STRATUM);
    let _daemon = Daemon::start(&[
        "-6",
        "0",
        "-a",
        &v4(port).to_string(),
        "-s",
        &v4(upstream).to_string(),
    ])
    .answering(v4(port));
    let (ours, theirs) = (mirrored(v4(port)), client::header(v4(upstream)));
    assert_eq!((ours.leap, ours.stratum), (theirs.leap, theirs.stratum));
    assert_eq!(ours.leap, Leap::NoWarning);
    assert_eq!(ours.reference_id, theirs.reference_id);
    assert!(
        client::distance(&ours) > client::distance(&theirs),
        "our own error is added: {ours:?} {theirs:?}"
    );
}

#[test]
fn chronyd_over_ipv6_is_mirrored_too() {
    let Some(program) = chrony::program() else {
        return;
    };
    let (port, upstream) = (free_port(), free_port());
    let _chronyd = Chronyd::start(&program, upstream, STRATUM);
    let listener = v6(port).to_string();
    let upstream = v6(upstream).to_string();
    let _daemon = Daemon::start(&["-4", "0", "-b", &listener, "-s", &upstream]).answering(v6(port));
    mirrored(v6(port));
}

#[test]
fn chronyd_asks() {
    let Some(program) = chrony::program() else {
        return;
    };
    let pair = Pair::start(&program);
    for host in ["127.0.0.1", "::1"] {
        chronyd_finds_it_right(&program, host, pair.port);
    }
}

fn chronyd_finds_it_right(program: &Path, host: &str, port: u16) {
    let directory = TempDir::new();
    let outcome = run(Command::new(program)
        .args(["-Q", "-U", "-u", &chrony::me(), "-t", "20"])
        .args([
            &format!("pidfile {}", directory.path().join("pid").display()),
            "cmdport 0",
            "bindcmdaddress /",
            &format!("server {host} port {port} iburst maxsamples 1"),
        ]));
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    let all = outcome.said();
    let offset = between(&all, "System clock wrong by ", " seconds");
    assert!(number(offset).abs() < CLOSE, "{all}");
}

#[test]
fn busybox_asks() {
    let (Some(program), Some(ntpd)) = (chrony::program(), busybox()) else {
        return;
    };
    let pair = Pair::start(&program);
    for host in [v4(pair.port), v6(pair.port)] {
        busybox_finds_it_right(&ntpd, &host.to_string());
    }
}

/// Debian's busybox has no ntpd, so `tests/run` builds that applet from Debian's source.
fn busybox() -> Option<PathBuf> {
    peer("busybox", "busybox-ntpd")
}

fn busybox_finds_it_right(ntpd: &Path, host: &str) {
    // With -w it goes on asking: the first reply's line is enough.
    let mut child = Command::new("timeout")
        .args(["20", &ntpd.to_string_lossy(), "ntpd", "-n", "-w", "-p", host])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find(|line| line.contains("reply from"));
    let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
    let _ = child.wait();
    let said = said.expect("busybox ntpd got a reply");
    assert!(number(between(&said, "offset:", " ")).abs() < CLOSE, "{said}");
    assert!(said.contains(&format!("strat:{STRATUM} ")), "{said}");
}

#[test]
fn ntplib_asks() {
    let (Some(program), Some(python)) = (chrony::program(), ntplib()) else {
        return;
    };
    let pair = Pair::start(&program);
    for host in ["127.0.0.1", "::1"] {
        for version in 1..=4 {
            ntplib_finds_it_right(&python, host, pair.port, version);
        }
    }
}

/// The Python that has ntplib. Debian's own first: that is the one which `python3-ntplib` belongs to.
fn ntplib() -> Option<PathBuf> {
    let pythons = [PathBuf::from("/usr/bin/python3"), peer("ntplib", "python3")?];
    let found = pythons.into_iter().find(|python| {
        python.exists() && run(Command::new(python).args(["-c", "import ntplib"])).status == Some(0)
    });
    assert!(
        found.is_some(),
        "no Python with ntplib here: run tests/run, or leave it out with NTPFRONT_WITHOUT=ntplib"
    );
    found
}

fn ntplib_finds_it_right(python: &Path, host: &str, port: u16, version: u8) {
    let program = format!(
        "import ntplib\n\
         r = ntplib.NTPClient().request('{host}', port={port}, version={version}, timeout=20)\n\
         print(r.version, r.mode, r.stratum, r.leap, r.offset)"
    );
    let outcome = run(Command::new(python).args(["-c", &program]));
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    let (fields, offset) = outcome.stdout.trim().rsplit_once(' ').expect("five words");
    assert_eq!(fields, format!("{version} 4 {STRATUM} 0"));
    assert!(number(offset).abs() < CLOSE, "{offset}");
}

fn ntpdig() -> Option<PathBuf> {
    peer("ntpdig", "ntpdig")
}

fn ntpdig_finds_it_right(ntpdig: &Path, host: &str) {
    let outcome = run(Command::new(ntpdig).args(["-j", "-t", "20", host]));
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    let said: serde_json::Value =
        serde_json::from_str(outcome.stdout.trim()).unwrap_or_else(|_| panic!("{}", outcome.said()));
    assert_eq!(said["stratum"], u64::from(STRATUM), "{said}");
    assert_eq!(said["leap"], "no-leap", "{said}");
    assert!(said["offset"].as_f64().unwrap().abs() < CLOSE, "{said}");
}

/// With no arguments at all: ports 123 of both families, and chronyd at 127.0.0.1:11123.
fn without_arguments() -> Daemon {
    let file = Path::new("/etc/ntpfront/ntpfront.toml");
    let mut command = command();
    let directory = TempDir::new();
    if file.exists() {
        eprintln!("{} is on this machine: an empty one is used", file.display());
        command.arg("--config").arg(directory.file("empty.toml", ""));
    }
    Daemon::spawn(command).answering(v4(123)).answering(v6(123))
}

#[test]
fn without_arguments_it_serves_on_the_default_ports_and_ntpdig_agrees() {
    let (Some(program), Some(ntpdig)) = (chrony::program(), ntpdig()) else {
        return;
    };
    in_own_network(|| {
        let _chronyd = Chronyd::start(&program, 11_123, STRATUM);
        let _daemon = without_arguments();
        mirrored(v4(123));
        for host in ["127.0.0.1", "::1"] {
            ntpdig_finds_it_right(&ntpdig, host);
        }
    });
}

#[test]
fn wireshark_finds_nothing_odd() {
    let (Some(program), Some(tshark)) = (chrony::program(), peer("tshark", "tshark")) else {
        return;
    };
    let (busybox, ntplib, ntpdig) = (busybox(), ntplib(), ntpdig());
    in_own_network(|| {
        let capture = Capture::start(&tshark);
        let daemon = without_arguments();
        // Nobody is upstream yet: these replies say "unsynchronized".
        let unsynchronized = client::header(v4(123));
        assert_eq!(unsynchronized.leap, Leap::Unsynchronized);
        let chronyd = Chronyd::start(&program, 11_123, STRATUM);
        mirrored(v4(123));
        for host in ["127.0.0.1", "::1"] {
            chronyd_finds_it_right(&program, host, 123);
            busybox.iter().for_each(|ntpd| busybox_finds_it_right(ntpd, host));
            ntpdig
                .iter()
                .for_each(|ntpdig| ntpdig_finds_it_right(ntpdig, host));
            for version in 1..=4 {
                ntplib
                    .iter()
                    .for_each(|python| ntplib_finds_it_right(python, host, 123, version));
                let server = SocketAddr::new(host.parse().unwrap(), 123);
                wait_until("an answer to a peer", SOON, || ask(server, &request(version, 1)));
            }
        }
        drop((daemon, chronyd));
        let packets = capture.stop();
        assert!(packets.count("udp.srcport == 123 && ntp.flags.mode == 4") >= 10);
        assert!(packets.count("udp.srcport == 123 && ntp.flags.mode == 2") >= 8);
        assert!(packets.count(&format!("udp.srcport == 123 && ntp.stratum == {STRATUM}")) >= 10);
        assert!(packets.count("udp.srcport == 123 && ntp.stratum == 0 && ntp.flags.li == 3") >= 1);
        assert!(packets.count("ipv6 && udp.srcport == 123 && ntp") >= 5);
        // The questions that ntpfront itself asks.
        assert!(packets.count("udp.dstport == 11123") >= 1);
        for odd in [
            "udp.srcport == 123 && !ntp",
            "_ws.malformed",
            // Warnings and errors; chats and notes are no faults.
            "udp.port == 123 && _ws.expert.severity >= 0x600000",
            "udp.srcport == 123 && ntp.stratum == 0 && ntp.flags.li != 3",
        ] {
            assert_eq!(packets.count(odd), 0, "{odd}: {}", packets.show(odd));
        }
    });
}

/// tshark writing down what goes over `lo`.
struct Capture {
    tshark: PathBuf,
    child: Child,
    directory: TempDir,
}

impl Capture {
    fn start(tshark: &Path) -> Self {
        let directory = TempDir::new();
        let child = Command::new(tshark)
            .args(["-q", "-i", "lo", "-f", "udp", "-w"])
            .arg(directory.path().join("capture"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let capture = Self {
            tshark: tshark.to_owned(),
            child,
            directory,
        };
        capture.wait_for(b"the first packet of this capture");
        capture
    }

    /// Sends `mark` until it is in the file: from then on (or up to then) everything is.
    fn wait_for(&self, mark: &[u8]) {
        let from = socket(([127, 0, 0, 1], 0));
        let nobody = v4(9);
        wait_until("a packet in tshark's file", SOON, || {
            let _ = from.send_to(mark, nobody);
            let written = std::fs::read(self.directory.path().join("capture")).unwrap_or_default();
            written
                .windows(mark.len())
                .any(|window| window == mark)
                .then_some(())
        });
    }

    fn stop(mut self) -> Packets {
        self.wait_for(b"the last packet of this capture");
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT).unwrap();
        wait_until("tshark ends", SOON, || self.child.try_wait().unwrap());
        Packets(self)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.directory.path().join("log"));
            eprintln!("--- tshark:\n{}---", log.unwrap_or_default());
        }
    }
}

/// A finished capture.
struct Packets(Capture);

impl Packets {
    fn read(&self, filter: &str, more: &[&str]) -> String {
        let mut command = Command::new(&self.0.tshark);
        command.arg("-r").arg(self.0.directory.path().join("capture"));
        let outcome = run(command.args(["-Y", filter]).args(more));
        assert_eq!(outcome.status, Some(0), "{filter}: {}", outcome.said());
        outcome.stdout
    }

    /// How many packets a display filter finds.
    fn count(&self, filter: &str) -> usize {
        self.read(filter, &["-T", "fields", "-e", "frame.number"])
            .lines()
            .count()
    }

    fn show(&self, filter: &str) -> String {
        self.read(filter, &["-V"])
    }
}

/// The part of `text` after `before` up to `after`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before:?} in {text}"));
    rest.split(after).next().unwrap_or(rest)
}

fn number(text: &str) -> f64 {
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("{text:?} is no number"))
}
