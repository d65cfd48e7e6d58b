//! Proves that whoever meets the end of a limit (descriptors, memory, addresses) is told which one, and how much is needed; and
//! that what is said to be needed is.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use ntpfront::cli::Flags;
use ntpfront::config::file;
use ntpfront::control::server::WATCHERS;
use ntpfront::supervisor::needs::Needs;

use crate::common::client::v4;
use crate::common::daemon::{Daemon, LOCAL};
use crate::common::network::in_own_network;
use crate::common::port::free_port;
use crate::common::program::{PROGRAM, command, program};
use crate::common::{SOON, TempDir, root, run, wait_until};

/// Serves this host's clock on a port, with all that opens files.
fn everything(directory: &TempDir, port: u16, workers: u16) -> String {
    let list = directory.file("list", "192.0.2.0/24\n");
    format!(
        "[process]\nuser = \"nobody\"\n[local]\nenabled = true\nwait = 0\n[control]\nsocket = \"{path}/control\"\n\
         [metrics]\nlisten = \"127.0.0.1:{port}\"\n[access]\ndeny-files = [\"{list}\"]\n\
         [[upstream]]\naddress = \"127.0.0.9\"\n[[upstream]]\naddress = \"nobody.example\"\n\
         [[listener]]\naddress = \"127.0.0.1:{port}\"\nworkers = {workers}\n",
        path = directory.path().display(),
        list = list.display(),
    )
}

/// What the file of this `text` needs.
fn needs(text: &str) -> Needs {
    let directory = TempDir::new();
    let flags = Flags {
        config: Some(directory.file("c.toml", text)),
        ..Flags::default()
    };
    let loaded = file::load(&flags).unwrap();
    Needs::of(&loaded.config, loaded.lists, false)
}

/// Run with these limits of `prlimit(1)`.
fn limited(limits: &[&str], text: &str) -> Daemon {
    let mut wrapper = vec!["prlimit"];
    wrapper.extend(limits);
    Daemon::configured_by(&wrapper, text)
}

#[test]
fn the_end_of_the_descriptors_is_called_by_its_name_wherever_a_start_meets_it() {
    in_own_network(|| {
        let (mut failed, mut served) = (0, 0);
        for limit in 4..40 {
            let directory = TempDir::new();
            let text = everything(&directory, free_port(), 2);
            let mut daemon = limited(&[&format!("--nofile={limit}:{limit}")], &text);
            let ended = wait_until("it serves or ends", SOON, || {
                let ended = daemon.ended().is_some();
                (ended || daemon.log().contains("ready:")).then_some(ended)
            });
            // What comes with the first questions and looks.
            std::thread::sleep(std::time::Duration::from_millis(if ended { 0 } else { 150 }));
            let log = daemon.log();
            failed += u32::from(ended);
            served += u32::from(!ended);
            assert!(!ended || log.contains("EMFILE"), "{limit}: {log}");
            for wrong in [
                "chgrp",
                "Landlock is unavailable",
                "seccomp is unavailable",
                "no-answer",
                "busy",
            ] {
                assert!(!log.contains(wrong), "{limit}: {wrong}: {log}");
            }
            let nameless = log
                .lines()
                .find(|line| line.contains("os error 24") && !line.contains("EMFILE"));
            assert_eq!(nameless, None, "{limit}");
        }
        assert!(failed > 5 && served > 5, "{failed} {served}");
    });
}

