//! Pure. NTP on the wire (RFC 5905 §6, §7.3): bytes to typed fields and back; it makes no decision.
//!
//! It uses only `std`, `time`, and MD5 for the reference ID of an IPv6 address.

pub mod extension;
mod header;
mod refid;
pub mod trailer;

pub use header::{HEADER_LEN, Header, Leap, Mode, TooShort, Version};
pub use refid::{KissCode, ReferenceId};

/// The port of NTP (RFC 5905 §7.2).
//= RFC 5905 §7.2 port
pub const NTP_PORT: u16 = 123;

/// Frequency tolerance of a clock that is not measured: 15 ppm (RFC 5905 §7.2, PHI).
//= RFC 5905 §7.2 tolerance
pub const PHI_PPM: u32 = 15;

/// Stratum of a clock that is not synchronized (RFC 5905 §7.3, MAXSTRAT).
//= RFC 5905 §7.2 maxstrat
pub const MAX_STRATUM: u8 = 16;
