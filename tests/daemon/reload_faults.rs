//! Proves that a reload survives whatever is wrong around it: signals at the wrong moment, files that are none, full
//! disks, no descriptors left, a service manager that is gone.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::common::client::{self, v4};
use crate::common::daemon::{Daemon, LOCAL, Reload};
use crate::common::port::free_port;
use crate::common::{SOON, TempDir, wait_until};

/// Serves this host's clock at once on these addresses, with so many workers each.
fn configuration(addresses: &[SocketAddr], workers: u32) -> String {
    let listener = |address| format!("[[listener]]\naddress = \"{address}\"\nworkers = {workers}\n");
    let listeners: String = addresses.iter().map(listener).collect();
    format!("{LOCAL}{listeners}")
}

/// One address that is free, and another.
fn two_addresses() -> [SocketAddr; 2] {
    [v4(free_port()), v4(free_port())]
}

/// It serves at `kept` as before, reads its file again when it can, and then serves at `added` too; then it ends
/// as it should.
#[track_caller]
fn goes_on(mut daemon: Daemon, kept: SocketAddr, added: SocketAddr) {
    client::header(kept);
    assert_eq!(daemon.reload(&configuration(&[kept, added], 2)), Reload::Done);
    client::header(added);
    client::header(kept);
    ends_well(&mut daemon);
}

#[track_caller]
fn ends_well(daemon: &mut Daemon) {
    let (status, _) = daemon.end_with(Signal::SIGTERM);
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
}

#[test]
fn a_hang_up_during_the_start_is_not_lost() {
    let [kept, added] = two_addresses();
    // Many workers make a long start.
    let daemon = Daemon::configured(&configuration(&[kept], 300));
    wait_until("it handles SIGHUP", SOON, || {
        handles_hang_up(&daemon).then_some(())
    });
    daemon.write(&configuration(&[kept, added], 2));
    daemon.signal(Signal::SIGHUP);
    let mut daemon = daemon.answering(added);
    client::header(kept);
    ends_well(&mut daemon);
}

/// Bit 0 of `SigCgt` in `/proc/PID/status`. Before that the signal ends any process.
fn handles_hang_up(daemon: &Daemon) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 1 == 1
}

#[test]
fn a_hang_up_during_the_end_does_not_change_it() {
    for round in 0..5 {
        let address = v4(free_port());
        let mut daemon = Daemon::configured(&configuration(&[address], 4)).answering(address);
        for _ in 0..round {
            daemon.signal(Signal::SIGHUP);
        }
        daemon.signal(Signal::SIGTERM);
        // It is ours until it is waited for: a signal to one that has ended goes nowhere.
        for _ in 0..10 {
            daemon.signal(Signal::SIGHUP);
        }
        let (status, took) = daemon.wait();
        assert_eq!(status.code(), Some(0), "round {round}: {}", daemon.log());
        assert!(took < Duration::from_secs(5), "round {round}: {took:?}");
    }
}

#[test]
fn a_thousand_hang_ups_in_ten_seconds_do_no_harm() {
    const TIMES: usize = 1000;
    let [kept, added] = two_addresses();
    let texts = [
        configuration(&[kept], 1),
        configuration(&[kept, added], 3),
        configuration(&[kept], 2) + "[no-such-table]\n",
    ];
    let daemon = Daemon::configured(&texts[0]).answering(kept);
    daemon.reload(&texts[1]);
    daemon.reload(&texts[0]);
    let before = daemon.count("fd");
    let start = Instant::now();
    for time in 0..TIMES {
        daemon.write(&texts[time % texts.len()]);
        daemon.signal(Signal::SIGHUP);
        // The pace of the test, not a wait for anything.
        std::thread::sleep(Duration::from_millis(10));
    }
    let took = start.elapsed();
    // The last word counts, whatever was folded before.
    daemon.write(&texts[0]);
    daemon.signal(Signal::SIGHUP);
    let refused = client::socket(([127, 0, 0, 1], 0));
    refused.connect(added).unwrap();
    refused
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    wait_until("the last configuration is in effect", SOON, || {
        let asked = refused
            .send(&client::request(4, 3))
            .and_then(|_| refused.recv(&mut [0; 512]));
        let gone = matches!(asked, Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused);
        (gone && daemon.count("fd") == before).then_some(())
    });
    let ends = daemon.reloads();
    println!("{TIMES} hang-ups in {took:?}: {} reloads", ends.len());
    assert!(ends.len() <= TIMES + 3, "{} reloads", ends.len());
    assert!(ends.contains(&Reload::Refused));
    goes_on(daemon, kept, added);
}

