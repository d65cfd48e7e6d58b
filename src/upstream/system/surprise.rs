//! Pure. What happens to the host all of a sudden, so that what was known does not hold, and new samples are wanted.

use std::time::Duration;

use super::{State, System};
use crate::reference::{ClockModel, Moment};
use crate::wire::ReferenceId;

/// Who steps the host's clock all the time does not make us ask all the time. The samples that a wake asked for go on
/// coming for about as long.
const WAKES_APART: Duration = Duration::from_secs(64);
/// A change between the host's clocks that only a step or a sleep can make.
const JUMP: Duration = Duration::from_millis(10);

/// What happened to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surprise {
    /// Somebody stepped its clock by so much, back or forth.
    Stepped(Duration),
    /// It slept for so long.
    Slept(Duration),
}

/// How the host's clocks stand to each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    realtime: Duration,
    asleep: Duration,
}

impl System {
    /// Looks after the host's clocks, before each decision: `realtime` is how far the time of day is ahead of the time
    /// since boot, `asleep` how much of that the host slept. Returns what must have happened since the last look.
    pub fn notice(&mut self, now: Moment, realtime: Duration, asleep: Duration) -> Option<Surprise> {
        let before = self.clocks.replace(Clocks { realtime, asleep })?;
        let stepped = realtime.abs_diff(before.realtime);
        let slept = asleep.abs_diff(before.asleep);
        if slept > JUMP {
            self.slept(now);
            Some(Surprise::Slept(slept))
        } else if stepped > JUMP {
            self.clock_stepped(now);
            Some(Surprise::Stepped(stepped))
        } else {
            None
        }
    }

    /// The host's clock was stepped before `now`: it is not the one that was checked. A tracked clock does not care.
    pub(super) fn clock_stepped(&mut self, now: Moment) {
        self.stepped_at = now.raw;
        if self.reference.clock == ClockModel::Host && self.state != State::Init {
            self.wake(now.raw);
            self.lose(State::Unsynchronized, ReferenceId::STEP, now);
        }
    }

    /// The host slept before `now`: the raw counter stood still, and nothing that was measured holds.
    pub(super) fn slept(&mut self, now: Moment) {
        self.view.since = now.raw;
        self.truth = None;
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
