//! Impure. The worker: a thread with one socket that takes batches, lets `respond` judge, and sends the replies.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{Counters, Counts, Request, respond};
use crate::host::clock::{self, UnixTime};
use crate::host::sys::Batch;
use crate::reference::{Moment, Reader};
use crate::wire::{HEADER_LEN, NtpTimestamp};

/// Datagrams taken by one system call. Larger ones gain little and make the last reply's stamp early.
const BATCH: usize = 32;
/// How long to leave a socket alone that fails, so that the failure can't eat a core.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);
/// A worker that shall end answers at most so many batches of what is still queued.
const LAST_BATCHES: usize = 1000;

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    counters: Arc<Counters>,
    thread: thread::JoinHandle<()>,
}

impl Worker {
    /// Starts a thread called `name` that answers on `socket` from `reference` until `stop` is set.
    ///
    /// # Errors
    /// When the system allows no more threads.
    pub fn start(
        name: String,
        socket: UdpSocket,
        reference: Reader,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let counters = Arc::new(Counters::default());
        let journey = Journey {
            socket,
            reference,
            counters: Arc::clone(&counters),
        };
        let thread = thread::Builder::new()
            .name(name)
            .spawn(move || journey.run(&stop))?;
        Ok(Self { counters, thread })
    }

    /// What it has done so far.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Waits until it has ended after its `stop` was set, and tells all that it did.
    pub fn join(self) -> Counts {
        // A panic has been reported, and has ended the process, when it happened.
        let _ended = self.thread.join();
        self.counters.snapshot()
    }
}

struct Journey {
    socket: UdpSocket,
    reference: Reader,
    counters: Arc<Counters>,
}

impl Journey {
    fn run(mut self, stop: &AtomicBool) {
        let mut batch = Batch::new(BATCH);
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = self.serve(&mut batch)
                && !is_only_quiet(&error)
            {
                self.counters.count_receive_failed();
                thread::sleep(FAILURE_PAUSE);
            }
        }
        self.finish(&mut batch);
    }

    /// Answers what is still queued, without waiting for more.
    fn finish(&mut self, batch: &mut Batch) {
        if self.socket.set_nonblocking(true).is_ok() {
            for _ in 0..LAST_BATCHES {
                if self.serve(batch).is_err() {
                    return;
                }
            }
        }
    }

    /// One batch: from the network, through `respond`, to the network.
    fn serve(&mut self, batch: &mut Batch) -> io::Result<()> {
        let received = batch.receive(self.socket.as_fd())?;
        let reading = clock::now();
        let now = Moment {
            realtime: ntp(reading.realtime),
            raw: reading.raw,
            boot: reading.boot,
        };
        let reference = self.reference.latest();
        let variables = reference.at(now);
        let transmit_at = reference.clock.served(now);
        let mut reply = [0; HEADER_LEN];
        for index in 0..received {
            let Some(datagram) = batch.datagram(index) else {
                continue;
            };
            let stamp = datagram
                .arrived_at
                .and_then(|stamp| reference.clock.served_at_stamp(ntp(stamp), now));
            if stamp.is_none() {
                self.counters.count_stamp_unusable();
            }
            let request = Request {
                payload: datagram.payload,
                source_port: datagram.source.port(),
                unicast: datagram.unicast,
                received_at: stamp.unwrap_or(transmit_at),
            };
            let verdict = respond(&request, transmit_at, reference.answers, &variables, &mut reply);
            self.counters.count(verdict);
            if verdict.is_answered() {
                batch.reply(index, &reply);
            }
        }
        let outcome = batch.send(self.socket.as_fd());
        self.counters.count_send_failed(outcome.failed);
        Ok(())
    }
}

fn is_only_quiet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

fn ntp(time: UnixTime) -> NtpTimestamp {
    NtpTimestamp::from_unix(time.seconds, time.nanos)
}
