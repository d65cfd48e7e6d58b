//! Pure. A listener that can't be opened: which fault ends a start or refuses a reload, which is waited out, and when it is
//! tried again.

use std::time::Duration;

use crate::host::bind_fault::BindFault;

/// News of the kernel come in groups (link, address): so long after the first one all listeners are looked at together, …
const SETTLED: Duration = Duration::from_millis(100);
/// … no more often than this, however many news there are, …
const APART: Duration = Duration::from_secs(1);
/// … and so often without any: what no news tell of (an address without an interface, a port that is free again) is seen, too.
const SLOW: Duration = Duration::from_secs(30);

/// What becomes of a listener that can't be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is served once that is possible.
    Wait,
    /// It is as if it had not been asked for.
    LeaveOut,
    /// Nothing is done: no start, no reload.
    Refuse,
}

/// What becomes of a listener that can't be opened for this reason: one that is `required`, or that nobody asked for
/// (`is_default`).
pub(super) const fn outcome(fault: BindFault, required: bool, is_default: bool) -> Outcome {
    if is_default && matches!(fault, BindFault::NoFamily) {
        Outcome::LeaveOut
    } else if fault.is_absence() && !required {
        Outcome::Wait
    } else {
        // A port that is taken or forbidden needs an operator, who must hear of it.
        Outcome::Refuse
    }
}

/// When listeners are looked at again, by the raw counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    looked_at: Duration,
    news_at: Option<Duration>,
}

impl Schedule {
    /// They were looked at `now`.
    pub(super) const fn new(now: Duration) -> Self {
        Self {
            looked_at: now,
            news_at: None,
        }
    }

    /// The kernel has news.
    pub(super) fn hear(&mut self, now: Duration) {
        self.news_at.get_or_insert(now);
    }

    /// Has it, since they were looked at?
    pub(super) const fn has_news(&self) -> bool {
        self.news_at.is_some()
    }

    /// When they are looked at next.
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
            news.iter().for_each(|&millis| schedule.hear(at(millis)));
            assert_eq!(schedule.due(), at(due), "{looked_at} {news:?}");
            assert_eq!(schedule.has_news(), !news.is_empty());
        }
    }
}
