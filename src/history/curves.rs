//! Pure. Curves of a time: for each step the announced bound, the state, the counts, and the offset of each upstream.
//!
//! They are made of the lines of the record, or of the memory of the running server, and are drawn, printed, and given to
//! the page.

use serde::{Deserialize, Serialize};

use super::line::{HistoryLine, Note, SampleNote, ServedNote};
use super::stamp::Stamp;

/// The most upstreams that have a curve.
pub const MOST_UPSTREAMS: usize = 16;
/// The most points of curves that are made of files.
const MOST_POINTS: i64 = 1500;
/// The words for the states, the best first.
pub const STATES: [&str; 6] = [
    "synchronized",
    "holdover",
    "local",
    "init",
    "disputed",
    "unsynchronized",
];

/// All curves of a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// Seconds from one point to the next.
    pub step: u32,
    /// The names of the upstreams, in the order of [`CurvePoint::offsets`].
    pub upstreams: Vec<String>,
    /// The points in the order of time; without records there is none.
    pub points: Vec<CurvePoint>,
}

/// A step of the curves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Its beginning, in seconds since 1970.
    pub time: i64,
    /// The worst state in it, by its place in [`STATES`].
    pub state: u8,
    /// The largest announced error; `null` if no time was told at some moment.
    pub bound: Option<f32>,
    /// The served time minus the host's time of day, the last one.
    pub host_offset: f32,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that were not.
    pub refused: u64,
    /// Packets that were lost.
    pub lost: u64,
    /// The number of records in it.
    pub records: u32,
    /// The offset of each upstream from the served time: the last one; `null` without.
    pub offsets: Vec<Option<f32>>,
}

/// Makes curves of lines in the order of time.
#[derive(Clone, Debug)]
pub struct CurveMaker {
    since: Stamp,
    until: Stamp,
    curves: Curves,
}

/// Returns the place of a state in [`STATES`]; that of the worst for an unknown one.
pub fn state_place(state: &str) -> u8 {
    let place = STATES.iter().position(|word| *word == state);
    u8::try_from(place.unwrap_or(STATES.len() - 1)).unwrap_or(0)
}

/// Returns the word of a state.
pub fn state_word(place: u8) -> &'static str {
    STATES
        .get(usize::from(place))
        .copied()
        .unwrap_or("unsynchronized")
}

/// Returns seconds as they are kept in a curve: to seven digits.
#[expect(
    clippy::cast_possible_truncation,
    reason = "seven digits are enough for a curve"
)]
pub fn short(seconds: f64) -> f32 {
    seconds as f32
}

impl CurvePoint {
    /// Returns a step that begins at this time, without records.
    pub fn empty(time: i64) -> Self {
        Self {
            time,
            state: 0,
            bound: None,
            host_offset: 0.0,
            answered: 0,
            refused: 0,
            lost: 0,
            records: 0,
            offsets: Vec::new(),
        }
    }

    /// Adds a record.
    pub fn add_served(&mut self, served: &ServedNote<'_>) {
        let more = Self {
            state: state_place(&served.state),
            bound: served.bound.map(short),
            host_offset: short(served.host_offset),
            answered: served.answered,
            refused: served.refused,
            lost: served.lost,
            records: 1,
            ..Self::empty(self.time)
        };
        self.merge(&more);
    }

    /// Adds another step that follows.
    pub fn merge(&mut self, later: &Self) {
        if later.records > 0 {
            self.bound = if self.records == 0 {
                later.bound
            } else {
                self.bound.zip(later.bound).map(|(one, other)| one.max(other))
            };
            self.state = if self.records == 0 {
                later.state
            } else {
                self.state.max(later.state)
            };
            self.host_offset = later.host_offset;
        }
        self.answered = self.answered.saturating_add(later.answered);
        self.refused = self.refused.saturating_add(later.refused);
        self.lost = self.lost.saturating_add(later.lost);
        self.records = self.records.saturating_add(later.records);
        for (index, offset) in later.offsets.iter().enumerate() {
            if offset.is_some() {
                self.set_offset(index, *offset);
            }
        }
    }

    /// Sets the offset of the upstream with this index.
    pub fn set_offset(&mut self, index: usize, offset: Option<f32>) {
        if index >= self.offsets.len() {
            self.offsets.resize(index + 1, None);
        }
        if let Some(slot) = self.offsets.get_mut(index) {
            *slot = offset;
        }
    }
}

