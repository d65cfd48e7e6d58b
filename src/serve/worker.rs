//! Impure. The worker: a thread with one socket that takes batches, lets `respond` judge, and sends the replies.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::pthread::pthread_kill;
use nix::sys::signal::Signal;

use super::census::{Desk, Method, Shared};
use super::departure::Departure;
use super::gate::{Bearable, Doorman, Gate, gate};
use super::orders::Orders;
use super::policy::{Policy, Ruling};
use super::{Counters, Counts, Request, Tuning, Verdict, respond};
use crate::host::clock::{self, UnixTime};
use crate::host::entropy;
use crate::host::privileges;
use crate::host::sandbox::seccomp;
use crate::host::sys::Batch;
use crate::reference::{Moment, Reader};
use crate::wire::{HEADER_LEN, NtpTimestamp};

/// How long to leave a socket alone that fails, so that the failure can't eat a core.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);
/// A worker that shall end answers at most so many batches of what is still queued.
const LAST_BATCHES: usize = 1000;
/// How long a packet can take from the choice of a socket to its queue: it doesn't leave its core meanwhile.
const LAST_ARRIVALS: Duration = Duration::from_millis(2);
/// Wakes a worker that waits for a packet. The process has a handler for it that does nothing; a receiving call with a
/// timeout is never restarted (signal(7)).
pub const INTERRUPT: Signal = Signal::SIGUSR2;

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    counters: Arc<Counters>,
    doorman: Doorman,
    orders: Arc<Orders>,
    census: Option<Shared>,
    /// `None` once it was waited for.
    thread: Option<thread::JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread called `name` that answers on `socket` from `reference`, whom `policy` and the budget allow,
    /// and counts who asks if there is a `census`. Several may share a socket.
    ///
    /// # Errors
    /// When the system allows no more threads, or has no randomness.
    pub fn start(
        name: String,
        socket: Arc<UdpSocket>,
        reference: Reader,
        policy: &Arc<Policy>,
        bearable: &Arc<Bearable>,
        census: Option<Method>,
    ) -> io::Result<Self> {
        let secret = [entropy::random()?, entropy::random()?, entropy::random()?];
        let (doorman, gate) = gate(policy, bearable, secret);
        let counters = Arc::new(Counters::default());
        let orders = Arc::new(Orders::default());
        let desk = census.map(|method| Desk::new(method, clock::raw()));
        let census = desk.as_ref().map(Desk::shared);
        let journey = Journey {
            socket,
            reference,
            desk,
            gate,
            counters: Arc::clone(&counters),
            departure: Departure::default(),
            orders: Arc::clone(&orders),
        };
        let thread = thread::Builder::new().name(name).spawn(move || journey.run())?;
        Ok(Self {
            counters,
            doorman,
            orders,
            census,
            thread: Some(thread),
        })
    }

    /// From its next batch on it obeys `policy`.
    pub fn obey(&mut self, policy: &Arc<Policy>) {
        self.doorman.obey(policy);
    }

    /// From its next batch on it goes about its work like that, and keeps to CPU number `cpu` of those that the process may
    /// use (counted from 0, and from the first again after the last), or to all of them.
    ///
    /// # Errors
    /// What the kernel has against the CPU; all else is done then.
    pub fn tune(&self, tuning: &Tuning, cpu: Option<usize>) -> io::Result<()> {
        self.orders.tune(tuning, cpu)
    }

    /// What it has done so far.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Who asked it, if it counts that.
    pub fn census(&self) -> Option<&Shared> {
        self.census.as_ref()
    }

    /// It shall answer what is queued, and end. A worker that waits for a packet notices within 250 ms, or when
    /// any signal interrupts it.
    pub fn retire(&self) {
        self.orders.stop();
        // Where the signal can't be sent the worker has ended. (The C libraries disagree about the type of a thread's
        // name: musl's is a pointer.)
        let _sent = self
            .thread
            .as_ref()
            .map(|thread| pthread_kill(thread.as_pthread_t() as _, INTERRUPT));
    }

    /// Has it ended?
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(thread::JoinHandle::is_finished)
    }

    /// Waits until it has ended, and tells all that it did.
    pub fn join(mut self) -> Counts {
        self.retire();
        // A panic has been reported, and has ended the process, when it happened.
        let _ended = self.thread.take().map(thread::JoinHandle::join);
        self.counters.snapshot()
    }
}

/// A worker that nobody holds any more ends by itself.
impl Drop for Worker {
    fn drop(&mut self) {
        self.retire();
    }
}

