//! Pure. What a worker did, counted in cells that only it writes and anybody may read.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Verdict;

/// A worker's counters, on cache lines of their own so that no two workers share one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    verdicts: [AtomicU64; Verdict::ALL.len()],
    send_failed: AtomicU64,
    receive_failed: AtomicU64,
    stamp_unusable: AtomicU64,
    rounds: AtomicU64,
}

/// The counters as they were at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    verdicts: [u64; Verdict::ALL.len()],
    /// Replies that the kernel refused to send.
    pub send_failed: u64,
    /// Failures to receive that were not just a time without packets.
    pub receive_failed: u64,
    /// Packets whose kernel stamp was missing or not within the last second, as after a step of the clock.
    pub stamp_unusable: u64,
}

impl Counters {
    /// Another round of the worker's loop begins: it moves.
    pub(super) fn count_round(&self) {
        add(&self.rounds, 1);
    }

    /// How many rounds the worker's loop made: at least four a second, if it moves at all.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, verdict: Verdict) {
        if let Some(cell) = self.verdicts.get(verdict.index()) {
            add(cell, 1);
        }
    }

    pub(super) fn count_send_failed(&self, replies: usize) {
        if replies != 0 {
            add(&self.send_failed, u64::try_from(replies).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn count_receive_failed(&self) {
        add(&self.receive_failed, 1);
    }

    pub(super) fn count_stamp_unusable(&self) {
        add(&self.stamp_unusable, 1);
    }

    /// All of them now; a packet that is being counted meanwhile may be in or not.
    pub fn snapshot(&self) -> Counts {
        let mut verdicts = [0; Verdict::ALL.len()];
        for (count, cell) in verdicts.iter_mut().zip(&self.verdicts) {
            *count = cell.load(Ordering::Relaxed);
        }
        Counts {
            verdicts,
            send_failed: self.send_failed.load(Ordering::Relaxed),
            receive_failed: self.receive_failed.load(Ordering::Relaxed),
            stamp_unusable: self.stamp_unusable.load(Ordering::Relaxed),
        }
    }
}

/// There is one writer, so a load and a store do what a locked addition would.
fn add(cell: &AtomicU64, count: u64) {
    cell.store(
        cell.load(Ordering::Relaxed).wrapping_add(count),
        Ordering::Relaxed,
    );
}

impl Counts {
    /// Both together.
    #[must_use]
    pub fn plus(mut self, other: Self) -> Self {
        for (count, more) in self.verdicts.iter_mut().zip(other.verdicts) {
            *count = count.wrapping_add(more);
        }
        self.send_failed = self.send_failed.wrapping_add(other.send_failed);
        self.receive_failed = self.receive_failed.wrapping_add(other.receive_failed);
        self.stamp_unusable = self.stamp_unusable.wrapping_add(other.stamp_unusable);
        self
    }

    /// How many packets had `verdict`.
    pub fn of(&self, verdict: Verdict) -> u64 {
        self.verdicts.get(verdict.index()).copied().unwrap_or(0)
    }

    /// All packets received.
    pub fn received(&self) -> u64 {
        self.verdicts.iter().sum()
    }

    /// All packets answered, whether or not the kernel took the reply.
    pub fn answered(&self) -> u64 {
        Verdict::ALL
            .into_iter()
            .filter(|verdict| verdict.is_answered())
            .map(|verdict| self.of(verdict))
            .sum()
    }

    /// What was refused and how often, without the zeros: `refused-too-short=3 refused-version=1`.
    pub fn refusals(&self) -> String {
        let refused = Verdict::ALL
            .into_iter()
            .filter(|&verdict| !verdict.is_answered() && self.of(verdict) > 0);
        refused
            .map(|verdict| format!("{}={}", verdict.name(), self.of(verdict)))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verdict_is_counted_once() {
        let counters = Counters::default();
        for (times, verdict) in Verdict::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| counters.count(verdict));
        }
        counters.count_send_failed(3);
        let counts = counters.snapshot();
        assert_eq!((counts.received(), counts.answered()), (78, 3));
        assert_eq!(counts.of(Verdict::RefusedPrivate), 11);
        assert!(
            counts
                .refusals()
                .starts_with("refused-port-zero=3 refused-not-unicast=4")
        );
        assert_eq!((counts.send_failed, counts.receive_failed), (3, 0));
        assert_eq!(counts.plus(counts).received(), 156);
    }
}
