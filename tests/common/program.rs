//! ntpfront's program, to be run.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ntpfront");

/// The program where everybody may run it, as some tests do as another user: where it was built, or a copy if that is in a
/// closed directory, as root's home is. `tests/run` removes the copies.
pub(crate) fn program() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        let is_open = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o001 != 0;
        if Path::new(PROGRAM).ancestors().all(is_open) {
            return PROGRAM.into();
        }
        let copy = std::env::temp_dir().join(format!("ntpfront-test-program-{}", std::process::id()));
        std::fs::copy(PROGRAM, &copy).unwrap();
        copy
    })
}

/// The program, to be run without anything that this machine's service manager may have put in the environment.
pub(crate) fn command() -> Command {
    clean(Command::new(program()))
}

/// `command` without that.
pub(super) fn clean(mut command: Command) -> Command {
    for variable in ["NOTIFY_SOCKET", "JOURNAL_STREAM", "LISTEN_FDS", "LISTEN_PID"] {
        command.env_remove(variable);
    }
    command
}
