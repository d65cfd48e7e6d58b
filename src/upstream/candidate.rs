//! Pure. What one upstream is worth at the moment: its standing, and as a candidate its claim.

use std::net::SocketAddr;
use std::time::Duration;

use super::Role;
use super::association::Peer;
use super::filter::{Estimate, View};
use super::select::{Claim, Survivor};
use crate::reference::{Timescale, length};
use crate::wire::{Header, NtpDuration, NtpTimestamp};

/// Beside what is known of the frequencies, any clock may stray by this (as chrony's maxclockerror).
const MAX_CLOCK_ERROR: f64 = 1e-6;

/// What an upstream is worth, and why. Each has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
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
    /// It is the same server as another upstream.
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

impl Standing {
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
    /// Its place in the configuration.
    pub index: usize,
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
    /// How wrong its time may be now, without the path's asymmetry.
    pub dispersion: NtpDuration,
    /// How wrong its time may be now in all (RFC 5905 §11.2, root synchronization distance).
    pub distance: NtpDuration,
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
    /// `peer` as a candidate, or why it is none. Whether it is a duplicate, the others tell.
    ///
    /// # Errors
    /// Its standing.
    pub fn of(
        index: usize,
        peer: &Peer,
        role: Role,
        now: Duration,
        view: &View,
        limits: &Limits,
    ) -> Result<Self, Standing> {
        let Some(address) = peer.address else {
            return Err(Standing::Unknown);
        };
        let Some((header, estimate)) = peer.known(view) else {
            let silent = peer.reach == 0 && peer.refused.is_none();
            return Err(if silent {
                Standing::Silent
            } else {
                Standing::Refused
            });
        };
        let dispersion = header.root_dispersion.to_duration() + measured(&estimate, now);
        let candidate = Self {
            index,
            address,
            on_this_host: peer.on_this_host,
            role,
            header,
            offset: estimate.offset_at(now),
            dispersion,
            distance: (header.root_delay.to_duration() + estimate.delay).half() + dispersion,
            estimate,
        };
        match candidate {
            _ if role.noselect => Err(Standing::NoSelect),
            _ if candidate.distance > limits.distance => Err(Standing::TooFar),
            _ if estimate.jitter > limits.jitter => Err(Standing::TooJittery),
            _ => Ok(candidate),
        }
    }

    /// What it says that the time can be.
    pub fn claim(&self) -> Claim {
        Claim {
            offset: self.offset,
            distance: self.distance,
        }
    }

    /// As the cluster and combine algorithms see it; `zero` is any common point near all offsets.
    pub fn survivor(&self, zero: NtpDuration) -> Survivor {
        Survivor {
            offset: (self.offset - zero).to_seconds(),
            jitter: self.estimate.jitter.max(self.estimate.dispersion.to_seconds()),
            distance: self.distance.to_seconds(),
        }
    }

    /// Does it answer from the same clock as `other`: the same address, or the very same words about when its
    /// clock was set by whom (64 bits that no two clocks share; at stratum 1 some only say the second)?
    pub fn is_same_server(&self, other: &Self) -> bool {
        let set = |one: &Self| {
            (
                one.header.stratum,
                one.header.reference_id,
                one.header.reference_timestamp,
            )
        };
        self.address == other.address || (self.header.stratum > 1 && set(self) == set(other))
    }

    /// By how much our dispersion grows a second while nothing new is heard of it.
    pub fn growth(&self) -> f64 {
        MAX_CLOCK_ERROR + self.estimate.frequency_error()
    }

    /// When its newest sample was taken, on the local timescale.
    pub fn updated(&self, scale: &Timescale) -> NtpTimestamp {
        scale.at(self.estimate.at)
    }
}

/// What measuring adds to the error at `now`: precisions, statistics, and clocks that stray.
fn measured(estimate: &Estimate, now: Duration) -> NtpDuration {
    let age = length(now.saturating_sub(estimate.at)).to_seconds();
    let error = estimate.error_at(now) + MAX_CLOCK_ERROR * age;
    estimate.dispersion + NtpDuration::from_seconds(error)
}
