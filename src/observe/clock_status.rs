//! Pure. The state of the served clock, as clients get it at one moment.
//!
//! Its JSON names are stable, as those of the whole [snapshot](super::snapshot).

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::time::{ClockReadings, NtpDuration};
use crate::upstream::clock_policy::ClockSource;
use crate::upstream::system_process::{Decision, State};

/// The time that clients get, and the reason for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClockStatus {
    /// `init`, `synchronized`, `holdover`, `unsynchronized`, `disputed` or `local`.
    #[serde(serialize_with = "state_name")]
    pub state: State,
    /// Seconds since this state began.
    pub state_age: f64,
    /// The reason, in numbers, for a state that is not `synchronized`; `null` for that one.
    pub state_reason: Option<String>,
    /// The served clock: `system` or `tracked`.
    #[serde(serialize_with = "source_name")]
    pub clock: ClockSource,
    /// Whether a client gets an answer at all.
    pub answers: bool,
    /// Whether a client gets a time now (not an answer without one, or no answer).
    pub usable: bool,
    /// The system variables as of now.
    pub reference: ReferenceStatus,
}

/// The system variables as a client sees them now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReferenceStatus {
    /// 1 to 15, or 0 without a usable time.
    pub stratum: u8,
    /// 0 nothing, 1 insert and 2 delete a second at the end of the day, 3 not synchronized.
    pub leap: u8,
    /// Four letters, or eight hexadecimal digits.
    pub reference_id: String,
    /// Round trip to the reference clock.
    pub root_delay: f64,
    /// Error of the served time beside half of the root delay, at most.
    pub root_dispersion: f64,
    /// Error of the served time in all, at most; `null` without a usable time.
    pub root_distance: Option<f64>,
    /// Time since the served time was last checked or corrected; `null` if not known, or not usable.
    pub age: Option<f64>,
    /// Time for which it stays usable by itself; `null` without an end, or if not usable.
    pub good_for: Option<f64>,
}

impl ClockStatus {
    /// The status at `now`, after this decision; its state has been the same `since` then, by the raw counter.
    pub fn of(decision: &Decision, since: Duration, now: ClockReadings) -> Self {
        let reference = &decision.reference;
        let usable = reference.is_usable() && reference.answers && now.raw <= reference.not_after;
        let seconds = |duration: NtpDuration| usable.then(|| duration.to_seconds());
        let is_endless = reference.not_after == Duration::MAX;
        Self {
            state: decision.state,
            state_age: now.raw.saturating_sub(since).as_secs_f64(),
            state_reason: decision.shortage.map(|shortage| shortage.to_string()),
            clock: decision.source,
            answers: reference.answers,
            usable,
            reference: ReferenceStatus {
                stratum: reference.stratum,
                leap: reference.leap.to_bits(),
                reference_id: reference.reference_id.to_string(),
                root_delay: reference.root_delay.to_seconds(),
                root_dispersion: reference.root_dispersion_at(now.raw).to_seconds(),
                root_distance: seconds(reference.root_distance_at(now.raw)),
                age: seconds(reference.clock.served(now) - reference.reference_time)
                    .filter(|_| !reference.reference_time.is_zero()),
                good_for: seconds(NtpDuration::between(now.raw, reference.not_after)).filter(|_| !is_endless),
            },
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn state_name<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.name())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn source_name<S: Serializer>(source: &ClockSource, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(source.name())
}

/// A status for tests.
#[cfg(test)]
pub(super) fn example() -> ClockStatus {
    ClockStatus {
        state: State::Synchronized,
        state_age: 273_900.0,
        state_reason: None,
        clock: ClockSource::System,
        answers: true,
        usable: true,
        reference: ReferenceStatus {
            stratum: 3,
            leap: 0,
            reference_id: "C0000201".to_owned(),
            root_delay: 0.0005,
            root_dispersion: 0.0005,
            root_distance: Some(0.00075),
            age: Some(2.5),
            good_for: Some(1000.0),
        },
    }
}
