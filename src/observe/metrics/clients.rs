//! Pure. The metrics of the clients, and of the limits and the budget that hold for them.

use std::fmt;

use super::{Labels, Page, place};
use crate::census::ClientNumbers;
use crate::observe::snapshot::{BudgetStatus, ListenerStatus};

impl Page<'_> {
    pub(super) fn clients(&mut self, clients: Option<ClientNumbers>) -> fmt::Result {
        let windows = clients.map(|clients| [("5m", clients.last_minutes), ("1h", clients.last_hour)]);
        let windows = windows.into_iter().flatten();
        self.gauges(
            "clients",
            "Number of different clients in the last 5 to 10 minutes, or hour, about; absent without the census",
            windows.map(|(window, number)| (vec![("window", window.to_owned())], number)),
        )
    }

    pub(super) fn policies(&mut self, listeners: &[ListenerStatus]) -> fmt::Result {
        let policy = |one: &ListenerStatus| {
            let policy = &one.policy;
            let modes = [
                ("access", policy.access.unwrap_or("off")),
                ("limit", policy.limit),
                ("budget", policy.budget),
            ];
            let modes = modes.map(|(rule, mode)| (rule, mode.to_owned()));
            (place(one).into_iter().chain(modes).collect(), 1_u64)
        };
        self.gauges(
            "listener_policy_info",
            "Modes of the listener's policies: off, dry-run or on",
            listeners.iter().map(policy),
        )?;
        let interval = |one: &ListenerStatus| Some((place(one), one.policy.limit_interval?));
        self.gauges(
            "limit_interval_seconds",
            "Time after which the limit allows a client another request; absent where it is off",
            listeners.iter().filter_map(interval),
        )?;
        let burst = |one: &ListenerStatus| Some((place(one), u64::from(one.policy.limit_burst?)));
        self.gauges(
            "limit_burst",
            "Requests of a client that the limit allows at once; absent where it is off",
            listeners.iter().filter_map(burst),
        )
    }

    pub(super) fn budget(&mut self, budget: Option<BudgetStatus>) -> fmt::Result {
        let mut value = |name, help, of: fn(BudgetStatus) -> Option<f64>| {
            let value = budget.and_then(of);
            self.gauges(name, help, value.map(|value| (Labels::new(), value)))
        };
        value(
            "budget_allowed_responses",
            "Responses per second that the budget allows now; absent without a budget",
            |budget| Some(budget.allowed),
        )?;
        value(
            "budget_requests",
            "Requests per second that asked for a response of the budget; absent without a budget",
            |budget| Some(budget.asked),
        )?;
        value(
            "budget_shedding",
            "1 if requests were dropped for the budget in the last 10 s, or would have been in dry-run mode",
            |budget| Some(f64::from(u8::from(budget.shedding))),
        )?;
        value(
            "budget_saved_bytes",
            "Bytes of gigabytes-per-month that were not used so far, those of a day at most",
            |budget| budget.saved_bytes,
        )
    }
}
