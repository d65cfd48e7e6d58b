//! Impure. Key establishment with one server: over TCP and TLS 1.3, one request and one answer (RFC 8915 §4).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError, Error as TlsError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::{CertificateValidity, CheckedAt, UncheckedCertificate};
use super::ke_fault::KeFault;
use super::key_state::NegotiatedServer;
use super::session::EstablishedKeys;
use crate::host::clock;
use crate::host::tls::client::{TlsClient, server_address, server_name};
use crate::nts::aead::Algorithm;
use crate::nts::ke::client::{AnswerFault, Granted, read, request};
use crate::nts::ke::record::LONGEST_MESSAGE;
use crate::nts::ke::{ALPN, KeyExport};
use crate::upstream::errno::fault_of;
use crate::upstream::fault::QueryFault;
use crate::upstream::{Host, KeServer};

/// Longest time for all.
const WITHIN: Duration = Duration::from_secs(10);
/// Longest time for a TCP connection to one address.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The AEADs that are asked for: shorter cookies first.
pub const WANTED: [Algorithm; 2] = [Algorithm::GcmSiv128, Algorithm::SivCmac256];

/// A key establishment that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct KeTarget<'a> {
    /// The host, whose name has to be in the certificate.
    pub host: &'a Host,
    /// The addresses to try, in this order, each with the port of key establishment.
    pub addresses: &'a [SocketAddr],
    /// The authorities that are trusted.
    pub server: &'a KeServer,
    /// The time that the certificate is checked against.
    pub checked_at: CheckedAt,
    /// The NTP port where the server names none.
    pub ntp_port: u16,
}

/// The result of a key establishment.
#[derive(Clone, Debug)]
pub struct KeResult {
    /// The keys and cookies.
    pub keys: EstablishedKeys,
    /// The NTP server that they are for.
    pub ntp_server: NegotiatedServer,
    /// The certificates of the server, its own first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The dates of the certificate.
    pub validity: CertificateValidity,
    /// The end of each step, by the raw counter: begin, TCP, TLS, answer.
    pub steps: [Duration; 4],
}

impl KeResult {
    /// Returns the seconds that the steps took: TCP, TLS, the answer.
    pub fn durations(&self) -> [f64; 3] {
        let [begun, connected, secured, answered] = self.steps;
        let between = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64();
        [
            between(begun, connected),
            between(connected, secured),
            between(secured, answered),
        ]
    }
}

/// The reason why there was no key establishment.
#[derive(Debug)]
pub enum KeError {
    /// Nothing could be sent: a fault of this host or its network.
    Unsent(QueryFault),
    /// The attempt failed: the reason, and more of it in words.
    Failed(KeFault, String),
}

fn failed(fault: KeFault, detail: impl ToString) -> KeError {
    KeError::Failed(fault, detail.to_string())
}

/// Establishes keys with the first address that accepts a connection, within 10 s.
///
/// # Errors
/// See [`KeError`]. The last address's, if none accepts a connection.
pub async fn establish(target: KeTarget<'_>) -> Result<KeResult, KeError> {
    timeout(WITHIN, establish_in_time(target))
        .await
        .unwrap_or_else(|_| Err(failed(KeFault::TimedOut, "time-out")))
}

async fn establish_in_time(target: KeTarget<'_>) -> Result<KeResult, KeError> {
    let begun = clock::raw();
    let (stream, address) = connect(target.addresses).await?;
    let connected = clock::raw();
    let client = TlsClient::new(target.server.trusted.certificates(), ALPN)
        .map_err(|error| failed(KeFault::Tls, error))?;
    let connector = TlsConnector::from(client.config());
    let mut stream = connector
        .connect(certified_name(target.host)?, stream)
        .await
        .map_err(|error| tls_fault(&error))?;
    let dates = client
        .dates()
        .ok_or_else(|| failed(KeFault::BadCertificate, "no certificate"))?;
    let validity = CertificateValidity {
        not_before: dates.not_before,
        not_after: dates.not_after,
    };
    target.checked_at.check(validity).map_err(|fault| {
        let about = format!(
            "valid from {} to {} (seconds since 1970)",
            dates.not_before, dates.not_after
        );
        failed(fault, about)
    })?;
    if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        return Err(failed(KeFault::Protocol, "it does not speak ntske/1"));
    }
    let secured = clock::raw();
    let granted = exchange(&mut stream).await?;
    let answered = clock::raw();
    let unchecked = (target.checked_at == CheckedAt::Later).then_some(UncheckedCertificate {
        validity,
        established: answered,
    });
    let keys = export(&stream, &granted, unchecked, validity.not_after)?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificates = certificates.iter().map(|one| one.clone().into_owned()).collect();
    // All is said: whether the server hears the end changes nothing.
    let _closed = stream.shutdown().await;
    let port = granted.port.unwrap_or(target.ntp_port);
    let ntp_server = NegotiatedServer::new(address, granted.server.as_deref(), port)
        .map_err(|fault| failed(fault, granted.server.unwrap_or_default()))?;
    Ok(KeResult {
        keys,
        ntp_server,
        certificates,
        validity,
        steps: [begun, connected, secured, answered],
    })
}

