//! Pure. Tests of the report: a day with two excesses and a gap.

use super::super::chain::ChainCheck;
use super::super::line::tests::{served, stamp};
use super::super::line::{ChangeNote, FileNote, SampleNote, StartNote};
use super::*;

fn line(time: Stamp, note: Note<'static>) -> HistoryLine<'static> {
    HistoryLine { time, note }
}

/// A day: an excess over two files, one without a time, and a gap of ten minutes that was told.
fn day() -> Vec<Vec<HistoryLine<'static>>> {
    let start = stamp("2026-11-27T00:00:00Z");
    let mut files = Vec::new();
    for hour in 0..24 {
        let begin = start.plus(hour * 3600);
        let mut lines = vec![line(
            begin,
            Note::File(FileNote {
                every: 10,
                ..FileNote::default()
            }),
        )];
        if hour == 0 {
            let note = StartNote {
                digest: "d1".to_owned(),
                configuration: "/etc/a|b".to_owned(),
                ..StartNote::default()
            };
            lines.push(line(begin, Note::Start(note)));
        }
        for at in (0..3600).step_by(10) {
            let (time, of_day) = (begin.plus(at), hour * 3600 + at);
            let reason = match of_day {
                7000 => Some("no majority of <b>3</b>"),
                7400 => None,
                _ => continue_if(&mut lines, time, of_day),
            };
            if matches!(of_day, 7000 | 7400) {
                let note = ChangeNote {
                    what: "state".to_owned(),
                    to: Some(
                        if reason.is_some() {
                            "holdover"
                        } else {
                            "synchronized"
                        }
                        .to_owned(),
                    ),
                    reason: reason.map(str::to_owned),
                    ..ChangeNote::default()
                };
                lines.push(line(time, Note::Change(note)));
            }
            push_served(&mut lines, time, of_day);
        }
        files.push(lines);
    }
    files
}

