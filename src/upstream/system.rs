//! Pure. From what the upstreams say to what we announce: the system process (RFC 5905 §11).
//!
//! Two clocks can be served. `system` is the host's time of day, kept by somebody else: a daemon on this host that
//! keeps it is mirrored, all other upstreams are witnesses. `tracked` is our own: time as a linear function of the
//! raw counter, steered after what is believed, whatever happens to the host's time of day.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

mod reload;

use super::Role;
use super::association::Peer;
use super::candidate::{Candidate, Limits, Standing};
use super::discipline::steer;
use super::filter::{LeapShift, View};
use super::leap::{self, LeapTable};
use super::select::{Claim, Survivor, cluster, combine, hull, truechimers};
use crate::reference::{ClockModel, Moment, Reference, Timescale};
use crate::wire::{Leap, MAX_STRATUM, NtpDuration, NtpTimestamp, ReferenceId};

/// A daemon whose time is further from the host's clock than this (or than its delay) does not keep it.
const OWNED_WITHIN: NtpDuration = NtpDuration::from_units((1 << 32) / 1000);
/// So many rounds of samples a dispute must last before it is believed.
const DISPUTE_ROUNDS: u64 = 3;
/// A rival must be so many times nearer than the system peer, for so long, to take its place.
const RIVAL_NEARER: i64 = 2;
const RIVAL_LASTS: Duration = Duration::from_secs(64);
/// How long to wait for the first word of an upstream whose name is still to be resolved.
const FIRST_CHANCE: Duration = Duration::from_secs(10);
/// How long to wait for most of those who are new while the last time is still good.
const NO_HURRY: Duration = Duration::from_secs(64);
/// What is not known of the frequency of a host's clock that nobody watches (RFC 5905 §7.2, PHI).
const PHI: f64 = 15e-6;
/// What a served clock may move by when another one takes its place, without being said to be stepped: rounding.
const CONTINUOUS: NtpDuration = NtpDuration::from_units((1 << 32) / 1_000_000);
/// No two leap seconds are nearer to each other; what warns of one so soon after another has not noticed it yet.
const LEAPS_APART: Duration = Duration::from_secs(12 * 3600);

/// Disputes that come and go don't make us ask more often than after so long.
const WAKES_APART: Duration = Duration::from_secs(1024);

/// Which clock to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `System` where an upstream is on this host, else `Tracked`.
    Auto,
    /// The host's time of day.
    System,
    /// Our own, steered after the upstreams.
    Tracked,
}

/// What to do while upstreams contradict each other, or the host's daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDispute {
    /// Announce that there is no time.
    Unsynchronized,
    /// Follow the majority with a clock of our own; without a majority, announce that there is no time.
    Track,
    /// Answer nobody.
    Drop,
    /// Go on as the daemon on this host says; without one, announce that there is no time.
    Serve,
}

/// What must hold before a time is believed and served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockPolicy {
    /// Which clock to serve.
    pub source: Source,
    /// How many upstreams must be available and agree: 1 to 255.
    pub min_sources: u8,
    /// Largest root distance at which an upstream is believed and our own time is announced.
    pub max_distance: NtpDuration,
    /// Largest jitter, in seconds, at which an upstream is believed.
    pub max_jitter: f64,
    /// What to do while upstreams contradict each other.
    pub on_dispute: OnDispute,
    /// What to serve when no upstream is usable; `None` is an honest "unsynchronized".
    pub local: Option<LocalReference>,
}

/// The host's clock as a reference of its own, announced as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalReference {
    /// Stratum announced: 1 to 15.
    pub stratum: u8,
    /// How long no upstream must have been usable before the host's clock stands in.
    pub wait: Duration,
    /// Root dispersion announced: how wrong the operator says that the host's clock may be.
    pub distance: NtpDuration,
}

/// Where the served time stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No upstream was usable yet.
    Init,
    /// Enough upstreams are available and agree.
    Synchronized,
    /// Not any more, but the error of the last time is still known to be small.
    Holdover,
    /// The last time is too long ago, or the host's clock was stepped.
    Unsynchronized,
    /// Upstreams contradict each other, or the daemon that keeps the host's clock, and it lasts.
    Disputed,
    /// The host's clock stands in as a local reference.
    Local,
}

