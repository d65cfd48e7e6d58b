//! Impure. The enforcement of the budget: compares what the workers sent with it, and sets what they shed.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::fast_path::budget_share::Demand;
use crate::host::clock;
use crate::observe::snapshot::BudgetStatus;
use crate::server::Allowance;
use crate::server::policy::RuleMode;
use crate::server::policy::budget::{Budget, BudgetController, SentCounts};

/// Shortest time between two comparisons: counts over less are not significant.
const SHORTEST: Duration = Duration::from_millis(500);

/// The time without a shed request after which shedding is over.
const QUIET: Duration = Duration::from_secs(10);

/// The budget, and its state.
pub(super) struct Shedding {
    controller: BudgetController,
    allowance: Arc<Allowance>,
    /// Counts of what had been sent, at the last comparison, and those of the fast path among them.
    sent: SentCounts,
    fast: SentCounts,
    /// The replies a second of the fast path until then.
    fast_rate: f64,
    /// The requests a second until then that were answered or shed.
    asked: f64,
    /// Time of the last comparison.
    at: Duration,
    /// Time of the last shed request, while the log says that some are shed.
    quiet_since: Option<Duration>,
}

impl Shedding {
    /// The budget before the first comparison: nothing is shed.
    pub(super) fn new(budget: Budget) -> Self {
        let controller = BudgetController::new(budget);
        Self {
            allowance: Arc::new(Allowance::new(controller.rates())),
            controller,
            sent: SentCounts::default(),
            fast: SentCounts::default(),
            fast_rate: 0.0,
            asked: 0.0,
            at: clock::raw(),
            quiet_since: None,
        }
    }

    /// Returns the workers' allowance, as they read it.
    pub(super) fn allowance(&self) -> &Arc<Allowance> {
        &self.allowance
    }

    /// Sets another budget.
    pub(super) fn set_budget(&mut self, budget: Budget) {
        self.controller.change(budget);
        self.allowance.set(self.controller.rates());
    }

    /// Compares what all workers `sent` so far, and what the fast path did.
    ///
    /// Returns what is asked; `None` if the last comparison was just now.
    pub(super) fn update(&mut self, sent: SentCounts, fast: SentCounts) -> Option<Demand> {
        let now = clock::raw();
        let time = now.saturating_sub(self.at);
        if time < SHORTEST {
            return None;
        }
        let sent = SentCounts {
            taken: self.allowance.taken(),
            ..sent.plus(fast)
        };
        let new = sent.since(self.sent);
        self.allowance.set(self.controller.adjust(new, time));
        self.fast_rate = fast.since(self.fast).asked(time);
        (self.sent, self.fast, self.at) = (sent, fast, now);
        self.asked = new.asked(time);
        self.log_change(new.taken.shed > 0, now);
        Some(Demand {
            ceiling: self.controller.ceiling(),
            asked: self.asked,
        })
    }

    /// Returns the status of the budget; `None` without one.
    pub(super) fn status(&self) -> Option<BudgetStatus> {
        let mode = self.controller.mode();
        (mode != RuleMode::Off).then(|| BudgetStatus {
            mode: mode.name(),
            allowed: self.controller.ceiling(),
            asked: self.asked,
            shedding: self.quiet_since.is_some(),
            saved_bytes: self.controller.saved(),
        })
    }

    /// Has the workers answer what the fast path answered until now.
    pub(super) fn take_over(&mut self) {
        self.allowance.set(self.controller.take_over(self.fast_rate));
    }

    fn log_change(&mut self, is_shedding: bool, now: Duration) {
        let budget = self.controller.mode().name();
        match self.quiet_since {
            None if is_shedding => {
                warn!(
                    budget,
                    "over the budget: requests of the heaviest and of new clients are dropped"
                );
                self.quiet_since = Some(now);
            }
            Some(_) if is_shedding => self.quiet_since = Some(now),
            Some(since) if now.saturating_sub(since) >= QUIET => {
                info!(budget, "within the budget: requests are no longer dropped");
                self.quiet_since = None;
            }
            None | Some(_) => {}
        }
    }
}
