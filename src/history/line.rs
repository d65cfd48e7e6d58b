//! Pure. The lines of the record: what each says, as JSON.
//!
//! The names are stable, as those of `status --json`: times in seconds, `null` where nothing is known. Later versions may
//! add names and kinds. No line has the address of a client.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::stamp::Stamp;

/// The number of this format, which the first line of each file says.
pub const FORMAT: u32 = 1;

/// A line of the record.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryLine<'a> {
    /// The served time when it was written down.
    pub time: Stamp,
    /// The content.
    pub note: Note<'a>,
}

/// The content of a line.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Note<'a> {
    /// The first line of a file.
    File(FileNote),
    /// The server started.
    Start(StartNote),
    /// The server stopped, as it was told to.
    Stop,
    /// The time that was announced.
    Served(ServedNote<'a>),
    /// An answer of an upstream.
    Sample(SampleNote),
    /// The standing of an upstream: at the beginning of a file, and at each start.
    Standing(StandingNote),
    /// A change of anything.
    Change(ChangeNote),
    /// A time without records.
    Gap(GapNote),
    /// The last line of a file that is complete.
    End(EndNote),
}

/// The first line of a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileNote {
    /// The format: 1.
    pub format: u32,
    /// The number of the file; each file has the next one.
    pub number: u64,
    /// SHA-256 of the whole file with the number before, in hexadecimal digits; `null` if there is none.
    pub previous: Option<String>,
    /// Name of the host.
    pub host: String,
    /// Version of ntpfront.
    pub version: String,
    /// Seconds from one served line to the next.
    pub every: u32,
    /// The reason for the state at its beginning; `null` for `synchronized`, or if it is not known.
    pub reason: Option<String>,
}

/// A start of the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StartNote {
    /// Version of ntpfront.
    pub version: String,
    /// Identity of this boot of the host; `null` if it can't be read.
    pub boot: Option<String>,
    /// The file of the configuration, or `flags and defaults`.
    pub configuration: String,
    /// SHA-256 of the configuration in effect, as `ntpfront config` prints it.
    pub digest: String,
}

/// The time that was announced, with the counts since the served line before.
///
/// What changes rarely comes first: so it compresses best. All requests are answered or refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServedNote<'a> {
    /// State of the served time.
    #[serde(borrow)]
    pub state: Cow<'a, str>,
    /// The served clock: `system` or `tracked`.
    #[serde(borrow)]
    pub clock: Cow<'a, str>,
    /// 1 to 15, or 0 without a time.
    pub stratum: u8,
    /// 0 nothing, 1 insert and 2 delete a second, 3 not synchronized.
    pub leap: u8,
    /// The server that is followed: four letters, or eight hexadecimal digits.
    #[serde(borrow)]
    pub reference_id: Cow<'a, str>,
    /// Frequency of the served clock against the raw counter, less one; `null` for the host's clock.
    pub frequency: Option<f64>,
    /// Round trip to the reference clock.
    pub root_delay: f64,
    /// Packets that were lost: full queues, and replies that could not be sent.
    pub lost: u64,
    /// The rest of the error, at most.
    pub root_dispersion: f64,
    /// Error of the served time in all, at most; `null` if no time was told.
    pub bound: Option<f64>,
    /// The served time minus the host's time of day.
    pub host_offset: f64,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that were not.
    pub refused: u64,
}

/// An answer of an upstream, or the lack of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SampleNote {
    /// Name of the upstream, as it is configured.
    pub upstream: String,
    /// The address that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The reason why the answer was refused; `null` if it was accepted.
    pub refused: Option<String>,
    /// Seconds by which its clock is ahead of the served one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<f64>,
    /// Round trip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<f64>,
    /// Error of the measurement beside half of the delay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispersion: Option<f64>,
    /// Its stratum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stratum: Option<u8>,
    /// Its reference ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_id: Option<String>,
    /// Maximum error of its clock, as it announces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_distance: Option<f64>,
}

