//! Impure. Tells the log what changed in what we believe: the state, and each upstream's standing.

use std::time::Duration;

use tracing::{info, warn};

use super::gate::Told;
use crate::reference::Reference;
use crate::upstream::association::Peer;
use crate::upstream::system::{Decision, Standing, State};

/// What the log knows so far.
#[derive(Debug)]
pub struct Journal {
    state: Told<State>,
    upstreams: Vec<(String, Told<Option<Standing>>)>,
}

impl Journal {
    /// Nothing was told yet of the upstreams with these `names`.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let upstreams = names.into_iter().map(|name| (name, Told::new(None))).collect();
        Self {
            state: Told::new(State::Init),
            upstreams,
        }
    }

    /// Tells what is new in `decision`, with the numbers that caused it, upstreams first.
    pub fn tell(&mut self, decision: &Decision, peers: &[Peer], now: Duration) {
        for (((name, told), peer), &standing) in self.upstreams.iter_mut().zip(peers).zip(&decision.standings)
        {
            if let Some(before) = told.change(Some(standing), now) {
                upstream(name, peer, before, standing, now);
            }
        }
        if let Some(before) = self.state.change(decision.state, now) {
            state(&decision.reference, before, decision.state, now);
        }
    }
}

/// One line for an upstream whose standing changed.
fn upstream(name: &str, peer: &Peer, before: Option<Standing>, standing: Standing, now: Duration) {
    let was = before.map_or("new", Standing::name);
    let standing_name = standing.name();
    let reach = format!("{:03o}", peer.reach);
    match (standing, peer.best(now, Duration::ZERO)) {
        (Standing::Mirrored | Standing::SystemPeer | Standing::Agrees, Some((header, sample))) => info!(
            upstream = name,
            was,
            standing = standing_name,
            reach,
            offset = sample.offset.to_seconds(),
            delay = sample.delay.to_seconds(),
            stratum = header.stratum,
            reference_id = %header.reference_id,
            "upstream"
        ),
        (_, Some((header, sample))) => warn!(
            upstream = name,
            was,
            standing = standing_name,
            reach,
            offset = sample.offset.to_seconds(),
            delay = sample.delay.to_seconds(),
            stratum = header.stratum,
            reference_id = %header.reference_id,
            "upstream"
        ),
        (_, None) => {
            let reason = peer.refused.map_or("no-answer", |reject| reject.name());
            warn!(upstream = name, was, standing = standing_name, reach, reason, "upstream");
        }
    }
}

/// One line for a change of the state.
fn state(reference: &Reference, from: State, to: State, now: Duration) {
    let (was, name) = (from.name(), to.name());
    let stratum = reference.stratum;
    let reference_id = reference.reference_id;
    let root_distance = reference.root_distance_at(now).to_seconds();
    let max_age = reference.not_after.saturating_sub(now).as_secs();
    match to {
        State::Init | State::Synchronized => {
            info!(was, state = name, stratum, %reference_id, root_distance, "clock state");
        }
        State::Holdover => {
            warn!(was, state = name, stratum, %reference_id, root_distance, good_for_seconds = max_age, "clock state");
        }
        State::Unsynchronized | State::Local => {
            warn!(was, state = name, stratum, %reference_id, root_distance, "clock state");
        }
    }
}
