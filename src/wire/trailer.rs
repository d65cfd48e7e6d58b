//! Pure. The end of a packet of any version: nothing, or a MAC (RFC 5905 §7.3).

use super::HEADER_LEN;
use super::extension::{Mac, PacketPart, PacketParts};

/// The end of a packet, behind its header and its extension fields.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trailer<'a> {
    /// Nothing.
    Nothing,
    /// A MAC, and the bytes that it is of.
    Mac(&'a [u8], Mac<'a>),
    /// Neither a field nor a MAC: a MAC that was cut, or a packet that was.
    Malformed,
}

impl<'a> Trailer<'a> {
    /// Finds the end of `packet`.
    pub fn of(packet: &'a [u8]) -> Self {
        let mut end = HEADER_LEN;
        if !has_fields(packet) {
            return packet
                .split_at_checked(HEADER_LEN)
                .map_or(Self::Nothing, Self::of_old);
        }
        for part in PacketParts::of_packet(packet) {
            match part {
                Ok(PacketPart::Field(field)) => end = field.end(),
                Ok(PacketPart::Mac(mac)) => return Self::Mac(packet.get(..end).unwrap_or_default(), mac),
                Err(_) => return Self::Malformed,
            }
        }
        Self::Nothing
    }

    /// The end of a packet before version 4: nothing, or a MAC, whose digest may be whole there.
    fn of_old((header, rest): (&'a [u8], &'a [u8])) -> Self {
        match rest.split_first_chunk() {
            None if rest.is_empty() => Self::Nothing,
            None => Self::Malformed,
            Some((key, digest)) => Self::Mac(
                header,
                Mac {
                    key: u32::from_be_bytes(*key),
                    digest,
                },
            ),
        }
    }
}

/// Whether a packet is of a version with extension fields.
fn has_fields(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first >> 3 & 7 >= 4)
}
