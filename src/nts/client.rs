//! Pure. The client's side of NTS for NTP (RFC 8915 §5.7): a sealed question, and the reply to it.
//!
//! Nothing of a reply is believed before its authenticator is found genuine, except that a NAK, which has none, says so
//! with the question's identifier.

use subtle::ConstantTimeEq;

use super::aead::TAG_LEN;
use super::jobs::{JobText, Jobs, Sender, split};
use super::ke::client::LONGEST_COOKIE;
use super::{AssociationKeys, MOST_COOKIES};
use crate::wire::extension::{
    Authenticator, FIELD_HEADER_LEN, FieldWriter, PacketPart, PacketParts, field_type,
};
use crate::wire::{HEADER_LEN, Header, ReferenceId};

/// Length of the identifiers of our questions, in bytes: the shortest that is allowed (RFC 8915 §5.3).
//= RFC 8915 §5.3 length
pub const IDENTIFIER_LEN: usize = 32;

/// Longest question, in bytes: longer packets are dropped on some ways.
pub const LONGEST_QUESTION: usize = 1024;

/// Longest reply that is read, in bytes; no reply should be longer than its question.
pub const LONGEST_REPLY: usize = 2048;

/// Shortest cookie, in bytes: an empty one is none.
const SHORTEST_COOKIE: usize = 4;

/// A question that is to be sealed.
#[derive(Debug)]
pub struct NtsQuestion<'a> {
    /// The header of a plain question.
    pub header: [u8; HEADER_LEN],
    /// The keys of the association.
    pub keys: &'a AssociationKeys,
    /// A cookie with these keys; it is sent once.
    pub cookie: &'a [u8],
    /// The number of cookies that are wanted: 1 to 8. As many are asked for as the question has room for.
    pub cookies: usize,
    /// Random bytes, which the reply echoes.
    pub identifier: &'a [u8; IDENTIFIER_LEN],
    /// Random bytes, never used twice with the same keys; AEAD 30 takes the first twelve.
    pub nonce: &'a [u8; 16],
}

impl NtsQuestion<'_> {
    /// Writes the question into `buffer`, and gives its length; `None` if the cookie is too long for a question.
    //= RFC 8915 §5.6 room
    //= RFC 8915 §5.7 question
    //= RFC 8915 §5.7 eight
    pub fn seal(&self, buffer: &mut [u8; LONGEST_QUESTION]) -> Option<usize> {
        *buffer.first_chunk_mut()? = self.header;
        let mut writer = FieldWriter::new(buffer, HEADER_LEN);
        writer.push(field_type::UNIQUE_IDENTIFIER, self.identifier).ok()?;
        writer.push(field_type::COOKIE, self.cookie).ok()?;
        for _ in 0..self.placeholders(writer.length()) {
            writer
                .reserve(field_type::COOKIE_PLACEHOLDER, self.cookie.len())
                .ok()?;
        }
        let start = writer.length();
        let (nonce, _) = self.nonce.split_at_checked(self.keys.algorithm().nonce_len())?;
        let tag = self.tag(buffer.get(..start)?, nonce)?;
        let mut writer = FieldWriter::new(buffer, start);
        let value = writer
            .reserve(field_type::AUTHENTICATOR, self.authenticator_len())
            .ok()?;
        let lengths = [nonce.len(), TAG_LEN].map(u16::try_from);
        let [Ok(nonce_len), Ok(tag_len)] = lengths else {
            return None;
        };
        let parts = [&nonce_len.to_be_bytes()[..], &tag_len.to_be_bytes(), nonce, &tag];
        let places = value.iter_mut();
        places
            .zip(parts.into_iter().flatten())
            .for_each(|(place, byte)| *place = *byte);
        Some(writer.length())
    }

    /// Returns the length of the authenticator's value: nothing is encrypted.
    fn authenticator_len(&self) -> usize {
        2 + 2 + self.keys.algorithm().nonce_len() + TAG_LEN
    }

    /// Returns the number of placeholders, after `written` bytes.
    fn placeholders(&self, written: usize) -> usize {
        let authenticator = FIELD_HEADER_LEN + self.authenticator_len();
        let room = LONGEST_QUESTION.saturating_sub(written + authenticator);
        let wanted = self.cookies.clamp(1, MOST_COOKIES) - 1;
        wanted.min(room / (FIELD_HEADER_LEN + self.cookie.len()))
    }

    fn tag(&self, associated: &[u8], nonce: &[u8]) -> Option<[u8; TAG_LEN]> {
        let text = JobText {
            associated,
            nonce,
            text: &mut [],
            tag: [0; TAG_LEN],
        };
        let mut found = [0; TAG_LEN];
        let mut jobs = Jobs::new();
        jobs.push(self.keys, Sender::Client, text, ());
        jobs.seal(|(), tag| found = tag).then_some(found)
    }
}

