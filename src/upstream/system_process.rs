//! Pure. From what the upstreams say to what we announce: the system process (RFC 5905 §11).
//!
//! Two clocks can be served. `system` is the host's time of day, kept by somebody else: a daemon on this host that
//! keeps it is mirrored, all other upstreams are witnesses. `tracked` is our own: time as a linear function of the
//! raw counter, steered after what is believed, whatever happens to the host's time of day.
//!
//! [`SystemProcess::decide`] is the straight line: `selection` (which upstreams agree; `aliases`: which count once), then
//! `synchronize` and `announce` with an error that covers what a majority allows (`correctness`), or `holdover`, or `dispute`, for a
//! `shortage` that is told; around it `leap_transition`, `clock_events` (steps and sleeps of the host) and `reload`.

mod aliases;
mod announce;
mod clock_events;
mod correctness;
mod dispute;
mod holdover;
mod leap_transition;
mod policy;
mod reload;
mod selection;
mod shortage;
mod synchronize;

use std::time::Duration;

use super::candidate::{SelectionStatus, SelectionStatuses};
use super::filter::{LeapShift, View};
use super::leap::LeapTable;
use super::registry::{Registry, UpstreamId};
use crate::clock::{ClockModel, Reference};
use crate::time::{ClockReadings, NtpDuration, NtpTimestamp, Timescale};
use crate::wire::{Leap, ReferenceId};

use aliases::Aliases;
pub use clock_events::ClockEvent;
use clock_events::ClockWatch;
use correctness::TruthInterval;
use leap_transition::LeapWatch;
pub use policy::{ClockPolicy, ClockSource, LocalReference, OnDispute, State};
use selection::Selection;
pub use shortage::SourceShortage;

/// What a served clock may move by when another one takes its place, without being said to be stepped: rounding.
const CONTINUOUS: NtpDuration = NtpDuration::from_units((1 << 32) / 1_000_000);

/// What the kernel says of the host's clock: a second witness beside the upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelView {
    /// The leap second that its keeper has announced to it.
    pub leap: Leap,
    /// An inserted second is going on: the time of day says the last one again.
    pub in_leap_second: bool,
}

/// When all upstreams were asked the last time because nothing was known.
#[derive(Clone, Copy, Debug)]
struct Gathering {
    since: Duration,
    /// They were asked before, so that their addresses are known.
    known: bool,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What to announce.
    pub reference: Reference,
    /// Where the served time stands.
    pub state: State,
    /// Why it is not synchronized, if it is not.
    pub shortage: Option<SourceShortage>,
    /// Which clock is served: [`ClockSource::System`] or [`ClockSource::Tracked`].
    pub source: ClockSource,
    /// The configuration says so, and not what the upstreams are.
    pub source_configured: bool,
    /// What each upstream is worth.
    pub standings: SelectionStatuses,
    /// By how much the served clock was stepped now, if it was.
    pub stepped: Option<NtpDuration>,
    /// How samples from before a leap second, a sleep or a jump count, which who measures must know of.
    pub view: View,
    /// How often samples were wanted at once so far: what was known is old, or has to be settled quickly.
    pub resample_requests: u64,
}

impl Decision {
    /// What the upstream with this identity is worth; nothing is known of one that came after the decision.
    pub fn standing(&self, id: UpstreamId) -> SelectionStatus {
        self.standings
            .get(&id)
            .copied()
            .unwrap_or(SelectionStatus::Unknown)
    }
}

/// The memory of the system process between two decisions.
#[derive(Clone, Debug)]
pub struct SystemProcess {
    policy: ClockPolicy,
    precision: i8,
    scale: Timescale,
    state: State,
    shortage: Option<SourceShortage>,
    reference: Reference,
    system_peer: Option<UpstreamId>,
    /// Who has been much nearer than the system peer, and since when.
    rival: Option<(UpstreamId, Duration)>,
    /// When an upstream was last usable, or we started: from then on `LocalReference::wait` counts.
    usable_at: Duration,
    /// None of those that are asked is believed yet: the first to answer is not believed for that.
    none_believed: bool,
    gathering: Gathering,
    /// Those who agreed when a majority was last believed.
    believed: Vec<UpstreamId>,
    /// When the host's clock was last stepped: what was known of it before is void.
    stepped_at: Duration,
    view: View,
    /// The dispute that is going on: how many samples each candidate had when it began.
    dispute: Option<Vec<(UpstreamId, u64)>>,
    /// What upstreams told of when their clocks were set.
    aliases: Aliases,
    /// Those who were no outliers the last time.
    survived: Vec<UpstreamId>,
    /// The list of leap seconds, if there is one.
    leaps: Option<LeapTable>,
    /// How many samples all upstreams gave so far.
    samples_seen: u64,
    /// Where the truth can be as a majority said last, and after how many samples, the newest of each of them.
    truth: Option<TruthInterval>,
    truth_samples: (u64, Vec<(UpstreamId, Duration)>),
    /// The newest sample that the time was corrected by: when it was, and the time then.
    updated: Option<(Duration, NtpTimestamp)>,
    /// The leap second that is announced: when it happens, and by how much UTC is shifted then.
    pending_leap: Option<LeapShift>,
    /// The next leap second that somebody warns of, or the last one until it is settled.
    leap_watch: Option<LeapWatch>,
    /// How often new samples were wanted at once, when that was last, and when last for a dispute.
    resample_requests: u64,
    resampled_at: Option<Duration>,
    dispute_resampled_at: Option<Duration>,
    /// How the host's clocks stood to each other when last looked at.
    clocks: Option<ClockWatch>,
}

