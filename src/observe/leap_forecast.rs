//! Pure. The time that is served around a leap second, listener by listener, as `ntpfront leap` prints it.

use std::fmt::{self, Display, Formatter, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use crate::clock::{Rehearsal, TEST_STRATUM};
use crate::leap::calendar::{Date, nearest_month, next_half_year, shown, shown_utc};
use crate::leap::{LEAP_LIST_WARNS, LeapEvent, LeapKind, LeapTable, Smear};
use crate::time::{ClockReadings, NtpDuration, NtpTimestamp};
use crate::wire::Leap;

/// The moments of the table, in seconds from the leap second, beside the ends of the smear.
const MOMENTS: [f64; 11] = [
    -86_400.0, -43_200.0, -21_600.0, -1.0, -0.5, 0.0, 0.5, 1.0, 21_600.0, 43_200.0, 86_400.0,
];
/// The hours before and after the leap second that a table for programs covers, if the smear is not longer.
const COVERED: f64 = 25.0 * 3600.0;

/// A listener, and its smear if it has one.
pub type ForecastListener = (SocketAddr, Option<Smear>);

/// All that `ntpfront leap` knows.
#[derive(Clone, Debug)]
pub struct LeapForecast {
    /// The path of the list of leap seconds; `None` if none is configured.
    pub path: Option<String>,
    /// The list, or the reason why there is none.
    pub list: Result<LeapTable, String>,
    /// The time now.
    pub now: NtpTimestamp,
    /// A leap second that is supposed to come.
    pub supposed: Option<LeapKind>,
    /// The moment that is asked about.
    pub at: Option<NtpTimestamp>,
    /// The listeners.
    pub listeners: Vec<ForecastListener>,
}

/// The time that a listener serves at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ServedMoment {
    time: NtpTimestamp,
    from_utc: NtpDuration,
    leap: Leap,
}

impl LeapForecast {
    /// Returns the leap second that it is about: the supposed one, or that of the list which is near or comes next.
    pub fn event(&self) -> Option<LeapEvent> {
        if let Some(kind) = self.supposed {
            let midnight = self.at.map_or_else(|| next_half_year(self.now), nearest_month);
            return Some(LeapEvent { midnight, kind });
        }
        let table = self.list.as_ref().ok()?;
        let time = self.at.unwrap_or(self.now);
        let comes = |event: &LeapEvent| event.is_near(time) || event.midnight() - time > NtpDuration::ZERO;
        table.events().find(comes)
    }

    /// Returns a clock that runs through the leap second, from `count` on.
    fn rehearsal(&self, event: LeapEvent, count: NtpTimestamp) -> Rehearsal {
        let table = self.list.clone().unwrap_or_default();
        Rehearsal {
            event,
            stratum: TEST_STRATUM,
            table: table.with(event),
            started: ClockReadings {
                realtime: count,
                raw: Duration::from_secs(1),
                boot: Duration::from_secs(1),
            },
            count,
        }
    }

    /// Returns what is served at `count`.
    fn served(&self, event: LeapEvent, count: NtpTimestamp, smear: Option<Smear>) -> ServedMoment {
        let rehearsal = self.rehearsal(event, count);
        let now = rehearsal.started;
        let (utc, smeared) = rehearsal.references(now);
        let (time, variables) = match smear.filter(|_| event.is_near(event.utc(count))) {
            None => (utc.clock.served(now), utc.at(now)),
            Some(smear) => (
                smeared.time(smear).of(smeared.reference.clock.served(now)),
                smeared.at(smear, now),
            ),
        };
        ServedMoment {
            time,
            from_utc: time - event.utc(count),
            leap: variables.leap,
        }
    }

