//! Pure. Times of hours and days, as keys have them: "12h" or "7d".

use std::time::Duration;

use crate::config::address::Refusal;
use crate::config::effective::quoted;
use crate::config::kind::{Parsed, parsed};

pub(super) const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);

/// Returns the kind of times from an hour to `DAYS` days.
pub(super) fn span<const DAYS: u32>() -> Parsed<Duration> {
    parsed(
        |text| {
            text.and_then(span_of::<DAYS>).ok_or_else(|| {
                let expected = format!("a time such as \"1d\" or \"12h\", from \"1h\" to \"{DAYS}d\"");
                Refusal::new(&expected)
            })
        },
        |span| {
            let hours = span.as_secs() / HOUR.as_secs();
            let shown = match hours % 24 {
                0 => format!("{}d", hours / 24),
                _ => format!("{hours}h"),
            };
            Some(quoted(&shown))
        },
    )
}

fn span_of<const DAYS: u32>(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix('d') {
        Some(days) => (days, DAY),
        None => (text.strip_suffix('h')?, HOUR),
    };
    // A sign is no digit.
    let is_plain = number.bytes().all(|digit| digit.is_ascii_digit());
    let span = unit.checked_mul(number.parse().ok().filter(|_| is_plain)?)?;
    (HOUR..=DAY * DAYS).contains(&span).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_hours_or_days() {
        for (text, hours) in [("1h", 1), ("25h", 25), ("1d", 24), ("30d", 720), ("720h", 720)] {
            assert_eq!(span_of::<30>(text), Some(HOUR * hours), "{text}");
        }
        assert_eq!(span_of::<365>("365d"), Some(HOUR * 8760));
        for text in [
            "",
            "h",
            "d",
            "1",
            "0h",
            "0d",
            "31d",
            "721h",
            "1 h",
            "+1d",
            "-1d",
            "1.5d",
            "1w",
            "1m",
            "99999999999d",
        ] {
            assert_eq!(span_of::<30>(text), None, "{text}");
        }
    }
}
