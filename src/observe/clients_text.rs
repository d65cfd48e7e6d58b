//! Pure. The census as an operator reads it: `ntpfront clients`.

use super::screen::{Cell, Line, Lines, ScreenColumn, ScreenRow, ScreenTable, Tone, plain_cell};
use super::units::Brief;
use crate::census::{CensusReport, CensusWanted, Class, ClientOrder, Ranking, Talker};

/// The usual number of rows of a table: as many as fit on a screen.
pub const ROWS: u16 = 10;
/// Length of the longest bar.
const BAR: usize = 40;
/// The columns before the bars of the histogram.
const BEFORE_BAR: usize = 37;

/// The census for people, with what was `wanted`, on a screen of this width.
pub fn lines(report: &CensusReport, wanted: &CensusWanted, width: usize) -> Vec<Line> {
    let mut lines = Lines::new(width);
    headline(&mut lines, report);
    condition(&mut lines, wanted);
    let columns = match wanted.limited || wanted.order == ClientOrder::Last {
        true => Columns::OfWorkers,
        false => Columns::OfCensus,
    };
    table(&mut lines, "ADDRESS", &report.addresses, wanted, columns);
    if !wanted.limited {
        table(&mut lines, "PREFIX", &report.prefixes, wanted, Columns::OfCensus);
    }
    histogram(&mut lines, report, width);
    lines.into_lines()
}

fn headline(lines: &mut Lines, report: &CensusReport) {
    lines.paragraph(&format!(
        "About {} {} (± {:.0} %) in the last {}",
        report.clients,
        if report.clients == 1 { "client" } else { "clients" },
        200.0 * report.clients_error,
        length(report.window),
    ));
    lines.paragraph(&format!(
        "{} requests, {}/s; in the last minutes {}/s",
        report.requests,
        rate(report.rate),
        rate(report.recent_rate),
    ));
    // Where only a part of the packets was counted for the tables.
    if report.packets_divisor > 1 {
        let some = report.packets_divisor;
        lines.paragraph(&format!(
            "Above 40,000 packets per second one in {some} is counted below: bounds hold at 95 %"
        ));
    }
}

/// A time in seconds, or in whole minutes, once there are some.
fn length(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{:.0} min", seconds / 60.0)
    }
}

/// Adds a line on the clients that are not listed.
fn condition(lines: &mut Lines, wanted: &CensusWanted) {
    let prefix = wanted.prefix.map(|prefix| format!("in {prefix}"));
    let limited = wanted
        .limited
        .then(|| "of which limit or budget refused requests".to_owned());
    let conditions: Vec<String> = prefix.into_iter().chain(limited).collect();
    if !conditions.is_empty() {
        lines.paragraph(&format!("Listed below: clients {}", conditions.join(", ")));
    }
}

/// The columns of a table.
#[derive(Clone, Copy)]
enum Columns {
    /// Those of the census.
    OfCensus,
    /// In place of share and rate, what workers know.
    OfWorkers,
}

fn table(lines: &mut Lines, head: &'static str, ranking: &Ranking, wanted: &CensusWanted, columns: Columns) {
    // The longest address fits, if there is room.
    let first = ScreenColumn::words(head, 39, u8::MAX);
    let [fourth, fifth] = match columns {
        Columns::OfCensus => [("SHARE", 6, 2), ("RATE/S", 6, 1)],
        Columns::OfWorkers => [("LAST", 5, u8::MAX), ("REFUSED", 7, u8::MAX)],
    };
    let others = [
        ("REQUESTS", 10, u8::MAX),
        ("+MORE", 7, 3),
        fourth,
        fifth,
        ("NOW/S", 6, 4),
    ];
    let others = others.map(|(head, least, rank)| ScreenColumn::numbers(head, least, rank));
    let row = |talker: &Talker| ScreenRow {
        cells: cells(talker, columns).to_vec(),
        below: Vec::new(),
    };
    lines.blank();
    lines.table(&ScreenTable {
        columns: std::iter::once(first).chain(others).collect(),
        rows: ranking.top.iter().map(row).collect(),
    });
    let is_by_count = wanted.order == ClientOrder::Count && !wanted.limited && wanted.prefix.is_none();
    if ranking.others_at_most > 0 && is_by_count {
        let most = ranking.others_at_most;
        lines.paragraph(&format!("Each of the others sent {most} at most."));
    }
}

