//! Impure. The poller of one upstream: sends a question, waits, passes the answer to the pure part, reports the result.

mod keys;
mod mac;

pub use keys::question_with;

use std::fmt;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::Sender;
use tokio::sync::watch::{self, error::RecvError};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use self::mac::question_with_mac;
use super::addresses::Next;
use super::association::{Association, PollerSettings};
use super::errno::fault_of;
use super::fault::QueryFault;
use super::host_addresses::of_upstream;
use super::nts::key_state::KeyState;
use super::packet::{self, ANSWER_WITHIN, Exchange, QuestionNonces, Reject, Sample, UNSOLICITED_MAX};
use super::peer::{Peer, Polling};
use super::registry::UpstreamId;
use crate::host::changes::Changes;
use crate::host::clock;
use crate::host::names::Names;
use crate::host::{addresses, entropy, limits, udp};
use crate::log::throttle::ThrottledChange;
use crate::nts::client::LONGEST_REPLY;
use crate::time::{NtpTimestamp, Timescale};
use crate::wire::Header;

/// The waiting time after a first change of the network: changes come in groups (link, address, route).
const CHANGES_SETTLE: Duration = Duration::from_millis(100);
/// The shortest time between two look-ups of a name, however many changes there are.
const RESOLVE_APART: Duration = Duration::from_secs(2);

/// Longest sleep of the host during an exchange: the raw counter stops meanwhile, so the sample would be wrong.
const SLEEP_MAX: Duration = Duration::from_millis(10);

/// Readiness of a socket: a packet, or an error that the network reports (no server listens there, no route).
const PACKET_OR_ERROR: Interest = Interest::READABLE.add(Interest::ERROR);

/// The report of a poller after each round.
#[derive(Clone, Debug)]
pub struct PollerReport {
    /// The upstream.
    pub id: UpstreamId,
    /// All that is known of it.
    pub peer: Peer,
    /// The state of its polling, to be displayed.
    pub polling: Polling,
}

/// The task that polls one upstream.
#[expect(missing_debug_implementations, reason = "holds the system's hosts file")]
pub struct Poller {
    id: UpstreamId,
    settings: watch::Receiver<PollerSettings>,
    association: Association,
    /// The keys of an upstream with NTS.
    keys: KeyState,
    /// The reason why there are none, in the words of TLS or of the kernel.
    key_detail: Option<String>,
    names: Names,
    /// The addresses of this host, as they were read last.
    own: Vec<IpAddr>,
    /// The kernel's reports of network changes, while a fault waits for one.
    changes: Option<Changes>,
    scale: Timescale,
    precision: i8,
    fault: ThrottledChange<Option<QueryFault>>,
    kiss: ThrottledChange<Option<SocketAddr>>,
    /// The reason for which the MACs of replies are refused.
    mac: ThrottledChange<Option<Reject>>,
}

impl Poller {
    /// Creates the poller of the upstream in the `settings`.
    ///
    /// `id` is in its reports, `scale` is the local timescale, `precision` the host clock's, log2 seconds.
    pub fn new(
        id: UpstreamId,
        mut settings: watch::Receiver<PollerSettings>,
        names: Names,
        scale: Timescale,
        precision: i8,
    ) -> Self {
        let association = Association::new(settings.borrow_and_update().clone());
        Self {
            id,
            settings,
            association,
            keys: KeyState::default(),
            key_detail: None,
            names,
            own: Vec::new(),
            changes: None,
            scale,
            precision,
            fault: ThrottledChange::new(None),
            kiss: ThrottledChange::new(None),
            mac: ThrottledChange::new(None),
        }
    }

    /// Polls until the sender of the settings or the receiver of the `reports` is dropped.
    pub async fn run(self, reports: Sender<PollerReport>) {
        let mut settings = self.settings.clone();
        let closed = async move { while settings.changed().await.is_ok() {} };
        tokio::select! {
            () = self.poll_until_closed(reports) => {}
            () = closed => {}
        }
    }

    async fn poll_until_closed(mut self, reports: Sender<PollerReport>) {
        loop {
            self.apply();
            self.round().await;
            let report = PollerReport {
                id: self.id,
                peer: self.association.peer().clone(),
                polling: self.polling(),
            };
            if reports.send(report).await.is_err() || self.pause().await.is_err() {
                return;
            }
        }
    }

    /// Returns the polling as it is displayed.
    fn polling(&self) -> Polling {
        let keys = self.association.upstream().nts.as_ref();
        Polling {
            keys: keys.map(|_| self.keys.status()),
            ..self.association.polling()
        }
    }

