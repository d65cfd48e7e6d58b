//! Impure. The worker: a thread with one socket that takes batches, lets `respond` decide, and sends the replies.

mod batch_sizer;
mod interleaved;
mod mac;
mod nts;
mod settings;
mod transmit_place;
mod transmit_predictor;
mod transmit_sampler;

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arrayvec::ArrayVec;
use nix::sys::pthread::pthread_kill;
use nix::sys::signal::Signal;

use crate::census::{CensusPublisher, CensusReader, CensusSettings};
use crate::clock::{ClockModel, ReferenceReader, SystemVariables};
use crate::host::clock;
use crate::host::entropy;
use crate::host::privileges;
use crate::host::sandbox::seccomp;
use crate::host::sys::{Batch, Datagram};
use crate::leap::SmearedTime;
use crate::log;
use crate::nts::Nonces;
use crate::nts::keyring::Keyring;
use crate::nts::server::has_fields;
use crate::server::interleaved::{InterleavedRequest, SavedTimestamps, receive_mark, transmit_mark};
use crate::server::policy::allowance::Allowance;
use crate::server::policy::exchange::{PolicyReader, PolicyWriter, exchange};
use crate::server::policy::{Policy, Ruling};
use crate::server::probe::{ClientFinding, ProbeReader, ProbeWriter, probe};
use crate::server::respond_mac::has_mac;
use crate::server::worker::batch_sizer::BatchSizer;
use crate::server::worker::interleaved::Interleaving;
use crate::server::worker::settings::WorkerSettings;
use crate::server::worker::transmit_place::pause;
use crate::server::worker::transmit_predictor::{Prediction, TransmitPredictors};
use crate::server::{Counters, Counts, ReplyBuffer, Request, Tuning, Verdict, respond};
use crate::time::{ClockReadings, NtpDuration, NtpTimestamp};
use crate::wire::HEADER_LEN;

