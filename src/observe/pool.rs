//! Pure. The score that the NTP Pool's monitor would give to a server: its table, in this one place.
//!
//! Source: the monitor's public code (github.com/ntppool/monitor, `scorer/statusscore` and `client/monitor`)
//! and the pool's (github.com/abh/ntppool, where the score is made of the steps). The pool may change its
//! rules at any time.

use std::fmt;

use serde::Serialize;

use super::clock_status::ClockStatus;
use crate::upstream::findings::{Answer, Findings};
use crate::upstream::system_process::State;

/// Samples of a check; the one with the shortest round trip counts.
pub const SAMPLES: usize = 3;
/// The part of a score that stays at a check; the step of the check is added to it.
const KEEPS: f64 = 0.95;
/// The best score: 1 / (1 - 0.95) times the step, if that is always the same, and 1 is the best step.
const BEST: f64 = 20.0;
/// The score over which a server is handed out.
const HANDED_OUT_OVER: f64 = 10.0;

/// The observation of a check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PoolObservation {
    /// A time: its offset in seconds, and its stratum.
    Time(f64, u8),
    /// No answer.
    Nothing,
    /// A kiss to a client that asks too often.
    KissRate,
    /// A kiss to a client that must not ask.
    KissDeny,
    /// Stratum 0 without a reason.
    NoStratum,
    /// An honest "not synchronized" (leap indicator 3), a stratum over 10, or anything else that is no time.
    NoTime,
}

/// The change of the score by a check.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ScoreStep {
    /// Added to what stays of the score before: at most 1.
    pub step: f64,
    /// The highest score afterwards, if there is such a limit.
    pub cap: Option<f64>,
}

impl ScoreStep {
    /// The monitor's table.
    pub fn of(seen: PoolObservation) -> Self {
        let (step, cap) = match seen {
            PoolObservation::Nothing => (-5.0, None),
            PoolObservation::KissRate => (-3.5, None),
            PoolObservation::KissDeny => (-10.0, Some(-50.0)),
            PoolObservation::NoStratum => (-2.0, Some(5.0)),
            PoolObservation::NoTime => (-4.0, None),
            PoolObservation::Time(offset, stratum) => of_time(offset.abs(), stratum),
        };
        Self { step, cap }
    }

    /// The score after a check of this outcome.
    pub fn after(self, score: f64) -> f64 {
        (score * KEEPS + self.step).min(self.cap.unwrap_or(BEST))
    }

    /// The score in the end, if all checks have this outcome.
    pub fn lasting(self) -> f64 {
        (self.step * BEST).min(self.cap.unwrap_or(BEST))
    }

    /// Whether a server is handed out if all checks have this outcome.
    pub fn is_handed_out(self) -> bool {
        self.lasting() > HANDED_OUT_OVER
    }

    /// Checks of this outcome in a row until a server of the best score is not handed out any more.
    pub fn checks_until_dropped(self) -> Option<usize> {
        let scores = std::iter::successors(Some(BEST), |score| Some(self.after(*score)));
        let mut scores = scores.enumerate().take(1000);
        scores
            .find(|(_, score)| *score <= HANDED_OUT_OVER)
            .map(|(checks, _)| checks)
    }
}

fn of_time(offset: f64, stratum: u8) -> (f64, Option<f64>) {
    match offset {
        _ if offset > 3.0 => (-4.0, Some(-20.0)),
        _ if stratum >= 8 => (-4.0, None),
        _ if offset > 0.75 => (-2.0, None),
        _ if offset > 0.1 => (0.731 - 2.308 * offset, None),
        _ if offset > 0.025 => (1.167 - 6.667 * offset, None),
        _ => (1.0, None),
    }
}

impl PoolObservation {
    /// The observation of one sample.
    fn in_answer(answer: &Answer) -> Self {
        match (answer.stratum, answer.reference_id.as_str()) {
            (0, "RATE") => Self::KissRate,
            (0, "DENY" | "RSTR") => Self::KissDeny,
            _ if answer.leap == 3 || answer.stratum > 10 => Self::NoTime,
            (0, _) => Self::NoStratum,
            (stratum, _) => Self::Time(answer.offset, stratum),
        }
    }

