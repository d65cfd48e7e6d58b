//! Pure. A ceiling for the whole server, and who is not answered while it is too low for all: the heaviest first.
//!
//! Once a second the supervisor compares what was sent with what may be sent, and tells the workers which heat (requests
//! in the last minute or so) is bearable. A client beyond that is answered by lot, as often as one that is just bearable:
//! so all that are too heavy get the same, and the light get everything. The first requests of a client are always
//! answered, so a flood from ever new addresses passes the ceiling.

use std::time::Duration;

use super::policy::Mode;

/// What may be sent in all. `None` is no ceiling.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budget {
    /// Whether it is obeyed.
    pub mode: Mode,
    /// Answers a second.
    pub packets_per_second: Option<f64>,
    /// Millions of bits a second, from the IP header on.
    pub megabits_per_second: Option<f64>,
    /// Billions of bytes in 30 days, from the IP header on; what is not used on one day is there on the next.
    pub gigabytes_per_month: Option<f64>,
}

/// What was sent since the last time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Answers over IPv4.
    pub ipv4: u64,
    /// Answers over IPv6.
    pub ipv6: u64,
    /// Answers among them that a budget on trial would have refused.
    pub on_trial: u64,
}

impl Sent {
    /// What was sent after it had been `before`. A worker that ended takes its counts along.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            ipv4: self.ipv4.saturating_sub(before.ipv4),
            ipv6: self.ipv6.saturating_sub(before.ipv6),
            on_trial: self.on_trial.saturating_sub(before.on_trial),
        }
    }
}

/// A reply's length in bytes: IP header, UDP header (8), NTP header (48).
const IPV4_LENGTH: f64 = 76.0;
const IPV6_LENGTH: f64 = 96.0;
/// The heat of one who sends as much as a fast line carries: nobody is hotter.
const HOTTEST: f32 = 1e9;
/// What is bearable falls to a thousandth and rises to the double at most at a time.
const STEEPEST_FALL: f64 = 0.001;
const STEEPEST_RISE: f64 = 2.0;
/// Seconds in a day and in a month.
const DAY: f64 = 86_400.0;
const MONTH: f64 = 30.0 * DAY;
/// What was saved of the month is spent over so many seconds.
const SPENDING: f64 = 600.0;

impl Budget {
    /// Whether it is obeyed: not if there is no ceiling.
    pub const fn mode(&self) -> Mode {
        if self.is_none() { Mode::Off } else { self.mode }
    }

    const fn is_none(&self) -> bool {
        self.packets_per_second.is_none()
            && self.megabits_per_second.is_none()
            && self.gigabytes_per_month.is_none()
    }

    /// Bytes a second over the month.
    fn monthly(&self) -> Option<f64> {
        Some(self.gigabytes_per_month? * 1e9 / MONTH)
    }
}

/// Holds a server to its budget.
#[derive(Clone, Debug)]
pub struct Governor {
    budget: Budget,
    /// Bytes of the month that were not used so far: a day's at most.
    saved: f64,
    bearable: f32,
}

impl Governor {
    /// One that begins with nothing shed, and with a day of the month saved.
    pub fn new(budget: Budget) -> Self {
        Self {
            budget,
            saved: budget.monthly().map_or(0.0, |rate| rate * DAY),
            bearable: f32::INFINITY,
        }
    }

    /// Takes another budget, if it is one.
    pub fn change(&mut self, budget: Budget) {
        if budget != self.budget {
            *self = Self::new(budget);
        }
    }

    /// Whether the budget is obeyed.
    pub fn mode(&self) -> Mode {
        self.budget.mode()
    }

    /// The heat that is bearable from now on, after `sent` in the `time` since the last call.
    pub fn bearable(&mut self, sent: Sent, time: Duration) -> f32 {
        let seconds = time.as_secs_f64();
        if self.budget.mode() == Mode::Off || seconds <= 0.0 {
            return self.bearable;
        }
        let replies = float(sent.ipv4.saturating_add(sent.ipv6));
        let bytes = float(sent.ipv4) * IPV4_LENGTH + float(sent.ipv6) * IPV6_LENGTH;
        let length = if replies > 0.0 {
            bytes / replies
        } else {
            IPV4_LENGTH
        };
        let answered = (replies - float(sent.on_trial)).max(0.0);
        self.save(answered * length, seconds);
        let rate = answered / seconds;
        self.adjust(rate, self.allowed(length) / rate.max(0.1));
        self.bearable
    }

    fn save(&mut self, bytes: f64, seconds: f64) {
        if let Some(rate) = self.budget.monthly() {
            self.saved = (self.saved + rate * seconds - bytes).clamp(-rate * DAY, rate * DAY);
        }
    }

