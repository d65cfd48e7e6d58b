//! Pure. The time at which a server's certificate has to be valid.
//!
//! Keys come from a server whose certificate was checked, and a certificate has dates. But a host whose clock is wrong
//! has no time yet to check them against. So certificates are checked for all else first, and their dates remembered
//! ([`UncheckedCertificate`]); once a majority of the upstreams agrees, those are cast out whose certificates were not
//! valid at *that* time, and a majority has to be found again; only then a time is announced. An attacker needs the
//! keys of expired certificates of a majority.

use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};
use x509_cert::der::DateTime;

use super::ke_fault::KeFault;
use crate::time::{NtpTimestamp, Timescale};
use crate::upstream::select::Interval;

/// The time when this was written, in seconds since 1970 (2026-11-01): it can't be earlier.
///
/// A certificate that ended before it is refused whatever the clock says.
pub const EARLIEST: i64 = 1_793_491_200;

/// The middle of the 136 years in which a time by NTP is understood: they begin with [`EARLIEST`].
const PIVOT: i64 = EARLIEST + (1 << 31);

/// The middle of the years of the host's own clock, which may be at 1970.
const HOST_PIVOT: i64 = 1 << 31;

/// The way to check the dates of a certificate while no time is vouched for, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum CertificateTime {
    /// The upstreams agree on a time first, and their certificates are checked against that.
    AgreeFirst,
    /// The host's clock has to be right.
    Strict,
}

/// The dates of a certificate and of those that it is signed with, in seconds since 1970; both days are inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateValidity {
    /// The first second.
    pub not_before: i64,
    /// The last second.
    pub not_after: i64,
}

/// Returns the day of a time since 1970, as in `2027-01-31`; empty beyond the year 9999.
pub fn day(seconds: i64) -> String {
    let since = u64::try_from(seconds).unwrap_or(0);
    let date = DateTime::from_unix_duration(Duration::from_secs(since));
    date.map_or_else(
        |_| String::new(),
        |date| format!("{}-{:02}-{:02}", date.year(), date.month(), date.day()),
    )
}

/// A certificate whose dates were not checked, as no time was vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UncheckedCertificate {
    /// Its dates.
    pub validity: CertificateValidity,
    /// The time of the key establishment, by the raw counter.
    pub established: Duration,
}

/// The time that certificates are checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckedAt {
    /// This time, in seconds since 1970.
    Time(i64),
    /// Any from [`EARLIEST`] on.
    Later,
    /// None: the dates are only told.
    Never,
}

impl CheckedAt {
    /// Returns the time for a check now.
    ///
    /// `vouched` is the time by upstreams that agreed, if they did; `host` is the host's clock.
    pub fn now(vouched: Option<NtpTimestamp>, host: NtpTimestamp, how: CertificateTime) -> Self {
        match (vouched, how) {
            (Some(time), _) => Self::Time(time.to_unix_near(PIVOT)),
            (None, CertificateTime::Strict) => Self::Time(Self::host(host)),
            (None, CertificateTime::AgreeFirst) => Self::Later,
        }
    }

    /// Returns the host's clock in seconds since 1970, from 1970 to 2106.
    pub fn host(host: NtpTimestamp) -> i64 {
        host.to_unix_near(HOST_PIVOT)
    }

    /// Checks the dates of a certificate.
    ///
    /// # Errors
    /// It has ended, or is not valid yet.
    pub const fn check(self, validity: CertificateValidity) -> Result<(), KeFault> {
        match self {
            Self::Time(now) if now < validity.not_before => Err(KeFault::NotYetValid),
            Self::Time(now) if now > validity.not_after => Err(KeFault::Expired),
            Self::Later if validity.not_after < EARLIEST => Err(KeFault::Expired),
            Self::Time(_) | Self::Later | Self::Never => Ok(()),
        }
    }
}

