//! Pure. Small random numbers for draws: fast, from a seed, and good enough where no one gains by guessing one.

/// A probability, from never to always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probability(u32);

impl Probability {
    /// A probability of 0: never.
    pub const NONE: Self = Self(0);

    /// Makes a probability of a part of 1; below 0 it counts as 0, above 1 as 1.
    pub fn of(part: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast from float to integer saturates, and a NaN is 0"
        )]
        Self((part * 4_294_967_296.0) as u32)
    }

    /// Returns it in terms of 2^32, which is all of them.
    pub const fn in_2_32nds(self) -> u32 {
        self.0
    }
}

/// A generator of random numbers (xorshift64*: Marsaglia 2003, multiplied as Vigna 2016 proposes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random(u64);

impl Random {
    /// Makes a generator that goes its own way for each `seed`.
    pub fn new(seed: u64) -> Self {
        // From 0 it would never move.
        Self(seed | 1 << 63)
    }

    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        u32::try_from(mixed).unwrap_or(u32::MAX)
    }

    /// Draws: returns `true` in this share of all draws.
    pub fn sample(&mut self, probability: Probability) -> bool {
        probability != Probability::NONE && self.next() <= probability.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lots_fall_as_often_as_they_shall() {
        for (part, low, high) in [
            (-1.0, 0, 0),
            (0.0, 0, 0),
            (0.01, 800, 1200),
            (0.25, 24_000, 26_000),
            (1.0, 100_000, 100_000),
            (7.0, 100_000, 100_000),
            (f64::NAN, 0, 0),
        ] {
            let mut random = Random::new(0);
            let drawn = (0..100_000)
                .filter(|_| random.sample(Probability::of(part)))
                .count();
            assert!((low..=high).contains(&drawn), "{part}: {drawn}");
        }
    }
}
