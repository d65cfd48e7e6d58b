//! Pure. Times and reference IDs as people read them.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv4Addr};

use crate::wire::ReferenceId;

/// Seconds in a unit that fits, in at most eight characters: `123.4us`; with a sign on request.
///
/// It is for offsets, delays and errors; [`Length`] is for how long something lasts.
pub(super) struct ShortTime(pub(super) f64);

impl Display for ShortTime {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        let (scale, unit) = match size {
            _ if size == 0.0 => (1.0, "s"),
            _ if size >= 0.9995 => (1.0, "s"),
            _ if size >= 0.000_999_5 => (1e3, "ms"),
            _ if size >= 0.000_000_999_5 => (1e6, "us"),
            _ => (1e9, "ns"),
        };
        let value = self.0 * scale;
        let digits = if size == 0.0 || value.abs() >= 1000.0 {
            0
        } else {
            1
        };
        if f.sign_plus() {
            write!(f, "{value:+.digits$}{unit}")
        } else {
            write!(f, "{value:.digits$}{unit}")
        }
    }
}

/// Seconds, with the two largest units: `3 days 4 h`, `12 min`, `45 s`; less than a second is `0.3 s`.
pub(super) struct Length(pub(super) f64);

impl Display for Length {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0 < 0.95 {
            return write!(f, "{:.1} s", self.0.max(0.0));
        }
        let seconds = whole(self.0);
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
        let plural = if days == 1 { "" } else { "s" };
        match (days, hours, minutes) {
            (365.., _, _) => write!(f, "{days} days"),
            (1.., 0, _) => write!(f, "{days} day{plural}"),
            (1.., _, _) => write!(f, "{days} day{plural} {hours} h"),
            (0, 1.., 0) => write!(f, "{hours} h"),
            (0, 1.., _) => write!(f, "{hours} h {minutes} min"),
            (0, 0, 10..) => write!(f, "{minutes} min"),
            (0, 0, 1..) if seconds.is_multiple_of(60) => write!(f, "{minutes} min"),
            (0, 0, 1..) => write!(f, "{minutes} min {} s", seconds % 60),
            (0, 0, 0) => write!(f, "{seconds} s"),
        }
    }
}

/// Seconds with the largest unit, in at most five characters: `45s`, `14min`, `3h`, `20d`.
pub(super) struct Brief(pub(super) f64);

impl Display for Brief {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match whole(self.0) {
            seconds @ ..100 => write!(f, "{seconds}s"),
            seconds @ ..6000 => write!(f, "{}min", seconds / 60),
            seconds @ ..345_600 => write!(f, "{}h", seconds / 3600),
            seconds => write!(f, "{}d", (seconds / 86_400).min(9999)),
        }
    }
}

/// Rounded to whole seconds; 0 for negative ones and for no number.
fn whole(seconds: f64) -> u64 {
    let rounded = std::time::Duration::try_from_secs_f64(seconds + 0.5);
    rounded.map_or(0, |length| length.as_secs())
}

/// Returns a reference ID as an address where it is one, with its digits: `192.0.2.1 (C0000201)`; letters stay.
///
/// `known` are the addresses of the upstreams: eight digits can also stand for an IPv6 address, of which they are a
/// hash, and only one that is known can be named.
pub(super) fn reference(id: &str, known: impl IntoIterator<Item = IpAddr>) -> String {
    let is_hex = id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = u32::from_str_radix(id, 16).ok().filter(|_| is_hex);
    let Some(digits) = digits else {
        return id.to_owned();
    };
    let named = known
        .into_iter()
        .find(|address| ReferenceId::from_address(*address).to_bytes() == digits.to_be_bytes());
    let address = named.unwrap_or(IpAddr::V4(Ipv4Addr::from_bits(digits)));
    format!("{address} ({id})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_fitting_unit() {
        for (seconds, expected) in [
            (0.0, "0s"),
            (999.4e-9, "999.4ns"),
            (1e-6, "1.0us"),
            (0.000_999_4, "999.4us"),
            (0.001, "1.0ms"),
            (-0.25, "-250.0ms"),
            (59.96, "60.0s"),
            (86_400.0, "86400s"),
        ] {
            assert_eq!(ShortTime(seconds).to_string(), expected);
        }
        assert_eq!(format!("{:+}", ShortTime(0.001)), "+1.0ms");
    }

    #[test]
    fn lengths_have_two_units_at_most() {
        for (seconds, long, brief) in [
            (-1.0, "0.0 s", "0s"),
            (f64::NAN, "0 s", "0s"),
            (0.0, "0.0 s", "0s"),
            (0.34, "0.3 s", "0s"),
            (0.95, "1 s", "1s"),
            (59.4, "59 s", "59s"),
            (60.0, "1 min", "60s"),
            (99.0, "1 min 39 s", "99s"),
            (206.4, "3 min 26 s", "3min"),
            (600.0, "10 min", "10min"),
            (3599.0, "59 min", "59min"),
            (3600.0, "1 h", "60min"),
            (66_452.0, "18 h 27 min", "18h"),
            (86_400.0, "1 day", "24h"),
            (273_906.5, "3 days 4 h", "76h"),
            (715_975.0, "8 days 6 h", "8d"),
            (3.2e7, "370 days", "370d"),
            (1e300, "0 s", "0s"),
        ] {
            assert_eq!(Length(seconds).to_string(), long, "{seconds}");
            assert_eq!(Brief(seconds).to_string(), brief, "{seconds}");
        }
    }

    #[test]
    fn a_reference_id_is_an_address_or_letters() {
        let known: Vec<IpAddr> = ["192.0.2.9", "2001:db8::1"]
            .map(|one| one.parse().unwrap())
            .into();
        let of_v6 = ReferenceId::from_address(known[1]).to_string();
        for (id, expected) in [
            ("C0000201", "192.0.2.1 (C0000201)".to_owned()),
            ("GPS", "GPS".to_owned()),
            ("INIT", "INIT".to_owned()),
            ("", String::new()),
            ("+0000001", "+0000001".to_owned()),
            (of_v6.as_str(), format!("2001:db8::1 ({of_v6})")),
        ] {
            assert_eq!(reference(id, known.iter().copied()), expected);
        }
    }
}
