//! What the published model costs a packet: batches of 32 requests through `respond`, with a constant state, with the
//! host's clock and with a tracked clock. Run it with `cargo bench --bench model`; compare within one run only.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark reads the clock and prints"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use ntpfront::clock::{ClockModel, Reference, ReferenceReader, SystemVariables, published};
use ntpfront::host::clock;
use ntpfront::server::policy::Ruling;
use ntpfront::server::{ReplyBuffer, Request, respond};
use ntpfront::time::{ClockReadings, NtpDuration, NtpTimestamp};
use ntpfront::wire::{HEADER_LEN, Header, Leap, ReferenceId};

const BATCH: u32 = 32;
const BATCHES: u32 = 20_000;
const ROUNDS: usize = 15;

fn main() {
    let start = ClockReadings {
        realtime: NtpTimestamp::from_unix(1_700_000_000, 0),
        raw: Duration::from_secs(1000),
        boot: Duration::from_secs(1000),
    };
    let host = ClockModel::Host;
    let tracked = ClockModel::Tracked {
        epoch: start.raw,
        time: start.realtime,
        rate: 20e-6,
        slew: 100e-6,
        slew_for: Duration::from_secs(4),
    };
    let constant = reference(host, start).at(start);
    let mut host = published(reference(host, start)).1;
    let mut tracked = published(reference(tracked, start)).1;
    let mut figures = [Vec::new(), Vec::new(), Vec::new()];
    let mut readings = Vec::new();
    // In turn, so that whatever else the machine does meets all of them.
    for _ in 0..ROUNDS {
        figures[0].push(measure(|batch| with_constant(&constant, start, batch)));
        figures[1].push(measure(|batch| with_model(&mut host, start, batch)));
        figures[2].push(measure(|batch| with_model(&mut tracked, start, batch)));
        readings.push(
            f64::from(BATCH)
                * measure(|_| {
                    black_box(clock::now());
                }),
        );
    }
    let medians = figures.map(median);
    for (name, median) in ["constant state", "host's clock", "tracked clock"]
        .iter()
        .zip(medians)
    {
        println!(
            "{name:<16} {median:6.1} ns a packet  {:+6.1}",
            median - medians[0]
        );
    }
    println!("reading clocks   {:6.1} ns a batch", median(readings));
}

fn reference(clock: ClockModel, published: ClockReadings) -> Reference {
    Reference {
        leap: Leap::NoWarning,
        stratum: 2,
        reference_id: ReferenceId::from_bytes([192, 0, 2, 1]),
        root_delay: NtpDuration::from_seconds(0.01),
        root_dispersion: NtpDuration::from_seconds(0.001),
        growth: 15e-6,
        reference_time: NtpTimestamp::from_unix(1_699_999_999, 0),
        precision: -24,
        clock,
        published,
        answers: true,
        epoch: Duration::from_secs(1000),
        not_after: Duration::from_secs(1010),
    }
}

fn with_constant(variables: &SystemVariables, now: ClockReadings, payload: &[u8]) {
    for _ in 0..BATCH {
        one(payload, now.realtime, now.realtime, variables);
    }
}

/// As the worker does it: the reference once a batch, the stamp of each packet through the model.
fn with_model(reader: &mut ReferenceReader, now: ClockReadings, payload: &[u8]) {
    let reference = reader.latest();
    let variables = reference.at(now);
    let transmit_at = reference.clock.served(now);
    for packet in 0..BATCH {
        let stamp = now.realtime - NtpDuration::from_nanos(i64::from(packet) * 1000);
        let received_at = reference.clock.served_at_stamp(black_box(stamp), now);
        one(
            payload,
            received_at.unwrap_or(transmit_at),
            transmit_at,
            &variables,
        );
    }
}

fn one(payload: &[u8], received_at: NtpTimestamp, transmit_at: NtpTimestamp, variables: &SystemVariables) {
    let mut reply = [0; HEADER_LEN];
    let request = Request {
        payload: black_box(payload),
        source: std::net::Ipv4Addr::LOCALHOST.into(),
        source_port: 40_000,
        unicast: true,
        received_at,
    };
    black_box(respond(
        &request,
        transmit_at,
        || Ruling::Answer,
        black_box(variables),
        &mut ReplyBuffer::new(&mut reply),
    ));
    black_box(reply);
}

/// Nanoseconds a packet.
fn measure(mut batch: impl FnMut(&[u8])) -> f64 {
    let payload = Header::request(NtpTimestamp::from_bits(1)).to_bytes();
    let start = Instant::now();
    for _ in 0..BATCHES {
        batch(&payload);
    }
    start.elapsed().as_nanos() as f64 / f64::from(BATCH * BATCHES)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}
