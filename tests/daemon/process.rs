//! Proves the life of the process: how it starts, what it refuses with which words and exit status, what it
//! gives up, what signals do, and what it tells systemd.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::client::{self, request, socket, v4, v6};
use crate::common::daemon::{Daemon, ntpfront};
use crate::common::network::in_own_network;
use crate::common::port::free_port;
use crate::common::program::{PROGRAM, command};
use crate::common::scripted::{Scripted, good};
use crate::common::{Outcome, SOON, TempDir, root, run, wait_until};

/// One clear line that names all of `words`, and this exit status.
#[track_caller]
fn refused(outcome: &Outcome, status: i32, words: &[&str]) {
    assert_eq!(outcome.status, Some(status), "{}", outcome.said());
    let clear = outcome
        .stderr
        .lines()
        .any(|line| words.iter().all(|word| line.contains(word)));
    assert!(clear, "no line names {words:?}: {}", outcome.said());
    let lines = outcome.stderr.lines().count();
    assert!(lines <= 5, "{lines} lines: {}", outcome.said());
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.said());
}

#[test]
fn a_port_that_another_program_uses() {
    for (taken, flags) in [
        (v4(free_port()), ["-6", "0", "-a"]),
        (v6(free_port()), ["-4", "0", "-b"]),
    ] {
        let _other = UdpSocket::bind(taken).unwrap();
        let address = taken.to_string();
        let outcome = ntpfront(&[&flags[..], &[&address]].concat());
        refused(&outcome, 1, &[&address, "in use"]);
    }
}

#[test]
fn a_port_that_another_ntpfront_uses() {
    let address = v4(free_port());
    let text = address.to_string();
    let mut first = Daemon::start(&["-6", "0", "-4", "2", "-a", &text]).answering(address);
    let outcome = ntpfront(&["-6", "0", "-a", &text]);
    refused(&outcome, 1, &[&text, "in use"]);
    assert!(first.ended().is_none());
    client::header(address);
}

#[test]
fn of_two_listeners_one_of_which_cannot_be_bound_none_answers() {
    let (free, taken) = (v4(free_port()), v6(free_port()));
    let _other = UdpSocket::bind(taken).unwrap();
    let (free, taken) = (free.to_string(), taken.to_string());
    refused(&ntpfront(&["-a", &free, "-b", &taken]), 1, &[&taken, "in use"]);
}

#[test]
fn an_address_that_is_not_there() {
    let outcome = ntpfront(&["-6", "0", "-a", "192.0.2.77:12399"]);
    refused(&outcome, 1, &["192.0.2.77:12399"]);
}

#[test]
fn no_right_to_bind_says_what_to_do() {
    in_own_network(|| {
        let mut command = command();
        command.args(["-6", "0"]).uid(65534).gid(65534);
        refused(&run(&mut command), 1, &["0.0.0.0:123", "CAP_NET_BIND_SERVICE"]);
    });
}

#[test]
fn nothing_to_serve_and_other_usage_faults() {
    refused(&ntpfront(&["-4", "0", "-6", "0"]), 2, &["-4", "nothing to serve"]);
    for arguments in [
        &["--no-such-flag"][..],
        &["-4", "four"],
        &["-a", "127.0.0.1"],
        &["-a", "[::1]:1234"],
        &["-b", "127.0.0.1:1234"],
        &["-s", "not a name"],
        &["-c", "/no/such/file.toml"],
        &["no-such-subcommand"],
    ] {
        let outcome = ntpfront(arguments);
        assert!(
            matches!(outcome.status, Some(1 | 2)),
            "{arguments:?}: {}",
            outcome.said()
        );
        assert!(!outcome.stderr.is_empty() && !outcome.stderr.contains("panicked"));
    }
}

#[test]
fn an_unknown_user_or_root_directory() {
    let address = v4(free_port()).to_string();
    let flags = ["-6", "0", "-a", &address];
    let user = ntpfront(&[&flags[..], &["-u", "no-such-user-here"]].concat());
    refused(&user, 1, &["no-such-user-here"]);
    if root() {
        let root = ntpfront(&[&flags[..], &["-r", "/no/such/directory"]].concat());
        refused(&root, 1, &["/no/such/directory"]);
    }
}

