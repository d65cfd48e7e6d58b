//! Pure. The system variables that are served (RFC 5905 §11.1, figure 23), and how they age.

use std::time::Duration;

use super::ClockModel;
use crate::time::{ClockReadings, NtpDuration, NtpShort, NtpTimestamp};
use crate::wire::{Leap, ReferenceId};

/// The time that is announced from `epoch` on, until a newer one is published or `not_after` has passed.
///
/// Points in time are readings of the raw counter, so a step of the host's clock can't extend them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reference {
    /// Leap warning; [`Leap::Unsynchronized`] exactly when there is no usable time.
    pub leap: Leap,
    /// 1 to 15, or 0 without a usable time.
    pub stratum: u8,
    /// The server or clock that is followed; without one, four letters that say why.
    pub reference_id: ReferenceId,
    /// Round-trip delay to the reference clock.
    pub root_delay: NtpDuration,
    /// Maximum error of the served time at `epoch`, apart from half of the root delay.
    pub root_dispersion: NtpDuration,
    /// Growth of the dispersion in seconds per second: 15e-6 (PHI), or the known error of the frequency.
    pub growth: f64,
    /// The moment at which the served time was last checked or corrected; zero without a usable time.
    pub reference_time: NtpTimestamp,
    /// Precision of the host's clock, log2 seconds.
    pub precision: i8,
    /// The clock that is served.
    pub clock: ClockModel,
    /// Readings of the host's clocks at the publication.
    ///
    /// The clocks can't move far from each other after it, unless the host sleeps or one of them is stepped.
    pub published: ClockReadings,
    /// Whether clients get replies.
    pub answers: bool,
    /// The instant at which `root_dispersion` holds.
    pub epoch: Duration,
    /// The last instant at which this may be served as a usable time.
    pub not_after: Duration,
}

impl Reference {
    /// Returns a reference without a usable time, for the reason that `reference_id` names; it never expires.
    ///
    /// Replies still carry the times of `clock`.
    //= RFC 5905 §7.3 stratum-zero
    //= RFC 5905 §11.1 init
    pub fn unsynchronized(
        reference_id: ReferenceId,
        precision: i8,
        clock: ClockModel,
        published: ClockReadings,
    ) -> Self {
        Self {
            leap: Leap::Unsynchronized,
            stratum: 0,
            reference_id,
            root_delay: NtpDuration::ZERO,
            root_dispersion: UNKNOWN_DISPERSION,
            growth: 0.0,
            reference_time: NtpTimestamp::ZERO,
            precision,
            clock,
            published,
            answers: true,
            epoch: Duration::ZERO,
            not_after: Duration::MAX,
        }
    }

    /// Returns whether it announces a usable time, as of its publication.
    pub fn is_usable(&self) -> bool {
        self.leap != Leap::Unsynchronized
    }

    /// Returns the root dispersion, grown to `now`.
    pub fn root_dispersion_at(&self, now: Duration) -> NtpDuration {
        let age = NtpDuration::between(self.epoch, now).to_seconds().max(0.0);
        self.root_dispersion + NtpDuration::from_seconds(age * self.growth)
    }

    /// Returns the root dispersion at `now`, with the movement of the host's clock since the publication.
    ///
    /// A served clock that is slewed moves away from what was checked, by as much as it moves against the raw counter.
    pub fn dispersion_at(&self, now: ClockReadings) -> NtpDuration {
        self.root_dispersion_at(now.raw) + self.host_movement(now)
    }

    /// Returns how much more the host's clock moved against the raw counter than the dispersion grew; never negative.
    ///
    /// Both count from the publication. On a busy host it includes the time between the readings of both clocks.
    fn host_movement(&self, now: ClockReadings) -> NtpDuration {
        if self.clock != ClockModel::Host || !self.is_usable() {
            return NtpDuration::ZERO;
        }
        let passed = NtpDuration::between(self.published.raw, now.raw);
        let apart = (now.realtime - self.published.realtime - passed).abs();
        let usual = NtpDuration::from_seconds(passed.to_seconds().abs() * self.growth);
        (apart - usual).max(NtpDuration::ZERO)
    }

