//! Proves that health is true: `health` in all its forms, and `health --watch`, which reports each change at once.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::client::v4;
use crate::common::daemon::{Daemon, LOCAL, Reload};
use crate::common::port::free_port;
use crate::common::program::command;
use crate::common::scripted::{Scripted, good};
use crate::common::{Outcome, SOON, TempDir, run, wait_until};
use ntpfront::control::client::{AnswerStream, RequestError};
use ntpfront::control::protocol::{ControlAnswer, ControlFailure, ControlRequest};
use ntpfront::observe::health::HealthCriteria;
use ntpfront::time::NtpDuration;
use serde_json::Value;

/// A server with two listeners, and a control socket that stays where it is when the server is started again.
struct Served {
    servers: [SocketAddr; 2],
    directory: TempDir,
    /// All of the configuration but the listeners.
    text: String,
    daemon: Daemon,
}

impl Served {
    fn start(text: &str) -> Self {
        let directory = TempDir::new();
        let socket = directory.path().join("control.sock");
        let text = format!("{text}\n[control]\nsocket = \"{}\"\n", socket.display());
        let servers = [(); 2].map(|()| v4(free_port()));
        let daemon = Self::daemon(&text, servers);
        Self {
            servers,
            directory,
            text,
            daemon,
        }
    }

