//! Pure. All that can be seen of the running server at one moment: what `status`, `upstreams`, `health` and the metrics
//! are made of.
//!
//! As JSON its names and units are stable: times in seconds, `null` where nothing is known yet; later versions may add
//! names, not change the meaning of one.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::pool::Twin;
use crate::server::Counts;
use crate::time::{ClockReadings, NtpDuration};
use crate::upstream::association::{Asking, Peer};
use crate::upstream::candidate::Standing;
use crate::upstream::fault::Fault;
use crate::upstream::filter::{Estimate, View};
use crate::upstream::packet::Reject;
use crate::upstream::system::{Decision, Source, State};
use crate::wire::Header;

/// Everything.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// Of the program that runs.
    pub version: &'static str,
    /// Seconds since it started.
    pub uptime: f64,
    /// What clients are told.
    #[serde(flatten)]
    pub told: Told,
    /// What the NTP Pool's monitor would make of that at worst.
    pub pool: Twin,
    /// What all workers did since the start, those who have ended included.
    pub requests: Traffic,
    /// How often the configuration was read again.
    pub reloads: Reloads,
    /// Lines of the log that were dropped, since nobody read them.
    pub log_lines_dropped: u64,
    /// Where clients are answered.
    pub listeners: Vec<ListenerSight>,
    /// What answers before the network stack sees a request; `null` where nothing shall.
    pub fast_path: Option<FastSight>,
    /// Who is asked, in the order of the configuration.
    pub upstreams: Vec<UpstreamSight>,
}

/// What clients are told about the time, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    /// `init`, `synchronized`, `holdover`, `unsynchronized`, `disputed` or `local`.
    #[serde(serialize_with = "state_name")]
    pub state: State,
    /// Why the state is not `synchronized`, in numbers; `null` if it is.
    pub state_reason: Option<String>,
    /// Which clock is served: `system` or `tracked`.
    #[serde(serialize_with = "source_name")]
    pub clock: Source,
    /// Does a client get an answer at all?
    pub answers: bool,
    /// Is a client told a time now (and not that there is none, or nothing)?
    pub usable: bool,
    /// The system variables as of now.
    pub reference: ReferenceSight,
}

/// The system variables as a client sees them now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReferenceSight {
    /// 1 to 15, or 0 without a usable time.
    pub stratum: u8,
    /// 0 nothing, 1 insert and 2 delete a second at the end of the day, 3 not synchronized.
    pub leap: u8,
    /// Four letters, or eight hexadecimal digits.
    pub reference_id: String,
    /// Round trip to the reference clock.
    pub root_delay: f64,
    /// How wrong the served time may be beside half of the root delay.
    pub root_dispersion: f64,
    /// How wrong the served time may be in all; `null` without a usable time.
    pub root_distance: Option<f64>,
    /// Since the served time was last checked or corrected; `null` without a usable time, or where that is not known.
    pub age: Option<f64>,
    /// For how long it stays usable if nothing more is heard; `null` without a usable time, or without an end.
    pub good_for: Option<f64>,
}

/// Packets, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Traffic {
    /// Packets received in the last second.
    pub per_second: f64,
    /// Packets that the kernel dropped before we saw them, since their queue was full.
    pub queue_dropped: u64,
    /// All others.
    #[serde(flatten)]
    pub counts: Counts,
}

impl Traffic {
    /// With these packets more, which came at this rate.
    #[must_use]
    pub fn plus(mut self, counts: Counts, per_second: f64) -> Self {
        self.counts = self.counts.plus(counts);
        self.per_second += per_second;
        self
    }
}

/// The kernel's fast path. What it did is in all counts of packets, too.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FastSight {
    /// Where it shall be.
    pub interfaces: Vec<InterfaceSight>,
    /// Requests that it answered.
    pub answered: u64,
}

/// An interface of the fast path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InterfaceSight {
    /// Its name.
    pub name: String,
    /// `native` or `generic`; `null` while it is not there, or could not be had: the sockets answer then.
    pub mode: Option<&'static str>,
}

/// How often the configuration was read again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reloads {
    /// Took effect.
    pub done: u64,
    /// Changed nothing, because of a fault.
    pub refused: u64,
    /// Why the last one was refused; `null` if it was not.
    pub fault: Option<String>,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListenerSight {
    /// Where it listens.
    pub address: SocketAddr,
    /// `ipv4` or `ipv6`.
    pub family: &'static str,
    /// Is anybody answered there? Not while its address is not there.
    pub serving: bool,
    /// Is the server fit to be asked only with it?
    pub required: bool,
    /// Why it is not served, or not by all of its workers, in words; `null` if it is.
    pub fault: Option<&'static str>,
    /// What all its workers did, those who have ended included.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Those who answer now, by their numbers.
    pub workers: Vec<WorkerSight>,
}