    /// Runs one round: polls one address after the other, until one answers.
    async fn round(&mut self) {
        self.association.begin();
        if let Err(fault) = self.renew_keys().await {
            self.association.cannot_ask(fault);
            return self.end_round();
        }
        loop {
            self.read_own_addresses();
            match self.association.next(clock::raw()) {
                Next::Resolve => self.resolve().await,
                Next::Ask(address, within) => self.ask(address, within).await,
                Next::End => break,
            }
        }
        self.end_round();
    }

    fn end_round(&mut self) {
        let now = clock::raw();
        self.association.end(now);
        self.log_fault(now);
    }

    /// Reads the addresses of this host.
    ///
    /// They can't be read without file descriptors; then those from before are the best guess.
    fn read_own_addresses(&mut self) {
        self.own = addresses::own().unwrap_or_else(|_| std::mem::take(&mut self.own));
    }

    /// Waits until the next round is due; new settings and network changes can make it earlier.
    async fn pause(&mut self) -> Result<(), RecvError> {
        let (began, random) = (clock::raw(), entropy::random().unwrap_or(0));
        self.watch_network();
        loop {
            self.apply();
            let waited = clock::raw().saturating_sub(began);
            let due = sleep(self.interval(random).saturating_sub(waited));
            tokio::select! {
                () = due => return Ok(()),
                () = changed(self.changes.as_ref()) => {
                    self.keys.hurry(false);
                    break;
                }
                changed = self.settings.changed() => changed?,
            }
        }
        let is_of_name = self.association.peer().fault.is_some_and(QueryFault::is_of_name);
        let apart = if is_of_name { RESOLVE_APART } else { CHANGES_SETTLE };
        let waited = clock::raw().saturating_sub(began);
        sleep(apart.saturating_sub(waited).max(CHANGES_SETTLE)).await;
        Ok(())
    }

    /// Returns the pause before the next round: without keys, at least until new ones may be established.
    fn interval(&self, random: u64) -> Duration {
        let pause = self.association.pause(random);
        match self.association.peer().fault {
            Some(QueryFault::NoKeys(_)) => pause.max(self.keys.due_in(clock::raw())),
            Some(_) | None => pause,
        }
    }

    /// Subscribes to network changes while the upstream waits for one.
    ///
    /// If that fails, the pauses are short enough.
    fn watch_network(&mut self) {
        if !self.association.waits_for_changes() {
            self.changes = None;
        } else if self.changes.is_none() {
            self.changes = Changes::watch().ok();
        }
    }

    fn apply(&mut self) {
        let settings = self.settings.borrow_and_update().clone();
        self.apply_to_keys(&settings);
        self.association.apply(&settings);
    }

    /// Finds the addresses of the upstream: its own, or those that its keys are for.
    async fn resolve(&mut self) {
        let upstream = self.association.upstream().clone();
        let found = match upstream.nts {
            None => of_upstream(&upstream, upstream.port, &mut self.names).await,
            Some(_) => self.negotiated_addresses().await,
        };
        match found {
            Ok(found) => {
                for (address, reason) in self.association.found(&found, &self.own) {
                    debug!(%upstream, %address, %reason, "not polled");
                }
            }
            Err(error) => {
                debug!(%upstream, %error, "no address");
                self.association
                    .not_found(fault_of(&error).unwrap_or(QueryFault::Unresolved));
            }
        }
    }

    /// Sends one question to `address`, and waits up to `within` for the answer.
    async fn ask(&mut self, address: SocketAddr, within: Duration) {
        if let Some(fault) = self.association.address_fault(address, &self.own) {
            self.association.fault(address, fault, false, &self.own);
            return;
        }
        let upstream = self.association.upstream();
        let (has_nts, key) = (upstream.nts.is_some(), upstream.key.clone());
        let random = match nonce().and_then(|transmit| Ok([transmit, nonce()?])) {
            Ok(random) => random,
            Err(error) => return self.cannot_ask(address, &error, false),
        };
        let (header, nonces) = self.association.question(address, random);
        let question = (&header, nonces);
        let refuse = |reject| self.association.refuse(reject);
        // It is never asked without what it is configured with.
        let asked = match key {
            None if !has_nts => question_of(address, within, question, refuse).await,
            Some(key) => question_with_mac(address, within, &key, question, refuse).await,
            None => match self.ask_with_nts(address, within, question).await {
                Ok(asked) => asked,
                Err(fault) => {
                    let fault = QueryFault::NoKeys(fault);
                    return self.association.fault(address, fault, false, &self.own);
                }
            },
        };
        match asked {
            Ok((header, exchange)) => self.process_answer(address, header, exchange),
            Err(NoAnswer::Silence(error)) => {
                debug!(upstream = %self.association.upstream(), %address, %error, "no answer");
                self.log_mac(address);
                self.association.silent(address, &self.own);
            }
            Err(NoAnswer::QueryFault(error, sent)) => self.cannot_ask(address, &error, sent),
        }
    }

