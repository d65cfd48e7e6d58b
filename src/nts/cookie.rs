//! Pure. Cookies: both keys of an association, sealed, which the client keeps for us (RFC 8915 §6).
//!
//! `name 4 | nonce 16 | tag 16 | keys 64 or 32`: a cookie names the key that it is sealed with, and its length says
//! of which AEAD the keys are. All are sealed with AES-SIV-CMAC-256 whatever AEAD the client has, so that a change of
//! the order of AEADs changes no cookie.

use arrayvec::ArrayVec;
use zeroize::Zeroize;

use super::aead::{Algorithm, BATCH, Job, JobKey, TAG_LEN};
use super::keyring::{CookieKey, KeyName, Keyring};
use super::nonce::Nonces;
use super::{AssociationKeys, MOST_COOKIES};

const NONCE_LEN: usize = 16;

/// Length of a cookie without the keys in it, in bytes.
const HEAD_LEN: usize = KeyName::LEN + NONCE_LEN + TAG_LEN;

/// Length of a cookie with the keys of `algorithm`, in bytes: 100, or 68. A multiple of four.
pub const fn cookie_len(algorithm: Algorithm) -> usize {
    HEAD_LEN + 2 * algorithm.key_len()
}

/// The reason why a cookie can't be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieFault {
    /// The cookie is not from this server, or names a key that is no more accepted.
    Name,
    /// The cookie was not sealed with the key that it names.
    Forged,
}

/// A cookie that was opened.
#[derive(Clone, Debug)]
pub struct OpenedCookie {
    /// The keys in it.
    pub keys: AssociationKeys,
    /// The name of what it was sealed with.
    pub name: KeyName,
}

/// The parts of a cookie.
struct CookieParts<'a> {
    name: KeyName,
    nonce: &'a [u8; NONCE_LEN],
    tag: [u8; TAG_LEN],
    text: &'a [u8],
}

impl<'a> CookieParts<'a> {
    fn of(cookie: &'a [u8]) -> Option<Self> {
        let (name, rest) = cookie.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (tag, text) = rest.split_first_chunk()?;
        let is_ours = Algorithm::ALL
            .into_iter()
            .any(|algorithm| cookie.len() == cookie_len(algorithm));
        is_ours.then_some(Self {
            name: KeyName::from_bytes(*name),
            nonce,
            tag: *tag,
            text,
        })
    }
}

/// Opens at most [`BATCH`] cookies; the results stand in their order. Further ones have none.
//= RFC 8915 §6 format
pub fn open(keyring: &Keyring, cookies: &[&[u8]]) -> ArrayVec<Result<OpenedCookie, CookieFault>, BATCH> {
    let mut parts = ArrayVec::<_, BATCH>::new();
    for cookie in cookies.iter().take(BATCH) {
        parts.push(CookieParts::of(cookie));
    }
    let mut derived = ArrayVec::new();
    keyring.derive(parts.iter().flatten().map(|parts| parts.name), &mut derived);
    let mut texts = [[0; AssociationKeys::LONGEST]; BATCH];
    let mut jobs = ArrayVec::<_, BATCH>::new();
    let mut known = [false; BATCH];
    for ((parts, text), known) in parts.iter().zip(&mut texts).zip(&mut known) {
        let Some(parts) = parts else { continue };
        let Some(key) = keyring.find(parts.name, &derived) else {
            continue;
        };
        let text = text.get_mut(..parts.text.len()).unwrap_or_default();
        text.copy_from_slice(parts.text);
        *known = true;
        jobs.push(Job {
            key: key.key(),
            nonce: parts.nonce,
            text,
            tag: parts.tag,
        });
    }
    let mut genuine = JobKey::open(&mut jobs).into_iter();
    let mut jobs = jobs.into_iter();
    let mut opened = ArrayVec::new();
    for (parts, known) in parts.iter().zip(known) {
        opened.push(match (parts, known) {
            (Some(parts), true) => {
                let keys = jobs.next().and_then(|job| AssociationKeys::of(job.text));
                let genuine = genuine.next().unwrap_or_default();
                let opened = keys.map(|keys| OpenedCookie {
                    keys,
                    name: parts.name,
                });
                opened.filter(|_| genuine).ok_or(CookieFault::Forged)
            }
            (_, false) | (None, true) => Err(CookieFault::Name),
        });
    }
    drop(jobs);
    texts.as_flattened_mut().zeroize();
    opened
}

