//! Pure. The client's side of key establishment: the request, and what is made of the answer.

use super::record::{Message, MessageFault, MessageWriter, Record, record_type};
use super::{KeyExport, NTPV4};
use crate::nts::MOST_COOKIES;
use crate::nts::aead::Algorithm;

/// Longest cookie that is taken, in bytes: with it and its head a request still goes through every network.
pub const LONGEST_COOKIE: usize = 512;

/// Longest name of an NTP server, in bytes, as the domain name system has it.
const LONGEST_NAME: usize = 255;

/// A request for keys of one of `algorithms`, the most wanted first.
//= RFC 8915 §4.1.2 one
//= RFC 8915 §4.1.5 one
pub fn request(algorithms: &[Algorithm]) -> Vec<u8> {
    let mut request = MessageWriter::default();
    request.push_numbers(true, record_type::NEXT_PROTOCOL, [NTPV4]);
    request.push_numbers(
        true,
        record_type::AEAD,
        algorithms.iter().map(|algorithm| algorithm.id()),
    );
    if algorithms.contains(&Algorithm::GcmSiv128) {
        request.push(false, record_type::COMPLIANT_GCM_SIV, &[]);
    }
    request.end()
}

/// The grant of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The way in which the keys are exported.
    pub export: KeyExport,
    /// The cookies: one to eight, all of one length.
    pub cookies: Vec<Vec<u8>>,
    /// Name or address of the NTP server, if it is not the one that was asked.
    pub server: Option<String>,
    /// Its port, if it is not 123.
    pub port: Option<u16>,
}

impl Granted {
    /// The other way to export the keys, if the server did not say which one is its own.
    pub fn uncertain_export(&self) -> Option<KeyExport> {
        let other = self.export.other()?;
        (self.export == KeyExport::new(self.export.algorithm, false)).then_some(other)
    }
}

/// The reason why an answer grants nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFault {
    /// The answer is no message.
    Message(MessageFault),
    /// The server says that the request has an error, by its code.
    Error(u16),
    /// The server has doubts, by their code.
    Warning(u16),
    /// A critical record is not known here, by its type.
    UnrecognizedCritical(u16),
    /// The server does not speak NTPv4.
    NoProtocol,
    /// The server has no AEAD that was offered.
    NoAlgorithm,
    /// The server gave no cookie.
    NoCookie,
    /// A cookie is empty, too long, of a length that is no multiple of four, or of another one than the others.
    CookieLength,
    /// A record is there twice, of another length than it should have, or says what it can't.
    Record(u16),
}

/// Reads an answer; `None` if it is not whole, and more has to come.
///
/// # Errors
/// See [`AnswerFault`].
pub fn read(bytes: &[u8], wanted: &[Algorithm]) -> Result<Option<Granted>, AnswerFault> {
    let Some(message) = Message::read(bytes).map_err(AnswerFault::Message)? else {
        return Ok(None);
    };
    let mut said = Said::default();
    message.records().try_for_each(|record| said.note(&record))?;
    said.granted(wanted).map(Some)
}

#[derive(Default)]
struct Said {
    /// The first number of the record, if it has one.
    protocol: Option<Option<u16>>,
    algorithm: Option<Option<u16>>,
    is_compliant: bool,
    cookies: Vec<Vec<u8>>,
    server: Option<String>,
    port: Option<u16>,
}

impl Said {
    //= RFC 8915 §4.1 unknown
    //= RFC 8915 §4.1.3 client
    //= RFC 8915 §4.1.4 client
    fn note(&mut self, record: &Record<'_>) -> Result<(), AnswerFault> {
        let fault = AnswerFault::Record(record.kind);
        match record.kind {
            record_type::NEXT_PROTOCOL => put(&mut self.protocol, one_or_none(record)?, fault),
            record_type::AEAD => put(&mut self.algorithm, one_or_none(record)?, fault),
            record_type::ERROR => Err(record.number().map_or(fault, AnswerFault::Error)),
            record_type::WARNING => Err(record.number().map_or(fault, AnswerFault::Warning)),
            record_type::COOKIE => self.take_cookie(record.body),
            record_type::SERVER => put(&mut self.server, name(record.body).ok_or(fault)?, fault),
            record_type::PORT => {
                let port = record.number().filter(|port| *port != 0);
                put(&mut self.port, port.ok_or(fault)?, fault)
            }
            record_type::COMPLIANT_GCM_SIV => {
                self.is_compliant = true;
                Ok(())
            }
            kind if record.is_critical => Err(AnswerFault::UnrecognizedCritical(kind)),
            _ => Ok(()),
        }
    }

    fn take_cookie(&mut self, cookie: &[u8]) -> Result<(), AnswerFault> {
        let is_possible = (4..=LONGEST_COOKIE).contains(&cookie.len()) && cookie.len().is_multiple_of(4);
        let is_alike = self
            .cookies
            .first()
            .is_none_or(|first| first.len() == cookie.len());
        if !is_possible || !is_alike {
            return Err(AnswerFault::CookieLength);
        }
        if self.cookies.len() < MOST_COOKIES {
            self.cookies.push(cookie.to_vec());
        }
        Ok(())
    }

    //= RFC 8915 §4.1.5 offered
    fn granted(self, wanted: &[Algorithm]) -> Result<Granted, AnswerFault> {
        match self.protocol {
            None => return Err(AnswerFault::Record(record_type::NEXT_PROTOCOL)),
            Some(Some(NTPV4)) => {}
            Some(_) => return Err(AnswerFault::NoProtocol),
        }
        let algorithm = match self.algorithm {
            None => return Err(AnswerFault::Record(record_type::AEAD)),
            Some(None) => return Err(AnswerFault::NoAlgorithm),
            Some(Some(id)) => Algorithm::from_id(id).filter(|algorithm| wanted.contains(algorithm)),
        };
        let algorithm = algorithm.ok_or(AnswerFault::NoAlgorithm)?;
        if self.cookies.is_empty() {
            return Err(AnswerFault::NoCookie);
        }
        Ok(Granted {
            export: KeyExport::new(algorithm, self.is_compliant),
            cookies: self.cookies,
            server: self.server,
            port: self.port,
        })
    }
}

/// A server names one thing, or none that it has.
fn one_or_none(record: &Record<'_>) -> Result<Option<u16>, AnswerFault> {
    match record.body {
        [] => Ok(None),
        _ => record.number().map(Some).ok_or(AnswerFault::Record(record.kind)),
    }
}

fn put<T>(place: &mut Option<T>, value: T, fault: AnswerFault) -> Result<(), AnswerFault> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(fault),
    }
}

/// A name or an address. Nothing in it may surprise a log or a resolver.
//= RFC 8915 §4.1.7 name
fn name(body: &[u8]) -> Option<String> {
    let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:%".contains(byte);
    let is_name = (1..=LONGEST_NAME).contains(&body.len()) && body.iter().all(is_usual);
    is_name.then(|| body.iter().copied().map(char::from).collect())
}
