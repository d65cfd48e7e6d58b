//! Pure. What is announced of the served clock: as its keeper does, as a client of an upstream, or as a local reference.

use std::time::Duration;

use super::{LocalReference, State, System};
use crate::reference::{ClockModel, Moment, Reference};
use crate::upstream::candidate::Candidate;
use crate::upstream::discipline::steer;
use crate::upstream::select::{Survivor, combine};
use crate::wire::{Leap, NtpDuration, NtpTimestamp, ReferenceId};

/// What is not known of the frequency of a host's clock that nobody watches (RFC 5905 §7.2, PHI).
const PHI: f64 = 15e-6;

impl System {
    /// The host's clock, announced as its keeper does, with what we saw of its error added.
    pub(super) fn mirror(&self, now: Moment, owner: &Candidate, leap: Leap) -> Reference {
        Reference {
            stratum: owner.header.stratum,
            reference_id: owner.header.reference_id,
            root_delay: owner.header.root_delay.to_duration(),
            reference_time: earlier(owner.header.reference_timestamp, now.realtime),
            ..self.announce(now, owner, leap)
        }
    }

    /// The host's clock, announced by us as a client of `peer` (RFC 5905 §11.2.3, and the system variables of
    /// §11): its errors and ours. The measured offset is an error of the clock that we serve.
    pub(super) fn announce(&self, now: Moment, peer: &Candidate, leap: Leap) -> Reference {
        let off = peer.offset - self.scale.host_offset(now);
        self.client_of(peer, leap, now, ClockModel::Host, off.abs(), PHI)
    }

    /// Our own clock, steered after all survivors together and announced as that of a client of `chosen`.
    pub(super) fn track(
        &self,
        now: Moment,
        chosen: &Candidate,
        survivors: &[Candidate],
        leap: Leap,
    ) -> Reference {
        let zero = chosen.offset;
        // It is our oscillator that drifts, so all see the same frequency, and know it better together.
        let frequency = common_frequency(survivors);
        let together: Vec<_> = survivors
            .iter()
            .map(|one| Survivor {
                offset: (one.estimate.offset_given(frequency, now.raw) - zero).to_seconds(),
                ..one.survivor(zero)
            })
            .collect();
        let ahead = NtpDuration::from_seconds(combine(&together).unwrap_or(0.0));
        let believed = self.scale.at(now.raw) + zero + ahead;
        // Clients of a local reference were told that it is nobody's time: there is nothing to be slewed from.
        let before = self.announced_clock().filter(|_| self.state != State::Local);
        let announce = |before: Option<&ClockModel>| {
            let steered = steer(before, now, believed, frequency);
            let error = ahead.abs() + steered.residue;
            self.client_of(chosen, leap, now, steered.model, error, chosen.growth())
        };
        let slewed = announce(before.as_ref());
        // A correction that would take us over the limit while it is slewed had better be a step.
        if slewed.root_distance_at(now.raw) > self.policy.max_distance {
            announce(None)
        } else {
            slewed
        }
    }

    fn client_of(
        &self,
        peer: &Candidate,
        leap: Leap,
        now: Moment,
        clock: ClockModel,
        error: NtpDuration,
        growth: f64,
    ) -> Reference {
        let updated = peer.offset + (peer.updated(&self.scale) - NtpTimestamp::ZERO);
        Reference {
            leap,
            stratum: peer.header.stratum.saturating_add(1),
            reference_id: ReferenceId::from_address(peer.address.ip()),
            root_delay: peer.header.root_delay.to_duration() + peer.estimate.delay,
            root_dispersion: peer.dispersion + error,
            growth,
            reference_time: earlier(NtpTimestamp::ZERO + updated, clock.served(now)),
            precision: self.precision,
            clock,
            published: now,
            answers: true,
            epoch: now.raw,
            not_after: Duration::MAX,
        }
    }

    pub(super) fn local(&self, now: Moment, local: LocalReference) -> Reference {
        Reference {
            leap: Leap::NoWarning,
            stratum: local.stratum,
            reference_id: ReferenceId::LOCAL,
            root_delay: NtpDuration::ZERO,
            root_dispersion: local.distance,
            growth: 0.0,
            reference_time: now.realtime,
            precision: self.precision,
            clock: ClockModel::Host,
            published: now,
            answers: true,
            epoch: now.raw,
            not_after: Duration::MAX,
        }
    }
}

/// By how much true time runs faster than the raw counter: the mean, each with the weight of 1/variance.
fn common_frequency(survivors: &[Candidate]) -> f64 {
    let weight = |one: &Candidate| one.estimate.frequency_sd.max(1e-12).powi(-2);
    let weights: f64 = survivors.iter().map(weight).sum();
    survivors
        .iter()
        .map(|one| weight(one) * one.estimate.frequency)
        .sum::<f64>()
        / weights
}

fn earlier(one: NtpTimestamp, other: NtpTimestamp) -> NtpTimestamp {
    if one.is_after(other) { other } else { one }
}
