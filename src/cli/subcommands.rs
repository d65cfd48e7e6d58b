//! Pure. The arguments of most subcommands, as words.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};

/// The arguments of `query`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The servers to poll, addresses or names, up to 64; the default port is 123
    #[arg(value_name = "HOST[:PORT]", required = true, num_args = 1..=64, value_hint = ValueHint::Hostname)]
    pub servers: Vec<String>,
    /// Use only IPv4 addresses
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,
    /// Use only IPv6 addresses
    #[arg(short = '6', long)]
    pub ipv6: bool,
    /// Longest time to wait for a response of each address, and for the name servers [default: 3]
    #[arg(long, value_name = "SECONDS", value_parser = span, conflicts_with = "nts", value_hint = ValueHint::Other)]
    pub timeout: Option<Duration>,
    /// Poll three times and show how the NTP Pool's monitor would score the server (exit status 0: it would be listed)
    #[arg(long)]
    pub pool: bool,
    /// Establish keys with NTS first (the port is that of key establishment, 4460 by default), and show what a client sees
    #[arg(long, conflicts_with = "pool")]
    pub nts: bool,
    /// Poll up to seven times to get an answer in interleaved mode (RFC 9769), and show what it corrects
    #[arg(long, conflicts_with_all = ["pool", "nts"])]
    pub interleaved: bool,
    /// File with the certificates (PEM) that are trusted instead of the system's
    #[arg(long, value_name = "FILE", requires = "nts", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
    /// Print the answer as one JSON object; those of several servers as a list, in the order of the arguments
    #[arg(long)]
    pub json: bool,
}

impl Query {
    /// Whether a kind of query is wanted that goes to one server only.
    pub(super) fn is_for_one(&self) -> bool {
        self.pool || self.nts || self.interleaved
    }
}

/// The arguments of `import`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Format of the files [default: detect automatically]
    #[arg(long, value_name = "DAEMON", value_enum)]
    pub from: Option<Dialect>,
    /// Files to read in this order, as one file: chrony.conf or ntp.conf first, then those that it includes; or ntp.toml
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
}

/// A leap second that is supposed to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SupposedLeap {
    /// A second is inserted: 23:59:60
    Insert,
    /// A second is deleted: there is no 23:59:59
    Delete,
}

/// The arguments of `leap`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct LeapQuery {
    /// Configuration file with the listeners [default: /etc/ntpfront/ntpfront.toml if it exists]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Suppose that this leap second comes: at the end of the next June or December, or of the month nearest to --at
    #[arg(long, value_name = "KIND", value_enum)]
    pub suppose: Option<SupposedLeap>,
    /// Show what is served at this moment only, in UTC: 2026-12-31T23:59:59Z
    #[arg(long, value_name = "TIME", value_hint = ValueHint::Other)]
    pub at: Option<String>,
    /// Print a table for programs (CSV) instead, from 25 hours before the leap second to 25 hours after it
    #[arg(long)]
    pub csv: bool,
    /// Seconds between the lines of that table, 1 or more
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds, value_hint = ValueHint::Other)]
    pub every: f64,
}

/// The arguments of `rehearse`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct RehearseQuery {
    /// The address to serve on: a loopback or private one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:12399", value_hint = ValueHint::Other)]
    pub listen: String,
    /// The leap second
    #[arg(long, value_name = "KIND", value_enum)]
    pub suppose: SupposedLeap,
    /// The made-up time at the start: a time of day on the last day of the next June or December, or a time in UTC
    #[arg(long, value_name = "TIME", default_value = "23:59:50", value_hint = ValueHint::Other)]
    pub start: String,
    /// Seconds after which it ends: up to 7200
    #[arg(long = "for", value_name = "SECONDS", default_value = "3600", value_parser = seconds, value_hint = ValueHint::Other)]
    pub length: f64,
    /// The stratum, from 10 to 15: ntpd does not use 15
    #[arg(long, value_name = "N", default_value = "15", value_parser = clap::value_parser!(u8).range(10..=15), value_hint = ValueHint::Other)]
    pub stratum: u8,
    /// Smear the leap second, as the smear table of the configuration has it
    #[arg(long)]
    pub smear: bool,
    /// Configuration file with the smear table [default: /etc/ntpfront/ntpfront.toml if it exists]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

