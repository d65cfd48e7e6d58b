//! Impure. The kernel's fast path: loads the program, keeps it attached, and tells it what time it is and who is answered.
//!
//! After the start it needs no right any more: what it tells is written to memory, and to attach the program again takes
//! the program alone.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::listeners::RateMeter;
use super::start_error::StartError;
use crate::clock::Reference;
use crate::config::Config;
use crate::fast::{
    CELLS, CLIENTS_A_PLACE, Device, LISTENERS, Own, RULES, Rules, STATE, Seat, Site, TURNS4, TURNS6, counted,
    lay_down, line, publish, raw_faster, rules, silence,
};
use crate::host::addresses::{self, Interface};
use crate::host::xdp::{Link, Program, Sizes};
use crate::host::xdp_mode::{Attached, Mode};
use crate::host::{clock, entropy, limits, sys};
use crate::observe::snapshot::{FastPathStatus, InterfaceStatus};
use crate::server::policy::RuleMode;
use crate::server::{Counts, Listener};
use crate::time::AlignedReadings;

/// How often the time is told anew: the shorter, the less the announced error grows meanwhile (`fast::line`).
pub(super) const REFRESH: Duration = Duration::from_millis(5);
/// Over so long at least it is measured how the raw counter runs.
const PACE: Duration = Duration::from_millis(50);
const NOWHERE: Site<'_> = Site {
    own: &[],
    broadcasts: &[],
    devices: &[],
};
/// Clients that the program remembers at most, in 32 bytes each.
const MOST_CLIENTS: u32 = 4_194_304;

/// The program and all that it was told.
pub(super) struct FastPath {
    program: Program,
    mode: Mode,
    secret: [u64; 2],
    places: u32,
    wires: Vec<Wire>,
    /// By number. One that is gone keeps its counts, and gets its number again if it comes back.
    seats: Vec<Seat>,
    paces: Vec<RateMeter>,
    rules: Rules,
    /// The copy of the rules that is in force, and the number of the last publication.
    copy: u32,
    number: u64,
    reference: Option<Reference>,
    /// The raw counter and the monotonic clock as they were, and how they ran since.
    clocks: (Duration, Duration),
    raw_faster: Option<f64>,
}

/// An interface that was asked for.
struct Wire {
    name: String,
    device: Option<Device>,
    link: Option<(Link, Attached)>,
    /// Why it is not attached, as the log knows it.
    fault: Option<String>,
}

impl FastPath {
    /// Loads and attaches the program, if the configuration wants it, for those listeners that are open; nothing is answered
    /// before the first publication. Needs the rights of the start.
    ///
    /// # Errors
    /// A mode that was asked for by name can't be had.
    pub(super) fn open(
        config: &Config,
        is_open: impl Fn(&SocketAddr) -> bool,
    ) -> Result<Option<Self>, StartError> {
        let wanted = &config.fast_path;
        if wanted.interfaces.is_empty() {
            return Ok(None);
        }
        let failed = |why: String| match wanted.mode {
            Mode::Auto => {
                warn!("fast path: {why}; the sockets answer alone");
                Ok(None)
            }
            Mode::Native | Mode::Generic => Err(StartError::FastPath(why)),
        };
        let places = clients(&config.listeners).div_ceil(CLIENTS_A_PLACE);
        let program = match Program::load(SIZES, places) {
            Ok(program) => program,
            Err(error) => return failed(error.to_string()),
        };
        let random = || entropy::random().map_err(StartError::system("get randomness"));
        let wire = |name: &String| Wire {
            name: name.clone(),
            device: None,
            link: None,
            fault: None,
        };
        let secret = [random()?, random()?];
        let mut fast = Self {
            program,
            mode: wanted.mode,
            secret,
            places,
            wires: wanted.interfaces.iter().map(wire).collect(),
            seats: Vec::new(),
            paces: Vec::new(),
            rules: rules(&[], NOWHERE, secret, places),
            copy: 0,
            number: 0,
            reference: None,
            clocks: Default::default(),
            raw_faster: None,
        };
        fast.serve(config.listeners.iter().filter(|one| is_open(&one.address)));
        let fault = fast
            .wires
            .iter()
            .find(|wire| wire.device.is_some() && wire.link.is_none());
        if let Some(fault) = fault.filter(|_| wanted.mode != Mode::Auto) {
            let why = fault.fault.clone().unwrap_or_default();
            return failed(format!("{}: {why}", fault.name));
        }
        Ok(Some(fast))
    }

