//! Pure. Times as a person names them: a time in UTC, or one before now.

use super::stamp::Stamp;
use crate::leap::calendar::Date;

/// The units of a time before now, in seconds.
const UNITS: [(char, i64); 5] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400), ('w', 604_800)];

/// Reads `2026-11-27T12:03:07Z`, `2026-11-27`, `12:03` (today), or `2h` (before `now`).
pub fn read(text: &str, now: Stamp) -> Option<Stamp> {
    if let Some(stamp) = Stamp::read(text) {
        return Some(stamp);
    }
    if text.len() == 10 {
        return Stamp::read(&format!("{text}T00:00:00Z"));
    }
    if text.contains(':') {
        let today = Date::of(now.seconds().div_euclid(86_400));
        let seconds = if text.split(':').count() == 2 { ":00" } else { "" };
        return Stamp::read(&format!("{today}T{text}{seconds}"));
    }
    let (_, unit) = UNITS.iter().find(|(letter, _)| text.ends_with(*letter))?;
    let number = text.get(..text.len() - 1)?;
    let is_plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let count: i64 = number.parse().ok().filter(|_| is_plain)?;
    let seconds = count
        .checked_mul(*unit)
        .filter(|seconds| *seconds <= 100 * 366 * 86_400)?;
    Some(now.plus(-seconds))
}

/// Reads a month such as `2026-11`: returns its beginning and its end.
pub fn month(text: &str) -> Option<(Stamp, Stamp)> {
    let since = Stamp::read(&format!("{text}-01T00:00:00Z"))?;
    let Date { year, month, .. } = Date::of(since.seconds().div_euclid(86_400));
    let (year, month) = if month == 12 {
        (year + 1, 1)
    } else {
        (year, month + 1)
    };
    let until = Date { year, month, day: 1 };
    Some((since, Stamp::from_seconds(until.days() * 86_400)))
}

/// Returns whole seconds, at most those of 30 days.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "limited to a month"
)]
pub fn whole(seconds: f64) -> u32 {
    seconds.clamp(1.0, 30.0 * 86_400.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_a_person_writes_them() {
        let now = Stamp::read("2026-11-27T12:03:07.500Z").unwrap();
        for (text, expected) in [
            ("2026-11-26T11:00:00.5Z", "2026-11-26T11:00:00.500Z"),
            ("2026-11-26", "2026-11-26T00:00:00.000Z"),
            ("11:58", "2026-11-27T11:58:00.000Z"),
            ("11:58:12", "2026-11-27T11:58:12.000Z"),
            ("2h", "2026-11-27T10:03:07.500Z"),
            ("90s", "2026-11-27T12:01:37.500Z"),
            ("1w", "2026-11-20T12:03:07.500Z"),
        ] {
            assert_eq!(
                read(text, now).map(|stamp| stamp.to_string()).as_deref(),
                Some(expected),
                "{text}"
            );
        }
        for text in [
            "",
            "h",
            "2",
            "-2h",
            "2 h",
            "2x",
            "noon",
            "2026-11",
            "25:00",
            "99999999999999w",
            "ä",
            "1234567890",
        ] {
            assert_eq!(read(text, now), None, "{text}");
        }
    }

    #[test]
    fn months_begin_and_end() {
        for (text, since, until) in [
            ("2026-11", "2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z"),
            ("2026-12", "2026-12-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
            ("2028-02", "2028-02-01T00:00:00.000Z", "2028-03-01T00:00:00.000Z"),
        ] {
            let found = month(text).map(|(since, until)| (since.to_string(), until.to_string()));
            assert_eq!(found, Some((since.to_owned(), until.to_owned())));
        }
        for text in ["", "2026", "2026-13", "2026-11-01", "26-11"] {
            assert_eq!(month(text), None, "{text}");
        }
        assert_eq!((whole(0.2), whole(3600.4), whole(1e12)), (1, 3600, 2_592_000));
    }
}
