//! Impure. Loads the program, keeps it attached, and publishes the time and the rules to it.
//!
//! After the start it needs no privilege any more: the time and the rules are written to memory, and to attach the
//! program again takes the program alone.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::devices::{Device, devices};
use super::layout::CLIENTS_PER_PLACE;
use super::loader::{Link, Program};
use super::maps::{counts, publish, steps, write_copy};
use super::mode::{AttachMode, Attachment};
use super::rules::{HostNetwork, ListenerSlot, LocalAddress, Rules, client_capacity, rules};
use super::step_watch::StepWatch;
use super::time_segment::{TimeSegment, raw_faster, stop};
use crate::clock::Reference;
use crate::host::addresses::{self, Interface};
use crate::host::{clock, entropy, limits, sys};
use crate::observe::snapshot::{FastPathStatus, InterfaceStatus};
use crate::server::{Counts, Listener};
use crate::time::AlignedReadings;
use crate::time::RateMeter;

/// The time between two publications: the shorter, the less the announced error grows meanwhile (`time_segment`).
pub const REFRESH: Duration = Duration::from_millis(5);
/// The least time over which the rate of the raw counter is measured.
const SHORTEST_MEASUREMENT: Duration = Duration::from_millis(50);
const NOWHERE: HostNetwork<'_> = HostNetwork {
    addresses: &[],
    broadcasts: &[],
    devices: &[],
};

/// The program, and all that was published to it.
#[derive(Debug)]
pub struct Driver {
    program: Program,
    /// Until a thread takes it.
    step_watch: Option<StepWatch>,
    mode: AttachMode,
    secret: [u64; 2],
    places: u32,
    interfaces: Vec<AttachedInterface>,
    /// Ports of bonds beyond what the program has room for.
    ports_without_room: usize,
    /// The listeners by number. One that is gone keeps its counts, and gets its number again if it comes back.
    slots: Vec<ListenerSlot>,
    rates: Vec<RateMeter>,
    rules: Rules,
    /// The copy of the rules that is in force, and the number of the last publication.
    copy: u32,
    number: u64,
    reference: Option<Reference>,
    /// Whether a leap second is near: listeners that smear it are left to the sockets meanwhile.
    is_leap_near: bool,
    /// The raw counter and the time since boot as they were, and how they ran since.
    clocks: (Duration, Duration),
    raw_faster: Option<f64>,
}

