//! Pure. The watch over the health of a server: which of its answers is a change, and how flapping is damped.

use std::time::Duration;

/// A thing that a watch has to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthChange {
    /// The server is healthy, and has been for long enough.
    Healthy,
    /// The server is not healthy. That counts at once.
    NotHealthy,
    /// The server is healthy, which does not count yet. Reported once before each time that it counts.
    Waiting,
}

/// The watch.
#[derive(Clone, Debug)]
pub struct HealthWatch {
    /// The time for which it has to be healthy before that counts.
    up_after: Duration,
    /// The health that was reported last.
    reported: Option<bool>,
    /// The time since which it is healthy without a break.
    healthy_since: Option<Duration>,
    has_said_to_wait: bool,
}

impl HealthWatch {
    /// A watch of which nothing is known yet.
    pub const fn new(up_after: Duration) -> Self {
        Self {
            up_after,
            reported: None,
            healthy_since: None,
            has_said_to_wait: false,
        }
    }

    /// Takes the health of the moment `now` (monotonic), and returns what is to be reported.
    pub fn take(&mut self, now: Duration, healthy: bool) -> Option<HealthChange> {
        if !healthy {
            self.healthy_since = None;
            return self.report(false);
        }
        let since = *self.healthy_since.get_or_insert(now);
        if now.saturating_sub(since) >= self.up_after {
            return self.report(true);
        }
        let is_new = self.reported != Some(true) && !self.has_said_to_wait;
        self.has_said_to_wait |= is_new;
        is_new.then_some(HealthChange::Waiting)
    }

    /// Ends the watch: what nothing watches any more must not count as healthy.
    pub fn end(&mut self) -> Option<HealthChange> {
        self.reported.filter(|healthy| *healthy)?;
        self.report(false)
    }

    fn report(&mut self, healthy: bool) -> Option<HealthChange> {
        if self.reported == Some(healthy) {
            return None;
        }
        self.reported = Some(healthy);
        self.has_said_to_wait = false;
        Some(if healthy {
            HealthChange::Healthy
        } else {
            HealthChange::NotHealthy
        })
    }
}

#[cfg(test)]
mod tests {
    use super::HealthChange::{Healthy, NotHealthy, Waiting};
    use super::*;
    use proptest::prelude::*;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn what_counts_at_once_and_what_has_to_last() {
        let mut watch = HealthWatch::new(seconds(10));
        for (now, healthy, expected) in [
            (0, true, Some(Waiting)),
            (5, true, None),
            (9, false, Some(NotHealthy)),
            (10, false, None),
            (11, true, Some(Waiting)),
            (12, false, None),
            // The same trouble: it was said that there is something to wait for.
            (13, true, None),
            (22, true, None),
            (23, true, Some(Healthy)),
            (24, true, None),
            (25, false, Some(NotHealthy)),
            (26, true, Some(Waiting)),
        ] {
            assert_eq!(watch.take(seconds(now), healthy), expected, "{now}");
        }
        assert_eq!(watch.end(), None);
    }

    #[test]
    fn without_damping_each_change_counts_and_the_end_is_one() {
        let mut watch = HealthWatch::new(Duration::ZERO);
        assert_eq!(watch.clone().end(), None);
        for (healthy, expected) in [
            (true, Some(Healthy)),
            (true, None),
            (false, Some(NotHealthy)),
            (true, Some(Healthy)),
        ] {
            assert_eq!(watch.take(seconds(1), healthy), expected);
        }
        assert_eq!(watch.end(), Some(NotHealthy));
        assert_eq!(watch.end(), None);
    }

    proptest! {
        /// Changes alternate; it is never called healthy before its time, and is called not healthy with the first answer.
        #[test]
        fn reports_alternate_and_healthy_has_lasted(
            up_after in 0_u64..20,
            answers in prop::collection::vec((0_u64..5, any::<bool>()), 1..200),
        ) {
            let mut watch = HealthWatch::new(seconds(up_after));
            let (mut now, mut since, mut last) = (0, None, None);
            for (pause, healthy) in answers {
                now += pause;
                since = healthy.then(|| since.unwrap_or(now));
                match watch.take(seconds(now), healthy) {
                    Some(Healthy) => {
                        prop_assert!(last != Some(true) && now - since.unwrap() >= up_after);
                        last = Some(true);
                    }
                    Some(NotHealthy) => {
                        prop_assert!(last != Some(false) && !healthy);
                        last = Some(false);
                    }
                    Some(Waiting) => prop_assert!(healthy && last != Some(true)),
                    None => prop_assert!(healthy || last == Some(false)),
                }
            }
        }
    }
}
