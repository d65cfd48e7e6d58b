//! Pure. The answer to "what did we serve at 12:03?": one moment of the record.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::line::{ChangeNote, FileNote, GapNote, HistoryLine, Note, SampleNote, ServedNote, StandingNote};
use super::printable::printable;
use super::stamp::Stamp;

/// All that the record says of a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moment {
    /// The moment that was asked for.
    pub at: Stamp,
    /// The record at that moment or shortly before; `null` if there is none.
    pub served: Option<RecordedMoment>,
    /// The reason for a state that is not `synchronized`, as the last change gave it.
    pub reason: Option<String>,
    /// The upstreams, by their names.
    pub upstreams: BTreeMap<String, UpstreamMoment>,
    /// Whether the server had stopped before.
    pub stopped: Option<Stamp>,
    /// The reason for the lack of records, if the record has one.
    pub gap: Option<String>,
}

/// The served line of a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecordedMoment {
    /// The time of the line.
    pub time: Stamp,
    /// The line.
    #[serde(flatten)]
    pub line: ServedNote<'static>,
    /// Seconds that its counts are of.
    pub every: u32,
}

/// An upstream at a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UpstreamMoment {
    /// Its standing; `null` if it is not known.
    pub standing: Option<String>,
    /// The time since which it had that standing; `null` if it had it since the start.
    pub since: Option<Stamp>,
    /// Its last sample.
    pub sample: Option<SampleNote>,
    /// The time of that sample.
    pub sampled: Option<Stamp>,
}

/// Finds a moment in the lines of the file that has it, and of the one before.
#[derive(Clone, Debug)]
pub struct MomentFinder {
    moment: Moment,
    every: u32,
    /// Whether the last line before the moment was one of a later time: then nothing more is taken.
    is_passed: bool,
}

/// The answer of `history --at` for a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MomentVerdict {
    /// A time was told.
    Told,
    /// There is a record, and no time was told.
    NotTold,
    /// There is no record.
    Unknown,
}

impl MomentFinder {
    /// Looks for the record of this moment.
    pub fn new(at: Stamp) -> Self {
        Self {
            moment: Moment {
                at,
                served: None,
                reason: None,
                upstreams: BTreeMap::new(),
                stopped: None,
                gap: None,
            },
            every: 1,
            is_passed: false,
        }
    }

    /// Takes the next line.
    pub fn add(&mut self, line: &HistoryLine<'_>) {
        if line.time > self.moment.at {
            // The reason for a lack of records stands behind it.
            if let (
                false,
                Note::Gap(GapNote {
                    from: Some(from),
                    reason,
                    ..
                }),
            ) = (self.is_passed, &line.note)
                && *from <= self.moment.at
            {
                self.moment.gap = Some(reason.clone());
            }
            self.is_passed |= matches!(line.note, Note::Served(_));
            return;
        }
        // After a step back the clock comes by the same time again: the last one counts.
        self.is_passed = false;
        let time = line.time;
        match &line.note {
            Note::File(FileNote { every, reason, .. }) => {
                self.every = (*every).max(1);
                self.moment.reason.clone_from(reason);
            }
            Note::Start(_) => {
                self.moment.stopped = None;
                self.moment.upstreams.clear();
            }
            Note::Stop => self.moment.stopped = Some(time),
            Note::Served(served) => self.take_served(time, served),
            Note::Sample(sample) => {
                let one = self.moment.upstreams.entry(sample.upstream.clone()).or_default();
                (one.sample, one.sampled) = (Some(sample.clone()), Some(time));
            }
            Note::Standing(StandingNote {
                upstream,
                standing,
                since,
            }) => {
                let one = self.moment.upstreams.entry(upstream.clone()).or_default();
                (one.standing, one.since) = (Some(standing.clone()), *since);
            }
            Note::Change(change) => self.take_change(time, change),
            Note::Gap(_) | Note::End(_) => {}
        }
    }

    fn take_served(&mut self, time: Stamp, served: &ServedNote<'_>) {
        let line = ServedNote {
            state: served.state.clone().into_owned().into(),
            clock: served.clock.clone().into_owned().into(),
            reference_id: served.reference_id.clone().into_owned().into(),
            ..*served
        };
        let every = self.every;
        self.moment.stopped = None;
        self.moment.served = Some(RecordedMoment { time, line, every });
    }

