//! Pure. The times at which the name of a pool is resolved.

use std::time::Duration;

use crate::upstream::fault::QueryFault;

/// Shortest and longest time to the next attempt after one that failed.
const RETRY: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(64)];
/// Shortest and longest time to the next look-up, while the addresses found are not enough.
const AGAIN: [Duration; 2] = [Duration::from_secs(64), Duration::from_secs(3600)];
/// Shortest time between the beginnings of two attempts, however often the network changes.
const APART: Duration = Duration::from_secs(1);

/// The look-ups of one name.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    /// Earliest time of the next one, by the raw counter.
    next: Duration,
    /// The time at which the last one began.
    begun: Duration,
    /// Whether the network has changed since then.
    has_network_changed: bool,
    /// The pause after the next one, if it fails, or does not bring enough.
    retry: Duration,
    again: Duration,
    /// Whether there was no answer since the start or a request of the operator.
    is_first: bool,
    /// Whether one is under way.
    is_pending: bool,
    fault: Option<QueryFault>,
}

impl Lookup {
    /// Returns the state before the first look-up, which is due at `now`.
    pub(super) fn due_at(now: Duration) -> Self {
        Self {
            next: now,
            begun: Duration::ZERO,
            has_network_changed: false,
            retry: RETRY[0],
            again: AGAIN[0],
            is_first: true,
            is_pending: false,
            fault: None,
        }
    }

    /// Makes a look-up due at once.
    pub(super) fn hurry(&mut self) {
        *self = Self {
            begun: self.begun,
            is_pending: self.is_pending,
            fault: self.fault,
            ..Self::due_at(Duration::ZERO)
        };
    }

    /// Begins a look-up if one is due at `now`, and addresses are needed; returns whether it does.
    pub(super) fn begin(&mut self, now: Duration, is_needed: bool) -> bool {
        if !is_needed && !self.is_first {
            self.again = AGAIN[0];
        }
        let is_due = !self.is_pending && now >= self.next && (is_needed || self.is_first);
        if is_due {
            (self.is_pending, self.begun, self.has_network_changed) = (true, now, false);
        }
        is_due
    }

    /// Whether a change of the network may mend what failed the last time.
    pub(super) const fn waits_for_network(&self) -> bool {
        self.fault.is_some()
    }

    /// Takes note of a change of the network: what failed before it is tried again soon after.
    pub(super) fn network_changed(&mut self) {
        self.has_network_changed = true;
        if self.fault.is_some() {
            self.next = self.next.min(self.begun.saturating_add(APART));
        }
    }

    /// Takes note of an answer at `now`.
    pub(super) fn succeeded(&mut self, now: Duration) {
        (self.is_pending, self.is_first, self.fault) = (false, false, None);
        self.next = now.saturating_add(self.again);
        (self.again, self.retry) = ((self.again * 2).min(AGAIN[1]), RETRY[0]);
    }

    /// Takes note of a look-up that failed at `now`.
    pub(super) fn failed(&mut self, fault: QueryFault, now: Duration) {
        (self.is_pending, self.fault) = (false, Some(fault));
        self.next = if self.has_network_changed {
            self.begun.saturating_add(APART)
        } else {
            now.saturating_add(self.retry)
        };
        self.retry = (self.retry * 2).min(RETRY[1]);
    }

    /// Returns the reason why the last one failed, if it did.
    pub(super) const fn fault(&self) -> Option<QueryFault> {
        self.fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    /// The seconds of the look-ups within 3 hours, if each ends at once.
    fn seconds(is_needed: bool, succeeds: impl Fn(u64) -> bool) -> Vec<u64> {
        let mut lookup = Lookup::due_at(at(0));
        let mut begun = Vec::new();
        for second in 0..10_800 {
            if lookup.begin(at(second), is_needed) {
                begun.push(second);
                match succeeds(second) {
                    true => lookup.succeeded(at(second)),
                    false => lookup.failed(QueryFault::Unresolved, at(second)),
                }
            }
        }
        begun
    }

    #[test]
    fn a_name_is_resolved_once_and_then_only_as_needed_ever_more_rarely() {
        assert_eq!(seconds(false, |_| true), [0]);
        assert_eq!(seconds(true, |_| true), [0, 64, 192, 448, 960, 1984, 4032, 7632]);
        assert_eq!(
            seconds(false, |second| second > 200)[..7],
            [0, 2, 6, 14, 30, 62, 126]
        );
        assert_eq!(
            seconds(false, |second| second > 200).len(),
            9,
            "until it is known"
        );
    }

    #[test]
    fn a_change_of_the_network_is_followed_by_an_attempt_but_not_by_one_each() {
        let fault = QueryFault::Unresolved;
        let mut lookup = Lookup::due_at(at(0));
        lookup.network_changed();
        assert!(lookup.begin(at(0), true));
        lookup.failed(fault, at(0));
        assert!(lookup.waits_for_network());
        // The link comes up while none is under way: not 2 s later, but one after the last.
        lookup.network_changed();
        assert!(lookup.begin(at(1), true));
        // It comes up meanwhile.
        lookup.network_changed();
        lookup.failed(fault, at(9));
        assert!(lookup.begin(at(9), true));
        lookup.failed(fault, at(9));
        assert!(!lookup.begin(at(10), true), "nothing has changed");
        let begun = (100..200).filter(|tenth| {
            lookup.network_changed();
            let now = Duration::from_millis(tenth * 100);
            let begins = lookup.begin(now, true);
            if begins {
                lookup.failed(fault, now);
            }
            begins
        });
        assert_eq!(begun.count(), 10, "in 10 s");
        lookup.network_changed();
        assert!(lookup.begin(at(30), true));
        lookup.succeeded(at(30));
        lookup.network_changed();
        assert!(!lookup.waits_for_network() && !lookup.begin(at(31), true));
    }

    #[test]
    fn only_one_is_under_way_and_a_request_comes_at_once() {
        let mut lookup = Lookup::due_at(at(5));
        assert!(!lookup.begin(at(4), true));
        assert!(lookup.begin(at(5), true));
        assert!(!lookup.begin(at(500), true), "it is under way");
        lookup.hurry();
        assert!(!lookup.begin(at(500), true), "still");
        lookup.succeeded(at(500));
        assert!(!lookup.begin(at(501), true));
        lookup.hurry();
        assert!(lookup.begin(at(501), false));
    }
}
