//! Proves that what `ntpfront import` makes of a file means the same beside the daemon whose file it is: real ones run with the
//! original, ntpfront with what was made of it, and both are asked the same from the same addresses.
//!
//! Nobody may be answered here who isn't there. Where less is answered, it has to be told.

use std::fs::File;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::client::{receive, request, socket};
use crate::common::daemon::Daemon;
use crate::common::network::{in_own_network, ip};
use crate::common::program::command;
use crate::common::{Outcome, SOON, TempDir, chrony, peer, root, run, wait_until};
use ntpfront::wire::{Header, Leap};

/// A daemon and how it is started with its file; it must not be able to set the clock.
type Start = fn(&Path, &Path) -> Command;

/// A part of a file, and what has to be said of it, if anything.
struct Case {
    lines: &'static str,
    told: &'static str,
}

const fn same(lines: &'static str) -> Case {
    Case { lines, told: "" }
}

const fn told(lines: &'static str, told: &'static str) -> Case {
    Case { lines, told }
}

/// Who asks whom.
const ASKED: [(&str, &str); 10] = [
    ("127.0.0.1", "127.0.0.1"),
    ("127.1.0.1", "127.0.0.1"),
    ("127.1.2.3", "127.0.0.1"),
    ("192.0.2.10", "192.0.2.10"),
    ("192.0.2.11", "192.0.2.10"),
    ("192.0.2.10", "192.0.2.11"),
    ("203.0.113.5", "192.0.2.10"),
    ("::1", "::1"),
    ("2001:db8::1", "2001:db8::1"),
    ("2001:db8:1::1", "2001:db8::1"),
];
const PORTS: [u16; 2] = [123, 1123];

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Came {
    Nothing,
    Answer,
    Kiss([u8; 4]),
}

#[test]
fn chronyd() {
    let Some(start) = Theirs::chronyd() else { return };
    start.compare(&[
        same("allow"),
        same("allow 127\ndeny 127.1\nallow 127.1.2.3\nallow 2001:db8::/48\nallow ::1"),
        same("allow all\ndeny all 192.0.2\nallow 192.0.2.11\ndeny 2001:db8:1::/48"),
        same("deny all\nallow ::1"),
        same("bindaddress 192.0.2.10\nallow"),
        same("bindaddress ::1\nallow"),
        same("port 1123\nallow"),
        told("binddevice lo\nallow", "only this host"),
    ]);
}

#[test]
fn ntpd() {
    let Some(start) = Theirs::unable("ntpd", "ntpd", "") else {
        return;
    };
    start.compare(&[
        same("restrict default nomodify noquery"),
        same("restrict default ignore\nrestrict 127.0.0.1\nrestrict ::1"),
        same("restrict 127.1.0.0 mask 255.255.0.0 noserve\nrestrict 127.1.2.0/24"),
        same("restrict -6 default ignore"),
        told("restrict 127.1.0.0/16 notrust", "notrust"),
        same("interface listen 192.0.2.10"),
        same("interface ignore wildcard\ninterface listen 2001:db8::1"),
        same("interface listen 192.0.2.10\ninterface listen 192.0.2.11\ninterface ignore 192.0.2.10"),
        same("interface ignore all\ninterface listen all"),
        told(
            "interface listen 192.0.2.10\ninterface ignore all",
            "only this host",
        ),
        told(
            "interface listen all\ninterface ignore 192.0.2.11",
            "only this host",
        ),
        told(
            "restrict default nomodify\ninterface ignore ipv6",
            "only this host",
        ),
    ]);
}

#[test]
fn ntpd_rs() {
    let Some(start) = Theirs::unable("ntpd-rs", "ntp-daemon", "") else {
        return;
    };
    start.compare(&[
        same("[[server]]\nlisten = \"[::]:123\""),
        same("[[server]]\nlisten = \"192.0.2.10:1123\"\n[[server]]\nlisten = \"[::1]:123\""),
        same("[[server]]\nlisten = \"0.0.0.0:123\"\nallowlist = { filter = [\"127.0.0.0/8\", \"192.0.2.0/28\"], action = \"deny\" }\n\
             denylist = { filter = [\"127.1.0.0/16\"], action = \"deny\" }\n\
             [[server]]\nlisten = \"[::]:1123\"\ndenylist = { filter = [\"2001:db8:1::/48\"], action = \"ignore\" }"),
        told("[[server]]\nlisten = \"0.0.0.0:123\"\nrequire-nts = \"deny\"", "no client is answered"),
    ]);
}

