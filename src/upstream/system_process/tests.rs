//! Pure. Tests of the system process, decision by decision; `tests/simulation` tests longer courses.

mod authentication;
mod dispute;
mod holdover;
mod leap;
mod reload;

use crate::upstream::clock_policy::LocalReference;
use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;

use super::*;
use crate::time::{NtpDuration, NtpShort, NtpTimestamp};
use crate::upstream::clock_policy::Authenticated;
use crate::upstream::interleaved::InterleavedQuestions;
use crate::upstream::nts::trusted::TrustedCertificates;
use crate::upstream::packet::Sample;
use crate::upstream::peer::{Peer, Polling};
use crate::upstream::{Host, KeServer, Role, Upstream};
use crate::wire::{Header, MAX_STRATUM};

static POLICY: LazyLock<ClockPolicy> = LazyLock::new(|| ClockPolicy {
    source: ClockSource::System,
    ..ClockPolicy::default()
});

const LOCAL: LocalReference = LocalReference {
    stratum: 10,
    wait: Duration::from_secs(60),
    distance: NtpDuration::from_units(1 << 31),
};

fn at(seconds: u64) -> ClockReadings {
    let raw = Duration::from_secs(seconds);
    ClockReadings {
        realtime: NtpTimestamp::from_unix(1_700_000_000, 0) + NtpDuration::from_std(raw),
        raw,
        boot: raw,
    }
}

/// An upstream at 192.0.2.`host` whose clock is `offset` seconds ahead of the host's, seen at second 100.
fn upstream(host: u8, offset: f64) -> Peer {
    seen(host, offset, 100)
}

fn seen(host: u8, offset: f64, second: u64) -> Peer {
    let mut peer = Peer {
        address: Some(([192, 0, 2, host], 123).into()),
        reach: 1,
        answer: Some(Header {
            stratum: 2,
            root_delay: NtpShort::from_duration(NtpDuration::from_seconds(0.010)),
            root_dispersion: NtpShort::from_duration(NtpDuration::from_seconds(0.005)),
            reference_id: ReferenceId::from_bytes([198, 51, 100, host]),
            reference_timestamp: at(90).realtime,
            ..Header::request(NtpTimestamp::ZERO)
        }),
        ..Peer::default()
    };
    add_sample(&mut peer, offset, second);
    peer
}

fn add_sample(peer: &mut Peer, offset: f64, second: u64) {
    peer.accepted += 1;
    peer.filter.add(Sample {
        offset: NtpDuration::from_seconds(offset),
        delay: NtpDuration::from_seconds(0.002),
        network_delay: NtpDuration::from_seconds(0.002),
        dispersion: NtpDuration::from_seconds(0.000_001),
        at: Duration::from_secs(second),
    });
}

fn daemon(offset: f64) -> Peer {
    Peer {
        on_this_host: true,
        address: Some(([127, 0, 0, 1], 11123).into()),
        ..upstream(0, offset)
    }
}

fn changed(peer: Peer, change: impl Fn(&mut Header)) -> Peer {
    let mut answer = peer.answer;
    if let Some(header) = &mut answer {
        change(header);
    }
    Peer { answer, ..peer }
}

/// The system process, with the upstreams that it decides by.
struct System {
    process: SystemProcess,
    upstreams: Registry,
    /// The configured upstreams: each has a number of its own.
    configured: Vec<usize>,
    /// The roles of those with the first numbers.
    roles: Vec<Role>,
    /// Whether those with the first numbers are polled with NTS.
    nts: Vec<bool>,
}

/// A decision, with the standings in the order of the configuration.
struct Decided {
    decision: Decision,
    standings: Vec<SelectionStatus>,
}

impl Deref for System {
    type Target = SystemProcess;

    fn deref(&self) -> &SystemProcess {
        &self.process
    }
}

impl DerefMut for System {
    fn deref_mut(&mut self) -> &mut SystemProcess {
        &mut self.process
    }
}

