//! Proves that no reply is lost, whatever the operator changes meanwhile, by a load that counts every single one; and
//! first that the load sees a loss.

use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ntpfront::wire::{Leap, ReferenceId};

use crate::common::client::{self, v4, v6};
use crate::common::daemon::{Daemon, Reload};
use crate::common::load::{self, Load, Report};
use crate::common::program::{PROGRAM, command};
use crate::common::scripted::{Ask, Reply, Scripted, but, good, honest};
use crate::common::{SOON, TempDir, root, run, wait_until};
use crate::machine;

/// Requests a second, over all targets.
const RATE: u32 = 20_000;
/// Of a namespace of its own, so everything is free.
const PORT: u16 = 12_300;

/// Serves this host's clock at once, so that every answer is a usable one.
const LOCAL: &str = "[local]\nenabled = true\nwait = 0\n";

/// One full load at a time: two on two cores would measure each other.
fn alone(inside: impl FnOnce() + Send) {
    if root() {
        let _machine = machine::alone();
        load::in_own_network(inside);
    }
}

fn listener(address: SocketAddr, workers: u32) -> String {
    format!("[[listener]]\naddress = \"{address}\"\nworkers = {workers}\n")
}

/// The same port of both families.
fn both(port: u16) -> [SocketAddr; 2] {
    [v4(port), v6(port)]
}

#[test]
fn a_steady_server_loses_nothing() {
    alone(|| {
        let targets = both(PORT);
        let text = targets.map(|target| listener(target, 2)).concat();
        let _daemon = Daemon::configured(&format!("upstream = []\n{LOCAL}{text}"))
            .answering(targets[0])
            .answering(targets[1]);
        Load::start(&targets, RATE, 3).finish().nothing_lost(RATE);
    });
}

/// How many times the file is changed and read again.
const RELOADS: usize = 100;
/// Workers of the listeners that change, one reload after the other,
const WORKERS: [u32; 4] = [1, 4, 2, 3];
/// and how packets are spread over them.
const STEERINGS: [&str; 3] = ["source", "cpu", "kernel"];
// The ports of listeners: their workers change, they stay as they are, come and go, or are somebody else's.
const CHANGING: u16 = PORT;
const STAYING: u16 = PORT + 1;
const COMING: u16 = PORT + 2;
const TAKEN: u16 = PORT + 3;

/// The configuration of one reload; what changes has a rhythm of its own.
fn configuration(reload: usize, upstreams: &[Scripted; 3]) -> String {
    let mut text = LOCAL.to_owned();
    for address in both(CHANGING) {
        let steering = STEERINGS[reload % STEERINGS.len()];
        text += &listener(address, WORKERS[reload % WORKERS.len()]);
        let _written = writeln!(text, "steering = \"{steering}\"");
    }
    for address in both(STAYING) {
        text += &listener(address, 2);
    }
    if has_coming(reload) {
        text += &both(COMING).map(|address| listener(address, 2)).concat();
    }
    for offset in 0..2 {
        let upstream = upstreams[(reload + offset) % upstreams.len()].address();
        let _written = writeln!(text, "[[upstream]]\naddress = \"{upstream}\"");
    }
    text
}

fn has_coming(reload: usize) -> bool {
    reload % 5 < 2
}

/// What must be refused as a whole: words that can't be read, that mean nothing, or that can't be done.
fn bad(reload: usize, good: &str) -> String {
    let more = match reload % 4 {
        0 => "[[listener]\n".to_owned(),
        1 => "[no-such-table]\n".to_owned(),
        2 => listener(v4(TAKEN), 2),
        _ => "[[listener]]\naddress = \"127.0.0.1\"\n".to_owned(),
    };
    // More workers come first: they have to be gone again.
    good.replace("workers = 2", "workers = 6") + &more
}

