//! Pure. The number of packets that a worker asks for.
//!
//! On a quiet server packets come alone, and then a call for one costs less.

use crate::time::NtpTimestamp;

/// The number of packets in a row that came alone after which the worker asks for one.
const SINGLES_BEFORE_SINGLE: u32 = 4;

/// The pattern of the last packets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BatchSizer {
    /// The count of packets in a row that came alone, to a worker that waited for them.
    alone: u32,
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

    #[test]
    fn two_together_end_the_custom() {
        let mut batch_sizer = quiet();
        batch_sizer.learn(2, Some(at(10)), at(11));
        assert_eq!(batch_sizer.next(7), 7);
    }
}
