//! Pure. The server's side of key establishment: what is answered to a request.

use super::record::{LONGEST_MESSAGE, Message, MessageFault, MessageWriter, Record, record_type};
use super::{KeyExport, NTPV4};
use crate::nts::aead::Algorithm;

/// The offer of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeOffer {
    /// The AEADs that may be chosen: the client's order decides.
    pub algorithms: Vec<Algorithm>,
    /// The name or address of the NTP server, if it is another host.
    pub server: Option<String>,
    /// Its port, if it is not 123.
    pub port: Option<u16>,
}

/// The code of a refusal (RFC 8915 §4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// 0: a critical record is not known here.
    UnrecognizedCritical,
    /// 1: the request is no good one.
    BadRequest,
    /// 2: something failed here.
    Internal,
}

impl ErrorCode {
    const fn number(self) -> u16 {
        match self {
            Self::UnrecognizedCritical => 0,
            Self::BadRequest => 1,
            Self::Internal => 2,
        }
    }

    /// The answer that says so.
    //= RFC 8915 §4.1.3 error
    pub fn answer(self) -> Vec<u8> {
        let mut answer = MessageWriter::default();
        answer.push_numbers(true, record_type::ERROR, [self.number()]);
        answer.end()
    }
}

/// The decision about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeDecision {
    /// The request is not whole: more has to come.
    Wait,
    /// AssociationKeys are established: they are to be exported, cookies made, and [`accept`] says all that.
    Accept(Accepted),
    /// The client speaks no protocol that we do; [`no_protocol`] says so.
    NoProtocol,
    /// The client has no AEAD that is offered; [`no_algorithm`] says so.
    NoAlgorithm,
    /// The request is refused; [`ErrorCode::answer`] says so.
    Refuse(ErrorCode),
}

/// The agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The way in which the keys are exported.
    pub export: KeyExport,
    /// Whether the client said that it exports keys of AEAD 30 as the RFC has it.
    is_compliant: bool,
}

/// Decides on what has come of a request so far.
pub fn decide(bytes: &[u8], offer: &KeOffer) -> KeDecision {
    let message = match Message::read(bytes) {
        Ok(None) => return KeDecision::Wait,
        Ok(Some(message)) => message,
        Err(MessageFault::TooLong | MessageFault::End | MessageFault::Behind) => {
            return KeDecision::Refuse(ErrorCode::BadRequest);
        }
    };
    let wanted = match KeRequest::of(message, offer) {
        Ok(wanted) => wanted,
        Err(code) => return KeDecision::Refuse(code),
    };
    match (wanted.speaks_ntpv4, wanted.algorithm) {
        (Some(false), _) => KeDecision::NoProtocol,
        (Some(true), Some(Some(algorithm))) => KeDecision::Accept(Accepted {
            export: KeyExport::new(algorithm, wanted.is_compliant),
            is_compliant: wanted.is_compliant,
        }),
        (Some(true), Some(None)) => KeDecision::NoAlgorithm,
        //= RFC 8915 §4.1.2 one
        //= RFC 8915 §4.1.5 one
        (None, _) | (Some(true), None) => KeDecision::Refuse(ErrorCode::BadRequest),
    }
}

/// The content of a request.
#[derive(Default)]
struct KeRequest {
    speaks_ntpv4: Option<bool>,
    /// The first of the client's that we have, if any.
    algorithm: Option<Option<Algorithm>>,
    is_compliant: bool,
}

impl KeRequest {
    fn of(message: Message<'_>, offer: &KeOffer) -> Result<Self, ErrorCode> {
        let mut wanted = Self::default();
        message
            .records()
            .try_for_each(|record| wanted.note(&record, offer))?;
        Ok(wanted)
    }

    //= RFC 8915 §4.1 unknown
    //= RFC 8915 §4.1.3 client
    //= RFC 8915 §4.1.4 client
    //= RFC 8915 §4.1.6 client
    fn note(&mut self, record: &Record<'_>, offer: &KeOffer) -> Result<(), ErrorCode> {
        match record.kind {
            record_type::NEXT_PROTOCOL => {
                let mut numbers = record.numbers().ok_or(ErrorCode::BadRequest)?;
                let speaks = numbers.any(|number| number == NTPV4);
                once(&mut self.speaks_ntpv4, speaks)
            }
            record_type::AEAD => {
                let mut numbers = record.numbers().ok_or(ErrorCode::BadRequest)?;
                let known = numbers.find_map(|number| {
                    let algorithm = Algorithm::from_id(number)?;
                    offer.algorithms.contains(&algorithm).then_some(algorithm)
                });
                once(&mut self.algorithm, known)
            }
            record_type::END | record_type::ERROR | record_type::WARNING | record_type::COOKIE => {
                Err(ErrorCode::BadRequest)
            }
            // Wishes that we don't grant: there is one server behind this port.
            //= RFC 8915 §4.1.7 wish
            record_type::SERVER | record_type::PORT => Ok(()),
            record_type::COMPLIANT_GCM_SIV => {
                self.is_compliant = true;
                Ok(())
            }
            _ if record.is_critical => Err(ErrorCode::UnrecognizedCritical),
            _ => Ok(()),
        }
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), ErrorCode> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ErrorCode::BadRequest),
    }
}

/// The answer with `cookies`, each of some bytes. As many are left out as would make it longer than others read.
//= RFC 8915 §4.1.2 one
//= RFC 8915 §4.1.5 one
//= RFC 8915 §4.1.6 cookies
pub fn accept<'a>(
    accepted: Accepted,
    offer: &KeOffer,
    cookies: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut answer = MessageWriter::default();
    answer.push_numbers(true, record_type::NEXT_PROTOCOL, [NTPV4]);
    answer.push_numbers(true, record_type::AEAD, [accepted.export.algorithm.id()]);
    if accepted.is_compliant && accepted.export.algorithm == Algorithm::GcmSiv128 {
        answer.push(false, record_type::COMPLIANT_GCM_SIV, &[]);
    }
    let mut length = 256 + 32;
    for cookie in cookies {
        length += cookie.len() + 4;
        if length <= LONGEST_MESSAGE {
            answer.push(false, record_type::COOKIE, cookie);
        }
    }
    if let Some(server) = &offer.server {
        answer.push(true, record_type::SERVER, server.as_bytes());
    }
    if let Some(port) = offer.port {
        answer.push_numbers(true, record_type::PORT, [port]);
    }
    answer.end()
}

/// The answer to a client that speaks no protocol of ours.
//= RFC 8915 §4.1.2 none
pub fn no_protocol() -> Vec<u8> {
    let mut answer = MessageWriter::default();
    answer.push(true, record_type::NEXT_PROTOCOL, &[]);
    answer.end()
}

/// The answer to a client that has no AEAD of ours.
//= RFC 8915 §4.1.5 none
pub fn no_algorithm() -> Vec<u8> {
    let mut answer = MessageWriter::default();
    answer.push_numbers(true, record_type::NEXT_PROTOCOL, [NTPV4]);
    answer.push(true, record_type::AEAD, &[]);
    answer.end()
}
