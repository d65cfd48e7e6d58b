//! Proves what a reload changes and what it keeps, and how an operator learns of it beforehand and afterwards.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::sys::signal::Signal;
use ntpfront::wire::Leap;

use crate::common::client::{self, synchronized, v4};
use crate::common::daemon::{Daemon, LOCAL, Reload};
use crate::common::port::free_port;
use crate::common::program::command;
use crate::common::scripted::{Scripted, honest, silent};
use crate::common::status::status;
use crate::common::{Outcome, SOON, TempDir, root, run, wait_until};

/// A listener, a control socket, and upstreams that are asked as often as it may be, with further lines.
fn configuration(listener: std::net::SocketAddr, control: &Path, upstreams: &[(&Scripted, &str)]) -> String {
    let upstream = |(upstream, lines): &(&Scripted, &str)| {
        format!(
            "[[upstream]]\naddress = \"{}\"\nminpoll = 0\nmaxpoll = 0\n{lines}\n",
            upstream.address()
        )
    };
    let upstreams: String = upstreams.iter().map(upstream).collect();
    let control = control.display();
    format!("[control]\nsocket = \"{control}\"\n[[listener]]\naddress = \"{listener}\"\n{upstreams}")
}

#[test]
fn an_upstream_that_stays_keeps_its_samples_whatever_else_changes() {
    let (stays, goes, comes) = (
        Scripted::start(honest),
        Scripted::start(honest),
        Scripted::start(silent),
    );
    let directory = TempDir::new();
    let (server, control) = (v4(free_port()), directory.path().join("control"));
    let daemon =
        Daemon::configured(&configuration(server, &control, &[(&goes, ""), (&stays, "")])).answering(server);
    synchronized(server);
    wait_until("samples of both", SOON, || {
        (stays.asked() >= 4 && goes.asked() >= 4).then_some(())
    });
    // The one that stays says nothing from now on: what is announced can only be what was known.
    stays.turn_to(silent);
    let changed = configuration(server, &control, &[(&stays, "prefer = true"), (&comes, "")]);
    assert_eq!(daemon.reload(&changed), Reload::Done);
    assert_eq!(client::header(server).leap, Leap::NoWarning);
    let asked = goes.asked();
    wait_until("the new one is asked", SOON, || {
        (comes.asked() >= 3).then_some(())
    });
    assert!(goes.asked() <= asked + 1, "who is gone is asked no more");
    assert_eq!(client::header(server).leap, Leap::NoWarning);
    let log = daemon.log();
    for line in [
        format!("reload: upstream {}: removed", goes.address()),
        format!(
            "reload: upstream {}: other settings, its samples stay",
            stays.address()
        ),
        format!("reload: upstream {}: added", comes.address()),
    ] {
        assert!(log.contains(&line), "{line}");
    }
}

/// The server is another user in another root directory, and still sees its file.
#[test]
fn a_file_that_was_changed_and_not_reloaded_is_seen() {
    let (directory, cage) = (TempDir::new(), TempDir::new());
    let (server, control) = (v4(free_port()), directory.path().join("control"));
    let process = if root() {
        format!(
            "[process]\nuser = \"nobody\"\nchroot = \"{}\"\n",
            cage.path().display()
        )
    } else {
        String::new()
    };
    let configuration = |more: &str| {
        format!(
            "{LOCAL}{process}[control]\nsocket = \"{}\"\n[[listener]]\naddress = \"{server}\"\n{more}",
            control.display()
        )
    };
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let daemon = Daemon::configured(&configuration("")).answering(server);
    let changed_for = || status(&control)["reloads"]["file_changed_for"].as_f64();
    assert_eq!(changed_for(), None);
    let changed = configuration("workers = 2\n");
    daemon.write(&changed);
    wait_until("a look at the file", SOON, changed_for);
    let advice = status(&control)["advice"].to_string();
    assert!(advice.contains("\"about\":\"configuration\""), "{advice}");
    let line = "the configuration file has changed and is not in effect";
    assert_eq!(daemon.log().matches(line).count(), 1, "{}", daemon.log());
    assert_eq!(daemon.hang_up(), Reload::Done);
    assert_eq!(changed_for(), None);
}

#[test]
fn the_log_level_changes_at_once_and_flags_go_on_to_win() {
    let upstream = Scripted::start(honest);
    let directory = TempDir::new();
    let (server, control) = (v4(free_port()), directory.path().join("control"));
    let plain = configuration(server, &control, &[(&upstream, "")]);
    let daemon = Daemon::configured(&plain).answering(server);
    assert!(!daemon.log().contains("DEBUG"));
    assert_eq!(
        daemon.reload(&format!("[log]\nlevel = \"debug\"\n{plain}")),
        Reload::Done
    );
    wait_until("a debugging line", SOON, || {
        daemon.log().contains("DEBUG").then_some(())
    });
    assert_eq!(daemon.reload(&plain), Reload::Done);

    let file = directory.file("flags.toml", "[log]\nlevel = \"error\"\n");
    let other = v4(free_port()).to_string();
    let flags = ["-d", "-6", "0", "-a", &other, "-c", file.to_str().unwrap()];
    let flagged = Daemon::start(&flags).answering(other.parse().unwrap());
    std::fs::write(
        &file,
        "[log]\nlevel = \"error\"\n[clock]\nmin-sources = 1\n[[listener]]\naddress = \"127.0.0.1:1\"\n",
    )
    .unwrap();
    assert_eq!(flagged.hang_up(), Reload::Done);
    assert!(
        flagged.log().contains("reloaded: ") && flagged.log().contains(": 0 changes"),
        "{}",
        flagged.log()
    );
}

