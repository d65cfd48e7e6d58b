//! Pure. Steps of the announced time, as a worker sees them.

use std::time::Duration;

use crate::time::{NtpDuration, NtpTimestamp, within_slew};

/// Compares the announced time with the raw counter, from one batch to the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnnouncedSteps {
    last: Option<(NtpTimestamp, Duration)>,
}

impl AnnouncedSteps {
    /// Returns whether the time was stepped since the last call; now it is `announced`, and the raw counter says `raw`.
    pub fn is_stepped(&mut self, announced: NtpTimestamp, raw: Duration) -> bool {
        let last = self.last.replace((announced, raw));
        last.is_some_and(|(before, raw_before)| {
            !within_slew(announced - before, NtpDuration::between(raw_before, raw))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_seen_once_and_a_slew_is_none() {
        let mut watch = AnnouncedSteps::default();
        let start = NtpTimestamp::from_unix(1_700_000_000, 0);
        for (announced, raw, stepped) in [
            (0.0, 100.0, false),
            (1.0, 101.0, false),
            (11.5, 111.0, false),
            (12.7, 112.0, true),
            (13.7, 113.0, false),
            (13.6, 113.0, true),
            (14.6, 114.0, false),
        ] {
            let announced = start + NtpDuration::from_seconds(announced);
            let found = watch.is_stepped(announced, Duration::from_secs_f64(raw));
            assert_eq!(found, stepped, "{announced:?} {raw}");
        }
    }
}
