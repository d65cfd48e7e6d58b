//! Pure. What we know of one upstream: its answers, its reachability, and when to ask it again
//! (RFC 5905 §9.1, §13; §7.4 for kisses).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::filter::{ClockFilter, Estimate, View};
use super::packet::{self, Exchange, Reject, Sample};
use super::system::ClockPolicy;
use super::{Host, Upstream};
use crate::reference::Timescale;
use crate::wire::{Header, ReferenceId};

/// Questions in a row when starting; the RFC's eight (§7.2, BCOUNT) gain nothing that four do not. After them the
/// intervals double until they are as long as the poll interval.
const BURST: u32 = 4;
/// Between two questions of a burst to another host: 2 s (RFC 5905 §7.2, BTIME).
const BURST_LOG2: i8 = 1;
/// The same to a daemon on this host.
const LOCAL_BURST_LOG2: i8 = 0;
/// RFC 5905 §7.2, MAXPOLL: 36 hours. As far as RATE kisses can take us, whatever is configured.
const SLOWEST: i8 = 17;
/// After as many questions without an answer, ask half as often.
const PATIENCE: u32 = 4;
/// After as many samples that fit, ask half as often.
const STEADY: u32 = 16;

/// What who asks an upstream is told by who decides. All of it may change while it asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Orders {
    /// Whom to ask, and how often. Host and port stay.
    pub upstream: Upstream,
    /// What an answer must keep to be believed.
    pub policy: ClockPolicy,
    /// How the samples from before a leap second, a sleep or a jump of the host's clocks count.
    pub view: View,
    /// How often the configuration was read again: each time an upstream that refused us may be asked again.
    pub reloads: u64,
    /// Raised when something happened that new samples must tell about: they are wanted at once.
    pub wakes: u64,
}

/// One upstream as it is known so far.
#[derive(Clone, Debug)]
pub struct Association {
    orders: Orders,
    peer: Peer,
    burst_left: u32,
    /// After how many samples the last burst began: its number of samples tells how far the intervals have widened.
    burst_from: u64,
    poll: i8,
    /// The shortest interval that RATE kisses leave us, log2 seconds (RFC 5905 §7.4).
    ordered: Option<i8>,
    unanswered: u32,
    /// Samples in a row that fit the line of those before.
    steady: u32,
    rejected: [u64; Reject::ALL.len()],
}

/// The part of it that the system process looks at.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Who answers, as far as it is known.
    pub address: Option<SocketAddr>,
    /// Is that an address of this host?
    pub on_this_host: bool,
    /// One bit for each of the last eight questions, the newest lowest: was there a good answer
    /// (RFC 5905 §9.2, reach)?
    pub reach: u8,
    /// The last good answer; none after the upstream said that it has no time.
    pub answer: Option<Header>,
    /// The last good answer, whatever came after it.
    pub last_good: Option<Header>,
    /// The last good samples.
    pub filter: ClockFilter,
    /// How many good samples there were in all.
    pub accepted: u64,
    /// It told us to stop asking (DENY, RSTR).
    pub stopped: bool,
    /// Why the last answer was refused, if it was.
    pub refused: Option<Reject>,
}

/// How an upstream is asked: nothing that is decided by, but that an operator wants to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asking {
    /// From one question to the next, as of now; none before the first one, and when it told us to stop.
    pub interval: Option<Duration>,
    /// How many answers were refused, in the order of [`Reject::ALL`].
    pub rejected: [u64; Reject::ALL.len()],
}

