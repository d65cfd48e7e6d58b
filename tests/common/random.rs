//! A small seeded generator (splitmix64): the same seed gives the same packets.

use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) struct Random(u64);

impl Random {
    /// From `NTPFRONT_SEED`, or a new seed each time; it is printed, and the harness shows that on failure.
    pub(crate) fn seeded() -> Self {
        let seed = std::env::var("NTPFRONT_SEED")
            .ok()
            .map(|text| text.parse().expect("NTPFRONT_SEED is a whole number"))
            .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
        println!("replay with NTPFRONT_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Evenly from 0 to `end` - 1.
    pub(crate) fn below(&mut self, end: u64) -> usize {
        usize::try_from(self.next() % end).unwrap()
    }

    /// Fills `bytes`.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let length = chunk.len();
            chunk.copy_from_slice(&self.next().to_be_bytes()[..length]);
        }
    }
}