    /// From now on these `listeners` are served, and no others.
    pub(super) fn serve<'a>(&mut self, listeners: impl Iterator<Item = &'a Listener> + Clone) {
        self.seats.iter_mut().for_each(|seat| seat.policy = None);
        for listener in listeners.clone() {
            let policy = Some(Arc::clone(&listener.policy));
            let seat = self
                .seats
                .iter_mut()
                .find(|seat| seat.address == listener.address);
            if let Some(seat) = seat {
                seat.policy = policy;
            } else {
                self.seats.push(Seat {
                    address: listener.address,
                    policy,
                });
                self.paces.push(RateMeter::default());
            }
        }
        if clients(listeners).div_ceil(CLIENTS_A_PLACE) > self.places {
            warn!("fast path: limit.clients: only a restart makes room for more clients");
        }
        self.look(clock::raw());
    }

    /// Looks at all that changes by itself, once a second: interfaces, addresses, rates.
    pub(super) fn look(&mut self, now: Duration) {
        for (number, pace) in self.paces.iter_mut().enumerate() {
            pace.look(now, counted(self.program.counters(), number).received());
        }
        let Ok(interfaces) = addresses::interfaces() else {
            return;
        };
        for wire in &mut self.wires {
            wire.look(&interfaces, &self.program, self.mode);
        }
        let devices: Vec<Device> = self.wires.iter().filter_map(|wire| wire.device).collect();
        let own = self.own(&interfaces);
        let mut broadcasts: Vec<Ipv4Addr> = interfaces
            .iter()
            .flat_map(|one| one.broadcasts.iter().copied())
            .collect();
        broadcasts.sort_unstable();
        broadcasts.dedup();
        let site = Site {
            own: &own,
            broadcasts: &broadcasts,
            devices: &devices,
        };
        let rules = rules(&self.seats, site, self.secret, self.places);
        if rules != self.rules {
            self.change(rules);
        }
    }

    /// The addresses that are ours, those of our own wires first.
    fn own(&self, interfaces: &[Interface]) -> Vec<Own> {
        let of_wires =
            |one: &Interface| one.is_loopback || self.wires.iter().any(|wire| wire.name == one.name);
        let all = interfaces.iter().flat_map(|one| {
            let tagged = !of_wires(one);
            one.addresses.iter().map(move |ip| Own { tagged, ip: *ip })
        });
        let mut own: Vec<Own> = all.collect();
        own.sort_unstable();
        own.dedup();
        own
    }

    /// Puts other rules in force. The copy that is written may still be read by who began before the last change.
    fn change(&mut self, rules: Rules) {
        for fault in rules
            .left_out
            .iter()
            .filter(|fault| !self.rules.left_out.contains(fault))
        {
            let (listener, why) = fault;
            warn!(%listener, "fast path: {listener} is left to the sockets: {why}");
        }
        if sys::wait_grace_period().is_err() {
            // A program takes microseconds; no core is kept from it for this long.
            std::thread::sleep(Duration::from_millis(10));
        }
        self.copy ^= 1;
        let maps = [self.program.rules(), self.program.turns4(), self.program.turns6()];
        lay_down(maps, self.copy, &rules);
        self.rules = rules;
        self.refresh();
    }

    /// From now on this is served.
    pub(super) fn publish(&mut self, reference: Reference) {
        self.reference = Some(reference);
        self.refresh();
    }

    /// Is there a time, which has to be told again and again?
    pub(super) fn needs_refresh(&self) -> bool {
        let is_told = |reference: &Reference| reference.is_usable() && reference.answers;
        self.reference.as_ref().is_some_and(is_told)
    }

    /// Tells the time anew.
    pub(super) fn refresh(&mut self) {
        let told = self.reference.zip(self.readings());
        let line = told.and_then(|(reference, now)| line(&reference, &now));
        self.number += 1;
        let words = match line {
            None => silence(self.number, self.copy),
            Some(line) => line.words(self.number, self.copy, self.rules.answering(line.variables)),
        };
        publish(self.program.state(), &words);
    }

    fn readings(&mut self) -> Option<AlignedReadings> {
        let now = clock::aligned()?;
        let clocks = (now.clocks.raw, now.monotonic);
        let age = clocks.1.saturating_sub(self.clocks.1);
        if age >= PACE {
            self.raw_faster = raw_faster(self.clocks, clocks);
            self.clocks = clocks;
        }
        Some(AlignedReadings {
            raw_faster: self.raw_faster,
            ..now
        })
    }

    /// What was done for each listener since the start, and how many requests a second come to it.
    pub(super) fn done(&self) -> impl Iterator<Item = (SocketAddr, Counts, f64)> {
        let seats = self.seats.iter().zip(&self.paces).enumerate();
        seats.map(|(number, (seat, pace))| {
            let counts = counted(self.program.counters(), number);
            (seat.address, counts, pace.per_second())
        })
    }

    /// As `status` shows it.
    pub(super) fn status(&self) -> FastPathStatus {
        let status = |wire: &Wire| InterfaceStatus {
            name: wire.name.clone(),
            mode: wire.link.as_ref().map(|(_, attached)| attached.name()),
        };
        let counts = self
            .done()
            .map(|(_, counts, _)| counts)
            .fold(Counts::default(), Counts::plus);
        FastPathStatus {
            interfaces: self.wires.iter().map(status).collect(),
            answered: counts.answered(),
        }
    }
}

