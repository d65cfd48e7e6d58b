//! A relay that makes a server seem far away: it holds each packet for a while, on both ways.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use super::client::socket;

/// A running relay, for one client at a time; its port is closed when it is dropped.
pub(crate) struct Relay {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// What comes to `address` reaches `server` after `delay`, and so does the answer the other way.
    pub(crate) fn start(address: SocketAddr, server: SocketAddr, delay: Duration) -> Self {
        let (outside, inside) = (socket(address), socket((server.ip(), 0)));
        inside.connect(server).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || relay(&outside, &inside, delay, &stop)
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

fn relay(outside: &UdpSocket, inside: &UdpSocket, delay: Duration, stop: &AtomicBool) {
    for end in [outside, inside] {
        end.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    }
    let mut buffer = [0; 1024];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, client)) = outside.recv_from(&mut buffer) else {
            continue;
        };
        sleep(delay);
        let _ = inside.send(&buffer[..length]);
        if let Ok(length) = inside.recv(&mut buffer) {
            sleep(delay);
            let _ = outside.send_to(&buffer[..length], client);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
