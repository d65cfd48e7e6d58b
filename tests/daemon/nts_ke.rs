//! Key establishment by the program itself, with real TLS over loopback: what clients get, and what changes while it runs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ntpfront::nts::aead::Algorithm;
use ntpfront::nts::cookie;
use ntpfront::nts::keyring::{Keyring, Period, Secret, Time};
use ntpfront::nts::secret_file;
use serde_json::Value;

use crate::common::client::{v4, v6};
use crate::common::daemon::{Daemon, LOCAL, Reload, ntpfront};
use crate::common::ke::{self, Established, KeClient, install, secrets, section};
use crate::common::port::free_port;
use crate::common::{SOON, TempDir, peer, root, run, wait_until};

const BOTH: [Algorithm; 2] = [Algorithm::SivCmac256, Algorithm::GcmSiv128];

/// A running server, where its keys are established, and the directory with its files.
pub(crate) struct KeDaemon {
    pub(crate) daemon: Daemon,
    pub(crate) ke: SocketAddr,
    pub(crate) ntp: SocketAddr,
    pub(crate) directory: TempDir,
}

impl KeDaemon {
    /// Started with the certificate for time.example, and these lines more in `[nts]`.
    pub(crate) fn start(more: &str) -> Self {
        let directory = TempDir::new();
        install(&directory, "time");
        let (ntp, ke) = (v4(free_port()), v4(free_port()));
        let text = text(&directory, ntp, ke, more);
        let daemon = Daemon::configured(&text).answering(ntp);
        Self {
            daemon,
            ke,
            ntp,
            directory,
        }
    }

    pub(crate) fn text(&self, more: &str) -> String {
        text(&self.directory, self.ntp, self.ke, more)
    }

    fn establish(&self) -> Established {
        KeClient::default().establish(self.ke, &BOTH).unwrap()
    }

    pub(crate) fn status(&self) -> Value {
        let socket = self.directory.path().join("control");
        let status = ntpfront(&["status", "--json", "--socket", socket.to_str().unwrap()]);
        assert_eq!(status.status, Some(0), "{}", status.said());
        serde_json::from_str(&status.stdout).unwrap()
    }

    /// How many sessions had this end so far.
    pub(crate) fn sessions(&self, end: &str) -> u64 {
        let status = self.status();
        let sessions = &status["nts"]["key_establishment"]["sessions"];
        sessions[end]
            .as_u64()
            .unwrap_or_else(|| panic!("{end}: {sessions}"))
    }

    /// Waits until this many sessions had this end. One is counted when its client has the answer already.
    pub(crate) fn has_sessions(&self, end: &str, count: u64) {
        wait_until(end, SOON, || (self.sessions(end) == count).then_some(()));
    }
}

fn text(directory: &TempDir, ntp: SocketAddr, ke: SocketAddr, more: &str) -> String {
    let control = directory.path().join("control");
    format!(
        "{LOCAL}[control]\nsocket = \"{}\"\n[[listener]]\naddress = \"{ntp}\"\n{}{more}\n",
        control.display(),
        section(directory, ke)
    )
}

fn day() -> Period {
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    Period::at(now, Duration::from_secs(86_400))
}

/// The keys of today under the secret of this number.
pub(crate) fn keyring(number: u8) -> Keyring {
    let secret = Secret::new([number; 32]);
    Keyring::new(&[secret], day(), 7, Time::Vouched).unwrap()
}

/// Whether all cookies are sealed under the secret of this number, and hold the keys of both sides.
fn are_of(established: &Established, number: u8) -> bool {
    let keyring = keyring(number);
    let cookies: Vec<_> = established.granted.cookies.iter().map(Vec::as_slice).collect();
    cookie::open(&keyring, &cookies)
        .into_iter()
        .all(|opened| opened.is_ok_and(|opened| opened.keys.bytes() == established.keys.bytes()))
}

