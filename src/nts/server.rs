//! Pure. The server's side of NTS for NTP (RFC 8915 §5.7): from a request to its keys, from a header to a sealed reply.
//!
//! The order of calls: each packet of a batch is parsed ([`NtsRequest::parse`]); those with NTS are opened together
//! ([`open`]) and decided about; then the replies are sealed together ([`seal`]), or are a NAK ([`nak`]). No reply is
//! longer than its request.

use arrayvec::ArrayVec;
use zeroize::Zeroize;

use super::aead::{Algorithm, BATCH, TAG_LEN};
use super::cookie::{self, CookieFault, CookieSlot, OpenedCookie, cookie_len};
use super::jobs::{JobText, Jobs, Sender, split};
use super::keyring::{CookieKey, KeyName, Keyring};
use super::{MOST_COOKIES, Nonces};
use crate::wire::HEADER_LEN;
use crate::wire::extension::{
    Authenticator, ExtensionField, FIELD_HEADER_LEN, FieldWriter, PacketPart, PacketParts, field_type,
};

/// Shortest unique identifier, in bytes (RFC 8915 §5.3).
//= RFC 8915 §5.3 length
pub const SHORTEST_IDENTIFIER: usize = 32;

/// Longest plaintext of a request that is decrypted, in bytes: all that a packet of usual length can have.
const LONGEST_PLAINTEXT: usize = 1024;

/// A request with NTS fields, nothing of it believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NtsRequest<'a> {
    /// The authenticated bytes: all before the authenticator.
    associated: &'a [u8],
    /// The end of the authenticator. The bytes behind it are not authenticated, and ignored.
    length: usize,
    identifier: &'a [u8],
    cookie: &'a [u8],
    placeholders: usize,
    authenticator: Authenticator<'a>,
}

/// A packet with fields of NTS that is no whole request. It gets no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Whether a packet has a field of NTS, whole or not: then [`NtsRequest::parse`] does not give `None`.
///
/// That is found out with the first field of most packets.
pub fn has_fields(packet: &[u8]) -> bool {
    let mut end = HEADER_LEN;
    for part in PacketParts::of_packet(packet) {
        match part {
            Ok(PacketPart::Field(field)) if field_type::is_of_nts(field.kind) => return true,
            Ok(PacketPart::Field(field)) => end = field.end(),
            Ok(PacketPart::Mac(_)) => return false,
            Err(_) => return begins_as_field(packet, end),
        }
    }
    false
}

/// Whether what is no whole field, at `start`, begins as one of NTS does.
fn begins_as_field(packet: &[u8], start: usize) -> bool {
    let kind = packet.get(start..).and_then(<[u8]>::first_chunk);
    kind.is_some_and(|kind| field_type::is_of_nts(u16::from_be_bytes(*kind)))
}

impl<'a> NtsRequest<'a> {
    /// Reads a whole packet; `None` if it has no field of NTS, whatever else follows its header.
    ///
    /// # Errors
    /// [`Malformed`] if it has, and not just one identifier and one cookie, and an authenticator behind them.
    //= RFC 8915 §5.7 request
    //= RFC 8915 §5.7 unauthenticated
    pub fn parse(packet: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let mut found = Found::default();
        let mut end = HEADER_LEN;
        for part in PacketParts::of_packet(packet) {
            match part {
                Ok(PacketPart::Field(field)) if field.kind == field_type::AUTHENTICATOR => {
                    return found.request(packet, &field).ok_or(Malformed).map(Some);
                }
                Ok(PacketPart::Field(field)) => {
                    found.note(&field)?;
                    end = field.end();
                }
                Ok(PacketPart::Mac(_)) => break,
                Err(_) if begins_as_field(packet, end) => return Err(Malformed),
                Err(_) => break,
            }
        }
        if found.is_nothing() {
            Ok(None)
        } else {
            Err(Malformed)
        }
    }

