//! Pure. The rate at which a count grows.

use std::time::Duration;

/// Rates are of at least this time: the supervisor's tick, or a little less.
const SHORTEST: Duration = Duration::from_millis(900);

/// The rate of a count that only grows, over about the last second.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateMeter {
    last: Option<(Duration, u64)>,
    per_second: f64,
}

impl RateMeter {
    /// Takes the count as it is at `now`, by the raw counter.
    #[expect(clippy::cast_precision_loss, reason = "no rate has as many digits")]
    pub fn update(&mut self, now: Duration, count: u64) {
        let Some((then, before)) = self.last else {
            self.last = Some((now, count));
            return;
        };
        let passed = now.saturating_sub(then);
        if passed >= SHORTEST {
            self.per_second = count.wrapping_sub(before) as f64 / passed.as_secs_f64();
            self.last = Some((now, count));
        }
    }

    /// The rate per second; 0 until it is known.
    pub const fn per_second(&self) -> f64 {
        self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_second() {
        let mut rate = RateMeter::default();
        for (millis, count, expected) in [
            (5000, 100, 0.0),
            (5100, 900, 0.0),
            (6000, 1100, 1000.0),
            (8000, 1100, 0.0),
        ] {
            rate.update(Duration::from_millis(millis), count);
            assert!((rate.per_second() - expected).abs() < 1e-9, "{millis}: {rate:?}");
        }
    }
}
