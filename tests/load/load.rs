//! Impure. A load that counts: asks servers at an even pace from many addresses, and tells of every single request what
//! became of it.
//!
//! `load --target 127.0.0.1:123 --target [::1]:123 --rate 20000 --seconds 10 --sources 200`
//!
//! It says `sending` when it begins, and one line of JSON (`report.rs`) at its end: after `--seconds`, or when it reads
//! the line `stop`. It never hurries after what it couldn't send in time, because that burst would be a loss of its own
//! making: then it sends less than it was told, and says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    reason = "a tool of the tests may fail, speak and look at the clock"
)]

mod kernel;
mod ledger;
mod report;
mod sources;

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use ledger::{Ledger, Tally};
use report::{Kernel, Report, Target};
use sources::Sources;

/// How long the sender sleeps when nothing is due.
const TICK: Duration = Duration::from_micros(500);
/// What is later than this is not made up for.
const BEHIND: Duration = Duration::from_millis(2);
/// How long after the last request an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long to listen for second answers when all is answered.
const AFTERMATH: Duration = Duration::from_millis(200);
/// Larger than any answer.
const PACKET: usize = 512;

/// Asks NTP servers at an even pace, and tells what became of every request.
#[derive(Parser)]
struct Arguments {
    /// Servers to ask, in turn.
    #[arg(long, required = true)]
    target: Vec<SocketAddr>,
    /// Requests a second, over all targets.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// How long to send, if nobody says `stop` before.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Addresses to ask from, of each family.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=5000))]
    sources: u16,
    /// The IPv6 network to ask from (a local route to all of it is needed); without it all ask from ::1.
    #[arg(long)]
    ipv6_network: Option<Ipv6Addr>,
}

fn main() {
    let arguments = Arguments::parse();
    let requests = arguments.rate as usize * arguments.seconds as usize;
    let count = usize::from(arguments.sources);
    let salt = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .subsec_nanos();
    let ledger = Ledger::new(arguments.target.clone(), count, requests, salt);
    let sources = Sources::open(&arguments.target, count, arguments.ipv6_network);
    let stop = Arc::new(AtomicBool::new(false));
    thread::spawn({
        let stop = Arc::clone(&stop);
        move || stop_when_told(&stop)
    });
    let before = Kernel::now();
    println!("sending");
    let start = Instant::now();
    let all_sent = OnceLock::new();
    let (sending, tally) = thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&ledger, &sources, start, &all_sent));
        let sending = send(&ledger, &sources, start, arguments.rate, &stop);
        all_sent.get_or_init(|| sending.sent);
        (sending, receiver.join().unwrap())
    });
    let kernel = Kernel::now().since(before);
    println!(
        "{}",
        serde_json::to_string(&report(&sending, tally, &sources, kernel)).unwrap()
    );
}

/// Reads commands. Their end is none: the standard input may be empty.
fn stop_when_told(stop: &AtomicBool) {
    let mut lines = std::io::stdin().lines().map_while(Result::ok);
    if lines.any(|line| line.trim() == "stop") {
        stop.store(true, Ordering::Relaxed);
    }
}

fn report(sending: &Sending, mut tally: Tally<'_>, sources: &Sources, kernel: Kernel) -> Report {
    let wrong = tally.wrong;
    let reasons = std::mem::take(&mut tally.reasons);
    let targets = tally.close();
    let sum = |field: fn(&Target) -> u64| targets.iter().map(field).sum();
    Report {
        seconds: sending.took.as_secs_f64(),
        sent: sum(|target| target.sent),
        answered: sum(|target| target.answered),
        lost: sum(|target| target.lost),
        unsynchronized: sum(|target| target.unsynchronized),
        duplicate: sum(|target| target.duplicate),
        reasons,
        wrong,
        unsent: sending.unsent,
        own_drops: kernel::drops(sources.all().map(|(_, socket)| socket)),
        kernel,
        targets,
    }
}

struct Sending {
    took: Duration,
    sent: usize,
    unsent: u64,
}

/// Sends until the ledger is full, the time is over, or it is told to stop.
fn send(ledger: &Ledger, sources: &Sources, start: Instant, rate: u32, stop: &AtomicBool) -> Sending {
    let interval = Duration::from_secs(1) / rate;
    let end = interval * u32::try_from(ledger.capacity()).unwrap();
    let mut due = Duration::ZERO;
    let (mut sent, mut unsent) = (0, 0);
    for number in 0..ledger.capacity() {
        while start.elapsed() < due {
            thread::sleep(TICK);
        }
        let now = start.elapsed();
        if now >= end || stop.load(Ordering::Relaxed) {
            break;
        }
        due = due.max(now.saturating_sub(BEHIND)) + interval;
        let target = ledger.target(number);
        let source = sources.towards(target, ledger.source(number));
        ledger.note_sent(number, now);
        if source.send_to(&ledger.request(number), target).is_ok() {
            sent += 1;
        } else {
            ledger.note_unsent(number);
            unsent += 1;
        }
    }
    let took = start.elapsed();
    Sending { took, sent, unsent }
}

/// Receives until all is sent and answered, or nothing more is awaited.
fn receive<'a>(
    ledger: &'a Ledger,
    sources: &Sources,
    start: Instant,
    all_sent: &OnceLock<usize>,
) -> Tally<'a> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll");
    let sockets: Vec<_> = sources.all().collect();
    for (token, (_, socket)) in sockets.iter().enumerate() {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, token as u64);
        epoll.add(socket, event).expect("epoll");
    }
    let mut tally = Tally::new(ledger);
    let mut events = [EpollEvent::empty(); 64];
    let mut end: Option<Instant> = None;
    while end.is_none_or(|end| Instant::now() < end) {
        let ready = epoll.wait(&mut events, EpollTimeout::from(20u8)).unwrap_or(0);
        for event in &events[..ready] {
            let (source, socket) = sockets[event.data() as usize];
            let mut packet = [0; PACKET];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                tally.take(&packet[..length], from, source, start.elapsed());
            }
        }
        if let Some(sent) = all_sent.get() {
            let patience = if tally.answered() == *sent {
                AFTERMATH
            } else {
                PATIENCE
            };
            let latest = Instant::now() + patience;
            end = Some(end.map_or(latest, |end| end.min(latest)));
        }
    }
    tally
}