impl UncheckedCertificate {
    /// Returns whether the certificate was valid at the key establishment, by the time that a majority says.
    ///
    /// `offsets` are the possible offsets of true time from the local timescale `scale`.
    pub fn was_valid(&self, scale: &Timescale, offsets: &Interval) -> bool {
        let at = scale.at(self.established);
        let [first, last] = [offsets.low, offsets.high].map(|offset| (at + offset).to_unix_near(PIVOT));
        self.validity.not_before <= last && first <= self.validity.not_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{ClockReadings, NtpDuration};

    use proptest::prelude::*;

    const DAY: i64 = 86_400;
    const NOW: i64 = EARLIEST + 100 * DAY;

    fn stamp(seconds: i64) -> NtpTimestamp {
        NtpTimestamp::from_unix(seconds, 0)
    }

    fn validity(from: i64, to: i64) -> CertificateValidity {
        CertificateValidity {
            not_before: NOW + from * DAY,
            not_after: NOW + to * DAY,
        }
    }

    #[test]
    fn the_time_that_is_vouched_for_comes_before_the_host_s() {
        use CertificateTime::{AgreeFirst, Strict};
        let host = stamp(0);
        for (vouched, how, expected) in [
            (None, AgreeFirst, CheckedAt::Later),
            (None, Strict, CheckedAt::Time(0)),
            (Some(stamp(NOW)), AgreeFirst, CheckedAt::Time(NOW)),
            (Some(stamp(NOW)), Strict, CheckedAt::Time(NOW)),
        ] {
            assert_eq!(CheckedAt::now(vouched, host, how), expected);
        }
        // Clocks of 2036 and 2099, on both sides of the end of an era.
        for year in [2_085_978_495, 2_085_978_497, 4_070_908_800] {
            assert_eq!(CheckedAt::now(None, stamp(year), Strict), CheckedAt::Time(year));
            assert_eq!(
                CheckedAt::now(Some(stamp(year)), host, Strict),
                CheckedAt::Time(year)
            );
        }
    }

    #[test]
    fn days_are_shown() {
        for (seconds, expected) in [
            (-1, "1970-01-01"),
            (EARLIEST - 1, "2026-10-31"),
            (EARLIEST, "2026-11-01"),
            (253_402_300_799, "9999-12-31"),
            (253_402_300_800, ""),
            (i64::MAX, ""),
        ] {
            assert_eq!(day(seconds), expected);
        }
    }

    #[test]
    fn dates_are_checked() {
        let at = CheckedAt::Time(NOW);
        for (from, to, expected, later) in [
            (-30, 30, Ok(()), Ok(())),
            (0, 0, Ok(()), Ok(())),
            (-30, -1, Err(KeFault::Expired), Ok(())),
            (1, 30, Err(KeFault::NotYetValid), Ok(())),
            (-300, -101, Err(KeFault::Expired), Err(KeFault::Expired)),
            (-300, -100, Err(KeFault::Expired), Ok(())),
        ] {
            assert_eq!(at.check(validity(from, to)), expected, "{from} {to}");
            assert_eq!(CheckedAt::Later.check(validity(from, to)), later, "{from} {to}");
        }
    }

    proptest! {
        /// Whatever the host's clock says (from 1970 to 2105), only the agreed time counts.
        #[test]
        fn the_agreed_time_decides(host in 0_i64..(1 << 32), raw in 0_u64..1_000_000, from in -400_i64..400, length in 0_i64..400) {
            let raw = Duration::from_secs(raw);
            let scale = Timescale::new(ClockReadings { realtime: stamp(host), raw, boot: raw });
            let offset = stamp(NOW) - scale.at(raw);
            let unchecked = UncheckedCertificate { validity: validity(from, from + length), established: raw };
            let around = Interval::around(offset, NtpDuration::from_seconds(0.2));
            prop_assert_eq!(unchecked.was_valid(&scale, &around), (from..=from + length).contains(&0));
        }
    }
}
