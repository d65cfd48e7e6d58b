//! Pure. The 64-bit timestamp, and the difference between two of them (RFC 5905 §6).

use std::ops::{Add, AddAssign, Neg, Sub};
use std::time::Duration;

/// Seconds from the NTP prime epoch (1900) to the Unix epoch (1970): RFC 5905 §6, figure 4.
const UNIX_EPOCH_IN_NTP: i64 = 2_208_988_800;
const NANOS_PER_SECOND: u64 = 1_000_000_000;
const UNITS_PER_SECOND: f64 = 4_294_967_296.0;

/// A point in time: 32 bits of seconds since 1900 and 32 bits of fraction, wrapping every 136 years.
///
/// It contains no era: after 2036-02-07 06:28:15 UTC it starts again at zero. Differences are right
/// if the two points are less than 68 years apart (RFC 5905 §6). Zero means "unknown".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NtpTimestamp(u64);

impl NtpTimestamp {
    /// The value that means "unknown or not synchronized" (RFC 5905 §6).
    pub const ZERO: Self = Self(0);

    /// Reads the 64 bits of the wire format.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the 64 bits of the wire format.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// Converts the kernel's time: seconds since 1970 and nanoseconds of that second (0..1e9).
    ///
    /// More nanoseconds than that are taken for 999,999,999.
    #[expect(
        clippy::cast_sign_loss,
        reason = "the era is dropped on purpose: seconds wrap modulo 2^32"
    )]
    //= RFC 5905 §6 epoch
    //= RFC 5905 §6 random-bits
    pub fn from_unix(seconds: i64, nanos: u32) -> Self {
        let seconds = (seconds.wrapping_add(UNIX_EPOCH_IN_NTP) as u64) << 32;
        let nanos = u64::from(nanos).min(NANOS_PER_SECOND - 1);
        Self(seconds | ((nanos << 32) / NANOS_PER_SECOND))
    }

    /// Returns whole seconds since 1970, in the era that brings it within 68 years of `pivot` (seconds since 1970).
    #[expect(
        clippy::cast_possible_wrap,
        reason = "two's complement gives the signed distance from the pivot"
    )]
    //= RFC 5905 §6 era
    pub fn to_unix_near(self, pivot: i64) -> i64 {
        let at_pivot = Self::from_unix(pivot, 0);
        let distance = (self.0 >> 32).wrapping_sub(at_pivot.0 >> 32) as u32 as i32;
        pivot.saturating_add(i64::from(distance))
    }

    /// Returns whether this is the "unknown" value.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Returns this instant as the wire can carry it: zero, which means "unknown" there, becomes the next one (233 ps).
    #[must_use]
    //= RFC 5905 §6 zero
    pub const fn nonzero(self) -> Self {
        if self.is_zero() { Self(1) } else { self }
    }

    /// Returns the earlier one of `self` and `latest`, except that zero ("unknown") stays zero.
    #[must_use]
    pub fn at_most(self, latest: Self) -> Self {
        if !self.is_zero() && self.is_after(latest) {
            latest
        } else {
            self
        }
    }

    /// Returns whether `self` is later than `other`, for instants less than 68 years apart.
    ///
    /// Zero is taken for an instant, too: check fields of a received header with [`Self::is_zero`] first.
    pub fn is_after(self, other: Self) -> bool {
        self - other > NtpDuration::ZERO
    }
}

impl Sub for NtpTimestamp {
    type Output = NtpDuration;

    #[expect(
        clippy::cast_possible_wrap,
        reason = "two's complement gives the signed distance over an era's end"
    )]
    //= RFC 5905 §6 subtraction
    fn sub(self, earlier: Self) -> NtpDuration {
        NtpDuration(self.0.wrapping_sub(earlier.0) as i64)
    }
}

impl Add<NtpDuration> for NtpTimestamp {
    type Output = Self;

    fn add(self, by: NtpDuration) -> Self {
        Self(self.0.wrapping_add_signed(by.0))
    }
}

impl Sub<NtpDuration> for NtpTimestamp {
    type Output = Self;

    fn sub(self, by: NtpDuration) -> Self {
        Self(self.0.wrapping_sub(by.0.cast_unsigned()))
    }
}

/// A signed length of time in units of 2^-32 s (233 ps), up to ±68 years. Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NtpDuration(i64);

impl NtpDuration {
    /// Zero.
    pub const ZERO: Self = Self(0);
    /// The largest value, 68 years.
    pub const MAX: Self = Self(i64::MAX);
    /// A second.
    pub const SECOND: Self = Self(1 << 32);

