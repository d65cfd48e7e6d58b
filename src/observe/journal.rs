//! Impure. Log lines about changes: the state of the clock, the standing of upstreams, failures of workers.
//!
//! The message alone says the main thing, for it is all that `systemctl status` and `journalctl` show; the
//! fields are for programs that filter and count.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tracing::{info, warn};

use super::clock_status::ClockStatus;
use super::pool::PoolScore;
use crate::log::throttle::{LogThrottle, ThrottledChange};
use crate::server::{Counts, Listener};
use crate::time::NtpDuration;
use crate::upstream::candidate::SelectionStatus;
use crate::upstream::clock_policy::ClockSource;
use crate::upstream::filter::View;
use crate::upstream::registry::{Entry, Registry, UpstreamId};
use crate::upstream::system_process::{Decision, State};

/// The state of what was logged.
#[derive(Debug)]
pub struct Journal {
    state: ThrottledChange<State>,
    source: ThrottledChange<Option<ClockSource>>,
    upstreams: BTreeMap<UpstreamId, ThrottledChange<SelectionStatus>>,
    failures: Counts,
    send_failures: LogThrottle,
    full_buffers: LogThrottle,
    receive_failures: LogThrottle,
    at_risk: ThrottledChange<bool>,
    leap_disputed: ThrottledChange<bool>,
}

/// A journal that has not logged anything yet.
impl Default for Journal {
    fn default() -> Self {
        Self {
            state: ThrottledChange::new(State::Init),
            source: ThrottledChange::new(None),
            upstreams: BTreeMap::new(),
            failures: Counts::default(),
            send_failures: LogThrottle::default(),
            full_buffers: LogThrottle::default(),
            receive_failures: LogThrottle::default(),
            at_risk: ThrottledChange::new(false),
            leap_disputed: ThrottledChange::new(false),
        }
    }
}

impl Journal {
    /// Logs what is new in `decision`, with the numbers that caused it, `upstreams` first.
    pub fn log_decision(&mut self, decision: &Decision, upstreams: &Registry, now: Duration) {
        self.upstreams.retain(|id, _| upstreams.contains(*id));
        for one in upstreams.in_configured_order() {
            let standing = decision.standing(one.id);
            let told = self.upstreams.entry(one.id);
            let told = told.or_insert_with(|| ThrottledChange::new(SelectionStatus::Unknown));
            if let Some(before) = told.change(standing, now) {
                log_upstream(one, Some(before), standing);
            }
        }
        if self.source.change(Some(decision.source), now).is_some() {
            let clock = decision.source.name();
            let because = match (decision.source_configured, decision.source) {
                (true, _) => "it is set in clock.source",
                (false, ClockSource::System) => "clock.source is \"auto\" and an upstream is on this host",
                (false, ClockSource::Tracked | ClockSource::Auto) => {
                    "clock.source is \"auto\" and no upstream is on this host"
                }
            };
            info!(clock, because, "clock source: {clock}, since {because}");
        }
        match self.leap_disputed.change(decision.leap_disputed, now) {
            Some(false) => warn!(
                "leap second: the list and the upstreams disagree; all are asked again, and the list decides while it is current"
            ),
            Some(true) => info!("leap second: the list and the upstreams do not disagree any more"),
            None => {}
        }
        if let Some(before) = self.state.change(decision.state, now) {
            log_clock_state(decision, Some(before), now);
        }
    }

    /// Logs the whole state in `decision`, changed or not.
    pub fn log_all(&self, decision: &Decision, upstreams: &Registry, now: Duration) {
        for one in upstreams.in_configured_order() {
            log_upstream(one, None, decision.standing(one.id));
        }
        log_clock_state(decision, None, now);
    }

    /// Logs when the NTP Pool would drop this server for its time, and when not any more.
    pub fn log_pool(&mut self, clock: &ClockStatus, now: Duration) {
        let score = PoolScore::of(clock);
        if let Some(was) = self.at_risk.change(score.is_at_risk(clock), now) {
            log_pool_score(score, clock, was);
        }
    }

