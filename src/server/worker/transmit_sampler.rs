//! Pure. The replies that the kernel stamps to correct the predictions of when replies leave.
//!
//! A reply that is stamped after many that were not leaves later than they do: the code that stamps is in no cache by then
//! (*measured*: 0.6 us later at 50,000 requests per second, 1.9 us at 5,000). So two replies at the same place are stamped.
//! The second one is as the others are, and the first one shows how much later such replies leave. That is taken off those
//! that are seldom, and so are stamped one by one: the replies to requests that come after a pause.

use std::time::Duration;

use super::transmit_place::{ALONE, PAUSES, TOGETHER_AFTER_PAUSE};
use crate::server::interleaved::SampleKind;

/// The most replies from the end of a pair to the next one.
///
/// A pair costs a few microseconds.
const MOST_BETWEEN: u16 = 500;
/// The longest time between two pairs, where there are requests.
const LONGEST_BETWEEN: Duration = Duration::from_millis(10);
/// The replies among which the second one of a pair has to be: three groups that are sent together.
const PATIENCE: u16 = 24;
/// The time between two single samples for pauses of about the same length.
const BETWEEN_SINGLES: Duration = Duration::from_millis(50);

/// The most replies that are passed over where a pair is due, plus one: as many as there are places.
const PASSED_OVER: u16 = 8;

/// The choice of the replies that are stamped.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransmitSampler {
    /// The replies until the choice is to be thought of.
    left: u16,
    /// The raw time after which the next pair is due.
    due: Duration,
    /// The replies that are passed over where a pair is due because of the time, so that each place has its turn.
    passed_over: u16,
    /// The place of the pair's first reply, and the number of replies among which the second one has to be.
    pair: Option<(usize, u16)>,
    /// The replies that were left before the next one was chosen as a single sample.
    single: Option<u16>,
    /// The raw times after which the next single samples are due, for each class of pauses.
    singles_due: [Duration; PAUSES],
}

impl Default for TransmitSampler {
    fn default() -> Self {
        Self {
            left: 1,
            due: Duration::ZERO,
            passed_over: 0,
            pair: None,
            single: None,
            singles_due: [Duration::ZERO; PAUSES],
        }
    }
}

impl TransmitSampler {
    /// Takes note of a batch at the raw time `now`, after a pause of this class.
    #[inline]
    pub(super) fn begin(&mut self, now: Duration, pause: Option<usize>) {
        if now >= self.due {
            self.due = now + LONGEST_BETWEEN;
            self.passed_over = (self.passed_over + 1) % PASSED_OVER;
            self.left = self.left.min(1 + self.passed_over);
        }
        let due = pause.and_then(|class| self.singles_due.get_mut(class));
        if let Some(due) = due.filter(|due| now >= **due) {
            *due = now + BETWEEN_SINGLES;
            self.single = self.single.or(Some(self.left));
            self.left = 1;
        }
    }

    /// Returns the kind of sample that the next reply is; `None` if it is none.
    ///
    /// It has this place among those that are sent together.
    #[inline]
    pub(super) fn next(&mut self, place: usize) -> Option<SampleKind> {
        self.left -= 1;
        (self.left == 0).then(|| self.choose(place)).flatten()
    }

