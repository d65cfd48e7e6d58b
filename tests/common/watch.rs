//! A client that asks all the time and holds every single reply against what must never happen.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use ntpfront::wire::{HEADER_LEN, Header, Leap, Mode};

use super::client::{exchange, is_unknown, request, socket};
use super::wait_until;

/// Asks each 20 ms until dropped.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Header>>,
    broken: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Watch {
    pub(crate) fn on(server: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.ask_on(server)
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Waits for a reply, from now on, that is as `wanted`.
    pub(crate) fn wait_for(
        &self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Header) -> bool,
    ) -> Header {
        let mut next = self.shared.seen.lock().unwrap().len();
        wait_until(what, patience, || {
            let seen = self.shared.seen.lock().unwrap();
            let found = seen[next..].iter().find(|header| wanted(header)).copied();
            next = seen.len();
            found
        })
    }

    /// All replies so far.
    pub(crate) fn seen(&self) -> Vec<Header> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Watches for `time` and gives the replies of that time.
    pub(crate) fn during(&self, time: Duration) -> Vec<Header> {
        let start = self.seen().len();
        std::thread::sleep(time);
        self.seen().split_off(start)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        let broken = self.shared.broken.lock().unwrap();
        if std::thread::panicking() {
            eprintln!("last reply: {:#?}", self.shared.seen.lock().unwrap().last());
            eprintln!("broken invariants: {broken:?}");
            return;
        }
        assert!(matches!(ended, Some(Ok(()))), "the watching thread panicked");
        assert!(broken.is_empty(), "{}", broken.join("\n"));
        assert!(
            !self.shared.seen.lock().unwrap().is_empty(),
            "no reply was ever seen"
        );
    }
}

impl Shared {
    fn ask_on(&self, server: SocketAddr) {
        let from = socket(SocketAddr::new(server.ip(), 0));
        while !self.stop.load(Ordering::Relaxed) {
            let request = request(4, 3);
            if let Some(answer) = exchange(&from, server, &request, Duration::from_millis(500)) {
                self.judge(&request, &answer.bytes);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn judge(&self, request: &[u8; HEADER_LEN], reply: &[u8]) {
        if let Err(why) = honest(request, reply) {
            self.broken.lock().unwrap().push(format!("{why}: {reply:02x?}"));
        }
        if let Ok(header) = Header::parse(reply) {
            self.seen.lock().unwrap().push(header);
        }
    }
}

/// What holds for every reply at every moment.
pub(crate) fn honest(request: &[u8; HEADER_LEN], reply: &[u8]) -> Result<(), String> {
    let header = Header::parse(reply).map_err(|_| "shorter than a header".to_owned())?;
    let unsynchronized = header.leap == Leap::Unsynchronized;
    let letters = header.reference_id.to_bytes();
    let must = [
        ("a reply of 48 bytes", reply.len() == HEADER_LEN),
        ("mode 4", header.mode == Mode::Server),
        // A reply that comes late, after its request was given up, still echoes some request.
        (
            "the poll of the request",
            header.poll.to_be_bytes()[0] == request[2],
        ),
        (
            "stratum 0 exactly when leap is 3",
            unsynchronized == (header.stratum == 0),
        ),
        ("stratum below 16", header.stratum < 16),
        (
            "no reference time exactly when leap is 3",
            unsynchronized == is_unknown(header.reference_timestamp),
        ),
        (
            "letters as reference ID when leap is 3",
            !unsynchronized || letters.iter().all(u8::is_ascii_uppercase),
        ),
        ("some reference ID", letters != [0; 4]),
        (
            "reference time not after receive time",
            unsynchronized || !header.reference_timestamp.is_after(header.receive_timestamp),
        ),
        (
            "receive not after transmit",
            !header.receive_timestamp.is_after(header.transmit_timestamp),
        ),
        ("a transmit time", !is_unknown(header.transmit_timestamp)),
    ];
    let broken: Vec<_> = must
        .iter()
        .filter(|(_, holds)| !holds)
        .map(|(what, _)| *what)
        .collect();
    if broken.is_empty() {
        Ok(())
    } else {
        Err(format!("not so: {}", broken.join(", ")))
    }
}
