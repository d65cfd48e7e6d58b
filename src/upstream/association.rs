//! Pure. What we know of one upstream: its answers, its reachability, and when to ask it again
//! (RFC 5905 §9.1, §13; §7.4 for kisses).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::addresses::{Addresses, Next};
use super::fault::{self, QueryFault};
use super::filter::{ClockFilter, Estimate, View};
use super::packet::{self, Exchange, Reject, Sample};
use super::system_process::ClockPolicy;
use super::{Host, Upstream};
use crate::time::Timescale;
use crate::wire::{Header, ReferenceId};

/// Questions in a row when starting; the RFC's eight (§13.1, BCOUNT) gain nothing that four do not. After them the
/// intervals double until they are as long as the poll interval.
//= RFC 5905 §13.1 burst-count
const BURST: u32 = 4;
/// Between two questions of a burst to another host: 2 s (RFC 5905 §13.2).
//= RFC 5905 §13.2 burst-interval
const BURST_LOG2: i8 = 1;
/// The same to a daemon on this host.
const LOCAL_BURST_LOG2: i8 = 0;
/// RFC 5905 §7.2, MAXPOLL: 36 hours. As far as RATE kisses can take us, whatever is configured.
//= RFC 5905 §7.2 maxpoll
const SLOWEST: i8 = 17;
/// After as many questions without an answer, ask half as often.
const BACKOFF_AFTER: u32 = 4;
/// After as many samples that fit, ask half as often.
//= RFC 5905 §11.3 time-constant
const GROW_AFTER: u32 = 16;

/// While there is no way to an upstream, it is looked for again after 1 s, 2 s, 4 s and each 8 s: nothing leaves this host.
const RETRY_LOG2: i8 = 3;
/// While nobody tells the addresses of its name, from 2 s to 64 s.
const NAME_RETRY_LOG2: [i8; 2] = [1, 6];

/// The settings of the poller of one upstream. All of them may change while it asks.
#[derive(Clone, Debug, PartialEq)]
pub struct PollerSettings {
    /// Whom to ask, and how often. Host and port stay.
    pub upstream: Upstream,
    /// What an answer must keep to be believed.
    pub policy: ClockPolicy,
    /// How the samples from before a leap second, a sleep or a jump of the host's clocks count.
    pub view: View,
    /// Where we answer: nobody asks himself.
    pub listeners: Arc<[SocketAddr]>,
    /// How often the configuration was read again: each time an upstream that refused us is asked again at once.
    pub reloads: u64,
    /// How often new samples were wanted at once, as something happened that they must tell about.
    pub resample_requests: u64,
}

/// One upstream as it is known so far.
#[derive(Clone, Debug)]
pub struct Association {
    settings: PollerSettings,
    peer: Peer,
    burst_left: u32,
    /// After how many samples the last burst began: its number of samples tells how far the intervals have widened.
    burst_from: u64,
    poll: i8,
    /// The shortest interval that RATE kisses leave us, log2 seconds (RFC 5905 §7.4).
    rate_minimum: Option<i8>,
    unanswered: u32,
    /// Rounds in a row in which there was nobody to ask.
    faults: u32,
    /// Up to when such rounds have been counted as missing answers, by the raw counter.
    missed: Option<Duration>,
    /// Is it to be known anew, once it is back?
    burst_when_back: bool,
    addresses: Addresses,
    round: Round,
    /// How long after the last round nobody may be asked, as all told us not to.
    all_denied_for: Option<Duration>,
    /// Samples in a row that fit the line of those before.
    steady: u32,
    rejected: [u64; Reject::ALL.len()],
}

/// What came of a round of asking so far: all addresses of a name may have their turn in one.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    /// Somebody answered.
    answered: bool,
    /// Somebody did not.
    silent: bool,
    /// Why there was nobody, and did a packet leave this host?
    fault: Option<(QueryFault, bool)>,
}