/// `ntpfront check --against-running -c FILE`.
/// Listeners and upstreams are displayed in the order of the file, which decides nothing else.
#[test]
fn a_reload_that_only_reorders_reorders_the_display() {
    let upstreams = [(); 3].map(|()| Scripted::start(honest));
    let directory = TempDir::new();
    let (server, other, control) = (v4(free_port()), v4(free_port()), directory.path().join("control"));
    let file = |turned: bool| {
        let mut named: Vec<_> = upstreams.iter().map(|one| (one, "")).collect();
        let mut servers = [server, other];
        if turned {
            named.rotate_left(1);
            servers.reverse();
        }
        let [first, second] = servers;
        configuration(first, &control, &named) + &format!("[[listener]]\naddress = \"{second}\"\n")
    };
    let daemon = Daemon::configured(&file(false)).answering(server);
    synchronized(server);
    let displayed = |list: &str| -> Vec<String> {
        let shown = run(command().args(["status", "--json", "--socket"]).arg(&control));
        let status: serde_json::Value =
            serde_json::from_str(&shown.stdout).unwrap_or_else(|_| panic!("{}", shown.said()));
        let entries = status[list].as_array().unwrap().iter();
        entries
            .map(|one| one["address"].as_str().unwrap().to_owned())
            .collect()
    };
    let before = ["upstreams", "listeners"].map(&displayed);
    assert_eq!((before[0].len(), before[1].len()), (3, 2));
    let asked = upstreams[0].asked();
    assert_eq!(daemon.reload(&file(true)), Reload::Done);
    let [mut upstreams_then, mut listeners_then] = before;
    upstreams_then.rotate_left(1);
    listeners_then.reverse();
    assert_eq!(
        ["upstreams", "listeners"].map(&displayed),
        [upstreams_then, listeners_then]
    );
    let log = daemon.log();
    for line in [
        "reload: upstreams: another order",
        "reload: listeners: another order",
        ": 2 changes",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    // Nothing was started anew: no burst of questions, and the time stays.
    assert_eq!(client::header(server).leap, Leap::NoWarning);
    assert!(
        upstreams[0].asked() <= asked + 2,
        "{asked} {}",
        upstreams[0].asked()
    );
}

fn against(file: &Path) -> Outcome {
    run(command().args(["check", "--against-running", "-c"]).arg(file))
}

#[test]
fn the_running_server_tells_what_a_file_would_change() {
    let upstream = Scripted::start(honest);
    let directory = TempDir::new();
    let (server, control) = (v4(free_port()), directory.path().join("control"));
    let plain = configuration(server, &control, &[(&upstream, "")]);
    let same = directory.file("same.toml", &plain);
    let nobody = against(&same);
    assert_eq!(nobody.status, Some(1), "{}", nobody.said());
    assert!(
        nobody.stderr.contains("there is no such socket"),
        "{}",
        nobody.said()
    );

    let daemon = Daemon::configured(&plain).answering(server);
    let unchanged = against(&same);
    assert_eq!(unchanged.status, Some(0), "{}", unchanged.said());
    assert!(
        unchanged.stdout.contains("a reload changes nothing"),
        "{}",
        unchanged.said()
    );
    let live = directory.file(
        "live.toml",
        plain.replace("[[listener]]", "[[listener]]\nworkers = 3"),
    );
    let change = against(&live);
    assert_eq!(change.status, Some(0), "{}", change.said());
    assert!(change.stdout.contains("workers 1 -> 3"), "{}", change.said());
    let restart = directory.file("restart.toml", format!("[process]\nuser = \"nobody\"\n{plain}"));
    let needs = against(&restart);
    assert_eq!(needs.status, Some(3), "{}", needs.said());
    let line = "process.user: only a restart changes it from not set to \"nobody\"";
    assert!(needs.stdout.contains(line), "{}", needs.said());
    let bad = directory.file("bad.toml", "[clock]\nmin-sources = 0\n");
    assert_eq!(against(&bad).status, Some(2));
    // Asking changed nothing, and a reload says the same in the log.
    assert_eq!(daemon.count("task"), 4, "supervisor, signals, log, one worker");
    assert_eq!(
        daemon.reload(&std::fs::read_to_string(&restart).unwrap()),
        Reload::Done
    );
    assert!(daemon.log().contains(line), "{}", daemon.log());
}

#[test]
fn ready_may_mean_synchronized() {
    let upstream = Scripted::start(silent);
    let directory = TempDir::new();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    let server = v4(free_port());
    let text = configuration(server, &directory.path().join("control"), &[(&upstream, "")]);
    let file = directory.file("c.toml", format!("[process]\nready = \"synchronized\"\n{text}"));
    let mut command = command();
    command.env("NOTIFY_SOCKET", &path).arg("-c").arg(file);
    let mut daemon = Daemon::spawn(command).answering(server);
    let mut told = String::new();
    let mut has_told = |word: &str| {
        let mut buffer = [0; 4096];
        while let Ok(length) = manager.recv(&mut buffer) {
            told += &String::from_utf8_lossy(&buffer[..length]);
        }
        told.lines().any(|line| line == word)
    };
    wait_until("it asks", SOON, || (upstream.asked() >= 2).then_some(()));
    assert!(!has_told("READY=1"));
    upstream.turn_to(honest);
    wait_until("ready", SOON, || has_told("READY=1").then_some(()));
    synchronized(server);
    assert_eq!(daemon.end_with(Signal::SIGTERM).0.code(), Some(0));
    assert!(has_told("STOPPING=1"));
}