/// Servers are asked at the start before the host's own clock stands in: chronyd takes as long or, where none can answer, less.
const BURST: Duration = Duration::from_secs(4);
const SLACK: Duration = Duration::from_millis(1500);

/// The strata that are announced of the host's own clock, and when: never earlier.
#[test]
fn local_clocks() {
    let (chronyd, ntpd) = (Theirs::chronyd(), Theirs::unable("ntpd", "ntpd", ""));
    if !root() {
        return;
    }
    for (theirs, text, stratum) in [
        (&chronyd, "local stratum 5\nallow\n", 5),
        (&chronyd, "server 198.18.0.2 iburst\nlocal stratum 7\nallow\n", 7),
        (
            &ntpd,
            "server 127.127.1.0 prefer\nfudge 127.127.1.0 stratum 8\n",
            9,
        ),
        (&ntpd, "refclock local stratum 3 iburst prefer\n", 4),
        (&ntpd, "server 127.127.1.0 iburst prefer\n", 6),
    ] {
        let Some(theirs) = theirs else { continue };
        let imported = theirs.imported(text);
        let [theirs, ours] = [
            theirs.beside(text, || time_of(stratum)),
            in_network(|| {
                let _daemon = Daemon::configured(&imported.stdout);
                time_of(stratum)
            }),
        ];
        println!("{text:?}: there after {theirs:?}, here after {ours:?}");
        let (least, most) = (theirs.saturating_sub(SLACK), theirs + BURST + SLACK);
        assert!(
            (least..most).contains(&ours),
            "{text}: there after {theirs:?}, here after {ours:?}\n{}",
            imported.stdout
        );
    }
}

/// After how long this stratum is announced; no other is before.
fn time_of(stratum: u8) -> Duration {
    let start = Instant::now();
    wait_until("a time", SOON, || {
        // ntpsec's ntpd answers 20 at once, and then one a second.
        std::thread::sleep(Duration::from_millis(300));
        let header = headers(&[("127.0.0.1", "127.0.0.1")], 123, Duration::from_millis(100))
            .pop()
            .flatten()?;
        let header = (header.leap != Leap::Unsynchronized && header.stratum != 0).then_some(header)?;
        assert_eq!(header.stratum, stratum);
        Some(())
    });
    start.elapsed()
}

/// Who asks too often is answered about as often.
#[test]
fn limits() {
    let Some(chronyd) = Theirs::chronyd() else { return };
    if !root() {
        return;
    }
    // Of 1000 requests a quarter, or a sixteenth, leaks there and here, by lot: the bounds are five standard deviations.
    for (text, bound) in [
        ("allow\nratelimit interval 3 burst 8 leak 2\n", 100),
        ("allow\nratelimit interval 6 burst 32 leak 4\n", 55),
    ] {
        let imported = chronyd.imported(text);
        let theirs = chronyd.beside(text, answered_of_many);
        let ours = in_network(|| {
            let _daemon = Daemon::configured(&imported.stdout);
            answered_of_many()
        });
        println!("{text:?}: {theirs} answered there, {ours} here");
        assert!(
            theirs.abs_diff(ours) < bound,
            "{text}: {theirs} answered there, {ours} here"
        );
    }
}

/// Nobody who asks ntpd too often is answered more often here.
#[test]
fn limits_of_ntpd() {
    let Some(ntpd) = Theirs::unable("ntpd", "ntpd", "") else {
        return;
    };
    if !root() {
        return;
    }
    for text in ["restrict default limited\n", "limit average 2 burst 30\n"] {
        let imported = ntpd.imported(text);
        let theirs = ntpd.beside(text, answered_of_many);
        let ours = in_network(|| {
            let _daemon = Daemon::configured(&imported.stdout);
            answered_of_many()
        });
        println!("{text:?}: {theirs} answered there, {ours} here");
        // One in a hundred leaks here.
        assert!(
            ours > 7 && ours < theirs + 15,
            "{text}: {theirs} answered there, {ours} here"
        );
    }
}

