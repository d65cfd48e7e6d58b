//! Impure. The rest of the budget, as all workers see it.
//!
//! These are numbers that the supervisor sets once a second, and two buckets of tokens that the workers share. Only a
//! client whose future rate is unknown needs a token. So a flood that has just begun is held at once, and a client that
//! asks in moderation costs no more here than the read of one number.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The part of a second whose tokens may be taken at once, in nanoseconds.
const WINDOW: u64 = 250_000_000;
/// The tokens that may be taken at once if `WINDOW` has fewer: the burst of a client that starts.
const LEAST: u64 = 8;
/// The interval of tokens where there are none.
const NONE: u64 = u64::MAX;

/// The rates that the budget leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// The recent requests up to which a client that is known is answered without a token.
    pub light: f32,
    /// The recent requests up to which one that needs a token gets it without a draw: `light` or more.
    pub shed_threshold: f32,
    /// The tokens a second: infinite without a ceiling.
    pub tokens: f64,
}

impl Rates {
    /// The rates under which nothing is shed.
    pub const ALL: Self = Self {
        light: f32::INFINITY,
        shed_threshold: f32::INFINITY,
        tokens: f64::INFINITY,
    };
}

/// Counts of tokens that were wanted and taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Tokens that new clients took.
    pub new: u64,
    /// Tokens that others took.
    pub other: u64,
    /// Requests of others for a token, with or without success.
    pub others_asked: u64,
    /// Requests that were shed.
    pub shed: u64,
    /// Requests that were shed of clients that are known and light.
    pub light_shed: u64,
}

impl TokenCounts {
    /// Returns the difference to the earlier counts `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            new: self.new.wrapping_sub(before.new),
            other: self.other.wrapping_sub(before.other),
            others_asked: self.others_asked.wrapping_sub(before.others_asked),
            shed: self.shed.wrapping_sub(before.shed),
            light_shed: self.light_shed.wrapping_sub(before.light_shed),
        }
    }
}

/// The [`Rates`] of now, and the tokens.
#[derive(Debug)]
pub struct Allowance {
    light: AtomicU32,
    shed_threshold: AtomicU32,
    /// The nanoseconds from one token to the next.
    interval: AtomicU64,
    /// The moments at which the buckets are full, by the raw counter: that of the new clients, and that of all.
    full_at: [AtomicU64; 2],
    new: AtomicU64,
    other: AtomicU64,
    others_asked: AtomicU64,
    shed: AtomicU64,
    light_shed: AtomicU64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self::new(Rates::ALL)
    }
}

impl Allowance {
    /// Makes an allowance with full buckets.
    pub fn new(rates: Rates) -> Self {
        let allowance = Self {
            light: AtomicU32::default(),
            shed_threshold: AtomicU32::default(),
            interval: AtomicU64::default(),
            full_at: Default::default(),
            new: AtomicU64::default(),
            other: AtomicU64::default(),
            others_asked: AtomicU64::default(),
            shed: AtomicU64::default(),
            light_shed: AtomicU64::default(),
        };
        allowance.set(rates);
        allowance
    }

    /// Returns an allowance of its own in the same state: what is taken from it is taken from no client.
    #[must_use]
    pub fn copied(&self) -> Self {
        let copy = |cell: &AtomicU64| AtomicU64::new(cell.load(Ordering::Relaxed));
        Self {
            light: AtomicU32::new(self.light.load(Ordering::Relaxed)),
            shed_threshold: AtomicU32::new(self.shed_threshold.load(Ordering::Relaxed)),
            interval: copy(&self.interval),
            full_at: self.full_at.each_ref().map(copy),
            new: copy(&self.new),
            other: copy(&self.other),
            others_asked: copy(&self.others_asked),
            shed: copy(&self.shed),
            light_shed: copy(&self.light_shed),
        }
    }

    /// Sets the rates that hold from now on.
    pub fn set(&self, rates: Rates) {
        self.light.store(rates.light.to_bits(), Ordering::Relaxed);
        self.shed_threshold
            .store(rates.shed_threshold.to_bits(), Ordering::Relaxed);
        self.interval.store(interval(rates.tokens), Ordering::Relaxed);
    }

    /// The recent requests up to which a client that is known is answered without a token.
    #[inline]
    pub fn light(&self) -> f32 {
        f32::from_bits(self.light.load(Ordering::Relaxed))
    }

