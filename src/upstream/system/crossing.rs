//! Pure. Across a leap second: warned of in time, not served past unless seen, and happened once.

use std::time::Duration;

use super::{KernelView, State, System};
use crate::reference::{ClockModel, Moment, Reference};
use crate::upstream::leap;
use crate::wire::{Leap, ReferenceId};

/// No two leap seconds are nearer to each other; what warns of one so soon after another has not noticed it yet.
const LEAPS_APART: Duration = Duration::from_secs(12 * 3600);

impl System {
    /// A leap second that was announced has happened: UTC is shifted against the timescale and the tracked clock.
    pub(super) fn leap(&mut self, now: Duration) {
        let Some((at, by)) = self.pending_leap.take_if(|(at, _)| now >= *at) else {
            return;
        };
        self.view.leap = Some((at, by));
        self.truth = self.truth.map(|truth| truth.leapt(by));
        match &mut self.reference.clock {
            ClockModel::Tracked { time, .. } => {
                *time = *time + by;
                self.reference.leap = Leap::NoWarning;
                self.reference.not_after = self.reference.expiry(self.policy.max_distance);
            }
            // It has to be seen to do the same first.
            ClockModel::Host => self.wake(now),
        }
    }

    /// What is announced until the leap second that it warns of, and not past it: who does not know that it has
    /// happened must not serve.
    pub(super) fn until_leap(&mut self, now: Moment, announced: Reference) -> Reference {
        let served = announced.clock.served(now);
        let leapt = self
            .view
            .leap
            .is_some_and(|(at, _)| now.raw.saturating_sub(at) < LEAPS_APART);
        let warned = leap::warning(served, announced.leap, self.leaps.as_ref());
        let leap = if leapt { Leap::NoWarning } else { warned };
        let left =
            Duration::try_from_secs_f64(leap::until(leap, served).to_seconds()).unwrap_or(Duration::ZERO);
        self.pending_leap = leap::shift(leap).map(|by| (now.raw.saturating_add(left), by));
        let not_after = self
            .pending_leap
            .map_or(announced.not_after, |(at, _)| announced.not_after.min(at));
        Reference {
            leap,
            not_after,
            ..announced
        }
    }

    /// The host's clock is the kernel's: its leap second counts, whoever else knows of it, and while it says the
    /// same second twice it is no time to be served.
    pub(super) fn heed(&mut self, kernel: KernelView, now: Moment) {
        if kernel.in_leap_second && self.reference.is_usable() {
            self.lose(State::Unsynchronized, ReferenceId::STEP, now);
        } else if matches!(self.state, State::Synchronized | State::Holdover)
            && self.reference.leap == Leap::NoWarning
        {
            let announced = Reference {
                leap: kernel.leap,
                ..self.reference
            };
            self.reference = self.until_leap(now, announced);
        }
    }
}
