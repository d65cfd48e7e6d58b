//! Pure. The smear of a leap second: a time without it, slightly slower or faster than UTC for some hours.
//!
//! Everything that shows or serves a smeared time uses these functions.

use std::fmt;

use strum::{IntoStaticStr, VariantArray};

use super::LeapEvent;
use crate::time::{NtpDuration, NtpTimestamp};
use crate::wire::ReferenceId;

/// The treatment of leap seconds at a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum LeapMode {
    /// They are announced and made, as in UTC.
    #[default]
    Utc,
    /// They are smeared, and never announced.
    Smear,
}

/// The shape of a smear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum SmearKind {
    /// The rate is the same all the time.
    #[default]
    Linear,
    /// The rate changes slowly, as half a wave of a cosine; in the middle it is 1.57 times as large as that of a line.
    Cosine,
}

/// The place of a smear relative to the midnight of the leap second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum SmearWindow {
    /// Half of it before, half after.
    #[default]
    Around,
    /// All of it after midnight.
    After,
    /// All of it before midnight.
    Before,
}

/// The mark of smeared time in replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Mark {
    /// None.
    #[default]
    None,
    /// The reference ID 254.a.b.c, as ntpd has it: the offset from UTC in seconds, with 2 bits before the point.
    ReferenceId,
}

/// The settings of a smear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Smear {
    /// Its shape.
    pub kind: SmearKind,
    /// Its length in hours of the smeared time: 1 to 48. An inserted second makes it 1 s longer, a deleted one shorter.
    pub hours: u8,
    /// Its place.
    pub window: SmearWindow,
    /// Its mark.
    pub mark: Mark,
}

impl Default for Smear {
    /// The smear of the large providers: linear, from noon to noon (UTC).
    fn default() -> Self {
        Self {
            kind: SmearKind::default(),
            hours: 24,
            window: SmearWindow::default(),
            mark: Mark::default(),
        }
    }
}

/// As in `smear, linear over 24 h around midnight`.
impl fmt::Display for Smear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, window): (&str, &str) = (self.kind.into(), self.window.into());
        write!(f, "smear, {kind} over {} h {window} midnight", self.hours)?;
        match self.mark {
            Mark::None => Ok(()),
            Mark::ReferenceId => f.write_str(", marked by the reference ID"),
        }
    }
}

impl Smear {
    /// Returns the counts at which it begins and ends.
    pub fn bounds(&self, event: &LeapEvent) -> (NtpTimestamp, NtpTimestamp) {
        let length = NtpDuration::from_units((i64::from(self.hours) * 3600) << 32);
        let before = match self.window {
            SmearWindow::Around => length.half(),
            SmearWindow::After => NtpDuration::ZERO,
            SmearWindow::Before => length,
        };
        let begin = event.midnight() - before;
        (begin, begin + length - event.kind.shift())
    }

    /// Returns whether it is in progress at `count`.
    pub fn is_running(&self, event: &LeapEvent, count: NtpTimestamp) -> bool {
        let (begin, end) = self.bounds(event);
        count - begin > NtpDuration::ZERO && end - count > NtpDuration::ZERO
    }

    /// Returns the offset of the smeared time from the count: from 0 to the whole shift, without a jump.
    ///
    /// It is rounded to 2^-32 s. The smeared time never goes back: the offset changes by less than the count.
    pub fn offset(&self, event: &LeapEvent, count: NtpTimestamp) -> NtpDuration {
        let (begin, end) = self.bounds(event);
        let (passed, shift) = (count - begin, event.kind.shift());
        if passed <= NtpDuration::ZERO {
            return NtpDuration::ZERO;
        }
        if end - count <= NtpDuration::ZERO {
            return shift;
        }
        // Both are below 2^50 units, which an f64 holds exactly.
        let part = passed.to_seconds() / (end - begin).to_seconds();
        let done = match self.kind {
            SmearKind::Linear => part,
            SmearKind::Cosine => (1.0 - (std::f64::consts::PI * part).cos()) / 2.0,
        };
        NtpDuration::from_seconds(shift.to_seconds() * done)
    }

    /// Returns the offset of the smeared time from UTC at `count`.
    pub fn offset_from_utc(&self, event: &LeapEvent, count: NtpTimestamp) -> NtpDuration {
        count + self.offset(event, count) - event.utc(count)
    }
}

/// The smeared time as a function of the served UTC, around one leap second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmearedTime {
    /// The settings.
    pub smear: Smear,
    /// The leap second.
    pub event: LeapEvent,
    /// Whether the UTC that is served has the leap second behind it.
    pub leapt: bool,
}

impl SmearedTime {
    /// Returns the smeared time where UTC is served as `utc`.
    pub fn of(&self, utc: NtpTimestamp) -> NtpTimestamp {
        let count = self.event.count(utc, self.leapt);
        count + self.smear.offset(&self.event, count)
    }

    /// Returns the reference ID that marks it where UTC is served as `utc`; `None` outside the smear, or without a mark.
    pub fn mark(&self, utc: NtpTimestamp) -> Option<ReferenceId> {
        let count = self.event.count(utc, self.leapt);
        let marked = self.smear.mark == Mark::ReferenceId && self.smear.is_running(&self.event, count);
        marked.then(|| reference_id(self.smear.offset_from_utc(&self.event, count)))
    }
}

/// Returns the reference ID of an offset: 254, then 24 bits in two's complement, of which 22 are behind the point.
fn reference_id(offset: NtpDuration) -> ReferenceId {
    let [.., a, b, c] = (offset.to_units() >> 10).to_be_bytes();
    ReferenceId::from_bytes([254, a, b, c])
}

#[cfg(test)]
mod tests;
