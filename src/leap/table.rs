//! Pure. The list of leap seconds, and the warning before one.

use std::cmp::Ordering;

use super::calendar::Date;
use super::{DAY, LeapEvent, LeapKind, PIVOT};
use crate::time::{NtpDuration, NtpTimestamp};
use crate::wire::Leap;

/// Seconds from 1900, the epoch of the list, to 1970.
const UNIX_EPOCH_IN_NTP: i64 = 2_208_988_800;

/// The list of announced leap seconds, as IERS and IANA publish it (`leap-seconds.list`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeapTable {
    /// Seconds since 1970 until which the list is complete.
    expires: i64,
    /// The differences TAI - UTC, each with its first second (since 1970), in order.
    events: Vec<(i64, i64)>,
}

impl LeapTable {
    /// Reads the text of a `leap-seconds.list`: lines `NTP-SECONDS TAI-UTC`, and `#@ NTP-SECONDS` for its expiry.
    ///
    /// # Errors
    /// The first error, with the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut table = Self {
            expires: i64::MIN,
            events: Vec::new(),
        };
        for (index, line) in text.lines().enumerate() {
            let wrong = || format!("line {}: {line:.40?} is no leap second", index + 1);
            let unix = |text: &str| text.parse::<i64>().ok()?.checked_sub(UNIX_EPOCH_IN_NTP);
            if let Some(expiry) = line.strip_prefix("#@") {
                table.expires = unix(expiry.trim()).ok_or_else(wrong)?;
            } else if !line.starts_with('#') && !line.trim().is_empty() {
                let mut words = line.split_ascii_whitespace();
                let at = words.next().and_then(unix).ok_or_else(wrong)?;
                let difference = words
                    .next()
                    .and_then(|word| word.parse().ok())
                    .ok_or_else(wrong)?;
                table.events.push((at, difference));
            }
        }
        if table.expires == i64::MIN {
            return Err("it does not say when it expires (a line that starts with #@)".to_owned());
        }
        table.events.sort_unstable();
        Ok(table)
    }

    /// Returns whether the list is not expired at `now`.
    pub fn is_current(&self, now: NtpTimestamp) -> bool {
        now.to_unix_near(PIVOT) < self.expires
    }

    /// Returns the day on which the list expires.
    pub fn expiry(&self) -> Date {
        Date::of(self.expires.div_euclid(DAY))
    }

    /// Returns the seconds from `now` until the list expires; negative if it has.
    pub fn expires_in(&self, now: NtpTimestamp) -> i64 {
        self.expires.saturating_sub(now.to_unix_near(PIVOT))
    }

    /// Returns all leap seconds of the list, in order.
    pub fn events(&self) -> impl Iterator<Item = LeapEvent> + '_ {
        let pairs = self.events.iter().zip(self.events.iter().skip(1));
        pairs.filter_map(|((_, before), (midnight, after))| {
            let kind = match after.cmp(before) {
                Ordering::Greater => LeapKind::Insert,
                Ordering::Less => LeapKind::Delete,
                Ordering::Equal => return None,
            };
            Some(LeapEvent {
                midnight: *midnight,
                kind,
            })
        })
    }

    /// Returns the leap second that is near `now`, before or after it, whether the list is current or not.
    pub fn event_near(&self, now: NtpTimestamp) -> Option<LeapEvent> {
        self.events().find(|event| event.is_near(now))
    }

    /// Returns the list with this leap second more, as if it were announced; it is current until a month after it.
    #[must_use]
    pub fn with(mut self, event: LeapEvent) -> Self {
        self.events.retain(|(at, _)| *at < event.midnight);
        let before = self.events.last().map_or(0, |(_, difference)| *difference);
        if self.events.is_empty() {
            self.events.push((0, before));
        }
        let shift = match event.kind {
            LeapKind::Insert => 1,
            LeapKind::Delete => -1,
        };
        self.events.push((event.midnight, before.saturating_add(shift)));
        self.expires = self.expires.max(event.midnight.saturating_add(31 * DAY));
        self
    }

    /// Returns the leap second within a day after `unix` (seconds since 1970), by the list alone.
    fn warning(&self, unix: i64) -> Leap {
        let mut next = self
            .events()
            .filter(|event| (event.midnight - DAY..event.midnight).contains(&unix));
        next.next().map_or(Leap::NoWarning, |event| event.kind.warning())
    }
}

