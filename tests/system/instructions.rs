//! Counts the instructions that a packet costs of our own code, on the daemon as built: from the batch that the kernel gave to
//! the batch that it gets. A count hardly varies, unlike a time, so it shows what a change costs on the busiest machine.
//!
//! `cargo test --release --test system instructions -- --nocapture` tells the counts that matter, and where they are spent.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use ntpfront::cli::Flags;
use ntpfront::clock::SystemVariables;
use ntpfront::config;
use ntpfront::server::policy::Policy;
use ntpfront::server::policy::limit::{Clients, RequestClass, RequestContext};
use ntpfront::server::policy::probability::Random;
use ntpfront::server::{Allowance, ReplyBuffer, Request, Verdict, respond};
use ntpfront::time::{NtpShort, NtpTimestamp};
use ntpfront::wire::{HEADER_LEN, Leap, ReferenceId};

use crate::common::client::{self, receive, request, socket, v4};
use crate::common::daemon::{Daemon, LOCAL};
use crate::common::port::free_port;
use crate::common::{SOON, TempDir, peer, run, wait_until};
use crate::machine;

/// All that a worker does between receiving and receiving again. The system's share is none of it: valgrind sees no kernel.
///
/// The whole name: callgrind stops to count where a function is entered that it matches, too.
const ANSWER: &str = "*WorkerLoop*::answer";
/// A worker does this once a second, however many packets there are: it is left out, so that a slow machine gets the same count.
const ONCE_A_SECOND: &str = "census::publish::CensusPublisher::publish";
/// As many come together, of as many clients.
const BURST: u16 = 32;
/// Each client stays below what a limit lets through at once.
const BURSTS: u16 = 20;

/// Fails unless `count` is near what is counted today: a third above is an alarm, half of it is not the whole way of a packet.
/// Tests are hardly optimized.
fn check(count: u64, today: u64, today_in_tests: u64) {
    let today = if cfg!(debug_assertions) {
        today_in_tests
    } else {
        today
    };
    let range = today / 2..=today * 4 / 3;
    assert!(
        range.contains(&count),
        "{count} instructions a packet, {range:?} expected"
    );
}

#[test]
fn a_packet_without_policies_costs_few_instructions() {
    let _machine = machine::alone();
    let Some(count) = counted("[census]\nenabled = false\n") else {
        return;
    };
    check(count, 660, 2780);
}

#[test]
fn a_packet_with_all_policies_costs_few_instructions() {
    let _machine = machine::alone();
    let Some(count) = counted(&all_policies()) else {
        return;
    };
    check(count, 1140, 7010);
}

/// From the bytes of a valid request to those of its reply, with the limit and 1000 prefixes. The goal of 400 is all but reached:
/// 405, of which 59 are this test's own. This program calls itself for it.
#[test]
fn from_bytes_to_bytes_costs_few_instructions() {
    let _machine = machine::shared();
    if std::env::var_os(INSIDE).is_some() {
        answer_all();
        return;
    }
    let Some(valgrind) = peer("valgrind", "valgrind") else {
        return;
    };
    let directory = TempDir::new();
    let counts = directory.path().join("counts");
    let mut command = Command::new(valgrind);
    command
        .args(["--tool=callgrind", "--toggle-collect=*bytes_to_bytes_once*"])
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "instructions::from_bytes_to_bytes_costs_few_instructions",
        ])
        .env(INSIDE, "1");
    let outcome = run(&mut command);
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    let packets = u64::from(BURST) * u64::from(BURSTS);
    let count = total(&counts) / packets;
    println!("{count} instructions from bytes to bytes");
    check(count, 405, 2010);
}

/// Says that valgrind runs this.
const INSIDE: &str = "NTPFRONT_COUNTED_INSIDE";

fn answer_all() {
    let text = format!("{}[[listener]]\naddress = \"127.0.0.1:123\"", all_policies());
    let loaded = config::load(&Flags::default(), Some((Path::new("f"), &text))).unwrap();
    let policy = &loaded.config.listeners[0].policy;
    let mut table = Clients::new(policy.limit.clients, [1, 2]);
    let mut random = Random::new(3);
    let allowance = Allowance::default();
    for burst in 0..BURSTS {
        for client in 1..=BURST {
            let [high, low] = client.to_be_bytes();
            let asked = RequestContext {
                source: [127, 1, high, low].into(),
                class: RequestClass::Plain,
                now: Duration::from_secs(1) + Duration::from_millis(burst.into()),
                budget: policy.budget,
                allowance: &allowance,
            };
            let payload = black_box(request(4, 3));
            let (verdict, reply) = bytes_to_bytes_once(policy, &asked, &mut table, &mut random, &payload);
            assert!(verdict.is_answered());
            black_box(reply);
        }
    }
}

#[inline(never)]
fn bytes_to_bytes_once(
    policy: &Policy,
    asked: &RequestContext<'_>,
    table: &mut Clients,
    random: &mut Random,
    payload: &[u8],
) -> (Verdict, [u8; HEADER_LEN]) {
    table.prefetch(&policy.limit, policy.budget, asked.source, asked.class);
    let request = Request {
        payload,
        source: asked.source,
        source_port: 40_000,
        unicast: true,
        received_at: black_box(NtpTimestamp::from_bits(5)),
    };
    let mut reply = [0; HEADER_LEN];
    let rule = || {
        policy.rule(table, asked, random, |annotation| {
            black_box(annotation);
        })
    };
    let transmit_at = black_box(NtpTimestamp::from_bits(6));
    let verdict = respond(
        &request,
        transmit_at,
        rule,
        black_box(&VARIABLES),
        &mut ReplyBuffer::new(&mut reply),
    );
    (verdict, reply)
}

