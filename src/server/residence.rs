//! Pure. The times of requests in the server, as a histogram whose buckets double: a shift and two additions a packet.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::time::NtpDuration;

/// The first bucket holds up to 2^12 units of 2^-32 s.
const FIRST_LOG2: u32 = 12;

/// Times in the server, counted by their magnitude.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Residence {
    pub(super) counts: [u64; Residence::BUCKETS],
    /// All times together, in units of 2^-32 s.
    pub(super) sum: u64,
}

/// A time before 0 (the host's clock was stepped) counts as none.
pub(super) fn units(time: NtpDuration) -> u64 {
    u64::try_from(time.to_units()).unwrap_or(0)
}

/// Returns the number of the bucket that holds `time`.
pub(super) fn bucket(time: NtpDuration) -> usize {
    let log2 = units(time)
        .saturating_sub(1)
        .checked_ilog2()
        .map_or(0, |log2| log2 + 1);
    let index = usize::try_from(log2.saturating_sub(FIRST_LOG2)).unwrap_or(Residence::BUCKETS);
    index.min(Residence::BUCKETS - 1)
}

impl Residence {
    /// The number of buckets: up to 2^-20 s (about a microsecond), up to 2^-19 s, ..., up to 1 s, and longer.
    pub const BUCKETS: usize = 22;

    /// Returns the sum of both.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        add_all(&mut self.counts, &other.counts);
        self.sum = self.sum.wrapping_add(other.sum);
        self
    }

    /// All times together, in seconds.
    #[expect(
        clippy::cast_precision_loss,
        reason = "the last unit of a sum does not matter"
    )]
    pub fn seconds(&self) -> f64 {
        self.sum as f64 / f64::from(32_u8).exp2()
    }

    /// Returns the count of all times.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each bucket: the longest time that it holds, in seconds (infinite for the last), and how many are in it.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = (-20..=0).map(|log2| f64::from(log2).exp2());
        bounds.chain([f64::INFINITY]).zip(self.counts)
    }
}

/// An object with `count`, `sum` in seconds, and `buckets`.
///
/// The buckets are counts from up to 2^-20 s to up to 1 s and longer, each twice as wide as the one before.
impl Serialize for Residence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Residence", 3)?;
        fields.serialize_field("count", &self.count())?;
        fields.serialize_field("sum", &self.seconds())?;
        fields.serialize_field("buckets", &self.counts)?;
        fields.end()
    }
}

/// Adds each of `more` to its counterpart.
pub(super) fn add_all(counts: &mut [u64], more: &[u64]) {
    for (count, more) in counts.iter_mut().zip(more) {
        *count = count.wrapping_add(*more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_holds_up_to_its_bound() {
        let bounds: Vec<f64> = Residence::default().buckets().map(|(bound, _)| bound).collect();
        assert_eq!((bounds.len(), bounds[20]), (Residence::BUCKETS, 1.0));
        for (index, bound) in bounds.iter().enumerate().take(Residence::BUCKETS - 1) {
            let at = NtpDuration::from_seconds(*bound);
            assert_eq!(bucket(at), index, "{bound}");
            assert_eq!(bucket(at + NtpDuration::from_units(1)), index + 1, "{bound}");
        }
        assert_eq!(bucket(NtpDuration::from_units(i64::MAX)), Residence::BUCKETS - 1);
        assert_eq!(bucket(NtpDuration::from_units(i64::MIN)), 0);
    }
}
