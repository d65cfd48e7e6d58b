//! Pure. The census as an operator reads it: `ntpfront clients`, in 80 columns.

use std::fmt::Write;

use super::units::Brief;
use crate::census::{CensusReport, CensusWanted, Class, ClientOrder, Ranking, Talker};

/// The usual number of rows of a table: as many as fit on a screen.
pub const ROWS: u16 = 10;
/// Length of the longest bar.
const BAR: f64 = 40.0;

/// The census for people, with what was `wanted`.
pub fn text(report: &CensusReport, wanted: &CensusWanted) -> String {
    let mut text = headline(report);
    text += &condition(wanted);
    if wanted.limited || wanted.order == ClientOrder::Last {
        table(
            &mut text,
            "ADDRESS",
            &report.addresses,
            wanted,
            Columns::OfWorkers,
        );
    } else {
        table(&mut text, "ADDRESS", &report.addresses, wanted, Columns::OfCensus);
    }
    if !wanted.limited {
        table(&mut text, "PREFIX", &report.prefixes, wanted, Columns::OfCensus);
    }
    histogram(&mut text, report);
    text
}

fn headline(report: &CensusReport) -> String {
    format!(
        "About {} {} (± {:.0} %) in the last {}\n{} requests, {}/s; in the last minutes {}/s\n",
        report.clients,
        if report.clients == 1 { "client" } else { "clients" },
        200.0 * report.clients_error,
        length(report.window),
        report.requests,
        rate(report.rate),
        rate(report.recent_rate),
    ) + &sample(report)
}

/// A line where only a part of the packets was counted for the tables.
fn sample(report: &CensusReport) -> String {
    match report.packets_divisor {
        1 => String::new(),
        some => format!("Of the fast path one packet in {some} is counted below: bounds hold at 95 %\n"),
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

/// A line on the clients that are not listed.
fn condition(wanted: &CensusWanted) -> String {
    let prefix = wanted.prefix.map(|prefix| format!("in {prefix}"));
    let limited = wanted
        .limited
        .then(|| "of which limit or budget refused requests".to_owned());
    let conditions: Vec<String> = prefix.into_iter().chain(limited).collect();
    match conditions.as_slice() {
        [] => String::new(),
        some => format!("Listed below: clients {}\n", some.join(", ")),
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

fn table(text: &mut String, head: &str, ranking: &Ranking, wanted: &CensusWanted, columns: Columns) {
    let (fourth, fifth) = match columns {
        Columns::OfCensus => (7, 7),
        Columns::OfWorkers => (6, 8),
    };
    let row = |cells: [&str; 6]| {
        let [client, requests, more, share, rate, now] = cells;
        format!("{client:<39}{requests:>11}{more:>8}{share:>fourth$}{rate:>fifth$}{now:>7}\n")
    };
    *text += "\n";
    *text += &row(match columns {
        Columns::OfCensus => [head, "REQUESTS", "+MORE", "SHARE", "RATE/S", "NOW/S"],
        Columns::OfWorkers => [head, "REQUESTS", "+MORE", "LAST", "REFUSED", "NOW/S"],
    });
    for talker in &ranking.top {
        *text += &row(cells(talker, columns).each_ref().map(String::as_str));
    }
    let is_by_count = wanted.order == ClientOrder::Count && !wanted.limited && wanted.prefix.is_none();
    if ranking.others_at_most > 0 && is_by_count {
        let most = ranking.others_at_most;
        *text += &format!("Each of the others sent {most} at most.\n");
    }
}

/// The cells of a row: what is certain, and how much more it may be.
fn cells(talker: &Talker, columns: Columns) -> [String; 6] {
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
}

/// Adds the histogram, from the shortest time that there was to the longest.
fn histogram(text: &mut String, report: &CensusReport) {
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
    let _written = write!(text, "\nASKS AGAIN AFTER       TIMES  SHARE{sample}\n");
    for class in classes.iter().take(last + 1).skip(first) {
        let bar = bar(class.share / most);
        let line = format!(
            "{:<16}{:>12}{:>7}  {bar}",
            label(class),
            class.count,
            percent(class.share)
        );
        *text += line.trim_end();
        *text += "\n";
    }
}

fn bar(part: f64) -> String {
    let steps = (1..=40_u8).filter(|&step| f64::from(step) <= part * BAR);
    steps.map(|_| '#').collect()
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
    use super::*;

    fn text(report: &CensusReport) -> String {
        super::text(report, &CensusWanted::first(ROWS))
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
        let text = super::text(&report, &wanted);
        let (_, rest) = text.split_once("in the last minutes 1.2/s\n").unwrap();
        assert_eq!(
            rest,
            "\
Listed below: clients in 2001:db8::/32, of which limit or budget refused requests

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
