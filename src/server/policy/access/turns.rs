//! Pure. The points where "allowed" and "denied" take turns, and the look-up of an address among them.
//!
//! A search by halves takes a step for each bit of their number, and each step waits for memory. So the addresses from
//! the first point to the last are divided into parts of the same size, with a few points in each, or 4096 parts for a
//! long list, and the search is within one part. Where the points crowd together, it takes some steps more, never more than
//! without parts.

/// An address as a number.
pub(super) trait AddressNumber: Copy + Ord {
    /// The next address, if there is one.
    fn next(self) -> Option<Self>;

    /// Returns the number of the part in which `self` is, or `None` before the first part.
    ///
    /// They have 2^`size` addresses each, and begin with `first`.
    fn part(self, first: Self, size: u32) -> Option<usize>;

    /// Returns the number of bits of the distance from `first` to `self`; 0 before it.
    fn bits_from(self, first: Self) -> u32;
}

macro_rules! address_number {
    ($number:ty) => {
        impl AddressNumber for $number {
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }

            #[inline]
            fn part(self, first: Self, size: u32) -> Option<usize> {
                let part = self.checked_sub(first)?.checked_shr(size).unwrap_or(0);
                Some(usize::try_from(part).unwrap_or(usize::MAX))
            }

            fn bits_from(self, first: Self) -> u32 {
                Self::BITS - self.saturating_sub(first).leading_zeros()
            }
        }
    };
}
address_number!(u32);
address_number!(u128);

/// The least number of points that are worth parts.
const FEW: usize = 16;
/// The log2 of the most parts: they take 16 KiB, so they stay in the CPU's cache, and a long list is not much larger.
const MOST_PARTS: u32 = 12;

/// The points where "allowed" and "denied" take turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turns<T> {
    first: bool,
    starts: Vec<T>,
    /// The number of points before each part, and before the end of the last; empty where there are few points.
    before: Vec<u32>,
    /// The log2 of the number of addresses in a part.
    part_size: u32,
}

impl<T: AddressNumber> Turns<T> {
    /// Makes those of a list.
    ///
    /// `first` is whether the lowest address is allowed. From each of `starts` on, which rise, it is the other way around.
    pub(super) fn new(first: bool, starts: Vec<T>) -> Self {
        let (before, part_size) = parts(&starts);
        Self {
            first,
            starts,
            before,
            part_size,
        }
    }

    /// Whether the lowest address is allowed.
    pub(super) const fn first(&self) -> bool {
        self.first
    }

    /// Each address from which on it is the other way around, in rising order.
    pub(super) fn starts(&self) -> &[T] {
        &self.starts
    }

    /// Returns the memory that they take, in bytes.
    pub(super) fn memory(&self) -> usize {
        size_of_val(self.starts.as_slice()) + size_of_val(self.before.as_slice())
    }

    /// Returns whether `address` is allowed.
    #[inline]
    pub(super) fn allows(&self, address: T) -> bool {
        self.first ^ (self.passed(address) % 2 == 1)
    }

    /// Returns the number of points up to `address`.
    #[inline]
    fn passed(&self, address: T) -> usize {
        let Some(&lowest) = self.starts.first() else {
            return 0;
        };
        let Some(part) = address.part(lowest, self.part_size) else {
            return 0;
        };
        let before = |part: usize| self.before.get(part).map(|&count| count as usize);
        match (before(part), before(part.saturating_add(1))) {
            (Some(from), Some(to)) => {
                let points = self.starts.get(from..to).unwrap_or(&[]);
                from + points.partition_point(|start| *start <= address)
            }
            _ if self.before.is_empty() => self.starts.partition_point(|start| *start <= address),
            // It is behind the last part.
            _ => self.starts.len(),
        }
    }
}

/// Returns [`Turns::before`] and [`Turns::part_size`] of these points.
fn parts<T: AddressNumber>(starts: &[T]) -> (Vec<u32>, u32) {
    let (Some(&lowest), Some(&highest)) = (starts.first(), starts.last()) else {
        return (Vec::new(), 0);
    };
    if starts.len() < FEW || u32::try_from(starts.len()).is_err() {
        return (Vec::new(), 0);
    }
    let parts = (starts.len() / 2).ilog2().min(MOST_PARTS);
    let part_size = highest.bits_from(lowest).saturating_sub(parts);
    let part = |start: T| start.part(lowest, part_size).unwrap_or(0);
    let mut before = Vec::with_capacity(part(highest) + 2);
    before.push(0);
    let mut count = 0;
    for &start in starts {
        // All parts up to its own have begun, with what was counted so far.
        before.resize(part(start) + 1, count);
        count += 1;
    }
    before.push(count);
    (before, part_size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Asks at each point, beside it and at both ends.
    fn check<T: AddressNumber + std::fmt::Debug>(starts: &BTreeSet<T>, others: &[T]) {
        let turns = Turns::new(true, starts.iter().copied().collect());
        let after = starts.iter().filter_map(|start| start.next());
        for address in starts.iter().copied().chain(after).chain(others.iter().copied()) {
            let passed = starts.iter().filter(|start| **start <= address).count();
            assert_eq!(turns.passed(address), passed, "{address:?}");
            assert_eq!(turns.allows(address), passed % 2 == 0, "{address:?}");
        }
    }

    proptest! {
        #[test]
        fn as_many_are_passed_as_a_count_says(
            starts in prop::collection::btree_set(any::<u32>(), 0..200),
            others in prop::collection::vec(any::<u32>(), 20),
        ) {
            check(&starts, &others);
        }

        /// As they are: most in a few networks, some far from them.
        #[test]
        fn and_where_they_crowd(
            crowds in prop::collection::vec((any::<u128>(), 0_u32..100, 0_usize..80), 0..5),
            lone in prop::collection::vec(any::<u128>(), 0..5),
            others in prop::collection::vec(any::<u128>(), 20),
        ) {
            let mut starts: BTreeSet<u128> = lone.into_iter().collect();
            for (base, apart, count) in crowds {
                starts.extend((0..count).map(|number| base.wrapping_add(u128::try_from(number).unwrap() << apart)));
            }
            check(&starts, &others);
            let short = starts.iter().map(|start| u32::try_from(start >> 96).unwrap()).collect();
            check(&short, &others.iter().map(|other| u32::try_from(other >> 96).unwrap()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn at_the_ends_of_all_addresses() {
        for count in [0, 1, 15, 16, 17, 4000] {
            let spread = u32::MAX / (count + 1);
            let mut starts: BTreeSet<u32> = (0..count).map(|number| number * spread).collect();
            check(&starts, &[0, 1, u32::MAX - 1, u32::MAX]);
            starts.insert(u32::MAX);
            check(&starts, &[0, 1, u32::MAX - 1, u32::MAX]);
        }
    }

    #[test]
    fn parts_have_few_points_and_take_little_memory() {
        for (count, apart, most) in [(2000_u32, 2_000_000, 8), (1_000_000, 4000, 600)] {
            let turns = Turns::new(false, (0..count).map(|number| number * apart).collect());
            let fullest = turns.before.windows(2).map(|pair| pair[1] - pair[0]).max();
            assert!(fullest <= Some(most), "{fullest:?}");
            let beside = turns.memory() - 4 * usize::try_from(count).unwrap();
            assert!(beside <= (16 << 10) + 8, "{beside}");
        }
    }
}
