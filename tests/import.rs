//! Proves `ntpfront import`: with the files that Debian's packages bring, and its exit statuses.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may fail, speak and look at the clock"
)]

mod common;

use std::path::Path;

use common::{Outcome, TempDir, daemon, peer, run};

fn import(arguments: &[&str]) -> Outcome {
    run(daemon::command().arg("import").args(arguments))
}

/// Does `ntpfront check` take what was printed? Then what it says of it.
fn checked(outcome: &Outcome) -> String {
    let directory = TempDir::new();
    let made = directory.file("made.toml", &outcome.stdout);
    let checked = run(daemon::command().arg("check").arg("-c").arg(made));
    assert_eq!(checked.status, Some(0), "{}{}", outcome.stdout, checked.said());
    checked.stdout
}

/// The files as they come, without saying whose they are.
#[test]
fn what_debian_ships() {
    for (name, upstreams, wanted, left) in [
        (
            "chrony.conf",
            "1 upstream",
            &["address = \"2.debian.pool.ntp.org\"", "default = \"deny\""][..],
            &[
                "confdir",
                "sourcedir",
                "keyfile",
                "driftfile",
                "ntsdumpdir",
                "logdir",
                "maxupdateskew",
                "rtcsync",
                "makestep",
            ][..],
        ),
        (
            "ntp.conf",
            "4 upstreams",
            &[
                "address = \"0.debian.pool.ntp.org\"",
                "min-sources = 3",
                "interval = 8.0",
                "leap-seconds.list",
            ],
            &["driftfile", "maxclock", "minclock", "kod"],
        ),
    ] {
        let Some(file) = peer("debian-files", name) else {
            return;
        };
        let outcome = import(&[file.to_str().unwrap()]);
        assert_eq!(outcome.status, Some(1), "{}", outcome.said());
        assert!(checked(&outcome).contains(upstreams), "{}", outcome.said());
        for word in wanted {
            assert!(outcome.stdout.contains(word), "{word}: {}", outcome.said());
        }
        for word in left {
            assert!(outcome.stderr.contains(word), "{word}: {}", outcome.said());
        }
    }
}

#[test]
fn exit_statuses() {
    let directory = TempDir::new();
    let whole = directory.file("whole", "allow\nserver a.example iburst\n");
    let part = directory.file("part", "rtcsync\n");
    let either = directory.file("either", "server a.example iburst\n");
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    let [whole, part, either] = [&whole, &part, &either].map(|path| name(path));
    for (arguments, status) in [
        (&[whole.as_str()][..], 0),
        (&[&whole, &part], 1),
        (&[&either], 2),
        (&["--from", "ntp", &either], 0),
        (&["/nowhere/chrony.conf"], 2),
        (&[&whole, "/nowhere/chrony.conf"], 2),
        (&[], 2),
        (&["--from", "windows", &whole], 2),
    ] {
        let outcome = import(arguments);
        assert_eq!(outcome.status, Some(status), "{arguments:?}: {}", outcome.said());
        assert_eq!(
            outcome.stdout.is_empty(),
            status == 2,
            "{arguments:?}: {}",
            outcome.said()
        );
        assert_eq!(
            outcome.stderr.is_empty(),
            status == 0,
            "{arguments:?}: {}",
            outcome.said()
        );
        if status < 2 {
            checked(&outcome);
        }
    }
}
