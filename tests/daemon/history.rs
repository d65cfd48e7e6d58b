//! Proves the record of what was served: what the commands say of it while the server runs and afterwards, that a liar is
//! named, that a disk that fails harms nobody, and that without a directory there is the memory.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::client::{self, request, v4};
use crate::common::daemon::{Daemon, LOCAL, ntpfront};
use crate::common::port::free_port;
use crate::common::scripted::{Ask, Reply, Scripted, ahead, honest};
use crate::common::status::status;
use crate::common::{SOON, TempDir, wait_until};

/// A configuration with a listener, a control socket, and a record in a directory of its own.
struct Setting {
    directory: TempDir,
    address: SocketAddr,
    text: String,
}

impl Setting {
    fn new(upstreams: &str) -> Self {
        let (directory, address) = (TempDir::new(), v4(free_port()));
        let place = directory.path().display();
        let text = format!(
            "{upstreams}\n[control]\nsocket = \"{place}/control.sock\"\n[history]\ndirectory = \"{place}/history\"\n\
             [[listener]]\naddress = \"{address}\"\n"
        );
        Self {
            directory,
            address,
            text,
        }
    }

    fn start(&self) -> Daemon {
        Daemon::configured(&self.text).answering(self.address)
    }

    fn history(&self) -> PathBuf {
        self.directory.path().join("history")
    }