#[test]
fn the_number_of_descriptors_that_is_needed_is_told_and_right() {
    in_own_network(|| {
        let directory = TempDir::new();
        let port = free_port();
        let text = everything(&directory, port, 5);
        let needed = usize::try_from(needs(&text).files).unwrap();

        let low = format!("--nofile={}:{}", needed - 1, needed - 1);
        let told = format!(
            "the limit of open files is low: {}, and up to {needed} are needed: raise LimitNOFILE=",
            needed - 1
        );
        let daemon = limited(&[&low], &text);
        wait_until("a warning", SOON, || daemon.log().contains(&told).then_some(()));
        drop(daemon);
        let file = directory.file("c.toml", &text);
        let outcome = run(Command::new("prlimit")
            .arg(&low)
            .args([PROGRAM, "check", "-c"])
            .arg(&file));
        assert_eq!(outcome.status, Some(0), "{}", outcome.said());
        assert!(outcome.stderr.contains(&told), "{}", outcome.said());

        // The soft limit is nobody's to be harmed by.
        let daemon = limited(&[&format!("--nofile=12:{needed}")], &text).answering(v4(port));
        assert!(!daemon.log().contains("open files"), "{}", daemon.log());
        let readers: Vec<_> = (0..400)
            .filter_map(|_| TcpStream::connect(v4(port)).ok())
            .collect();
        let control = directory.path().join("control");
        let asking: Vec<_> = (0..20)
            .filter_map(|_| UnixStream::connect(&control).ok())
            .collect();
        let mut most = 0;
        for _ in 0..100 {
            most = most.max(daemon.count("fd"));
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!((64..=400).contains(&readers.len()) && asking.len() == 20);
        assert!(!daemon.log().contains("EMFILE"), "{}", daemon.log());
        // 64 of one address are listened to, and the places of the others are for others; nobody watches the health.
        let unused = 256 - 64 + WATCHERS;
        assert!(
            (needed - unused - 30..=needed - unused).contains(&most),
            "{most} of {needed}"
        );
    });
}

/// Serves this host's clock on a port.
fn plain(port: u16, workers: u16, tables: &str) -> String {
    format!(
        "{LOCAL}{tables}\n\
         [[listener]]\naddress = \"127.0.0.1:{port}\"\nworkers = {workers}\n"
    )
}

/// In half a million prefixes.
fn long_list(directory: &TempDir) -> String {
    let prefixes = (0..500_000_u32).map(|number| {
        let [a, b, c, d] = ((number << 9) | (1 << 24)).to_be_bytes();
        format!("{a}.{b}.{c}.{d}/24\n")
    });
    let path = directory.file("long", prefixes.collect::<String>());
    format!("[access]\ndeny-files = [\"{}\"]", path.display())
}

#[test]
fn the_memory_that_is_needed_is_that_which_is_taken() {
    let directory = TempDir::new();
    let list = long_list(&directory);
    for (workers, tables) in [
        (1, "[census]\nenabled = false"),
        (16, ""),
        (8, "[census]\nclients = 1048576"),
        (3, "[limit]\nmode = \"on\"\nclients = 1048576"),
        (
            3,
            "[budget]\npackets-per-second = 1000\n[limit]\nclients = 500000",
        ),
        (1, list.as_str()),
    ] {
        let port = free_port();
        let text = plain(port, workers, tables);
        let estimate = needs(&text).memory;
        let daemon = Daemon::configured(&text).answering(v4(port));
        // The first worker answers before the last one has its memory.
        wait_until("all workers run", SOON, || {
            daemon.log().contains("ready:").then_some(())
        });
        let taken = daemon.kilobytes("VmRSS") * 1024;
        let ratio = estimate as f64 / taken as f64;
        eprintln!("{workers} {tables:?}: {estimate} said, {taken} taken: {ratio:.2}");
        // The program of a test is larger than that of a release, by 8 MB (17.2 and 8.9 MB without tables).
        assert!(
            taken < estimate + (10 << 20) && ratio < 1.6,
            "{workers} {tables:?}: {estimate} said, {taken} taken"
        );
    }
}

#[test]
fn a_limit_of_memory_of_the_control_group_is_told_when_it_is_too_low() {
    if !root() {
        return;
    }
    let groups = TempDir::new();
    let text = plain(free_port(), 2, "[limit]\nmode = \"on\"\nclients = 1048576");
    let all = needs(&text).memory + needs(&text).kernel;
    let mount = format!(
        "mount --bind {} /sys/fs/cgroup && exec \"$@\"",
        groups.path().display()
    );
    let within = ["unshare", "--mount", "sh", "-c", &mount, "sh"];
    for (limit, is_low) in [
        ("max".to_owned(), false),
        (all.to_string(), false),
        ((all - 1).to_string(), true),
    ] {
        groups.file("memory.max", format!("{limit}\n"));
        let told = |text: &str| {
            text.contains("the limit of memory is low") && text.contains("(/sys/fs/cgroup/memory.max)")
        };
        let daemon = Daemon::configured_by(&within, &text);
        wait_until("it serves", SOON, || {
            daemon.log().contains("ready:").then_some(())
        });
        assert_eq!(told(&daemon.log()), is_low, "{limit}: {}", daemon.log());
        let mut check = Command::new(within[0]);
        check.args(&within[1..]).args([PROGRAM, "check", "-c"]);
        let outcome = run(check.arg(daemon.configuration()));
        assert_eq!(told(&outcome.stderr), is_low, "{limit}: {}", outcome.said());
    }
}

#[test]
fn as_many_addresses_as_are_said_are_enough_and_fewer_are_told() {
    let text = |port| plain(port, 4, "[limit]\nmode = \"on\"\nclients = 1048576");
    let cpus = std::thread::available_parallelism().unwrap().get();
    let wanted = needs(&text(1)).addresses(cpus.try_into().unwrap());
    let port = free_port();
    let _daemon = limited(&[&format!("--as={wanted}")], &text(port)).answering(v4(port));
    // Not enough for the tables, whatever the C library sets aside.
    let low = 150 << 20;
    let mut daemon = limited(&[&format!("--as={low}")], &text(free_port()));
    let (status, _) = daemon.wait();
    assert!(!status.success());
    assert!(
        daemon.log().contains("the limit of address space is low"),
        "{}",
        daemon.log()
    );
}

/// Beside that of a start: too many threads, which the kernel calls "try again".
#[test]
fn threads_that_nobody_can_have_are_called_by_their_name() {
    if !root() {
        return;
    }
    let port = free_port();
    let directory = TempDir::new();
    let text = plain(port, 64, "[control]\nsocket = \"\"");
    let file = directory.file("c.toml", &text);
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    readable(directory.path());
    // Limits of threads count for others than root alone.
    let outcome = run(Command::new("setpriv")
        .args([
            "--reuid=65533",
            "--regid=65533",
            "--clear-groups",
            "prlimit",
            "--nproc=8:8",
        ])
        .arg(program())
        .arg("-c")
        .arg(&file));
    assert_eq!(outcome.status, Some(1), "{}", outcome.said());
    let why = "cannot start the workers of 127.0.0.1";
    assert!(
        outcome.stderr.contains(why) && outcome.stderr.contains("raise TasksMax="),
        "{}",
        outcome.said()
    );
}

fn readable(directory: &Path) {
    std::fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

/// The list of leap seconds and a file to check are opened by the running server: nobody takes it for its own fault.
#[test]
fn a_check_by_a_server_without_descriptors_says_so() {
    in_own_network(|| {
        let directory = TempDir::new();
        let port = free_port();
        // Whose limits root may change even without CAP_SYS_RESOURCE.
        let text = everything(&directory, port, 1).replace("user = \"nobody\"\n", "");
        let daemon = Daemon::configured(&text).answering(v4(port));
        let pid = daemon.pid().to_string();
        wait_until("those who can't be polled", SOON, || {
            (daemon.log().matches("can't be polled").count() >= 2).then_some(())
        });
        let is_free = |number: &usize| !Path::new(&format!("/proc/{pid}/fd/{number}")).exists();
        let free = (0..).find(is_free).unwrap();
        // Enough for the connection that asks, and not for the list that is named.
        let limit = |limit: usize| {
            let limit = format!("--nofile={limit}:4096");
            let outcome = run(Command::new("prlimit").args(["--pid", &pid, &limit]));
            assert_eq!(outcome.status, Some(0), "{}", outcome.said());
        };
        limit(free + 1);
        let outcome = run(command()
            .args(["check", "--against-running", "-c"])
            .arg(daemon.configuration()));
        assert!(
            outcome
                .said()
                .contains("too many open files (EMFILE): raise LimitNOFILE="),
            "{}",
            outcome.said()
        );
        limit(free);
        daemon.signal(nix::sys::signal::Signal::SIGHUP);
        wait_until("the reload is refused by that name", SOON, || {
            let log = daemon.log();
            log.lines()
                .any(|line| line.contains("configuration refused") && line.contains("EMFILE"))
                .then_some(())
        });
    });
}
