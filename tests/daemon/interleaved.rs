//! Interleaved mode with real clients: chronyd with `xleave`, over both families, with any steering and number of workers,
//! behind one address, with loss, and while a reload changes the workers.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::common::chrony::{self, ChronyClient, Chronyd, Measurement};
use crate::common::client::{v4, v6};
use crate::common::daemon::{Daemon, LOCAL, ntpfront};
use crate::common::ke::{install, section};
use crate::common::network::{in_own_network, ip};
use crate::common::port::free_port;
use crate::common::status::status;
use crate::common::{SOON, TempDir, peer, run, wait_until};

/// The listeners, and what chronyd calls their addresses. All steerings, and sockets with and without packet info.
const LISTENERS: [(&str, &str, &str); 7] = [
    ("127.0.0.1:123", "workers = 1", "127.0.0.1"),
    ("127.0.0.2:123", "workers = 4", "127.0.0.2"),
    ("127.0.0.3:123", "workers = 4\nsteering = \"kernel\"", "127.0.0.3"),
    (
        "127.0.0.4:123",
        "workers = 4\nsteering = \"cpu\"\npin = true",
        "127.0.0.4",
    ),
    ("[::1]:123", "workers = 4\nsteering = \"kernel\"", "::1"),
    ("0.0.0.0:1123", "workers = 4", "127.0.0.5 port 1123"),
    (
        "[::]:1123",
        "workers = 4\nsteering = \"kernel\"",
        "2001:db8::1 port 1123",
    ),
];
/// A chronyd that asks often. It counts as reachable soon.
const OFTEN: &str = "minpoll -5 maxpoll -5 xleave";
/// The clock is the same, and a busy machine may delay a packet by so much.
const CLOSE: f64 = 0.02;

fn configuration(directory: &Path, workers: &str) -> String {
    let socket = directory.join("control").display().to_string();
    let mut text = format!("{LOCAL}[control]\nsocket = \"{socket}\"\n");
    for (address, more, _) in LISTENERS {
        let more = more.replace("workers = 4", workers);
        let _ = write!(text, "[[listener]]\naddress = \"{address}\"\n{more}\n");
    }
    text
}

fn client(program: &Path) -> ChronyClient {
    let lines = LISTENERS.map(|(_, _, server)| format!("server {server} {OFTEN}\n"));
    ChronyClient::configured(program, &lines.concat())
}

/// The measurements with each server, from number `from` on, once there are `count`.
fn each_server(client: &ChronyClient, from: usize, count: usize) -> Vec<Vec<Measurement>> {
    let of = |all: &[Measurement], name: &str| -> Vec<Measurement> {
        let server = name.split(' ').next().unwrap();
        let all = all.iter().filter(|one| one.server == server);
        all.skip(from).take(count).cloned().collect()
    };
    wait_until("measurements with all servers", SOON, || {
        let all = client.measurements();
        let each: Vec<_> = LISTENERS.iter().map(|(_, _, name)| of(&all, name)).collect();
        each.iter().all(|some| some.len() == count).then_some(each)
    })
}

/// Of the measurements, at most `basic` are not interleaved. All are right.
fn check(each: &[Vec<Measurement>], basic: usize) {
    for some in each {
        let found = some.iter().filter(|one| !one.is_interleaved).count();
        assert!(found <= basic, "{found} of {} are basic: {some:?}", some.len());
        for one in some {
            assert!(one.offset.abs() < CLOSE && one.delay < CLOSE, "{one:?}");
        }
    }
}

fn interleaved(control: &Path) -> u64 {
    status(control)["requests"]["interleaved"].as_u64().unwrap()
}

#[test]
fn chronyd_is_told_when_replies_left_over_any_listener() {
    let Some(program) = chrony::program() else {
        return;
    };
    in_own_network(|| {
        ip("address add 2001:db8::1/128 dev lo nodad");
        let directory = TempDir::new();
        let daemon = Daemon::configured(&configuration(directory.path(), "workers = 4")).answering(v4(123));
        // They have the same addresses.
        let clients = [client(&program), client(&program)];
        for client in &clients {
            // Some at the beginning are basic, the kernel's numbers have to be learned by each worker.
            check(&each_server(client, 0, 60), 25);
        }
        assert!(interleaved(&directory.path().join("control")) > 200);
        // Half of the workers end, and no client has to begin anew: a reply of a worker that ends may be lost to it.
        let reached = clients.each_ref().map(most);
        let _reload = daemon.reload(&configuration(directory.path(), "workers = 2"));
        for (client, from) in clients.iter().zip(reached) {
            check(&each_server(client, from, 40), 6);
        }
    });
}