    fn control(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    /// Runs `ntpfront history` on the record.
    fn said(&self, arguments: &[&str]) -> (Option<i32>, String) {
        said(&self.history(), arguments)
    }
}

fn said(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let place = ["history", "--directory", directory.to_str().unwrap()];
    let outcome = ntpfront(&[&place[..], arguments].concat());
    (outcome.status, outcome.said())
}

/// The lines of the record of this kind.
fn lines(setting: &Setting, kind: &str) -> Vec<Value> {
    let (_, text) = setting.said(&["--json"]);
    let all = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    all.filter(|line| line["kind"] == kind).collect()
}

#[test]
fn what_was_served_is_known_while_it_runs_and_when_it_has_ended() {
    let setting = Setting::new(LOCAL);
    let mut daemon = setting.start();
    for _ in 0..20 {
        client::ask(setting.address, &request(4, 3));
    }
    // The first lines are written at once.
    wait_until("a record", SOON, || {
        (!lines(&setting, "start").is_empty()).then_some(())
    });
    assert_eq!(status(&setting.control())["history"]["fault"], Value::Null);
    std::thread::sleep(Duration::from_millis(2500));
    daemon.end_with(Signal::SIGTERM);
    let served = lines(&setting, "served");
    assert!(served.len() >= 3, "{served:?}");
    let answered: u64 = served.iter().map(|line| line["answered"].as_u64().unwrap()).sum();
    assert!((20..30).contains(&answered), "{answered}");
    assert_eq!(served.last().unwrap()["state"], "local");
    // A time, a time before, and a time after.
    let time = served[1]["time"].as_str().unwrap();
    let (found, text) = setting.said(&["--at", time]);
    assert_eq!(found, Some(0), "{text}");
    assert!(text.contains("local") && text.contains("true within"), "{text}");
    assert_eq!(setting.said(&["--at", "2026-01-01T00:00:00"]).0, Some(2));
    assert_eq!(setting.said(&["--at", "yesterday"]).0, Some(2));
    let (found, text) = setting.said(&["verify"]);
    assert!(
        found == Some(0) && text.contains("as it was written: 1 files"),
        "{text}"
    );
    let (_, events) = setting.said(&["--events"]);
    let of = |word: &str| events.lines().filter(|line| line.contains(word)).count();
    assert_eq!((of("started: ntpfront"), of("stopped")), (1, 1), "{events}");
    let (found, csv) = setting.said(&["--csv"]);
    assert!(
        found == Some(0) && csv.lines().filter(|line| line.contains(",local,")).count() == served.len(),
        "{csv}"
    );
    let (found, text) = setting.said(&[]);
    assert!(found == Some(0) && text.contains("local 100.0 %"), "{text}");
    for (flag, head) in [("--svg", b"<svg".as_slice()), ("--png", b"\x89PNG")] {
        let path = setting.directory.path().join("picture");
        assert_eq!(setting.said(&[flag, path.to_str().unwrap()]).0, Some(0));
        assert!(fs::read(&path).unwrap().starts_with(head));
    }
    let month = &time[..7];
    let place = setting.history();
    let report = [
        "report",
        "--month",
        month,
        "--limit",
        "0.001",
        "--directory",
        place.to_str().unwrap(),
    ];
    let outcome = ntpfront(&report);
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    // The host's clock as a last resort is served with half a second.
    assert!(
        outcome.stdout.contains("| over the limit | 1 times, "),
        "{}",
        outcome.stdout
    );
    assert!(outcome.stdout.contains("as it was written"), "{}", outcome.stdout);
}

#[test]
fn the_upstream_that_lied_is_named() {
    let liar = |ask: &Ask| vec![Reply::from(ahead(ask, 2.0))];
    let upstreams = [
        Scripted::start(honest),
        Scripted::start(honest),
        Scripted::start(liar),
    ];
    let text: String = upstreams
        .iter()
        .map(|one| {
            format!(
                "[[upstream]]\naddress = \"{}\"\nminpoll = 0\nmaxpoll = 0\n",
                one.address()
            )
        })
        .collect();
    let setting = Setting::new("[clock]\nsource = \"tracked\"\n");
    let setting = Setting {
        text: setting.text.clone() + &text,
        ..setting
    };
    let mut daemon = setting.start();
    let name = upstreams[2].address().to_string();
    wait_until("the liar is found", SOON, || {
        let upstreams = status(&setting.control())["upstreams"].clone();
        let all = upstreams.as_array().unwrap();
        let is_found = all
            .iter()
            .any(|one| one["name"] == name.as_str() && one["standing"] == "falseticker");
        is_found.then_some(())
    });
    std::thread::sleep(Duration::from_millis(2200));
    daemon.end_with(Signal::SIGTERM);
    let last = lines(&setting, "served").pop().unwrap();
    let (found, text) = setting.said(&["--at", last["time"].as_str().unwrap()]);
    assert_eq!(found, Some(0), "{text}");
    let line = text.lines().find(|line| line.starts_with(&name)).unwrap();
    assert!(
        line.contains("falseticker") && (line.contains(" +1.99") || line.contains(" +2.0")),
        "{text}"
    );
    let samples = lines(&setting, "sample");
    assert!(
        samples
            .iter()
            .filter(|line| line["upstream"] == name.as_str())
            .count()
            >= 2,
        "{samples:?}"
    );
}

#[test]
fn a_place_that_can_not_be_written_is_told_once_and_used_again_when_it_can() {
    let setting = Setting::new(LOCAL);
    let in_the_way = setting.directory.file("history", "in the way");
    let daemon = setting.start();
    let fault = || status(&setting.control())["history"]["fault"].clone();
    wait_until("the fault is shown", SOON, || (!fault().is_null()).then_some(()));
    let health = ntpfront(&["health", "--socket", setting.control().to_str().unwrap()]);
    assert_eq!(health.status, Some(0), "time is served: {}", health.said());
    assert!(
        health.stdout.contains("the history is not written"),
        "{}",
        health.said()
    );
    fs::remove_file(in_the_way).unwrap();
    let patience = Duration::from_secs(30);
    wait_until("it is written again", patience, || {
        fault().is_null().then_some(())
    });
    let log = daemon.log();
    let said = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    assert_eq!(
        (said("history: cannot write"), said("written to")),
        (1, 1),
        "{log}"
    );
    let gaps = lines(&setting, "gap");
    assert!(
        gaps.len() == 1 && gaps[0]["records"].as_u64().unwrap() > 0,
        "{gaps:?}"
    );
    client::header(setting.address);
}

#[test]
fn without_a_directory_the_memory_is_shown() {
    let (directory, address) = (TempDir::new(), v4(free_port()));
    let socket = directory.path().join("control.sock");
    let text = format!(
        "{LOCAL}[control]\nsocket = \"{}\"\n[[listener]]\naddress = \"{address}\"\n",
        socket.display()
    );
    let daemon = Daemon::configured(&text).answering(address);
    let configuration = daemon.configuration();
    let ask = |more: &[&str]| ntpfront(&[&["history", "-c", configuration.to_str().unwrap()], more].concat());
    let outcome = wait_until("a record", SOON, || {
        let outcome = ask(&[]);
        outcome
            .stdout
            .contains("state        local 100.0 %")
            .then_some(outcome)
    });
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    let curves: Value = serde_json::from_str(&ask(&["--json", "--since", "1d"]).stdout).unwrap();
    assert_eq!(curves["step"], 300);
    for arguments in [&["verify"][..], &["--at", "12:00"], &["--csv"], &["--events"]] {
        let outcome = ask(arguments);
        assert_eq!(outcome.status, Some(2), "{}", outcome.said());
        assert!(
            outcome.stderr.contains("history.directory is not set"),
            "{}",
            outcome.said()
        );
    }
}

/// Asks for a path, and returns the whole response.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn the_page_is_there_if_it_is_turned_on() {
    for page in [true, false] {
        let (address, metrics) = (v4(free_port()), v4(free_port()));
        let text = format!(
            "{LOCAL}[metrics]\nlisten = \"{metrics}\"\npage = {page}\n[[listener]]\naddress = \"{address}\"\n"
        );
        let _daemon = Daemon::configured(&text).answering(address);
        let found = get(metrics, "/");
        if !page {
            assert!(found.starts_with("HTTP/1.1 404"), "{found}");
            continue;
        }
        assert!(found.starts_with("HTTP/1.1 200"), "{found}");
        for part in [
            "content-type: text/html; charset=utf-8",
            "content-security-policy: default-src 'none'; style-src 'sha256-",
            "Serving time \u{b1} 500ms, stratum 10, local",
            "<figure id=\"c-month\"",
        ] {
            assert!(found.contains(part), "{part}\n{found}");
        }
        let body = |path: &str| get(metrics, path).split_once("\r\n\r\n").unwrap().1.to_owned();
        let status: Value = serde_json::from_str(&body("/status.json")).unwrap();
        assert_eq!(status["state"], "local");
        let curves = wait_until("a point", SOON, || {
            let curves: Value = serde_json::from_str(&body("/history.json?since=60")).unwrap();
            (curves["points"][0]["records"] == 1).then_some(curves)
        });
        assert_eq!(curves["step"], 1);
        assert!(get(metrics, "/history.json?since=0").starts_with("HTTP/1.1 400"));
        assert!(get(metrics, "/metrics").contains("ntpfront_uptime_seconds"));
    }
}
