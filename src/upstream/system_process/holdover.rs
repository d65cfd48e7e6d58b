//! Pure. When nobody is believed: the last time goes on for as long as its error is small, then there is none.

use super::{State, SystemProcess};
use crate::clock::{ClockModel, Reference};
use crate::time::ClockReadings;
use crate::upstream::select::Interval;
use crate::wire::ReferenceId;

impl SystemProcess {
    /// Nobody usable, and nobody who contradicts: the last time is good for as long as its error is small.
    pub(super) fn hold_over(&mut self, now: ClockReadings, alone: bool) {
        self.system_peer = None;
        let known = matches!(self.state, State::Synchronized | State::Holdover);
        if known
            && now.raw < self.reference.not_after
            && let Some(held) = self.held_over(now)
        {
            self.state = State::Holdover;
            let not_after = held.expiry(self.policy.max_distance);
            // A leap second comes whether somebody answers or not, and the list may know of it.
            self.reference = self.until_leap(now, Reference { not_after, ..held });
            return;
        }
        let waited = now.raw.saturating_sub(self.usable_at);
        let local = self
            .policy
            .local
            .filter(|local| alone || self.state == State::Local || waited >= local.wait);
        if let Some(local) = local {
            self.state = State::Local;
            self.reference = self.local(now, local);
        } else if known || matches!(self.state, State::Disputed | State::Local) {
            self.set_unusable(State::Unsynchronized, ReferenceId::LOST, now);
        }
    }

    /// The last time as it may be announced at `now`: with an error that covers where the truth can be since, as the
    /// host's clock may be slewed, and a majority may say that it was wrong. `None` if that is over the limit, but for a
    /// majority that only knows less, while our own clock goes on (somebody may move the host's meanwhile).
    fn held_over(&self, now: ClockReadings) -> Option<Reference> {
        let last = self.reference;
        let Some(truth) = self.truth else {
            return Some(last);
        };
        let error = truth.error_of(&last.clock, &self.scale, now);
        let needed = error - last.root_delay.half();
        let wider = Reference {
            root_dispersion: last.root_dispersion_at(now.raw).max(needed),
            epoch: now.raw,
            ..last
        };
        if wider.root_distance_at(now.raw) <= self.policy.max_distance {
            return Some(wider);
        }
        let served = last.clock.served(now) - self.scale.at(now.raw);
        let announced = Interval::around(served, last.root_distance_at(now.raw));
        let ours = last.clock != ClockModel::Host;
        (ours && announced.overlaps(&truth.at(now.raw).offsets())).then_some(last)
    }

    pub(super) fn set_unusable(&mut self, state: State, why: ReferenceId, now: ClockReadings) {
        self.state = state;
        self.system_peer = None;
        self.reference = Reference::unsynchronized(why, self.precision, self.reference.clock, now);
    }
}