/// How many of 1000 requests of one client are answered. Few at a time, so that none is lost in a queue of a busy machine.
fn answered_of_many() -> usize {
    ready(PORTS[0]);
    let client = socket(([127, 0, 0, 1], 0));
    let mut answered = 0;
    for _ in 0..50 {
        for _ in 0..20 {
            client.send_to(&request(4, 3), "127.0.0.1:123").unwrap();
        }
        answered += replies(&client, Duration::from_millis(20));
    }
    answered + replies(&client, Duration::from_millis(400))
}

/// How many replies come, until none comes for `pause`.
fn replies(client: &UdpSocket, pause: Duration) -> usize {
    let replies = std::iter::from_fn(|| receive(client, pause));
    replies
        .filter(|reply| Header::parse(&reply.bytes).is_ok())
        .count()
}

/// A real daemon.
struct Theirs {
    program: PathBuf,
    start: Start,
    /// What its file needs beside, so that it is no trouble to others.
    more: &'static str,
}

impl Theirs {
    /// It is told not to touch the clock.
    fn chronyd() -> Option<Self> {
        Some(Self {
            program: chrony::program()?,
            start: |program, file| {
                let mut command = Command::new(program);
                command
                    .args(["-x", "-U", "-d", "-u", &chrony::me(), "-f"])
                    .arg(file);
                command
            },
            more: "cmdport 0\nbindcmdaddress /\npidfile @DIRECTORY@/pid\n",
        })
    }

    /// One that would keep the clock, started without the right to.
    fn unable(what: &str, program: &str, more: &'static str) -> Option<Self> {
        peer("setpriv", "setpriv")?;
        Some(Self {
            program: peer(what, program)?,
            start: |program, file| {
                let mut command = Command::new("setpriv");
                command.args([
                    "--bounding-set",
                    "-sys_time",
                    "--inh-caps",
                    "-sys_time",
                    "--no-new-privs",
                ]);
                command.arg(program);
                if program.ends_with("ntpd") {
                    command.arg("-n");
                }
                command.arg("-c").arg(file);
                command
            },
            more,
        })
    }

    /// Each case, there and here.
    fn compare(&self, cases: &[Case]) {
        if !root() {
            return;
        }
        for case in cases {
            let lines = case.lines;
            let imported = self.imported(lines);
            assert!(
                imported.said().contains(case.told),
                "{lines}: {}",
                imported.said()
            );
            assert_eq!(
                case.told.is_empty(),
                imported.status == Some(0),
                "{lines}: {}",
                imported.said()
            );
            let theirs = self.beside(lines, || seen(PORTS));
            let ours = in_network(|| {
                let _daemon = Daemon::configured(&imported.stdout);
                seen(PORTS)
            });
            // One that nobody answers tells nothing.
            assert!(theirs.iter().any(|(_, came)| *came != Came::Nothing), "{lines}");
            for ((who, there), (_, here)) in theirs.iter().zip(&ours) {
                let same = there == here;
                let less = *here == Came::Nothing && !case.told.is_empty();
                assert!(
                    same || less,
                    "{lines}: {who}: {there:?} there, {here:?} here\n{}",
                    imported.said()
                );
            }
        }
    }

    /// What is made of its file, which passes `check`.
    fn imported(&self, lines: &str) -> Outcome {
        let directory = TempDir::new();
        let file = directory.file("original", lines);
        let imported = run(command().arg("import").args(self.dialect()).arg(file));
        let made = directory.file("made.toml", &imported.stdout);
        let checked = run(command().arg("check").arg("-c").arg(made));
        assert_eq!(
            checked.status,
            Some(0),
            "{lines}: {}{}",
            imported.said(),
            checked.said()
        );
        imported
    }

