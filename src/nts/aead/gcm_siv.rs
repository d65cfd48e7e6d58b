//! Pure. AES-128-GCM-SIV (RFC 8452).

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128Enc, Block};
use polyval::Polyval;
use polyval::universal_hash::UniversalHash;
use zeroize::Zeroize;

use super::cmac::Bytes16;
use super::{BATCH, Job, JobKey, TAG_LEN, genuine};

/// The key of a [`Job`] of AEAD 30, used once, and what is authenticated and not encrypted.
#[derive(Clone, Copy)]
pub struct GcmSiv<'a> {
    /// The key.
    pub key: &'a [u8; 16],
    /// The associated data.
    pub associated: &'a [u8],
}

impl JobKey for GcmSiv<'_> {
    fn seal(jobs: &mut [Job<'_, Self>]) -> bool {
        let mut done = true;
        for job in jobs {
            match GcmSivKeys::derive(job.key.key, job.nonce) {
                Some(keys) => {
                    job.tag = keys.tag(job.key.associated, job.text);
                    keys.add_stream(job.tag, job.text);
                }
                None => done = false,
            }
        }
        done
    }

    fn open(jobs: &mut [Job<'_, Self>]) -> [bool; BATCH] {
        let mut tags = [[0; TAG_LEN]; BATCH];
        let mut possible = [false; BATCH];
        let (jobs, _) = jobs.split_at_mut(jobs.len().min(BATCH));
        for ((job, tag), possible) in jobs.iter_mut().zip(&mut tags).zip(&mut possible) {
            if let Some(keys) = GcmSivKeys::derive(job.key.key, job.nonce) {
                keys.add_stream(job.tag, job.text);
                *tag = keys.tag(job.key.associated, job.text);
                *possible = true;
            }
        }
        let mut genuine = genuine(jobs, &tags);
        for ((job, genuine), possible) in jobs.iter_mut().zip(&mut genuine).zip(possible) {
            if !possible {
                // The tag that it was compared with is none.
                job.text.zeroize();
                *genuine = false;
            }
        }
        genuine
    }
}

/// The cipher and the hash that are derived for one nonce. Both wipe themselves.
struct GcmSivKeys {
    hash: Polyval,
    cipher: Aes128Enc,
    /// Its twelve bytes, as a number of which the first is the least.
    nonce: u128,
}

impl GcmSivKeys {
    /// RFC 8452 §4: of each of four blocks the first half is used.
    fn derive(key: &Bytes16, nonce: &[u8]) -> Option<Self> {
        let nonce: [u8; 12] = nonce.try_into().ok()?;
        let [a, b, c, d, e, f, g, h, i, j, k, l] = nonce;
        let nonce = u128::from_le_bytes([a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 0]);
        let mut blocks = [0_u32, 1, 2, 3].map(|counter| {
            let word = u128::from(counter) | nonce << 32;
            Block::from(word.to_le_bytes())
        });
        Aes128Enc::new(key.into()).encrypt_blocks(&mut blocks);
        let [a, b, c, d] = blocks;
        Some(Self {
            hash: Polyval::new(&joined(a, b)),
            cipher: Aes128Enc::new(&joined(c, d)),
            nonce,
        })
    }

    /// RFC 8452 §4: POLYVAL of both texts and their lengths, with the nonce, encrypted.
    fn tag(&self, associated: &[u8], plaintext: &[u8]) -> Bytes16 {
        let bits = |text: &[u8]| u64::try_from(text.len()).unwrap_or(u64::MAX).wrapping_mul(8);
        let lengths = u128::from(bits(associated)) | u128::from(bits(plaintext)) << 64;
        let mut hash = self.hash.clone();
        hash.update_padded(associated);
        hash.update_padded(plaintext);
        hash.update(&[lengths.to_le_bytes().into()]);
        let sum = u128::from_le_bytes(hash.finalize().into());
        let mut block = Block::from(((sum ^ self.nonce) & !(1 << 127)).to_le_bytes());
        self.cipher.encrypt_block(&mut block);
        block.into()
    }

    fn add_stream(&self, tag: Bytes16, text: &mut [u8]) {
        // The first four bytes count; the last bit is always set.
        let [a, b, c, d, ..] = tag;
        let mut counter = u32::from_le_bytes([a, b, c, d]);
        let rest = u128::from_le_bytes(tag) & !u128::from(u32::MAX) | 1 << 127;
        for part in text.chunks_mut(16 * BATCH) {
            let mut stream = [Block::default(); BATCH];
            let (stream, _) = stream.split_at_mut(part.len().div_ceil(16).min(BATCH));
            for block in &mut *stream {
                let word = u128::from(counter) | rest;
                *block = word.to_le_bytes().into();
                counter = counter.wrapping_add(1);
            }
            self.cipher.encrypt_blocks(stream);
            super::add(part, stream);
        }
    }
}

/// The first halves of two blocks.
fn joined(one: Block, other: Block) -> Block {
    let [one, other] = [one, other].map(|block| u128::from_le_bytes(block.into()));
    Block::from((one & u128::from(u64::MAX) | other << 64).to_le_bytes())
}