/// The part of it that the system process looks at.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Who answers, as far as it is known.
    pub address: Option<SocketAddr>,
    /// Does the configuration itself name an address of this host? What a name stands for doesn't count: a name server must not
    /// decide which clock is served.
    pub on_this_host: bool,
    /// One bit for each of the last eight questions, the newest lowest: was there a good answer
    /// (RFC 5905 §9.2, reach)?
    //= RFC 5905 §9.2 reach
    pub reach: u8,
    /// The last good answer; none after the upstream said that it has no time.
    pub answer: Option<Header>,
    /// The last good answer, whatever came after it.
    pub last_good: Option<Header>,
    /// The last good samples.
    pub filter: ClockFilter,
    /// How many good samples there were in all.
    pub accepted: u64,
    /// Its last word was to stop asking (DENY, RSTR).
    pub stopped: bool,
    /// Why the last answer was refused, if it was.
    pub refused: Option<Reject>,
    /// Why there was nobody to ask the last time, if there was nobody.
    pub fault: Option<QueryFault>,
}

/// How an upstream is asked: nothing that is decided by, but that an operator wants to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polling {
    /// From one question to the next, as of now; none before the first one.
    pub interval: Option<Duration>,
    /// How many answers were refused, in the order of [`Reject::ALL`].
    pub rejected: [u64; Reject::ALL.len()],
}

impl Peer {
    /// Nothing is known yet of `upstream`, but that a loopback address is on this host.
    pub fn unknown(upstream: &Upstream) -> Self {
        Self {
            on_this_host: upstream.host.is_loopback(),
            ..Self::default()
        }
    }

    /// The last header and what the samples say, if there is anything to believe.
    pub fn known(&self, view: &View) -> Option<(Header, Estimate)> {
        if self.reach == 0 || self.stopped {
            return None;
        }
        self.answer.zip(self.filter.estimate(view))
    }
}