/// One worker since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct WorkerSight {
    /// Packets received in the last second.
    pub per_second: f64,
    /// Packets received.
    pub received: u64,
    /// Packets answered.
    pub answered: u64,
}

/// One upstream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpstreamSight {
    /// As it was configured.
    pub name: String,
    /// Who is asked.
    pub address: Option<SocketAddr>,
    /// What it is worth.
    #[serde(serialize_with = "standing_name")]
    pub standing: Standing,
    /// Why its last answer was refused, if it was.
    pub reason: Option<&'static str>,
    /// Why it can't be asked, in words, if it can't.
    pub fault: Option<&'static str>,
    /// One bit for each of the last eight questions, the newest lowest: was there a good answer?
    pub reach: u8,
    /// Seconds from one question to the next.
    pub poll: Option<f64>,
    /// Good answers so far.
    pub accepted: u64,
    /// Refused answers so far, by reason.
    #[serde(serialize_with = "by_reason")]
    pub rejected: [u64; Reject::ALL.len()],
    /// What its samples say; `null` if there are none to believe.
    pub measured: Option<Measured>,
}

/// What is known of an upstream's clock.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Seconds by which its clock is ahead of the one that is served.
    pub offset: f64,
    /// Shortest round trip.
    pub delay: f64,
    /// Weighted deviation of the samples from their line.
    pub jitter: f64,
    /// How many samples are in use.
    pub samples: usize,
    /// Seconds since the newest one.
    pub age: f64,
    /// 1 to 15.
    pub stratum: u8,
    /// Whom it follows.
    pub reference_id: String,
    /// How wrong it says that its clock may be.
    pub root_distance: f64,
}

impl Told {
    /// What is told at `now` after this decision.
    pub fn of(decision: &Decision, now: ClockReadings) -> Self {
        let reference = &decision.reference;
        let usable = reference.is_usable() && reference.answers && now.raw <= reference.not_after;
        let seconds = |duration: NtpDuration| usable.then(|| duration.to_seconds());
        let is_endless = reference.not_after == Duration::MAX;
        Self {
            state: decision.state,
            state_reason: decision.shortage.map(|shortage| shortage.to_string()),
            clock: decision.source,
            answers: reference.answers,
            usable,
            reference: ReferenceSight {
                stratum: reference.stratum,
                leap: reference.leap.to_bits(),
                reference_id: reference.reference_id.to_string(),
                root_delay: reference.root_delay.to_seconds(),
                root_dispersion: reference.root_dispersion_at(now.raw).to_seconds(),
                root_distance: seconds(reference.root_distance_at(now.raw)),
                age: seconds(reference.clock.served(now) - reference.reference_time)
                    .filter(|_| !reference.reference_time.is_zero()),
                good_for: seconds(NtpDuration::between(now.raw, reference.not_after)).filter(|_| !is_endless),
            },
        }
    }
}

impl UpstreamSight {
    /// An upstream called `name` at `now`; `served` is how far the served clock is ahead of the local timescale.
    pub fn of(
        name: String,
        peer: &Peer,
        asking: &Asking,
        standing: Standing,
        now: Duration,
        served: NtpDuration,
    ) -> Self {
        let known = peer.known(&View::default());
        Self {
            name,
            address: peer.address,
            standing,
            reason: peer.refused.map(Reject::name),
            fault: peer.fault.map(Fault::text),
            reach: peer.reach,
            poll: asking.interval.map(|interval| interval.as_secs_f64()),
            accepted: peer.accepted,
            rejected: asking.rejected,
            measured: known.map(|(header, estimate)| Measured::of(&header, &estimate, now, served)),
        }
    }
}

impl Measured {
    fn of(header: &Header, estimate: &Estimate, now: Duration, served: NtpDuration) -> Self {
        let distance = header.root_delay.to_duration().half() + header.root_dispersion.to_duration();
        Self {
            offset: (estimate.offset_at(now) - served).to_seconds(),
            delay: estimate.delay.to_seconds(),
            jitter: estimate.jitter,
            samples: estimate.samples,
            age: now.saturating_sub(estimate.at).as_secs_f64(),
            stratum: header.stratum,
            reference_id: header.reference_id.to_string(),
            root_distance: distance.to_seconds(),
        }
    }
}

