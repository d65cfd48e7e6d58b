//! Pure. A made-up clock that runs through a leap second: what is announced of it, and when.
//!
//! `ntpfront leap` shows it, and `ntpfront rehearse` serves it.

use std::time::Duration;

use super::{ClockModel, Reference, SmearedReference};
use crate::leap::{LeapEvent, LeapTable, until, warning};
use crate::time::{ClockReadings, NtpDuration, NtpTimestamp};
use crate::wire::{Leap, ReferenceId};

/// The stratum of a made-up time, unless another one is asked for: the highest, so that no client prefers it.
pub const TEST_STRATUM: u8 = 15;
/// The maximum error that it announces.
const DISPERSION: NtpDuration = NtpDuration::from_units((1 << 32) / 1000);

/// A made-up clock, by the raw counter of the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Rehearsal {
    /// The leap second.
    pub event: LeapEvent,
    /// The list of leap seconds with it.
    pub table: LeapTable,
    /// The stratum that is announced: 1 to 15.
    pub stratum: u8,
    /// The readings of the host's clocks at the start.
    pub started: ClockReadings,
    /// The count of seconds at the start.
    pub count: NtpTimestamp,
}

impl Rehearsal {
    /// Returns the count of seconds at `now`.
    pub fn count_at(&self, now: ClockReadings) -> NtpTimestamp {
        self.count + NtpDuration::between(self.started.raw, now.raw)
    }

    /// Returns what is announced from `now` on: UTC, and at listeners with a smear.
    ///
    /// UTC has to be published again when the leap second happens: it is valid only until then.
    pub fn references(&self, now: ClockReadings) -> (Reference, SmearedReference) {
        let count = self.count_at(now);
        let leapt = self.event.has_happened(count);
        let utc = self.event.utc(count);
        let leap = if leapt {
            Leap::NoWarning
        } else {
            warning(utc, Leap::NoWarning, Some(&self.table))
        };
        let reference = Reference {
            leap,
            stratum: self.stratum,
            reference_id: ReferenceId::TEST,
            root_delay: NtpDuration::ZERO,
            root_dispersion: DISPERSION,
            growth: 0.0,
            reference_time: utc - NtpDuration::SECOND,
            precision: -20,
            clock: ClockModel::Tracked {
                epoch: now.raw,
                time: utc,
                rate: 0.0,
                slew: 0.0,
                slew_for: Duration::ZERO,
            },
            published: now,
            answers: true,
            epoch: now.raw,
            not_after: Duration::MAX,
        };
        let left = until(leap, utc).to_std().unwrap_or_default();
        let not_after = if leap == Leap::NoWarning {
            Duration::MAX
        } else {
            now.raw.saturating_add(left)
        };
        let smeared = SmearedReference::new(reference, self.event, leapt);
        (
            Reference {
                not_after,
                ..reference
            },
            smeared,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leap::{LeapKind, Smear};

    fn readings(seconds: f64) -> ClockReadings {
        ClockReadings {
            realtime: NtpTimestamp::from_unix(1_700_000_000, 0) + NtpDuration::from_seconds(seconds),
            raw: Duration::from_secs_f64(1000.0 + seconds),
            boot: Duration::from_secs_f64(1000.0 + seconds),
        }
    }

    fn rehearsal(kind: LeapKind) -> Rehearsal {
        let event = LeapEvent {
            midnight: 1_798_761_600,
            kind,
        };
        let table = LeapTable::parse("#@ 3692217600\n3692217600 37\n").unwrap();
        Rehearsal {
            stratum: TEST_STRATUM,
            event,
            table: table.with(event),
            started: readings(0.0),
            count: event.midnight() - NtpDuration::from_seconds(10.0),
        }
    }

    #[test]
    fn it_warns_and_leaps_and_is_a_test() {
        for (kind, leap, happens) in [
            (LeapKind::Insert, Leap::AddSecond, 10.0),
            (LeapKind::Delete, Leap::DeleteSecond, 9.0),
        ] {
            let rehearsal = rehearsal(kind);
            let before = readings(happens - 0.25);
            let (utc, _) = rehearsal.references(before);
            assert_eq!((utc.leap, utc.stratum), (leap, 15));
            assert_eq!(utc.reference_id.to_string(), "TEST");
            assert_eq!(utc.at(before).leap, leap);
            // Nobody serves past it who does not know of it.
            assert_eq!(utc.at(readings(happens + 0.01)).leap, Leap::Unsynchronized);
            let after = readings(happens + 0.25);
            let (utc_after, _) = rehearsal.references(after);
            assert_eq!(utc_after.at(after).leap, Leap::NoWarning);
            let passed = utc_after.clock.served(after) - utc.clock.served(before);
            assert_eq!(passed, NtpDuration::from_seconds(0.5) + kind.shift());
        }
    }

    #[test]
    fn smeared_it_goes_on() {
        for kind in [LeapKind::Insert, LeapKind::Delete] {
            let (rehearsal, smear) = (rehearsal(kind), Smear::default());
            let (_, early) = rehearsal.references(readings(0.0));
            for seconds in [0.0, 8.9, 9.5, 10.5, 20.0] {
                let now = readings(seconds);
                let (_, late) = rehearsal.references(now);
                let served = |of: &SmearedReference| of.time(smear).of(of.reference.clock.served(now));
                assert_eq!(served(&early), served(&late), "{seconds}");
                assert_eq!(late.at(smear, now).leap, Leap::NoWarning);
            }
        }
    }
}
