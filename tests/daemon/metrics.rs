//! Proves what Prometheus and probes read over HTTP, and that readers can't harm who serves.

use std::collections::{BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::client::{self, ask, request, socket, v4};
use crate::common::daemon::{Daemon, LOCAL, Reload};
use crate::common::ke;
use crate::common::port::free_port;
use crate::common::program::command;
use crate::common::scripted::{Scripted, good};
use crate::common::{Outcome, SOON, TempDir, peer, run, wait_until};
use ntpfront::wire::Leap;

/// A server whose metrics are read on a TCP port.
struct Scraped {
    server: SocketAddr,
    http: SocketAddr,
    daemon: Daemon,
    text: String,
}

impl Scraped {
    /// `text`: all of the configuration but the listener and the metrics.
    fn configured(text: &str) -> Self {
        Self::at(text, v4(free_port()))
    }

    fn at(text: &str, http: SocketAddr) -> Self {
        let server = v4(free_port());
        let text = format!(
            "{text}\n[metrics]\nlisten = \"{http}\"\n[[listener]]\naddress = \"{server}\"\nworkers = 2\n"
        );
        Self {
            server,
            http,
            daemon: Daemon::configured(&text).answering(server),
            text,
        }
    }

    /// Status and body.
    fn get(&self, path: &str) -> (u16, String) {
        exchange(TcpStream::connect(self.http).unwrap(), "GET", path)
    }

    fn page(&self) -> String {
        let (status, page) = self.get("/metrics");
        assert_eq!(status, 200, "{page}");
        page
    }

    /// Waits until a page has this line.
    fn shows(&self, line: &str) -> String {
        wait_until(line, SOON, || {
            Some(self.page()).filter(|page| page.lines().any(|is| is == line))
        })
    }
}

fn exchange(mut stream: impl Read + Write, method: &str, path: &str) -> (u16, String) {
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{answer}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{answer}")), body.to_owned())
}

/// The numbers of all lines that begin so.
fn values(page: &str, start: &str) -> Vec<f64> {
    let lines = page.lines().filter(|line| line.starts_with(start));
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect()
}

fn promtool(arguments: &[&str], input: &str) {
    let Some(promtool) = peer("promtool", "promtool") else {
        return;
    };
    let directory = TempDir::new();
    let input = std::fs::File::open(directory.file("input", input)).unwrap();
    let output = Command::new(promtool)
        .args(arguments)
        .stdin(Stdio::from(input))
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
}

#[test]
fn the_page_tells_what_happened_and_promtool_is_content() {
    let upstream = Scripted::start(|ask| vec![good(ask).into()]);
    let silent = Scripted::start(|_| Vec::new());
    let table = |address| format!("[[upstream]]\naddress = \"{address}\"\nminpoll = 0\nmaxpoll = 0\n");
    let scraped = Scraped::configured(&(table(upstream.address()) + &table(silent.address())));
    scraped.shows("ntpfront_state{state=\"synchronized\"} 1");
    let before: f64 = values(&scraped.page(), "ntpfront_packets_by_version_total")
        .iter()
        .sum();
    let from = socket(v4(0));
    for _ in 0..10 {
        client::exchange(&from, scraped.server, &request(2, 3), SOON).expect("an answer");
    }
    let listener = format!("listener=\"{}\",family=\"ipv4\"", scraped.server);
    let page = scraped.shows(&format!(
        "ntpfront_packets_by_version_total{{{listener},version=\"2\"}} 10"
    ));
    let by = |name: &str| -> f64 { values(&page, name).iter().sum() };
    let all = by("ntpfront_packets_total");
    assert!((all - before - 10.0).abs() < 0.5, "{page}");
    for name in [
        "ntpfront_packets_by_mode_total",
        "ntpfront_worker_packets_total",
        "ntpfront_response_time_seconds_count",
    ] {
        assert!((by(name) - all).abs() < 0.5, "{name}: {page}");
    }
    let offset = format!(
        "ntpfront_upstream_offset_seconds{{upstream=\"{}\"}}",
        upstream.address()
    );
    assert!(values(&page, &offset)[0].abs() < 1.0, "{page}");
    promtool(&["check", "metrics"], &page);

    assert_eq!(scraped.daemon.reload("nonsense"), Reload::Refused);
    let page = scraped.shows("ntpfront_last_reload_refused 1");
    assert!(
        page.contains("ntpfront_reloads_total{result=\"refused\"} 1"),
        "{page}"
    );
}

/// What stands in a board or a rule must be on the page: else it would be empty, or never fire.
#[test]
fn boards_and_alerts_name_what_is_there() {
    let upstream = Scripted::start(|ask| vec![good(ask).into()]);
    let directory = TempDir::new();
    ke::install(&directory, "time");
    let text = format!(
        "{}[budget]\nmode = \"dry-run\"\npackets-per-second = 1e6\n\
         [[upstream]]\naddress = \"{}\"\nminpoll = 0\nmaxpoll = 0\n\
         [[upstream]]\naddress = \"127.0.0.1:1\"\nnoselect = true\nnts = true\nca = \"{}\"\n",
        ke::section(&directory, v4(free_port())),
        upstream.address(),
        concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/common/upstream_certificates/root.pem"
        )
    );
    let scraped = Scraped::configured(&text);
    let page = scraped.shows("ntpfront_usable 1");
    let mut known: BTreeSet<&str> = page.lines().filter_map(metric).collect();
    // It needs keys: tests/daemon/nts_upstreams.rs looks for it.
    known.insert("ntpfront_upstream_nts_certificate_not_after_seconds");
    for (file, least) in [
        ("grafana/ntpfront.json", 20),
        ("prometheus/ntpfront.rules.yml", 10),
    ] {
        let text = std::fs::read_to_string(shipped(file)).unwrap();
        let named: BTreeSet<&str> = text
            .match_indices("ntpfront_")
            .filter_map(|(at, _)| metric(&text[at..]))
            .collect();
        assert!(named.len() >= least, "{file}: {named:?}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}\n{page}");
    }
    let board = std::fs::read_to_string(shipped("grafana/ntpfront.json")).unwrap();
    let board: serde_json::Value = serde_json::from_str(&board).unwrap();
    assert!(
        board["panels"]
            .as_array()
            .unwrap()
            .iter()
            .all(|panel| panel["title"].is_string())
    );
}

