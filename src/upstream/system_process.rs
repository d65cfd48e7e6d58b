//! Pure. The system process (RFC 5905 §11): decides by the upstreams which time is announced.
//!
//! Two clocks can be served. `system` is the host's time of day, which ntpfront never sets: a daemon on this host that
//! keeps it is mirrored, all other upstreams are witnesses. `tracked` is ntpfront's own: time as a linear function of
//! the raw counter, steered to the selected upstreams, independent of the host's time of day.
//!
//! [`SystemProcess::decide`] runs the steps in order: `selection` (which upstreams agree; `aliases`: which count once;
//! `authentication`: what those without NTS may decide),
//! then `synchronize` and `announce`, with an error that covers what a majority allows (`correctness`); or `holdover`
//! or `dispute`, with a `shortage` as the reason. Beside it: `leap_transition`, `smear`, `smearers`, `clock_events`
//! (steps and sleeps of the host) and `reload`.

mod aliases;
mod announce;
mod authentication;
mod clock_events;
mod correctness;
mod dispute;
mod holdover;
mod leap_transition;
mod reload;
mod selection;
mod shortage;
mod smear;
mod smearers;
mod state;
mod synchronize;

use std::time::Duration;

use super::candidate::{Candidate, SelectionStatus, SelectionStatuses};
use super::clock_policy::{ClockPolicy, ClockSource};
use super::filter::{LeapShift, View};
use super::registry::{Registry, UpstreamId};
use crate::clock::{ClockModel, Reference, SmearedReference};
use crate::leap::{LeapEvent, LeapTable};
use crate::time::{ClockReadings, NtpDuration, NtpTimestamp, Timescale};
use crate::wire::{Leap, ReferenceId};

use aliases::Aliases;
pub use authentication::CastOut;
pub use clock_events::ClockEvent;
use clock_events::ClockWatch;
use correctness::TruthInterval;
use leap_transition::LeapWatch;
use selection::Selection;
pub use shortage::SourceShortage;
use smear::SmearBridge;
pub use state::State;

/// Maximum difference between a served clock and the one that replaces it that is not reported as a step: 1 us.
const CONTINUOUS: NtpDuration = NtpDuration::from_units((1 << 32) / 1_000_000);

/// The kernel's state of the host's clock: a second witness beside the upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelView {
    /// The leap second that the daemon which keeps the clock has announced to the kernel.
    pub leap: Leap,
    /// Whether an inserted second is in progress: the time of day repeats the second before it.
    pub in_leap_second: bool,
}

/// The last time that all upstreams had to be polled first, since no sample was valid.
#[derive(Clone, Copy, Debug)]
struct Gathering {
    since: Duration,
    /// Whether they were polled before, so that their addresses are known.
    known: bool,
}

/// A decision of the system process.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The time to announce.
    pub reference: Reference,
    /// The time to announce at listeners with a smear; `None` while no leap second is near: the same.
    pub smeared: Option<SmearedReference>,
    /// The state of the served time.
    pub state: State,
    /// The reason why it is not synchronized, if it is not.
    pub shortage: Option<SourceShortage>,
    /// The clock that is served: [`ClockSource::System`] or [`ClockSource::Tracked`].
    pub source: ClockSource,
    /// Whether the configuration sets that clock, instead of `auto`.
    pub source_configured: bool,
    /// Whether the list of leap seconds and the upstreams disagree about a leap second that is near.
    pub leap_disputed: bool,
    /// The standing of each upstream.
    pub standings: SelectionStatuses,
    /// The upstreams whose certificates were not valid at the time that the others agree on.
    pub cast_out: CastOut,
    /// The step of the served clock by this decision, if there was one.
    pub stepped: Option<NtpDuration>,
    /// The corrections of samples from before a leap second, a sleep or a jump, for the pollers.
    pub view: View,
    /// Number of requests for new samples at once so far.
    pub resample_requests: u64,
}

impl Decision {
    /// Returns the offset of the time that upstreams agree on from the local timescale, while it is in effect.
    ///
    /// A local reference, or a time that is disputed, is not vouched for.
    pub fn vouched(&self, now: ClockReadings, scale: &Timescale) -> Option<NtpDuration> {
        let is_agreed = matches!(self.state, State::Synchronized | State::Holdover);
        (is_agreed && self.reference.is_usable())
            .then(|| self.reference.clock.served(now) - scale.at(now.raw))
    }

    /// Returns the standing of the upstream with this identity; unknown for one that came after the decision.
    pub fn standing(&self, id: UpstreamId) -> SelectionStatus {
        self.standings
            .get(&id)
            .copied()
            .unwrap_or(SelectionStatus::Unknown)
    }
}

