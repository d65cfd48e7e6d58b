//! Proves the commands that change the running server: `reload`, `drain`, `undrain`, `refresh`; which users may give them;
//! and `wait`.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;

use nix::sys::signal::Signal;
use ntpfront::wire::Leap;
use serde_json::Value;

use crate::common::client::{self, v4};
use crate::common::daemon::{Daemon, LOCAL, Reload};
use crate::common::port::free_port;
use crate::common::program::command;
use crate::common::scripted::{Scripted, honest, silent};
use crate::common::status::status;
use crate::common::{Outcome, SOON, TempDir, root, run, wait_until};

/// A server with two listeners that serve this host's clock, and a control socket.
struct Commanded {
    servers: [SocketAddr; 2],
    directory: TempDir,
    daemon: Daemon,
}

impl Commanded {
    fn start() -> Self {
        Self::configured("")
    }

    /// With more lines below `[control]`.
    fn configured(control: &str) -> Self {
        let (servers, directory) = ([v4(free_port()), v4(free_port())], TempDir::new());
        let daemon = Daemon::configured(&text(&directory, control, &servers, ""));
        let mut commanded = Self {
            servers,
            directory,
            daemon,
        };
        for server in servers {
            commanded.daemon = commanded.daemon.answering(server);
        }
        commanded
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("control")
    }

    /// The outcome of `ntpfront WORDS`.
    fn run(&self, words: &[&str]) -> Outcome {
        run(command().args(words).arg("--socket").arg(self.socket()))
    }

    fn write(&self, more: &str) {
        self.daemon.write(&text(&self.directory, "", &self.servers, more));
    }

    /// The leap indicators of both listeners.
    fn leaps(&self) -> [Leap; 2] {
        self.servers.map(|server| client::header(server).leap)
    }

    fn become_leaps(&self, leaps: [Leap; 2]) {
        wait_until(&format!("{leaps:?}"), SOON, || {
            (self.leaps() == leaps).then_some(())
        });
    }

    fn status(&self) -> Value {
        status(&self.socket())
    }
}

fn text(directory: &TempDir, control: &str, servers: &[SocketAddr], more: &str) -> String {
    let listeners = servers
        .iter()
        .map(|server| format!("[[listener]]\naddress = \"{server}\"\n"));
    format!(
        "{LOCAL}[control]\nsocket = \"{}/control\"\n{control}\n{more}\n{}",
        directory.path().display(),
        listeners.collect::<String>()
    )
}

const TIME: Leap = Leap::NoWarning;
const NO_TIME: Leap = Leap::Unsynchronized;

#[test]
fn reload_waits_and_says_what_changed_or_all_errors() {
    let server = Commanded::start();
    let same = server.run(&["reload"]);
    assert_eq!(same.status, Some(0), "{}", same.said());
    assert!(
        same.stdout.ends_with("ntpfront.toml: 0 changes\n"),
        "{}",
        same.said()
    );

    server.write("[log]\nlevel = \"debug\"\n[census]\nenabled = false\n");
    let changed = server.run(&["reload"]);
    assert_eq!(changed.status, Some(0), "{}", changed.said());
    let lines: Vec<&str> = changed.stdout.lines().collect();
    assert!(
        lines[0].starts_with("reloaded: ") && lines[0].ends_with(": 2 changes"),
        "{lines:?}"
    );
    assert_eq!(
        lines[1..],
        [
            "census.enabled: only a restart changes it from true to false",
            "log.level: debug"
        ]
    );
    // The same words as the log.
    wait_until("the lines in the log", SOON, || {
        let log = server.daemon.log();
        lines.iter().all(|line| log.contains(line)).then_some(())
    });

    server.write("[limit]\nclients = 1\n[clok]\n");
    let refused = server.run(&["reload"]);
    assert_eq!(refused.status, Some(1), "{}", refused.said());
    assert_eq!(refused.stdout, "");
    for part in [
        "ntpfront reload: configuration refused; the previous one stays in effect\n",
        "ntpfront.toml:9:11: limit.clients: found 1",
        "ntpfront.toml:10:2: clok",
    ] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.said());
    }
    let json: Value = serde_json::from_str(&server.run(&["reload", "--json"]).stdout).unwrap();
    assert_eq!(
        (&json["result"], json["details"].as_array().map(Vec::len)),
        (&"refused".into(), Some(2))
    );
    let status = server.status();
    assert_eq!(status["commands"], serde_json::json!({"done": 2, "refused": 2}));
    assert_eq!(status["reloads"]["refused"], 2);
    assert_eq!(server.leaps(), [TIME; 2]);
}

