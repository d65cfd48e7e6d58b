//! Impure. The server's end of the control socket.
//!
//! It is a UNIX socket; the permissions of its file decide which users may connect.
//!
//! A connection has one request, of at most [`LONGEST_REQUEST`] bytes, up to where the client closes its
//! side, and one answer, or answers without end to a client that watches. The [`protocol`] defines them.

use std::io;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{Gid, Uid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::command::Caller;
use super::protocol::{
    self, ControlAnswer, ControlFailure, ControlRequest, LONGEST_REQUEST, TRANSFER_TIMEOUT,
};
use crate::host::{clock, limits, unix_socket};
use crate::log::throttle::LogThrottle;

/// Clients that are served at the same time; more wait.
pub const CLIENTS: usize = 8;
/// Clients that may watch the health at the same time, beside those.
pub const WATCHERS: usize = 16;
/// The longest time that a client which watches may take to make room for the next answer.
const WATCH_TIMEOUT: Duration = Duration::from_secs(1);
/// The time before the next try after a connection could not be accepted.
const ACCEPT_RETRY: Duration = Duration::from_secs(2);

/// A request that waits for its answer.
#[derive(Debug)]
pub struct PendingRequest {
    request: ControlRequest,
    /// The process that sent it, if the kernel knows.
    caller: Option<Caller>,
    reply: Reply,
}

/// The way back to the client of a request.
#[derive(Debug)]
pub struct Reply(oneshot::Sender<Replied>);

/// The reply to the client of a request.
#[derive(Debug)]
enum Replied {
    Answer(ControlAnswer),
    /// Answers until the sender is dropped.
    Stream(mpsc::Receiver<ControlAnswer>),
}

impl PendingRequest {
    /// Returns the request, the process that sent it, if the kernel knows, and the way back.
    pub fn into_parts(self) -> (ControlRequest, Option<Caller>, Reply) {
        (self.request, self.caller, self.reply)
    }
}

impl Reply {
    /// Sends the answer. A client that has disconnected does not need it any more.
    pub fn send(self, answer: ControlAnswer) {
        let _sent = self.0.send(Replied::Answer(answer));
    }

    /// Sends all answers that come from `answers`.
    pub fn stream(self, answers: mpsc::Receiver<ControlAnswer>) {
        let _sent = self.0.send(Replied::Stream(answers));
    }

    /// Whether the client has disconnected.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// The open socket.
#[derive(Debug)]
pub struct ControlSocket {
    listener: StdUnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Opens the socket at `path` and gives it to `owner` and that user's group.
    ///
    /// # Errors
    /// As [`unix_socket::open`].
    pub fn open(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<Self> {
        Ok(Self {
            listener: unix_socket::open(path, owner)?,
            path: path.to_owned(),
        })
    }

    /// Serves clients while something takes their requests.
    pub async fn serve(self, requests: mpsc::Sender<PendingRequest>) {
        let listener = match UnixListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => {
                let error = limits::explain(&error);
                return warn!(path = %self.path.display(), error, "the control socket is unavailable: {error}");
            }
        };
        let places = Arc::new(Semaphore::new(CLIENTS));
        let mut failures = LogThrottle::default();
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((client, _)) => {
                    let requests = requests.clone();
                    tokio::spawn(async move {
                        // A client that disconnects, or sends no request, is not logged.
                        let _served = serve_client(client, requests, place).await;
                    });
                }
                // Out of descriptors or memory: it is only for a while.
                Err(error) => {
                    if failures.pass(clock::raw()) {
                        let error = limits::explain(&error);
                        warn!(
                            error,
                            "cannot accept a connection to the control socket, trying again: {error}"
                        );
                    }
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

async fn serve_client(
    client: UnixStream,
    requests: mpsc::Sender<PendingRequest>,
    place: OwnedSemaphorePermit,
) -> io::Result<()> {
    let caller = client.peer_cred().ok().map(|known| Caller {
        user: known.uid(),
        process: known.pid().filter(|process| *process != 0),
    });
    let (mut reader, mut writer) = client.into_split();
    let mut answers = match answer(&mut reader, caller, requests).await? {
        Outgoing::Last(text) => {
            return timeout(TRANSFER_TIMEOUT, writer.write_all(text.as_bytes())).await?;
        }
        Outgoing::Stream(answers) => answers,
    };
    // The supervisor limits the number of those that watch: they keep no others out.
    drop(place);
    while let Some(answer) = answers.recv().await {
        let text = protocol::write_answer(answer);
        timeout(WATCH_TIMEOUT, writer.write_all(text.as_bytes())).await??;
    }
    Ok(())
}

/// The messages for a client.
enum Outgoing {
    /// The text that answers its request.
    Last(String),
    /// Answers without end.
    Stream(mpsc::Receiver<ControlAnswer>),
}

/// The answer to what is read.
async fn answer(
    reader: &mut OwnedReadHalf,
    caller: Option<Caller>,
    requests: mpsc::Sender<PendingRequest>,
) -> io::Result<Outgoing> {
    let mut message = Vec::new();
    let mut limited = reader.take(LONGEST_REQUEST + 1);
    let length = timeout(TRANSFER_TIMEOUT, limited.read_to_end(&mut message)).await??;
    if u64::try_from(length).is_ok_and(|length| length > LONGEST_REQUEST) {
        let failure = ControlAnswer::Failed(ControlFailure::TooLong);
        return Ok(Outgoing::Last(protocol::write_answer(failure)));
    }
    let request = match protocol::read_request(&message) {
        Ok(request) => request,
        Err(error) => return Ok(Outgoing::Last(protocol::write_refusal(error))),
    };
    drop(message);
    let within = request.answer_timeout();
    let (reply, answer) = oneshot::channel();
    let pending = PendingRequest {
        request,
        caller,
        reply: Reply(reply),
    };
    let asked = async {
        requests.send(pending).await.map_err(io::Error::other)?;
        answer.await.map_err(io::Error::other)
    };
    Ok(match timeout(within, asked).await?? {
        Replied::Answer(answer) => Outgoing::Last(protocol::write_answer(answer)),
        Replied::Stream(answers) => Outgoing::Stream(answers),
    })
}