impl State {
    /// The word for it in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Synchronized => "synchronized",
            Self::Holdover => "holdover",
            Self::Unsynchronized => "unsynchronized",
            Self::Disputed => "disputed",
            Self::Local => "local",
        }
    }
}

/// What the kernel says of the host's clock: a second witness beside the upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelView {
    /// The leap second that its keeper has announced to it.
    pub leap: Leap,
    /// An inserted second is going on: the time of day says the last one again.
    pub in_leap_second: bool,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What to announce.
    pub reference: Reference,
    /// Where the served time stands.
    pub state: State,
    /// Which clock is served: [`Source::System`] or [`Source::Tracked`].
    pub source: Source,
    /// What each upstream is worth, in their order.
    pub standings: Vec<Standing>,
    /// By how much the served clock was stepped now, if it was.
    pub stepped: Option<NtpDuration>,
    /// The last leap second, which who measures must know of.
    pub leapt: Option<LeapShift>,
    /// How often samples were wanted at once so far: what was known is old, or has to be settled quickly.
    pub wakes: u64,
}

/// The memory of the system process between two decisions.
#[derive(Clone, Debug)]
pub struct System {
    policy: ClockPolicy,
    roles: Vec<Role>,
    precision: i8,
    scale: Timescale,
    state: State,
    reference: Reference,
    system_peer: Option<usize>,
    /// Who has been much nearer than the system peer, and since when.
    rival: Option<(usize, Duration)>,
    /// When an upstream was last usable, or we started: from then on `LocalReference::wait` counts.
    usable_at: Duration,
    /// Nobody is believed yet of those who are asked, since then: who answers first is not believed for that.
    strangers_since: Option<Duration>,
    /// Those who agreed when a majority was last believed.
    believed: Vec<usize>,
    /// When the host's clock was last stepped: what was known of it before is void.
    stepped_at: Duration,
    view: View,
    /// The dispute that is going on: how many samples each candidate had when it began.
    dispute: Option<Vec<(usize, u64)>>,
    /// Addresses of the same server, as far as they were found out.
    twins: HashSet<(SocketAddr, SocketAddr)>,
    /// The list of leap seconds, if there is one.
    leaps: Option<LeapTable>,
    /// How many samples all upstreams gave so far.
    heard: u64,
    /// The error that `wide_enough` found necessary, and after how many samples.
    reached: (u64, NtpDuration),
    /// The leap second that is announced: when it happens, and by how much UTC is shifted then.
    pending_leap: Option<LeapShift>,
    /// How often new samples were wanted at once.
    wakes: u64,
    /// When a dispute last was a reason for that.
    dispute_woke_at: Option<Duration>,
}

impl System {
    /// Nothing is known yet at `started`. `roles` are those of the upstreams in their order, `precision` is the
    /// host clock's, log2 seconds.
    pub fn new(
        policy: ClockPolicy,
        roles: Vec<Role>,
        leaps: Option<LeapTable>,
        precision: i8,
        started: Moment,
    ) -> Self {
        let clock = ClockModel::Host { published: started };
        Self {
            policy,
            roles,
            precision,
            scale: Timescale::new(started),
            state: State::Init,
            reference: Reference::unsynchronized(ReferenceId::INIT, precision, clock),
            system_peer: None,
            rival: None,
            usable_at: started.raw,
            strangers_since: Some(started.raw),
            believed: Vec::new(),
            stepped_at: Duration::ZERO,
            view: View::default(),
            dispute: None,
            twins: HashSet::new(),
            leaps,
            heard: 0,
            reached: (0, NtpDuration::ZERO),
            pending_leap: None,
            wakes: 0,
            dispute_woke_at: None,
        }
    }

    /// The local timescale, against which all samples are to be measured.
    pub fn scale(&self) -> Timescale {
        self.scale
    }

