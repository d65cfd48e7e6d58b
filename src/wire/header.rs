//! Pure. The 48 bytes that every NTP packet starts with (RFC 5905 §7.3, figure 8).

use super::ReferenceId;
use crate::time::{NtpShort, NtpTimestamp};

/// Length of the header in bytes; extension fields and a MAC may follow it.
pub const HEADER_LEN: usize = 48;

/// The leap indicator: a leap second at the end of the month, or an unsynchronized clock (RFC 5905 §7.3, figure 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leap {
    /// No leap second is announced.
    NoWarning,
    /// The last minute of the day has 61 seconds.
    AddSecond,
    /// The last minute of the day has 59 seconds.
    DeleteSecond,
    /// The clock is not synchronized: its time must not be used.
    Unsynchronized,
}

impl Leap {
    /// Reads the lowest two bits of `bits`, as on the wire; the others are ignored.
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::NoWarning,
            1 => Self::AddSecond,
            2 => Self::DeleteSecond,
            _ => Self::Unsynchronized,
        }
    }

    /// Returns the two bits of the wire format: 0 to 3.
    pub const fn to_bits(self) -> u8 {
        match self {
            Self::NoWarning => 0,
            Self::AddSecond => 1,
            Self::DeleteSecond => 2,
            Self::Unsynchronized => 3,
        }
    }
}

/// The association mode of a packet's sender (RFC 5905 §7.3, figure 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 0: reserved; a client in version 1, which has no mode field (RFC 1059).
    Reserved,
    /// 1: a symmetric peer that requests the time and offers its own.
    SymmetricActive,
    /// 2: the reply to a symmetric active peer.
    SymmetricPassive,
    /// 3: a client's request.
    Client,
    /// 4: a server's reply.
    Server,
    /// 5: a server's broadcast, without a request.
    Broadcast,
    /// 6: control messages (RFC 9327).
    Control,
    /// 7: private use.
    Private,
}

impl Mode {
    const fn from_bits(bits: u8) -> Self {
        match bits & 7 {
            0 => Self::Reserved,
            1 => Self::SymmetricActive,
            2 => Self::SymmetricPassive,
            3 => Self::Client,
            4 => Self::Server,
            5 => Self::Broadcast,
            6 => Self::Control,
            _ => Self::Private,
        }
    }

    /// Returns the three bits of the wire format: 0 to 7.
    pub const fn to_bits(self) -> u8 {
        match self {
            Self::Reserved => 0,
            Self::SymmetricActive => 1,
            Self::SymmetricPassive => 2,
            Self::Client => 3,
            Self::Server => 4,
            Self::Broadcast => 5,
            Self::Control => 6,
            Self::Private => 7,
        }
    }
}

/// Protocol version, 0 to 7; [`Version::OLDEST`] to [`Version::NEWEST`] are supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u8);

impl Version {
    /// Version 1 (RFC 1059).
    pub const OLDEST: Self = Self(1);
    /// Version 4 (RFC 5905).
    //= RFC 5905 §7.2 version
    pub const NEWEST: Self = Self(4);

    /// Returns the number: 0 to 7.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Returns whether this version is supported.
    pub fn is_known(self) -> bool {
        (Self::OLDEST..=Self::NEWEST).contains(&self)
    }
}

/// The header of an NTP packet, each field as received; nothing is checked here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Leap indicator.
    pub leap: Leap,
    /// Protocol version.
    pub version: Version,
    /// Association mode.
    pub mode: Mode,
    /// Distance from a reference clock in servers: 1 is the closest, 0 "unspecified" or a kiss.
    pub stratum: u8,
    /// Longest interval between messages, log2 seconds.
    pub poll: i8,
    /// Precision of the sender's clock, log2 seconds.
    pub precision: i8,
    /// Round-trip delay to the reference clock.
    pub root_delay: NtpShort,
    /// Maximum error of the sender's clock relative to the reference clock, apart from half of the root delay.
    pub root_dispersion: NtpShort,
    /// Source of the time, or a kiss code at stratum 0.
    pub reference_id: ReferenceId,
    /// The time when the sender's clock was last set or corrected.
    pub reference_timestamp: NtpTimestamp,
    /// t1, in a reply: the transmit timestamp of the request, by the client's clock.
    pub origin_timestamp: NtpTimestamp,
    /// t2, in a reply: when the request arrived at the server.
    pub receive_timestamp: NtpTimestamp,
    /// t3: when this packet left its sender.
    pub transmit_timestamp: NtpTimestamp,
}

/// The error for a packet of less than [`HEADER_LEN`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort;

impl Header {
    /// Returns a client's request of version 4 that reveals nothing about the client.
    ///
    /// The transmit timestamp is `nonce`, a random number: only a server that received the request can return it.
    //= RFC 5905 §13.2 request
    pub const fn request(nonce: NtpTimestamp) -> Self {
        Self {
            leap: Leap::NoWarning,
            version: Version::NEWEST,
            mode: Mode::Client,
            stratum: 0,
            poll: 0,
            precision: 0,
            root_delay: NtpShort::ZERO,
            root_dispersion: NtpShort::ZERO,
            reference_id: ReferenceId::from_bytes([0; 4]),
            reference_timestamp: NtpTimestamp::ZERO,
            origin_timestamp: NtpTimestamp::ZERO,
            receive_timestamp: NtpTimestamp::ZERO,
            transmit_timestamp: nonce,
        }
    }

