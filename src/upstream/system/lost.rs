//! Pure. When nobody is believed: the last time goes on for as long as its error is small, then there is none.

use super::{State, System};
use crate::reference::{Moment, Reference};
use crate::wire::ReferenceId;

impl System {
    /// Nobody usable, and nobody who contradicts: the last time is good for as long as its error is small.
    pub(super) fn go_on_without(&mut self, now: Moment, alone: bool) {
        self.system_peer = None;
        let known = matches!(self.state, State::Synchronized | State::Holdover);
        if known && now.raw < self.reference.not_after {
            self.state = State::Holdover;
            let not_after = self.reference.expiry(self.policy.max_distance);
            // A leap second comes whether somebody answers or not, and the list may know of it.
            self.reference = self.until_leap(
                now,
                Reference {
                    not_after,
                    ..self.reference
                },
            );
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
            self.lose(State::Unsynchronized, ReferenceId::LOST, now);
        }
    }

    pub(super) fn lose(&mut self, state: State, why: ReferenceId, now: Moment) {
        self.state = state;
        self.system_peer = None;
        self.reference = Reference::unsynchronized(why, self.precision, self.reference.clock, now);
    }
}
