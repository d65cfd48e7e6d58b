//! Pure. The association with one upstream: its answers, its reachability, and its next poll (`interval`).
//!
//! The sections are RFC 5905 §9.1 and §13; for kisses, §7.4.

mod interleaved;
mod interval;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::addresses::{Addresses, Next};
use super::clock_policy::ClockPolicy;
use super::fault::{self, QueryFault};
use super::filter::View;
use super::interleaved::InterleavedAssociation;
use super::nts::certificate::UncheckedCertificate;
use super::nts::key_state::KeyRules;
use super::packet::{self, Exchange, Reject, Sample};
use super::peer::{Peer, Polling};
use super::{Host, Upstream};
use crate::time::{NtpDuration, Timescale};
use crate::wire::{Header, ReferenceId};

/// Number of questions in a burst; the RFC's eight (§13.1, BCOUNT) are no better than four.
///
/// After them the intervals double until they are as long as the poll interval.
//= RFC 5905 §13.1 burst-count
const BURST: u32 = 4;
/// Interval in a burst to another host: 2 s (RFC 5905 §13.2), as log2 seconds.
//= RFC 5905 §13.2 burst-interval
const BURST_LOG2: i8 = 1;
/// Interval in a burst to a daemon on this host: 1 s, as log2 seconds.
const LOCAL_BURST_LOG2: i8 = 0;
/// Longest poll interval after RATE kisses, whatever is configured: 36 hours, as log2 seconds (RFC 5905 §7.2, MAXPOLL).
//= RFC 5905 §7.2 maxpoll
const SLOWEST: i8 = 17;
/// Number of questions without an answer after which the poll interval doubles.
const BACKOFF_AFTER: u32 = 4;
/// Number of samples in a row that fit the line, after which the poll interval doubles.
//= RFC 5905 §11.3 time-constant
const GROW_AFTER: u32 = 16;

/// Longest interval between attempts while the kernel has no route: 1 s, 2 s, 4 s, then every 8 s, as log2 seconds.
///
/// Nothing leaves this host meanwhile.
const RETRY_LOG2: i8 = 3;
/// Shortest and longest interval between attempts to resolve a name: 2 s to 64 s, as log2 seconds.
const NAME_RETRY_LOG2: [i8; 2] = [1, 6];

/// The settings of the poller of one upstream. All of them may change while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct PollerSettings {
    /// The upstream with its poll intervals. Host and port never change.
    pub upstream: Upstream,
    /// The limits that an answer must keep to be used.
    pub policy: ClockPolicy,
    /// The corrections of samples from before a leap second, a sleep or a jump of the host's clocks.
    pub view: View,
    /// The listeners of this server, which it must not poll.
    pub listeners: Arc<[SocketAddr]>,
    /// Number of reloads of the configuration: after each, an upstream that sent DENY or RSTR is polled again at once.
    pub reloads: u64,
    /// Number of refreshes by command: after each, names are resolved again, and the upstream is polled at once.
    pub refreshes: u64,
    /// The rules for the keys of upstreams with NTS.
    pub key_rules: KeyRules,
    /// Offset of the time that upstreams agreed on from the local timescale, to a minute, while it is vouched for.
    pub vouched: Option<NtpDuration>,
    /// The time of the key establishment whose certificate was not valid, by the raw counter: this upstream is cast out.
    pub cast_out: Option<Duration>,
    /// Number of requests for new samples at once, each after an event that makes old ones doubtful.
    pub resample_requests: u64,
}

/// The state of the association with one upstream.
#[derive(Clone, Debug)]
pub struct Association {
    settings: PollerSettings,
    peer: Peer,
    burst_left: u32,
    /// Number of samples when the last burst began: the intervals widen with those after it.
    burst_from: u64,
    poll: i8,
    /// The shortest interval after RATE kisses, log2 seconds (RFC 5905 §7.4).
    rate_minimum: Option<i8>,
    unanswered: u32,
    /// Rounds in a row in which no address could be polled.
    faults: u32,
    /// The time up to which such rounds were counted as missing answers, by the raw counter.
    missed: Option<Duration>,
    /// Whether a poll is due at once.
    is_due: bool,
    /// Whether a burst is due with the next answer.
    burst_when_back: bool,
    addresses: Addresses,
    interleaved: InterleavedAssociation,
    /// Whether the server of key establishment named another host: then the configuration does not say what is polled.
    is_elsewhere: bool,
    round: Round,
    /// The pause after the last round if all addresses sent DENY or RSTR.
    all_denied_for: Option<Duration>,
    /// Samples in a row that fit the line of those before.
    steady: u32,
    rejected: [u64; Reject::COUNT],
}

