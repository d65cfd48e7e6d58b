//! Pure. Leap seconds: the list of them, the warning before one, and the smear of one.

pub mod calendar;
mod smear;
mod table;

pub use smear::{LeapMode, Mark, Smear, SmearKind, SmearWindow, SmearedTime};
pub use table::{LeapTable, shift, until, warning};

use strum::IntoStaticStr;

use crate::time::{NtpDuration, NtpTimestamp};
use crate::wire::Leap;

const DAY: i64 = 86_400;
/// Timestamps are in the NTP era that is near 2026: right from 1958 to 2094.
const PIVOT: i64 = 1_767_225_600;
/// The time before and after a leap second in which it matters: the longest smear is 48 h, and an hour more.
const NEAR: NtpDuration = NtpDuration::from_units((49 * 3600) << 32);

/// The seconds before the end of the list from which a newer one is called for: 28 days.
pub const LEAP_LIST_WARNS: i64 = 28 * DAY;

/// The two kinds of leap seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum LeapKind {
    /// A second is inserted: 23:59:60.
    Insert,
    /// A second is deleted: 23:59:59.
    Delete,
}

impl LeapKind {
    /// Returns the leap indicator that warns of it.
    pub const fn warning(self) -> Leap {
        match self {
            Self::Insert => Leap::AddSecond,
            Self::Delete => Leap::DeleteSecond,
        }
    }

    /// Returns the shift of UTC by it.
    pub const fn shift(self) -> NtpDuration {
        match self {
            Self::Insert => NtpDuration::from_units(-(1 << 32)),
            Self::Delete => NtpDuration::SECOND,
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A leap second.
///
/// The *count* of seconds goes on across it: it is UTC as if there were no leap second. After an inserted second UTC is
/// the count less 1 s, after a deleted one the count and 1 s more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeapEvent {
    /// The first second of the day after it, in seconds since 1970.
    pub midnight: i64,
    /// Its kind.
    pub kind: LeapKind,
}

impl LeapEvent {
    /// Returns the first second of the day after it.
    pub fn midnight(&self) -> NtpTimestamp {
        NtpTimestamp::from_unix(self.midnight, 0)
    }

    /// Returns the count at which UTC is shifted: the start of the inserted second, or of the deleted one.
    pub fn happens_at(&self) -> NtpTimestamp {
        match self.kind {
            LeapKind::Insert => self.midnight(),
            LeapKind::Delete => self.midnight() - NtpDuration::SECOND,
        }
    }

    /// Returns the count at the time `utc`, which has the leap second behind it if it has `leapt`.
    pub fn count(&self, utc: NtpTimestamp, leapt: bool) -> NtpTimestamp {
        if leapt { utc - self.kind.shift() } else { utc }
    }

    /// Returns UTC at `count`. An inserted second has the numbers of the second before it, as in NTP.
    pub fn utc(&self, count: NtpTimestamp) -> NtpTimestamp {
        if self.has_happened(count) {
            count + self.kind.shift()
        } else {
            count
        }
    }

    /// Returns whether UTC was shifted at `count`.
    pub fn has_happened(&self, count: NtpTimestamp) -> bool {
        count - self.happens_at() >= NtpDuration::ZERO
    }

    /// Returns whether it is at most two days before or after `time`.
    pub fn is_near(&self, time: NtpTimestamp) -> bool {
        // Timestamps have no era: an event half an era away must not seem near.
        let unix = time.to_unix_near(PIVOT);
        (unix - self.midnight).abs() <= 3 * DAY && (time - self.midnight()).abs() <= NEAR
    }
}