//= RFC 8915 §4.1.6 cookies
#[test]
fn a_client_gets_keys_and_eight_cookies_that_hold_them() {
    let server = KeDaemon::start("");
    // A certificate is read once, so this is the file of the next reload.
    let path = secrets(&server.directory, &[7]);
    let more = format!("secret = \"{}\"", path.display());
    assert_eq!(server.daemon.reload(&server.text(&more)), Reload::Done);
    for (algorithms, expected, length) in [
        (&BOTH[..], Algorithm::SivCmac256, 100),
        (&[Algorithm::GcmSiv128][..], Algorithm::GcmSiv128, 68),
    ] {
        let got = KeClient::default().establish(server.ke, algorithms).unwrap();
        assert_eq!(got.granted.export.algorithm, expected);
        assert_eq!(got.granted.cookies.len(), 8);
        assert!(got.granted.cookies.iter().all(|cookie| cookie.len() == length));
        assert!(are_of(&got, 7));
        // The listener is not on 123, so clients are told.
        assert_eq!(got.granted.port, Some(server.ntp.port()));
        assert_eq!(got.granted.server, None);
    }
    server.has_sessions("established", 2);
    let status = server.status();
    let nts = &status["nts"];
    assert_eq!(nts["period"], day().number(), "{nts}");
    assert_eq!((&nts["secret"], &nts["secrets"]), (&"file".into(), &1.into()));
    let certificate = &nts["key_establishment"]["certificates"][0];
    assert_eq!(certificate["names"][0], "time.example");
    assert!(certificate["expires"].as_i64().unwrap() > 30 * 365 * 86_400);
    assert!(
        !server.daemon.log().contains("127.0.0.1:4"),
        "no client is logged"
    );
}

#[test]
fn both_families_and_several_threads_serve() {
    let directory = TempDir::new();
    install(&directory, "time");
    let (ntp, port) = (v4(free_port()), free_port());
    let text = text(&directory, ntp, v4(port), "threads = 3\n")
        .replace("listen = [", &format!("listen = [\"{}\", ", v6(port)));
    let _daemon = Daemon::configured(&text).answering(ntp);
    let name = KeClient {
        name: "localhost",
        ..KeClient::default()
    };
    for address in [v4(port), v6(port)] {
        for _ in 0..5 {
            assert_eq!(name.establish(address, &BOTH).unwrap().granted.cookies.len(), 8);
        }
    }
}

#[test]
fn a_certificate_that_is_renewed_is_served_without_a_signal() {
    let server = KeDaemon::start("");
    let old = server.establish().certificate;
    install(&server.directory, "renewed");
    // It looks every ten seconds.
    let new = wait_until("the renewed certificate", Duration::from_secs(30), || {
        let certificate = server.establish().certificate;
        (certificate != old).then_some(certificate)
    });
    // A bad pair is refused, and the good one stays.
    let key = server.directory.path().join("tls.key");
    std::fs::rename(server.directory.file("bad", "nonsense"), &key).unwrap();
    wait_until("the refusal of the bad key", Duration::from_secs(30), || {
        let log = server.daemon.log();
        log.contains("are not used; the previous ones stay in effect")
            .then_some(())
    });
    assert_eq!(server.establish().certificate, new);
    assert!(
        server.daemon.log().contains("others can access it"),
        "{}",
        server.daemon.log()
    );
}

#[test]
fn a_reload_refuses_a_bad_pair_and_takes_a_good_one_while_sessions_run() {
    let server = KeDaemon::start("client-interval = 0.0");
    let first = server.establish().certificate;
    std::fs::write(server.directory.path().join("tls.pem"), "nonsense").unwrap();
    assert_eq!(server.daemon.hang_up(), Reload::Refused);
    assert_eq!(server.establish().certificate, first);
    std::thread::scope(|scope| {
        let establish = || {
            let until = Instant::now() + Duration::from_secs(2);
            let mut count = 0;
            while Instant::now() < until {
                server.establish();
                count += 1;
            }
            count
        };
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(establish)).collect();
        for round in 0..8 {
            install(&server.directory, if round % 2 == 0 { "renewed" } else { "time" });
            let more = format!(
                "client-interval = 0.0\nthreads = {}\nkeep = {}",
                1 + round % 3,
                7 + round
            );
            assert_eq!(server.daemon.reload(&server.text(&more)), Reload::Done);
        }
        for client in clients {
            assert!(client.join().unwrap() > 10);
        }
    });
    assert_eq!(server.establish().certificate, first);
}

