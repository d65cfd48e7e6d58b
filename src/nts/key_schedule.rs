//! Pure. The keys of cookies that are in use: a new keyring for each period, and another while the time is not known.

use std::sync::Arc;
use std::time::Duration;

use super::keyring::{Keyring, KeyringFault, Period, Secret, Time};

/// The clocks that periods are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodClocks {
    /// Time since 1970 as it is served, if that is vouched for.
    pub served: Option<Duration>,
    /// Time since 1970 by the host's clock, which may be wrong.
    pub host: Duration,
    /// The raw counter.
    pub raw: Duration,
}

/// The rules of the periods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodRules {
    /// Length of a period.
    pub rotate: Duration,
    /// The number of past periods whose cookies are accepted.
    pub keep: u32,
}

/// The secrets and rules, and the keyring that follows from them.
#[derive(Debug)]
pub struct KeySchedule {
    secrets: Vec<Secret>,
    rules: PeriodRules,
    keyring: Arc<Keyring>,
    time: Time,
    /// The served time and the raw counter when the time was last vouched for.
    vouched: Option<(Duration, Duration)>,
}

impl KeySchedule {
    /// Returns the schedule by `secrets`, the newest first, as of `now`.
    ///
    /// # Errors
    /// See [`KeyringFault`].
    pub fn new(secrets: Vec<Secret>, rules: PeriodRules, now: PeriodClocks) -> Result<Self, KeyringFault> {
        let (period, time) = count(now, None, rules);
        Ok(Self {
            keyring: Arc::new(Keyring::new(&secrets, period, rules.keep, time)?),
            secrets,
            rules,
            time,
            vouched: now.served.map(|served| (served, now.raw)),
        })
    }

    /// Returns the keyring that is in use.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// Returns whether the time is vouched for that the periods are counted by.
    pub const fn time(&self) -> Time {
        self.time
    }

    /// Returns the number of secrets.
    pub fn secrets(&self) -> usize {
        self.secrets.len()
    }

    /// Follows the clocks. Returns whether there is a new keyring.
    pub fn follow(&mut self, now: PeriodClocks) -> bool {
        let (period, time) = count(now, self.vouched, self.rules);
        if let Some(served) = now.served {
            self.vouched = Some((served, now.raw));
        }
        if (period, time) == (self.keyring.period(), self.time) {
            return false;
        }
        self.make(period, time).is_ok()
    }

    /// Returns the schedule by other secrets and rules; it goes on with the time of this one.
    ///
    /// # Errors
    /// See [`KeyringFault`].
    pub fn replaced(
        &self,
        secrets: Vec<Secret>,
        rules: PeriodRules,
        now: PeriodClocks,
    ) -> Result<Self, KeyringFault> {
        let mut other = Self::new(secrets, rules, now)?;
        other.vouched = other.vouched.or(self.vouched);
        other.follow(now);
        Ok(other)
    }

    /// Replaces secrets and rules. Returns whether there is a new keyring.
    ///
    /// # Errors
    /// See [`KeyringFault`]; nothing has changed then.
    pub fn replace(
        &mut self,
        secrets: Vec<Secret>,
        rules: PeriodRules,
        now: PeriodClocks,
    ) -> Result<bool, KeyringFault> {
        if secrets == self.secrets && rules == self.rules {
            return Ok(self.follow(now));
        }
        *self = self.replaced(secrets, rules, now)?;
        Ok(true)
    }

    fn make(&mut self, period: Period, time: Time) -> Result<(), KeyringFault> {
        self.keyring = Arc::new(Keyring::new(&self.secrets, period, self.rules.keep, time)?);
        self.time = time;
        Ok(())
    }
}

