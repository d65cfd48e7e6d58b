//! Pure. From what the upstreams say to what we announce: the system process (RFC 5905 §11).
//!
//! We serve the host's clock as it is and say how wrong it may be. A daemon on this host that keeps this very
//! clock is mirrored; any other upstream is a witness whose measured offset goes into our dispersion.

use std::net::SocketAddr;
use std::time::Duration;

use super::association::Peer;
use super::packet::{Sample, duration, root_distance};
use super::select::{Claim, truechimers};
use crate::reference::Reference;
use crate::wire::{Header, Leap, MAX_STRATUM, NtpDuration, NtpTimestamp, PHI_PPM, ReferenceId};

/// A daemon whose time is further from the host's clock than this (or than its delay) does not keep it.
const OWNED_WITHIN: NtpDuration = NtpDuration::from_units((1 << 32) / 1000);

/// What must hold before a time is believed and served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockPolicy {
    /// How many upstreams must be available and agree: 1 to 255.
    pub min_sources: u8,
    /// Largest root distance at which an upstream is believed and our own time is announced.
    pub max_distance: NtpDuration,
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
    /// The last time is too long ago, upstreams disagree, or the host's clock was stepped.
    Unsynchronized,
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
            Self::Local => "local",
        }
    }
}

/// What one upstream is worth at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// We announce its time: it keeps the host's clock, and we speak as it does.
    Mirrored,
    /// We announce that we follow it.
    SystemPeer,
    /// It agrees with the system peer, or with the majority.
    Agrees,
    /// It contradicts the majority, or there is no majority.
    Disagrees,
    /// Its root distance is over the limit.
    TooFar,
    /// It answers, and its answers are refused: no time, a kiss, or nonsense.
    Refused,
    /// It was asked and does not answer (any more).
    Silent,
    /// It was not asked yet, or its name is not resolved.
    Unknown,
}

impl Standing {
    /// The word for it in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mirrored => "mirrored",
            Self::SystemPeer => "system-peer",
            Self::Agrees => "agrees",
            Self::Disagrees => "disagrees",
            Self::TooFar => "too-far",
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::Unknown => "unknown",
        }
    }
}

/// Both clocks at the moment of a decision.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The host's time of day.
    pub realtime: NtpTimestamp,
    /// The monotonic clock.
    pub monotonic: Duration,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to announce.
    pub reference: Reference,
    /// Where the served time stands.
    pub state: State,
    /// What each upstream is worth, in their order.
    pub standings: Vec<Standing>,
}

/// The memory of the system process between two decisions.
#[derive(Clone, Debug)]
pub struct System {
    policy: ClockPolicy,
    precision: i8,
    state: State,
    reference: Reference,
    system_peer: Option<usize>,
    /// When an upstream was last usable, or we started: from then on `LocalReference::wait` counts.
    usable_at: Duration,
    /// When the host's clock was last stepped: samples from before say nothing about it.
    stepped_at: Duration,
    /// No upstream is configured: there is nobody to wait for.
    alone: bool,
}

/// An upstream that may be believed.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    index: usize,
    address: SocketAddr,
    header: Header,
    sample: Sample,
    distance: NtpDuration,
    owns_the_clock: bool,
}

impl System {
    /// Nothing is known yet at `started`; `precision` is the host clock's, log2 seconds.
    pub fn new(policy: ClockPolicy, precision: i8, started: Duration) -> Self {
        Self {
            policy,
            precision,
            state: State::Init,
            reference: Reference::unsynchronized(ReferenceId::INIT, precision),
            system_peer: None,
            usable_at: started,
            stepped_at: Duration::ZERO,
            alone: false,
        }
    }

    /// The host's clock was stepped at `now`: what was measured before is void, and so is what we announce.
    pub fn clock_stepped(&mut self, now: Duration) {
        self.stepped_at = now;
        self.system_peer = None;
        if self.state != State::Init {
            self.lose(ReferenceId::STEP);
        }
    }

