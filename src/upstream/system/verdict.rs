//! Pure. Who may be believed, who agrees, and whether that is enough.

use std::time::Duration;

use super::{Source, State, System};
use crate::upstream::association::Peer;
use crate::upstream::candidate::{Candidate, Limits, Standing};
use crate::upstream::select::{Claim, cluster, hull, intersection, truechimers};
use crate::wire::{Leap, NtpDuration};

/// How long to wait for the first word of an upstream whose name is still to be resolved.
const FIRST_CHANCE: Duration = Duration::from_secs(10);
/// How long to wait for most of those who are new while the last time is still good.
const NO_HURRY: Duration = Duration::from_secs(64);

/// What the candidates say together.
pub(super) enum Verdict {
    /// Enough of them agree: those whose time is taken.
    Believe {
        survivors: Vec<Candidate>,
        leap: Leap,
        reach: Option<Reach>,
        believed: Vec<usize>,
    },
    /// They contradict each other (no majority), or the majority contradicts the keeper of the host's clock.
    Contradiction { majority: Vec<Candidate>, leap: Leap },
    /// There are none, or too few.
    Nobody,
}

/// From where to where the truth can be, as offsets from the local timescale.
pub(super) type Reach = (NtpDuration, NtpDuration);

impl System {
    /// Each upstream as a candidate, or the reason why not.
    pub(super) fn candidates(&mut self, peers: &[Peer], now: Duration) -> (Vec<Candidate>, Vec<Standing>) {
        let limits = Limits {
            distance: self.policy.max_distance,
            jitter: self.policy.max_jitter,
        };
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut standings = Vec::new();
        for (index, peer) in peers.iter().enumerate() {
            let role = self.roles.get(index).copied().unwrap_or_default();
            let judged = Candidate::of(index, peer, role, now, &self.view, &limits);
            standings.push(match judged {
                Ok(one) if self.is_duplicate(&one, &candidates) => Standing::Duplicate,
                Ok(one) => {
                    candidates.push(one);
                    Standing::Falseticker
                }
                Err(standing) => standing,
            });
        }
        (candidates, standings)
    }

    /// Is `one` the same server as any of the `others`? Once seen, that holds: two addresses of one server are not always
    /// asked between the same two corrections of its clock.
    fn is_duplicate(&mut self, one: &Candidate, others: &[Candidate]) -> bool {
        let seen = others
            .iter()
            .filter(|other| one.is_same_server(other))
            .map(|other| (other.address, one.address));
        self.twins.extend(seen);
        others
            .iter()
            .any(|other| self.twins.contains(&(other.address, one.address)))
    }

    /// Which clock is served now.
    pub(super) fn source(&self, peers: &[Peer]) -> Source {
        match self.policy.source {
            Source::Auto if peers.iter().any(|peer| peer.on_this_host) => Source::System,
            Source::Auto | Source::Tracked => Source::Tracked,
            Source::System => Source::System,
        }
    }

    /// Who agrees, and is that enough?
    pub(super) fn judge(
        &self,
        now: Duration,
        candidates: &[Candidate],
        peers: &[Peer],
        source: Source,
        standings: &mut [Standing],
    ) -> Verdict {
        if candidates.is_empty() {
            return Verdict::Nobody;
        }
        let Some(truths) = agreeing(candidates) else {
            return Verdict::Contradiction {
                majority: Vec::new(),
                leap: Leap::NoWarning,
            };
        };
        let believed: Vec<Candidate> = candidates
            .iter()
            .zip(truths)
            .filter_map(|(one, truth)| truth.then_some(*one))
            .collect();
        let enough = believed.len() >= usize::from(self.policy.min_sources)
            && (!self.roles.iter().any(|role| role.require) || believed.iter().any(|one| one.role.require))
            && self.all_had_their_chance(now, believed.len(), peers);
        let survivors = survivors(&believed, standings);
        if !enough {
            survivors
                .iter()
                .for_each(|one| set(standings, one.index, Standing::TooFew));
            return Verdict::Nobody;
        }
        let leap = majority_leap(&believed);
        let reach = reach(candidates, believed.len());
        let any_here = |list: &[Candidate]| list.iter().any(|one| one.on_this_host);
        let contradicted = any_here(candidates) && !any_here(&believed);
        if source == Source::System && contradicted && believed.len() >= 2 {
            return Verdict::Contradiction {
                majority: survivors,
                leap,
            };
        }
        Verdict::Believe {
            survivors,
            leap,
            reach,
            believed: believed.iter().map(|one| one.index).collect(),
        }
    }

