//! Pure. CMAC (RFC 4493) of several messages at once, and the sums that S2V makes of them (RFC 5297 §2.4).

use aes::cipher::common::BlockSizeUser;
use aes::cipher::consts::U16;
use aes::cipher::{BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt};
use aes::{Aes128Enc, Block};
use arrayvec::ArrayVec;

use super::BATCH;

/// Sixteen bytes.
pub(super) type Bytes16 = [u8; 16];

/// A key of CMAC, and what follows from it.
#[derive(Clone, Copy)]
pub(super) struct MacKey<'a> {
    cipher: &'a Aes128Enc,
    words: MacWords,
}

/// The values that follow from a key.
#[derive(Clone, Copy, Default)]
pub(super) struct MacWords {
    /// K1 of RFC 4493 §2.3; K2 is its double.
    pub(super) k1: u128,
    /// The CMAC of sixteen zeros, which S2V begins with.
    pub(super) zero: u128,
}

impl<'a> MacKey<'a> {
    /// Of a cipher whose words are known.
    pub(super) const fn new(cipher: &'a Aes128Enc, words: MacWords) -> Self {
        Self { cipher, words }
    }

    /// Of several ciphers, side by side; at most [`BATCH`].
    #[inline]
    pub(super) fn derive(ciphers: &'a [Aes128Enc]) -> ArrayVec<Self, BATCH> {
        let mut blocks = [Block::default(); BATCH];
        for (cipher, block) in ciphers.iter().zip(&mut blocks) {
            cipher.encrypt_block(block);
        }
        let mut keys = ArrayVec::new();
        for (cipher, block) in ciphers.iter().zip(&mut blocks) {
            let k1 = double(u128::from_be_bytes((*block).into()));
            *block = k1.to_be_bytes().into();
            cipher.encrypt_block(block);
            let words = MacWords { k1, zero: 0 };
            keys.push(Self { cipher, words });
        }
        for (key, block) in keys.iter_mut().zip(blocks) {
            key.words.zero = u128::from_be_bytes(block.into());
        }
        keys
    }

    /// The values that follow from the key.
    pub(super) const fn words(&self) -> MacWords {
        self.words
    }

    /// The state of S2V after a string whose CMAC is `mac` (RFC 5297 §2.4).
    pub(super) const fn sum(sum: u128, mac: Bytes16) -> u128 {
        double(sum) ^ u128::from_be_bytes(mac)
    }

    /// The chain that gives the CMAC of `message`.
    #[inline]
    pub(super) fn chain(self, message: &'a [u8]) -> Chain<'a> {
        let (blocks, rest) = message.as_chunks::<16>();
        match blocks.split_last() {
            Some((last, body)) if rest.is_empty() => {
                Chain::new(self, body, u128::from_be_bytes(*last) ^ self.words.k1)
            }
            Some(_) | None => Chain::new(self, blocks, padded(rest) ^ double(self.words.k1)),
        }
    }

    /// The last block of the chain of a nonce, all before it done: a nonce is hardly ever longer than one block.
    #[inline]
    pub(super) fn of_nonce(self, nonce: &[u8]) -> Block {
        match nonce.try_into() {
            Ok(whole) => (u128::from_be_bytes(whole) ^ self.words.k1).to_be_bytes().into(),
            Err(_) => {
                let mut chain = self.chain(nonce);
                let body = chain.body;
                body.iter().for_each(|block| chain.add(*block));
                xor(chain.state, chain.last).into()
            }
        }
    }

    /// The end of such a chain.
    #[inline]
    pub(super) fn finish(self, last: &mut Block) {
        self.cipher.encrypt_block(last);
    }

    /// The chain that gives the tag of S2V for `text`, after the others came to `sum`.
    #[inline]
    pub(super) fn last_chain(self, sum: u128, text: &'a [u8]) -> Chain<'a> {
        // The sum is added to the last sixteen bytes, wherever blocks begin.
        let Some((before, end)) = text.split_last_chunk::<16>() else {
            return Chain::new(self, &[], padded(text) ^ double(sum) ^ self.words.k1);
        };
        let end = u128::from_be_bytes(*end) ^ sum;
        let (body, cut) = before.as_chunks::<16>();
        // As many bits are in the block that both share.
        let bits = 8 * u32::try_from(cut.len()).unwrap_or_default();
        if bits == 0 {
            return Chain::new(self, body, end ^ self.words.k1);
        }
        let middle = number(cut) << (128 - bits) | end >> bits;
        let last = end << (128 - bits) | 1 << (127 - bits);
        Chain {
            middle: Some(middle.to_be_bytes()),
            ..Chain::new(self, body, last ^ double(self.words.k1))
        }
    }
}

/// A CMAC as it advances: whole blocks of the message, perhaps one that was made, and the last.
#[derive(Clone, Copy)]
pub(super) struct Chain<'a> {
    cipher: &'a Aes128Enc,
    body: &'a [Bytes16],
    middle: Option<Bytes16>,
    last: Bytes16,
    state: Bytes16,
}

impl<'a> Chain<'a> {
    const fn new(key: MacKey<'a>, body: &'a [Bytes16], last: u128) -> Self {
        Self {
            cipher: key.cipher,
            body,
            middle: None,
            last: last.to_be_bytes(),
            state: [0; 16],
        }
    }

