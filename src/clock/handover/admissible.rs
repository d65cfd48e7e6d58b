//! Pure. Whether a reference is one that ntpfront could have announced a moment ago, on this host.
//!
//! What can't be known is whether it is true: a tracked clock may differ from the host's by any amount, so a predecessor
//! that lies within these ranges is believed, until enough upstreams have answered.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::HandoverRefusal;
use crate::clock::{ClockModel, Reference};
use crate::time::{ClockReadings, NtpDuration};
use crate::wire::{MAX_STRATUM, ReferenceId};

/// A restart takes less than a second: a reference that nobody renewed for longer is not a predecessor's.
pub const UNWATCHED: Duration = Duration::from_secs(5);
/// A host's clock that nobody watches is not known any better (RFC 5905 §7.2, PHI).
const LEAST_GROWTH_HOST: f64 = 15e-6;
/// Nor is a tracked one, whatever its upstreams say of their frequencies.
const LEAST_GROWTH_TRACKED: f64 = 1e-6;
/// As fast as time itself.
const MOST_GROWTH: f64 = 1.0;
/// A clock that follows upstreams runs at their pace, whatever that is; faster than 1 % none is followed.
const MOST_RATE: f64 = 0.01;
/// Nobody is slewed faster, for longer, or by more in all: what is further off is stepped.
const MOST_SLEW: f64 = 500.1e-6;
const LONGEST_SLEW: Duration = Duration::from_secs(257);
const MOST_SLEWED: NtpDuration = NtpDuration::from_units((1 << 32) / 1000 * 129);
/// No time is announced that may be wrong by more (RFC 5905 §7.2, MAXDISP).
const MOST_DISTANCE: NtpDuration = NtpDuration::from_units(16 << 32);
/// Readings of a clock take some time: log2 seconds.
const PRECISION: RangeInclusive<i8> = -32..=0;
/// Over a leap second the served time goes back.
const REFERENCE_GRACE: NtpDuration = NtpDuration::from_units(2 << 32);

/// `left`, if all of it can be what a predecessor announced at most [`UNWATCHED`] before `now`.
///
/// # Errors
/// The first thing that can't be.
pub fn admissible(left: Reference, now: ClockReadings) -> Result<Reference, HandoverRefusal> {
    watched(&left, now)?;
    header(&left)?;
    let kind = match left.clock {
        ClockModel::Host if left.not_after == Duration::MAX => local(&left),
        ClockModel::Host => growing(&left, LEAST_GROWTH_HOST),
        ClockModel::Tracked { .. } => tracked(&left).and_then(|()| growing(&left, LEAST_GROWTH_TRACKED)),
    };
    kind?;
    errors(&left, now)?;
    let ahead = left.reference_time - left.clock.served(now);
    hold(
        left.reference_time.is_zero() || ahead <= REFERENCE_GRACE,
        "reference time",
    )?;
    Ok(left)
}

fn hold(good: bool, what: &'static str) -> Result<(), HandoverRefusal> {
    if good {
        Ok(())
    } else {
        Err(HandoverRefusal::OutOfRange(what))
    }
}

/// Was it written on this host a moment ago, and did all its clocks run alike since?
fn watched(left: &Reference, now: ClockReadings) -> Result<(), HandoverRefusal> {
    let unwatched = now.raw.checked_sub(left.published.raw);
    if unwatched.is_none_or(|unwatched| unwatched > UNWATCHED) {
        return Err(HandoverRefusal::Unwatched);
    }
    // A tracked clock does not care for the time of day, but its distance from the time since boot tells boots apart.
    if now.ran_alike_since(left.published) {
        Ok(())
    } else {
        Err(HandoverRefusal::Jumped)
    }
}

/// What replies say as it is.
fn header(left: &Reference) -> Result<(), HandoverRefusal> {
    hold(left.is_usable() && left.answers, "leap indicator")?;
    hold((1..MAX_STRATUM).contains(&left.stratum), "stratum")?;
    hold(PRECISION.contains(&left.precision), "precision")
}

/// The host's clock as a reference of its own: as wrong as the operator says, for ever.
fn local(left: &Reference) -> Result<(), HandoverRefusal> {
    let is_local = left.reference_id == ReferenceId::LOCAL && left.root_delay == NtpDuration::ZERO;
    hold(is_local, "end")?;
    hold(left.growth == 0.0, "growth")
}

/// A time that ends when its error is too large: not later than that, and the error grows.
fn growing(left: &Reference, least: f64) -> Result<(), HandoverRefusal> {
    hold((least..=MOST_GROWTH).contains(&left.growth), "growth")?;
    hold(left.not_after <= left.expiry(MOST_DISTANCE), "end")
}

/// How wrong it is said to be, from the moment when that was said.
fn errors(left: &Reference, now: ClockReadings) -> Result<(), HandoverRefusal> {
    hold(left.root_delay >= NtpDuration::ZERO, "root delay")?;
    hold(left.root_dispersion >= NtpDuration::ZERO, "root dispersion")?;
    hold(left.epoch <= left.published.raw, "epoch")?;
    hold(left.not_after >= now.raw, "end")?;
    hold(left.root_distance_at(now.raw) <= MOST_DISTANCE, "root distance")
}

/// A clock of our own: we are somebody's client then, and both ways were measured with clocks that are not exact.
fn tracked(left: &Reference) -> Result<(), HandoverRefusal> {
    let ClockModel::Tracked {
        epoch,
        rate,
        slew,
        slew_for,
        ..
    } = left.clock
    else {
        return Ok(());
    };
    let least = NtpDuration::from_log2(left.precision);
    hold(left.stratum > 1, "stratum")?;
    hold(left.root_delay >= least, "root delay")?;
    hold(left.root_dispersion >= least, "root dispersion")?;
    hold(!left.reference_time.is_zero(), "reference time")?;
    hold(epoch <= left.published.raw, "clock's epoch")?;
    hold(rate.abs() <= MOST_RATE, "clock's rate")?;
    let slewed = left.clock.to_slew().abs();
    let is_slew = slew.abs() <= MOST_SLEW && slew_for <= LONGEST_SLEW && slewed <= MOST_SLEWED;
    hold(is_slew, "clock's slew")
}
