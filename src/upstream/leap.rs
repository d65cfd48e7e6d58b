//! Pure. Leap seconds: the warning before one, and the instant of one.

use crate::time::{NtpDuration, NtpTimestamp};
use crate::wire::Leap;

const DAY: i64 = 86_400;
/// Timestamps are in the NTP era that is near 2026: right from 1958 to 2094.
const PIVOT: i64 = 1_767_225_600;
/// Seconds from 1900, the epoch of the list, to 1970.
const UNIX_EPOCH_IN_NTP: i64 = 2_208_988_800;

/// The list of announced leap seconds, as IERS and IANA publish it (`leap-seconds.list`).
#[derive(Clone, Debug, PartialEq, Eq)]
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

    /// Returns the leap second within a day after `unix` (seconds since 1970), by the list alone.
    fn warning(&self, unix: i64) -> Leap {
        let pairs = self.events.iter().zip(self.events.iter().skip(1));
        let mut next = pairs.filter(|(_, (at, _))| (*at - DAY..*at).contains(&unix));
        match next.next() {
            Some(((_, before), (_, after))) if after > before => Leap::AddSecond,
            Some(((_, before), (_, after))) if after < before => Leap::DeleteSecond,
            _ => Leap::NoWarning,
        }
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
        None if is_first_of_month(unix.div_euclid(DAY) + 1) => majority,
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

/// Returns whether a month begins on this day, counted from 1970-01-01.
fn is_first_of_month(days: i64) -> bool {
    // The day of the month in the proleptic Gregorian calendar: years that begin in March put the leap day last, and
    // the months from March on have 153 days in five.
    let days = days + 719_468;
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    day_of_year == (153 * month + 2) / 5
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
    fn months() {
        let firsts: Vec<i64> = (0..366 + 365)
            .filter(|&day| is_first_of_month(day + 18_262))
            .collect();
        // 2020 (a leap year) and 2021.
        let lengths = [
            31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30,
        ];
        let expected: Vec<i64> = std::iter::once(0)
            .chain(lengths.into_iter().scan(0, |day, length| {
                *day += length;
                Some(*day)
            }))
            .collect();
        assert_eq!(firsts, expected);
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