impl Deref for Decided {
    type Target = Decision;

    fn deref(&self) -> &Decision {
        &self.decision
    }
}

impl System {
    fn new(policy: ClockPolicy, started: ClockReadings) -> Self {
        Self {
            process: SystemProcess::new(policy, None, -23, started),
            upstreams: Registry::default(),
            configured: Vec::new(),
            roles: Vec::new(),
            nts: Vec::new(),
        }
    }

    /// Configures the upstreams with these numbers, in this order.
    fn configure(&mut self, numbers: &[usize]) {
        let wanted: Vec<Upstream> = numbers
            .iter()
            .map(|&number| Upstream {
                role: self.roles.get(number).copied().unwrap_or_default(),
                nts: self.nts.get(number).filter(|has| **has).map(|_| ke_server()),
                ..numbered(number)
            })
            .collect();
        self.upstreams.reconfigure(&wanted);
        self.configured = numbers.to_vec();
    }

    /// Reloads as the supervisor does.
    fn reload(&mut self, second: u64, policy: ClockPolicy, numbers: &[usize]) {
        self.configure(numbers);
        self.process.reconfigure(at(second).raw, policy, &self.upstreams);
    }

    /// Decides with the kernel's state, too. As many upstreams are configured as there are `peers`, in their order.
    fn decide(&mut self, now: ClockReadings, peers: &[Peer], kernel: Option<KernelView>) -> Decided {
        if self.configured.len() != peers.len() {
            self.configure(&(0..peers.len()).collect::<Vec<_>>());
        }
        let ids: Vec<_> = self
            .upstreams
            .in_configured_order()
            .iter()
            .map(|one| one.id)
            .collect();
        for (&id, peer) in ids.iter().zip(peers) {
            self.upstreams.update(id, peer.clone(), Polling::default());
        }
        let decision = self.process.decide(now, &self.upstreams, kernel);
        Decided {
            standings: ids.iter().map(|&id| decision.standing(id)).collect(),
            decision,
        }
    }
}

/// A server of key establishment, which no test of the system process asks.
fn ke_server() -> KeServer {
    KeServer {
        port: 4460,
        ca: None,
        trusted: TrustedCertificates::example(1),
    }
}

/// An upstream with this number in its name.
pub(super) fn numbered(number: usize) -> Upstream {
    Upstream {
        host: Host::Name(format!("n{number}.example")),
        port: 123,
        iburst: true,
        minpoll: 6,
        maxpoll: 10,
        role: Role::default(),
        interleaved: InterleavedQuestions::Auto,
        pooling: crate::upstream::Pooling::One,
        key: None,
        nts: None,
    }
}

fn system(policy: ClockPolicy) -> System {
    System::new(policy, at(90))
}

fn with_roles(policy: ClockPolicy, roles: &[Role]) -> System {
    System {
        roles: roles.to_vec(),
        ..system(policy)
    }
}

fn decide(system: &mut System, second: u64, peers: &[Peer]) -> Decided {
    decide_at(system, at(second), peers)
}

fn decide_at(system: &mut System, now: ClockReadings, peers: &[Peer]) -> Decided {
    let decision = system.decide(now, peers, None);
    let announced = decision.reference.at(now);
    // At no moment leap 0 with stratum 0, or a stratum without a time.
    assert_eq!(announced.leap == Leap::Unsynchronized, announced.stratum == 0);
    assert_eq!(announced.stratum == 0, announced.reference_timestamp.is_zero());
    assert!(announced.stratum < MAX_STRATUM);
    decision
}

fn close(duration: NtpDuration, seconds: f64) -> bool {
    (duration.to_seconds() - seconds).abs() < 3e-5
}

