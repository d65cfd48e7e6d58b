//! The page of metrics of a running ntpfront.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The page, of the one whose metrics are at this socket.
pub(crate) fn metrics(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}
