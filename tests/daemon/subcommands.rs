//! Proves the subcommands and their exit statuses: `check`, `config` and `query`, and that the help is all there.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ntpfront::time::{NtpDuration, NtpShort};

use crate::common::client::{v4, v6};
use crate::common::daemon::{Daemon, ntpfront};
use crate::common::port::free_port;
use crate::common::scripted::{Scripted, good};
use crate::common::{SOON, TempDir, wait_until};

#[test]
fn help_and_version() {
    let help = ntpfront(&["--help"]);
    assert_eq!(help.status, Some(0));
    for word in [
        "--ipv4-workers",
        "--ipv6-workers",
        "--ipv4-address",
        "--ipv6-address",
        "--upstream",
        "--user",
        "--chroot",
        "--debug",
        "--config",
        "check",
        "config",
        "query",
        "clients",
    ] {
        assert!(help.stdout.contains(word), "{word}: {}", help.stdout);
    }
    assert_eq!(ntpfront(&["-h"]).status, Some(0));
    assert_eq!(ntpfront(&["help"]).stdout, help.stdout);
    let of_query = ntpfront(&["help", "query"]);
    assert_eq!(of_query.status, Some(0));
    assert_eq!(of_query.stdout, ntpfront(&["query", "--help"]).stdout);
    assert!(of_query.stdout.contains("--interleaved"), "{}", of_query.said());
    for arguments in [["--version"], ["version"]] {
        let version = ntpfront(&arguments);
        let line = format!("ntpfront {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!((version.status, version.stdout), (Some(0), line));
    }
}

#[test]
fn check_tells_all_faults_and_its_status() {
    let directory = TempDir::new();
    let good = directory.file("good.toml", "[[listener]]\naddress = \"127.0.0.1:12399\"\n");
    let good = good.to_string_lossy();
    let outcome = ntpfront(&["check", "-c", &good]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    assert!(outcome.stdout.contains("ok"), "{}", outcome.said());

    let text = "[[listener]]\naddress = \"127.0.0.1:0\"\nworkers = 0\n[clok]\n";
    let bad = directory.file("bad.toml", text);
    let bad = bad.to_string_lossy();
    for arguments in [
        &["check", "-c", &bad][..],
        &["check", &bad],
        &["-c", &bad, "check"],
        &["-c", &bad],
    ] {
        let outcome = ntpfront(arguments);
        assert_eq!(outcome.status, Some(2), "{arguments:?}: {}", outcome.said());
        for place in ["bad.toml:2:", "bad.toml:3:", "bad.toml:4:"] {
            assert!(outcome.stderr.contains(place), "{place}: {}", outcome.said());
        }
    }
}

#[test]
fn the_effective_configuration_loads_again() {
    let directory = TempDir::new();
    let file = directory.file("a.toml", "[[listener]]\naddress = \"127.0.0.1:12399\"\n");
    let outcome = ntpfront(&["config", "-c", &file.to_string_lossy(), "-s", "192.0.2.9"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    assert!(outcome.stdout.contains("192.0.2.9"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("flag -s"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("a.toml:2:"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("default"), "{}", outcome.stdout);
    let again = directory.file("b.toml", &outcome.stdout);
    let checked = ntpfront(&["check", "-c", &again.to_string_lossy()]);
    assert_eq!(checked.status, Some(0), "{}", checked.said());
}

#[test]
fn the_shipped_configurations_are_fine() {
    for name in ["ntpfront.toml", "try.toml"] {
        let file = format!("{}/config/{name}", env!("CARGO_MANIFEST_DIR"));
        let outcome = ntpfront(&["check", "-c", &file]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    }
}

#[test]
fn query_a_usable_server() {
    let upstream = Scripted::start(|ask| vec![good(ask).into()]);
    let server = upstream.address();
    let text = ntpfront(&["query", &server.to_string()]);
    assert_eq!(text.status, Some(0), "{}", text.said());
    for word in ["offset", "delay", "stratum", "leap"] {
        assert!(
            text.stdout.to_lowercase().contains(word),
            "{word}: {}",
            text.said()
        );
    }
    let said = queried(server, 0);
    for number in ["offset", "delay", "root_distance"] {
        let value = said[number]
            .as_f64()
            .unwrap_or_else(|| panic!("{number} in {said}"));
        assert!(value.abs() < 1.0, "{number} in {said}");
    }
    assert!(said["delay"].as_f64() >= Some(0.0), "{said}");
    assert!(said["root_distance"].as_f64() > Some(0.0), "{said}");
    assert_eq!(said["stratum"], 2, "{said}");
    assert!(said.get("leap").is_some(), "{said}");
    assert_eq!(
        said["reference_id"].as_str().map(str::to_uppercase).as_deref(),
        Some("C6336401"),
        "{said}"
    );
}

/// What `query --json` says, with this exit status.
fn queried(server: SocketAddr, status: i32) -> serde_json::Value {
    let outcome = ntpfront(&["query", "--json", &server.to_string()]);
    assert_eq!(outcome.status, Some(status), "{}", outcome.said());
    serde_json::from_str(outcome.stdout.trim()).unwrap_or_else(|_| panic!("no JSON: {}", outcome.said()))
}

#[test]
fn query_as_the_pool_does() {
    let upstream = Scripted::start(|ask| vec![good(ask).into()]);
    let text = ntpfront(&["query", "--pool", &upstream.address().to_string()]);
    assert_eq!(text.status, Some(0), "{}", text.said());
    assert!(
        text.stdout.contains("score in the end 20.0: handed out"),
        "{}",
        text.said()
    );
    let kissing = Scripted::start(|ask| {
        let mut reply = good(ask);
        reply.stratum = 0;
        reply.reference_id = ntpfront::wire::ReferenceId::from_bytes(*b"RATE");
        vec![reply.into()]
    });
    let outcome = ntpfront(&["query", "--pool", "--json", &kissing.address().to_string()]);
    assert_eq!(outcome.status, Some(1), "{}", outcome.said());
    let said: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        (said["step"].as_f64(), said["samples"].as_array().map(Vec::len)),
        (Some(-3.5), Some(3))
    );
    assert_eq!(said["handed_out"], false, "{said}");
}

#[test]
fn query_what_is_not_usable() {
    // Nobody there (the port is closed), somebody silent, and somebody who has no time.
    let closed = ntpfront(&["query", &v4(free_port()).to_string()]);
    assert_eq!(closed.status, Some(1), "{}", closed.said());
    let silent = Scripted::start(|_| Vec::new());
    let outcome = ntpfront(&["query", &silent.address().to_string()]);
    assert_eq!(outcome.status, Some(1), "{}", outcome.said());
    let without_time = Scripted::start(|ask| {
        let mut reply = good(ask);
        reply.leap = ntpfront::wire::Leap::Unsynchronized;
        reply.stratum = 0;
        vec![reply.into()]
    });
    queried(without_time.address(), 1);
    let forger = Scripted::start(|ask| {
        let mut reply = good(ask);
        reply.origin_timestamp = ntpfront::time::NtpTimestamp::ZERO;
        vec![reply.into()]
    });
    let outcome = ntpfront(&["query", &forger.address().to_string()]);
    assert_eq!(outcome.status, Some(1), "{}", outcome.said());
}

#[test]
fn query_of_several_servers_is_a_table() {
    let near = Scripted::start(|ask| vec![good(ask).into()]);
    let far = Scripted::start(|ask| {
        let mut reply = good(ask);
        reply.root_dispersion = NtpShort::from_duration(NtpDuration::from_seconds(0.25));
        vec![reply.into()]
    });
    let silent = Scripted::start(|_| Vec::new());
    let [near, far, silent] = [&near, &far, &silent].map(|one| one.address().to_string());
    let both = ntpfront(&["query", &far, &near]);
    assert_eq!(both.status, Some(0), "{}", both.said());
    let began = Instant::now();
    let arguments = ["query", "--timeout", "300ms", &silent, &far, "-4", &near];
    let outcome = ntpfront(&arguments);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(outcome.status, Some(1), "{}", outcome.said());
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let firsts: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(
        firsts,
        ["SERVER", &near, &far, &silent, "", "2"],
        "{}",
        outcome.said()
    );
    assert!(lines[1].ends_with(" yes"), "{}", outcome.said());
    assert!(lines[3].ends_with(" no"), "{}", outcome.said());
    assert!(lines[4].starts_with("      no answer"), "{}", outcome.said());
    assert_eq!(lines[5], "2 of 3 usable");
    let outcome = ntpfront(&[&arguments[..], &["--json"]].concat());
    let list: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let usable: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["usable"])
        .collect();
    assert_eq!(usable, [false, true, true], "{list}");
}

#[test]
fn query_keeps_to_a_family() {
    let upstream = Scripted::start(|ask| vec![good(ask).into()]);
    let server = upstream.address().to_string();
    assert_eq!(ntpfront(&["query", "-4", &server]).status, Some(0));
    let outcome = ntpfront(&["query", "-6", &server]);
    assert_eq!(outcome.status, Some(1), "{}", outcome.said());
    assert!(
        outcome.stdout.contains("it has no IPv6 address"),
        "{}",
        outcome.said()
    );
}

#[test]
fn query_without_sense() {
    for arguments in [&["query"][..], &["query", "127.0.0.1:notaport"], &["query", ""]] {
        let outcome = ntpfront(arguments);
        assert_eq!(outcome.status, Some(2), "{arguments:?}: {}", outcome.said());
    }
}

#[test]
fn query_our_own_daemon_over_both_families() {
    let upstream = Scripted::start(|ask| vec![good(ask).into()]);
    let port = free_port();
    let _daemon = Daemon::start(&[
        "-a",
        &v4(port).to_string(),
        "-b",
        &v6(port).to_string(),
        "-s",
        &upstream.address().to_string(),
    ])
    .answering(v4(port))
    .answering(v6(port));
    for server in [v4(port), v6(port)] {
        wait_until("a usable answer", SOON, || {
            let outcome = ntpfront(&["query", &server.to_string()]);
            (outcome.status == Some(0)).then_some(())
        });
    }
}