    /// The client's identifier, which the reply echoes.
    pub const fn identifier(&self) -> &'a [u8] {
        self.identifier
    }

    /// The cookie, as it came.
    pub const fn cookie(&self) -> &'a [u8] {
        self.cookie
    }

    /// Length of all that counts, in bytes: no reply is longer.
    pub const fn length(&self) -> usize {
        self.length
    }
}

/// The fields before an authenticator.
#[derive(Default)]
struct Found<'a> {
    identifier: Option<&'a [u8]>,
    cookie: Option<&'a [u8]>,
    /// The lengths of the first placeholders.
    placeholders: ArrayVec<usize, MOST_COOKIES>,
    any_placeholder: bool,
}

impl<'a> Found<'a> {
    fn note(&mut self, field: &ExtensionField<'a>) -> Result<(), Malformed> {
        let place = match field.kind {
            field_type::UNIQUE_IDENTIFIER => &mut self.identifier,
            field_type::COOKIE => &mut self.cookie,
            field_type::COOKIE_PLACEHOLDER => {
                self.any_placeholder = true;
                // More than make eight cookies count for nothing.
                let _ = self.placeholders.try_push(field.value.len());
                return Ok(());
            }
            _ => return Ok(()),
        };
        match place.replace(field.value) {
            None => Ok(()),
            Some(_) => Err(Malformed),
        }
    }

    const fn is_nothing(&self) -> bool {
        self.identifier.is_none() && self.cookie.is_none() && !self.any_placeholder
    }

    fn request(self, packet: &'a [u8], field: &ExtensionField<'a>) -> Option<NtsRequest<'a>> {
        let identifier = self
            .identifier
            .filter(|bytes| bytes.len() >= SHORTEST_IDENTIFIER)?;
        let cookie = self.cookie?;
        let authenticator = Authenticator::parse(field.value)?;
        if authenticator.nonce.is_empty() || authenticator.ciphertext.len() < TAG_LEN {
            return None;
        }
        let placeholders = self.placeholders.iter().filter(|length| **length == cookie.len());
        Some(NtsRequest {
            associated: packet.get(..field.start)?,
            length: field.end(),
            identifier,
            cookie,
            placeholders: placeholders.count(),
            authenticator,
        })
    }
}

/// A request whose cookie and authenticator are genuine.
#[derive(Clone, Debug)]
pub struct OpenedRequest {
    cookie: OpenedCookie,
    cookies: usize,
}

impl OpenedRequest {
    /// The client's AEAD.
    pub const fn algorithm(&self) -> Algorithm {
        self.cookie.keys.algorithm()
    }

    /// The number of cookies that the client wants: 1 to [`MOST_COOKIES`].
    pub const fn cookies(&self) -> usize {
        self.cookies
    }

    /// The name of the key that the cookie was sealed with.
    pub const fn key_name(&self) -> KeyName {
        self.cookie.name
    }
}

/// The reason why a request is not answered with the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFault {
    /// The cookie names no key that is known: to be answered with a NAK.
    Name,
    /// The cookie is forged, or damaged: to be answered with a NAK.
    Cookie,
    /// The authenticator is: to be answered with a NAK.
    Authenticator,
    /// The nonce has a length that the AEAD does not have, or there is no room for that of the reply: no reply.
    Nonce,
}

