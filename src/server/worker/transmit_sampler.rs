//! Pure. The replies that the kernel stamps to correct the predictions of when replies leave.
//!
//! A reply that is stamped after many that were not leaves later than they do: the code that stamps is in no cache by then
//! (*measured*: 0.6 us later at 50,000 requests per second, 1.9 us at 5,000). So two replies at the same place are stamped,
//! and only the second one is a sample.

use std::time::Duration;

use super::SENT_TOGETHER;

/// The most replies from one sample to the next pair.
///
/// A pair costs a few microseconds.
const MOST_BETWEEN: u16 = 500;
/// The longest time between two pairs, where there are requests: servers that are seldom asked have samples, too.
const LONGEST_BETWEEN: Duration = Duration::from_millis(10);
/// The replies among which the second one of a pair has to be: three groups that are sent together.
const PATIENCE: u16 = 3 * SENT_TOGETHER as u16;

/// The use of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// None.
    Unstamped,
    /// It is stamped, so that the code for it is in the caches.
    WarmUp,
    /// It is stamped, and tells when a reply at this place leaves.
    Sample,
}

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
}

impl Default for TransmitSampler {
    fn default() -> Self {
        Self {
            left: 1,
            due: Duration::ZERO,
            passed_over: 0,
            pair: None,
        }
    }
}

impl TransmitSampler {
    /// Takes note of a batch at the raw time `now`.
    #[inline]
    pub(super) fn begin(&mut self, now: Duration) {
        if now >= self.due {
            self.due = now + LONGEST_BETWEEN;
            self.passed_over = (self.passed_over + 1) % SENT_TOGETHER as u16;
            self.left = self.left.min(1 + self.passed_over);
        }
    }

    /// Returns the use of the next reply, which has this place among those that are sent together.
    #[inline]
    pub(super) fn next(&mut self, place: usize) -> Use {
        self.left -= 1;
        if self.left > 0 {
            return Use::Unstamped;
        }
        self.choose(place)
    }

    #[cold]
    #[inline(never)]
    fn choose(&mut self, place: usize) -> Use {
        let (pair, left, choice) = match self.pair {
            None => (Some((place, PATIENCE)), 1, Use::WarmUp),
            Some((wanted, _)) if wanted == place => (None, MOST_BETWEEN, Use::Sample),
            Some((_, ..=1)) => (None, MOST_BETWEEN, Use::Unstamped),
            Some((wanted, patience)) => (Some((wanted, patience - 1)), 1, Use::Unstamped),
        };
        (self.pair, self.left) = (pair, left);
        choice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has `replies` chosen among, in groups of `group`, at so many per second; returns their places and uses.
    fn chosen(replies: usize, group: usize, rate: u32) -> Vec<(usize, Use)> {
        let mut sampler = TransmitSampler::default();
        let reply = |number: usize| {
            let place = number % group;
            if place == 0 {
                sampler.begin(Duration::from_secs(number as u64) / rate);
            }
            (place, sampler.next(place))
        };
        (0..replies).map(reply).collect()
    }

    fn count(chosen: &[(usize, Use)], wanted: Use) -> usize {
        chosen.iter().filter(|(_, choice)| *choice == wanted).count()
    }

    /// Before each sample, another reply at its place was stamped, in the group before or in one before that.
    #[test]
    fn each_sample_is_the_second_one_of_a_pair() {
        for (group, rate) in [
            (1, 3),
            (1, 4_000),
            (1, 70_000),
            (3, 9_000),
            (8, 30_000),
            (8, 700_000),
        ] {
            let all = chosen(100_000, group, rate);
            for (number, (place, choice)) in all.iter().enumerate() {
                if *choice == Use::Sample {
                    let before = &all[number.saturating_sub(usize::from(PATIENCE))..number];
                    let warmed = before.iter().rev().find(|(_, choice)| *choice != Use::Unstamped);
                    assert_eq!(warmed, Some(&(*place, Use::WarmUp)), "{group} {rate}: {number}");
                }
            }
            assert!(
                count(&all, Use::WarmUp) - count(&all, Use::Sample) <= 1,
                "{group} {rate}"
            );
        }
    }

    /// Each place has its share.
    #[test]
    fn all_places_have_samples() {
        for (group, rate) in [(3, 900), (8, 6_000), (8, 60_000), (8, 700_000)] {
            let all = chosen(400_000, group, rate);
            let samples = count(&all, Use::Sample);
            for place in 0..group {
                let here = all.iter().filter(|one| **one == (place, Use::Sample)).count();
                assert!(
                    here * group * 2 > samples,
                    "{group} {rate}: {here} of {samples} at {place}"
                );
            }
        }
    }

    /// A server that is seldom asked has each fourth reply as a sample; a busy one 1 in 500, or 100 per second.
    #[test]
    fn samples_are_as_many_as_they_may_cost() {
        for (rate, least, most) in [
            (1, 240, 260),
            (20, 240, 260),
            (5_000, 17, 20),
            (50_000, 2, 3),
            (700_000, 1, 2),
        ] {
            let samples = count(&chosen(200_000, 1, rate), Use::Sample) / 200;
            assert!((least..=most).contains(&samples), "{rate}: {samples} of 1000");
        }
    }

    /// Where replies are sent together no more, the second one of a pair may never come.
    #[test]
    fn a_pair_that_can_not_be_is_given_up() {
        let mut sampler = TransmitSampler::default();
        sampler.begin(Duration::from_secs(1));
        while sampler.next(7) != Use::WarmUp {}
        let later: Vec<Use> = (0..2_000).map(|_| sampler.next(8)).collect();
        let first = later.iter().position(|choice| *choice == Use::Sample);
        assert!(first.is_some_and(|first| first < 600), "{first:?}");
    }
}
