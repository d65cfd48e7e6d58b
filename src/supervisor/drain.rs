//! Pure. The drain of a listener by command: it begins at once or later, and ends by itself or by command.

use std::time::Duration;

use crate::observe::snapshot::DrainStatus;

/// A drain. Its times are by the raw counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Drain {
    /// The time from which on clients get "unsynchronized".
    begins: Duration,
    /// Its end; `None` if only a command ends it.
    ends: Option<Duration>,
}

/// The phase of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DrainPhase {
    /// Clients still get the time.
    Announced,
    /// Clients get "unsynchronized".
    InEffect,
    /// Ended by itself.
    Over,
}

impl Drain {
    /// A drain by a command at `now`: it begins `after` this number of seconds, and ends `length` seconds later.
    pub(super) fn new(now: Duration, after: u32, length: Option<u32>) -> Self {
        let begins = now + Duration::from_secs(after.into());
        Self {
            begins,
            ends: length.map(|length| begins + Duration::from_secs(length.into())),
        }
    }

    pub(super) fn phase(&self, now: Duration) -> DrainPhase {
        if self.ends.is_some_and(|end| now >= end) {
            DrainPhase::Over
        } else if now >= self.begins {
            DrainPhase::InEffect
        } else {
            DrainPhase::Announced
        }
    }

    /// Returns it as it is displayed at `now`.
    pub(super) fn status(&self, now: Duration) -> DrainStatus {
        let until = |time: Duration| time.saturating_sub(now).as_secs_f64();
        DrainStatus {
            by: "command",
            begins_in: (self.phase(now) == DrainPhase::Announced).then(|| until(self.begins)),
            ends_in: self.ends.map(until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_drain_begins_and_ends_by_itself() {
        use DrainPhase::{Announced, InEffect, Over};
        for (after, length, phases) in [
            (0, None, [InEffect, InEffect, InEffect, InEffect]),
            (0, Some(5), [InEffect, InEffect, Over, Over]),
            (5, None, [Announced, Announced, InEffect, InEffect]),
            (5, Some(5), [Announced, Announced, InEffect, Over]),
            (4, Some(1), [Announced, InEffect, Over, Over]),
            (u32::MAX, Some(u32::MAX), [Announced; 4]),
        ] {
            let drain = Drain::new(at(100), after, length);
            let found = [100, 104, 105, 110].map(|now| drain.phase(at(now)));
            assert_eq!(found, phases, "{drain:?}");
        }
    }

    #[test]
    fn the_status_counts_down() {
        let status = |now| Drain::new(at(100), 5, Some(60)).status(at(now));
        let shown = |begins_in, ends_in| DrainStatus {
            by: "command",
            begins_in,
            ends_in,
        };
        assert_eq!(status(101), shown(Some(4.0), Some(64.0)));
        assert_eq!(status(105), shown(None, Some(60.0)));
        assert_eq!(Drain::new(at(100), 0, None).status(at(200)), shown(None, None));
    }
}