/// The arguments of `history`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Check that no file was changed, removed or replaced (exit status 0: none, 1: some, the first one is named)
    #[arg(value_name = "ACTION", value_enum, conflicts_with_all = ["at", "since", "until", "events", "csv", "json", "svg", "png"])]
    pub action: Option<HistoryAction>,
    /// Show what was served at this moment (exit status 0: a time, 1: no time was announced, 2: no record)
    #[arg(long, value_name = "TIME", value_hint = ValueHint::Other, conflicts_with_all = ["since", "until", "events", "csv", "svg", "png"])]
    pub at: Option<String>,
    /// Begin at this time in UTC (2026-11-27T12:03:07), or this time before now (2h, 7d) [default: an hour before the end]
    #[arg(long, value_name = "TIME", value_hint = ValueHint::Other)]
    pub since: Option<String>,
    /// End at this time [default: now]
    #[arg(long, value_name = "TIME", value_hint = ValueHint::Other)]
    pub until: Option<String>,
    /// Print only what happened, a line each: changes, starts, stops, gaps
    #[arg(long)]
    pub events: bool,
    /// Print the served time as CSV, a row per record
    #[arg(long, conflicts_with_all = ["json", "events"])]
    pub csv: bool,
    /// Print the lines of the record as they are, a JSON object each
    #[arg(long)]
    pub json: bool,
    /// Draw the curves to this file, as SVG
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["csv", "json", "events"])]
    pub svg: Option<PathBuf>,
    /// Draw the curves to this file, as PNG
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["csv", "json", "events"])]
    pub png: Option<PathBuf>,
    /// Directory of the record [default: history.directory of the configuration]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
    /// Configuration file [default: /etc/ntpfront/ntpfront.toml if it exists]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

/// The action of `history`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HistoryAction {
    /// Check all files
    Verify,
}

/// The arguments of `report`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ReportQuery {
    /// The month: 2026-11
    #[arg(long, value_name = "MONTH", value_hint = ValueHint::Other)]
    pub month: String,
    /// The limit of the error: a name of history.limits, or seconds
    #[arg(long, value_name = "LIMIT", value_hint = ValueHint::Other)]
    pub limit: String,
    /// Print CSV instead of Markdown
    #[arg(long)]
    pub csv: bool,
    /// Directory of the record [default: history.directory of the configuration]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
    /// Configuration file [default: /etc/ntpfront/ntpfront.toml if it exists]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

/// The arguments of `clients`, except those that lead to the server.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientsQuery {
    /// Length of the lists, 1 to 1000 [default: 10, with --json 100]
    #[arg(short = 'n', long, value_name = "NUM", value_parser = clap::value_parser!(u16).range(1..=1000), value_hint = ValueHint::Other)]
    pub count: Option<u16>,
    /// Order of the lists [default: count]
    #[arg(long, value_name = "ORDER", value_enum)]
    pub sort: Option<ClientsOrder>,
    /// Only clients in this prefix
    #[arg(long, value_name = "PREFIX", value_hint = ValueHint::Other)]
    pub prefix: Option<String>,
    /// Only clients of which the limit or the budget refused requests, of the 1000 busiest
    #[arg(long)]
    pub limited: bool,
}

/// The order of `clients`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClientsOrder {
    /// The most requests first
    Count,
    /// The highest rate of the last 5 to 10 minutes first
    Rate,
    /// The last request first, of the 1000 busiest clients
    Last,
    /// By address
    Address,
}

/// The arguments of `client`, except those that lead to the server.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ClientQuery {
    /// The addresses of the clients
    #[arg(value_name = "ADDRESS", required = true, value_hint = ValueHint::Other)]
    pub addresses: Vec<IpAddr>,
    /// Only what this listener does; an address without a listener of its own is the wildcard's
    #[arg(long, value_name = "ADDR[:PORT]", value_hint = ValueHint::Other)]
    pub listener: Option<String>,
}

