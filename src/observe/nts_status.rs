//! Pure. The state of Network Time Security as a server.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;

use crate::ke::expiry::ExpiryNotice;
use crate::ke::{CertificateFacts, KeCounts};
use crate::nts::key_schedule::KeySchedule;
use crate::nts::keyring::Time;

/// NTS as a server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NtsStatus {
    /// The number of the period whose key new cookies are sealed with.
    pub period: u32,
    /// Whether the time is vouched for that periods are counted by; until then cookies of any period are accepted.
    pub period_certain: bool,
    /// The number of secrets that open cookies.
    pub secrets: usize,
    /// `file`, or `made` if ntpfront made the secret.
    pub secret: &'static str,
    /// Key establishment; `null` if it is elsewhere.
    pub key_establishment: Option<KeStatus>,
}

/// Key establishment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KeStatus {
    /// Addresses where keys are established.
    pub listeners: Vec<KeListenerStatus>,
    /// The number of threads.
    pub threads: usize,
    /// Sessions that run.
    pub open: usize,
    /// Sessions since the start, by their end.
    pub sessions: BTreeMap<&'static str, u64>,
    /// Sessions that waited in vain for their handshake, by the reason.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Answers, by their time from the start of the session.
    pub times: KeTimes,
    /// The certificates, in the order of the configuration.
    pub certificates: Vec<CertificateStatus>,
}

/// An address where keys are established.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeListenerStatus {
    /// The address.
    pub address: SocketAddr,
    /// Whether it is open; not while the address is absent.
    pub serving: bool,
}

/// The times until answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KeTimes {
    /// The number of answers.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum: f64,
    /// Bounds in seconds, each with the number of answers that took no longer.
    pub at_most: Vec<(f64, u64)>,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateStatus {
    /// Names and addresses that it is for.
    pub names: Vec<String>,
    /// Seconds until it ends; negative after that.
    pub expires: i64,
    /// The time that it is still valid, for people.
    #[serde(skip)]
    pub left: String,
    /// `soon` or `invalid`; `null` if there is nothing to do.
    pub trouble: Option<&'static str>,
}

impl NtsStatus {
    /// Makes the status; `now` is in seconds since 1970.
    pub fn new<'a>(
        schedule: &KeySchedule,
        has_file: bool,
        certificates: impl Iterator<Item = &'a CertificateFacts>,
        server: Option<(KeCounts, usize, usize)>,
        listeners: impl Iterator<Item = (SocketAddr, bool)>,
        now: i64,
    ) -> Self {
        let key_establishment = server.map(|(counts, open, threads)| KeStatus {
            listeners: listeners
                .map(|(address, serving)| KeListenerStatus { address, serving })
                .collect(),
            threads,
            open,
            sessions: counts
                .outcomes
                .iter()
                .map(|(end, count)| (end.name(), *count))
                .collect(),
            refusals: counts
                .refusals
                .iter()
                .map(|(why, count)| (why.name(), *count))
                .collect(),
            times: KeTimes {
                count: counts.answers,
                sum: counts.seconds,
                at_most: counts.times,
            },
            certificates: certificates
                .map(|facts| CertificateStatus::of(facts, now))
                .collect(),
        });
        Self {
            period: schedule.keyring().period().number(),
            period_certain: schedule.time() == Time::Vouched,
            secrets: schedule.secrets(),
            secret: if has_file { "file" } else { "made" },
            key_establishment,
        }
    }

    /// Returns the certificates.
    pub fn certificates(&self) -> impl Iterator<Item = &CertificateStatus> {
        self.key_establishment
            .iter()
            .flat_map(|status| &status.certificates)
    }
}

impl KeTimes {
    /// Returns the buckets of a histogram: the upper bound of each, with the answers in it alone.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let mut below = 0;
        let ends = self.at_most.iter().copied().chain([(f64::INFINITY, self.count)]);
        let alone = ends.map(|(bound, count)| {
            let alone = count.saturating_sub(below);
            below = count.max(below);
            (bound, alone)
        });
        alone.collect()
    }
}

impl KeStatus {
    /// Returns the number of sessions that have ended.
    pub fn ended(&self) -> u64 {
        self.sessions.values().sum()
    }
}

impl CertificateStatus {
    fn of(facts: &CertificateFacts, now: i64) -> Self {
        Self {
            names: facts.names.clone(),
            expires: facts.seconds_left(now),
            left: facts.left(now),
            trouble: ExpiryNotice::of(facts, now).map(|notice| match notice {
                ExpiryNotice::Soon => "soon",
                ExpiryNotice::Invalid => "invalid",
            }),
        }
    }
}

/// A status for tests: key establishment at two addresses, with a certificate that ends soon.
#[cfg(test)]
pub(crate) fn example() -> NtsStatus {
    NtsStatus {
        period: 20_786,
        period_certain: true,
        secrets: 2,
        secret: "file",
        key_establishment: Some(KeStatus {
            listeners: [("0.0.0.0:4460", true), ("192.0.2.7:4460", false)]
                .map(|(address, serving)| KeListenerStatus {
                    address: address.parse().unwrap(),
                    serving,
                })
                .to_vec(),
            threads: 1,
            open: 3,
            sessions: BTreeMap::from([("established", 40_961), ("tls-failed", 7), ("timed-out", 2)]),
            refusals: BTreeMap::from([("overload", 0), ("rate", 812)]),
            times: KeTimes {
                count: 40_961,
                sum: 61.5,
                at_most: vec![(0.001, 12_000), (3.0, 40_961)],
            },
            certificates: vec![CertificateStatus::of(
                &CertificateFacts {
                    names: vec!["time.example".to_owned(), "ntp.example".to_owned()],
                    not_before: 0,
                    not_after: 9 * 86_400 + 5,
                },
                0,
            )],
        }),
    }
}