struct Journey {
    socket: Arc<UdpSocket>,
    reference: Reader,
    desk: Option<Desk>,
    gate: Gate,
    counters: Arc<Counters>,
    departure: Departure,
    orders: Arc<Orders>,
}

impl Journey {
    fn run(mut self) {
        let mut batch = Batch::new(Tuning::LARGEST_BATCH.into());
        if let Err(error) = self.orders.begin() {
            tracing::warn!(%error, "a worker can't keep to a CPU of its own");
        }
        lock_up();
        while !self.orders.is_to_stop() {
            self.counters.count_round();
            match batch.receive(self.socket.as_fd(), self.orders.batch()) {
                Ok(received) => self.answer(&mut batch, received),
                Err(error) => self.rest(&error),
            }
        }
        self.finish(&mut batch);
    }

    /// A round without a packet.
    fn rest(&mut self, error: &io::Error) {
        if let Some(desk) = &mut self.desk {
            desk.tell(clock::raw());
        }
        if !is_only_quiet(error) {
            self.counters.count_receive_failed();
            thread::sleep(FAILURE_PAUSE);
        }
    }

    /// Answers what is still queued. A packet may be on its way to this socket on another core since before it was
    /// steered away from, so look twice.
    fn finish(&mut self, batch: &mut Batch) {
        for pause in [LAST_ARRIVALS, Duration::ZERO] {
            for _ in 0..LAST_BATCHES {
                let Ok(received) = batch.receive_queued(self.socket.as_fd()) else {
                    break;
                };
                self.answer(batch, received);
            }
            thread::sleep(pause);
        }
    }

    /// One batch: from the network, through `respond`, to the network.
    fn answer(&mut self, batch: &mut Batch, received: usize) {
        let reading = clock::now();
        let now = Moment {
            realtime: ntp(reading.realtime),
            raw: reading.raw,
            boot: reading.boot,
        };
        let reference = self.reference.latest();
        let variables = self.gate.look().announced(reference.at(now));
        let served = reference.clock.served(now);
        let max_wait = self.orders.max_wait();
        let mut replies = 0;
        let mut reply = [0; HEADER_LEN];
        for index in 0..received {
            let Some(datagram) = batch.datagram(index) else {
                continue;
            };
            if let Some(desk) = &mut self.desk {
                desk.note(datagram.source.ip(), now.raw);
            }
            let arrived_at = datagram.arrived_at.map(ntp);
            let is_late = arrived_at.is_some_and(|stamp| now.realtime - stamp > max_wait);
            let stamp = arrived_at.and_then(|stamp| reference.clock.served_at_stamp(stamp, now));
            if stamp.is_none() {
                self.counters.count_stamp_unusable();
            }
            let request = Request {
                payload: datagram.payload,
                source_port: datagram.source.port(),
                unicast: datagram.unicast,
                received_at: stamp.unwrap_or(served),
            };
            let (gate, counters) = (&mut self.gate, &self.counters);
            let rule = || {
                if !reference.answers {
                    return Ruling::Refuse(Verdict::RefusedDisputed);
                }
                if is_late {
                    return Ruling::Refuse(Verdict::RefusedLate);
                }
                gate.rule(datagram.source.ip(), now.raw, |remark| counters.remark(remark))
            };
            let transmit_at = served + self.departure.after(received, replies);
            let verdict = respond(&request, transmit_at, rule, &variables, &mut reply);
            self.counters.count(request.payload, verdict);
            if verdict.is_answered() {
                self.counters.count_residence(transmit_at - request.received_at);
            }
            if verdict.has_reply() {
                batch.reply(index, &reply);
                replies += 1;
            }
        }
        self.send(batch, received, replies, now.raw);
    }

    /// Sends what a batch became, all judged since `began`, and learns how long it takes.
    fn send(&mut self, batch: &mut Batch, received: usize, replies: usize, began: Duration) {
        let judged = clock::raw();
        let outcome = batch.send(self.socket.as_fd());
        self.counters.count_send_failed(outcome.failed);
        let sent = clock::raw();
        let took = |from, to: Duration| to.saturating_sub(from);
        self.departure
            .learn(received, took(began, judged), replies, took(judged, sent));
        if let Some(desk) = &mut self.desk {
            desk.tell(sent);
        }
    }
}

/// Workers read what strangers send, so they have no right, and no system call, that the packet path doesn't need.
fn lock_up() {
    let dropped = privileges::drop_all_of_thread().map_err(io::Error::other);
    let locked = dropped.and_then(|()| seccomp::limit_worker().map_err(io::Error::other));
    if let Err(error) = locked {
        tracing::error!(%error, "no worker starts with rights that it shall not have");
        std::process::abort();
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
