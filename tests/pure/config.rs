//! Configurations as an operator meets them: files that are wrong, each with all that is said about it.
//!
//! `tests/bad-configs/NAME.toml` must give exactly `NAME.expected`, and what `ntpfront config` prints is in
//! `tests/golden/config.txt`. After a change of words or keys, `NTPFRONT_EXPECT=write cargo test --test pure config` writes
//! them again (and fails): then read the difference.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::{getegid, geteuid, mkfifo};
use ntpfront::cli::Flags;
use ntpfront::config::check::{CheckReport, CheckResult};
use ntpfront::config::effective::Setting;
use ntpfront::config::file::Loader;
use ntpfront::config::keys::tables;
use ntpfront::config::{Config, KeysInUse, Loaded, NtsClientKeys, NtsKeys, Place, Process, file, load};
use ntpfront::log::LogLevel;

use crate::common::TempDir;

fn flags(path: &Path) -> Flags {
    Flags {
        config: Some(path.to_owned()),
        ..Flags::default()
    }
}

/// What `ntpfront check -c PATH` says.
fn check(path: &Path) -> CheckReport {
    CheckReport::of(&file::load(&flags(path)))
}

#[test]
fn every_bad_file_gets_its_faults() {
    let mut paths: Vec<PathBuf> = fs::read_dir("tests/bad-configs")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(paths.len() >= 40, "only {} bad files", paths.len());
    let wrong: Vec<String> = paths.iter().filter_map(|path| differs(path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn differs(path: &Path) -> Option<String> {
    let report = check(path);
    assert_eq!(
        (report.result, report.summary.as_str()),
        (CheckResult::Refused, ""),
        "{} has no fault",
        path.display()
    );
    let beside = path.with_extension("expected");
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    if report.notes == expected {
        return None;
    }
    if is_to_be_written() {
        fs::write(&beside, &report.notes).unwrap();
    }
    Some(format!(
        "{}:\n{}instead of:\n{expected}",
        path.display(),
        report.notes
    ))
}

fn is_to_be_written() -> bool {
    std::env::var_os("NTPFRONT_EXPECT").is_some_and(|wish| wish == "write")
}

/// The only line that is said about a file, without its path.
fn only_fault(path: &Path) -> String {
    let report = check(path);
    assert_eq!(
        (report.result, report.summary.as_str()),
        (CheckResult::Refused, "")
    );
    let line = report.notes.strip_suffix("\n1 fault\n").expect("one fault");
    line.strip_prefix(&format!("{}: ", path.display()))
        .expect("the path comes first")
        .to_owned()
}

#[test]
fn what_is_no_small_regular_file_is_refused() {
    let scratch = TempDir::new();
    let link = scratch.path().join("circle");
    symlink(&link, &link).unwrap();
    let dangling = scratch.path().join("dangling");
    symlink(scratch.path().join("nowhere"), &dangling).unwrap();
    let pipe = scratch.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let huge = scratch.file(
        "huge",
        b"# fifty megabytes of comment\n".repeat(50 * 1024 * 1024 / 29),
    );
    let sparse = scratch.path().join("sparse");
    File::create(&sparse).unwrap().set_len(1 << 40).unwrap();
    for (path, expected) in [
        (scratch.path().to_owned(), "is a directory, not a regular file"),
        (pipe, "is a pipe, not a regular file"),
        (
            PathBuf::from("/dev/zero"),
            "is a character device, not a regular file",
        ),
        (
            PathBuf::from("/dev/null"),
            "is a character device, not a regular file",
        ),
        (huge, "is larger than 1 MiB, so it is no configuration"),
        (sparse, "is larger than 1 MiB, so it is no configuration"),
        (
            link,
            "cannot open: Too many levels of symbolic links (os error 40); symbolic links lead in a circle: see `namei` for each step",
        ),
        (
            dangling,
            "cannot open: No such file or directory (os error 2); it is a symbolic link to a file that is not there",
        ),
        (
            scratch.path().join("absent"),
            "cannot open: No such file or directory (os error 2); name another file with -c, or create it",
        ),
        (
            scratch.file("plain", b"").join("below"),
            "cannot open: Not a directory (os error 20)",
        ),
    ] {
        assert_eq!(only_fault(&path), expected, "{}", path.display());
    }
}

#[test]
fn exactly_one_mebibyte_is_read() {
    let scratch = TempDir::new();
    let mut bytes = vec![b'#'; 1024 * 1024];
    assert_eq!(check(&scratch.file("at", &bytes)).result, CheckResult::Accepted);
    bytes.push(b'#');
    assert_eq!(check(&scratch.file("above", &bytes)).result, CheckResult::Refused);
}

/// Root may read everything, so as root this test runs itself again as nobody.
#[test]
fn without_permission_the_fault_says_who_we_are_and_whose_the_file_is() {
    let test = "config::without_permission_the_fault_says_who_we_are_and_whose_the_file_is";
    if let Some(directory) = std::env::var_os("NTPFRONT_UNREADABLE") {
        return unreadable(Path::new(&directory));
    }
    let scratch = TempDir::new();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = scratch.file("secret.toml", b"");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    fs::create_dir(scratch.path().join("closed")).unwrap();
    fs::set_permissions(scratch.path().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    // A copy, because nobody may not be allowed to enter the directory where the tests are built.
    let program = scratch.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut again = Command::new(program);
    again
        .args(["--exact", test])
        .env("NTPFRONT_UNREADABLE", scratch.path())
        .current_dir("/");
    if geteuid().is_root() {
        again.uid(65534).gid(65534);
    }
    let output = again.output().unwrap();
    // Or else nobody but root could remove it.
    fs::set_permissions(scratch.path().join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn unreadable(directory: &Path) {
    let we = format!(
        "cannot open: Permission denied (os error 13); we are user {} and group {}, but",
        geteuid(),
        getegid()
    );
    for (path, at) in [("secret.toml", "secret.toml"), ("closed/ntpfront.toml", "closed")] {
        let said = only_fault(&directory.join(path));
        let expected = format!("{we} {} has mode 0000, owner ", directory.join(at).display());
        assert!(said.starts_with(&expected), "{said}\ninstead of\n{expected}");
    }
}

#[test]
fn the_default_file_may_be_absent_and_nothing_else() {
    let scratch = TempDir::new();
    let load = |flags: &Flags, default: &Path| Loader::with_default(flags, default).load();
    let none = Flags::default();
    assert_eq!(load(&none, &scratch.path().join("absent")).unwrap().path, None);
    let there = scratch.file("there", b"# nothing\n");
    assert_eq!(load(&none, &there).unwrap().path, Some(there.clone()));
    let dangling = scratch.path().join("dangling");
    symlink(scratch.path().join("nowhere"), &dangling).unwrap();
    assert!(load(&none, &dangling).is_err());
    assert!(load(&none, scratch.path()).is_err());
    assert!(load(&flags(&scratch.path().join("absent")), &there).is_err());
}

#[test]
fn a_file_that_comes_is_read_and_one_that_goes_is_missed() {
    let scratch = TempDir::new();
    let path = scratch.path().join("late");
    let mut loader = Loader::with_default(&Flags::default(), &path);
    assert_eq!(loader.load().unwrap().path, None);
    scratch.file("late", b"[log]\nlevel = \"debug\"\n");
    assert_eq!(loader.load().unwrap().config.log_level, LogLevel::Debug);
    std::fs::remove_file(&path).unwrap();
    let faults = loader.load().unwrap_err();
    assert!(faults[0].to_string().contains("No such file"), "{}", faults[0]);
    scratch.file("late", b"[log]\nlevel = \"warn\"\n");
    assert_eq!(loader.load().unwrap().config.log_level, LogLevel::Warn);
}

#[test]
fn a_file_is_another_one_by_its_content() {
    let scratch = TempDir::new();
    let path = scratch.path().join("watched");
    let mut loader = Loader::with_default(&Flags::default(), &path);
    assert_eq!(loader.load().unwrap().digest, None);
    assert_eq!(loader.digest().unwrap(), None);
    let text = b"[log]\nlevel = \"debug\"\n";
    scratch.file("watched", text);
    let found = loader.digest().unwrap();
    assert!(found.is_some());
    assert_eq!(loader.load().unwrap().digest, found);
    // The same text in another file, with another time of change.
    std::fs::remove_file(&path).unwrap();
    scratch.file("watched", text);
    assert_eq!(loader.digest().unwrap(), found);
    for other in [&b"[log]\nlevel = \"error\"\n"[..], b"\xff", b""] {
        scratch.file("watched", other);
        let other = loader.digest().unwrap();
        assert!(other.is_some() && other != found, "{other:?}");
    }
    // It was there before: without it a reload would be refused.
    std::fs::remove_file(&path).unwrap();
    assert_ne!(loader.digest().unwrap(), found);
    std::fs::create_dir(&path).unwrap();
    assert!(loader.digest().is_err(), "what can't be read is not known");
    std::fs::remove_dir(&path).unwrap();
    // A drop-in is a part of it.
    scratch.file("watched", text);
    assert_eq!(loader.digest().unwrap(), found);
    std::fs::create_dir(scratch.path().join("conf.d")).unwrap();
    scratch.file("conf.d/more.toml", b"[clock]\nmin-sources = 1\n");
    let more = loader.digest().unwrap();
    assert!(more.is_some() && more != found);
    assert_eq!(loader.load().unwrap().digest, more);
}

#[test]
fn odd_but_good_files_are_read() {
    let scratch = TempDir::new();
    let default = loaded("").config;
    for (name, bytes) in [
        ("empty", &b""[..]),
        ("bom", b"\xef\xbb\xbf"),
        ("bom-and-key", b"\xef\xbb\xbflog.level = \"info\"\n"),
        ("crlf", b"[log]\r\nlevel = \"info\"\r\n"),
        ("no-end-of-line", b"[log]\nlevel = \"info\""),
        ("dotted-and-inline", b"log.level = \"info\"\nclock = { min-sources = 1, max-distance = 1 }\nupstream = [{ address = \"127.0.0.1:11123\" }]"),
        ("comment", "# größer \u{1f550}\n".as_bytes()),
    ] {
        let loaded = file::load(&flags(&scratch.file(name, bytes)));
        assert_eq!(loaded.map(|loaded| loaded.config), Ok(default.clone()), "{name}");
    }
}

/// A text without faults.
fn loaded(text: &str) -> Loaded {
    load(&Flags::default(), Some((Path::new("f"), text)))
        .unwrap_or_else(|faults| panic!("{faults:?}\n{text}"))
}

/// The example as if the comment signs of all its settings were removed.
fn uncommented(text: &str) -> String {
    text.lines()
        .map(|line| format!("{}\n", setting(line).unwrap_or(line)))
        .collect()
}

/// A setting follows its comment sign without a blank.
fn setting(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('#')?;
    rest.starts_with(|c: char| c.is_alphabetic() || c == '[')
        .then_some(rest)
}

#[test]
fn the_annotated_example_says_the_defaults() {
    let text = fs::read_to_string("config/ntpfront.toml").unwrap();
    let default = load(&Flags::default(), None).unwrap();
    let as_shipped = loaded(&text);
    assert_eq!(as_shipped.config, default.config);
    assert_eq!(as_shipped.default_listeners, default.default_listeners);
    // It means something only with nts = true, and is read then.
    let said = loaded(&uncommented(&text).replace("ca = \"/etc/ntpfront/ca.pem\"\n", ""));
    assert_eq!(said.default_listeners, []);
    // These have no default; what stands there is an example.
    let nts = NtsKeys {
        certificate: vec!["/etc/ntpfront/tls/fullchain.pem".into()],
        key: vec!["/etc/ntpfront/tls/privkey.pem".into()],
        secret: Some("/etc/ntpfront/nts-secret".into()),
        ntp_server: Some("ntp.example".to_owned()),
        ..default.config.nts.clone()
    };
    let process = Process {
        user: Some("ntpfront".to_owned()),
        chroot: Some("/var/empty".into()),
        ..default.config.process.clone()
    };
    assert_eq!(
        said.config,
        Config {
            process,
            nts,
            nts_client: NtsClientKeys {
                roots: Some("/etc/ntpfront/roots.pem".into()),
                ..default.config.nts_client.clone()
            },
            symmetric_keys: KeysInUse {
                file: Some("/etc/ntpfront/ntp.keys".into()),
                ..default.config.symmetric_keys.clone()
            },
            ..default.config
        }
    );
    let left_out: Vec<&Setting> = said
        .effective
        .tables
        .iter()
        .flat_map(|table| &table.settings)
        .filter(|setting| setting.origin == Place::Default)
        .collect();
    // All keys are explained once, at the first table of their kind.
    let tables = tables();
    let listener = tables.iter().find(|table| table.name() == "listener").unwrap();
    let keys = listener.keys.iter().map(|key| key.name);
    assert_eq!(
        left_out.iter().map(|setting| setting.key).collect::<Vec<_>>(),
        keys.filter(|key| *key != "address")
            .chain(["ca"])
            .collect::<Vec<_>>()
    );
}

#[test]
fn the_first_run_is_two_families_and_three_upstreams() {
    let report = check(Path::new("config/try.toml"));
    assert_eq!(report.summary, "config/try.toml: ok: 2 listeners, 3 upstreams\n");
    let config = loaded(&fs::read_to_string("config/try.toml").unwrap()).config;
    assert_eq!(config.clock.min_sources, 2);
    assert!(config.clock.local.is_some());
    assert!(
        config
            .listeners
            .iter()
            .all(|listener| listener.address.port() == 12300 && listener.workers == 2)
    );
    assert!(
        config
            .upstreams
            .iter()
            .all(|upstream| !upstream.to_string().contains("pool"))
    );
}

#[test]
fn check_says_what_there_is() {
    let report = CheckReport::of(&load(&Flags::default(), None));
    assert_eq!(
        (report.summary.as_str(), report.result),
        (
            "no configuration file: ok: 2 listeners, 1 upstream\n",
            CheckResult::Accepted
        )
    );
}

#[test]
fn config_prints_what_is_in_effect_and_why() {
    let flags = Flags {
        ipv4_workers: Some("4".to_owned()),
        debug: true,
        ..Flags::default()
    };
    let text = "[clock]\nmin-sources = 2\n\n[[upstream]]\naddress = \"[::1]:323\"\nmaxpoll = 1\n\n[[upstream]]\naddress = \"Time.example\"\n[access]\ndeny = [\"192.0.2.0/24\", \"2001:db8::1\"]\n[limit]\nmode = \"on\"\n[[listener]]\naddress = \"0.0.0.0:123\"\n[[listener]]\naddress = \"[::]:123\"\nmax-stratum = 3\naccess.default = \"deny\"\naccess.allow = [\"2001:db8::/32\"]\n[listener.limit]\nmode = \"off\"\n";
    let loaded = load(&flags, Some((Path::new("/etc/n.toml"), text))).unwrap();
    let effective = loaded.effective.to_string();
    // How far the comments are indented depends on the longest line.
    let lines = effective.lines().map(|line| match line.rsplit_once("# ") {
        Some((setting, origin)) => format!("{}  # {origin}\n", setting.trim_end()),
        None => format!("{line}\n"),
    });
    let (printed, golden) = (lines.collect::<String>(), Path::new("tests/golden/config.txt"));
    let expected = fs::read_to_string(golden).unwrap();
    if printed != expected && is_to_be_written() {
        fs::write(golden, &printed).unwrap();
    }
    assert_eq!(printed, expected);
}
