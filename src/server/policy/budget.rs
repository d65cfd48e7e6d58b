//! Pure. A ceiling for the whole server, and the choice of requests to shed while it is too low for all.
//!
//! First come the clients that are known, as far as they are light: up to one request a second. The rest is given out
//! as tokens ([`super::allowance`]). New clients get them before all others, so that a client can start while heavy
//! ones flood. No more tokens are given than are left, however many addresses are made up. The heavy clients that get
//! one are drawn by lot, so that all get the same. Light clients are shed only if they alone are too many, the heaviest
//! first.
//!
//! Once a second the supervisor compares the count of sent replies with the ceiling, and sets the rates.

use std::net::SocketAddr;
use std::time::Duration;

use crate::server::policy::RuleMode;
use crate::server::policy::allowance::{Rates, TokenCounts};

/// The limits of all that is sent; `None` is no ceiling.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budget {
    /// Whether it is applied.
    pub mode: RuleMode,
    /// Answers a second.
    pub packets_per_second: Option<f64>,
    /// Millions of bits a second, from the IP header on.
    pub megabits_per_second: Option<f64>,
    /// Billions of bytes in 30 days, from the IP header on; what is not used on one day is there on the next.
    pub gigabytes_per_month: Option<f64>,
}

/// Counts of replies that were sent since the last time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentCounts {
    /// Answers over IPv4.
    pub ipv4: u64,
    /// Answers over IPv6.
    pub ipv6: u64,
    /// Bytes by which authenticated answers were longer than plain ones.
    pub longer: u64,
    /// Answers among them that a budget on trial would have refused.
    pub on_trial: u64,
    /// Those that needed a token.
    pub taken: TokenCounts,
}

impl SentCounts {
    /// Adds plain replies of a listener at this address.
    pub fn add_plain(&mut self, listener: SocketAddr, replies: u64) {
        match listener {
            SocketAddr::V4(_) => self.ipv4 += replies,
            SocketAddr::V6(_) => self.ipv6 += replies,
        }
    }

    /// Returns the sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            ipv4: self.ipv4 + other.ipv4,
            ipv6: self.ipv6 + other.ipv6,
            longer: self.longer + other.longer,
            on_trial: self.on_trial + other.on_trial,
            taken: self.taken,
        }
    }

    /// Returns the requests a second that were answered or shed, if these are the counts of so much `time`.
    pub fn asked(self, time: Duration) -> f64 {
        float(
            self.ipv4
                .saturating_add(self.ipv6)
                .saturating_add(self.taken.shed),
        ) / time.as_secs_f64()
    }

    /// Returns the difference to the earlier counts `before`. A worker that ended takes its counts along.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            ipv4: self.ipv4.saturating_sub(before.ipv4),
            ipv6: self.ipv6.saturating_sub(before.ipv6),
            longer: self.longer.saturating_sub(before.longer),
            on_trial: self.on_trial.saturating_sub(before.on_trial),
            taken: self.taken.since(before.taken),
        }
    }
}

/// A plain reply's length in bytes: IP header, UDP header (8), NTP header (48).
const IPV4_LENGTH: f64 = 76.0;
const IPV6_LENGTH: f64 = 96.0;
/// The recent requests of a client that sends as much as a fast line carries: none has more.
const MOST_RECENT_REQUESTS: f32 = 1e9;
/// The recent requests of a client that asks once a second are 93; more where its intervals are uneven.
pub const LIGHT: f32 = 128.0;
/// The threshold falls to a thousandth and rises to sixteen times at most at a time.
const STEEPEST_FALL: f64 = 0.001;
const STEEPEST_RISE: f64 = 16.0;
/// The factor by which the threshold falls if the light are too many and it hits none of them.
const IN_VAIN: f64 = 0.2;
/// The part of the budget that is left to new clients even if the light alone would need it.
const FOR_THE_NEW: f64 = 0.05;
/// The seconds, about, within which replies beyond the ceiling are made up for.
const MAKING_UP: f64 = 2.0;
/// The seconds in a day and in a month.
const DAY: f64 = 86_400.0;
const MONTH: f64 = 30.0 * DAY;
/// The seconds over which the savings of the month are spent.
const SPENDING: f64 = 600.0;

impl Budget {
    /// Whether it is applied: not if there is no ceiling.
    pub const fn mode(&self) -> RuleMode {
        if self.is_none() { RuleMode::Off } else { self.mode }
    }

    const fn is_none(&self) -> bool {
        self.packets_per_second.is_none()
            && self.megabits_per_second.is_none()
            && self.gigabytes_per_month.is_none()
    }

    /// Returns the bytes a second over the month.
    fn monthly(&self) -> Option<f64> {
        Some(self.gigabytes_per_month? * 1e9 / MONTH)
    }
}

/// Holds a server to its budget.
#[derive(Clone, Debug)]
pub struct BudgetController {
    budget: Budget,
    /// The bytes of the month that were not used so far: a day's at most.
    saved: f64,
    /// The answers beyond the ceiling that are still to be made up for.
    excess: f64,
    /// The answers a second to light clients.
    light: f64,
    /// The mean length of the last replies, in bytes.
    length: f64,
    rates: Rates,
}

