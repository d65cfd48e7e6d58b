//! Proves the files of packaging/kubernetes: they keep to the schema of Kubernetes, strictly, and their probes, as they are written,
//! find the program well while somebody else opens a thousand connections a second.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::daemon::Daemon;
use crate::common::network::in_own_network;
use crate::common::{Outcome, TempDir, peer, root, run, wait_until};
use crate::machine;

const FILES: [&str; 2] = ["deployment.yaml", "host-network.yaml"];
/// The oldest that is still cared for when this was written, and newer ones.
const VERSIONS: [&str; 2] = ["1.31", "1.34"];

/// Where the validator is, with all that it needs.
fn validator() -> Option<PathBuf> {
    peer("kubernetes-validate", "kubernetes-validate")
}

fn python(validator: &Path) -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", validator);
    command
}

fn path_of(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging/kubernetes")
        .join(file)
}

fn validated(validator: &Path, version: &str, file: &Path) -> Outcome {
    let mut command = python(validator);
    run(command
        .args(["-m", "kubernetes_validate", "--strict", "-k", version])
        .arg(file))
}

#[test]
fn the_files_keep_to_the_schema() {
    let _machine = machine::shared();
    let Some(validator) = validator() else { return };
    for file in FILES {
        for version in VERSIONS {
            let outcome = validated(&validator, version, &path_of(file));
            assert_eq!(outcome.status, Some(0), "{file} {version}: {}", outcome.said());
        }
        // It sees what is wrong.
        let text = std::fs::read_to_string(path_of(file)).unwrap();
        let directory = TempDir::new();
        for (good, bad) in [
            ("failureThreshold", "failureTreshold"),
            ("periodSeconds: 10", "periodSeconds: ten"),
        ] {
            let spoilt = directory.file("spoilt.yaml", text.replace(good, bad));
            let outcome = validated(&validator, VERSIONS[0], &spoilt);
            assert_ne!(outcome.status, Some(0), "{file} {bad}");
        }
    }
}

/// One probe of a container.
#[derive(Debug)]
struct Probe {
    server: SocketAddr,
    path: String,
    timeout: Duration,
    /// So many in a row have consequences.
    threshold: u64,
}

impl Probe {
    fn of(container: &Value, which: &str) -> Self {
        let probe = &container[which];
        let asked = &probe["httpGet"];
        let named = |port: &Value| port["name"] == asked["port"];
        let ports = container["ports"].as_array().unwrap();
        let port = asked["port"].as_u64();
        let port = port.or_else(|| ports.iter().find(|port| named(port))?["containerPort"].as_u64());
        // A pod is asked at its own address.
        let host: IpAddr = asked["host"].as_str().unwrap_or("127.0.0.1").parse().unwrap();
        Self {
            server: SocketAddr::from((host, u16::try_from(port.expect("a port")).unwrap())),
            path: asked["path"].as_str().unwrap().to_owned(),
            timeout: Duration::from_secs(probe["timeoutSeconds"].as_u64().unwrap_or(1)),
            threshold: probe["failureThreshold"].as_u64().unwrap_or(3),
        }
    }

    /// As the kubelet does it: the whole has to be done in time.
    fn succeeds(&self) -> bool {
        let end = Instant::now() + self.timeout;
        let asked = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&self.server, self.timeout)?;
            stream.set_read_timeout(Some(self.timeout))?;
            write!(
                stream,
                "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: kube-probe/1.31\r\nAccept: */*\r\nConnection: close\r\n\r\n",
                self.path, self.server
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = asked().unwrap_or_default();
        Instant::now() < end && (answer.starts_with("HTTP/1.1 2") || answer.starts_with("HTTP/1.1 3"))
    }
}

#[test]
fn the_probes_survive_a_flood_of_connections() {
    let Some(validator) = validator() else { return };
    if !root() {
        return;
    }
    let _machine = machine::alone();
    for file in FILES {
        let (text, probes) = read(&validator, file);
        in_own_network(|| {
            let _daemon = Daemon::configured(&text);
            for probe in &probes {
                wait_until("the probe's first success", Duration::from_secs(10), || {
                    probe.succeeds().then_some(())
                });
            }
            let flooding = AtomicBool::new(true);
            std::thread::scope(|scope| {
                let flood = scope.spawn(|| flood(probes[0].server, &flooding));
                for probe in &probes {
                    let (mut failed, mut in_a_row, mut longest) = (0, 0, 0);
                    for _ in 0..30 {
                        in_a_row = if probe.succeeds() { 0 } else { in_a_row + 1 };
                        failed += u64::from(in_a_row > 0);
                        longest = longest.max(in_a_row);
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    println!("{file} {}: {failed} of 30 failed", probe.path);
                    assert!(
                        longest < probe.threshold && failed <= 1,
                        "{file} {probe:?}: {failed} of 30 failed"
                    );
                }
                flooding.store(false, Ordering::Relaxed);
                assert!(flood.join().unwrap() > 1500);
            });
        });
    }
}

/// The configuration of a file, with the host's clock in the place of servers that nobody reaches here, and its probes.
fn read(validator: &Path, file: &str) -> (String, [Probe; 2]) {
    let script = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout)";
    let outcome = run(python(validator).args(["-c", script]).arg(path_of(file)));
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    let all: Vec<Value> = serde_json::from_str(&outcome.stdout).unwrap();
    let of_kind = |kinds: &[&str]| {
        let found = all
            .iter()
            .find(|one| kinds.iter().any(|kind| one["kind"] == *kind));
        found.unwrap_or_else(|| panic!("{file}: {kinds:?}")).clone()
    };
    let text = of_kind(&["ConfigMap"])["data"]["ntpfront.toml"]
        .as_str()
        .unwrap()
        .to_owned();
    let (rest, _servers) = text.split_once("[[upstream]]").unwrap();
    let rest = rest.replace("min-sources = 2", "");
    let text =
        format!("upstream = []\n{rest}\n[local]\nenabled = true\nwait = 0\n[control]\nsocket = \"\"\n");
    let workload = of_kind(&["Deployment", "DaemonSet"]);
    let container = &workload["spec"]["template"]["spec"]["containers"][0];
    (
        text,
        ["livenessProbe", "readinessProbe"].map(|which| Probe::of(container, which)),
    )
}

/// Opens a thousand connections a second, keeps some and asks nothing. How many?
fn flood(server: SocketAddr, goes_on: &AtomicBool) -> u32 {
    let (start, mut kept, mut opened) = (Instant::now(), VecDeque::new(), 0_u32);
    while goes_on.load(Ordering::Relaxed) {
        while f64::from(opened) < start.elapsed().as_secs_f64() * 1000.0 {
            kept.extend(TcpStream::connect_timeout(&server, Duration::from_secs(1)));
            opened += 1;
            if kept.len() > 500 {
                kept.pop_front();
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    opened
}