impl Curves {
    /// Returns the index of an upstream, and gives a new one its own; `None` if there are too many.
    pub fn index_of(&mut self, upstream: &str) -> Option<usize> {
        if let Some(index) = self.upstreams.iter().position(|name| name == upstream) {
            return Some(index);
        }
        (self.upstreams.len() < MOST_UPSTREAMS).then(|| {
            self.upstreams.push(upstream.to_owned());
            self.upstreams.len() - 1
        })
    }

    /// Returns curves with at most about this many points and upstreams: steps are joined.
    #[must_use]
    pub fn thinned(&self, points: usize, upstreams: usize) -> Self {
        let ends = self.points.first().zip(self.points.last());
        let span = ends.map_or(0, |(first, last)| last.time - first.time);
        let most = i64::try_from(points).unwrap_or(i64::MAX).max(1);
        let own = i64::from(self.step.max(1));
        // Whole steps, so that each has as many as the others.
        let length = ((span / most + 1).max(own) + own - 1) / own * own;
        let step = u32::try_from(length).unwrap_or(u32::MAX);
        let mut thin = Self {
            step,
            upstreams: self.upstreams.iter().take(upstreams).cloned().collect(),
            points: Vec::new(),
        };
        for point in &self.points {
            let start = point.time.div_euclid(length) * length;
            if thin.points.last().is_none_or(|last| last.time != start) {
                thin.points.push(CurvePoint::empty(start));
            }
            if let Some(last) = thin.points.last_mut() {
                last.merge(point);
                last.offsets.truncate(upstreams);
            }
        }
        thin
    }

    /// Returns the offsets of the upstream with this index: the middle of each step, and seconds.
    pub fn offsets(&self, index: usize) -> impl Iterator<Item = (i64, f64)> + '_ {
        self.points.iter().filter_map(move |point| {
            let offset = point.offsets.get(index).copied().flatten()?;
            Some((point.time, f64::from(offset)))
        })
    }
}

impl CurveMaker {
    /// Makes curves from `since` to `until`, whose steps are long enough that there are not too many.
    pub fn new(since: Stamp, until: Stamp) -> Self {
        let length = until.seconds().saturating_sub(since.seconds());
        let least = length / MOST_POINTS + 1;
        let steps = [1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600, 21_600];
        let step = steps.into_iter().find(|step| i64::from(*step) >= least);
        Self {
            since,
            until,
            curves: Curves {
                step: step.unwrap_or(86_400),
                ..Curves::default()
            },
        }
    }

    /// Takes a line.
    pub fn add(&mut self, line: &HistoryLine<'_>) {
        if line.time < self.since || line.time >= self.until {
            return;
        }
        match &line.note {
            Note::Served(served) => self.at(line.time, |point| point.add_served(served)),
            Note::Sample(SampleNote {
                upstream,
                offset: Some(offset),
                refused: None,
                ..
            }) => {
                if let Some(index) = self.curves.index_of(upstream) {
                    self.at(line.time, |point| point.set_offset(index, Some(short(*offset))));
                }
            }
            Note::File(_)
            | Note::Start(_)
            | Note::Stop
            | Note::Sample(_)
            | Note::Standing(_)
            | Note::Change(_)
            | Note::Gap(_)
            | Note::End(_) => {}
        }
    }

    /// Changes the step of this time: the last one, or a new one.
    fn at(&mut self, time: Stamp, change: impl FnOnce(&mut CurvePoint)) {
        let step = i64::from(self.curves.step);
        let start = time.seconds().div_euclid(step) * step;
        let points = &mut self.curves.points;
        if points.last().is_none_or(|last| last.time != start) {
            points.push(CurvePoint::empty(start));
        }
        if let Some(point) = points.last_mut() {
            change(point);
        }
    }

    /// Returns the curves.
    pub fn finish(mut self) -> Curves {
        // A clock that was stepped back comes twice.
        self.curves.points.sort_by_key(|point| point.time);
        self.curves.points.dedup_by(|later, earlier| {
            let is_same = later.time == earlier.time;
            if is_same {
                earlier.merge(later);
            }
            is_same
        });
        self.curves
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::line::tests::{served, stamp};

    fn sample(time: Stamp, upstream: &str, offset: f64) -> HistoryLine<'static> {
        let note = Note::Sample(SampleNote {
            upstream: upstream.to_owned(),
            offset: Some(offset),
            ..SampleNote::default()
        });
        HistoryLine { time, note }
    }

