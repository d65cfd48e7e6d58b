//! Proves drop-ins, upstreams that other programs name, and the environment, with the real program.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::common::client::v4;
use crate::common::daemon::{Daemon, Reload, ntpfront};
use crate::common::port::free_port;
use crate::common::program::command;
use crate::common::status::status;
use crate::common::{TempDir, root, run};

/// A directory with a configuration, of which `conf.d` and `sources.d` are there.
fn directory(text: &str) -> TempDir {
    let directory = TempDir::new();
    let path = directory.path();
    fs::create_dir(path.join("conf.d")).unwrap();
    fs::create_dir(path.join("sources.d")).unwrap();
    let socket = path.join("control").display().to_string();
    let sources = path.join("sources.d").display().to_string();
    directory.file(
        "ntpfront.toml",
        format!("[control]\nsocket = \"{socket}\"\n[sources]\ndirectories = [\"{sources}\"]\n{text}"),
    );
    directory
}

fn names(status: &Value) -> Vec<String> {
    let upstreams = status["upstreams"].as_array().unwrap();
    let name = |one: &Value| one["name"].as_str().unwrap().to_owned();
    upstreams.iter().map(name).collect()
}

/// The configuration of `directory`, served by a process as it is installed: sandboxed, and with another root if it may.
fn serve(directory: &TempDir) -> Daemon {
    let empty = directory.path().join("empty");
    fs::create_dir_all(&empty).unwrap();
    let text = fs::read_to_string(directory.path().join("ntpfront.toml")).unwrap();
    let chroot = if root() {
        format!("[process]\nchroot = \"{}\"\n", empty.display())
    } else {
        String::new()
    };
    fs::write(directory.path().join("ntpfront.toml"), format!("{text}{chroot}")).unwrap();
    let file = directory.path().join("ntpfront.toml");
    Daemon::start(&["-c", file.to_str().unwrap()])
}

#[test]
fn a_reload_sees_drop_ins_that_come_change_and_go() {
    let (first, second) = (v4(free_port()), v4(free_port()));
    let base = v4(free_port());
    let directory = directory(&format!("[[listener]]\naddress = \"{base}\"\n"));
    let drop_in = |name: &str| directory.path().join("conf.d").join(name);
    let listener = |address| format!("[[listener]]\naddress = \"{address}\"\n");
    fs::write(drop_in("10-first.toml"), listener(first)).unwrap();
    let daemon = serve(&directory).answering(first);
    // One that comes, one of another name, one that is replaced by another file, a link to a file elsewhere.
    fs::write(drop_in("20-second.toml"), listener(second)).unwrap();
    fs::write(drop_in("20-second.toml~"), "nonsense").unwrap();
    fs::write(drop_in(".30-hidden.toml"), "nonsense").unwrap();
    assert_eq!(daemon.hang_up(), Reload::Done);
    let daemon = daemon.answering(second);
    fs::write(drop_in("new"), "[clock]\nmin-sources = 1\n").unwrap();
    fs::rename(drop_in("new"), drop_in("20-second.toml")).unwrap();
    assert_eq!(daemon.hang_up(), Reload::Done);
    let socket = directory.path().join("control");
    assert_eq!(status(&socket)["listeners"].as_array().unwrap().len(), 2);
    // A key of two files changes nothing, and both places are told; so does a check against the running server.
    fs::write(drop_in("30-more.toml"), "[clock]\nmin-sources = 1\n").unwrap();
    assert_eq!(daemon.hang_up(), Reload::Refused);
    let main = directory.path().join("ntpfront.toml");
    let check = || ntpfront(&["check", "--against-running", "-c", main.to_str().unwrap()]);
    let said = check().said();
    for text in [&said, &daemon.log()] {
        assert!(text.contains("30-more.toml:2:1: clock.min-sources"), "{text}");
        assert!(text.contains("20-second.toml:2:1: remove one of them"), "{text}");
    }
    fs::write(drop_in("30-more.toml"), listener(second)).unwrap();
    let said = check().said();
    assert!(said.contains("with 3 drop-ins: ok: 3 listeners"), "{said}");
    assert!(said.contains(&format!("listener {second}")), "{said}");
    let shown = ntpfront(&["config", "-c", main.to_str().unwrap()]).said();
    assert!(shown.contains("conf.d/30-more.toml:2:11"), "{shown}");
    // Those that are gone mean nothing any more.
    fs::remove_dir_all(directory.path().join("conf.d")).unwrap();
    assert_eq!(daemon.hang_up(), Reload::Done);
    assert_eq!(status(&socket)["listeners"].as_array().unwrap().len(), 1);
}