#[test]
fn giving_up_privileges_without_having_them_is_fatal() {
    if !root() {
        return;
    }
    let address = v4(free_port()).to_string();
    for more in [["-u", "daemon"], ["-r", "/"]] {
        let mut command = command();
        command
            .args(["-6", "0", "-a", &address])
            .args(more)
            .uid(65534)
            .gid(65534);
        let outcome = run(&mut command);
        assert_eq!(outcome.status, Some(1), "{}", outcome.said());
    }
}

/// A field of `/proc/PID/status`, its words.
fn status_of(pid: u32, field: &str) -> Vec<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .unwrap_or_else(|| panic!("no {field}"));
    line.trim_start_matches(':')
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

#[test]
fn root_directory_groups_and_user_are_given_up_in_this_order() {
    if !root() {
        return;
    }
    let directory = TempDir::new();
    let upstream = Scripted::start(|ask| vec![good(ask).into()]);
    let (four, six) = (v4(free_port()), v6(free_port()));
    // setpriv gives it supplementary groups to lose: who runs the tests may have none.
    let mut command = Command::new("setpriv");
    command
        .args(["--groups", "0,4,27", PROGRAM])
        .args(["-4", "4", "-6", "2", "-u", "nobody", "-d", "-r"])
        .arg(directory.path())
        .args(["-a", &four.to_string(), "-b", &six.to_string()])
        .args(["-s", &upstream.address().to_string()]);
    let daemon = Daemon::spawn(command).answering(four).answering(six);
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid.to_string(), nobody.gid.to_string());
    let pid = daemon.pid();
    assert_eq!(status_of(pid, "Uid"), vec![uid; 4]);
    assert_eq!(status_of(pid, "Gid"), vec![gid.clone(); 4]);
    let groups = status_of(pid, "Groups");
    assert!(groups.iter().all(|group| *group == gid), "{groups:?}");
    assert_eq!(
        std::fs::read_link(format!("/proc/{pid}/root")).unwrap(),
        directory.path().canonicalize().unwrap()
    );
    let threads: u32 = status_of(pid, "Threads")[0].parse().unwrap();
    assert!((7..=16).contains(&threads), "{threads} threads for 6 workers");
    for capabilities in ["CapEff", "CapPrm"] {
        let left = u64::from_str_radix(&status_of(pid, capabilities)[0], 16).unwrap();
        // CAP_NET_BIND_SERVICE (bit 10) may be kept for a reload.
        assert_eq!(left & !(1 << 10), 0, "{capabilities} {left:x}");
    }
    // Locked up as it is, it still asks its upstream.
    wait_until("a synchronized reply", SOON, || {
        (client::header(four).stratum == 2).then_some(())
    });
}

#[test]
fn the_user_is_looked_up_before_the_root_changes() {
    if !root() {
        return;
    }
    // An empty directory has no /etc/passwd.
    let directory = TempDir::new();
    let address = v4(free_port());
    let directory_name = directory.path().to_string_lossy().into_owned();
    let text = address.to_string();
    let daemon = Daemon::start(&[
        "-6",
        "0",
        "-a",
        &text,
        "--user",
        "daemon",
        "--chroot",
        &directory_name,
    ])
    .answering(address);
    let user = nix::unistd::User::from_name("daemon").unwrap().unwrap();
    assert_eq!(status_of(daemon.pid(), "Uid")[0], user.uid.to_string());
}

#[test]
fn term_and_int_end_it_cleanly() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let address = v4(free_port());
        let mut daemon =
            Daemon::start(&["-6", "0", "-4", "3", "-a", &address.to_string()]).answering(address);
        let (status, took) = daemon.end_with(signal);
        assert_eq!(status.code(), Some(0), "{signal}: {}", daemon.log());
        // It takes milliseconds; the rest is for a busy machine.
        assert!(took < Duration::from_secs(2), "{signal}: {took:?}");
        UdpSocket::bind(address).expect("the port is free again");
    }
}

