//! Proves that real programs understand NTS of ntpfront and it theirs, both ways and over both families: chronyd, ntpsec's
//! ntpd and ntpd-rs. None of them can set the clock here.
//!
//! All of these versions have AEAD 15 in common with ntpfront, and none has 30 (chrony has it with nettle 3.9).

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use serde_json::Value;

use crate::common::client::v4;
use crate::common::daemon::{Daemon, LOCAL};
use crate::common::ke::{install, section};
use crate::common::network::in_own_network;
use crate::common::status::status;
use crate::common::{SOON, TempDir, chrony, peer, run, wait_until};

fn root_of(directory: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/common")
        .join(directory)
        .join(name)
}

/// A certificate of an upstream, its key, and its authority.
fn theirs(name: &str) -> String {
    root_of("upstream_certificates", name).display().to_string()
}

/// A daemon that can't set the clock, though it believes so; ended when dropped.
struct Peer {
    child: Child,
    directory: TempDir,
}

impl Peer {
    /// `text` is its file, with `@` for a directory of its own. `localhost` is this address.
    fn start(program: &Path, arguments: &[&str], host: &str, text: &str) -> Self {
        let directory = TempDir::new();
        let text = text.replace('@', &directory.path().display().to_string());
        let file = directory.file("conf", text);
        let log = File::create(directory.path().join("log")).unwrap();
        let hosts = format!("{} localhost\n", host.trim_matches(['[', ']']));
        let hosts = directory.file("hosts", hosts);
        let script = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh"]).arg(program);
        command.args(arguments).arg("-c").arg(file).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let child = without_the_clock(move || command.spawn().unwrap());
        Self { child, directory }
    }
}

/// Does this in a thread whose children can't change the clock: the calls that do it succeed without an effect.
///
/// These daemons end if the calls fail.
fn without_the_clock<T: Send + 'static>(start: impl FnOnce() -> T + Send + 'static) -> T {
    let calls = [
        libc::SYS_clock_settime,
        libc::SYS_clock_adjtime,
        libc::SYS_adjtimex,
        libc::SYS_settimeofday,
    ];
    let rules = calls.map(|call| (call, Vec::new())).into_iter().collect();
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(0), architecture).unwrap();
    let filter = BpfProgram::try_from(filter).unwrap();
    let fenced = move || {
        seccompiler::apply_filter(&filter).unwrap();
        start()
    };
    std::thread::spawn(fenced).join().unwrap()
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.directory.path().join("log"));
            eprintln!("--- log of the peer:\n{}---", log.unwrap_or_default());
        }
    }
}

fn ntpd() -> Option<PathBuf> {
    peer("ntpd", "ntpd")
}

fn ntpd_rs() -> Option<PathBuf> {
    peer("ntpd-rs", "ntp-daemon")
}

/// ntpfront as a server with NTS over both families, in a network of its own.
///
/// Its port isn't 123, which ntpd wants for itself: clients are told with their keys.
struct Server {
    _daemon: Daemon,
    directory: TempDir,
}

impl Server {
    fn start(host: &str) -> Self {
        let directory = TempDir::new();
        install(&directory, "time");
        let section = section(&directory, v4(4460)).replace("127.0.0.1", host);
        let text = format!(
            "{LOCAL}[control]\nsocket = \"{}/control\"\n[[listener]]\naddress = \"{host}:1123\"\n{section}",
            directory.path().display()
        );
        Self {
            _daemon: Daemon::configured(&text).answering(format!("{host}:1123").parse().unwrap()),
            directory,
        }
    }

    /// Waits until requests with NTS are answered, and none is refused.
    fn answers(&self, who: &str) {
        wait_until(who, SOON, || {
            let status = status(&self.directory.path().join("control"));
            let verdicts = &status["requests"]["verdicts"];
            assert_eq!(
                verdicts["kissed-nts-nak"].as_u64().unwrap_or(0),
                0,
                "{who}: {verdicts}"
            );
            (verdicts["answered-nts"].as_u64() > Some(0)).then_some(())
        });
    }
}

