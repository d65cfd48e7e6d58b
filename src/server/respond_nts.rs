//! Pure. The replies to requests with NTS (RFC 8915 §5.7): several are opened, ruled about and sealed together.
//!
//! The order is that of the costs: the header, refusals that need no keys, cookie and authenticator, the client's limit,
//! the reply. So a limit counts genuine requests only, and forged ones apart.

use std::net::IpAddr;

use arrayvec::ArrayVec;

use crate::clock::SystemVariables;
use crate::nts::Nonces;
use crate::nts::aead::BATCH;
use crate::nts::keyring::Keyring;
use crate::nts::server::{self as nts, NtsReply, NtsRequest, OpenFault, OpenedRequest};
use crate::server::interleaved::{Expected, InterleavedRequest, transmit_mark};
use crate::server::nts_counts::{CookieAge, NakReason};
use crate::server::policy::Ruling;
use crate::server::policy::limit::RequestClass;
use crate::server::respond::{answer, answer_mode, kiss, parse};
use crate::server::{Request, Verdict};
use crate::time::{NtpDuration, NtpTimestamp};
use crate::wire::{HEADER_LEN, Header, Mode, ReferenceId};

/// A packet with fields of NTS, and room for its reply.
#[derive(Debug)]
pub struct NtsPacket<'a> {
    /// The packet.
    pub request: Request<'a>,
    /// Whether there was more of it than the payload.
    pub is_cut: bool,
    /// A refusal that needs no look at its fields.
    pub refusal: Option<Verdict>,
    /// Room for the reply: as many bytes as the payload has.
    pub reply: &'a mut [u8],
}

/// The outcome of a packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NtsOutcome {
    /// Whether and how it is answered.
    pub verdict: Verdict,
    /// The length of the reply; 0 without one.
    pub length: usize,
    /// The time from the arrival to the transmit timestamp; 0 without a reply.
    pub residence: NtpDuration,
    /// The age of a genuine cookie.
    pub cookie_age: Option<CookieAge>,
    /// The reason of a NAK.
    pub nak: Option<NakReason>,
    /// Whether the reply is an interleaved one, and what is saved of it once it has left; `None` if it is no candidate's.
    pub interleaved: Option<Expected>,
}

impl NtsOutcome {
    const fn of(verdict: Verdict) -> Self {
        Self {
            verdict,
            length: 0,
            residence: NtpDuration::ZERO,
            cookie_age: None,
            nak: None,
            interleaved: None,
        }
    }
}

/// The outcomes of a batch, in the order of its packets.
pub type NtsOutcomes = ArrayVec<NtsOutcome, BATCH>;

/// Packets on their way to their replies: [`Self::open`], then [`Self::rule`], then [`Self::seal`].
#[derive(Debug)]
pub struct NtsBatch<'a> {
    outcomes: NtsOutcomes,
    cases: ArrayVec<NtsCase<'a>, BATCH>,
}

/// A whole request.
#[derive(Debug)]
struct NtsCase<'a> {
    /// Its place among the outcomes.
    place: usize,
    header: Header,
    source: IpAddr,
    received_at: NtpTimestamp,
    request: NtsRequest<'a>,
    reply: &'a mut [u8],
    decision: NtsDecision,
    /// The time when the previous reply left, if this one tells it.
    interleaved: Option<(InterleavedRequest, NtpTimestamp)>,
}

/// The decision about a whole request, as far as it is made.
#[derive(Debug)]
enum NtsDecision {
    /// None yet: it is genuine.
    Opened(OpenedRequest),
    /// None yet: it is not genuine.
    Unopened(NakReason),
    /// An authenticated answer, or an authenticated kiss.
    Seal(OpenedRequest, Option<(ReferenceId, i8)>),
    /// A NAK.
    Nak,
    /// No reply.
    Nothing,
}

