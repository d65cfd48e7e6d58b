//! Pure. Interleaved mode, as the status shows it.

use super::upstream_status::UpstreamStatus;
use crate::server::Counts;

/// Returns what is shown of the responses in this mode, if there are any.
pub(super) fn of_responses(counts: &Counts) -> Option<String> {
    (counts.interleaved > 0).then(|| format!("{} responses", counts.interleaved))
}

/// Returns the mode of an upstream, and what it gains by it.
pub(super) fn of_upstream(one: &UpstreamStatus) -> String {
    let mode = if one.interleaved { "interleaved" } else { "basic" };
    let gained = one.correction.map(|correction| {
        let (samples, correction) = (one.corrected, correction * 1e6);
        format!(", {samples} samples corrected, by {correction:.3} us usually")
    });
    format!("{mode}{}", gained.unwrap_or_default())
}