/// The number of replies that leave in one call, with predicted stamps, where a batch is not sent one by one.
///
/// The worker may be kept from running in between: then the stamps of the next replies are predicted from a new
/// reading.
const SENT_TOGETHER: usize = 8;
/// The time for which a failing socket is left alone, so that the failure can't eat a core.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);
/// The most batches of queued packets that a worker answers before it ends.
const LAST_BATCHES: usize = 1000;
/// The longest time of a packet from the choice of a socket to its queue: it doesn't leave its core meanwhile.
const LAST_ARRIVALS: Duration = Duration::from_millis(2);
/// The time that a worker has to notice that it must end before it is told again.
const NOTICE: Duration = Duration::from_millis(1);
/// The signal that wakes a worker that waits for a packet. The process has a handler for it that does nothing.
pub const INTERRUPT: Signal = Signal::SIGUSR2;

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    counters: Arc<Counters>,
    policy_writer: PolicyWriter,
    probe: ProbeWriter,
    settings: Arc<WorkerSettings>,
    census: Option<CensusReader>,
    /// The thread; `None` once it was waited for.
    thread: Option<thread::JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread called `name` that answers the requests on `socket` from `reference`.
    ///
    /// It answers as `policy` and the budget allow, with NTS if there is a `keyring`, and counts the clients if there is a
    /// `census`. Several may share a socket.
    ///
    /// # Errors
    /// When the system allows no more threads, or has no randomness.
    pub fn start(
        name: String,
        socket: Arc<UdpSocket>,
        reference: ReferenceReader,
        policy: &Arc<Policy>,
        keyring: Option<&Arc<Keyring>>,
        allowance: &Arc<Allowance>,
        census: Option<CensusSettings>,
    ) -> io::Result<Self> {
        let secret = [entropy::random()?, entropy::random()?, entropy::random()?];
        let (policy_writer, policy_reader) = exchange(policy, keyring, allowance, secret);
        // It may not ask for randomness later.
        let seed = [entropy::random()?.to_ne_bytes(), entropy::random()?.to_ne_bytes()];
        let nonces = Nonces::new(*seed.as_flattened().first_chunk().unwrap_or(&[0; 16]));
        let (probe_writer, probe_reader) = probe();
        let counters = Arc::new(Counters::default());
        let settings = Arc::new(WorkerSettings::default());
        let publisher = census.map(|settings| CensusPublisher::new(settings, clock::raw()));
        let census = publisher.as_ref().map(CensusPublisher::reader);
        let worker_loop = WorkerLoop {
            socket,
            reference,
            census: publisher,
            policy: policy_reader,
            probe: probe_reader,
            counters: Arc::clone(&counters),
            batch_sizer: BatchSizer::default(),
            transmit_predictors: TransmitPredictors::default(),
            settings: Arc::clone(&settings),
            busy_until: Duration::ZERO,
            nonces,
            deferred: ArrayVec::new(),
            with_mac: ArrayVec::new(),
            interleaving: Interleaving::default(),
        };
        let thread = thread::Builder::new()
            .name(name)
            .spawn(move || worker_loop.run())?;
        Ok(Self {
            counters,
            policy_writer,
            probe: probe_writer,
            settings,
            census,
            thread: Some(thread),
        })
    }

    /// Applies `policy` from its next batch on.
    pub fn apply(&mut self, policy: &Arc<Policy>) {
        self.policy_writer.set(policy);
    }

    /// Opens and seals with `keyring` from its next batch on; with none, it is a server without NTS.
    pub fn set_keyring(&mut self, keyring: Option<&Arc<Keyring>>) {
        self.policy_writer.set_keyring(keyring);
    }

    /// Answers in interleaved mode with the table `saved` from its next batch on; with none, in basic mode only.
    ///
    /// No other worker may have the same socket: the kernel numbers the replies of each.
    pub fn set_saved_timestamps(&mut self, saved: Option<&Arc<SavedTimestamps>>) {
        self.policy_writer.set_saved(saved);
    }

    /// Applies `tuning` from the next batch on, and keeps the worker to CPU number `cpu`, or to all of them.
    ///
    /// The CPUs are those that the process may use, counted from 0, and from the first again after the last.
    ///
    /// # Errors
    /// The kernel's reason against the CPU; all else is done then.
    pub fn tune(&self, tuning: &Tuning, cpu: Option<usize>) -> io::Result<()> {
        self.settings.tune(tuning, cpu)
    }

    /// Asks it what it knows of the clients with these addresses; [`Self::findings`] has the answer soon.
    pub fn ask(&self, clients: &[IpAddr]) {
        self.probe.ask(clients);
        self.nudge();
    }

    /// Returns the answer to the last question, in its order; `None` while it is not there.
    pub fn findings(&self) -> Option<Vec<ClientFinding>> {
        self.probe.findings()
    }

    /// Its counters.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The census of its clients, if it keeps one.
    pub fn census(&self) -> Option<&CensusReader> {
        self.census.as_ref()
    }

    /// Tells it to answer the queued requests, and to end.
    ///
    /// A worker that is just about to wait for a packet misses that, so repeat it until it has ended.
    pub fn retire(&self) {
        self.settings.stop();
        self.nudge();
    }

    /// Has it make a round of its loop, even without a packet.
    ///
    /// Without that it would wait for the next one for ever. A worker that is just about to wait misses it.
    pub fn nudge(&self) {
        self.policy_writer.free_leftovers();
        // Where the signal can't be sent the worker has ended. (The C libraries disagree about the type of a thread's
        // name: musl's is a pointer.)
        let _sent = self
            .thread
            .as_ref()
            .map(|thread| pthread_kill(thread.as_pthread_t() as _, INTERRUPT));
    }

    /// Returns whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(thread::JoinHandle::is_finished)
    }

    /// Waits until it has ended, and tells all that it did.
    pub fn join(mut self) -> Counts {
        self.retire();
        while !self.has_ended() {
            thread::sleep(NOTICE);
            self.retire();
        }
        // A panic has been reported, and has ended the process, when it happened.
        let _ended = self.thread.take().map(thread::JoinHandle::join);
        self.counters.snapshot()
    }
}

/// A worker whose handle is gone ends by itself, with the next packet at the latest.
impl Drop for Worker {
    fn drop(&mut self) {
        self.retire();
    }
}

/// Packets of a batch that are answered after the others, by their places.
type DeferredPackets = ArrayVec<u16, { Tuning::LARGEST_BATCH as usize }>;