#[test]
fn a_hundred_reloads_lose_nothing() {
    alone(|| {
        let upstreams = [1, 2, 3].map(|last| Scripted::at(([127, 0, 0, last], 0).into(), honest));
        let _taken = UdpSocket::bind(v4(TAKEN)).unwrap();
        let targets = [both(CHANGING), both(STAYING)].concat();
        let mut daemon = Daemon::configured(&configuration(0, &upstreams));
        for target in &targets {
            daemon = daemon.answering(*target);
        }
        let load = Load::start(&targets, RATE, 300);
        let took = Times::of((1..=RELOADS).map(|reload| one_reload(&daemon, reload, &upstreams)));
        let report = load.stop();
        println!("{RELOADS} reloads: {took:?}");
        report.nothing_lost(RATE);
    });
}

/// The listeners answer in another way each time, and always.
#[test]
fn drains_lose_nothing() {
    alone(|| {
        let directory = TempDir::new();
        let control = directory.path().join("control");
        let targets = both(PORT);
        let text = targets.map(|target| listener(target, 2)).concat();
        let file = format!(
            "upstream = []\n{LOCAL}{text}[control]\nsocket = \"{}\"\n",
            control.display()
        );
        let daemon = Daemon::configured(&file)
            .answering(targets[0])
            .answering(targets[1]);
        let run = |words: &[&str]| {
            let outcome = run(command().args(words).arg("--socket").arg(&control));
            assert_eq!(outcome.status, Some(0), "{}", outcome.said());
        };
        let load = Load::start(&targets, RATE, 300);
        for round in 0..30 {
            run(&["drain"]);
            if round % 10 == 0 {
                assert_eq!(daemon.hang_up(), Reload::Done);
            }
            run(&["undrain", &targets[0].to_string()]);
            run(&["undrain"]);
        }
        let report = load.stop();
        let faults = [report.lost, report.wrong, report.duplicate, report.unsent];
        assert_eq!(faults, [0; 4], "[lost, wrong, duplicate, unsent]: {report:#?}");
        assert!(report.unsynchronized > 0, "no drain was seen: {report:#?}");
    });
}

#[test]
fn a_listener_that_moves_between_all_addresses_and_one_loses_nothing() {
    alone(|| {
        let configuration = |address: &str| {
            let listener = listener(format!("{address}:{PORT}").parse().unwrap(), 2);
            format!("upstream = []\n{LOCAL}{listener}")
        };
        let daemon = Daemon::configured(&configuration("0.0.0.0")).answering(v4(PORT));
        let load = Load::start(&[v4(PORT)], RATE, 300);
        for _ in 0..20 {
            assert_eq!(daemon.reload(&configuration("127.0.0.1")), Reload::Done);
            assert_eq!(daemon.reload(&configuration("0.0.0.0")), Reload::Done);
        }
        load.stop().nothing_lost(RATE);
    });
}

/// Reads a bad file now and then, then the good one, and looks whether it is in effect.
fn one_reload(daemon: &Daemon, reload: usize, upstreams: &[Scripted; 3]) -> Duration {
    let good = configuration(reload, upstreams);
    if reload.is_multiple_of(3) {
        assert_eq!(
            daemon.reload(&bad(reload / 3, &good)),
            Reload::Refused,
            "reload {reload}"
        );
    }
    let start = Instant::now();
    assert_eq!(daemon.reload(&good), Reload::Done, "reload {reload}");
    let took = start.elapsed();
    for address in both(COMING) {
        // A socket that leaves may still be draining.
        wait_until("a listener that came or went", SOON, || {
            (answers(address) == has_coming(reload)).then_some(())
        });
    }
    let workers = 2 * WORKERS[reload % WORKERS.len()] + 4 + if has_coming(reload) { 4 } else { 0 };
    wait_until("as many workers as the file says", SOON, || {
        (threads_of_workers(daemon) == workers as usize).then_some(())
    });
    took
}

