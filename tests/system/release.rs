//! Proves what `packaging/release` publishes: the same bytes twice, and repositories that apt and dnf read from a plain HTTP
//! server of this host. The program in it is a stand-in, since two release builds take long; what the packages do where they
//! are installed, `tests/systemd` proves.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::common::{TempDir, package, run, with};
use crate::machine;

const TOP: &str = env!("CARGO_MANIFEST_DIR");
const KEY: &str = "release@ntpfront.example";

/// A release, and another one at the same place a version later: that one is signed.
#[test]
fn twice_the_same_and_then_the_next_version() {
    let _machine = machine::shared();
    if !with("packages") {
        return;
    }
    let work = TempDir::new();
    let program = stand_in(work.path());
    let [first, again] = ["first", "again"].map(|name| {
        let output = work.path().join(name);
        release(
            &program,
            &output,
            &["--architecture", "arm64", "--version", "1.0"],
        );
        output
    });
    let compared = run(Command::new("diff").arg("-r").arg(&first).arg(&again));
    assert_eq!(compared.status, Some(0), "{}", compared.said());
    sums_hold(&first.join("1.0"));
    the_image_is_the_dockerfiles(&first.join("1.0/ntpfront-1.0-arm64.oci.tar"), work.path());
    the_bill_is_of_all_crates(&first.join("1.0/ntpfront-1.0-arm64.cdx.json"), &program);
    recipes_have_the_sum(&first.join("1.0"));

    let home = work.path().join("gnupg");
    let _agent = key(&home);
    release_with(&program, &first, &["--version", "1.1", "--sign", KEY], &home);
    sums_hold(&first.join("1.1"));
    let signed = run(Command::new("gpg")
        .env("GNUPGHOME", &home)
        .arg("--verify")
        .arg(first.join("1.1/SHA256SUMS.asc")));
    assert_eq!(signed.status, Some(0), "{}", signed.said());

    let server = Served::new(&first);
    for suite in ["bookworm", "trixie"] {
        apt_installs_and_upgrades(&server.url, suite, &first.join("ntpfront.asc"), work.path());
    }
    for repository in ["el9", "fedora"] {
        dnf_finds(&server.url, repository, work.path());
    }
    let refused = run(&mut command(&program, &first, &["--version", "1.1"]));
    assert_eq!(refused.status, Some(1), "{}", refused.said());
    assert!(
        refused.stderr.contains("what is published does not change"),
        "{}",
        refused.said()
    );
}

#[test]
fn wrong_arguments_and_missing_tools_are_told() {
    let _machine = machine::shared();
    let work = TempDir::new();
    let program = stand_in(work.path());
    for (arguments, what) in [
        (&["--colour", "red"][..], "there is no --colour"),
        (&["--output"], "--output needs a value"),
        (&["--architecture", "riscv64"], "amd64 or arm64, not riscv64"),
        (&["--binary", "amd64=/nonexistent"], "there is no such program"),
        (&["--version", "1-2"], "1-2 is no version"),
    ] {
        let refused = run(&mut command(&program, &work.path().join("out"), arguments));
        assert_eq!(refused.status, Some(2), "{}", refused.said());
        assert!(refused.stderr.contains(what), "{}", refused.said());
    }
    let few = package::few_tools();
    let refused = run(command(&program, &work.path().join("out"), &["--sign", KEY]).env("PATH", few.path()));
    assert_eq!(refused.status, Some(3), "{}", refused.said());
    for package in ["apt-utils", "createrepo-c", "gnupg"] {
        assert!(refused.stderr.contains(package), "{}", refused.said());
    }
}

