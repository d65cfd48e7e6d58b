//! What the census costs a packet: requests of so many clients through `respond`, with and without it, and what it costs
//! once a second to lay it down. Run it with `cargo bench --bench census`; compare within one run only.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark reads the clock and prints"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ntpfront::census::{CensusPublisher, CensusReader, CensusSettings, CensusWanted, Merge};
use ntpfront::clock::SystemVariables;
use ntpfront::server::policy::Ruling;
use ntpfront::server::{ReplyBuffer, Request, respond};
use ntpfront::time::{NtpShort, NtpTimestamp};
use ntpfront::wire::{HEADER_LEN, Header, Leap, ReferenceId};

const BATCH: usize = 32;
const PACKETS: u32 = 1_000_000;
const ROUNDS: usize = 15;
/// The default of `census.clients`.
const TABLE: u32 = 65_536;

const VARIABLES: SystemVariables = SystemVariables {
    leap: Leap::NoWarning,
    stratum: 2,
    precision: -24,
    root_delay: NtpShort::from_bits(7),
    root_dispersion: NtpShort::from_bits(8),
    reference_id: ReferenceId::from_bytes([192, 0, 2, 9]),
    reference_timestamp: NtpTimestamp::from_bits(9),
};

fn main() {
    println!("clients            off       on     cost   (ns a packet)");
    for (name, clients, family) in [
        ("1", 1, ipv4 as fn(u32) -> IpAddr),
        ("1,000", 1000, ipv4),
        ("100,000", 100_000, ipv4),
        ("1,000,000", 1_000_000, ipv4),
        ("1,000,000 IPv6", 1_000_000, ipv6),
    ] {
        compare(name, clients, family);
    }
    tell();
}

fn compare(name: &str, clients: u32, family: fn(u32) -> IpAddr) {
    let mut publisher = publisher();
    // Everybody once, so that no memory is new and the census knows how many there are.
    for number in 0..clients {
        publisher.note([family(number)].into_iter(), SECOND);
    }
    publisher.publish_if_due(SECOND * 2);
    let (mut off, mut on) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        off.push(measure(clients, family, None));
        on.push(measure(clients, family, Some(&mut publisher)));
    }
    let (off, on) = (least(off), least(on));
    println!("{name:<14} {off:7.1}  {on:7.1}  {:7.1}", on - off);
}

const SECOND: Duration = Duration::from_secs(1);

fn publisher() -> CensusPublisher {
    let method = CensusSettings {
        seed: 0x0123_4567_89AB_CDEF,
        clients: TABLE,
    };
    CensusPublisher::new(method, SECOND)
}

fn ipv4(number: u32) -> IpAddr {
    Ipv4Addr::from(number.wrapping_mul(0x9E37_79B1)).into()
}

fn ipv6(number: u32) -> IpAddr {
    Ipv6Addr::from((u128::from(number.wrapping_mul(0x9E37_79B1)) << 72) + 1).into()
}

/// Nanoseconds a packet, each from one of the clients by lot, 100,000 of them a second of the census's time, in batches as
/// the worker takes them.
fn measure(clients: u32, family: fn(u32) -> IpAddr, mut publisher: Option<&mut CensusPublisher>) -> f64 {
    let payload = Header::request(NtpTimestamp::from_bits(1)).to_bytes();
    let mut lot = 1_u64;
    let start = Instant::now();
    let mut now = SECOND * 2;
    let mut sources = Vec::with_capacity(BATCH);
    for _ in 0..PACKETS {
        if sources.len() == BATCH {
            now = black_box(now + Duration::from_micros(10 * BATCH as u64));
            if let Some(publisher) = &mut publisher {
                publisher.note(sources.iter().copied(), now);
                publisher.publish_if_due(now);
            }
            sources.clear();
        }
        lot = lot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let drawn = u32::try_from(lot >> 32).unwrap_or(0);
        sources.push(black_box(family(drawn % clients)));
        let mut reply = [0; HEADER_LEN];
        let request = Request {
            payload: black_box(&payload),
            source: std::net::Ipv4Addr::LOCALHOST.into(),
            source_port: 40_000,
            unicast: true,
            received_at: NtpTimestamp::from_bits(5),
        };
        black_box(respond(
            &request,
            NtpTimestamp::from_bits(6),
            || Ruling::Answer,
            black_box(&VARIABLES),
            &mut ReplyBuffer::new(&mut reply),
        ));
        black_box(reply);
    }
    start.elapsed().as_nanos() as f64 / f64::from(PACKETS)
}

/// Laying it down, and putting 1 to 64 workers together for whoever asks.
fn tell() {
    let mut publisher = publisher();
    let reader = publisher.reader();
    let mut now = SECOND;
    let mut told = Vec::new();
    for part in 0..13 {
        for number in 0..20_000 {
            publisher.note([ipv4(part * 7 + number)].into_iter(), now);
        }
        for _ in 0..300 {
            now += SECOND;
            let start = Instant::now();
            publisher.publish_if_due(now);
            told.push(start.elapsed().as_nanos() as f64);
        }
    }
    told.sort_by(f64::total_cmp);
    let [usual, seldom] =
        [told.len() / 2, told.len() - 13].map(|place| told.get(place).map_or(0.0, |nanos| nanos / 1000.0));
    println!("laying down, once a second: {usual:.1} µs; once in 5 minutes {seldom:.1} µs");
    for workers in [1, 8, 64] {
        let (took, report) = together(&reader, workers, now);
        println!("{workers:2} workers put together: {took:.1} ms, {report} requests");
    }
}

fn together(reader: &CensusReader, workers: usize, now: Duration) -> (f64, u64) {
    let start = Instant::now();
    let mut merge = Merge::new(now);
    (0..workers).for_each(|_| reader.read(|history| merge.add(history)));
    let report = merge.report(&CensusWanted::first(100));
    (start.elapsed().as_secs_f64() * 1000.0, report.requests)
}

/// Whatever else the machine does only adds to a figure.
fn least(figures: Vec<f64>) -> f64 {
    figures.into_iter().fold(f64::INFINITY, f64::min)
}
