//! Proves that upstreams are polled with NTS against a real server (chronyd): keys, cookies, NAK, certificates; and that they
//! are never polled without.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use ntpfront::wire::Leap;
use serde_json::Value;

use crate::common::chrony::{self, Chronyd};
use crate::common::client::{self, v4};
use crate::common::daemon::{Daemon, Reload};
use crate::common::page;
use crate::common::port::free_port;
use crate::common::program::command;
use crate::common::scripted::{Scripted, honest};
use crate::common::status::status;
use crate::common::{SOON, TempDir, run, wait_until};

fn certificate(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/upstream_certificates");
    directory.join(name)
}

/// A chronyd that establishes keys with this certificate.
fn nts_server(program: &Path, ntp: u16, ke: u16, name: &str) -> Chronyd {
    let lines = format!(
        "local stratum 7\nallow\nbindaddress 127.0.0.1\nbindaddress ::1\nntsport {ke}\nntsservercert {}\nntsserverkey {}\n",
        certificate(name).display(),
        certificate("time.key").display()
    );
    Chronyd::configured(program, ntp, &lines)
}

/// ntpfront with this upstream with NTS.
struct Client {
    server: SocketAddr,
    directory: TempDir,
    daemon: Daemon,
}

impl Client {
    /// `lines` are those of the upstream, `tables` all other ones.
    fn of(address: &str, lines: &str, tables: &str) -> Self {
        let (server, directory) = (v4(free_port()), TempDir::new());
        let control = directory.path().join("control");
        let daemon = Daemon::configured(&format!(
            "[control]\nsocket = \"{0}\"\n[metrics]\nlisten = \"unix:{0}.metrics\"\n{tables}\n[[listener]]\naddress = \"{server}\"\n[[upstream]]\naddress = \"{address}\"\nminpoll = 0\nmaxpoll = 0\nnts = true\n{lines}\n",
            control.display()
        ));
        Self {
            server,
            directory,
            daemon: daemon.answering(server),
        }
    }

    fn upstream(&self) -> Value {
        let mut status = status(&self.directory.path().join("control"));
        status["upstreams"][0].take()
    }

    fn metrics(&self) -> String {
        page::metrics(&self.directory.path().join("control.metrics"))
    }

    fn becomes_synchronized(&self) {
        wait_until("a synchronized reply", SOON, || {
            (client::header(self.server).leap == Leap::NoWarning).then_some(())
        });
    }

    /// Waits until there are no keys, and returns the reason.
    fn has_no_keys(&self, why: &str) -> Value {
        wait_until(why, SOON, || {
            let upstream = self.upstream();
            let fault = upstream["fault"].as_str().unwrap_or_default();
            fault.contains(why).then(|| upstream.clone())
        })
    }
}

fn trusting(name: &str, ke: u16) -> String {
    format!("ke-port = {ke}\nca = \"{}\"\n", certificate(name).display())
}

#[test]
fn chronyd_is_polled_with_nts_over_both_families() {
    let Some(program) = chrony::program() else {
        return;
    };
    for (address, bound) in [
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("localhost", "127.0.0.1"),
    ] {
        let (ntp, ke) = (free_port(), free_port());
        let _chronyd = nts_server(&program, ntp, ke, "time.pem");
        let client = Client::of(&format!("{address}:9"), &trusting("root.pem", ke), "");
        client.becomes_synchronized();
        let upstream = wait_until("a full jar", SOON, || {
            let upstream = client.upstream();
            (upstream["nts"]["cookies"] == 8).then_some(upstream)
        });
        // Its port comes from key establishment.
        assert_eq!(
            upstream["address"],
            SocketAddr::new(bound.parse().unwrap(), ntp).to_string()
        );
        assert_eq!(upstream["nts"]["aead"], "aes-siv-cmac-256");
        assert_eq!(upstream["nts"]["establishments"], 1);
        assert_eq!(upstream["nts"]["certificate_not_after"], 4_701_974_400_u64);
        let (page, name) = (client.metrics(), format!("{{upstream=\"{address}:9\"}}"));
        for line in [
            format!("ntpfront_upstream_nts_key_age_seconds{name} "),
            format!("ntpfront_upstream_nts_certificate_not_after_seconds{name} 4701974400\n"),
            format!("ntpfront_upstream_nts_cookies{name} 8\n"),
        ] {
            assert!(page.contains(&line), "{line}\n{page}");
        }
        // In interleaved mode, as it comes: the authenticator covers these timestamps, too.
        let upstream = wait_until("corrected samples", SOON, || {
            let upstream = client.upstream();
            (upstream["corrected"].as_u64() >= Some(3)).then_some(upstream)
        });
        assert_eq!(upstream["interleaved"], true, "{upstream}");
        let rejected = upstream["rejected"].as_object().unwrap();
        assert!(rejected.values().all(|count| count == 0), "{upstream}");
    }
}

/// A server that lost its keys answers with NAKs; new keys are established, and the time goes on meanwhile.
#[test]
fn a_server_with_new_keys_is_polled_on() {
    let Some(program) = chrony::program() else {
        return;
    };
    let (ntp, ke) = (free_port(), free_port());
    let chronyd = nts_server(&program, ntp, ke, "time.pem");
    let client = Client::of("127.0.0.1:9", &trusting("root.pem", ke), "");
    client.becomes_synchronized();
    drop(chronyd);
    let _another = nts_server(&program, ntp, ke, "time.pem");
    let upstream = wait_until("keys for the second time", SOON, || {
        let upstream = client.upstream();
        (upstream["nts"]["establishments"] == 2 && upstream["reach"] == 0o377).then_some(upstream)
    });
    assert_eq!(upstream["nts"]["failures"]["nak"], 1);
    assert!(upstream["rejected"]["nts-nak"].as_u64() >= Some(2));
    assert_eq!(client::header(client.server).leap, Leap::NoWarning);
}