impl Wire {
    /// Attaches the program where the interface is new; what was attached to one that is gone is gone with it.
    fn look(&mut self, interfaces: &[Interface], program: &Program, mode: Mode) {
        let found = interfaces.iter().find(|one| one.name == self.name);
        let device = found.map(|one| Device {
            index: one.index,
            address: one.hardware,
        });
        if device.map(|device| device.index) != self.device.map(|device| device.index) {
            self.link = None;
        }
        self.device = device;
        let Some(device) = device else {
            return self.say("there is no such interface; it is looked for each second");
        };
        if self.link.is_some() {
            return;
        }
        match program.attach(device.index, mode) {
            Ok((link, attached)) => {
                let (interface, how) = (&self.name, attached.name());
                info!(interface, how, "fast path: {interface}: attached ({how})");
                if mode == Mode::Auto && attached == Attached::Generic {
                    warn!(
                        interface,
                        "fast path: {interface}: its driver can't do it natively: about half as fast"
                    );
                }
                self.link = Some((link, attached));
                self.fault = None;
            }
            Err(error) => {
                let why = limits::shortage(&error).unwrap_or_else(|| format!("{error}: {}", remedy(&error)));
                self.say(&format!("cannot attach ({}): {why}", mode.name()));
            }
        }
    }

    /// Each news once.
    fn say(&mut self, fault: &str) {
        if self.fault.as_deref() != Some(fault) {
            warn!(interface = self.name, "fast path: {}: {fault}", self.name);
            self.fault = Some(fault.to_owned());
        }
    }
}

/// What to do about a program that the kernel doesn't attach.
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

const SIZES: Sizes = Sizes {
    state: STATE,
    rules: RULES,
    turns4: TURNS4,
    turns6: TURNS6,
    cells: CELLS,
    listeners: LISTENERS,
};

/// How many clients are to be remembered; room for a few in any case, as a reload may turn limits on.
pub(super) fn clients<'a>(listeners: impl IntoIterator<Item = &'a Listener>) -> u32 {
    let limits = listeners.into_iter().map(|listener| &listener.policy.limit);
    let wanted = limits
        .filter(|limit| limit.mode != RuleMode::Off)
        .map(|limit| limit.clients);
    wanted.max().unwrap_or(65_536).min(MOST_CLIENTS)
}