    /// The result.
    pub(super) const fn result(&self) -> Bytes16 {
        self.state
    }

    #[inline]
    fn add(&mut self, block: Bytes16) {
        let mut state = xor(self.state, block).into();
        self.cipher.encrypt_block(&mut state);
        self.state = state.into();
    }
}

/// Lets the chains advance together: each step of one hides the waiting of the others.
#[inline]
pub(super) fn run(chains: &mut [Chain<'_>]) {
    if let [alone] = chains {
        alone.cipher.encrypt_with_backend(Alone(alone));
        return;
    }
    let longest = chains.iter().map(|chain| chain.body.len()).max();
    for number in 0..longest.unwrap_or_default() {
        for chain in &mut *chains {
            if let Some(block) = chain.body.get(number) {
                chain.add(*block);
            }
        }
    }
    for chain in &mut *chains {
        if let Some(block) = chain.middle {
            chain.add(block);
        }
    }
    for chain in chains {
        chain.add(chain.last);
    }
}

/// A chain that advances alone, inside the cipher's own code: there is no call for each block.
struct Alone<'a, 'b>(&'b mut Chain<'a>);

impl BlockSizeUser for Alone<'_, '_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Alone<'_, '_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let Self(chain) = self;
        let mut state = chain.state;
        let mut add = |block| {
            let mut sum: Block = xor(state, block).into();
            backend.encrypt_block((&mut sum).into());
            state = sum.into();
        };
        chain.body.iter().for_each(|block| add(*block));
        chain.middle.into_iter().for_each(&mut add);
        add(chain.last);
        chain.state = state;
    }
}

/// `dbl` of RFC 5297 §2.3. Without a branch: what is doubled is secret.
pub(super) const fn double(value: u128) -> u128 {
    (value << 1) ^ (0x87 & 0_u128.wrapping_sub(value >> 127))
}

/// Less than sixteen bytes, with a one and zeros behind them (RFC 4493 §2.4).
#[inline]
fn padded(rest: &[u8]) -> u128 {
    let bits = 8 * u32::try_from(rest.len()).unwrap_or_default();
    number(rest).checked_shl(128 - bits).unwrap_or_default() | 1 << (127 - bits)
}

/// Less than sixteen bytes as a number. In registers: a block that were written in pieces would be waited for.
#[inline]
fn number(rest: &[u8]) -> u128 {
    let (words, bytes) = rest.as_chunks::<4>();
    let number = words.iter().fold(0, |number, word| {
        number << 32 | u128::from(u32::from_be_bytes(*word))
    });
    bytes
        .iter()
        .fold(number, |number, byte| number << 8 | u128::from(*byte))
}

/// Of values, not of places: so it is one instruction.
#[inline]
fn xor(mut one: Bytes16, other: Bytes16) -> Bytes16 {
    one.iter_mut().zip(other).for_each(|(one, other)| *one ^= other);
    one
}
