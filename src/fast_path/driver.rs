//! Impure. Loads the program, keeps it attached, and publishes the time and the rules to it.
//!
//! After the start it needs no privilege any more: the time and the rules are written to memory, and to attach the
//! program again takes the program alone.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::budget_share::{BudgetShare, Demand};
use super::destinations::is_reachable;
use super::devices::has_address;
use super::fast_census::FastCensus;
use super::interfaces::{AttachedInterface, Interfaces};
use super::layout::{CLIENTS_PER_PLACE, LISTENERS};
use super::loader::Program;
use super::maps::{answers, clear_counts, counting_cpus, counts, publish, steps, write_copy};
use super::mode::{AttachMode, Attachment};
use super::requirements;
use super::rules::{HostNetwork, ListenerSlot, Rules, client_capacity, rules};
use super::step_watch::StepWatch;
use super::time_segment::{TimeSegment, raw_faster, stop};
use crate::census::{CensusSettings, SampledHistory};
use crate::clock::Reference;
use crate::host::{addresses, clock, entropy, limits, sys};
use crate::observe::snapshot::{FamilyStatus, FastPathStatus, InterfaceStatus};
use crate::server::policy::budget::SentCounts;
use crate::server::{Counts, Listener};
use crate::time::AlignedReadings;
use crate::time::RateMeter;

/// The time between two publications: the shorter, the less the announced error grows meanwhile (`time_segment`).
pub const REFRESH: Duration = Duration::from_millis(5);
/// The least time over which the rate of the raw counter is measured.
const SHORTEST_MEASUREMENT: Duration = Duration::from_millis(50);
/// The publications in a second, at least.
const PUBLICATIONS_OF_A_SECOND: u64 = 200;
const NOWHERE: HostNetwork<'_> = HostNetwork {
    addresses: &[],
    broadcasts: &[],
    devices: &[],
};

/// The address of a listener, its counts since the start, and its rate of requests a second.
pub type ListenerCounts = (SocketAddr, Counts, f64);

/// The program, and all that was published to it.
#[derive(Debug)]
pub struct Driver {
    program: Program,
    /// Until a thread takes it.
    step_watch: Option<StepWatch>,
    secret: [u64; 2],
    places: u32,
    interfaces: Interfaces,
    /// The listeners by number. One that is gone keeps its number and counts until another one needs the number.
    slots: Vec<ListenerSlot>,
    rates: Vec<RateMeter>,
    /// The counts of those whose number another one has now, and the replies among them.
    ended: Counts,
    ended_sent: SentCounts,
    share: BudgetShare,
    rules: Rules,
    /// The copy of the rules that is in force, and the number of the last publication.
    copy: u32,
    number: u64,
    reference: Option<Reference>,
    /// The census of its clients, if there is one.
    census: Option<FastCensus>,
    /// Whether a leap second is near: listeners that smear it are left to the sockets meanwhile.
    is_leap_near: bool,
    /// The raw counter and the time since boot as they were, and how they ran since.
    clocks: (Duration, Duration),
    raw_faster: Option<f64>,
}

/// The reason why there is no fast path where one was asked for.
#[derive(Debug)]
pub enum OpenError {
    /// No fast path in the mode that was asked for by name.
    Unavailable(String),
    /// The kernel gives no randomness.
    Randomness(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(why) => f.write_str(why),
            Self::Randomness(error) => write!(f, "no randomness: {}", limits::explain(error)),
        }
    }
}

impl std::error::Error for OpenError {}