/// Opens at most [`BATCH`] requests together; the results stand in their order. Further ones have none.
//= RFC 8915 §5.7 open
pub fn open(
    keyring: &Keyring,
    requests: &[NtsRequest<'_>],
) -> ArrayVec<Result<OpenedRequest, OpenFault>, BATCH> {
    let mut cookies = ArrayVec::<_, BATCH>::new();
    for request in requests.iter().take(BATCH) {
        cookies.push(request.cookie);
    }
    let mut results = ArrayVec::new();
    for (request, cookie) in requests.iter().zip(cookie::open(keyring, &cookies)) {
        results.push(match cookie {
            Ok(cookie) if has_possible_nonce(&request.authenticator, cookie.keys.algorithm()) => {
                Ok(OpenedRequest {
                    cookies: (1 + request.placeholders).min(MOST_COOKIES),
                    cookie,
                })
            }
            Ok(_) => Err(OpenFault::Nonce),
            Err(CookieFault::Name) => Err(OpenFault::Name),
            Err(CookieFault::Forged) => Err(OpenFault::Cookie),
        });
    }
    authenticate(requests, &mut results);
    results
}

/// AEAD 30 takes nonces of one length, and all need room for ours.
//= RFC 8915 §5.6 room
fn has_possible_nonce(authenticator: &Authenticator<'_>, algorithm: Algorithm) -> bool {
    let length = algorithm.nonce_len();
    let is_possible = match algorithm {
        Algorithm::SivCmac256 => true,
        Algorithm::GcmSiv128 => authenticator.nonce.len() == length,
    };
    is_possible && authenticator.has_room(length)
}

/// Checks the authenticators of those whose cookies are genuine: of most, which encrypt nothing, together.
fn authenticate(
    requests: &[NtsRequest<'_>],
    results: &mut ArrayVec<Result<OpenedRequest, OpenFault>, BATCH>,
) {
    let mut genuine = [false; BATCH];
    let mut nothing: [[u8; 0]; BATCH] = [[]; BATCH];
    let mut jobs = Jobs::new();
    let each = requests
        .iter()
        .zip(results.iter())
        .zip(&mut genuine)
        .zip(&mut nothing);
    for (((request, result), genuine), text) in each {
        let (Ok(opened), Ok(tag)) = (result, request.authenticator.ciphertext.try_into()) else {
            continue;
        };
        let text = JobText {
            associated: request.associated,
            nonce: request.authenticator.nonce,
            text,
            tag,
        };
        jobs.push(&opened.cookie.keys, Sender::Client, text, genuine);
    }
    jobs.open(|place, genuine| *place = genuine);
    for ((request, result), mut genuine) in requests.iter().zip(results).zip(genuine) {
        if let Ok(opened) = result
            && request.authenticator.ciphertext.len() > TAG_LEN
        {
            genuine = decrypt(request, opened);
        }
        if result.is_ok() && !genuine {
            *result = Err(OpenFault::Authenticator);
        }
    }
}

/// Opens a request that encrypts fields, and counts the placeholders among them; false if it is not genuine.
//= RFC 8915 §5.7 placeholders
fn decrypt(request: &NtsRequest<'_>, opened: &mut OpenedRequest) -> bool {
    let mut room = [0; LONGEST_PLAINTEXT];
    let keys = &opened.cookie.keys;
    let Some((tag, ciphertext)) = split(keys.algorithm(), request.authenticator.ciphertext) else {
        return false;
    };
    let Some(text) = room.get_mut(..ciphertext.len()) else {
        return false;
    };
    text.copy_from_slice(ciphertext);
    let sealed = JobText {
        associated: request.associated,
        nonce: request.authenticator.nonce,
        text: &mut *text,
        tag,
    };
    let mut genuine = false;
    let mut jobs = Jobs::new();
    jobs.push(keys, Sender::Client, sealed, ());
    jobs.open(|(), is_genuine| genuine = is_genuine);
    if genuine {
        let is_placeholder = |part: Result<PacketPart<'_>, _>| match part {
            Ok(PacketPart::Field(field)) => {
                field.kind == field_type::COOKIE_PLACEHOLDER && field.value.len() == request.cookie.len()
            }
            Ok(PacketPart::Mac(_)) | Err(_) => false,
        };
        let more = PacketParts::of_plaintext(text)
            .filter(|part| is_placeholder(*part))
            .count();
        opened.cookies = opened.cookies.saturating_add(more);
    }
    opened.cookies = opened.cookies.min(MOST_COOKIES);
    room.as_mut_slice().zeroize();
    genuine
}

/// A reply to be sealed.
#[derive(Debug)]
pub struct NtsReply<'a> {
    /// To what.
    pub request: &'a NtsRequest<'a>,
    /// With which keys.
    pub opened: &'a OpenedRequest,
    /// The header, ready to be sent: an answer, or a kiss.
    pub header: [u8; HEADER_LEN],
    /// The place of the reply: as long as the request, so that both take the same way.
    pub buffer: &'a mut [u8],
}

