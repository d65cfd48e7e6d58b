//! Impure. Counts of key establishment: written by its threads, read by the supervisor, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use strum::EnumCount;

use super::outcome::{KeOutcome, KeRefusal};

/// Upper bounds of the histogram of times to an answer, in seconds.
const BOUNDS: [f64; 8] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];

/// The counters themselves.
#[derive(Debug, Default)]
pub(super) struct KeCounters {
    outcomes: [AtomicU64; KeOutcome::COUNT],
    refusals: [AtomicU64; KeRefusal::COUNT],
    times: [AtomicU64; BOUNDS.len()],
    answers: AtomicU64,
    microseconds: AtomicU64,
}

/// Counts since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeCounts {
    /// Sessions by their end.
    pub outcomes: Vec<(KeOutcome, u64)>,
    /// Connections that did not become sessions, by the reason.
    pub refusals: Vec<(KeRefusal, u64)>,
    /// Times until an answer: each bound in seconds, with the answers that took no longer.
    pub times: Vec<(f64, u64)>,
    /// Answers.
    pub answers: u64,
    /// Sum of the times until an answer, in seconds.
    pub seconds: f64,
}

impl KeCounters {
    pub(super) fn count_outcome(&self, outcome: KeOutcome) {
        add(&self.outcomes, outcome as usize);
    }

    pub(super) fn count_refusal(&self, refusal: KeRefusal) {
        add(&self.refusals, refusal as usize);
    }

    /// Counts the time from the start of a session to its answer.
    pub(super) fn count_answer(&self, time: Duration) {
        for (bound, cell) in BOUNDS.iter().zip(&self.times) {
            if time.as_secs_f64() <= *bound {
                cell.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.answers.fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> KeCounts {
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        KeCounts {
            outcomes: KeOutcome::ALL
                .iter()
                .copied()
                .zip(self.outcomes.iter().map(read))
                .collect(),
            refusals: KeRefusal::ALL
                .iter()
                .copied()
                .zip(self.refusals.iter().map(read))
                .collect(),
            times: BOUNDS.into_iter().zip(self.times.iter().map(read)).collect(),
            answers: read(&self.answers),
            seconds: Duration::from_micros(read(&self.microseconds)).as_secs_f64(),
        }
    }
}

fn add(cells: &[AtomicU64], index: usize) {
    if let Some(cell) = cells.get(index) {
        cell.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_under_its_word() {
        let counters = KeCounters::default();
        for outcome in KeOutcome::ALL {
            counters.count_outcome(*outcome);
        }
        counters.count_outcome(KeOutcome::Displaced);
        counters.count_refusal(KeRefusal::Overload);
        counters.count_answer(Duration::from_millis(2));
        counters.count_answer(Duration::from_secs(9));
        let counts = counters.snapshot();
        let many = |(outcome, count): &(KeOutcome, u64)| (*count == 2).then_some(*outcome);
        assert_eq!(counts.outcomes.len(), KeOutcome::ALL.len());
        assert_eq!(
            counts.outcomes.iter().filter_map(many).collect::<Vec<_>>(),
            [KeOutcome::Displaced]
        );
        assert_eq!(counts.refusals, [(KeRefusal::Rate, 0), (KeRefusal::Overload, 1)]);
        let times: Vec<u64> = counts.times.iter().map(|(_, count)| *count).collect();
        assert_eq!(times, [0, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(counts.answers, 2);
        assert!((counts.seconds - 9.002).abs() < 1e-9);
    }
}