/// The name at the start of a text.
fn metric(text: &str) -> Option<&str> {
    let end = text
        .find(|c: char| c != '_' && !c.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    text.starts_with("ntpfront_").then(|| &text[..end])
}

fn shipped(file: &str) -> String {
    format!("{}/packaging/{file}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_alerts_are_sound_and_fire_when_they_should() {
    promtool(&["check", "rules", &shipped("prometheus/ntpfront.rules.yml")], "");
    promtool(
        &["test", "rules", &shipped("prometheus/ntpfront.rules.test.yml")],
        "",
    );
}

#[test]
fn probes_are_told_alive_and_ready() {
    let scraped = Scraped::configured(LOCAL);
    wait_until("ready", SOON, || (scraped.get("/readyz").0 == 200).then_some(()));
    assert_eq!(scraped.get("/healthz").0, 200);
    assert_eq!(scraped.get("/readyz?max-distance=2").0, 200);
    let (status, why) = scraped.get("/readyz?max-distance=0.1");
    assert_eq!(status, 503);
    assert!(why.contains("over the limit"), "{why}");
    assert_eq!(scraped.get("/readyz?what").0, 400);
    assert_eq!(scraped.get("/").0, 404);
    let post = exchange(TcpStream::connect(scraped.http).unwrap(), "POST", "/metrics");
    assert_eq!(post.0, 405);

    let without_time = Scripted::start(|ask| {
        let mut reply = good(ask);
        (reply.leap, reply.stratum) = (Leap::Unsynchronized, 0);
        vec![reply.into()]
    });
    let scraped = Scraped::configured(&format!(
        "[[upstream]]\naddress = \"{}\"\n",
        without_time.address()
    ));
    assert_eq!((scraped.get("/readyz").0, scraped.get("/healthz").0), (503, 200));
}

/// A hundred who never ask, and a hundred who ask and never read: clients and an honest reader notice nothing.
#[test]
fn slow_readers_harm_nobody() {
    let scraped = Scraped::configured(LOCAL);
    let mut idle = Vec::new();
    for index in 0..200 {
        let mut stream = TcpStream::connect(scraped.http).unwrap();
        if index % 2 == 0 {
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                .unwrap();
        }
        idle.push(stream);
        if index % 10 == 0 {
            ask(scraped.server, &request(4, 3)).expect("an answer");
        }
    }
    for _ in 0..20 {
        ask(scraped.server, &request(4, 3)).expect("an answer");
        assert!(scraped.page().contains("ntpfront_build_info"));
    }
    // Few are kept, however many came.
    wait_until("most are sent away", SOON, || {
        (scraped.daemon.count("fd") < 100).then_some(())
    });
    drop(idle);
}

#[test]
fn a_unix_socket_does_as_well() {
    let directory = TempDir::new();
    let path = directory.path().join("metrics.sock");
    let server = v4(free_port());
    let text = format!(
        "{LOCAL}[metrics]\nlisten = \"unix:{}\"\n[[listener]]\naddress = \"{server}\"\n",
        path.display()
    );
    let _daemon = Daemon::configured(&text).answering(server);
    let (status, page) = exchange(UnixStream::connect(&path).unwrap(), "GET", "/metrics");
    assert_eq!(status, 200);
    assert!(page.contains("ntpfront_uptime_seconds"), "{page}");
}

/// Time is served all the same, and the address is tried again, behind all the locks of the process.
#[test]
fn an_address_in_use_is_an_error_in_the_log_and_no_more() {
    let occupant = TcpListener::bind("127.0.0.1:0").unwrap();
    let scraped = Scraped::at(LOCAL, occupant.local_addr().unwrap());
    let log = scraped.daemon.log();
    assert!(log.contains("ERROR metrics are unavailable"), "{log}");
    drop(occupant);
    wait_until("the metrics are there", SOON, || {
        let mut stream = TcpStream::connect(scraped.http).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        write!(stream, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.contains("alive").then_some(())
    });
}

#[test]
fn another_address_needs_a_restart() {
    let scraped = Scraped::configured(LOCAL);
    let moved = scraped.text.replace(&scraped.http.to_string(), "127.0.0.1:9");
    assert_eq!(scraped.daemon.reload(&moved), Reload::Done);
    assert!(scraped.daemon.log().contains("metrics.listen: only a restart"));
    assert!(
        scraped
            .page()
            .contains("ntpfront_reloads_total{result=\"done\"} 1")
    );
}

#[test]
fn a_listen_address_without_sense_is_refused() {
    for address in ["9923", "127.0.0.1:0", "unix:relative", "localhost:9923"] {
        let directory = TempDir::new();
        let file = directory.file("a.toml", format!("[metrics]\nlisten = \"{address}\"\n"));
        let outcome = check(&file);
        assert_eq!(outcome.status, Some(2), "{address}: {}", outcome.said());
        assert!(outcome.stderr.contains("metrics.listen"), "{}", outcome.said());
    }
}

fn check(file: &Path) -> Outcome {
    run(command().args(["check", "-c"]).arg(file))
}

/// Somebody opens a thousand connections a second and never asks; an honest client needs 20 ms for its request.
#[test]
fn a_flood_of_connections_keeps_nobody_out() {
    let scraped = Scraped::configured(LOCAL);
    let http = scraped.http;
    let flooding = Arc::new(AtomicBool::new(true));
    let goes_on = Arc::clone(&flooding);
    let flood = std::thread::spawn(move || {
        let (start, mut kept, mut opened) = (Instant::now(), VecDeque::new(), 0_u32);
        while goes_on.load(Ordering::Relaxed) {
            while f64::from(opened) < start.elapsed().as_secs_f64() * 1000.0 {
                kept.extend(TcpStream::connect_timeout(&http, Duration::from_secs(1)));
                opened += 1;
                if kept.len() > 500 {
                    kept.pop_front();
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        opened
    });
    for path in ["/healthz", "/readyz", "/metrics"].iter().cycle().take(30) {
        let mut stream = TcpStream::connect(http).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        ask(scraped.server, &request(4, 3)).expect("an answer");
    }
    flooding.store(false, Ordering::Relaxed);
    assert!(flood.join().unwrap() > 500);
}
