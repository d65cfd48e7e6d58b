//! Pure. AES-SIV-CMAC-256 (RFC 5297), for a batch.

use std::fmt;

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128Enc, Block};
use arrayvec::ArrayVec;
use zeroize::Zeroize;

use super::cmac::{Bytes16, Chain, MacKey, MacWords, run};
use super::{BATCH, Job, JobKey, genuine};

/// A key of AEAD 15: the MAC's half, and the cipher's.
pub type Halves = [[u8; 16]; 2];

/// The key of a [`Job`] of AEAD 15, used once, and what is authenticated and not encrypted.
#[derive(Clone, Copy)]
pub struct SivCmac<'a> {
    /// The key.
    pub key: &'a Halves,
    /// The associated data.
    pub associated: &'a [u8],
}

impl JobKey for SivCmac<'_> {
    fn seal(jobs: &mut [Job<'_, Self>]) -> bool {
        for jobs in jobs.chunks_mut(BATCH) {
            let tags = tags_once(jobs);
            for (job, tag) in jobs.iter_mut().zip(tags) {
                job.tag = tag;
                crypt_once(job);
            }
        }
        true
    }

    fn open(jobs: &mut [Job<'_, Self>]) -> [bool; BATCH] {
        let (jobs, _) = jobs.split_at_mut(jobs.len().min(BATCH));
        jobs.iter_mut().for_each(crypt_once);
        let tags = tags_once(jobs);
        genuine(jobs, &tags)
    }
}

/// A key of AEAD 15 that is set up, for many texts with the same associated data.
pub struct ReadySivCmac {
    /// The MAC's, and the cipher's.
    ciphers: [Aes128Enc; 2],
    words: MacWords,
    /// The state of S2V after the associated data.
    sum: u128,
}

impl ReadySivCmac {
    /// Sets up a key.
    pub fn new(key: &Halves, associated: &[u8]) -> Self {
        let ciphers = key.each_ref().map(|half| Aes128Enc::new(half.into()));
        let (mut words, mut sum) = (MacWords::default(), 0);
        if let Some(mac) = MacKey::derive(&ciphers).first() {
            words = mac.words();
            let mut chain = [mac.chain(associated)];
            run(&mut chain);
            let [chain] = chain;
            sum = MacKey::sum(words.zero, chain.result());
        }
        Self { ciphers, words, sum }
    }

    fn mac(&self) -> MacKey<'_> {
        let [mac, _] = &self.ciphers;
        MacKey::new(mac, self.words)
    }
}

/// The ciphers wipe themselves.
impl Drop for ReadySivCmac {
    fn drop(&mut self) {
        self.words.k1.zeroize();
        self.words.zero.zeroize();
        self.sum.zeroize();
    }
}

/// Says nothing of the secret.
impl fmt::Debug for ReadySivCmac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadySivCmac")
    }
}

impl JobKey for &ReadySivCmac {
    fn seal(jobs: &mut [Job<'_, Self>]) -> bool {
        for jobs in jobs.chunks_mut(BATCH) {
            let tags = tags_ready(jobs);
            for (job, tag) in jobs.iter_mut().zip(tags) {
                job.tag = tag;
                crypt_ready(job);
            }
        }
        true
    }

    fn open(jobs: &mut [Job<'_, Self>]) -> [bool; BATCH] {
        let (jobs, _) = jobs.split_at_mut(jobs.len().min(BATCH));
        jobs.iter_mut().for_each(crypt_ready);
        let tags = tags_ready(jobs);
        genuine(jobs, &tags)
    }
}

/// The tags of at most [`BATCH`] plaintexts.
fn tags_once(jobs: &[Job<'_, SivCmac<'_>>]) -> [Bytes16; BATCH] {
    let mut ciphers = ArrayVec::<_, BATCH>::new();
    // Pushed one by one, each is made where it stays.
    for job in jobs.iter().take(BATCH) {
        let [mac, _] = job.key.key;
        ciphers.push(Aes128Enc::new(mac.into()));
    }
    let macs = MacKey::derive(&ciphers);
    let mut chains = ArrayVec::<_, BATCH>::new();
    for (job, mac) in jobs.iter().zip(&macs) {
        chains.push(mac.chain(job.key.associated));
    }
    run(&mut chains);
    let sums = macs.iter().zip(&chains);
    let sums = sums.map(|(mac, chain)| MacKey::sum(mac.words().zero, chain.result()));
    tags(jobs, &macs, sums)
}

fn tags_ready(jobs: &[Job<'_, &ReadySivCmac>]) -> [Bytes16; BATCH] {
    let mut macs = ArrayVec::<_, BATCH>::new();
    for job in jobs.iter().take(BATCH) {
        macs.push(job.key.mac());
    }
    tags(jobs, &macs, jobs.iter().map(|job| job.key.sum))
}

/// The tags, after the associated data came to `sums`: the nonce is the last string before the text (RFC 5297 §3).
#[inline]
fn tags<K>(jobs: &[Job<'_, K>], macs: &[MacKey<'_>], sums: impl Iterator<Item = u128>) -> [Bytes16; BATCH] {
    let mut nonces = [Block::default(); BATCH];
    for ((job, mac), nonce) in jobs.iter().zip(macs).zip(&mut nonces) {
        *nonce = mac.of_nonce(job.nonce);
    }
    for (mac, nonce) in macs.iter().zip(&mut nonces) {
        mac.finish(nonce);
    }
    let mut chains = ArrayVec::<Chain<'_>, BATCH>::new();
    for (((job, mac), nonce), sum) in jobs.iter().zip(macs).zip(nonces).zip(sums) {
        chains.push(mac.last_chain(MacKey::sum(sum, nonce.into()), job.text));
    }
    run(&mut chains);
    let mut tags = [[0; 16]; BATCH];
    for (tag, chain) in tags.iter_mut().zip(&chains) {
        *tag = chain.result();
    }
    tags
}

/// Adds the key stream of the job's tag to its text: that encrypts and decrypts (RFC 5297 §2.5).
fn crypt_once(job: &mut Job<'_, SivCmac<'_>>) {
    if !job.text.is_empty() {
        let [_, cipher] = job.key.key;
        add_stream(&Aes128Enc::new(cipher.into()), job.tag, job.text);
    }
}

fn crypt_ready(job: &mut Job<'_, &ReadySivCmac>) {
    let [_, cipher] = &job.key.ciphers;
    add_stream(cipher, job.tag, job.text);
}

pub(super) fn add_stream(cipher: &Aes128Enc, tag: Bytes16, text: &mut [u8]) {
    // Two bits are left out of the first counter.
    let mut counter = u128::from_be_bytes(tag) & !(1 << 63 | 1 << 31);
    for part in text.chunks_mut(16 * BATCH) {
        let mut stream = [Block::default(); BATCH];
        let (stream, _) = stream.split_at_mut(part.len().div_ceil(16).min(BATCH));
        for block in &mut *stream {
            *block = counter.to_be_bytes().into();
            counter = counter.wrapping_add(1);
        }
        cipher.encrypt_blocks(stream);
        super::add(part, stream);
    }
}