/// The results of a poll round so far; all addresses of a name may be tried in one.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    /// An address answered.
    answered: bool,
    /// An address did not answer a question.
    silent: bool,
    /// The reason why an address could not be polled, and whether a packet left this host.
    fault: Option<(QueryFault, bool)>,
}

impl Association {
    /// Creates the association with the upstream in the `settings`, which was not polled yet.
    pub fn new(settings: PollerSettings) -> Self {
        let upstream = &settings.upstream;
        Self {
            peer: Peer::unknown(upstream),
            burst_left: if upstream.iburst { BURST } else { 1 },
            burst_from: 0,
            poll: upstream.minpoll,
            rate_minimum: None,
            unanswered: 0,
            faults: 0,
            missed: None,
            is_due: false,
            burst_when_back: false,
            addresses: Addresses::default(),
            interleaved: InterleavedAssociation::default(),
            is_elsewhere: false,
            round: Round::default(),
            all_denied_for: None,
            steady: 0,
            rejected: [0; Reject::COUNT],
            settings,
        }
    }

    /// Applies new settings.
    pub fn apply(&mut self, settings: &PollerSettings) {
        let before = std::mem::replace(&mut self.settings, settings.clone());
        self.poll = self.poll.clamp(self.shortest(), self.longest());
        if settings.reloads != before.reloads {
            self.resume_after_kiss();
        }
        if settings.resample_requests != before.resample_requests {
            self.resample();
        }
        if settings.refreshes != before.refreshes {
            self.refresh();
        }
    }

    /// Polls again after DENY or RSTR: a reload shows that an operator is at work, and may have fixed the reason.
    fn resume_after_kiss(&mut self) {
        self.addresses.resume_after_kiss();
        self.all_denied_for = None;
        if self.peer.stopped {
            self.peer.stopped = false;
            self.burst_left = 1;
        }
    }

    /// Polls as at the start, since older samples may be wrong; after a RATE kiss it does not poll sooner.
    fn resample(&mut self) {
        if self.rate_minimum.is_none() {
            self.burst_left = if self.settings.upstream.iburst { BURST } else { 1 };
            self.burst_from = self.peer.accepted;
        }
        (self.poll, self.steady) = (self.shortest(), 0);
    }

    /// Resolves its name again, and polls at once, unless it asked for less (RATE, DENY, RSTR).
    fn refresh(&mut self) {
        self.addresses.refresh();
        self.is_due = self.rate_minimum.is_none() && self.all_denied_for.is_none();
    }

    /// Returns the shortest poll interval outside of bursts, log2 seconds.
    fn shortest(&self) -> i8 {
        self.settings.upstream.minpoll.max(self.rate_minimum.unwrap_or(0))
    }

    /// Returns the longest poll interval, log2 seconds.
    fn longest(&self) -> i8 {
        self.settings.upstream.maxpoll.max(self.shortest())
    }

    /// Returns the upstream as configured.
    pub fn upstream(&self) -> &Upstream {
        &self.settings.upstream
    }

    /// Returns the settings.
    pub fn settings(&self) -> &PollerSettings {
        &self.settings
    }

    /// Returns the part that the system process uses.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Returns the polling as it is displayed.
    pub fn polling(&self) -> Polling {
        Polling {
            interval: Some(self.pause(0)),
            rejected: self.rejected,
            keys: None,
            interleaved: self.interleaved.status(),
        }
    }

    /// Returns the number of answers that were refused for `reject`.
    pub fn rejected(&self, reject: Reject) -> u64 {
        self.rejected.get(reject.index()).copied().unwrap_or(0)
    }

    /// Begins a round: it polls the address that answers, or searches for one that does.
    pub fn begin(&mut self) {
        self.round = Round::default();
        self.is_due = false;
        let is_lost = self.is_silent() || self.peer.stopped || self.peer.fault.is_some();
        let first = self.peer.address.filter(|_| !self.is_silent());
        if is_lost && !self.is_named() {
            // The interface of a link-local address may have come back with another number.
            self.addresses.forget();
        }
        self.addresses.begin(is_lost, first);
    }