const VARIABLES: SystemVariables = SystemVariables {
    leap: Leap::NoWarning,
    stratum: 2,
    precision: -24,
    root_delay: NtpShort::from_bits(7),
    root_dispersion: NtpShort::from_bits(8),
    reference_id: ReferenceId::from_bytes([192, 0, 2, 9]),
    reference_timestamp: NtpTimestamp::from_bits(9),
};

/// The census is on without a word.
fn all_policies() -> String {
    let mut text = "[limit]\nmode = \"on\"\n[access]\ndeny = [".to_owned();
    for number in 0..1000_u16 {
        let [high, low] = number.to_be_bytes();
        write!(text, "\"203.{high}.{low}.0/24\", ").unwrap();
    }
    text + "]\n"
}

/// How many instructions a packet costs a daemon with `policies`; `None` where valgrind is left out.
fn counted(policies: &str) -> Option<u64> {
    let valgrind = peer("valgrind", "valgrind")?;
    let directory = TempDir::new();
    let counts = directory.path().join("counts");
    let out = format!("--callgrind-out-file={}", counts.display());
    let toggle = format!("--toggle-collect={ANSWER}");
    let wrapper = [valgrind.to_str().unwrap(), "--tool=callgrind", &out, &toggle];
    let server = v4(free_port());
    let mut daemon = Daemon::configured_by(&wrapper, &configuration(server, policies)).answering(server);
    let clients: Vec<UdpSocket> = (1..=BURST).map(client_number).collect();
    let alone = until_synchronized(server);
    until_idle(&daemon);
    for _ in 0..BURSTS {
        burst(&daemon, &clients, server);
    }
    daemon.end_with(Signal::SIGTERM);
    let packets = u64::from(BURST) * u64::from(BURSTS) + alone;
    let functions = functions(&counts);
    let count = (total(&counts) - functions.get(ONCE_A_SECOND).unwrap_or(&0)) / packets;
    println!("{count} instructions a packet:");
    tell(functions, packets);
    Some(count)
}

/// Filters for system calls would stop valgrind itself.
fn configuration(server: SocketAddr, policies: &str) -> String {
    format!(
        "{LOCAL}[process]\nseccomp = false\nlandlock = false\n{policies}\
         [[listener]]\naddress = \"{server}\"\n"
    )
}

fn client_number(number: u16) -> UdpSocket {
    let [high, low] = number.to_be_bytes();
    socket((std::net::Ipv4Addr::new(127, 1, high, low), 0))
}

/// How many packets it took.
fn until_synchronized(server: SocketAddr) -> u64 {
    let mut asked = 1;
    wait_until("the local reference", SOON, || {
        asked += 1;
        (client::header(server).leap == Leap::NoWarning).then_some(())
    });
    asked
}

/// Waits until the daemon has done what belongs to its start. Valgrind runs one thread at a time, and slowly: beside the start a
/// request may wait for more than a second, and then it gets no answer (`listener.max-wait`).
fn until_idle(daemon: &Daemon) {
    wait_until("an idle daemon", SOON, || {
        let before = cpu_ticks(daemon);
        std::thread::sleep(Duration::from_millis(300));
        (cpu_ticks(daemon) - before <= 3).then_some(())
    });
}

/// The CPU time that it has used, in hundredths of a second.
fn cpu_ticks(daemon: &Daemon) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    // The name, which may contain spaces, ends with the last parenthesis.
    let (_, fields) = text.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|field| field.parse::<u64>().unwrap()).sum()
}

/// All clients ask while the daemon is stopped, so it gets them together.
fn burst(daemon: &Daemon, clients: &[UdpSocket], server: SocketAddr) {
    daemon.signal(Signal::SIGSTOP);
    for client in clients {
        client.send_to(&request(4, 3), server).unwrap();
    }
    daemon.signal(Signal::SIGCONT);
    for client in clients {
        receive(client, SOON).expect("every client is answered");
    }
}

/// The sum that callgrind wrote.
fn total(counts: &Path) -> u64 {
    let text = std::fs::read_to_string(counts).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.expect("callgrind's file has totals").parse().unwrap();
    assert!(total > 0, "no function of the worker is called {ANSWER} any more");
    total
}

/// What each of our functions costs with all that it calls (what was inlined is in its caller).
fn functions(counts: &Path) -> BTreeMap<String, u64> {
    let options = ["--inclusive=yes", "--auto=no", "--threshold=100"];
    let outcome = run(Command::new("callgrind_annotate").args(options).arg(counts));
    // A function has a line for each file that code came from, of which the largest is the sum.
    let mut functions = BTreeMap::<String, u64>::new();
    for line in outcome.stdout.lines() {
        let (count, function) = (line.split_whitespace().next(), line.split_once("ntpfront::"));
        if let (Some(count), Some((_, function))) = (count, function)
            && let Ok(count) = count.replace(',', "").parse::<u64>()
        {
            let name = function.split_whitespace().next().unwrap();
            let sum = functions.entry(name.to_owned()).or_default();
            *sum = count.max(*sum);
        }
    }
    functions
}

/// Prints what each of `functions` costs a packet.
fn tell(functions: BTreeMap<String, u64>, packets: u64) {
    let mut functions: Vec<_> = functions.into_iter().collect();
    functions.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (function, count) in functions.iter().filter(|(_, count)| *count >= packets) {
        println!("{:>7}  {function}", count / packets);
    }
}