    /// Returns the root synchronization distance at `now` (RFC 5905 §11.2.3).
    ///
    /// It is half of the root delay plus the dispersion: the maximum error of the served time.
    //= RFC 5905 §11.2.3 root-distance
    pub fn root_distance_at(&self, now: Duration) -> NtpDuration {
        self.root_delay.half() + self.root_dispersion_at(now)
    }

    /// Returns when the root distance will exceed `limit`: zero if it does already, the maximum if it never will.
    pub fn expiry(&self, limit: NtpDuration) -> Duration {
        let room = (limit - self.root_distance_at(self.epoch)).to_seconds();
        if room < 0.0 {
            return Duration::ZERO;
        }
        if self.growth <= 0.0 {
            return Duration::MAX;
        }
        let seconds = room / self.growth;
        self.epoch
            .saturating_add(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// Returns it as published at `now`, valid for at most 10 s, so that it ends if the publisher hangs.
    pub fn alive_at(self, now: ClockReadings) -> Self {
        Self {
            not_after: self.not_after.min(now.raw.saturating_add(LIVENESS)),
            published: now,
            ..self
        }
    }

    /// Returns the system variables of a reply at `now`.
    ///
    /// Past `not_after`, or if the served clock jumped since the publication, they say "unsynchronized" without a new
    /// publication.
    //= RFC 5905 §14 dispersion
    pub fn at(&self, now: ClockReadings) -> SystemVariables {
        if now.raw > self.not_after {
            return self.lost(ReferenceId::LOST, now);
        }
        if self.is_usable() && self.clock.jumped(self.published, now) {
            return self.lost(ReferenceId::STEP, now);
        }
        SystemVariables {
            leap: self.leap,
            stratum: self.stratum,
            precision: self.precision,
            root_delay: NtpShort::from_duration(self.root_delay),
            root_dispersion: NtpShort::from_duration(self.dispersion_at(now)),
            reference_id: self.reference_id,
            reference_timestamp: self.reference_time,
        }
    }

    fn lost(&self, why: ReferenceId, now: ClockReadings) -> SystemVariables {
        Self::unsynchronized(why, self.precision, self.clock, self.published).at(now)
    }
}

/// The part of a reply that is the same for all clients at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemVariables {
    /// Leap indicator.
    pub leap: Leap,
    /// 1 to 15, or 0 with [`Leap::Unsynchronized`].
    pub stratum: u8,
    /// Precision of the host's clock, log2 seconds.
    pub precision: i8,
    /// Root delay, rounded up.
    pub root_delay: NtpShort,
    /// Root dispersion at this instant, rounded up.
    pub root_dispersion: NtpShort,
    /// Source of the time.
    pub reference_id: ReferenceId,
    /// The moment at which the served time was last checked.
    pub reference_timestamp: NtpTimestamp,
}

impl SystemVariables {
    /// Returns the variables without a usable time, for the reason that `why` names: "unsynchronized", or a kiss.
    #[must_use]
    pub fn unusable(self, why: ReferenceId) -> Self {
        Self {
            leap: Leap::Unsynchronized,
            stratum: 0,
            precision: self.precision,
            root_delay: NtpShort::from_duration(NtpDuration::ZERO),
            root_dispersion: NtpShort::from_duration(UNKNOWN_DISPERSION),
            reference_id: why,
            reference_timestamp: NtpTimestamp::ZERO,
        }
    }
}

/// The longest time for which a reference is valid without being published again.
const LIVENESS: Duration = Duration::from_secs(10);
/// The root dispersion that is announced without a usable time: 16 s (RFC 5905 §7.2, MAXDISP).
//= RFC 5905 §7.2 maxdisp
const UNKNOWN_DISPERSION: NtpDuration = NtpDuration::from_units(16 << 32);

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    fn moment(raw: Duration) -> ClockReadings {
        ClockReadings {
            realtime: NtpTimestamp::from_unix(1_700_000_000, 0) + NtpDuration::between(START, raw),
            raw,
            boot: raw + START,
        }
    }