/// How many measurements there are with the server that was measured most.
fn most(client: &ChronyClient) -> usize {
    let all = client.measurements();
    let count = |name: &str| all.iter().filter(|one| name.starts_with(&one.server)).count();
    LISTENERS.iter().map(|(_, _, name)| count(name)).max().unwrap()
}

#[test]
fn with_every_fifth_packet_lost_the_others_are_interleaved() {
    let Some(program) = chrony::program() else {
        return;
    };
    let Some(nft) = peer("nft", "nft") else {
        return;
    };
    in_own_network(|| {
        // Requests and replies alike.
        let rules = "add table inet loss\n\
                     add chain inet loss in { type filter hook input priority 0; }\n\
                     add rule inet loss in udp length 56 numgen random mod 5 0 drop\n";
        let directory = TempDir::new();
        let rules = directory.file("loss.nft", rules);
        let outcome = run(Command::new(&nft).arg("-f").arg(rules));
        assert_eq!(outcome.status, Some(0), "{}", outcome.said());
        let socket = directory.path().join("control");
        let text = format!(
            "{LOCAL}[control]\nsocket = \"{}\"\n[[listener]]\naddress = \"127.0.0.1:123\"\nworkers = 2\n",
            socket.display()
        );
        let _daemon = Daemon::configured(&text).answering(v4(123));
        let client = ChronyClient::configured(&program, &format!("server 127.0.0.1 {OFTEN}\n"));
        let all = wait_until("measurements", SOON, || {
            Some(client.measurements()).filter(|all| all.len() >= 100)
        });
        let found = all.iter().filter(|one| one.is_interleaved).count();
        assert!(found > 40, "{found} of {}", all.len());
        check(&[all], 60);
    });
}

/// What is known of the only upstream of a daemon with this control socket, once it answers in interleaved mode.
fn corrected(control: &Path) -> Value {
    wait_until("corrected samples", SOON, || {
        let upstream = status(control)["upstreams"][0].clone();
        (upstream["corrected"].as_u64() >= Some(3)).then_some(upstream)
    })
}

/// The configuration of a daemon that asks one server often.
fn asking(directory: &TempDir, server: &str, more: &str) -> String {
    format!(
        "[clock]\nsource = \"tracked\"\n[control]\nsocket = \"{}/control\"\n[[listener]]\naddress = \"127.0.0.1:{}\"\n\
         [[upstream]]\naddress = \"{server}\"\nminpoll = 0\nmaxpoll = 0\n{more}\n",
        directory.path().display(),
        free_port()
    )
}

#[test]
fn chronyd_as_upstream_tells_when_its_replies_left() {
    let Some(program) = chrony::program() else {
        return;
    };
    let port = free_port();
    let _chronyd = Chronyd::start(&program, port, 3);
    for server in [v4(port), v6(port)] {
        let directory = TempDir::new();
        let text = asking(&directory, &server.to_string(), "");
        let daemon = Daemon::configured(&text);
        let control = directory.path().join("control");
        wait_until("a control socket", SOON, || control.exists().then_some(()));
        let upstream = corrected(&control);
        assert_eq!(upstream["interleaved"], true, "{upstream}");
        let correction = upstream["correction"].as_f64().unwrap();
        // It leaves some microseconds after the time in it.
        assert!((1e-8..1e-3).contains(&correction), "{upstream}");
        let rejected = upstream["rejected"].as_object().unwrap();
        assert!(rejected.values().all(|count| count == 0), "{upstream}");
        let measured = &upstream["measured"];
        assert!(measured["delay"].as_f64().unwrap() < 1e-3, "{upstream}");
        let shown = ntpfront(&["upstreams", "--socket", control.to_str().unwrap()]);
        assert!(
            shown.stdout.contains("  mode       interleaved, "),
            "{}",
            shown.said()
        );
        // Live.
        let _reload = daemon.reload(&text.replace("maxpoll = 0", "maxpoll = 0\ninterleaved = \"off\""));
        wait_until("basic mode", SOON, || {
            (status(&control)["upstreams"][0]["interleaved"] == false).then_some(())
        });
    }
}

#[test]
fn ntpfront_as_upstream_tells_it_too_and_with_a_key() {
    let directory = TempDir::new();
    let keys = directory.file("keys", "10 SHA256 HEX:00112233445566778899AABBCCDDEEFF\n");
    std::fs::set_permissions(&keys, Permissions::from_mode(0o600)).unwrap();
    let key_file = format!("[symmetric-keys]\nfile = \"{}\"\n", keys.display());
    let port = free_port();
    let text = format!("{LOCAL}{key_file}[[listener]]\naddress = \"127.0.0.1:{port}\"\n");
    let _server = Daemon::configured(&text).answering(v4(port));
    for more in ["", "key = 10"] {
        let directory = TempDir::new();
        let text = asking(&directory, &v4(port).to_string(), more);
        let _daemon = Daemon::configured(&format!("{text}{key_file}"));
        let control = directory.path().join("control");
        wait_until("a control socket", SOON, || control.exists().then_some(()));
        let upstream = corrected(&control);
        assert_eq!(upstream["interleaved"], true, "{upstream}");
        let rejected = upstream["rejected"].as_object().unwrap();
        assert!(rejected.values().all(|count| count == 0), "{upstream}");
    }
}

