//! Pure. The progress of a worker, by which the watchdog knows one that stands still.

use std::time::Duration;

/// The rounds of a worker's loop as they were seen last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// `None` before they were seen.
    rounds: Option<u64>,
    /// When they were seen to grow.
    moved_at: Duration,
}

impl Progress {
    /// The progress of a new worker.
    pub(super) const fn new() -> Self {
        Self {
            rounds: None,
            moved_at: Duration::ZERO,
        }
    }

    /// Takes note that there were `rounds` of them at `now`. Is the worker stuck: were there as many for `limit`, or longer?
    pub(super) fn is_stuck(&mut self, rounds: u64, now: Duration, limit: Duration) -> bool {
        if self.rounds != Some(rounds) {
            (self.rounds, self.moved_at) = (Some(rounds), now);
            return false;
        }
        now.saturating_sub(self.moved_at) >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_stuck_that_made_no_round_for_the_limit() {
        let mut progress = Progress::new();
        for (second, rounds, expected) in [
            (100, 0, false),
            (109, 0, false),
            (110, 0, true),
            (111, 1, false),
            (120, 1, false),
            (121, 1, true),
            (122, u64::MAX, false),
            (140, 0, false),
        ] {
            let now = Duration::from_secs(second);
            assert_eq!(
                progress.is_stuck(rounds, now, Duration::from_secs(10)),
                expected,
                "{second}"
            );
        }
    }
}
