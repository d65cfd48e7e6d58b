//! Pure. The check whether ntpfront could have announced a reference on this host within the last seconds.
//!
//! Whether it is true can't be checked: a tracked clock may differ from the host's by any amount. So any reference
//! within these ranges is used, until enough upstreams have answered.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::HandoverRefusal;
use crate::clock::{ClockModel, Reference};
use crate::time::{ClockReadings, NtpDuration};
use crate::wire::{MAX_STRATUM, ReferenceId};

/// Maximum age of a predecessor's reference: 5 s. A restart takes less than a second.
pub const UNWATCHED: Duration = Duration::from_secs(5);
/// Least growth of the error of the host's clock: the tolerance of a clock that is not measured (RFC 5905 §7.2, PHI).
const LEAST_GROWTH_HOST: f64 = 15e-6;
/// Least growth of the error of a tracked clock, whatever is known of the upstreams' frequencies.
const LEAST_GROWTH_TRACKED: f64 = 1e-6;
/// Largest growth of an error: one second per second.
const MOST_GROWTH: f64 = 1.0;
/// Largest rate of a tracked clock, which is that of its upstreams: 1 %.
const MOST_RATE: f64 = 0.01;
/// Largest rate, length and size of a slew; a larger correction is stepped.
const MOST_SLEW: f64 = 500.1e-6;
const LONGEST_SLEW: Duration = Duration::from_secs(257);
const MOST_SLEWED: NtpDuration = NtpDuration::from_units((1 << 32) / 1000 * 129);
/// Largest root distance of an announced time: 16 s (RFC 5905 §7.2, MAXDISP).
const MOST_DISTANCE: NtpDuration = NtpDuration::from_units(16 << 32);
/// Possible precisions of a clock, log2 seconds.
const PRECISION: RangeInclusive<i8> = -32..=0;
/// Most by which the reference time may be in the future: the served time goes back over a leap second.
const REFERENCE_GRACE: NtpDuration = NtpDuration::from_units(2 << 32);

/// Returns `left` if a predecessor can have announced all of it at most [`UNWATCHED`] before `now`.
///
/// # Errors
/// The first part that it can't have announced.
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

/// Checks that it was written at most [`UNWATCHED`] ago, and that the host's clocks advanced alike since then.
fn watched(left: &Reference, now: ClockReadings) -> Result<(), HandoverRefusal> {
    let unwatched = now.raw.checked_sub(left.published.raw);
    if unwatched.is_none_or(|unwatched| unwatched > UNWATCHED) {
        return Err(HandoverRefusal::Unwatched);
    }
    // A tracked clock does not depend on the time of day, but its offset from the time since boot distinguishes boots.
    if now.ran_alike_since(left.published) {
        Ok(())
    } else {
        Err(HandoverRefusal::Jumped)
    }
}

/// Checks the fields that replies carry unchanged.
fn header(left: &Reference) -> Result<(), HandoverRefusal> {
    hold(left.is_usable() && left.answers, "leap indicator")?;
    hold((1..MAX_STRATUM).contains(&left.stratum), "stratum")?;
    hold(PRECISION.contains(&left.precision), "precision")
}

/// Checks a local reference: the error is what the operator configured, without growth and end.
fn local(left: &Reference) -> Result<(), HandoverRefusal> {
    let is_local = left.reference_id == ReferenceId::LOCAL && left.root_delay == NtpDuration::ZERO;
    hold(is_local, "end")?;
    hold(left.growth == 0.0, "growth")
}

/// Checks that the error grows, and that the time ends when its error is too large, at the latest.
fn growing(left: &Reference, least: f64) -> Result<(), HandoverRefusal> {
    hold((least..=MOST_GROWTH).contains(&left.growth), "growth")?;
    hold(left.not_after <= left.expiry(MOST_DISTANCE), "end")
}

/// Checks the announced errors and their epoch.
fn errors(left: &Reference, now: ClockReadings) -> Result<(), HandoverRefusal> {
    hold(left.root_delay >= NtpDuration::ZERO, "root delay")?;
    hold(left.root_dispersion >= NtpDuration::ZERO, "root dispersion")?;
    hold(left.epoch <= left.published.raw, "epoch")?;
    hold(left.not_after >= now.raw, "end")?;
    hold(left.root_distance_at(now.raw) <= MOST_DISTANCE, "root distance")
}

/// Checks a tracked clock: ntpfront is a client of an upstream then, so delays and errors are not below its precision.
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