/// A program for every architecture.
fn stand_in(directory: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join("stand-in");
    std::fs::write(&path, "#!/bin/sh\necho ntpfront\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The script, with all that it would build.
fn command(program: &Path, output: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(format!("{TOP}/packaging/release"));
    command.arg("--dirty").arg("--output").arg(output);
    for architecture in ["amd64", "arm64"] {
        command
            .arg("--binary")
            .arg(format!("{architecture}={}", program.display()));
    }
    command.args(arguments).env(
        "CARGO_TARGET_DIR",
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("release"),
    );
    command
}

fn release(program: &Path, output: &Path, arguments: &[&str]) {
    release_with(program, output, arguments, Path::new("/nonexistent"));
}

fn release_with(program: &Path, output: &Path, arguments: &[&str], gnupg: &Path) {
    let made = command(program, output, arguments)
        .arg("--documents")
        .arg(package::documents())
        .env("GNUPGHOME", gnupg)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{arguments:?}: {}\n{said}", made.status);
}

fn sums_hold(version: &Path) {
    let checked = run(Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(version));
    assert_eq!(checked.status, Some(0), "{}", checked.said());
    let sums = std::fs::read_to_string(version.join("SHA256SUMS")).unwrap();
    for what in [
        ".deb",
        ".rpm",
        ".oci.tar",
        ".cdx.json",
        "-linux-arm64.tar.gz",
        "BUILD",
        "PKGBUILD",
    ] {
        assert!(sums.contains(what), "{what}: {sums}");
    }
}

/// What the last stage of the Dockerfile says, and the files of the script that it calls.
fn the_image_is_the_dockerfiles(archive: &Path, work: &Path) {
    let layout = work.join("image");
    std::fs::create_dir(&layout).unwrap();
    let unpacked = run(Command::new("tar").arg("-C").arg(&layout).arg("-xf").arg(archive));
    assert_eq!(unpacked.status, Some(0), "{}", unpacked.said());
    let json =
        |path: &str| -> Value { serde_json::from_slice(&std::fs::read(layout.join(path)).unwrap()).unwrap() };
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        format!("blobs/{}", digest.replace(':', "/"))
    };
    let manifest = json(&blob(&json("index.json")["manifests"][0]));
    let whole = json(&blob(&manifest["config"]));
    assert_eq!(whole["architecture"], "arm64");
    let config = &whole["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], serde_json::json!(["/usr/bin/ntpfront"]));
    assert_eq!(config["Volumes"], serde_json::json!({"/run/ntpfront": {}}));
    assert_eq!(
        config["ExposedPorts"],
        serde_json::json!({"123/udp": {}, "4460/tcp": {}})
    );
    assert_eq!(
        config["Healthcheck"],
        serde_json::json!({"Test": ["CMD", "/usr/bin/ntpfront", "health"], "Interval": 30_000_000_000_u64,
            "Timeout": 5_000_000_000_u64, "StartPeriod": 60_000_000_000_u64, "Retries": 3})
    );
    assert_eq!(
        config["Labels"]["org.opencontainers.image.licenses"],
        "GPL-2.0-or-later"
    );
    assert_eq!(config["Labels"]["org.opencontainers.image.version"], "1.0");
    let listed = run(Command::new("tar")
        .args(["--numeric-owner", "-tvzf"])
        .arg(layout.join(blob(&manifest["layers"][0]))));
    for (mode, owner, path) in [
        ("-rw-r--r--", "0/0", "etc/passwd"),
        ("-rwxr-xr-x", "0/0", "usr/bin/ntpfront"),
        ("drwxr-xr-x", "65532/65532", "run/ntpfront/"),
    ] {
        let is_it = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.first() == Some(&mode) && words.get(1) == Some(&owner) && words.last() == Some(&path)
        };
        assert!(listed.stdout.lines().any(is_it), "{path}: {}", listed.said());
    }
}

/// Each crate that the copyright file names, with what identifies it.
fn the_bill_is_of_all_crates(file: &Path, program: &Path) {
    let bill: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    let own = &bill["metadata"]["component"];
    let sum = run(Command::new("sha256sum").arg(program));
    assert_eq!(own["hashes"][0]["content"], sum.stdout[..64]);
    let target = own["properties"][0]["value"].as_str().unwrap();
    let crates: Vec<String> = bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|part| part["purl"].as_str().unwrap().starts_with("pkg:cargo/"))
        .map(|part| {
            assert_eq!(part["hashes"][0]["content"].as_str().unwrap().len(), 64, "{part}");
            let [name, version] = ["name", "version"].map(|field| part[field].as_str().unwrap());
            format!("Files: crates/{name}-{version}/*")
        })
        .collect();
    let copyright = run(Command::new(format!("{TOP}/packaging/copyright")).args(["--target", target]));
    let named: Vec<_> = copyright
        .stdout
        .lines()
        .filter(|line| line.starts_with("Files: crates/"))
        .collect();
    assert_eq!(crates, named);
    assert!(crates.len() > 100, "{}", crates.len());
}

