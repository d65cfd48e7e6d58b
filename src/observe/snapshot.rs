//! Pure. All that can be seen of the running server at one moment.
//!
//! `status`, `upstreams`, `health` and the metrics are made of it.
//!
//! As JSON its names and units are stable: times in seconds, `null` where nothing is known yet; later
//! versions may add names, not change the meaning of one.

use std::net::SocketAddr;

use serde::Serialize;

use super::advice::Advice;
use super::clock_status::ClockStatus;
use super::history_status::HistoryStatus;
use super::leap_status::LeapStatus;
use super::nts_status::NtsStatus;
use super::pool::PoolScore;
use super::pool_status::PoolStatus;
use super::upstream_status::UpstreamStatus;
use crate::census::ClientNumbers;
use crate::server::Counts;
use crate::server::policy::Policy;

/// Everything.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// Version of the program that runs.
    pub version: &'static str,
    /// Seconds since it started.
    pub uptime: f64,
    /// All that is not as it should be, and what to do, the worst first.
    pub advice: Vec<Advice>,
    /// The time that clients get.
    #[serde(flatten)]
    pub clock_status: ClockStatus,
    /// The score that the NTP Pool's monitor would give that at worst.
    pub pool: PoolScore,
    /// The knowledge of leap seconds.
    pub leap_seconds: LeapStatus,
    /// Counts of all workers since the start, those included that have ended.
    pub requests: Traffic,
    /// Reloads of the configuration.
    pub reloads: Reloads,
    /// Commands of the control socket that change the server.
    pub commands: CommandCounts,
    /// Lines of the log that were dropped, since nothing read them.
    pub log_lines_dropped: u64,
    /// The record of what was served; `null` if none is written.
    pub history: Option<HistoryStatus>,
    /// The numbers of clients; `null` with `[census] enabled = false`.
    pub clients: Option<ClientNumbers>,
    /// The budget; `null` without one.
    pub budget: Option<BudgetStatus>,
    /// The addresses where clients are answered.
    pub listeners: Vec<ListenerStatus>,
    /// The kernel's fast path; `null` where none is wanted.
    pub fast_path: Option<FastPathStatus>,
    /// Network Time Security; `null` where it is off.
    pub nts: Option<NtsStatus>,
    /// The changes of the upstreams by command.
    pub upstream_changes: Vec<UpstreamChange>,
    /// Lines of the files of other programs that are left out (`[sources]`), each with its place and the reason.
    pub left_out: Vec<String>,
    /// The pools of upstreams, in the order of the configuration.
    pub upstream_pools: Vec<PoolStatus>,
    /// The upstreams, in the order of the configuration; in the place of a pool its members.
    pub upstreams: Vec<UpstreamStatus>,
}

/// Packets, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Traffic {
    /// Packets received in the last second.
    pub per_second: f64,
    /// Packets that the kernel dropped before a worker saw them, since their queue was full.
    pub queue_dropped: u64,
    /// All others.
    #[serde(flatten)]
    pub counts: Counts,
}

impl Traffic {
    /// The traffic with these packets more, which came at this rate.
    #[must_use]
    pub fn plus(mut self, counts: Counts, per_second: f64) -> Self {
        self.counts = self.counts.plus(counts);
        self.per_second += per_second;
        self
    }
}

/// The budget: the ceiling of all that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BudgetStatus {
    /// `dry-run` or `on`.
    pub mode: &'static str,
    /// Responses per second that it allows now.
    pub allowed: f64,
    /// Requests per second that asked for one in the last second, whether they got it or not.
    pub asked: f64,
    /// Whether requests were dropped for it in the last 10 s, or would have been.
    pub shedding: bool,
    /// Bytes of `gigabytes-per-month` that were not used so far; `null` without that key.
    ///
    /// They are those of a day at most, and negative if too many were used.
    pub saved_bytes: Option<f64>,
}

/// The kernel's fast path. What it did is in all counts of packets, too.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FastPathStatus {
    /// The interfaces where it is wanted.
    pub interfaces: Vec<InterfaceStatus>,
    /// Requests that it answered.
    pub answered: u64,
    /// Whether more than 4/5 of the budget is asked: then the sockets answer alone where there is one.
    pub budget_is_full: bool,
}

/// An interface of the fast path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InterfaceStatus {
    /// Name of the interface.
    pub name: String,
    /// `native` or `generic`; `null` while there is none, and the sockets answer.
    pub mode: Option<&'static str>,
    /// The reason why the program is not attached, in words; `null` if it is.
    pub fault: Option<String>,
    /// Its answers over IPv4.
    pub ipv4: FamilyStatus,
    /// The same over IPv6.
    pub ipv6: FamilyStatus,
}

