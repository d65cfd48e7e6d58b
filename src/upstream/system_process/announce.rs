//! Pure. The announced variables of the served clock: mirrored, as a client of an upstream, or as a local reference.

use std::time::Duration;

use super::selection::Majority;
use super::{State, SystemProcess};
use crate::clock::{ClockModel, Reference};
use crate::time::{ClockReadings, NtpDuration};
use crate::upstream::candidate::Candidate;
use crate::upstream::clock_policy::LocalReference;
use crate::upstream::discipline::steer;
use crate::upstream::select::{Survivor, combine};
use crate::wire::{Leap, ReferenceId};

/// Frequency tolerance of a host's clock that no daemon keeps: 15 ppm (RFC 5905 §7.2, PHI).
//= RFC 5905 §12 growth
const PHI: f64 = 15e-6;

impl SystemProcess {
    /// Returns the host's clock with the variables of `owner`, the daemon that keeps it.
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

    /// Returns the host's clock, announced as by a client of `peer` (RFC 5905 §11.2.3).
    ///
    /// Its measured offset is a part of the announced error.
    pub(super) fn announce(&self, now: ClockReadings, peer: &Candidate, leap: Leap) -> Reference {
        // The daemon that keeps it may stop at any time: then its frequency is the oscillator's.
        let growth = self.truth.map_or(PHI, |truth| truth.growth(0.0).max(PHI));
        self.client_of(peer, leap, now, ClockModel::Host, growth)
    }

    /// Returns the tracked clock, steered to the combined survivors and announced as by a client of `chosen`.
    pub(super) fn track(&self, now: ClockReadings, chosen: &Candidate, majority: &Majority) -> Reference {
        let zero = chosen.offset;
        let known = self.truth.unwrap_or(majority.truth);
        // This host's oscillator drifts, so all see the same frequency, and their mean is better than each.
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
        // A local reference is announced as such, and not as the time of an upstream: there is nothing to slew from.
        let before = self.announced_clock().filter(|_| self.state != State::Local);
        let announce = |before: Option<&ClockModel>| {
            let clock = steer(before, now, believed, frequency);
            self.client_of(chosen, majority.leap, now, clock, known.growth(frequency))
        };
        let slewed = announce(before.as_ref());
        // A correction during whose slew the error would exceed the limit is better stepped.
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

    /// Sets the root distance so that it covers exactly the instants that a majority of the upstreams allows.
    ///
    /// The error that the system peer announces is only one of the claims: it may be a false upstream that seems near.
    //= RFC 5905 §11.2.3 mindisp
    //= RFC 5905 §11.2.3 root-dispersion
    pub(super) fn bounded(&self, now: ClockReadings, announced: Reference) -> Reference {
        let error = self.truth.map_or(NtpDuration::ZERO, |truth| {
            truth.error_of(&announced.clock, &self.scale, now)
        });
        // The precision of this host's clock is a part of the dispersion.
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

/// Returns the frequency of true time relative to the raw counter, less one: the mean with the weights 1/variance.
fn common_frequency(survivors: &[Candidate]) -> f64 {
    let weight = |one: &Candidate| one.estimate.frequency_sd.max(1e-12).powi(-2);
    let weights: f64 = survivors.iter().map(weight).sum();
    survivors
        .iter()
        .map(|one| weight(one) * one.estimate.frequency)
        .sum::<f64>()
        / weights
}
