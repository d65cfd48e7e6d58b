//! The load of `tests/load`: built, started, stopped, and what it found.

#[path = "../load/report.rs"]
mod report;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use super::network::{self, ip};

pub(crate) use report::Report;

/// Addresses that the load asks from, of each family.
pub(crate) const SOURCES: usize = 200;
/// Those of IPv6 are here: a network of nobody (RFC 4193), all of it local.
pub(crate) const IPV6_NETWORK: &str = "fd00:6e74:7066::";

/// Runs `inside` in a network namespace where the load can ask from all its addresses; does nothing where root is left out.
pub(crate) fn in_own_network(inside: impl FnOnce() + Send) {
    network::in_own_network(|| {
        ip(&format!("-6 route add local {IPV6_NETWORK}/64 dev lo"));
        inside();
    });
}

/// A running load; ended when dropped.
pub(crate) struct Load {
    child: Child,
    commands: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Load {
    /// Asks `targets` in turn, `rate` times a second together, for at most so many seconds. It is sending when this
    /// returns.
    pub(crate) fn start(targets: &[SocketAddr], rate: u32, seconds: u32) -> Self {
        let mut command = Command::new(program());
        for target in targets {
            command.args(["--target", &target.to_string()]);
        }
        let mut child = command
            .args(["--rate", &rate.to_string(), "--seconds", &seconds.to_string()])
            .args(["--sources", &SOURCES.to_string(), "--ipv6-network", IPV6_NETWORK])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the load starts");
        let commands = child.stdin.take().expect("it is a pipe");
        let said = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut load = Self {
            child,
            commands,
            said,
        };
        assert_eq!(load.line(), "sending");
        load
    }

    /// Ends the sending, waits for the last answers, and tells what became of every request.
    pub(crate) fn stop(mut self) -> Report {
        // When its time is over, it has ended by itself.
        let _ = self.commands.write_all(b"stop\n");
        self.finish()
    }

    /// The same when its time is over.
    pub(crate) fn finish(mut self) -> Report {
        let line = self.line();
        println!("load: {line}");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("the load speaks");
        line.trim_end().to_owned()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Report {
    /// Every request was answered once, rightly and usably, and the load did what it was told, or nearly: where
    /// others use the machine it skips what it can't send in time.
    #[track_caller]
    pub(crate) fn nothing_lost(&self, rate: u32) {
        let asked = f64::from(rate) * self.seconds;
        assert!(
            self.sent as f64 > asked / 2.0,
            "too busy a machine: {} of {asked} sent",
            self.sent
        );
        let faults = [
            self.lost,
            self.wrong,
            self.duplicate,
            self.unsynchronized,
            self.unsent,
        ];
        assert_eq!(
            faults, [0; 5],
            "[lost, wrong, duplicate, unsynchronized, unsent]: {self:#?}"
        );
    }
}

/// The load as built from the source that is here.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| super::example::built("load"))
}
