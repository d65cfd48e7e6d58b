//! The virtual network: one host, its upstreams and the paths to them, from one event to the next. It stands in
//! for the impure files alone (`upstream/poller.rs`, `supervisor/{mod,clock_manager,pollers}.rs`): all decisions are the product's,
//! and so is the registry of the upstreams.

mod asking;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ntpfront::clock::{ClockModel, Reference, SmearedReference};
use ntpfront::leap::LeapTable;
use ntpfront::time::NtpTimestamp;
use ntpfront::upstream::association::PollerSettings;
use ntpfront::upstream::candidate::SelectionStatus;
use ntpfront::upstream::clock_policy::{ClockPolicy, ClockSource};
use ntpfront::upstream::filter::View;
use ntpfront::upstream::interleaved::InterleavedQuestions;
use ntpfront::upstream::nts::certificate::CertificateTime;
use ntpfront::upstream::nts::ke_fault::KeFault;
use ntpfront::upstream::nts::key_state::KeyRules;
use ntpfront::upstream::packet::Reject;
use ntpfront::upstream::registry::{Entry, Registry, UpstreamId};
use ntpfront::upstream::system_process::{Decision, State, SystemProcess};
use ntpfront::upstream::{Host as Name, Role, Upstream};

use super::host::{Host, Truth};
use super::random::Random;
use super::record::{Counts, Record};
use super::server::Server;
use super::smear::SmearRecord;
use asking::{Known, Poller};

/// How often the supervisor decides without a report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The product's own number, which lives in its impure `supervisor/mod.rs`.
    pub(crate) tick: f64,
    /// Ticks while a scenario lets things be for longer than `busy`: to save the tester's time.
    pub(crate) quiet_tick: f64,
    pub(crate) busy: f64,
    /// The same after a report: a correction is slewed.
    pub(crate) news: f64,
}

const PACE: Pace = Pace {
    tick: 1.0,
    quiet_tick: 3.0,
    busy: 30.0,
    news: 3.0,
};
/// With streams of their own, upstreams are asked within so many seconds, never at the same moment: then their order would
/// be that of the configuration.
const SPREAD: f64 = 0.01;
/// 60 ns, as a usual machine's.
const PRECISION: i8 = -24;
/// The address of this host: who follows it follows us.
pub(crate) const OWN: [u8; 4] = [203, 0, 113, 1];
/// 2027-01-15 08:00 UTC.
pub(crate) const START: i64 = 1_800_000_000;

/// What is simulated, and what was seen of it.
pub(crate) struct Network {
    pub(crate) random: Random,
    pub(crate) host: Host,
    pub(crate) servers: Vec<Server>,
    /// To be changed before the first [`Network::run`] only.
    pub(crate) policy: ClockPolicy,
    /// The list of leap seconds; to be changed before the first [`Network::run`] only.
    pub(crate) leaps: Option<LeapTable>,
    pub(crate) record: Record,
    /// What a listener with a smear serves, if somebody looks.
    pub(crate) smear: Option<SmearRecord>,
    /// To be changed before the first [`Network::run`] only.
    pub(crate) pace: Pace,
    /// One for each server, so that what happens to one does not hang on the others; or none.
    pub(crate) streams: Vec<Random>,
    /// While set, the supervisor decides and publishes nothing.
    pub(crate) stalled: bool,
    /// While set, no question arrives anywhere.
    pub(crate) is_cut_off: bool,
    /// All upstreams that scenarios speak of by their number; those that are configured, in their order.
    known: Vec<Known>,
    configured: Vec<usize>,
    registry: Registry,
    /// Those that run.
    pollers: BTreeMap<UpstreamId, Poller>,
    reloads: u64,
    events: Vec<(f64, Event)>,
    system: Option<SystemProcess>,
    decision: Option<Decision>,
    published: Option<Reference>,
    published_smeared: Option<SmearedReference>,
    /// As of now; what was published knows those of its time.
    counts: Counts,
    published_counts: Counts,
    /// Until then the supervisor ticks each second.
    busy_until: f64,
    questions: u64,
    /// How often a decision said that the served clock was stepped.
    pub(crate) steps_said: u64,
    /// Bounds as the scenario states them, and what was seen.
    pub(crate) bounds: Vec<Bound>,
}

/// One number of a scenario and its limit.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) what: &'static str,
    pub(crate) limit: f64,
    pub(crate) seen: f64,
    pub(crate) most: bool,
}

impl Bound {
    pub(crate) fn is_kept(&self) -> bool {
        if self.most {
            self.seen <= self.limit
        } else {
            self.seen >= self.limit
        }
    }

    /// The worse of both.
    pub(crate) fn worse(self, other: Self) -> Self {
        let other_is_worse = if self.most {
            other.seen > self.seen
        } else {
            other.seen < self.seen
        };
        if other_is_worse { other } else { self }
    }
}