    /// Answers a second, of `length` bytes each.
    fn allowed(&self, length: f64) -> f64 {
        let Budget {
            packets_per_second,
            megabits_per_second,
            ..
        } = self.budget;
        let monthly = self
            .budget
            .monthly()
            .map(|rate| (rate + self.saved / SPENDING).max(0.0) / length);
        let line = megabits_per_second.map(|megabits| megabits * 1e6 / 8.0 / length);
        [packets_per_second, line, monthly]
            .into_iter()
            .flatten()
            .fold(f64::INFINITY, f64::min)
    }

    /// What is answered grows with what is bearable, and slower the more that is: so to multiply by what is missing comes
    /// nearer each time and never beyond.
    fn adjust(&mut self, rate: f64, ratio: f64) {
        // A flood that has just begun came from one client at the worst: nobody is hotter than that.
        let from = match self.bearable.is_finite() || ratio >= 1.0 {
            true => f64::from(self.bearable),
            false => rate,
        };
        let factor = ratio.clamp(STEEPEST_FALL, STEEPEST_RISE);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "to f32, which saturates and rounds"
        )]
        let next = (from * factor) as f32;
        self.bearable = match next < HOTTEST {
            true => next.max(f32::MIN_POSITIVE),
            false => f32::INFINITY,
        };
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a second are far below 2^53")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn budget() -> Budget {
        Budget {
            packets_per_second: Some(1000.0),
            ..Budget::default()
        }
    }

    /// Clients with these rates, each answered as what is bearable says; the answers a second after so many seconds.
    fn answered_after(governor: &mut Governor, rates: &[f64], seconds: u32) -> f64 {
        let mut bearable = f32::INFINITY;
        let mut answered = 0.0;
        for _ in 0..seconds {
            let share = |rate: f64| (f64::from(bearable) / (rate * 92.0)).min(1.0);
            answered = rates.iter().map(|rate| rate * share(*rate)).sum();
            let ipv4 = Duration::from_secs_f64(answered).as_secs();
            bearable = governor.bearable(
                Sent {
                    ipv4,
                    ..Sent::default()
                },
                SECOND,
            );
        }
        answered
    }

    #[test]
    fn the_ceiling_is_reached_from_above_within_seconds_and_held() {
        let mut governor = Governor::new(budget());
        let rates = [[20_000.0; 10].as_slice(), &[1.0 / 64.0; 1000]].concat();
        let answered = answered_after(&mut governor, &rates, 10);
        assert!((950.0..=1050.0).contains(&answered), "{answered}");
        assert!((950.0..=1050.0).contains(&answered_after(&mut governor, &rates, 100)));
        // All are light again: nothing is shed after a while.
        assert!(answered_after(&mut governor, &[1.0; 100], 40) > 99.0);
        assert_eq!(governor.bearable(Sent::default(), SECOND), f32::INFINITY);
    }

    #[test]
    fn each_unit_is_what_it_says() {
        let one = |budget: Budget, length| Governor::new(budget).allowed(length);
        let none = Budget::default();
        assert_eq!(one(none, 76.0), f64::INFINITY);
        assert_eq!(one(budget(), 76.0), 1000.0);
        let megabits_per_second = Some(0.76);
        assert_eq!(
            one(
                Budget {
                    megabits_per_second,
                    ..budget()
                },
                95.0
            ),
            1000.0
        );
        assert_eq!(
            one(
                Budget {
                    megabits_per_second,
                    ..none
                },
                76.0
            ),
            1250.0
        );
        // 259.2 GB in 30 days are 100 kB/s; a saved day is spent in ten minutes.
        let month = Budget {
            gigabytes_per_month: Some(259.2),
            ..none
        };
        let mut governor = Governor::new(month);
        assert_eq!(governor.allowed(100.0), 1000.0 + 1000.0 * 144.0);
        governor.bearable(
            Sent {
                ipv4: u64::MAX / 2,
                ..Sent::default()
            },
            SECOND,
        );
        assert_eq!(governor.allowed(100.0), 0.0);
        assert_eq!([none.mode(), month.mode()], [Mode::Off, Mode::On]);
    }

    #[test]
    fn on_trial_it_counts_what_it_would_leave() {
        let mut governor = Governor::new(Budget {
            mode: Mode::DryRun,
            ..budget()
        });
        let sent = Sent {
            ipv4: 5000,
            ipv6: 0,
            on_trial: 4000,
        };
        let before = governor.bearable(
            Sent {
                ipv4: 5000,
                ..Sent::default()
            },
            SECOND,
        );
        assert_eq!(governor.bearable(sent, SECOND), before);
    }
}
