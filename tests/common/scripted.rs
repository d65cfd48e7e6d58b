//! An upstream that tells any lie: a UDP socket, and a script from the request to the replies.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use ntpfront::time::{NtpDuration, NtpShort};
use ntpfront::wire::{Header, Leap, Mode, ReferenceId};

use super::client::socket;
use super::now;

/// What the upstream was asked.
pub(crate) struct Ask {
    pub(crate) header: Header,
    pub(crate) length: usize,
    pub(crate) from: SocketAddr,
}

/// What it sends back.
pub(crate) enum Reply {
    /// As it must be: from the port that was asked.
    Own(Vec<u8>),
    /// From another port of the same address.
    Stray(Vec<u8>),
}

impl From<Header> for Reply {
    fn from(header: Header) -> Self {
        Self::Own(header.to_bytes().to_vec())
    }
}

type Script = Box<dyn FnMut(&Ask) -> Vec<Reply> + Send>;

/// A running upstream; it ends when dropped, and its port is closed then.
pub(crate) struct Scripted {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    script: Mutex<Script>,
    asked: AtomicU32,
    stop: AtomicBool,
}

impl Scripted {
    /// On a free port of 127.0.0.1.
    pub(crate) fn start(script: impl FnMut(&Ask) -> Vec<Reply> + Send + 'static) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), script)
    }

    /// On `address`.
    pub(crate) fn at(address: SocketAddr, script: impl FnMut(&Ask) -> Vec<Reply> + Send + 'static) -> Self {
        let own = socket(address);
        let mut elsewhere = address;
        elsewhere.set_port(0);
        let stray = socket(elsewhere);
        own.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let shared = Arc::new(Shared {
            script: Mutex::new(Box::new(script)),
            asked: AtomicU32::new(0),
            stop: AtomicBool::new(false),
        });
        let address = own.local_addr().unwrap();
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.answer_on(&own, &stray)
        });
        Self {
            address,
            shared,
            thread: Some(thread),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> u32 {
        self.shared.asked.load(Ordering::Relaxed)
    }

    /// From now on it answers by this script.
    pub(crate) fn turn_to(&self, script: impl FnMut(&Ask) -> Vec<Reply> + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the scripted upstream panicked"
            );
        }
    }
}

impl Shared {
    fn answer_on(&self, own: &UdpSocket, stray: &UdpSocket) {
        let mut buffer = [0; 2048];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((length, from)) = own.recv_from(&mut buffer) else {
                continue;
            };
            let header = Header::parse(&buffer[..length]).expect("ntpfront asks with a whole header");
            let ask = Ask { header, length, from };
            let replies = (self.script.lock().unwrap())(&ask);
            for reply in replies {
                // Who asked may be gone already.
                let _ = match reply {
                    Reply::Own(bytes) => own.send_to(&bytes, from),
                    Reply::Stray(bytes) => stray.send_to(&bytes, from),
                };
            }
            // Counted last: who sees the count knows that the answer is sent.
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The reference ID of [`good`]: a documentation address, so nobody's.
pub(crate) const GOOD_ID: [u8; 4] = [198, 51, 100, 1];
/// The stratum of [`good`].
pub(crate) const GOOD_STRATUM: u8 = 2;

/// The answer of an honest server of stratum 2 that keeps the host's clock.
pub(crate) fn good(ask: &Ask) -> Header {
    ahead(ask, 0.0)
}

/// The same of one whose clock is `seconds` ahead of the host's, and which does not know it.
pub(crate) fn ahead(ask: &Ask, seconds: f64) -> Header {
    let time = now() + NtpDuration::from_seconds(seconds);
    Header {
        leap: Leap::NoWarning,
        mode: Mode::Server,
        stratum: GOOD_STRATUM,
        poll: ask.header.poll,
        precision: -20,
        root_delay: NtpShort::from_bits(8),
        root_dispersion: NtpShort::from_bits(4),
        reference_id: ReferenceId::from_bytes(GOOD_ID),
        reference_timestamp: time - NtpDuration::SECOND,
        origin_timestamp: ask.header.transmit_timestamp,
        receive_timestamp: time,
        transmit_timestamp: time,
        ..ask.header
    }
}

/// An answer that is always the honest one.
pub(crate) fn honest(ask: &Ask) -> Vec<Reply> {
    vec![good(ask).into()]
}

/// An honest answer with some of it changed.
pub(crate) fn but(
    change: impl Fn(&mut Header) + Send + 'static,
) -> impl FnMut(&Ask) -> Vec<Reply> + Send + 'static {
    move |ask| {
        let mut reply = good(ask);
        change(&mut reply);
        vec![reply.into()]
    }
}

pub(crate) fn kiss(code: [u8; 4]) -> impl FnMut(&Ask) -> Vec<Reply> + Send + 'static {
    but(move |reply| {
        reply.leap = Leap::Unsynchronized;
        reply.stratum = 0;
        reply.reference_id = ReferenceId::from_bytes(code);
    })
}

pub(crate) fn silent(_: &Ask) -> Vec<Reply> {
    Vec::new()
}