/// The state of the system process between two decisions.
#[derive(Clone, Debug)]
pub struct SystemProcess {
    policy: ClockPolicy,
    precision: i8,
    scale: Timescale,
    state: State,
    shortage: Option<SourceShortage>,
    reference: Reference,
    system_peer: Option<UpstreamId>,
    /// An upstream that is much nearer than the system peer, and since when.
    rival: Option<(UpstreamId, Duration)>,
    /// The last time that an upstream was usable, or the start: `LocalReference::wait` counts from it.
    usable_at: Duration,
    /// Whether no upstream was selected yet: then being the first to answer is not enough.
    none_believed: bool,
    gathering: Gathering,
    /// The upstreams that agreed when a majority was last selected.
    believed: Vec<UpstreamId>,
    /// The last step of the host's clock: all that was known of that clock before is void.
    stepped_at: Duration,
    view: View,
    /// The present dispute: the number of samples that each candidate had when it began.
    dispute: Option<Vec<(UpstreamId, u64)>>,
    /// Upstreams that are the same server.
    aliases: Aliases,
    /// Upstreams whose certificates were valid, each with the time of its key establishment.
    certified: CastOut,
    /// Upstreams whose certificates were not valid, by the last selection.
    cast_out: CastOut,
    /// The survivors of the last cluster algorithm.
    survived: Vec<UpstreamId>,
    /// The list of leap seconds, if there is one.
    leaps: Option<LeapTable>,
    /// Number of samples of all upstreams so far.
    samples_seen: u64,
    /// The interval of true time by the last majority, and the samples behind it: their number, the newest of each.
    truth: Option<TruthInterval>,
    truth_samples: (u64, Vec<(UpstreamId, Duration)>),
    /// The newest sample that corrected the time: its instant by the raw counter, and the time then.
    updated: Option<(Duration, NtpTimestamp)>,
    /// The leap second that is announced: its instant, and its shift of UTC.
    pending_leap: Option<LeapShift>,
    /// The next leap second that the list or an upstream warns of, or the last one until it is confirmed.
    leap_watch: Option<LeapWatch>,
    /// The leap second of the list that is near: once it is, it stays until it is over, whatever becomes of the list.
    leap_event: Option<LeapEvent>,
    /// Whether an upstream that smears may be off UTC now.
    smears_now: bool,
    /// The plausible interval of true time before the first smear of that leap second could begin.
    before_smears: Option<TruthInterval>,
    /// The time before a leap second, for listeners with a smear until it is known that the served clock had it.
    bridge: Option<SmearBridge>,
    /// Number of requests for new samples at once, the last one, and the last one for a dispute.
    resample_requests: u64,
    resampled_at: Option<Duration>,
    dispute_resampled_at: Option<Duration>,
    /// The readings of the host's clocks at the last check.
    clocks: Option<ClockWatch>,
}

impl SystemProcess {
    /// Creates the system process at `started`. `precision` is the host clock's, log2 seconds.
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
            certified: CastOut::new(),
            cast_out: CastOut::new(),
            survived: Vec::new(),
            leaps,
            samples_seen: 0,
            truth: None,
            truth_samples: (0, Vec::new()),
            updated: None,
            pending_leap: None,
            leap_watch: None,
            leap_event: None,
            smears_now: false,
            before_smears: None,
            bridge: None,
            resample_requests: 0,
            resampled_at: None,
            dispute_resampled_at: None,
            clocks: None,
        }
    }

    /// Returns the local timescale, against which all samples must be measured.
    pub fn scale(&self) -> Timescale {
        self.scale
    }

    /// Decides which time is announced, by the state of the `upstreams` at `now`.
    ///
    /// `kernel` is the kernel's state of the host's clock, if it can be read.
    pub fn decide(
        &mut self,
        now: ClockReadings,
        upstreams: &Registry,
        kernel: Option<KernelView>,
    ) -> Decision {
        self.apply_leap(now.raw);
        self.look_for_smears(now);
        self.samples_seen = upstreams.iter().map(|one| one.peer.accepted).sum();
        self.aliases.observe(upstreams);
        let (mut candidates, mut standings) = self.candidates(upstreams, now.raw);
        let source = self.source(upstreams);
        let before = self.announced_clock();
        let selection = self.select_certified(now, &mut candidates, upstreams, source, &mut standings);
        if self.suspend_for_leap(now, upstreams, &candidates) {
            return self.decided(now, source, standings, before);
        }
        match selection {
            Selection::Believe(majority) => {
                (self.dispute, self.none_believed) = (None, false);
                self.believed = majority.believed.iter().map(|one| one.id).collect();
                self.synchronize(now, source, &majority, &mut standings);
            }
            Selection::NotEnough(shortage) => {
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

    /// Selects the candidates that agree, and whose certificates are valid at the time that they agree on.
    fn select_certified(
        &mut self,
        now: ClockReadings,
        candidates: &mut Vec<Candidate>,
        upstreams: &Registry,
        source: ClockSource,
        standings: &mut SelectionStatuses,
    ) -> Selection {
        self.certified.retain(|id, _| upstreams.contains(*id));
        self.cast_out.clear();
        let mut first = standings.clone();
        // Each turn removes a candidate, or is the last.
        loop {
            standings.clone_from(&first);
            let selection = self.select(now, candidates, upstreams, source, standings);
            if !self.cast_out(&selection, candidates, &mut first) {
                return selection;
            }
        }
    }

    /// Returns the decision; `before` is the clock that was announced until now.
    fn decided(
        &mut self,
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
            smeared: self.smeared(now),
            state: self.state,
            shortage: self.shortage,
            source,
            source_configured: self.policy.source != ClockSource::Auto,
            leap_disputed: self.is_leap_disputed(),
            standings,
            cast_out: self.cast_out.clone(),
            view: self.view,
            resample_requests: self.resample_requests,
            stepped: stepped.filter(|by| by.abs() > CONTINUOUS),
        }
    }

    /// Returns the served clock, if a usable time is announced.
    fn announced_clock(&self) -> Option<ClockModel> {
        self.reference.is_usable().then_some(self.reference.clock)
    }
}

#[cfg(test)]
mod tests;
