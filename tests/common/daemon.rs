//! ntpfront as built: started with flags or a configuration, listened to, signaled, ended.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::program::{clean, command, program};
use super::{Outcome, SOON, TempDir, client, run, wait_until};

/// The beginning of a configuration that serves this host's clock at once.
pub(crate) const LOCAL: &str = "upstream = []\n[local]\nenabled = true\nwait = 0\n";

/// The name of its file.
const CONFIGURATION: &str = "ntpfront.toml";
/// The words of the line that ends a reload: the new configuration is in effect,
const RELOADED: &str = "reloaded";
/// or nothing has changed.
const REFUSED: &str = "configuration refused";

/// Runs the program with these arguments to its end.
pub(crate) fn ntpfront(arguments: &[&str]) -> Outcome {
    run(command().args(arguments))
}

/// A running daemon; killed when dropped, and its log shown when the test failed.
pub(crate) struct Daemon {
    child: Child,
    directory: TempDir,
}

impl Daemon {
    /// Started with flags alone.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut command = command();
        command.args(flags);
        Self::spawn(command)
    }

    /// Started with a configuration file of this text.
    pub(crate) fn configured(text: &str) -> Self {
        Self::configured_by(&["env"], text)
    }

    /// The same, run by `wrapper`: a command that executes the rest of its arguments.
    pub(crate) fn configured_by(wrapper: &[&str], text: &str) -> Self {
        let directory = TempDir::new();
        let mut command = clean(Command::new(wrapper[0]));
        command
            .args(&wrapper[1..])
            .arg(program())
            .arg("--config")
            .arg(directory.file(CONFIGURATION, text));
        Self::spawn_in(command, directory)
    }

    /// Started as `command` says.
    pub(crate) fn spawn(command: Command) -> Self {
        Self::spawn_in(command, TempDir::new())
    }

    /// Started with a configuration file of this text as the successor of a process, which left it two descriptors under
    /// these names in the store of a service manager.
    pub(crate) fn inheriting(text: &str, left: [(&str, OwnedFd); 2]) -> Self {
        let directory = TempDir::new();
        let [(first, one), (second, other)] = left;
        // A shell moves them to where descriptors of a service manager are.
        let script = format!(
            "exec 3<&0 4<&1 </dev/null >&2; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES='{first}:{second}'; exec \"$@\""
        );
        let mut command = clean(Command::new("sh"));
        command
            .args(["-c", &script, "sh"])
            .arg(program())
            .arg("--config")
            .arg(directory.file(CONFIGURATION, text));
        Self::spawn_with(command, directory, one.into(), Some(other.into()))
    }

    fn spawn_in(command: Command, directory: TempDir) -> Self {
        Self::spawn_with(command, directory, Stdio::null(), None)
    }

    fn spawn_with(mut command: Command, directory: TempDir, input: Stdio, output: Option<Stdio>) -> Self {
        let log = File::create(directory.path().join("log")).unwrap();
        let child = command
            .stdin(input)
            .stdout(output.unwrap_or_else(|| log.try_clone().unwrap().into()))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, directory }
    }

    /// Started with flags, its messages going into a pipe whose reader is gone.
    pub(crate) fn unread(flags: &[&str]) -> Self {
        let directory = TempDir::new();
        directory.file("log", "");
        let mut child = command()
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stderr.take());
        Self { child, directory }
    }

    /// Waits until there is an answer at `address`, of whatever content.
    pub(crate) fn answering(mut self, address: SocketAddr) -> Self {
        wait_until("ntpfront answers", SOON, || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("ntpfront ended: {status}\n{}", self.log());
            }
            client::ask(address, &client::request(4, 3))
        });
        self
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it said so far.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(self.directory.path().join("log")).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How many lines it logged so far.
    pub(crate) fn log_lines(&self) -> usize {
        self.log().lines().count()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// The file that it was started with.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.directory.path().join(CONFIGURATION)
    }

    /// Puts another file in its place, as editors and tools do: never half a file.
    pub(crate) fn write(&self, text: &str) {
        let new = self.directory.file("ntpfront.toml.new", text);
        std::fs::rename(new, self.configuration()).unwrap();
    }

    /// Has it read its file as it is now, and waits until that is done.
    pub(crate) fn hang_up(&self) -> Reload {
        let before = self.reloads().len();
        self.signal(Signal::SIGHUP);
        wait_until("the end of a reload", SOON, || {
            self.reloads().get(before).copied()
        })
    }

    /// Has it read a file of this text.
    pub(crate) fn reload(&self, text: &str) -> Reload {
        self.write(text);
        self.hang_up()
    }

    /// How each reload so far ended.
    pub(crate) fn reloads(&self) -> Vec<Reload> {
        whole_lines(&self.log()).filter_map(Reload::told_by).collect()
    }

    /// How many entries a directory of its own in `/proc` has: `fd`, `task`.
    pub(crate) fn count(&self, directory: &str) -> usize {
        let path = format!("/proc/{}/{directory}", self.pid());
        std::fs::read_dir(path).unwrap().count()
    }

    /// A number of kilobytes in its own `status` in `/proc`: `VmRSS`.
    pub(crate) fn kilobytes(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let number = line.trim_start_matches(':').split_whitespace().next().unwrap();
        number.parse().unwrap()
    }

    /// Has it ended?
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end and tells the status and the time that it took.
    pub(crate) fn wait(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        let status = wait_until("ntpfront ends", SOON, || self.ended());
        (status, start.elapsed())
    }

    /// Signals it, waits for its end and tells the status and the time that it took.
    pub(crate) fn end_with(&mut self, signal: Signal) -> (ExitStatus, Duration) {
        self.signal(signal);
        self.wait()
    }

    /// What each of its `workers` counted so far, in the order of the log: SIGUSR1 makes it say so.
    pub(crate) fn counters(&self, workers: usize) -> Vec<Counters> {
        let before = counters_in(&self.log()).len();
        self.signal(Signal::SIGUSR1);
        wait_until("a line of counters a worker", SOON, || {
            let mut lines = counters_in(&self.log());
            (lines.len() >= before + workers).then(|| lines.split_off(before))
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of ntpfront {}:\n{}---", self.child.id(), self.log());
        }
    }
}

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    Done,
    Refused,
}

