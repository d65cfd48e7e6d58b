//! Impure. The driver of the system process (RFC 5905 §11): clocks and reports in, the published time out.

use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::handover::{self, Handover};
use super::pollers::Pollers;
use crate::clock::{ClockModel, Reference, ReferencePublisher, ReferenceReader, published};
use crate::config::Config;
use crate::history::line::Note;
use crate::history::observer::{ServedClock, step};
use crate::history::stamp::Stamp;
use crate::host::names::Names;
use crate::host::{clock, sys};
use crate::leap::LeapTable;
use crate::nts::key_schedule::PeriodClocks;
use crate::observe::clock_status::ClockStatus;
use crate::observe::journal::{self, Journal};
use crate::observe::leap_status::LeapStatus;
use crate::observe::upstream_status::UpstreamStatus;
use crate::time::{NtpDuration, NtpTimestamp};
use crate::upstream::Upstream;
use crate::upstream::filter::View;
use crate::upstream::poller::PollerReport;
use crate::upstream::pool::Pools;
use crate::upstream::pool_resolver::PoolAnswer;
use crate::upstream::registry::{Entry, Registry, UpstreamId};
use crate::upstream::system_process::{ClockEvent, Decision, KernelView, State, SystemProcess};
use crate::wire::{Leap, ReferenceId};

/// The system process, with its inputs and outputs.
pub(super) struct ClockManager {
    pub(super) system: SystemProcess,
    /// The upstreams and what is known of each.
    pub(super) upstreams: Registry,
    /// The upstreams as configured.
    pub(super) configured: Vec<Upstream>,
    /// Those of them that are pools, with their members.
    pub(super) pools: Pools,
    pub(super) pollers: Pollers,
    publisher: ReferencePublisher,
    pub(super) reader: ReferenceReader,
    pub(super) journal: Journal,
    pub(super) decided: Decision,
    /// Time at which the state changed last, by the raw counter.
    state_since: Duration,
    handover: Handover,
    /// Events for the record, since they were taken last.
    events: Vec<Note<'static>>,
}

impl ClockManager {
    /// Decides for the first time, so that no worker lacks a state, and starts all pollers.
    ///
    /// Their results are sent to `reports`, for [`ClockManager::learn`], and the addresses of pools to `answers`, for
    /// [`ClockManager::take_addresses`].
    pub(super) fn new(
        config: &Config,
        leaps: Option<LeapTable>,
        names: Names,
        reporting: (mpsc::Sender<PollerReport>, mpsc::Sender<PoolAnswer>),
        handover: Handover,
    ) -> Self {
        let precision = clock::precision();
        let started = clock::now();
        let mut system = SystemProcess::new(config.clock, leaps, precision, started);
        if let Some(left) = handover.read(started) {
            if system.resume(left, started) {
                info!("continuing with the time of the previous process");
            } else {
                handover::log_unused(&"the configuration does not allow it (clock.max-distance, [local])");
            }
        }
        let first = Reference::unsynchronized(ReferenceId::INIT, precision, ClockModel::Host, started);
        let (publisher, reader) = published(first);
        let mut pollers = Pollers::new(names, (system.scale(), precision), reporting, config);
        let mut pools = Pools::default();
        pools.configure(&config.upstreams, started.raw);
        let upstreams = Registry::new(&pools.upstreams(&config.upstreams));
        pollers.follow(&upstreams, config, View::default(), 0);
        let mut new = Self {
            decided: system.decide(started, &upstreams, kernel_view()),
            state_since: started.raw,
            system,
            upstreams,
            configured: config.upstreams.clone(),
            pools,
            pollers,
            publisher,
            handover,
            reader,
            journal: Journal::default(),
            events: Vec::new(),
        };
        new.decide();
        new
    }

