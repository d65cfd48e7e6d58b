//! Pure. The announced time as bytes: a process leaves it to its successor, so that a restart makes no gap.
//!
//! It is valid only within the same boot of the same host, where the raw counter continues. A program that can write
//! there could have any time served, so all of it is checked before it is used (`admissible`).

mod admissible;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ClockModel, Reference};
use crate::time::{ClockReadings, NtpDuration, NtpTimestamp};
use crate::wire::{Leap, ReferenceId};

pub use admissible::{UNWATCHED, admissible};

/// The first words: the format and its version.
const HEAD: &str = "ntpfront reference 2";
/// Maximum length in bytes: more than any version writes.
pub const LONGEST: usize = 4096;

/// The reason why a predecessor's reference is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandoverRefusal {
    /// Begins with other words than this version's, or is longer than [`LONGEST`].
    Unknown,
    /// Its checksum does not match: it was not written completely, or changed.
    Torn,
    /// Can't be read as a reference.
    Unreadable,
    /// From another boot of this host, or from another host.
    OtherBoot,
    /// Older than [`UNWATCHED`], in which the clocks were not watched, or from the future.
    Unwatched,
    /// The host's clocks did not advance alike since: the host slept, or one was stepped.
    Jumped,
    /// The named part has a value that ntpfront never announces.
    OutOfRange(&'static str),
}

impl fmt::Display for HandoverRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => write!(f, "it is not of this version of ntpfront"),
            Self::Torn => write!(f, "its checksum is wrong"),
            Self::Unreadable => write!(f, "it can't be read"),
            Self::OtherBoot => write!(f, "it is of another boot of the host"),
            Self::Unwatched => {
                let limit = UNWATCHED.as_secs();
                write!(f, "it was not written within the last {limit} s")
            }
            Self::Jumped => write!(f, "the host slept or its clock was stepped since it was written"),
            Self::OutOfRange(what) => write!(f, "its {what} is not one that ntpfront announces"),
        }
    }
}

/// A [`Reference`] in plain numbers, without rounding: durations in units of 2^-32 s, fractions by their bits.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    /// Identity of the host's boot, if it has one.
    boot: Option<String>,
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

/// Returns `reference` as bytes; none if it announces no usable time.
///
/// `boot` is the identity of this boot, if the host has one.
pub fn write(reference: &Reference, boot: Option<&str>) -> Vec<u8> {
    if !reference.is_usable() {
        return Vec::new();
    }
    let plain = Plain {
        boot: boot.map(str::to_owned),
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
    serde_json::to_string(&plain).map_or_else(|_| Vec::new(), |content| sealed(&content))
}

/// Prepends the first words and the checksum to `content`.
fn sealed(content: &str) -> Vec<u8> {
    format!("{HEAD} {:016x}\n{content}", checksum(content.as_bytes())).into_bytes()
}

/// Returns the content after the first words, if its checksum is right.
fn unsealed(bytes: &[u8]) -> Result<&[u8], HandoverRefusal> {
    if bytes.len() > LONGEST {
        return Err(HandoverRefusal::Unknown);
    }
    let rest = bytes
        .strip_prefix(HEAD.as_bytes())
        .ok_or(HandoverRefusal::Unknown)?;
    let (sum, content) = rest.split_at_checked(18).ok_or(HandoverRefusal::Torn)?;
    if sum == format!(" {:016x}\n", checksum(content)).as_bytes() {
        Ok(content)
    } else {
        Err(HandoverRefusal::Torn)
    }
}

/// Returns the FNV-1a hash of 64 bits. It finds accidents, and is no protection against a program that can write there.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    })
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

/// Reads a predecessor's reference and checks it by the host's clocks `now` and the identity of this `boot`.
///
/// Returns `None` for no bytes: the predecessor announced no usable time.
///
/// # Errors
/// Why it is not used. One wrong part makes all of it unusable.
pub fn read(
    bytes: &[u8],
    now: ClockReadings,
    boot: Option<&str>,
) -> Result<Option<Reference>, HandoverRefusal> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let plain: Plain = serde_json::from_slice(unsealed(bytes)?).map_err(|_| HandoverRefusal::Unreadable)?;
    let theirs = plain.boot.as_deref();
    if theirs.zip(boot).is_some_and(|(theirs, ours)| theirs != ours) {
        return Err(HandoverRefusal::OtherBoot);
    }
    // More bits than there are would be cut.
    if plain.leap > Leap::DeleteSecond.to_bits() {
        return Err(HandoverRefusal::OutOfRange("leap indicator"));
    }
    admissible(plain.into(), now).map(Some)
}

impl From<Plain> for Reference {
    fn from(plain: Plain) -> Self {
        let (realtime, raw, boot) = plain.published;
        Self {
            leap: Leap::from_bits(plain.leap),
            stratum: plain.stratum,
            reference_id: ReferenceId::from_bytes(plain.reference_id),
            root_delay: NtpDuration::from_units(plain.root_delay),
            root_dispersion: NtpDuration::from_units(plain.root_dispersion),
            growth: f64::from_bits(plain.growth),
            reference_time: NtpTimestamp::from_bits(plain.reference_time),
            precision: plain.precision,
            clock: plain.tracked.map_or(ClockModel::Host, ClockModel::from),
            published: ClockReadings {
                realtime: NtpTimestamp::from_bits(realtime),
                raw,
                boot,
            },
            answers: plain.answers,
            epoch: plain.epoch,
            not_after: plain.not_after,
        }
    }
}

impl From<Tracked> for ClockModel {
    fn from(tracked: Tracked) -> Self {
        Self::Tracked {
            epoch: tracked.epoch,
            time: NtpTimestamp::from_bits(tracked.time),
            rate: f64::from_bits(tracked.rate),
            slew: f64::from_bits(tracked.slew),
            slew_for: tracked.slew_for,
        }
    }
}

#[cfg(test)]
mod tests;
