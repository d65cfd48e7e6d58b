//! Pure. The replies to requests with a MAC (RFC 5905 §7.3): checked, ruled about, and answered with a MAC of the same key.
//!
//! The order is that of the costs: the header, refusals that need no key, the MAC, the client's limit, the reply. So a
//! limit counts genuine requests only. What is not genuine gets nothing, no crypto-NAK either: that has no MAC, so no
//! client may act on it, and it tells an operator less than the counters here.

use crate::clock::SystemVariables;
use crate::server::interleaved::InterleavedRequest;
use crate::server::policy::Ruling;
use crate::server::respond::{answer, answer_mode, kiss, parse};
use crate::server::{ReplyBuffer, Request, Verdict};
use crate::symmetric::{KeyId, KeyTable, SymmetricKey};
use crate::time::NtpTimestamp;
use crate::wire::trailer::Trailer;
use crate::wire::{Header, Mode};

/// A request whose MAC is genuine.
#[derive(Debug)]
pub(super) struct GenuineRequest<'k> {
    header: Header,
    /// The mode of the answer.
    mode: Mode,
    received_at: NtpTimestamp,
    /// The time when the previous reply left, if this one tells it.
    transmitted: Option<NtpTimestamp>,
    key: &'k SymmetricKey,
    /// Length of the digest in the request, in bytes: that of the reply is as long.
    digest_len: usize,
}

/// Whether a packet has a MAC, or what could only be the rest of one: then its sender wants an authenticated reply.
pub(super) fn has_mac(packet: &[u8]) -> bool {
    Trailer::of(packet) != Trailer::Nothing
}

/// Checks the header and the MAC of a request. `refusal` is one that needs no key.
///
/// # Errors
/// The verdict, where there is no reply. It says [`Verdict::RefusedMac`] of a request without a MAC, too.
pub(super) fn check<'k>(
    keys: &'k KeyTable,
    request: &Request<'_>,
    refusal: Option<Verdict>,
) -> Result<GenuineRequest<'k>, Verdict> {
    let header = parse(request)?;
    let (mode, _) = answer_mode(&header, request.source_port)?;
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    let Trailer::Mac(signed, mac) = Trailer::of(request.payload) else {
        return Err(Verdict::RefusedMac);
    };
    if mac.digest.is_empty() {
        // A crypto-NAK: no request has one, and none is sent.
        //= RFC 5905 §9.2 crypto-nak
        return Err(Verdict::RefusedMac);
    }
    let key = KeyId::new(mac.key).and_then(|id| keys.get(id));
    let key = key.ok_or(Verdict::RefusedMacKey)?;
    //= RFC 5905 §9.2 authentication
    if !key.is_genuine(signed, &mac) {
        return Err(Verdict::RefusedMac);
    }
    Ok(GenuineRequest {
        header,
        mode,
        received_at: request.received_at,
        transmitted: None,
        key,
        digest_len: mac.digest.len(),
    })
}

impl GenuineRequest<'_> {
    /// Returns it as a candidate for interleaved mode, if it is one.
    pub(super) fn candidate(&self) -> Option<InterleavedRequest> {
        InterleavedRequest::of(&self.header)
    }

    /// Makes an answer tell when the previous one left, at `transmitted`.
    pub(super) fn interleave(&mut self, transmitted: Option<NtpTimestamp>) {
        self.transmitted = transmitted;
    }

    /// Writes the reply that `ruling` allows, with its MAC, and returns the verdict.
    ///
    /// The reply is as long as a request without extension fields: never longer than this one. `transmit_at` is when it
    /// leaves (t3).
    pub(super) fn respond(
        &self,
        ruling: Ruling,
        transmit_at: NtpTimestamp,
        variables: &SystemVariables,
        reply: &mut ReplyBuffer<'_>,
    ) -> Verdict {
        let answer = |variables| answer(&self.header, self.mode, self.received_at, transmit_at, variables);
        let (header, verdict) = match ruling {
            Ruling::Answer => (self.interleaved(answer(variables)), Verdict::AnsweredMac),
            //= RFC 5905 §7.4 sent
            Ruling::Kiss { verdict, code, poll } => (kiss(answer(&variables.unusable(code)), poll), verdict),
            Ruling::Refuse(verdict) => return verdict,
        };
        //= RFC 5905 §7.3 mac
        let header = header.to_bytes();
        let is_whole = reply.append(&header) && reply.append(&self.key.mac_as_in(&header, self.digest_len));
        if is_whole {
            verdict
        } else {
            reply.clear();
            Verdict::RefusedTooShort
        }
    }

    fn interleaved(&self, basic: Header) -> Header {
        match self.candidate().zip(self.transmitted) {
            Some((candidate, transmitted)) => candidate.reply(basic, transmitted),
            None => basic,
        }
    }
}

#[cfg(test)]
mod tests;