    /// The host's clock was stepped before `now`: it is not the one that was checked. A tracked clock does not care.
    pub fn clock_stepped(&mut self, now: Moment) {
        self.stepped_at = now.raw;
        if matches!(self.reference.clock, ClockModel::Host { .. }) && self.state != State::Init {
            self.wakes += 1;
            self.lose(State::Unsynchronized, ReferenceId::STEP, now);
        }
    }

    /// The host slept before `now`: the raw counter stood still, and nothing that was measured holds.
    pub fn slept(&mut self, now: Moment) {
        self.view.since = now.raw;
        self.stepped_at = now.raw;
        self.wakes += 1;
        if self.state != State::Init {
            self.lose(State::Unsynchronized, ReferenceId::STEP, now);
        }
    }

    /// Decides anew, from what `peers` are at `now`, and what the kernel says of the host's clock if it may be asked.
    pub fn decide(&mut self, now: Moment, peers: &[Peer], kernel: Option<KernelView>) -> Decision {
        self.leap(now.raw);
        self.heard = peers.iter().map(|peer| peer.accepted).sum();
        let (candidates, mut standings) = self.candidates(peers, now.raw);
        let source = self.source(peers);
        let before = self.announced_clock();
        match self.judge(now.raw, &candidates, peers, source, &mut standings) {
            Verdict::Believe {
                survivors,
                leap,
                reach,
                believed,
            } => {
                (self.dispute, self.strangers_since, self.believed) = (None, None, believed);
                self.follow(now, source, &survivors, (leap, reach), &mut standings);
            }
            Verdict::Nobody => {
                self.dispute = None;
                self.go_on_without(now, peers.is_empty());
            }
            Verdict::Contradiction { majority, leap } => {
                self.contradicted(now, &candidates, peers, &majority, leap, &mut standings);
            }
        }
        self.renew(now);
        if let Some(kernel) = kernel
            && matches!(self.reference.clock, ClockModel::Host { .. })
        {
            self.heed(kernel, now);
        }
        let stepped = before
            .zip(self.announced_clock())
            .map(|(before, after)| after.served(now) - before.served(now));
        Decision {
            reference: self.reference,
            state: self.state,
            source,
            standings,
            leapt: self.view.leap,
            wakes: self.wakes,
            stepped: stepped.filter(|by| by.abs() > CONTINUOUS),
        }
    }

    /// The clock that clients see, if it is announced.
    fn announced_clock(&self) -> Option<ClockModel> {
        self.reference.is_usable().then_some(self.reference.clock)
    }

    /// A leap second that was announced has happened: UTC is shifted against the timescale and the tracked clock.
    fn leap(&mut self, now: Duration) {
        let Some((at, by)) = self.pending_leap.take_if(|(at, _)| now >= *at) else {
            return;
        };
        self.view.leap = Some((at, by));
        match &mut self.reference.clock {
            ClockModel::Tracked { time, .. } => {
                *time = *time + by;
                self.reference.leap = Leap::NoWarning;
                self.reference.not_after = self.reference.expiry(self.policy.max_distance);
            }
            // It has to be seen to do the same first.
            ClockModel::Host { .. } => self.wakes += 1,
        }
    }

    /// What is announced until the leap second that it warns of, and not past it: who does not know that it has
    /// happened must not serve.
    fn until_leap(&mut self, now: Moment, announced: Reference) -> Reference {
        let served = announced.clock.served(now);
        let leapt = self
            .view
            .leap
            .is_some_and(|(at, _)| now.raw.saturating_sub(at) < LEAPS_APART);
        let warned = leap::warning(served, announced.leap, self.leaps.as_ref());
        let leap = if leapt { Leap::NoWarning } else { warned };
        let left =
            Duration::try_from_secs_f64(leap::until(leap, served).to_seconds()).unwrap_or(Duration::ZERO);
        self.pending_leap = leap::shift(leap).map(|by| (now.raw.saturating_add(left), by));
        let not_after = self
            .pending_leap
            .map_or(announced.not_after, |(at, _)| announced.not_after.min(at));
        Reference {
            leap,
            not_after,
            ..announced
        }
    }

