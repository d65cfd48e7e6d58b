//! Proves what is in the packages, and that Debian's and Fedora's own checkers find no fault with them. What they do
//! where they are installed, `tests/systemd` proves.

use std::path::Path;
use std::process::Command;

use crate::common::{TempDir, package, run, with};
use crate::machine;

const BUILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/build");
const COPYRIGHT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/copyright");
const RPMLINT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/rpm/rpmlint.toml");

/// What both packages have, at the same place.
const FILES: [&str; 18] = [
    "/etc/ntpfront/ntpfront.toml",
    "/usr/lib/systemd/system/ntpfront-anycast@.service",
    "/usr/lib/systemd/system/ntpfront.service",
    "/usr/lib/systemd/system/ntpfront.socket",
    "/usr/lib/sysusers.d/ntpfront.conf",
    "/usr/sbin/ntpfront",
    "/usr/share/bash-completion/completions/ntpfront",
    "/usr/share/doc/ntpfront/examples/grafana-ntpfront.json",
    "/usr/share/doc/ntpfront/examples/ntpfront-bird.conf",
    "/usr/share/doc/ntpfront/examples/ntpfront-notrack.nft",
    "/usr/share/doc/ntpfront/examples/ntpfront-sysctl.conf",
    "/usr/share/doc/ntpfront/examples/prometheus-ntpfront.rules.yml",
    "/usr/share/doc/ntpfront/examples/try.toml",
    "/usr/share/fish/vendor_completions.d/ntpfront.fish",
    "/usr/share/ntpfront/ntpfront.schema.json",
    "/usr/share/man/man5/ntpfront.toml.5.gz",
    "/usr/share/man/man8/ntpfront.8.gz",
    "_ntpfront",
];
/// What only systemd 254 and later understand.
const LATER: &str = "/usr/lib/systemd/system/ntpfront.service.d/10-notify-reload.conf";

