//! Pure. The AEADs of NTS, for a batch of packets under different keys.
//!
//! They are AES-SIV-CMAC-256 (RFC 5297) and AES-128-GCM-SIV (RFC 8452).
//!
//! The block cipher and the field of POLYVAL are crates' (`aes`, `polyval`): constant-time, on the processor's own
//! instructions, and in portable code where it has none. Ours is how they are put together: a CMAC is a chain in
//! which each block waits for the last, so the chains of [`BATCH`] packets advance side by side, and hide each
//! other's waiting.

mod cmac;
mod gcm_siv;
mod siv;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

pub use gcm_siv::GcmSiv;
pub use siv::{Halves, ReadySivCmac, SivCmac};

/// As many packets are worked on at once.
pub const BATCH: usize = 8;

/// Length of the tag of both AEADs, in bytes.
pub const TAG_LEN: usize = 16;

/// An AEAD that can be negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// 15: the one that all implementations have (RFC 8915 §5.1).
    SivCmac256,
    /// 30: shorter keys, so shorter cookies.
    GcmSiv128,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::SivCmac256, Self::GcmSiv128];

    /// The one that IANA numbers `id`.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.id() == id)
    }

    /// IANA's number.
    //= RFC 8915 §5.1 mandatory
    pub const fn id(self) -> u16 {
        match self {
            Self::SivCmac256 => 15,
            Self::GcmSiv128 => 30,
        }
    }

    /// The name, as an operator writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SivCmac256 => "aes-siv-cmac-256",
            Self::GcmSiv128 => "aes-128-gcm-siv",
        }
    }

    /// Length of a key, in bytes.
    pub const fn key_len(self) -> usize {
        match self {
            Self::SivCmac256 => 32,
            Self::GcmSiv128 => 16,
        }
    }

    /// Length of the nonces that we make, in bytes. AEAD 30 takes no others; AEAD 15 takes any.
    pub const fn nonce_len(self) -> usize {
        match self {
            Self::SivCmac256 => 16,
            Self::GcmSiv128 => 12,
        }
    }
}

/// The means to seal a text: a key, and the bytes that are authenticated beside the text.
pub trait JobKey: Sized {
    /// Encrypts the texts of `jobs` and finds their tags.
    ///
    /// False if the nonce of one was of an impossible length; of that one nothing may be sent.
    fn seal(jobs: &mut [Job<'_, Self>]) -> bool;

    /// Decrypts the texts of at most [`BATCH`] jobs, and returns for each whether it is genuine.
    ///
    /// Further jobs are left alone, and are not genuine. A text that is not genuine is overwritten with zeros.
    fn open(jobs: &mut [Job<'_, Self>]) -> [bool; BATCH];
}

/// A text to be sealed or opened. Not to be printed: the text may be keys.
pub struct Job<'a, K> {
    /// Under which key.
    pub key: K,
    /// The nonce: 12 bytes for AEAD 30, any number for AEAD 15.
    pub nonce: &'a [u8],
    /// Plaintext, to be encrypted in place; or ciphertext without its tag, to be decrypted.
    pub text: &'a mut [u8],
    /// The tag: found by sealing, compared by opening.
    pub tag: [u8; TAG_LEN],
}

/// Compares the tags that jobs have with those that they should have.
fn genuine<K>(jobs: &mut [Job<'_, K>], tags: &[[u8; TAG_LEN]]) -> [bool; BATCH] {
    let mut genuine = [false; BATCH];
    for ((job, tag), genuine) in jobs.iter_mut().zip(tags).zip(&mut genuine) {
        let [said, tag] = [job.tag, *tag].map(u128::from_ne_bytes);
        *genuine = said.ct_eq(&tag).into();
        if !*genuine {
            job.text.zeroize();
        }
    }
    genuine
}

/// Adds a key stream to a text of at most as many bytes.
fn add(text: &mut [u8], stream: &[aes::Block]) {
    let (whole, rest) = text.as_chunks_mut::<16>();
    let mut stream = stream.iter();
    for (text, stream) in whole.iter_mut().zip(&mut stream) {
        let (mut sum, stream): ([u8; 16], [u8; 16]) = (*text, (*stream).into());
        sum.iter_mut()
            .zip(stream)
            .for_each(|(text, stream)| *text ^= stream);
        *text = sum;
    }
    if let Some(stream) = stream.next() {
        rest.iter_mut()
            .zip(stream)
            .for_each(|(text, stream)| *text ^= stream);
    }
}

#[cfg(test)]
mod tests;
