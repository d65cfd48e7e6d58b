//! Pure. The part of a packet behind its header: extension fields (RFC 7822 §7.5), those of NTS (RFC 8915 §5), and a MAC.

use super::HEADER_LEN;

/// Length of a field's type and length, in bytes.
pub const FIELD_HEADER_LEN: usize = 4;

/// Shortest field of a packet, in bytes, its type and length counted (RFC 7822 §7.5).
pub const SHORTEST_FIELD: usize = 16;

/// Longest MAC without another agreement, in bytes: a key identifier and a digest of 160 bits (RFC 7822 §7.5.1.3).
///
/// More than that is a field: so the last field of a packet without a MAC has at least 28 bytes.
//= RFC 7822 §7.5.1.3 mac-length
//= RFC 7822 §7.5.1.4 last
pub const LONGEST_MAC: usize = 24;

/// Longest field, in bytes: the last multiple of four that 16 bits can say.
//= RFC 7822 §7.5 longest
pub const LONGEST_FIELD: usize = 65_532;

/// The types of fields that are known here, as IANA numbers them.
pub mod field_type {
    /// The client's random number, echoed (RFC 8915 §5.3).
    pub const UNIQUE_IDENTIFIER: u16 = 0x0104;
    /// The server's memory of the keys, kept by the client (RFC 8915 §5.4).
    pub const COOKIE: u16 = 0x0204;
    /// Room for one more cookie in the answer (RFC 8915 §5.5).
    pub const COOKIE_PLACEHOLDER: u16 = 0x0304;
    /// The seal over all before it, and encrypted fields (RFC 8915 §5.6).
    pub const AUTHENTICATOR: u16 = 0x0404;

    /// Whether it is one of those of NTS.
    pub const fn is_of_nts(kind: u16) -> bool {
        matches!(
            kind,
            UNIQUE_IDENTIFIER | COOKIE | COOKIE_PLACEHOLDER | AUTHENTICATOR
        )
    }
}

/// An extension field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionField<'a> {
    /// The type: one of [`field_type`], or unknown.
    pub kind: u16,
    /// The bytes behind type and length, with the padding.
    pub value: &'a [u8],
    /// The place of its type, in bytes from the start of the parsed bytes.
    pub start: usize,
}

impl ExtensionField<'_> {
    /// The place of the next field.
    pub const fn end(&self) -> usize {
        self.start + FIELD_HEADER_LEN + self.value.len()
    }
}

/// A message authentication code at the end of a packet (RFC 5905 §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac<'a> {
    /// Which of the keys that both sides have.
    pub key: u32,
    /// The digest: 16 or 20 bytes, before version 4 up to the end of the packet; none in a crypto-NAK.
    pub digest: &'a [u8],
}

/// A part of a packet behind its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketPart<'a> {
    /// An extension field.
    Field(ExtensionField<'a>),
    /// A MAC. Nothing follows it.
    Mac(Mac<'a>),
}

/// The reason why bytes behind a header are neither a field nor a MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldFault {
    /// So few bytes are left that they could only be a MAC, and no MAC has this length.
    Remainder,
    /// The length said is no multiple of four.
    Unaligned,
    /// The length said is less than a field may have.
    TooShort,
    /// The length said is more than there is.
    TooLong,
}

/// An iterator over all that follows a header. After a fault, and after a MAC, it has ended.
#[derive(Clone, Debug)]
pub struct PacketParts<'a> {
    bytes: &'a [u8],
    at: usize,
    shortest: usize,
    longest_mac: usize,
}

impl<'a> PacketParts<'a> {
    /// The parts of a whole packet: those behind its first [`HEADER_LEN`] bytes.
    pub const fn of_packet(packet: &'a [u8]) -> Self {
        Self {
            bytes: packet,
            at: HEADER_LEN,
            shortest: SHORTEST_FIELD,
            longest_mac: LONGEST_MAC,
        }
    }

    /// The parts of the plaintext of an authenticator (RFC 8915 §5.6).
    ///
    /// It can hold no MAC, so a field may be as short as its head.
    pub const fn of_plaintext(plaintext: &'a [u8]) -> Self {
        Self {
            bytes: plaintext,
            at: 0,
            shortest: FIELD_HEADER_LEN,
            longest_mac: 0,
        }
    }

    fn field(&self, rest: &'a [u8]) -> Result<ExtensionField<'a>, FieldFault> {
        let (head, _) = rest
            .split_first_chunk::<FIELD_HEADER_LEN>()
            .ok_or(FieldFault::Remainder)?;
        let [kind_high, kind_low, length_high, length_low] = *head;
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        if length % 4 != 0 {
            return Err(FieldFault::Unaligned);
        }
        if length < self.shortest {
            return Err(FieldFault::TooShort);
        }
        let value = rest.get(FIELD_HEADER_LEN..length).ok_or(FieldFault::TooLong)?;
        Ok(ExtensionField {
            kind: u16::from_be_bytes([kind_high, kind_low]),
            value,
            start: self.at,
        })
    }
}

impl<'a> Iterator for PacketParts<'a> {
    type Item = Result<PacketPart<'a>, FieldFault>;