#[derive(Debug)]
enum Event {
    /// The pause of a poller is over.
    Ask(UpstreamId),
    /// A question arrives at a server.
    AtServer {
        poller: UpstreamId,
        server: usize,
        number: u64,
        bytes: Vec<u8>,
    },
    /// A packet arrives at the socket of a question.
    Packet {
        poller: UpstreamId,
        number: u64,
        bytes: Vec<u8>,
    },
    /// A question was not answered in time.
    GiveUp { poller: UpstreamId, number: u64 },
    /// The supervisor looks after everything.
    Tick,
    /// UTC is shifted.
    Leap,
}

impl Event {
    fn is_ask_of(&self, id: UpstreamId) -> bool {
        matches!(self, Self::Ask(poller) if *poller == id)
    }
}

impl Network {
    /// No upstreams yet; a host like many, a policy as by default, but tracked.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let truth = Truth {
            start: NtpTimestamp::from_unix(START, 0),
            leap: None,
        };
        let host = Host::new(truth, &mut random);
        Self {
            host,
            servers: Vec::new(),
            policy: ClockPolicy {
                source: ClockSource::Tracked,
                ..ClockPolicy::default()
            },
            leaps: None,
            smear: None,
            record: Record::default(),
            pace: PACE,
            streams: Vec::new(),
            stalled: false,
            is_cut_off: false,
            known: Vec::new(),
            configured: Vec::new(),
            registry: Registry::default(),
            pollers: BTreeMap::new(),
            reloads: 0,
            events: Vec::new(),
            system: None,
            decision: None,
            published: None,
            published_smeared: None,
            counts: Counts::default(),
            published_counts: Counts::default(),
            busy_until: 0.0,
            questions: 0,
            steps_said: 0,
            bounds: Vec::new(),
            random,
        }
    }

    /// Adds so many honest upstreams.
    pub(crate) fn honest(&mut self, count: u8) {
        for _ in 0..count {
            let number = u8::try_from(self.servers.len() + 1).unwrap();
            let server = Server::honest(number, &mut self.random);
            self.add(server);
        }
    }

    /// Adds the daemon that keeps this host's time of day.
    pub(crate) fn daemon(&mut self) {
        let daemon = Server::daemon(&mut self.random);
        self.host.kept = true;
        self.host.error = self.random.between(-0.0005, 0.0005);
        self.add(daemon);
    }

    /// Adds an upstream that is asked by its address.
    pub(crate) fn add(&mut self, server: Server) {
        let place = self.servers.len();
        self.servers.push(server);
        self.name(vec![place]);
    }

    /// Adds an upstream whose name stands for these servers; while running, it waits for a [`Network::reload`].
    pub(crate) fn name(&mut self, servers: Vec<usize>) {
        let first = &self.servers[servers[0]];
        let (minpoll, maxpoll) = if first.on_this_host { (2, 4) } else { (6, 10) };
        let host = match servers.len() {
            1 => Name::Address(first.address.ip()),
            _ => Name::Name(format!("n{}.example", self.known.len())),
        };
        let settings = Upstream {
            host,
            port: first.address.port(),
            iburst: true,
            minpoll,
            maxpoll,
            role: Role::default(),
            interleaved: InterleavedQuestions::Auto,
            pooling: ntpfront::upstream::Pooling::One,
            key: None,
            nts: None,
        };
        if self.system.is_none() {
            self.configured.push(self.known.len());
        }
        self.known.push(Known { settings, servers });
    }

    /// Changes how an upstream is configured: before the first [`Network::run`], or for the next [`Network::reload`].
    pub(crate) fn configure(&mut self, upstream: usize, change: impl FnOnce(&mut Upstream)) {
        change(&mut self.known[upstream].settings);
    }

    /// The policy as it is now and these upstreams in this order are the configuration from now on. As
    /// `ClockManager::reconfigure`.
    pub(crate) fn reload(&mut self, upstreams: &[usize]) {
        let now = self.host.raw();
        self.configured = upstreams.to_vec();
        self.register();
        let Some(system) = &mut self.system else { return };
        let (view, resample_requests) = system.for_pollers();
        system.reconfigure(now, self.policy, &self.registry);
        self.reloads += 1;
        for id in self.follow(view, resample_requests) {
            self.events.push((self.host.now(), Event::Ask(id)));
        }
        for poller in self.pollers.values_mut() {
            poller.denied.clear();
        }
    }

    /// What is configured is what the registry knows from now on.
    fn register(&mut self) {
        let settings = |&one: &usize| self.known[one].settings.clone();
        let wanted: Vec<_> = self.configured.iter().map(settings).collect();
        self.registry.reconfigure(&wanted);
    }

    /// As `Pollers::follow`. Returns those that are new, which ask at once.
    fn follow(&mut self, view: View, resample_requests: u64) -> Vec<UpstreamId> {
        let registry = &self.registry;
        self.pollers.retain(|id, _| registry.contains(*id));
        let gone = |event: &Event| matches!(event, Event::Ask(id) if !registry.contains(*id));
        self.events.retain(|(_, event)| !gone(event));
        let entries = registry.in_configured_order();
        let of = |entry: &Entry, upstream: usize| {
            let settings = PollerSettings {
                upstream: entry.settings.clone(),
                policy: self.policy,
                view,
                listeners: Arc::from([]),
                reloads: self.reloads,
                refreshes: 0,
                key_rules: KeyRules {
                    certificate_time: CertificateTime::AgreeFirst,
                    refresh: Duration::from_secs(28 * 86_400),
                },
                vouched: None,
                cast_out: None,
                resample_requests,
            };
            (entry.id, settings, upstream)
        };
        let pairs = entries.into_iter().zip(&self.configured);
        let wanted: Vec<_> = pairs.map(|(entry, &upstream)| of(entry, upstream)).collect();
        let mut new = Vec::new();
        for (id, settings, upstream) in wanted {
            let servers = self.known[upstream].servers.clone();
            if let Some(poller) = self.pollers.get_mut(&id) {
                assert_eq!(poller.servers, servers, "one name stands for the same servers");
                (poller.settings, poller.upstream) = (settings, upstream);
                self.apply(id);
            } else {
                self.pollers.insert(id, Poller::new(settings, upstream, servers));
                new.push(id);
            }
        }
        new
    }

    /// Simulates so many true seconds.
    pub(crate) fn run(&mut self, seconds: f64) {
        if self.system.is_none() {
            self.start();
        }
        let until = self.host.now() + seconds;
        self.hurry(self.pace.busy);
        while let Some(next) = self.next_event(until) {
            let (at, event) = self.events.swap_remove(next);
            self.host.advance(at, &mut self.random);
            if self.record.watch.is_some() {
                self.look();
            }
            self.happen(event);
        }
        self.host.advance(until, &mut self.random);
    }

    /// The supervisor ticks each second from now on, as something has changed.
    fn hurry(&mut self, seconds: f64) {
        let now = self.host.now();
        self.busy_until = self.busy_until.max(now + seconds);
        for (at, event) in &mut self.events {
            if matches!(event, Event::Tick) && *at > now + self.pace.tick {
                *at = now + self.random.unit() * self.pace.tick;
            }
        }
    }

    /// A worker answers now.
    pub(crate) fn look(&mut self) {
        if let Some(published) = &self.published {
            let counts = self.published_counts;
            self.record.look(&self.host, published, counts);
        }
        if let Some(smear) = &mut self.smear {
            smear.look(&self.host, self.published_smeared.as_ref());
        }
    }

    /// Somebody sets the host's time of day, and a worker answers right after it.
    pub(crate) fn step_host(&mut self, by: f64) {
        self.run(self.pace.quiet_tick);
        self.host.step(by);
        if matches!(
            self.published.map(|published| published.clock),
            Some(ClockModel::Host)
        ) {
            self.published_counts.steps += 1;
            self.counts.steps += 1;
        }
        self.look();
    }

    /// The host sleeps: its timers stand still, and what arrives meanwhile is lost.
    pub(crate) fn sleep(&mut self, seconds: f64) {
        self.look();
        self.hurry(self.pace.busy);
        let awake = self.host.now() + seconds;
        self.events
            .retain(|(at, event)| *at > awake || !matches!(event, Event::Packet { .. }));
        for (at, event) in &mut self.events {
            if matches!(event, Event::Ask(_) | Event::GiveUp { .. } | Event::Tick) {
                *at += seconds;
            }
        }
        self.host.sleep(seconds);
        self.look();
    }

    /// The host's processes stand still, its clocks go on: what arrives meanwhile is stamped and read afterwards.
    pub(crate) fn pause(&mut self, seconds: f64) {
        let (now, end) = (self.host.now(), self.host.now() + seconds);
        for (at, event) in &mut self.events {
            if *at < end && !matches!(event, Event::AtServer { .. }) {
                // They stay in their order.
                *at = end + (*at - now) * 1e-6;
            }
        }
    }

    pub(crate) fn state(&self) -> State {
        self.decision.as_ref().map_or(State::Init, |one| one.state)
    }

    pub(crate) fn source(&self) -> Option<ClockSource> {
        self.decision.as_ref().map(|one| one.source)
    }

    /// Of the upstream at this place of the configuration.
    pub(crate) fn standing(&self, place: usize) -> SelectionStatus {
        let id = self.registry.in_configured_order()[place].id;
        self.decision
            .as_ref()
            .map_or(SelectionStatus::Unknown, |one| one.standing(id))
    }

    /// Of the upstream with this number, which is configured.
    pub(crate) fn standing_of(&self, upstream: usize) -> SelectionStatus {
        let place = self.configured.iter().position(|&one| one == upstream);
        self.standing(place.unwrap())
    }

    /// The poller that runs for an upstream.
    fn poller_of(&self, upstream: usize) -> &Poller {
        let mut pollers = self.pollers.values();
        pollers.find(|one| one.upstream == upstream).unwrap()
    }

    pub(crate) fn reference(&self) -> Reference {
        self.published.unwrap()
    }

    /// By how much the served clock is ahead of the truth.
    pub(crate) fn error(&self) -> f64 {
        let served = self.reference().clock.served(self.host.moment());
        (served - self.host.utc()).to_seconds()
    }

    pub(crate) fn rejected(&self, upstream: usize, reject: Reject) -> u64 {
        self.poller_of(upstream).association.rejected(reject)
    }

    /// Why an upstream with NTS can't be asked.
    pub(crate) fn key_fault(&self, upstream: usize) -> Option<KeFault> {
        self.poller_of(upstream).keys.fault()
    }

    /// How many good answers of an upstream are known.
    pub(crate) fn accepted(&self, upstream: usize) -> u64 {
        self.poller_of(upstream).association.peer().accepted
    }

    pub(crate) fn at_most(&mut self, what: &'static str, limit: f64, seen: f64) {
        self.bounds.push(Bound {
            what,
            limit,
            seen,
            most: true,
        });
    }

    pub(crate) fn at_least(&mut self, what: &'static str, limit: f64, seen: f64) {
        self.bounds.push(Bound {
            what,
            limit,
            seen,
            most: false,
        });
    }

    /// A bound that has no number.
    pub(crate) fn holds(&mut self, what: &'static str, does: bool) {
        self.at_least(what, 1.0, f64::from(u8::from(does)));
    }

    fn start(&mut self) {
        self.register();
        self.system = Some(SystemProcess::new(
            self.policy,
            self.leaps.clone(),
            PRECISION,
            self.host.moment(),
        ));
        let new = self.follow(View::default(), 0);
        self.decide();
        let now = self.host.now();
        let first_tick = now + self.random.unit();
        for id in new {
            let stream = self.streams.get_mut(self.pollers[&id].servers[0]);
            let spread = stream.map_or(0.0, |stream| SPREAD * stream.unit());
            self.events.push((now + spread, Event::Ask(id)));
        }
        self.events.push((first_tick, Event::Tick));
        let leap = self.host.truth.leap;
        self.events.extend(leap.map(|(at, _)| (at, Event::Leap)));
    }

    fn next_event(&self, until: f64) -> Option<usize> {
        let times = self.events.iter().enumerate();
        let next = times.min_by(|(_, one), (_, other)| one.0.total_cmp(&other.0))?;
        (next.1.0 <= until).then_some(next.0)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Ask(poller) => self.ask(poller),
            Event::AtServer {
                poller,
                server,
                number,
                bytes,
            } => self.at_server(poller, server, number, &bytes),
            Event::Packet {
                poller,
                number,
                bytes,
            } => self.packet(poller, number, &bytes),
            Event::GiveUp { poller, number } if self.waits_for(poller, number) => self.give_up(poller),
            Event::GiveUp { .. } => {}
            Event::Leap => {
                self.host.leap();
                self.hurry(self.pace.busy);
            }
            Event::Tick => {
                let now = self.host.now();
                let pause = if now < self.busy_until {
                    self.pace.tick
                } else {
                    self.pace.quiet_tick
                };
                self.events.push((now + pause, Event::Tick));
                self.decide();
            }
        }
    }

    /// As `ClockManager::decide`: a worker answers right before it and right after.
    fn decide(&mut self) {
        self.look();
        if self.stalled {
            return;
        }
        let now = self.host.moment();
        let Some(system) = &mut self.system else { return };
        let [realtime, asleep] = self.host.jumps();
        system.check_host_clocks(now, realtime, asleep);
        let decision = system.decide(now, &self.registry, Some(self.host.kernel()));
        self.published = Some(decision.reference.alive_at(now));
        self.published_smeared = decision.smeared.map(|smeared| smeared.alive_at(now));
        self.record.leave(&self.host, &decision.reference);
        self.tell_pollers(&decision);
        let stepped = u64::from(decision.stepped.is_some());
        self.steps_said += stepped;
        self.counts.steps += stepped;
        let last = self.decision.as_ref().map(|last| (&last.standings, last.view));
        self.counts.selections += u64::from(last != Some((&decision.standings, decision.view)));
        self.counts.publications += 1;
        self.published_counts = self.counts;
        if self.record.states.last().map(|last| last.1) != Some(decision.state) {
            self.record.states.push((self.host.now(), decision.state));
        }
        self.decision = Some(decision);
        self.look();
    }
}
