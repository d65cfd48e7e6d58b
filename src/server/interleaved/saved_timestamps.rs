//! Impure. The times when replies left, by the receive timestamps in them, in a table that a listener's workers share.
//!
//! The key is our own receive timestamp, which the client has to echo, and no address or port: so two clients behind one
//! address are told apart, and a client may meet another worker each time. The client's address has to agree all the same:
//! no other client is told when its reply left, or makes its entry useless. No thread ever waits for another.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::place::{EMPTY, OWNED, SavedPair};
use crate::hash::{Hasher, mapped};
use crate::host::large_table;
use crate::time::{NtpDuration, NtpTimestamp};

/// The places of a set.
const WAYS: usize = 4;
/// The sets where a key may be.
///
/// With the choice of the emptiest of three, hardly any set is full while half of the places are free.
const CHOICES: usize = 3;
/// The places for each entry of clients in this mode. (Replies in basic mode to those that begin have one.)
const PLACES_OF_ENTRY: u32 = 2;
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

/// The table, of two parts.
///
/// Invented requests, under any addresses, get basic replies. So they take no place from a client that is in this mode.
#[derive(Debug)]
pub struct SavedTimestamps {
    basic: SavedReplies,
    interleaved: SavedReplies,
    /// The number of entries that was asked for.
    entries: u32,
    hasher: Hasher,
    epoch: AtomicU32,
}

/// The number of replies of a client that are saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SavedCounts {
    /// Those in basic mode: the client can ask for the next one in interleaved mode.
    pub basic: u32,
    /// Those in interleaved mode: the client is in it.
    pub interleaved: u32,
}

/// A part of the table: a power of two of sets.
#[derive(Debug)]
struct SavedReplies(Vec<SavedSet>);

/// Some places, in one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct SavedSet([SavedPair; WAYS]);

impl SavedSet {
    fn free(&self) -> usize {
        self.0.iter().filter(|place| place.key() == EMPTY).count()
    }
}

impl SavedReplies {
    fn new(places: u32) -> Self {
        Self(large_table(sets(places)))
    }

    /// The sets where this key may be; they may be the same.
    fn choices(&self, key: u64) -> [Option<&SavedSet>; CHOICES] {
        // The upper half of a product depends on all bits of the key.
        [
            0x9E37_79B9_7F4A_7C15,
            0xD6E8_FEB8_6659_FD93,
            0xA076_1D64_78BD_642F,
        ]
        .map(|factor: u64| {
            let mixed = usize::try_from(key.wrapping_mul(factor) >> 32).ok()?;
            self.0.get(mixed & (self.0.len() - 1))
        })
    }

    fn places(&self, key: u64) -> impl Iterator<Item = &SavedPair> {
        self.choices(key).into_iter().flatten().flat_map(|set| &set.0)
    }

    fn find(&self, key: u64) -> Option<&SavedPair> {
        self.places(key).find(|place| place.key() == key)
    }

    /// Saves a pair in a free place, or else in the place of the oldest.
    fn save(&self, key: u64, value: u64) {
        let sets = self.choices(key).into_iter().flatten();
        let emptiest = sets.max_by_key(|set| set.free());
        let free = emptiest.and_then(|set| set.0.iter().find(|place| place.key() == EMPTY));
        let oldest = || {
            let keys = self.places(key).map(|place| (place, place.key()));
            keys.max_by_key(|(_, seen)| match *seen {
                EMPTY => u64::MAX,
                OWNED => 0,
                seen => key.wrapping_sub(seen),
            })
        };
        if let Some((place, seen)) = free.map(|place| (place, EMPTY)).or_else(oldest) {
            place.put(seen, key, value);
        }
    }
}

impl SavedTimestamps {
    /// Makes an empty table of `entries`, rounded up to a power of two; `seed` is random.
    pub fn new(entries: u32, seed: u64) -> Self {
        Self {
            basic: SavedReplies::new(entries),
            interleaved: SavedReplies::new(entries.saturating_mul(PLACES_OF_ENTRY)),
            entries,
            hasher: Hasher::new(seed),
            epoch: AtomicU32::new(0),
        }
    }

    /// Returns the bytes that a table of `entries` takes.
    pub fn memory(entries: u32) -> u64 {
        let sets = sets(entries).saturating_add(sets(entries.saturating_mul(PLACES_OF_ENTRY)));
        u64::try_from(sets.saturating_mul(size_of::<SavedSet>())).unwrap_or(u64::MAX)
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
        if let Some(twin) = self.find(key) {
            twin.take(key, |_| true);
            return;
        }
        let own = if is_interleaved {
            &self.interleaved
        } else {
            &self.basic
        };
        own.save(key, u64::from(units) << 32 | u64::from(tag.0));
    }

    /// Returns how many replies to each of these clients are saved, not authenticated ones, in the order of `clients`.
    ///
    /// It looks at the whole table once. Clients are told apart by 24 bits of a hash: of 16 million others one counts for
    /// this one.
    pub fn counts_of(&self, clients: &[IpAddr]) -> Vec<SavedCounts> {
        let epoch = self.epoch();
        let mut tags: Vec<(u32, usize)> = clients
            .iter()
            .enumerate()
            .map(|(place, client)| (self.tag(*client, false, epoch).0, place))
            .collect();
        tags.sort_unstable();
        let mut counts = vec![SavedCounts::default(); clients.len()];
        let mut look_through = |replies: &SavedReplies, count: fn(&mut SavedCounts) -> &mut u32| {
            let values = replies
                .0
                .iter()
                .flat_map(|set| &set.0)
                .filter_map(SavedPair::glance);
            for tag in values.map(|value| u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0)) {
                let first = tags.partition_point(|(one, _)| *one < tag);
                let same = tags.iter().skip(first).take_while(|(one, _)| *one == tag);
                for (_, place) in same {
                    counts
                        .get_mut(*place)
                        .into_iter()
                        .for_each(|found| *count(found) += 1);
                }
            }
        };
        look_through(&self.basic, |found| &mut found.basic);
        look_through(&self.interleaved, |found| &mut found.interleaved);
        counts
    }

    fn find(&self, key: u64) -> Option<&SavedPair> {
        self.interleaved.find(key).or_else(|| self.basic.find(key))
    }

    /// Takes the reply with the receive timestamp `received` out, and returns when it left; the announced time is `now`.
    ///
    /// Each is returned once, and only for its tag.
    //= RFC 9769 §2 once
    pub fn take(&self, received: NtpTimestamp, tag: Tag, now: NtpTimestamp) -> Option<NtpTimestamp> {
        let key = received.to_bits();
        let place = self.find(key)?;
        let is_of_tag = |value: u64| value & u64::from(u32::MAX) == u64::from(tag.0);
        let units = place.take(key, is_of_tag)? >> 32;
        let is_recent = (NtpDuration::ZERO..=OLDEST).contains(&(now - received));
        is_recent.then(|| received + NtpDuration::from_units(units.cast_signed()))
    }
}

/// Returns the number of sets for as many places.
fn sets(places: u32) -> usize {
    let places = usize::try_from(places).unwrap_or(usize::MAX);
    places.div_ceil(WAYS).next_power_of_two()
}

#[cfg(test)]
mod tests;