//= RFC 5905 §7.3 stratum-zero
//= RFC 5905 §11.1 init
#[test]
fn before_the_first_answer_there_is_no_time() {
    let decision = decide(&mut system(*POLICY), 100, &[Peer::default()]);
    assert_eq!(
        (decision.state, &decision.standings[..]),
        (State::Init, &[SelectionStatus::Unknown][..])
    );
    assert_eq!(
        (decision.reference.stratum, decision.reference.reference_id),
        (0, ReferenceId::INIT)
    );
}

//= RFC 5905 §11.2.3 reference-id
//= RFC 5905 §11.2.3 root-delay
//= RFC 5905 §11.2.3 stratum
#[test]
fn the_hosts_clock_is_announced_with_its_measured_offset_as_an_error() {
    let decision = decide(&mut system(*POLICY), 100, &[upstream(1, -0.020)]);
    let reference = decision.reference;
    assert_eq!(
        (decision.state, decision.standings),
        (State::Synchronized, vec![SelectionStatus::SystemPeer])
    );
    assert_eq!(
        (reference.stratum, reference.reference_id.to_bytes()),
        (3, [192, 0, 2, 1])
    );
    assert!(close(reference.root_delay, 0.012), "{reference:?}");
    assert!(close(reference.root_dispersion, 0.025), "{reference:?}");
    assert_eq!(reference.clock.served(at(100)), at(100).realtime);
}

//= RFC 5905 §11.2.3 reference-id
//= RFC 5905 §11.2.3 stratum
#[test]
fn a_tracked_clock_is_corrected() {
    let policy = ClockPolicy {
        source: ClockSource::Tracked,
        ..*POLICY
    };
    let reference = decide(&mut system(policy), 100, &[upstream(1, -0.020)]).reference;
    let served = reference.clock.served(at(100)) - at(100).realtime;
    assert!(close(served, -0.020), "{served:?}");
    assert!(close(reference.root_dispersion, 0.005), "{reference:?}");
    assert_eq!(
        (reference.stratum, reference.reference_id.to_bytes()),
        (3, [192, 0, 2, 1])
    );
    // Its frequency is unknown, and so is the time a minute later.
    assert!(reference.root_dispersion_at(at(160).raw) > NtpDuration::from_seconds(0.015));
}

#[test]
fn a_tracked_clock_is_deaf_to_the_hosts() {
    let mut system = system(ClockPolicy {
        source: ClockSource::Tracked,
        ..*POLICY
    });
    decide(&mut system, 100, &[upstream(1, 0.0)]);
    let stepped = ClockReadings {
        realtime: at(101).realtime + NtpDuration::from_seconds(3600.0),
        ..at(101)
    };
    system.clock_stepped(stepped);
    let decision = decide_at(&mut system, stepped, &[upstream(1, 0.0)]);
    assert_eq!((decision.state, decision.stepped), (State::Synchronized, None));
    assert!(close(
        decision.reference.clock.served(stepped) - at(101).realtime,
        0.0
    ));
}

#[test]
fn auto_means_system_where_an_upstream_is_here() {
    let auto = ClockPolicy {
        source: ClockSource::Auto,
        ..*POLICY
    };
    assert_eq!(
        decide(&mut system(auto), 100, &[daemon(0.0), upstream(1, 0.0)]).source,
        ClockSource::System
    );
    assert_eq!(
        decide(&mut system(auto), 100, &[upstream(1, 0.0)]).source,
        ClockSource::Tracked
    );
}

//= RFC 5905 §7.3 reference-timestamp
#[test]
fn a_daemon_that_keeps_this_clock_is_mirrored() {
    let decision = decide(&mut system(*POLICY), 100, &[daemon(0.000_5)]);
    let reference = decision.reference;
    assert_eq!(decision.standings, [SelectionStatus::Mirrored]);
    assert_eq!(
        (reference.stratum, reference.reference_id.to_bytes()),
        (2, [198, 51, 100, 0])
    );
    assert!(
        // Half of the delay to it is a part of the error.
        close(reference.root_delay, 0.010) && close(reference.root_dispersion, 0.006_5),
        "{reference:?}"
    );
    assert_eq!(reference.reference_time, at(90).realtime);
}

