//! Impure. The client's end of the control socket.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Gid, Group, User, geteuid};

use super::obstacle::{ClosedPath, Remedy};
use super::protocol::{self, ControlAnswer, ControlFailure, ControlRequest, MessageError};
use crate::host::{clock, limits, unix_socket};

/// The longest answer of a stream, in bytes.
const LONGEST_OF_STREAM: usize = 64 * 1024;

/// The reason why there is no answer.
#[derive(Debug)]
pub enum RequestError {
    /// The server can't be reached, with the remedy.
    Unreachable(PathBuf, io::Error, Remedy),
    /// The server does not answer within this time.
    Late(PathBuf, Duration),
    /// The server closes the connection without an answer.
    Unanswered(PathBuf),
    /// The server uses another protocol.
    Incompatible(PathBuf, MessageError),
    /// The server reports an error.
    Failed(ControlFailure),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(path, error, remedy) => {
                let path = path.display();
                match (limits::shortage(error), remedy) {
                    (Some(shortage), _) => write!(f, "{path}: {shortage}"),
                    (None, Remedy::Unknown) => write!(f, "{path}: {error}: {remedy}"),
                    (None, _) => write!(f, "{path}: {remedy}"),
                }
            }
            Self::Late(path, limit) => write!(
                f,
                "{}: no answer within {} s: the running server hangs, or this host is overloaded",
                path.display(),
                limit.as_secs_f64()
            ),
            Self::Unanswered(path) => write!(
                f,
                "{}: the running server closed the connection without an answer: it is ending, or overloaded",
                path.display()
            ),
            Self::Incompatible(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for RequestError {}

/// Sends `request` to the server behind the socket at `path`, and returns its answer.
///
/// The answer is not [`ControlAnswer::Failed`]: that is an error.
///
/// # Errors
/// No server is there, the socket is closed to this user, or no answer comes within
/// [`ControlRequest::client_timeout`], or none that can be used.
pub fn send_request(path: &Path, request: ControlRequest) -> Result<ControlAnswer, RequestError> {
    let limit = request.client_timeout();
    send_request_within(path, request, limit)
}

/// Does the same within `limit` in all.
///
/// # Errors
/// As [`send_request`].
pub fn send_request_within(
    path: &Path,
    request: ControlRequest,
    limit: Duration,
) -> Result<ControlAnswer, RequestError> {
    let request = protocol::write_request(request).map_err(RequestError::Failed)?;
    let exchange = || {
        let deadline = Deadline::after(limit);
        let mut connection = Connection::open(path, &request, deadline)?;
        while connection.read(deadline)? > 0 {}
        Ok(connection.received)
    };
    let answer = exchange().map_err(|error| unreachable(path, error, limit))?;
    if answer.is_empty() {
        return Err(RequestError::Unanswered(path.to_owned()));
    }
    accepted(path, &answer)
}

/// Answers that follow each other, until one side closes the connection.
#[derive(Debug)]
pub struct AnswerStream {
    path: PathBuf,
    connection: Connection,
}

impl AnswerStream {
    /// Sends a `request` that has answers without end, within `limit`.
    ///
    /// # Errors
    /// No server is there, or the socket is closed to this user.
    pub fn open(path: &Path, request: ControlRequest, limit: Duration) -> Result<Self, RequestError> {
        let request = protocol::write_request(request).map_err(RequestError::Failed)?;
        let connection = Connection::open(path, &request, Deadline::after(limit));
        Ok(Self {
            connection: connection.map_err(|error| unreachable(path, error, limit))?,
            path: path.to_owned(),
        })
    }

    /// Returns the next answer, which has to come within `limit`.
    ///
    /// After [`RequestError::Late`] it can be waited for again; after any other error the stream has ended.
    ///
    /// # Errors
    /// As [`send_request`].
    pub fn next(&mut self, limit: Duration) -> Result<ControlAnswer, RequestError> {
        let deadline = Deadline::after(limit);
        loop {
            if let Some(message) = self.connection.take_line() {
                return accepted(&self.path, &message);
            }
            if self.connection.received.len() > LONGEST_OF_STREAM {
                let error = MessageError::Unreadable("it is too long".to_owned());
                return Err(RequestError::Incompatible(self.path.clone(), error));
            }
            match self.connection.read(deadline) {
                Ok(0) => return Err(RequestError::Unanswered(self.path.clone())),
                Ok(_) => {}
                Err(error) => return Err(unreachable(&self.path, error, limit)),
            }
        }
    }
}

fn unreachable(path: &Path, error: io::Error, limit: Duration) -> RequestError {
    // This is how the kernel reports that a socket's timeout has passed.
    if error.kind() == ErrorKind::WouldBlock {
        RequestError::Late(path.to_owned(), limit)
    } else {
        let remedy = Remedy::of(error.kind(), || closed_path(path));
        RequestError::Unreachable(path.to_owned(), error, remedy)
    }
}

/// Returns what is closed to the current user on the way to `path`; `None` if nothing of it can be seen.
fn closed_path(path: &Path) -> Option<ClosedPath> {
    let (path, about) = path
        .ancestors()
        .find_map(|part| Some((part, part.metadata().ok()?)))?;
    // To connect to a socket takes the permission to write, to pass a directory that to execute.
    let needed = if about.is_dir() { 0o010 } else { 0o020 };
    let group = Group::from_gid(Gid::from_raw(about.gid())).ok().flatten();
    let user = User::from_uid(geteuid()).ok().flatten();
    Some(ClosedPath {
        path: path.to_owned(),
        group: group.map_or_else(|| about.gid().to_string(), |group| group.name),
        is_for_group: about.mode() & needed != 0 && about.gid() != 0,
        user: user.map_or_else(|| geteuid().to_string(), |user| user.name),
    })
}

fn accepted(path: &Path, message: &[u8]) -> Result<ControlAnswer, RequestError> {
    match protocol::read_answer(message) {
        Ok(ControlAnswer::Failed(failure)) => Err(RequestError::Failed(failure)),
        Ok(answer) => Ok(answer),
        Err(error) => Err(RequestError::Incompatible(path.to_owned(), error)),
    }
}

/// A moment by which something must have happened.
#[derive(Clone, Copy, Debug)]
struct Deadline(Duration);

impl Deadline {
    fn after(limit: Duration) -> Self {
        Self(clock::raw().saturating_add(limit))
    }

    /// Returns the time until then.
    ///
    /// # Errors
    /// It has passed.
    fn left(self) -> io::Result<Duration> {
        let left = self.0.checked_sub(clock::raw()).filter(|left| !left.is_zero());
        left.ok_or_else(|| ErrorKind::WouldBlock.into())
    }
}

/// A connection whose request was sent.
#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    /// Bytes that came and were not taken yet.
    received: Vec<u8>,
}

impl Connection {
    fn open(path: &Path, request: &str, deadline: Deadline) -> io::Result<Self> {
        let mut stream = unix_socket::connect(path, deadline.left()?)?;
        stream.set_write_timeout(Some(deadline.left()?))?;
        stream.write_all(request.as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        Ok(Self {
            stream,
            received: Vec::new(),
        })
    }

    /// Waits for more, and returns its length: none if the server has closed the connection.
    fn read(&mut self, deadline: Deadline) -> io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        loop {
            self.stream.set_read_timeout(Some(deadline.left()?))?;
            match self.stream.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(length) => {
                    self.received.extend(buffer.iter().take(length));
                    return Ok(length);
                }
            }
        }
    }

    /// Takes the first whole line of what came.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = self.received.iter().position(|byte| *byte == b'\n')?;
        let rest = self.received.split_off(end + 1);
        Some(std::mem::replace(&mut self.received, rest))
    }
}
