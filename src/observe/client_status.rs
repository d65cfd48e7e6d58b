//! Pure. A client: the verdict about a plain request of it now, at each listener, and what is known of it.
//!
//! As JSON its names and units are stable, as those of the snapshot are.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::census::ClientCensus;
use crate::server::judgement::Judgement;
use crate::server::policy::limit::{Bucket, ClientState};
use crate::server::policy::{Policy, RuleMode};
use crate::server::{SavedCounts, Verdict};

/// The most clients of one request: a worker looks them up between two batches.
pub const MOST_CLIENTS: usize = 256;

/// A client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientStatus {
    /// Its address.
    pub address: IpAddr,
    /// Whether the most likely verdict about a request of it is an answer, at one of the listeners or more.
    pub answered: bool,
    /// The listeners of its address family, or the one that was asked about.
    pub listeners: Vec<ClientAtListener>,
    /// The knowledge of the census; `null` if the census is off.
    pub census: Option<ClientCensus>,
}

/// A client at a listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientAtListener {
    /// Address of the listener.
    pub listener: SocketAddr,
    /// Whether clients are answered there at all; not while its address is absent.
    pub serving: bool,
    /// The reason why it is not served, or not by all of its workers, in words; `null` if it is.
    pub fault: Option<String>,
    /// The most likely verdict about a plain request of version 4 and mode 3; `null` where clients are not served.
    pub verdict: Option<String>,
    /// All verdicts that are possible, each with its share, 0 to 1: more than one only where chance decides.
    ///
    /// Then the shares are those of 400 tries.
    pub verdicts: BTreeMap<String, f64>,
    /// The remarks that would be counted, each with its share.
    pub remarks: BTreeMap<String, f64>,
    /// Whether an answer has the time in it; else it is "unsynchronized".
    pub announces_time: bool,
    /// The drain in effect: by `command` or `configuration`; `null` without one.
    pub drained: Option<String>,
    /// The access list.
    pub access: ClientAccess,
    /// The limit per client.
    pub limit: ClientLimit,
    /// The budget of the server.
    pub budget: ClientBudget,
    /// Its replies that are saved for interleaved mode; `null` where that is off.
    pub interleaved: Option<ClientInterleaved>,
    /// Whether the fast path answers for the listener, too: it has buckets of its own, which are not in `limit`.
    pub fast_path: bool,
    /// The number of workers of the listener that did not reply in time: what they know is missing here.
    pub silent_workers: u16,
}

/// A client and an access list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientAccess {
    /// `off`, `dry-run` or `on`.
    pub mode: String,
    /// Whether the list in use allows the address, whatever the mode.
    pub allowed: bool,
    /// The rule that decides; `null` if it is not known.
    pub rule: Option<AccessRule>,
    /// The reason why the rule is not known or may not be the one in use; `null` if it is.
    pub rule_doubt: Option<String>,
}

/// A rule of an access list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRule {
    /// The prefix; `null` if none matches, and the default decides.
    pub prefix: Option<String>,
    /// Whether it allows.
    pub allows: bool,
    /// The key: `access.allow`, `access.deny`, `access.allow-files`, `access.deny-files` or `access.default`.
    pub key: String,
    /// The place where it is written, as in `FILE:LINE:COLUMN`; `default` if it is not.
    pub place: String,
}

/// A client and the limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientLimit {
    /// `off`, `dry-run` or `on`.
    pub mode: String,
    /// The number of the worker that remembers the client; `null` if none does.
    ///
    /// If several do, it is the one with its last request.
    pub worker: Option<u16>,
    /// Its bucket; `null` with the limit off.
    pub bucket: Option<ClientBucket>,
    /// The bucket of its wider prefix; `null` without one.
    pub wide: Option<ClientBucket>,
    /// The time since the last request that the limit or the budget saw, in seconds; `null` if no worker remembers one.
    pub last_request: Option<f64>,
    /// The number of its requests that were not answered since the worker remembers it, up to 256.
    pub unanswered: u16,
}

