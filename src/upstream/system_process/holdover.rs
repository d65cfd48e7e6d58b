//! Pure. Holdover: without a usable upstream the last time stays in effect while its error is small.

use super::{State, SystemProcess};
use crate::clock::{ClockModel, Reference};
use crate::time::ClockReadings;
use crate::upstream::select::Interval;
use crate::wire::ReferenceId;

impl SystemProcess {
    /// Keeps the last time while its error is small; after that serves a local reference, if configured, or no time.
    ///
    /// `alone` is true if no upstream is configured: the local reference is served at once then.
    pub(super) fn hold_over(&mut self, now: ClockReadings, alone: bool) {
        self.system_peer = None;
        let known = matches!(self.state, State::Synchronized | State::Holdover);
        if known
            && now.raw < self.reference.not_after
            && let Some(held) = self.held_over(now)
        {
            self.state = State::Holdover;
            let not_after = held.expiry(self.policy.max_distance);
            // A leap second happens even if no upstream answers, and the list may contain it.
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

    /// Returns the last time with an error that covers true time at `now`; `None` if that is over the limit.
    ///
    /// The error grows if the host's clock is slewed, or a majority says that it was wrong. If a majority only knows
    /// less than before, a tracked clock still keeps its time; the host's does not, since it may be slewed meanwhile.
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