    /// Each upstream as a candidate, or the reason why not.
    fn candidates(&mut self, peers: &[Peer], now: Duration) -> (Vec<Candidate>, Vec<Standing>) {
        let limits = Limits {
            distance: self.policy.max_distance,
            jitter: self.policy.max_jitter,
        };
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut standings = Vec::new();
        for (index, peer) in peers.iter().enumerate() {
            let role = self.roles.get(index).copied().unwrap_or_default();
            let judged = Candidate::of(index, peer, role, now, &self.view, &limits);
            standings.push(match judged {
                Ok(one) if self.is_duplicate(&one, &candidates) => Standing::Duplicate,
                Ok(one) => {
                    candidates.push(one);
                    Standing::Falseticker
                }
                Err(standing) => standing,
            });
        }
        (candidates, standings)
    }

    /// Is `one` the same server as any of the `others`? Once seen, that holds: two addresses of one server are not always
    /// asked between the same two corrections of its clock.
    fn is_duplicate(&mut self, one: &Candidate, others: &[Candidate]) -> bool {
        let seen = others
            .iter()
            .filter(|other| one.is_same_server(other))
            .map(|other| (other.address, one.address));
        self.twins.extend(seen);
        others
            .iter()
            .any(|other| self.twins.contains(&(other.address, one.address)))
    }

    /// Which clock is served now.
    fn source(&self, peers: &[Peer]) -> Source {
        match self.policy.source {
            Source::Auto if peers.iter().any(|peer| peer.on_this_host) => Source::System,
            Source::Auto | Source::Tracked => Source::Tracked,
            Source::System => Source::System,
        }
    }

    /// Who agrees, and is that enough?
    fn judge(
        &self,
        now: Duration,
        candidates: &[Candidate],
        peers: &[Peer],
        source: Source,
        standings: &mut [Standing],
    ) -> Verdict {
        if candidates.is_empty() {
            return Verdict::Nobody;
        }
        let Some(truths) = agreeing(candidates) else {
            return Verdict::Contradiction {
                majority: Vec::new(),
                leap: Leap::NoWarning,
            };
        };
        let believed: Vec<Candidate> = candidates
            .iter()
            .zip(truths)
            .filter_map(|(one, truth)| truth.then_some(*one))
            .collect();
        let enough = believed.len() >= usize::from(self.policy.min_sources)
            && (!self.roles.iter().any(|role| role.require) || believed.iter().any(|one| one.role.require))
            && self.all_had_their_chance(now, believed.len(), peers);
        let survivors = survivors(&believed, standings);
        if !enough {
            survivors
                .iter()
                .for_each(|one| set(standings, one.index, Standing::TooFew));
            return Verdict::Nobody;
        }
        let leap = majority_leap(&believed);
        let reach = reach(candidates, believed.len());
        let any_here = |list: &[Candidate]| list.iter().any(|one| one.on_this_host);
        let contradicted = any_here(candidates) && !any_here(&believed);
        if source == Source::System && contradicted && believed.len() >= 2 {
            return Verdict::Contradiction {
                majority: survivors,
                leap,
            };
        }
        Verdict::Believe {
            survivors,
            leap,
            reach,
            believed: believed.iter().map(|one| one.index).collect(),
        }
    }

    /// Who answers first is not believed for that: of strangers either more than half must agree, or every other must
    /// have been asked in vain (a name that can't be resolved is not waited for). While the last time goes on, a lost
    /// packet is no reason to leave it.
    fn all_had_their_chance(&self, now: Duration, believed: usize, peers: &[Peer]) -> bool {
        let Some(since) = self.strangers_since else {
            return true;
        };
        let watched = |index: usize| self.roles.get(index).is_some_and(|role| role.noselect);
        let waited = now.saturating_sub(since);
        let heard = |peer: &Peer| match self.state {
            State::Synchronized | State::Holdover => waited >= NO_HURRY,
            State::Init | State::Unsynchronized | State::Disputed | State::Local => {
                peer.address.is_some() || waited >= FIRST_CHANCE
            }
        };
        let mut voters = peers.iter().enumerate().filter(|(index, _)| !watched(*index));
        believed * 2 > voters.clone().count() || voters.all(|(_, peer)| heard(peer))
    }

