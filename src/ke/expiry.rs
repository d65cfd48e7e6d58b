//! Pure. The times at which the log says that a certificate ends: each day before its end, and each day after it.

use std::collections::HashMap;

use crate::host::tls::certificate::CertificateFacts;

const DAY: i64 = 86_400;

/// The time before the end of a certificate from which on it is said, in seconds: two weeks.
pub const SOON: i64 = 14 * DAY;

/// A warning about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryNotice {
    /// The certificate ends in less than [`SOON`].
    Soon,
    /// The certificate has expired, or is not valid yet.
    Invalid,
}

impl ExpiryNotice {
    /// Returns what there is to say of a certificate at `now`, in seconds since 1970.
    pub fn of(facts: &CertificateFacts, now: i64) -> Option<Self> {
        match facts.seconds_left(now) {
            left if left < 0 || now < facts.not_before => Some(Self::Invalid),
            left if left < SOON => Some(Self::Soon),
            _ => None,
        }
    }
}

/// The last time that something was said of each certificate.
#[derive(Debug, Default)]
pub struct ExpiryLog(HashMap<(String, i64), i64>);

impl ExpiryLog {
    /// Returns the certificates of which something is to be said at `now`, in seconds since 1970.
    pub fn due<'a>(
        &mut self,
        certificates: impl Iterator<Item = &'a CertificateFacts>,
        now: i64,
    ) -> Vec<(&'a CertificateFacts, ExpiryNotice)> {
        let mut said = HashMap::new();
        let mut due = Vec::new();
        for facts in certificates {
            let Some(notice) = ExpiryNotice::of(facts, now) else {
                continue;
            };
            let key = (facts.all_names(), facts.not_after);
            let last = self.0.get(&key).copied();
            // Also if the clock was set back.
            let is_due = last.is_none_or(|last| !(0..DAY).contains(&now.saturating_sub(last)));
            if is_due {
                due.push((facts, notice));
            }
            said.insert(key, if is_due { now } else { last.unwrap_or(now) });
        }
        self.0 = said;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(not_after: i64) -> CertificateFacts {
        CertificateFacts {
            names: vec!["time.example".to_owned()],
            not_before: 0,
            not_after,
        }
    }

    #[test]
    fn it_is_said_each_day_from_two_weeks_before_the_end() {
        let one = certificate(100 * DAY);
        let mut log = ExpiryLog::default();
        // A look every hour, over twenty days.
        let said: Vec<(i64, ExpiryNotice)> = (80 * 24..102 * 24)
            .filter_map(|hour| {
                let due = log.due([&one].into_iter(), hour * 3600);
                due.first().map(|(_, notice)| (hour / 24, *notice))
            })
            .collect();
        let days: Vec<i64> = said.iter().map(|(day, _)| *day).collect();
        assert_eq!(days, (86..102).collect::<Vec<_>>());
        let soon = said.iter().filter(|(_, notice)| *notice == ExpiryNotice::Soon);
        assert_eq!(soon.count(), 14);
    }

    #[test]
    fn a_new_certificate_and_a_clock_set_back_are_said_at_once() {
        let (old, new) = (certificate(10 * DAY), certificate(12 * DAY));
        let mut log = ExpiryLog::default();
        let mut due = |one: &CertificateFacts, now| log.due([one].into_iter(), now).len();
        assert_eq!(due(&old, 9 * DAY), 1);
        assert_eq!(due(&old, 9 * DAY + 1), 0);
        assert_eq!(due(&new, 9 * DAY + 2), 1);
        assert_eq!(due(&new, 9 * DAY + 3), 0);
        assert_eq!(due(&new, 3 * DAY), 1);
        assert_eq!(due(&certificate(30 * DAY), 3 * DAY), 0);
    }

    #[test]
    fn what_is_not_valid_yet_is_invalid() {
        let young = CertificateFacts {
            not_before: 50 * DAY,
            ..certificate(100 * DAY)
        };
        assert_eq!(ExpiryNotice::of(&young, 49 * DAY), Some(ExpiryNotice::Invalid));
        assert_eq!(ExpiryNotice::of(&young, 50 * DAY), None);
        assert_eq!(
            ExpiryNotice::of(&young, 100 * DAY + 1),
            Some(ExpiryNotice::Invalid)
        );
    }
}