/// Shells and supervisors leave signals blocked for whom they start.
#[test]
fn blocked_signals_are_heard_all_the_same() {
    let address = v4(free_port());
    let text = format!("[[listener]]\naddress = \"{address}\"\nworkers = 2\n");
    let blocked = ["env", "--block-signal=TERM,HUP,USR1,USR2"];
    let mut daemon = Daemon::configured_by(&blocked, &text).answering(address);
    let (status, took) = daemon.end_with(Signal::SIGTERM);
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn it_ends_at_once_also_under_load() {
    let address = v4(free_port());
    let mut daemon = Daemon::start(&["-6", "0", "-4", "2", "-a", &address.to_string()]).answering(address);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (status, took) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let from = socket(([127, 0, 0, 1], 0));
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = from.send_to(&request(4, 3), address);
            }
        });
        std::thread::sleep(Duration::from_millis(300));
        let end = daemon.end_with(Signal::SIGTERM);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        end
    });
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn hup_and_usr1_do_not_end_it() {
    let address = v4(free_port());
    let mut daemon = Daemon::start(&["-6", "0", "-a", &address.to_string()]).answering(address);
    for _ in 0..3 {
        daemon.signal(Signal::SIGHUP);
        daemon.signal(Signal::SIGUSR1);
        client::header(address);
    }
    assert!(daemon.ended().is_none());
    assert_eq!(daemon.end_with(Signal::SIGTERM).0.code(), Some(0));
}

/// The threads of a process that block not all of these signals: their names, and the signals that they block.
fn takers(pid: impl std::fmt::Display, signals: u64) -> Vec<(String, u64)> {
    let mut takers = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let of_task = |name: &str| std::fs::read_to_string(task.as_ref().unwrap().path().join(name)).unwrap();
        let status = of_task("status");
        let blocked = status
            .lines()
            .find_map(|line| line.strip_prefix("SigBlk:"))
            .unwrap();
        let blocked = u64::from_str_radix(blocked.trim(), 16).unwrap();
        if blocked & signals != signals {
            takers.push((of_task("comm").trim().to_owned(), blocked & signals));
        }
    }
    takers
}

/// A signal goes to any thread that does not block it, and only one can tell of it: what a worker may call is not enough.
#[test]
fn no_thread_but_one_takes_signals() {
    let address = v4(free_port());
    let mut daemon = Daemon::start(&["-6", "0", "-4", "3", "-a", &address.to_string()]).answering(address);
    let heard = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1];
    let heard = heard
        .iter()
        .fold(0, |all, signal| all | 1 << (*signal as u32 - 1));
    // Workers may answer before the thread that takes signals runs; until then signals wait.
    let takers = wait_until("a thread takes signals", SOON, || {
        let takers = takers(daemon.pid(), heard);
        (!takers.is_empty()).then_some(takers)
    });
    assert_eq!(takers, [("signals".to_owned(), 0)]);
    assert_eq!(daemon.end_with(Signal::SIGTERM).0.code(), Some(0));
}

#[test]
fn systemd_is_told_when_it_is_ready_and_when_it_stops() {
    let is_root = nix::unistd::geteuid().is_root();
    for locked_up in [false, true] {
        if locked_up && !(is_root && root()) {
            continue;
        }
        let directory = TempDir::new();
        let path = directory.path().join("notify");
        let notified = UnixDatagram::bind(&path).unwrap();
        notified.set_read_timeout(Some(SOON)).unwrap();
        let address = v4(free_port());
        let cage = TempDir::new();
        let mut command = command();
        command
            .env("NOTIFY_SOCKET", &path)
            .args(["-6", "0", "-a", &address.to_string()]);
        if locked_up {
            command.arg("-r").arg(cage.path());
        }
        let mut daemon = Daemon::spawn(command);
        until_notified(&notified, "READY=1");
        // Ready means that it answers: one question, no second chance.
        let first = client::exchange(&socket(([127, 0, 0, 1], 0)), address, &request(4, 3), SOON);
        assert!(first.is_some());
        daemon.signal(Signal::SIGTERM);
        until_notified(&notified, "STOPPING=1");
        assert_eq!(daemon.wait().0.code(), Some(0));
    }
}

fn until_notified(socket: &UnixDatagram, wanted: &str) {
    let start = Instant::now();
    let mut buffer = [0; 4096];
    while start.elapsed() < SOON {
        let length = socket.recv(&mut buffer).expect("a notification");
        let said = String::from_utf8_lossy(&buffer[..length]);
        if said.lines().any(|line| line == wanted) {
            return;
        }
    }
    panic!("{wanted} was never said");
}

#[test]
fn a_log_that_nobody_reads_does_not_stop_it() {
    let address = v4(free_port());
    let mut daemon = Daemon::unread(&["-6", "0", "-d", "-a", &address.to_string()]).answering(address);
    client::header(address);
    assert_eq!(daemon.end_with(Signal::SIGTERM).0.code(), Some(0));
}