    /// Reads the first [`HEADER_LEN`] bytes of a packet; the rest is ignored.
    ///
    /// # Errors
    /// [`TooShort`] if there are fewer. Any content of that length is a header.
    //= RFC 5905 §7.3 header
    //= RFC 5905 §9.2 extension-syntax
    //= RFC 7822 §7.5 unknown
    pub fn parse(packet: &[u8]) -> Result<Self, TooShort> {
        let bytes: &[u8; HEADER_LEN] = packet.first_chunk().ok_or(TooShort)?;
        let [first, stratum, poll, precision, ..] = *bytes;
        Ok(Self {
            leap: Leap::from_bits(first >> 6),
            version: Version((first >> 3) & 7),
            mode: Mode::from_bits(first),
            stratum,
            poll: poll.cast_signed(),
            precision: precision.cast_signed(),
            root_delay: NtpShort::from_bits(u32::from_be_bytes(field(bytes, 4))),
            root_dispersion: NtpShort::from_bits(u32::from_be_bytes(field(bytes, 8))),
            reference_id: ReferenceId::from_bytes(field(bytes, 12)),
            reference_timestamp: timestamp(bytes, 16),
            origin_timestamp: timestamp(bytes, 24),
            receive_timestamp: timestamp(bytes, 32),
            transmit_timestamp: timestamp(bytes, 40),
        })
    }

    /// Returns the header in the wire format.
    //= RFC 5905 §7.3 header
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let first = self.leap.to_bits() << 6 | self.version.number() << 3 | self.mode.to_bits();
        put(
            &mut bytes,
            0,
            [
                first,
                self.stratum,
                self.poll.cast_unsigned(),
                self.precision.cast_unsigned(),
            ],
        );
        put(&mut bytes, 4, self.root_delay.to_bits().to_be_bytes());
        put(&mut bytes, 8, self.root_dispersion.to_bits().to_be_bytes());
        put(&mut bytes, 12, self.reference_id.to_bytes());
        put(&mut bytes, 16, self.reference_timestamp.to_bits().to_be_bytes());
        put(&mut bytes, 24, self.origin_timestamp.to_bits().to_be_bytes());
        put(&mut bytes, 32, self.receive_timestamp.to_bits().to_be_bytes());
        put(&mut bytes, 40, self.transmit_timestamp.to_bits().to_be_bytes());
        bytes
    }
}

fn timestamp(bytes: &[u8; HEADER_LEN], at: usize) -> NtpTimestamp {
    NtpTimestamp::from_bits(u64::from_be_bytes(field(bytes, at)))
}

/// Returns `N` bytes from `at` on; every call here names a constant place inside the header.
fn field<const N: usize>(bytes: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

fn put<const N: usize>(bytes: &mut [u8; HEADER_LEN], at: usize, value: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A server's answer in which all bytes differ, written by hand from the figure.
    const BYTES: [u8; HEADER_LEN] = [
        0x5C, 0x02, 0x06, 0xEC, 0x00, 0x01, 0x80, 0x03, 0x00, 0x02, 0x40, 0x05, 0xC0, 0x00, 0x02,
        0x07, //
        0xE8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0xE9, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26,
        0x27, //
        0xEA, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0xEB, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47,
    ];

    //= RFC 5905 §7.3 header
    #[test]
    fn every_field_is_where_the_figure_has_it() {
        let header = Header::parse(&BYTES).unwrap();
        assert_eq!(
            header,
            Header {
                leap: Leap::AddSecond,
                version: Version(3),
                mode: Mode::Server,
                stratum: 2,
                poll: 6,
                precision: -20,
                root_delay: NtpShort::from_bits(0x0001_8003),
                root_dispersion: NtpShort::from_bits(0x0002_4005),
                reference_id: ReferenceId::from_bytes([192, 0, 2, 7]),
                reference_timestamp: NtpTimestamp::from_bits(0xE811_1213_1415_1617),
                origin_timestamp: NtpTimestamp::from_bits(0xE921_2223_2425_2627),
                receive_timestamp: NtpTimestamp::from_bits(0xEA31_3233_3435_3637),
                transmit_timestamp: NtpTimestamp::from_bits(0xEB41_4243_4445_4647),
            }
        );
        assert_eq!(header.to_bytes(), BYTES);
    }

    //= RFC 5905 §7.3 header
    #[test]
    fn each_byte_matters_and_every_value_of_it_survives() {
        for at in 0..HEADER_LEN {
            for value in 0..=u8::MAX {
                let mut bytes = BYTES;
                bytes[at] = value;
                let header = Header::parse(&bytes).unwrap();
                assert_eq!(header.to_bytes(), bytes, "byte {at} = {value}");
                assert_eq!(
                    header == Header::parse(&BYTES).unwrap(),
                    value == BYTES[at],
                    "byte {at} = {value}"
                );
            }
        }
    }

    //= RFC 5905 §9.2 format
    #[test]
    fn shorter_than_a_header_is_refused() {
        for length in 0..HEADER_LEN {
            assert_eq!(Header::parse(&BYTES[..length]), Err(TooShort));
        }
    }

    #[test]
    fn versions_we_speak() {
        let known: Vec<u8> = (0..8).filter(|&number| Version(number).is_known()).collect();
        assert_eq!(known, [1, 2, 3, 4]);
    }

    proptest! {
        #[test]
        fn any_bytes_survive(bytes in prop::collection::vec(any::<u8>(), HEADER_LEN..600)) {
            let header = Header::parse(&bytes).unwrap();
            prop_assert_eq!(&header.to_bytes()[..], &bytes[..HEADER_LEN]);
        }
    }
}