    /// Takes note that `address` can't be polled; `sent` is true if a packet was sent to find that out.
    fn cannot_ask(&mut self, address: SocketAddr, error: &io::Error, sent: bool) {
        debug!(upstream = %self.association.upstream(), %address, %error, "can't be polled");
        let fault = fault_of(error).unwrap_or(QueryFault::Refused);
        let here = address.ip().is_loopback() || self.own.contains(&address.ip());
        self.association.fault(address, fault, sent && !here, &self.own);
    }

    fn process_answer(&mut self, address: SocketAddr, header: Header, exchange: Exchange) {
        if self.association.peer().address != Some(address) {
            info!(upstream = %self.association.upstream(), %address, "this address answers");
        }
        self.association.answered(address, &self.own);
        self.apply();
        match self
            .association
            .process_answer(header, &exchange, &self.scale, self.precision, &self.own)
        {
            Ok(sample) => self.log_sample(&header, &sample),
            Err(reject) => {
                let times = self.association.rejected(reject);
                debug!(upstream = %self.association.upstream(), %address, reason = reject.name(), times, "answer refused");
                self.log_kiss(reject, address);
            }
        }
    }

    fn log_sample(&self, header: &Header, sample: &Sample) {
        debug!(
            upstream = %self.association.upstream(),
            delay = format!("{:.9}", sample.delay.to_seconds()),
            stratum = header.stratum,
            reference_id = %header.reference_id,
            "sample"
        );
    }

    /// Logs a kiss as a warning: the operator must know why an upstream is polled less often.
    fn log_kiss(&mut self, refused: Reject, address: SocketAddr) {
        let upstream = self.association.upstream();
        let (denied, rate) = (refused == Reject::KissDeny, refused == Reject::KissRate);
        if denied && self.kiss.change(Some(address), clock::raw()).is_some() {
            warn!(
                %upstream,
                %address,
                reason = refused.name(),
                "the upstream refuses to answer (kiss DENY or RSTR): this address is polled again after an hour, and each time later, up to a day, or after a reload"
            );
        } else if rate && self.association.rejected(refused) == 1 {
            warn!(%upstream, reason = refused.name(), "the upstream is polled too often, it says (kiss RATE): it is polled less often now");
        }
    }

    /// Logs that replies were refused for their MAC, and why: only the operator can make the keys of both ends the same.
    fn log_mac(&mut self, address: SocketAddr) {
        let upstream = self.association.upstream();
        let refused = self.association.peer().refused;
        let Some((key, refused)) = upstream.key.as_ref().zip(refused.filter(|one| one.is_of_mac())) else {
            return;
        };
        if self.mac.change(Some(refused), clock::raw()).is_some() {
            let key = key.id();
            warn!(
                %upstream,
                %address,
                key,
                reason = refused.name(),
                "upstream {upstream}: no reply has a MAC of key {key} ({}): compare the key at both ends",
                refused.name()
            );
        }
    }

    /// Logs why the upstream can't be polled, at most once per minute and reason.
    fn log_fault(&mut self, now: Duration) {
        let (upstream, fault) = (self.association.upstream(), self.association.peer().fault);
        if let (Some(_), Some(fault)) = (self.fault.change(fault, now), fault) {
            let reason = match (fault, &self.key_detail) {
                (QueryFault::Short(shortage), _) => limits::told(shortage),
                (QueryFault::NoKeys(_), Some(detail)) => format!("{fault}: {detail}"),
                (_, _) => fault.text().to_owned(),
            };
            warn!(%upstream, reason, "upstream {upstream} can't be polled: {reason}");
        }
    }
}

async fn changed(changes: Option<&Changes>) {
    match changes {
        Some(changes) if changes.changed().await.is_ok() => {}
        Some(_) | None => pending().await,
    }
}

/// The reason why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// The address can't be reached, or no server listens there. True if a packet was sent to find that out.
    QueryFault(io::Error, bool),
    /// The question was sent, and no answer to it came.
    Silence(io::Error),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence(error) => error.fmt(f),
            Self::QueryFault(error, _) => match fault_of(error) {
                Some(fault) => fault.fmt(f),
                None => error.fmt(f),
            },
        }
    }
}

