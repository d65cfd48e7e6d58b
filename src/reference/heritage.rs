//! Pure. What is announced, as bytes: a process that ends leaves it to its successor, so that a restart is no gap.
//!
//! It means something only to the same boot of the same host, whose raw counter goes on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ClockModel, Moment, Reference};
use crate::wire::{Leap, NtpDuration, NtpTimestamp, ReferenceId};

/// Another version of ntpfront may mean something else.
const VERSION: u32 = 1;

/// A [`Reference`] in plain numbers: durations in units of 2^-32 s, fractions by their bits, so that nothing is rounded.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    version: u32,
    leap: u8,
    stratum: u8,
    reference_id: [u8; 4],
    root_delay: i64,
    root_dispersion: i64,
    growth: u64,
    reference_time: u64,
    precision: i8,
    tracked: Option<Tracked>,
    published: (u64, Duration, Duration),
    answers: bool,
    epoch: Duration,
    not_after: Duration,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tracked {
    epoch: Duration,
    time: u64,
    rate: u64,
    slew: u64,
    slew_for: Duration,
}

/// `reference` as bytes; none if no time is announced.
pub fn leave(reference: &Reference) -> Vec<u8> {
    if !reference.is_usable() {
        return Vec::new();
    }
    let plain = Plain {
        version: VERSION,
        leap: reference.leap.to_bits(),
        stratum: reference.stratum,
        reference_id: reference.reference_id.to_bytes(),
        root_delay: reference.root_delay.to_units(),
        root_dispersion: reference.root_dispersion.to_units(),
        growth: reference.growth.to_bits(),
        reference_time: reference.reference_time.to_bits(),
        precision: reference.precision,
        tracked: tracked(&reference.clock),
        published: (
            reference.published.realtime.to_bits(),
            reference.published.raw,
            reference.published.boot,
        ),
        answers: reference.answers,
        epoch: reference.epoch,
        not_after: reference.not_after,
    };
    serde_json::to_vec(&plain).unwrap_or_default()
}

fn tracked(clock: &ClockModel) -> Option<Tracked> {
    match *clock {
        ClockModel::Host => None,
        ClockModel::Tracked {
            epoch,
            time,
            rate,
            slew,
            slew_for,
        } => Some(Tracked {
            epoch,
            time: time.to_bits(),
            rate: rate.to_bits(),
            slew: slew.to_bits(),
            slew_for,
        }),
    }
}

/// What a predecessor left; `None` if that was nothing, or nothing that we understand.
pub fn take(bytes: &[u8]) -> Option<Reference> {
    let plain: Plain = serde_json::from_slice(bytes).ok()?;
    let clock = match plain.tracked {
        None => ClockModel::Host,
        Some(tracked) => ClockModel::Tracked {
            epoch: tracked.epoch,
            time: NtpTimestamp::from_bits(tracked.time),
            rate: f64::from_bits(tracked.rate),
            slew: f64::from_bits(tracked.slew),
            slew_for: tracked.slew_for,
        },
    };
    let (realtime, raw, boot) = plain.published;
    let reference = Reference {
        leap: Leap::from_bits(plain.leap),
        stratum: plain.stratum,
        reference_id: ReferenceId::from_bytes(plain.reference_id),
        root_delay: NtpDuration::from_units(plain.root_delay),
        root_dispersion: NtpDuration::from_units(plain.root_dispersion),
        growth: f64::from_bits(plain.growth),
        reference_time: NtpTimestamp::from_bits(plain.reference_time),
        precision: plain.precision,
        clock,
        published: Moment {
            realtime: NtpTimestamp::from_bits(realtime),
            raw,
            boot,
        },
        answers: plain.answers,
        epoch: plain.epoch,
        not_after: plain.not_after,
    };
    (plain.version == VERSION && reference.is_usable()).then_some(reference)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn duration() -> impl Strategy<Value = Duration> {
        (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
    }

    fn clock() -> impl Strategy<Value = ClockModel> {
        let tracked = (duration(), any::<u64>(), -1.0..1.0, -1.0..1.0, duration()).prop_map(
            |(epoch, time, rate, slew, slew_for)| ClockModel::Tracked {
                epoch,
                time: NtpTimestamp::from_bits(time),
                rate,
                slew,
                slew_for,
            },
        );
        prop_oneof![Just(ClockModel::Host), tracked]
    }

    fn reference() -> impl Strategy<Value = Reference> {
        let header = (0..3_u8, 1..16_u8, any::<[u8; 4]>(), any::<i8>());
        let errors = (any::<i64>(), any::<i64>(), 0.0..1.0, any::<u64>());
        let times = (any::<u64>(), duration(), duration(), duration(), duration());
        (header, errors, clock(), times, any::<bool>()).prop_map(|(header, errors, clock, times, answers)| {
            Reference {
                leap: Leap::from_bits(header.0),
                stratum: header.1,
                reference_id: ReferenceId::from_bytes(header.2),
                root_delay: NtpDuration::from_units(errors.0),
                root_dispersion: NtpDuration::from_units(errors.1),
                growth: errors.2,
                reference_time: NtpTimestamp::from_bits(errors.3),
                precision: header.3,
                clock,
                published: Moment {
                    realtime: NtpTimestamp::from_bits(times.0),
                    raw: times.1,
                    boot: times.2,
                },
                answers,
                epoch: times.3,
                not_after: times.4,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_left_is_taken_unchanged(reference in reference()) {
            prop_assert_eq!(take(&leave(&reference)), Some(reference));
        }

        #[test]
        fn whatever_else_is_there_is_not_taken(bytes in proptest::collection::vec(any::<u8>(), 0..100), reference in reference(), cut in 1..200_usize) {
            prop_assert_eq!(take(&bytes), None);
            let left = leave(&reference);
            prop_assert_eq!(take(&left[..left.len().saturating_sub(cut)]), None);
            let other = String::from_utf8(left).unwrap().replace("\"version\":1", "\"version\":2");
            prop_assert_eq!(take(other.as_bytes()), None);
        }
    }

    #[test]
    fn no_time_is_no_heritage() {
        let moment = Moment {
            realtime: NtpTimestamp::ZERO,
            raw: Duration::ZERO,
            boot: Duration::ZERO,
        };
        let reference = Reference::unsynchronized(ReferenceId::INIT, -20, ClockModel::Host, moment);
        assert_eq!(leave(&reference), b"");
        assert_eq!(take(b""), None);
    }
}
