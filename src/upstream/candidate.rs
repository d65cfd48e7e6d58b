//! Pure. What one upstream is worth at the moment: its standing, and as a candidate its claim.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::Role;
use super::filter::{Estimate, View};
use super::registry::{Entry, UpstreamId};
use super::select::{Interval, Survivor, plausible};
use crate::time::NtpDuration;
use crate::wire::Header;

/// Beside what is known of the frequencies, any clock may stray by this (as chrony's maxclockerror).
pub(super) const MAX_CLOCK_ERROR: f64 = 1e-6;
/// One server by two paths is not known so many times better by one of them.
const MUCH_BETTER: i64 = 8;
/// For so long after its last sample an upstream that answers no more still has its vote, with a claim that grows. Then those
/// who go on answering are all there are.
//= RFC 5905 §10 no-timeout
pub(super) const SILENT_CLAIMS_COUNT: Duration = Duration::from_secs(4 * 3600);
/// So many questions in a row without an answer make an upstream a stale one: others are fresher.
const STALE_AFTER: u32 = 2;

/// The result of the selection for each upstream.
pub type SelectionStatuses = BTreeMap<UpstreamId, SelectionStatus>;

/// The result of the selection for one upstream: what it is worth, and why. Each has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectionStatus {
    /// We announce its time: it keeps the host's clock, and we speak as it does.
    Mirrored,
    /// We announce that we follow it.
    SystemPeer,
    /// It agrees, and its time is a part of ours.
    Agrees,
    /// It agrees, but is further from the others than they are noisy.
    Outlier,
    /// It contradicts the majority, or there is no majority.
    Falseticker,
    /// It agrees, but too few do, or none of those that are required.
    TooFew,
    /// It is only watched.
    NoSelect,
    /// It agrees, but is the same server as another upstream: both count once.
    Duplicate,
    /// Its root distance is over `max-distance`.
    TooFar,
    /// Its jitter is over `max-jitter`.
    TooJittery,
    /// It answers, and its answers are refused: no time, a kiss, or nonsense.
    Refused,
    /// It was asked and does not answer (any more).
    Silent,
    /// It was not asked yet, or its name is not resolved.
    Unknown,
}

impl SelectionStatus {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Mirrored,
        Self::SystemPeer,
        Self::Agrees,
        Self::Outlier,
        Self::Falseticker,
        Self::TooFew,
        Self::NoSelect,
        Self::Duplicate,
        Self::TooFar,
        Self::TooJittery,
        Self::Refused,
        Self::Silent,
        Self::Unknown,
    ];

    /// Is its time a part of ours?
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Mirrored | Self::SystemPeer | Self::Agrees)
    }

    /// The word for it in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mirrored => "mirrored",
            Self::SystemPeer => "system-peer",
            Self::Agrees => "agrees",
            Self::Outlier => "outlier",
            Self::Falseticker => "falseticker",
            Self::TooFew => "too-few",
            Self::NoSelect => "noselect",
            Self::Duplicate => "duplicate",
            Self::TooFar => "too-far",
            Self::TooJittery => "too-jittery",
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::Unknown => "unknown",
        }
    }
}

/// An upstream that may be believed.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Which upstream it is.
    pub id: UpstreamId,
    /// Who answers.
    pub address: SocketAddr,
    /// Is that an address of this host?
    pub on_this_host: bool,
    /// What is special about it.
    pub role: Role,
    /// Its last good answer.
    pub header: Header,
    /// What its samples say.
    pub estimate: Estimate,
    /// Offset of its clock from the local timescale now.
    pub offset: NtpDuration,
    /// How wrong its time may be now in all (RFC 5905 §11.2.1, root synchronization distance).
    pub distance: NtpDuration,
    /// All offsets that it says are possible now. While its last answer contradicts those before, it says both.
    pub claim: Interval,
    /// By how much true time may run faster than the local timescale as it says, as what it gains in a second.
    pub rate: Interval,
    /// Why it is not available now, if it is not. What it said last still holds as far as it can be wrong by now: those who
    /// go on answering are no majority for that.
    pub unavailable: Option<SelectionStatus>,
    /// Its last answer contradicts those before.
    pub conflicting: bool,
    /// It did not answer the last questions.
    pub stale: bool,
    /// How many of the upstreams are the same server as this one, itself included.
    pub shared_by: usize,
}

/// The limits that a candidate must keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Largest root distance.
    pub distance: NtpDuration,
    /// Largest jitter in seconds.
    pub jitter: f64,
}