/// The standing of an upstream, as it was at the time of the line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StandingNote {
    /// Name of the upstream.
    pub upstream: String,
    /// Its standing.
    pub standing: String,
    /// The time since which it has that standing; `null` if it has had it since the start.
    pub since: Option<Stamp>,
}

/// A change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChangeNote {
    /// The thing: `state`, `clock`, `standing`, `listener`, `configuration`, `leap-list`, `host-clock`, `served-clock`, …
    pub what: String,
    /// The name of it, if there are several: an upstream, the address of a listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The value before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The value from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The reason in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The size of a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// A time without records, or with less than all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GapNote {
    /// The time of the last line before it; `null` if it is not known.
    pub from: Option<Stamp>,
    /// The number of records that were made and not written, as far as it is known.
    pub records: u64,
    /// The reason in words.
    pub reason: String,
}

/// The last line of a file that is complete.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndNote {
    /// The number of lines before it.
    pub lines: u64,
}

/// The beginning of each line.
#[derive(Deserialize)]
struct LineHead<'a> {
    time: Stamp,
    #[serde(borrow)]
    kind: Cow<'a, str>,
}

#[derive(Serialize)]
struct WholeLine<'a> {
    time: Stamp,
    #[serde(flatten)]
    note: &'a Note<'a>,
}

impl<'a> HistoryLine<'a> {
    /// Writes it as JSON, with the end of the line.
    pub fn write(&self) -> String {
        let whole = WholeLine {
            time: self.time,
            note: &self.note,
        };
        // Texts and numbers can't fail to be written.
        serde_json::to_string(&whole).unwrap_or_default() + "\n"
    }

    /// Reads a line; `Ok(None)` for a kind of a later version.
    ///
    /// # Errors
    /// It is no line of the record.
    pub fn read(text: &'a str) -> Result<Option<Self>, serde_json::Error> {
        let (time, kind) = match head(text) {
            Some((time, kind)) => (time, Cow::Borrowed(kind)),
            None => {
                let LineHead { time, kind } = serde_json::from_str(text)?;
                (time, kind)
            }
        };
        let note = match &*kind {
            "served" => Note::Served(serde_json::from_str(text)?),
            "sample" => Note::Sample(serde_json::from_str(text)?),
            "file" => Note::File(serde_json::from_str(text)?),
            "start" => Note::Start(serde_json::from_str(text)?),
            "stop" => Note::Stop,
            "standing" => Note::Standing(serde_json::from_str(text)?),
            "change" => Note::Change(serde_json::from_str(text)?),
            "gap" => Note::Gap(serde_json::from_str(text)?),
            "end" => Note::End(serde_json::from_str(text)?),
            _ => return Ok(None),
        };
        Ok(Some(Self { time, note }))
    }
}

/// The time and the kind of a line as this version writes it, without reading the rest.
fn head(text: &str) -> Option<(Stamp, &str)> {
    let (time, rest) = text.strip_prefix("{\"time\":\"")?.split_once('"')?;
    let (kind, _) = rest.strip_prefix(",\"kind\":\"")?.split_once('"')?;
    Some((Stamp::read(time)?, kind))
}

/// Rounds seconds to nanoseconds: more digits say nothing, and take room.
#[must_use]
pub fn to_nanos(seconds: f64) -> f64 {
    (seconds * 1e9).round() / 1e9
}

