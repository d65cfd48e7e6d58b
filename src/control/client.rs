//! Impure. The client's end of the control socket.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{self, ControlAnswer, ControlFailure, ControlRequest, MessageError};
use crate::host::limits;

/// The reason why there is no answer.
#[derive(Debug)]
pub enum RequestError {
    /// The server can't be reached.
    Unreachable(PathBuf, io::Error),
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
            Self::Unreachable(path, error) => match limits::shortage(error) {
                Some(shortage) => write!(f, "{}: {shortage}", path.display()),
                None => write!(
                    f,
                    "{}: {error}: is ntpfront running, and does this user have access to the socket?",
                    path.display()
                ),
            },
            Self::Late(path, limit) => write!(
                f,
                "{}: no answer within {} s: the running server hangs, or this host is overloaded",
                path.display(),
                limit.as_secs()
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
    let request = protocol::write_request(request).map_err(RequestError::Failed)?;
    let answer = exchange(path, &request, limit).map_err(|error| {
        // This is how the kernel reports that a socket's timeout has passed.
        if error.kind() == ErrorKind::WouldBlock {
            RequestError::Late(path.to_owned(), limit)
        } else {
            RequestError::Unreachable(path.to_owned(), error)
        }
    })?;
    if answer.is_empty() {
        return Err(RequestError::Unanswered(path.to_owned()));
    }
    match protocol::read_answer(&answer) {
        Ok(ControlAnswer::Failed(failure)) => Err(RequestError::Failed(failure)),
        Ok(answer) => Ok(answer),
        Err(error) => Err(RequestError::Incompatible(path.to_owned(), error)),
    }
}

fn exchange(path: &Path, request: &str, limit: Duration) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(request.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