#[test]
fn a_secret_is_replaced_without_losing_the_old_one() {
    let server = KeDaemon::start("");
    let path = secrets(&server.directory, &[1]);
    let text = server.text(&format!("secret = \"{}\"", path.display()));
    assert_eq!(server.daemon.reload(&text), Reload::Done);
    assert!(are_of(&server.establish(), 1));
    for (numbers, sealing) in [(&[1, 2][..], 1), (&[2, 1], 2), (&[2], 2)] {
        secrets(&server.directory, numbers);
        assert_eq!(server.daemon.hang_up(), Reload::Done);
        assert!(are_of(&server.establish(), sealing), "{numbers:?}");
        assert_eq!(server.status()["nts"]["secrets"], numbers.len());
    }
    // A secret that others can read is refused.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&path, open).unwrap();
    assert_eq!(server.daemon.hang_up(), Reload::Refused);
    assert!(are_of(&server.establish(), 2));
}

#[test]
fn a_reload_turns_it_on_and_off() {
    let server = KeDaemon::start("");
    let without = server.text("").split("[nts]").next().unwrap().to_owned();
    server.establish();
    assert_eq!(server.daemon.reload(&without), Reload::Done);
    wait_until("nothing listens there any more", SOON, || {
        ke::connect(server.ke).err()
    });
    assert!(server.status()["nts"].is_null());
    assert_eq!(server.daemon.reload(&server.text("")), Reload::Done);
    server.establish();
}

#[test]
fn a_check_reads_the_files_and_names_what_is_wrong() {
    let directory = TempDir::new();
    install(&directory, "time");
    let path = directory.path().display().to_string();
    let check = |more: &str| {
        // The list of this machine may have expired.
        let text = format!(
            "{}{more}\n[clock]\nleap-seconds = \"\"\n",
            section(&directory, v4(4460))
        );
        let file = directory.file("check.toml", text);
        ntpfront(&["check", "-c", file.to_str().unwrap()])
    };
    let good = check("");
    assert_eq!((good.status, good.stderr.as_str()), (Some(0), ""));
    let said = "nts: certificate for time.example, localhost, 127.0.0.1, 127.0.0.2, ::1: ";
    assert!(
        good.stdout.contains(said) && good.stdout.contains(" days left"),
        "{}",
        good.said()
    );
    // This user can't read what the root of this machine has there.
    if root() {
        let user = check("[process]\nuser = \"nobody\"\n");
        let expected = format!(
            "nts: the user \"nobody\" can't read {path}/tls.key after the start ({path}/tls.key keeps it from that)"
        );
        assert_eq!(user.status, Some(0));
        assert!(user.stderr.contains(&expected), "{}", user.said());
    }
    install(&directory, "expired");
    let expired = check("");
    assert_eq!(expired.status, Some(0));
    assert!(
        expired.stderr.contains("days ago: clients can't establish keys"),
        "{}",
        expired.said()
    );
    // Its content alone: its mode stays.
    let other = std::fs::read("tests/common/certificates/wild.key").unwrap();
    std::fs::write(format!("{path}/tls.key"), other).unwrap();
    let wrong = check("");
    assert_eq!((wrong.status, wrong.stdout.as_str()), (Some(2), ""));
    assert!(
        wrong.stderr.contains("check.toml:4:7: nts.key: "),
        "{}",
        wrong.said()
    );
    assert!(
        wrong
            .stderr
            .contains("the key does not belong to the first certificate"),
        "{}",
        wrong.said()
    );
}

