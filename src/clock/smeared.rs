//! Pure. The announced time of listeners with a smear, around a leap second.

use super::{Reference, SystemVariables};
use crate::leap::{LeapEvent, Smear, SmearedTime};
use crate::time::ClockReadings;
use crate::wire::Leap;

/// The time that listeners with a smear announce while a leap second is near, as a [`Reference`] in UTC and the event.
///
/// Unlike that of the other listeners it goes on through the leap second itself: the smeared time has no jump there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmearedReference {
    /// The time in UTC, without a warning.
    pub reference: Reference,
    /// The leap second.
    pub event: LeapEvent,
    /// Whether `reference` has the leap second behind it.
    pub leapt: bool,
}

impl SmearedReference {
    /// Returns `reference`, which is UTC, without its warning of the `event`.
    pub fn new(reference: Reference, event: LeapEvent, leapt: bool) -> Self {
        let leap = if reference.leap == event.kind.warning() {
            Leap::NoWarning
        } else {
            reference.leap
        };
        Self {
            reference: Reference { leap, ..reference },
            event,
            leapt,
        }
    }

    /// Returns it as published at `now`: as [`Reference::alive_at`].
    #[must_use]
    pub fn alive_at(self, now: ClockReadings) -> Self {
        Self {
            reference: self.reference.alive_at(now),
            ..self
        }
    }

    /// Returns the smeared time as a function of UTC as it is served.
    pub fn time(&self, smear: Smear) -> SmearedTime {
        SmearedTime {
            smear,
            event: self.event,
            leapt: self.leapt,
        }
    }

    /// Returns the system variables of a reply at `now`, as [`Reference::at`]; the reference time is smeared, too.
    ///
    /// The root dispersion has no part for the smear: that is a difference from UTC on purpose, and clients that get
    /// their time from such listeners alone must agree with each other.
    pub fn at(&self, smear: Smear, now: ClockReadings) -> SystemVariables {
        let (variables, time) = (self.reference.at(now), self.time(smear));
        if variables.leap == Leap::Unsynchronized {
            return variables;
        }
        let marked = time.mark(self.reference.clock.served(now));
        SystemVariables {
            reference_id: marked.unwrap_or(variables.reference_id),
            reference_timestamp: if variables.reference_timestamp.is_zero() {
                variables.reference_timestamp
            } else {
                time.of(variables.reference_timestamp)
            },
            ..variables
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ClockModel;
    use crate::leap::{LeapKind, Mark};
    use crate::time::{NtpDuration, NtpTimestamp};
    use crate::wire::ReferenceId;

    /// 2027-01-01 00:00 UTC.
    const MIDNIGHT: i64 = 1_798_761_600;

    fn readings(seconds: f64) -> ClockReadings {
        ClockReadings {
            realtime: NtpTimestamp::from_unix(MIDNIGHT, 0) + NtpDuration::from_seconds(seconds),
            raw: Duration::from_secs_f64(100_000.0 + seconds),
            boot: Duration::from_secs_f64(100_000.0 + seconds),
        }
    }

    fn smeared(leap: Leap) -> SmearedReference {
        let now = readings(-1.0);
        let reference = Reference {
            leap,
            stratum: 2,
            reference_id: ReferenceId::from_bytes([192, 0, 2, 1]),
            root_dispersion: NtpDuration::from_seconds(0.001),
            reference_time: now.realtime - NtpDuration::from_seconds(64.0),
            clock: ClockModel::Tracked {
                epoch: now.raw,
                time: now.realtime,
                rate: 0.0,
                slew: 0.0,
                slew_for: Duration::ZERO,
            },
            epoch: now.raw,
            ..Reference::unsynchronized(ReferenceId::INIT, -20, ClockModel::Host, now)
        };
        let event = LeapEvent {
            midnight: MIDNIGHT,
            kind: LeapKind::Insert,
        };
        SmearedReference::new(reference, event, false)
    }

    #[test]
    fn the_variables_are_those_of_utc_without_a_warning() {
        let smear = Smear {
            mark: Mark::ReferenceId,
            ..Smear::default()
        };
        let smeared = smeared(Leap::AddSecond);
        let (now, utc) = (readings(-0.5), smeared.reference.at(readings(-0.5)));
        let said = smeared.at(smear, now);
        assert_eq!(said.leap, Leap::NoWarning);
        assert_eq!(said.reference_id.to_bytes()[0], 254);
        let expected = SystemVariables {
            reference_id: said.reference_id,
            reference_timestamp: smeared.time(smear).of(utc.reference_timestamp),
            ..utc
        };
        assert_eq!(said, expected);
        assert_ne!(said.reference_timestamp, utc.reference_timestamp);
        assert_eq!(smeared.at(Smear::default(), now).reference_id, utc.reference_id);
    }

    #[test]
    fn another_warning_stays_and_no_time_stays_no_time() {
        assert_eq!(smeared(Leap::DeleteSecond).reference.leap, Leap::DeleteSecond);
        let lost = smeared(Leap::Unsynchronized);
        let said = lost.at(Smear::default(), readings(0.0));
        assert_eq!(
            (said.leap, said.reference_timestamp),
            (
                Leap::Unsynchronized,
                lost.reference.at(readings(0.0)).reference_timestamp
            )
        );
    }

    #[test]
    fn it_goes_on_through_the_leap_second() {
        let (smear, smeared) = (Smear::default(), smeared(Leap::AddSecond));
        let served = |seconds| {
            let now = readings(seconds);
            assert_eq!(smeared.at(smear, now).stratum, 2);
            smeared.time(smear).of(smeared.reference.clock.served(now))
        };
        let passed = (served(1.5) - served(-0.5)).to_seconds();
        assert!((passed - 2.0 * 86_400.0 / 86_401.0).abs() < 1e-9, "{passed}");
    }
}