impl Reload {
    fn told_by(line: &str) -> Option<Self> {
        if line.contains(REFUSED) {
            Some(Self::Refused)
        } else if line.contains(RELOADED) {
            Some(Self::Done)
        } else {
            None
        }
    }
}

/// One worker's line of counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counters(BTreeMap<String, String>);

impl Counters {
    /// The listener and the number of the worker.
    pub(crate) fn worker(&self) -> (&str, &str) {
        (&self.0["listener"], &self.0["worker"])
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        let value = self
            .0
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"));
        value.parse().unwrap()
    }
}

fn counters_in(log: &str) -> Vec<Counters> {
    whole_lines(log)
        .filter(|line| line.contains("worker counters"))
        .map(|line| Counters(counts(line)))
        .collect()
}

/// The last line may still be on its way.
fn whole_lines(log: &str) -> impl Iterator<Item = &str> {
    log.split_inclusive('\n').filter(|line| line.ends_with('\n'))
}

/// All that a line of counters says: "worker counters: LISTENER: N received, M answered", and the fields that follow.
fn counts(line: &str) -> BTreeMap<String, String> {
    let words: Vec<&str> = line
        .split_whitespace()
        .map(|word| word.trim_matches([':', ',']))
        .collect();
    let after = |named: &str| {
        words
            .iter()
            .position(|word| *word == named)
            .and_then(|at| words.get(at + 1))
    };
    let before = |named: &str| {
        words
            .iter()
            .position(|word| *word == named)
            .and_then(|at| words.get(at - 1))
    };
    let mut counts = fields(line);
    let said = [
        ("listener", after("counters")),
        ("received", before("received")),
        ("answered", before("answered")),
    ];
    counts.extend(
        said.into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), (*value?).to_owned()))),
    );
    counts
}

fn fields(line: &str) -> BTreeMap<String, String> {
    line.split_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}