/// The answers of the fast path at an interface over one family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FamilyStatus {
    /// Requests that it answered.
    pub answered: u64,
    /// The reason why it answered none, in words; `null` if it did.
    pub why_none: Option<&'static str>,
}

/// Reloads of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Reloads {
    /// Reloads that took effect.
    pub done: u64,
    /// Reloads that changed nothing, because of an error.
    pub refused: u64,
    /// The error of the last one; `null` if it took effect.
    pub fault: Option<String>,
    /// Seconds since the configuration file was found to be another one than that in effect; `null` if it is in effect.
    pub file_changed_for: Option<f64>,
}

/// Commands that change the running server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CommandCounts {
    /// Commands that were done, also if nothing had to change.
    pub done: u64,
    /// Commands that were refused.
    pub refused: u64,
}

/// A change of the upstreams by command, which a restart forgets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpstreamChange {
    /// The upstream as configured.
    pub upstream: String,
    /// `added`, `removed` or `paused`.
    pub change: &'static str,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListenerStatus {
    /// Address of the listener.
    pub address: SocketAddr,
    /// `ipv4` or `ipv6`.
    pub family: &'static str,
    /// Whether clients are answered there; not while its address is absent.
    pub serving: bool,
    /// Whether the server is healthy only with it.
    pub required: bool,
    /// Whether it announces the time where the server has one.
    ///
    /// Not with `answer = "unsynchronized"`, and not above its `max-stratum`.
    pub announces_time: bool,
    /// The reason why it is not served, or not by all of its workers, in words; `null` if it is.
    pub fault: Option<&'static str>,
    /// The policy: which clients are answered there, and with what.
    pub policy: PolicyStatus,
    /// Its drain, by command or by the configuration; `null` if clients get the time there, if there is one.
    pub drain: Option<DrainStatus>,
    /// Counts of all its workers, those included that have ended.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// The workers that answer now, by their numbers.
    pub workers: Vec<WorkerStatus>,
}

/// The policy of a listener, in the words of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PolicyStatus {
    /// `time`, or `unsynchronized` if clients are sent away.
    pub answer: &'static str,
    /// The list of clients: `off`, `dry-run` or `on`; `null` if there is none.
    pub access: Option<&'static str>,
    /// The limit per client: `off`, `dry-run` or `on`.
    pub limit: &'static str,
    /// Seconds after which the limit allows a client another request; `null` where it is off.
    pub limit_interval: Option<f64>,
    /// Requests of a client that the limit allows at once; `null` where it is off.
    pub limit_burst: Option<u32>,
    /// The budget of the server: `off`, `dry-run` or `on`.
    pub budget: &'static str,
    /// NTS: `off`, `accept` or `require`.
    pub nts: &'static str,
    /// MACs of symmetric keys: `off`, `accept` or `require`.
    pub authentication: &'static str,
    /// The highest stratum that is announced there.
    pub max_stratum: u8,
    /// Whether leap seconds are smeared there.
    pub smear: bool,
}

impl PolicyStatus {
    /// The status of a policy.
    pub fn of(policy: &Policy) -> Self {
        let limit = policy.limit.is_on().then_some(policy.limit.client);
        Self {
            answer: policy.answer.name(),
            access: (policy.access.turns() > 0).then(|| policy.access.mode.name()),
            limit: policy.limit.mode.name(),
            limit_interval: limit.map(|limit| limit.interval.as_secs_f64()),
            limit_burst: limit.map(|limit| limit.burst),
            budget: policy.budget.name(),
            nts: policy.nts.name(),
            authentication: policy.authentication.name(),
            max_stratum: policy.max_stratum,
            smear: policy.smear.is_some(),
        }
    }
}

impl ListenerStatus {
    /// Returns whether its drain has begun.
    pub fn is_drained(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.begins_in.is_none())
    }

    /// The word for the family of an address.
    pub const fn family(address: &SocketAddr) -> &'static str {
        if address.is_ipv4() { "ipv4" } else { "ipv6" }
    }
}

/// The drain of a listener: clients get "unsynchronized", so that they go elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DrainStatus {
    /// `command` or `configuration`.
    pub by: &'static str,
    /// Seconds until it begins; `null` if it is in effect.
    pub begins_in: Option<f64>,
    /// Seconds until it ends by itself; `null` if it does not.
    pub ends_in: Option<f64>,
}

