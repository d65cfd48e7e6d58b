//! Pure. The number of packets that a worker asks for, and whether it sends their replies together.
//!
//! On a quiet server packets come alone, and then a call for one costs less. A large batch after small ones is no sign of
//! much load: something kept the worker from running. To send its replies one by one costs more, and each then has a
//! reading of the clock of its own.

use crate::time::NtpTimestamp;

/// The number of packets in a row that came alone after which the worker asks for one.
const SINGLES_BEFORE_SINGLE: u32 = 4;
/// The most packets of a batch whose replies are always sent one by one.
///
/// With more of them the last ones would wait, if there is much load.
const ONE_BY_ONE: usize = 8;
/// The number of larger batches in a row after which the replies of another one are sent together.
const LARGE_BEFORE_TOGETHER: u32 = 2;

/// The pattern of the last packets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BatchSizer {
    /// The count of packets in a row that came alone, to a worker that waited for them.
    alone: u32,
    /// The count of large batches in a row.
    large: u32,
    /// The moment until which the worker was busy with the last ones.
    busy_until: NtpTimestamp,
}

impl BatchSizer {
    /// Returns the number of packets to ask for, `most` at most.
    pub(super) fn next(self, most: usize) -> usize {
        if self.alone < SINGLES_BEFORE_SINGLE {
            most
        } else {
            1
        }
    }

    /// As it is after many large batches.
    #[cfg(test)]
    pub(super) fn under_load() -> Self {
        Self {
            large: LARGE_BEFORE_TOGETHER,
            ..Self::default()
        }
    }

    /// Returns whether the replies to `received` packets are sent together.
    pub(super) fn sends_together(self, received: usize) -> bool {
        received > ONE_BY_ONE && self.large >= LARGE_BEFORE_TOGETHER
    }

    /// Learns from `received` packets that came together.
    ///
    /// The first of them came at `first_arrived_at`, and the worker was busy with them until `busy_until` (both by the
    /// host's clock). One that arrived while the worker was busy had to wait, and there may be more behind it.
    pub(super) fn learn(
        &mut self,
        received: usize,
        first_arrived_at: Option<NtpTimestamp>,
        busy_until: NtpTimestamp,
    ) {
        let waited = first_arrived_at.is_none_or(|stamp| !stamp.is_after(self.busy_until));
        self.alone = match received {
            1 if !waited => self.alone.saturating_add(1),
            _ => 0,
        };
        self.large = if received > ONE_BY_ONE {
            self.large.saturating_add(1)
        } else {
            0
        };
        self.busy_until = busy_until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> NtpTimestamp {
        NtpTimestamp::from_bits(seconds << 32)
    }

    /// A sizer after packets that came each second alone, and took half of it.
    fn quiet() -> BatchSizer {
        let mut batch_sizer = BatchSizer::default();
        for second in 1..=u64::from(SINGLES_BEFORE_SINGLE) {
            assert_eq!(batch_sizer.next(32), 32);
            let half = NtpTimestamp::from_bits(1 << 31) - at(0);
            batch_sizer.learn(1, Some(at(second)), at(second) + half);
        }
        assert_eq!(batch_sizer.next(32), 1);
        batch_sizer
    }

    #[test]
    fn those_that_come_alone_are_taken_alone_until_one_had_to_wait() {
        for waited in [Some(at(20)), Some(at(15)), None] {
            let mut batch_sizer = quiet();
            batch_sizer.learn(1, Some(at(10)), at(20));
            assert_eq!(batch_sizer.next(32), 1);
            batch_sizer.learn(1, waited, at(21));
            assert_eq!(batch_sizer.next(32), 32, "{waited:?}");
        }
    }

    /// Under load only: a large batch after small ones is answered one by one.
    #[test]
    fn replies_are_sent_together_while_all_batches_are_large() {
        let mut batch_sizer = BatchSizer::default();
        let mut together = Vec::new();
        for received in [30, 9, 1, 32, 8, 32, 32, 32, 9, 9, 8, 9] {
            together.push(batch_sizer.sends_together(received));
            batch_sizer.learn(received, None, at(1));
        }
        let expected = [7, 8, 9];
        assert!(
            (0..12).all(|place| together[place] == expected.contains(&place)),
            "{together:?}"
        );
    }

    #[test]
    fn two_together_end_the_custom() {
        let mut batch_sizer = quiet();
        batch_sizer.learn(2, Some(at(10)), at(11));
        assert_eq!(batch_sizer.next(7), 7);
    }
}