/// The reason why a packet is not the genuine reply to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyFault {
    /// The packet does not have exactly one identifier, or not that of the question.
    Identifier,
    /// The packet is a NAK to the question: the server can't open our cookie, or finds the question not genuine.
    ///
    /// That itself is not authenticated.
    Nak,
    /// The packet has no authenticator, or a malformed one.
    Unauthenticated,
    /// The authenticator of the packet is not genuine.
    Forged,
}

/// Opens `packet`, which came as the reply to the question with this `identifier`, and gives the cookies in it.
///
/// Its header may be believed then. There are eight cookies at most, each of a possible length.
///
/// # Errors
/// The packet is not the genuine reply, and nothing of it may be believed.
//= RFC 8915 §5.3 match
//= RFC 8915 §5.7 genuine
pub fn open_reply(
    packet: &[u8],
    keys: &AssociationKeys,
    identifier: &[u8; IDENTIFIER_LEN],
) -> Result<Vec<Vec<u8>>, ReplyFault> {
    let (mut identifiers, mut is_ours) = (0, false);
    let mut authenticator = None;
    for part in PacketParts::of_packet(packet) {
        match part {
            Ok(PacketPart::Field(field)) if field.kind == field_type::AUTHENTICATOR => {
                authenticator = Some(field);
                break;
            }
            Ok(PacketPart::Field(field)) if field.kind == field_type::UNIQUE_IDENTIFIER => {
                identifiers += 1;
                is_ours = bool::from(field.value.ct_eq(identifier));
            }
            Ok(PacketPart::Field(_)) => {}
            Ok(PacketPart::Mac(_)) | Err(_) => break,
        }
    }
    if identifiers != 1 || !is_ours {
        return Err(ReplyFault::Identifier);
    }
    let Some(field) = authenticator else {
        return Err(if is_nak(packet) {
            ReplyFault::Nak
        } else {
            ReplyFault::Unauthenticated
        });
    };
    let sealed = Authenticator::parse(field.value).ok_or(ReplyFault::Unauthenticated)?;
    let associated = packet.get(..field.start).ok_or(ReplyFault::Unauthenticated)?;
    let plaintext = opened(keys, associated, &sealed).ok_or(ReplyFault::Forged)?;
    Ok(cookies(&plaintext))
}

/// Returns whether a packet is a kiss with the code NTSN.
//= RFC 8915 §5.7 nak
fn is_nak(packet: &[u8]) -> bool {
    let header = Header::parse(packet).ok();
    header.is_some_and(|header| header.stratum == 0 && header.reference_id == ReferenceId::NTSN)
}

/// Returns the plaintext of a genuine authenticator.
fn opened(keys: &AssociationKeys, associated: &[u8], sealed: &Authenticator<'_>) -> Option<Vec<u8>> {
    let (tag, ciphertext) = split(keys.algorithm(), sealed.ciphertext)?;
    let mut plaintext = ciphertext.to_vec();
    let text = JobText {
        associated,
        nonce: sealed.nonce,
        text: &mut plaintext,
        tag,
    };
    let mut is_genuine = false;
    let mut jobs = Jobs::new();
    jobs.push(keys, Sender::Server, text, ());
    jobs.open(|(), genuine| is_genuine = genuine);
    is_genuine.then_some(plaintext)
}

/// Returns the cookies in a plaintext; those of an impossible length are left out.
//= RFC 8915 §5.7 new-cookies
fn cookies(plaintext: &[u8]) -> Vec<Vec<u8>> {
    let cookie = |part| match part {
        Ok(PacketPart::Field(field)) if field.kind == field_type::COOKIE => Some(field.value),
        Ok(PacketPart::Field(_) | PacketPart::Mac(_)) | Err(_) => None,
    };
    let is_possible = |cookie: &&[u8]| (SHORTEST_COOKIE..=LONGEST_COOKIE).contains(&cookie.len());
    PacketParts::of_plaintext(plaintext)
        .filter_map(cookie)
        .filter(is_possible)
        .take(MOST_COOKIES)
        .map(<[u8]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests;