    /// Returns the moments of the table of a listener, as counts.
    fn moments(event: LeapEvent, smear: Option<Smear>) -> Vec<NtpTimestamp> {
        let from = event.happens_at();
        let mut moments: Vec<NtpTimestamp> = MOMENTS
            .iter()
            .map(|seconds| from + NtpDuration::from_seconds(*seconds))
            .collect();
        if let Some(smear) = smear {
            let (begin, end) = smear.bounds(&event);
            moments.extend([begin, end]);
        }
        moments.sort_by_key(|moment| *moment - from);
        moments.dedup();
        moments
    }

    /// Returns a table for programs, with a line for each listener and each `every` seconds.
    pub fn csv(&self, every: Duration) -> String {
        let mut text = "utc,seconds_from_leap,listener,smeared,served,offset_from_utc,leap\n".to_owned();
        let Some(event) = self.event() else {
            return text;
        };
        let longest = self.listeners.iter().filter_map(|(_, smear)| *smear);
        let hours = longest.map(|smear| f64::from(smear.hours) * 3600.0 + 3600.0);
        let covered = hours.fold(COVERED, f64::max);
        let step = every.as_secs_f64().max(0.001);
        let mut seconds = -covered;
        while seconds <= covered {
            let count = event.happens_at() + NtpDuration::from_seconds(seconds);
            for (address, smear) in &self.listeners {
                let served = self.served(event, count, *smear);
                let _written = writeln!(
                    text,
                    "{},{seconds:.3},{address},{},{},{:.9},{}",
                    shown_utc(&event, count),
                    u8::from(smear.is_some()),
                    shown(served.time),
                    served.from_utc.to_seconds(),
                    served.leap.to_bits(),
                );
            }
            seconds += step;
        }
        text
    }

    /// Returns the text of the list: what it is, and how long it is current.
    fn list_text(&self) -> String {
        let Some(path) = &self.path else {
            return "none is configured (clock.leap-seconds)".to_owned();
        };
        match &self.list {
            Err(why) => format!("{path}: {why}"),
            Ok(list) => {
                let (left, date) = (list.expires_in(self.now), list.expiry());
                let days = left.abs() / 86_400;
                match left {
                    ..=0 => format!("{path}: EXPIRED on {date}, {days} days ago: update tzdata"),
                    1..=LEAP_LIST_WARNS => {
                        format!("{path}: expires on {date}, in {days} days: update tzdata")
                    }
                    _ => format!("{path}: expires on {date}, in {days} days"),
                }
            }
        }
    }

    fn event_text(&self, event: Option<LeapEvent>) -> String {
        let Some(event) = event else {
            let current = self.list.as_ref().is_ok_and(|list| list.is_current(self.now));
            return if current {
                "none is announced".to_owned()
            } else {
                "none is known; without a current list the upstreams decide".to_owned()
            };
        };
        let day = Date::of_time(event.midnight() - NtpDuration::SECOND);
        let what = match event.kind {
            LeapKind::Insert => "a second is inserted at the end of",
            LeapKind::Delete => "a second is deleted at the end of",
        };
        let supposed = self.supposed.map_or("", |_| " (supposed)");
        format!("{what} {day}{supposed}")
    }

    fn line(
        f: &mut Formatter<'_>,
        event: LeapEvent,
        count: NtpTimestamp,
        served: ServedMoment,
    ) -> fmt::Result {
        writeln!(
            f,
            "  {}  {}  {:+.6}  {}",
            shown_utc(&event, count),
            shown(served.time),
            served.from_utc.to_seconds(),
            served.leap.to_bits()
        )
    }
}

