//! Pure. Excesses of a limit: each with its begin, its end, the worst error, and the reason.

use super::super::line::ServedNote;
use super::super::stamp::Stamp;

/// A time in which the announced error was over the limit, or in which no time was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Excess {
    /// The first record.
    pub begin: Stamp,
    /// The last record.
    pub end: Stamp,
    /// Its length in seconds: that of all its records.
    pub seconds: f64,
    /// The largest announced error; `None` if no time was told: then clients were not misled.
    pub worst: Option<f64>,
    /// The state when it began.
    pub state: String,
    /// The reason for that state, as the record has it.
    pub reason: Option<String>,
}

/// All excesses of a part of the record.
#[derive(Clone, Debug, Default)]
pub(super) struct Excesses {
    pub(super) all: Vec<Excess>,
    /// Whether the last record was one.
    is_open: bool,
    /// Whether the first record was one.
    begins_open: bool,
    is_begun: bool,
    /// The reason of the last change of the state.
    reason: Option<String>,
}

impl Excesses {
    pub(super) fn learn_reason(&mut self, reason: Option<&str>) {
        self.reason = reason.map(str::to_owned);
    }

    pub(super) fn add(&mut self, time: Stamp, served: &ServedNote<'_>, limit: f64, seconds: f64) {
        let is_excess = served.bound.is_none_or(|bound| bound > limit);
        if !self.is_begun {
            self.begins_open = is_excess;
        }
        self.is_begun = true;
        if !is_excess {
            self.is_open = false;
            return;
        }
        let is_told = served.bound.is_some();
        let last = self.all.last_mut();
        match last.filter(|last| self.is_open && last.worst.is_some() == is_told) {
            Some(last) => {
                last.end = time;
                last.seconds += seconds;
                last.worst = last.worst.zip(served.bound).map(|(one, other)| one.max(other));
            }
            None => self.all.push(Excess {
                begin: time,
                end: time,
                seconds,
                worst: served.bound,
                state: served.state.clone().into_owned(),
                reason: self.reason.clone(),
            }),
        }
        self.is_open = true;
    }

    /// Adds those of the next part; one that goes on there is one. `every` is the time between two records.
    pub(super) fn join(&mut self, mut later: Self, every: f64) {
        if !later.is_begun {
            self.reason = later.reason.or(self.reason.take());
            return;
        }
        if later.begins_open && self.is_open && !later.all.is_empty() {
            let first = later.all.first().cloned();
            let same = self.all.last_mut().zip(first).filter(|(last, first)| {
                let is_near = first.begin.since(last.end) <= every * 1.5 + 0.5;
                last.worst.is_some() == first.worst.is_some() && is_near
            });
            if let Some((last, first)) = same {
                last.end = first.end;
                last.seconds += first.seconds;
                last.worst = last.worst.zip(first.worst).map(|(one, other)| one.max(other));
                later.all.remove(0);
            }
        }
        if !self.is_begun {
            self.begins_open = later.begins_open;
        }
        self.all.append(&mut later.all);
        self.is_begun = true;
        self.is_open = later.is_open;
        self.reason = later.reason.or(self.reason.take());
    }
}