    fn daemon(text: &str, servers: [SocketAddr; 2]) -> Daemon {
        Daemon::configured(&configuration(text, servers, [""; 2])).answering(servers[0])
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    fn health(&self, words: &[&str]) -> Outcome {
        run(command()
            .arg("health")
            .args(words)
            .arg("--socket")
            .arg(self.socket()))
    }

    fn status(&self, words: &[&str]) -> Option<i32> {
        self.health(words).status
    }

    /// Gives its listeners these keys.
    fn reload(&self, keys: [&str; 2]) {
        let text = configuration(&self.text, self.servers, keys);
        assert_eq!(self.daemon.reload(&text), Reload::Done);
    }

    fn watch(&self, words: &[&str]) -> Watch {
        Watch::start(&self.socket(), words)
    }

    fn becomes_healthy(&self) {
        let outcome = self.health(&["--wait", "60"]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    }
}

fn configuration(text: &str, servers: [SocketAddr; 2], keys: [&str; 2]) -> String {
    let listener = |(server, keys)| format!("[[listener]]\naddress = \"{server}\"\n{keys}\n");
    let listeners: String = servers.into_iter().zip(keys).map(listener).collect();
    text.to_owned() + &listeners
}

/// A running `health --watch`, with the moment of each of its lines; ended when dropped.
struct Watch {
    child: Child,
    lines: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Watch {
    fn start(socket: &std::path::Path, words: &[&str]) -> Self {
        let mut child = command()
            .args(["health", "--watch", "--socket"])
            .arg(socket)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, output) = (Arc::default(), child.stdout.take().unwrap());
        std::thread::spawn({
            let lines = Arc::clone(&lines);
            move || read(output, &lines)
        });
        Self { child, lines }
    }

    fn lines(&self) -> Vec<(Instant, String)> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for line `number`, which must begin so, and returns when it came.
    fn says(&self, number: usize, beginning: &str) -> Instant {
        let (when, line) = wait_until(beginning, SOON, || self.lines().get(number).cloned());
        assert!(line.starts_with(beginning), "{:?}", self.lines());
        when
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Ends it as a service manager does.
    fn end(&mut self) {
        self.signal(Signal::SIGTERM);
        let status = wait_until("the end of the watch", SOON, || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(output: ChildStdout, lines: &Mutex<Vec<(Instant, String)>>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        lines.lock().unwrap().push((Instant::now(), line));
    }
}

/// Clients are sent away by every listener: more must not be brought by routes and probes.
#[test]
fn not_healthy_while_no_listener_announces_the_time() {
    const AWAY: &str = "answer = \"unsynchronized\"";
    let served = Served::start(LOCAL);
    served.becomes_healthy();
    let [first, second] = served.servers.map(|server| server.to_string());
    served.reload([AWAY, ""]);
    let outcome = served.health(&[]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    assert!(
        outcome.stdout.contains(&format!("\"unsynchronized\" at {first}")),
        "{}",
        outcome.said()
    );
    assert_eq!(served.status(&["--listener", &first]), Some(1));
    assert_eq!(served.status(&["--listener", &second]), Some(0));
    served.reload([AWAY, AWAY]);
    let outcome = served.health(&["--json"]);
    assert_eq!(outcome.status, Some(1), "{}", outcome.said());
    let json: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(json["healthy"], false, "{json}");
    assert!(
        json["reason"]
            .as_str()
            .unwrap()
            .contains("no listener announces the time"),
        "{json}"
    );
    assert_eq!(json["state"], "local", "{json}");
    served.reload(["max-stratum = 3", "max-stratum = 3"]);
    assert_eq!(served.status(&[]), Some(1));
    served.reload(["", AWAY]);
    assert_eq!(served.status(&[]), Some(0));
    let nowhere = served.health(&["--listener", "192.0.2.1:123"]);
    assert_eq!(nowhere.status, Some(1), "{}", nowhere.said());
    assert!(nowhere.stdout.contains("there is no listener for 192.0.2.1:123"));
    assert_eq!(served.status(&["--listener", "ntp.example"]), Some(2));
}

#[test]
fn a_frozen_server_is_noticed_in_time() {
    let served = Served::start(LOCAL);
    served.becomes_healthy();
    served.daemon.signal(Signal::SIGSTOP);
    let start = Instant::now();
    let outcome = served.health(&[]);
    let took = start.elapsed();
    assert_eq!(outcome.status, Some(2), "{}", outcome.said());
    assert!(
        outcome.stderr.contains("no answer within 1 s"),
        "{}",
        outcome.said()
    );
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(3),
        "{took:?}"
    );
    let outcome = served.health(&["--timeout", "0.2"]);
    assert!(
        outcome.stderr.contains("no answer within 0.2 s"),
        "{}",
        outcome.said()
    );
    served.daemon.signal(Signal::SIGCONT);
    served.becomes_healthy();
}

#[test]
fn waiting_ends_when_it_is_healthy_or_the_time_is_over() {
    let directory = TempDir::new();
    let socket = directory.path().join("control.sock");
    let wait = |seconds: &str| {
        let mut command = command();
        command
            .args(["health", "--wait", seconds, "--socket"])
            .arg(&socket);
        command
    };
    let start = Instant::now();
    let outcome = run(&mut wait("0.5"));
    assert_eq!(outcome.status, Some(2), "{}", outcome.said());
    assert!(start.elapsed() >= Duration::from_millis(500));
    let mut waiting = wait("60").stdout(Stdio::null()).spawn().unwrap();
    let text = format!("{LOCAL}[control]\nsocket = \"{}\"\n", socket.display());
    let _daemon = Served::daemon(&text, [(); 2].map(|()| v4(free_port())));
    let status = wait_until("healthy", SOON, || waiting.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn as_a_plugin_of_nagios() {
    let mut served = Served::start(LOCAL);
    served.becomes_healthy();
    let check = |served: &Served, words: &[&str]| {
        let outcome = served.health(&[&["--format", "nagios"], words].concat());
        (outcome.status, outcome.stdout)
    };
    let (status, line) = check(&served, &[]);
    assert_eq!(status, Some(0), "{line}");
    assert!(
        line.starts_with("NTPFRONT OK - local, stratum 10, maximum error 0.5"),
        "{line}"
    );
    assert!(line.contains(" | root_distance=0.5"), "{line}");
    let (status, line) = check(&served, &["--warn-distance", "0.1", "--max-distance", "2"]);
    assert_eq!(status, Some(1), "{line}");
    assert!(line.contains("s;0.1;2;0 stratum=10;;;0;15"), "{line}");
    let (status, line) = check(&served, &["--max-distance", "0.1"]);
    assert_eq!(
        (status, line.starts_with("NTPFRONT CRITICAL")),
        (Some(2), true),
        "{line}"
    );
    let (status, line) = check(&served, &["--listener", "nonsense"]);
    assert_eq!(
        (status, line.starts_with("NTPFRONT UNKNOWN")),
        (Some(3), true),
        "{line}"
    );
    served.daemon.end_with(Signal::SIGKILL);
    let (status, line) = check(&served, &[]);
    assert_eq!(
        (status, line.starts_with("NTPFRONT CRITICAL")),
        (Some(2), true),
        "{line}"
    );
}

/// The death of a server, one that freezes, and one that comes back: each is a line, soon, by the same watch.
#[test]
fn a_watch_reports_each_change_and_finds_the_next_server() {
    let mut served = Served::start(LOCAL);
    served.becomes_healthy();
    let watch = served.watch(&[]);
    watch.says(0, "healthy: local");
    let killed = Instant::now();
    served.daemon.signal(Signal::SIGKILL);
    let took = watch.says(1, "not healthy: cannot query the running server") - killed;
    assert!(took < Duration::from_secs(2), "{took:?}");
    served.daemon = Served::daemon(&served.text, served.servers);
    watch.says(2, "healthy: local");

    let frozen = Instant::now();
    served.daemon.signal(Signal::SIGSTOP);
    let took = watch.says(3, "not healthy") - frozen;
    assert!(took < Duration::from_secs(3), "{took:?}");
    served.daemon.signal(Signal::SIGCONT);
    watch.says(4, "healthy");

    const AWAY: &str = "answer = \"unsynchronized\"";
    served.reload([AWAY, AWAY]);
    watch.says(5, "not healthy: local, stratum 10");
    served.reload(["", ""]);
    watch.says(6, "healthy");
    let stopped = Instant::now();
    served.daemon.signal(Signal::SIGTERM);
    let took = watch.says(7, "not healthy: the server is ending") - stopped;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// Two upstreams, one of which becomes false: then none is believed.
#[test]
fn a_watch_sees_the_time_become_bad() {
    let is_false = Arc::new(AtomicBool::new(false));
    let switches = [Arc::clone(&is_false), Arc::default()];
    let upstreams = switches.map(|switch: Arc<AtomicBool>| {
        Scripted::start(move |ask| {
            let mut reply = good(ask);
            if switch.load(Ordering::Relaxed) {
                for time in [&mut reply.receive_timestamp, &mut reply.transmit_timestamp] {
                    *time = *time + NtpDuration::from_seconds(9.0);
                }
            }
            vec![reply.into()]
        })
    });
    let tables = upstreams.each_ref().map(|upstream| {
        let address = upstream.address();
        format!("[[upstream]]\naddress = \"{address}\"\nminpoll = 0\nmaxpoll = 0\n")
    });
    let served = Served::start(&tables.concat());
    served.becomes_healthy();
    let watch = served.watch(&["--json"]);
    watch.says(0, "{\"healthy\":true");
    let near = served.watch(&["--max-distance", "0.000000001"]);
    near.says(0, "not healthy: synchronized");
    is_false.store(true, Ordering::Relaxed);
    watch.says(1, "{\"healthy\":false");
    assert!(watch.lines()[1].1.contains("clients get no time"));
    is_false.store(false, Ordering::Relaxed);
    watch.says(2, "{\"healthy\":true");
}

/// What it says is for a route: only a server that has been well for a while brings clients, and the end of the watch none.
#[test]
fn commands_are_run_and_flapping_is_damped() {
    let served = Served::start(LOCAL);
    served.becomes_healthy();
    let file = served.directory.path().join("ran");
    let note = |word: &str| {
        format!(
            "sh -c 'echo {word} $NTPFRONT_HEALTHY >> \"$0\"' '{}'",
            file.display()
        )
    };
    let (up, down) = (note("up"), note("down"));
    let start = Instant::now();
    let mut watch = served.watch(&["--up-after", "1s", "--exec", &up, "--exec-down", &down]);
    let came = watch.says(0, "healthy") - start;
    assert!(came >= Duration::from_secs(1), "{came:?}");
    let ran = || std::fs::read_to_string(&file).unwrap_or_default();
    wait_until("the command", SOON, || (ran() == "up 1\n").then_some(()));
    served.daemon.signal(Signal::SIGSTOP);
    let frozen = watch.says(1, "not healthy");
    wait_until("the command", SOON, || (ran() == "up 1\ndown 0\n").then_some(()));
    served.daemon.signal(Signal::SIGCONT);
    assert!(watch.says(2, "healthy") - frozen >= Duration::from_secs(1));
    watch.end();
    assert_eq!(ran(), "up 1\ndown 0\nup 1\ndown 0\n");
    watch.says(3, "not healthy: the watch ends");
}

#[test]
fn exabgp_reads_what_it_prints() {
    let mut served = Served::start(LOCAL);
    served.becomes_healthy();
    let mut watch = served.watch(&["--exabgp", "198.51.100.123/32", "--exabgp", "2001:db8::123"]);
    watch.says(0, "announce route 198.51.100.123/32 next-hop self");
    watch.says(1, "announce route 2001:db8::123/128 next-hop self");
    served.daemon.signal(Signal::SIGKILL);
    watch.says(2, "withdraw route 198.51.100.123/32 next-hop self");
    watch.says(3, "withdraw route 2001:db8::123/128 next-hop self");
    served.daemon = Served::daemon(&served.text, served.servers);
    watch.says(5, "announce route 2001:db8::123/128 next-hop self");
    watch.end();
    watch.says(7, "withdraw route 2001:db8::123/128 next-hop self");
    assert_eq!(
        served.status(&["--watch", "--exabgp", "198.51.100.123/24"]),
        Some(2)
    );
    assert_eq!(served.status(&["--watch", "--exec", "'"]), Some(2));
    assert_eq!(served.status(&["--exec", "true"]), Some(2));
}

/// Each watch costs the server something, so their number has a limit; other commands have places of their own.
#[test]
fn watches_are_limited_and_keep_nobody_out() {
    let served = Served::start(LOCAL);
    let open = || {
        let request = ControlRequest::WatchHealth(HealthCriteria::default());
        let mut stream = AnswerStream::open(&served.socket(), request, SOON).unwrap();
        let first = stream.next(SOON);
        (stream, first)
    };
    let mut all: Vec<_> = (0..16).map(|_| open()).collect();
    assert!(
        all.iter()
            .all(|(_, first)| matches!(first, Ok(ControlAnswer::Health(_))))
    );
    let (_, refused) = open();
    assert!(
        matches!(
            refused,
            Err(RequestError::Failed(ControlFailure::TooManyWatchers))
        ),
        "{refused:?}"
    );
    served.becomes_healthy();
    // All of them are still served.
    for (stream, _) in &mut all {
        for _ in 0..3 {
            stream.next(SOON).unwrap();
        }
    }
    all.pop();
    wait_until("a place for another one", SOON, || open().1.ok());
}
