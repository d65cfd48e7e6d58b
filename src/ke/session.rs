//! Impure. A session: TLS, one request, one answer, on a connection that was admitted.

use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::admission::{KeLimits, SessionId};
use super::outcome::{KeOutcome, KeRefusal};
use super::service::KeService;
use super::sessions::{SessionEnd, Sessions};
use crate::host::{clock, entropy, tcp};
use crate::nts::ke::server::{Accepted, ErrorCode, KeDecision, accept, decide, no_algorithm, no_protocol};
use crate::nts::{AssociationKeys, Nonces, cookie};

/// Length of the head of a TLS record, in bytes (RFC 8446 §5.1).
const RECORD_HEAD: usize = 5;
/// The type of a TLS record with a handshake message.
const HANDSHAKE: u8 = 22;
/// The longest TLS record without encryption, in bytes.
const LONGEST_RECORD: usize = RECORD_HEAD + (1 << 14);
/// Interval of tries to begin a handshake that has to wait.
const WAIT: Duration = Duration::from_millis(50);
/// The part of a request that is read at once, in bytes: most are shorter.
const PIECE: usize = 512;

/// A session with its number.
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) limits: KeLimits,
    pub(super) service: Arc<KeService>,
    pub(super) sessions: Arc<Sessions>,
}

impl Session {
    /// Runs it to its end.
    pub(super) async fn run(self, stream: TcpStream) {
        let end = match timeout(self.limits.timeout, self.converse(stream)).await {
            Ok(Ok((outcome, stream))) => {
                self.sessions.note_answer(self.id);
                let _closed = timeout(self.limits.closing_timeout(), wait_for_end(stream)).await;
                SessionEnd::Outcome(outcome)
            }
            Ok(Err(end)) => end,
            Err(_) => SessionEnd::Outcome(KeOutcome::TimedOut),
        };
        self.sessions.end(self.id, end);
    }

    /// Comes to an answer; `Err` is an end without one.
    async fn converse(&self, stream: TcpStream) -> Result<(KeOutcome, TcpStream), SessionEnd> {
        let started = clock::raw();
        let mut waits_for = None;
        let turn = timeout(self.limits.hello_timeout(), self.turn(&stream, &mut waits_for));
        match turn.await {
            Ok(turn) => turn.map_err(SessionEnd::Outcome)?,
            Err(_) => {
                tcp::reset(&stream);
                let timed_out = SessionEnd::Outcome(KeOutcome::TimedOut);
                return Err(waits_for.map_or(timed_out, SessionEnd::Refused));
            }
        }
        // All that TLS needs is taken from the heap now: most sessions of a flood never come here.
        let answered = Box::pin(self.establish(stream, started)).await;
        answered.map_err(|error| SessionEnd::Outcome(error.0))
    }

    /// Waits until the ClientHello is there and the handshake may begin, or the client has gone.
    async fn turn(&self, stream: &TcpStream, waits_for: &mut Option<KeRefusal>) -> Result<(), KeOutcome> {
        hello_is_there(stream).await?;
        loop {
            *waits_for = self.sessions.begin(self.id);
            if waits_for.is_none() {
                return Ok(());
            }
            sleep(WAIT).await;
        }
    }

    async fn establish(
        &self,
        stream: TcpStream,
        started: Duration,
    ) -> Result<(KeOutcome, TcpStream), SessionError> {
        let left = self
            .limits
            .hello_timeout()
            .saturating_sub(clock::raw().saturating_sub(started));
        // More to wait for only if the hello comes in several records.
        let hello = timeout(left, LazyConfigAcceptor::new(Acceptor::default(), stream));
        let hello = hello.await.map_err(|_| SessionError(KeOutcome::TimedOut))??;
        // With other protocols than ours TLS refuses it; with none it would not.
        //= RFC 8915 §4 alpn
        if hello.client_hello().alpn().is_none() {
            return Err(SessionError(KeOutcome::TlsFailed));
        }
        let mut tls = hello.into_stream(Arc::clone(&self.service.tls)).await?;
        let (outcome, answer) = self.answer(&mut tls).await?;
        tls.write_all(&answer).await?;
        // First the end of TLS, then that of this direction.
        //= RFC 8915 §4 close
        tls.shutdown().await?;
        self.sessions.count_answer(clock::raw().saturating_sub(started));
        Ok((outcome, tls.into_inner().0))
    }

