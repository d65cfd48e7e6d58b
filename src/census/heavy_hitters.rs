//! Pure. The clients that ask most, in fixed memory: Space-Saving in sets of a few places.
//!
//! Space-Saving is by Metwally, Agrawal and El Abbadi (2005). With sets a packet looks at a few cache lines, and
//! nothing is sorted.
//!
//! An address belongs to one set. Where that is full, a newcomer takes the place of the one that asked least, and
//! begins with its count, which may be all wrong: that is its error. So a count is never too low, and too high by its
//! error at most. A client that has no place asked no more often than the least in the set.

use crate::census::places::{WAYS, place_of};

const SETS: usize = 128;

/// The count of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counter {
    /// The address, as the census has it.
    pub(super) address: u128,
    /// The most requests that it can have sent.
    pub(super) count: u32,
    /// The part of that which it may not have asked.
    pub(super) error: u32,
}

/// The places of one set: all that every packet needs is together, in one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Set {
    /// The upper half of a hash for each client: two in a set have the same once in 2^32 times.
    tags: [u32; WAYS],
    counts: [u32; WAYS],
    errors: [u32; WAYS],
    address: [u128; WAYS],
}

const EMPTY: Set = Set {
    tags: [0; WAYS],
    counts: [0; WAYS],
    errors: [0; WAYS],
    address: [0; WAYS],
};

/// The 1,024 clients that ask most, about. 32 KiB.
///
/// Each that asks more than a thousandth of all is here, give or take what the others in its set ask.
#[derive(Clone, Debug)]
pub(super) struct Talkers([Set; SETS]);

impl Talkers {
    pub(super) const SETS: usize = SETS;

    pub(super) const fn new() -> Self {
        Self([EMPTY; SETS])
    }

    /// Notes a request of `address`, which has this hash, that stands for `weight` requests.
    #[inline]
    pub(super) fn note_weighted(&mut self, address: u128, hash: u64, weight: u32) {
        let tag = u32::try_from(hash >> 32).unwrap_or(0);
        let Some(set) = self.0.get_mut(set_of(hash)) else {
            return;
        };
        let known = place_of(&set.tags, tag);
        if let Some(count) = set.counts.get_mut(known) {
            *count = count.saturating_add(weight);
        } else {
            set.replace_least(address, tag, weight);
        }
    }

    /// Returns the most that a client of this hash can have asked if it is in no set, and the client, if it is in one.
    pub(super) fn look_up(&self, address: u128, hash: u64) -> (u32, Option<Counter>) {
        let least = |set: &Set| set.counts.iter().copied().min().unwrap_or(0);
        let found = |set: &Set| set.talkers().find(|talker| talker.address == address);
        let set = self.0.get(set_of(hash));
        (set.map_or(0, least), set.and_then(found))
    }

    /// Returns each set: the most that a client which is not in it can have asked, and the clients in it.
    pub(super) fn sets(&self) -> impl Iterator<Item = (u32, impl Iterator<Item = Counter>)> {
        self.0.iter().map(|set| {
            let least = set.counts.iter().copied().min().unwrap_or(0);
            (least, set.talkers())
        })
    }
}

impl Set {
    #[inline(never)]
    fn replace_least(&mut self, address: u128, tag: u32, weight: u32) {
        let least = self.counts.iter().copied().min().unwrap_or(0);
        let place = place_of(&self.counts, least);
        if let (Some(old_address), Some(old_tag), Some(count), Some(error)) = (
            self.address.get_mut(place),
            self.tags.get_mut(place),
            self.counts.get_mut(place),
            self.errors.get_mut(place),
        ) {
            (*old_address, *old_tag) = (address, tag);
            (*count, *error) = (least.saturating_add(weight), least);
        }
    }

    fn talkers(&self) -> impl Iterator<Item = Counter> {
        let counted = self.counts.iter().zip(&self.errors).zip(&self.address);
        counted
            .map(|((&count, &error), &address)| Counter {
                address,
                count,
                error,
            })
            .filter(|talker| talker.count > 0)
    }
}

fn set_of(hash: u64) -> usize {
    usize::from(hash.to_le_bytes()[0]) % SETS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hasher;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn address(number: u32) -> u128 {
        u128::from(number) + 1
    }

    fn of(seed: u64, asked: &[u32]) -> Talkers {
        let (mut talkers, hasher) = (Talkers::new(), Hasher::new(seed));
        for &number in asked {
            talkers.note_weighted(address(number), hasher.hash(address(number)), 1);
        }
        talkers
    }

    fn all_talkers(talkers: &Talkers) -> impl Iterator<Item = Counter> {
        talkers.sets().flat_map(|(_, set)| set)
    }

    /// Checks that every bound that is said holds for all of `asked`.
    fn bounds_hold(seed: u64, asked: &[u32]) {
        let mut truth: HashMap<u128, u32> = HashMap::new();
        asked
            .iter()
            .for_each(|&number| *truth.entry(address(number)).or_default() += 1);
        let talkers = of(seed, asked);
        let hasher = Hasher::new(seed);
        let known: HashMap<u128, Counter> = all_talkers(&talkers)
            .map(|talker| (talker.address, talker))
            .collect();
        for (address, &count) in &truth {
            let (low, high) = known.get(address).map_or_else(
                || {
                    let (least, _) = talkers.sets().nth(set_of(hasher.hash(*address))).unwrap();
                    (0, least)
                },
                |talker| (talker.count - talker.error, talker.count),
            );
            assert!(
                (low..=high).contains(&count),
                "{address}: {count} not in {low}..={high}"
            );
        }
        let all: u32 = all_talkers(&talkers).map(|talker| talker.count).sum();
        assert_eq!(all, u32::try_from(asked.len()).unwrap());
    }

    proptest! {
        #[test]
        fn the_bounds_hold(seed: u64, asked in vec(prop_oneof![0..20_u32, 0..3000_u32, 0..1_000_000_u32], 0..6000)) {
            bounds_hold(seed, &asked);
        }
    }

    #[test]
    fn a_heavy_one_is_found_among_very_many() {
        for seed in 0..2 {
            // One in 50 packets is its; all others come from a new address each, and it came last.
            let mut asked: Vec<u32> = (100..200_000).collect();
            asked.extend((200_000..400_000).map(|n| if n % 50 == 0 { 7 } else { n }));
            bounds_hold(seed, &asked);
            let talkers = of(seed, &asked);
            let heavy = all_talkers(&talkers)
                .find(|talker| talker.address == address(7))
                .unwrap();
            assert!(heavy.count - heavy.error >= 3900, "{heavy:?}");
            assert!(heavy.error < 500, "{heavy:?}");
            let light = all_talkers(&talkers).filter(|talker| talker.address != address(7));
            assert_eq!(light.map(|talker| talker.count - talker.error).max(), Some(1));
        }
    }
}