    fn take_change(&mut self, time: Stamp, change: &ChangeNote) {
        match (change.what.as_str(), &change.name, &change.to) {
            ("state", _, _) => self.moment.reason.clone_from(&change.reason),
            ("standing", Some(name), Some(to)) => {
                let one = self.moment.upstreams.entry(name.clone()).or_default();
                (one.standing, one.since) = (Some(to.clone()), Some(time));
            }
            ("standing", Some(name), None) => {
                self.moment.upstreams.remove(name);
            }
            _ => {}
        }
    }

    /// Returns the moment.
    pub fn finish(mut self) -> Moment {
        let at = self.moment.at;
        let far = |served: &RecordedMoment| at.since(served.time) > f64::from(served.every) * 1.5 + 0.5;
        if self.moment.stopped.is_some() || self.moment.served.as_ref().is_some_and(far) {
            self.moment.served = None;
        }
        self.moment
    }
}

impl Moment {
    /// Returns what a script has to know.
    pub fn verdict(&self) -> MomentVerdict {
        match &self.served {
            None => MomentVerdict::Unknown,
            Some(served) if served.line.bound.is_some() => MomentVerdict::Told,
            Some(_) => MomentVerdict::NotTold,
        }
    }
}

/// Writes it for people.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(served) = &self.served else {
            return self.write_unknown(f);
        };
        let (line, time) = (&served.line, served.time);
        let (state, clock) = (printable(&line.state), printable(&line.clock));
        match line.bound {
            Some(bound) => writeln!(f, "{time}: served this time, true within {bound:.9} s")?,
            None => writeln!(f, "{time}: told clients that there is no time, or nothing")?,
        }
        let reason = self
            .reason
            .iter()
            .map(|reason| format!(": {}", printable(reason)))
            .collect::<String>();
        let reason = if state == "synchronized" { "" } else { &reason };
        writeln!(f, "state        {state}{reason}")?;
        writeln!(
            f,
            "announced    {clock} clock, stratum {}, reference ID {}, leap {}",
            line.stratum,
            printable(&line.reference_id),
            line.leap
        )?;
        writeln!(
            f,
            "error        root delay {:.9} s, root dispersion {:.9} s",
            line.root_delay, line.root_dispersion
        )?;
        writeln!(
            f,
            "host         its clock was {:+.9} s from the served time",
            0.0 - line.host_offset
        )?;
        let within = if served.every == 1 {
            "in that second".to_owned()
        } else {
            format!("in {} s", served.every)
        };
        writeln!(
            f,
            "requests     {} answered, {} refused, {} lost {within}",
            line.answered, line.refused, line.lost
        )?;
        self.write_upstreams(f)
    }
}

impl Moment {
    fn write_unknown(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at;
        match (self.stopped, &self.gap) {
            (Some(since), _) => writeln!(f, "{at}: no record: the server was stopped at {since}"),
            (None, Some(reason)) => writeln!(f, "{at}: no record: {}", printable(reason)),
            (None, None) => writeln!(f, "{at}: no record"),
        }
    }