/// What a build for this machine fetched is all that the rest of `packaging/build` asks for: whoever builds for the first time
/// has no crates of other targets. (To build all anew would show no more, and take minutes.)
#[test]
fn a_fresh_cargo_home_suffices() {
    let _machine = machine::shared();
    if !with("packages") || !with("crates.io") {
        return;
    }
    let home = TempDir::new();
    let version = run(Command::new("rustc").arg("-vV"));
    let machine = version
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("host: "));
    let fetched = run(Command::new(env!("CARGO"))
        .args(["fetch", "--locked", "--target", machine.unwrap()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_HOME", home.path()));
    let hint = "without a network leave it out with NTPFRONT_WITHOUT=crates.io";
    assert_eq!(fetched.status, Some(0), "{hint}: {}", fetched.said());
    for option in [None, Some("--texts"), Some("--spdx")] {
        let made = run(Command::new(COPYRIGHT)
            .args(option)
            .env("CARGO_HOME", home.path())
            .env("CARGO_NET_OFFLINE", "true"));
        assert_eq!(made.status, Some(0), "{option:?}: {}", made.said());
        assert!(made.stdout.contains("GPL"), "{}", made.said());
    }
}

#[test]
fn deb() {
    let _machine = machine::shared();
    if !with("packages") {
        return;
    }
    let deb = package::build("deb", "deb", &["--for", "12"]);
    let listed = said("dpkg-deb", &["--contents"], &deb);
    for file in FILES {
        assert!(listed.contains(file), "no {file} in\n{listed}");
    }
    for file in ["changelog.gz", "changelog.Debian.gz", "copyright"] {
        let path = format!("/usr/share/doc/ntpfront/{file}");
        assert!(listed.contains(&path), "no {path} in\n{listed}");
    }
    assert!(!listed.contains(LATER), "{listed}");
    // The program, and the hooks of certbot and of DHCP clients among the examples.
    assert_eq!(
        listed.matches("rwxr-xr-x root/root").count(),
        directories(&listed) + 3
    );
    let fields = said("dpkg-deb", &["--field"], &deb);
    assert!(!fields.contains("Conflicts:"), "{fields}");
    assert!(!fields.contains("Breaks:"), "{fields}");
    assert!(fields.contains("~deb12\n"), "{fields}");
    // The configuration, and AppArmor's profile, which is loaded before the service starts.
    assert_eq!(
        said("dpkg-deb", &["--info"], &deb).matches("conffiles").count(),
        1
    );
    let kept = run(Command::new("dpkg-deb").arg("--info").arg(&deb).arg("conffiles"));
    assert_eq!(
        kept.stdout,
        "/etc/apparmor.d/usr.sbin.ntpfront\n/etc/ntpfront/ntpfront.toml\n"
    );
    let script = run(Command::new("dpkg-deb").arg("--info").arg(&deb).arg("postinst"));
    let [loaded, started] = ["apparmor_parser -r", "deb-systemd-invoke $_dh_action"].map(|what| {
        script
            .stdout
            .find(what)
            .unwrap_or_else(|| panic!("{}", script.stdout))
    });
    assert!(loaded < started, "{}", script.stdout);

    let checked = run(Command::new("lintian")
        .args(["--fail-on", "error,warning"])
        .arg(&deb));
    assert_eq!(checked.status, Some(0), "{}", checked.said());
}

#[test]
fn rpm() {
    let _machine = machine::shared();
    if !with("packages") {
        return;
    }
    let rpm = package::build("rpm", "rpm-alone", &["--for", "fedora"]);
    let listed = said("rpm", &["--query", "--list", "--package"], &rpm);
    for file in FILES
        .into_iter()
        .chain([LATER, "/usr/share/licenses/ntpfront/copyright"])
    {
        assert!(listed.contains(file), "no {file} in\n{listed}");
    }
    let kept = said("rpm", &["--query", "--configfiles", "--package"], &rpm);
    assert_eq!(kept.trim(), "/etc/ntpfront/ntpfront.toml");
    let scripts = said("rpm", &["--query", "--scripts", "--package"], &rpm);
    for what in [
        "install-system-units",
        "remove-system-units",
        "mark-restart-system-units",
    ] {
        assert!(scripts.contains(what), "{scripts}");
    }
    let needed = said("rpm", &["--query", "--requires", "--package"], &rpm);
    assert!(needed.lines().any(|line| line == "systemd"), "{needed}");
    assert!(
        !needed.contains("python") && !needed.contains("perl"),
        "a document is taken for a program: {needed}"
    );

    let checked = run(Command::new("rpmlint").args(["--config", RPMLINT]).arg(&rpm));
    assert_eq!(checked.status, Some(0), "{}", checked.said());
    assert!(
        checked.stdout.contains("0 errors, 0 warnings"),
        "{}",
        checked.said()
    );
}

/// For Enterprise Linux 9, whose systemd is Debian 12's.
#[test]
fn rpm_for_an_older_systemd() {
    let _machine = machine::shared();
    if !with("packages") {
        return;
    }
    let rpm = package::build("rpm", "rpm-9", &["--for", "9", "--version", "1.2.3"]);
    let listed = said("rpm", &["--query", "--list", "--package"], &rpm);
    assert!(!listed.contains(LATER), "{listed}");
    let name = said("rpm", &["--query", "--package"], &rpm);
    assert_eq!(
        name.trim(),
        format!("ntpfront-1.2.3-1.el9.{}", std::env::consts::ARCH)
    );
}

#[test]
fn wrong_arguments_and_missing_tools_are_told() {
    let _machine = machine::shared();
    for (arguments, what) in [
        (&["zip"][..], "say what: deb or rpm"),
        (&["tar"], "--architecture: of tar, which?"),
        (&["deb", "--architecture", "mips"], "is amd64 or arm64, not mips"),
        (&["deb", "--colour", "red"], "there is no --colour"),
        (&["deb", "--output"], "--output needs a value"),
        (&["deb", "--version", "v1"], "v1 is no version"),
        (&["deb", "--version", "1-2"], "1-2 is no version"),
    ] {
        let refused = run(Command::new(BUILD).args(arguments));
        assert_eq!(refused.status, Some(2), "{}", refused.said());
        assert!(refused.stderr.contains(what), "{}", refused.said());
    }
    let few = package::few_tools();
    for (kind, package) in [("deb", "debhelper"), ("rpm", "rpm")] {
        let refused = run(Command::new(BUILD).arg(kind).env("PATH", few.path()));
        assert_eq!(refused.status, Some(3), "{}", refused.said());
        let told = format!("apt-get install python3 {package}");
        assert!(refused.stderr.contains(&told), "{}", refused.said());
    }
}

/// What a command prints about a package.
fn said(program: &str, arguments: &[&str], package: &Path) -> String {
    let asked = run(Command::new(program).args(arguments).arg(package));
    assert_eq!(asked.status, Some(0), "{program}: {}", asked.said());
    asked.stdout
}

/// The lines of directories in a listing.
fn directories(listed: &str) -> usize {
    listed.lines().filter(|line| line.starts_with('d')).count()
}