fn recipes_have_the_sum(version: &Path) {
    let sums = std::fs::read_to_string(version.join("SHA256SUMS")).unwrap();
    let line = sums.lines().find(|line| line.ends_with("  ntpfront-1.0.tar.gz"));
    for (file, number) in [
        ("arch/PKGBUILD", "pkgver=1.0\n"),
        ("nix/package.nix", "version = \"1.0\";"),
    ] {
        let text = std::fs::read_to_string(version.join("recipes").join(file)).unwrap();
        assert!(
            text.contains(&line.unwrap()[..64]) && text.contains(number),
            "{text}"
        );
    }
    let sums = run(Command::new("sha512sum")
        .arg("ntpfront-1.0.tar.gz")
        .current_dir(version));
    let text = std::fs::read_to_string(version.join("recipes/alpine/APKBUILD")).unwrap();
    assert!(
        text.contains(sums.stdout.trim()) && text.contains("pkgver=1.0\n"),
        "{text}"
    );
}

/// A key of the test's own. The agent ends with what is returned.
fn key(home: &Path) -> impl Drop {
    struct Agent(PathBuf);
    impl Drop for Agent {
        fn drop(&mut self) {
            let _ = Command::new("gpgconf")
                .env("GNUPGHOME", &self.0)
                .args(["--kill", "all"])
                .status();
        }
    }
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(home).unwrap();
    let agent = Agent(home.to_owned());
    let made = run(Command::new("gpg").env("GNUPGHOME", home).args([
        "--batch",
        "--passphrase",
        "",
        "--quick-gen-key",
        KEY,
        "ed25519",
        "sign",
        "never",
    ]));
    assert_eq!(made.status, Some(0), "{}", made.said());
    agent
}

/// A directory, served on loopback by Python's plain server.
struct Served {
    server: Child,
    url: String,
}

