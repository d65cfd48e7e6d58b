//! Pure. The status of each upstream at one moment.
//!
//! Its JSON names are stable, as those of the whole [snapshot](super::snapshot).

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::nts::aead::Algorithm;
use crate::time::NtpDuration;
use crate::upstream::candidate::{SelectionStatus, maximum_error};
use crate::upstream::fault::QueryFault;
use crate::upstream::filter::{Estimate, View};
use crate::upstream::nts::ke_fault::KeFault;
use crate::upstream::nts::key_state::KeyStatus;
use crate::upstream::packet::Reject;
use crate::upstream::registry::Entry;
use crate::wire::Header;

/// An upstream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpstreamStatus {
    /// Name, as it was configured; of a member of a pool, its address.
    pub name: String,
    /// Name of its pool; `null` if it is of none.
    pub pool: Option<String>,
    /// Whether it has no vote yet, and must prove itself to replace a bad member of its pool.
    pub on_trial: bool,
    /// The address that is polled.
    pub address: Option<SocketAddr>,
    /// The result of the selection for it.
    #[serde(serialize_with = "standing_name")]
    pub standing: SelectionStatus,
    /// The reason why its last answer was refused, if it was.
    pub reason: Option<&'static str>,
    /// The reason why it can't be polled, in words, if it can't.
    pub fault: Option<&'static str>,
    /// A bit for each of the last eight polls, the newest lowest: set for a good answer.
    pub reach: u8,
    /// Seconds from one poll to the next.
    pub poll: Option<f64>,
    /// Seconds since its newest good answer; `null` without one, or if that was hours ago.
    pub last_answer: Option<f64>,
    /// Good answers so far.
    pub accepted: u64,
    /// Refused answers so far, by reason.
    #[serde(serialize_with = "by_reason")]
    pub rejected: [u64; Reject::COUNT],
    /// Whether its last good answer was in interleaved mode.
    pub interleaved: bool,
    /// Samples that were measured again when a later answer said at what time theirs really left.
    pub corrected: u64,
    /// The usual correction of their offset in seconds; `null` without one.
    pub correction: Option<f64>,
    /// The result of its samples; `null` without one that counts.
    pub measured: Option<UpstreamMeasurement>,
    /// Network Time Security; `null` if it is polled without.
    pub nts: Option<UpstreamNts>,
    /// The identifier of its symmetric key; `null` if it is polled without.
    pub key: Option<u32>,
}

/// The keys of an upstream that is polled with NTS.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpstreamNts {
    /// Name of the AEAD; `null` while there are no keys.
    pub aead: Option<&'static str>,
    /// Number of cookies that are left, 0 to 8.
    pub cookies: usize,
    /// Seconds since the keys were established.
    pub key_age: Option<f64>,
    /// Time when the certificate of its server ends, in seconds since 1970.
    pub certificate_not_after: Option<i64>,
    /// Whether only short questions are sent, as the long ones, for more cookies, got no reply.
    pub short_questions: bool,
    /// Key establishments that succeeded.
    pub establishments: u64,
    /// Failed key establishments, and losses of keys, by reason.
    #[serde(serialize_with = "by_ke_fault")]
    pub failures: [u64; KeFault::COUNT],
}

/// The measurement of an upstream's clock.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpstreamMeasurement {
    /// Seconds by which its clock is ahead of the one that is served.
    pub offset: f64,
    /// Shortest round trip.
    pub delay: f64,
    /// Weighted deviation of the samples from their line.
    pub jitter: f64,
    /// Number of samples in use.
    pub samples: usize,
    /// Seconds since the newest one.
    pub age: f64,
    /// 1 to 15.
    pub stratum: u8,
    /// Four letters, or eight hexadecimal digits.
    pub reference_id: String,
    /// Maximum error of its clock, as it announces it.
    pub root_distance: f64,
    /// Maximum error of its offset: that of its clock, half of the delay, and what the measurement adds.
    pub max_error: f64,
}

