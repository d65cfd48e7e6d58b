//! The record of a year, by the writer of the server: its size and CPU time, and how fast commands read it.
//!
//! `cargo bench --bench history -- [--days DAYS] [--directory DIRECTORY]`: 365 days take ten minutes and 0.8 GB. A day is a
//! record a second, eight upstreams that are polled each 64 s, 20,000 requests a second, and noise in all digits that are
//! written. The record ends with today, has two excesses of 1 ms in the last whole month, and a gap of an hour. With a
//! DIRECTORY it stays there; if it is there already, it is only read.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark reads the clock and prints"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ntpfront::history::folder::HistoryFolder;
use ntpfront::history::line::{
    ChangeNote, HistoryLine, Note, SampleNote, ServedNote, StandingNote, rounded_up, to_nanos,
};
use ntpfront::history::segment::Retention;
use ntpfront::history::span;
use ntpfront::history::stamp::Stamp;
use ntpfront::history::writer::{HistoryWriter, RecordSettings};
use ntpfront::host::clock;

#[path = "../simulation/random.rs"]
#[allow(
    dead_code,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is of the simulation, which has these exceptions and needs more of it"
)]
mod random;

use random::Random;

const DAY: i64 = 86_400;
/// Seconds from one member to the next, as the recorder has it.
const MEMBER: i64 = 10;
/// Runs of each command; the median is printed.
const RUNS: usize = 5;
const UPSTREAMS: u32 = 8;
/// Milliseconds of each record: the server makes one each second after its start.
const PHASE: i64 = 554;

fn main() {
    let (days, directory) = arguments();
    let kept = directory.is_some();
    let directory = directory
        .unwrap_or_else(|| std::env::temp_dir().join(format!("ntpfront-history-{}", std::process::id())));
    let end = Stamp::from_seconds(Stamp::of(clock::realtime()).seconds() / 3600 * 3600);
    if !directory.exists() {
        Year::new(&directory, end).write(days);
    }
    let end = newest(&directory).unwrap_or(end);
    read(&directory, days, end);
    if !kept {
        std::fs::remove_dir_all(&directory).unwrap();
    }
}

/// Reads `--days` and `--directory`, and passes over what cargo adds.
fn arguments() -> (i64, Option<PathBuf>) {
    let mut arguments = std::env::args().skip(1);
    let (mut days, mut directory) = (365, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--days" => {
                days = arguments
                    .next()
                    .and_then(|text| text.parse().ok())
                    .expect("--days DAYS")
            }
            "--directory" => directory = Some(arguments.next().expect("--directory DIRECTORY").into()),
            other => {
                println!("{other}: neither --days nor --directory");
                std::process::exit(2);
            }
        }
    }
    (days, directory)
}

/// The end of the last hour of a record.
fn newest(directory: &Path) -> Option<Stamp> {
    let files = ntpfront::history::files::HistoryFiles::list(directory).ok()?;
    Some(files.names().last()?.hour.plus(1).start())
}

/// The month before the one of this time, as in `2026-11`, and its beginning.
fn month_before(end: Stamp) -> (String, Stamp) {
    let text = |time: Stamp| time.to_string().get(..7).unwrap().to_owned();
    let (begin, _) = span::month(&text(end)).unwrap();
    let before = text(begin.plus(-1));
    let (begin, _) = span::month(&before).unwrap();
    (before, begin)
}

/// What makes the record.
struct Year {
    writer: HistoryWriter,
    directory: PathBuf,
    random: Random,
    end: Stamp,
    frequency: f64,
    host_offset: f64,
    dispersion: f64,
}

impl Year {
    fn new(directory: &Path, end: Stamp) -> Self {
        let settings = RecordSettings {
            retention: Retention {
                size: u64::MAX,
                days: 0,
            },
            every: 1,
            sync: Duration::from_secs(60),
            host: "ntp1.example".to_owned(),
        };
        Self {
            writer: HistoryWriter::new(HistoryFolder::at(directory).unwrap(), settings),
            directory: directory.to_owned(),
            random: Random::new(1),
            end,
            frequency: -1.2e-5,
            host_offset: 0.0,
            dispersion: 1e-5,
        }
    }

    fn write(mut self, days: i64) {
        let begin = self.end.plus(-days * DAY);
        for number in 0..UPSTREAMS {
            self.take(begin, standing(number));
        }
        let (_, month) = month_before(self.end);
        let before = cpu_time();
        for second in 0..days * DAY {
            let time = Stamp::from_millis(begin.plus(second).millis() + PHASE);
            self.second(time, time.since(month));
            // Members of 10 s on the first day alone: the hour is packed again, so they do not change its size.
            if second < DAY && second % MEMBER == 0 {
                self.writer.flush().unwrap();
            }
            if second == DAY {
                let share = (cpu_time() - before).as_secs_f64() / DAY as f64;
                println!("CPU time of the writer: {:.3} % of one", share * 100.0);
            }
        }
        self.writer.flush().unwrap();
        self.writer.sync().unwrap();
        let size = size(&self.directory) as f64 / 1e6;
        println!("size: {size:.1} MB, {:.2} MB a day", size / days as f64);
    }