impl SystemProcess {
    /// Nothing is known yet at `started`. `precision` is the host clock's, log2 seconds.
    pub fn new(policy: ClockPolicy, leaps: Option<LeapTable>, precision: i8, started: ClockReadings) -> Self {
        let reference = Reference::unsynchronized(ReferenceId::INIT, precision, ClockModel::Host, started);
        Self {
            policy,
            precision,
            scale: Timescale::new(started),
            state: State::Init,
            shortage: None,
            reference,
            system_peer: None,
            rival: None,
            usable_at: started.raw,
            none_believed: true,
            gathering: Gathering {
                since: started.raw,
                known: false,
            },
            believed: Vec::new(),
            stepped_at: Duration::ZERO,
            view: View::default(),
            dispute: None,
            aliases: Aliases::default(),
            survived: Vec::new(),
            leaps,
            samples_seen: 0,
            truth: None,
            truth_samples: (0, Vec::new()),
            updated: None,
            pending_leap: None,
            leap_watch: None,
            resample_requests: 0,
            resampled_at: None,
            dispute_resampled_at: None,
            clocks: None,
        }
    }

    /// The local timescale, against which all samples are to be measured.
    pub fn scale(&self) -> Timescale {
        self.scale
    }

    /// Decides anew, from what is known of the `upstreams` at `now`, and what the kernel says of the host's clock if it may be
    /// asked.
    pub fn decide(
        &mut self,
        now: ClockReadings,
        upstreams: &Registry,
        kernel: Option<KernelView>,
    ) -> Decision {
        self.apply_leap(now.raw);
        self.samples_seen = upstreams.iter().map(|one| one.peer.accepted).sum();
        self.aliases.observe(upstreams);
        let (candidates, mut standings) = self.candidates(upstreams, now.raw);
        let source = self.source(upstreams);
        let before = self.announced_clock();
        let selection = self.select(now, &candidates, upstreams, source, &mut standings);
        if self.suspend_for_leap(now, upstreams, &candidates) {
            return self.decided(now, source, standings, before);
        }
        match selection {
            Selection::Believe(majority) => {
                (self.dispute, self.none_believed) = (None, false);
                self.believed = majority.believed.iter().map(|one| one.id).collect();
                self.synchronize(now, source, &majority, &mut standings);
            }
            Selection::Nobody(shortage) => {
                (self.dispute, self.shortage) = (None, Some(shortage));
                self.hold_over(now, upstreams.is_empty());
            }
            Selection::Contradiction(majority, shortage) => {
                self.shortage = Some(shortage);
                self.handle_dispute(now, &candidates, upstreams, majority.as_ref(), &mut standings);
            }
        }
        if let Some(kernel) = kernel
            && self.reference.clock == ClockModel::Host
        {
            self.apply_kernel_leap(kernel, now);
        }
        self.decided(now, source, standings, before)
    }

    /// What the decision is, `before` it another clock was announced.
    fn decided(
        &self,
        now: ClockReadings,
        source: ClockSource,
        standings: SelectionStatuses,
        before: Option<ClockModel>,
    ) -> Decision {
        let stepped = before
            .zip(self.announced_clock())
            .map(|(before, after)| after.served(now) - before.served(now));
        Decision {
            reference: self.reference,
            state: self.state,
            shortage: self.shortage,
            source,
            source_configured: self.policy.source != ClockSource::Auto,
            standings,
            view: self.view,
            resample_requests: self.resample_requests,
            stepped: stepped.filter(|by| by.abs() > CONTINUOUS),
        }
    }

    /// The clock that clients see, if it is announced.
    fn announced_clock(&self) -> Option<ClockModel> {
        self.reference.is_usable().then_some(self.reference.clock)
    }
}

#[cfg(test)]
mod tests;
