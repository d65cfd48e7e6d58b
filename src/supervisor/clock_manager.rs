//! Impure. Drives the system process (RFC 5905 §11): reads the clocks, hands it the reports of the pollers, and publishes what it
//! decides.

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::handover::{self, Handover};
use super::pollers::Pollers;
use crate::clock::{ClockModel, Reference, ReferencePublisher, ReferenceReader, published};
use crate::config::Config;
use crate::host::names::Names;
use crate::host::{clock, sys};
use crate::observe::clock_status::ClockStatus;
use crate::observe::journal::{self, Journal};
use crate::observe::upstream_status::UpstreamStatus;
use crate::upstream::filter::View;
use crate::upstream::leap::LeapTable;
use crate::upstream::poller::PollerReport;
use crate::upstream::registry::Registry;
use crate::upstream::system_process::{ClockEvent, Decision, KernelView, SystemProcess};
use crate::wire::{Leap, ReferenceId};

/// The system process, with all that it is fed from and published to.
pub(super) struct ClockManager {
    system: SystemProcess,
    /// What is known of each upstream.
    upstreams: Registry,
    pollers: Pollers,
    publisher: ReferencePublisher,
    pub(super) reader: ReferenceReader,
    pub(super) journal: Journal,
    decided: Decision,
    handover: Handover,
}

impl ClockManager {
    /// Decides for the first time, so that no worker ever lacks a state, and lets all upstreams be asked. What they
    /// answer is sent to `reports`, to be learned.
    pub(super) fn new(
        config: &Config,
        leaps: Option<LeapTable>,
        names: Names,
        reports: mpsc::Sender<PollerReport>,
        handover: Handover,
    ) -> Self {
        let precision = clock::precision();
        let started = clock::now();
        let mut system = SystemProcess::new(config.clock, leaps, precision, started);
        if let Some(left) = handover.read(started) {
            if system.resume(left, started) {
                info!("the clock goes on where the last process left it");
            } else {
                handover::refuse(&"the configuration allows no such time (clock.max-distance, [local])");
            }
        }
        let first = Reference::unsynchronized(ReferenceId::INIT, precision, ClockModel::Host, started);
        let (publisher, reader) = published(first);
        let mut pollers = Pollers::new(names, system.scale(), precision, reports);
        let upstreams = Registry::new(&config.upstreams);
        pollers.follow(&upstreams, config, View::default(), 0);
        let mut new = Self {
            decided: system.decide(started, &upstreams, kernel_view()),
            system,
            upstreams,
            pollers,
            publisher,
            handover,
            reader,
            journal: Journal::default(),
        };
        new.decide();
        new
    }

    /// From now on believes, asks and tells as `config` and `leaps` say. Upstreams that stay keep all that is known of
    /// them; what is served changes with the next decision.
    pub(super) fn reconfigure(&mut self, config: &Config, leaps: Option<LeapTable>) {
        self.upstreams.reconfigure(&config.upstreams);
        let (view, resample_requests) = self.system.for_pollers();
        self.pollers
            .follow(&self.upstreams, config, view, resample_requests);
        self.system
            .reconfigure(clock::now().raw, config.clock, &self.upstreams);
        self.system.set_leaps(leaps);
    }

    /// Takes the report of a poller, if its upstream is still there.
    pub(super) fn learn(&mut self, report: PollerReport) {
        let PollerReport { id, peer, polling } = report;
        self.upstreams.update(id, peer, polling);
    }

    /// Decides anew and publishes. Is there news for the service manager?
    pub(super) fn decide(&mut self) -> bool {
        self.notice_jumps();
        let now = clock::now();
        let decision = self.system.decide(now, &self.upstreams, kernel_view());
        self.publisher.publish(decision.reference.alive_at(now));
        self.handover.write(&Reference {
            published: now,
            ..decision.reference
        });
        self.pollers.update(decision.view, decision.resample_requests);
        if let Some(by) = decision.stepped {
            warn!(
                seconds = by.to_seconds(),
                "the served time was stepped: too far off to be slewed, or another clock is served"
            );
        }
        self.journal.tell(&decision, &self.upstreams, now.raw);
        let what = |decision: &Decision| {
            (
                decision.state,
                decision.reference.stratum,
                decision.reference.reference_id,
            )
        };
        let news = what(&decision) != what(&self.decided);
        self.decided = decision;
        news
    }

    /// What was published last.
    pub(super) fn published(&self) -> Reference {
        *self.reader.clone().latest()
    }

    /// The list of leap seconds has been read again.
    pub(super) fn set_leaps(&mut self, leaps: Option<LeapTable>) {
        self.system.set_leaps(leaps);
    }

    /// Are clients told a time?
    pub(super) fn is_usable(&self) -> bool {
        self.decided.reference.is_usable()
    }

    /// What clients are told now.
    pub(super) fn clock_status(&self) -> ClockStatus {
        ClockStatus::of(&self.decided, clock::now())
    }

    /// What is known of each upstream, in the order of the configuration.
    pub(super) fn upstreams(&self) -> Vec<UpstreamStatus> {
        let now = clock::now();
        let clock = &self.decided.reference.clock;
        let served = clock.served(now) - self.system.scale().at(now.raw);
        let all = self.upstreams.in_configured_order().into_iter();
        all.map(|one| UpstreamStatus::of(one, self.decided.standing(one.id), now.raw, served))
            .collect()
    }

    /// What we believe, in half a line.
    pub(super) fn status(&self) -> String {
        journal::status(&self.decided, clock::raw())
    }

    /// Everything that we believe and know, into the log.
    pub(super) fn tell(&self) {
        self.journal
            .tell_all(&self.decided, &self.upstreams, clock::raw());
    }

    fn notice_jumps(&mut self) {
        let gaps = clock::gaps();
        match self
            .system
            .check_host_clocks(clock::now(), gaps.realtime, gaps.asleep)
        {
            Some(ClockEvent::Slept(time)) => {
                warn!(
                    seconds = time.as_secs_f64(),
                    "the host slept, or its clocks jumped far against each other: all samples are void, and new ones are asked for"
                );
            }
            Some(ClockEvent::Jumped(by)) => {
                warn!(
                    seconds = by.as_secs_f64(),
                    "the host's clocks jumped against each other: all samples from before are uncertain by as much"
                );
            }
            Some(ClockEvent::Stepped(by)) => {
                warn!(seconds = by.as_secs_f64(), "the host's clock was stepped");
            }
            None => {}
        }
    }
}

/// The kernel's word on the host's clock; none where a filter forbids to ask.
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
