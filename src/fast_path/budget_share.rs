//! Pure. The part of the budget (`server::policy::budget`) that the program may answer without the sockets.
//!
//! Only the sockets know the clients, so only they can choose whose requests to shed. While all that is asked is well
//! below the ceiling, no request is shed, and the program answers. Bursts are limited as well: in the time of one
//! publication each CPU answers no more than its part of the ceiling, and leaves the rest to the sockets.

use std::time::Duration;

/// The part of the ceiling up to which the program answers.
const FULL: f64 = 0.8;
/// The part of the ceiling below which it answers again.
const LOW: f64 = 0.5;
/// The time for which less than [`LOW`] has to be asked until then.
const QUIET: Duration = Duration::from_secs(60);

/// The ceiling of the budget, and what is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// The answers a second that the budget allows: infinite without one.
    pub ceiling: f64,
    /// The requests a second that were answered, or that the budget shed.
    pub asked: f64,
}

/// The choice between program and sockets where there is a budget.
#[derive(Clone, Copy, Debug)]
pub struct BudgetShare {
    ceiling: f64,
    /// The last time with more than is low, while the sockets answer alone.
    busy_at: Option<Duration>,
}

impl BudgetShare {
    /// Begins without a demand: nothing is left to the program before it is known.
    pub const NONE: Self = Self {
        ceiling: 0.0,
        busy_at: None,
    };

    /// Takes the demand of the last second; `now` is by the raw counter.
    pub fn adjust(&mut self, demand: Demand, now: Duration) {
        self.ceiling = demand.ceiling;
        let is_low = demand.asked < demand.ceiling * LOW;
        match self.busy_at {
            None if demand.asked > demand.ceiling * FULL => self.busy_at = Some(now),
            Some(_) if !is_low => self.busy_at = Some(now),
            Some(busy_at) if now.saturating_sub(busy_at) >= QUIET => self.busy_at = None,
            None | Some(_) => {}
        }
    }

    /// Returns whether the sockets answer alone, as too much is asked.
    pub fn is_with_the_sockets(&self) -> bool {
        self.busy_at.is_some()
    }

    /// Returns how many requests each of `cpus` may answer within `time`.
    pub fn allowance(&self, time: Duration, cpus: usize) -> u32 {
        if self.is_with_the_sockets() {
            return 0;
        }
        let cpus = u32::try_from(cpus.max(1)).unwrap_or(u32::MAX);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast from float to integer saturates"
        )]
        let allowance = (self.ceiling * FULL * time.as_secs_f64() / f64::from(cpus)) as u32;
        allowance
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_millis(5);

    fn share(demands: &[(u64, f64)]) -> BudgetShare {
        let mut share = BudgetShare::NONE;
        for (second, asked) in demands {
            let demand = Demand {
                ceiling: 10_000.0,
                asked: *asked,
            };
            share.adjust(demand, Duration::from_secs(*second));
        }
        share
    }

    #[test]
    fn the_sockets_answer_alone_from_four_fifths_until_a_minute_after_half() {
        for (demands, expected) in [
            (&[][..], 0),
            (&[(1, 0.0)], 20),
            (&[(1, 8_000.0)], 20),
            (&[(1, 8_001.0)], 0),
            (&[(1, 9_000.0), (2, 4_999.0)], 0),
            (&[(1, 9_000.0), (2, 4_999.0), (60, 4_999.0)], 0),
            (&[(1, 9_000.0), (2, 4_999.0), (61, 4_999.0)], 20),
            (&[(1, 9_000.0), (2, 5_000.0), (61, 4_999.0)], 0),
            (&[(1, 9_000.0), (2, 5_000.0), (62, 4_999.0)], 20),
        ] {
            assert_eq!(share(demands).allowance(INTERVAL, 2), expected, "{demands:?}");
        }
    }

    #[test]
    fn without_a_ceiling_all_is_allowed() {
        let mut share = BudgetShare::NONE;
        let demand = Demand {
            ceiling: f64::INFINITY,
            asked: 1e9,
        };
        share.adjust(demand, INTERVAL);
        assert_eq!(share.allowance(INTERVAL, 64), u32::MAX);
    }

    proptest! {
        /// All CPUs together never get more than four fifths of what is allowed in that time.
        #[test]
        fn all_cpus_together_stay_below(ceiling in 0.0..1e8, asked in 0.0..1e8, cpus in 0..1025_usize) {
            let mut share = BudgetShare::NONE;
            share.adjust(Demand { ceiling, asked }, INTERVAL);
            let all = f64::from(share.allowance(INTERVAL, cpus)) * f64::from(u32::try_from(cpus.max(1)).unwrap());
            prop_assert!(all <= ceiling * FULL * INTERVAL.as_secs_f64());
            prop_assert!(all == 0.0 || asked <= ceiling * FULL);
        }
    }
}
