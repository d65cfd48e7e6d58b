//! Pure. The changes by commands at run time, in words for `status`.

use super::snapshot::{DrainStatus, Snapshot};
use super::units::Length;

/// Returns the drain of a listener in one line.
pub(super) fn drain(drain: &DrainStatus) -> String {
    let ends = drain
        .ends_in
        .map_or_else(String::new, |left| format!(", ends in {}", Length(left)));
    match drain.begins_in {
        None => format!("DRAINED by {}: clients get \"unsynchronized\"{ends}", drain.by),
        Some(left) => format!("to be drained by {} in {}{ends}", drain.by, Length(left)),
    }
}

/// Returns the lines on what commands have changed, each with its name.
pub(super) fn lines(snapshot: &Snapshot) -> impl Iterator<Item = (&'static str, String)> {
    let changes = snapshot.upstream_changes.iter();
    let said: Vec<String> = changes
        .map(|one| format!("{} {}", one.upstream, one.change))
        .collect();
    let line = || format!("by command, until the restart: {}", said.join(", "));
    let line = (!said.is_empty()).then(line);
    line.into_iter().map(|line| ("upstreams", line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_says_by_what_and_until_when() {
        let said = |by, begins_in, ends_in| {
            drain(&DrainStatus {
                by,
                begins_in,
                ends_in,
            })
        };
        assert_eq!(
            said("configuration", None, None),
            "DRAINED by configuration: clients get \"unsynchronized\""
        );
        assert_eq!(
            said("command", None, Some(58.0)),
            "DRAINED by command: clients get \"unsynchronized\", ends in 58 s"
        );
        assert_eq!(
            said("command", Some(4.6), Some(64.6)),
            "to be drained by command in 5 s, ends in 1 min 5 s"
        );
    }
}