    /// Creates a duration from units of 2^-32 s.
    pub const fn from_units(units: i64) -> Self {
        Self(units)
    }

    /// Returns the duration in units of 2^-32 s.
    pub const fn to_units(self) -> i64 {
        self.0
    }

    /// Creates a duration from seconds; values out of range saturate, and NaN is zero.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float to integer cast saturates, as documented"
    )]
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * UNITS_PER_SECOND) as i64)
    }

    /// Returns the duration in seconds, rounded to an `f64` (better than 1 ns below 97 days).
    #[expect(clippy::cast_precision_loss, reason = "documented")]
    pub fn to_seconds(self) -> f64 {
        self.0 as f64 / UNITS_PER_SECOND
    }

    /// Creates a duration from nanoseconds, saturating.
    pub fn from_nanos(nanos: i64) -> Self {
        let units = (i128::from(nanos) << 32) / i128::from(NANOS_PER_SECOND);
        Self(saturate(units))
    }

    /// Converts an unsigned duration: exact to the nanosecond, at most 68 years.
    pub fn from_std(length: Duration) -> Self {
        let whole = i64::try_from(length.as_secs())
            .unwrap_or(i64::MAX)
            .min(i64::from(i32::MAX));
        Self(whole << 32) + Self::from_nanos(i64::from(length.subsec_nanos()))
    }

    /// Returns it as an unsigned duration, to the nanosecond; `None` if it is negative.
    pub fn to_std(self) -> Option<Duration> {
        let units = u64::try_from(self.0).ok()?;
        let nanos = ((units & 0xFFFF_FFFF) * NANOS_PER_SECOND) >> 32;
        Some(Duration::new(units >> 32, u32::try_from(nanos).unwrap_or(0)))
    }

    /// Returns `later - earlier` of two readings of one counter; it may be negative.
    pub fn between(earlier: Duration, later: Duration) -> Self {
        if later >= earlier {
            Self::from_std(later - earlier)
        } else {
            -Self::from_std(earlier - later)
        }
    }

    /// Returns 2 to the power of `exponent` seconds, the form of the fields precision and poll (RFC 5905 §7.3).
    ///
    /// Below -32 it is the smallest unit, above 30 [`Self::MAX`].
    //= RFC 5905 §6 exponents
    pub fn from_log2(exponent: i8) -> Self {
        match exponent {
            ..=-32 => Self(1),
            -31..=30 => Self(1 << (i16::from(exponent) + 32)),
            31.. => Self::MAX,
        }
    }

    /// Returns the error that a frequency error of `ppm` millionths causes in this time, rounded up; never negative.
    pub fn drift(self, ppm: u32) -> Self {
        let units = i128::from(self.0.max(0)) * i128::from(ppm);
        Self(saturate((units + 999_999) / 1_000_000))
    }

    /// Returns the absolute value, saturating.
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }

    /// Returns half of it, rounded towards zero.
    pub const fn half(self) -> Self {
        Self(self.0 / 2)
    }
}