    /// Returns the next step of this round, at `now` by the raw counter.
    pub fn next(&mut self, now: Duration) -> Next {
        self.addresses.next(now)
    }

    /// Takes the addresses of its name, or its own one; `own` are this host's.
    ///
    /// Returns those that must not be polled, and why.
    pub fn found(&mut self, all: &[SocketAddr], own: &[IpAddr]) -> Vec<(SocketAddr, QueryFault)> {
        let (named, listeners) = (self.is_named(), &self.settings.listeners);
        let fault = |one: &SocketAddr| Some((*one, fault::of_address(*one, named, own, listeners)?));
        let unusable: Vec<_> = all.iter().filter_map(fault).collect();
        let usable = all
            .iter()
            .filter(|one| !unusable.iter().any(|(unusable, _)| unusable == *one));
        let usable: Vec<SocketAddr> = usable.copied().collect();
        let last = self.peer.address.filter(|_| self.is_silent());
        self.addresses.found(&usable, last);
        for (address, fault) in &unusable {
            self.fault(*address, *fault, false, own);
        }
        unusable
    }

    /// Continues after a look-up that failed, with the addresses that were known before, if any.
    pub fn not_found(&mut self, fault: QueryFault) {
        self.addresses.not_found();
        self.round.fault = self.round.fault.or(Some((fault, false)));
    }

    /// Records that nothing can be polled in this round.
    pub fn cannot_ask(&mut self, fault: QueryFault) {
        self.round.fault = Some((fault, false));
    }

    /// Records new keys: for another server than before, or not, which is on another host than configured, or not.
    ///
    /// `unchecked` is the certificate behind them, if its dates are still to be checked.
    pub fn rekeyed(&mut self, is_other: bool, is_elsewhere: bool, unchecked: Option<UncheckedCertificate>) {
        self.is_elsewhere = is_elsewhere;
        self.peer.unchecked = unchecked;
        if is_other {
            self.addresses = Addresses::default();
            self.begin();
        }
    }

    /// Forgets all answers: they came with a certificate that was not valid.
    pub fn forget_answers(&mut self) {
        self.peer = Peer {
            address: self.peer.address,
            on_this_host: self.peer.on_this_host,
            ..Peer::default()
        };
        self.burst_from = 0;
    }

    /// Returns why `address` must not be polled now, if so: this host's addresses may have changed since the look-up.
    pub fn address_fault(&self, address: SocketAddr, own: &[IpAddr]) -> Option<QueryFault> {
        fault::of_address(address, self.is_named(), own, &self.settings.listeners)
    }

    /// Records that `address`, which was polled last, did not answer. `own` are this host's addresses.
    pub fn silent(&mut self, address: SocketAddr, own: &[IpAddr]) {
        self.round.silent = true;
        self.interleaved.unanswered();
        if self.peer.address.is_none() {
            self.set_address(address, own);
        }
        self.addresses.silent();
    }

    /// Records why `address` can't be polled: no route to it, no server there, ….
    ///
    /// `sent` is true if a packet left this host to find that out, `own` are this host's addresses.
    pub fn fault(&mut self, address: SocketAddr, fault: QueryFault, sent: bool, own: &[IpAddr]) {
        if self.peer.address.is_none() && (!fault.is_of_name() || !self.is_named()) {
            self.set_address(address, own);
        }
        if fault == QueryFault::OwnListener && self.peer.address.is_none_or(|known| known == address) {
            self.refuse(Reject::Loop);
        }
        let before = self.round.fault;
        let is_worse = before.is_none_or(|(before, before_sent)| {
            (sent && !before_sent) || (before.is_of_name() && !fault.is_of_name())
        });
        if is_worse {
            self.round.fault = Some((fault, sent));
        }
    }

    /// Records that an authentic answer of `address` came; call it before [`Self::process_answer`].
    pub fn answered(&mut self, address: SocketAddr, own: &[IpAddr]) {
        self.asked();
        self.round.answered = true;
        self.set_address(address, own);
    }

    /// Ends the round, at `now` by the raw counter.
    //= RFC 5905 §13 always
    pub fn end(&mut self, now: Duration) {
        let round = std::mem::take(&mut self.round);
        self.all_denied_for = self.addresses.all_denied_for(now);
        if round.answered {
            return;
        }
        self.addresses.end_unanswered(round.silent);
        match round.fault {
            _ if round.silent => self.asked(),
            Some((fault, sent)) => self.failed(fault, sent, now),
            None => {}
        }
    }

