//! Pure. The number of different clients: of all workers, and of the fast path's samples.

use std::time::Duration;

use serde::Serialize;

use crate::census::distinct::{Distinct, RELATIVE_ERROR};
use crate::census::sampled::{LEVELS, SampledHistory, divisor};
use crate::census::{CensusReader, number};

/// The numbers of different addresses that asked, about. As JSON its shape is stable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClientNumbers {
    /// In the last 60 to 65 minutes.
    pub last_hour: u64,
    /// In the last 5 to 10 minutes.
    pub last_minutes: u64,
}

impl ClientNumbers {
    /// Counts the clients of all workers, and those of the fast path, at this moment of `CLOCK_MONOTONIC_RAW`.
    pub fn of(workers: &[CensusReader], fast: Option<&SampledHistory>, now: Duration) -> Self {
        let (mut hour, mut minutes) = (ClientNumber::new(), ClientNumber::new());
        let is_recent = |of_window: u64| number(now).saturating_sub(of_window) <= 1;
        for worker in workers {
            worker.read(|history| {
                for window in history.within_the_hour(number(now)) {
                    hour.add(&window.distinct);
                    if is_recent(window.number) {
                        minutes.add(&window.distinct);
                    }
                }
            });
        }
        for window in fast
            .into_iter()
            .flat_map(|fast| fast.within_the_hour(number(now)))
        {
            for (sum, counts) in [(&mut hour, true), (&mut minutes, is_recent(window.window.number))] {
                if counts {
                    sum.add(&window.window.distinct);
                    sum.add_samples(&window.levels, window.level);
                }
            }
        }
        Self {
            last_hour: hour.whole(),
            last_minutes: minutes.whole(),
        }
    }
}

/// A number of different clients that is still counted.
#[derive(Debug)]
pub(super) struct ClientNumber {
    distinct: Distinct,
    /// The clients of each size of the fast path's sample, and the smallest size that was in use.
    sampled: [Distinct; LEVELS],
    sampled_level: usize,
}

impl ClientNumber {
    pub(super) const fn new() -> Self {
        Self {
            distinct: Distinct::new(),
            sampled: [const { Distinct::new() }; LEVELS],
            sampled_level: 0,
        }
    }

    /// Adds clients that were all seen.
    pub(super) fn add(&mut self, clients: &Distinct) {
        self.distinct.unite(clients);
    }

    /// Adds clients of samples, of which those of `level` are complete.
    pub(super) fn add_samples(&mut self, levels: &[Distinct; LEVELS], level: usize) {
        for (sum, clients) in self.sampled.iter_mut().zip(levels) {
            sum.unite(clients);
        }
        self.sampled_level = self.sampled_level.max(level);
    }

    /// Estimates the number, and the relative standard error of that.
    ///
    /// Clients that are both at the sockets and on the fast path count once if all are sampled. Else those that are not
    /// in the sample count twice.
    pub(super) fn estimate(&self) -> (f64, f64) {
        let with = |clients: Option<&Distinct>| {
            let mut all = self.distinct.clone();
            clients.into_iter().for_each(|clients| all.unite(clients));
            all.estimate()
        };
        let seen = with(self.sampled.first());
        let Some(sample) = self
            .sampled
            .get(self.sampled_level)
            .filter(|_| self.sampled_level > 0)
        else {
            return (seen, RELATIVE_ERROR);
        };
        let (stands_for, sampled) = (f64::from(divisor(self.sampled_level)), sample.estimate());
        let estimate = with(Some(sample)) + (stands_for - 1.0) * sampled;
        let by_chance = stands_for * (stands_for - 1.0) * sampled;
        let error = ((RELATIVE_ERROR * estimate).powi(2) + by_chance).sqrt();
        // Those that were seen are at least as many.
        let clients = estimate.max(seen).max(1.0);
        (clients, error / clients)
    }

    /// Estimates the number as a whole one.
    pub(super) fn whole(&self) -> u64 {
        whole(self.estimate().0)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate is not negative, and 64 registers' bits bound it"
)]
pub(super) fn whole(estimate: f64) -> u64 {
    estimate.round() as u64
}
