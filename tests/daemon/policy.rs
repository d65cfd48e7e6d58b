//! Proves who is answered by the daemon as built: lists, limits, budget, and what a listener announces, changed while it
//! runs.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use ntpfront::wire::{HEADER_LEN, Header, Leap, ReferenceId};

use crate::common::client::{self, exchange, request, socket, synchronized, v4};
use crate::common::daemon::{Daemon, LOCAL, Reload};
use crate::common::port::free_port;
use crate::common::{SOON, TempDir, root, wait_until};

/// A server of this host's clock with one worker on `server`, and further lines: for all, and for the listener.
fn configuration(server: SocketAddr, common: &str, listener: &str) -> String {
    format!("{LOCAL}{common}\n[[listener]]\naddress = \"{server}\"\n{listener}\n")
}

fn serving(common: &str, listener: &str) -> (Daemon, SocketAddr) {
    let server = v4(free_port());
    let daemon = Daemon::configured(&configuration(server, common, listener)).answering(server);
    (daemon, server)
}

/// Another client on loopback.
fn from(last: u8) -> UdpSocket {
    socket((Ipv4Addr::new(127, 0, 0, last), 0))
}

/// Asks `count` times at once from `client`, then once from another, who is always answered: so all have been judged. The
/// replies that had come by then.
fn ask(client: &UdpSocket, server: SocketAddr, packets: &[[u8; HEADER_LEN]]) -> Vec<Header> {
    for packet in packets {
        client.send_to(packet, server).unwrap();
    }
    exchange(&from(200), server, &request(4, 3), SOON).expect("the other one is answered");
    let mut replies = Vec::new();
    client.set_nonblocking(true).unwrap();
    let mut buffer = [0; 512];
    while let Ok((length, _)) = client.recv_from(&mut buffer) {
        replies.push(Header::parse(&buffer[..length]).unwrap());
    }
    client.set_nonblocking(false).unwrap();
    replies
}

/// How many of `count` requests at once are answered, sent in parts that fit in the socket's queue.
fn answered(client: &UdpSocket, server: SocketAddr, count: usize) -> usize {
    let parts = (0..count).step_by(50).map(|at| (count - at).min(50));
    parts
        .map(|part| {
            let packets: Vec<_> = (0..part).map(|_| request(4, 3)).collect();
            ask(client, server, &packets).len()
        })
        .sum()
}

/// The line of what the only worker counted so far.
fn counted(daemon: &Daemon) -> String {
    daemon.counters(1);
    let log = daemon.log();
    let mut lines = log.lines().filter(|line| line.contains("worker counters"));
    lines.next_back().unwrap().to_owned()
}

#[test]
fn a_list_of_100_000_prefixes_counts_at_once_and_touches_no_socket() {
    let directory = TempDir::new();
    let mut text = String::new();
    for number in 0..100_000_u32 {
        let net = Ipv4Addr::from(0x0B00_0000 + number * 512);
        writeln!(text, "{net}/24").unwrap();
    }
    let list = directory.file("list.txt", &text);
    let lines = format!("[access]\ndeny-files = [\"{}\"]", list.display());
    let (daemon, server) = serving(&lines, "");
    let (one, two) = (from(2), from(3));
    assert_eq!([answered(&one, server, 1), answered(&two, server, 1)], [1, 1]);
    let descriptors = daemon.count("fd");
    let configuration = configuration(server, &lines, "");
    std::fs::write(&list, format!("{text}127.0.0.2\n")).unwrap();
    assert_eq!(daemon.reload(&configuration), Reload::Done);
    assert_eq!([answered(&one, server, 3), answered(&two, server, 3)], [0, 3]);
    let line = counted(&daemon);
    assert!(line.contains("refused-denied=3"), "{line}");
    // A fault in the list leaves the old one.
    std::fs::write(&list, "127.0.0.2/33\n").unwrap();
    assert_eq!(daemon.reload(&configuration), Reload::Refused);
    assert_eq!(answered(&one, server, 1), 0);
    std::fs::write(&list, "").unwrap();
    assert_eq!(daemon.reload(&configuration), Reload::Done);
    assert_eq!(answered(&one, server, 1), 1);
    assert_eq!(daemon.count("fd"), descriptors);
    assert!(!daemon.log().contains("workers 1 -> 1"));
}

#[test]
fn a_list_is_read_again_after_the_root_changed() {
    if !root() {
        return;
    }
    let directory = TempDir::new();
    let list = directory.file("list.txt", "# nobody yet\n");
    let cage = TempDir::new();
    let lines = format!(
        "[process]\nchroot = \"{}\"\n[access]\ndeny-files = [\"{}\"]",
        cage.path().display(),
        list.display()
    );
    let (daemon, server) = serving(&lines, "");
    let client = from(2);
    assert_eq!(answered(&client, server, 1), 1);
    std::fs::write(&list, "127.0.0.2\n").unwrap();
    assert_eq!(daemon.hang_up(), Reload::Done);
    assert_eq!(answered(&client, server, 1), 0);
}