#[test]
fn a_query_finds_out_whether_a_server_has_the_mode() {
    let port = free_port();
    let with = |mode: &str| {
        let text = format!("{LOCAL}[[listener]]\naddress = \"127.0.0.1:{port}\"\ninterleaved = \"{mode}\"\n");
        Daemon::configured(&text).answering(v4(port))
    };
    let server = v4(port).to_string();
    let query = ["query", "--interleaved", &server];
    let daemon = with("auto");
    let found = ntpfront(&query);
    assert_eq!(found.status, Some(0), "{}", found.said());
    assert!(
        found.stdout.contains("interleaved      yes, after "),
        "{}",
        found.said()
    );
    drop(daemon);
    let _daemon = with("off");
    let found = ntpfront(&query);
    assert_eq!(found.status, Some(1), "{}", found.said());
    assert!(found.stdout.contains("interleaved      no: "), "{}", found.said());
}

/// The authenticator covers the timestamps.
#[test]
fn chronyd_with_nts_and_chronyd_with_a_key_are_interleaved() {
    let Some(program) = chrony::program() else {
        return;
    };
    in_own_network(|| {
        let directory = TempDir::new();
        install(&directory, "time");
        let keys = directory.file("keys", "10 SHA256 HEX:00112233445566778899AABBCCDDEEFF\n");
        std::fs::set_permissions(&keys, Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            "{LOCAL}[control]\nsocket = \"{}/control\"\n[symmetric-keys]\nfile = \"{}\"\n{}",
            directory.path().display(),
            keys.display(),
            section(&directory, v4(4460))
        );
        let _daemon = Daemon::configured(&text).answering(v4(123));
        let authority = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/certificates/ca.pem");
        let client = ChronyClient::configured(
            &program,
            &format!(
                "ntstrustedcerts {}\nkeyfile {}\nserver 127.0.0.1 nts {OFTEN}\nserver ::1 key 10 {OFTEN}\n",
                authority.display(),
                keys.display()
            ),
        );
        for server in ["127.0.0.1", "::1"] {
            let all = wait_until("measurements", SOON, || {
                let all = client.measurements().into_iter();
                Some(all.filter(|one| one.server == server).collect::<Vec<_>>()).filter(|all| all.len() >= 40)
            });
            check(&[all], 10);
        }
        let verdicts = &status(&directory.path().join("control"))["requests"]["verdicts"];
        for verdict in ["answered-nts", "answered-mac"] {
            assert!(verdicts[verdict].as_u64().unwrap() >= 40, "{verdicts}");
        }
    });
}

#[test]
fn a_listener_without_the_mode_answers_in_basic_mode() {
    let Some(program) = chrony::program() else {
        return;
    };
    let directory = TempDir::new();
    let socket = directory.path().join("control");
    let port = free_port();
    let text = |mode: &str| {
        format!(
            "{LOCAL}[control]\nsocket = \"{}\"\n[[listener]]\naddress = \"127.0.0.1:{port}\"\ninterleaved = \"{mode}\"\n[interleaved]\nclients = 1024\n",
            socket.display()
        )
    };
    let daemon = Daemon::configured(&text("off")).answering(v4(port));
    let client = ChronyClient::configured(&program, &format!("server 127.0.0.1 port {port} {OFTEN}\n"));
    let measured = |count: usize| {
        wait_until("measurements", SOON, || {
            Some(client.measurements()).filter(|all| all.len() >= count)
        })
    };
    assert!(measured(20).iter().all(|one| !one.is_interleaved));
    assert_eq!(interleaved(&socket), 0);
    let _reload = daemon.reload(&text("auto"));
    let before = client.measurements().len();
    let after = measured(before + 20);
    assert!(
        after.iter().skip(before + 10).all(|one| one.is_interleaved),
        "{after:?}"
    );
    let counted: Value = status(&socket);
    assert!(
        counted["requests"]["interleaved"].as_u64().unwrap() >= 10,
        "{counted}"
    );
    let _reload = daemon.reload(&text("off"));
    let before = client.measurements().len();
    let after = measured(before + 10);
    assert!(
        after.iter().skip(before + 3).all(|one| !one.is_interleaved),
        "{after:?}"
    );
}