#[test]
fn what_other_programs_name_is_polled_and_their_errors_refuse_nothing() {
    let listen = v4(free_port());
    let directory = directory(&format!("[[listener]]\naddress = \"{listen}\"\n"));
    let sources = directory.path().join("sources.d");
    fs::write(sources.join("a.sources"), "server 127.0.0.9 port 1 iburst\n").unwrap();
    let daemon = serve(&directory).answering(listen);
    let socket = directory.path().join("control");
    assert_eq!(names(&status(&socket)), ["127.0.0.9:1"]);
    // A file in place of another one, one that comes, lines and files that can't be used.
    fs::write(
        sources.join("a.new"),
        "server 127.0.0.8 port 2\nserver 127.0.0.7 port x\n",
    )
    .unwrap();
    fs::rename(sources.join("a.new"), sources.join("a.sources")).unwrap();
    fs::write(sources.join("b.sources"), b"\xff\xfe\nserver [\n127.0.0.6:3\n").unwrap();
    symlink("/proc/kmsg", sources.join("c.sources")).unwrap();
    fs::create_dir(sources.join("d.sources")).unwrap();
    assert_eq!(daemon.hang_up(), Reload::Done);
    let shown = status(&socket);
    assert_eq!(names(&shown), ["127.0.0.8:2", "127.0.0.6:3"]);
    let left_out: Vec<&str> = shown["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for place in [
        "a.sources:2:1: port",
        "b.sources:1:1: ",
        "b.sources:2:1: ",
        "c.sources: ",
        "d.sources: is a directory",
    ] {
        assert!(
            left_out.iter().any(|one| one.contains(place)),
            "{place}: {left_out:#?}"
        );
        assert!(daemon.log().contains(place), "{place}: {}", daemon.log());
    }
    assert!(shown["advice"].to_string().contains("a.sources:2:1"), "{shown}");
    let main = directory.path().join("ntpfront.toml");
    let checked = ntpfront(&["check", "-c", main.to_str().unwrap()]);
    assert_eq!(checked.status, Some(0), "{}", checked.said());
    assert!(checked.said().contains("left out: "), "{}", checked.said());
    fs::remove_dir_all(&sources).unwrap();
    assert_eq!(daemon.hang_up(), Reload::Done);
    assert_eq!(names(&status(&socket)), ["127.0.0.1:11123"]);
}

#[test]
fn variables_stand_for_flags() {
    let outcome = run(command()
        .arg("config")
        .arg("-s")
        .arg("d.example")
        .env("NTPFRONT_LISTEN", "127.0.0.1:1123")
        .env("NTPFRONT_UPSTREAM", "a.example,b.example")
        .env("NTPFRONT_LOG_LEVEL", "warn"));
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    for expected in [
        "# environment NTPFRONT_LISTEN",
        "# environment NTPFRONT_LOG_LEVEL",
        "# flag -s",
    ] {
        assert!(
            outcome.stdout.contains(expected),
            "{expected}: {}",
            outcome.said()
        );
    }
    assert!(!outcome.stdout.contains("a.example"), "{}", outcome.said());
    let outcome = run(command().arg("check").env("NTPFRONT_CONFIG", "/nowhere/x.toml"));
    assert!(outcome.said().contains("/nowhere/x.toml"), "{}", outcome.said());
}

/// What the hook writes, as NetworkManager or dhclient run it.
fn hook(sources: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/doc/ntpfront-dhcp-hook");
    let outcome = run(Command::new("sh")
        .arg(script)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("NTPFRONT_SOURCES", sources)
        .envs(variables.iter().copied()));
    assert_eq!(
        (outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()),
        (Some(0), "", "")
    );
    let file = sources.join("dhcp-eth0.sources");
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_hook_takes_what_can_be_a_server_and_no_more() {
    let directory = TempDir::new();
    let sources = directory.path();
    let manager = |servers| {
        hook(
            sources,
            &["eth0", "dhcp4-change"],
            &[("DHCP4_NTP_SERVERS", servers)],
        )
    };
    assert_eq!(
        manager("192.0.2.1 2001:db8::1 ntp.example"),
        [
            "# From DHCP at eth0",
            "server 192.0.2.1",
            "server 2001:db8::1",
            "server ntp.example"
        ]
    );
    // No word of the network is run, is an option, or is a pattern.
    let hostile = "$(touch${IFS}x) `touch` ;reboot -x .. * /etc/* a;b a\u{7}b 198.51.100.1";
    assert_eq!(manager(hostile), ["# From DHCP at eth0", "server 198.51.100.1"]);
    let many: String = (1..100).map(|last| format!("192.0.2.{last} ")).collect();
    assert_eq!(manager(&many).len(), 1 + 8);
    let client = |reason, servers| {
        let variables = [
            ("reason", reason),
            ("interface", "eth0"),
            ("new_ntp_servers", servers),
        ];
        hook(sources, &[], &variables)
    };
    assert_eq!(
        client("BOUND", "192.0.2.7"),
        ["# From DHCP at eth0", "server 192.0.2.7"]
    );
    assert_eq!(
        client("PREINIT", "192.0.2.8").len(),
        2,
        "it says nothing of servers"
    );
    assert_eq!(client("EXPIRE", "192.0.2.7"), ["# From DHCP at eth0"]);
    assert_eq!(manager("192.0.2.1").len(), 2);
    assert_eq!(hook(sources, &["eth0", "down"], &[]).len(), 1);
    hook(sources, &["../eth1", "up"], &[("DHCP4_NTP_SERVERS", "192.0.2.1")]);
    assert_eq!(
        fs::read_dir(sources).unwrap().count(),
        1,
        "only the file of the interface"
    );
}
