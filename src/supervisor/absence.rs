//! Pure. Listeners that can't be opened: which failures end a start or refuse a reload, and which are retried.

use std::time::Duration;

use crate::host::bind_fault::BindFault;

/// Delay from the first notice of the kernel to the check of all listeners: notices come in groups (link, address).
const SETTLED: Duration = Duration::from_millis(100);
/// Shortest time from one check to the next, however many notices there are.
const APART: Duration = Duration::from_secs(1);
/// Time to the next check without notices: they don't report everything (an address without an interface, a free port).
const SLOW: Duration = Duration::from_secs(30);

/// The consequence of a listener that can't be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Opened as soon as that is possible.
    Wait,
    /// Ignored.
    LeaveOut,
    /// Fatal: the start or the reload ends, and nothing is changed.
    Refuse,
}

/// Returns the consequence of a listener that can't be opened for this reason.
///
/// `required` is its key; `is_default` is for listeners that are built in and not configured.
pub(super) const fn outcome(fault: BindFault, required: bool, is_default: bool) -> Outcome {
    if is_default && matches!(fault, BindFault::NoFamily) {
        Outcome::LeaveOut
    } else if fault.is_absence() && !required {
        Outcome::Wait
    } else {
        // A port that is taken or forbidden needs an operator, so the failure must be visible.
        Outcome::Refuse
    }
}

/// The time of the next check of all listeners, by the raw counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    looked_at: Duration,
    news_at: Option<Duration>,
}

impl Schedule {
    /// A schedule after a check at `now`.
    pub(super) const fn new(now: Duration) -> Self {
        Self {
            looked_at: now,
            news_at: None,
        }
    }

    /// Takes a notice of the kernel.
    pub(super) fn note_change(&mut self, now: Duration) {
        self.news_at.get_or_insert(now);
    }

    /// Whether there were notices since the last check.
    pub(super) const fn has_changes(&self) -> bool {
        self.news_at.is_some()
    }

    /// Returns the time of the next check.
    pub(super) fn due(&self) -> Duration {
        let slow = self.looked_at.saturating_add(SLOW);
        let soon = self.news_at.map_or(slow, |news_at| {
            let settled = news_at.saturating_add(SETTLED);
            settled.max(self.looked_at.saturating_add(APART))
        });
        soon.min(slow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::shortage::Shortage;

    #[test]
    fn only_an_absence_is_waited_out() {
        let short = BindFault::Short(Shortage::ProcessFiles);
        for (fault, required, is_default, expected) in [
            (BindFault::NoAddress, false, false, Outcome::Wait),
            (BindFault::Tentative, false, false, Outcome::Wait),
            (BindFault::NoInterface, false, false, Outcome::Wait),
            (BindFault::NoAddress, true, false, Outcome::Refuse),
            (BindFault::Tentative, true, false, Outcome::Refuse),
            (BindFault::NoInterface, true, false, Outcome::Refuse),
            (BindFault::NoFamily, false, true, Outcome::LeaveOut),
            (BindFault::NoFamily, false, false, Outcome::Refuse),
            (BindFault::Taken, false, false, Outcome::Refuse),
            (BindFault::Taken, false, true, Outcome::Refuse),
            (BindFault::Forbidden, false, false, Outcome::Refuse),
            (short, false, false, Outcome::Refuse),
            (BindFault::Refused, false, false, Outcome::Refuse),
        ] {
            assert_eq!(
                outcome(fault, required, is_default),
                expected,
                "{fault:?} {required} {is_default}"
            );
        }
    }

    #[test]
    fn they_are_looked_at_soon_after_news_not_too_often_and_now_and_then() {
        let at = Duration::from_millis;
        for (looked_at, news, due) in [
            (1000, [].as_slice(), 31_000),
            (1000, &[5000], 5100),
            (1000, &[5000, 5050, 9000], 5100),
            (1000, &[1010], 2000),
            (1000, &[1950], 2050),
            (1000, &[30_950], 31_000),
        ] {
            let mut schedule = Schedule::new(at(looked_at));
            news.iter().for_each(|&millis| schedule.note_change(at(millis)));
            assert_eq!(schedule.due(), at(due), "{looked_at} {news:?}");
            assert_eq!(schedule.has_changes(), !news.is_empty());
        }
    }
}