#[test]
fn a_daemon_that_keeps_another_clock_is_a_witness() {
    let decision = decide(&mut system(*POLICY), 100, &[daemon(0.003)]);
    assert_eq!(decision.standings, [SelectionStatus::SystemPeer]);
    assert_eq!(
        (
            decision.reference.stratum,
            decision.reference.reference_id.to_bytes()
        ),
        (3, [127, 0, 0, 1])
    );
    assert!(decision.reference.root_dispersion > NtpDuration::from_seconds(0.008));
}

//= RFC 5905 §11.2 no-majority
#[test]
fn enough_must_agree() {
    let mut system = system(ClockPolicy {
        min_sources: 2,
        ..*POLICY
    });
    let one = decide(&mut system, 100, &[upstream(1, 0.0), Peer::default()]);
    assert_eq!(
        (one.state, one.standings.first()),
        (State::Init, Some(&SelectionStatus::TooFew))
    );
    assert_eq!(
        decide(&mut system, 101, &[upstream(1, 0.0), upstream(2, 0.0)]).state,
        State::Synchronized
    );
    assert_eq!(
        decide(&mut system, 102, &[upstream(1, 0.0), Peer::default()]).state,
        State::Holdover
    );
}

#[test]
fn roles() {
    let role = |change: fn(&mut Role)| {
        let mut role = Role::default();
        change(&mut role);
        role
    };
    let preferred = [Role::default(), role(|role| role.prefer = true)];
    let decision = decide(
        &mut with_roles(*POLICY, &preferred),
        100,
        &[upstream(1, 0.0), upstream(2, 0.0)],
    );
    assert_eq!(
        decision.standings,
        [SelectionStatus::Agrees, SelectionStatus::SystemPeer]
    );
    let required = [Role::default(), role(|role| role.require = true)];
    let decision = decide(
        &mut with_roles(*POLICY, &required),
        100,
        &[upstream(1, 0.0), Peer::default()],
    );
    assert_eq!(
        (decision.state, decision.standings),
        (
            State::Init,
            vec![SelectionStatus::TooFew, SelectionStatus::Unknown]
        )
    );
    let watched = [Role::default(), role(|role| role.noselect = true)];
    let decision = decide(
        &mut with_roles(*POLICY, &watched),
        100,
        &[upstream(1, 0.0), upstream(2, 10.0)],
    );
    assert_eq!(
        decision.standings,
        [SelectionStatus::SystemPeer, SelectionStatus::NoSelect]
    );
    let trusted = [role(|role| role.trust = true), Role::default(), Role::default()];
    let peers = [upstream(1, 0.0), upstream(2, 10.0), upstream(3, 10.0)];
    let decision = decide(&mut with_roles(*POLICY, &trusted), 100, &peers);
    assert_eq!(
        decision.standings,
        [
            SelectionStatus::SystemPeer,
            SelectionStatus::Falseticker,
            SelectionStatus::Falseticker
        ]
    );
}

#[test]
fn one_address_counts_once() {
    let twice = [upstream(1, 0.0), upstream(1, 0.0), Peer::default()];
    let two = ClockPolicy {
        min_sources: 2,
        ..*POLICY
    };
    let decision = decide(&mut system(two), 100, &twice);
    assert_eq!(
        (decision.state, decision.shortage),
        (
            State::Init,
            Some(SourceShortage::TooFew {
                agree: 1,
                of: 3,
                wanted: 2
            })
        )
    );
    let decision = decide(&mut system(*POLICY), 100, &twice);
    assert_eq!(
        decision.standings,
        [
            SelectionStatus::SystemPeer,
            SelectionStatus::Duplicate,
            SelectionStatus::Unknown
        ]
    );
}

