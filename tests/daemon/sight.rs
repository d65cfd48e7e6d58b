//! Proves what can be seen of a running server: `status`, `upstreams`, and `health`, and `top` without a terminal, through its control socket.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::client::{ask, request, v4};
use crate::common::daemon::{Daemon, LOCAL, Reload};
use crate::common::port::free_port;
use crate::common::program::command;
use crate::common::scripted::{Scripted, good};
use crate::common::{Outcome, SOON, TempDir, run, wait_until};
use ntpfront::census::CensusWanted;
use ntpfront::control::client::{RequestError, send_request};
use ntpfront::control::protocol::{
    ControlAnswer, ControlFailure, ControlRequest, LONGEST_REQUEST, read_answer, write_answer, write_request,
};
use ntpfront::observe::health::HealthCriteria;
use ntpfront::observe::screen::{RowOrder, ScreenWanted};
use ntpfront::time::NtpDuration;
use ntpfront::wire::Leap;
use serde_json::Value;

/// Whoever follows a server that may be wrong by 0.2 s is told what the pool makes of that.
#[test]
fn the_pool_is_thought_of_before_it_drops_us() {
    let upstream = Scripted::start(|ask| {
        let mut reply = good(ask);
        reply.root_dispersion = ntpfront::time::NtpShort::from_bits(65_536 / 5);
        vec![reply.into()]
    });
    let seen = Seen::of(&[upstream.address()]);
    let status = seen.becomes("synchronized");
    assert_eq!(status["pool"]["handed_out"], false, "{status}");
    assert!(status["pool"]["score"].as_f64() < Some(10.0), "{status}");
    wait_until("a warning", SOON, || {
        let log = seen.daemon.log();
        let warning = log
            .lines()
            .find(|line| line.contains("the NTP Pool might drop this server"))?;
        assert!(warning.contains("WARN"), "{warning}");
        Some(())
    });
}

/// A server with a control socket.
pub(crate) struct Seen {
    server: SocketAddr,
    daemon: Daemon,
    directory: TempDir,
    text: String,
}

impl Seen {
    /// `text`: all of the configuration but the listener (of two workers) and the socket.
    pub(crate) fn configured(text: &str) -> Self {
        let (server, directory) = (v4(free_port()), TempDir::new());
        let socket = directory.path().join("control.sock");
        let text = format!(
            "{text}\n[control]\nsocket = \"{}\"\n[[listener]]\naddress = \"{server}\"\nworkers = 2\n",
            socket.display()
        );
        Self {
            server,
            daemon: Daemon::configured(&text).answering(server),
            directory,
            text,
        }
    }

    /// In front of these upstreams.
    pub(crate) fn of(upstreams: &[SocketAddr]) -> Self {
        let table = |address| format!("[[upstream]]\naddress = \"{address}\"\nminpoll = 0\nmaxpoll = 0\n");
        Self::configured(&upstreams.iter().map(table).collect::<String>())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    /// What a subcommand says of it.
    fn said(&self, words: &[&str]) -> Outcome {
        said(words, &self.socket())
    }

    fn json(&self, word: &str) -> Value {
        let outcome = self.said(&[word, "--json"]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.said());
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("no JSON: {}", outcome.said()))
    }

    pub(crate) fn becomes(&self, state: &str) -> Value {
        wait_until(state, SOON, || {
            Some(self.json("status")).filter(|status| status["state"] == state)
        })
    }
}

fn said(words: &[&str], socket: &Path) -> Outcome {
    run(command().args(words).arg("--socket").arg(socket))
}