/// The cells of a row: what is certain, and how much more it may be.
fn cells(talker: &Talker, columns: Columns) -> [Cell; 6] {
    let [share, rate] = match columns {
        Columns::OfCensus => [percent(talker.share), self::rate(talker.rate)],
        Columns::OfWorkers => {
            let unknown = || "-".to_owned();
            let last = talker.last_request.map(|ago| Brief(ago).to_string());
            let refused = talker.unanswered.map(|count| count.to_string());
            [last.unwrap_or_else(unknown), refused.unwrap_or_else(unknown)]
        }
    };
    [
        talker.address.clone(),
        talker.at_least.to_string(),
        talker.at_most.saturating_sub(talker.at_least).to_string(),
        share,
        rate,
        self::rate(talker.recent_rate),
    ]
    .map(plain_cell)
}

/// Adds the histogram, from the shortest time that there was to the longest.
fn histogram(lines: &mut Lines, report: &CensusReport, width: usize) {
    let classes = &report.intervals;
    let is_used = |class: &Class| class.count > 0;
    let (Some(first), Some(last)) = (
        classes.iter().position(is_used),
        classes.iter().rposition(is_used),
    ) else {
        return;
    };
    let sample = match report.sampling_divisor {
        1 => String::new(),
        some => format!(" (from one client in {some})"),
    };
    let most = classes.iter().map(|class| class.share).fold(0.0, f64::max);
    lines.blank();
    lines.text(
        &format!("ASKS AGAIN AFTER       TIMES  SHARE{sample}"),
        Tone::Heading,
    );
    let longest = BAR.min(width.saturating_sub(BEFORE_BAR));
    for class in classes.iter().take(last + 1).skip(first) {
        let bar = bar(class.share / most, longest);
        let line = format!(
            "{:<16}{:>12}{:>7}  {bar}",
            label(class),
            class.count,
            percent(class.share)
        );
        lines.text(line.trim_end(), Tone::Plain);
    }
}

/// A bar of the `part` of the `longest`.
fn bar(part: f64, longest: usize) -> String {
    let steps = u8::try_from(longest).unwrap_or(u8::MAX);
    let end = part * f64::from(steps);
    (1..=steps)
        .filter(|&step| f64::from(step) <= end)
        .map(|_| '#')
        .collect()
}