    /// The observation of a check.
    ///
    /// A sample without a time ends it, else the one with the shortest round trip counts.
    fn in_samples(samples: &[Findings]) -> Self {
        let answers = || samples.iter().filter_map(|sample| sample.answer.as_ref());
        let bad = answers()
            .map(Self::in_answer)
            .find(|seen| !matches!(seen, Self::Time(..)));
        let best = answers().min_by(|one, other| one.delay.total_cmp(&other.delay));
        bad.or_else(|| best.map(Self::in_answer)).unwrap_or(Self::Nothing)
    }

    /// The worst observation of this server: the whole error bound as an offset, as its own is not known.
    fn at_worst(clock: &ClockStatus) -> Self {
        match clock.reference.root_distance {
            _ if !clock.answers => Self::Nothing,
            Some(distance) if clock.usable => Self::Time(distance, clock.reference.stratum),
            Some(_) | None => Self::NoTime,
        }
    }
}

impl fmt::Display for PoolObservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(offset, stratum) => write!(f, "offset {offset:+.6} s, stratum {stratum}"),
            Self::Nothing => f.write_str("no answer"),
            Self::KissRate => f.write_str("kiss RATE"),
            Self::KissDeny => f.write_str("kiss DENY or RSTR"),
            Self::NoStratum => f.write_str("stratum 0"),
            Self::NoTime => f.write_str("not synchronized"),
        }
    }
}

/// The score of this server at worst: as if its time were wrong by all of its error bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PoolScore {
    /// Step of each check: at most 1.
    pub step: f64,
    /// Score in the end: at most 20.
    pub score: f64,
    /// Whether that is enough to be handed out.
    pub handed_out: bool,
}

impl PoolScore {
    /// The score by what clients get now.
    pub fn of(clock: &ClockStatus) -> Self {
        let step = ScoreStep::of(PoolObservation::at_worst(clock));
        Self {
            step: step.step,
            score: step.lasting(),
            handed_out: step.is_handed_out(),
        }
    }

    /// Whether the pool might drop this server for its time, so that a warning is due.
    ///
    /// That there is no time is logged anyway, and a local reference does not belong into the pool.
    pub fn is_at_risk(self, clock: &ClockStatus) -> bool {
        clock.usable && clock.state != State::Local && !self.handed_out
    }
}

/// A check of a server: the answer of `ntpfront query --pool`.
///
/// As JSON its names are stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PoolCheck {
    /// The observation that counted, in words.
    pub seen: String,
    /// Step of the check.
    #[serde(flatten)]
    pub step: ScoreStep,
    /// Score in the end, if all checks are like this one.
    pub score: f64,
    /// Whether that is enough to be handed out.
    pub handed_out: bool,
    /// The samples, the oldest first.
    pub samples: Vec<Findings>,
}

impl PoolCheck {
    /// The check that took these samples.
    pub fn of(samples: Vec<Findings>) -> Self {
        let seen = PoolObservation::in_samples(&samples);
        let step = ScoreStep::of(seen);
        Self {
            seen: seen.to_string(),
            step,
            score: step.lasting(),
            handed_out: step.is_handed_out(),
            samples,
        }
    }
}