impl Peer {
    /// Nothing is known yet of `upstream`, but that a loopback address is on this host.
    pub fn unknown(upstream: &Upstream) -> Self {
        Self {
            on_this_host: matches!(upstream.host, Host::Address(address) if address.is_loopback()),
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
    /// Nothing is known yet of the upstream that the `orders` name.
    pub fn new(orders: Orders) -> Self {
        let upstream = &orders.upstream;
        Self {
            peer: Peer::unknown(upstream),
            burst_left: if upstream.iburst { BURST } else { 1 },
            burst_from: 0,
            poll: upstream.minpoll,
            ordered: None,
            unanswered: 0,
            steady: 0,
            rejected: [0; Reject::ALL.len()],
            orders,
        }
    }

    /// From now on does as the `orders` say.
    pub fn obey(&mut self, orders: &Orders) {
        let before = std::mem::replace(&mut self.orders, orders.clone());
        self.poll = self.poll.clamp(self.shortest(), self.longest());
        if orders.reloads != before.reloads {
            self.pardon();
        }
        if orders.wakes != before.wakes {
            self.wake();
        }
    }

    /// DENY and RSTR hold until the operator has looked after it: he may have found a remedy.
    fn pardon(&mut self) {
        if self.peer.stopped {
            self.peer.stopped = false;
            self.burst_left = 1;
        }
    }

    /// What is known is old all of a sudden: a new start, except that who said RATE is asked no sooner for it.
    fn wake(&mut self) {
        if self.ordered.is_none() {
            self.burst_left = if self.orders.upstream.iburst { BURST } else { 1 };
            self.burst_from = self.peer.accepted;
        }
        (self.poll, self.steady) = (self.shortest(), 0);
    }

    /// The shortest interval between two questions outside of bursts, log2 seconds.
    fn shortest(&self) -> i8 {
        self.orders.upstream.minpoll.max(self.ordered.unwrap_or(0))
    }

    /// The longest one.
    fn longest(&self) -> i8 {
        self.orders.upstream.maxpoll.max(self.shortest())
    }

    /// Whom to ask, and how.
    pub fn upstream(&self) -> &Upstream {
        &self.orders.upstream
    }

    /// What the system process sees.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// How it is asked.
    pub fn asking(&self) -> Asking {
        Asking {
            interval: self.pause(0),
            rejected: self.rejected,
        }
    }

    /// How many answers were refused for `reject`.
    pub fn rejected(&self, reject: Reject) -> u64 {
        self.rejected.get(reject.index()).copied().unwrap_or(0)
    }

    /// From now on `address` is asked. What another address said doesn't count for it.
    pub fn follow(&mut self, address: SocketAddr, on_this_host: bool) {
        if self.peer.address != Some(address) {
            self.peer = Peer {
                address: Some(address),
                on_this_host,
                ..Peer::default()
            };
            self.burst_from = 0;
        }
    }

    /// A question was sent.
    pub fn asked(&mut self) {
        self.peer.reach <<= 1;
        self.burst_left = self.burst_left.saturating_sub(1);
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered.is_multiple_of(PATIENCE) {
            self.poll = (self.poll + 1).min(self.longest());
        }
    }

    /// An authentic answer came: its sample is taken, or it is refused.
    ///
    /// `scale` is the local timescale, `precision` the host clock's, log2 seconds, `own` are this host's addresses.
    ///
    /// # Errors
    /// Why it was refused; that is remembered, too.
    pub fn hear(
        &mut self,
        header: Header,
        exchange: &Exchange,
        scale: &Timescale,
        precision: i8,
        own: &[IpAddr],
    ) -> Result<Sample, Reject> {
        self.peer.filter.revise(&self.orders.view);
        let sample = packet::measure(&header, exchange, scale, precision);
        let limit = self.orders.policy.max_distance;
        packet::usable(&header, &sample, &self.own_names(&header, own), limit)
            .inspect_err(|&reject| self.refuse(reject))?;
        self.accept(header, sample);
        Ok(sample)
    }

    /// What names ourselves in an answer: our addresses; and on this host the mark of a local reference at a stratum
    /// that could be ours, for whoever mirrors us passes that on.
    fn own_names(&self, header: &Header, own: &[IpAddr]) -> Vec<ReferenceId> {
        let local = self.orders.policy.local;
        let ours = local.filter(|local| self.peer.on_this_host && header.stratum >= local.stratum);
        let addresses = own.iter().copied().map(ReferenceId::from_address);
        addresses.chain(ours.map(|_| ReferenceId::LOCAL)).collect()
    }

    /// A good answer came.
    fn accept(&mut self, header: Header, sample: Sample) {
        if self.peer.reach == 0 && self.orders.upstream.iburst && self.unanswered > PATIENCE {
            // It is back after a silence: get to know it again quickly.
            self.burst_left = BURST - 1;
        }
        self.peer.reach |= 1;
        self.peer.refused = None;
        self.peer.answer = Some(header);
        self.peer.last_good = Some(header);
        self.peer.accepted += 1;
        if self.unanswered > PATIENCE {
            self.poll = self.shortest();
        }
        self.unanswered = 0;
        self.adapt(sample);
    }

    /// The poll interval grows while the samples fit one line, and shrinks when old ones had to go (RFC 5905
    /// §13.1 in spirit: longer intervals for a quiet clock).
    fn adapt(&mut self, sample: Sample) {
        let before = self.peer.filter.len();
        let stepped = self.peer.filter.add(sample);
        if stepped {
            (self.poll, self.steady) = (self.shortest(), 0);
        } else if self.peer.filter.len() < before {
            (self.poll, self.steady) = ((self.poll - 1).max(self.shortest()), 0);
        } else if self.peer.filter.is_in_doubt() {
            // One sample contradicts all others: was the clock stepped? The next one tells.
            (self.burst_left, self.steady) = (self.burst_left.max(1), 0);
        } else if self.burst_left == 0 {
            self.steady += 1;
        }
        if self.steady >= STEADY {
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
            Reject::KissRate => {
                self.burst_left = 0;
                self.poll = (self.poll + 1).min(SLOWEST);
                self.ordered = Some(self.poll);
            }
            Reject::KissDeny => {
                self.peer.stopped = true;
                self.peer.answer = None;
            }
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

    /// Is another address of the same name worth a try? After a silence, not because of what was answered.
    pub fn is_silent(&self) -> bool {
        self.peer.reach == 0 && self.unanswered >= PATIENCE && !self.peer.stopped
    }

    /// A burst tells the offset, but a frequency is known only as well as samples are far apart: after it the intervals
    /// double until they are as long as they shall be, as long as each question is answered and nobody says RATE.
    fn widening(&self, burst: i8) -> i8 {
        let wanted = self.orders.upstream.iburst && self.unanswered == 0 && self.ordered.is_none();
        let samples = self.peer.accepted.saturating_sub(self.burst_from);
        if wanted {
            burst.saturating_add(i8::try_from(samples).map_or(i8::MAX, |samples| samples - 3))
        } else {
            i8::MAX
        }
    }

    /// How long to wait before the next question; `None` if the upstream told us to stop. `random` spreads
    /// the questions of many servers: up to an eighth more.
    pub fn pause(&self, random: u64) -> Option<Duration> {
        if self.peer.stopped {
            return None;
        }
        let burst = if self.peer.on_this_host {
            LOCAL_BURST_LOG2
        } else {
            BURST_LOG2
        };
        // Whatever is configured for a name, another host is not asked more often than in a burst.
        let log2 = if self.burst_left > 0 {
            burst
        } else {
            self.poll.min(self.widening(burst)).max(burst)
        };
        let interval = Duration::from_secs(1 << u32::from(log2.clamp(0, 17).unsigned_abs()));
        let spread = u32::try_from(random % 1024).unwrap_or(0);
        Some(interval + interval * spread / 8192)
    }
}

#[cfg(test)]
mod tests;