impl Add for NtpDuration {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for NtpDuration {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for NtpDuration {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for NtpDuration {
    type Output = Self;

    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to the range first")]
fn saturate(units: i128) -> i64 {
    units.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    //= RFC 5905 §6 epoch
    #[test]
    fn known_points_in_time() {
        // RFC 5905 §6, figure 4: Unix epoch, first day of UTC, last second of era 0, first of era 1.
        for (unix, ntp) in [
            (0, 2_208_988_800_u64),
            (63_072_000, 2_272_060_800),
            (2_085_978_495, 4_294_967_295),
            (2_085_978_496, 0),
            (-2_208_988_800, 0),
        ] {
            assert_eq!(NtpTimestamp::from_unix(unix, 0).to_bits(), ntp << 32, "{unix}");
        }
        assert_eq!(
            NtpTimestamp::from_unix(0, 500_000_000).to_bits() & 0xFFFF_FFFF,
            1 << 31
        );
        assert!(NtpTimestamp::from_unix(5, u32::MAX) - NtpTimestamp::from_unix(6, 0) < NtpDuration::ZERO);
    }

    //= RFC 5905 §6 era
    #[test]
    fn the_era_is_the_one_near_the_pivot() {
        for (unix, pivot) in [
            (0, 0),
            (2_085_978_496, 1_767_225_600),
            (2_085_978_495, 1_767_225_600),
            (4_000_000_000, 3_000_000_000),
            (-5, 1000),
        ] {
            assert_eq!(NtpTimestamp::from_unix(unix, 999).to_unix_near(pivot), unix);
        }
    }

    //= RFC 5905 §6 subtraction
    #[test]
    fn a_difference_crosses_the_end_of_the_era() {
        let before = NtpTimestamp::from_unix(2_085_978_495, 750_000_000);
        let after = NtpTimestamp::from_unix(2_085_978_496, 250_000_000);
        assert_eq!(after - before, NtpDuration::from_seconds(0.5));
        assert_eq!(before - after, NtpDuration::from_seconds(-0.5));
        assert!(after.is_after(before) && !before.is_after(after) && !before.is_after(before));
        assert_eq!(before + (after - before), after);
        assert_eq!(after - (after - before), before);
    }

    //= RFC 5905 §6 zero
    #[test]
    fn zero_is_unknown_and_no_instant() {
        let end = NtpTimestamp::from_unix(2_085_978_496, 0);
        let [before, after] = [-1, 1].map(|by| end + NtpDuration::from_units(by));
        assert_eq!(
            (end.nonzero(), before.nonzero(), after.nonzero()),
            (after, before, after)
        );
        for latest in [before, after, NtpTimestamp::from_unix(1_767_225_600, 0)] {
            assert_eq!(NtpTimestamp::ZERO.at_most(latest), NtpTimestamp::ZERO);
        }
        assert_eq!((after.at_most(before), before.at_most(after)), (before, before));
    }

    //= RFC 5905 §6 exponents
    #[test]
    fn powers_of_two() {
        for (exponent, seconds) in [(0, 1.0), (-1, 0.5), (10, 1024.0), (-20, 1.0 / 1_048_576.0)] {
            assert_eq!(NtpDuration::from_log2(exponent).to_seconds(), seconds);
        }
        for exponent in i8::MIN..=i8::MAX {
            assert!(NtpDuration::from_log2(exponent) > NtpDuration::ZERO);
        }
    }

    #[test]
    fn drift_is_rounded_up_and_never_negative() {
        assert_eq!(NtpDuration::from_units(1).drift(15).to_units(), 1);
        assert_eq!(NtpDuration::from_seconds(1e6).drift(15).to_seconds(), 15.0);
        assert_eq!(NtpDuration::from_seconds(-5.0).drift(15), NtpDuration::ZERO);
        assert_eq!(NtpDuration::MAX.drift(u32::MAX), NtpDuration::MAX);
    }

    #[test]
    fn floats_saturate() {
        assert_eq!(NtpDuration::from_seconds(f64::INFINITY), NtpDuration::MAX);
        assert_eq!(NtpDuration::from_seconds(f64::NAN), NtpDuration::ZERO);
    }

    proptest! {
        #[test]
        fn lengths_are_exact_to_the_nanosecond(nanos in 0_u64..2_000_000_000_000_000_000) {
            let time = Duration::from_nanos(nanos);
            let seconds = NtpDuration::from_std(time).to_units() >> 32;
            prop_assert_eq!(u64::try_from(seconds).unwrap(), time.as_secs());
        }

        //= RFC 5905 §6 subtraction
        #[test]
        fn add_and_subtract_are_inverse(point: u64, by: i64) {
            let point = NtpTimestamp::from_bits(point);
            let by = NtpDuration::from_units(by);
            prop_assert_eq!((point + by) - point, by);
            prop_assert_eq!((point + by) - by, point);
        }

        #[test]
        fn unix_time_keeps_its_order(seconds in -1_000_000_000_000_i64..1_000_000_000_000, nanos in 0_u32..1_000_000_000, later in 0_u32..2_000_000_000) {
            let start = NtpTimestamp::from_unix(seconds, nanos);
            let end = NtpTimestamp::from_unix(seconds + i64::from(later), nanos);
            prop_assert_eq!(end - start, NtpDuration::from_units(i64::from(later) << 32));
        }

        #[test]
        fn nanoseconds_survive(nanos in -4_000_000_000_000_000_i64..4_000_000_000_000_000) {
            let back = NtpDuration::from_nanos(nanos).to_seconds() * 1e9;
            #[expect(clippy::cast_precision_loss)]
            let wanted = nanos as f64;
            prop_assert!((back - wanted).abs() <= 1.0 + wanted.abs() * 1e-15);
        }
    }
}
