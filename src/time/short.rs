//! Pure. The 32-bit short format, 16.16 seconds, of root delay and root dispersion (RFC 5905 §6).

use super::NtpDuration;

/// An unsigned length of time in units of 2^-16 s (15 µs), up to 18 hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
//= RFC 5905 §6 short
pub struct NtpShort(u32);

impl NtpShort {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// Reads the 32 bits of the wire format.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Returns the 32 bits of the wire format.
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// Converts a duration, **rounded up**, since an error bound must never shrink.
    ///
    /// A negative duration becomes zero; one that is too long becomes the largest value.
    pub fn from_duration(duration: NtpDuration) -> Self {
        let units = duration.to_units().max(0).saturating_add(0xFFFF) >> 16;
        Self(u32::try_from(units).unwrap_or(u32::MAX))
    }

    /// Returns it as a duration, exactly.
    pub fn to_duration(self) -> NtpDuration {
        NtpDuration::from_units(i64::from(self.0) << 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    //= RFC 5905 §6 short
    #[test]
    fn rounds_up_and_saturates() {
        for (units, bits) in [
            (0, 0),
            (1, 1),
            (0x1_0000, 1),
            (0x1_0001, 2),
            (-1, 0),
            (i64::MIN, 0),
            (i64::MAX, u32::MAX),
        ] {
            assert_eq!(
                NtpShort::from_duration(NtpDuration::from_units(units)).to_bits(),
                bits,
                "{units}"
            );
        }
    }

    proptest! {
        //= RFC 5905 §6 short
        #[test]
        fn every_value_survives(bits: u32) {
            let short = NtpShort::from_bits(bits);
            prop_assert_eq!(NtpShort::from_duration(short.to_duration()), short);
        }

        #[test]
        fn never_less_than_it_was(units in 0..i64::from(u32::MAX) << 16) {
            let duration = NtpDuration::from_units(units);
            prop_assert!(NtpShort::from_duration(duration).to_duration() >= duration);
        }
    }
}