/// Is there an answer, or does the host refuse? Nothing is lost on the way, so silence is neither.
fn answers(address: SocketAddr) -> bool {
    let from = client::socket(SocketAddr::new(address.ip(), 0));
    from.connect(address).unwrap();
    from.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let asked = from
        .send(&client::request(4, 3))
        .and_then(|_| from.recv(&mut [0; 512]));
    asked.is_ok()
}

/// Its threads that are called `worker…`.
fn threads_of_workers(daemon: &Daemon) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let names = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("worker")).count()
}

/// The shortest, the middle and the longest.
#[derive(Debug)]
#[allow(dead_code, reason = "it is only printed")]
struct Times {
    shortest: Duration,
    median: Duration,
    longest: Duration,
}

impl Times {
    fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut times: Vec<_> = times.collect();
        times.sort_unstable();
        Self {
            shortest: times[0],
            median: times[times.len() / 2],
            longest: times[times.len() - 1],
        }
    }
}

/// What a load of 100 requests a second finds out about a server that behaves as `script` says.
fn found(script: impl FnMut(&Ask) -> Vec<Reply> + Send + 'static) -> Report {
    let server = Scripted::at(v4(PORT), script);
    Load::start(&[server.address()], 100, 1).finish()
}

#[test]
fn the_load_sees_what_is_wrong() {
    if !root() {
        return;
    }
    let _machine = machine::shared();
    load::in_own_network(|| {
        let mut count = 0;
        let nth = found(move |ask| {
            count += 1;
            if count % 10 == 0 {
                Vec::new()
            } else {
                vec![good(ask).into()]
            }
        });
        assert!(nth.lost >= nth.sent / 10 && nth.lost <= nth.sent / 5, "{nth:?}");
        assert_eq!((nth.kernel.no_ports, nth.wrong, nth.duplicate), (0, 0, 0));

        let twice = found(|ask| vec![good(ask).into(), good(ask).into()]);
        assert_eq!((twice.lost, twice.duplicate), (0, twice.sent), "{twice:?}");

        let stray = found(|ask| vec![Reply::Stray(good(ask).to_bytes().to_vec())]);
        assert_eq!((stray.lost, stray.wrong), (stray.sent, stray.sent), "{stray:?}");

        let one_bit = found(|ask| {
            let mut bytes = good(ask).to_bytes();
            bytes[24] ^= 1;
            vec![Reply::Own(bytes.to_vec())]
        });
        assert_eq!(
            (one_bit.lost, one_bit.wrong),
            (one_bit.sent, one_bit.sent),
            "{one_bit:?}"
        );

        let unsynchronized = found(but(|reply| {
            reply.leap = Leap::Unsynchronized;
            reply.stratum = 0;
            reply.reference_id = ReferenceId::INIT;
        }));
        assert_eq!(
            (unsynchronized.lost, unsynchronized.unsynchronized),
            (0, unsynchronized.sent),
            "{unsynchronized:?}"
        );
        assert_eq!(unsynchronized.reasons["INIT"], unsynchronized.sent);

        let nobody = Load::start(&[v4(PORT)], 100, 1).finish();
        assert_eq!(
            (nobody.lost, nobody.kernel.no_ports),
            (nobody.sent, nobody.sent),
            "{nobody:?}"
        );
        assert!(nobody.sent > 0 && nobody.targets[0].max_gap_ms > 100.0);
    });
}

/// A short run of what `tests/soak/run` does for half an hour.
#[test]
fn a_time_of_trouble_loses_nothing_and_leaves_nothing_behind() {
    alone(|| {
        let [ntpfront, load] = [Path::new(PROGRAM), load::program()];
        let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/soak/run"))
            .args(["--minutes", "0.6", "--rate", "5000", "--ntpfront"])
            .arg(ntpfront)
            .arg("--load")
            .arg(load)
            .output()
            .expect("tests/soak/run starts");
        println!("{}", String::from_utf8_lossy(&output.stdout));
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    });
}
