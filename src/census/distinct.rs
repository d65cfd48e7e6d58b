//! Pure. The number of different clients, without remembering any: HyperLogLog.
//!
//! The sketch is that of Flajolet, Fusy, Gandouet and Meunier (2007), with Ertl's estimator (arXiv:1702.01284,
//! algorithm 6), which needs no tables of corrections.

/// The bits of a hash that choose a register.
const BITS: u32 = 12;
const REGISTERS: usize = 1 << BITS;
/// The largest rank that the other bits can have.
const RANKS: usize = 53;

/// The relative standard error of an estimate: 1.04/√registers.
pub(super) const RELATIVE_ERROR: f64 = 0.01625;

/// A sketch of 4 KiB, whatever it has seen.
#[derive(Clone, Debug)]
pub(super) struct Distinct([u8; REGISTERS]);

impl Distinct {
    pub(super) const fn new() -> Self {
        Self([0; REGISTERS])
    }

    /// Notes a client by its hash.
    pub(super) fn note(&mut self, hash: u64) {
        let register = usize::try_from(hash >> (64 - BITS)).unwrap_or(0);
        let rank = u8::try_from(1 + (hash << BITS | 1 << (BITS - 1)).leading_zeros()).unwrap_or(u8::MAX);
        if let Some(highest) = self.0.get_mut(register)
            && *highest < rank
        {
            *highest = rank;
        }
    }

    /// Adds all that `other` saw.
    pub(super) fn unite(&mut self, other: &Self) {
        for (highest, rank) in self.0.iter_mut().zip(&other.0) {
            *highest = (*highest).max(*rank);
        }
    }

    /// Estimates the number of different hashes that it saw.
    pub(super) fn estimate(&self) -> f64 {
        let mut ranks = [0_u32; RANKS + 1];
        for &rank in &self.0 {
            if let Some(count) = ranks.get_mut(usize::from(rank)) {
                *count += 1;
            }
        }
        let [untouched, seen @ ..] = ranks;
        let registers = f64::from(1 << BITS);
        let seen = seen
            .iter()
            .rev()
            .fold(0.0, |sum, &count| 0.5 * (sum + f64::from(count)));
        let sum = seen + registers * sigma(f64::from(untouched) / registers);
        registers * registers / (2.0 * std::f64::consts::LN_2 * sum)
    }
}

/// Returns x + Σ x^(2^k) 2^(k-1), where x is the share of untouched registers.
fn sigma(mut share: f64) -> f64 {
    if share >= 1.0 {
        return f64::INFINITY;
    }
    let (mut sum, mut weight) = (share, 1.0);
    loop {
        share *= share;
        let before = sum;
        sum += share * weight;
        weight += weight;
        if sum <= before {
            return sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hasher;
    use proptest::prelude::*;

    fn of(seed: u64, addresses: impl Iterator<Item = u128>) -> Distinct {
        let (mut distinct, hasher) = (Distinct::new(), Hasher::new(seed));
        addresses.for_each(|address| distinct.note(hasher.hash(address)));
        distinct
    }

    fn sequential(count: u32) -> impl Iterator<Item = u128> {
        (0..count).map(|n| 0xFFFF_0A00_0000 + u128::from(n))
    }

    /// An address in each /48 of a row, as a sender would use that wants to look like many.
    fn networks(count: u32) -> impl Iterator<Item = u128> {
        (0..count).map(|n| (0x2001_0000_0000 + u128::from(n)) << 80)
    }

    #[test]
    fn the_error_is_what_it_says_at_every_size() {
        for count in [1, 10, 300, 4000, 10_000, 30_000, 200_000] {
            let seeds = if count > 50_000 { 4 } else { 24 };
            let (mut sum, mut squares) = (0.0, 0.0_f64);
            for seed in 0..seeds {
                for estimate in [
                    of(seed, sequential(count)).estimate(),
                    of(!seed, networks(count)).estimate(),
                ] {
                    let error = estimate / f64::from(count) - 1.0;
                    sum += error;
                    squares += error * error;
                    assert!(
                        error.abs() < 4.5 * RELATIVE_ERROR,
                        "{count} by {seed}: {estimate}"
                    );
                }
            }
            let samples = 2.0 * f64::from(u32::try_from(seeds).unwrap());
            let (mean, deviation) = (sum / samples, (squares / samples).sqrt());
            assert!(deviation < 1.4 * RELATIVE_ERROR, "{count}: {deviation}");
            let biased = 4.0 * RELATIVE_ERROR / samples.sqrt();
            assert!(mean.abs() < biased, "{count}: {mean}");
        }
    }

    #[test]
    fn no_client_is_zero_and_none_counts_twice() {
        assert!(Distinct::new().estimate() < 0.001);
        let once = of(1, sequential(500)).estimate();
        let thrice = of(1, (0..3).flat_map(|_| sequential(500))).estimate();
        assert_eq!(once.to_bits(), thrice.to_bits());
    }

    #[test]
    fn every_hash_has_a_register_and_a_rank() {
        for hash in [0, 1, u64::MAX, 1 << 63, (1 << 52) - 1, 1 << 52] {
            let mut distinct = Distinct::new();
            distinct.note(hash);
            assert!((0.9..1.1).contains(&distinct.estimate()), "{hash:x}");
        }
    }

    proptest! {
        #[test]
        fn a_union_has_seen_what_its_parts_saw(seed: u64, one in 0..3000_u32, other in 0..3000_u32) {
            let mut united = of(seed, sequential(one));
            united.unite(&of(seed, sequential(other)));
            prop_assert_eq!(united.0, of(seed, sequential(one.max(other))).0);
        }
    }
}