impl Display for LeapForecast {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let event = self.event();
        writeln!(f, "list         {}", self.list_text())?;
        writeln!(f, "leap second  {}", self.event_text(event))?;
        let Some(event) = event else {
            return Ok(());
        };
        let smears = |smear: &Option<Smear>| smear.is_some();
        if self.list.is_err() && self.listeners.iter().any(|(_, smear)| smears(smear)) {
            writeln!(f, "warning      without the list nothing is smeared")?;
        }
        for (address, smear) in &self.listeners {
            match smear {
                None => writeln!(f, "\n{address}: UTC")?,
                Some(smear) => writeln!(f, "\n{address}: {smear}")?,
            }
            writeln!(f, "  {:24}  {:24}  {:>9}  leap", "UTC", "served", "off UTC")?;
            let moments = match self.at {
                // A moment of UTC; after the leap second the count differs.
                Some(at) => vec![event.count(at, at - event.midnight() >= NtpDuration::ZERO)],
                None => Self::moments(event, *smear),
            };
            for count in moments {
                Self::line(f, event, count, self.served(event, count, *smear))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leap::calendar::read;

    fn forecast(supposed: Option<LeapKind>, at: Option<&str>) -> LeapForecast {
        LeapForecast {
            path: Some("/list".to_owned()),
            // It expires on 2027-06-28.
            list: LeapTable::parse("#@ 4023129600\n3644697600 36\n3692217600 37\n"),
            now: read("2026-11-27T12:00:00Z").unwrap(),
            supposed,
            at: at.map(|text| read(text).unwrap()),
            listeners: vec![
                ("192.0.2.1:123".parse().unwrap(), None),
                ("192.0.2.7:123".parse().unwrap(), Some(Smear::default())),
            ],
        }
    }

    #[test]
    fn nothing_is_announced() {
        let text = forecast(None, None).to_string();
        assert_eq!(
            text,
            "list         /list: expires on 2027-06-28, in 212 days\nleap second  none is announced\n"
        );
    }

    #[test]
    fn an_inserted_second() {
        let text = forecast(Some(LeapKind::Insert), None).to_string();
        let expected = include_str!("leap_forecast/insert.txt");
        assert_eq!(text, expected);
    }

    #[test]
    fn a_deleted_second() {
        let text = forecast(Some(LeapKind::Delete), None).to_string();
        let expected = include_str!("leap_forecast/delete.txt");
        assert_eq!(text, expected);
    }

    #[test]
    fn one_moment() {
        let text = forecast(Some(LeapKind::Delete), Some("2026-12-31T18:00:00Z")).to_string();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("  2026")).collect();
        assert_eq!(
            lines,
            [
                "  2026-12-31T18:00:00.000Z  2026-12-31T18:00:00.000Z  +0.000000  2",
                "  2026-12-31T18:00:00.000Z  2026-12-31T18:00:00.250Z  +0.250003  0",
            ]
        );
    }

    /// A leap second of the past, which the list has.
    #[test]
    fn one_of_the_list() {
        let text = forecast(None, Some("2016-12-31T12:00:00Z")).to_string();
        assert!(
            text.contains("a second is inserted at the end of 2016-12-31\n"),
            "{text}"
        );
    }

    #[test]
    fn the_states_of_the_list() {
        let day = 86_400.0;
        for (later, word) in [
            (0.0, "in 212 days\n"),
            (184.6 * day, "in 27 days: update tzdata"),
            (212.6 * day, "EXPIRED on 2027-06-28, 0 days ago"),
        ] {
            let mut one = forecast(None, None);
            one.now = one.now + NtpDuration::from_seconds(later);
            assert!(one.to_string().contains(word), "{one}");
        }
        let mut one = forecast(None, None);
        one.list = Err("no such file".to_owned());
        assert!(
            one.to_string()
                .contains("/list: no such file\nleap second  none is known"),
            "{one}"
        );
        one.path = None;
        assert!(one.to_string().contains("none is configured"), "{one}");
    }

    #[test]
    fn a_table_for_programs() {
        let text = forecast(Some(LeapKind::Insert), None).csv(Duration::from_secs(3600));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + 51 * 2);
        assert_eq!(
            lines[51],
            "2026-12-31T23:59:60.000Z,0.000,192.0.2.1:123,0,2026-12-31T23:59:59.000Z,0.000000000,0"
        );
        assert_eq!(
            lines[52],
            "2026-12-31T23:59:60.000Z,0.000,192.0.2.7:123,1,2026-12-31T23:59:59.500Z,0.500005787,0"
        );
    }
}
