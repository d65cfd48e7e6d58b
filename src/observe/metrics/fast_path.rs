//! Pure. The metrics of the fast path.

use std::fmt;

use super::Page;
use crate::observe::snapshot::FastPathStatus;

impl Page<'_> {
    pub(super) fn fast_path(&mut self, fast: Option<&FastPathStatus>) -> fmt::Result {
        let Some(fast) = fast else {
            return Ok(());
        };
        let interfaces = fast.interfaces.iter().map(|one| {
            let mode = one.mode.unwrap_or("off").to_owned();
            (vec![("interface", one.name.clone()), ("mode", mode)], 1_u64)
        });
        self.gauges(
            "fast_path_info",
            "Interfaces of the fast path, and how it is attached",
            interfaces,
        )?;
        self.counters(
            "fast_path_answers_total",
            "Requests answered by the fast path; packets_total includes them",
            [(Vec::new(), fast.answered)],
        )?;
        let families = fast.interfaces.iter().flat_map(|one| {
            let of = |family: &str, answered| {
                let labels = [("interface", one.name.clone()), ("family", family.to_owned())];
                (labels.to_vec(), answered)
            };
            [of("ipv4", one.ipv4.answered), of("ipv6", one.ipv6.answered)]
        });
        self.counters(
            "fast_path_interface_answers_total",
            "Requests answered by the fast path at an interface, since it is attached there",
            families,
        )
    }
}