impl BudgetController {
    /// Makes a controller that begins with nothing shed, and with a day of the month saved.
    pub fn new(budget: Budget) -> Self {
        let mut controller = Self {
            budget,
            saved: budget.monthly().map_or(0.0, |rate| rate * DAY),
            excess: 0.0,
            light: 0.0,
            length: IPV4_LENGTH,
            rates: Rates::ALL,
        };
        if budget.mode() != RuleMode::Off {
            controller.rates.light = LIGHT;
            controller.rates.tokens = controller.allowed(IPV4_LENGTH);
        }
        controller
    }

    /// Takes another budget, if it is one.
    pub fn change(&mut self, budget: Budget) {
        if budget != self.budget {
            *self = Self::new(budget);
        }
    }

    /// Whether the budget is applied.
    pub fn mode(&self) -> RuleMode {
        self.budget.mode()
    }

    /// Gives the workers the tokens for these `answers` a second, which the fast path gave without any until now.
    pub fn take_over(&mut self, answers: f64) -> Rates {
        self.light = (self.light - answers).max(0.0);
        self.rates.tokens = (self.rates.tokens + answers).min(self.ceiling());
        self.rates
    }

    /// Returns the answers a second that the budget allows, of the last ones' length: infinite without one.
    pub fn ceiling(&self) -> f64 {
        match self.budget.mode() {
            RuleMode::Off => f64::INFINITY,
            RuleMode::DryRun | RuleMode::On => self.allowed(self.length),
        }
    }

    /// Returns the bytes of the month that were not used so far, a day's at most; `None` without such a ceiling.
    ///
    /// They are negative if more were used.
    pub fn saved(&self) -> Option<f64> {
        self.budget.monthly().map(|_| self.saved)
    }

    /// The rates of now.
    pub fn rates(&self) -> Rates {
        self.rates
    }

    /// The rates from now on, after `sent` in the `time` since the last call.
    pub fn adjust(&mut self, sent: SentCounts, time: Duration) -> Rates {
        let seconds = time.as_secs_f64();
        if self.budget.mode() == RuleMode::Off || seconds <= 0.0 {
            return self.rates;
        }
        let replies = float(sent.ipv4.saturating_add(sent.ipv6));
        let plain = float(sent.ipv4) * IPV4_LENGTH + float(sent.ipv6) * IPV6_LENGTH;
        let bytes = plain + float(sent.longer);
        let length = if replies > 0.0 {
            bytes / replies
        } else {
            IPV4_LENGTH
        };
        self.length = length;
        let answered = (replies - float(sent.on_trial)).max(0.0);
        self.save(answered * length, seconds);
        let TokenCounts {
            new,
            other,
            others_asked,
            light_shed,
            ..
        } = sent.taken;
        let light = (answered - float(new) - float(other)).max(0.0) / seconds;
        let ceiling = self.allowed(length);
        self.excess = (self.excess + answered - ceiling * seconds).clamp(0.0, ceiling);
        let allowed = ceiling - self.excess / MAKING_UP;
        if light > allowed && light_shed == 0 {
            self.rates.light = scaled(self.rates.light, IN_VAIN);
        }
        self.share_out(
            allowed,
            light,
            float(new) / seconds,
            float(others_asked) / seconds,
        );
        self.rates
    }

    /// Shares out `allowed` answers a second.
    ///
    /// Each second `light` clients had an answer, `new` ones a token, and `others` came so far as to ask for one.
    fn share_out(&mut self, allowed: f64, light: f64, new: f64, others: f64) {
        let least = allowed * FOR_THE_NEW;
        // While many become known they grow on.
        let growth = (light - std::mem::replace(&mut self.light, light)).max(0.0);
        let for_light = (allowed - least) / light.max(0.1);
        self.rates.light = scaled(self.rates.light, for_light).min(LIGHT);
        self.rates.tokens = (allowed - light - growth).max(least);
        // Without others there is room for any.
        let for_others = match others > 0.0 {
            true => (self.rates.tokens - new).max(0.0) / others,
            false => STEEPEST_RISE,
        };
        // A flood that has just begun came from one client at the worst: no client has more.
        let from = match self.rates.shed_threshold.is_finite() || for_others >= 1.0 {
            true => self.rates.shed_threshold,
            false => narrow(others),
        };
        let shed_threshold = match scaled(from, for_others) {
            next if next < MOST_RECENT_REQUESTS => next,
            _ => f32::INFINITY,
        };
        self.rates.shed_threshold = shed_threshold.max(self.rates.light);
    }

    fn save(&mut self, bytes: f64, seconds: f64) {
        if let Some(rate) = self.budget.monthly() {
            self.saved = (self.saved + rate * seconds - bytes).clamp(-rate * DAY, rate * DAY);
        }
    }

    /// Returns the answers a second that are allowed, of `length` bytes each.
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
}

