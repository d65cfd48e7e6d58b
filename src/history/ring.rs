//! Pure. The memory of the running server: the last hour by the second, and the last 30 days by five minutes.
//!
//! It has a fixed size, and needs no disk.

use std::collections::VecDeque;

use super::curves::{CurvePoint, Curves, short};
use super::line::{SampleNote, ServedNote};
use super::stamp::Stamp;

/// Seconds of the short memory.
pub const HOUR: u32 = 3600;
/// Seconds of a step of the long memory.
pub const STEP: u32 = 300;
/// Steps of the long memory: 30 days.
const STEPS: usize = 30 * 288;
/// The bytes of a block of memory beside its content.
const BLOCK: usize = 16;

/// The memory.
#[derive(Clone, Debug, Default)]
pub struct HistoryRing {
    /// Only its names are used.
    names: Curves,
    seconds: VecDeque<CurvePoint>,
    steps: VecDeque<CurvePoint>,
}

impl HistoryRing {
    /// Returns the bytes that it takes once it is full, with this number of upstreams.
    pub fn memory(upstreams: usize) -> u64 {
        let seconds = usize::try_from(HOUR).unwrap_or(usize::MAX);
        // A queue grows by doubling; a point's offsets are a block of their own.
        let queues = seconds.next_power_of_two() + STEPS.next_power_of_two();
        let blocks = (seconds + STEPS) * (upstreams * size_of::<Option<f32>>() + BLOCK);
        u64::try_from(queues * size_of::<CurvePoint>() + blocks).unwrap_or(u64::MAX)
    }

    /// Adds a record.
    pub fn add_served(&mut self, time: Stamp, served: &ServedNote<'_>) {
        for (points, step, most) in self.both() {
            if let Some(point) = point(points, time, step, most) {
                point.add_served(served);
            }
        }
    }

    /// Adds a sample, if it was accepted.
    pub fn add_sample(&mut self, time: Stamp, sample: &SampleNote) {
        let (Some(offset), None) = (sample.offset, &sample.refused) else {
            return;
        };
        let Some(index) = self.names.index_of(&sample.upstream) else {
            return;
        };
        for (points, step, most) in self.both() {
            if let Some(point) = point(points, time, step, most) {
                point.set_offset(index, Some(short(offset)));
            }
        }
    }

    fn both(&mut self) -> [(&mut VecDeque<CurvePoint>, u32, usize); 2] {
        [(&mut self.seconds, 1, 3600), (&mut self.steps, STEP, STEPS)]
    }

    /// Returns the curves of the last `seconds`: by the second up to an hour, and else by five minutes.
    ///
    /// Upstreams that have no point any more are left out.
    pub fn curves(&self, now: Stamp, seconds: u32) -> Curves {
        let (points, step) = if seconds <= HOUR {
            (&self.seconds, 1)
        } else {
            (&self.steps, STEP)
        };
        let since = now.plus(-i64::from(seconds)).seconds();
        let points: Vec<CurvePoint> = points
            .iter()
            .filter(|point| point.time.saturating_add(i64::from(step)) > since && point.time <= now.seconds())
            .cloned()
            .collect();
        let mut curves = Curves {
            step,
            upstreams: self.names.upstreams.clone(),
            points,
        };
        curves.drop_unused();
        curves
    }
}

/// Returns the step of this time, a new one if it is later than the last.
///
/// After a step of the served clock back, the last one takes what comes until it is passed; after a large one, all later
/// steps are dropped.
fn point(points: &mut VecDeque<CurvePoint>, time: Stamp, step: u32, most: usize) -> Option<&mut CurvePoint> {
    let step = i64::from(step);
    let start = time.seconds().div_euclid(step) * step;
    if points
        .back()
        .is_some_and(|last| last.time > start.saturating_add(60.max(step)))
    {
        points.retain(|point| point.time <= start);
    }
    if points.back().is_none_or(|last| last.time < start) {
        if points.len() >= most {
            points.pop_front();
        }
        points.push_back(CurvePoint::empty(start));
    }
    points.back_mut()
}

impl Curves {
    /// Drops the upstreams without a point.
    pub fn drop_unused(&mut self) {
        let used: Vec<bool> = (0..self.upstreams.len())
            .map(|index| self.offsets(index).next().is_some())
            .collect();
        let is_used = |index: usize| used.get(index).copied().unwrap_or(false);
        let names = std::mem::take(&mut self.upstreams).into_iter().enumerate();
        self.upstreams = names
            .filter(|(index, _)| is_used(*index))
            .map(|(_, name)| name)
            .collect();
        for point in &mut self.points {
            let offsets = std::mem::take(&mut point.offsets).into_iter().enumerate();
            point.offsets = offsets
                .filter(|(index, _)| is_used(*index))
                .map(|(_, offset)| offset)
                .collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::line::Note;
    use crate::history::line::tests::{served, stamp};

    fn add(ring: &mut HistoryRing, time: Stamp) {
        let Note::Served(note) = served(time, "synchronized", Some(1e-3)).note else {
            panic!();
        };
        ring.add_served(time, &note);
        for upstream in ["a", "b"] {
            let sample = SampleNote {
                upstream: upstream.to_owned(),
                offset: Some(1e-4),
                ..SampleNote::default()
            };
            if upstream == "b" || time.seconds() % 600 == 0 {
                ring.add_sample(time, &sample);
            }
        }
    }

    #[test]
    fn it_has_an_hour_by_the_second_and_a_month_by_five_minutes() {
        let start = stamp("2026-11-01T00:00:00Z");
        let mut ring = HistoryRing::default();
        let end = 32 * 86_400;
        // Each second of the last two hours, and before them one of five minutes.
        (0..end - 7200)
            .step_by(300)
            .for_each(|second| add(&mut ring, start.plus(second)));
        (end - 7200..=end).for_each(|second| add(&mut ring, start.plus(second)));
        let now = start.plus(end);
        assert_eq!((ring.seconds.len(), ring.steps.len()), (3600, STEPS));
        let hour = ring.curves(now, 3600);
        assert_eq!((hour.step, hour.points.len()), (1, 3600));
        let day = ring.curves(now, 86_400);
        assert_eq!((day.step, day.points.len(), day.upstreams.len()), (300, 289, 2));
        assert_eq!(ring.curves(now, 86_400 * 365).points.len(), STEPS);
        // Within the last minute only one of both has a point.
        let minute = ring.curves(now.plus(-1), 59);
        assert_eq!(minute.upstreams, ["b"]);
        assert!(minute.points.iter().all(|point| point.offsets.len() <= 1));
        assert_eq!(ring.curves(now.plus(86_400), 60).points, []);
    }

    #[test]
    fn after_a_step_back_it_goes_on() {
        let start = stamp("2026-11-27T12:00:00Z");
        let mut ring = HistoryRing::default();
        (0..100).for_each(|second| add(&mut ring, start.plus(second)));
        (95..105).for_each(|second| add(&mut ring, start.plus(second)));
        assert_eq!(ring.seconds.len(), 105);
        assert_eq!(ring.seconds.iter().map(|point| point.records).sum::<u32>(), 110);
        (-3600..-3500).for_each(|second| add(&mut ring, start.plus(second)));
        assert_eq!(ring.seconds.len(), 100);
        assert!(ring.seconds.iter().is_sorted_by_key(|point| point.time));
    }
}
