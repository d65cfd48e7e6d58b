//! Pure. What is announced of the served clock: as its keeper does, as a client of an upstream, or as a local reference.

use std::time::Duration;

use super::selection::Majority;
use super::{LocalReference, State, SystemProcess};
use crate::clock::{ClockModel, Reference};
use crate::time::{ClockReadings, NtpDuration};
use crate::upstream::candidate::Candidate;
use crate::upstream::discipline::steer;
use crate::upstream::select::{Survivor, combine};
use crate::wire::{Leap, ReferenceId};

/// What is not known of the frequency of a host's clock that nobody watches (RFC 5905 §7.2, PHI).
//= RFC 5905 §12 growth
const PHI: f64 = 15e-6;

impl SystemProcess {
    /// The host's clock, announced as its keeper does.
    //= RFC 5905 §11.2.3 mirrored
    pub(super) fn mirror(&self, now: ClockReadings, owner: &Candidate, leap: Leap) -> Reference {
        let announced = self.announce(now, owner, leap);
        let set = owner.header.reference_timestamp;
        self.bounded(
            now,
            Reference {
                stratum: owner.header.stratum,
                reference_id: owner.header.reference_id,
                root_delay: owner.header.root_delay.to_duration(),
                reference_time: if set.is_zero() {
                    announced.reference_time
                } else {
                    set.at_most(now.realtime)
                },
                ..announced
            },
        )
    }

    /// The host's clock, announced by us as a client of `peer` (RFC 5905 §11.2.3, and the system variables of
    /// §11). Its measured offset is an error of the clock that we serve.
    pub(super) fn announce(&self, now: ClockReadings, peer: &Candidate, leap: Leap) -> Reference {
        // Who keeps it may stop at any time: then it runs as the oscillator does.
        let growth = self.truth.map_or(PHI, |truth| truth.growth(0.0).max(PHI));
        self.client_of(peer, leap, now, ClockModel::Host, growth)
    }

    /// Our own clock, steered after all survivors together and announced as that of a client of `chosen`.
    pub(super) fn track(&self, now: ClockReadings, chosen: &Candidate, majority: &Majority) -> Reference {
        let zero = chosen.offset;
        let known = self.truth.unwrap_or(majority.truth);
        // It is our oscillator that drifts, so all see the same frequency, and know it better together.
        let frequency = known.nearest_rate(common_frequency(&majority.survivors));
        let together: Vec<_> = majority
            .survivors
            .iter()
            .map(|one| Survivor {
                offset: (one.estimate.offset_given(frequency, now.raw) - zero).to_seconds(),
                ..one.survivor(zero, true)
            })
            .collect();
        let plausible =
            [majority.plausible.low, majority.plausible.high].map(|end| (end - zero).to_seconds());
        let ahead = combine(&together, Some(plausible.into())).unwrap_or(0.0);
        let believed = self.scale.at(now.raw) + zero + NtpDuration::from_seconds(ahead);
        // Clients of a local reference were told that it is nobody's time: there is nothing to be slewed from.
        let before = self.announced_clock().filter(|_| self.state != State::Local);
        let announce = |before: Option<&ClockModel>| {
            let clock = steer(before, now, believed, frequency);
            self.client_of(chosen, majority.leap, now, clock, known.growth(frequency))
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
        now: ClockReadings,
        clock: ClockModel,
        growth: f64,
    ) -> Reference {
        let updated = self.updated.map_or(now.realtime, |(_, updated)| updated);
        self.bounded(
            now,
            Reference {
                leap,
                //= RFC 5905 §11.2.3 stratum
                stratum: peer.header.stratum.saturating_add(1),
                //= RFC 5905 §11.2.3 reference-id
                reference_id: ReferenceId::from_address(peer.address.ip()),
                //= RFC 5905 §11.2.3 root-delay
                root_delay: peer.header.root_delay.to_duration() + peer.estimate.delay,
                root_dispersion: NtpDuration::ZERO,
                growth,
                reference_time: updated.nonzero().at_most(clock.served(now)),
                precision: self.precision,
                clock,
                published: now,
                answers: true,
                epoch: now.raw,
                not_after: Duration::MAX,
            },
        )
    }

    /// With the root distance that covers every instant which a majority of the upstreams allows, and no more. What the
    /// system peer says of its own error is only one of the claims: it may be a liar that seems to be near.
    //= RFC 5905 §11.2.3 mindisp
    //= RFC 5905 §11.2.3 root-dispersion
    pub(super) fn bounded(&self, now: ClockReadings, announced: Reference) -> Reference {
        let error = self.truth.map_or(NtpDuration::ZERO, |truth| {
            truth.error_of(&announced.clock, &self.scale, now)
        });
        // The reading of our own clock is a part of the dispersion.
        let most = error - NtpDuration::from_log2(self.precision);
        let root_delay = announced.root_delay.min(most + most).max(NtpDuration::ZERO);
        Reference {
            root_delay,
            root_dispersion: error - root_delay.half(),
            ..announced
        }
    }

    pub(super) fn local(&self, now: ClockReadings, local: LocalReference) -> Reference {
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