/// Rounds an error up to tenths of a microsecond: it stays a bound, and a packet has steps of 15 us.
#[must_use]
pub fn rounded_up(seconds: f64) -> f64 {
    (seconds * 1e7).ceil() / 1e7
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn stamp(text: &str) -> Stamp {
        Stamp::read(text).unwrap()
    }

    /// A served line at this time with this bound.
    pub(in super::super) fn served(
        time: Stamp,
        state: &'static str,
        bound: Option<f64>,
    ) -> HistoryLine<'static> {
        let note = Note::Served(ServedNote {
            state: state.into(),
            clock: "tracked".into(),
            stratum: if bound.is_some() { 2 } else { 0 },
            leap: if bound.is_some() { 0 } else { 3 },
            reference_id: "C000020C".into(),
            frequency: Some(-1.2345e-5),
            root_delay: 0.000_03,
            lost: 0,
            root_dispersion: 0.000_002_5,
            bound,
            host_offset: -1.5e-5,
            answered: 20_114,
            refused: 3,
        });
        HistoryLine { time, note }
    }

    fn all() -> Vec<HistoryLine<'static>> {
        let time = stamp("2026-11-27T12:03:07.123Z");
        let notes = [
            Note::File(FileNote {
                format: FORMAT,
                number: 7,
                previous: Some("ab".repeat(32)),
                host: "host".to_owned(),
                version: "0.1.0".to_owned(),
                every: 1,
                reason: Some("no majority".to_owned()),
            }),
            Note::Start(StartNote {
                boot: Some("b".to_owned()),
                ..StartNote::default()
            }),
            Note::Stop,
            Note::Sample(SampleNote {
                upstream: "time1.example:123".to_owned(),
                refused: Some("kiss-rate".to_owned()),
                ..SampleNote::default()
            }),
            Note::Standing(StandingNote {
                upstream: "a \"<b>\u{7}".to_owned(),
                standing: "falseticker".to_owned(),
                since: Some(time),
            }),
            Note::Change(ChangeNote {
                what: "state".to_owned(),
                seconds: Some(-0.5),
                ..ChangeNote::default()
            }),
            Note::Gap(GapNote {
                from: None,
                records: 3,
                reason: "disk".to_owned(),
            }),
            Note::End(EndNote { lines: 4000 }),
        ];
        let mut lines: Vec<_> = notes.into_iter().map(|note| HistoryLine { time, note }).collect();
        lines.push(served(time, "synchronized", Some(0.000_017_5)));
        lines.push(served(time, "disputed", None));
        lines
    }

    #[test]
    fn each_kind_is_read_as_it_was_written() {
        for line in all() {
            let text = line.write();
            assert_eq!(HistoryLine::read(&text).unwrap(), Some(line), "{text}");
        }
    }

    /// Programs of others rely on it.
    #[test]
    fn the_shape_is_stable() {
        let line = served(
            stamp("2026-11-27T12:03:07.123Z"),
            "synchronized",
            Some(0.000_017_5),
        )
        .write();
        assert_eq!(
            line,
            "{\"time\":\"2026-11-27T12:03:07.123Z\",\"kind\":\"served\",\"state\":\"synchronized\",\"clock\":\"tracked\",\
             \"stratum\":2,\"leap\":0,\"reference_id\":\"C000020C\",\"frequency\":-0.000012345,\"root_delay\":0.00003,\"lost\":0,\
             \"root_dispersion\":2.5e-6,\"bound\":0.0000175,\"host_offset\":-0.000015,\"answered\":20114,\"refused\":3}\n"
        );
    }

    #[test]
    fn later_kinds_are_passed_over_and_other_text_is_an_error() {
        let later = "{\"time\":\"2026-11-27T12:03:07.123Z\",\"kind\":\"aurora\",\"colour\":1}";
        assert_eq!(HistoryLine::read(later).unwrap(), None);
        let other_order = "{\"kind\": \"gap\", \"reason\": \"x\", \"time\": \"2026-11-27T12:03:07.123Z\"}";
        assert!(matches!(
            HistoryLine::read(other_order).unwrap(),
            Some(HistoryLine {
                note: Note::Gap(_),
                ..
            })
        ));
        for text in ["", "{}", "x", "{\"time\":\"2026\",\"kind\":\"gap\"}", "[1]"] {
            assert!(HistoryLine::read(text).is_err(), "{text}");
        }
    }
}