    /// Announces the time by those who agree. Was the served clock stepped?
    fn follow(
        &mut self,
        now: Moment,
        source: Source,
        survivors: &[Candidate],
        (leap, reach): (Leap, Option<Reach>),
        standings: &mut [Standing],
    ) {
        let owner = survivors
            .iter()
            .find(|one| source == Source::System && self.keeps_the_clock(one, now))
            .copied();
        let Some(chosen) = owner.or_else(|| self.choose(now.raw, survivors)) else {
            return self.go_on_without(now, false);
        };
        let announced = match (source, owner) {
            (Source::System, Some(owner)) => self.mirror(now, &owner, leap),
            (Source::System, None) => self.announce(now, &chosen, leap),
            (Source::Tracked | Source::Auto, _) => self.track(now, &chosen, survivors, leap),
        };
        let announced = self.wide_enough(now, announced, reach);
        if announced.stratum >= MAX_STRATUM || announced.root_distance_at(now.raw) > self.policy.max_distance
        {
            return self.go_on_without(now, false);
        }
        set(
            standings,
            chosen.index,
            if owner.is_some() {
                Standing::Mirrored
            } else {
                Standing::SystemPeer
            },
        );
        self.system_peer = Some(chosen.index);
        self.usable_at = now.raw;
        self.state = State::Synchronized;
        let not_after = announced.expiry(self.policy.max_distance);
        self.reference = self.until_leap(
            now,
            Reference {
                not_after,
                ..announced
            },
        );
    }

    /// While somebody contradicts, a minority of liars may have drawn those who agree to the edge of the truth: the truth
    /// is surely only within `reach`, and the announced error has to cover that.
    fn wide_enough(&mut self, now: Moment, announced: Reference, reach: Option<Reach>) -> Reference {
        let served = announced.clock.served(now) - self.scale.at(now.raw);
        // While it is slewed it moves away from one end.
        let moves = announced.clock.to_slew().abs();
        let farthest = |(low, high): Reach| (high - served).max(served - low) + moves;
        let needed = reach.map_or(NtpDuration::ZERO, |reach| {
            farthest(reach) - announced.root_delay.half()
        });
        // Without a new sample nothing new is known, wherever the claims have drifted to.
        let (heard, before) = self.reached;
        let needed = if heard == self.heard {
            needed.max(before)
        } else {
            needed
        };
        self.reached = (self.heard, needed);
        Reference {
            root_dispersion: announced.root_dispersion.max(needed),
            ..announced
        }
    }

    /// Is this the daemon that keeps the host's time of day, as it is since it was last stepped?
    fn keeps_the_clock(&self, one: &Candidate, now: Moment) -> bool {
        let off = (one.offset - self.scale.host_offset(now)).abs();
        one.on_this_host && one.estimate.at >= self.stepped_at && off <= OWNED_WITHIN.max(one.estimate.delay)
    }

    /// The system peer: a preferred one, else the one we have as long as no rival is better clearly and lastingly,
    /// so that we do not hop; else the nearest to the reference clock (RFC 5905 §11.2.3).
    fn choose(&mut self, now: Duration, survivors: &[Candidate]) -> Option<Candidate> {
        let rank = |one: &&Candidate| (!one.role.prefer, one.header.stratum, one.distance);
        let best = survivors.iter().min_by_key(rank)?;
        let old = survivors.iter().find(|one| Some(one.index) == self.system_peer);
        let Some(old) = old
            .filter(|old| (old.role.prefer, old.header.stratum) == (best.role.prefer, best.header.stratum))
        else {
            self.rival = None;
            return Some(*best);
        };
        if best.distance.to_units() > old.distance.to_units() / RIVAL_NEARER {
            self.rival = None;
            return Some(*old);
        }
        let since = self
            .rival
            .filter(|(rival, _)| *rival == best.index)
            .map_or(now, |(_, since)| since);
        self.rival = Some((best.index, since));
        Some(if now.saturating_sub(since) >= RIVAL_LASTS {
            *best
        } else {
            *old
        })
    }