impl Candidate {
    /// The `upstream` as a candidate, or why it is none. Whether it is a duplicate, the others tell.
    ///
    /// # Errors
    /// Its standing.
    //= RFC 5905 §11.2.1 unusable
    pub fn of(
        upstream: &Entry,
        now: Duration,
        view: &View,
        limits: &Limits,
    ) -> Result<Self, SelectionStatus> {
        let (peer, role) = (&upstream.peer, upstream.settings.role);
        let Some(address) = peer.address else {
            return Err(SelectionStatus::Unknown);
        };
        let known = peer.known(view);
        let unavailable = if peer.reach == 0 && peer.refused.is_none() {
            SelectionStatus::Silent
        } else {
            SelectionStatus::Refused
        };
        let lately = |estimate: &Estimate| now.saturating_sub(estimate.at) <= SILENT_CLAIMS_COUNT;
        let past = || peer.last_good.zip(peer.filter.estimate(view).filter(lately));
        let (header, estimate) = known.or_else(past).ok_or(unavailable)?;
        let offset = estimate.offset_at(now);
        let root_distance = header.root_delay.to_duration().half() + header.root_dispersion.to_duration();
        let distance = root_distance + estimate.delay.half() + measured(&estimate, now);
        //= RFC 5905 §11.2.1 interval
        let (mut claim, mut rate) = (Interval::around(offset, distance), rate(&estimate, now));
        if let Some(conflict) = peer.filter.conflicting_sample(view) {
            claim = claim.hull(&Interval::around(
                conflict.offset,
                root_distance + conflict.error_at(now),
            ));
            rate = rate.hull(&Interval::around(NtpDuration::ZERO, conflict.growth()));
        }
        let candidate = Self {
            id: upstream.id,
            address,
            on_this_host: peer.on_this_host,
            role,
            header,
            offset,
            distance,
            claim,
            rate,
            unavailable: known.is_none().then_some(unavailable),
            conflicting: peer.filter.has_conflict(),
            stale: peer.reach.trailing_zeros() >= STALE_AFTER,
            shared_by: 1,
            estimate,
        };
        match candidate {
            _ if role.noselect => Err(candidate.unavailable.unwrap_or(SelectionStatus::NoSelect)),
            _ if known.is_none()
                && (candidate.distance > limits.distance || estimate.jitter > limits.jitter) =>
            {
                Err(unavailable)
            }
            _ if candidate.distance > limits.distance => Err(SelectionStatus::TooFar),
            _ if estimate.jitter > limits.jitter => Err(SelectionStatus::TooJittery),
            _ => Ok(candidate),
        }
    }

    /// What is plausible by its word: the path's asymmetry is usually small.
    pub fn plausible(&self) -> Interval {
        plausible(self.offset, self.distance)
    }

    /// As the cluster and combine algorithms see it; `zero` is any common point near all offsets.
    pub fn survivor(&self, zero: NtpDuration, survived: bool) -> Survivor {
        Survivor {
            offset: (self.offset - zero).to_seconds(),
            jitter: self.estimate.jitter.max(self.estimate.dispersion.to_seconds()),
            distance: self.distance.to_seconds(),
            shared_by: self.shared_by,
            survived,
        }
    }

    /// Says another time than `other`: their offsets differ by more than the paths to them explain.
    pub fn contradicts(&self, other: &Self) -> bool {
        let explained = (self.estimate.delay + other.estimate.delay).half()
            + self.estimate.dispersion
            + other.estimate.dispersion;
        (self.offset - other.offset).abs() > explained || !self.claim.overlaps(&other.claim)
    }

    /// Neither is known much better than the other.
    pub fn is_as_well_known_as(&self, other: &Self) -> bool {
        let (near, far) = (
            self.distance.min(other.distance),
            self.distance.max(other.distance),
        );
        far.to_units() / MUCH_BETTER <= near.to_units()
    }
}

/// By how much true time may run faster than the local timescale.
fn rate(estimate: &Estimate, now: Duration) -> Interval {
    Interval::around(
        NtpDuration::from_seconds(estimate.frequency),
        NtpDuration::from_seconds(estimate.frequency_error_at(now) + MAX_CLOCK_ERROR),
    )
}

/// What measuring adds to the error at `now`: precisions, statistics, and clocks that stray.
//= RFC 5905 §9.2 dispersion-growth
fn measured(estimate: &Estimate, now: Duration) -> NtpDuration {
    let age = NtpDuration::from_std(now.saturating_sub(estimate.at)).to_seconds();
    let error = estimate.error_at(now) + MAX_CLOCK_ERROR * age;
    estimate.dispersion + NtpDuration::from_seconds(error)
}
