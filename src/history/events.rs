//! Pure. Events, a line each: changes, starts, stops and gaps.

use super::line::{ChangeNote, GapNote, HistoryLine, Note, StartNote};
use super::printable::printable;

/// Returns a line for people, if this line of the record is an event.
pub fn event(line: &HistoryLine<'_>) -> Option<String> {
    let said = match &line.note {
        Note::Start(StartNote {
            version,
            configuration,
            digest,
            ..
        }) => {
            let digest = digest.get(..16).unwrap_or(digest);
            format!("started: ntpfront {version}, configuration {configuration} ({digest})")
        }
        Note::Stop => "stopped".to_owned(),
        Note::Change(change) => described(change),
        Note::Gap(GapNote {
            from,
            records,
            reason,
        }) => {
            let from = from.map_or_else(|| "before".to_owned(), |from| format!("since {from}"));
            let lost = if *records > 0 {
                format!(" ({records} records lost)")
            } else {
                String::new()
            };
            format!("gap {from}: {reason}{lost}")
        }
        Note::File(_) | Note::Served(_) | Note::Sample(_) | Note::Standing(_) | Note::End(_) => return None,
    };
    Some(format!("{}  {}", line.time, printable(&said)))
}

fn described(change: &ChangeNote) -> String {
    let ChangeNote {
        what,
        name,
        from,
        to,
        reason,
        seconds,
    } = change;
    let name = name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    let values = match (from, to) {
        (Some(from), Some(to)) => format!(": {from} -> {to}"),
        (None, Some(to)) => format!(": {to}"),
        (Some(from), None) => format!(": {from} -> none"),
        (None, None) => String::new(),
    };
    let seconds = seconds
        .map(|seconds| format!(" by {seconds:+.9} s"))
        .unwrap_or_default();
    let reason = reason
        .as_ref()
        .map(|reason| format!(" ({reason})"))
        .unwrap_or_default();
    format!("{what}{name}{values}{seconds}{reason}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::line::tests::{served, stamp};

    #[test]
    fn events_are_told_in_a_line_and_records_are_not() {
        let time = stamp("2026-11-27T12:03:07Z");
        let said = |note| {
            event(&HistoryLine { time, note }).map(|said| said.replace("2026-11-27T12:03:07.000Z  ", ""))
        };
        let change = ChangeNote {
            what: "standing".to_owned(),
            name: Some("time1".to_owned()),
            from: Some("agrees".to_owned()),
            to: Some("falseticker".to_owned()),
            ..ChangeNote::default()
        };
        assert_eq!(
            said(Note::Change(change)).as_deref(),
            Some("standing time1: agrees -> falseticker")
        );
        let step = ChangeNote {
            what: "host-clock".to_owned(),
            to: Some("stepped".to_owned()),
            seconds: Some(-0.5),
            reason: Some("why".to_owned()),
            ..ChangeNote::default()
        };
        assert_eq!(
            said(Note::Change(step)).as_deref(),
            Some("host-clock: stepped by -0.500000000 s (why)")
        );
        let gap = GapNote {
            from: Some(time),
            records: 3,
            reason: "the disk was full".to_owned(),
        };
        assert_eq!(
            said(Note::Gap(gap)).as_deref(),
            Some("gap since 2026-11-27T12:03:07.000Z: the disk was full (3 records lost)")
        );
        assert_eq!(said(Note::Stop).as_deref(), Some("stopped"));
        assert_eq!(event(&served(time, "synchronized", None)), None);
    }
}