    /// Who answers first is not believed for that: of strangers either more than half must agree, or every other must
    /// have been asked in vain (a name that can't be resolved is not waited for). While the last time goes on, a lost
    /// packet is no reason to leave it.
    fn all_had_their_chance(&self, now: Duration, believed: usize, peers: &[Peer]) -> bool {
        let Some(since) = self.strangers_since else {
            return true;
        };
        let watched = |index: usize| self.roles.get(index).is_some_and(|role| role.noselect);
        let waited = now.saturating_sub(since);
        let heard = |peer: &Peer| match self.state {
            State::Synchronized | State::Holdover => waited >= NO_HURRY,
            State::Init | State::Unsynchronized | State::Disputed | State::Local => {
                peer.address.is_some() || waited >= FIRST_CHANCE
            }
        };
        let mut voters = peers.iter().enumerate().filter(|(index, _)| !watched(*index));
        believed * 2 > voters.clone().count() || voters.all(|(_, peer)| heard(peer))
    }
}

/// Who agrees with the majority; where some are trusted, with the majority of those.
fn agreeing(candidates: &[Candidate]) -> Option<Vec<bool>> {
    let trusted: Vec<Claim> = candidates
        .iter()
        .filter(|one| one.role.trust)
        .map(Candidate::claim)
        .collect();
    if trusted.is_empty() {
        return truechimers(&candidates.iter().map(Candidate::claim).collect::<Vec<_>>());
    }
    let (low, high) = intersection(&trusted)?;
    Some(
        candidates
            .iter()
            .map(|one| one.claim().contains(low, high))
            .collect(),
    )
}

/// Leaves out the outliers of those who agree, and says so.
fn survivors(believed: &[Candidate], standings: &mut [Standing]) -> Vec<Candidate> {
    let zero = believed.first().map_or(NtpDuration::ZERO, |one| one.offset);
    let survives = cluster(&believed.iter().map(|one| one.survivor(zero)).collect::<Vec<_>>());
    for (one, &survives) in believed.iter().zip(&survives) {
        set(
            standings,
            one.index,
            if survives {
                Standing::Agrees
            } else {
                Standing::Outlier
            },
        );
    }
    believed
        .iter()
        .zip(survives)
        .filter_map(|(one, survives)| survives.then_some(*one))
        .collect()
}

/// Where the truth can be, when some contradict; those who are not trusted have no say where others are.
fn reach(candidates: &[Candidate], believed: usize) -> Option<Reach> {
    if believed == candidates.len() || candidates.iter().any(|one| one.role.trust) {
        return None;
    }
    hull(&candidates.iter().map(Candidate::claim).collect::<Vec<_>>())
}

/// What more than half of those who agree say of the next leap second.
fn majority_leap(believed: &[Candidate]) -> Leap {
    let says = |leap| believed.iter().filter(|one| one.header.leap == leap).count() * 2 > believed.len();
    [Leap::AddSecond, Leap::DeleteSecond]
        .into_iter()
        .find(|&leap| says(leap))
        .unwrap_or(Leap::NoWarning)
}

pub(super) fn set(standings: &mut [Standing], index: usize, standing: Standing) {
    if let Some(place) = standings.get_mut(index) {
        *place = standing;
    }
}