    /// A second of the record, so long after the beginning of the month that is reported.
    fn second(&mut self, time: Stamp, of_month: f64) {
        let hour = (of_month / 3600.0).floor();
        // The twelfth hour is not recorded.
        if hour == 12.0 {
            return;
        }
        for number in 0..UPSTREAMS {
            if time.seconds() % 64 == i64::from(number) * 8 {
                self.sample(time, number);
            }
        }
        if time.seconds() % 8 == 0 {
            self.frequency += self.noise() * 1e-9;
            self.dispersion = 1e-5 + self.noise().abs() * 1e-5;
        }
        self.host_offset += self.frequency + self.noise() * 1e-8;
        self.dispersion += 1.5e-7 + self.noise() * 1e-8;
        // Ten minutes in the third hour, and two in the fifth.
        let in_trouble = (7200.0..7800.0).contains(&of_month) || (14_400.0..14_520.0).contains(&of_month);
        if let Some(change) = trouble(of_month) {
            self.take(time, change);
        }
        let dispersion = self.dispersion + if in_trouble { 0.002 } else { 0.0 };
        let served = ServedNote {
            state: if in_trouble { "holdover" } else { "synchronized" }.into(),
            clock: "tracked".into(),
            stratum: 2,
            leap: 0,
            reference_id: "C000020C".into(),
            frequency: Some((self.frequency * 1e12).round() / 1e12),
            root_delay: 0.000_213,
            lost: 0,
            root_dispersion: rounded_up(dispersion),
            bound: Some(rounded_up(dispersion + 0.000_106_5)),
            host_offset: to_nanos(self.host_offset),
            answered: 20_000 + self.random.bits() % 400,
            refused: self.random.bits() % 9,
        };
        self.take(time, Note::Served(served));
    }

    fn sample(&mut self, time: Stamp, number: u32) {
        let sample = SampleNote {
            upstream: format!("time{number}.example:123"),
            address: Some(format!("192.0.2.{number}:123")),
            refused: None,
            offset: Some(to_nanos(self.noise() * 1e-4)),
            delay: Some(to_nanos(0.004 + self.noise() * 1e-3)),
            dispersion: Some(6.2e-8),
            stratum: Some(1),
            reference_id: Some("GPS".to_owned()),
            root_distance: Some(to_nanos(2e-5 + self.noise().abs() * 1e-5)),
        };
        self.take(time, Note::Sample(sample));
    }

    fn take(&mut self, time: Stamp, note: Note<'static>) {
        self.writer.take(&HistoryLine { time, note }).unwrap();
    }

    /// From -1 to 1.
    fn noise(&mut self) -> f64 {
        self.random.between(-1.0, 1.0)
    }
}

fn standing(number: u32) -> Note<'static> {
    Note::Standing(StandingNote {
        upstream: format!("time{number}.example:123"),
        standing: "agrees".to_owned(),
        since: None,
    })
}

/// The change of the state in this second of the month, if there is one.
fn trouble(of_month: f64) -> Option<Note<'static>> {
    let (from, to, reason) = match of_month.floor() {
        7200.0 | 14_400.0 => ("synchronized", "holdover", Some("no upstream answers")),
        7800.0 | 14_520.0 => ("holdover", "synchronized", None),
        _ => return None,
    };
    Some(Note::Change(ChangeNote {
        what: "state".to_owned(),
        from: Some(from.to_owned()),
        to: Some(to.to_owned()),
        reason: reason.map(str::to_owned),
        ..ChangeNote::default()
    }))
}

fn size(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

fn cpu_time() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    let time = |time: nix::sys::time::TimeVal| {
        Duration::from_secs(time.tv_sec().unsigned_abs())
            + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    time(usage.user_time()) + time(usage.system_time())
}

/// Runs the commands that read a record.
fn read(directory: &Path, days: i64, end: Stamp) {
    let moment = |share: i64| end.plus(-days * DAY * share / 4).plus(-1000).to_string();
    let month = month_before(end).0;
    println!("{:<24} {:>10} {:>10}", "command", "median s", "max s");
    for (name, arguments) in [
        ("history --at, recent", vec!["history", "--at", &moment(0)]),
        ("history --at, half-way", vec!["history", "--at", &moment(2)]),
        ("history --since 24h", vec!["history", "--since", "24h"]),
        (
            "report of a month",
            vec!["report", "--limit", "0.001", "--month", &month],
        ),
        ("history verify", vec!["history", "verify"]),
    ] {
        let mut times: Vec<f64> = (0..RUNS).map(|_| run(&arguments, directory)).collect();
        times.sort_by(f64::total_cmp);
        let of = |place: usize| times.get(place).copied().unwrap();
        println!("{name:<24} {:>10.3} {:>10.3}", of(RUNS / 2), of(RUNS - 1));
    }
}

fn run(arguments: &[&str], directory: &Path) -> f64 {
    let start = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_ntpfront"))
        .args(arguments)
        .arg("--directory")
        .arg(directory)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    let time = start.elapsed().as_secs_f64();
    assert!(status.success(), "{arguments:?}: {status}");
    time
}