impl Served {
    fn new(directory: &Path) -> Self {
        let mut server = Command::new("python3")
            .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"])
            .current_dir(directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // "Serving HTTP on 127.0.0.1 port 40123 (http://127.0.0.1:40123/) ..."
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line.split(['(', ')']).nth(1).unwrap().to_owned();
        Self { server, url }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// With a root of apt's own, in which systemd is there, and in which the older version is, too.
fn apt_installs_and_upgrades(url: &str, suite: &str, key: &Path, work: &Path) {
    let root = work.join(format!("apt-{suite}"));
    let here = |path: &str| root.join(path);
    for directory in ["lists/partial", "cache/archives/partial", "etc"] {
        std::fs::create_dir_all(here(directory)).unwrap();
    }
    std::fs::write(
        here("etc/sources.list"),
        format!("deb [signed-by={}] {url}apt {suite} main\n", key.display()),
    )
    .unwrap();
    let (release, systemd) = if suite == "bookworm" {
        ("12", "252")
    } else {
        ("13", "257")
    };
    let installed = |package: &str, version: &str| {
        format!(
            "Package: {package}\nStatus: install ok installed\nArchitecture: arm64\nVersion: {version}\nMaintainer: a <a@b.example>\nDescription: a\n\n"
        )
    };
    let apt = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        for (option, value) in [
            ("Dir::State::status", here("status")),
            ("Dir::State::lists", here("lists")),
            ("Dir::State::extended_states", here("extended")),
            ("Dir::Cache", here("cache")),
            ("Dir::Etc::sourcelist", here("etc/sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null".into()),
            ("Dir::Etc::preferencesparts", "/dev/null".into()),
        ] {
            command.arg("-o").arg(format!("{option}={}", value.display()));
        }
        let said = run(command
            .args(["-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64"])
            .args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"])
            .args(["-o", "Acquire::http::Proxy=false"])
            .args(arguments)
            .current_dir(&root));
        assert_eq!(said.status, Some(0), "{arguments:?}: {}", said.said());
        assert!(!said.stderr.contains("W:"), "{arguments:?}: {}", said.said());
        said.stdout
    };
    std::fs::write(here("status"), installed("systemd", systemd)).unwrap();
    apt("apt-get", &["update"]);
    let [older, newer] = ["1.0", "1.1"].map(|version| format!("{version}-1~deb{release}"));
    let versions = apt("apt-cache", &["madison", "ntpfront"]);
    for version in [&older, &newer] {
        assert!(versions.contains(version.as_str()), "{versions}");
    }
    let install = apt("apt-get", &["install", "--simulate", "ntpfront"]);
    assert!(
        install.contains(&format!("Inst ntpfront ({newer} ntpfront:{suite} [arm64])")),
        "{install}"
    );
    apt("apt-get", &["download", &format!("ntpfront={older}")]);
    assert!(here(&format!("ntpfront_{older}_arm64.deb")).exists());
    std::fs::write(
        here("status"),
        installed("systemd", systemd) + &installed("ntpfront", &older),
    )
    .unwrap();
    let upgrade = apt("apt-get", &["upgrade", "--simulate"]);
    assert!(
        upgrade.contains(&format!("Inst ntpfront [{older}] ({newer} ")),
        "{upgrade}"
    );
}

/// Both versions of one architecture and the newer one of the other, by signed metadata; and the file of a package, whose
/// signature holds.
fn dnf_finds(url: &str, repository: &str, work: &Path) {
    let directory = work.join(format!("dnf-{repository}"));
    let dnf = |arguments: &[&str]| {
        let said = run(Command::new("dnf")
            .arg(format!("--repofrompath=ntpfront,{url}rpm/{repository}"))
            .args(["--quiet", "--repo=ntpfront", "--setopt=proxy="])
            .arg(format!("--setopt=cachedir={}", directory.join("cache").display()))
            .arg(format!("--setopt=ntpfront.gpgkey={url}ntpfront.asc"))
            .args(["--setopt=ntpfront.repo_gpgcheck=1", "--assumeyes"])
            .arg(format!("--installroot={}", directory.join("root").display()))
            .args(["--releasever=9", "--forcearch=x86_64"])
            .args(arguments));
        assert_eq!(said.status, Some(0), "{arguments:?}: {}", said.said());
        said.stdout
    };
    let dist = if repository == "el9" { ".el9" } else { "" };
    let listed = dnf(&["repoquery", "ntpfront"]);
    let expected = ["1.0-1 aarch64", "1.1-1 aarch64", "1.1-1 x86_64"].map(|package| {
        let (version, architecture) = package.split_once(' ').unwrap();
        format!("ntpfront-0:{version}{dist}.{architecture}")
    });
    assert_eq!(listed.lines().collect::<Vec<_>>(), expected);

    let place = dnf(&["repoquery", "--location", "ntpfront-1.1-1*.x86_64"]);
    let file = directory.join("fetched.rpm");
    let fetched = run(Command::new("/usr/lib/apt/apt-helper")
        .args(["-o", "Acquire::http::Proxy=false", "download-file", place.trim()])
        .arg(&file));
    assert_eq!(fetched.status, Some(0), "{}", fetched.said());
    let keys = format!("--dbpath={}", directory.join("keys").display());
    let imported = run(Command::new("rpmkeys")
        .args([&keys, "--import"])
        .arg(work.join("first/ntpfront.asc")));
    assert_eq!(imported.status, Some(0), "{}", imported.said());
    let checked = run(Command::new("rpmkeys").args([&keys, "--checksig"]).arg(&file));
    assert!(
        checked.stdout.contains("digests signatures OK"),
        "{}",
        checked.said()
    );
}
