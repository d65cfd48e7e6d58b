//! Pure. Steps, sleeps and jumps of the host's clocks, which void samples or the served time.

use std::time::Duration;

use super::{Gathering, State, SystemProcess};
use crate::clock::ClockModel;
use crate::time::{ClockReadings, NtpDuration};
use crate::wire::ReferenceId;

/// Shortest time between two requests for new samples, however often the host's clock is stepped: 64 s.
///
/// The samples after a request arrive for about as long.
const RESAMPLES_APART: Duration = Duration::from_secs(64);
/// Smallest change between the host's clocks that is a step or a sleep: 10 ms.
const JUMP: Duration = Duration::from_millis(10);
/// Smallest change of the relative rate of the host's clocks that may be a jump: 50 ppm.
///
/// A daemon that slews does not change it by more for long.
const PACE_CHANGE: f64 = 50e-6;
/// Smallest jump that voids older samples: their frequency would be wrong by more than a clock's usual error.
const VOID: NtpDuration = NtpDuration::from_units((1 << 32) / 1000);
/// Maximum relative rate of the host's clocks before it is measured: the kernel corrects them by 500 ppm at most.
const UNKNOWN_PACE: f64 = 600e-6;
/// Shortest time between two reports of jumps: an hour.
const REPORTS_APART: Duration = Duration::from_secs(3600);

/// An event of the host's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockEvent {
    /// The time of day was stepped by this much, forward or backward.
    Stepped(Duration),
    /// The host slept for this long, or its clocks jumped against each other by as much.
    Slept(Duration),
    /// The clocks moved against each other by this much more than before, for example in a paused virtual machine.
    Jumped(Duration),
}

/// The differences between the host's clocks at the last check.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockWatch {
    realtime: Duration,
    asleep: Duration,
    raw: Duration,
    boot: Duration,
    pace: Pace,
}

/// The rate of the time since boot relative to the raw counter, less one.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// The usual rate, without jumps.
    steady: Option<f64>,
    /// The rate at the last check, if that was different: a jump, or a long slew by a daemon.
    other: Option<f64>,
}

impl SystemProcess {
    /// Checks the host's clocks; call it before each decision. Returns the event since the last check.
    ///
    /// `realtime` is the time of day less the time since boot, `asleep` the total sleep of the host since boot.
    pub fn check_host_clocks(
        &mut self,
        now: ClockReadings,
        realtime: Duration,
        asleep: Duration,
    ) -> Option<ClockEvent> {
        let before = self.clocks;
        self.clocks = Some(ClockWatch {
            realtime,
            asleep,
            raw: now.raw,
            boot: now.boot,
            pace: before.map_or_else(Pace::default, |before| before.pace),
        });
        let before = before?;
        let stepped = realtime.abs_diff(before.realtime);
        let slept = asleep.abs_diff(before.asleep);
        let passed = now.raw.saturating_sub(before.raw);
        let apart = (NtpDuration::between(before.boot, now.boot) - NtpDuration::between(before.raw, now.raw))
            .to_seconds();
        if slept > JUMP {
            self.slept(now);
            return Some(ClockEvent::Slept(slept));
        }
        let jumped = self.jumped(now, passed, apart, before.pace);
        if stepped > JUMP {
            self.clock_stepped(now);
            return Some(ClockEvent::Stepped(stepped));
        }
        jumped
    }

    /// Returns the event if the raw counter and the time since boot moved against each other otherwise than before.
    ///
    /// They moved by `apart` seconds in the time that `passed`. After a jump either of them may be right. A new
    /// relative rate that stays is the usual one from the second check on.
    fn jumped(&mut self, now: ClockReadings, passed: Duration, apart: f64, pace: Pace) -> Option<ClockEvent> {
        let passed = passed.as_secs_f64();
        let unknown = if pace.steady.is_none() {
            UNKNOWN_PACE * passed
        } else {
            0.0
        };
        let beyond = (apart - pace.steady.unwrap_or(0.0) * passed).abs() - unknown;
        let unseen = PACE_CHANGE * passed.max(1.0);
        let jumped = beyond > unseen;
        // Readings right after the last ones are too close for a rate.
        let seen = (passed > 0.5).then(|| apart / passed);
        let stays = |other: f64| seen.is_some_and(|seen| (seen - other).abs() * passed <= unseen);
        let pace = if jumped && !pace.other.is_some_and(stays) {
            Pace { other: seen, ..pace }
        } else {
            Pace {
                steady: seen.or(pace.steady),
                other: None,
            }
        };
        self.clocks = self.clocks.map(|clocks| ClockWatch { pace, ..clocks });
        if !jumped {
            return None;
        }
        if beyond > JUMP.as_secs_f64() {
            // After such a jump both may have moved together by any further amount.
            self.slept(now);
            return Some(ClockEvent::Slept(Duration::from_secs_f64(beyond)));
        }
        let (by, last) = (NtpDuration::from_seconds(beyond + unseen), self.view.jump);
        let before = last.map_or(NtpDuration::ZERO, |(_, before)| before);
        self.view.jump = Some((now.raw, before + by));
        self.truth = self.truth.map(|truth| truth.widened(by));
        if self.reference.is_usable() {
            // The reference may stay in effect, in holdover.
            self.reference.root_dispersion += by;
        }
        if by >= VOID {
            self.void_samples(now);
        }
        self.resample(now.raw);
        // One of many jumps is not reported.
        let lately = last.is_some_and(|(at, _)| now.raw.saturating_sub(at) < REPORTS_APART);
        (!lately).then(|| ClockEvent::Jumped(Duration::from_secs_f64(beyond)))
    }

    /// Handles a step of the host's clock before `now`: the last check of the time does not hold.
    ///
    /// It does not affect a tracked clock.
    pub(super) fn clock_stepped(&mut self, now: ClockReadings) {
        self.stepped_at = now.raw;
        if self.reference.clock == ClockModel::Host && self.state != State::Init {
            self.resample(now.raw);
            self.set_unusable(State::Unsynchronized, ReferenceId::STEP, now);
        }
    }

    /// Handles a sleep of the host before `now`: the raw counter stopped, so no sample holds.
    pub(super) fn slept(&mut self, now: ClockReadings) {
        self.void_samples(now);
        self.truth = None;
        self.stepped_at = now.raw;
        self.resample(now.raw);
        if self.state != State::Init {
            self.set_unusable(State::Unsynchronized, ReferenceId::STEP, now);
        }
    }

    /// Voids all samples from before `now`, so that no upstream is selected any more.
    fn void_samples(&mut self, now: ClockReadings) {
        self.view.since = now.raw;
        self.none_believed = true;
        self.gathering = Gathering {
            since: now.raw,
            known: true,
        };
    }

    /// Requests new samples at once, unless that was done in the last [`RESAMPLES_APART`].
    pub(super) fn resample(&mut self, now: Duration) {
        let lately = |resampled_at: Duration| now.saturating_sub(resampled_at) < RESAMPLES_APART;
        if !self.resampled_at.is_some_and(lately) {
            self.resampled_at = Some(now);
            self.resample_requests += 1;
        }
    }
}
