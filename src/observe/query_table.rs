//! Pure. The result of one question to each of several servers: a table for people, a list for programs.

use std::cmp::Ordering;

use serde::Serialize;

use super::screen::{Line, Lines, ScreenColumn, ScreenRow, ScreenTable, Tone, plain_cell};
use super::units::{ShortTime, reference};
use crate::upstream::findings::{Answer, Findings};
use crate::wire::NTP_PORT;

/// The findings of several servers, in the order in which they were named.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct QueryTable {
    findings: Vec<Findings>,
}

impl QueryTable {
    /// Makes the table of these findings.
    pub fn of(findings: Vec<Findings>) -> Self {
        Self { findings }
    }

    /// Whether each of the servers is usable.
    pub fn are_all_usable(&self) -> bool {
        self.findings.iter().all(|one| one.usable)
    }

    /// The rows: usable servers first, by their maximum error, then others that answered, then silent ones.
    fn sorted(&self) -> Vec<&Findings> {
        let mut sorted: Vec<&Findings> = self.findings.iter().collect();
        sorted.sort_by(|one, other| order(one, other));
        sorted
    }
}

fn order(one: &Findings, other: &Findings) -> Ordering {
    let rank = |of: &Findings| (!of.usable, of.answer.is_none());
    let error = |of: &Findings| {
        of.answer
            .as_ref()
            .map_or(f64::INFINITY, |answer| answer.root_distance)
    };
    rank(one)
        .cmp(&rank(other))
        .then_with(|| error(one).total_cmp(&error(other)))
}

impl QueryTable {
    /// Returns the table as a screen of this width shows it.
    pub fn lines(&self, width: usize) -> Vec<Line> {
        let mut lines = Lines::new(width);
        lines.table(&ScreenTable {
            columns: COLUMNS.to_vec(),
            rows: self.sorted().into_iter().map(row).collect(),
        });
        let usable = self.findings.iter().filter(|one| one.usable).count();
        lines.paragraph(&format!("{usable} of {} usable", self.findings.len()));
        lines.into_lines()
    }
}

/// The columns; those of the lowest rank are left out first.
const COLUMNS: [ScreenColumn; 8] = [
    ScreenColumn::words("SERVER", 0, u8::MAX),
    ScreenColumn::words("ADDRESS", 0, 1),
    ScreenColumn::numbers("STRATUM", 0, 3),
    ScreenColumn::numbers("OFFSET", 0, u8::MAX),
    ScreenColumn::numbers("+/-", 0, u8::MAX),
    ScreenColumn::numbers("DELAY", 0, 4),
    ScreenColumn::words("REFERENCE", 0, 2),
    ScreenColumn::words("USABLE", 0, u8::MAX),
];

fn row(findings: &Findings) -> ScreenRow {
    let absent = || "-".to_owned();
    // An address stands in one column only, and the usual port nowhere.
    let server = findings.server.strip_suffix(&format!(":{NTP_PORT}"));
    let address = findings
        .address
        .filter(|address| address.to_string() != findings.server);
    let (verdict, tone) = match findings.usable {
        true => ("yes", Tone::Good),
        false => ("no", Tone::Warning),
    };
    let reason = findings.reason.iter().filter(|_| !findings.usable);
    let answer = findings.answer.as_ref();
    let of_answer = |cell: fn(&Answer) -> String| answer.map_or_else(absent, cell);
    let cells = [
        server.unwrap_or(&findings.server).to_owned(),
        address.map_or_else(absent, |address| address.ip().to_string()),
        of_answer(|answer| answer.stratum.to_string()),
        of_answer(|answer| format!("{:+}", ShortTime(answer.offset))),
        of_answer(|answer| ShortTime(answer.root_distance).to_string()),
        of_answer(|answer| ShortTime(answer.delay).to_string()),
        of_answer(|answer| {
            let named = reference(&answer.reference_id, []);
            named.split(' ').next().unwrap_or_default().to_owned()
        }),
    ];
    let cells = cells.map(plain_cell).into_iter();
    ScreenRow {
        cells: cells.chain([(verdict.to_owned(), tone)]).collect(),
        below: reason.map(|reason| (reason.clone(), tone)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::screen::plain;
    use super::*;

    fn silent(server: &str, reason: &str) -> Findings {
        Findings::of_silence(server, None, reason.to_owned())
    }

    fn answering(server: &str, address: [u8; 4], error: f64, reference_id: &str) -> Findings {
        Findings {
            server: server.to_owned(),
            address: Some((address, 123).into()),
            usable: true,
            reason: None,
            answer: Some(Answer {
                offset: -0.000_25,
                delay: 0.012,
                root_distance: error,
                stratum: 2,
                leap: 0,
                reference_id: reference_id.to_owned(),
                root_delay: 0.0,
                root_dispersion: 0.0,
                precision: -20,
                version: 4,
            }),
        }
    }

    #[test]
    fn the_best_is_first_and_what_is_silent_last() {
        let unusable = Findings {
            usable: false,
            reason: Some("unsynchronized".to_owned()),
            ..answering("[2001:db8::1]:123", [192, 0, 2, 3], 0.001, "C0000209")
        };
        let table = QueryTable::of(vec![
            silent("nosuch.invalid:123", "cannot find its address: no such name"),
            unusable,
            answering("far.example:123", [192, 0, 2, 1], 0.030, "C0000209"),
            answering("192.0.2.2:123", [192, 0, 2, 2], 0.0071, "PTB"),
        ]);
        let expected = "\
SERVER         ADDRESS   STRATUM   OFFSET    +/-  DELAY REFERENCE USABLE
192.0.2.2      -               2 -250.0us  7.1ms 12.0ms PTB       yes
far.example    192.0.2.1       2 -250.0us 30.0ms 12.0ms 192.0.2.9 yes
[2001:db8::1]  192.0.2.3       2 -250.0us  1.0ms 12.0ms 192.0.2.9 no
      unsynchronized
nosuch.invalid -               -        -      -      - -         no
      cannot find its address: no such name
2 of 4 usable
";
        assert_eq!(plain(&table.lines(80)), expected);
        let expected = "\
SERVER           OFFSET    +/- USABLE
192.0.2.2      -250.0us  7.1ms yes
far.example    -250.0us 30.0ms yes
[2001:db8::1]  -250.0us  1.0ms no
      unsynchronized
nosuch.invalid        -      - no
      cannot find its address: no such
      name
2 of 4 usable
";
        assert_eq!(plain(&table.lines(40)), expected);
        assert!(!table.are_all_usable());
        let json = serde_json::to_value(&table).unwrap();
        let servers: Vec<&str> = json
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["server"].as_str().unwrap())
            .collect();
        assert_eq!(
            servers,
            [
                "nosuch.invalid:123",
                "[2001:db8::1]:123",
                "far.example:123",
                "192.0.2.2:123"
            ]
        );
    }

    #[test]
    fn all_are_usable_only_if_each_is() {
        let good = || answering("a:123", [192, 0, 2, 1], 0.1, "PTB");
        assert!(QueryTable::of(vec![good(), good()]).are_all_usable());
        assert!(!QueryTable::of(vec![good(), silent("b:123", "no answer")]).are_all_usable());
    }
}