/// Returns the threshold, multiplied by `ratio` within the limits of a step.
///
/// The count of answers grows with the threshold, and slower the higher that is. So to multiply by the ratio comes
/// nearer each time and never beyond.
fn scaled(recent_requests: f32, ratio: f64) -> f32 {
    let factor = ratio.clamp(STEEPEST_FALL, STEEPEST_RISE);
    narrow(f64::from(recent_requests) * factor).max(f32::MIN_POSITIVE)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "to f32, which saturates and rounds"
)]
const fn narrow(value: f64) -> f32 {
    value as f32
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

    #[test]
    fn each_unit_is_what_it_says() {
        let one = |budget: Budget, length| BudgetController::new(budget).allowed(length);
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
        let mut controller = BudgetController::new(month);
        assert_eq!(controller.allowed(100.0), 1000.0 + 1000.0 * 144.0);
        controller.adjust(
            SentCounts {
                ipv4: u64::MAX / 2,
                ..SentCounts::default()
            },
            SECOND,
        );
        assert_eq!(controller.allowed(100.0), 0.0);
        assert_eq!([none.mode(), month.mode()], [RuleMode::Off, RuleMode::On]);
    }

    /// A second in which `light`, `new` and `other` clients had an answer, and `others_asked` others asked for a token.
    fn second(light: u64, new: u64, other: u64, others_asked: u64) -> SentCounts {
        SentCounts {
            ipv4: light + new + other,
            taken: TokenCounts {
                new,
                other,
                others_asked,
                ..TokenCounts::default()
            },
            ..SentCounts::default()
        }
    }

    #[test]
    fn the_light_come_first_and_what_they_leave_is_given_out() {
        let mut controller = BudgetController::new(budget());
        assert_eq!(controller.rates().tokens, 1000.0);
        // They may grow on as they have just grown.
        assert_eq!(controller.adjust(second(300, 500, 0, 0), SECOND).tokens, 400.0);
        let rates = controller.adjust(second(300, 500, 0, 0), SECOND);
        assert_eq!(rates.tokens, 700.0);
        assert_eq!((rates.light, rates.shed_threshold), (LIGHT, f32::INFINITY));
        // Others beyond what is left are drawn by lot, and the light not touched.
        let rates = controller.adjust(second(300, 500, 200, 20_000), SECOND);
        assert_eq!((rates.light, rates.tokens), (LIGHT, 700.0));
        assert!((199.0..=201.0).contains(&rates.shed_threshold), "{rates:?}");
        // New clients that need all that is left don't drag the light down, either.
        let rates = (0..100)
            .map(|_| controller.adjust(second(300, 700, 0, 20_000), SECOND))
            .last();
        assert_eq!(
            rates.map(|rates| (rates.light, rates.shed_threshold)),
            Some((LIGHT, LIGHT))
        );
        // All are quiet again: no client is shed after a while.
        let rates = (0..10)
            .map(|_| controller.adjust(second(300, 5, 5, 5), SECOND))
            .last();
        assert_eq!(rates.map(|rates| rates.shed_threshold), Some(f32::INFINITY));
    }

    #[test]
    fn light_ones_that_are_too_many_are_shed_and_leave_a_little_to_the_new() {
        let mut controller = BudgetController::new(budget());
        // 5000 that ask once a second, answered as often as a client just at the threshold.
        let mut light = 5000.0_f64;
        for _ in 0..10 {
            let answered = Duration::from_secs_f64(light).as_secs();
            let mut sent = second(answered, 50, 0, 0);
            sent.taken.light_shed = 5000 - answered;
            let rates = controller.adjust(sent, SECOND);
            light = 5000.0 * (f64::from(rates.light) / 93.0).min(1.0);
        }
        assert!((940.0..=960.0).contains(&light), "{light}");
        assert!(
            (49.0..55.0).contains(&controller.rates().tokens),
            "{controller:?}"
        );
        assert_eq!(controller.adjust(second(20, 0, 0, 0), SECOND).light, LIGHT);
    }

    /// 1000 answers of 76 bytes a second, or 250 of 304.
    #[test]
    fn longer_replies_leave_room_for_fewer() {
        let bytes = Budget {
            megabits_per_second: Some(0.608),
            ..Budget::default()
        };
        for (longer, expected) in [(0, 1000.0), (228, 250.0)] {
            let mut controller = BudgetController::new(bytes);
            let sent = SentCounts {
                longer: 100 * longer,
                ..second(0, 100, 0, 0)
            };
            assert_eq!(controller.adjust(sent, SECOND).tokens, expected);
        }
    }

    #[test]
    fn on_trial_it_counts_what_it_would_leave() {
        let mut controller = BudgetController::new(Budget {
            mode: RuleMode::DryRun,
            ..budget()
        });
        controller.adjust(second(900, 0, 0, 0), SECOND);
        let before = controller.adjust(second(900, 0, 0, 0), SECOND);
        let sent = SentCounts {
            on_trial: 4000,
            ..second(4900, 0, 0, 0)
        };
        assert_eq!(controller.adjust(sent, SECOND), before);
    }
}