/// An interface that was asked for.
#[derive(Debug)]
struct AttachedInterface {
    name: String,
    device: Option<Device>,
    link: Option<(Link, Attachment)>,
    /// The reason why it is not attached, as the log knows it.
    fault: Option<String>,
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
            mode,
            secret,
            places,
            interfaces: interfaces
                .iter()
                .map(|name| AttachedInterface::new(name))
                .collect(),
            ports_without_room: 0,
            slots: Vec::new(),
            rates: Vec::new(),
            rules: rules(&[], NOWHERE, secret, places),
            copy: 0,
            number: 0,
            reference: None,
            is_leap_near: false,
            clocks: Default::default(),
            raw_faster: None,
        };
        driver.serve(listeners);
        let refused = driver
            .interfaces
            .iter()
            .find(|one| one.device.is_some() && one.link.is_none());
        if let Some(refused) = refused.filter(|_| mode != AttachMode::Auto) {
            let why = refused.fault.clone().unwrap_or_default();
            return failed(format!("{}: {why}", refused.name));
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
        for listener in listeners.clone() {
            let policy = Some(Arc::clone(&listener.policy));
            let mut slots = self.slots.iter_mut();
            if let Some(slot) = slots.find(|slot| slot.address == listener.address) {
                slot.policy = policy;
            } else {
                self.slots.push(ListenerSlot {
                    address: listener.address,
                    policy,
                });
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

    /// Follows changes of the host, once a second: interfaces, addresses, rates.
    pub fn follow_host(&mut self, now: Duration) {
        for (number, rate) in self.rates.iter_mut().enumerate() {
            rate.update(now, counts(self.program.counters(), number).received());
        }
        let Ok(interfaces) = addresses::interfaces() else {
            return;
        };
        for one in &mut self.interfaces {
            one.follow(&interfaces, &self.program, self.mode);
        }
        let devices = self.devices(&interfaces);
        let addresses = self.local_addresses(&interfaces);
        let mut broadcasts: Vec<Ipv4Addr> = interfaces
            .iter()
            .flat_map(|one| one.broadcasts.iter().copied())
            .collect();
        broadcasts.sort_unstable();
        broadcasts.dedup();
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

    /// The devices where frames arrive for the program; it warns if there is no room for all.
    fn devices(&mut self, interfaces: &[Interface]) -> Vec<Device> {
        let named: Vec<Device> = self.interfaces.iter().filter_map(|one| one.device).collect();
        let ports: Vec<Device> = interfaces.iter().filter(|one| one.is_port).map(device).collect();
        let (devices, without_room) = devices(&named, &ports);
        if without_room > self.ports_without_room {
            warn!(
                "fast path: {without_room} ports of bonds are left to the sockets: there are too many interfaces"
            );
        }
        self.ports_without_room = without_room;
        devices
    }

    /// The addresses of this host, those of the attached interfaces first.
    fn local_addresses(&self, interfaces: &[Interface]) -> Vec<LocalAddress> {
        let is_attached =
            |one: &Interface| one.is_loopback || self.interfaces.iter().any(|named| named.name == one.name);
        let all = interfaces.iter().flat_map(|one| {
            let tagged = !is_attached(one);
            one.addresses
                .iter()
                .map(move |ip| LocalAddress { tagged, ip: *ip })
        });
        let mut addresses: Vec<LocalAddress> = all.collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
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

    /// Publishes the time of this moment.
    pub fn refresh(&mut self) {
        // Before the readings: a step after them ends what they give.
        let steps = steps(self.program.state());
        let published = self.reference.zip(self.readings());
        let segment = published.and_then(|(reference, now)| TimeSegment::new(&reference, &now));
        self.number += 1;
        let publication = match segment {
            None => stop(self.number, self.copy),
            Some(segment) => {
                let answering = self.rules.answering(segment.variables, self.is_leap_near);
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

    /// Returns the counts of each listener since the start, and its rate of requests a second.
    pub fn counts(&self) -> impl Iterator<Item = (SocketAddr, Counts, f64)> {
        let slots = self.slots.iter().zip(&self.rates).enumerate();
        slots.map(|(number, (slot, rate))| {
            let counts = counts(self.program.counters(), number);
            (slot.address, counts, rate.per_second())
        })
    }

    /// Returns the state as `status` shows it.
    pub fn status(&self) -> FastPathStatus {
        let status = |one: &AttachedInterface| InterfaceStatus {
            name: one.name.clone(),
            mode: one.link.as_ref().map(|(_, attachment)| attachment.name()),
        };
        let counts = self
            .counts()
            .map(|(_, counts, _)| counts)
            .fold(Counts::default(), Counts::plus);
        FastPathStatus {
            interfaces: self.interfaces.iter().map(status).collect(),
            answered: counts.answered(),
        }
    }
}

impl AttachedInterface {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            device: None,
            link: None,
            fault: None,
        }
    }

    /// Attaches the program where the interface is new; a link to one that is gone is gone with it.
    fn follow(&mut self, interfaces: &[Interface], program: &Program, mode: AttachMode) {
        let found = interfaces.iter().find(|one| one.name == self.name);
        let device = found.map(device);
        if device.map(|device| device.index) != self.device.map(|device| device.index) {
            self.link = None;
        }
        self.device = device;
        let Some(device) = device else {
            return self.warn_once("there is no such interface; it is looked for each second");
        };
        if self.link.is_some() {
            return;
        }
        match program.attach(device.index, mode) {
            Ok((link, attachment)) => {
                let (interface, how) = (&self.name, attachment.name());
                info!(interface, how, "fast path: {interface}: attached ({how})");
                if mode == AttachMode::Auto && attachment == Attachment::Generic {
                    warn!(
                        interface,
                        "fast path: {interface}: its driver can't do it natively: about half as fast"
                    );
                }
                self.link = Some((link, attachment));
                self.fault = None;
            }
            Err(error) => {
                let why = limits::shortage(&error).unwrap_or_else(|| format!("{error}: {}", remedy(&error)));
                self.warn_once(&format!("cannot attach ({}): {why}", mode.name()));
            }
        }
    }

    /// Each fault once.
    fn warn_once(&mut self, fault: &str) {
        if self.fault.as_deref() != Some(fault) {
            warn!(interface = self.name, "fast path: {}: {fault}", self.name);
            self.fault = Some(fault.to_owned());
        }
    }
}

fn device(interface: &Interface) -> Device {
    Device {
        index: interface.index,
        address: interface.hardware,
    }
}

/// Returns the remedy for a program that the kernel doesn't attach.
fn remedy(error: &io::Error) -> &'static str {
    let kind = error.kind();
    if [ErrorKind::ResourceBusy, ErrorKind::AlreadyExists].contains(&kind) {
        "another XDP program is there (`ip link` shows it): take it away, or leave the interface out"
    } else if kind == ErrorKind::Unsupported {
        "its driver can't: try mode = \"auto\" or \"generic\""
    } else {
        "the sockets answer there"
    }
}