struct WorkerLoop {
    socket: Arc<UdpSocket>,
    reference: ReferenceReader,
    census: Option<CensusPublisher>,
    policy: PolicyReader,
    /// Questions about clients, which are looked at after each batch.
    probe: ProbeReader,
    counters: Arc<Counters>,
    batch_sizer: BatchSizer,
    transmit_predictors: TransmitPredictors,
    settings: Arc<WorkerSettings>,
    /// The raw time of the last reading of the clock before it waited for packets.
    busy_until: Duration,
    nonces: Nonces,
    /// The packets of the batch with fields of NTS, by their places: empty before each batch.
    deferred: DeferredPackets,
    /// Those with a MAC.
    with_mac: DeferredPackets,
    interleaving: Interleaving,
}

/// The facts that are the same for all packets of a batch.
struct BatchContext {
    /// The clocks when the batch was there.
    now: ClockReadings,
    /// The served time then.
    served: NtpTimestamp,
    clock: ClockModel,
    variables: SystemVariables,
    /// The reason why no request gets an answer, if none does.
    refusal: Option<Verdict>,
    /// The same for requests with a MAC and without NTS.
    mac_refusal: Option<Verdict>,
    /// The same for requests without both.
    plain_refusal: Option<Verdict>,
    /// Whether fields of NTS mean anything.
    has_nts: bool,
    /// Whether a MAC means anything.
    has_keys: bool,
    max_wait: NtpDuration,
    /// Whether replies can be in interleaved mode.
    interleaves: bool,
    /// The epoch of the timestamps that are saved for it.
    epoch: u8,
    /// The smeared time as a function of UTC, if a leap second is smeared here and near.
    smeared: Option<SmearedTime>,
}

impl BatchContext {
    /// Whether a datagram waited too long.
    fn is_late(&self, datagram: &Datagram<'_>) -> bool {
        datagram
            .arrived_at
            .is_some_and(|stamp| self.now.realtime - stamp > self.max_wait)
    }

    /// Returns a datagram as a request, with the served time at which it came, marked for interleaved mode.
    fn request<'a>(&self, datagram: &Datagram<'a>, counters: &Counters) -> Request<'a> {
        let stamp = datagram
            .arrived_at
            .and_then(|stamp| self.clock.served_at_stamp(stamp, self.now));
        if stamp.is_none() {
            counters.count_stamp_unusable();
        }
        Request {
            payload: datagram.payload,
            source: datagram.source,
            source_port: datagram.source_port,
            unicast: datagram.unicast,
            received_at: receive_mark(self.announced(stamp.unwrap_or(self.served))),
        }
    }

    /// Returns the time that is announced where UTC is served as `utc`: t2 and t3, each at its own instant.
    #[inline]
    fn announced(&self, utc: NtpTimestamp) -> NtpTimestamp {
        match &self.smeared {
            None => utc,
            Some(time) => smeared_at(time, utc),
        }
    }
}

/// Keeps the arithmetic of a smear out of the path of other packets.
#[cold]
#[inline(never)]
fn smeared_at(time: &SmearedTime, utc: NtpTimestamp) -> NtpTimestamp {
    time.of(utc)
}

impl WorkerLoop {
    fn run(mut self) {
        let mut batch = Batch::new(Tuning::LARGEST_BATCH.into());
        if let Err(error) = self.settings.begin() {
            tracing::warn!(%error, "a worker can't keep to a CPU of its own: {error}");
        }
        lock_up();
        while !self.settings.is_to_stop() {
            self.counters.count_round();
            let wanted = self.batch_sizer.next(self.settings.batch());
            match batch.receive(self.socket.as_fd(), wanted) {
                Ok(received) => self.answer(&mut batch, received),
                Err(error) => self.rest(&error),
            }
        }
        self.finish(&mut batch);
    }

    /// A round without a packet.
    fn rest(&mut self, error: &io::Error) {
        // New policies are taken, and a step of the time is seen.
        let now = self.context().now.raw;
        if let Some(publisher) = &mut self.census {
            publisher.publish_if_due(now);
        }
        self.answer_probe(now);
        if !is_only_quiet(error) {
            self.counters.count_receive_failed();
            thread::sleep(FAILURE_PAUSE);
        }
    }

