//! Impure. The commands that a watch runs at changes: one at a time, within a time, without a shell.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::output::print_error;
use crate::host::clock;
use crate::log::throttle::LogThrottle;

/// Time until a command that failed is run again.
const RETRY: Duration = Duration::from_secs(1);
/// Interval of looks whether a command has ended.
const LOOK: Duration = Duration::from_millis(5);

/// The words of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandLine {
    /// As it was written.
    text: String,
    words: Vec<String>,
}

impl CommandLine {
    /// Splits `text` into words, as a POSIX shell does without variables and wildcards.
    ///
    /// # Errors
    /// It has no words, or a quote without its end.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let words = shlex::split(text).filter(|words| words.first().is_some_and(|first| !first.is_empty()));
        let words =
            words.ok_or_else(|| format!("{text:?} is no command: a program and its arguments are wanted"))?;
        Ok(Self {
            text: text.to_owned(),
            words,
        })
    }
}

/// The commands for both changes.
#[derive(Clone, Debug)]
pub(super) struct Hooks {
    /// Run when the server becomes healthy.
    pub(super) up: Option<CommandLine>,
    /// Run when it is not healthy any more.
    pub(super) down: Option<CommandLine>,
    /// The longest time that one may take.
    pub(super) limit: Duration,
}

/// A change that a command is run for.
#[derive(Clone, Debug)]
struct HookRun {
    healthy: bool,
    reason: String,
}

/// The thread that runs the commands.
#[derive(Debug)]
pub(super) struct HookRunner {
    changes: Sender<HookRun>,
    thread: JoinHandle<()>,
}

impl HookRunner {
    /// Starts the thread; none where there is no command.
    ///
    /// # Errors
    /// The system allows no more threads.
    pub(super) fn start(hooks: Hooks) -> std::io::Result<Option<Self>> {
        if hooks.up.is_none() && hooks.down.is_none() {
            return Ok(None);
        }
        let (changes, receiver) = mpsc::channel();
        let run = move || follow(&hooks, &receiver);
        let thread = thread::Builder::new().name("hooks".to_owned()).spawn(run)?;
        Ok(Some(Self { changes, thread }))
    }

    /// Has the command for this change run, once the one before has ended.
    pub(super) fn run(&self, healthy: bool, reason: &str) {
        let reason = reason.to_owned();
        let _sent = self.changes.send(HookRun { healthy, reason });
    }

    /// Waits until the command for the last change has ended.
    pub(super) fn end(self) {
        drop(self.changes);
        let _ended = self.thread.join();
    }
}

/// Runs the command for the newest change, until there will be no more changes.
fn follow(hooks: &Hooks, changes: &Receiver<HookRun>) {
    let mut failures = LogThrottle::default();
    // The change whose command failed.
    let mut failed: Option<HookRun> = None;
    loop {
        let next = match &failed {
            None => changes.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => changes.recv_timeout(RETRY),
        };
        let change = match (next, failed.take()) {
            (Ok(change), _) => changes.try_iter().last().unwrap_or(change),
            (Err(RecvTimeoutError::Timeout), Some(again)) => again,
            (Err(_), _) => return,
        };
        let command = if change.healthy { &hooks.up } else { &hooks.down };
        let Some(command) = command else { continue };
        if let Err(why) = run(command, &change, hooks.limit) {
            if failures.pass(clock::raw()) {
                print_error(&format!(
                    "ntpfront health: {}: {why}; it is run again each second (more such errors are not printed for a minute)\n",
                    command.text
                ));
            }
            failed = Some(change);
        } else {
            failures = LogThrottle::default();
        }
    }
}

fn run(command: &CommandLine, change: &HookRun, limit: Duration) -> Result<(), String> {
    let (program, arguments) = command.words.split_first().ok_or("it is empty")?;
    let child = Command::new(program)
        .args(arguments)
        .env("NTPFRONT_HEALTHY", if change.healthy { "1" } else { "0" })
        .env("NTPFRONT_REASON", &change.reason)
        .stdin(Stdio::null())
        // Standard output belongs to the watch: another program may read it.
        .stdout(std::io::stderr())
        .process_group(0)
        .spawn();
    let mut child = child.map_err(|error| error.to_string())?;
    let status = wait(&mut child, limit).map_err(|error| error.to_string())?;
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(status.to_string()),
        None => Err(format!(
            "it did not end within {} s, and was killed",
            limit.as_secs_f64()
        )),
    }
}

/// Waits for the end of `child`; `None` if it was killed, with all that it started, since it took longer than `limit`.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let end = clock::raw().saturating_add(limit);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if clock::raw() >= end {
            // It was not waited for: the number is still that of its group.
            let _killed = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> HookRun {
        HookRun {
            healthy: true,
            reason: "all is well; $(rm -rf x)".to_owned(),
        }
    }

    #[test]
    fn words_are_split_as_a_shell_does_and_not_expanded() {
        let words = |text| CommandLine::new(text).map(|command| command.words);
        assert_eq!(
            words("birdc enable anycast").unwrap(),
            ["birdc", "enable", "anycast"]
        );
        assert_eq!(
            words(" sh -c 'a \"$b\" | c' ").unwrap(),
            ["sh", "-c", "a \"$b\" | c"]
        );
        assert_eq!(words("a $HOME *").unwrap(), ["a", "$HOME", "*"]);
        for text in ["", "  ", "'", "a 'b", "''", "# only a comment"] {
            assert!(words(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_command_is_run_with_its_reason_and_judged_by_its_status() {
        let run = |text, limit| run(&CommandLine::new(text).unwrap(), &change(), limit);
        let soon = Duration::from_secs(60);
        assert_eq!(run("true", soon), Ok(()));
        assert_eq!(
            run(
                "sh -c 'test \"$NTPFRONT_HEALTHY\" = 1 && test \"$NTPFRONT_REASON\" = \"all is well; \\$(rm -rf x)\"'",
                soon
            ),
            Ok(())
        );
        assert_eq!(run("sh -c 'exit 3'", soon), Err("exit status: 3".to_owned()));
        assert!(
            run("/nonexistent/program", soon)
                .unwrap_err()
                .contains("No such file")
        );
        let start = clock::raw();
        let late = run("sh -c 'sleep 100 & sleep 100'", Duration::from_millis(50));
        assert!(late.unwrap_err().contains("within 0.05 s, and was killed"));
        assert!(clock::raw() - start < Duration::from_secs(50));
    }

    #[test]
    fn of_the_changes_meanwhile_only_the_last_one_counts() {
        let directory = std::env::temp_dir().join(format!("ntpfront-hook-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("ran");
        let command = |word| {
            let text = format!("sh -c 'sleep 0.2; echo {word} >> \"{}\"'", file.display());
            Some(CommandLine::new(&text).unwrap())
        };
        let hooks = Hooks {
            up: command("up"),
            down: command("down"),
            limit: Duration::from_secs(60),
        };
        let runner = HookRunner::start(hooks).unwrap().unwrap();
        runner.run(true, "");
        thread::sleep(Duration::from_millis(100));
        for healthy in [false, true, false, true, false] {
            runner.run(healthy, "");
        }
        runner.end();
        let ran = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(ran.ends_with("down\n") && ran.lines().count() <= 3, "{ran}");
    }
}