impl fmt::Display for PoolCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (sample, number) in self.samples.iter().zip(1..) {
            let name = format!("sample {number}");
            match (&sample.answer, &sample.reason) {
                (Some(answer), _) => {
                    let (delay, stratum) = (answer.delay, answer.stratum);
                    writeln!(
                        f,
                        "{name:<17}offset {:+.6} s, delay {delay:.6} s, stratum {stratum}",
                        answer.offset
                    )?;
                }
                (None, reason) => writeln!(f, "{name:<17}{}", reason.as_deref().unwrap_or("no answer"))?,
            }
        }
        let ScoreStep { step, cap } = self.step;
        let cap = cap.map_or_else(String::new, |cap| format!(", and {cap} at most"));
        writeln!(f, "a check          {step:+.3}{cap}, for {}", self.seen)?;
        let verdict = match (self.handed_out, self.step.checks_until_dropped()) {
            (false, Some(checks)) => {
                format!("not handed out (10 or less): from {BEST} that takes {checks} checks")
            }
            (true | false, _) => "handed out (over 10)".to_owned(),
        };
        writeln!(f, "score in the end {:.1}: {verdict}", self.score)?;
        f.write_str("as seen from this host by its own clock; the pool's monitors are elsewhere\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock_status::example;
    use super::*;

    #[test]
    fn the_table() {
        for (seen, step, lasting, checks) in [
            (PoolObservation::Time(-0.025, 2), 1.0, 20.0, None),
            (PoolObservation::Time(0.05, 2), 0.833_65, 16.673, None),
            (PoolObservation::Time(0.0999, 2), 0.500_966_7, 10.019, None),
            (PoolObservation::Time(0.11, 2), 0.477_12, 9.5424, Some(62)),
            (PoolObservation::Time(0.5, 2), -0.423, -8.46, Some(9)),
            (PoolObservation::Time(-0.8, 2), -2.0, -40.0, Some(4)),
            (PoolObservation::Time(4.0, 2), -4.0, -80.0, Some(1)),
            (PoolObservation::Time(0.0, 8), -4.0, -80.0, Some(3)),
            (PoolObservation::NoTime, -4.0, -80.0, Some(3)),
            (PoolObservation::Nothing, -5.0, -100.0, Some(2)),
            (PoolObservation::KissRate, -3.5, -70.0, Some(3)),
            (PoolObservation::KissDeny, -10.0, -200.0, Some(1)),
            (PoolObservation::NoStratum, -2.0, -40.0, Some(1)),
        ] {
            let found = ScoreStep::of(seen);
            assert!((found.step - step).abs() < 1e-9, "{seen:?}: {found:?}");
            assert!(
                (found.lasting() - lasting).abs() < 1e-3,
                "{seen:?}: {}",
                found.lasting()
            );
            assert_eq!(found.checks_until_dropped(), checks, "{seen:?}");
            assert_eq!(found.is_handed_out(), checks.is_none(), "{seen:?}");
        }
    }

    #[test]
    fn the_score_comes_to_where_it_lasts() {
        let step = ScoreStep::of(PoolObservation::Time(0.05, 2));
        let score = (0..500).fold(0.0, |score, _| step.after(score));
        assert!((score - step.lasting()).abs() < 1e-6);
    }

    #[test]
    fn the_own_score_is_that_of_the_worst_case() {
        let mut clock = example();
        assert_eq!(PoolScore::of(&clock).score.round(), 20.0);
        clock.reference.root_distance = Some(0.2);
        assert!(PoolScore::of(&clock).is_at_risk(&clock));
        clock.state = State::Local;
        assert!(!PoolScore::of(&clock).is_at_risk(&clock));
        (clock.usable, clock.reference.root_distance) = (false, None);
        assert_eq!(PoolScore::of(&clock).step, -4.0);
        clock.answers = false;
        assert_eq!(PoolScore::of(&clock).step, -5.0);
    }

    fn sample(offset: f64, delay: f64, stratum: u8, leap: u8, reference_id: &str) -> Findings {
        Findings {
            answer: Some(Answer {
                offset,
                delay,
                root_distance: 0.0,
                stratum,
                leap,
                reference_id: reference_id.to_owned(),
                root_delay: 0.0,
                root_dispersion: 0.0,
                precision: -20,
                version: 4,
            }),
            ..Findings::of_silence("a", None, "x".to_owned())
        }
    }

    #[test]
    fn the_best_sample_counts_and_one_without_a_time_ends_the_check() {
        let good = || sample(0.01, 0.002, 2, 0, "C0000201");
        let slow = || sample(0.4, 0.5, 2, 0, "C0000201");
        let silence = || Findings::of_silence("a", None, "no answer".to_owned());
        for (samples, expected) in [
            (vec![slow(), good(), silence()], PoolObservation::Time(0.01, 2)),
            (vec![silence(), silence(), silence()], PoolObservation::Nothing),
            (
                vec![good(), sample(0.0, 0.1, 0, 0, "RATE")],
                PoolObservation::KissRate,
            ),
            (
                vec![good(), sample(0.0, 0.1, 0, 3, "RSTR")],
                PoolObservation::KissDeny,
            ),
            (
                vec![good(), sample(0.0, 0.1, 0, 3, "INIT")],
                PoolObservation::NoTime,
            ),
            (vec![sample(0.0, 0.1, 0, 0, "GOES")], PoolObservation::NoStratum),
            (vec![sample(0.0, 0.1, 16, 0, "GOES")], PoolObservation::NoTime),
        ] {
            assert_eq!(PoolObservation::in_samples(&samples), expected);
        }
        let text = PoolCheck::of(vec![slow(), silence()]).to_string();
        assert!(
            text.contains("not handed out (10 or less): from 20 that takes 11 checks"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
}