    /// Decides anew, from what `peers` are at `now`.
    pub fn decide(&mut self, now: Now, peers: &[Peer]) -> Decision {
        self.alone = peers.is_empty();
        let mut standings: Vec<Standing> = peers
            .iter()
            .map(|peer| self.unusable(peer, now.monotonic))
            .collect();
        let candidates = self.candidates(peers, now.monotonic);
        let claims: Vec<Claim> = candidates.iter().map(Candidate::claim).collect();
        let agreed = truechimers(&claims);
        if let Some(truths) = &agreed {
            let judged = candidates.iter().zip(truths);
            for (candidate, &truth) in judged {
                set(
                    &mut standings,
                    candidate.index,
                    if truth {
                        Standing::Agrees
                    } else {
                        Standing::Disagrees
                    },
                );
            }
        }
        match agreed {
            Some(truths) => {
                let believed = candidates
                    .iter()
                    .zip(truths)
                    .filter_map(|(one, truth)| truth.then_some(*one));
                self.follow(now, &believed.collect::<Vec<_>>(), &mut standings);
            }
            None if candidates.is_empty() => self.go_on_without(now),
            None => {
                candidates
                    .iter()
                    .for_each(|one| set(&mut standings, one.index, Standing::Disagrees));
                self.dispute(now);
            }
        }
        Decision {
            reference: self.reference,
            state: self.state,
            standings,
        }
    }

    fn unusable(&self, peer: &Peer, now: Duration) -> Standing {
        match peer.root_distance(now, self.stepped_at) {
            Some(distance) if distance > self.policy.max_distance => Standing::TooFar,
            _ if peer.address.is_none() => Standing::Unknown,
            _ if peer.reach == 0 && peer.refused.is_none() => Standing::Silent,
            _ => Standing::Refused,
        }
    }

    fn candidates(&self, peers: &[Peer], now: Duration) -> Vec<Candidate> {
        let known = peers.iter().enumerate().filter_map(|(index, peer)| {
            let (header, sample) = peer.best(now, self.stepped_at)?;
            let distance = root_distance(&header, &sample, now);
            let owns_the_clock = peer.on_this_host && sample.offset.abs() <= OWNED_WITHIN.max(sample.delay);
            Some(Candidate {
                index,
                address: peer.address?,
                header,
                sample,
                distance,
                owns_the_clock,
            })
        });
        known
            .filter(|candidate| candidate.distance <= self.policy.max_distance)
            .collect()
    }

    /// A majority agrees: announce the time by the best of them, if they are enough.
    fn follow(&mut self, now: Now, believed: &[Candidate], standings: &mut [Standing]) {
        let enough = believed.len() >= usize::from(self.policy.min_sources);
        let Some(chosen) = self.choose(believed).filter(|_| enough) else {
            return self.go_on_without(now);
        };
        let leap = majority_leap(believed);
        let (reference, standing) = if chosen.owns_the_clock {
            (self.mirror(now, &chosen, leap), Standing::Mirrored)
        } else {
            (self.announce(now, &chosen, leap), Standing::SystemPeer)
        };
        if reference.stratum >= MAX_STRATUM
            || reference.root_distance_at(now.monotonic) > self.policy.max_distance
        {
            return self.go_on_without(now);
        }
        set(standings, chosen.index, standing);
        self.system_peer = Some(chosen.index);
        self.usable_at = now.monotonic;
        self.state = State::Synchronized;
        self.reference = Reference {
            not_after: reference.expiry(self.policy.max_distance),
            ..reference
        };
    }

    /// The daemon that keeps this clock; else the system peer as long as nobody of a better stratum is
    /// there, so that we do not hop; else the nearest to the reference clock (RFC 5905 §11.2.3).
    fn choose(&self, believed: &[Candidate]) -> Option<Candidate> {
        if let Some(owner) = believed.iter().find(|candidate| candidate.owns_the_clock) {
            return Some(*owner);
        }
        let best = believed
            .iter()
            .min_by_key(|candidate| (candidate.header.stratum, candidate.distance))?;
        let same = believed.iter().find(|candidate| {
            Some(candidate.index) == self.system_peer && candidate.header.stratum == best.header.stratum
        });
        Some(*same.unwrap_or(best))
    }

