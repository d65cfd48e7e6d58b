//! Proves that who reads the log can't stop who serves: a full pipe, a stopped terminal and a frozen journal. What is lost is
//! told when the reader is back, and the last lines of a process are not lost.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::mount::{MsFlags, mount};
use nix::pty::openpty;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe};
use serde_json::Value;

use crate::common::client::{self, v4};
use crate::common::daemon::{Daemon, LOCAL, ntpfront};
use crate::common::port::free_port;
use crate::common::program::command;
use crate::common::status::status;
use crate::common::{SOON, TempDir, root, wait_until};
use ntpfront::wire::Leap;

/// So many workers say a line each when they are asked to: more than a page of any reader at once.
const WORKERS: u16 = 100;
/// As often they are asked. The queue has room for 4096 lines, a pipe for some hundreds.
const TIMES: usize = 80;

/// ntpfront whose log somebody should read.
struct Logging {
    child: Child,
    directory: TempDir,
    port: u16,
}

impl Logging {
    /// Its standard error is `stderr`; more about `command` says `arranged`.
    fn into(stderr: OwnedFd, arranged: impl FnOnce(&mut Command)) -> Self {
        let (port, directory) = (free_port(), TempDir::new());
        let text = format!(
            "{LOCAL}[control]\nsocket = \"{}\"\n[[listener]]\naddress = \"{}\"\nworkers = {WORKERS}\n",
            directory.path().join("control").display(),
            v4(port)
        );
        let file = directory.file("ntpfront.toml", &text);
        let mut command = command();
        command
            .arg("-c")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        arranged(&mut command);
        let child = command.stderr(stderr).spawn().unwrap();
        let logging = Self {
            child,
            directory,
            port,
        };
        wait_until("a time", SOON, || {
            let answer = client::ask(v4(port), &client::request(4, 3))?;
            (answer.header().leap == Leap::NoWarning).then_some(())
        });
        logging
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// What it says of itself. The supervisor says it, so it is not stuck.
    fn status(&self) -> Value {
        status(&self.directory.path().join("control"))
    }

    /// Has it say more than anybody keeps, and looks whether it goes on.
    fn says_too_much(&self) -> u64 {
        // On a busy machine many signals are seen as one, so that it takes more of them.
        (0..20).find_map(|_| self.says_much()).expect("nothing dropped")
    }

    /// Has it say much. How many lines were dropped so far, if some were?
    fn says_much(&self) -> Option<u64> {
        for _ in 0..TIMES {
            self.signal(Signal::SIGUSR1);
            // Two signals at once are one.
            std::thread::sleep(Duration::from_millis(10));
        }
        let asked = Instant::now();
        let status = self.status();
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        assert_eq!(status["usable"], true, "{status}");
        assert_eq!(client::header(v4(self.port)).leap, Leap::NoWarning);
        status["log_lines_dropped"]
            .as_u64()
            .filter(|&dropped| dropped > 0)
    }

    /// Ends it while nobody reads.
    fn ends_unread(mut self) {
        let asked = Instant::now();
        self.signal(Signal::SIGTERM);
        let status = wait_until("its end", SOON, || self.child.try_wait().unwrap());
        assert!(
            status.success() && asked.elapsed() < Duration::from_secs(5),
            "{status} {:?}",
            asked.elapsed()
        );
    }

    /// Ends it while somebody reads.
    fn ends(mut self) {
        self.signal(Signal::SIGTERM);
        assert!(wait_until("its end", SOON, || self.child.try_wait().unwrap()).success());
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what is there until the lines say that they are complete, or nothing comes for long.
fn read_until(reader: &mut impl Read, is_enough: impl Fn(&str) -> bool) -> String {
    let mut said = String::new();
    let start = Instant::now();
    let mut buffer = [0; 65536];
    while !is_enough(&said) {
        assert!(
            start.elapsed() < SOON,
            "not enough: {}",
            &said[said.len().saturating_sub(2000)..]
        );
        match reader.read(&mut buffer) {
            Ok(length) => said += &String::from_utf8_lossy(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1))
            }
            Err(error) => panic!("{error}"),
        }
    }
    said
}

/// The numbers of the lines that tell of dropped ones, together.
fn told_dropped(said: &str) -> u64 {
    // The last line may not have come whole yet.
    let told = said
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n') && line.contains("lines of the log were dropped"));
    told.map(|line| {
        let (before, _) = line.split_once(" lines of the log").unwrap();
        let number = before.split_whitespace().next_back().expect("the number");
        number.parse::<u64>().unwrap()
    })
    .sum()
}

fn never_waits(reader: &impl AsFd) {
    fcntl(reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
}

#[test]
fn a_full_pipe_stops_nobody_and_what_was_lost_is_told() {
    let (reader, writer) = pipe().unwrap();
    never_waits(&reader);
    let logging = Logging::into(writer, |_| ());
    let dropped = logging.says_too_much();
    let mut reader = File::from(reader);
    let said = read_until(&mut reader, |said| told_dropped(said) == dropped);
    assert!(said.contains("ntpfront 0.1.0 starts"), "{said}");
    logging.ends();
    read_until(&mut reader, |said| said.trim_end().ends_with("ended"));
}

/// All that is on standard error, from the start over a reload to the end.
fn logged(flags: &[&str], text: &str, reloaded: &str) -> String {
    let directory = TempDir::new();
    let server = v4(free_port());
    let configuration = |more: &str| format!("{LOCAL}[[listener]]\naddress = \"{server}\"\n{more}");
    let file = directory.file("ntpfront.toml", configuration(text));
    let mut command = command();
    command.arg("-c").arg(&file).args(flags);
    let mut daemon = Daemon::spawn(command).answering(server);
    fs::write(&file, configuration(reloaded)).unwrap();
    daemon.hang_up();
    let (status, _) = daemon.end_with(Signal::SIGTERM);
    assert!(status.success(), "{status}");
    daemon.log()
}

/// The lines of a log in JSON, as far as it is.
fn objects(log: &str) -> Vec<serde_json::Map<String, Value>> {
    let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}: {log}"));
    log.lines().map(read).collect()
}

#[test]
fn a_log_for_programs_is_an_object_a_line() {
    let json = "[log]\nformat = \"json\"\n";
    for (flags, text) in [(&["--log-format", "json"][..], ""), (&[], json)] {
        let lines = objects(&logged(flags, text, text));
        assert!(lines.len() > 3, "{lines:?}");
        for line in &lines {
            let time = line["time"].as_str().unwrap();
            let has_form = time.len() == 27 && &time[10..11] == "T" && time.ends_with('Z');
            assert!(
                has_form && line["level"].is_string() && line["message"].is_string(),
                "{line:?}"
            );
        }
        let starts = &lines[0];
        assert_eq!(starts["version"], env!("CARGO_PKG_VERSION"), "{starts:?}");
        let listening = lines
            .iter()
            .find(|line| line["message"].as_str().unwrap().starts_with("listening on"));
        let listening = listening.unwrap();
        assert_eq!(
            (&listening["level"], &listening["workers"]),
            (&"info".into(), &1.into())
        );
        assert_eq!(lines.last().unwrap()["message"], "ended");
    }
}

#[test]
fn a_reload_changes_the_form_of_the_log() {
    let json = "[log]\nformat = \"json\"\n";
    let log = logged(&[], "", json);
    // Lines that wait to be written when the form changes have the new one.
    let at = log.find("\n{").expect(&log);
    let (before, after) = log.split_at(at + 1);
    assert!(before.contains("ready: "), "{log}");
    assert!(objects(after).len() >= 2, "{log}");
    // A flag takes precedence.
    let log = logged(&["--log-format", "text"], json, json);
    assert!(!log.contains('{'), "{log}");
}

#[test]
fn a_log_for_people_says_everything_once() {
    let log = logged(&[], "", "[log]\nlevel = \"nonsense\"\n");
    let line = |part: &str| {
        log.lines()
            .find(|line| line.contains(part))
            .unwrap_or_else(|| panic!("{part}: {log}"))
    };
    assert!(line("listening on ").ends_with(", workers 1"), "{log}");
    assert!(
        line("ready: ").ends_with(" INFO ready: 1 worker, 0 upstreams"),
        "{log}"
    );
    assert!(line(" starts: ").ends_with("ntpfront.toml"), "{log}");
    assert_eq!(log.matches("nonsense").count(), 1, "{log}");
    assert!(log.lines().all(|line| line.len() < 260), "{log}");
}

#[test]
fn a_flag_with_another_form_is_an_error_with_the_forms() {
    let outcome = ntpfront(&["check", "--log-format", "xml"]);
    assert_eq!(outcome.status, Some(2), "{}", outcome.said());
    assert!(
        outcome.stderr.contains("\"auto\", \"text\" or \"json\""),
        "{}",
        outcome.said()
    );
}

#[test]
fn the_end_waits_for_the_reader_but_not_for_long() {
    let (_reader, writer) = pipe().unwrap();
    let logging = Logging::into(writer, |_| ());
    logging.says_too_much();
    logging.ends_unread();
}

#[test]
fn a_stopped_terminal_stops_nobody() {
    let terminal = openpty(None, None).unwrap();
    never_waits(&terminal.master);
    let logging = Logging::into(terminal.slave, |_| ());
    let dropped = logging.says_too_much();
    let mut reader = File::from(terminal.master);
    read_until(&mut reader, |said| told_dropped(said) == dropped);
    logging.ends();
}

#[test]
fn a_frozen_journal_stops_nobody() {
    if !root() {
        return;
    }
    // Mounts belong to this thread, and to what it starts.
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .unwrap();
    mount(
        Some("tmpfs"),
        "/run",
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .unwrap();
    fs::create_dir_all("/run/systemd/journal").unwrap();
    let journal = UnixDatagram::bind("/run/systemd/journal/socket").unwrap();
    journal.set_read_timeout(Some(SOON)).unwrap();
    let stream = TempDir::new();
    let stderr = File::create(stream.path().join("stderr")).unwrap();
    let at = stderr.metadata().unwrap();
    let logging = Logging::into(stderr.into(), |command| {
        command.env("JOURNAL_STREAM", format!("{}:{}", at.dev(), at.ino()));
    });
    let dropped = logging.says_too_much();
    let (mut told, mut entries) = (0, 0);
    let mut entry = [0; 65536];
    while told < dropped {
        let length = journal.recv(&mut entry).unwrap();
        let text = String::from_utf8_lossy(&entry[..length]).into_owned();
        entries += 1;
        assert!(length == 0 || text.contains("SYSLOG_IDENTIFIER"), "{text:?}");
        if text.contains("lines of the log were dropped") {
            // NAME, the length in eight bytes, the value.
            let (_, number) = text.rsplit_once("DROPPED\n").expect("the field");
            told += number[8..].lines().next().unwrap().parse::<u64>().unwrap();
        }
    }
    assert_eq!(told, dropped);
    assert!(entries > 4096, "{entries}");
    drop(journal);
    logging.ends();
}