/// The places of the parts of a reply.
struct Layout {
    /// The begin of the authenticator field.
    authenticator: usize,
    nonce: usize,
    /// Tag and text, in the order of the AEAD.
    sealed: usize,
    cookies: usize,
    end: usize,
}

impl Layout {
    /// `None` if not even one cookie fits into the buffer.
    //= RFC 8915 §5.7 cookies
    fn of(reply: &NtsReply<'_>) -> Option<Self> {
        let algorithm = reply.opened.algorithm();
        let authenticator = HEADER_LEN + FIELD_HEADER_LEN + reply.request.identifier.len();
        let nonce = authenticator + FIELD_HEADER_LEN + 4;
        let sealed = nonce + algorithm.nonce_len();
        let end = reply.request.length.min(reply.buffer.len()) / 4 * 4;
        let room = end.checked_sub(sealed + TAG_LEN)?;
        let cookies = reply
            .opened
            .cookies
            .min(room / (FIELD_HEADER_LEN + cookie_len(algorithm)));
        (cookies > 0).then_some(Self {
            authenticator,
            nonce,
            sealed,
            cookies,
            end,
        })
    }

    fn text_len(&self, algorithm: Algorithm) -> usize {
        self.cookies * (FIELD_HEADER_LEN + cookie_len(algorithm))
    }
}

/// Seals at most [`BATCH`] replies together, each with as many cookies as are wanted and fit; returns their lengths.
///
/// `None` for one whose buffer is shorter than its request and too short; nothing of that one may be sent.
//= RFC 8915 §5.7 reply
pub fn seal(
    keyring: &Keyring,
    nonces: &mut Nonces,
    replies: &mut [NtsReply<'_>],
) -> ArrayVec<Option<usize>, BATCH> {
    let (replies, _) = replies.split_at_mut(replies.len().min(BATCH));
    let mut derived = ArrayVec::new();
    let names = replies
        .iter()
        .map(|reply| keyring.renewed(reply.opened.key_name()));
    keyring.derive(names, &mut derived);
    let mut layouts = ArrayVec::<_, BATCH>::new();
    for reply in &mut *replies {
        let layout = Layout::of(reply);
        layouts.push(layout.filter(|layout| write(reply, layout, nonces)));
    }
    put_cookies(keyring, &derived, nonces, replies, &layouts);
    put_seals(replies, &layouts);
    let mut lengths = ArrayVec::new();
    for layout in layouts {
        lengths.push(layout.map(|layout| layout.end));
    }
    lengths
}

/// Writes all but cookies and tag; false if it does not fit.
fn write(reply: &mut NtsReply<'_>, layout: &Layout, nonces: &mut Nonces) -> bool {
    let algorithm = reply.opened.algorithm();
    let text_len = layout.text_len(algorithm);
    let Some(buffer) = reply.buffer.get_mut(..layout.end) else {
        return false;
    };
    let Some((header, _)) = buffer.split_first_chunk_mut() else {
        return false;
    };
    *header = reply.header;
    let mut writer = FieldWriter::new(buffer, HEADER_LEN);
    let identifier = writer.push(field_type::UNIQUE_IDENTIFIER, reply.request.identifier);
    let value = layout.end - layout.authenticator - FIELD_HEADER_LEN;
    let (Ok(()), Ok(value)) = (identifier, writer.reserve(field_type::AUTHENTICATOR, value)) else {
        return false;
    };
    let lengths = [algorithm.nonce_len(), TAG_LEN + text_len].map(u16::try_from);
    let ([Ok(nonce_len), Ok(sealed_len)], Some((head, rest))) = (lengths, value.split_first_chunk_mut())
    else {
        return false;
    };
    let ([a, b], [c, d]) = (nonce_len.to_be_bytes(), sealed_len.to_be_bytes());
    *head = [a, b, c, d];
    let (nonce, place) = (nonces.next_nonce(), rest.get_mut(..algorithm.nonce_len()));
    let (Some(nonce), Some(place)) = (nonce.get(..algorithm.nonce_len()), place) else {
        return false;
    };
    place.copy_from_slice(nonce);
    true
}

/// The text of a reply, and its tag's place, and what is before them.
struct Sealed<'a> {
    associated: &'a [u8],
    nonce: &'a [u8],
    text: &'a mut [u8],
    tag: &'a mut [u8; TAG_LEN],
}