fn is_narrow(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn the_status_shows_all_there_is() {
    let upstream = Scripted::start(|ask| vec![good(ask).into()]);
    let silent = Scripted::start(|_| Vec::new());
    let seen = Seen::of(&[upstream.address(), silent.address()]);
    seen.becomes("synchronized");
    for version in [3, 4, 4] {
        ask(seen.server, &request(version, 3)).expect("an answer");
    }
    ask(seen.server, &request(4, 6));
    let status = wait_until("all packets counted", SOON, || {
        Some(seen.json("status")).filter(|status| status["requests"]["refused"] == 1)
    });
    let requests = &status["requests"];
    assert_eq!(requests["verdicts"]["refused-control-mode"], 1, "{status}");
    assert_eq!(requests["versions"][3], 1, "{status}");
    assert_eq!(requests["modes"][6], 1, "{status}");
    assert_eq!(requests["residence"]["count"], requests["answered"], "{status}");
    assert!(requests["residence"]["sum"].as_f64() > Some(0.0), "{status}");
    assert_eq!(requests["queue_dropped"], 0, "{status}");
    assert_eq!(status["listeners"][0]["workers"].as_array().unwrap().len(), 2);
    assert!(
        status["reference"]["root_distance"].as_f64() > Some(0.0),
        "{status}"
    );
    assert_eq!(status["upstreams"][0]["standing"], "mirrored", "{status}");
    assert!(
        status["upstreams"][0]["measured"]["offset"]
            .as_f64()
            .unwrap()
            .abs()
            < 1.0
    );
    assert_eq!(status["upstreams"][1]["standing"], "silent", "{status}");
    assert_eq!(status["upstreams"][1]["measured"], Value::Null, "{status}");

    let text = seen.said(&["status"]).stdout;
    is_narrow(&text);
    for word in [
        "synchronized",
        "stratum 2",
        "mirrored",
        "silent",
        "1 control-mode",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let position = |word: &str| text.find(word).unwrap_or_else(|| panic!("{word}: {text}"));
    assert!(position("UPSTREAM ") < position("LISTENER "), "{text}");
    assert!(!text.contains("#0") && !text.contains('\x1b'), "{text}");
    assert!(seen.said(&["status", "-v"]).stdout.contains(" #1 "));
    let text = seen.said(&["upstreams"]).stdout;
    is_narrow(&text);
    assert!(text.contains(&upstream.address().to_string()), "{text}");
    assert_eq!(seen.json("upstreams").as_array().unwrap().len(), 2);
}

#[test]
fn reloads_are_counted_and_the_counts_of_gone_workers_stay() {
    let seen = Seen::configured(LOCAL);
    for _ in 0..20 {
        ask(seen.server, &request(4, 3)).expect("an answer");
    }
    let before = seen.json("status")["listeners"][0]["received"].as_u64().unwrap();
    assert!(before >= 20);
    let one = seen.text.replace("workers = 2", "workers = 1");
    assert_eq!(seen.daemon.reload(&one), Reload::Done);
    assert_eq!(seen.daemon.reload("nonsense"), Reload::Refused);
    let status = seen.json("status");
    assert_eq!(
        (&status["reloads"]["done"], &status["reloads"]["refused"]),
        (&1.into(), &1.into())
    );
    assert!(
        status["reloads"]["fault"]
            .as_str()
            .unwrap()
            .contains("ntpfront.toml:1"),
        "{status}"
    );
    assert_eq!(status["listeners"][0]["workers"].as_array().unwrap().len(), 1);
    assert_eq!(status["listeners"][0]["received"], before, "{status}");
    assert_eq!(status["requests"]["received"], before, "{status}");
    let text = seen.said(&["status"]).stdout;
    assert!(text.contains("1 done, 1 refused"), "{text}");
    assert!(
        text.contains("reload       the last reload was refused"),
        "{text}"
    );
    let advice = &status["advice"][0];
    assert_eq!(advice["about"], "reload", "{status}");
    assert!(advice["remedy"].as_str().unwrap().contains("ntpfront check"));
}

#[test]
fn health_has_a_status_for_each_state() {
    let upstream = Scripted::start(|ask| vec![good(ask).into()]);
    let seen = Seen::of(&[upstream.address()]);
    seen.becomes("synchronized");
    let fine = seen.said(&["health"]);
    assert_eq!(fine.status, Some(0), "{}", fine.said());
    assert!(
        fine.stdout.starts_with("healthy: synchronized"),
        "{}",
        fine.said()
    );
    assert_eq!(fine.stdout.lines().count(), 1);
    assert_eq!(seen.said(&["health", "--max-distance", "10"]).status, Some(0));
    let far = seen.said(&["health", "--max-distance", "0.000000001", "--json"]);
    assert_eq!(far.status, Some(1), "{}", far.said());
    let json: Value = serde_json::from_str(&far.stdout).unwrap();
    assert_eq!(json["healthy"], false);

    let without_time = Scripted::start(|ask| {
        let mut reply = good(ask);
        (reply.leap, reply.stratum) = (Leap::Unsynchronized, 0);
        vec![reply.into()]
    });
    let seen = Seen::of(&[without_time.address()]);
    let refused = seen.said(&["health"]);
    assert_eq!(refused.status, Some(1), "{}", refused.said());
    assert!(
        refused.stdout.starts_with("not healthy: init"),
        "{}",
        refused.said()
    );

    let seen = Seen::configured(LOCAL);
    seen.becomes("local");
    assert_eq!(seen.said(&["health"]).status, Some(0));
    assert_eq!(seen.said(&["health", "--max-distance", "0.1"]).status, Some(1));
}

/// An upstream that says that it has lost the time, or whose time is wrong by 9 s, while that is wanted.
fn switched() -> (Scripted, Arc<AtomicBool>, Arc<AtomicBool>) {
    let [lost, wrong] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let switches = [&lost, &wrong].map(Arc::clone);
    let upstream = Scripted::start(move |ask| {
        let [lost, wrong] = switches.each_ref().map(|switch| switch.load(Ordering::Relaxed));
        let mut reply = good(ask);
        if wrong {
            for time in [&mut reply.receive_timestamp, &mut reply.transmit_timestamp] {
                *time = *time + NtpDuration::from_seconds(9.0);
            }
        }
        if lost {
            (reply.leap, reply.stratum) = (Leap::Unsynchronized, 0);
        }
        vec![reply.into()]
    });
    (upstream, lost, wrong)
}

#[test]
fn health_after_the_upstreams_are_lost_and_while_they_dispute() {
    let (one, lost, wrong) = switched();
    let (other, other_lost, _) = switched();
    let seen = Seen::of(&[one.address(), other.address()]);
    seen.becomes("synchronized");
    wrong.store(true, Ordering::Relaxed);
    seen.becomes("disputed");
    let disputed = seen.said(&["health"]);
    assert_eq!(disputed.status, Some(1), "{}", disputed.said());
    assert!(
        disputed.stdout.starts_with("not healthy: disputed"),
        "{}",
        disputed.said()
    );
    wrong.store(false, Ordering::Relaxed);
    seen.becomes("synchronized");
    for lost in [lost, other_lost] {
        lost.store(true, Ordering::Relaxed);
    }
    // The time is still good enough for whoever does not say how good it must be.
    seen.becomes("holdover");
    assert_eq!(seen.said(&["health"]).status, Some(0));
    assert_eq!(
        seen.said(&["health", "--max-distance", "0.000001"]).status,
        Some(1)
    );
}

/// The first sight of a new installation: nothing listens on the default upstream.
#[test]
fn a_server_without_an_upstream_says_what_to_do() {
    let port = free_port();
    let seen = Seen::of(&[v4(port)]);
    let status = wait_until("advice", SOON, || {
        Some(seen.json("status")).filter(|status| status["uptime"].as_f64() > Some(5.0))
    });
    let advice = &status["advice"][0];
    assert_eq!(
        (&advice["severity"], &advice["about"]),
        (&"critical".into(), &"state".into())
    );
    assert!(status["state_age"].as_f64() > Some(4.0), "{status}");
    let text = seen.said(&["status"]).stdout;
    is_narrow(&text);
    let second = text.lines().nth(1).unwrap();
    assert!(second.starts_with("state        init for "), "{text}");
    assert!(
        text.lines()
            .nth(2)
            .unwrap()
            .starts_with("why          0 of 1 upstreams agree"),
        "{text}"
    );
    assert!(text.contains("no server listens there (ECONNREFUSED)"), "{text}");
    assert!(text.contains("\n  what to do "), "{text}");
}

#[test]
fn who_asks_nobody_is_told_so() {
    let directory = TempDir::new();
    let socket = directory.path().join("none.sock");
    for (word, status) in [("status", 1), ("upstreams", 1), ("top", 1), ("health", 2)] {
        let outcome = said(&[word], &socket);
        assert_eq!(outcome.status, Some(status), "{word}: {}", outcome.said());
        assert!(outcome.stderr.contains("none.sock"), "{word}: {}", outcome.said());
    }
    // The configuration says where the socket is, unless a flag does.
    let seen = Seen::configured("upstream = []\n[local]\nenabled = true\n");
    let file = seen.daemon.configuration();
    let outcome = run(command().args(["status", "-c"]).arg(file));
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
}

#[test]
fn top_goes_on_until_nobody_reads() {
    let seen = Seen::configured("upstream = []\n[local]\nenabled = true\n");
    let mut top = command()
        .args(["top", "--json", "--socket"])
        .arg(seen.socket())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(top.stdout.take().unwrap()).lines();
    let uptimes: Vec<f64> = (0..3)
        .map(|_| {
            let line = lines.next().unwrap().unwrap();
            serde_json::from_str::<Value>(&line).unwrap()["uptime"]
                .as_f64()
                .unwrap()
        })
        .collect();
    assert!(uptimes[2] - uptimes[0] >= 1.9, "{uptimes:?}");
    drop(lines);
    let status = wait_until("top ends", SOON, || top.try_wait().unwrap());
    assert!(status.success(), "{status}");
}

/// Each decision is published, and what is published is left to the next process: in a file here, so that all can be counted.
#[test]
fn who_only_looks_costs_no_decision() {
    const WINDOW: Duration = Duration::from_secs(4);
    let directory = TempDir::new();
    let left = directory.file("reference", "");
    std::fs::set_permissions(&left, std::fs::Permissions::from_mode(0o600)).unwrap();
    let script = format!(
        "exec 3<>'{}'; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=reference; exec \"$@\"",
        left.display()
    );
    let (server, path) = (v4(free_port()), directory.path().display());
    let text = format!(
        "{LOCAL}[control]\nsocket = \"{path}/control\"\n\
         [metrics]\nlisten = \"unix:{path}/metrics\"\n[[listener]]\naddress = \"{server}\"\n"
    );
    let _daemon = Daemon::configured_by(&["sh", "-c", &script, "sh"], &text).answering(server);
    let exchange = |socket: &str, request: &str| exchange(&directory.path().join(socket), request);
    let decisions = |look: &dyn Fn(usize)| {
        let (start, mut seen) = (Instant::now(), HashSet::new());
        for time in 0.. {
            if start.elapsed() > WINDOW {
                break;
            }
            look(time);
            // Empty while it is written.
            seen.extend(std::fs::read(&left).ok().filter(|bytes| !bytes.is_empty()));
        }
        seen.len()
    };
    let at_most = usize::try_from(WINDOW.as_secs()).unwrap() + 2;
    let idle = decisions(&|_| std::thread::sleep(Duration::from_millis(1)));
    // One a second there is: else nothing would be counted here.
    assert!((at_most - 3..=at_most).contains(&idle), "{idle}");
    let screen = ScreenWanted {
        width: 80,
        workers: true,
        order: RowOrder::Worst,
    };
    let requests = [
        ControlRequest::Status,
        ControlRequest::Upstreams,
        ControlRequest::Screen(screen),
        ControlRequest::Clients(CensusWanted::first(100)),
        ControlRequest::Health(HealthCriteria::default()),
    ];
    let mut requests: Vec<String> = requests
        .into_iter()
        .map(|one| write_request(one).unwrap())
        .collect();
    requests.push("nonsense".to_owned());
    let asked = decisions(&|time| {
        let answer = exchange("control", &requests[time % requests.len()]);
        let answered = [
            "\"report\":",
            "\"clients\":",
            "\"screen\":",
            "\"health\":",
            "does not know such requests",
        ];
        assert!(answered.iter().any(|word| answer.contains(word)), "{answer}");
    });
    let scraped = decisions(&|_| {
        let page = exchange("metrics", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(page.contains("ntpfront_stratum"), "{page}");
    });
    assert!(
        asked <= at_most && scraped <= at_most,
        "{idle} idle, {asked} asked, {scraped} scraped"
    );
}

/// What the server behind a socket says to `request`, which ends where the client says so; or, over HTTP, by itself.
fn exchange(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    // It may have heard enough before the end.
    let sent = stream.write_all(request.as_bytes());
    if !request.starts_with("GET") && sent.is_ok() {
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
    let mut answer = String::new();
    match BufReader::new(stream).read_to_string(&mut answer) {
        Ok(_) => answer,
        Err(_) if sent.is_err() => answer,
        Err(error) => panic!("{error}: {answer}"),
    }
}

/// A program of the time before the protocol had a version, and one of a later time, ask this server.
#[test]
fn clients_of_other_versions_are_told_so() {
    let seen = Seen::configured("upstream = []\n[local]\nenabled = true\nwait = 0\n");
    let socket = seen.socket();
    for request in ["status json", "health 0.5", "check /etc/a.toml\n[clock]\n", ""] {
        let answer: Value = serde_json::from_str(&exchange(&socket, request)).unwrap();
        assert_eq!((&answer["out"], &answer["status"]), (&"".into(), &2.into()));
        let said = answer["err"].as_str().unwrap();
        assert!(said.ends_with("use the program of its version\n"), "{said}");
    }
    let newer = exchange(
        &socket,
        "{\"protocol\":9,\"program\":\"9.9\",\"request\":{\"history\":{}}}\n",
    );
    let answer: Value = serde_json::from_str(&newer).unwrap();
    assert_eq!(
        (&answer["protocol"], &answer["program"]),
        (&2.into(), &env!("CARGO_PKG_VERSION").into())
    );
    let failure = |request: &str| match read_answer(exchange(&socket, request).as_bytes()) {
        Ok(ControlAnswer::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    };
    let unknown = failure("{\"protocol\":2,\"program\":\"9.9\",\"request\":{\"history\":{}}}");
    assert!(matches!(unknown, ControlFailure::Unreadable(_)), "{unknown}");
    // More than a request may have is not even read.
    let long = " ".repeat(usize::try_from(LONGEST_REQUEST).unwrap() + 1);
    assert_eq!(failure(&long), ControlFailure::TooLong);
    assert_eq!(failure(&long.repeat(3)), ControlFailure::TooLong);
    seen.json("status");
}

/// This program asks a server of the time before the protocol had a version, one of a later time, and something else.
#[test]
fn servers_of_other_versions_are_called_so() {
    let directory = TempDir::new();
    let socket = directory.path().join("control");
    let listener = UnixListener::bind(&socket).unwrap();
    for (answer, expected) in [
        (
            "{\"out\":\"\",\"err\":\"the running server does not know the request\\n\",\"status\":2}",
            "is older than this program",
        ),
        (
            "{\"protocol\":9,\"program\":\"9.9\\u001b\",\"answer\":{\"page\":[]}}\n",
            "the running server is ntpfront 9.9\\u{1b} (control protocol 9)",
        ),
        (
            "{\"protocol\":2,\"program\":\"0.1.0\",\"answer\":{\"page\":[]}}\n",
            "unexpected reply",
        ),
        ("HTTP/1.1 400 Bad Request\r\n", "or not ntpfront"),
        ("", "closed the connection without an answer"),
    ] {
        for (word, status) in [("status", 1), ("health", 2), ("top", 1)] {
            let outcome = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let (mut client, _) = listener.accept().unwrap();
                    client.read_to_end(&mut Vec::new()).unwrap();
                    client.write_all(answer.as_bytes()).unwrap();
                });
                said(&[word], &socket)
            });
            assert_eq!(
                (outcome.status, outcome.stdout.as_str()),
                (Some(status), ""),
                "{}",
                outcome.said()
            );
            let begin = format!(
                "ntpfront {word}: cannot query the running server: {}: ",
                socket.display()
            );
            assert!(outcome.stderr.starts_with(&begin), "{}", outcome.said());
            assert!(
                outcome.stderr.contains(expected),
                "{expected}: {}",
                outcome.said()
            );
        }
    }
}

/// A check of long lists takes longer than a status may take: the client waits for it.
#[test]
fn a_check_that_takes_long_is_waited_for() {
    let directory = TempDir::new();
    let socket = directory.path().join("control");
    let listener = UnixListener::bind(&socket).unwrap();
    let check = ControlRequest::Check {
        path: String::new(),
        text: String::new(),
        drop_ins: Vec::new(),
    };
    let status = ControlRequest::Status;
    let long = status.client_timeout() + Duration::from_millis(300);
    assert!(long < check.answer_timeout(), "a server may take so long for it");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // One after the other, so that both wait as long.
            let clients = [(); 2].map(|()| listener.accept().unwrap().0);
            std::thread::sleep(long);
            for mut client in clients {
                client.read_to_end(&mut Vec::new()).unwrap();
                let _gone = client
                    .write_all(write_answer(ControlAnswer::Failed(ControlFailure::CensusOff)).as_bytes());
            }
        });
        let hasty = scope.spawn(|| send_request(&socket, status));
        let said = send_request(&socket, check).unwrap_err();
        assert!(
            matches!(said, RequestError::Failed(ControlFailure::CensusOff)),
            "{said}"
        );
        let said = hasty.join().unwrap().unwrap_err().to_string();
        assert!(said.contains("no answer within 5 s"), "{said}");
    });
}
