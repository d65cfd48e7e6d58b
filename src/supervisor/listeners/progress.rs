//! Pure. The progress of a worker, by which the watchdog detects one that is stuck.

use std::time::Duration;

/// The last known number of a worker's loop iterations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// The number; `None` before the first look.
    rounds: Option<u64>,
    /// Time at which it last grew.
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

    /// Updates the number of `rounds` at `now`. Returns whether it stayed the same for `limit` or longer.
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