impl<'a> NtsBatch<'a> {
    /// Reads `packets`, and opens those that are whole requests.
    //= RFC 8915 §5.7 open
    pub fn open(keyring: &Keyring, packets: ArrayVec<NtsPacket<'a>, BATCH>) -> Self {
        let mut outcomes = ArrayVec::new();
        let mut requests = ArrayVec::<_, BATCH>::new();
        let mut cases = ArrayVec::<_, BATCH>::new();
        for (place, packet) in packets.into_iter().enumerate() {
            let (header, request) = match read(&packet) {
                Ok(read) => read,
                Err(refused) => {
                    outcomes.push(NtsOutcome::of(refused));
                    continue;
                }
            };
            outcomes.push(NtsOutcome::of(Verdict::RefusedNtsMalformed));
            requests.push(request);
            cases.push(NtsCase {
                place,
                header,
                source: packet.request.source,
                received_at: packet.request.received_at,
                request,
                reply: packet.reply,
                decision: NtsDecision::Nothing,
                interleaved: None,
            });
        }
        for (case, opened) in cases.iter_mut().zip(nts::open(keyring, &requests)) {
            if let (Ok(opened), Some(outcome)) = (&opened, outcomes.get_mut(case.place)) {
                let age = keyring.period().age_of(opened.key_name().period());
                outcome.cookie_age = Some(CookieAge::of_periods(age));
            }
            case.decision = decision(opened);
        }
        Self { outcomes, cases }
    }

    /// Asks `rule` about each whole request, once.
    ///
    /// A limit of genuine requests counts no others: those have one of their own.
    //= RFC 8915 §5.7 nak
    pub fn rule(&mut self, mut rule: impl FnMut(IpAddr, RequestClass) -> Ruling) {
        for case in &mut self.cases {
            let Some(outcome) = self.outcomes.get_mut(case.place) else {
                continue;
            };
            let decision = std::mem::replace(&mut case.decision, NtsDecision::Nothing);
            (outcome.verdict, case.decision) = match decision {
                NtsDecision::Opened(opened) => match rule(case.source, RequestClass::Authenticated) {
                    Ruling::Answer => (Verdict::AnsweredNts, NtsDecision::Seal(opened, None)),
                    Ruling::Kiss { verdict, code, poll } => {
                        (verdict, NtsDecision::Seal(opened, Some((code, poll))))
                    }
                    Ruling::Refuse(verdict) => (verdict, NtsDecision::Nothing),
                },
                NtsDecision::Unopened(reason) => {
                    match unauthenticated(rule(case.source, RequestClass::Unauthenticated)) {
                        Ok(verdict) => {
                            outcome.nak = Some(reason);
                            (verdict, NtsDecision::Nak)
                        }
                        Err(refused) => (refused, NtsDecision::Nothing),
                    }
                }
                NtsDecision::Seal(..) | NtsDecision::Nak | NtsDecision::Nothing => {
                    (outcome.verdict, decision)
                }
            };
        }
    }

    /// Asks `ask` about each candidate for interleaved mode that gets an answer, once: its address, and when it came.
    ///
    /// It returns when the previous reply left, if that is known, and what is saved of this one.
    pub fn interleave(
        &mut self,
        mut ask: impl FnMut(InterleavedRequest, IpAddr, NtpTimestamp) -> (Option<NtpTimestamp>, Expected),
    ) {
        for case in &mut self.cases {
            let is_answered = matches!(case.decision, NtsDecision::Seal(_, None));
            let candidate = InterleavedRequest::of(&case.header).filter(|_| is_answered);
            if let (Some(candidate), Some(outcome)) = (candidate, self.outcomes.get_mut(case.place)) {
                let (transmitted, expected) = ask(candidate, case.source, case.received_at);
                case.interleaved = transmitted.map(|transmitted| (candidate, transmitted));
                outcome.interleaved = Some(expected);
            }
        }
    }

    /// Returns the number of bytes that are going to be sealed.
    pub fn sealed_len(&self) -> usize {
        let sealed = self
            .cases
            .iter()
            .filter(|case| matches!(case.decision, NtsDecision::Seal(..)));
        sealed.map(|case| case.request.length()).sum()
    }