impl Association {
    /// Nothing is known yet of the upstream that the `settings` name.
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
            burst_when_back: false,
            addresses: Addresses::default(),
            round: Round::default(),
            all_denied_for: None,
            steady: 0,
            rejected: [0; Reject::ALL.len()],
            settings,
        }
    }

    /// From now on does as the `settings` say.
    pub fn apply(&mut self, settings: &PollerSettings) {
        let before = std::mem::replace(&mut self.settings, settings.clone());
        self.poll = self.poll.clamp(self.shortest(), self.longest());
        if settings.reloads != before.reloads {
            self.resume_after_kiss();
        }
        if settings.resample_requests != before.resample_requests {
            self.resample();
        }
    }

    /// The operator has looked after it: he may have found a remedy for DENY and RSTR.
    fn resume_after_kiss(&mut self) {
        self.addresses.resume_after_kiss();
        self.all_denied_for = None;
        if self.peer.stopped {
            self.peer.stopped = false;
            self.burst_left = 1;
        }
    }

    /// What is known is old all of a sudden: a new start, except that who said RATE is asked no sooner for it.
    fn resample(&mut self) {
        if self.rate_minimum.is_none() {
            self.burst_left = if self.settings.upstream.iburst { BURST } else { 1 };
            self.burst_from = self.peer.accepted;
        }
        (self.poll, self.steady) = (self.shortest(), 0);
    }

    /// The shortest interval between two questions outside of bursts, log2 seconds.
    fn shortest(&self) -> i8 {
        self.settings.upstream.minpoll.max(self.rate_minimum.unwrap_or(0))
    }

    /// The longest one.
    fn longest(&self) -> i8 {
        self.settings.upstream.maxpoll.max(self.shortest())
    }

    /// Whom to ask, and how.
    pub fn upstream(&self) -> &Upstream {
        &self.settings.upstream
    }

    /// What the system process sees.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// How it is asked.
    pub fn polling(&self) -> Polling {
        Polling {
            interval: Some(self.pause(0)),
            rejected: self.rejected,
        }
    }

    /// How many answers were refused for `reject`.
    pub fn rejected(&self, reject: Reject) -> u64 {
        self.rejected.get(reject.index()).copied().unwrap_or(0)
    }

    /// A round of asking begins: of the address that answers, or in search of one that does.
    pub fn begin(&mut self) {
        self.round = Round::default();
        let is_lost = self.is_silent() || self.peer.stopped || self.peer.fault.is_some();
        let first = self.peer.address.filter(|_| !self.is_silent());
        if is_lost && !self.is_named() {
            // The interface of a link-local address may have come back with another number.
            self.addresses.forget();
        }
        self.addresses.begin(is_lost, first);
    }

    /// What is to be done next in this round, at `now` by the raw counter.
    pub fn next(&mut self, now: Duration) -> Next {
        self.addresses.next(now)
    }

    /// Its name stands for these addresses, or it is one itself. `own` are this host's. Returns those that can't be meant, and
    /// why; they are not asked.
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

    /// Its addresses could not be found: those of before are tried, if there were any.
    pub fn not_found(&mut self, fault: QueryFault) {
        self.addresses.not_found();
        self.round.fault = self.round.fault.or(Some((fault, false)));
    }

    /// Why `address` may not be asked now, though it might when it was found: this host's own addresses change.
    pub fn address_fault(&self, address: SocketAddr, own: &[IpAddr]) -> Option<QueryFault> {
        fault::of_address(address, self.is_named(), own, &self.settings.listeners)
    }

    /// Nobody answered at `address`, which was asked last. `own` are this host's addresses.
    pub fn silent(&mut self, address: SocketAddr, own: &[IpAddr]) {
        self.round.silent = true;
        if self.peer.address.is_none() {
            self.set_address(address, own);
        }
        self.addresses.silent();
    }

    /// There is no way to `address`, or nobody there: was a packet `sent` to another host to know that? `own` are this
    /// host's addresses.
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

    /// An authentic answer of `address` came: before it is heard.
    pub fn answered(&mut self, address: SocketAddr, own: &[IpAddr]) {
        self.asked();
        self.round.answered = true;
        self.set_address(address, own);
    }

    /// The round is over, at `now` by the raw counter.
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

    /// Only what the configuration itself says can put an upstream on this host.
    fn set_address(&mut self, address: SocketAddr, own: &[IpAddr]) {
        if self.peer.address != Some(address) {
            let here = address.ip().is_loopback() || own.contains(&address.ip());
            self.peer = Peer {
                address: Some(address),
                on_this_host: self.settings.upstream.host.is_loopback() || (!self.is_named() && here),
                ..Peer::default()
            };
            self.burst_from = 0;
        }
    }

    /// Does the network have a say in what its address is?
    fn is_named(&self) -> bool {
        match &self.settings.upstream.host {
            Host::Address(_) | Host::LinkLocal(..) => false,
            host @ Host::Name(_) => !host.is_loopback(),
        }
    }

    /// A question was sent: once a round, however many addresses had their turn.
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

    /// There was nobody to ask. That takes nothing from the burst; what was `sent` to another host counts as unanswered, and
    /// otherwise nothing but the time that passes.
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

    /// An answer is missing for each poll interval that has begun, as if it had been asked.
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

    /// Is it good news for us when links, addresses or routes of this host change?
    pub fn waits_for_changes(&self) -> bool {
        self.peer
            .fault
            .is_some_and(|fault| fault != QueryFault::NotListening)
            && self.missed.is_some()
    }

    /// An authentic answer came: its sample is taken, or it is refused.
    ///
    /// `scale` is the local timescale, `precision` the host clock's, log2 seconds, `own` are this host's addresses.
    ///
    /// # Errors
    /// Why it was refused; that is remembered, too.
    pub fn process_answer(
        &mut self,
        header: Header,
        exchange: &Exchange,
        scale: &Timescale,
        precision: i8,
        own: &[IpAddr],
    ) -> Result<Sample, Reject> {
        self.peer.filter.revise(&self.settings.view);
        let sample = packet::measure(&header, exchange, scale, precision);
        let limit = self.settings.policy.max_distance;
        let usable = packet::usable(&header, &sample, &self.own_reference_ids(&header, own), limit);
        match (usable, self.peer.address) {
            (Err(Reject::KissDeny), Some(address)) => self.addresses.denied(address, exchange.arrived),
            (_, Some(address)) => self.addresses.answered(address),
            (_, None) => {}
        }
        //= RFC 5905 §7.4 timestamps
        usable.inspect_err(|&reject| self.refuse(reject))?;
        self.accept(header, sample);
        Ok(sample)
    }

    /// What names ourselves in an answer: our addresses; and on this host the mark of a local reference at a stratum
    /// that could be ours, for whoever mirrors us passes that on.
    fn own_reference_ids(&self, header: &Header, own: &[IpAddr]) -> Vec<ReferenceId> {
        let local = self.settings.policy.local;
        let ours = local.filter(|local| self.peer.on_this_host && header.stratum >= local.stratum);
        let addresses = own.iter().copied().map(ReferenceId::from_address);
        addresses.chain(ours.map(|_| ReferenceId::LOCAL)).collect()
    }

    /// A good answer came.
    //= RFC 5905 §13.2 iburst
    //= RFC 5905 §13.2 peer-poll
    fn accept(&mut self, header: Header, sample: Sample) {
        let is_back = self.peer.reach == 0 && self.unanswered > BACKOFF_AFTER;
        if self.settings.upstream.iburst && (is_back || self.burst_when_back) {
            // It is back after a silence: get to know it again quickly.
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

    /// The poll interval grows while the samples fit one line, and shrinks when old ones had to go (RFC 5905
    /// §11.3 in spirit: longer intervals for a quiet clock).
    fn adapt_poll(&mut self, sample: Sample) {
        let before = self.peer.filter.len();
        let stepped = self.peer.filter.add(sample);
        if stepped {
            (self.poll, self.steady) = (self.shortest(), 0);
        } else if self.peer.filter.len() < before {
            (self.poll, self.steady) = ((self.poll - 1).max(self.shortest()), 0);
        } else if self.peer.filter.has_conflict() {
            // One sample contradicts all others: was the clock stepped? The next one tells.
            (self.burst_left, self.steady) = (self.burst_left.max(1), 0);
        } else if self.burst_left == 0 {
            self.steady += 1;
        }
        if self.steady >= GROW_AFTER {
            (self.poll, self.steady) = ((self.poll + 1).min(self.longest()), 0);
        }
    }

    /// An answer was refused. One that says by itself that there is no time ends our belief at once; others
    /// may be anybody's, and only the silence of the upstream counts.
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
            | Reject::ReferenceInFuture => {}
        }
    }

    /// Is another address of the same name worth a try?
    fn is_silent(&self) -> bool {
        self.peer.reach == 0 && self.unanswered >= BACKOFF_AFTER
    }

    /// A burst tells the offset, but a frequency is known only as well as samples are far apart: after it the intervals
    /// double until they are as long as they shall be, as long as each question is answered and nobody says RATE.
    fn widening(&self, burst: i8) -> i8 {
        let wanted = self.settings.upstream.iburst && self.unanswered == 0 && self.rate_minimum.is_none();
        let samples = self.peer.accepted.saturating_sub(self.burst_from);
        if wanted {
            burst.saturating_add(i8::try_from(samples).map_or(i8::MAX, |samples| samples - 3))
        } else {
            i8::MAX
        }
    }

    /// How long to wait before the next round. `random` spreads the questions of many servers: up to an eighth more.
    //= RFC 5905 §13.2 next
    pub fn pause(&self, random: u64) -> Duration {
        let interval = self.all_denied_for.unwrap_or_else(|| seconds(self.interval()));
        let spread = u32::try_from(random % 1024).unwrap_or(0);
        interval + interval * spread / 8192
    }

    /// The same as log2 seconds, while nobody told us to stop.
    fn interval(&self) -> i8 {
        let burst = if self.peer.on_this_host {
            LOCAL_BURST_LOG2
        } else {
            BURST_LOG2
        };
        let tries = i8::try_from(self.faults).unwrap_or(i8::MAX);
        match self.peer.fault {
            Some(fault) if fault.is_of_name() => {
                let [shortest, longest] = NAME_RETRY_LOG2;
                tries.saturating_add(shortest - 1).min(longest)
            }
            // Nothing was sent but within this host.
            Some(_) if self.missed.is_some() => (tries - 1).min(RETRY_LOG2),
            Some(_) => tries.saturating_add(burst - 1).min(self.poll.max(burst)),
            None if self.burst_left > 0 => burst,
            // Whatever is configured for a name, another host is not asked more often than in a burst.
            None => self.poll.min(self.widening(burst)).max(burst),
        }
    }
}

fn seconds(log2: i8) -> Duration {
    Duration::from_secs(1 << u32::from(log2.clamp(0, SLOWEST).unsigned_abs()))
}

#[cfg(test)]
mod tests;