    /// The recent requests up to which a client that needs a token gets it without a draw.
    pub fn shed_threshold(&self) -> f32 {
        f32::from_bits(self.shed_threshold.load(Ordering::Relaxed))
    }

    /// Returns the counts of tokens so far.
    pub fn taken(&self) -> TokenCounts {
        TokenCounts {
            new: self.new.load(Ordering::Relaxed),
            other: self.other.load(Ordering::Relaxed),
            others_asked: self.others_asked.load(Ordering::Relaxed),
            shed: self.shed.load(Ordering::Relaxed),
            light_shed: self.light_shed.load(Ordering::Relaxed),
        }
    }

    /// Takes a token for a new client at `now`, if there is one.
    ///
    /// New clients come before the others: the token is taken from the bucket of all, too, even if that is empty.
    pub fn take_new(&self, now: Duration) -> bool {
        let [of_new, of_all] = &self.full_at;
        let interval = self.interval.load(Ordering::Relaxed);
        let taken = take(of_new, now, interval);
        if taken {
            let _paid = of_all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                Some(full_at.max(floor(now, interval)).saturating_add(interval))
            });
            self.new.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Takes a token for any other client.
    pub fn take_other(&self, now: Duration) -> bool {
        let [_, of_all] = &self.full_at;
        self.others_asked.fetch_add(1, Ordering::Relaxed);
        let taken = take(of_all, now, self.interval.load(Ordering::Relaxed));
        if taken {
            self.other.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// A request is shed; is its client known and light?
    pub fn count_shed(&self, is_light: bool) {
        self.shed.fetch_add(1, Ordering::Relaxed);
        self.light_shed.fetch_add(is_light.into(), Ordering::Relaxed);
    }
}

fn take(full_at: &AtomicU64, now: Duration, interval: u64) -> bool {
    if matches!(interval, 0 | NONE) {
        return interval == 0;
    }
    let (now, floor) = (nanos(now), floor(now, interval));
    // Most of a flood ends here, and leaves the cache line to the others.
    if full_at.load(Ordering::Relaxed) > now {
        return false;
    }
    let later = |full_at: u64| (full_at <= now).then(|| full_at.max(floor).saturating_add(interval));
    full_at
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, later)
        .is_ok()
}

/// A bucket that is full since then has all the tokens that it can have at `now`.
fn floor(now: Duration, interval: u64) -> u64 {
    nanos(now).saturating_sub(WINDOW.max(interval.saturating_mul(LEAST)))
}

/// Returns the nanoseconds from one token to the next, for `tokens` a second.
fn interval(tokens: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it saturates, and no token at all is the longest interval"
    )]
    match tokens > 0.0 {
        true => (1e9 / tokens) as u64,
        false => NONE,
    }
}

/// Returns the time in nanoseconds: a `u64` holds 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(1_000_000 + milliseconds)
    }

    #[test]
    fn tokens_come_back_at_their_rate_and_who_is_new_comes_first() {
        let allowance = Allowance::new(Rates {
            tokens: 100.0,
            ..Rates::ALL
        });
        let mut taken = [0, 0];
        for millisecond in 0..10_000 {
            // The others ask first, and get what is left.
            taken[1] += u32::from(allowance.take_other(at(millisecond)));
            let asks = millisecond.is_multiple_of(20);
            taken[0] += u32::from(asks && allowance.take_new(at(millisecond)));
        }
        assert_eq!(taken[0], 500);
        assert!((490..=530).contains(&taken[1]), "{taken:?}");
        let counted = allowance.taken();
        assert_eq!(counted.new + counted.other, u64::from(taken[0] + taken[1]));
        assert_eq!(counted.others_asked, 10_000);
        let mut more = 0;
        (0..1000).for_each(|_| more += u32::from(allowance.take_new(at(20_000))));
        assert_eq!(more, 26);
    }

    #[test]
    fn without_a_ceiling_all_are_there_and_with_nothing_left_none() {
        let allowance = Allowance::default();
        assert!((0..10_000).all(|_| allowance.take_new(at(0)) && allowance.take_other(at(0))));
        for tokens in [0.0, -1.0, f64::NAN] {
            allowance.set(Rates { tokens, ..Rates::ALL });
            assert!(!allowance.take_new(at(5000)) && !allowance.take_other(at(5000)));
        }
        // Few are as good as their rate, too: a client that starts passes.
        allowance.set(Rates {
            tokens: 0.1,
            ..Rates::ALL
        });
        assert_eq!((0..20).filter(|_| allowance.take_new(at(90_000))).count(), 9);
    }
}
