//! What every program of tests needs: what is left out here, commands.
#![allow(clippy::disallowed_methods, reason = "a test looks at the clock")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::TempDir;

/// Long enough for anything that must happen "soon", on two slow cores that somebody else uses too.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Is this peer (or permission) to be used? `tests/run` names in `NTPFRONT_WITHOUT` what it had to leave out;
/// what is not named there must be there, so that no test is skipped in silence.
pub(crate) fn with(what: &str) -> bool {
    let without = std::env::var("NTPFRONT_WITHOUT").unwrap_or_default();
    let left_out = without.split_whitespace().any(|word| word == what);
    if left_out {
        eprintln!("left out: {what} is in NTPFRONT_WITHOUT");
    }
    !left_out
}

/// A real peer's program: its path, or `None` where it is left out on purpose.
pub(crate) fn peer(what: &str, program: &str) -> Option<PathBuf> {
    if !with(what) {
        return None;
    }
    let found = find(program);
    Some(found.unwrap_or_else(|| {
        panic!("no {program} here: run tests/run, or leave it out with NTPFRONT_WITHOUT={what}")
    }))
}

/// First where `tests/run` puts what it does not install, then where programs are.
fn find(program: &str) -> Option<PathBuf> {
    let ours = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../peers");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(ours)
        .chain(std::env::split_paths(&path))
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|full| full.exists())
}

/// Root, and allowed to make network namespaces? Fails where neither that nor `NTPFRONT_WITHOUT` says so.
pub(crate) fn root() -> bool {
    with("root") && {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test needs root: leave it out with NTPFRONT_WITHOUT=root"
        );
        true
    }
}

/// What a command said and how it ended; it is killed (and the test fails) when it takes longer than [`SOON`].
pub(crate) struct Outcome {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Both outputs, for messages.
    pub(crate) fn said(&self) -> String {
        format!("status {:?}\n{}{}", self.status, self.stdout, self.stderr)
    }
}

/// Runs `command` to its end.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let directory = TempDir::new();
    let (stdout, stderr) = (directory.path().join("stdout"), directory.path().join("stderr"));
    let mut child = command
        .stdin(std::process::Stdio::null())
        .stdout(std::fs::File::create(&stdout).unwrap())
        .stderr(std::fs::File::create(&stderr).unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let start = Instant::now();
    let ended = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if start.elapsed() > SOON {
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    if ended.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let text = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let (stdout, stderr) = (text(stdout), text(stderr));
    let Some(status) = ended else {
        panic!("{command:?} did not end within {SOON:?}\n{stdout}{stderr}");
    };
    Outcome {
        status: status.code(),
        stdout,
        stderr,
    }
}
