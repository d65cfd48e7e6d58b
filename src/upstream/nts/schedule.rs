//! Pure. The times of key establishment with one server: soon, and politely (RFC 8915 §4.2).

use std::time::Duration;

use super::ke_fault::KeFault;

/// Shortest time between two attempts, whatever happens.
//= RFC 8915 §4.2 backoff
const APART: Duration = Duration::from_secs(16);
/// Longest pause after failures of the way to the server: they may end at any time.
const LONGEST: Duration = Duration::from_secs(3600);
/// Pause after a first failure of the server itself or of its certificate, which people have to mend.
const LASTING: Duration = Duration::from_secs(120);
/// Longest pause after such failures.
const LASTING_LONGEST: Duration = Duration::from_secs(6 * 3600);

/// The schedule of key establishment with one server. Times are by the raw counter.
#[derive(Clone, Debug, Default)]
pub struct KeSchedule {
    /// The earliest time of the next attempt.
    not_before: Duration,
    /// The value before the attempt that runs.
    before: Duration,
    /// The earliest time that politeness permits, whatever happens.
    earliest: Duration,
    /// Attempts since keys were last used with success.
    attempts: u32,
    /// Those of them that failed by the server or its certificate.
    lasting: u32,
}

impl KeSchedule {
    /// Returns the time from `now` until an attempt may begin.
    pub fn due_in(&self, now: Duration) -> Duration {
        self.not_before.saturating_sub(now)
    }

    /// Records that an attempt begins at `now`.
    pub fn begin(&mut self, now: Duration) {
        self.before = self.not_before;
        self.not_before = now.saturating_add(APART);
        self.earliest = self.not_before;
    }

    /// Records that nothing could be sent, so that it was no attempt.
    pub fn cancel(&mut self) {
        (self.not_before, self.earliest) = (self.before, self.before);
    }

    /// Permits the next attempt as soon as politeness does: what made the last one fail may be gone.
    pub fn hurry(&mut self) {
        self.not_before = self.not_before.min(self.earliest);
    }

    /// Records the result at `now`; `random` spreads the next attempt by a quarter in both directions.
    ///
    /// Keys by themselves do not shorten the pauses: only their use does.
    //= RFC 8915 §4.2 backoff
    //= RFC 8915 §4.2 reset
    pub fn end(&mut self, now: Duration, result: Result<(), KeFault>, random: u64) {
        self.attempts = self.attempts.saturating_add(1);
        let pause = match result {
            Err(fault) if fault.is_lasting() => {
                self.lasting = self.lasting.saturating_add(1);
                doubled(LASTING, self.lasting).min(LASTING_LONGEST)
            }
            Ok(()) | Err(_) => doubled(APART, self.attempts).min(LONGEST),
        };
        let at = now.saturating_add(spread(pause, random));
        self.not_before = self.not_before.max(at);
    }

    /// Records that a genuine reply came: the keys are good.
    //= RFC 8915 §4.2 reset
    pub fn confirm(&mut self) {
        (self.attempts, self.lasting) = (0, 0);
    }
}

/// Returns `first`, doubled for each of the `times` after the first.
fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.saturating_sub(1).min(16))
}

/// Returns three to five quarters of `pause`, at least [`APART`].
fn spread(pause: Duration, random: u64) -> Duration {
    let part = u32::try_from(random % 1025).unwrap_or(0);
    (pause * (3 * 512 + part) / 2048).max(APART)
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const HALF: u64 = 512;

    /// The pauses after failures in a row, in seconds, without jitter.
    fn pauses(fault: KeFault, times: usize) -> Vec<u64> {
        let (mut schedule, mut now) = (KeSchedule::default(), Duration::from_secs(100));
        let mut pauses = Vec::new();
        for _ in 0..times {
            assert_eq!(schedule.due_in(now), Duration::ZERO);
            schedule.begin(now);
            now += Duration::from_secs(10);
            schedule.end(now, Err(fault), HALF);
            pauses.push(schedule.due_in(now).as_secs());
            now += schedule.due_in(now);
        }
        pauses
    }

    #[test]
    fn pauses_double() {
        let soon = [16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600];
        assert_eq!(pauses(KeFault::Connect, 10), soon);
        assert_eq!(pauses(KeFault::TimedOut, 10), soon);
        let late = [120, 240, 480, 960, 1920, 3840, 7680, 15_360, 21_600, 21_600];
        assert_eq!(pauses(KeFault::Expired, 10), late);
        assert_eq!(pauses(KeFault::CastOut, 10), late);
    }

    //= RFC 8915 §4.2 reset
    #[test]
    fn only_the_use_of_keys_shortens_the_pauses() {
        let (mut schedule, mut now) = (KeSchedule::default(), Duration::ZERO);
        for expected in [16, 32, 64] {
            schedule.begin(now);
            schedule.end(now, Ok(()), HALF);
            assert_eq!(schedule.due_in(now).as_secs(), expected);
            now += schedule.due_in(now);
        }
        schedule.confirm();
        schedule.begin(now);
        schedule.end(now, Err(KeFault::Nak), HALF);
        assert_eq!(schedule.due_in(now).as_secs(), 16);
    }

    #[test]
    fn what_was_not_sent_is_no_attempt() {
        let mut schedule = KeSchedule::default();
        schedule.begin(Duration::from_secs(7));
        schedule.cancel();
        assert_eq!(schedule.due_in(Duration::from_secs(7)), Duration::ZERO);
    }

    proptest! {
        /// A virtual clock, and whatever may happen: never more than one attempt in 16 s, and the pauses end.
        #[test]
        fn attempts_are_apart(steps in prop::collection::vec((0_usize..KeFault::all().count() + 3, any::<u64>(), 0_u64..12, 0_u64..40_000), 1..60)) {
            let (mut schedule, mut now, mut begun) = (KeSchedule::default(), Duration::from_secs(1), None);
            for (kind, random, takes, later) in steps {
                let wait = schedule.due_in(now);
                prop_assert!(wait <= LASTING_LONGEST * 5 / 4, "{:?}", wait);
                if wait > Duration::ZERO {
                    now += Duration::from_secs(later);
                    continue;
                }
                prop_assert!(begun.is_none_or(|begun| now >= begun + APART));
                schedule.begin(now);
                begun = Some(now);
                now += Duration::from_secs(takes);
                let fault = KeFault::all().nth(kind);
                schedule.end(now, fault.map_or(Ok(()), Err), random);
                if kind > KeFault::all().count() {
                    schedule.confirm();
                }
                if random % 3 == 0 {
                    schedule.hurry();
                }
            }
        }
    }
}