    /// Sets the address; a new one starts without samples.
    ///
    /// Only an address in the configuration can be on this host, not one behind a name.
    fn set_address(&mut self, address: SocketAddr, own: &[IpAddr]) {
        if self.peer.address != Some(address) {
            let here = address.ip().is_loopback() || own.contains(&address.ip());
            self.peer = Peer {
                address: Some(address),
                on_this_host: !self.is_elsewhere
                    && (self.settings.upstream.host.is_loopback() || (!self.is_named() && here)),
                unchecked: self.peer.unchecked,
                ..Peer::default()
            };
            self.interleaved = InterleavedAssociation::default();
            self.burst_from = 0;
        }
    }

    /// Returns whether name servers, or its server of key establishment, decide what its address is.
    pub fn is_named(&self) -> bool {
        self.is_elsewhere || self.has_name()
    }

    fn has_name(&self) -> bool {
        match &self.settings.upstream.host {
            Host::Address(_) | Host::LinkLocal(..) => false,
            host @ Host::Name(_) => !host.is_loopback(),
        }
    }

    /// Counts a question: one per round, however many addresses were tried.
    //= RFC 5905 §13.2 reach-in-burst
    fn asked(&mut self) {
        if self.round.answered {
            return;
        }
        self.peer.fault = None;
        (self.faults, self.missed) = (0, None);
        self.burst_left = self.burst_left.saturating_sub(1);
        self.unanswered();
    }

    //= RFC 5905 §9.2 reach
    //= RFC 5905 §13.2 backoff
    fn unanswered(&mut self) {
        self.peer.reach <<= 1;
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered.is_multiple_of(BACKOFF_AFTER) {
            self.poll = (self.poll + 1).min(self.longest());
        }
    }

    /// Ends a round in which no address could be polled.
    ///
    /// The burst still has all its questions. If a packet was `sent`, it counts as unanswered; otherwise only the time
    /// that passes counts.
    fn failed(&mut self, fault: QueryFault, sent: bool, now: Duration) {
        self.peer.fault = Some(fault);
        self.faults = self.faults.saturating_add(1);
        if sent {
            self.missed = None;
            self.unanswered();
        } else {
            self.count_missing(now);
        }
        if self.peer.reach == 0 {
            self.burst_when_back = true;
        }
    }

    /// Counts a missing answer for each poll interval that has begun, as if a question had been sent.
    fn count_missing(&mut self, now: Duration) {
        let interval = seconds(self.poll);
        let mut since = self.missed.unwrap_or(now);
        let mut missing = u32::from(self.missed.is_none());
        while missing < 8 && now.saturating_sub(since) >= interval {
            since = since.saturating_add(interval);
            missing += 1;
        }
        self.missed = Some(since);
        self.peer.reach = self.peer.reach.checked_shl(missing).unwrap_or(0);
    }

    /// Returns whether a change of links, addresses or routes of this host may make the upstream reachable.
    pub fn waits_for_changes(&self) -> bool {
        self.peer
            .fault
            .is_some_and(|fault| fault != QueryFault::NotListening)
            && self.missed.is_some()
    }

    /// Processes an authentic answer: takes its sample, or refuses it.
    ///
    /// `scale` is the local timescale, `precision` the host clock's, log2 seconds, `own` are this host's addresses.
    ///
    /// # Errors
    /// The reason for the refusal, which is recorded, too.
    pub fn process_answer(
        &mut self,
        header: Header,
        exchange: &Exchange,
        scale: &Timescale,
        precision: i8,
        own: &[IpAddr],
    ) -> Result<Sample, Reject> {
        self.peer.filter.revise(&self.settings.view);
        let read = self.interleaved.read(header, exchange);
        let header = read.header;
        let sample = read.sample(exchange, scale, precision);
        let limit = self.settings.policy.max_distance;
        let usable = packet::usable(&header, &sample, &self.own_reference_ids(&header, own), limit);
        match (usable, self.peer.address) {
            (Err(Reject::KissDeny), Some(address)) => self.addresses.denied(address, exchange.arrived),
            (_, Some(address)) => self.addresses.answered(address),
            (_, None) => {}
        }
        //= RFC 5905 §7.4 timestamps
        usable.inspect_err(|&reject| self.refuse(reject))?;
        self.interleaved.accept(&read, exchange);
        self.correct(&read, scale, precision);
        self.accept(header, sample);
        Ok(sample)
    }

