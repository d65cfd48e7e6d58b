//! Pure. The arguments of the subcommands that do not ask the running server, as words.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

/// The arguments of `query`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The server to poll, an address or a name; the default port is 123
    #[arg(value_name = "HOST[:PORT]", value_hint = ValueHint::Hostname)]
    pub server: String,
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
    /// Print the answer as one JSON object
    #[arg(long)]
    pub json: bool,
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