    #[cold]
    #[inline(never)]
    fn choose(&mut self, place: usize) -> Option<SampleKind> {
        if let Some(left) = self.single.take() {
            self.left = left.saturating_sub(1).max(1);
            if place > ALONE {
                return Some(SampleKind::Single);
            }
            if left > 1 {
                return None;
            }
        }
        if place >= TOGETHER_AFTER_PAUSE {
            self.left = 1;
            return None;
        }
        // After a pause or not: in a row, one reply that is sent alone is as the other.
        let place = place.min(ALONE);
        let (pair, left, kind) = match self.pair {
            None => (Some((place, PATIENCE)), 1, Some(SampleKind::First)),
            Some((wanted, _)) if wanted == place => (None, MOST_BETWEEN, Some(SampleKind::Second)),
            Some((_, ..=1)) => (None, MOST_BETWEEN, None),
            Some((wanted, patience)) => (Some((wanted, patience - 1)), 1, None),
        };
        (self.pair, self.left) = (pair, left);
        kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::worker::transmit_place::pause;

    /// Has `replies` chosen among, in groups of `group` or alone, at `rate` per second; returns their places and kinds.
    fn chosen(replies: u32, group: Option<u32>, rate: u32) -> Vec<(usize, Option<SampleKind>)> {
        let mut sampler = TransmitSampler::default();
        let class = pause(Duration::from_secs(1) / rate);
        let reply = |number: u32| {
            let at = Duration::from_secs(number.into()) / rate;
            let place = match group {
                None => class.map_or(ALONE, |class| ALONE + 1 + class),
                Some(group) => (number % group) as usize,
            };
            if group.is_none() || place == 0 {
                sampler.begin(at, class.filter(|_| group.is_none()));
            }
            (place, sampler.next(place))
        };
        (0..replies).map(reply).collect()
    }

    fn count(chosen: &[(usize, Option<SampleKind>)], wanted: SampleKind) -> usize {
        chosen.iter().filter(|(_, kind)| *kind == Some(wanted)).count()
    }

    const LOADS: [(Option<u32>, u32); 7] = [
        (None, 3),
        (None, 200),
        (None, 4_000),
        (None, 70_000),
        (Some(3), 9_000),
        (Some(8), 30_000),
        (Some(8), 700_000),
    ];

    /// Before each second one, another reply at its place was stamped, in the group before or in one before that.
    #[test]
    fn each_second_one_is_after_a_first_one() {
        for (group, rate) in LOADS {
            let all = chosen(100_000, group, rate);
            for (number, (place, kind)) in all.iter().enumerate() {
                if *kind == Some(SampleKind::Second) {
                    let before = &all[number.saturating_sub(usize::from(PATIENCE))..number];
                    let pair = |(_, kind): &&(usize, Option<SampleKind>)| {
                        kind.is_some_and(|kind| kind != SampleKind::Single)
                    };
                    let first = before.iter().rev().find(pair);
                    assert_eq!(
                        first,
                        Some(&(*place, Some(SampleKind::First))),
                        "{group:?} {rate}: {number}"
                    );
                }
            }
            let (first, second) = (count(&all, SampleKind::First), count(&all, SampleKind::Second));
            assert!(first - second <= 1, "{group:?} {rate}: {first} {second}");
        }
    }

    /// Each place has its share.
    #[test]
    fn all_places_have_samples() {
        for (group, rate) in [(3, 900), (8, 6_000), (8, 60_000), (8, 700_000)] {
            let all = chosen(400_000, Some(group), rate);
            let seconds = count(&all, SampleKind::Second);
            for place in 0..group as usize {
                let here = all
                    .iter()
                    .filter(|one| **one == (place, Some(SampleKind::Second)))
                    .count();
                assert!(
                    here * 3 * group as usize > seconds,
                    "{group} {rate}: {here} of {seconds} at {place}"
                );
            }
        }
    }

    /// A server that is seldom asked has samples only; a busy one has 1 pair in 500, or 100 per second, and 20 single ones.
    #[test]
    fn samples_are_as_many_as_they_may_cost() {
        for (rate, pairs, singles) in [
            (1, 0..=1, 999..=1000),
            (20, 0..=1, 999..=1000),
            (5_000, 17..=20, 3..=4),
            (700_000, 1..=2, 0..=0),
        ] {
            let all = chosen(200_000, None, rate);
            let here = (
                count(&all, SampleKind::Second) / 200,
                count(&all, SampleKind::Single) / 200,
            );
            assert!(
                pairs.contains(&here.0) && singles.contains(&here.1),
                "{rate}: {here:?} of 1000"
            );
        }
    }

    /// If replies are sent together no more, the second one of a pair may never come.
    #[test]
    fn a_pair_that_can_not_be_is_given_up() {
        let mut sampler = TransmitSampler::default();
        sampler.begin(Duration::from_secs(1), None);
        while sampler.next(7).is_none() {}
        let later: Vec<_> = (0..2_000).map(|_| sampler.next(ALONE)).collect();
        let second = later.iter().position(|kind| *kind == Some(SampleKind::Second));
        assert!(second.is_some_and(|second| second < 600), "{second:?}");
    }

    /// A batch after a pause may be sent together, or be refused: then nothing is single.
    #[test]
    fn only_a_reply_after_a_pause_is_a_single_one() {
        let mut sampler = TransmitSampler::default();
        for second in 1..1_000 {
            sampler.begin(Duration::from_secs(second), Some(2));
            let kinds: Vec<_> = (0..8).map(|place| sampler.next(place)).collect();
            assert!(!kinds.contains(&Some(SampleKind::Single)), "{second}: {kinds:?}");
        }
    }
}
