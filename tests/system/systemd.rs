//! Proves the packages and the service in a booted real systemd, Debian 12's (252) and Debian 13's (257): each file of
//! `tests/systemd/scenarios` is one behavior, run inside as an operator would do it, with what the package installed.
//!
//! `NTPFRONT_SCENARIOS="start stop" cargo test --test system systemd -- --nocapture` runs some of them and shows what they saw.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::{load, package, root, with};
use crate::machine;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/systemd");

#[test]
fn debian_12() {
    all_scenarios_pass("bookworm", || {
        let ours = package::build("deb", "bookworm", &["--for", "12"]);
        let later = package::build("deb", "bookworm-later", &["--for", "13"]);
        directory(
            "bookworm-packages",
            &[("ntpfront.deb", ours), ("ntpfront-other.deb", later)],
        )
    });
}

#[test]
fn debian_13() {
    all_scenarios_pass("trixie", || {
        let ours = package::build("deb", "trixie", &["--for", "13"]);
        let earlier = package::build("deb", "trixie-earlier", &["--for", "12"]);
        let rpm = package::build("rpm", "rpm", &["--for", "fedora"]);
        let next = package::build("rpm", "rpm-next", &["--for", "fedora", "--version", "99.1"]);
        directory(
            "trixie-packages",
            &[
                ("ntpfront.deb", ours),
                ("ntpfront-other.deb", earlier),
                ("ntpfront.rpm", rpm),
                ("ntpfront-next.rpm", next),
                ("base.rpm", package::base()),
            ],
        )
    });
}

/// Runs them with the packages that `packages` makes a directory of, unless something is left out that they take.
fn all_scenarios_pass(suite: &str, packages: impl FnOnce() -> PathBuf) {
    if !root() || !with("systemd") || !with("packages") {
        return;
    }
    let machine = machine::shared();
    let packages = packages();
    let root = root_file_system(suite);
    drop(machine);
    let wanted = scenarios();
    let booted = boot(&root, &packages, &wanted);
    let said = String::from_utf8_lossy(&booted.stdout);
    println!("{suite}: {said}{}", String::from_utf8_lossy(&booted.stderr));
    // What never ran is no success.
    let missing: Vec<_> = wanted
        .iter()
        .filter(|name| !said.contains(&format!("passed {name} (")))
        .collect();
    assert!(missing.is_empty(), "{suite}: not passed: {missing:?}");
    assert!(booted.status.success(), "{suite}: {}", booted.status);
}

/// Debian's own file system of this release. It is made once, in a minute, and kept beside the build.
fn root_file_system(suite: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap()
        .join("systemd");
    let script = format!("{SCRIPTS}/root");
    let made = Command::new("timeout")
        .args(["900", &script, suite])
        .arg(&directory)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{script} {suite}: {}\n{}",
        made.status,
        String::from_utf8_lossy(&made.stderr)
    );
    directory.join(suite)
}

/// A directory with these files, each under the name that the scenarios call it by, and with the certificates of the tests.
fn directory(name: &str, files: &[(&str, PathBuf)]) -> PathBuf {
    const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/certificates");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).unwrap();
    for (name, path) in files {
        std::fs::copy(path, directory.join(name)).unwrap();
    }
    for name in ["ca.pem", "time.pem", "time.key"] {
        std::fs::copy(Path::new(CERTIFICATES).join(name), directory.join(name)).unwrap();
    }
    directory
}

/// The scenarios to run, by name.
fn scenarios() -> Vec<String> {
    if let Ok(some) = std::env::var("NTPFRONT_SCENARIOS") {
        return some.split_whitespace().map(str::to_owned).collect();
    }
    let files = std::fs::read_dir(format!("{SCRIPTS}/scenarios")).unwrap();
    let mut names: Vec<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

/// Runs them in a system that is booted for that. One at a time: they put a full load on two cores.
fn boot(root: &Path, packages: &Path, scenarios: &[String]) -> Output {
    let load = load::program();
    let _machine = machine::alone();
    // It ends with us, whoever ends us.
    Command::new("setpriv")
        .args(["--pdeathsig", "TERM"])
        .arg(format!("{SCRIPTS}/boot"))
        .arg(root)
        .arg(packages)
        .arg(load)
        .args(scenarios)
        .output()
        .unwrap()
}