impl<'a> Sealed<'a> {
    fn of(buffer: &'a mut [u8], layout: &Layout, algorithm: Algorithm) -> Option<Self> {
        let (before, sealed) = buffer.split_at_mut_checked(layout.sealed)?;
        let text_len = layout.text_len(algorithm);
        let (text, tag) = match algorithm {
            Algorithm::SivCmac256 => {
                let (tag, text) = sealed.split_first_chunk_mut()?;
                (text.get_mut(..text_len)?, tag)
            }
            Algorithm::GcmSiv128 => {
                let (text, rest) = sealed.split_at_mut_checked(text_len)?;
                (text, rest.first_chunk_mut()?)
            }
        };
        Some(Self {
            associated: before.get(..layout.authenticator)?,
            nonce: before.get(layout.nonce..)?,
            text,
            tag,
        })
    }
}

/// Fills the plaintexts with cookies: those of all replies go through the cipher together.
fn put_cookies(
    keyring: &Keyring,
    derived: &[CookieKey],
    nonces: &mut Nonces,
    replies: &mut [NtsReply<'_>],
    layouts: &[Option<Layout>],
) {
    let mut slots = ArrayVec::<CookieSlot<'_>, { BATCH * MOST_COOKIES }>::new();
    for (reply, layout) in replies.iter_mut().zip(layouts) {
        let keys = &reply.opened.cookie.keys;
        let key = keyring.find(keyring.renewed(reply.opened.key_name()), derived);
        let (Some(layout), Some(key)) = (layout, key) else {
            continue;
        };
        let Some(sealed) = Sealed::of(reply.buffer, layout, keys.algorithm()) else {
            continue;
        };
        let cookie = cookie_len(keys.algorithm());
        for field in sealed.text.chunks_exact_mut(FIELD_HEADER_LEN + cookie) {
            let mut writer = FieldWriter::new(field, 0);
            if writer.reserve(field_type::COOKIE, cookie).is_ok()
                && let Some(place) = field.get_mut(FIELD_HEADER_LEN..)
            {
                slots.push(CookieSlot { key, keys, place });
            }
        }
    }
    cookie::seal(&mut slots, nonces);
}

/// Encrypts the cookies and finds the tags.
fn put_seals(replies: &mut [NtsReply<'_>], layouts: &[Option<Layout>]) {
    let mut jobs = Jobs::new();
    for (reply, layout) in replies.iter_mut().zip(layouts) {
        let keys = &reply.opened.cookie.keys;
        let sealed = layout
            .as_ref()
            .and_then(|layout| Sealed::of(reply.buffer, layout, keys.algorithm()));
        let Some(sealed) = sealed else { continue };
        let text = JobText {
            associated: sealed.associated,
            nonce: sealed.nonce,
            text: sealed.text,
            tag: [0; TAG_LEN],
        };
        jobs.push(keys, Sender::Server, text, sealed.tag);
    }
    let done = jobs.seal(|place, tag| *place = tag);
    debug_assert!(done, "our nonces have the length of the AEAD");
}

/// Writes a NAK: `header` (a kiss with the code NTSN) and the client's identifier, nothing else.
///
/// Returns its length, which is less than the request's; `None` if `buffer` is too short.
//= RFC 8915 §5.7 nak
pub fn nak(request: &NtsRequest<'_>, header: &[u8; HEADER_LEN], buffer: &mut [u8]) -> Option<usize> {
    *buffer.first_chunk_mut()? = *header;
    let mut writer = FieldWriter::new(buffer, HEADER_LEN);
    writer
        .push(field_type::UNIQUE_IDENTIFIER, request.identifier)
        .ok()?;
    Some(writer.length())
}

#[cfg(test)]
mod tests;