    /// Logs failures of the workers, one line per minute and kind; `total` is the sum since the start.
    pub fn log_failures(&mut self, total: &Counts, now: Duration) {
        let sends = total.send_failed.wrapping_sub(self.failures.send_failed);
        if sends > 0 && self.send_failures.pass(now) {
            warn!(
                replies = sends,
                "the kernel refused to send some replies (no route, or a firewall)"
            );
            self.failures.send_failed = total.send_failed;
        }
        let full = total
            .send_buffer_full
            .wrapping_sub(self.failures.send_buffer_full);
        if full > 0 && self.full_buffers.pass(now) {
            warn!(
                replies = full,
                "the send buffers were full: replies to local addresses that do not exist fill them (see ntpfront-sysctl.conf)"
            );
            self.failures.send_buffer_full = total.send_buffer_full;
        }
        let receives = total.receive_failed.wrapping_sub(self.failures.receive_failed);
        if receives > 0 && self.receive_failures.pass(now) {
            warn!(times = receives, "receiving packets failed");
            self.failures.receive_failed = total.receive_failed;
        }
    }
}

/// Logs that a listener was opened.
pub fn log_listening(listener: &Listener) {
    let Listener { address, workers, .. } = listener;
    info!(listener = %address, workers, "listening on {address}, workers {workers}");
}

/// Logs the counts of a worker of a listener since its start, or (`None`) of all that ended together.
pub fn log_counts(listener: SocketAddr, worker: Option<usize>, counts: &Counts) {
    info!(
        %listener,
        worker,
        received = counts.received(),
        answered = counts.answered(),
        send_failed = counts.send_failed,
        send_buffer_full = counts.send_buffer_full,
        receive_failed = counts.receive_failed,
        stamp_unusable = counts.stamp_unusable,
        interleaved = counts.interleaved,
        refusals = counts.refusals(),
        remarks = counts.annotations(),
        "{} counters: {listener}: {} received, {} answered",
        if worker.is_some() { "worker" } else { "listener" },
        counts.received(),
        counts.answered()
    );
}

/// Logs the counts of the kernel's fast path for a listener since the start.
pub fn log_fast_path_counts(listener: SocketAddr, counts: &Counts) {
    info!(
        %listener,
        received = counts.received(),
        answered = counts.answered(),
        refusals = counts.refusals(),
        remarks = counts.annotations(),
        "fast path counters: {listener}: {} received, {} answered",
        counts.received(),
        counts.answered()
    );
}

/// A state and the one before it, if that is news.
fn change(was: Option<&str>, is: &str) -> String {
    was.map_or_else(|| is.to_owned(), |was| format!("{was} -> {is}"))
}

/// Logs one message at the level for good news, or as a warning.
macro_rules! log_change {
    ($good:expr, $($content:tt)*) => {
        if $good { info!($($content)*) } else { warn!($($content)*) }
    };
}

/// Whether a change to this standing makes nothing worse. At the start nothing is known yet of all.
fn is_harmless(standing: SelectionStatus, was: Option<SelectionStatus>) -> bool {
    match standing {
        SelectionStatus::Mirrored
        | SelectionStatus::SystemPeer
        | SelectionStatus::Agrees
        | SelectionStatus::Outlier
        | SelectionStatus::NoSelect
        | SelectionStatus::Smeared
        | SelectionStatus::Plain
        | SelectionStatus::Duplicate
        | SelectionStatus::Unknown => true,
        SelectionStatus::TooFew => was == Some(SelectionStatus::Unknown),
        SelectionStatus::Falseticker
        | SelectionStatus::Expired
        | SelectionStatus::TooFar
        | SelectionStatus::TooJittery
        | SelectionStatus::Refused
        | SelectionStatus::Silent => false,
    }
}

