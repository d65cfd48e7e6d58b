//! Pure. The standing of one upstream in the selection; and as a candidate, its correctness interval (its claim).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};

use super::Role;
use super::filter::{Estimate, View};
use super::nts::certificate::UncheckedCertificate;
use super::registry::{Entry, UpstreamId};
use super::select::{Interval, Survivor, plausible};
use crate::time::NtpDuration;
use crate::wire::Header;

/// Frequency error of any clock in addition to the estimated one: 1 ppm (as chrony's maxclockerror).
pub(super) const MAX_CLOCK_ERROR: f64 = 1e-6;
/// Ratio of root distances above which two upstreams are not taken for one server.
const MUCH_BETTER: i64 = 8;
/// Time after its last sample in which a silent upstream keeps its vote, with a growing claim: 4 hours.
///
/// After that only the upstreams that still answer count.
//= RFC 5905 §10 no-timeout
pub(super) const SILENT_CLAIMS_COUNT: Duration = Duration::from_secs(4 * 3600);
/// Number of questions in a row without an answer that makes an upstream stale: others are preferred then.
const STALE_AFTER: u32 = 2;

/// The standings of all upstreams.
pub type SelectionStatuses = BTreeMap<UpstreamId, SelectionStatus>;

/// The standing of one upstream: the result of the selection, and its reason. Each upstream has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum SelectionStatus {
    /// Keeps the host's clock, and its time and system variables are announced.
    Mirrored,
    /// The system peer, which is announced as the source of the time.
    SystemPeer,
    /// Agrees, and its time is a part of the served time.
    Agrees,
    /// Agrees, but is further from the others than their jitter: the cluster algorithm drops it.
    Outlier,
    /// Contradicts the majority, or there is no majority.
    Falseticker,
    /// Agrees, but too few do, or no required one does.
    TooFew,
    /// Configured with `noselect`: polled, but without a vote.
    #[strum(serialize = "noselect")]
    NoSelect,
    /// Smears a leap second that is near: polled, but without a vote, or by its walk a falseticker.
    Smeared,
    /// Polled plain, where only authenticated upstreams have a vote (`clock.authenticated`).
    Plain,
    /// Its certificate was not valid at the time that the upstreams agree on.
    Expired,
    /// Agrees, but is the same server as another upstream: both count once.
    Duplicate,
    /// Its root distance is over `max-distance`.
    TooFar,
    /// Its jitter is over `max-jitter`.
    TooJittery,
    /// Answers, and its answers are refused: not synchronized, a kiss, or invalid.
    Refused,
    /// Was polled and does not answer (any more).
    Silent,
    /// Was not polled yet, or its name is not resolved.
    Unknown,
}

impl SelectionStatus {
    /// All standings.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::VARIANTS.iter().copied()
    }

    /// Returns whether its time is a part of the served time.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Mirrored | Self::SystemPeer | Self::Agrees)
    }

    /// Returns its word in logs and metrics.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An upstream that takes part in the selection.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Its identity.
    pub id: UpstreamId,
    /// The address that answers.
    pub address: SocketAddr,
    /// Whether that is an address of this host.
    pub on_this_host: bool,
    /// Its special role, as configured.
    pub role: Role,
    /// Whether its answers are authenticated.
    pub authenticated: bool,
    /// The certificate behind its answers, if its dates are still to be checked.
    pub unchecked: Option<UncheckedCertificate>,
    /// Its last good answer.
    pub header: Header,
    /// The estimate of its samples.
    pub estimate: Estimate,
    /// Offset of its clock from the local timescale now.
    pub offset: NtpDuration,
    /// Root synchronization distance: the maximum error of its time now (RFC 5905 §11.2.1).
    pub distance: NtpDuration,
    /// Its correctness interval: all offsets that are possible now by its samples (RFC 5905 §11.2.1).
    ///
    /// While its last sample contradicts those before, it contains both.
    pub claim: Interval,
    /// The possible frequencies of true time relative to the local timescale by its samples, in seconds per second.
    pub rate: Interval,
    /// The reason why it is not available now, if it is not.
    ///
    /// Its last claim, grown since then, still counts: otherwise the upstreams that still answer would be a majority.
    pub unavailable: Option<SelectionStatus>,
    /// Whether its last sample contradicts those before.
    pub conflicting: bool,
    /// Whether it did not answer the last questions.
    pub stale: bool,
    /// Number of the upstreams that are the same server as this one, itself included.
    pub shared_by: usize,
}