#[test]
fn files_that_are_none() {
    let [kept, added] = two_addresses();
    let daemon = Daemon::configured(&configuration(&[kept], 2)).answering(kept);
    let path = daemon.configuration();
    type Spoil = fn(&std::path::Path);
    let spoils: [(&str, Spoil, Spoil); 4] = [
        ("deleted", |_| (), |_| ()),
        (
            "a directory",
            |path| fs::create_dir(path).unwrap(),
            |path| fs::remove_dir(path).unwrap(),
        ),
        (
            "a FIFO without a writer",
            |path| mkfifo(path, Mode::S_IRWXU).unwrap(),
            |path| fs::remove_file(path).unwrap(),
        ),
        (
            "a file without an end",
            |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
            |path| fs::remove_file(path).unwrap(),
        ),
    ];
    for (what, spoil, repair) in spoils {
        fs::remove_file(&path).unwrap();
        spoil(&path);
        let start = daemon.log().len();
        assert_eq!(daemon.hang_up(), Reload::Refused, "{what}");
        let said = daemon.log().split_off(start);
        assert!(said.contains("ntpfront.toml"), "{what}: {said}");
        client::header(kept);
        repair(&path);
        daemon.write(&configuration(&[kept], 2));
    }
    goes_on(daemon, kept, added);
}

#[test]
fn no_disk_for_the_log() {
    let [kept, added] = two_addresses();
    let wrapper = ["sh", "-c", "exec \"$@\" 2>/dev/full", "sh"];
    let mut daemon = Daemon::configured_by(&wrapper, &configuration(&[kept], 2)).answering(kept);
    daemon.write("[no-such-table]\n");
    daemon.signal(Signal::SIGHUP);
    client::header(kept);
    daemon.write(&configuration(&[kept, added], 1));
    daemon.signal(Signal::SIGHUP);
    daemon = daemon.answering(added);
    client::header(kept);
    ends_well(&mut daemon);
}

#[test]
fn no_descriptors_left() {
    let [kept, added] = two_addresses();
    let wrapper = ["sh", "-c", "ulimit -n 64 && exec \"$@\"", "sh"];
    let daemon = Daemon::configured_by(&wrapper, &configuration(&[kept], 2)).answering(kept);
    // It answers before its start is over.
    wait_until("the end of the start", SOON, || {
        daemon.log().contains("ready:").then_some(())
    });
    let before = (daemon.count("fd"), daemon.count("task"));
    for _ in 0..3 {
        let start = daemon.log().len();
        assert_eq!(
            daemon.reload(&configuration(&[kept, added], 100)),
            Reload::Refused
        );
        let said = daemon.log().split_off(start);
        assert!(said.contains("Too many open files"), "{said}");
        wait_until("as many descriptors and threads as before", SOON, || {
            ((daemon.count("fd"), daemon.count("task")) == before).then_some(())
        });
        client::header(kept);
    }
    goes_on(daemon, kept, added);
}

/// A service manager that listens until it is dropped, and the flag of `env` that names it.
fn service_manager() -> (UnixDatagram, TempDir, String) {
    let directory = TempDir::new();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    (manager, directory, variable)
}

/// All lines that it is told up to one that starts with `last`.
fn told_until(manager: &UnixDatagram, last: &str) -> Vec<String> {
    let mut told = Vec::new();
    let start = Instant::now();
    while start.elapsed() < SOON {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).expect("a notification");
        let lines = String::from_utf8_lossy(&buffer[..length]).into_owned();
        told.extend(lines.lines().map(str::to_owned));
        if told.iter().any(|line| line.starts_with(last)) {
            return told;
        }
    }
    panic!("{last} was never said: {told:?}");
}

/// The value of the line `name=value`.
fn value<'a>(told: &'a [String], name: &str) -> Option<&'a str> {
    let mut values = told.iter().filter_map(|line| line.split_once('='));
    values.find(|(found, _)| *found == name).map(|(_, value)| value)
}

fn monotonic_microseconds() -> i64 {
    use nix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000
}

#[test]
fn the_service_manager_is_told_of_every_reload_the_refused_too() {
    let address = v4(free_port());
    let (manager, _directory, variable) = service_manager();
    let good = configuration(&[address], 2);
    let daemon = Daemon::configured_by(&["env", &variable], &good);
    told_until(&manager, "READY=1");
    for (text, end) in [(&*good, Reload::Done), ("[no-such-table]\n", Reload::Refused)] {
        let before = monotonic_microseconds();
        assert_eq!(daemon.reload(text), end);
        let told = told_until(&manager, "RELOADING=1");
        let at: i64 = value(&told, "MONOTONIC_USEC")
            .unwrap_or_else(|| panic!("no time with RELOADING: {told:?}"))
            .parse()
            .unwrap();
        assert!((before..=monotonic_microseconds()).contains(&at), "{at}");
        if value(&told, "READY").is_none() {
            told_until(&manager, "READY=1");
        }
    }
}

#[test]
fn the_service_manager_is_gone() {
    let [kept, added] = two_addresses();
    let (manager, directory, variable) = service_manager();
    let daemon = Daemon::configured_by(&["env", &variable], &configuration(&[kept], 2));
    told_until(&manager, "READY=1");
    drop((manager, directory));
    goes_on(daemon, kept, added);
}

#[test]
fn the_service_manager_does_not_listen() {
    let [kept, added] = two_addresses();
    let (manager, _directory, variable) = service_manager();
    let daemon = Daemon::configured_by(&["env", &variable], &configuration(&[kept], 2)).answering(kept);
    // More messages than its queue holds (net.unix.max_dgram_qlen), and nobody takes them.
    for _ in 0..40 {
        assert_eq!(daemon.hang_up(), Reload::Done);
    }
    goes_on(daemon, kept, added);
    drop(manager);
}