    fn reference() -> Reference {
        Reference {
            leap: Leap::NoWarning,
            stratum: 3,
            reference_id: ReferenceId::from_bytes([192, 0, 2, 1]),
            root_delay: NtpDuration::from_seconds(0.02),
            root_dispersion: NtpDuration::from_seconds(0.001),
            growth: 15e-6,
            reference_time: NtpTimestamp::from_unix(1_700_000_000, 0),
            precision: -23,
            clock: ClockModel::Host,
            published: moment(START),
            answers: true,
            epoch: START,
            not_after: START + Duration::from_secs(100),
        }
    }

    //= RFC 5905 §7.2 tolerance
    //= RFC 5905 §14 dispersion
    #[test]
    fn dispersion_grows_by_15_ppm_and_is_rounded_up() {
        let at = |seconds| {
            reference()
                .at(moment(START + Duration::from_secs(seconds)))
                .root_dispersion
                .to_bits()
        };
        assert_eq!(at(0), 66); // 0.001 s is 65.536 units of 2^-16 s
        assert_eq!(at(100), 164); // 0.0025 s is 163.84
        let before_the_epoch = reference().at(moment(Duration::ZERO));
        assert_eq!(before_the_epoch.root_dispersion.to_bits(), 66);
    }

    //= RFC 5905 §7.2 maxdisp
    #[test]
    fn past_not_after_nothing_is_announced() {
        let last = START + Duration::from_secs(100);
        assert_eq!(reference().at(moment(last)).stratum, 3);
        let late = reference().at(moment(last + Duration::from_nanos(1)));
        assert_eq!((late.leap, late.stratum), (Leap::Unsynchronized, 0));
        assert_eq!(
            (late.reference_id, late.reference_timestamp),
            (ReferenceId::LOST, NtpTimestamp::ZERO)
        );
        assert_eq!(late.precision, -23);
        assert_eq!(late.root_dispersion.to_bits(), 16 << 16);
    }

    #[test]
    fn a_published_time_has_to_be_published_again() {
        let alive = |not_after| {
            let published = Reference {
                not_after,
                ..reference()
            };
            published.alive_at(moment(START)).not_after
        };
        assert_eq!(alive(Duration::MAX), START + Duration::from_secs(10));
        assert_eq!(alive(START), START);
    }

    #[test]
    fn a_host_clock_that_was_stepped_is_not_announced() {
        let mut now = moment(START);
        now.realtime = now.realtime + NtpDuration::from_seconds(3600.0);
        let announced = reference().at(now);
        assert_eq!(
            (announced.leap, announced.reference_id),
            (Leap::Unsynchronized, ReferenceId::STEP)
        );
        let clock = ClockModel::Tracked {
            epoch: START,
            time: now.realtime,
            rate: 0.0,
            slew: 0.0,
            slew_for: Duration::ZERO,
        };
        let tracked = Reference { clock, ..reference() };
        assert_eq!(tracked.at(now).stratum, 3);
        now.boot += Duration::from_secs(1);
        assert_eq!(tracked.at(now).reference_id, ReferenceId::STEP);
    }

    //= RFC 5905 §11.2.3 root-distance
    #[test]
    fn expiry_is_when_the_distance_passes_the_limit() {
        let limit = NtpDuration::from_seconds(0.0115); // 0.5 ms above 0.01 + 0.001 + nothing grown
        let expiry = reference().expiry(limit);
        assert!(
            (expiry.as_secs_f64() - (1000.0 + 0.0005 / 15e-6)).abs() < 1e-3,
            "{expiry:?}"
        );
        assert!(reference().root_distance_at(expiry + Duration::from_secs(1)) > limit);
        assert_eq!(
            reference().expiry(NtpDuration::from_seconds(0.001)),
            Duration::ZERO
        );
        assert_eq!(
            Reference {
                growth: 0.0,
                ..reference()
            }
            .expiry(limit),
            Duration::MAX
        );
    }
}