    /// The next field or the MAC.
    //= RFC 7822 §7.5 padding
    //= RFC 7822 §7.5.1.4 others
    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return None;
        }
        let part = if rest.len() <= self.longest_mac {
            mac(rest).map(PacketPart::Mac).ok_or(FieldFault::Remainder)
        } else {
            self.field(rest).map(PacketPart::Field)
        };
        self.at = match part {
            Ok(PacketPart::Field(field)) => field.end(),
            Ok(PacketPart::Mac(_)) | Err(_) => self.bytes.len(),
        };
        Some(part)
    }
}

/// All of `bytes` as a MAC, or as a crypto-NAK.
fn mac(bytes: &[u8]) -> Option<Mac<'_>> {
    let (key, digest) = bytes.split_first_chunk()?;
    matches!(digest.len(), 0 | 16 | 20).then_some(Mac {
        key: u32::from_be_bytes(*key),
        digest,
    })
}

/// The value of an authenticator field (RFC 8915 §5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authenticator<'a> {
    /// The nonce, without its padding.
    pub nonce: &'a [u8],
    /// Encrypted fields and their tag, without padding.
    pub ciphertext: &'a [u8],
    /// Bytes behind nonce and ciphertext and the padding of both.
    pub additional: usize,
}

impl<'a> Authenticator<'a> {
    /// Reads the value of an authenticator field; `None` if what it says does not fit into it.
    //= RFC 8915 §5.6 format
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (head, rest) = value.split_first_chunk::<4>()?;
        let [nonce_high, nonce_low, text_high, text_low] = *head;
        let nonce_len = usize::from(u16::from_be_bytes([nonce_high, nonce_low]));
        let text_len = usize::from(u16::from_be_bytes([text_high, text_low]));
        let (padded_nonce, rest) = rest.split_at_checked(nonce_len.next_multiple_of(4))?;
        let (padded_text, additional) = rest.split_at_checked(text_len.next_multiple_of(4))?;
        Some(Self {
            nonce: padded_nonce.get(..nonce_len)?,
            ciphertext: padded_text.get(..text_len)?,
            additional: additional.len(),
        })
    }

    /// Whether the sender left as much room as the nonce of an answer may need: `needed` bytes, at most 16.
    //= RFC 8915 §5.6 room
    pub const fn has_room(&self, needed: usize) -> bool {
        let nonce = self.nonce.len().next_multiple_of(4);
        nonce + self.additional >= needed.next_multiple_of(4)
    }
}

/// A field does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Writes fields into a buffer that is never exceeded.
#[derive(Debug)]
pub struct FieldWriter<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> FieldWriter<'a> {
    /// Writes behind the first `length` bytes of `buffer`, which stay as they are.
    pub const fn new(buffer: &'a mut [u8], length: usize) -> Self {
        Self { buffer, length }
    }

    /// Bytes that are written, those before the first field counted.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Adds a field of type `kind`, and returns its value: `length` zeros to be filled.
    ///
    /// The field is padded with zeros to a multiple of four, and to [`SHORTEST_FIELD`]. The caller sees to it that the
    /// last field has more than [`LONGEST_MAC`] bytes.
    ///
    /// # Errors
    /// [`Full`] if the buffer, or any field, can't hold it; nothing is written then.
    //= RFC 7822 §7.5 longest
    //= RFC 7822 §7.5 padding
    pub fn reserve(&mut self, kind: u16, length: usize) -> Result<&mut [u8], Full> {
        let padded = length.checked_next_multiple_of(4).ok_or(Full)?;
        let whole = padded.saturating_add(FIELD_HEADER_LEN).max(SHORTEST_FIELD);
        if whole > LONGEST_FIELD {
            return Err(Full);
        }
        let said = u16::try_from(whole).map_err(|_| Full)?;
        let rest = self.buffer.get_mut(self.length..).ok_or(Full)?;
        let field = rest.get_mut(..whole).ok_or(Full)?;
        let (head, value) = field.split_first_chunk_mut::<FIELD_HEADER_LEN>().ok_or(Full)?;
        let ([kind_high, kind_low], [length_high, length_low]) = (kind.to_be_bytes(), said.to_be_bytes());
        *head = [kind_high, kind_low, length_high, length_low];
        value.fill(0);
        self.length += whole;
        value.get_mut(..length).ok_or(Full)
    }

    /// Adds a field with `value`.
    ///
    /// # Errors
    /// As [`Self::reserve`].
    pub fn push(&mut self, kind: u16, value: &[u8]) -> Result<(), Full> {
        self.reserve(kind, value.len())?.copy_from_slice(value);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