/// The arguments of `health`, except those that lead to the server.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct HealthQuery {
    /// Not healthy if the maximum error of the time is over this limit
    #[arg(long, value_name = "SECONDS", value_parser = seconds, value_hint = ValueHint::Other)]
    pub max_distance: Option<f64>,
    /// Not healthy unless this listener announces the time; an address without a listener of its own is the wildcard's
    #[arg(long, value_name = "ADDR[:PORT]", value_hint = ValueHint::Other)]
    pub listener: Option<String>,
    /// Longest time to wait for the server [default: 1, with --watch 0.5]
    #[arg(long, value_name = "SECONDS", value_parser = span, value_hint = ValueHint::Other)]
    pub timeout: Option<Duration>,
    /// Wait until the server is healthy, this long at most
    #[arg(long, value_name = "SECONDS", value_parser = span, value_hint = ValueHint::Other)]
    pub wait: Option<Duration>,
    /// Form of the output
    #[arg(long, value_enum, conflicts_with = "json")]
    pub format: Option<HealthFormat>,
    /// WARNING if the maximum error of the time is over this limit (--format nagios)
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "format", value_hint = ValueHint::Other)]
    pub warn_distance: Option<f64>,
    /// Stay, and print a line at each change, until interrupted
    #[arg(long, conflicts_with = "wait")]
    pub watch: bool,
    /// Healthy only after this long without a break
    #[arg(long, value_name = "SECONDS", value_parser = span, requires = "watch", value_hint = ValueHint::Other)]
    pub up_after: Option<Duration>,
    /// Run this command when the server becomes healthy: a program and its arguments, without a shell
    #[arg(long, value_name = "COMMAND", requires = "watch", value_hint = ValueHint::CommandString)]
    pub exec: Option<String>,
    /// Run this command when the server is not healthy any more, and when the watch ends
    #[arg(long, value_name = "COMMAND", requires = "watch", value_hint = ValueHint::CommandString)]
    pub exec_down: Option<String>,
    /// Longest time that such a command may take [default: 5]
    #[arg(long, value_name = "SECONDS", value_parser = span, requires = "watch", value_hint = ValueHint::Other)]
    pub exec_timeout: Option<Duration>,
    /// Announce this prefix while the server is healthy, in ExaBGP's text API on standard output; repeatable
    #[arg(long, value_name = "PREFIX", requires = "watch", conflicts_with_all = ["json", "format"], value_hint = ValueHint::Other)]
    pub exabgp: Vec<String>,
}

/// Form of the output of `health`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HealthFormat {
    /// A line for people
    Text,
    /// A JSON object, whose names are stable
    Json,
    /// A line of a Nagios plugin with performance data, and its exit statuses: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN
    Nagios,
}

/// The daemon that a configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// chrony.conf of chronyd
    Chrony,
    /// ntp.conf of ntpd (NTPsec or NTP Project)
    Ntp,
    /// ntp.toml of ntpd-rs
    NtpdRs,
}

/// Reads a number of seconds that is finite and not negative.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let seconds: Option<f64> = text.parse().ok();
    let sound = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    sound.ok_or_else(|| "not a number of seconds, such as 0.01".to_owned())
}

/// Reads a span of time: a number of seconds, or a number with its unit, from 1 ms to a day.
fn span(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let unit = units
        .iter()
        .find_map(|(unit, length)| Some((text.strip_suffix(unit)?, *length)));
    let (number, length) = unit.unwrap_or((text, 1.0));
    let seconds = seconds(number).map(|number| number * length).ok();
    let sound = seconds.filter(|seconds| (0.001..=86_400.0).contains(seconds));
    sound
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "not a time from 1 ms to a day, such as 0.5, 10s or 2m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        for (text, milliseconds) in [
            ("1", 1000),
            ("0.5", 500),
            ("10s", 10_000),
            ("250ms", 250),
            ("1.5m", 90_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(span(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "", "s", "0", "-1", "0.5ms", "25h", "1e300", "inf", "NaN", "1d", "1 s", "10sec",
        ] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
