//! Pure. The share of requests with a MAC, as text.

use crate::server::{Counts, Verdict};

/// Returns the share of requests with a MAC; `None` if there was none.
pub(super) fn of(counts: &Counts) -> Option<String> {
    let answered = counts.of(Verdict::AnsweredMac);
    let (wrong, unknown) = (counts.of(Verdict::RefusedMac), counts.of(Verdict::RefusedMacKey));
    (answered + wrong + unknown > 0)
        .then(|| format!("{answered} answered, {wrong} not genuine, {unknown} of unknown keys"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Counters;

    #[test]
    fn it_is_told_once_there_was_one() {
        let counters = Counters::default();
        counters.count(&[4 << 3 | 3], Verdict::AnsweredClient);
        counters.count(&[4 << 3 | 3], Verdict::RefusedMacRequired);
        assert_eq!(of(&counters.snapshot()), None);
        for (verdict, times) in [
            (Verdict::AnsweredMac, 3),
            (Verdict::RefusedMac, 2),
            (Verdict::RefusedMacKey, 1),
        ] {
            (0..times).for_each(|_| counters.count(&[4 << 3 | 3], verdict));
        }
        let expected = "3 answered, 2 not genuine, 1 of unknown keys";
        assert_eq!(of(&counters.snapshot()).as_deref(), Some(expected));
    }
}