/// The line of the gap, when it ends.
fn continue_if(lines: &mut Vec<HistoryLine<'static>>, time: Stamp, of_day: i64) -> Option<&'static str> {
    if of_day == 40_600 {
        let note = GapNote {
            from: Some(time.plus(-600)),
            records: 60,
            reason: "the disk was full".to_owned(),
        };
        lines.push(line(time, Note::Gap(note)));
    }
    None
}

fn push_served(lines: &mut Vec<HistoryLine<'static>>, time: Stamp, of_day: i64) {
    if (40_010..40_600).contains(&of_day) {
        return;
    }
    lines.push(match of_day {
        7000..=7390 => served(time, "holdover", Some(1e-3 + 1e-6 * of_day as f64)),
        50_000..=50_090 => served(time, "disputed", None),
        _ => served(time, "synchronized", Some(4e-4)),
    });
    if of_day % 640 == 0 {
        let note = SampleNote {
            upstream: "time1".to_owned(),
            address: Some("192.0.2.1:123".to_owned()),
            reference_id: Some("GPS".to_owned()),
            ..SampleNote::default()
        };
        lines.push(line(time, Note::Sample(note)));
    }
}

fn whole() -> (Stamp, Stamp) {
    (stamp("2026-11-27T00:00:00Z"), stamp("2026-11-28T00:00:00Z"))
}

fn report(part: ReportPart) -> HistoryReport {
    HistoryReport {
        month: "2026-11".to_owned(),
        host: "host".to_owned(),
        limit: HistoryLimit {
            name: "mifid-1ms".to_owned(),
            seconds: 1e-3,
        },
        part,
        chain: ChainCheck::default().finish(),
    }
}

/// Joins the parts of all files.
fn joined() -> ReportPart {
    let (since, until) = whole();
    let mut whole = ReportPart::new(since, until, 1e-3);
    for file in day() {
        let mut part = ReportPart::new(since, until, 1e-3);
        file.iter().for_each(|line| part.add(line));
        whole.join(part);
    }
    whole
}

#[test]
fn it_has_each_excess_and_each_gap() {
    let part = joined();
    let [long, silent] = part.excesses() else {
        panic!("{:?}", part.excesses());
    };
    assert_eq!(
        (long.begin.to_string().as_str(), long.seconds),
        ("2026-11-27T01:56:40.000Z", 400.0)
    );
    assert_eq!(long.end, stamp("2026-11-27T02:03:10Z"));
    assert!((long.worst.unwrap() - (1e-3 + 7390.0 * 1e-6)).abs() < 1e-12);
    assert_eq!(
        (long.state.as_str(), long.reason.as_deref()),
        ("holdover", Some("no majority of <b>3</b>"))
    );
    assert_eq!(
        (silent.worst, silent.seconds, silent.reason.as_deref()),
        (None, 100.0, None)
    );
    assert_eq!(part.gaps.len(), 1, "{:?}", part.gaps);
    assert!(
        (part.recorded - (86_400.0 - 590.0)).abs() < 1.0,
        "{}",
        part.recorded
    );
}

#[test]
fn parts_joined_are_as_the_whole() {
    let (since, until) = whole();
    let mut at_once = ReportPart::new(since, until, 1e-3);
    day().iter().flatten().for_each(|line| at_once.add(line));
    let now = stamp("2026-12-01T00:00:00Z");
    assert_eq!(report(joined()).markdown(now), report(at_once).markdown(now));
}

#[test]
fn what_it_says() {
    let report = report(joined());
    let text = report.markdown(stamp("2026-12-01T00:00:00Z"));
    for part in [
        "# Time served by host in 2026-11\n",
        "| recorded | 99.317 % |",
        "| a time was told | 99.201 % |",
        "| announced error, half of the time within | 0.000400000 s |",
        "| announced error, all of the time within | 0.008390000 s |",
        "| limit | 0.001 s (mifid-1ms) |",
        "| over the limit | 1 times, 400 s |",
        "| 2026-11-27T01:56:40.000Z | 2026-11-27T02:03:10.000Z | 400 | 0.008390000 s | holdover | no majority of \\<b\\>3\\</b\\> |",
        "| 2026-11-27T13:53:20.000Z | 2026-11-27T13:54:50.000Z | 100 | no time told | disputed | - |",
        "| 2026-11-27T11:06:40.000Z | 2026-11-27T11:16:40.000Z | 600 | the disk was full |",
        "| time1 | 192.0.2.1:123 | GPS | 134 | 0 |",
        "| d1 | /etc/a\\|b |",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let csv = report.csv(stamp("2026-12-01T00:00:00Z"));
    for row in [
        "period,host,2026-11-27T00:00:00.000Z,2026-11-28T00:00:00.000Z,86400,,",
        "bound,p50,,,,0.0004,",
        "excess,holdover,2026-11-27T01:56:40.000Z,2026-11-27T02:03:10.000Z,400,0.00839,no majority of <b>3</b>",
        "no-time,disputed,2026-11-27T13:53:20.000Z,2026-11-27T13:54:50.000Z,100,,",
        "gap,,2026-11-27T11:06:40.000Z,2026-11-27T11:16:40.000Z,600,,the disk was full",
    ] {
        assert!(csv.lines().any(|line| line == row), "{row}\n{csv}");
    }
}

#[test]
fn a_month_that_is_not_over_ends_now_and_missing_ends_are_gaps() {
    let (since, _) = whole();
    let mut part = ReportPart::new(since, since.plus(30 * 86_400), 1e-3);
    (3600..7200).for_each(|second| part.add(&served(since.plus(second), "synchronized", Some(1e-4))));
    let text = report(part).markdown(since.plus(7200));
    assert!(text.contains("| recorded | 50.000 % |"), "{text}");
    assert!(
        text.contains("| 2026-11-27T00:00:00.000Z | 2026-11-27T01:00:00.000Z | 3600 | no record |"),
        "{text}"
    );
    assert!(!text.contains("| 2026-11-27T01:59:59.000Z |"), "{text}");
}