    /// Answers the requests that are still queued.
    ///
    /// A packet may be on its way to this socket on another core since before it was steered away from, so look twice.
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

    /// Handles a batch: from the network, through `respond`, to the network.
    fn answer(&mut self, batch: &mut Batch, received: usize) {
        let context = self.context();
        self.policy.prefetch(batch.sources());
        let idle = context.now.raw.saturating_sub(self.busy_until);
        self.transmit_predictors.plain.begin(context.now.raw, pause(idle));
        if self.batch_sizer.sends_together(received) {
            self.answer_together(&context, batch, received);
        } else {
            self.answer_one_by_one(&context, batch, received);
        }
        self.save_timestamps(&context);
        // After the replies: no client waits for the census.
        if let Some(publisher) = &mut self.census {
            publisher.note(batch.sources(), context.now.raw);
            publisher.publish_if_due(context.now.raw);
        }
        self.answer_probe(context.now.raw);
    }

    /// Answers a question about clients, if there is one.
    #[inline]
    fn answer_probe(&mut self, now: Duration) {
        if self.probe.is_asked() {
            let (policy, census) = (&self.policy, &self.census);
            self.probe.answer(|client| ClientFinding {
                state: policy.state_of(client),
                last_request: census
                    .as_ref()
                    .and_then(|census| census.last_request(client, now)),
            });
        }
    }

    fn context(&mut self) -> BatchContext {
        self.policy.latest();
        let epoch = self.policy.saved().map(SavedTimestamps::epoch);
        let now = clock::now();
        self.reference.latest();
        let policy = self.policy.latest();
        let (variables, reference, smeared) = self.reference.at_listener(policy.smear, now);
        let refusals = policy.refusals(reference.answers);
        let has_keys = policy.keys.is_some();
        let variables = policy.announced(variables);
        let mut context = BatchContext {
            now,
            served: reference.clock.served(now),
            clock: reference.clock,
            variables,
            refusal: refusals.all,
            mac_refusal: refusals.mac,
            plain_refusal: refusals.plain,
            has_keys,
            has_nts: self.policy.has_nts(),
            max_wait: self.settings.max_wait(),
            // Without a time, there is none to tell either.
            interleaves: epoch.is_some() && variables.stratum > 0,
            epoch: epoch.unwrap_or(0),
            smeared,
        };
        if let Some(saved) = self.policy.saved() {
            let announced = context.announced(context.served);
            context.epoch = self.interleaving.epoch(saved, context.epoch, announced, now.raw);
        }
        context
    }

    fn answer_one_by_one(&mut self, context: &BatchContext, batch: &mut Batch, received: usize) {
        for index in 0..received {
            self.busy_until = clock::raw();
            let until_sent = NtpDuration::between(context.now.raw, self.busy_until);
            if self.answer_packet(
                context,
                batch,
                index,
                self.transmit_predictors.plain.alone(until_sent),
            ) {
                self.send(batch);
            }
        }
        self.answer_authenticated(context, batch);
        let first = batch.datagram(0).and_then(|datagram| datagram.arrived_at);
        let busy_until = context.now.realtime + NtpDuration::between(context.now.raw, self.busy_until);
        self.batch_sizer.learn(received, first, busy_until);
    }

    fn answer_together(&mut self, context: &BatchContext, batch: &mut Batch, received: usize) {
        let mut begun = clock::raw();
        for first in (0..received).step_by(SENT_TOGETHER) {
            let few = first..received.min(first + SENT_TOGETHER);
            let (deciding, mut replies) = (few.len(), 0);
            let waited = NtpDuration::between(context.now.raw, begun);
            for index in few {
                let prediction = self.transmit_predictors.plain.after(waited, deciding, replies);
                replies += usize::from(self.answer_packet(context, batch, index, prediction));
            }
            let decided = clock::raw();
            self.send(batch);
            let sent = clock::raw();
            let took = |from: Duration, to: Duration| to.saturating_sub(from);
            self.transmit_predictors.plain.learn(
                deciding,
                took(begun, decided),
                replies,
                took(decided, sent),
            );
            begun = sent;
        }
        self.busy_until = begun;
        self.answer_authenticated(context, batch);
        self.batch_sizer.learn(received, None, context.now.realtime);
    }

