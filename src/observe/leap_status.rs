//! Pure. The knowledge of leap seconds: the list, the next one, and the number of listeners that smear it.
//!
//! Its JSON names are stable, as those of the whole [snapshot](super::snapshot).

use std::fmt;

use serde::Serialize;

use crate::leap::{LEAP_LIST_WARNS, LeapTable};
use crate::time::{NtpDuration, NtpTimestamp};

/// The knowledge of leap seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LeapStatus {
    /// Seconds until the list of leap seconds expires; negative if it has; `null` without a list.
    pub list_expires_in: Option<i64>,
    /// The leap second of the list that comes next, or is near: `insert` or `delete`; `null` if none does.
    pub next: Option<&'static str>,
    /// Seconds until the midnight of that one; negative after it.
    pub next_in: Option<f64>,
    /// Whether the list and the upstreams disagree about a leap second that is near.
    pub disputed: bool,
    /// Number of listeners that smear leap seconds.
    pub smearing_listeners: u64,
}

impl LeapStatus {
    /// Returns what is known at the served time `utc`.
    pub fn of(
        list: Option<&LeapTable>,
        utc: NtpTimestamp,
        disputed: bool,
        smearing_listeners: usize,
    ) -> Self {
        let comes =
            |event: &crate::leap::LeapEvent| event.is_near(utc) || event.midnight() - utc > NtpDuration::ZERO;
        let next = list.and_then(|list| list.events().find(comes));
        Self {
            list_expires_in: list.map(|list| list.expires_in(utc)),
            next: next.map(|event| event.kind.name()),
            next_in: next.map(|event| (event.midnight() - utc).to_seconds()),
            disputed,
            smearing_listeners: u64::try_from(smearing_listeners).unwrap_or(u64::MAX),
        }
    }

    /// Returns whether a listener smears, and there is no current list.
    pub fn lacks_list(&self) -> bool {
        self.smearing_listeners > 0 && self.list_expires_in.is_none_or(|left| left <= 0)
    }
}

/// A line for people.
impl fmt::Display for LeapStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.list_expires_in {
            None => f.write_str("no list: the upstreams decide")?,
            Some(left @ ..=0) => write!(f, "the list EXPIRED {} days ago", -left / 86_400)?,
            Some(left @ ..=LEAP_LIST_WARNS) => {
                write!(f, "the list expires in {} days: update tzdata", left / 86_400)?
            }
            Some(left) => write!(f, "the list expires in {} days", left / 86_400)?,
        }
        if let Some((kind, left)) = self.next.zip(self.next_in) {
            let when = if left < 0.0 { "since" } else { "in" };
            write!(f, "; next: {kind}, {when} {:.0} h", (left.abs() / 3600.0).floor())?;
        }
        if self.disputed {
            f.write_str("; DISPUTED: the upstreams say otherwise")?;
        }
        match self.smearing_listeners {
            0 => Ok(()),
            _ if self.lacks_list() => f.write_str("; NOT SMEARED: that takes a current list"),
            some => write!(f, "; smeared at {some} listeners"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list that expires on 2027-06-28.
    const LIST: &str = "#@ 4023129600\n3644697600 36\n3692217600 37\n4007491200 36\n";
    const DAY: i64 = 86_400;

    #[test]
    fn a_line_for_people() {
        let list = LeapTable::parse(LIST).unwrap();
        let expiry = 4_023_129_600 - 2_208_988_800;
        // 2026-12-29 is the day of a leap second here, for the test only.
        let midnight = 4_007_491_200 - 2_208_988_800;
        for (list, unix, disputed, smearing, expected) in [
            (None, 0, false, 0, "no list: the upstreams decide"),
            (
                None,
                0,
                false,
                2,
                "no list: the upstreams decide; NOT SMEARED: that takes a current list",
            ),
            (
                Some(&list),
                expiry - 29 * DAY,
                false,
                0,
                "the list expires in 29 days",
            ),
            (
                Some(&list),
                expiry - 28 * DAY,
                false,
                1,
                "the list expires in 28 days: update tzdata; smeared at 1 listeners",
            ),
            (
                Some(&list),
                expiry + 5 * DAY,
                false,
                1,
                "the list EXPIRED 5 days ago; NOT SMEARED: that takes a current list",
            ),
            (
                Some(&list),
                midnight - 7200,
                true,
                0,
                "the list expires in 181 days; next: delete, in 2 h; DISPUTED: the upstreams say otherwise",
            ),
            (
                Some(&list),
                midnight + 7200,
                false,
                0,
                "the list expires in 180 days; next: delete, since 2 h",
            ),
        ] {
            let status = LeapStatus::of(list, NtpTimestamp::from_unix(unix, 0), disputed, smearing);
            assert_eq!(status.to_string(), expected);
        }
    }
}
