//! Pure. The changes by commands at run time, in words for `status`.

use super::snapshot::DrainStatus;

/// Returns the drain of a listener in one line.
pub(super) fn drain(drain: &DrainStatus) -> String {
    let begins = drain
        .begins_in
        .map_or_else(|| "no time".to_owned(), |left| format!("begins in {left:.0} s"));
    let ends = drain
        .ends_in
        .map_or_else(String::new, |left| format!(", ends in {left:.0} s"));
    format!("drained by {}: {begins}{ends}", drain.by)
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
            "drained by configuration: no time"
        );
        assert_eq!(
            said("command", Some(4.6), Some(64.6)),
            "drained by command: begins in 5 s, ends in 65 s"
        );
    }
}
