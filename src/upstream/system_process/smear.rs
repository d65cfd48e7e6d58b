//! Pure. The time for listeners with a smear: UTC beside the leap second that it must be seen with.

use std::time::Duration;

use super::SystemProcess;
use super::leap_transition::LEAPS_APART;
use crate::clock::{ClockModel, Reference, SmearedReference};
use crate::leap::LeapEvent;
use crate::time::{ClockReadings, NtpDuration, NtpTimestamp};
use crate::wire::ReferenceId;

/// The time before a leap second from which the served clock is replaced by a function of the raw counter.
///
/// It is more than the longest time between two publications.
const BRIDGED_BEFORE: NtpDuration = NtpDuration::from_units(16 << 32);
/// The time after a leap second for which that may last: samples of after it have come by then.
const BRIDGED_AFTER: Duration = Duration::from_secs(64);
/// The time around a leap second in which its numbers alone don't tell whether it has happened.
const AMBIGUOUS: NtpDuration = NtpDuration::from_units(2 << 32);

/// The time before a leap second, which goes on by the raw counter alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct SmearBridge {
    smeared: SmearedReference,
    /// The instant of the leap second, by the raw counter.
    leaps_at: Duration,
}

impl SystemProcess {
    /// Returns the time for listeners with a smear, if a leap second is near.
    ///
    /// Around the leap second itself the served clock is uncertain for some seconds: the kernel may or may not have
    /// stepped the host's. The smeared time has no jump there, so it goes on by the raw counter.
    pub(super) fn smeared(&mut self, now: ClockReadings) -> Option<SmearedReference> {
        let event = self.near_event(now)?;
        if !self.reference.is_usable() {
            return Some(self.bridged(now, event));
        }
        let utc = self.reference.clock.served(now);
        let smeared = match self.has_leapt(now, event, utc) {
            Some(leapt) => SmearedReference::new(self.beyond_leap(), event, leapt),
            None => self.unusable_smear(now, event),
        };
        let left = event.happens_at() - utc;
        if smeared.leapt || !smeared.reference.is_usable() || left > BRIDGED_BEFORE {
            return Some(smeared);
        }
        let is_host = smeared.reference.clock == ClockModel::Host;
        // A new one each second would make small steps.
        let begun = self.bridge.filter(|bridge| is_host && bridge.leaps_at > now.raw);
        let bridge = begun.unwrap_or_else(|| SmearBridge {
            smeared: self.without_host(smeared, now),
            leaps_at: now.raw.saturating_add(left.to_std().unwrap_or_default()),
        });
        self.bridge = Some(bridge);
        Some(bridge.smeared)
    }

    /// Returns it with the host's clock replaced by the raw counter from `now` on, at the rate that is known of true time.
    fn without_host(&self, smeared: SmearedReference, now: ClockReadings) -> SmearedReference {
        let (rate, growth) = self.truth.map_or((0.0, smeared.reference.growth), |truth| {
            let rate = truth.middle_rate();
            (rate, truth.growth(rate))
        });
        let reference = match smeared.reference.clock {
            ClockModel::Tracked { .. } => smeared.reference,
            ClockModel::Host => Reference {
                clock: ClockModel::Tracked {
                    epoch: now.raw,
                    time: now.realtime,
                    rate,
                    slew: 0.0,
                    slew_for: Duration::ZERO,
                },
                root_dispersion: smeared.reference.root_dispersion_at(now.raw),
                epoch: now.raw,
                growth,
                ..smeared.reference
            },
        };
        SmearedReference { reference, ..smeared }
    }

    /// Returns the leap second of the list that is near, and keeps it until it is not any more.
    pub(super) fn near_event(&mut self, now: ClockReadings) -> Option<LeapEvent> {
        let utc = self.reference.clock.served(now);
        if !self.leap_event.is_some_and(|event| event.is_near(utc)) {
            (self.bridge, self.before_smears) = (None, None);
            self.leap_event = self.leaps.as_ref().and_then(|leaps| leaps.event_near(utc));
        }
        self.leap_event
    }

    /// Returns whether the served clock has the leap second behind it; `None` if that can't be known.
    pub(super) fn has_leapt(&self, now: ClockReadings, event: LeapEvent, utc: NtpTimestamp) -> Option<bool> {
        if self.pending_leap.is_some() {
            return Some(false);
        }
        let lately = |at: Duration| now.raw.saturating_sub(at) < LEAPS_APART;
        if self.view.leap.is_some_and(|(at, _)| lately(at)) {
            return Some(true);
        }
        let since = utc - event.midnight();
        (since.abs() > AMBIGUOUS).then_some(since > NtpDuration::ZERO)
    }

    /// Returns the reference, valid beyond a leap second that is announced.
    fn beyond_leap(&self) -> Reference {
        let not_after = if self.pending_leap.is_some() {
            self.reference.expiry(self.policy.max_distance)
        } else {
            self.reference.not_after
        };
        Reference {
            not_after,
            ..self.reference
        }
    }

    /// Returns the time before the leap second while the served clock is not usable after it.
    ///
    /// If it was in question whether it would come at all, so is the smear.
    fn bridged(&self, now: ClockReadings, event: LeapEvent) -> SmearedReference {
        let holds = |bridge: &SmearBridge| now.raw.saturating_sub(bridge.leaps_at) <= BRIDGED_AFTER;
        match self.bridge.filter(holds) {
            Some(bridge) if !self.is_leap_disputed() => bridge.smeared,
            Some(_) | None => SmearedReference::new(self.reference, event, true),
        }
    }

    fn unusable_smear(&self, now: ClockReadings, event: LeapEvent) -> SmearedReference {
        let clock = self.reference.clock;
        let none = Reference::unsynchronized(ReferenceId::STEP, self.precision, clock, now);
        SmearedReference::new(none, event, true)
    }
}