#[test]
fn the_nearest_one_is_not_believed_for_that() {
    let near = |peer| {
        changed(peer, |header| {
            (header.root_delay, header.root_dispersion) = (NtpShort::ZERO, NtpShort::ZERO);
        })
    };
    let policy = ClockPolicy {
        source: ClockSource::Tracked,
        ..*POLICY
    };
    // The error of the true ones is 11 ms, and the false one announces 1 ms.
    let honest = [upstream(1, 0.0), upstream(2, 0.001)];
    let bounds = |peers: &[Peer]| {
        let reference = decide(&mut system(policy), 100, peers).reference;
        let served = reference.clock.served(at(100)) - at(100).realtime;
        (
            served.to_seconds(),
            reference.root_distance_at(at(100).raw).to_seconds(),
        )
    };
    let (served, distance) = bounds(&[honest[0].clone(), honest[1].clone(), near(upstream(3, 0.0085))]);
    assert!(served.abs() <= distance, "{served} {distance}");
    // It moves the served time no further than a path's usual asymmetry.
    assert!(served < 0.0025, "{served}");
    let (served, distance) = bounds(&[honest[0].clone(), near(upstream(3, 0.0085))]);
    assert!(served.abs() <= distance, "{served} {distance}");
}

#[test]
fn the_system_peer_stays_until_a_better_one_lasts() {
    let mut system = system(*POLICY);
    assert_eq!(
        decide(&mut system, 100, &[upstream(1, 0.0)]).standings,
        [SelectionStatus::SystemPeer]
    );
    let nearer = changed(upstream(2, 0.0), |header| {
        (header.root_delay, header.root_dispersion) = (NtpShort::ZERO, NtpShort::ZERO);
    });
    let both = [upstream(1, 0.0), nearer];
    assert_eq!(
        decide(&mut system, 101, &both).standings,
        [SelectionStatus::SystemPeer, SelectionStatus::Agrees]
    );
    let both = both.map(|mut peer| {
        add_sample(&mut peer, 0.0, 164);
        peer
    });
    assert_eq!(
        decide(&mut system, 164, &both).standings,
        [SelectionStatus::SystemPeer, SelectionStatus::Agrees]
    );
    assert_eq!(
        decide(&mut system, 165, &both).standings,
        [SelectionStatus::Agrees, SelectionStatus::SystemPeer]
    );
    let [other, nearer] = both;
    let higher = [changed(other, |header| header.stratum = 1), nearer];
    assert_eq!(
        decide(&mut system, 166, &higher).standings,
        [SelectionStatus::SystemPeer, SelectionStatus::Agrees]
    );
}

//= RFC 5905 §7.3 reference-timestamp
//= RFC 5905 §11.2.3 later
#[test]
fn the_reference_time_stands_still_until_a_newer_sample_comes() {
    let mut system = system(*POLICY);
    let said = |decision: Decided| decision.reference.reference_time - at(100).realtime;
    let mut peer = upstream(1, -0.020);
    assert!(close(said(decide(&mut system, 100, &[peer.clone()])), -0.020));
    assert!(close(said(decide(&mut system, 150, &[peer.clone()])), -0.020));
    // A sample that arrives late, and was taken before.
    assert!(close(
        said(decide(&mut system, 151, &[seen(1, -0.020, 99)])),
        -0.020
    ));
    add_sample(&mut peer, -0.020, 160);
    assert!(close(said(decide(&mut system, 161, &[peer])), 59.980));
}

//= RFC 5905 §7.2 maxstrat
//= RFC 5905 §11.2.3 stratum
#[test]
fn stratum_15_can_not_be_followed_but_mirrored() {
    let fifteen = |peer| changed(peer, |header| header.stratum = 15);
    assert_eq!(
        decide(&mut system(*POLICY), 100, &[fifteen(upstream(1, 0.0))]).state,
        State::Init
    );
    assert_eq!(
        decide(&mut system(*POLICY), 100, &[fifteen(daemon(0.0))])
            .reference
            .stratum,
        15
    );
}
