//! Pure. Days and their dates, in the Gregorian calendar.

use std::fmt;

use toml::value::Datetime;

use super::{DAY, LeapEvent, LeapKind, PIVOT};
use crate::time::{NtpDuration, NtpTimestamp};

/// A date. Its order is that of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// The year.
    pub year: i64,
    /// The month: 1 to 12.
    pub month: i64,
    /// The day of the month: 1 to 31.
    pub day: i64,
}

impl Date {
    /// Returns the date of a day, counted from 1970-01-01.
    pub const fn of(days: i64) -> Self {
        // Years that begin in March put the leap day last, and the months from March on have 153 days in five.
        let days = days + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let is_next_year = from_march >= 10;
        Self {
            year: era * 400 + year_of_era + is_next_year as i64,
            month: if is_next_year {
                from_march - 9
            } else {
                from_march + 3
            },
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
        }
    }

    /// Returns the date of a time (UTC).
    pub fn of_time(time: NtpTimestamp) -> Self {
        Self::of(time.to_unix_near(PIVOT).div_euclid(DAY))
    }

    /// Returns the number of its day, counted from 1970-01-01.
    pub const fn days(self) -> i64 {
        let is_early = self.month <= 2;
        let year = self.year - is_early as i64;
        let from_march = if is_early { self.month + 9 } else { self.month - 3 };
        let day_of_year = (153 * from_march + 2) / 5 + self.day - 1;
        let day_of_era =
            year.rem_euclid(400) * 365 + year.rem_euclid(400) / 4 - year.rem_euclid(400) / 100 + day_of_year;
        year.div_euclid(400) * 146_097 + day_of_era - 719_468
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// Returns the start of the month that is nearest to `time`, in seconds since 1970: only there are leap seconds.
pub fn nearest_month(time: NtpTimestamp) -> i64 {
    let unix = time.to_unix_near(PIVOT);
    let Date { year, month, .. } = Date::of(unix.div_euclid(DAY));
    let (next_year, next) = if month == 12 {
        (year + 1, 1)
    } else {
        (year, month + 1)
    };
    let start = |year, month| Date { year, month, day: 1 }.days() * DAY;
    let (this, next) = (start(year, month), start(next_year, next));
    if unix - this <= next - unix { this } else { next }
}

/// Returns the end of June or December that is next after `time`, in seconds since 1970: all leap seconds were there.
pub fn next_half_year(time: NtpTimestamp) -> i64 {
    let Date { year, month, .. } = Date::of_time(time);
    let (year, month) = if month <= 6 { (year, 7) } else { (year + 1, 1) };
    Date { year, month, day: 1 }.days() * DAY
}

/// Returns `time` with milliseconds: `2026-12-31T23:59:59.500Z`.
pub fn shown(time: NtpTimestamp) -> String {
    // Rounded to milliseconds first, so that no second has 1000 of them.
    let time = time + NtpDuration::from_nanos(500_000);
    let unix = time.to_unix_near(PIVOT);
    let fraction = time - NtpTimestamp::from_unix(unix, 0);
    shown_parts(unix, 0, fraction)
}

/// Returns UTC at a `count`, as [`shown`]: an inserted second is 23:59:60.
pub fn shown_utc(event: &LeapEvent, count: NtpTimestamp) -> String {
    let since = count - event.midnight();
    let inserted = event.kind == LeapKind::Insert
        && (NtpDuration::ZERO..NtpDuration::SECOND - NtpDuration::from_nanos(500_000)).contains(&since);
    if inserted {
        return shown_parts(event.midnight - 1, 1, since + NtpDuration::from_nanos(500_000));
    }
    shown(event.utc(count))
}

fn shown_parts(unix: i64, more: i64, fraction: NtpDuration) -> String {
    let (date, second) = (Date::of(unix.div_euclid(DAY)), unix.rem_euclid(DAY));
    let milliseconds = (fraction.to_seconds() * 1000.0).floor();
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60 + more);
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

/// Reads a time in UTC as RFC 3339 has it: `2026-12-31T23:59:59.5Z`.
///
/// # Errors
/// What is expected.
pub fn read(text: &str) -> Result<NtpTimestamp, String> {
    let wrong = || format!("{text:?} is not a time in UTC, such as 2026-12-31T23:59:59Z");
    let read: Datetime = text.parse().map_err(|_| wrong())?;
    let (date, time, zone) = (
        read.date.ok_or_else(wrong)?,
        read.time.ok_or_else(wrong)?,
        read.offset,
    );
    if zone != Some(toml::value::Offset::Z) {
        return Err(wrong());
    }
    let days = Date {
        year: date.year.into(),
        month: date.month.into(),
        day: date.day.into(),
    }
    .days();
    let second = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + seconds(&time);
    Ok(NtpTimestamp::from_unix(days * DAY + second, nanos(&time)))
}

/// Reads a time of day: `23:59:50`, in seconds.
///
/// # Errors
/// What is expected.
pub fn read_time_of_day(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is not a time of day, such as 23:59:50");
    let read: Datetime = text.parse().map_err(|_| wrong())?;
    match (read.date, read.time) {
        (None, Some(time)) => Ok(i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + seconds(&time)),
        _ => Err(wrong()),
    }
}

fn seconds(time: &toml::value::Time) -> i64 {
    time.second.unwrap_or(0).into()
}

fn nanos(time: &toml::value::Time) -> u32 {
    time.nanosecond.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months() {
        let firsts: Vec<i64> = (0..366 + 365)
            .filter(|day| Date::of(day + 18_262).day == 1)
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
    fn days_and_dates_are_the_same() {
        for days in -200_000..200_000 {
            assert_eq!(Date::of(days).days(), days);
        }
        assert!((-1000..1000).is_sorted_by_key(Date::of));
        assert_eq!(Date::of(20_818).to_string(), "2026-12-31");
    }

    #[test]
    fn times_are_read_and_shown() {
        for (text, again) in [
            ("2026-12-31T23:59:59.5Z", "2026-12-31T23:59:59.500Z"),
            ("2026-12-31T23:59:59.9996Z", "2027-01-01T00:00:00.000Z"),
            ("2036-02-07T06:28:16Z", "2036-02-07T06:28:16.000Z"),
        ] {
            assert_eq!(shown(read(text).unwrap()), again);
        }
        for text in [
            "2026-12-31",
            "23:59:59",
            "2026-12-31T23:59:59",
            "2026-12-31T23:59:59+01:00",
            "now",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(read_time_of_day("23:59:50"), Ok(86_390));
        assert!(read_time_of_day("2026-12-31T23:59:59Z").is_err());
    }

    #[test]
    fn the_inserted_second_has_a_name_of_its_own() {
        let event = |kind| LeapEvent {
            midnight: 1_798_761_600,
            kind,
        };
        let (insert, delete) = (event(LeapKind::Insert), event(LeapKind::Delete));
        let at = |seconds| insert.midnight() + NtpDuration::from_seconds(seconds);
        for (seconds, inserted, deleted) in [
            (-1.5, "2026-12-31T23:59:58.500Z", "2026-12-31T23:59:58.500Z"),
            (-0.5, "2026-12-31T23:59:59.500Z", "2027-01-01T00:00:00.500Z"),
            (0.5, "2026-12-31T23:59:60.500Z", "2027-01-01T00:00:01.500Z"),
            (1.5, "2027-01-01T00:00:00.500Z", "2027-01-01T00:00:02.500Z"),
        ] {
            assert_eq!(shown_utc(&insert, at(seconds)), inserted);
            assert_eq!(shown_utc(&delete, at(seconds)), deleted);
        }
    }

    #[test]
    fn months_and_half_years_that_are_near() {
        for (text, month, half) in [
            ("2026-12-31T12:00:00Z", "2027-01-01", "2027-01-01"),
            ("2027-01-01T12:00:00Z", "2027-01-01", "2027-07-01"),
            ("2026-11-27T12:00:00Z", "2026-12-01", "2027-01-01"),
            ("2026-06-30T23:59:50Z", "2026-07-01", "2026-07-01"),
        ] {
            let time = read(text).unwrap();
            let date = |unix: i64| Date::of(unix.div_euclid(DAY)).to_string();
            assert_eq!(
                (
                    date(nearest_month(time)).as_str(),
                    date(next_half_year(time)).as_str()
                ),
                (month, half)
            );
        }
    }
}