    /// The host's clock, announced as its keeper does, with what we saw of its error added.
    fn mirror(&self, now: Moment, owner: &Candidate, leap: Leap) -> Reference {
        Reference {
            stratum: owner.header.stratum,
            reference_id: owner.header.reference_id,
            root_delay: owner.header.root_delay.to_duration(),
            reference_time: earlier(owner.header.reference_timestamp, now.realtime),
            ..self.announce(now, owner, leap)
        }
    }

    /// The host's clock, announced by us as a client of `peer` (RFC 5905 §11.2.3, and the system variables of
    /// §11): its errors and ours. The measured offset is an error of the clock that we serve.
    fn announce(&self, now: Moment, peer: &Candidate, leap: Leap) -> Reference {
        let off = peer.offset - self.scale.host_offset(now);
        let clock = ClockModel::Host { published: now };
        self.client_of(peer, leap, now, clock, off.abs(), PHI)
    }

    /// Our own clock, steered after all survivors together and announced as that of a client of `chosen`.
    fn track(&self, now: Moment, chosen: &Candidate, survivors: &[Candidate], leap: Leap) -> Reference {
        let zero = chosen.offset;
        // It is our oscillator that drifts, so all see the same frequency, and know it better together.
        let frequency = common_frequency(survivors);
        let together: Vec<_> = survivors
            .iter()
            .map(|one| Survivor {
                offset: (one.estimate.offset_given(frequency, now.raw) - zero).to_seconds(),
                ..one.survivor(zero)
            })
            .collect();
        let ahead = NtpDuration::from_seconds(combine(&together).unwrap_or(0.0));
        let believed = self.scale.at(now.raw) + zero + ahead;
        // Clients of a local reference were told that it is nobody's time: there is nothing to be slewed from.
        let before = self.announced_clock().filter(|_| self.state != State::Local);
        let announce = |before: Option<&ClockModel>| {
            let steered = steer(before, now, believed, frequency);
            let error = ahead.abs() + steered.residue;
            self.client_of(chosen, leap, now, steered.model, error, chosen.growth())
        };
        let slewed = announce(before.as_ref());
        // A correction that would take us over the limit while it is slewed had better be a step.
        if slewed.root_distance_at(now.raw) > self.policy.max_distance {
            announce(None)
        } else {
            slewed
        }
    }

    fn client_of(
        &self,
        peer: &Candidate,
        leap: Leap,
        now: Moment,
        clock: ClockModel,
        error: NtpDuration,
        growth: f64,
    ) -> Reference {
        let updated = peer.offset + (peer.updated(&self.scale) - NtpTimestamp::ZERO);
        Reference {
            leap,
            stratum: peer.header.stratum.saturating_add(1),
            reference_id: ReferenceId::from_address(peer.address.ip()),
            root_delay: peer.header.root_delay.to_duration() + peer.estimate.delay,
            root_dispersion: peer.dispersion + error,
            growth,
            reference_time: earlier(NtpTimestamp::ZERO + updated, clock.served(now)),
            precision: self.precision,
            clock,
            answers: true,
            epoch: now.raw,
            not_after: Duration::MAX,
        }
    }

    /// Nobody usable, and nobody who contradicts: the last time is good for as long as its error is small.
    fn go_on_without(&mut self, now: Moment, alone: bool) {
        self.system_peer = None;
        let known = matches!(self.state, State::Synchronized | State::Holdover);
        if known && now.raw < self.reference.not_after {
            self.state = State::Holdover;
            let not_after = self.reference.expiry(self.policy.max_distance);
            // A leap second comes whether somebody answers or not, and the list may know of it.
            self.reference = self.until_leap(
                now,
                Reference {
                    not_after,
                    ..self.reference
                },
            );
            return;
        }
        let waited = now.raw.saturating_sub(self.usable_at);
        let local = self
            .policy
            .local
            .filter(|local| alone || self.state == State::Local || waited >= local.wait);
        if let Some(local) = local {
            self.state = State::Local;
            self.reference = self.local(now, local);
        } else if known || matches!(self.state, State::Disputed | State::Local) {
            self.lose(State::Unsynchronized, ReferenceId::LOST, now);
        }
    }

