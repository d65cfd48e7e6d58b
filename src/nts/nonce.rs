//! Pure. Nonces: numbers that never come twice, from a seed that is random.

use std::fmt;

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128Enc, Block};
use zeroize::Zeroize;

use super::aead::BATCH;

/// A source of nonces.
///
/// A cipher makes them of a counter, so none comes twice from one source within 2^128, and those of two sources with
/// different seeds are as good as random.
pub struct Nonces {
    cipher: Aes128Enc,
    counter: u128,
    /// The next ones, the last first.
    made: [Block; BATCH],
    left: usize,
}

impl Nonces {
    /// A source; `seed` is random, and used for nothing else.
    pub fn new(mut seed: [u8; 16]) -> Self {
        let cipher = Aes128Enc::new((&seed).into());
        seed.zeroize();
        Self {
            cipher,
            counter: 0,
            made: [Block::default(); BATCH],
            left: 0,
        }
    }

    /// The next nonce. Where fewer bytes are needed, the first are taken.
    pub fn next_nonce(&mut self) -> [u8; 16] {
        if self.left == 0 {
            for block in &mut self.made {
                *block = self.counter.to_be_bytes().into();
                self.counter = self.counter.wrapping_add(1);
            }
            self.cipher.encrypt_blocks(&mut self.made);
            self.left = self.made.len();
        }
        self.left -= 1;
        self.made.get(self.left).copied().unwrap_or_default().into()
    }
}

/// Says nothing of what comes next.
impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonces")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn none_comes_twice_and_another_seed_gives_others() {
        let mut all = BTreeSet::new();
        for seed in 0..4 {
            let mut nonces = Nonces::new([seed; 16]);
            all.extend((0..1001).map(|_| nonces.next_nonce()));
        }
        assert_eq!(all.len(), 4 * 1001);
        // The first twelve bytes, too.
        let short: BTreeSet<_> = all.iter().map(|nonce| &nonce[..12]).collect();
        assert_eq!(short.len(), all.len());
    }

    #[test]
    fn printed_it_says_nothing() {
        assert_eq!(format!("{:?}", Nonces::new([7; 16])), "Nonces");
    }
}