/// An expired certificate is said, and is no reason to serve no time.
#[test]
fn an_expired_certificate_is_told_and_the_time_goes_on() {
    let server = KeDaemon::start("");
    install(&server.directory, "expired");
    assert_eq!(server.daemon.hang_up(), Reload::Done);
    wait_until("the line in the log", SOON, || {
        let log = server.daemon.log();
        log.contains("is not valid: expired").then_some(())
    });
    let certificate = &server.status()["nts"]["key_establishment"]["certificates"][0];
    assert_eq!(certificate["trouble"], "invalid");
    let socket = server.directory.path().join("control");
    let health = ntpfront(&["health", "--socket", socket.to_str().unwrap()]);
    assert_eq!(health.status, Some(0));
    assert!(
        health.stdout.contains("; certificate for time.example"),
        "{}",
        health.said()
    );
}

/// The user of the service is another one than root, and reads the files by its group.
#[test]
fn a_user_without_privileges_reads_what_its_group_may() {
    if !root() {
        return;
    }
    const NOGROUP: u32 = 65_534;
    let directory = TempDir::new();
    let give = || {
        for file in ["tls.pem", "tls.key"] {
            std::os::unix::fs::chown(directory.path().join(file), None, Some(NOGROUP)).unwrap();
        }
    };
    install(&directory, "time");
    give();
    let (ntp, ke) = (v4(free_port()), v4(free_port()));
    let text = text(&directory, ntp, ke, "[process]\nuser = \"nobody\"");
    let daemon = Daemon::configured(&text).answering(ntp);
    let old = KeClient::default().establish(ke, &BOTH).unwrap().certificate;
    install(&directory, "renewed");
    give();
    assert_eq!(daemon.hang_up(), Reload::Done, "{}", daemon.log());
    assert_ne!(KeClient::default().establish(ke, &BOTH).unwrap().certificate, old);
    // What it may not read any more is refused, and the previous pair stays.
    install(&directory, "time");
    assert_eq!(daemon.hang_up(), Reload::Refused);
    assert_ne!(KeClient::default().establish(ke, &BOTH).unwrap().certificate, old);
}

/// The authority and the certificate that the document makes, as it makes them.
#[test]
fn the_authority_of_the_document_is_one_for_clients() {
    let Some(openssl) = peer("openssl", "openssl") else {
        return;
    };
    let document = std::fs::read_to_string("packaging/doc/nts.md").unwrap();
    let commands: Vec<&str> = document
        .lines()
        .filter(|line| line.starts_with("openssl "))
        .collect();
    assert_eq!(commands.len(), 2);
    let server = KeDaemon::start("");
    let path = server.directory.path();
    for command in commands {
        let script = command.replacen("openssl", &openssl.display().to_string(), 1);
        let made = run(std::process::Command::new("sh")
            .args(["-c", &script])
            .current_dir(path));
        assert_eq!(made.status, Some(0), "{}", made.said());
    }
    for (from, to) in [("fullchain.pem", "tls.pem"), ("privkey.pem", "tls.key")] {
        std::fs::rename(path.join(from), path.join(to)).unwrap();
    }
    assert_eq!(server.daemon.hang_up(), Reload::Done, "{}", server.daemon.log());
    let client = KeClient {
        name: "ntp.internal",
        authority: path.join("ca.pem"),
        ..KeClient::default()
    };
    assert_eq!(
        client.establish(server.ke, &BOTH).unwrap().granted.cookies.len(),
        8
    );
}

/// The secret is made where no file has one, and each start without a service manager has another.
#[test]
fn without_a_file_the_secret_is_made() {
    let server = KeDaemon::start("");
    assert_eq!(server.status()["nts"]["secret"], "made");
    let cookies = server.establish().granted.cookies;
    assert!(!are_of(&server.establish(), 0));
    assert_eq!(cookies.len(), 8);
}

#[test]
fn a_secret_for_a_file_is_printed_and_never_the_same() {
    let print = || {
        let printed = ntpfront(&["nts-secret"]);
        assert_eq!((printed.status, printed.stderr.as_str()), (Some(0), ""));
        assert_eq!(printed.stdout.lines().count(), 1);
        assert_eq!(secret_file::parse(printed.stdout.as_bytes()).unwrap().len(), 1);
        printed.stdout
    };
    assert_ne!(print(), print());
    assert_eq!(ntpfront(&["-d", "nts-secret"]).status, Some(2));
}
