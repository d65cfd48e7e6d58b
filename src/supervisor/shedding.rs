//! Impure. The budget at work: what the workers sent is compared with what may be sent, and they are told what to shed.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::host::clock;
use crate::server::Allowance;
use crate::server::policy::budget::{Budget, Governor, Sent};

/// Counts of less time than this say little.
const SHORTEST: Duration = Duration::from_millis(500);

/// Nobody was shed for so long: then that is over.
const QUIET: Duration = Duration::from_secs(10);

/// Who compares, and how the workers know.
pub(super) struct Shedding {
    governor: Governor,
    allowance: Arc<Allowance>,
    /// What had been sent, and when that was looked at.
    sent: Sent,
    at: Duration,
    /// Since when nobody was shed, if it is told that somebody is.
    quiet_since: Option<Duration>,
}

impl Shedding {
    /// Nothing is shed until the first look.
    pub(super) fn new(budget: Budget) -> Self {
        let governor = Governor::new(budget);
        Self {
            allowance: Arc::new(Allowance::new(governor.rates())),
            governor,
            sent: Sent::default(),
            at: clock::raw(),
            quiet_since: None,
        }
    }

    /// Where the workers look.
    pub(super) fn allowance(&self) -> &Arc<Allowance> {
        &self.allowance
    }

    /// From now on another budget.
    pub(super) fn change(&mut self, budget: Budget) {
        self.governor.change(budget);
        self.allowance.set(self.governor.rates());
    }

    /// Looks at what all workers `sent` so far.
    pub(super) fn look(&mut self, sent: Sent) {
        let now = clock::raw();
        let time = now.saturating_sub(self.at);
        if time < SHORTEST {
            return;
        }
        let sent = Sent {
            taken: self.allowance.taken(),
            ..sent
        };
        let new = sent.since(self.sent);
        self.allowance.set(self.governor.adjust(new, time));
        (self.sent, self.at) = (sent, now);
        self.tell(new.taken.shed > 0, now);
    }

    fn tell(&mut self, is_shedding: bool, now: Duration) {
        let budget = self.governor.mode().name();
        match self.quiet_since {
            None if is_shedding => {
                warn!(
                    budget,
                    "over the budget: the heaviest clients and new ones are shed"
                );
                self.quiet_since = Some(now);
            }
            Some(_) if is_shedding => self.quiet_since = Some(now),
            Some(since) if now.saturating_sub(since) >= QUIET => {
                info!(budget, "within the budget: nobody is shed any more");
                self.quiet_since = None;
            }
            None | Some(_) => {}
        }
    }
}
