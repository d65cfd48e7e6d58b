//! Pure. The metrics of what commands have changed.

use std::fmt;

use super::Page;
use crate::observe::snapshot::{CommandCounts, UpstreamChange};

impl Page<'_> {
    pub(super) fn commands(&mut self, commands: CommandCounts) -> fmt::Result {
        let results = [("done", commands.done), ("refused", commands.refused)];
        self.counters(
            "commands_total",
            "Commands that change the running server, by result",
            results.map(|(result, count)| (vec![("result", result.to_owned())], count)),
        )
    }

    pub(super) fn upstream_changes(&mut self, changes: &[UpstreamChange]) -> fmt::Result {
        let count = |change: &'static str| {
            let count = changes.iter().filter(|one| one.change == change).count();
            (
                vec![("change", change.to_owned())],
                u64::try_from(count).unwrap_or(0),
            )
        };
        self.gauges(
            "changed_upstreams",
            "Upstreams that commands have added, removed or paused until the restart",
            ["added", "removed", "paused"].map(count),
        )
    }
}