/// Each command gets the end of a reload that began after it came; a signal beside it is not lost.
#[test]
fn reloads_by_command_and_by_signal_are_not_mixed_up() {
    let server = Commanded::start();
    for round in 0..10 {
        let level = if round % 2 == 0 { "debug" } else { "info" };
        server.daemon.signal(Signal::SIGHUP);
        server.write(&format!("[log]\nlevel = \"{level}\"\n"));
        let asked: Vec<_> = (0..3)
            .map(|_| {
                let mut asked = command();
                asked.args(["reload", "--socket"]).arg(server.socket());
                asked.stdout(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        server.daemon.signal(Signal::SIGHUP);
        for one in asked {
            let output = one.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        // What was written before the commands is in effect after them.
        let same = server.run(&["reload"]);
        assert!(
            same.stdout.contains(": 0 changes"),
            "round {round}: {}",
            same.said()
        );
    }
    server.write("[clok]\n");
    server.daemon.signal(Signal::SIGHUP);
    assert_eq!(server.run(&["reload"]).status, Some(1));
    assert_eq!(*server.daemon.reloads().last().unwrap(), Reload::Refused);
}

#[test]
fn systemd_learns_of_a_reload_by_command_as_of_one_by_signal() {
    let directory = TempDir::new();
    let notify = directory.path().join("notify");
    let manager = UnixDatagram::bind(&notify).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let server = v4(free_port());
    let file = directory.file("a.toml", text(&directory, "", &[server], ""));
    let mut daemon = command();
    daemon.arg("-c").arg(&file).env("NOTIFY_SOCKET", &notify);
    let daemon = Daemon::spawn(daemon).answering(server);
    let heard = |word: &str| {
        wait_until(word, SOON, || {
            let mut message = [0; 4096];
            let length = manager.recv(&mut message).ok()?;
            let message = String::from_utf8_lossy(&message[..length]).into_owned();
            message.lines().any(|line| line == word).then_some(())
        });
    };
    heard("READY=1");
    let reloaded = run(command()
        .args(["reload", "--socket"])
        .arg(directory.path().join("control")));
    assert_eq!(reloaded.status, Some(0), "{}", reloaded.said());
    heard("RELOADING=1");
    heard("READY=1");
    drop(daemon);
}

#[test]
fn a_drain_is_loud_and_ends_by_command() {
    let server = Commanded::start();
    assert_eq!(server.leaps(), [TIME; 2]);
    let [one, other] = server.servers;
    let drained = server.run(&["drain", &one.to_string()]);
    assert_eq!(drained.status, Some(0), "{}", drained.said());
    assert_eq!(
        drained.stdout,
        format!("drained\n{one}: answers \"unsynchronized\"\n")
    );
    server.become_leaps([NO_TIME, TIME]);
    let drain = serde_json::json!({"by": "command", "begins_in": null, "ends_in": null});
    let status = server.status();
    assert_eq!(status["listeners"][0]["drain"], drain);
    assert_eq!(status["listeners"][1]["drain"], Value::Null);
    let shown = server.run(&["status"]).stdout;
    assert!(shown.contains("DRAINED by command"), "{shown}");
    wait_until("a warning", SOON, || {
        let log = server.daemon.log();
        log.contains(&format!("WARN listener {one} is drained"))
            .then_some(())
    });
    // A reload keeps it, whatever else changes there.
    server.write("[limit]\nmode = \"dry-run\"\n");
    let reloaded = server.run(&["reload"]);
    assert!(reloaded.stdout.contains("other policy"), "{}", reloaded.said());
    assert_eq!(server.leaps(), [NO_TIME, TIME]);

    let all = server.run(&["drain"]);
    assert_eq!(all.stdout.lines().count(), 3, "{}", all.said());
    server.become_leaps([NO_TIME; 2]);
    let one_ended = server.run(&["undrain", &other.to_string()]);
    assert_eq!(one_ended.status, Some(0), "{}", one_ended.said());
    server.become_leaps([NO_TIME, TIME]);
    assert_eq!(server.run(&["undrain"]).stdout.lines().count(), 2);
    server.become_leaps([TIME; 2]);
    let again: Value = serde_json::from_str(&server.run(&["undrain", "--json"]).stdout).unwrap();
    assert_eq!(again["result"], "unchanged", "{again}");
}

#[test]
fn a_drain_begins_later_and_ends_by_itself() {
    let server = Commanded::start();
    let drained = server.run(&["drain", "--after", "2", "--for", "2s"]);
    assert_eq!(drained.status, Some(0), "{}", drained.said());
    assert_eq!(server.leaps(), [TIME; 2]);
    let drain = &server.status()["listeners"][0]["drain"];
    assert!(drain["begins_in"].as_f64() > Some(0.0), "{drain}");
    assert!(drain["ends_in"].as_f64() > Some(2.0), "{drain}");
    assert_eq!(server.status()["listeners"][0]["announces_time"], true);
    let health = server.run(&["health"]);
    assert_eq!(health.status, Some(1), "{}", health.said());
    assert!(health.stdout.contains("to be drained: "), "{}", health.said());
    server.become_leaps([NO_TIME; 2]);
    server.become_leaps([TIME; 2]);
    assert_eq!(server.status()["listeners"][0]["drain"], Value::Null);
}

/// A new listener is drained with the others, and before its first answer.
#[test]
fn a_drain_of_all_is_one_of_listeners_to_come() {
    let server = Commanded::start();
    assert_eq!(server.run(&["drain"]).status, Some(0));
    server.become_leaps([NO_TIME; 2]);
    let new = v4(free_port());
    server.write(&format!("[[listener]]\naddress = \"{new}\"\n"));
    assert_eq!(server.run(&["reload"]).status, Some(0));
    assert_eq!(client::header(new).leap, NO_TIME);
    assert_eq!(server.run(&["undrain"]).status, Some(0));
    wait_until("the time", SOON, || {
        (client::header(new).leap == TIME).then_some(())
    });
}

#[test]
fn what_can_not_be_drained_is_named() {
    let server = Commanded::start();
    let [one, other] = server.servers;
    let unknown = server.run(&["drain", "127.0.0.9:123"]);
    assert_eq!(unknown.status, Some(1), "{}", unknown.said());
    assert_eq!(
        unknown.stderr,
        format!("ntpfront drain: there is no listener 127.0.0.9:123: there are {one}, {other}\n")
    );
    for words in [
        &["drain", "127.0.0.1"][..],
        &["drain", "x"],
        &["drain", "--for", "0"],
        &["drain", "--for", "1w"],
    ] {
        let outcome = server.run(words);
        assert_eq!(outcome.status, Some(2), "{words:?}: {}", outcome.said());
    }
    let absent = run(command().args(["drain", "--socket", "/nonexistent"]));
    assert_eq!(absent.status, Some(2), "{}", absent.said());
    assert_eq!(server.leaps(), [TIME; 2]);
}

/// A drain in the configuration is seen, too, and no command ends it.
#[test]
fn a_drain_of_the_configuration_is_shown() {
    let (server, directory) = (v4(free_port()), TempDir::new());
    let file = text(&directory, "", &[server], "") + "answer = \"unsynchronized\"\n";
    let _daemon = Daemon::configured(&file).answering(server);
    let control = directory.path().join("control");
    let run = |words: &[&str]| run(command().args(words).arg("--socket").arg(&control));
    let drain = &status(&control)["listeners"][0]["drain"];
    assert_eq!(drain["by"], "configuration");
    let drained = run(&["drain"]);
    assert!(
        drained
            .stdout
            .contains("drained by the configuration, too (listener.answer)"),
        "{}",
        drained.said()
    );
    let ended = run(&["undrain"]);
    assert!(
        ended
            .stdout
            .contains("still drained by the configuration (listener.answer)"),
        "{}",
        ended.said()
    );
    assert_eq!(client::header(server).leap, NO_TIME);
}

/// By default only root and the user of the server change it; the key says otherwise, live commands or none.
#[test]
fn commands_are_for_those_that_the_configuration_permits() {
    if !root() {
        return;
    }
    for (line, of_other, of_root) in [
        ("", 1, 0),
        ("commands = \"root\"", 1, 0),
        ("commands = \"group\"", 0, 0),
        ("commands = \"none\"", 1, 1),
    ] {
        let server = Commanded::configured(line);
        // The socket itself is open to all, as to a group.
        std::fs::set_permissions(server.socket(), PermissionsExt::from_mode(0o666)).unwrap();
        std::fs::set_permissions(server.directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let by_other = |words: &[&str]| {
            let mut asked = command();
            asked.args(words).arg("--socket").arg(server.socket());
            run(asked.uid(65_534).gid(65_534))
        };
        for word in ["reload", "drain", "undrain"] {
            let outcome = by_other(&[word]);
            assert_eq!(
                outcome.status,
                Some(of_other),
                "{line} {word}: {}",
                outcome.said()
            );
            if of_other == 1 {
                assert!(outcome.stderr.contains("control.commands"), "{}", outcome.said());
            }
            let outcome = server.run(&[word]);
            assert_eq!(outcome.status, Some(of_root), "{line} {word}: {}", outcome.said());
        }
        let asked = by_other(&["health"]);
        assert_eq!(asked.status, Some(0), "{}", asked.said());
        // What was logged first is in the log once this is.
        server.daemon.counters(2);
        let log = server.daemon.log();
        let refused = log
            .lines()
            .filter(|line| line.contains("command refused"))
            .count();
        assert_eq!(refused > 0, of_other == 1, "{log}");
        assert!(refused < 2, "one line a minute: {log}");
        assert_eq!(server.status()["reloads"]["done"], 2 - of_other - of_root);
    }
}

/// It is polled long before its interval is over, and once.
#[test]
fn a_refresh_polls_now_and_not_too_often() {
    let upstream = Scripted::start(honest);
    let (server, directory) = (v4(free_port()), TempDir::new());
    let control = directory.path().join("control");
    let file = format!(
        "[control]\nsocket = \"{}\"\n[[listener]]\naddress = \"{server}\"\n[[upstream]]\naddress = \"{}\"\niburst = false\nminpoll = 10\n",
        control.display(),
        upstream.address()
    );
    let file = file + "maxpoll = 10\n";
    let _daemon = Daemon::configured(&file).answering(server);
    wait_until("the first poll", SOON, || (upstream.asked() == 1).then_some(()));
    let run = |words: &[&str]| run(command().args(words).arg("--socket").arg(&control));
    let refreshed = run(&["refresh"]);
    assert_eq!(refreshed.status, Some(0), "{}", refreshed.said());
    let line = format!("upstream {}: polled now\n", upstream.address());
    assert_eq!(refreshed.stdout, format!("refreshed\n{line}"));
    wait_until("another poll", SOON, || (upstream.asked() == 2).then_some(()));
    let again = run(&["refresh"]);
    assert_eq!(again.status, Some(1), "{}", again.said());
    assert!(again.stderr.contains("try again in"), "{}", again.said());
    assert_eq!(upstream.asked(), 2);
}

/// Polled and counted while the command says so; a reload keeps it, and the file decides what is configured.
#[test]
fn upstreams_change_by_command_until_the_restart() {
    let [one, other] = [(); 2].map(|()| Scripted::start(honest));
    let (server, directory) = (v4(free_port()), TempDir::new());
    let control = directory.path().join("control");
    let configured = |upstreams: &[&Scripted]| {
        let table = |one: &&Scripted| {
            format!(
                "[[upstream]]\naddress = \"{}\"\nminpoll = 0\nmaxpoll = 0\n",
                one.address()
            )
        };
        let upstreams: String = upstreams.iter().map(table).collect();
        let control = control.display();
        format!("[control]\nsocket = \"{control}\"\n[[listener]]\naddress = \"{server}\"\n{upstreams}")
    };
    let daemon = Daemon::configured(&configured(&[&one])).answering(server);
    let run = |words: &[&str]| {
        let socket = control.to_str().unwrap();
        run(command().args(["upstream", "--socket", socket]).args(words))
    };
    let polled = || {
        let status = status(&control);
        let names = status["upstreams"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].clone());
        (names.collect::<Vec<_>>(), status["upstream_changes"].clone())
    };
    let (first, second) = (one.address().to_string(), other.address().to_string());
    let added = run(&["add", &second, "minpoll=0", "maxpoll=0"]);
    assert_eq!(added.status, Some(0), "{}", added.said());
    assert_eq!(added.stdout, format!("upstream {second}: added\n"));
    wait_until("polls", SOON, || {
        (other.asked() > 1 && one.asked() > 1).then_some(())
    });
    let change = |upstream: &str, change| serde_json::json!({"upstream": upstream, "change": change});
    let both = vec![Value::from(first.as_str()), second.as_str().into()];
    assert_eq!(
        polled(),
        (both.clone(), Value::from(vec![change(&second, "added")]))
    );

    let paused = run(&["pause", &first]);
    assert_eq!(paused.status, Some(0), "{}", paused.said());
    assert_eq!(run(&["pause", &first]).stdout, "it is so already\n");
    let changes = Value::from(vec![change(&second, "added"), change(&first, "paused")]);
    assert_eq!(polled(), (both[1..].to_vec(), changes.clone()));
    assert_eq!(
        daemon.reload(&(configured(&[&one]) + "prefer = true\n")),
        Reload::Done
    );
    assert_eq!(polled(), (both[1..].to_vec(), changes));
    let removed = run(&["remove", &second]);
    assert!(
        removed
            .stdout
            .contains("warning: 0 upstreams have a vote, and clock.min-sources is 1"),
        "{}",
        removed.said()
    );
    let asked = one.asked();
    assert_eq!(run(&["resume", &first]).status, Some(0));
    wait_until("polls again", SOON, || (one.asked() > asked + 1).then_some(()));
    assert_eq!(polled(), (both[..1].to_vec(), Value::from(Vec::<Value>::new())));
    for (words, part) in [
        (&["add", "x y"][..], "upstream[1].address: found \"x y\""),
        (
            &["add", "192.0.2.1", "minpoll=99", "nonsense=1"],
            "upstream[1].minpoll: found 99",
        ),
        (
            &["add", "192.0.2.1", "nonsense=1"],
            "upstream[1].nonsense: found an unknown key",
        ),
        (&["add", &server.to_string()], "this is a listener of this server"),
        (&["add", "192.0.2.1", "nts=true"], "needs the configuration file"),
        (&["add", &first], "is polled already"),
        (
            &["remove", "192.0.2.1"],
            "there is no upstream 192.0.2.1: there are ",
        ),
    ] {
        let refused = run(words);
        assert_eq!(refused.status, Some(1), "{words:?}: {}", refused.said());
        assert!(refused.stderr.contains(part), "{part}: {}", refused.said());
    }
    assert_eq!(polled().0, both[..1]);
}

#[test]
fn wait_is_for_a_server_that_does_not_run_yet_and_for_a_good_time() {
    let upstream = Scripted::start(silent);
    let (server, directory) = (v4(free_port()), TempDir::new());
    let control = directory.path().join("control");
    let wait = |more: &[&str]| {
        let mut wait = command();
        wait.args(["wait", "--socket"]).arg(&control).args(more);
        wait
    };
    let absent = run(&mut wait(&["--timeout", "300ms"]));
    assert_eq!(absent.status, Some(1), "{}", absent.said());
    assert!(
        absent.stderr.contains("not synchronized after 0."),
        "{}",
        absent.said()
    );

    let mut early = wait(&["--max-distance", "1s"]);
    let early = early.stdout(Stdio::piped()).spawn().unwrap();
    let file = format!(
        "[control]\nsocket = \"{}\"\n[[listener]]\naddress = \"{server}\"\n[[upstream]]\naddress = \"{}\"\nminpoll = 0\nmaxpoll = 0\n",
        control.display(),
        upstream.address()
    );
    let _daemon = Daemon::configured(&file).answering(server);
    let silent = run(&mut wait(&["--timeout", "0"]));
    assert_eq!(silent.status, Some(1), "{}", silent.said());
    assert!(silent.stderr.contains(" s: init"), "{}", silent.said());
    upstream.turn_to(honest);
    let early = early.wait_with_output().unwrap();
    assert!(early.status.success(), "{early:?}");
    let said = String::from_utf8(early.stdout).unwrap();
    assert!(said.starts_with("synchronized, maximum error 0."), "{said}");
    let narrow = run(&mut wait(&[
        "--timeout",
        "0",
        "--max-distance",
        "0.1us",
        "--json",
    ]));
    let json: Value = serde_json::from_str(&narrow.stdout).unwrap();
    assert_eq!(
        (narrow.status, &json["synchronized"]),
        (Some(1), &false.into()),
        "{json}"
    );
}

/// A restart answers as configured, and says so when it begins.
#[test]
fn the_end_of_the_process_ends_a_drain() {
    let mut server = Commanded::start();
    assert_eq!(server.run(&["drain"]).status, Some(0));
    let (ended, _) = server.daemon.end_with(Signal::SIGTERM);
    assert!(ended.success());
    let log = server.daemon.log();
    for listener in server.servers {
        assert!(
            log.contains(&format!(
                "the drain of listener {listener} ends with this process"
            )),
            "{log}"
        );
    }
}