    #[test]
    fn a_step_has_the_worst_of_its_records_and_the_sum_of_its_counts() {
        let start = stamp("2026-11-27T12:00:00Z");
        let mut maker = CurveMaker::new(start, start.plus(2 * 3600));
        for (second, state, bound) in [
            (0, "synchronized", Some(1e-3)),
            (1, "holdover", Some(3e-3)),
            (4, "synchronized", Some(2e-3)),
            (5, "synchronized", Some(1e-3)),
            (6, "disputed", None),
            (7199, "synchronized", Some(1e-3)),
            (7200, "synchronized", Some(1e-3)),
        ] {
            maker.add(&served(start.plus(second), state, bound));
        }
        maker.add(&sample(start.plus(7199), "a", 1e-4));
        maker.add(&sample(start.plus(7199), "b", 2e-4));
        let curves = maker.finish();
        assert_eq!((curves.step, curves.points.len()), (5, 3));
        let [first, second, last] = &curves.points[..] else {
            panic!()
        };
        assert_eq!(
            (first.records, first.answered, state_word(first.state)),
            (3, 3 * 20_114, "holdover")
        );
        assert_eq!(first.bound, Some(3e-3));
        assert_eq!((second.bound, state_word(second.state)), (None, "disputed"));
        assert_eq!(
            (last.records, last.offsets.as_slice()),
            (1, [Some(1e-4), Some(2e-4)].as_slice())
        );
        assert_eq!(
            curves.offsets(1).collect::<Vec<_>>(),
            [(start.plus(7195).seconds(), f64::from(2e-4_f32))]
        );
    }

    #[test]
    fn there_are_never_too_many_points_or_upstreams() {
        let start = stamp("2026-11-27T12:00:00Z");
        for (length, step) in [
            (1, 1),
            (1499, 1),
            (3600, 5),
            (86_400, 60),
            (30 * 86_400, 1800),
            (3650 * 86_400, 86_400),
        ] {
            assert_eq!(
                CurveMaker::new(start, start.plus(length)).curves.step,
                step,
                "{length}"
            );
        }
        let mut maker = CurveMaker::new(start, start.plus(10));
        (0..100).for_each(|index| maker.add(&sample(start, &index.to_string(), 0.0)));
        assert_eq!(maker.finish().upstreams.len(), MOST_UPSTREAMS);
    }

    #[test]
    fn thinned_curves_have_all_counts_and_the_worst_of_each_step() {
        let start = stamp("2026-11-27T12:00:00Z");
        let mut maker = CurveMaker::new(start, start.plus(1000));
        for second in 0..1000 {
            let bound = (second != 500).then_some(1e-3 * (second as f64));
            maker.add(&served(start.plus(second), "synchronized", bound));
            maker.add(&sample(start.plus(second), "a", 1e-4));
            maker.add(&sample(start.plus(second), "b", 1e-4));
        }
        let whole = maker.finish();
        let thin = whole.thinned(90, 1);
        assert!(
            (80..=91).contains(&thin.points.len()) && thin.step == 12,
            "{}",
            thin.points.len()
        );
        let answered = |curves: &Curves| curves.points.iter().map(|point| point.answered).sum::<u64>();
        assert_eq!((answered(&thin), thin.upstreams.len()), (answered(&whole), 1));
        assert!(thin.points.iter().all(|point| point.offsets.len() == 1));
        let silent = thin.points.iter().filter(|point| point.bound.is_none());
        assert_eq!(silent.count(), 1);
        let records = whole
            .thinned(0, 0)
            .points
            .iter()
            .map(|point| point.records)
            .sum::<u32>();
        assert_eq!(records, 1000);
        assert_eq!(Curves::default().thinned(90, 8).points, []);
    }

    #[test]
    fn a_clock_that_is_stepped_back_makes_no_second_point() {
        let start = stamp("2026-11-27T12:00:00Z");
        let mut maker = CurveMaker::new(start, start.plus(100));
        for second in [0, 1, 2, 1, 2, 3] {
            maker.add(&served(start.plus(second), "synchronized", Some(1e-3)));
        }
        let records: Vec<u32> = maker.finish().points.iter().map(|point| point.records).collect();
        assert_eq!(records, [1, 2, 2, 1]);
    }

    #[test]
    fn states_have_places() {
        for (place, word) in (0_u8..).zip(STATES) {
            assert_eq!((state_place(word), state_word(place)), (place, word));
        }
        assert_eq!(state_word(state_place("aurora")), "unsynchronized");
        let known = crate::upstream::system_process::State::all().map(|state| state.name());
        assert!(known.into_iter().all(|name| STATES.contains(&name)));
    }
}
