//! Pure. What happens to the host all of a sudden, so that what was known does not hold, and new samples are wanted.

use std::time::Duration;

use super::{State, System};
use crate::reference::{ClockModel, Moment};
use crate::wire::ReferenceId;

/// Who steps the host's clock all the time does not make us ask all the time. The samples that a wake asked for go on
/// coming for about as long.
const WAKES_APART: Duration = Duration::from_secs(64);

impl System {
    /// The host's clock was stepped before `now`: it is not the one that was checked. A tracked clock does not care.
    pub fn clock_stepped(&mut self, now: Moment) {
        self.stepped_at = now.raw;
        if matches!(self.reference.clock, ClockModel::Host { .. }) && self.state != State::Init {
            self.wake(now.raw);
            self.lose(State::Unsynchronized, ReferenceId::STEP, now);
        }
    }

    /// The host slept before `now`: the raw counter stood still, and nothing that was measured holds.
    pub fn slept(&mut self, now: Moment) {
        self.view.since = now.raw;
        self.stepped_at = now.raw;
        self.wake(now.raw);
        if self.state != State::Init {
            self.lose(State::Unsynchronized, ReferenceId::STEP, now);
        }
    }

    /// New samples are wanted at once.
    pub(super) fn wake(&mut self, now: Duration) {
        let lately = |woke_at: Duration| now.saturating_sub(woke_at) < WAKES_APART;
        if !self.woke_at.is_some_and(lately) {
            self.woke_at = Some(now);
            self.wakes += 1;
        }
    }
}