/// Connects to the first address that accepts a connection.
async fn connect(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), KeError> {
    let mut last = KeError::Unsent(QueryFault::Unresolved);
    for address in addresses {
        let error = match timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Or the request waits for the acknowledgement of TLS's last message, which servers delay by 40 ms.
                let _set = stream.set_nodelay(true);
                return Ok((stream, *address));
            }
            Ok(Err(error)) => connect_fault(&error),
            Err(elapsed) => failed(KeFault::TimedOut, format!("{address}: {elapsed}")),
        };
        // One that was sent says more of the server.
        if matches!(
            (&last, &error),
            (KeError::Unsent(_), _) | (_, KeError::Failed(..))
        ) {
            last = error;
        }
    }
    Err(last)
}

fn connect_fault(error: &io::Error) -> KeError {
    match fault_of(error) {
        Some(QueryFault::NotListening) => failed(KeFault::NotListening, error),
        Some(QueryFault::Forbidden) => failed(KeFault::Sandbox, error),
        Some(QueryFault::HostUnreachable | QueryFault::Refused) | None => failed(KeFault::Connect, error),
        Some(fault) => KeError::Unsent(fault),
    }
}

/// Returns the name that has to be in the certificate.
fn certified_name(host: &Host) -> Result<ServerName<'static>, KeError> {
    match host {
        Host::Address(address) => Ok(server_address(*address)),
        Host::LinkLocal(address, _) => Ok(server_address((*address).into())),
        Host::Name(name) => server_name(name).ok_or_else(|| failed(KeFault::WrongName, name)),
    }
}

/// Sends the request, and reads until the answer is whole.
async fn exchange(stream: &mut TlsStream<TcpStream>) -> Result<Granted, KeError> {
    let closed = |error: io::Error| tls_fault(&error);
    stream.write_all(&request(&WANTED)).await.map_err(closed)?;
    stream.flush().await.map_err(closed)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    // A longer message is refused, so this ends.
    while answer.len() <= LONGEST_MESSAGE {
        let length = match stream.read(&mut buffer).await {
            Ok(length) => length,
            // The server closed the connection without the end of TLS.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(tls_fault(&error)),
        };
        if length == 0 {
            return Err(failed(KeFault::Answer, "the connection ended within the answer"));
        }
        answer.extend(buffer.iter().take(length));
        match read(&answer, &WANTED) {
            Ok(None) => {}
            Ok(Some(granted)) => return Ok(granted),
            Err(fault) => return Err(answer_fault(fault)),
        }
    }
    Err(failed(KeFault::Answer, "too long"))
}

/// Exports the keys that the answer grants, in both ways if the server did not say which is its own.
fn export(
    stream: &TlsStream<TcpStream>,
    granted: &Granted,
    unchecked: Option<UncheckedCertificate>,
    not_after: i64,
) -> Result<EstablishedKeys, KeError> {
    let (_, connection) = stream.get_ref();
    let keys = |export: KeyExport| {
        export.keys(|context, key| {
            let exported = connection.export_keying_material(key, KeyExport::LABEL, Some(context));
            exported.is_ok()
        })
    };
    Ok(EstablishedKeys {
        keys: keys(granted.export).ok_or_else(|| failed(KeFault::Tls, "no keys exported"))?,
        other: granted.uncertain_export().and_then(keys),
        cookies: granted.cookies.clone(),
        unchecked,
        not_after,
    })
}

/// Returns the fault behind an error of the TLS library or of the connection below it.
fn tls_fault(error: &io::Error) -> KeError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    let fault = match tls {
        Some(TlsError::InvalidCertificate(why)) => certificate_fault(why),
        Some(
            TlsError::NoApplicationProtocol
            | TlsError::AlertReceived(AlertDescription::NoApplicationProtocol),
        ) => KeFault::Protocol,
        Some(_) => KeFault::Tls,
        None => KeFault::Connect,
    };
    failed(fault, error)
}

fn certificate_fault(why: &CertificateError) -> KeFault {
    if matches!(why, CertificateError::UnknownIssuer) {
        KeFault::UnknownIssuer
    } else if matches!(
        why,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    ) {
        KeFault::WrongName
    } else if matches!(
        why,
        CertificateError::Expired | CertificateError::ExpiredContext { .. }
    ) {
        KeFault::Expired
    } else {
        KeFault::BadCertificate
    }
}

fn answer_fault(fault: AnswerFault) -> KeError {
    let kind = match fault {
        AnswerFault::Error(_)
        | AnswerFault::Warning(_)
        | AnswerFault::NoProtocol
        | AnswerFault::NoAlgorithm => KeFault::Refused,
        AnswerFault::Message(_)
        | AnswerFault::UnrecognizedCritical(_)
        | AnswerFault::NoCookie
        | AnswerFault::CookieLength
        | AnswerFault::Record(_) => KeFault::Answer,
    };
    failed(kind, format!("{fault:?}"))
}
