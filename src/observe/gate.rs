//! Pure. The gate that keeps the log readable whatever the network sends: a line a minute and kind.

use std::time::Duration;

/// The shortest time between two lines of one kind.
const MINUTE: Duration = Duration::from_secs(60);

/// One kind of line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gate {
    opens_at: Option<Duration>,
}

impl Gate {
    /// May a line be written at `now` (monotonic)? If so, the gate is closed for the next minute.
    pub fn pass(&mut self, now: Duration) -> bool {
        let open = self.opens_at.is_none_or(|opens_at| now >= opens_at);
        if open {
            self.opens_at = Some(now.saturating_add(MINUTE));
        }
        open
    }
}

/// A value whose changes are told, each new value through a gate of its own: a new kind of trouble is told at
/// once, flapping is not, and what was told last is never wrong for more than a minute.
#[derive(Clone, Debug)]
pub struct Told<T> {
    told: T,
    gates: Vec<(T, Gate)>,
}

impl<T: Copy + PartialEq> Told<T> {
    /// `first` needs not to be told.
    pub fn new(first: T) -> Self {
        Self {
            told: first,
            gates: Vec::new(),
        }
    }

    /// If it is now `value`, and that may be told: what was told before. `value` counts as told then.
    pub fn change(&mut self, value: T, now: Duration) -> Option<T> {
        if value == self.told || !self.may_tell(value, now) {
            return None;
        }
        Some(std::mem::replace(&mut self.told, value))
    }

    fn may_tell(&mut self, value: T, now: Duration) -> bool {
        if let Some((_, gate)) = self.gates.iter_mut().find(|(of, _)| *of == value) {
            return gate.pass(now);
        }
        let mut gate = Gate::default();
        let open = gate.pass(now);
        self.gates.push((value, gate));
        open
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
        let mut gate = Gate::default();
        let passed: Vec<u64> = (5..200).filter(|&second| gate.pass(at(second))).collect();
        assert_eq!(passed, [5, 65, 125, 185]);
    }

    #[test]
    fn flapping_is_told_once_a_minute_and_ends_with_the_truth() {
        let mut told = Told::new('a');
        assert_eq!(told.change('a', at(1)), None);
        assert_eq!(told.change('b', at(2)), Some('a'));
        assert_eq!(told.change('a', at(3)), Some('b'));
        assert_eq!(told.change('b', at(4)), None);
        assert_eq!(told.change('c', at(5)), Some('a'));
        assert_eq!(told.change('b', at(6)), None);
        assert_eq!(told.change('b', at(62)), Some('c'));
    }
}
