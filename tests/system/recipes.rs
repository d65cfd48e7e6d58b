//! Proves that the recipes for other systems parse, say what `Cargo.toml` says, and have all that their tools ask for; and that
//! AppArmor's profile does. (What it allows, `tests/kernels` proves.) They are not built here: that takes those systems.

use std::path::Path;
use std::process::Command;

use crate::common::{TempDir, peer, run, with};
use crate::machine;

const TOP: &str = env!("CARGO_MANIFEST_DIR");
const VERSION: &str = env!("CARGO_PKG_VERSION");
const LICENSE: &str = env!("CARGO_PKG_LICENSE");

/// What a shell knows after it has read a recipe, in which no program can be run.
fn sourced(shell: &str, recipe: &str, variables: &[&str], functions: &[&str]) -> Vec<String> {
    let mut script = "set -eu; . ./\"$0\"; PATH=; ".to_owned();
    for function in functions {
        script += &format!("type {function} >/dev/null; ");
    }
    for variable in variables {
        script += &format!("echo \"${{{variable}}}\"; ");
    }
    let path = Path::new(TOP).join("packaging").join(recipe);
    let said = run(Command::new(shell)
        .args(["-c", &script])
        .arg(path.file_name().unwrap())
        .current_dir(path.parent().unwrap())
        .env_clear()
        .env("PATH", "/nonexistent"));
    assert_eq!(said.status, Some(0), "{recipe}: {}", said.said());
    assert_eq!(said.stderr, "", "{recipe}");
    said.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn arch() {
    let _machine = machine::shared();
    let said = sourced(
        "/bin/bash",
        "arch/PKGBUILD",
        &[
            "pkgname", "pkgver", "license", "pkgrel", "arch[*]", "source", "backup",
        ],
        &["prepare", "build", "package"],
    );
    assert_eq!(said[..3], ["ntpfront", VERSION, LICENSE]);
    assert_eq!(said[4], "x86_64 aarch64");
    assert!(
        said[5].ends_with(&format!("/{VERSION}/ntpfront-{VERSION}.tar.gz")),
        "{said:?}"
    );
    // pacman's names have no slash in front.
    assert_eq!(said[6], "etc/ntpfront/ntpfront.toml");
}

#[test]
fn alpine() {
    let _machine = machine::shared();
    let said = sourced(
        "/bin/sh",
        "alpine/APKBUILD",
        &[
            "pkgname", "pkgver", "license", "pkgrel", "pkgdesc", "url", "arch", "install", "source",
        ],
        &["prepare", "build", "package"],
    );
    assert_eq!(said[..3], ["ntpfront", VERSION, LICENSE]);
    assert_eq!(said[6], "x86_64 aarch64");
    // What it names is beside it.
    for file in [&said[7], said[9].trim()] {
        assert!(
            Path::new(TOP).join("packaging/alpine").join(file).exists(),
            "{file}"
        );
    }
    let functions = ["depend", "start_pre", "reload"];
    sourced("/bin/sh", "alpine/ntpfront.initd", &["command"], &functions);
    let path = format!("{TOP}/packaging/alpine/ntpfront.pre-install");
    let parsed = run(Command::new("sh").args(["-n", &path]));
    assert_eq!(parsed.status, Some(0), "{}", parsed.said());
}

#[test]
fn nix() {
    let _machine = machine::shared();
    let Some(nix) = peer("nix", "nix-instantiate") else {
        return;
    };
    let home = TempDir::new();
    let mut command = Command::new(nix);
    for variable in [
        "HOME",
        "NIX_STORE_DIR",
        "NIX_STATE_DIR",
        "NIX_LOG_DIR",
        "NIX_CONF_DIR",
    ] {
        command.env(variable, home.path());
    }
    let parsed = run(command
        .arg("--parse")
        .arg(format!("{TOP}/packaging/nix/package.nix")));
    assert_eq!(parsed.status, Some(0), "{}", parsed.said());
    for what in [
        "pname = \"ntpfront\";".to_owned(),
        format!("version = \"{VERSION}\";"),
        // nixpkgs' name of this licence.
        "license = (lib).licenses.gpl2Plus;".to_owned(),
    ] {
        assert!(parsed.stdout.contains(&what), "{what}: {}", parsed.stdout);
    }
    assert_eq!(LICENSE, "GPL-2.0-or-later");
}

#[test]
fn apparmor() {
    let _machine = machine::shared();
    let Some(parser) = peer("apparmor", "apparmor_parser") else {
        return;
    };
    let read = |option: &str| {
        let read = run(Command::new(&parser)
            .args(["--skip-kernel-load", "--skip-cache", option])
            .arg(format!("{TOP}/packaging/apparmor/usr.sbin.ntpfront")));
        assert_eq!(read.status, Some(0), "{}", read.said());
        read.stdout
    };
    assert_eq!(read("--names").trim(), "ntpfront");
    read("--debug");
    // The unit names it, and goes without it where it is not loaded.
    let unit = std::fs::read_to_string(format!("{TOP}/systemd/ntpfront.service")).unwrap();
    assert!(unit.contains("\nAppArmorProfile=-ntpfront\n"), "{unit}");
}

/// The files that another system's recipe takes are those of the packages.
#[test]
fn a_tree() {
    let _machine = machine::shared();
    if !with("packages") {
        return;
    }
    let tree = TempDir::new();
    let laid = Command::new(format!("{TOP}/packaging/build"))
        .args(["tree", "--binary", "/bin/true", "--documents"])
        .arg(crate::common::package::documents())
        .arg("--output")
        .arg(tree.path())
        .env(
            "CARGO_TARGET_DIR",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("build"),
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&laid.stderr);
    assert!(laid.status.success(), "{}: {said}", laid.status);
    for file in [
        "etc/ntpfront/ntpfront.toml",
        "usr/sbin/ntpfront",
        "usr/lib/systemd/system/ntpfront.service",
        "usr/share/licenses/ntpfront/copyright",
        "usr/share/man/man8/ntpfront.8",
    ] {
        assert!(tree.path().join(file).is_file(), "{file}");
    }
}