impl ListenerSight {
    /// The word for the family of an address.
    pub const fn family(address: &SocketAddr) -> &'static str {
        if address.is_ipv4() { "ipv4" } else { "ipv6" }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn state_name<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.name())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn source_name<S: Serializer>(source: &Source, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(source.name())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn standing_name<S: Serializer>(standing: &Standing, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(standing.name())
}

fn by_reason<S: Serializer>(rejected: &[u64; Reject::ALL.len()], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(Reject::ALL.iter().map(|reject| reject.name()).zip(rejected))
}

/// A snapshot for tests: one of each.
#[cfg(test)]
pub(super) fn example() -> Snapshot {
    use crate::server::{Counters, Verdict};

    let counters = Counters::default();
    counters.count(&[4 << 3 | 3; 48], Verdict::AnsweredClient);
    counters.count_residence(NtpDuration::from_seconds(3e-6));
    counters.count(&[3 << 3 | 1; 8], Verdict::RefusedTooShort);
    let requests = Traffic {
        per_second: 1234.5,
        queue_dropped: 7,
        counts: counters.snapshot(),
    };
    let worker = |per_second, answered| WorkerSight {
        per_second,
        received: 1,
        answered,
    };
    let listener = |address: &str, traffic, workers| {
        let address = address.parse().unwrap();
        ListenerSight {
            address,
            family: ListenerSight::family(&address),
            serving: true,
            required: false,
            fault: None,
            traffic,
            workers,
        }
    };
    let told = example_told();
    Snapshot {
        version: "1.2.3",
        uptime: 273_906.5,
        pool: Twin::of(&told),
        told,
        requests,
        reloads: Reloads {
            done: 4,
            refused: 1,
            fault: Some("/etc/ntpfront/ntpfront.toml:3:1: nonsense".to_owned()),
        },
        log_lines_dropped: 5,
        listeners: vec![
            listener("0.0.0.0:123", requests, vec![worker(1000.4, 1), worker(234.1, 0)]),
            listener(
                "[2001:db8:1234:5678:9abc:def0:1234:5678]:123",
                Traffic::default(),
                vec![WorkerSight::default()],
            ),
            ListenerSight {
                serving: false,
                fault: Some("no interface of this host has the address (EADDRNOTAVAIL)"),
                ..listener("192.0.2.7:123", Traffic::default(), Vec::new())
            },
        ],
        fast_path: Some(FastSight {
            interfaces: vec![
                InterfaceSight {
                    name: "eth0".to_owned(),
                    mode: Some("native"),
                },
                InterfaceSight {
                    name: "eth1".to_owned(),
                    mode: None,
                },
            ],
            answered: 1,
        }),
        upstreams: example_upstreams(),
    }
}

#[cfg(test)]
fn example_told() -> Told {
    Told {
        state: State::Synchronized,
        state_reason: None,
        clock: Source::System,
        answers: true,
        usable: true,
        reference: ReferenceSight {
            stratum: 3,
            leap: 0,
            reference_id: "C0000201".to_owned(),
            root_delay: 0.0005,
            root_dispersion: 0.0005,
            root_distance: Some(0.00075),
            age: Some(2.5),
            good_for: Some(1000.0),
        },
    }
}

#[cfg(test)]
fn example_upstreams() -> Vec<UpstreamSight> {
    let mut rejected = [0; Reject::ALL.len()];
    rejected[Reject::KissDeny.index()] = 1;
    let good = UpstreamSight {
        name: "time.example:123".to_owned(),
        address: Some(([192, 0, 2, 1], 123).into()),
        standing: Standing::SystemPeer,
        reason: None,
        fault: None,
        reach: 0o377,
        poll: Some(64.0),
        accepted: 20,
        rejected: [0; Reject::ALL.len()],
        measured: Some(Measured {
            offset: -12.3e-6,
            delay: 0.0012,
            jitter: 0.9e-6,
            samples: 12,
            age: 3.0,
            stratum: 2,
            reference_id: "C6336401".to_owned(),
            root_distance: 0.002,
        }),
    };
    let denied = UpstreamSight {
        name: "[2001:db8::1]:123".to_owned(),
        address: "[2001:db8::1]:123".parse().ok(),
        standing: Standing::Refused,
        reason: Some(Reject::KissDeny.name()),
        fault: Some(Fault::NoRoute.text()),
        reach: 0,
        poll: None,
        accepted: 0,
        rejected,
        measured: None,
    };
    vec![good, denied]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Programs rely on this shape. Names may be added; to change one breaks them.
    #[test]
    fn the_shape_is_stable() {
        let mut json = serde_json::to_value(example()).unwrap();
        without_zeros(&mut json);
        let golden: Value = serde_json::from_str(include_str!("../../tests/golden/status.json")).unwrap();
        assert_eq!(
            json, golden,
            "is that meant? Then it is worth a line in CHANGELOG.md"
        );
    }

    /// More verdicts and reasons may come; only what was counted is in the golden file.
    fn without_zeros(json: &mut Value) {
        match json {
            Value::Object(fields) => {
                for name in ["verdicts", "remarks", "rejected"] {
                    if let Some(Value::Object(counts)) = fields.get_mut(name) {
                        counts.retain(|_, count| *count != 0);
                    }
                }
                fields.values_mut().for_each(without_zeros);
            }
            Value::Array(items) => items.iter_mut().for_each(without_zeros),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}
