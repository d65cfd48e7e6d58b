//! A client that says exactly the bytes it is told and looks at who answers.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ntpfront::time::NtpTimestamp;
use ntpfront::wire::{HEADER_LEN, Header, Leap};

use super::{now, wait_until};

/// A reply and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) from: SocketAddr,
}

impl Answer {
    pub(crate) fn header(&self) -> Header {
        Header::parse(&self.bytes).expect("a reply has a whole header")
    }
}

/// 48 bytes with the given first byte's version and mode, poll 6 and a transmit timestamp that nobody else sent.
pub(crate) fn request(version: u8, mode: u8) -> [u8; HEADER_LEN] {
    static NONCE: AtomicU64 = AtomicU64::new(0x0123_4567_89AB_CDEF);
    let nonce = NONCE.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
    let mut bytes = [0; HEADER_LEN];
    bytes[0] = version << 3 | mode;
    bytes[2] = 6;
    bytes[40..].copy_from_slice(&nonce.to_be_bytes());
    bytes
}

/// A socket bound to `local`; port 0 is any.
pub(crate) fn socket(local: impl Into<SocketAddr>) -> UdpSocket {
    let local = local.into();
    UdpSocket::bind(local).unwrap_or_else(|error| panic!("bind {local}: {error}"))
}

/// Any address of this host that reaches `server`'s family.
fn any(server: SocketAddr) -> SocketAddr {
    match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Sends `request` from `from` and gives the first answer that comes, from whomever.
pub(crate) fn exchange(
    from: &UdpSocket,
    server: SocketAddr,
    request: &[u8],
    patience: Duration,
) -> Option<Answer> {
    // A refused port (the daemon is not there yet) is reported by the next call on the socket.
    if let Err(error) = from.send_to(request, server) {
        assert_eq!(
            error.kind(),
            ErrorKind::ConnectionRefused,
            "send to {server}: {error}"
        );
    }
    receive(from, patience)
}

/// The next packet, if one comes in time.
pub(crate) fn receive(socket: &UdpSocket, patience: Duration) -> Option<Answer> {
    let end = Instant::now() + patience;
    let mut buffer = [0; 2048];
    loop {
        let left = end.checked_duration_since(Instant::now())?;
        socket
            .set_read_timeout(Some(left.max(Duration::from_millis(1))))
            .unwrap();
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let bytes = buffer[..length].to_vec();
            return Some(Answer { bytes, from });
        }
    }
}

/// One exchange from a new socket, answered within a second or not at all.
pub(crate) fn ask(server: SocketAddr, request: &[u8]) -> Option<Answer> {
    exchange(&socket(any(server)), server, request, Duration::from_secs(1))
}

/// The answer to an ordinary request, asked again until it comes (a packet may be lost when a machine is busy).
pub(crate) fn header(server: SocketAddr) -> Header {
    wait_until("an answer", super::SOON, || ask(server, &request(4, 3))).header()
}

/// Waits until it announces a time.
pub(crate) fn synchronized(server: SocketAddr) {
    wait_until("a synchronized reply", super::SOON, || {
        (header(server).leap == Leap::NoWarning).then_some(())
    });
}

/// Sends `odd` and then an ordinary request from the same socket, thus to the same worker: true when only the
/// second was answered. No waiting for silence: the worker has seen both in this order.
pub(crate) fn is_ignored(from: &UdpSocket, server: SocketAddr, odd: &[u8]) -> bool {
    let ordinary = request(4, 3);
    from.send_to(odd, server).unwrap();
    let answer = exchange(from, server, &ordinary, super::SOON).expect("the ordinary request is answered");
    answer.bytes[24..32] == ordinary[40..48]
}

/// How far the time in `reply`, which came just now, is from the host's clock, in seconds. On a busy machine
/// the reply may have waited, so this is never exact.
pub(crate) fn ahead(reply: &Header) -> f64 {
    (reply.transmit_timestamp - now()).to_seconds()
}

/// A reply, and the host's time when it was asked for and when it had come.
pub(crate) struct Seen {
    pub(crate) reply: Header,
    asked: NtpTimestamp,
    came: NtpTimestamp,
}

/// Asks once; `None` if no answer comes.
pub(crate) fn look(server: SocketAddr) -> Option<Seen> {
    let asked = now();
    let reply = ask(server, &request(4, 3))?.header();
    Some(Seen {
        reply,
        asked,
        came: now(),
    })
}

impl Seen {
    /// Is its time so many seconds ahead of the host's, as far as it says that it may be wrong, and by `slack` more,
    /// however long the machine was busy?
    pub(crate) fn is_ahead_by(&self, seconds: f64, slack: f64) {
        let wrong = distance(&self.reply) + slack;
        let since_asked = (self.reply.transmit_timestamp - self.asked).to_seconds() - seconds;
        let until_came = (self.came - self.reply.transmit_timestamp).to_seconds() + seconds;
        assert!(
            since_asked > -wrong && until_came > -wrong,
            "{since_asked} s after it was asked for, {until_came} s before it came: {:?}",
            self.reply
        );
    }
}

/// Letters as a reference ID.
pub(crate) fn letters(reply: &Header) -> String {
    reply.reference_id.to_string()
}

/// `127.0.0.1:port`.
pub(crate) fn v4(port: u16) -> SocketAddr {
    (IpAddr::V4(Ipv4Addr::LOCALHOST), port).into()
}

/// `[::1]:port`.
pub(crate) fn v6(port: u16) -> SocketAddr {
    (IpAddr::V6(Ipv6Addr::LOCALHOST), port).into()
}

/// Seconds of a short format field.
pub(crate) fn seconds(short: ntpfront::time::NtpShort) -> f64 {
    short.to_duration().to_seconds()
}

/// Half the root delay and the dispersion: how wrong `reply` says it may be.
pub(crate) fn distance(reply: &Header) -> f64 {
    seconds(reply.root_delay) / 2.0 + seconds(reply.root_dispersion)
}

/// Is it the time that means "unknown"?
pub(crate) fn is_unknown(timestamp: NtpTimestamp) -> bool {
    timestamp.is_zero()
}