    /// Answers the packets that were left for later.
    #[inline]
    fn answer_authenticated(&mut self, context: &BatchContext, batch: &mut Batch) {
        if !self.with_mac.is_empty() {
            self.answer_with_mac(context, batch);
        }
        if !self.deferred.is_empty() {
            self.answer_deferred(context, batch);
        }
    }

    /// Decides about a packet, whose reply would leave as in `prediction`.
    ///
    /// Returns whether it has a reply. One with fields of NTS or a MAC is deferred.
    fn answer_packet(
        &mut self,
        context: &BatchContext,
        batch: &mut Batch,
        index: usize,
        prediction: Prediction,
    ) -> bool {
        let Some(datagram) = batch.datagram(index) else {
            return false;
        };
        // Most packets are as short as a header, and cost no more for those that are not.
        if datagram.payload.len() > HEADER_LEN && self.defers(context, &datagram, index) {
            return false;
        }
        let is_late = context.is_late(&datagram);
        let request = context.request(&datagram, &self.counters);
        let (policy_reader, counters) = (&mut self.policy, &self.counters);
        let rule = || match context.plain_refusal {
            Some(refused) => Ruling::Refuse(refused),
            None if is_late => Ruling::Refuse(Verdict::RefusedLate),
            None => policy_reader.rule(datagram.source, context.now.raw, |annotation| {
                counters.annotate(annotation)
            }),
        };
        let transmit_at = transmit_mark(
            context.announced(context.served + prediction.until_sent),
            request.received_at,
        );
        let mut reply = ReplyBuffer::new(datagram.reply);
        let verdict = respond(&request, transmit_at, rule, &context.variables, &mut reply);
        let candidate = if context.interleaves && verdict == Verdict::AnsweredClient {
            InterleavedRequest::of_packet(request.payload)
        } else {
            None
        };
        let expected = candidate.zip(self.policy.saved()).map(|(candidate, saved)| {
            context.interleave_plain(saved, candidate, &request, &mut reply, counters)
        });
        let length = reply.length();
        counters.count(request.payload, verdict);
        if verdict.is_answered() {
            counters.count_residence(transmit_at - request.received_at);
        }
        if verdict.has_reply() {
            batch.reply(index, length);
        }
        if context.interleaves && verdict.has_reply() {
            let read_at = context.now.realtime;
            let sample = self.transmit_predictors.plain.sample(prediction, read_at);
            self.interleaving.stamp_if_due(batch, expected, read_at, sample);
        }
        verdict.has_reply()
    }

    /// Notes a packet that has fields of NTS, or a MAC, for later, if these mean anything, and returns whether it did.
    #[inline(never)]
    fn defers(&mut self, context: &BatchContext, datagram: &Datagram<'_>, index: usize) -> bool {
        let list = if context.has_nts && has_fields(datagram.payload) {
            &mut self.deferred
        } else if context.has_keys && has_mac(datagram.payload) {
            &mut self.with_mac
        } else {
            return false;
        };
        u16::try_from(index).is_ok_and(|index| list.try_push(index).is_ok())
    }

    /// Sends the replies that are ready.
    fn send(&mut self, batch: &mut Batch) {
        let outcome = batch.send(self.socket.as_fd());
        self.counters.count_unsent(outcome.failed, outcome.full);
        self.interleaving.sent(outcome.failed | outcome.full == 0);
        self.transmit_predictors.plain.end_pause();
    }
}

/// Takes from the thread all privileges and system calls that the packet path doesn't need.
///
/// It reads packets from everywhere.
fn lock_up() {
    let dropped = privileges::drop_all_of_thread().map_err(io::Error::other);
    let locked = dropped.and_then(|()| seccomp::limit_worker().map_err(io::Error::other));
    if let Err(error) = locked {
        tracing::error!(%error, "a worker cannot drop its privileges, so ntpfront ends: {error}");
        log::finish();
        std::process::abort();
    }
}

fn is_only_quiet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests;
