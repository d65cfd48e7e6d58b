//! Proves `ntpfront import`: with the files that Debian's packages bring, beside a real chronyd, and its exit statuses.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use crate::common::chrony::Chronyd;
use crate::common::client::{exchange, receive, request, socket, v4};
use crate::common::daemon::Daemon;
use crate::common::port::free_port;
use crate::common::program::command;
use crate::common::{Outcome, SOON, TempDir, chrony, peer, run};

fn import(arguments: &[&str]) -> Outcome {
    run(command().arg("import").args(arguments))
}

/// Does `ntpfront check` take what was printed? Then what it says of it.
fn checked(outcome: &Outcome) -> String {
    let directory = TempDir::new();
    let made = directory.file("made.toml", &outcome.stdout);
    let checked = run(command().arg("check").arg("-c").arg(made));
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
            &[
                "address = \"2.debian.pool.ntp.org\"",
                "default = \"deny\"",
                "directories = [\"/run/chrony-dhcp\", \"/etc/chrony/sources.d\"]",
            ][..],
            &[
                "confdir",
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
        (
            "ntp.toml",
            "1 upstream",
            &[
                "address = \"ntpd-rs.pool.ntp.org\"",
                "address = \"127.0.0.1:123\"",
                "level = \"info\"",
            ],
            &[
                "observation-path",
                "only this host",
                "single-step-panic-threshold",
                "startup-step-panic-threshold",
            ],
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
        all_is_carried_or_told(&std::fs::read_to_string(&file).unwrap(), &outcome);
    }
}

/// Each line of the file that says something is told, or the origin of something in the result, or (below) known to be carried.
fn all_is_carried_or_told(text: &str, outcome: &Outcome) {
    let carried = [
        "leapsectz",
        "sourcedir",
        "restrict",
        "tos",
        "leapfile",
        "log-level",
        "mode",
        "address",
        "count",
        "[",
    ];
    for line in text.lines().map(str::trim) {
        let says_nothing = line.is_empty() || line.starts_with(['#', '!', ';', '%']);
        let is_carried = carried.iter().any(|word| line.starts_with(word));
        assert!(
            says_nothing || is_carried || outcome.said().contains(line.split(['=', ' ']).next().unwrap()),
            "{line}: {}",
            outcome.said()
        );
    }
}

#[test]
fn exit_statuses() {
    let directory = TempDir::new();
    let whole = directory.file("whole", "allow\nserver a.example iburst\n");
    let part = directory.file("part", "rtcsync\n");
    let latin = directory.path().join("latin");
    std::fs::write(&latin, b"# Zeit f\xfcr alle\nallow\n").unwrap();
    let either = directory.file("either", "server a.example iburst\n");
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    let [whole, part, either, latin] = [&whole, &part, &either, &latin].map(|path| name(path));
    for (arguments, status) in [
        (&[whole.as_str()][..], 0),
        (&[&whole, &part], 1),
        (&[&either], 2),
        (&["--from", "ntp", &either], 0),
        (&["/nowhere/chrony.conf"], 2),
        (&[&whole, "/nowhere/chrony.conf"], 1),
        (&[&part], 2),
        (&[&latin, "--from", "chrony"], 0),
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

/// README's command where the directories beside chrony.conf are empty: the shell leaves its patterns as they are.
#[test]
fn patterns_that_match_nothing_are_passed_over() {
    let directory = TempDir::new();
    let file = directory.file("chrony.conf", "server 192.0.2.1 iburst\nallow 10.0.0.0/8\n");
    let pattern = directory.path().join("conf.d/*.conf");
    let outcome = import(&[file.to_str().unwrap(), pattern.to_str().unwrap()]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    assert!(outcome.stderr.contains("passed over"), "{}", outcome.said());
    assert!(checked(&outcome).contains("1 upstream"), "{}", outcome.said());
    let empty = directory.file("empty.toml", "");
    let outcome = run(command().args(["check", "-c"]).arg(&empty));
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    assert!(outcome.stderr.contains("the file is empty"), "{}", outcome.said());
}

/// Rules that overlap in all ways; the last leaves one address that is always answered.
const RULES: &str = "\
allow 127.1
deny 127.1.2
allow 127.1.2.3
deny 127.3
deny 127.3.1
allow all 127.3
allow 127.4.0.0/15
deny 127.5
deny all 127.5.6
allow 127.5.6.7
allow 127.6
deny 127.6
allow 127.0.0.1
";

/// The one and the other, asked from the same addresses.
#[test]
fn who_is_answered_is_answered_by_chronyd_too() {
    let Some(chronyd) = chrony::program() else { return };
    let port = free_port();
    let lines = format!("local stratum 9\nbindaddress 127.0.0.1\n{RULES}");
    let directory = TempDir::new();
    let file = directory.file("chrony.conf", format!("{lines}port {port}\n"));
    let imported = import(&[file.to_str().unwrap()]);
    assert_eq!(imported.status, Some(0), "{}", imported.said());

    let theirs = {
        let _chronyd = Chronyd::configured(&chronyd, port, &lines);
        answered(v4(port))
    };
    let ours = {
        let _daemon = Daemon::configured(&imported.stdout).answering(v4(port));
        answered(v4(port))
    };
    assert_eq!(ours, theirs, "{}", imported.stdout);
    // Not all the same.
    let count = theirs.iter().filter(|(_, answered)| *answered).count();
    assert!((3..theirs.len() - 3).contains(&count), "{theirs:?}");
}

fn answered(server: SocketAddr) -> Vec<(Ipv4Addr, bool)> {
    let addresses = [
        [0, 0, 1],
        [0, 0, 2],
        [1, 0, 1],
        [1, 2, 1],
        [1, 2, 3],
        [1, 2, 4],
        [2, 0, 1],
        [3, 0, 1],
        [3, 1, 1],
        [4, 1, 1],
        [5, 1, 1],
        [5, 6, 6],
        [5, 6, 7],
        [6, 1, 1],
        [7, 7, 7],
    ];
    let addresses = addresses.map(|[a, b, c]| Ipv4Addr::new(127, a, b, c));
    addresses.map(|from| (from, is_answered(server, from))).to_vec()
}

/// Each of the two answers one after the other: what a later client got, an earlier one has got before.
fn is_answered(server: SocketAddr, from: Ipv4Addr) -> bool {
    let asking = socket((from, 0));
    asking.send_to(&request(4, 3), server).unwrap();
    let witness = socket((Ipv4Addr::LOCALHOST, 0));
    exchange(&witness, server, &request(4, 3), SOON).expect("an answer");
    receive(&asking, Duration::from_millis(10)).is_some()
}
