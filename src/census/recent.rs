//! Pure. The last request of each client, for as many as there is room: it gives the time between two requests.
//!
//! Where there are more clients than room, only some are followed, chosen by their hash. To forget those that didn't
//! ask for long would make all seem to ask often.

use crate::census::places::{WAYS, place_of};
use crate::host::{large_table, prefetch};

/// The first of the hash's bits that decide which clients are followed.
///
/// The bits below choose the set, and the upper half recognizes the client.
const CHOOSING: u32 = 20;
/// The largest `divisor_log2`: one client of 2^12 is followed.
const FEWEST: u32 = 12;

/// A client that has no place in its set takes that of the one that asked longest ago.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
struct RecentSet {
    /// The upper half of a hash for each client: two in a set have the same once in 2^32 times.
    tags: [u32; WAYS],
    /// The ticks of the last requests; 0 is never.
    at: [u32; WAYS],
}

#[derive(Clone, Debug)]
pub(super) struct Recent {
    sets: Vec<RecentSet>,
    /// The sampling divisor as a power of two: one client of `2^divisor_log2` is followed.
    divisor_log2: u32,
}

impl Recent {
    /// The most clients that there can be room for.
    pub(super) const MOST: u32 = 1 << 20;

    fn room(clients: u32) -> u32 {
        clients.clamp(8, Self::MOST).next_power_of_two()
    }

    /// Returns the bytes that [`Recent::new`] takes.
    pub(super) fn memory(clients: u32) -> u64 {
        8 * u64::from(Self::room(clients))
    }

    /// Makes room for `clients`, or a few more: a power of two from 8 to 2^20. 8 bytes each.
    pub(super) fn new(clients: u32) -> Self {
        let clients = Self::room(clients);
        let sets = usize::try_from(clients).unwrap_or(WAYS) / WAYS;
        Self {
            sets: large_table(sets),
            divisor_log2: 0,
        }
    }

    /// Returns the divisor of the sampling: one client of this many is followed.
    pub(super) fn sampling_divisor(&self) -> u32 {
        1 << self.divisor_log2
    }

    /// Chooses the sampling for about `clients`: half of the room is for those that are followed.
    pub(super) fn expect(&mut self, clients: f64) {
        let room = f64::from(u32::try_from(self.sets.len() * WAYS / 2).unwrap_or(u32::MAX));
        self.divisor_log2 = (0..FEWEST)
            .find(|&divisor_log2| room * f64::from(1_u32 << divisor_log2) >= clients)
            .unwrap_or(FEWEST);
    }

    /// Loads the place of this hash into the cache before its look-up: the CPU waits for a whole batch at once.
    pub(super) fn prefetch(&self, hash: u64) {
        if let Some(line) = self.sets.get(self.line_of(hash)) {
            prefetch(line);
        }
    }

    fn line_of(&self, hash: u64) -> usize {
        usize::try_from(hash & u64::from(u32::MAX)).unwrap_or(0) & (self.sets.len() - 1)
    }

    /// Returns the tick of the last request of the client of this hash, if it is known.
    pub(super) fn last(&self, hash: u64) -> Option<u32> {
        let line = self.sets.get(self.line_of(hash))?;
        let tag = u32::try_from(hash >> 32).unwrap_or(0);
        line.at
            .get(place_of(&line.tags, tag))
            .copied()
            .filter(|tick| *tick != 0)
    }

    /// Notes a request of the client of this hash at `tick` (from 1 on, wrapping).
    ///
    /// Returns the ticks since its last one, if that is known.
    pub(super) fn note(&mut self, hash: u64, tick: u32) -> Option<u32> {
        let chosen = (hash >> CHOOSING) & (u64::from(self.sampling_divisor()) - 1) == 0;
        if !chosen {
            return None;
        }
        let line = self.line_of(hash);
        let line = self.sets.get_mut(line)?;
        let tag = u32::try_from(hash >> 32).unwrap_or(0);
        if let Some(at) = line.at.get_mut(place_of(&line.tags, tag)) {
            let before = std::mem::replace(at, tick);
            return (before != 0).then(|| tick.wrapping_sub(before));
        }
        let oldest = line.at.iter().copied().min()?;
        let place = place_of(&line.at, oldest);
        *line.at.get_mut(place)? = tick;
        *line.tags.get_mut(place)? = tag;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hasher;

    fn hash(number: u32) -> u64 {
        Hasher::new(1).hash(number.into())
    }

    #[test]
    fn the_time_between_two_requests_of_one_client() {
        let mut recent = Recent::new(1024);
        assert_eq!(recent.note(hash(1), 5), None);
        assert_eq!(recent.note(hash(2), 6), None);
        assert_eq!(recent.note(hash(1), 5), Some(0));
        assert_eq!(recent.note(hash(1), 105), Some(100));
        assert_eq!(recent.note(hash(2), 5), Some(u32::MAX));
    }

    #[test]
    fn the_last_request_is_that_which_was_noted_last() {
        let mut recent = Recent::new(1024);
        for tick in [7, 9] {
            assert_eq!(recent.last(hash(1)), (tick == 9).then_some(7));
            recent.note(hash(1), tick);
        }
        assert_eq!((recent.last(hash(1)), recent.last(hash(2))), (Some(9), None));
    }

    #[test]
    fn who_is_followed_is_remembered_however_many_there_are() {
        for clients in [500_u32, 5000, 200_000] {
            let mut recent = Recent::new(1024);
            recent.expect(clients.into());
            for number in 0..clients {
                recent.note(hash(number), 1);
            }
            let known = (0..clients).filter(|&number| recent.note(hash(number), 65) == Some(64));
            let share = f64::from(u32::try_from(known.count()).unwrap())
                * f64::from(recent.sampling_divisor())
                / f64::from(clients);
            assert!((0.75..1.3).contains(&share), "{clients}: {share}");
        }
    }

    #[test]
    fn as_many_are_followed_as_there_is_room_for() {
        let mut recent = Recent::new(1000);
        for (clients, sampling_divisor) in [(0.0, 1), (512.0, 1), (513.0, 2), (4096.0, 8), (1e12, 4096)] {
            recent.expect(clients);
            assert_eq!(recent.sampling_divisor(), sampling_divisor, "{clients}");
        }
    }
}