impl DrainStatus {
    /// Whether clients get "unsynchronized" now.
    pub const fn is_in_effect(&self) -> bool {
        self.begins_in.is_none()
    }
}

/// A worker since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct WorkerStatus {
    /// Packets received in the last second.
    pub per_second: f64,
    /// Packets received.
    pub received: u64,
    /// Packets answered.
    pub answered: u64,
}

/// A snapshot for tests: one of each.
#[cfg(test)]
pub(crate) fn example() -> Snapshot {
    use super::{clock_status, upstream_status};
    use crate::server::{Counters, Verdict};
    use crate::time::NtpDuration;

    let counters = Counters::default();
    counters.count(&[4 << 3 | 3; 48], Verdict::AnsweredClient);
    counters.count_residence(NtpDuration::from_seconds(3e-6));
    counters.count(&[3 << 3 | 1; 8], Verdict::RefusedTooShort);
    let requests = Traffic {
        per_second: 1234.5,
        queue_dropped: 7,
        counts: counters.snapshot(),
    };
    let worker = |per_second, answered| WorkerStatus {
        per_second,
        received: 1,
        answered,
    };
    let listener = |address: &str, traffic, workers| {
        let address = address.parse().unwrap();
        ListenerStatus {
            address,
            family: ListenerStatus::family(&address),
            serving: true,
            required: false,
            announces_time: true,
            fault: None,
            policy: PolicyStatus {
                answer: "time",
                access: None,
                limit: "on",
                limit_interval: Some(0.5),
                limit_burst: Some(16),
                budget: "off",
                nts: "accept",
                authentication: "accept",
                max_stratum: 15,
                smear: false,
            },
            drain: None,
            traffic,
            workers,
        }
    };
    let family = |answered, why_none| FamilyStatus { answered, why_none };
    let attached = InterfaceStatus {
        name: "eth0".to_owned(),
        mode: Some("native"),
        fault: None,
        ipv4: family(1, None),
        ipv6: family(0, Some("no address of this host there")),
    };
    let absent = "there is no such interface; it is looked for each second";
    let none = family(0, Some("it is not attached"));
    let missing = InterfaceStatus {
        name: "eth1".to_owned(),
        mode: None,
        fault: Some(absent.to_owned()),
        ipv4: none,
        ipv6: none,
    };
    let clock_status = clock_status::example();
    Snapshot {
        version: "1.2.3",
        uptime: 273_906.5,
        advice: vec![super::advice::example()],
        pool: PoolScore::of(&clock_status),
        clock_status,
        leap_seconds: LeapStatus {
            list_expires_in: Some(2_937_600),
            next: None,
            next_in: None,
            disputed: false,
            smearing_listeners: 0,
        },
        requests,
        reloads: Reloads {
            done: 4,
            refused: 1,
            fault: Some("/etc/ntpfront/ntpfront.toml:3:1: nonsense".to_owned()),
            file_changed_for: Some(7200.0),
        },
        commands: CommandCounts { done: 3, refused: 2 },
        log_lines_dropped: 5,
        history: Some(super::history_status::example()),
        clients: Some(ClientNumbers {
            last_hour: 61_300,
            last_minutes: 17_042,
        }),
        budget: Some(BudgetStatus {
            mode: "on",
            allowed: 5000.0,
            asked: 1234.5,
            shedding: false,
            saved_bytes: Some(3e9),
        }),
        listeners: vec![
            listener("0.0.0.0:123", requests, vec![worker(1000.4, 1), worker(234.1, 0)]),
            ListenerStatus {
                drain: Some(DrainStatus {
                    by: "command",
                    begins_in: None,
                    ends_in: Some(58.0),
                }),
                ..listener(
                    "[2001:db8:1234:5678:9abc:def0:1234:5678]:123",
                    Traffic::default(),
                    vec![WorkerStatus::default()],
                )
            },
            ListenerStatus {
                serving: false,
                fault: Some("no interface of this host has the address (EADDRNOTAVAIL)"),
                ..listener("192.0.2.7:123", Traffic::default(), Vec::new())
            },
        ],
        fast_path: Some(FastPathStatus {
            interfaces: vec![attached, missing],
            answered: 1,
            budget_is_full: false,
        }),
        nts: Some(super::nts_status::example()),
        upstream_changes: vec![UpstreamChange {
            upstream: "192.0.2.9:123".to_owned(),
            change: "paused",
        }],
        left_out: Vec::new(),
        upstream_pools: vec![super::pool_status::example()],
        upstreams: upstream_status::examples(),
    }
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
                for name in ["verdicts", "remarks", "rejected", "naks", "cookies", "failures"] {
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