/// The limits that a candidate must keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Largest root distance.
    pub distance: NtpDuration,
    /// Largest jitter in seconds.
    pub jitter: f64,
    /// Whether only authenticated answers count.
    pub only_authenticated: bool,
}

impl Candidate {
    /// Returns the `upstream` as a candidate. Whether it is a duplicate is found later, by comparison with the others.
    ///
    /// # Errors
    /// Its standing, if it is no candidate.
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
        let distance = maximum_error(&header, &estimate, now);
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
            authenticated: upstream.settings.is_authenticated(),
            unchecked: peer.unchecked,
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
            _ if limits.only_authenticated && !candidate.authenticated => {
                Err(candidate.unavailable.unwrap_or(SelectionStatus::Plain))
            }
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

    /// Returns the offsets that it makes plausible: the path's asymmetry is usually small.
    pub fn plausible(&self) -> Interval {
        plausible(self.offset, self.distance)
    }

    /// Returns its values for the cluster and combine algorithms; `zero` is any common point near all offsets.
    pub fn survivor(&self, zero: NtpDuration, survived: bool) -> Survivor {
        Survivor {
            offset: (self.offset - zero).to_seconds(),
            jitter: self.estimate.jitter.max(self.estimate.dispersion.to_seconds()),
            distance: self.distance.to_seconds(),
            shared_by: self.shared_by,
            survived,
        }
    }

    /// Returns whether its time differs from that of `other` by more than the paths to both explain.
    pub fn contradicts(&self, other: &Self) -> bool {
        let explained = (self.estimate.delay + other.estimate.delay).half()
            + self.estimate.dispersion
            + other.estimate.dispersion;
        (self.offset - other.offset).abs() > explained || !self.claim.overlaps(&other.claim)
    }

    /// Returns whether the root distances of both differ by a factor of at most 8.
    pub fn is_as_well_known_as(&self, other: &Self) -> bool {
        let (near, far) = (
            self.distance.min(other.distance),
            self.distance.max(other.distance),
        );
        far.to_units() / MUCH_BETTER <= near.to_units()
    }
}

/// Returns the root synchronization distance at `now` of an upstream with this answer (RFC 5905 §11.2.1).
///
/// That is its announced error, half of the delay to it, and the error of the measurement.
pub fn maximum_error(header: &Header, estimate: &Estimate, now: Duration) -> NtpDuration {
    let announced = header.root_delay.to_duration().half() + header.root_dispersion.to_duration();
    announced + estimate.delay.half() + measured(estimate, now)
}

/// Returns the possible frequencies of true time relative to the local timescale, as seconds gained per second.
fn rate(estimate: &Estimate, now: Duration) -> Interval {
    Interval::around(
        NtpDuration::from_seconds(estimate.frequency),
        NtpDuration::from_seconds(estimate.frequency_error_at(now) + MAX_CLOCK_ERROR),
    )
}

/// Returns the error of the measurement at `now`: precisions, statistics, and the drift of the clocks.
//= RFC 5905 §9.2 dispersion-growth
fn measured(estimate: &Estimate, now: Duration) -> NtpDuration {
    let age = NtpDuration::from_std(now.saturating_sub(estimate.at)).to_seconds();
    let error = estimate.error_at(now) + MAX_CLOCK_ERROR * age;
    estimate.dispersion + NtpDuration::from_seconds(error)
}