/// Returns the leap second to warn of at `now`.
///
/// It is that of the list if that is not expired; otherwise that of the `majority` of the upstreams, on the last day of
/// a month only (RFC 5905 §7.3: "in the last minute of the current month").
//= RFC 5905 §7.3 leap
//= RFC 5905 §11.2.3 leap
pub fn warning(now: NtpTimestamp, majority: Leap, table: Option<&LeapTable>) -> Leap {
    let unix = now.to_unix_near(PIVOT);
    match table.filter(|table| table.is_current(now)) {
        Some(table) => table.warning(unix),
        None if Date::of(unix.div_euclid(DAY) + 1).day == 1 => majority,
        None => Leap::NoWarning,
    }
}

/// Returns the time from `now` until `leap` happens.
///
/// An inserted second begins at the next midnight (UTC); a deleted one would have been the last second before it. It is
/// negative during the second that is to be deleted.
pub fn until(leap: Leap, now: NtpTimestamp) -> NtpDuration {
    let deleted = if leap == Leap::DeleteSecond {
        NtpDuration::SECOND
    } else {
        NtpDuration::ZERO
    };
    until_midnight(now) - deleted
}

fn until_midnight(now: NtpTimestamp) -> NtpDuration {
    let unix = now.to_unix_near(PIVOT);
    let midnight = unix - unix.rem_euclid(DAY) + DAY;
    NtpTimestamp::from_unix(midnight, 0) - now
}

/// Returns the shift of UTC by the leap second; `None` without one.
pub fn shift(leap: Leap) -> Option<NtpDuration> {
    match leap {
        Leap::AddSecond => Some(-NtpDuration::SECOND),
        Leap::DeleteSecond => Some(NtpDuration::SECOND),
        Leap::NoWarning | Leap::Unsynchronized => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "#$\t3945196800\n#@\t3976704000\n# comment\n\n3644697600\t36\t# 1 Jul 2015\n3692217600\t37\t# 1 Jan 2017\n";
    /// 2017-01-01 00:00:00 UTC.
    const NEW_YEAR_2017: i64 = 1_483_228_800;

    fn at(unix: i64) -> NtpTimestamp {
        NtpTimestamp::from_unix(unix, 500_000_000)
    }

    //= RFC 5905 §7.3 leap
    #[test]
    fn the_list_rules_while_it_is_current() {
        let table = LeapTable::parse(LIST).unwrap();
        for (unix, leap) in [
            (NEW_YEAR_2017 - DAY - 1, Leap::NoWarning),
            (NEW_YEAR_2017 - DAY, Leap::AddSecond),
            (NEW_YEAR_2017 - 1, Leap::AddSecond),
            (NEW_YEAR_2017, Leap::NoWarning),
        ] {
            assert_eq!(
                warning(at(unix), Leap::DeleteSecond, Some(&table)),
                leap,
                "{unix}"
            );
        }
        let expiry = 3_976_704_000 - UNIX_EPOCH_IN_NTP;
        assert!(table.is_current(at(expiry - 1)) && !table.is_current(at(expiry)));
    }

    //= RFC 5905 §7.3 leap
    #[test]
    fn without_one_the_majority_is_heard_on_the_last_day_of_a_month() {
        let table = LeapTable::parse("#@ 3692217600\n3644697600 36\n").unwrap();
        for (unix, leap) in [
            (NEW_YEAR_2017 + 31 * DAY - DAY - 1, Leap::NoWarning),
            (NEW_YEAR_2017 + 31 * DAY - DAY, Leap::AddSecond),
            (NEW_YEAR_2017 + 31 * DAY - 1, Leap::AddSecond),
            (NEW_YEAR_2017 + 31 * DAY, Leap::NoWarning),
        ] {
            assert_eq!(warning(at(unix), Leap::AddSecond, None), leap, "{unix}");
            assert_eq!(warning(at(unix), Leap::AddSecond, Some(&table)), leap, "{unix}");
        }
    }

    #[test]
    fn midnight_comes() {
        assert_eq!(
            until_midnight(at(NEW_YEAR_2017 - 1)),
            NtpDuration::from_seconds(0.5)
        );
        assert_eq!(
            until_midnight(at(NEW_YEAR_2017)),
            NtpDuration::from_seconds(86_399.5)
        );
        // 2036-02-07, the last day of era 0.
        assert_eq!(
            until_midnight(at(2_085_978_495)),
            NtpDuration::from_seconds(63_104.5)
        );
    }

    #[test]
    fn what_is_no_list() {
        for (text, word) in [
            ("", "expires"),
            ("#@ soon", "line 1"),
            ("#@ 1\nx 37", "line 2"),
            ("#@ 1\n3692217600", "line 2"),
        ] {
            let error = LeapTable::parse(text).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