/// A bucket of answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientBucket {
    /// The prefix of the addresses that share it.
    pub prefix: String,
    /// The answers that are left now.
    pub tokens: u32,
    /// The answers in a full bucket.
    pub burst: u32,
    /// The time in which one comes back, in seconds.
    pub interval: f64,
}

/// A client and the budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientBudget {
    /// `off`, `dry-run` or `on`.
    pub mode: String,
    /// Whether the client is known: it came back some times.
    pub known: bool,
    /// Its requests in about the last 1.5 minutes; 0 without a budget.
    pub recent_requests: f32,
    /// The recent requests up to which a known client is answered before all others; `null` without a budget.
    pub light_up_to: Option<f32>,
}

/// The replies to a client that are saved for interleaved mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientInterleaved {
    /// Those in interleaved mode: the client is in it.
    pub interleaved: u32,
    /// Those in basic mode: the client can ask for the next one in interleaved mode.
    pub basic: u32,
}

impl From<SavedCounts> for ClientInterleaved {
    fn from(counts: SavedCounts) -> Self {
        Self {
            interleaved: counts.interleaved,
            basic: counts.basic,
        }
    }
}

/// The result of a judgement, in words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JudgementWords {
    /// The most likely verdict.
    pub verdict: Option<String>,
    /// All verdicts.
    pub verdicts: BTreeMap<String, f64>,
    /// All remarks.
    pub remarks: BTreeMap<String, f64>,
}

impl From<&Judgement> for JudgementWords {
    fn from(judged: &Judgement) -> Self {
        let verdicts = judged.verdicts.iter();
        let remarks = judged.remarks.iter();
        Self {
            verdict: judged
                .verdicts
                .first()
                .map(|(verdict, _)| verdict.name().to_owned()),
            verdicts: verdicts
                .map(|(one, share)| (one.name().to_owned(), *share))
                .collect(),
            remarks: remarks
                .map(|(one, share)| (one.name().to_owned(), *share))
                .collect(),
        }
    }
}

impl ClientBudget {
    /// The budget of `policy` for a client; `known` is what the worker knows of it, and `light` what the budget leaves.
    pub fn of(policy: &Policy, known: &ClientState, light: f32, now: Duration) -> Self {
        let is_on = policy.budget != RuleMode::Off;
        Self {
            mode: policy.budget.name().to_owned(),
            known: known.is_known(),
            recent_requests: if is_on { known.recent_requests(now) } else { 0.0 },
            light_up_to: is_on.then_some(light),
        }
    }
}

impl ClientAtListener {
    /// Whether the most likely verdict is an answer.
    pub fn is_answered(&self) -> bool {
        let mut answers = Verdict::all().filter(|verdict| verdict.is_answered());
        self.serving && answers.any(|verdict| self.verdict.as_deref() == Some(verdict.name()))
    }
}

impl ClientLimit {
    /// The limit of `policy` for the client `address`; `known` is the worker that remembers it, and what that knows.
    pub fn of(
        policy: &Policy,
        address: IpAddr,
        worker: Option<u16>,
        known: &ClientState,
        now: Duration,
    ) -> Self {
        let limit = &policy.limit;
        let of_bucket = |bucket: &Bucket, tokens| ClientBucket {
            prefix: bucket.prefix_of(address),
            tokens,
            burst: bucket.burst,
            interval: bucket.interval.as_secs_f64(),
        };
        let is_on = limit.is_on();
        let wide = limit.wide.as_ref().filter(|_| is_on);
        Self {
            mode: limit.mode.name().to_owned(),
            worker,
            bucket: is_on.then(|| of_bucket(&limit.client, known.tokens(&limit.client, now))),
            wide: wide.map(|bucket| of_bucket(bucket, known.wider_tokens(bucket, now))),
            last_request: known.last_request(now).map(|ago| ago.as_secs_f64()),
            unanswered: known.unanswered(),
        }
    }
}