    /// Upstreams contradict each other, or the majority (if there is one) contradicts the host's daemon. Believed
    /// only when it lasts; until then the last time goes on.
    fn contradicted(
        &mut self,
        now: Moment,
        candidates: &[Candidate],
        peers: &[Peer],
        majority: &[Candidate],
        leap: Leap,
        standings: &mut [Standing],
    ) {
        self.usable_at = now.raw;
        if !self.dispute_lasts(now.raw, candidates, peers) {
            if self.state != State::Init {
                self.go_on_without(now, false);
            }
            return;
        }
        let keeper = candidates
            .iter()
            .find(|one| self.keeps_the_clock(one, now))
            .copied();
        match self.policy.on_dispute {
            OnDispute::Track if !majority.is_empty() => {
                self.follow(now, Source::Tracked, majority, (leap, None), standings);
                self.state = State::Disputed;
            }
            OnDispute::Serve if keeper.is_some() => {
                self.follow(now, Source::System, keeper.as_slice(), (leap, None), standings);
                self.state = State::Disputed;
            }
            OnDispute::Track | OnDispute::Unsynchronized | OnDispute::Drop | OnDispute::Serve => {
                self.lose(State::Disputed, ReferenceId::DISPUTED, now);
                self.reference.answers = self.policy.on_dispute != OnDispute::Drop;
            }
        }
    }

    /// Has every candidate been heard often enough since the dispute began?
    fn dispute_lasts(&mut self, now: Duration, candidates: &[Candidate], peers: &[Peer]) -> bool {
        let heard = |index: usize| peers.get(index).map_or(0, |peer| peer.accepted);
        if self.dispute.is_none() {
            self.wake_for_dispute(now);
        }
        let begun = self.dispute.get_or_insert_with(|| {
            candidates
                .iter()
                .map(|one| (one.index, heard(one.index)))
                .collect()
        });
        self.state == State::Disputed
            || begun
                .iter()
                .all(|&(index, before)| heard(index) >= before + DISPUTE_ROUNDS)
    }

    /// A host's clock may go wrong with its keeper, so that rounds of samples at long intervals would take too long: they
    /// are wanted now, but not each time that the verdict wavers. A tracked clock goes on as it did, whoever disputes.
    fn wake_for_dispute(&mut self, now: Duration) {
        let hosts = matches!(self.reference.clock, ClockModel::Host { .. }) && self.reference.is_usable();
        let lately = |woke_at: Duration| now.saturating_sub(woke_at) < WAKES_APART;
        if hosts && !self.dispute_woke_at.is_some_and(lately) {
            self.dispute_woke_at = Some(now);
            self.wakes += 1;
        }
    }

    fn lose(&mut self, state: State, why: ReferenceId, now: Moment) {
        self.state = state;
        self.system_peer = None;
        let clock = match self.reference.clock {
            ClockModel::Host { .. } => ClockModel::Host { published: now },
            tracked @ ClockModel::Tracked { .. } => tracked,
        };
        self.reference = Reference::unsynchronized(why, self.precision, clock);
    }

    fn local(&self, now: Moment, local: LocalReference) -> Reference {
        Reference {
            leap: Leap::NoWarning,
            stratum: local.stratum,
            reference_id: ReferenceId::LOCAL,
            root_delay: NtpDuration::ZERO,
            root_dispersion: local.distance,
            growth: 0.0,
            reference_time: now.realtime,
            precision: self.precision,
            clock: ClockModel::Host { published: now },
            answers: true,
            epoch: now.raw,
            not_after: Duration::MAX,
        }
    }