impl UpstreamStatus {
    /// The status of an `upstream` at `now`.
    ///
    /// `served` is how far the served clock is ahead of the local timescale.
    pub fn of(upstream: &Entry, standing: SelectionStatus, now: Duration, served: NtpDuration) -> Self {
        let (peer, polling) = (&upstream.peer, &upstream.polling);
        let known = peer.known(&View::default());
        Self {
            name: upstream.settings.to_string(),
            pool: upstream.settings.pool_name(),
            on_trial: upstream.settings.is_on_trial(),
            address: peer.address,
            standing,
            reason: peer.refused.map(Reject::name),
            fault: peer.fault.map(QueryFault::text),
            reach: peer.reach,
            poll: polling.interval.map(|interval| interval.as_secs_f64()),
            last_answer: peer
                .filter
                .estimate(&View::default())
                .map(|estimate| now.saturating_sub(estimate.at).as_secs_f64()),
            accepted: peer.accepted,
            rejected: polling.rejected,
            interleaved: polling.interleaved.is_interleaved,
            corrected: polling.interleaved.corrected,
            correction: (polling.interleaved.corrected > 0)
                .then(|| polling.interleaved.correction.to_seconds()),
            measured: known
                .map(|(header, estimate)| UpstreamMeasurement::of(&header, &estimate, now, served)),
            nts: upstream
                .settings
                .nts
                .as_ref()
                .map(|_| UpstreamNts::of(polling.keys.unwrap_or_default(), now)),
            key: upstream.settings.key.as_ref().map(|key| key.id().get()),
        }
    }
}

impl UpstreamNts {
    fn of(keys: KeyStatus, now: Duration) -> Self {
        let age = |established| now.saturating_sub(established).as_secs_f64();
        Self {
            aead: keys.algorithm.map(Algorithm::name),
            cookies: keys.cookies,
            key_age: keys.established.map(age),
            certificate_not_after: keys.certificate_not_after,
            short_questions: keys.asks_for_one,
            establishments: keys.establishments,
            failures: keys.failures,
        }
    }
}

impl UpstreamMeasurement {
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
            max_error: maximum_error(header, estimate, now).to_seconds(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn standing_name<S: Serializer>(standing: &SelectionStatus, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(standing.name())
}

fn by_reason<S: Serializer>(rejected: &[u64; Reject::COUNT], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(Reject::all().map(|reject| reject.name()).zip(rejected))
}

fn by_ke_fault<S: Serializer>(failures: &[u64; KeFault::COUNT], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(KeFault::all().map(KeFault::name).zip(failures))
}

/// A good and a refused upstream, for tests.
#[cfg(test)]
pub(super) fn examples() -> Vec<UpstreamStatus> {
    let mut rejected = [0; Reject::COUNT];
    rejected[Reject::KissDeny.index()] = 1;
    let mut failures = [0; KeFault::COUNT];
    failures[KeFault::TimedOut.index()] = 3;
    let good = UpstreamStatus {
        name: "time.example:123".to_owned(),
        pool: None,
        on_trial: false,
        address: Some(([192, 0, 2, 1], 123).into()),
        standing: SelectionStatus::SystemPeer,
        reason: None,
        fault: None,
        reach: 0o377,
        poll: Some(64.0),
        last_answer: Some(3.0),
        accepted: 20,
        rejected: [0; Reject::COUNT],
        interleaved: true,
        corrected: 3,
        correction: Some(2.999_790_012_836_456_3e-6),
        measured: Some(UpstreamMeasurement {
            offset: -12.3e-6,
            delay: 0.0012,
            jitter: 0.9e-6,
            samples: 12,
            age: 3.0,
            stratum: 2,
            reference_id: "C6336401".to_owned(),
            root_distance: 0.002,
            max_error: 0.0026,
        }),
        nts: Some(UpstreamNts {
            aead: Some(Algorithm::GcmSiv128.name()),
            cookies: 8,
            key_age: Some(86_400.0),
            certificate_not_after: Some(1_800_000_000),
            short_questions: false,
            establishments: 2,
            failures,
        }),
        key: None,
    };
    let denied = UpstreamStatus {
        name: "[2001:db8::1]:123".to_owned(),
        pool: Some("pool.example:123".to_owned()),
        on_trial: false,
        address: "[2001:db8::1]:123".parse().ok(),
        standing: SelectionStatus::Refused,
        reason: Some(Reject::KissDeny.name()),
        fault: Some(QueryFault::NoRoute.text()),
        reach: 0,
        poll: None,
        last_answer: None,
        accepted: 0,
        rejected,
        interleaved: false,
        corrected: 0,
        correction: None,
        measured: None,
        nts: None,
        key: Some(10),
    };
    vec![good, denied]
}