/// Logs the standing of an upstream: the previous one, if it has changed, and the current one.
fn log_upstream(entry: &Entry, was: Option<SelectionStatus>, standing: SelectionStatus) {
    let (name, peer) = (entry.settings.to_string(), &entry.peer);
    let known = peer.known(&View::default());
    let (header, estimate) = (known.map(|known| known.0), known.map(|known| known.1));
    let silent = match (peer.fault, peer.refused) {
        (Some(fault), _) => fault.text(),
        (None, Some(reject)) => reject.name(),
        (None, None) => "no-answer",
    };
    log_change!(
        was.is_none() || is_harmless(standing, was),
        upstream = name,
        was = was.map(SelectionStatus::name),
        standing = standing.name(),
        reach = format!("{:03o}", peer.reach),
        delay = estimate.map(|estimate| seconds(estimate.delay)),
        jitter = estimate.map(|estimate| format!("{:.9}", estimate.jitter)),
        samples = estimate.map(|estimate| estimate.samples),
        stratum = header.map(|header| header.stratum),
        reference_id = header.map(|header| header.reference_id.to_string()),
        reason = known.is_none().then_some(silent),
        "upstream {name}: {}{}{}",
        change(was.map(SelectionStatus::name), standing.name()),
        if known.is_none() { ", " } else { "" },
        if known.is_none() { silent } else { "" }
    );
}

/// The state of the clock in half a line, for `systemctl status`.
pub fn status(decision: &Decision, now: Duration) -> String {
    let reference = &decision.reference;
    let good = decision
        .standings
        .values()
        .filter(|standing| standing.is_good())
        .count();
    let error = if reference.is_usable() {
        format!(
            ", maximum error {:.6} s",
            reference.root_distance_at(now).to_seconds()
        )
    } else {
        String::new()
    };
    let why = decision.shortage.map_or_else(
        || format!("{good} of {} upstreams agree", decision.standings.len()),
        |shortage| shortage.to_string(),
    );
    format!(
        "{}, stratum {}, reference ID {}{error}; {why}",
        decision.state.name(),
        reference.stratum,
        reference.reference_id,
    )
}

/// Logs the state of the clock: the previous one, if it has changed, and the current one.
fn log_clock_state(decision: &Decision, was: Option<State>, now: Duration) {
    let (reference, state) = (&decision.reference, decision.state);
    let reason = decision.shortage.map(|shortage| shortage.to_string());
    let good_for = reference.not_after.saturating_sub(now).as_secs();
    log_change!(
        was.is_none() || matches!(state, State::Init | State::Synchronized),
        was = was.map(State::name),
        state = state.name(),
        stratum = reference.stratum,
        reference_id = %reference.reference_id,
        root_distance = %seconds(reference.root_distance_at(now)),
        good_for_seconds = (state == State::Holdover).then_some(good_for),
        reason,
        "clock state: {}, stratum {}, reference ID {}{}{}",
        change(was.map(State::name), state.name()),
        reference.stratum,
        reference.reference_id,
        if reason.is_some() { ": " } else { "" },
        reason.as_deref().unwrap_or_default()
    );
}

/// Logs the score that the NTP Pool would come to.
///
/// `was` says whether there was a risk before of being dropped there.
fn log_pool_score(score: PoolScore, clock: &ClockStatus, was: bool) {
    let (stratum, score) = (clock.reference.stratum, format!("{:.1}", score.score));
    let verdict = if was {
        "would keep this server"
    } else {
        "might drop this server soon"
    };
    log_change!(
        was,
        pool_score = score,
        stratum,
        root_distance = clock
            .reference
            .root_distance
            .map(|distance| format!("{distance:.9}")),
        "the NTP Pool {verdict}: its score would be {score} at worst (a root distance under 0.1 s and a stratum under 8 keep it over 10)"
    );
}

/// Seconds as people read them: nanoseconds, no exponent.
fn seconds(duration: NtpDuration) -> String {
    format!("{:.9}", duration.to_seconds())
}
