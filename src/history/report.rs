//! Pure. The report on a month: how much of it is recorded, how wrong the time could be, and each excess of a limit.
//!
//! A file is read to a part of it by itself, so that several are read at once; the parts are then joined in order.

mod excess;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use super::chain::ChainResult;
use super::curves::short;
use super::events::event;
use super::line::{GapNote, HistoryLine, Note, ServedNote};
use super::stamp::Stamp;

pub use excess::Excess;
use excess::Excesses;

/// The events that a report lists, at most; of the others it tells the number.
const MOST_EVENTS: usize = 500;

/// The limit of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryLimit {
    /// Its name.
    pub name: String,
    /// The largest error that is permitted, in seconds.
    pub seconds: f64,
}

/// A time of the record that is reported, or a file's part of it.
#[derive(Clone, Debug)]
pub struct ReportPart {
    since: Stamp,
    until: Stamp,
    limit: f64,
    every: u32,
    first: Option<Stamp>,
    last: Option<Stamp>,
    /// Seconds that are recorded, and those of them in which a time was told.
    recorded: f64,
    told: f64,
    bounds: Vec<f32>,
    states: BTreeMap<String, f64>,
    sources: BTreeMap<String, f64>,
    upstreams: BTreeMap<String, UpstreamPart>,
    configurations: BTreeMap<String, String>,
    answered: u64,
    refused: u64,
    lost: u64,
    gaps: Vec<ReportGap>,
    events: Vec<String>,
    more_events: usize,
    excesses: Excesses,
}

/// A time without records.
#[derive(Clone, Debug, PartialEq)]
struct ReportGap {
    from: Stamp,
    to: Stamp,
    reason: Option<String>,
}

/// An upstream in a report.
#[derive(Clone, Debug, Default, PartialEq)]
struct UpstreamPart {
    addresses: BTreeSet<String>,
    reference_ids: BTreeSet<String>,
    accepted: u64,
    refused: u64,
}

/// The report.
#[derive(Clone, Debug)]
pub struct HistoryReport {
    /// The month, as in `2026-11`.
    pub month: String,
    /// The host that made the record.
    pub host: String,
    /// The limit.
    pub limit: HistoryLimit,
    /// The record.
    pub part: ReportPart,
    /// The result of the check of all files.
    pub chain: ChainResult,
}

impl ReportPart {
    /// Makes an empty part of a report from `since` to `until`.
    pub fn new(since: Stamp, until: Stamp, limit: f64) -> Self {
        Self {
            since,
            until,
            limit,
            every: 1,
            first: None,
            last: None,
            recorded: 0.0,
            told: 0.0,
            bounds: Vec::new(),
            states: BTreeMap::new(),
            sources: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            configurations: BTreeMap::new(),
            answered: 0,
            refused: 0,
            lost: 0,
            gaps: Vec::new(),
            events: Vec::new(),
            more_events: 0,
            excesses: Excesses::default(),
        }
    }

    /// Takes a line.
    pub fn add(&mut self, line: &HistoryLine<'_>) {
        if let Note::File(file) = &line.note {
            self.every = file.every.max(1);
            self.excesses.learn_reason(file.reason.as_deref());
        }
        if line.time < self.since || line.time >= self.until {
            return;
        }
        if let Some(said) = event(line) {
            if self.events.len() < MOST_EVENTS {
                self.events.push(said);
            } else {
                self.more_events += 1;
            }
        }
        match &line.note {
            Note::Served(served) => self.add_served(line.time, served),
            Note::Sample(sample) => {
                let one = self.upstreams.entry(sample.upstream.clone()).or_default();
                one.addresses.extend(sample.address.clone());
                one.reference_ids.extend(sample.reference_id.clone());
                let count = if sample.refused.is_some() {
                    &mut one.refused
                } else {
                    &mut one.accepted
                };
                *count += 1;
            }
            Note::Start(start) => {
                self.configurations
                    .insert(start.digest.clone(), start.configuration.clone());
            }
            Note::Gap(gap) => self.add_gap(line.time, gap),
            Note::Change(change) => {
                if let ("configuration", Some(digest)) = (change.what.as_str(), &change.to) {
                    let file = change.name.clone().unwrap_or_default();
                    self.configurations.insert(digest.clone(), file);
                }
                if change.what == "state" {
                    self.excesses.learn_reason(change.reason.as_deref());
                }
            }
            Note::File(_) | Note::Stop | Note::Standing(_) | Note::End(_) => {}
        }
    }

    fn add_gap(&mut self, to: Stamp, gap: &GapNote) {
        let Some(from) = gap.from else { return };
        self.gaps.push(ReportGap {
            from: from.max(self.since),
            to,
            reason: Some(gap.reason.clone()),
        });
    }

