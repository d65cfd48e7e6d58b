//! Impure. The budget at work: what the workers sent is compared with what may be sent, and they are told what to shed.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::host::clock;
use crate::serve::Bearable;
use crate::serve::budget::{Budget, Governor, Sent};

/// Counts of less time than this say little.
const SHORTEST: Duration = Duration::from_millis(500);

/// Who compares, and how the workers know.
pub(super) struct Shedding {
    governor: Governor,
    bearable: Arc<Bearable>,
    /// What had been sent, and when that was looked at.
    sent: Sent,
    at: Duration,
    is_shedding: bool,
}

impl Shedding {
    /// Nothing is shed until the first look.
    pub(super) fn new(budget: Budget) -> Self {
        Self {
            governor: Governor::new(budget),
            bearable: Arc::default(),
            sent: Sent::default(),
            at: clock::raw(),
            is_shedding: false,
        }
    }

    /// Where the workers look.
    pub(super) fn bearable(&self) -> &Arc<Bearable> {
        &self.bearable
    }

    /// From now on another budget.
    pub(super) fn change(&mut self, budget: Budget) {
        self.governor.change(budget);
    }

    /// Looks at what all workers `sent` so far.
    pub(super) fn look(&mut self, sent: Sent) {
        let now = clock::raw();
        let time = now.saturating_sub(self.at);
        if time < SHORTEST {
            return;
        }
        let bearable = self.governor.bearable(sent.since(self.sent), time);
        self.bearable.set(bearable);
        (self.sent, self.at) = (sent, now);
        self.tell(bearable.is_finite());
    }

    fn tell(&mut self, is_shedding: bool) {
        if is_shedding == self.is_shedding {
            return;
        }
        self.is_shedding = is_shedding;
        let budget = self.governor.mode().name();
        if is_shedding {
            warn!(budget, "over the budget: the heaviest clients are shed");
        } else {
            info!(budget, "within the budget: nobody is shed any more");
        }
    }
}
