//! Impure. Asking a running server through its control socket.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A server that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says `request` to the server behind the socket at `path`, and takes its answer.
///
/// # Errors
/// Nobody is there, we may not ask, or no answer comes within 5 s.
pub fn ask(path: &Path, request: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
