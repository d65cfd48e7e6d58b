//! Pure. The limit that keeps the log readable whatever the network sends: one line per minute and kind.

use std::time::Duration;

/// The shortest time between two lines of one kind.
const MINUTE: Duration = Duration::from_secs(60);

/// A limit for one kind of line: one per minute.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogThrottle {
    opens_at: Option<Duration>,
}

impl LogThrottle {
    /// Permission to write a line at `now` (monotonic).
    ///
    /// Where it is given, the next one is a minute later.
    pub fn pass(&mut self, now: Duration) -> bool {
        let is_open = self.opens_at.is_none_or(|opens_at| now >= opens_at);
        if is_open {
            self.opens_at = Some(now.saturating_add(MINUTE));
        }
        is_open
    }
}

/// A value whose changes are logged, each new value through a [`LogThrottle`] of its own.
///
/// A new kind of trouble is logged at once, flapping is not, and the last logged value is wrong for a minute
/// at most.
#[derive(Clone, Debug)]
pub struct ThrottledChange<T> {
    logged: T,
    throttles: Vec<(T, LogThrottle)>,
}

impl<T: Copy + PartialEq> ThrottledChange<T> {
    /// A change from `first`, which counts as logged.
    pub fn new(first: T) -> Self {
        Self {
            logged: first,
            throttles: Vec::new(),
        }
    }

    /// The value that was logged before, if `value` is another one and may be logged at `now` (monotonic).
    ///
    /// From then on `value` counts as logged.
    pub fn change(&mut self, value: T, now: Duration) -> Option<T> {
        if value == self.logged || !self.pass(value, now) {
            return None;
        }
        Some(std::mem::replace(&mut self.logged, value))
    }

    fn pass(&mut self, value: T, now: Duration) -> bool {
        if let Some((_, throttle)) = self.throttles.iter_mut().find(|(of, _)| *of == value) {
            return throttle.pass(now);
        }
        let mut throttle = LogThrottle::default();
        let is_open = throttle.pass(now);
        self.throttles.push((value, throttle));
        is_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn one_line_a_minute() {
        let mut throttle = LogThrottle::default();
        let passed: Vec<u64> = (5..200).filter(|&second| throttle.pass(at(second))).collect();
        assert_eq!(passed, [5, 65, 125, 185]);
    }

    #[test]
    fn flapping_is_logged_once_a_minute_and_ends_with_the_truth() {
        let mut value = ThrottledChange::new('a');
        assert_eq!(value.change('a', at(1)), None);
        assert_eq!(value.change('b', at(2)), Some('a'));
        assert_eq!(value.change('a', at(3)), Some('b'));
        assert_eq!(value.change('b', at(4)), None);
        assert_eq!(value.change('c', at(5)), Some('a'));
        assert_eq!(value.change('b', at(6)), None);
        assert_eq!(value.change('b', at(62)), Some('c'));
    }
}