/// ntpfront as a client of a server at this address, with these lines of its upstream.
fn polls(address: &str, ke: u16) -> Value {
    let (server, directory) = (v4(11_123), TempDir::new());
    let control = directory.path().join("control");
    let _daemon = Daemon::configured(&format!(
        "[control]\nsocket = \"{}\"\n[[listener]]\naddress = \"{server}\"\n[[upstream]]\naddress = \"{address}\"\nminpoll = 0\n\
         maxpoll = 0\nnts = true\nke-port = {ke}\nca = \"{}\"\n",
        control.display(),
        theirs("root.pem")
    ))
    .answering(server);
    wait_until(&format!("genuine replies of {address}"), SOON, || {
        let upstream = status(&control)["upstreams"][0].take();
        let has_cookies = upstream["nts"]["cookies"].as_u64() >= Some(7);
        (has_cookies && upstream["reach"].as_u64() >= Some(0b111)).then_some(upstream)
    })
}

/// The addresses of a server, and the name that leads to them.
const HOSTS: [&str; 2] = ["127.0.0.1", "[::1]"];

#[test]
fn chronyd_asks_with_nts_over_both_families() {
    let Some(program) = chrony::program() else { return };
    for host in HOSTS {
        in_own_network(|| {
            let server = Server::start(host);
            let host = host.trim_matches(['[', ']']);
            let outcome = run(Command::new(&program)
                .args(["-Q", "-U", "-u", &chrony::me(), "-t", "20"])
                .args([
                    &format!("pidfile {}", server.directory.path().join("pid").display()),
                    "cmdport 0",
                    "bindcmdaddress /",
                    &format!("ntstrustedcerts {}", root_of("certificates", "ca.pem").display()),
                    &format!("server {host} nts iburst maxsamples 1"),
                ]));
            assert_eq!(outcome.status, Some(0), "{host}: {}", outcome.said());
            let is_measured = outcome.said().contains("System clock wrong by");
            assert!(is_measured, "{}", outcome.said());
            server.answers("chronyd");
        });
    }
}

#[test]
fn ntpd_asks_with_nts_over_both_families() {
    let Some(program) = ntpd() else { return };
    for (host, family) in HOSTS.into_iter().zip(["-4", "-6"]) {
        in_own_network(|| {
            let server = Server::start(host);
            let ca = root_of("certificates", "ca.pem");
            let text = format!("server {family} localhost nts iburst ca {}\n", ca.display());
            let _peer = Peer::start(&program, &["-n"], host, &text);
            server.answers(&format!("ntpd {family}"));
        });
    }
}

#[test]
fn ntpd_rs_asks_with_nts_over_both_families() {
    let Some(program) = ntpd_rs() else { return };
    for host in HOSTS {
        in_own_network(|| {
            let server = Server::start(host);
            let ca = root_of("certificates", "ca.pem");
            let text = format!(
                "[[source]]\nmode = \"nts\"\naddress = \"localhost:4460\"\ncertificate-authority = \"{}\"\n\
                 [synchronization]\nminimum-agreeing-sources = 1\n",
                ca.display()
            );
            let _peer = Peer::start(&program, &[], host, &text);
            server.answers(&format!("ntpd-rs {host}"));
        });
    }
}

#[test]
fn ntpd_is_polled_with_nts_over_both_families() {
    let Some(program) = ntpd() else { return };
    for host in HOSTS {
        in_own_network(|| {
            let text = format!(
                "nts enable cert {} key {} cookie @/cookies\ntos minsane 1 minclock 1\nrefclock local stratum 6 prefer minpoll 0 maxpoll 0\n",
                theirs("time.pem"),
                theirs("time.key")
            );
            let _peer = Peer::start(&program, &["-n"], host, &text);
            let upstream = polls(host, 4460);
            assert_eq!(upstream["nts"]["aead"], "aes-siv-cmac-256", "{upstream}");
            let port = SocketAddr::new(host.trim_matches(['[', ']']).parse().unwrap(), 123);
            assert_eq!(upstream["address"], port.to_string());
        });
    }
}

#[test]
fn ntpd_rs_is_polled_with_nts_over_both_families() {
    let Some(program) = ntpd_rs() else { return };
    for host in HOSTS {
        in_own_network(|| {
            let text = format!(
                "[synchronization]\nlocal-stratum = 1\n[[server]]\nlisten = \"{host}:123\"\n\
                 [[nts-ke-server]]\nlisten = \"{host}:4460\"\ncertificate-chain-path = \"{}\"\nprivate-key-path = \"{}\"\n",
                theirs("time.pem"),
                theirs("time.key")
            );
            let _peer = Peer::start(&program, &[], host, &text);
            let upstream = polls(host, 4460);
            assert_eq!(upstream["nts"]["aead"], "aes-siv-cmac-256", "{upstream}");
        });
    }
}
