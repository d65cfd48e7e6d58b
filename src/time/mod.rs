//! Pure. Time as numbers: NTP's timestamp, short format and duration (RFC 5905 §6), and readings of the host's clocks.
//!
//! All rooms may use it; it uses only `std`. Times are exact integers; a float appears only where an operator or a
//! statistic needs seconds.

mod rate_meter;
mod readings;
mod short;
mod timescale;
mod timestamp;

pub use rate_meter::RateMeter;
pub use readings::{AlignedReadings, ClockReadings, within_slew};
pub use short::NtpShort;
pub use timescale::Timescale;
pub use timestamp::{NtpDuration, NtpTimestamp};