    /// Applies `config` and `leaps`.
    ///
    /// Upstreams that stay keep all that is known of them; what is served changes with the next decision.
    pub(super) fn reconfigure(&mut self, config: &Config, leaps: Option<LeapTable>) {
        self.configured.clone_from(&config.upstreams);
        self.pools.configure(&self.configured, clock::raw());
        self.upstreams
            .reconfigure(&self.pools.upstreams(&self.configured));
        let (view, resample_requests) = self.system.for_pollers();
        self.pollers
            .follow(&self.upstreams, config, view, resample_requests);
        self.system
            .reconfigure(clock::now().raw, config.clock, &self.upstreams);
        self.system.set_leaps(leaps);
    }

    /// Has all names resolved again and all upstreams polled at once; returns them, a line for each.
    pub(super) fn refresh(&mut self) -> Vec<String> {
        self.pollers.refresh();
        self.pools.refresh();
        self.tend_pools(clock::now());
        let all = self.upstreams.in_configured_order().into_iter();
        all.map(|one| format!("upstream {}: polled now", one.settings))
            .collect()
    }

    /// Takes the report of a poller, if its upstream still exists.
    pub(super) fn learn(&mut self, report: PollerReport) {
        let PollerReport { id, peer, polling } = report;
        self.upstreams.update(id, peer, polling);
    }

    /// Decides and publishes. Returns whether there is news for the service manager.
    pub(super) fn decide(&mut self) -> bool {
        self.notice_jumps();
        let now = clock::now();
        let decision = self.system.decide(now, &self.upstreams, kernel_view());
        let smeared = decision.smeared.map(|smeared| smeared.alive_at(now));
        self.publisher
            .publish_both(decision.reference.alive_at(now), smeared);
        self.handover.write(&Reference {
            published: now,
            ..decision.reference
        });
        let vouched = decision.vouched(now, &self.system.scale());
        self.pollers.update(&decision, vouched);
        if let Some(by) = decision.stepped {
            self.events.push(step("served-clock", "stepped", by.to_seconds()));
            warn!(
                seconds = by.to_seconds(),
                "the served time was stepped: its error was too large to be slewed, or another clock is served now"
            );
        }
        self.journal.log_decision(&decision, &self.upstreams, now.raw);
        let what = |decision: &Decision| {
            (
                decision.state,
                decision.reference.stratum,
                decision.reference.reference_id,
            )
        };
        let news = what(&decision) != what(&self.decided);
        if decision.state != self.decided.state {
            self.state_since = now.raw;
        }
        self.decided = decision;
        self.tend_pools(now);
        news
    }

    /// Returns what was published last.
    pub(super) fn published(&self) -> Reference {
        *self.reader.clone().latest()
    }

    /// Returns whether listeners with a smear are served another time than the others, or may be soon.
    pub(super) fn is_leap_near(&self) -> bool {
        self.decided.smeared.is_some()
    }

    /// Sets the list of leap seconds after it was read again.
    pub(super) fn set_leaps(&mut self, leaps: Option<LeapTable>) {
        self.system.set_leaps(leaps);
    }

    /// Whether clients get a time.
    pub(super) fn is_usable(&self) -> bool {
        self.decided.reference.is_usable()
    }

    /// Returns the clocks that the periods of NTS are counted by.
    ///
    /// A local reference is nobody's word for the time.
    pub(super) fn period_clocks(&self) -> PeriodClocks {
        let now = clock::now();
        let is_vouched = self.is_usable() && self.decided.state != State::Local;
        let served = self.decided.reference.clock.served(now);
        PeriodClocks {
            served: is_vouched.then(|| since_1970(served)),
            host: since_1970(now.realtime),
            raw: now.raw,
        }
    }

    /// Returns the time in seconds since 1970: the served one, or the host's where none is vouched for.
    pub(super) fn unix_time(&self) -> i64 {
        let clocks = self.period_clocks();
        let time = clocks.served.unwrap_or(clocks.host);
        i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
    }

    /// Returns what clients get now.
    pub(super) fn clock_status(&self) -> ClockStatus {
        ClockStatus::of(&self.decided, self.state_since, clock::now())
    }

    /// Returns the served time, and how far it is ahead of the local timescale.
    pub(super) fn served_time(&self) -> (Stamp, NtpDuration) {
        let now = clock::now();
        let served = self.decided.reference.clock.served(now);
        (Stamp::of(served), served - self.system.scale().at(now.raw))
    }