impl Driver {
    /// Loads the program and attaches it to `interfaces`, for these `listeners`, with room for `clients`.
    ///
    /// Returns `None` if it can't be had and `mode` allows that. Nothing is answered before the first publication.
    /// Needs the privileges of the start.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open<'a>(
        interfaces: &[String],
        mode: AttachMode,
        clients: u32,
        listeners: impl Iterator<Item = &'a Listener> + Clone,
    ) -> Result<Option<Self>, OpenError> {
        let failed = |why: String| match mode {
            AttachMode::Auto => {
                warn!("fast path: {why}; the sockets answer alone");
                Ok(None)
            }
            AttachMode::Native | AttachMode::Generic => Err(OpenError::Unavailable(why)),
        };
        let places = clients.div_ceil(CLIENTS_PER_PLACE);
        let program = match Program::load(places) {
            Ok(program) => program,
            Err(error) => return failed(error.to_string()),
        };
        let step_watch = match StepWatch::new(&program) {
            Ok(watch) => Some(watch),
            Err(error) => {
                let why = limits::explain(&error);
                return failed(format!("steps of the clock can't be noticed: {why}"));
            }
        };
        let random = || entropy::random().map_err(OpenError::Randomness);
        let secret = [random()?, random()?];
        let mut driver = Self {
            program,
            step_watch,
            secret,
            places,
            interfaces: Interfaces::new(interfaces.to_vec(), mode),
            slots: Vec::new(),
            rates: Vec::new(),
            ended: Counts::default(),
            ended_sent: SentCounts::default(),
            share: BudgetShare::NONE,
            rules: rules(&[], NOWHERE, secret, places),
            copy: 0,
            number: 0,
            reference: None,
            census: None,
            is_leap_near: false,
            clocks: Default::default(),
            raw_faster: None,
        };
        for line in requirements::bypassed(interfaces).lines() {
            warn!("fast path: {line}");
        }
        driver.serve(listeners);
        if let Some(refused) = driver.interfaces.refused() {
            return failed(refused);
        }
        Ok(Some(driver))
    }

    /// Returns the watch for steps of the host's clock, once: a thread of its own has to run it.
    pub fn take_step_watch(&mut self) -> Option<StepWatch> {
        self.step_watch.take()
    }

    /// Serves these `listeners` from now on, and no others.
    pub fn serve<'a>(&mut self, listeners: impl Iterator<Item = &'a Listener> + Clone) {
        self.slots.iter_mut().for_each(|slot| slot.policy = None);
        let is_new = |listener: &&Listener| !self.slots.iter().any(|slot| slot.address == listener.address);
        let new = listeners.clone().filter(is_new).count();
        if self.slots.len() + new > LISTENERS {
            // So that none of those that are gone is in force any more.
            self.follow_host(clock::raw());
        }
        for listener in listeners.clone() {
            let policy = Some(Arc::clone(&listener.policy));
            let place = |slot: &ListenerSlot| slot.address == listener.address;
            let kept = |slot: &ListenerSlot| listeners.clone().any(|one| one.address == slot.address);
            let slot = ListenerSlot {
                address: listener.address,
                policy,
                interleaves: listener.tuning.saved_timestamps.is_some(),
            };
            if let Some(number) = self.slots.iter().position(place) {
                self.set_slot(number, slot);
            } else if self.slots.len() < LISTENERS {
                self.slots.push(slot);
                self.rates.push(RateMeter::default());
            } else if let Some(number) = self.slots.iter().position(|slot| !kept(slot)) {
                self.give_back(number);
                self.set_slot(number, slot);
            } else {
                // There is no number for it: the rules exclude it.
                self.slots.push(slot);
                self.rates.push(RateMeter::default());
            }
        }
        if client_capacity(listeners.map(|listener| &*listener.policy)).div_ceil(CLIENTS_PER_PLACE)
            > self.places
        {
            warn!("fast path: limit.clients: only a restart makes room for more clients");
        }
        self.follow_host(clock::raw());
    }

    fn set_slot(&mut self, number: usize, slot: ListenerSlot) {
        if let Some(place) = self.slots.get_mut(number) {
            *place = slot;
        }
    }

    /// Frees the number of a listener that is gone: its counts go to those of all that are.
    fn give_back(&mut self, number: usize) {
        let cells = self.program.counters();
        let counted = counts(cells, number);
        if let Some(slot) = self.slots.get(number) {
            self.ended_sent.add_plain(slot.address, counted.replied());
        }
        self.ended = self.ended.plus(counted);
        clear_counts(cells, number);
        if let Some(rate) = self.rates.get_mut(number) {
            *rate = RateMeter::default();
        }
    }

    /// Returns what it sent since the start, as far as a budget counts it.
    pub fn sent(&self) -> SentCounts {
        let mut sent = self.ended_sent;
        for (address, counts, _) in self.counts() {
            sent.add_plain(address, counts.replied());
        }
        sent
    }

    /// Takes what the budget allows, and what is asked, once a second.
    ///
    /// Returns whether the sockets answer alone from now on, and did not until now.
    pub fn share_budget(&mut self, demand: Demand, now: Duration) -> bool {
        let was_with_the_sockets = self.share.is_with_the_sockets();
        self.share.adjust(demand, now);
        match (was_with_the_sockets, self.share.is_with_the_sockets()) {
            (false, true) => {
                self.refresh();
                info!(
                    "fast path: more than 4/5 of the budget is asked: the sockets answer, which know the clients"
                )
            }
            (true, false) => {
                info!("fast path: less than half of the budget is asked: the fast path answers again")
            }
            _ => {}
        }
        !was_with_the_sockets && self.share.is_with_the_sockets()
    }

    /// Returns the counts of listeners that are gone and have no number any more.
    pub fn ended(&self) -> Counts {
        self.ended
    }

    /// Attaches the program to these interfaces, as names and patterns, and to no others.
    ///
    /// Where it is given up or attached in another way, the sockets answer meanwhile.
    ///
    /// # Errors
    /// The interface that can't have it in the `mode` that is asked for by name; everything is as it was, then.
    pub fn reattach(&mut self, names: &[String], mode: AttachMode) -> Result<(), String> {
        let (old_names, old_mode) = self.interfaces.wanted();
        if (old_names, old_mode) == (names, mode) {
            return Ok(());
        }
        let old_names = old_names.to_vec();
        self.interfaces.want(names, mode);
        self.follow_host(clock::raw());
        let Some(refused) = self.interfaces.refused() else {
            return Ok(());
        };
        self.interfaces.want(&old_names, old_mode);
        self.follow_host(clock::raw());
        Err(format!("fast path: {refused}"))
    }

    /// Follows changes of the host, once a second: interfaces, addresses, rates.
    pub fn follow_host(&mut self, now: Duration) {
        for (number, rate) in self.rates.iter_mut().enumerate() {
            rate.update(now, counts(self.program.counters(), number).received());
        }
        let Ok(host) = addresses::linked_interfaces() else {
            return;
        };
        let mut broadcasts: Vec<Ipv4Addr> = host.iter().flat_map(|one| one.broadcasts.clone()).collect();
        broadcasts.sort_unstable();
        broadcasts.dedup();
        let answers = answers(self.program.cpus());
        self.interfaces.follow(host, &self.program, &answers);
        let devices = self.interfaces.devices();
        let addresses = self.interfaces.local_addresses();
        let network = HostNetwork {
            addresses: &addresses,
            broadcasts: &broadcasts,
            devices: &devices,
        };
        let rules = rules(&self.slots, network, self.secret, self.places);
        if rules != self.rules {
            self.change(rules);
        }
    }

    /// Puts other rules in force.
    ///
    /// The copy that is written may still be read by a run of the program that began before the last change.
    fn change(&mut self, rules: Rules) {
        let known = &self.rules.exclusions;
        for (listener, why) in rules.exclusions.iter().filter(|one| !known.contains(one)) {
            warn!(%listener, "fast path: {listener} is left to the sockets: {why}");
        }
        if sys::wait_grace_period().is_err() {
            // A program takes microseconds; no core is kept from it for this long.
            std::thread::sleep(Duration::from_millis(10));
        }
        self.copy ^= 1;
        let maps = [
            self.program.rules(),
            self.program.boundaries4(),
            self.program.boundaries6(),
        ];
        write_copy(maps, self.copy, &rules);
        self.rules = rules;
        self.refresh();
    }

    /// Serves `reference` from now on; while a leap second is near, only where it is not smeared.
    pub fn publish(&mut self, reference: Reference, is_leap_near: bool) {
        (self.reference, self.is_leap_near) = (Some(reference), is_leap_near);
        self.refresh();
    }

    /// Returns whether there is a time, which has to be published again and again.
    pub fn needs_refresh(&self) -> bool {
        let is_told = |reference: &Reference| reference.is_usable() && reference.answers;
        self.reference.as_ref().is_some_and(is_told)
    }

    /// Counts its clients from now on.
    pub fn begin_census(&mut self, settings: CensusSettings) {
        let census = FastCensus::new(settings, &self.program, clock::raw());
        self.census = Some(census);
    }

    /// Returns the counts of its clients; `None` without a census.
    pub fn census(&self) -> Option<&SampledHistory> {
        self.census.as_ref().map(FastCensus::history)
    }

    /// Returns the time until `now` since a client's last request that was answered here, if its census follows it.
    pub fn last_request(&self, client: IpAddr, now: Duration) -> Option<Duration> {
        self.census.as_ref()?.last_request(client, now)
    }

    /// Whether requests to this listener can be answered here now, by buckets of its own.
    pub fn answers_for(&self, listener: SocketAddr) -> bool {
        let number = self.slots.iter().position(|slot| slot.address == listener);
        self.needs_refresh()
            && self.interfaces.iter().any(|one| one.attachment().is_some())
            && number.is_some_and(|number| self.rules.answers(number))
    }

    /// Publishes the time of this moment, and takes what the census has got.
    pub fn refresh(&mut self) {
        if let Some(census) = &mut self.census {
            census.take(&self.program, self.secret, clock::raw());
        }
        // Before the readings: a step after them ends what they give.
        let steps = steps(self.program.state());
        let published = self.reference.zip(self.readings());
        let segment = published.and_then(|(reference, now)| TimeSegment::new(&reference, &now));
        self.number += 1;
        let publication = match segment {
            None => stop(self.number, self.copy),
            Some(segment) => {
                let cpus = counting_cpus(
                    self.program.cpus(),
                    self.number.saturating_sub(PUBLICATIONS_OF_A_SECOND),
                );
                let allowance = self.share.allowance(REFRESH, cpus);
                let answering = self
                    .rules
                    .answering(segment.variables, self.is_leap_near, allowance);
                segment.publication(self.number, steps, self.copy, answering)
            }
        };
        publish(self.program.state(), &publication);
    }

    fn readings(&mut self) -> Option<AlignedReadings> {
        let now = clock::aligned()?;
        let clocks = (now.clocks.raw, now.clocks.boot);
        let age = clocks.1.saturating_sub(self.clocks.1);
        if age >= SHORTEST_MEASUREMENT {
            self.raw_faster = raw_faster(self.clocks, clocks);
            self.clocks = clocks;
        }
        Some(AlignedReadings {
            raw_faster: self.raw_faster,
            ..now
        })
    }

    /// Reads the counts of each listener.
    pub fn counts(&self) -> impl Iterator<Item = ListenerCounts> {
        let slots = self.slots.iter().zip(&self.rates).enumerate();
        slots.map(|(number, (slot, rate))| {
            let counts = counts(self.program.counters(), number);
            (slot.address, counts, rate.per_second())
        })
    }

    /// Returns the state as `status` shows it, with counts that were read before.
    pub fn status(&self, of_listeners: &[ListenerCounts]) -> FastPathStatus {
        let answers = answers(self.program.cpus());
        let status = |one: &AttachedInterface| {
            let [ipv4, ipv6] = answers.get(one.number).copied().unwrap_or_default();
            let [before4, before6] = one.before;
            let family = |answered: u64, is_wanted: fn(&IpAddr) -> bool| FamilyStatus {
                answered,
                why_none: (answered == 0).then(|| self.why_none(one, is_wanted)),
            };
            InterfaceStatus {
                name: one.name.clone(),
                mode: one.attachment().map(Attachment::name),
                fault: one.fault.clone(),
                ipv4: family(ipv4.saturating_sub(before4), IpAddr::is_ipv4),
                ipv6: family(ipv6.saturating_sub(before6), IpAddr::is_ipv6),
            }
        };
        let counts = of_listeners
            .iter()
            .fold(self.ended, |all, (_, counts, _)| all.plus(*counts));
        FastPathStatus {
            interfaces: self.interfaces.iter().map(status).collect(),
            answered: counts.answered(),
            budget_is_full: self.share.is_with_the_sockets(),
        }
    }

    /// The reason why no request of a family was answered at an interface.
    fn why_none(&self, one: &AttachedInterface, is_wanted: fn(&IpAddr) -> bool) -> &'static str {
        let Some(index) = one.index.filter(|_| one.attachment().is_some()) else {
            return "it is not attached";
        };
        let has = |is_wanted: &dyn Fn(IpAddr) -> bool| {
            has_address(index, self.interfaces.host(), |ip| {
                is_reachable(ip) && is_wanted(ip)
            })
        };
        if !has(&|ip| is_wanted(&ip)) {
            "no address of this host there"
        } else if !has(&|ip| is_wanted(&ip) && self.rules.has_listener(&self.slots, ip)) {
            "no listener there that it answers for"
        } else if !self.needs_refresh() {
            "no time to tell"
        } else {
            "no plain request yet"
        }
    }
}
