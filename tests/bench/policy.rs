//! What a policy costs a packet: lists of prefixes, limits and a budget, with few and with a million clients; and what memory
//! each takes. Run it with `cargo bench --bench policy`; compare within one run only.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "a benchmark reads the clock and prints"
)]

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ntpfront::cli::Flags;
use ntpfront::clock::SystemVariables;
use ntpfront::config;
use ntpfront::server::policy::access::{Access, OnDeny, Rule};
use ntpfront::server::policy::limit::{Clients, RequestClass, RequestContext};
use ntpfront::server::policy::probability::Random;
use ntpfront::server::policy::{Policy, RuleMode, Ruling};
use ntpfront::server::{Allowance, ReplyBuffer, Request, respond};
use ntpfront::time::{NtpShort, NtpTimestamp};
use ntpfront::wire::{HEADER_LEN, Header, Leap, ReferenceId};

const PACKETS: u32 = 2_000_000;
/// The packets of a measurement: about a millisecond.
const SLICE: u32 = 10_000;
const MILLION: u32 = 1_000_000;

fn main() {
    println!(
        "{:>9} {:>8} {:>8} {:>9} {:>9} {:>11}",
        "prefixes", "limit", "budget", "clients", "ns/packet", "bytes"
    );
    for clients in [1, 1000, MILLION] {
        for prefixes in [0, 1000, 100_000] {
            row(prefixes, RuleMode::Off, RuleMode::Off, clients);
        }
        row(0, RuleMode::On, RuleMode::Off, clients);
        row(0, RuleMode::DryRun, RuleMode::Off, clients);
        row(0, RuleMode::On, RuleMode::On, clients);
        row(100_000, RuleMode::On, RuleMode::On, clients);
    }
}

fn row(prefixes: u32, limit: RuleMode, budget: RuleMode, clients: u32) {
    let mut policy = Policy::clone(
        &config::load(&Flags::default(), None)
            .unwrap()
            .config
            .listeners
            .first()
            .unwrap()
            .policy,
    );
    policy.access = Access::new(&rules(prefixes), true, OnDeny::Drop, RuleMode::On);
    (policy.limit.mode, policy.budget) = (limit, budget);
    // As an operator of so many would set it: twice as many places.
    policy.limit.clients = (2 * clients).max(1024);
    let room = if policy.remembers() {
        policy.limit.clients
    } else {
        0
    };
    let mut table = Clients::new(room, [1, 2]);
    let bytes = policy.access.memory() + table.memory();
    measure(&policy, &mut table, clients);
    let mut figures: Vec<f64> = (0..3).map(|_| measure(&policy, &mut table, clients)).collect();
    figures.sort_by(f64::total_cmp);
    println!(
        "{prefixes:>9} {:>8} {:>8} {clients:>9} {:>9.1} {bytes:>11}",
        limit.name(),
        budget.name(),
        figures.get(1).unwrap(),
    );
}

/// Prefixes of 17 to 32 bits, all over the address space.
fn rules(count: u32) -> Vec<Rule> {
    let net = |number: u32| {
        let address = number.wrapping_mul(0x9E37_79B1).to_be_bytes();
        let net = ipnet::IpNet::new(address.into(), 17 + (number % 16) as u8).unwrap();
        (net.trunc(), number.is_multiple_of(5))
    };
    (0..count).map(net).collect()
}

/// Nanoseconds a packet, of clients in no order, through `respond` and all.
///
/// Of many short measurements one of the fastest counts: what slows a machine down for a while is in most of them.
fn measure(policy: &Policy, table: &mut Clients, clients: u32) -> f64 {
    let variables = SystemVariables {
        leap: Leap::NoWarning,
        stratum: 2,
        precision: -24,
        root_delay: NtpShort::from_bits(1),
        root_dispersion: NtpShort::from_bits(2),
        reference_id: ReferenceId::from_bytes([192, 0, 2, 1]),
        reference_timestamp: NtpTimestamp::from_bits(1),
    };
    let payload = Header::request(NtpTimestamp::from_bits(1)).to_bytes();
    let mut random = Random::new(1);
    let allowance = Allowance::default();
    let mut slices = Vec::new();
    let mut start = Instant::now();
    for packet in 0..PACKETS {
        if packet > 0 && packet.is_multiple_of(SLICE) {
            slices.push(start.elapsed().as_nanos() as f64 / f64::from(SLICE));
            start = Instant::now();
        }
        let number = (u64::from(packet.wrapping_mul(0x9E37_79B1)) * u64::from(clients)) >> 32;
        let asked = RequestContext {
            source: source(number as u32),
            class: RequestClass::Plain,
            now: Duration::from_secs(1000) + Duration::from_micros(5) * packet,
            budget: policy.budget,
            allowance: &allowance,
        };
        let request = Request {
            payload: black_box(&payload),
            source: asked.source,
            source_port: 40_000,
            unicast: true,
            received_at: NtpTimestamp::from_bits(1),
        };
        let mut reply = [0; HEADER_LEN];
        let rule = || -> Ruling {
            policy.rule(table, &asked, &mut random, |annotation| {
                black_box(annotation);
            })
        };
        black_box(respond(
            &request,
            NtpTimestamp::from_bits(2),
            rule,
            black_box(&variables),
            &mut ReplyBuffer::new(&mut reply),
        ));
        black_box(reply);
    }
    slices.sort_by(f64::total_cmp);
    *slices.get(slices.len() / 20).unwrap()
}

/// An address that a host can have, anywhere in the address space.
fn source(number: u32) -> IpAddr {
    let [_, b, c, d] = number.to_be_bytes();
    let top = 1 + number.wrapping_mul(0x85EB_CA6B) % 223;
    [top as u8, b, c, d].into()
}
