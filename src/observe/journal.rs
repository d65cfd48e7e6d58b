//! Impure. Tells the log what changed in what we believe: the state, and each upstream's standing.

use std::net::SocketAddr;
use std::time::Duration;

use tracing::{info, warn};

use super::gate::{Gate, Told};
use crate::reference::Reference;
use crate::serve::Counts;
use crate::upstream::association::Peer;
use crate::upstream::candidate::Standing;
use crate::upstream::filter::View;
use crate::upstream::system::{Decision, Source, State};
use crate::wire::NtpDuration;

/// What the log knows so far.
#[derive(Debug)]
pub struct Journal {
    state: Told<State>,
    source: Told<Option<Source>>,
    upstreams: Vec<(String, Told<Standing>)>,
    failures: Counts,
    send_failures: Gate,
    receive_failures: Gate,
}

impl Journal {
    /// Nothing was told yet of the upstreams with these `names`.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let upstreams = names
            .into_iter()
            .map(|name| (name, Told::new(Standing::Unknown)))
            .collect();
        Self {
            state: Told::new(State::Init),
            source: Told::new(None),
            upstreams,
            failures: Counts::default(),
            send_failures: Gate::default(),
            receive_failures: Gate::default(),
        }
    }

    /// The upstreams have these `names` from now on; `kept` says for each which one it was before, if it was there.
    pub fn reconfigure(&mut self, names: impl IntoIterator<Item = String>, kept: &[Option<usize>]) {
        let before = std::mem::take(&mut self.upstreams);
        let told = |old: Option<usize>| {
            let known = old.and_then(|old| before.get(old));
            known.map_or(Told::new(Standing::Unknown), |(_, told)| told.clone())
        };
        self.upstreams = names.into_iter().zip(kept.iter().copied().map(told)).collect();
    }

    /// Tells what is new in `decision`, with the numbers that caused it, upstreams first.
    pub fn tell(&mut self, decision: &Decision, peers: &[Peer], now: Duration) {
        for (((name, told), peer), &standing) in self.upstreams.iter_mut().zip(peers).zip(&decision.standings)
        {
            if let Some(before) = told.change(standing, now) {
                upstream(name, peer, before, standing);
            }
        }
        if self.source.change(Some(decision.source), now).is_some() {
            let (clock, because) = match decision.source {
                Source::System => (
                    "system",
                    "clock.source says so, or an upstream is on this host and keeps its clock",
                ),
                Source::Tracked | Source::Auto => {
                    ("tracked", "clock.source says so, or no upstream is on this host")
                }
            };
            info!(clock, because, "clock source");
        }
        if let Some(before) = self.state.change(decision.state, now) {
            state(&decision.reference, before, decision.state, now);
        }
    }

    /// Tells, once a minute and kind, that the workers meet trouble; `total` is what all did so far.
    pub fn tell_failures(&mut self, total: &Counts, now: Duration) {
        let sends = total.send_failed.wrapping_sub(self.failures.send_failed);
        if sends > 0 && self.send_failures.pass(now) {
            warn!(
                replies = sends,
                "the kernel refused to send replies (no route, a full queue, or a firewall)"
            );
            self.failures.send_failed = total.send_failed;
        }
        let receives = total.receive_failed.wrapping_sub(self.failures.receive_failed);
        if receives > 0 && self.receive_failures.pass(now) {
            warn!(times = receives, "the kernel failed to hand over packets");
            self.failures.receive_failed = total.receive_failed;
        }
    }
}

/// One line for what a worker of a listener did since its start.
pub fn tell_worker(listener: SocketAddr, worker: usize, counts: &Counts) {
    info!(
        %listener,
        worker,
        received = counts.received(),
        answered = counts.answered(),
        send_failed = counts.send_failed,
        receive_failed = counts.receive_failed,
        stamp_unusable = counts.stamp_unusable,
        refusals = counts.refusals(),
        "worker counters"
    );
}

/// One line for what all workers of a listener did when they ended.
pub fn tell_listener(listener: SocketAddr, counts: &Counts) {
    info!(
        %listener,
        received = counts.received(),
        answered = counts.answered(),
        send_failed = counts.send_failed,
        receive_failed = counts.receive_failed,
        stamp_unusable = counts.stamp_unusable,
        refusals = counts.refusals(),
        "listener counters"
    );
}

/// One line for an upstream whose standing changed.
fn upstream(name: &str, peer: &Peer, was: Standing, standing: Standing) {
    let was = was.name();
    let standing_name = standing.name();
    let reach = format!("{:03o}", peer.reach);
    match (standing, peer.known(&View::default())) {
        (Standing::Mirrored | Standing::SystemPeer | Standing::Agrees, Some((header, estimate))) => info!(
            upstream = name,
            was,
            standing = standing_name,
            reach,
            delay = %seconds(estimate.delay),
            jitter = format!("{:.9}", estimate.jitter),
            samples = estimate.samples,
            stratum = header.stratum,
            reference_id = %header.reference_id,
            "upstream"
        ),
        (_, Some((header, estimate))) => warn!(
            upstream = name,
            was,
            standing = standing_name,
            reach,
            delay = %seconds(estimate.delay),
            jitter = format!("{:.9}", estimate.jitter),
            samples = estimate.samples,
            stratum = header.stratum,
            reference_id = %header.reference_id,
            "upstream"
        ),
        (_, None) => {
            let reason = peer.refused.map_or("no-answer", |reject| reject.name());
            warn!(
                upstream = name,
                was,
                standing = standing_name,
                reach,
                reason,
                "upstream"
            );
        }
    }
}

/// One line for a change of the state.
fn state(reference: &Reference, from: State, to: State, now: Duration) {
    let (was, name) = (from.name(), to.name());
    let stratum = reference.stratum;
    let reference_id = reference.reference_id;
    let root_distance = seconds(reference.root_distance_at(now));
    let max_age = reference.not_after.saturating_sub(now).as_secs();
    match to {
        State::Init | State::Synchronized => {
            info!(was, state = name, stratum, %reference_id, %root_distance, "clock state");
        }
        State::Holdover => {
            warn!(was, state = name, stratum, %reference_id, %root_distance, good_for_seconds = max_age, "clock state");
        }
        State::Unsynchronized | State::Disputed | State::Local => {
            warn!(was, state = name, stratum, %reference_id, %root_distance, "clock state");
        }
    }
}

/// Seconds as people read them: nanoseconds, no exponent.
fn seconds(duration: NtpDuration) -> String {
    format!("{:.9}", duration.to_seconds())
}
