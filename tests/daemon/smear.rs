//! A real client follows a smear: chronyd under a simulated clock (`tests/leap/virtual_clock.c`), days within seconds.
//!
//! Its server is ours from the bytes of a request to those of the reply, at the simulated time of arrival.

use std::fs;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use ntpfront::clock::Rehearsal;
use ntpfront::leap::{LeapEvent, LeapKind, LeapTable, Mark, Smear, SmearKind, SmearWindow};
use ntpfront::server::policy::Ruling;
use ntpfront::server::{ReplyBuffer, Request, respond};
use ntpfront::time::{ClockReadings, NtpDuration, NtpTimestamp};
use ntpfront::wire::HEADER_LEN;

use crate::common::{TempDir, chrony, peer, root, run};

/// 2027-01-01 00:00 UTC.
const MIDNIGHT: i64 = 1_798_761_600;
/// Seconds from the start to midnight, and to the end.
const BEFORE: i64 = 15 * 3600;
const LENGTH: i64 = 30 * 3600;
/// Seconds after which the client is expected to know the time.
const SETTLED: f64 = 2.0 * 3600.0;
/// What the simulated clock calls the start.
const FIRST: f64 = 1000.0;

/// A smear, a leap second and the client's poll interval (log2 seconds), with its largest error in milliseconds.
///
/// With a line the rate changes at once where it begins, by 11.6 ppm: until the client's next polls that is an error.
const CASES: [(SmearKind, LeapKind, i8, f64); 4] = [
    (SmearKind::Linear, LeapKind::Insert, 5, 1.0),
    (SmearKind::Linear, LeapKind::Delete, 5, 1.0),
    (SmearKind::Linear, LeapKind::Insert, 6, 1.5),
    (SmearKind::Cosine, LeapKind::Insert, 6, 0.3),
];

#[test]
fn chronyd_follows_a_smear_within_a_millisecond() {
    let (Some(chronyd), Some(cc), true) = (chrony::program(), peer("cc", "cc"), root()) else {
        return;
    };
    let directory = TempDir::new();
    let shim = directory.path().join("virtual_clock.so");
    let built = run(Command::new(cc)
        .args(["-DSIMULATED", "-O2", "-shared", "-fPIC", "-o"])
        .arg(&shim)
        .args(["tests/leap/virtual_clock.c", "-lpthread"]));
    assert_eq!(built.status, Some(0), "{}", built.said());
    thread::scope(|scope| {
        for (kind, leap, poll, limit) in CASES {
            let (chronyd, shim) = (&chronyd, &shim);
            scope.spawn(move || {
                let error = followed(chronyd, shim, kind, leap, poll);
                println!(
                    "{kind:?} {leap:?}, polls of {} s: {:.3} ms",
                    1 << poll,
                    error * 1e3
                );
                assert!(error * 1e3 <= limit, "{kind:?} {leap:?}, poll {poll}: {error} s");
            });
        }
    });
}

/// Returns the largest difference of the client's clock from the smear, once it knew the time.
fn followed(chronyd: &Path, shim: &Path, kind: SmearKind, leap: LeapKind, poll: i8) -> f64 {
    let smear = Smear {
        kind,
        hours: 24,
        window: SmearWindow::Around,
        mark: Mark::None,
    };
    let event = LeapEvent {
        midnight: MIDNIGHT,
        kind: leap,
    };
    let directory = TempDir::new();
    let path = |name: &str| directory.path().join(name);
    let listener = UnixListener::bind(path("server")).unwrap();
    let server = thread::spawn(move || serve(&listener.accept().unwrap().0, smear, event));
    let configuration = directory.file(
        "chrony.conf",
        format!(
            "server 127.0.0.1 port 12399 iburst minpoll {poll} maxpoll {poll}\nmakestep 0.5 1\ncmdport 0\n\
             driftfile {0}/drift\npidfile {0}/pid\nbindcmdaddress {0}/command\n",
            directory.path().display()
        ),
    );
    // It may not set a clock, whatever becomes of the preloaded one.
    let outcome = run(Command::new("setpriv")
        .args(["--bounding-set=-sys_time", "--inh-caps=-sys_time"])
        .arg(chronyd)
        .args(["-u", "root", "-d", "-f"])
        .arg(configuration)
        .env("LD_PRELOAD", shim)
        .env("VIRTUAL_START", format!("{}.25", MIDNIGHT - BEFORE))
        .env("VIRTUAL_END", LENGTH.to_string())
        .env("VIRTUAL_DRIFT", "3.7")
        .env("VIRTUAL_LOG", path("clock"))
        .env("VIRTUAL_SERVER", path("server")));
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    server.join().unwrap();
    let log = fs::read_to_string(path("clock")).unwrap();
    let errors: Vec<f64> = log.lines().filter_map(|line| error(line, smear, event)).collect();
    assert!(errors.len() > 1000, "it was not observed: {}", errors.len());
    errors
        .into_iter()
        .fold(0.0, |worst, error| worst.max(error.abs()))
}

/// The difference of the time shown from the smear by a line of the log, once the client knew the time.
fn error(line: &str, smear: Smear, event: LeapEvent) -> Option<f64> {
    let words: Vec<&str> = line.split(' ').collect();
    let passed = words[0].parse::<f64>().unwrap() - FIRST;
    if words[2] != "shows" || passed < SETTLED {
        return None;
    }
    let (seconds, nanos) = words[1].split_once('.').unwrap();
    let shown = NtpTimestamp::from_unix(seconds.parse().unwrap(), nanos.parse().unwrap());
    let count = start() + NtpDuration::from_seconds(passed);
    Some((shown - count - smear.offset(&event, count)).to_seconds())
}

fn start() -> NtpTimestamp {
    NtpTimestamp::from_unix(MIDNIGHT - BEFORE, 0)
}

/// Answers until the client has ended.
fn serve(mut client: &UnixStream, smear: Smear, event: LeapEvent) {
    let readings = |after: Duration| ClockReadings {
        realtime: start(),
        raw: Duration::from_secs(1) + after,
        boot: Duration::from_secs(1) + after,
    };
    let table = LeapTable::parse("#@ 3692217600\n3692217600 37\n").unwrap();
    let rehearsal = Rehearsal {
        stratum: 15,
        event,
        table: table.with(event),
        started: readings(Duration::ZERO),
        count: start(),
    };
    let mut bytes = [0; 8 + HEADER_LEN];
    while client.read_exact(&mut bytes).is_ok() {
        let (arrival, payload) = bytes.split_first_chunk::<8>().unwrap();
        let now = readings(Duration::from_nanos(u64::from_ne_bytes(*arrival)));
        let (_, smeared) = rehearsal.references(now);
        let time = smeared.time(smear).of(smeared.reference.clock.served(now));
        let request = Request {
            payload,
            source: Ipv4Addr::LOCALHOST.into(),
            source_port: 40_000,
            unicast: true,
            received_at: time,
        };
        let mut room = [0; HEADER_LEN];
        let mut reply = ReplyBuffer::new(&mut room);
        let verdict = respond(
            &request,
            time,
            || Ruling::Answer,
            &smeared.at(smear, now),
            &mut reply,
        );
        assert!(verdict.is_answered());
        client.write_all(&room).unwrap();
    }
}