/// Returns the period at `now`.
///
/// Without a time that is vouched for, the last one that was goes on by the raw counter; before there was one, the
/// host's clock counts.
fn count(now: PeriodClocks, vouched: Option<(Duration, Duration)>, rules: PeriodRules) -> (Period, Time) {
    let (time_of_day, time) = match (now.served, vouched) {
        (Some(served), _) => (served, Time::Vouched),
        (None, Some((served, raw))) => (served.saturating_add(now.raw.saturating_sub(raw)), Time::Unknown),
        (None, None) => (now.host, Time::Unknown),
    };
    (Period::at(time_of_day, rules.rotate), time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::nts::cookie::{open, several};
    use crate::nts::{AssociationKeys, Nonces};

    const DAY: u64 = 86_400;
    const RULES: PeriodRules = PeriodRules {
        rotate: Duration::from_secs(DAY),
        keep: 7,
    };

    fn clocks(served: Option<u64>, host: u64, raw: u64) -> PeriodClocks {
        PeriodClocks {
            served: served.map(Duration::from_secs),
            host: Duration::from_secs(host),
            raw: Duration::from_secs(raw),
        }
    }

    fn schedule(secrets: &[u8], now: PeriodClocks) -> KeySchedule {
        KeySchedule::new(all(secrets), RULES, now).unwrap()
    }

    fn all(secrets: &[u8]) -> Vec<Secret> {
        secrets.iter().map(|number| Secret::new([*number; 32])).collect()
    }

    fn day(number: u64) -> Period {
        Period::at(Duration::from_secs(number * DAY), RULES.rotate)
    }

    fn cookie(schedule: &KeySchedule) -> Vec<u8> {
        let keys = AssociationKeys::of(&[7; 64]).unwrap();
        several(schedule.keyring(), &keys, &mut Nonces::new([1; 16])).remove(0)
    }

    fn accepts(schedule: &KeySchedule, cookie: &[u8]) -> bool {
        open(schedule.keyring(), &[cookie]).pop().unwrap().is_ok()
    }

    #[test]
    fn a_new_keyring_comes_with_each_period_and_no_sooner() {
        let mut schedule = schedule(&[1], clocks(Some(20_000 * DAY), 0, 100));
        for (served, is_new, number) in [
            (20_000 * DAY + 1, false, 20_000),
            (20_001 * DAY - 1, false, 20_000),
            (20_001 * DAY, true, 20_001),
            (20_001 * DAY, false, 20_001),
            // Back, too: a time that was stepped.
            (20_000 * DAY, true, 20_000),
        ] {
            assert_eq!(schedule.follow(clocks(Some(served), 0, 100)), is_new, "{served}");
            assert_eq!(schedule.keyring().period(), day(number), "{served}");
        }
    }

    #[test]
    fn without_a_time_the_host_counts_and_then_the_last_time_goes_on() {
        let mut schedule = schedule(&[1], clocks(None, 5, 100));
        assert_eq!(
            (schedule.keyring().period(), schedule.time()),
            (day(0), Time::Unknown)
        );
        assert!(schedule.follow(clocks(Some(20_000 * DAY), 6, 101)));
        assert_eq!(
            (schedule.keyring().period(), schedule.time()),
            (day(20_000), Time::Vouched)
        );
        // The host's clock is still wrong: it doesn't count.
        assert!(schedule.follow(clocks(None, 7, 102)));
        assert_eq!(
            (schedule.keyring().period(), schedule.time()),
            (day(20_000), Time::Unknown)
        );
        assert!(schedule.follow(clocks(None, 8, 101 + DAY)));
        assert_eq!(schedule.keyring().period(), day(20_001));
        assert!(!schedule.follow(clocks(None, 9, 102 + DAY)));
    }

    #[test]
    fn rotation_refuses_no_cookie_that_was_just_given() {
        let mut schedule = schedule(&[1], clocks(Some(20_000 * DAY), 0, 0));
        let old = cookie(&schedule);
        for days in 1..=8 {
            assert!(schedule.follow(clocks(Some((20_000 + days) * DAY), 0, days * DAY)));
            assert_eq!(accepts(&schedule, &old), days <= 7, "after {days} days");
        }
    }

    /// Three servers get the new line one after the other, with both lines for a while.
    #[test]
    fn a_secret_is_replaced_on_three_servers_without_a_refusal() {
        let now = clocks(Some(20_000 * DAY), 0, 0);
        let mut servers: Vec<_> = (0..3).map(|_| schedule(&[1], now)).collect();
        let mut given: Vec<Vec<u8>> = servers.iter().map(cookie).collect();
        // The new secret has to be known everywhere before the first one seals with it.
        for secrets in [[1, 2], [2, 1]] {
            for number in 0..servers.len() {
                assert!(servers[number].replace(all(&secrets), RULES, now).unwrap());
                given.push(cookie(&servers[number]));
                for (cookie, server) in given
                    .iter()
                    .flat_map(|cookie| servers.iter().map(move |one| (cookie, one)))
                {
                    assert!(accepts(server, cookie), "{secrets:?} {number}");
                }
            }
        }
        assert!(servers[0].replace(all(&[2]), RULES, now).unwrap());
        assert!(!accepts(&servers[0], &given[0]));
        assert!(accepts(&servers[0], given.last().unwrap()));
    }

    #[test]
    fn what_stays_is_no_news_and_what_is_wrong_changes_nothing() {
        let now = clocks(Some(20_000 * DAY), 0, 0);
        let mut schedule = schedule(&[1], now);
        let before = Arc::clone(schedule.keyring());
        assert_eq!(schedule.replace(all(&[1]), RULES, now), Ok(false));
        assert_eq!(
            schedule.replace(all(&[1, 1]), RULES, now),
            Err(KeyringFault::Alike)
        );
        assert!(Arc::ptr_eq(&before, schedule.keyring()));
        let kept = PeriodRules { keep: 8, ..RULES };
        assert_eq!(schedule.replace(all(&[1]), kept, now), Ok(true));
    }

    /// A reload while the time is not vouched for doesn't fall back to the host's clock.
    #[test]
    fn a_reload_in_a_dispute_keeps_the_time() {
        let mut schedule = schedule(&[1], clocks(Some(20_000 * DAY), 0, 0));
        schedule
            .replace(all(&[2, 1]), RULES, clocks(None, 5, 10))
            .unwrap();
        assert_eq!(schedule.keyring().period(), day(20_000));
    }

    proptest! {
        /// Three servers with one file accept each other's cookies if their clocks differ by less than a period.
        ///
        /// So does a host that doesn't know the time at all.
        #[test]
        fn servers_with_one_secret_understand_each_other(
            seconds in DAY..4_000_000_000_u64,
            apart in prop::array::uniform3(0..DAY),
            lost in 0..8_000_000_000_u64,
        ) {
            let known = apart.map(|ahead| schedule(&[3], clocks(Some(seconds + ahead), 0, 0)));
            let lost = schedule(&[3], clocks(None, lost, 0));
            for server in &known {
                let cookie = cookie(server);
                prop_assert!(known.iter().all(|other| accepts(other, &cookie)));
                prop_assert!(accepts(&lost, &cookie));
            }
        }
    }
}