    /// Reads the request, and returns the answer.
    async fn answer(&self, tls: &mut TlsStream<TcpStream>) -> Result<(KeOutcome, Vec<u8>), SessionError> {
        let mut request = Vec::with_capacity(PIECE);
        loop {
            let decision = decide(&request, &self.service.offer);
            return Ok(match decision {
                KeDecision::Wait => {
                    if tls.read_buf(&mut request).await? == 0 {
                        return Err(SessionError(KeOutcome::Closed));
                    }
                    continue;
                }
                KeDecision::Accept(accepted) => self.accept(tls, accepted),
                KeDecision::NoProtocol => (KeOutcome::NoProtocol, no_protocol()),
                KeDecision::NoAlgorithm => (KeOutcome::NoAlgorithm, no_algorithm()),
                KeDecision::Refuse(code) => (KeOutcome::BadRequest, code.answer()),
            });
        }
    }

    fn accept(&self, tls: &TlsStream<TcpStream>, accepted: Accepted) -> (KeOutcome, Vec<u8>) {
        let (_, connection) = tls.get_ref();
        let export = |context: &[u8; 5], key: &mut [u8]| {
            let label = crate::nts::ke::KeyExport::LABEL;
            connection
                .export_keying_material(key, label, Some(context))
                .is_ok()
        };
        let cookies = accepted.export.keys(export).and_then(|keys| self.cookies(&keys));
        match cookies {
            Some(cookies) => {
                let cookies = cookies.iter().map(Vec::as_slice);
                (
                    KeOutcome::Established,
                    accept(accepted, &self.service.offer, cookies),
                )
            }
            None => (KeOutcome::Failed, ErrorCode::Internal.answer()),
        }
    }

    fn cookies(&self, keys: &AssociationKeys) -> Option<Vec<Vec<u8>>> {
        let mut nonces = Nonces::new(entropy::bytes().ok()?);
        let cookies = cookie::several(&self.service.keyring, keys, &mut nonces);
        (!cookies.is_empty()).then_some(cookies)
    }
}

/// Waits until the first TLS record is there, and leaves it in the kernel.
///
/// So a client that does not send all of it takes no memory of TLS.
async fn hello_is_there(stream: &TcpStream) -> Result<(), KeOutcome> {
    loop {
        let ready = stream.ready(Interest::READABLE).await;
        let ready = ready.map_err(|_| KeOutcome::Closed)?;
        match stream.try_io(Interest::READABLE, || first_record(stream)) {
            Ok(true) => return Ok(()),
            // A part, and more can come. After the client's end none can, and the runtime would report that end for ever.
            Err(error) if error.kind() == ErrorKind::WouldBlock && !ready.is_read_closed() => {}
            Ok(false) | Err(_) => return Err(KeOutcome::Closed),
        }
    }
}

/// Whether the first record is there, or what is there is none; false at the end of the connection.
///
/// `WouldBlock` if there is only a part of it.
fn first_record(stream: &TcpStream) -> io::Result<bool> {
    let mut record = [0; LONGEST_RECORD];
    let seen = peek(stream, &mut record, RECORD_HEAD)?;
    let [kind, _, _, high, low, ..] = record;
    let length = RECORD_HEAD + usize::from(u16::from_be_bytes([high, low]));
    match seen {
        0 => Ok(false),
        // TLS refuses it.
        _ if kind != HANDSHAKE => Ok(true),
        RECORD_HEAD if length > LONGEST_RECORD => Ok(true),
        RECORD_HEAD if peek(stream, &mut record, length)? == length => Ok(true),
        _ => Err(ErrorKind::WouldBlock.into()),
    }
}

/// Looks at the first `length` bytes, and returns how many of them are there; 0 at the end of the connection.
fn peek(stream: &TcpStream, bytes: &mut [u8], length: usize) -> io::Result<usize> {
    let bytes = bytes.get_mut(..length).unwrap_or_default();
    Ok(recv(stream.as_raw_fd(), bytes, MsgFlags::MSG_PEEK)?)
}

/// Reads and forgets until the client closes the connection.
///
/// To close it before would be a reset to the client if it has sent more, and might take its answer away.
async fn wait_for_end(mut stream: TcpStream) {
    let mut rest = [0; PIECE];
    while let Ok(1..) = stream.read(&mut rest).await {}
}

/// The end of a session by a failure of the connection or of TLS.
struct SessionError(KeOutcome);

impl From<io::Error> for SessionError {
    fn from(error: io::Error) -> Self {
        // TLS reports what is wrong with its messages so.
        let is_of_tls = error.kind() == ErrorKind::InvalidData;
        Self(if is_of_tls {
            KeOutcome::TlsFailed
        } else {
            KeOutcome::Closed
        })
    }
}