    /// The daemon's own announcement, with what we saw of its error added.
    fn mirror(&self, now: Now, owner: &Candidate, leap: Leap) -> Reference {
        Reference {
            stratum: owner.header.stratum,
            reference_id: owner.header.reference_id,
            root_delay: owner.header.root_delay.to_duration(),
            reference_time: earlier(owner.header.reference_timestamp, now.realtime),
            ..self.announce(now, owner, leap)
        }
    }

    /// Our own announcement as a client of `peer`: its errors and ours (RFC 5905 §11.2.3 and the system
    /// variables of §11). The measured offset is an error of the clock that we serve.
    fn announce(&self, now: Now, peer: &Candidate, leap: Leap) -> Reference {
        let age = duration(now.monotonic.saturating_sub(peer.sample.at));
        Reference {
            leap,
            stratum: peer.header.stratum + 1,
            reference_id: ReferenceId::from_address(peer.address.ip()),
            root_delay: peer.header.root_delay.to_duration() + peer.sample.delay,
            root_dispersion: peer.header.root_dispersion.to_duration()
                + peer.sample.dispersion_at(now.monotonic)
                + peer.sample.offset.abs(),
            growth_ppm: PHI_PPM,
            reference_time: now.realtime - age,
            precision: self.precision,
            epoch: now.monotonic,
            not_after: Duration::MAX,
        }
    }

    /// Nobody usable, and nobody who contradicts: the last time is good for as long as its error is small.
    fn go_on_without(&mut self, now: Now) {
        self.system_peer = None;
        let known = matches!(self.state, State::Synchronized | State::Holdover);
        if known && now.monotonic <= self.reference.not_after {
            self.state = State::Holdover;
            return;
        }
        if known {
            self.lose(ReferenceId::LOST);
        }
        if let Some(local) = self.policy.local
            && (self.alone || now.monotonic.saturating_sub(self.usable_at) >= local.wait)
        {
            self.state = State::Local;
            self.reference = self.local(now, local);
        }
    }

    /// Upstreams are there and contradict each other: whose time we had is not known to be right any more.
    fn dispute(&mut self, now: Now) {
        self.system_peer = None;
        self.usable_at = now.monotonic;
        if self.state != State::Init {
            self.lose(ReferenceId::DISPUTED);
        }
    }

    fn lose(&mut self, why: ReferenceId) {
        self.state = State::Unsynchronized;
        self.reference = Reference::unsynchronized(why, self.precision);
    }

    fn local(&self, now: Now, local: LocalReference) -> Reference {
        Reference {
            leap: Leap::NoWarning,
            stratum: local.stratum,
            reference_id: ReferenceId::LOCAL,
            root_delay: NtpDuration::ZERO,
            root_dispersion: local.distance,
            growth_ppm: 0,
            reference_time: now.realtime,
            precision: self.precision,
            epoch: now.monotonic,
            not_after: Duration::MAX,
        }
    }
}

impl Candidate {
    fn claim(&self) -> Claim {
        Claim {
            offset: self.sample.offset,
            distance: self.distance,
        }
    }
}