/// A place where a cookie is to be made.
#[derive(Debug)]
pub struct CookieSlot<'a> {
    /// The key that it is sealed with.
    pub key: &'a CookieKey,
    /// Its content.
    pub keys: &'a AssociationKeys,
    /// Its place: [`cookie_len`] bytes. In one of another length none is made.
    pub place: &'a mut [u8],
}

/// Makes cookies, no two of them alike.
//= RFC 8915 §6 format
pub fn seal(slots: &mut [CookieSlot<'_>], nonces: &mut Nonces) {
    for slots in slots.chunks_mut(BATCH) {
        let mut jobs = ArrayVec::<_, BATCH>::new();
        let mut tags = ArrayVec::<&mut [u8; TAG_LEN], BATCH>::new();
        for slot in slots {
            if slot.place.len() != cookie_len(slot.keys.algorithm()) {
                continue;
            }
            let Some((name, rest)) = slot.place.split_first_chunk_mut() else {
                continue;
            };
            let Some((nonce, rest)) = rest.split_first_chunk_mut::<NONCE_LEN>() else {
                continue;
            };
            let Some((tag, text)) = rest.split_first_chunk_mut() else {
                continue;
            };
            *name = slot.key.name().to_bytes();
            *nonce = nonces.next_nonce();
            text.copy_from_slice(slot.keys.bytes());
            tags.push(tag);
            jobs.push(Job {
                key: slot.key.key(),
                nonce,
                text,
                tag: [0; TAG_LEN],
            });
        }
        JobKey::seal(&mut jobs);
        for (tag, job) in tags.into_iter().zip(&jobs) {
            *tag = job.tag;
        }
    }
}

/// The cookies of a key establishment: [`MOST_COOKIES`], all of one length.
pub fn several(keyring: &Keyring, keys: &AssociationKeys, nonces: &mut Nonces) -> Vec<Vec<u8>> {
    let Some(key) = keyring.current() else {
        return Vec::new();
    };
    let mut cookies = vec![vec![0; cookie_len(keys.algorithm())]; MOST_COOKIES];
    let slot = |place| CookieSlot { key, keys, place };
    let mut slots: Vec<_> = cookies
        .iter_mut()
        .map(|cookie| slot(cookie.as_mut_slice()))
        .collect();
    seal(&mut slots, nonces);
    cookies
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::nts::keyring::{Period, Secret, Time};

    const DAY: Duration = Duration::from_secs(86_400);

    fn keyring(day: u64, time: Time) -> Keyring {
        let period = Period::at(DAY * u32::try_from(day).unwrap(), DAY);
        Keyring::new(&[Secret::new([1; 32])], period, 7, time).unwrap()
    }

    fn keys(length: usize, fill: u8) -> AssociationKeys {
        AssociationKeys::of(&vec![fill; length]).unwrap()
    }

    //= RFC 8915 §6 format
    #[test]
    fn cookies_open_and_no_two_are_alike() {
        let ring = keyring(20_775, Time::Vouched);
        let mut all = BTreeSet::new();
        let mut nonces = Nonces::new([9; 16]);
        for (length, expected) in [(64, 100), (32, 68)] {
            let keys = keys(length, 0xAB);
            for _ in 0..3 {
                let cookies = several(&ring, &keys, &mut nonces);
                assert_eq!(cookies.len(), 8);
                let borrowed: Vec<_> = cookies.iter().map(Vec::as_slice).collect();
                for (cookie, opened) in cookies.iter().zip(open(&ring, &borrowed)) {
                    assert_eq!(cookie.len(), expected);
                    assert!(!cookie.windows(8).any(|part| part == [0xAB; 8]));
                    let opened = opened.unwrap();
                    assert_eq!(opened.keys.bytes(), keys.bytes());
                    assert_eq!(opened.name, ring.current().unwrap().name());
                }
                all.extend(cookies);
            }
        }
        assert_eq!(all.len(), 48);
    }

    #[test]
    fn each_fault_has_its_name_and_each_cookie_its_own() {
        let ring = keyring(20_775, Time::Vouched);
        let mut nonces = Nonces::new([9; 16]);
        let cookies = several(&ring, &keys(64, 1), &mut nonces);
        let short = several(&ring, &keys(32, 1), &mut nonces);
        let old = several(&keyring(20_767, Time::Vouched), &keys(64, 1), &mut nonces);
        let kept = several(&keyring(20_768, Time::Vouched), &keys(64, 1), &mut nonces);
        let mut forged = cookies[1].clone();
        *forged.last_mut().unwrap() ^= 1;
        let mut renamed = cookies[2].clone();
        renamed[..4].copy_from_slice(&kept[0][..4]);
        let mut alien = cookies[3].clone();
        alien[0] ^= 1;
        let cut = &cookies[4][..68];
        let all: [&[u8]; 8] = [
            &cookies[0],
            &forged,
            &old[0],
            &kept[0],
            &renamed,
            &alien,
            &short[0],
            cut,
        ];
        let found: Vec<_> = open(&ring, &all)
            .into_iter()
            .map(|opened| opened.map(|_| ()))
            .collect();
        let (name, wrong) = (Err(CookieFault::Name), Err(CookieFault::Forged));
        assert_eq!(found, [Ok(()), wrong, name, Ok(()), wrong, name, Ok(()), wrong]);
        for length in 0..200 {
            let cookie = vec![cookies[0][0]; length];
            let opened = open(&ring, &[&cookie]).pop().unwrap().map(|_| ());
            let ours = matches!(length, 68 | 100);
            assert!(opened.is_err());
            assert!(ours || opened == Err(CookieFault::Name), "{length}");
        }
    }

    #[test]
    fn with_an_unknown_time_nobody_is_refused() {
        let mut nonces = Nonces::new([9; 16]);
        let right = keyring(20_775, Time::Vouched);
        let lost = keyring(0, Time::Unknown);
        let keys = keys(64, 1);
        let cookies = several(&right, &keys, &mut nonces);
        let opened = open(&lost, &[&cookies[0]]).pop().unwrap().unwrap();
        let mut place = [0; 100];
        let mut derived = ArrayVec::new();
        lost.derive([lost.renewed(opened.name)], &mut derived);
        let mut slot = [CookieSlot {
            key: lost.find(lost.renewed(opened.name), &derived).unwrap(),
            keys: &opened.keys,
            place: &mut place,
        }];
        seal(&mut slot, &mut nonces);
        // And what it gives is good elsewhere.
        assert!(open(&right, &[&place]).pop().unwrap().is_ok());
        assert_eq!(
            open(&keyring(0, Time::Vouched), &[&cookies[0]])
                .pop()
                .unwrap()
                .unwrap_err(),
            CookieFault::Name
        );
    }

    #[test]
    fn a_place_of_another_length_is_left_alone() {
        let ring = keyring(20_775, Time::Vouched);
        let keys = keys(64, 1);
        for length in (0..200).filter(|length| *length != 100) {
            let mut place = vec![0x11; length];
            let mut slot = [CookieSlot {
                key: ring.current().unwrap(),
                keys: &keys,
                place: &mut place,
            }];
            seal(&mut slot, &mut Nonces::new([9; 16]));
            assert!(place.iter().all(|&byte| byte == 0x11));
        }
    }

    proptest! {
        #[test]
        fn one_bit_makes_it_another(bit in 0_usize..800, short: bool) {
            let ring = keyring(20_775, Time::Vouched);
            let keys = keys(if short { 32 } else { 64 }, 0xAB);
            let mut cookie = several(&ring, &keys, &mut Nonces::new([9; 16])).remove(0);
            let bit = bit % (8 * cookie.len());
            cookie[bit / 8] ^= 1 << (bit % 8);
            let fault = open(&ring, &[&cookie]).pop().unwrap().unwrap_err();
            // Another period's name may be a known one.
            prop_assert!(fault == CookieFault::Forged || bit < 32);
        }
    }
}