    /// Of a few lines it can't always be guessed.
    fn dialect(&self) -> &'static [&'static str] {
        match self.program.file_name().and_then(|name| name.to_str()) {
            Some("chronyd") => &["--from", "chrony"],
            Some("ntpd") => &["--from", "ntp"],
            _ => &[],
        }
    }

    /// Does `look` while it runs, in a network of its own.
    fn beside<T: Send>(&self, lines: &str, look: impl FnOnce() -> T + Send) -> T {
        let directory = TempDir::new();
        let more = self
            .more
            .replace("@DIRECTORY@", &directory.path().display().to_string());
        let file = directory.file("original", format!("{lines}\n{more}"));
        in_network(|| {
            let log = File::create(directory.path().join("log")).unwrap();
            let mut command = (self.start)(&self.program, &file);
            let child = command
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn();
            let _running = Running(child.unwrap(), directory.path());
            look()
        })
    }
}

struct Running<'a>(Child, &'a Path);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.1.join("log"));
            eprintln!("--- log of the other daemon:\n{}---", log.unwrap_or_default());
        }
    }
}

/// The addresses of `ASKED`, where nobody else is.
fn in_network<T: Send>(inside: impl FnOnce() -> T + Send) -> T {
    let mut result = None;
    in_own_network(|| {
        for address in ["192.0.2.10/24", "192.0.2.11/24", "203.0.113.5/24"] {
            ip(&format!("addr add {address} dev lo"));
        }
        for address in ["2001:db8::1/64", "2001:db8:1::1/64"] {
            ip(&format!("addr add {address} dev lo nodad"));
        }
        // Where nobody answers.
        ip("link add nobody type veth peer name end");
        ip("addr add 198.18.0.1/24 dev nobody");
        ip("link set nobody up");
        ip("link set end up");
        ip("neigh add 198.18.0.2 lladdr 02:00:00:00:00:09 dev nobody");
        result = Some(inside());
    });
    result.unwrap()
}

/// What all of `ASKED` see.
fn seen(ports: [u16; 2]) -> Vec<(String, Came)> {
    ready(ports[0]);
    let mut all = Vec::new();
    for port in ports {
        let came = headers(&ASKED, port, Duration::from_millis(200));
        for ((source, server), header) in ASKED.iter().zip(came) {
            let came = match header {
                None => Came::Nothing,
                Some(header) if header.stratum == 0 && is_kiss(header) => {
                    Came::Kiss(header.reference_id.to_bytes())
                }
                Some(_) => Came::Answer,
            };
            all.push((format!("{source} asks {server} port {port}"), came));
        }
    }
    all
}

/// "INIT" and the like say why there is no time; these say that there is no answer.
fn is_kiss(header: Header) -> bool {
    [*b"DENY", *b"RATE", *b"RSTR"].contains(&header.reference_id.to_bytes())
}

/// Waits until somebody listens on one of the ports, and for all that he opens besides.
fn ready(port: u16) {
    wait_until("a listener", SOON, || {
        let tables = ["udp", "udp6"]
            .map(|table| std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap());
        let is_there = |port: u16| {
            tables
                .iter()
                .any(|table| table.contains(&format!(":{port:04X} ")))
        };
        (is_there(port) || is_there(PORTS[1])).then_some(())
    });
    std::thread::sleep(Duration::from_millis(300));
}

/// The first answer to each, within so long after all were asked.
fn headers(asked: &[(&str, &str)], port: u16, patience: Duration) -> Vec<Option<Header>> {
    let sockets: Vec<UdpSocket> = asked
        .iter()
        .map(|(source, server)| {
            let source: IpAddr = source.parse().unwrap();
            let server: IpAddr = server.parse().unwrap();
            let socket = socket((source, 0));
            socket.set_nonblocking(true).unwrap();
            let _refused = socket.send_to(&request(4, 3), SocketAddr::from((server, port)));
            socket
        })
        .collect();
    let mut headers = vec![None; asked.len()];
    let end = Instant::now() + patience;
    while Instant::now() < end && headers.contains(&None) {
        std::thread::sleep(Duration::from_millis(5));
        for (socket, header) in sockets.iter().zip(&mut headers) {
            let mut bytes = [0; 512];
            if let Ok((length, _)) = socket.recv_from(&mut bytes) {
                *header = Header::parse(&bytes[..length]).ok();
            }
        }
    }
    headers
}