    fn add_served(&mut self, time: Stamp, served: &ServedNote<'_>) {
        let seconds = self.advance(time);
        self.recorded += seconds;
        count(&mut self.states, &served.state, seconds);
        count(&mut self.sources, &served.reference_id, seconds);
        if let Some(bound) = served.bound {
            self.told += seconds;
            self.bounds.push(short(bound));
        }
        self.answered = self.answered.saturating_add(served.answered);
        self.refused = self.refused.saturating_add(served.refused);
        self.lost = self.lost.saturating_add(served.lost);
        self.excesses.add(time, served, self.limit, seconds);
    }

    /// Returns the seconds that the line of this time stands for, and notes a gap before it that has no line of its own.
    fn advance(&mut self, time: Stamp) -> f64 {
        let every = f64::from(self.every);
        self.first.get_or_insert(time);
        let since = self.last.replace(time).map_or(every, |last| time.since(last));
        self.spanned(time, since)
    }

    fn spanned(&mut self, time: Stamp, since: f64) -> f64 {
        let every = f64::from(self.every);
        if since <= 0.0 {
            return 0.0;
        }
        if since <= every * 1.5 + 0.5 {
            return since;
        }
        let from = Stamp::from_millis(time.millis().saturating_sub(to_millis(since)));
        let is_told = self
            .gaps
            .last()
            .is_some_and(|gap| gap.to >= from && gap.from <= time);
        if is_told {
            // The line of the gap may be a little earlier or later.
            if let Some(gap) = self.gaps.last_mut() {
                (gap.from, gap.to) = (gap.from.min(from), gap.to.max(time));
            }
        } else {
            let reason = None;
            self.gaps.push(ReportGap {
                from,
                to: time,
                reason,
            });
        }
        every
    }

    /// Adds the part of the next file.
    pub fn join(&mut self, mut later: Self) {
        if let (Some(last), Some(first)) = (self.last, later.first) {
            // The part counted its first line as one of its own; here it is known what came before.
            let has_own = later
                .gaps
                .first()
                .is_some_and(|gap| gap.to <= first.plus(1) && gap.from >= last.plus(-60));
            if has_own {
                self.gaps
                    .extend((!later.gaps.is_empty()).then(|| later.gaps.remove(0)));
            }
            self.spanned(first, first.since(last));
        }
        self.first = self.first.or(later.first);
        self.last = later.last.or(self.last);
        self.every = later.every;
        self.recorded += later.recorded;
        self.told += later.told;
        self.bounds.append(&mut later.bounds);
        add_up(&mut self.states, later.states);
        add_up(&mut self.sources, later.sources);
        for (name, mut more) in later.upstreams {
            let one = self.upstreams.entry(name).or_default();
            one.addresses.append(&mut more.addresses);
            one.reference_ids.append(&mut more.reference_ids);
            one.accepted += more.accepted;
            one.refused += more.refused;
        }
        self.configurations.append(&mut later.configurations);
        self.answered = self.answered.saturating_add(later.answered);
        self.refused = self.refused.saturating_add(later.refused);
        self.lost = self.lost.saturating_add(later.lost);
        self.gaps.append(&mut later.gaps);
        let room = MOST_EVENTS.saturating_sub(self.events.len());
        self.more_events += later.more_events + later.events.len().saturating_sub(room);
        self.events.extend(later.events.into_iter().take(room));
        self.excesses.join(later.excesses, f64::from(self.every));
    }

    /// Returns the excesses of the limit, and the times in which no time was told, in order.
    pub fn excesses(&self) -> &[Excess] {
        &self.excesses.all
    }

    /// Whether the record has no line of this time.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Returns all gaps: those between records, and at both ends.
    fn all_gaps(&self, until: Stamp) -> Vec<ReportGap> {
        let edge = |from: Stamp, to: Stamp| {
            (to.since(from) > f64::from(self.every) * 1.5 + 0.5).then_some(ReportGap {
                from,
                to,
                reason: None,
            })
        };
        let first = self.first.and_then(|first| edge(self.since, first));
        let last = self.last.and_then(|last| edge(last, until));
        first
            .into_iter()
            .chain(self.gaps.iter().cloned())
            .chain(last)
            .collect()
    }

    /// Returns a quantile of the bounds, from 0 to 1.
    fn quantile(sorted: &[f32], of: f64) -> Option<f32> {
        let last = sorted.len().checked_sub(1)?;
        sorted.get(place(last, of)).copied()
    }
}

fn count(seconds_of: &mut BTreeMap<String, f64>, name: &str, seconds: f64) {
    if let Some(sum) = seconds_of.get_mut(name) {
        *sum += seconds;
    } else {
        seconds_of.insert(name.to_owned(), seconds);
    }
}

fn add_up(sums: &mut BTreeMap<String, f64>, more: BTreeMap<String, f64>) {
    for (name, seconds) in more {
        count(sums, &name, seconds);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a length that fits"
)]
fn place(last: usize, of: f64) -> usize {
    ((last as f64) * of).round() as usize
}

#[expect(clippy::cast_possible_truncation, reason = "years of milliseconds fit")]
fn to_millis(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

#[cfg(test)]
mod tests;