    /// The host's clock is the kernel's: its leap second counts, whoever else knows of it, and while it says the
    /// same second twice it is no time to be served.
    fn heed(&mut self, kernel: KernelView, now: Moment) {
        if kernel.in_leap_second && self.reference.is_usable() {
            self.lose(State::Unsynchronized, ReferenceId::STEP, now);
        } else if matches!(self.state, State::Synchronized | State::Holdover)
            && self.reference.leap == Leap::NoWarning
        {
            let announced = Reference {
                leap: kernel.leap,
                ..self.reference
            };
            self.reference = self.until_leap(now, announced);
        }
    }

    /// A host's clock that was not stepped until now is looked after from now on.
    fn renew(&mut self, now: Moment) {
        if let ClockModel::Host { published } = &mut self.reference.clock {
            *published = now;
        }
    }
}

/// Where the truth can be, when some contradict; those who are not trusted have no say where others are.
fn reach(candidates: &[Candidate], believed: usize) -> Option<Reach> {
    if believed == candidates.len() || candidates.iter().any(|one| one.role.trust) {
        return None;
    }
    hull(&candidates.iter().map(Candidate::claim).collect::<Vec<_>>())
}

/// From where to where the truth can be, as offsets from the local timescale.
type Reach = (NtpDuration, NtpDuration);

/// What the candidates say together.
enum Verdict {
    /// Enough of them agree: those whose time is taken.
    Believe {
        survivors: Vec<Candidate>,
        leap: Leap,
        reach: Option<Reach>,
        believed: Vec<usize>,
    },
    /// They contradict each other (no majority), or the majority contradicts the keeper of the host's clock.
    Contradiction { majority: Vec<Candidate>, leap: Leap },
    /// There are none, or too few.
    Nobody,
}

/// Who agrees with the majority; where some are trusted, with the majority of those.
fn agreeing(candidates: &[Candidate]) -> Option<Vec<bool>> {
    let trusted: Vec<Claim> = candidates
        .iter()
        .filter(|one| one.role.trust)
        .map(Candidate::claim)
        .collect();
    if trusted.is_empty() {
        return truechimers(&candidates.iter().map(Candidate::claim).collect::<Vec<_>>());
    }
    let (low, high) = super::select::intersection(&trusted)?;
    Some(
        candidates
            .iter()
            .map(|one| one.claim().contains(low, high))
            .collect(),
    )
}

/// Leaves out the outliers of those who agree, and says so.
fn survivors(believed: &[Candidate], standings: &mut [Standing]) -> Vec<Candidate> {
    let zero = believed.first().map_or(NtpDuration::ZERO, |one| one.offset);
    let survives = cluster(&believed.iter().map(|one| one.survivor(zero)).collect::<Vec<_>>());
    for (one, &survives) in believed.iter().zip(&survives) {
        set(
            standings,
            one.index,
            if survives {
                Standing::Agrees
            } else {
                Standing::Outlier
            },
        );
    }
    believed
        .iter()
        .zip(survives)
        .filter_map(|(one, survives)| survives.then_some(*one))
        .collect()
}

/// By how much true time runs faster than the raw counter: the mean, each with the weight of 1/variance.
fn common_frequency(survivors: &[Candidate]) -> f64 {
    let weight = |one: &Candidate| one.estimate.frequency_sd.max(1e-12).powi(-2);
    let weights: f64 = survivors.iter().map(weight).sum();
    survivors
        .iter()
        .map(|one| weight(one) * one.estimate.frequency)
        .sum::<f64>()
        / weights
}

/// What more than half of those who agree say of the next leap second.
fn majority_leap(believed: &[Candidate]) -> Leap {
    let says = |leap| believed.iter().filter(|one| one.header.leap == leap).count() * 2 > believed.len();
    [Leap::AddSecond, Leap::DeleteSecond]
        .into_iter()
        .find(|&leap| says(leap))
        .unwrap_or(Leap::NoWarning)
}

fn earlier(one: NtpTimestamp, other: NtpTimestamp) -> NtpTimestamp {
    if one.is_after(other) { other } else { one }
}

fn set(standings: &mut [Standing], index: usize, standing: Standing) {
    if let Some(place) = standings.get_mut(index) {
        *place = standing;
    }
}

#[cfg(test)]
mod tests;
