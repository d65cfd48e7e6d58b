//! Impure. `ntpfront rehearse`: serves a made-up time that runs through a leap second now.
//!
//! Its packets go through a worker, as those of the server do; its clock is `clock::Rehearsal`.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::output::{FAILURE, FAULT, fail, fail_with_faults, print};
use crate::cli::{Flags, RehearseQuery};
use crate::clock::{ReferencePublisher, Rehearsal, published};
use crate::config::{address, file, load};
use crate::host::{clock, sys, udp};
use crate::leap::calendar::{nearest_month, next_half_year, read, read_time_of_day, shown, shown_utc};
use crate::leap::{LeapEvent, LeapTable, Smear};
use crate::server::policy::Policy;
use crate::server::{Allowance, INTERRUPT, Worker};
use crate::time::{NtpDuration, NtpTimestamp};

/// The longest time for which it serves.
const LONGEST: f64 = 7200.0;
/// The time between two publications.
const PUBLISHED_EVERY: Duration = Duration::from_millis(100);
const DAY: i64 = 86_400;

/// Serves until the time is over; a signal ends it before.
pub(super) fn run(query: &RehearseQuery, flags: &Flags) -> ExitCode {
    let smear = match smear(query, flags) {
        Ok(smear) => smear,
        Err(status) => return status,
    };
    let prepared = listen_address(&query.listen).and_then(|address| {
        let rehearsal = rehearsal(query, clock::realtime())?;
        let length = Some(query.length).filter(|length| (1.0..=LONGEST).contains(length));
        let length = length.ok_or_else(|| format!("--for: 1 to {LONGEST} seconds"))?;
        Ok((address, rehearsal, Duration::from_secs_f64(length)))
    });
    let (address, rehearsal, length) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => return fail("rehearse", &why, FAULT),
    };
    match serve(address, &rehearsal, smear, length) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail("rehearse", &why, FAILURE),
    }
}

/// Returns the smear of the configuration, if one is wanted.
fn smear(query: &RehearseQuery, flags: &Flags) -> Result<Option<Smear>, ExitCode> {
    if !query.smear {
        return Ok(None);
    }
    let loaded = file::load(flags).map_err(|faults| fail_with_faults(&faults))?;
    Ok(Some(loaded.smear))
}

/// Returns the address to serve on: one that no stranger can reach.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let address =
        address::listener(text).map_err(|refusal| format!("{text:?} is not {}", refusal.expected))?;
    let is_near = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    if is_near {
        Ok(address)
    } else {
        Err(format!(
            "{text}: only a loopback or a private address: the time is made up"
        ))
    }
}

/// Returns the clock of the rehearsal, which starts when this is called.
fn rehearsal(query: &RehearseQuery, now: NtpTimestamp) -> Result<Rehearsal, String> {
    let utc = match read_time_of_day(&query.start) {
        Ok(second) => NtpTimestamp::from_unix(next_half_year(now) - DAY + second, 0),
        Err(_) => read(&query.start)
            .map_err(|why| format!("--start: {why}, and no time of day, such as 23:59:50"))?,
    };
    let event = LeapEvent {
        midnight: nearest_month(utc),
        kind: query.suppose.kind(),
    };
    let leapt = utc - event.midnight() >= NtpDuration::ZERO;
    Ok(Rehearsal {
        event,
        table: LeapTable::default().with(event),
        stratum: query.stratum,
        started: clock::now(),
        count: event.count(utc, leapt),
    })
}

fn serve(
    address: SocketAddr,
    rehearsal: &Rehearsal,
    smear: Option<Smear>,
    length: Duration,
) -> Result<(), String> {
    sys::interrupt_by(INTERRUPT).map_err(|error| format!("cannot handle signals: {error}"))?;
    let sockets = udp::bind_members(address, 1, None).map_err(|error| format!("{address}: {error}"))?;
    let socket = sockets.into_iter().next().ok_or("no socket")?;
    let policy = Arc::new(Policy {
        smear,
        ..default_policy()?
    });
    let (utc, smeared) = rehearsal.references(clock::now());
    let (publisher, reader) = published(utc);
    publisher.publish_both(utc, Some(smeared));
    let _worker = Worker::start(
        "rehearsal".to_owned(),
        Arc::new(socket),
        reader,
        &policy,
        None,
        &Arc::new(Allowance::default()),
        None,
    )
    .map_err(|error| format!("cannot start a worker: {error}"))?;
    print(&greeting(address, rehearsal, smear, length));
    run_clock(rehearsal, &publisher, length);
    print("ended\n");
    Ok(())
}