    /// Returns the served clock as compared with the host's clocks.
    pub(super) fn served_clock(&self) -> ServedClock {
        let (now, model) = (clock::now(), &self.decided.reference.clock);
        let frequency = match *model {
            ClockModel::Host => None,
            ClockModel::Tracked { rate, .. } => Some(rate),
        };
        ServedClock {
            host_offset: (model.served(now) - now.realtime).to_seconds(),
            frequency,
        }
    }

    /// Returns an upstream, if it is still there.
    pub(super) fn upstream(&self, id: UpstreamId) -> Option<&Entry> {
        self.upstreams.get(id)
    }

    /// Takes an event for the record.
    pub(super) fn note(&mut self, event: Note<'static>) {
        self.events.push(event);
    }

    /// Returns the events since this was called last.
    pub(super) fn take_events(&mut self) -> Vec<Note<'static>> {
        std::mem::take(&mut self.events)
    }

    /// Returns what is known of leap seconds, by the `list`.
    pub(super) fn leap_status(&self, list: Option<&LeapTable>, smearing_listeners: usize) -> LeapStatus {
        let utc = self.decided.reference.clock.served(clock::now());
        LeapStatus::of(list, utc, self.decided.leap_disputed, smearing_listeners)
    }

    /// Returns what is known of each upstream, in the order of the configuration.
    pub(super) fn upstreams(&self) -> Vec<UpstreamStatus> {
        let now = clock::now();
        let clock = &self.decided.reference.clock;
        let served = clock.served(now) - self.system.scale().at(now.raw);
        let all = self.upstreams.in_configured_order().into_iter();
        all.map(|one| UpstreamStatus::of(one, self.decided.standing(one.id), now.raw, served))
            .collect()
    }

    /// Returns the state in half a line.
    pub(super) fn status(&self) -> String {
        journal::status(&self.decided, clock::raw())
    }

    /// Logs the whole state.
    pub(super) fn log_state(&self) {
        self.journal.log_all(&self.decided, &self.upstreams, clock::raw());
    }

    fn notice_jumps(&mut self) {
        let gaps = clock::gaps();
        match self
            .system
            .check_host_clocks(clock::now(), gaps.realtime, gaps.asleep)
        {
            Some(ClockEvent::Slept(time)) => {
                self.events.push(step("host-clock", "slept", time.as_secs_f64()));
                warn!(
                    seconds = time.as_secs_f64(),
                    "the host was suspended, or its clocks jumped far apart: all samples are discarded, and upstreams are polled again"
                );
            }
            Some(ClockEvent::Jumped(by)) => {
                self.events.push(step("host-clock", "jumped", by.as_secs_f64()));
                warn!(
                    seconds = by.as_secs_f64(),
                    "the host's clocks jumped relative to each other: the maximum error of all earlier samples grows by as much"
                );
            }
            Some(ClockEvent::Stepped(by)) => {
                self.events.push(step("host-clock", "stepped", by.as_secs_f64()));
                warn!(seconds = by.as_secs_f64(), "the host's clock was stepped");
            }
            None => {}
        }
    }
}

/// Returns the time since 1970: of the times that the 64 bits can mean, the one from 2020 to 2156.
fn since_1970(time: NtpTimestamp) -> Duration {
    const MIDDLE: i64 = 1_577_836_800 + (1 << 31);
    Duration::from_secs(u64::try_from(time.to_unix_near(MIDDLE)).unwrap_or_default())
}

/// Reads the kernel's view of the host's clock; `None` if a filter forbids it.
fn kernel_view() -> Option<KernelView> {
    let clock = sys::kernel_clock().ok()?;
    let leap = match (clock.insert_second, clock.delete_second) {
        (true, false) => Leap::AddSecond,
        (false, true) => Leap::DeleteSecond,
        (true, true) | (false, false) => Leap::NoWarning,
    };
    Some(KernelView {
        leap,
        in_leap_second: clock.in_leap_second,
    })
}
