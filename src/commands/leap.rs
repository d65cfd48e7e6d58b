//! Impure. `ntpfront leap`: what is known of the next leap second, and what each listener serves around it.

use std::process::ExitCode;
use std::time::Duration;

use super::leap_list;
use super::output::{FAULT, fail, fail_with_faults, print};
use super::paint::fitted;
use crate::cli::{Flags, LeapQuery, SupposedLeap};
use crate::config::file;
use crate::host::clock;
use crate::leap::LeapKind;
use crate::leap::calendar::read;
use crate::observe::leap_forecast::LeapForecast;

/// Prints the forecast; a missing or expired list is no failure.
pub(super) fn run(query: &LeapQuery, flags: &Flags) -> ExitCode {
    let loaded = match file::load(flags) {
        Ok(loaded) => loaded,
        Err(faults) => return fail_with_faults(&faults),
    };
    let at = match query.at.as_deref().map(read).transpose() {
        Ok(at) => at,
        Err(why) => return fail("leap", &why, FAULT),
    };
    if query.every < 1.0 {
        return fail("leap", "--every: at least 1 second", FAULT);
    }
    let path = loaded.config.leap_seconds.as_deref();
    let listeners = loaded.config.listeners.iter();
    let forecast = LeapForecast {
        path: path.map(|path| path.display().to_string()),
        list: path.map_or_else(|| Err("none is configured".to_owned()), leap_list::read),
        now: clock::realtime(),
        supposed: query.suppose.map(SupposedLeap::kind),
        at,
        listeners: listeners.map(|one| (one.address, one.policy.smear)).collect(),
    };
    if query.csv {
        print(&forecast.csv(Duration::try_from_secs_f64(query.every).unwrap_or(Duration::MAX)));
    } else {
        print(&fitted(forecast.to_string()));
    }
    ExitCode::SUCCESS
}

impl SupposedLeap {
    /// Returns the kind of the leap second.
    pub(super) const fn kind(self) -> LeapKind {
        match self {
            Self::Insert => LeapKind::Insert,
            Self::Delete => LeapKind::Delete,
        }
    }
}