    /// Writes the replies. `transmit_at` gives the time at which the reply of this number (from 0) leaves.
    pub fn seal(
        mut self,
        keyring: &Keyring,
        nonces: &mut Nonces,
        variables: &SystemVariables,
        transmit_at: impl Fn(usize) -> NtpTimestamp,
    ) -> NtsOutcomes {
        let mut replies = ArrayVec::<_, BATCH>::new();
        let mut places = ArrayVec::<_, BATCH>::new();
        let mut number = 0;
        for case in &mut self.cases {
            let Some(outcome) = self.outcomes.get_mut(case.place) else {
                continue;
            };
            let transmit_at = transmit_mark(transmit_at(number), case.received_at);
            let header = |variables| {
                answer(
                    &case.header,
                    Mode::Server,
                    case.received_at,
                    transmit_at,
                    variables,
                )
            };
            match &case.decision {
                NtsDecision::Seal(opened, kissed) => {
                    //= RFC 8915 §5.7 kiss
                    let header = match kissed {
                        None => match &case.interleaved {
                            None => header(variables),
                            Some((candidate, transmitted)) => {
                                candidate.reply(header(variables), *transmitted)
                            }
                        },
                        Some((code, poll)) => kiss(header(&variables.unusable(*code)), *poll),
                    };
                    replies.push(NtsReply {
                        request: &case.request,
                        opened,
                        header: header.to_bytes(),
                        buffer: case.reply,
                    });
                    places.push(case.place);
                }
                NtsDecision::Nak => {
                    let header = header(&variables.unusable(ReferenceId::NTSN)).to_bytes();
                    outcome.length = nts::nak(&case.request, &header, case.reply).unwrap_or(0);
                }
                NtsDecision::Opened(_) | NtsDecision::Unopened(_) | NtsDecision::Nothing => continue,
            }
            outcome.residence = transmit_at - case.received_at;
            number += 1;
        }
        for (place, length) in places.into_iter().zip(nts::seal(keyring, nonces, &mut replies)) {
            if let Some(outcome) = self.outcomes.get_mut(place) {
                outcome.length = length.unwrap_or(0);
            }
        }
        self.outcomes.iter_mut().for_each(NtsOutcome::check);
        self.outcomes
    }
}

impl NtsOutcome {
    /// Makes of a reply that did not fit into its request's length a refusal.
    fn check(&mut self) {
        if self.verdict.has_reply() && self.length < HEADER_LEN {
            *self = Self {
                cookie_age: self.cookie_age,
                ..Self::of(Verdict::RefusedNtsMalformed)
            };
        }
    }
}

/// Reads the header and the fields, or refuses.
///
/// NTS is for clients of version 4 alone (RFC 8915 §5).
//= RFC 8915 §5.7 request
fn read<'a>(packet: &NtsPacket<'a>) -> Result<(Header, NtsRequest<'a>), Verdict> {
    let header = parse(&packet.request)?;
    answer_mode(&header, packet.request.source_port)?;
    if let Some(refusal) = packet.refusal {
        return Err(refusal);
    }
    if header.mode != Mode::Client || header.version.number() != 4 || packet.is_cut {
        return Err(Verdict::RefusedNtsMalformed);
    }
    match NtsRequest::parse(packet.request.payload) {
        Ok(Some(request)) => Ok((header, request)),
        Ok(None) | Err(nts::Malformed) => Err(Verdict::RefusedNtsMalformed),
    }
}

/// The decision so far about a request that was opened, or not.
fn decision(opened: Result<OpenedRequest, OpenFault>) -> NtsDecision {
    match opened {
        Ok(opened) => NtsDecision::Opened(opened),
        Err(OpenFault::Name) => NtsDecision::Unopened(NakReason::Name),
        Err(OpenFault::Cookie) => NtsDecision::Unopened(NakReason::Cookie),
        Err(OpenFault::Authenticator) => NtsDecision::Unopened(NakReason::Authenticator),
        Err(OpenFault::Nonce) => NtsDecision::Nothing,
    }
}

/// Returns the verdict about a request that is not genuine: a NAK, or the refusal.
///
/// Another kiss would need an authenticator for its client to believe it.
fn unauthenticated(ruling: Ruling) -> Result<Verdict, Verdict> {
    match ruling {
        Ruling::Answer => Ok(Verdict::KissedNtsNak),
        Ruling::Kiss {
            verdict: Verdict::KissedDenied,
            ..
        } => Err(Verdict::RefusedDenied),
        Ruling::Kiss { .. } => Err(Verdict::RefusedRate),
        Ruling::Refuse(verdict) => Err(verdict),
    }
}

#[cfg(test)]
mod tests;
