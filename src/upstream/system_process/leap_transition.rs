//! Pure. Leap seconds of the served time: the warning before, no time past it unless it is applied, and only once.

use std::time::Duration;

use super::{KernelView, SourceShortage, State, SystemProcess};
use crate::clock::{ClockModel, Reference};
use crate::leap;
use crate::time::{ClockReadings, NtpDuration, NtpTimestamp};
use crate::upstream::candidate::Candidate;
use crate::upstream::peer::Peer;
use crate::upstream::registry::Registry;
use crate::upstream::select::majority;
use crate::wire::{Leap, ReferenceId};

/// Shortest time between two leap seconds: a warning sooner after one means that the upstream has not noticed it yet.
pub(super) const LEAPS_APART: Duration = Duration::from_secs(12 * 3600);

/// Time after a leap second in which a contradiction may be about it: an hour. All upstreams are polled again by then.
const SETTLES_WITHIN: Duration = Duration::from_secs(3600);
/// Smallest difference that may be a leap second that only one side counted: a second, less other errors.
const HALF_A_SECOND: NtpDuration = NtpDuration::from_units(1 << 31);

/// A leap second that the list or the upstreams warn of.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeapWatch {
    /// Its instant, by the raw counter.
    at: Duration,
    /// Whether the list of leap seconds and the upstreams disagree about it.
    disputed: bool,
    /// Whether it has passed, and new samples were requested.
    passed: bool,
}

impl SystemProcess {
    /// Returns whether a leap second within the last hour is in question.
    ///
    /// It is if the list and the upstreams disagreed about it, or as soon as one upstream contradicts; until samples of
    /// a majority of the upstreams from after it agree with the served time.
    fn is_leap_in_question(
        &mut self,
        now: ClockReadings,
        upstreams: &Registry,
        candidates: &[Candidate],
    ) -> bool {
        let Some(watch) = self.leap_watch.filter(|watch| now.raw >= watch.at) else {
            return false;
        };
        if !watch.passed {
            self.resample(now.raw);
            self.leap_watch = Some(LeapWatch {
                passed: true,
                ..watch
            });
        }
        let contradicts = |peer: &Peer| {
            let estimate = peer.filter.estimate(&self.view);
            let conflict = peer.filter.conflicting_sample(&self.view).zip(estimate);
            conflict.is_some_and(|(conflict, estimate)| {
                (conflict.offset - estimate.offset_at(now.raw)).abs() > HALF_A_SECOND
            })
        };
        let confirms = |one: &&Candidate| one.estimate.at >= watch.at && !one.conflicting;
        let confirmed =
            candidates.iter().filter(confirms).count() >= majority(self.voters(upstreams).count());
        if confirmed || now.raw.saturating_sub(watch.at) > SETTLES_WITHIN {
            self.leap_watch = None;
            return false;
        }
        (watch.disputed && !candidates.is_empty())
            || upstreams
                .iter()
                .any(|one| !self.is_barred_smearer(one) && contradicts(&one.peer))
    }

    /// Announces no time while a leap second is in question; returns whether one is.
    pub(super) fn suspend_for_leap(
        &mut self,
        now: ClockReadings,
        upstreams: &Registry,
        candidates: &[Candidate],
    ) -> bool {
        let in_question = self.is_leap_in_question(now, upstreams, candidates);
        if in_question {
            self.shortage = Some(SourceShortage::LeapSecond);
            if self.reference.is_usable() && self.state != State::Local {
                self.set_unusable(State::Unsynchronized, ReferenceId::STEP, now);
            }
        }
        in_question
    }

    /// Returns whether the list and the upstreams disagree about a leap second that is near.
    pub(super) fn is_leap_disputed(&self) -> bool {
        self.leap_watch.is_some_and(|watch| watch.disputed)
    }

    /// Records the next leap second that the list or the upstreams warn of.
    fn watch_leap(&mut self, now: ClockReadings, served: NtpTimestamp, said: Leap) {
        if self.leap_watch.is_some_and(|watch| now.raw >= watch.at) {
            return;
        }
        let listed = leap::warning(served, said, self.leaps.as_ref());
        let heard = leap::warning(served, said, None);
        let warned = [listed, heard]
            .into_iter()
            .find(|&leap| leap::shift(leap).is_some());
        let disputed = warned.is_some() && listed != heard;
        // Asked about at once: the samples of those that were polled long ago may have an old warning, or none yet.
        if disputed && !self.is_leap_disputed() {
            self.resample(now.raw);
        }
        self.leap_watch = warned.map(|leap| LeapWatch {
            at: now.raw.saturating_add(left(leap, served)),
            disputed,
            passed: false,
        });
    }

    /// Applies an announced leap second once it has happened: shifts UTC against the timescale and the tracked clock.
    pub(super) fn apply_leap(&mut self, now: Duration) {
        let Some((at, by)) = self.pending_leap.take_if(|(at, _)| now >= *at) else {
            return;
        };
        self.view.leap = Some((at, by));
        self.truth = self.truth.map(|truth| truth.leapt(by));
        self.before_smears = self.before_smears.map(|truth| truth.leapt(by));
        match &mut self.reference.clock {
            ClockModel::Tracked { time, .. } => {
                *time = *time + by;
                self.reference.leap = Leap::NoWarning;
                self.reference.not_after = self.reference.expiry(self.policy.max_distance);
            }
            // A sample must show first that the host's clock has done the same.
            ClockModel::Host => {}
        }
        self.resample(now);
    }

    /// Returns `announced` with the leap warning, and valid only until the leap second.
    ///
    /// A worker that does not know that the leap second has happened must not serve past it.
    pub(super) fn until_leap(&mut self, now: ClockReadings, announced: Reference) -> Reference {
        let served = announced.clock.served(now);
        let leapt = self
            .view
            .leap
            .is_some_and(|(at, _)| now.raw.saturating_sub(at) < LEAPS_APART);
        let warned = leap::warning(served, announced.leap, self.leaps.as_ref());
        let leap = if leapt { Leap::NoWarning } else { warned };
        if !leapt {
            self.watch_leap(now, served, announced.leap);
        }
        let left = left(leap, served);
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

    /// Applies the kernel's leap second to the host's clock, even if no upstream warns of it.
    ///
    /// While the kernel repeats a second, no time is announced.
    pub(super) fn apply_kernel_leap(&mut self, kernel: KernelView, now: ClockReadings) {
        if kernel.in_leap_second && self.reference.is_usable() {
            self.set_unusable(State::Unsynchronized, ReferenceId::STEP, now);
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

/// Returns the time until the leap second.
fn left(leap: Leap, served: NtpTimestamp) -> Duration {
    Duration::try_from_secs_f64(leap::until(leap, served).to_seconds()).unwrap_or(Duration::ZERO)
}
