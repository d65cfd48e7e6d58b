//! Pure. The time of a line of the record: UTC to the millisecond, as RFC 3339 writes it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::leap::calendar::Date;
use crate::time::{NtpDuration, NtpTimestamp};

/// The seconds of a day.
const DAY: i64 = 86_400;
/// A time around which 32 bits of seconds mean what they are meant to: 2088.
const PIVOT: i64 = 1_577_836_800 + (1 << 31);

/// A time in UTC, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(i64);

/// An hour of UTC, counted from 1970: a file of the record is of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub i64);

impl Stamp {
    /// Returns the stamp of whole seconds since 1970.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Returns the stamp of milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the stamp of a time from 2020 to 2156.
    pub fn of(time: NtpTimestamp) -> Self {
        let seconds = time.to_unix_near(PIVOT);
        let fraction = time - NtpTimestamp::from_unix(seconds, 0);
        Self(seconds * 1000 + fraction.to_units() * 1000 / NtpDuration::SECOND.to_units())
    }

    /// Returns milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Returns whole seconds since 1970.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns its hour.
    pub const fn hour(self) -> Hour {
        Hour(self.0.div_euclid(3_600_000))
    }

    /// Returns the seconds since an earlier stamp; negative if that one is later.
    pub fn since(self, earlier: Self) -> f64 {
        (self.0.saturating_sub(earlier.0)) as f64 / 1000.0
    }

    /// Returns the stamp this many seconds later.
    #[must_use]
    pub const fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Reads `2026-11-27T12:03:07Z`, with up to nine digits of a fraction, and with or without the `Z`.
    pub fn read(text: &str) -> Option<Self> {
        let (date, time) = text.strip_suffix('Z').unwrap_or(text).split_once(['T', ' '])?;
        let (year, rest) = date.split_once('-')?;
        let (month, day) = rest.split_once('-')?;
        let (hour, rest) = time.split_once(':')?;
        let (minute, second) = rest.split_once(':')?;
        let (second, fraction) = second.split_once('.').unwrap_or((second, ""));
        let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
        let (hour, minute, second) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
        let date = Date { year, month, day };
        let is_date = (1..=12).contains(&month) && Date::of(date.days()) == date;
        if !is_date || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let seconds = date.days() * DAY + hour * 3600 + minute * 60 + second;
        Some(Self(seconds * 1000 + millis_of(fraction)?))
    }
}

/// Reads exactly this many digits.
fn digits(text: &str, count: usize) -> Option<i64> {
    let is_plain = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// Reads the digits behind the point, to milliseconds.
fn millis_of(fraction: &str) -> Option<i64> {
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let padded: String = fraction.chars().chain("000".chars()).take(3).collect();
    padded.parse().ok()
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, of_day) = (self.0.div_euclid(DAY * 1000), self.0.rem_euclid(DAY * 1000));
        let (second, millis) = (of_day / 1000, of_day % 1000);
        let date = Date::of(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{date}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::read(&text)
            .ok_or_else(|| serde::de::Error::custom("not a time such as 2026-11-27T12:03:07.000Z"))
    }
}

impl Hour {
    /// Returns its first moment.
    pub const fn start(self) -> Stamp {
        Stamp::from_seconds(self.0.saturating_mul(3600))
    }

    /// Returns the hour this many later.
    #[must_use]
    pub const fn plus(self, hours: i64) -> Self {
        Self(self.0.saturating_add(hours))
    }

    /// Reads `20261127T12`.
    pub fn read(text: &str) -> Option<Self> {
        let (date, hour) = text.split_once('T')?;
        let (year, month, day) = (date.get(..4)?, date.get(4..6)?, date.get(6..)?);
        let stamp = Stamp::read(&format!("{year}-{month}-{day}T{hour}:00:00Z"))?;
        Some(stamp.hour())
    }
}

/// Writes it as in `20261127T12`.
impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Date { year, month, day } = Date::of(self.0.div_euclid(24));
        write!(f, "{year:04}{month:02}{day:02}T{:02}", self.0.rem_euclid(24))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stamps_are_written_and_read() {
        for (text, again) in [
            ("2026-11-27T12:03:07.123Z", "2026-11-27T12:03:07.123Z"),
            ("2026-11-27T12:03:07", "2026-11-27T12:03:07.000Z"),
            ("2026-11-27 12:03:07.5", "2026-11-27T12:03:07.500Z"),
            ("2026-12-31T23:59:60Z", "2027-01-01T00:00:00.000Z"),
            ("2024-02-29T00:00:00.0001Z", "2024-02-29T00:00:00.000Z"),
        ] {
            assert_eq!(Stamp::read(text).unwrap().to_string(), again, "{text}");
        }
        for text in [
            "",
            "2026-11-27",
            "12:03:07",
            "2026-11-31T12:03:07Z",
            "2026-13-01T12:03:07Z",
            "2026-11-27T24:00:00Z",
            "2026-11-27T12:60:00Z",
            "2026-11-27T12:03:07.Z5",
            "2026-11-27T12:03:7Z",
            "+026-11-27T12:03:07Z",
        ] {
            assert_eq!(Stamp::read(text), None, "{text}");
        }
        let hour = Stamp::read("2026-11-27T12:59:59.999Z").unwrap().hour();
        assert_eq!(hour.to_string(), "20261127T12");
        assert_eq!(Hour::read("20261127T12"), Some(hour));
        assert_eq!((Hour::read("20261127T24"), Hour::read("2026")), (None, None));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(millis in 0_i64..4_102_444_800_000) {
            let stamp = Stamp::from_millis(millis);
            prop_assert_eq!(Stamp::read(&stamp.to_string()), Some(stamp));
            prop_assert_eq!(Hour::read(&stamp.hour().to_string()), Some(stamp.hour()));
            prop_assert!(stamp.hour().start() <= stamp && stamp < stamp.hour().plus(1).start());
        }

        #[test]
        fn a_time_of_ntp_is_the_same_to_a_millisecond(seconds in 1_600_000_000_i64..4_000_000_000, nanos in 0_u32..1_000_000_000) {
            let stamp = Stamp::of(NtpTimestamp::from_unix(seconds, nanos));
            prop_assert!((stamp.millis() - seconds * 1000 - i64::from(nanos) / 1_000_000).abs() <= 1);
        }
    }
}
