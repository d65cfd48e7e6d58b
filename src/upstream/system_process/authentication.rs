//! Pure. The part of authenticated upstreams (NTS, or a MAC) in the selection, and the check of their certificates' dates.

use std::collections::BTreeMap;
use std::time::Duration;

use super::SystemProcess;
use super::selection::{Majority, Selection, Vote};
use crate::upstream::candidate::{Candidate, SelectionStatus, SelectionStatuses};
use crate::upstream::clock_policy::Authenticated;
use crate::upstream::registry::{Entry, Registry, UpstreamId};
use crate::upstream::select::{Agreement, Interval, majority};
use crate::wire::Leap;

/// The upstreams that are cast out, each with the time of its key establishment by the raw counter.
pub type CastOut = BTreeMap<UpstreamId, Duration>;

impl SystemProcess {
    /// Returns the upstreams that have a vote.
    pub(super) fn voters<'a>(
        &self,
        upstreams: &'a Registry,
    ) -> impl Iterator<Item = &'a Entry> + Clone + use<'a> {
        let only_authenticated = self.policy.authenticated == Authenticated::Require;
        let smears_now = self.smears_now;
        upstreams.iter().filter(move |one| {
            let is_authentic = !only_authenticated || one.settings.is_authenticated();
            let is_utc = !smears_now || !one.settings.smears();
            !one.settings.role.noselect && is_authentic && is_utc
        })
    }

    /// Returns the places of an `agreement` where a majority of the authenticated `votes` is; `None` if there is none.
    ///
    /// `unknown` is the number of authenticated upstreams with a vote whose claims are not known yet. It changes nothing
    /// if no upstream with a vote is authenticated, or if the policy does not prefer those.
    pub(super) fn authenticated_agreement(
        &self,
        agreement: Agreement,
        votes: &[&Vote],
        upstreams: &Registry,
        unknown: usize,
    ) -> Option<Agreement> {
        if !self.prefers_authenticated(votes, upstreams) {
            return Some(agreement);
        }
        let claims: Vec<Interval> = votes.iter().filter_map(|vote| vote.authenticated).collect();
        agreement.among(&claims, majority(claims.len() + unknown))
    }

    /// Returns whether there is no majority without a majority of the authenticated votes.
    ///
    /// Where only trusted upstreams determine the time, only these count here, too.
    fn prefers_authenticated(&self, votes: &[&Vote], upstreams: &Registry) -> bool {
        let trusted = votes.iter().any(|vote| vote.is_trusted());
        let is_authenticated =
            |one: &Entry| one.settings.is_authenticated() && (!trusted || one.settings.role.trust);
        self.policy.authenticated == Authenticated::Prefer && self.voters(upstreams).any(is_authenticated)
    }

    /// Returns the leap warning of a majority of all `votes`, whether they agree on the time or not.
    ///
    /// Where there is no majority without them, a majority of the authenticated ones has to warn, too.
    //= RFC 5905 §11.2.3 leap
    pub(super) fn majority_leap(&self, votes: &[&Vote], upstreams: &Registry) -> Leap {
        let prefers = self.prefers_authenticated(votes, upstreams);
        let authenticated: Vec<&Vote> = votes
            .iter()
            .copied()
            .filter(|vote| vote.authenticated.is_some())
            .collect();
        let warns = |votes: &[&Vote], leap| {
            let all_say = |vote: &&&Vote| vote.members.iter().all(|one| one.header.leap == leap);
            votes.iter().filter(all_say).count() >= majority(votes.len())
        };
        [Leap::AddSecond, Leap::DeleteSecond]
            .into_iter()
            .find(|&leap| warns(votes, leap) && (!prefers || warns(&authenticated, leap)))
            .unwrap_or(Leap::NoWarning)
    }

    /// Removes the `candidates` whose certificates were not valid at the time that a `selection` agrees on.
    ///
    /// Returns whether there were some: then a majority has to be found again, without them. Those that were valid are
    /// not checked again: a certificate may end while its keys are in use.
    pub(super) fn cast_out(
        &mut self,
        selection: &Selection,
        candidates: &mut Vec<Candidate>,
        standings: &mut SelectionStatuses,
    ) -> bool {
        let (Selection::Believe(majority) | Selection::Contradiction(Some(majority), _)) = selection else {
            return false;
        };
        let invalid = self.invalid(majority, candidates);
        for (id, established) in &invalid {
            standings.insert(*id, SelectionStatus::Expired);
            self.cast_out.insert(*id, *established);
        }
        candidates.retain(|one| !invalid.contains_key(&one.id));
        if invalid.is_empty() {
            let checked = candidates
                .iter()
                .filter_map(|one| Some((one.id, one.unchecked?.established)));
            self.certified.extend(checked);
        }
        !invalid.is_empty()
    }

    /// Returns the candidates whose certificates were not valid by the `majority`.
    fn invalid(&self, majority: &Majority, candidates: &[Candidate]) -> CastOut {
        let offsets = majority.truth.offsets();
        let unchecked = candidates.iter().filter_map(|one| Some((one.id, one.unchecked?)));
        let unchecked =
            unchecked.filter(|(id, unchecked)| self.certified.get(id) != Some(&unchecked.established));
        let invalid = unchecked.filter(|(_, unchecked)| !unchecked.was_valid(&self.scale, &offsets));
        invalid
            .map(|(id, unchecked)| (id, unchecked.established))
            .collect()
    }
}
