//! Pure. The interval to the next poll of an association.

use std::time::Duration;

use super::{Association, BURST_LOG2, LOCAL_BURST_LOG2, NAME_RETRY_LOG2, RETRY_LOG2, seconds};

impl Association {
    /// Returns the longest interval after a burst, log2 seconds: it doubles with each sample.
    ///
    /// A burst is enough for the offset, but a frequency needs samples that are far apart. There is no such limit after
    /// a missing answer or a RATE kiss.
    fn widening(&self, burst: i8) -> i8 {
        let wanted = self.settings.upstream.iburst && self.unanswered == 0 && self.rate_minimum.is_none();
        let samples = self.peer.accepted.saturating_sub(self.burst_from);
        if wanted {
            burst.saturating_add(i8::try_from(samples).map_or(i8::MAX, |samples| samples - 3))
        } else {
            i8::MAX
        }
    }

    /// Returns the pause before the next round: none after a refresh.
    ///
    /// `random` adds up to an eighth, so that many servers don't poll at once.
    //= RFC 5905 §13.2 next
    pub fn pause(&self, random: u64) -> Duration {
        if self.is_due {
            return Duration::ZERO;
        }
        let interval = self.all_denied_for.unwrap_or_else(|| seconds(self.interval()));
        let spread = u32::try_from(random % 1024).unwrap_or(0);
        interval + interval * spread / 8192
    }

    /// Returns the interval to the next round, log2 seconds, if not all addresses sent DENY or RSTR.
    fn interval(&self) -> i8 {
        let burst = if self.peer.on_this_host {
            LOCAL_BURST_LOG2
        } else {
            BURST_LOG2
        };
        let tries = i8::try_from(self.faults).unwrap_or(i8::MAX);
        match self.peer.fault {
            Some(fault) if fault.is_of_name() => {
                let [shortest, longest] = NAME_RETRY_LOG2;
                tries.saturating_add(shortest - 1).min(longest)
            }
            // Nothing was sent to another host.
            Some(_) if self.missed.is_some() => (tries - 1).min(RETRY_LOG2),
            Some(_) => tries.saturating_add(burst - 1).min(self.poll.max(burst)),
            None if self.burst_left > 0 => burst,
            // Whatever is configured for a name, another host is not polled more often than in a burst.
            None => self.poll.min(self.widening(burst)).max(burst),
        }
    }
}