/// Publishes the made-up time until the `length` is over, and says when the leap second happens.
fn run_clock(rehearsal: &Rehearsal, publisher: &ReferencePublisher, length: Duration) {
    let mut has_happened = rehearsal.event.has_happened(rehearsal.count);
    loop {
        let now = clock::now();
        let passed = now.raw.saturating_sub(rehearsal.started.raw);
        if passed >= length {
            return;
        }
        let (utc, smeared) = rehearsal.references(now);
        publisher.publish_both(utc.alive_at(now), Some(smeared.alive_at(now)));
        let count = rehearsal.count_at(now);
        if !has_happened && rehearsal.event.has_happened(count) {
            has_happened = true;
            print(&format!(
                "{}: the leap second happens\n",
                shown_utc(&rehearsal.event, count)
            ));
        }
        let left = rehearsal.event.happens_at() - count;
        let until_leap = left.to_std().filter(|left| !left.is_zero());
        let pause = until_leap.map_or(PUBLISHED_EVERY, |left| left.min(PUBLISHED_EVERY));
        thread::sleep(pause.min(length.saturating_sub(passed)));
    }
}

fn greeting(address: SocketAddr, rehearsal: &Rehearsal, smear: Option<Smear>, length: Duration) -> String {
    let start = shown(rehearsal.event.utc(rehearsal.count));
    let what = smear.map_or_else(|| "UTC".to_owned(), |smear| smear.to_string());
    let (kind, seconds, stratum) = (rehearsal.event.kind.name(), length.as_secs(), rehearsal.stratum);
    let happens = shown(rehearsal.event.midnight());
    format!(
        "A MADE-UP TIME is served at {address} for {seconds} s: reference ID TEST, stratum {stratum}, {what}\n\
         it starts at {start}; leap second ({kind}) before {happens}\n"
    )
}

/// Returns the policy of a server without a configuration.
fn default_policy() -> Result<Policy, String> {
    let text = "[[listener]]\naddress = \"127.0.0.1:123\"\n";
    let loaded = load(&Flags::default(), Some((Path::new("rehearse"), text)));
    let config = loaded.map_err(|_| "no default policy".to_owned())?.config;
    let first = config.listeners.first().map(|one| Policy::clone(&one.policy));
    first.ok_or_else(|| "no default policy".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::SupposedLeap;

    #[test]
    fn only_near_addresses_are_served() {
        for (text, expected) in [
            ("127.0.0.1:12399", true),
            ("10.1.2.3:123", true),
            ("192.168.0.1:123", true),
            ("[::1]:123", true),
            ("[fd00::1]:123", true),
            ("0.0.0.0:123", false),
            ("[::]:123", false),
            ("192.0.2.1:123", false),
            ("[2001:db8::1]:123", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(listen_address(text).is_ok(), expected, "{text}");
        }
    }

    #[test]
    fn it_starts_where_it_is_told_to() {
        let now = read("2026-11-27T12:00:00Z").unwrap();
        let start = |start: &str, suppose| {
            let query = RehearseQuery {
                listen: String::new(),
                suppose,
                start: start.to_owned(),
                length: 1.0,
                stratum: 14,
                smear: false,
                config: None,
            };
            rehearsal(&query, now).map(|one| (one.event.midnight, shown(one.count)))
        };
        let (insert, delete) = (SupposedLeap::Insert, SupposedLeap::Delete);
        for (text, kind, midnight, count) in [
            ("23:59:50", insert, 1_798_761_600, "2026-12-31T23:59:50.000Z"),
            (
                "2027-06-30T12:00:00Z",
                delete,
                1_814_400_000,
                "2027-06-30T12:00:00.000Z",
            ),
            (
                "2027-07-01T00:00:10Z",
                insert,
                1_814_400_000,
                "2027-07-01T00:00:11.000Z",
            ),
            (
                "2027-07-01T00:00:10Z",
                delete,
                1_814_400_000,
                "2027-07-01T00:00:09.000Z",
            ),
        ] {
            assert_eq!(start(text, kind), Ok((midnight, count.to_owned())), "{text}");
        }
        assert!(start("soon", insert).is_err());
    }
}
