//! Impure. The times when replies left, by the receive timestamps in them, in a table that a listener's workers share.
//!
//! The key is our own receive timestamp, which the client has to echo, and no address or port: so two clients behind one
//! address are told apart, and a client may meet another worker each time. The client's address has to agree all the same:
//! no other client is told when its reply left, or makes its entry useless. No thread ever waits for another.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::place::{EMPTY, OWNED, SavedPair};
use crate::hash::{Hasher, mapped};
use crate::time::{NtpDuration, NtpTimestamp};

/// The places for one key: the first half for replies in basic mode, the others for interleaved ones.
///
/// Invented requests, under any addresses, get basic replies. So they take no place from a client that is in this mode.
const WAYS: usize = 4;
/// The longest time between both timestamps of a reply. (Differences are stored in 32 bits.)
const LONGEST: NtpDuration = NtpDuration::from_units(0xFFFF_FFFF);
/// The age from which an entry is not used: 2^17 s, the longest poll interval (RFC 5905 §7.2).
const OLDEST: NtpDuration = NtpDuration::from_units(1 << (17 + 32));
/// The bits of a tag that are the client's; those above are the epoch's.
const CLIENT_BITS: u32 = 24;

/// Both timestamps of a reply, in the announced time: marked, so that the first one is odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamps {
    /// The receive timestamp in it.
    pub received: NtpTimestamp,
    /// The time when it left.
    pub transmitted: NtpTimestamp,
}

/// The facts that have to agree besides the timestamp: client's address, authentication, and epoch of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(u32);

/// The table.
#[derive(Debug)]
pub struct SavedTimestamps {
    /// A power of two of sets.
    sets: Box<[SavedSet]>,
    /// The number of entries that was asked for.
    entries: u32,
    hasher: Hasher,
    epoch: AtomicU32,
}

/// The places of one key, in one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct SavedSet([SavedPair; WAYS]);

impl SavedTimestamps {
    /// Makes an empty table of `entries`, rounded up to a power of two; `seed` is random.
    pub fn new(entries: u32, seed: u64) -> Self {
        Self {
            sets: (0..sets(entries)).map(|_| SavedSet::default()).collect(),
            entries,
            hasher: Hasher::new(seed),
            epoch: AtomicU32::new(0),
        }
    }

    /// Returns the bytes that a table of `entries` takes.
    pub fn memory(entries: u32) -> u64 {
        u64::try_from(sets(entries).saturating_mul(size_of::<SavedSet>())).unwrap_or(u64::MAX)
    }

    /// The number of entries that was asked for.
    pub const fn entries(&self) -> u32 {
        self.entries
    }

    /// Returns the epoch, which ends with each step of the announced time.
    pub fn epoch(&self) -> u8 {
        self.epoch.load(Ordering::Relaxed).to_le_bytes()[0]
    }

    /// Makes all entries useless: the announced time was stepped.
    pub fn end_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the tag of a client's replies in this `epoch`; authenticated ones have another.
    pub fn tag(&self, client: IpAddr, is_authenticated: bool, epoch: u8) -> Tag {
        let hash = self.hasher.hash(mapped(client));
        let hash = if is_authenticated { hash >> 32 } else { hash };
        let client_bits = u32::try_from(hash & ((1 << CLIENT_BITS) - 1)).unwrap_or(0);
        Tag(u32::from(epoch) << CLIENT_BITS | client_bits)
    }

    /// Saves the timestamps of a reply, in the place of older ones. `is_interleaved` says whether it was an interleaved one.
    ///
    /// Of two replies with equal receive timestamps neither is kept. Nothing is saved of what can't be true.
    //= RFC 9769 §2 save
    //= RFC 9769 §2 unique
    pub fn save(&self, reply: Timestamps, tag: Tag, is_interleaved: bool) {
        let key = reply.received.to_bits();
        let took = reply.transmitted - reply.received;
        let (true, Ok(units)) = (
            took > NtpDuration::ZERO && took <= LONGEST,
            u32::try_from(took.to_units()),
        ) else {
            return;
        };
        let Some(SavedSet(places)) = self.set(key) else {
            return;
        };
        if let Some(twin) = places.iter().find(|place| place.key() == key) {
            twin.take(key, |_| true);
            return;
        }
        let (basic, interleaved) = places.split_at(WAYS / 2);
        let own = if is_interleaved { interleaved } else { basic };
        let keys = own.iter().map(|place| (place, place.key()));
        let oldest = keys.max_by_key(|(_, seen)| match *seen {
            EMPTY => u64::MAX,
            OWNED => 0,
            seen => key.wrapping_sub(seen),
        });
        if let Some((place, seen)) = oldest {
            place.put(seen, key, u64::from(units) << 32 | u64::from(tag.0));
        }
    }

    /// Takes the reply with the receive timestamp `received` out, and returns when it left; the announced time is `now`.
    ///
    /// Each is returned once, and only for its tag.
    //= RFC 9769 §2 once
    pub fn take(&self, received: NtpTimestamp, tag: Tag, now: NtpTimestamp) -> Option<NtpTimestamp> {
        let key = received.to_bits();
        let SavedSet(places) = self.set(key)?;
        let place = places.iter().find(|place| place.key() == key)?;
        let is_of_tag = |value: u64| value & u64::from(u32::MAX) == u64::from(tag.0);
        let units = place.take(key, is_of_tag)? >> 32;
        let is_recent = (NtpDuration::ZERO..=OLDEST).contains(&(now - received));
        is_recent.then(|| received + NtpDuration::from_units(units.cast_signed()))
    }

    fn set(&self, key: u64) -> Option<&SavedSet> {
        // The upper half of the product depends on all bits of the key.
        let mixed = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let index = usize::try_from(mixed).ok()? & (self.sets.len() - 1);
        self.sets.get(index)
    }
}

/// Returns the number of sets for as many entries.
fn sets(entries: u32) -> usize {
    let entries = usize::try_from(entries).unwrap_or(usize::MAX);
    entries.div_ceil(WAYS).next_power_of_two()
}

#[cfg(test)]
mod tests;