/// The middle of a class, which is a power of two, as intervals of clients are.
fn label(class: &Class) -> String {
    match class.to {
        None => "longer".to_owned(),
        Some(to) if class.from == 0.0 => format!("less than {to:.1} s"),
        Some(_) => format!("{:.0} s", class.from * std::f64::consts::SQRT_2),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// A rate with three digits.
fn rate(rate: f64) -> String {
    match rate {
        rate if rate >= 100.0 => format!("{rate:.0}"),
        rate if rate >= 1.0 => format!("{rate:.1}"),
        rate => format!("{rate:.3}"),
    }
}

#[cfg(test)]
fn talker(address: &str, at_least: u64, at_most: u64) -> Talker {
    Talker {
        address: address.to_owned(),
        at_least,
        at_most,
        share: 0.999,
        rate: 99_999.4,
        recent_rate: 0.0123,
        last_request: None,
        unanswered: None,
    }
}

/// A census for tests.
#[cfg(test)]
pub(crate) fn example() -> CensusReport {
    let class = |from: f64, to, count: u64, share| Class {
        from,
        to,
        count,
        share,
    };
    CensusReport {
        workers: 2,
        window: 3660.0,
        requests: 4_000_000_000,
        rate: 1_092_896.2,
        recent_rate: 1.25,
        clients: 123_456,
        clients_error: 0.01625,
        addresses: Ranking {
            top: vec![
                talker(
                    "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
                    3_999_999_999,
                    4_000_000_000,
                ),
                talker("192.0.2.1", 1, 99_999),
            ],
            others_at_most: 77,
        },
        prefixes: Ranking {
            top: vec![talker("2001:db8:ffff::/48", 12, 12); 10],
            others_at_most: 0,
        },
        sampling_divisor: 4,
        packets_divisor: 1,
        intervals: vec![
            class(0.0, Some(0.707), 0, 0.0),
            class(0.707, Some(1.414), 12, 0.12),
            class(45.25, Some(90.5), 0, 0.0),
            class(90.5, None, 88, 0.88),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::super::screen::plain;
    use super::*;

    fn text(report: &CensusReport) -> String {
        plain(&lines(report, &CensusWanted::first(ROWS), 80))
    }

    #[test]
    fn on_a_narrow_screen_a_long_address_has_a_line_of_its_own() {
        let text = plain(&lines(&example(), &CensusWanted::first(1), 60));
        let (_, table) = text.split_once("\n\n").unwrap();
        let expected = "\
ADDRESS                REQUESTS   +MORE  SHARE RATE/S  NOW/S
2001:db8:ffff:ffff:ffff:ffff:ffff:ffff
                     3999999999       1  99.9%  99999  0.012
192.0.2.1                     1   99998  99.9%  99999  0.012
";
        assert!(table.starts_with(expected), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    }

    #[test]
    fn one_screen() {
        let row = "2001:db8:ffff::/48                              12       0  99.9%  99999  0.012\n";
        let expected = "\
About 123456 clients (± 3 %) in the last 61 min
4000000000 requests, 1092896/s; in the last minutes 1.2/s

ADDRESS                                   REQUESTS   +MORE  SHARE RATE/S  NOW/S
2001:db8:ffff:ffff:ffff:ffff:ffff:ffff  3999999999       1  99.9%  99999  0.012
192.0.2.1                                        1   99998  99.9%  99999  0.012
Each of the others sent 77 at most.

PREFIX                                    REQUESTS   +MORE  SHARE RATE/S  NOW/S
"
        .to_owned()
            + &row.repeat(10)
            + "
ASKS AGAIN AFTER       TIMES  SHARE (from one client in 4)
1 s                       12  12.0%  #####
64 s                       0   0.0%
longer                    88  88.0%  ########################################
";
        let text = text(&example());
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.chars().count() < 80), "{text}");
    }

    #[test]
    fn what_workers_know_of_those_that_are_asked_for() {
        let mut report = example();
        report.intervals.clear();
        report.addresses.top[0].last_request = Some(3.2);
        report.addresses.top[0].unanswered = Some(256);
        let wanted = CensusWanted {
            prefix: "2001:db8::/32".parse().ok(),
            limited: true,
            ..CensusWanted::first(ROWS)
        };
        let text = plain(&lines(&report, &wanted, 80));
        let (_, rest) = text.split_once("in the last minutes 1.2/s\n").unwrap();
        assert_eq!(
            rest,
            "\
Listed below: clients in 2001:db8::/32, of which limit or budget refused
requests

ADDRESS                                   REQUESTS   +MORE  LAST REFUSED  NOW/S
2001:db8:ffff:ffff:ffff:ffff:ffff:ffff  3999999999       1    3s     256  0.012
192.0.2.1                                        1   99998     -       -  0.012
"
        );
    }

    #[test]
    fn no_client_at_all() {
        let mut report = example();
        report.addresses.top.clear();
        report.prefixes.top.clear();
        report.intervals.iter_mut().for_each(|class| class.count = 0);
        assert!(!text(&report).contains("ASKS AGAIN"));
        report.clients = 1;
        assert!(text(&report).starts_with("About 1 client (± 3 %) in the last 61 min\n"));
    }

    #[test]
    fn the_shape_of_the_json_is_stable() {
        let mut report = example();
        report.addresses.top.truncate(1);
        report.prefixes.top.clear();
        report.intervals.drain(..3);
        let expected = "{\"workers\":2,\"window\":3660.0,\"requests\":4000000000,\"rate\":1092896.2,\"recent_rate\":1.25,\
            \"clients\":123456,\"clients_error\":0.01625,\
            \"addresses\":{\"top\":[{\"who\":\"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff\",\"at_least\":3999999999,\
            \"at_most\":4000000000,\"share\":0.999,\"rate\":99999.4,\"recent_rate\":0.0123}],\"others_at_most\":77},\
            \"prefixes\":{\"top\":[],\"others_at_most\":0},\
            \"one_of\":4,\"packets_one_of\":1,\"intervals\":[{\"from\":90.5,\"to\":null,\"count\":88,\"share\":0.88}]}";
        assert_eq!(serde_json::to_string(&report).unwrap(), expected);
    }
}