    fn write_upstreams(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.upstreams.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\n{:30} {:13} {:22} LAST SAMPLE",
            "UPSTREAM", "STANDING", "SINCE"
        )?;
        for (name, one) in &self.upstreams {
            let (name, standing) = (
                printable(name),
                printable(one.standing.as_deref().unwrap_or("unknown")),
            );
            let since = one
                .since
                .map_or_else(|| "the start".to_owned(), |since| since.to_string());
            let since = if one.standing.is_some() {
                since
            } else {
                "-".to_owned()
            };
            write!(f, "{name:30} {standing:13} {since:24}")?;
            match (&one.sample, one.sampled) {
                (
                    Some(SampleNote {
                        refused: Some(reason),
                        ..
                    }),
                    Some(time),
                ) => writeln!(f, " refused ({}) at {time}", printable(reason))?,
                (
                    Some(SampleNote {
                        offset: Some(offset), ..
                    }),
                    Some(time),
                ) => writeln!(f, " {offset:+.9} s at {time}")?,
                _ => writeln!(f, " none")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::line::tests::{served, stamp};

    fn line(time: Stamp, note: Note<'static>) -> HistoryLine<'static> {
        HistoryLine { time, note }
    }

    fn standing(name: &str, to: Option<&str>) -> Note<'static> {
        Note::Change(ChangeNote {
            what: "standing".to_owned(),
            name: Some(name.to_owned()),
            to: to.map(str::to_owned),
            ..ChangeNote::default()
        })
    }

    /// Twelve seconds with a liar from the third on, a stop, and a start.
    fn lines() -> Vec<HistoryLine<'static>> {
        let start = stamp("2026-11-27T12:03:00.250Z");
        let first = Note::Standing(StandingNote {
            upstream: "time2".to_owned(),
            standing: "agrees".to_owned(),
            since: None,
        });
        let mut lines = vec![line(start, first)];
        for second in 0..10 {
            let now = start.plus(second);
            if second == 3 {
                lines.push(line(now, standing("time1", Some("falseticker"))));
                let sample = SampleNote {
                    upstream: "time1".to_owned(),
                    offset: Some(2.0),
                    ..SampleNote::default()
                };
                lines.push(line(now, Note::Sample(sample)));
            }
            let bound = (second != 5).then_some(0.000_412);
            lines.push(served(
                now,
                if second == 5 { "disputed" } else { "synchronized" },
                bound,
            ));
        }
        lines.push(line(start.plus(10), Note::Stop));
        lines.push(line(start.plus(20), Note::Start(Default::default())));
        lines.push(served(start.plus(20), "init", None));
        let gap = GapNote {
            from: Some(start.plus(20)),
            records: 9,
            reason: "the disk was full".to_owned(),
        };
        lines.push(line(start.plus(40), Note::Gap(gap)));
        lines.push(served(start.plus(40), "synchronized", Some(1e-3)));
        lines
    }

    fn at(text: &str) -> Moment {
        let mut finder = MomentFinder::new(stamp(text));
        lines().iter().for_each(|line| finder.add(line));
        finder.finish()
    }

    #[test]
    fn a_moment_has_the_last_record_before_it() {
        for (text, time, verdict) in [
            (
                "2026-11-27T12:03:07.3",
                Some("2026-11-27T12:03:07.250Z"),
                MomentVerdict::Told,
            ),
            (
                "2026-11-27T12:03:07",
                Some("2026-11-27T12:03:06.250Z"),
                MomentVerdict::Told,
            ),
            (
                "2026-11-27T12:03:05.5",
                Some("2026-11-27T12:03:05.250Z"),
                MomentVerdict::NotTold,
            ),
            ("2026-11-27T12:03:00", None, MomentVerdict::Unknown),
            ("2026-11-27T12:03:15", None, MomentVerdict::Unknown),
            ("2026-11-27T12:03:30", None, MomentVerdict::Unknown),
            ("2026-11-27T12:04:00", None, MomentVerdict::Unknown),
        ] {
            let moment = at(text);
            assert_eq!(
                moment
                    .served
                    .as_ref()
                    .map(|served| served.time.to_string())
                    .as_deref(),
                time,
                "{text}"
            );
            assert_eq!(moment.verdict(), verdict, "{text}");
        }
    }

    #[test]
    fn the_liar_is_named() {
        let said = at("2026-11-27T12:03:07.3").to_string();
        for part in [
            "2026-11-27T12:03:07.250Z: served this time, true within 0.000412000 s",
            "tracked clock, stratum 2, reference ID C000020C, leap 0",
            "20114 answered, 3 refused, 0 lost in that second",
            "time1                          falseticker   2026-11-27T12:03:03.250Z +2.000000000 s at 2026-11-27T12:03:03.250Z",
            "time2                          agrees        the start",
        ] {
            assert!(said.contains(part), "{part}\n{said}");
        }
        assert!(!at("2026-11-27T12:03:02.3").to_string().contains("falseticker"));
    }

    #[test]
    fn the_reason_for_no_record_is_told() {
        let said = |text| at(text).to_string();
        assert!(said("2026-11-27T12:03:15").contains("the server was stopped at 2026-11-27T12:03:10.250Z"));
        assert!(said("2026-11-27T12:03:30").contains("no record: the disk was full"));
        assert!(said("2026-11-27T12:00:00").contains("no record\n"));
    }
}