/// Sends one plain question to `address` and waits up to `within` for the authentic answer.
///
/// Each packet that is not the answer is passed to `unsolicited`.
///
/// # Errors
/// No answer in time, only unsolicited packets, a sleep of the host, or an error of the kernel: no route, no server
/// listens there, ….
//= RFC 5905 §8 duplicate
pub async fn question(
    address: SocketAddr,
    within: Duration,
    unsolicited: impl FnMut(Reject),
) -> Result<(Header, Exchange), NoAnswer> {
    let nonce = nonce().map_err(|error| NoAnswer::QueryFault(error, false))?;
    question_of(
        address,
        within,
        (&Header::request(nonce), nonce.into()),
        unsolicited,
    )
    .await
}

/// As [`question`], with this `header` and its nonces.
pub(super) async fn question_of(
    address: SocketAddr,
    within: Duration,
    (header, nonces): (&Header, QuestionNonces),
    unsolicited: impl FnMut(Reject),
) -> Result<(Header, Exchange), NoAnswer> {
    let request = header.to_bytes();
    let accept = |packet: &[u8]| packet::authentic(packet, nonces);
    exchange(address, within, (nonces, &request), accept, unsolicited).await
}

/// Returns the random transmit timestamp of a question.
pub(super) fn nonce() -> io::Result<NtpTimestamp> {
    entropy::random().map(NtpTimestamp::from_bits)
}

/// Sends a question with its nonces to `address` and waits up to `within` for a packet that is accepted as the answer.
pub(super) async fn exchange(
    address: SocketAddr,
    within: Duration,
    (nonces, request): (QuestionNonces, &[u8]),
    accept: impl FnMut(&[u8]) -> Result<Header, Reject>,
    unsolicited: impl FnMut(Reject),
) -> Result<(Header, Exchange), NoAnswer> {
    let unsent = |error| NoAnswer::QueryFault(error, false);
    let socket = udp::ask(address).and_then(UdpSocket::from_std).map_err(unsent)?;
    let asleep = clock::gaps().asleep;
    let earliest = clock::raw();
    socket.send(request).await.map_err(unsent)?;
    let answer = answer(&socket, asleep, accept, unsolicited);
    let (header, arrived) = timeout(within, answer)
        .await
        .map_err(|elapsed| NoAnswer::Silence(elapsed.into()))??;
    let sent = departure(udp::sent_at(&socket), earliest, arrived);
    let nonce = nonces.transmit;
    Ok((header, Exchange { nonce, sent, arrived }))
}

/// Waits for the answer, and returns it with its arrival time by the raw counter.
///
/// `asleep` is the total sleep of the host when the question was sent.
async fn answer(
    socket: &UdpSocket,
    asleep: Duration,
    mut accept: impl FnMut(&[u8]) -> Result<Header, Reject>,
    mut unsolicited: impl FnMut(Reject),
) -> Result<(Header, Duration), NoAnswer> {
    for _ in 0..UNSOLICITED_MAX {
        let mut buffer = [0; LONGEST_REPLY];
        let (length, stamp) = socket
            .async_io(PACKET_OR_ERROR, || udp::receive_stamped(socket, &mut buffer))
            .await
            .map_err(|error| NoAnswer::QueryFault(error, true))?;
        let arrived = arrival(stamp);
        match accept(buffer.get(..length).unwrap_or_default()) {
            Ok(_) if clock::gaps().asleep.abs_diff(asleep) > SLEEP_MAX => {
                return Err(NoAnswer::Silence(io::Error::other("the host slept meanwhile")));
            }
            Ok(header) => return Ok((header, arrived)),
            Err(reject) => unsolicited(reject),
        }
    }
    let unsolicited = io::Error::other("only packets that are not the answer");
    Err(NoAnswer::Silence(unsolicited))
}

/// Returns the raw counter at the kernel's transmit timestamp: the question may have waited in this host.
///
/// Without one that is possible, it is the `earliest` time.
//= RFC 5905 §7.3 timestamping
fn departure(stamp: Option<NtpTimestamp>, earliest: Duration, arrived: Duration) -> Duration {
    let now = clock::now();
    let age = stamp.and_then(|stamp| (now.realtime - stamp).to_std());
    let sent = age.and_then(|age| now.raw.checked_sub(age));
    sent.filter(|sent| (earliest..=arrived).contains(sent))
        .unwrap_or(earliest)
}

/// Returns the raw counter at the kernel's receive timestamp: the task may have been woken much later.
//= RFC 5905 §7.3 timestamping
fn arrival(stamp: Option<NtpTimestamp>) -> Duration {
    let now = clock::now();
    let age = stamp
        .and_then(|stamp| (now.realtime - stamp).to_std())
        .filter(|&age| age <= ANSWER_WITHIN);
    now.raw.saturating_sub(age.unwrap_or(Duration::ZERO))
}
