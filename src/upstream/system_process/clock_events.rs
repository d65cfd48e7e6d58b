//! Pure. What happens to the host all of a sudden, so that what was known does not hold, and new samples are wanted.

use std::time::Duration;

use super::{Gathering, State, SystemProcess};
use crate::clock::ClockModel;
use crate::time::{ClockReadings, NtpDuration};
use crate::wire::ReferenceId;

/// Who steps the host's clock all the time does not make us ask all the time. The samples that a request asked for go on
/// coming for about as long.
const RESAMPLES_APART: Duration = Duration::from_secs(64);
/// A change between the host's clocks that only a step or a sleep can make.
const JUMP: Duration = Duration::from_millis(10);
/// A change of pace between them, as parts of the time that passes, beyond which a jump of that size is possible. A
/// daemon that slews makes no larger ones for long.
const PACE_CHANGE: f64 = 50e-6;
/// Samples from before a larger jump would tell a frequency that is wrong by more than clocks stray.
const VOID: NtpDuration = NtpDuration::from_units((1 << 32) / 1000);
/// Before a pace is known it is below this: the kernel's clocks are corrected by 500 ppm at most.
const UNKNOWN_PACE: f64 = 600e-6;
/// A jump is told if there was none for so long.
const REPORTS_APART: Duration = Duration::from_secs(3600);

/// What happened to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockEvent {
    /// Somebody stepped its clock by so much, back or forth.
    Stepped(Duration),
    /// It slept for so long, or its clocks jumped against each other by as much.
    Slept(Duration),
    /// Its clocks moved against each other by so much more than before: the virtual machine was paused, say.
    Jumped(Duration),
}

/// How the host's clocks stand to each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockWatch {
    realtime: Duration,
    asleep: Duration,
    raw: Duration,
    boot: Duration,
    pace: Pace,
}

/// By how much the time since boot runs faster than the raw counter.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// When nothing happens.
    steady: Option<f64>,
    /// At the last look, if that was another one: a jump, or a daemon that slews for longer.
    other: Option<f64>,
}

impl SystemProcess {
    /// Looks after the host's clocks, before each decision: `realtime` is how far the time of day is ahead of the time
    /// since boot, `asleep` how much of that the host slept. Returns what must have happened since the last look.
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

    /// Did the raw counter and the time since boot move against each other as they did before, by `apart` seconds in
    /// the time that `passed`? If not, nobody knows which of them was right. A pace that stays is a new one from its second
    /// look on.
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
        // What is read too soon after the last time tells no pace.
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
            // So far apart, nobody knows by how much more both of them moved together.
            self.slept(now);
            return Some(ClockEvent::Slept(Duration::from_secs_f64(beyond)));
        }
        let (by, last) = (NtpDuration::from_seconds(beyond + unseen), self.view.jump);
        let before = last.map_or(NtpDuration::ZERO, |(_, before)| before);
        self.view.jump = Some((now.raw, before + by));
        self.truth = self.truth.map(|truth| truth.widened(by));
        if self.reference.is_usable() {
            // It may be all that goes on.
            self.reference.root_dispersion += by;
        }
        if by >= VOID {
            self.void_samples(now);
        }
        self.resample(now.raw);
        // One of many is no news.
        let lately = last.is_some_and(|(at, _)| now.raw.saturating_sub(at) < REPORTS_APART);
        (!lately).then(|| ClockEvent::Jumped(Duration::from_secs_f64(beyond)))
    }

    /// The host's clock was stepped before `now`: it is not the one that was checked. A tracked clock does not care.
    pub(super) fn clock_stepped(&mut self, now: ClockReadings) {
        self.stepped_at = now.raw;
        if self.reference.clock == ClockModel::Host && self.state != State::Init {
            self.resample(now.raw);
            self.set_unusable(State::Unsynchronized, ReferenceId::STEP, now);
        }
    }

    /// The host slept before `now`: the raw counter stood still, and nothing that was measured holds.
    pub(super) fn slept(&mut self, now: ClockReadings) {
        self.void_samples(now);
        self.truth = None;
        self.stepped_at = now.raw;
        self.resample(now.raw);
        if self.state != State::Init {
            self.set_unusable(State::Unsynchronized, ReferenceId::STEP, now);
        }
    }

    /// No sample from before `now` counts any more: no upstream is believed any more.
    fn void_samples(&mut self, now: ClockReadings) {
        self.view.since = now.raw;
        self.none_believed = true;
        self.gathering = Gathering {
            since: now.raw,
            known: true,
        };
    }

    /// New samples are wanted at once.
    pub(super) fn resample(&mut self, now: Duration) {
        let lately = |resampled_at: Duration| now.saturating_sub(resampled_at) < RESAMPLES_APART;
        if !self.resampled_at.is_some_and(lately) {
            self.resampled_at = Some(now);
            self.resample_requests += 1;
        }
    }
}
