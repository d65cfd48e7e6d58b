//! The machine on which ntpfront runs: true time, a raw counter that drifts, and a time of day that somebody may
//! keep, step and slew.

use std::time::Duration;

use ntpfront::time::{ClockReadings, NtpDuration, NtpTimestamp};
use ntpfront::upstream::system_process::KernelView;
use ntpfront::wire::Leap;

use super::random::Random;

/// The kernel slews no faster (`adjtime`).
const SLEW: f64 = 500e-6;

/// What UTC is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth {
    /// UTC when the simulation starts.
    pub(crate) start: NtpTimestamp,
    /// A leap second: when it happens, and by how much UTC is shifted then.
    pub(crate) leap: Option<(f64, f64)>,
}

impl Truth {
    /// UTC so many true seconds after the start.
    pub(crate) fn at(&self, seconds: f64) -> NtpTimestamp {
        let shift = self
            .leap
            .filter(|&(at, _)| seconds >= at)
            .map_or(0.0, |(_, by)| by);
        self.start + NtpDuration::from_seconds(seconds + shift)
    }
}

/// The host's clocks. All times are in seconds; true time counts from the start of the simulation.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) truth: Truth,
    /// True time.
    now: f64,
    raw: f64,
    /// By how much the raw counter runs too fast: 1e-6 is a millionth.
    pub(crate) frequency: f64,
    /// Random walk of that, per square root of a second.
    pub(crate) wander: f64,
    /// By how much the time of day is ahead of the truth.
    pub(crate) error: f64,
    /// Does somebody keep the time of day at the pace of the truth? Else it drifts as the raw counter does.
    pub(crate) kept: bool,
    /// Does the kernel let leap seconds pass, as nobody told it of them?
    pub(crate) deaf: bool,
    slew_left: f64,
    /// All steps of the time of day together.
    stepped: f64,
    /// All sleep together.
    asleep: f64,
    /// By how much the time since boot jumped.
    boot_ahead: f64,
    /// How often the host slept, or its raw counter jumped: what was measured across that measures nothing.
    pub(crate) disturbed: u64,
}

impl Host {
    pub(crate) fn new(truth: Truth, random: &mut Random) -> Self {
        Self {
            truth,
            now: 0.0,
            raw: random.between(10.0, 1e6),
            frequency: random.between(-50e-6, 50e-6),
            wander: 1e-9,
            error: random.between(-0.5, 0.5),
            kept: false,
            deaf: false,
            slew_left: 0.0,
            stepped: 0.0,
            asleep: 0.0,
            boot_ahead: 0.0,
            disturbed: 0,
        }
    }

    /// True time, in seconds since the start.
    pub(crate) fn now(&self) -> f64 {
        self.now
    }

    pub(crate) fn utc(&self) -> NtpTimestamp {
        self.truth.at(self.now)
    }

    pub(crate) fn raw(&self) -> Duration {
        Duration::from_secs_f64(self.raw)
    }

    pub(crate) fn moment(&self) -> ClockReadings {
        ClockReadings {
            realtime: self.utc() + NtpDuration::from_seconds(self.error),
            raw: self.raw(),
            boot: Duration::from_secs_f64((self.now + self.boot_ahead).max(0.0)),
        }
    }

    /// True time goes on until `then`.
    pub(crate) fn advance(&mut self, then: f64, random: &mut Random) {
        let elapsed = (then - self.now).max(0.0);
        self.raw += elapsed * (1.0 + self.frequency);
        if !self.kept {
            self.error += elapsed * self.frequency;
        }
        let slewed = self.slew_left.clamp(-SLEW * elapsed, SLEW * elapsed);
        self.error += slewed;
        self.slew_left -= slewed;
        self.frequency += self.wander * elapsed.sqrt() * random.normal();
        self.now += elapsed;
    }

    /// Somebody sets the time of day.
    pub(crate) fn step(&mut self, by: f64) {
        self.error += by;
        self.stepped += by;
    }

    /// Somebody corrects the time of day slowly.
    pub(crate) fn slew(&mut self, by: f64) {
        self.slew_left += by;
    }

    /// The raw counter jumps against the truth and all other clocks.
    pub(crate) fn jump_raw(&mut self, by: f64) {
        self.raw += by;
        self.disturbed += 1;
    }

    /// The raw counter stands still for so long, the other clocks go on.
    pub(crate) fn lose_raw(&mut self, seconds: f64) {
        self.now += seconds;
        self.disturbed += 1;
    }

    /// The time of day and the time since boot jump together, against the truth and the raw counter.
    pub(crate) fn jump_others(&mut self, by: f64) {
        self.error += by;
        self.boot_ahead += by;
    }

    /// The oscillator stands still; the time of day is right when the host awakes.
    pub(crate) fn sleep(&mut self, seconds: f64) {
        self.now += seconds;
        self.asleep += seconds;
        self.disturbed += 1;
    }

    /// The kernel takes part in the leap second, if somebody keeps the clock; else UTC goes on without it.
    pub(crate) fn leap(&mut self) {
        let by = self.truth.leap.map_or(0.0, |(_, by)| by);
        if self.kept && !self.deaf {
            self.stepped += by;
        } else {
            self.error -= by;
        }
    }

    /// Is a leap second as near as this?
    pub(crate) fn leaps_within(&self, seconds: f64) -> bool {
        let leap = self.truth.leap;
        leap.is_some_and(|(at, _)| (self.now - at).abs() <= seconds)
    }

    /// What the kernel says: a keeper tells it of a leap second on its day.
    pub(crate) fn kernel(&self) -> KernelView {
        let (at, by) = self
            .truth
            .leap
            .filter(|_| self.kept && !self.deaf)
            .unwrap_or_default();
        let leap = match self.now < at {
            true if by < 0.0 => Leap::AddSecond,
            true => Leap::DeleteSecond,
            false => Leap::NoWarning,
        };
        let in_leap_second = by < 0.0 && (at..at + 1.0).contains(&self.now);
        KernelView { leap, in_leap_second }
    }

    /// How far the time of day is ahead of the time since boot, which only a step changes, and how long it slept.
    pub(crate) fn jumps(&self) -> [Duration; 2] {
        // Somewhere far from zero, as it is since 1970.
        [1e6 + self.stepped, self.asleep].map(Duration::from_secs_f64)
    }
}