#[test]
fn a_denied_client_is_told_if_that_is_wanted_and_a_trial_denies_nobody() {
    let deny = "[access]\ndeny = [\"127.0.0.0/25\"]\nallow = [\"127.0.0.1\"]\n";
    let (daemon, server) = serving(&format!("{deny}on-deny = \"kiss\""), "");
    let client = from(2);
    let packet = request(3, 3);
    let [kiss] = ask(&client, server, &[packet])[..] else {
        panic!("one kiss");
    };
    assert_eq!(
        (kiss.leap, kiss.stratum, kiss.version.number()),
        (Leap::Unsynchronized, 0, 3)
    );
    assert_eq!(kiss.reference_id, ReferenceId::DENY);
    assert_eq!(kiss.origin_timestamp.to_bits().to_be_bytes(), packet[40..48]);
    let trial = configuration(server, &format!("{deny}mode = \"dry-run\""), "");
    assert_eq!(daemon.reload(&trial), Reload::Done);
    assert_eq!(answered(&client, server, 5), 5);
    let line = counted(&daemon);
    assert!(
        line.contains("kissed-denied=1") && line.contains("would-deny=5"),
        "{line}"
    );
}

#[test]
fn a_limit_is_turned_on_tried_and_turned_off_while_it_runs() {
    let (daemon, server) = serving("", "");
    let client = from(2);
    let turn = |mode: &str| {
        let lines = format!("[limit]\nmode = \"{mode}\"\ninterval = 60\nburst = 8\nleak = 0.01\nkiss = 0.5");
        assert_eq!(daemon.reload(&configuration(server, &lines, "")), Reload::Done);
    };
    assert_eq!(answered(&client, server, 300), 300);
    turn("dry-run");
    assert_eq!(answered(&client, server, 300), 300);
    let line = counted(&daemon);
    assert!(line.contains("would-limit=2"), "{line}");
    turn("on");
    // The bucket is still as empty as the trial left it.
    let packets: Vec<_> = (0..100).map(|_| request(4, 3)).collect();
    let replies = ask(&client, server, &packets);
    let kisses = replies
        .iter()
        .filter(|reply| reply.reference_id == ReferenceId::RATE);
    let (kisses, replies) = (kisses.count(), replies.len());
    assert!(
        (20..80).contains(&kisses) && replies - kisses < 12,
        "{kisses} of {replies}"
    );
    assert_eq!(answered(&from(3), server, 8), 8);
    turn("off");
    assert_eq!(answered(&client, server, 300), 300);
}

#[test]
fn odd_but_honest_clients_are_answered_under_the_default_limits() {
    let (_daemon, server) = serving("[limit]\nmode = \"on\"", "");
    for (number, (version, mode)) in [
        (1, 0),
        (1, 3),
        (1, 1),
        (2, 3),
        (2, 1),
        (3, 3),
        (3, 1),
        (4, 3),
        (4, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let client = from(10 + u8::try_from(number).unwrap());
        let packets: Vec<_> = (0..8).map(|_| request(version, mode)).collect();
        assert_eq!(
            ask(&client, server, &packets).len(),
            8,
            "version {version} mode {mode}"
        );
    }
    // As the pool's monitor asks, but faster.
    let monitor = from(30);
    for _ in 0..3 {
        assert_eq!(answered(&monitor, server, 3), 3);
    }
}

#[test]
fn each_listener_answers_by_its_own_policy() {
    let (public, inside) = (v4(free_port()), v4(free_port()));
    let common = "[access]\ndeny = [\"127.0.0.3\"]";
    let own = format!(
        "[[listener]]\naddress = \"{inside}\"\naccess.default = \"deny\"\naccess.allow = [\"127.0.0.3\", \"127.0.0.1\", \"127.0.0.200\"]\naccess.deny = []"
    );
    let daemon = Daemon::configured(&configuration(public, common, &own))
        .answering(public)
        .answering(inside);
    let (two, three) = (from(2), from(3));
    assert_eq!([answered(&two, public, 1), answered(&three, public, 1)], [1, 0]);
    assert_eq!([answered(&two, inside, 1), answered(&three, inside, 1)], [0, 1]);
    synchronized(public);
    for (line, code) in [
        ("answer = \"unsynchronized\"", ReferenceId::AWAY),
        // A local reference has stratum 10.
        ("max-stratum = 9", ReferenceId::HIGH),
    ] {
        assert_eq!(
            daemon.reload(&configuration(public, "", &format!("{line}\n{own}"))),
            Reload::Done
        );
        let header = client::header(public);
        assert_eq!(
            (header.leap, header.stratum, header.reference_id),
            (Leap::Unsynchronized, 0, code)
        );
        assert_eq!(client::header(inside).stratum, 10);
    }
}

#[test]
fn over_the_budget_the_heavy_are_shed_and_new_clients_are_not() {
    let (daemon, server) = serving("[budget]\npackets-per-second = 100", "");
    let heavy = from(2);
    wait_until("the heavy one is shed", SOON, || {
        for _ in 0..50 {
            heavy.send_to(&request(4, 3), server).unwrap();
        }
        counted(&daemon).contains("refused-budget=").then_some(())
    });
    for last in 10..20 {
        let new = from(last);
        for _ in 0..8 {
            exchange(&new, server, &request(4, 3), SOON).expect("its first requests are answered");
            // The ceiling holds for those who are new, too.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    // It is said once when it begins, not each second.
    assert_eq!(daemon.log().matches("over the budget").count(), 1);
}