    /// Returns the reference IDs that mean this server in an answer: those of its addresses.
    ///
    /// From an upstream on this host, that of a local reference counts, too, if the stratum could be this server's: a
    /// daemon that follows this server passes it on.
    fn own_reference_ids(&self, header: &Header, own: &[IpAddr]) -> Vec<ReferenceId> {
        let local = self.settings.policy.local;
        let ours = local.filter(|local| self.peer.on_this_host && header.stratum >= local.stratum);
        let addresses = own.iter().copied().map(ReferenceId::from_address);
        addresses.chain(ours.map(|_| ReferenceId::LOCAL)).collect()
    }

    /// Takes a good answer and its sample.
    //= RFC 5905 §13.2 iburst
    //= RFC 5905 §13.2 peer-poll
    fn accept(&mut self, header: Header, sample: Sample) {
        let is_back = self.peer.reach == 0 && self.unanswered > BACKOFF_AFTER;
        if self.settings.upstream.iburst && (is_back || self.burst_when_back) {
            // It is back after a silence: a burst gives an estimate quickly.
            self.burst_left = BURST - 1;
        }
        self.burst_when_back = false;
        self.peer.reach |= 1;
        (self.peer.refused, self.peer.stopped) = (None, false);
        self.peer.answer = Some(header);
        self.peer.last_good = Some(header);
        self.peer.accepted += 1;
        if self.unanswered > BACKOFF_AFTER {
            self.poll = self.shortest();
        }
        self.unanswered = 0;
        self.adapt_poll(sample);
    }

    /// Adds the sample to the filter, and adapts the poll interval.
    ///
    /// It grows while the samples fit one line, and shrinks when old ones had to be dropped (as RFC 5905 §11.3 intends:
    /// longer intervals for a stable clock).
    fn adapt_poll(&mut self, sample: Sample) {
        let before = self.peer.filter.len();
        let stepped = self.peer.filter.add(sample);
        if stepped {
            (self.poll, self.steady) = (self.shortest(), 0);
        } else if self.peer.filter.len() < before {
            (self.poll, self.steady) = ((self.poll - 1).max(self.shortest()), 0);
        } else if self.peer.filter.has_conflict() {
            // One sample contradicts all others: the next one shows whether the clock was stepped.
            (self.burst_left, self.steady) = (self.burst_left.max(1), 0);
        } else if self.burst_left == 0 {
            self.steady += 1;
        }
        if self.steady >= GROW_AFTER {
            (self.poll, self.steady) = ((self.poll + 1).min(self.longest()), 0);
        }
    }

    /// Records a refused answer.
    ///
    /// If it says that the upstream is not usable, the last answer is not used any more. Others may be forged, so they
    /// change nothing: the upstream only counts as silent.
    pub fn refuse(&mut self, reject: Reject) {
        if let Some(count) = self.rejected.get_mut(reject.index()) {
            *count += 1;
        }
        self.peer.refused = Some(reject);
        match reject {
            //= RFC 5905 §7.4 rate
            Reject::KissRate => {
                self.burst_left = 0;
                self.poll = (self.poll + 1).min(SLOWEST);
                self.rate_minimum = Some(self.poll);
            }
            Reject::KissDeny => {
                self.peer.stopped = true;
                self.peer.answer = None;
            }
            //= RFC 5905 §7.4 other
            //= RFC 5905 §7.4 unknown-x
            Reject::Unsynchronized | Reject::Loop | Reject::Distance => self.peer.answer = None,
            Reject::TooShort
            | Reject::WrongMode
            | Reject::WrongVersion
            | Reject::WrongOrigin
            | Reject::NoTransmitTime
            | Reject::Turnaround
            | Reject::ReferenceInFuture
            | Reject::NoMac
            | Reject::WrongMac
            | Reject::CryptoNak
            | Reject::Unauthenticated
            | Reject::NtsNak => {}
        }
    }

    /// Returns whether the address is silent for so long that other addresses of the name are tried.
    fn is_silent(&self) -> bool {
        self.peer.reach == 0 && self.unanswered >= BACKOFF_AFTER
    }
}

fn seconds(log2: i8) -> Duration {
    Duration::from_secs(1 << u32::from(log2.clamp(0, SLOWEST).unsigned_abs()))
}

#[cfg(test)]
mod tests;