#[test]
fn certificates_that_are_not_good_are_refused_with_the_reason() {
    let Some(program) = chrony::program() else {
        return;
    };
    let strict = "[nts-client]\ncertificate-time = \"strict\"\n";
    for (name, trusted, tables, why, kind) in [
        (
            "time.pem",
            "old.pem",
            "",
            "signed by no trusted authority",
            "unknown-issuer",
        ),
        ("other.pem", "root.pem", "", "for other names", "wrong-name"),
        (
            "expired.pem",
            "root.pem",
            strict,
            "its certificate has ended",
            "expired",
        ),
        // It ended before ntpfront was written, so it has ended whatever the time is.
        (
            "expired.pem",
            "root.pem",
            "",
            "its certificate has ended",
            "expired",
        ),
    ] {
        let (ntp, ke) = (free_port(), free_port());
        let _chronyd = nts_server(&program, ntp, ke, name);
        let client = Client::of("127.0.0.1:9", &trusting(trusted, ke), tables);
        let upstream = client.has_no_keys(why);
        assert_eq!(upstream["nts"]["failures"][kind], 1, "{name}");
        assert_eq!(upstream["accepted"], 0);
        assert_ne!(client::header(client.server).leap, Leap::NoWarning);
        assert!(client.daemon.log().contains(why), "{name}");
    }
}

#[test]
fn a_server_is_trusted_by_its_own_certificate() {
    let Some(program) = chrony::program() else {
        return;
    };
    for name in ["self.pem", "time.pem"] {
        let (ntp, ke) = (free_port(), free_port());
        let _chronyd = nts_server(&program, ntp, ke, name);
        Client::of("localhost:9", &trusting(name, ke), "").becomes_synchronized();
    }
}

/// A server without NTS at that port, and one that answers plain questions: it is never asked without.
#[test]
fn nothing_is_asked_without_nts() {
    let plain = Scripted::start(honest);
    let ke = free_port();
    let client = Client::of(&plain.address().to_string(), &trusting("root.pem", ke), "");
    client.has_no_keys("no server listens at its port of key establishment");
    // One that accepts connections, and says nothing of TLS.
    let listener = TcpListener::bind(v4(ke)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    client.has_no_keys("TLS failed");
    assert_eq!(plain.asked(), 0);
    assert_ne!(client::header(client.server).leap, Leap::NoWarning);
}

/// Another port than those of the start is beyond the sandbox: the log says so, and the upstream does.
#[test]
fn a_reload_to_another_port_of_key_establishment_needs_a_restart() {
    let ke = free_port();
    let client = Client::of("127.0.0.1:9", &trusting("root.pem", ke), "");
    client.has_no_keys("no server listens");
    let other = free_port();
    let text = std::fs::read_to_string(client.daemon.configuration()).unwrap();
    let changed = text.replace(&format!("ke-port = {ke}"), &format!("ke-port = {other}"));
    assert_eq!(client.daemon.reload(&changed), Reload::Done);
    assert!(
        client
            .daemon
            .log()
            .contains("upstream.ke-port: only a restart changes it from [4460, ")
    );
    client.has_no_keys("a new port needs a restart (process.landlock)");
}

/// What a client sees of a server: its certificate, its keys, and its reply.
#[test]
fn a_query_shows_what_a_client_with_nts_gets() {
    let Some(program) = chrony::program() else {
        return;
    };
    let query = |ke: u16, trusted: &str, more: &[&str]| {
        let ca = certificate(trusted);
        run(command()
            .args(["query", "--nts", "--ca"])
            .arg(ca)
            .args(more)
            .arg(format!("localhost:{ke}")))
    };
    let (ntp, ke) = (free_port(), free_port());
    let chronyd = nts_server(&program, ntp, ke, "time.pem");
    let found = query(ke, "root.pem", &["--json"]);
    assert_eq!(found.status, Some(0), "{}", found.said());
    let json: Value = serde_json::from_str(&found.stdout).unwrap();
    let keys = &json["keys"];
    assert_eq!(keys["names"][0], "time.example");
    assert_eq!(
        (&keys["aead"], &keys["cookies"]),
        (&"aes-siv-cmac-256".into(), &8.into())
    );
    assert_eq!(
        (&keys["ntp_port"], &keys["valid_now"]),
        (&ntp.into(), &true.into())
    );
    assert_eq!(
        (&keys["cookies_in_reply"], &json["answer"]["stratum"]),
        (&1.into(), &7.into())
    );
    // The request leaves at once. If it waited for an acknowledgement, each answer would take 40 ms.
    let times = (0..5).map(|_| {
        let found = query(ke, "root.pem", &["--json"]);
        let json: Value = serde_json::from_str(&found.stdout).unwrap();
        json["keys"]["answered_after"].as_f64().unwrap()
    });
    let shortest = times.fold(f64::MAX, f64::min);
    assert!(shortest < 0.03, "{shortest}");
    let found = query(ke, "old.pem", &[]);
    assert_eq!(found.status, Some(1));
    assert!(
        found.stdout.contains("signed by no trusted authority"),
        "{}",
        found.said()
    );
    drop(chronyd);
    // One that has ended is shown, too.
    let _chronyd = nts_server(&program, ntp, ke, "expired.pem");
    let found = query(ke, "root.pem", &[]);
    assert_eq!(found.status, Some(1));
    for words in [
        "not valid now",
        "2020-01-01 to 2021-01-01",
        "reply            genuine",
    ] {
        assert!(found.stdout.contains(words), "{words}: {}", found.said());
    }
}
