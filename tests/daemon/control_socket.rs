//! Proves where the control socket is, that commands find it, and that they say what to do if they can't reach it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::common::client::v4;
use crate::common::daemon::{Daemon, LOCAL, ntpfront};
use crate::common::port::free_port;
use crate::common::program::command;
use crate::common::{Outcome, TempDir, root, run};

/// A user and group without a name and without permissions.
const USER: u32 = 64_321;

/// A directory as the session of that user has it.
fn runtime_directory(mode: u32) -> TempDir {
    let directory = TempDir::new();
    let path = directory.path();
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    chown(path, Some(USER), Some(USER)).unwrap();
    directory
}

/// The program, as that user runs it in a session with this directory.
fn of_user(words: &[&str], runtime: &Path) -> Command {
    let mut asked = command();
    asked.args(words).env("XDG_RUNTIME_DIR", runtime);
    asked.uid(USER).gid(USER);
    asked
}

#[test]
fn a_server_of_a_user_has_a_socket_that_the_commands_of_that_user_find() {
    if !root() {
        return;
    }
    let runtime = runtime_directory(0o700);
    let files = TempDir::new();
    fs::set_permissions(files.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let port = v4(free_port());
    let text = format!("{LOCAL}[[listener]]\naddress = \"{port}\"\n");
    let file = files.file("ntpfront.toml", &text);
    let file = file.to_str().unwrap();
    let asked = |words: &[&str]| run(&mut of_user(&[words, &["-c", file]].concat(), runtime.path()));
    let waiting = std::thread::scope(|scope| {
        // `wait` begins before there is a server.
        let waiting = scope.spawn(|| asked(&["wait", "--timeout", "0.3"]));
        waiting.join().unwrap()
    });
    assert_eq!(waiting.status, Some(1), "{}", waiting.said());
    assert!(
        waiting.stderr.contains("there is no such socket"),
        "{}",
        waiting.said()
    );
    let daemon = Daemon::spawn(of_user(&["-c", file], runtime.path())).answering(port);
    let socket = runtime.path().join("ntpfront/control.sock");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o660, 0o700));
    let line = format!("control socket {}", socket.display());
    assert!(daemon.log().contains(&line), "{}", daemon.log());
    for words in [
        &["status"][..],
        &["upstreams"],
        &["clients"],
        &["health"],
        &["reload"],
        &["check", "--against-running"],
    ] {
        let outcome = asked(words);
        assert_eq!(outcome.status, Some(0), "{words:?}: {}", outcome.said());
    }
    // The directory of another user is none: the socket is looked for at the usual place only.
    let other = TempDir::new();
    let outcome = run(&mut of_user(&["status", "-c", file], other.path()));
    assert_eq!(outcome.status, Some(1), "{}", outcome.said());
    assert!(
        outcome.stderr.contains(": /run/ntpfront/control.sock: "),
        "{}",
        outcome.said()
    );
}

#[test]
fn a_socket_that_cannot_be_reached_is_an_error_with_its_remedy() {
    let directory = TempDir::new();
    let socket = directory.path().join("control.sock");
    let socket = socket.to_str().unwrap();
    let asked = || ntpfront(&["status", "--socket", socket]);
    let says = |outcome: Outcome, words: &str| {
        assert_eq!(outcome.status, Some(1), "{}", outcome.said());
        assert!(outcome.stderr.contains(words), "{words}: {}", outcome.said());
    };
    says(asked(), "there is no such socket: start ntpfront");
    drop(UnixListener::bind(socket).unwrap());
    says(asked(), "left from one that has ended");
    if !root() {
        return;
    }
    // "adm" is a group of every Debian and Fedora.
    let group = nix::unistd::Group::from_name("adm").unwrap().unwrap();
    chown(directory.path(), None, Some(group.gid.as_raw())).unwrap();
    for (mode, words) in [
        (
            0o750,
            format!(
                "{} is for the group adm: use sudo, or `usermod -aG adm {USER}`",
                directory.path().display()
            ),
        ),
        (
            0o700,
            "is closed to other users, and to its group: use sudo".to_owned(),
        ),
    ] {
        fs::set_permissions(directory.path(), PermissionsExt::from_mode(mode)).unwrap();
        says(
            run(&mut of_user(&["status", "--socket", socket], directory.path())),
            &words,
        );
    }
}