/// What more than half of those who agree say of the next leap second.
fn majority_leap(believed: &[Candidate]) -> Leap {
    let says = |leap| {
        believed
            .iter()
            .filter(|candidate| candidate.header.leap == leap)
            .count()
            * 2
            > believed.len()
    };
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
mod tests {
    use super::*;
    use crate::upstream::filter::ClockFilter;
    use crate::wire::NtpShort;

    const POLICY: ClockPolicy = ClockPolicy {
        min_sources: 1,
        max_distance: NtpDuration::SECOND,
        local: None,
    };
    const LOCAL: LocalReference = LocalReference {
        stratum: 10,
        wait: Duration::from_secs(60),
        distance: NtpDuration::from_units(1 << 31),
    };

    fn at(seconds: u64) -> Now {
        let monotonic = Duration::from_secs(seconds);
        Now {
            realtime: NtpTimestamp::from_unix(1_700_000_000, 0) + duration(monotonic),
            monotonic,
        }
    }

    /// An upstream at 192.0.2.`host` whose clock is `offset` seconds ahead, seen at second 100.
    fn upstream(host: u8, offset: f64) -> Peer {
        seen(host, offset, 100)
    }

    fn seen(host: u8, offset: f64, second: u64) -> Peer {
        let mut filter = ClockFilter::default();
        filter.add(Sample {
            offset: NtpDuration::from_seconds(offset),
            delay: NtpDuration::from_seconds(0.002),
            dispersion: NtpDuration::from_seconds(0.000_001),
            at: Duration::from_secs(second),
        });
        let header = Header {
            stratum: 2,
            root_delay: NtpShort::from_duration(NtpDuration::from_seconds(0.010)),
            root_dispersion: NtpShort::from_duration(NtpDuration::from_seconds(0.005)),
            reference_id: ReferenceId::from_bytes([198, 51, 100, 1]),
            reference_timestamp: at(90).realtime,
            ..Header::request(NtpTimestamp::ZERO)
        };
        Peer {
            address: Some(([192, 0, 2, host], 123).into()),
            reach: 1,
            answer: Some(header),
            filter,
            ..Peer::default()
        }
    }

    /// The same on this host.
    fn daemon(offset: f64) -> Peer {
        Peer {
            on_this_host: true,
            address: Some(([127, 0, 0, 1], 11123).into()),
            ..upstream(0, offset)
        }
    }

    fn system(policy: ClockPolicy) -> System {
        System::new(policy, -23, Duration::from_secs(90))
    }

    fn decide(system: &mut System, second: u64, peers: &[Peer]) -> Decision {
        let decision = system.decide(at(second), peers);
        let announced = decision.reference.at(at(second).monotonic);
        // At no moment leap 0 with stratum 0, or a stratum without a time.
        assert_eq!(announced.leap == Leap::Unsynchronized, announced.stratum == 0);
        assert_eq!(announced.stratum == 0, announced.reference_timestamp.is_zero());
        assert!(announced.stratum < MAX_STRATUM);
        decision
    }

    #[test]
    fn before_the_first_answer_there_is_no_time() {
        let decision = decide(&mut system(POLICY), 100, &[Peer::default()]);
        assert_eq!(
            (decision.state, decision.standings),
            (State::Init, vec![Standing::Unknown])
        );
        assert_eq!(
            (decision.reference.stratum, decision.reference.reference_id),
            (0, ReferenceId::INIT)
        );
    }

    #[test]
    fn a_remote_upstream_is_followed_with_our_own_error_added() {
        let decision = decide(&mut system(POLICY), 110, &[upstream(1, -0.020)]);
        let reference = decision.reference;
        assert_eq!(
            (decision.state, decision.standings),
            (State::Synchronized, vec![Standing::SystemPeer])
        );
        assert_eq!(
            (reference.stratum, reference.reference_id.to_bytes()),
            (3, [192, 0, 2, 1])
        );
        assert!((reference.root_delay.to_seconds() - 0.012).abs() < 2e-5);
        assert!((reference.root_dispersion.to_seconds() - (0.005 + 0.020 + 0.000_151)).abs() < 2e-5);
        assert_eq!(reference.reference_time, at(100).realtime);
    }

    #[test]
    fn a_daemon_that_keeps_this_clock_is_mirrored() {
        let decision = decide(&mut system(POLICY), 110, &[daemon(0.000_5)]);
        let reference = decision.reference;
        assert_eq!(decision.standings, [Standing::Mirrored]);
        assert_eq!(
            (reference.stratum, reference.reference_id.to_bytes()),
            (2, [198, 51, 100, 1])
        );
        assert!((reference.root_delay.to_seconds() - 0.010).abs() < 2e-5);
        assert!((reference.root_dispersion.to_seconds() - (0.005 + 0.000_5 + 0.000_151)).abs() < 2e-5);
        assert_eq!(reference.reference_time, at(90).realtime);
    }

    #[test]
    fn a_daemon_that_keeps_another_clock_is_a_witness() {
        let decision = decide(&mut system(POLICY), 110, &[daemon(0.003)]);
        assert_eq!(decision.standings, [Standing::SystemPeer]);
        assert_eq!(
            (
                decision.reference.stratum,
                decision.reference.reference_id.to_bytes()
            ),
            (3, [127, 0, 0, 1])
        );
        assert!(decision.reference.root_dispersion > NtpDuration::from_seconds(0.008));
    }

    #[test]
    fn those_who_disagree_are_neither_blended_nor_chosen() {
        let mut system = system(POLICY);
        let two = [upstream(1, 0.0), upstream(2, 10.0)];
        assert_eq!(decide(&mut system, 110, &two).state, State::Init);
        let three = [upstream(1, 0.0), upstream(2, 10.0), upstream(3, 0.001)];
        let decision = decide(&mut system, 111, &three);
        assert_eq!(
            decision.standings,
            [Standing::SystemPeer, Standing::Disagrees, Standing::Agrees]
        );
        let decision = decide(&mut system, 112, &two);
        assert_eq!(
            (decision.state, decision.standings),
            (State::Unsynchronized, vec![Standing::Disagrees; 2])
        );
        assert_eq!(decision.reference.reference_id, ReferenceId::DISPUTED);
    }

    #[test]
    fn a_contradicted_daemon_is_not_mirrored() {
        let peers = [daemon(0.0), upstream(1, 10.0), upstream(2, 10.0)];
        let decision = decide(&mut system(POLICY), 110, &peers);
        // The majority says that our clock is 10 s wrong, and so does our announcement: it is none.
        assert_eq!(decision.state, State::Init);
    }

    #[test]
    fn enough_must_agree() {
        let mut system = system(ClockPolicy {
            min_sources: 2,
            ..POLICY
        });
        assert_eq!(
            decide(&mut system, 110, &[upstream(1, 0.0), Peer::default()]).state,
            State::Init
        );
        assert_eq!(
            decide(&mut system, 111, &[upstream(1, 0.0), upstream(2, 0.0)]).state,
            State::Synchronized
        );
        assert_eq!(
            decide(&mut system, 112, &[upstream(1, 0.0), Peer::default()]).state,
            State::Holdover
        );
    }

    #[test]
    fn the_system_peer_stays_until_a_better_stratum_comes() {
        let mut system = system(POLICY);
        let mut nearer = upstream(2, 0.0);
        assert_eq!(
            decide(&mut system, 110, &[upstream(1, 0.0)]).standings,
            [Standing::SystemPeer]
        );
        nearer.answer = nearer.answer.map(|header| Header {
            root_delay: NtpShort::ZERO,
            ..header
        });
        let both = decide(&mut system, 111, &[upstream(1, 0.0), nearer]);
        assert_eq!(both.standings, [Standing::SystemPeer, Standing::Agrees]);
        nearer.answer = nearer.answer.map(|header| Header { stratum: 1, ..header });
        let both = decide(&mut system, 112, &[upstream(1, 0.0), nearer]);
        assert_eq!(both.standings, [Standing::Agrees, Standing::SystemPeer]);
    }

    #[test]
    fn stratum_15_can_not_be_followed_but_mirrored() {
        let fifteen = |peer: Peer| Peer {
            answer: peer.answer.map(|header| Header {
                stratum: 15,
                ..header
            }),
            ..peer
        };
        assert_eq!(
            decide(&mut system(POLICY), 110, &[fifteen(upstream(1, 0.0))]).state,
            State::Init
        );
        assert_eq!(
            decide(&mut system(POLICY), 110, &[fifteen(daemon(0.0))])
                .reference
                .stratum,
            15
        );
    }

    #[test]
    fn after_the_loss_the_error_grows_until_it_is_too_large() {
        let mut system = system(ClockPolicy {
            max_distance: NtpDuration::from_seconds(0.020),
            ..POLICY
        });
        let gone = [Peer {
            reach: 0,
            ..upstream(1, 0.0)
        }];
        let before = decide(&mut system, 110, &[upstream(1, 0.0)]).reference;
        let after = decide(&mut system, 120, &gone);
        assert_eq!((after.state, after.reference), (State::Holdover, before));
        assert!(before.root_distance_at(at(120).monotonic) > before.root_distance_at(at(110).monotonic));
        // 20 ms less 11.15 ms at 15 ppm: 590 s.
        assert_eq!(decide(&mut system, 690, &gone).state, State::Holdover);
        let lost = decide(&mut system, 710, &gone);
        assert_eq!(
            (lost.state, lost.reference.reference_id),
            (State::Unsynchronized, ReferenceId::LOST)
        );
        assert_eq!(before.at(at(710).monotonic).stratum, 0);
        assert_eq!(
            decide(&mut system, 720, &[seen(1, 0.0, 720)]).state,
            State::Synchronized
        );
    }

    #[test]
    fn the_local_reference_stands_in_and_steps_back() {
        let mut system = system(ClockPolicy {
            local: Some(LOCAL),
            ..POLICY
        });
        assert_eq!(decide(&mut system, 149, &[Peer::default()]).state, State::Init);
        let local = decide(&mut system, 150, &[Peer::default()]);
        assert_eq!((local.state, local.reference.stratum), (State::Local, 10));
        assert_eq!(local.reference.reference_id, ReferenceId::LOCAL);
        assert_eq!(
            local.reference.root_distance_at(at(500).monotonic),
            LOCAL.distance
        );
        assert_eq!(
            decide(&mut system, 160, &[upstream(1, 0.0)]).state,
            State::Synchronized
        );
        assert_eq!(
            decide(&mut system, 300, &[Peer::default()]).state,
            State::Holdover
        );
    }

    #[test]
    fn a_dispute_is_no_reason_to_trust_the_host() {
        let mut system = system(ClockPolicy {
            local: Some(LOCAL),
            ..POLICY
        });
        let two = [upstream(1, 0.0), upstream(2, 10.0)];
        assert!((110..1000).all(|second| decide(&mut system, second, &two).state == State::Init));
    }

    #[test]
    fn a_step_of_the_hosts_clock_voids_what_was_measured() {
        let mut system = system(POLICY);
        decide(&mut system, 110, &[upstream(1, 0.0)]);
        system.clock_stepped(at(111).monotonic);
        let stepped = decide(&mut system, 111, &[upstream(1, 0.0)]);
        assert_eq!(
            (stepped.state, stepped.reference.reference_id),
            (State::Unsynchronized, ReferenceId::STEP)
        );
        assert_eq!(
            decide(&mut system, 120, &[seen(1, 0.0, 119)]).state,
            State::Synchronized
        );
    }

    #[test]
    fn leap_seconds_need_a_majority() {
        let warning = |peer: Peer| Peer {
            answer: peer.answer.map(|header| Header {
                leap: Leap::AddSecond,
                ..header
            }),
            ..peer
        };
        let (one, two, three) = (upstream(1, 0.0), upstream(2, 0.0), upstream(3, 0.0));
        let announced = |peers: &[Peer]| decide(&mut system(POLICY), 110, peers).reference.leap;
        assert_eq!(announced(&[warning(one), two, three]), Leap::NoWarning);
        assert_eq!(announced(&[warning(one), two]), Leap::NoWarning);
        assert_eq!(announced(&[warning(one), warning(two), three]), Leap::AddSecond);
    }
}
