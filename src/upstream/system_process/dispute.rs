//! Pure. Disputes: upstreams contradict each other, or the daemon that keeps the host's clock.

use std::time::Duration;

use super::selection::Majority;
use super::{State, SystemProcess};
use crate::clock::ClockModel;
use crate::time::ClockReadings;
use crate::upstream::candidate::{Candidate, SelectionStatuses};
use crate::upstream::clock_policy::{ClockSource, OnDispute};
use crate::upstream::registry::{Registry, UpstreamId};
use crate::wire::ReferenceId;

/// Number of rounds of samples after which a contradiction is a dispute.
const DISPUTE_ROUNDS: u64 = 3;
/// Shortest time between two requests for new samples because of disputes: 1024 s.
const RESAMPLES_APART: Duration = Duration::from_secs(1024);

impl SystemProcess {
    /// Handles a contradiction among the upstreams, or of the `majority` (if there is one) with the host's daemon.
    ///
    /// It is a dispute only when it lasts; until then the last time stays in effect.
    pub(super) fn handle_dispute(
        &mut self,
        now: ClockReadings,
        candidates: &[Candidate],
        upstreams: &Registry,
        majority: Option<&Majority>,
        standings: &mut SelectionStatuses,
    ) {
        self.usable_at = now.raw;
        if !self.dispute_lasts(now.raw, candidates, upstreams) {
            if self.state != State::Init {
                majority
                    .into_iter()
                    .for_each(|majority| self.update_truth(majority));
                self.hold_over(now, false);
            }
            return;
        }
        let keeper = candidates
            .iter()
            .find(|one| one.unavailable.is_none() && self.keeps_the_clock(one, now))
            .copied();
        match (self.policy.on_dispute, majority) {
            (OnDispute::Track, Some(majority)) => {
                self.synchronize(now, ClockSource::Tracked, majority, standings);
                self.state = State::Disputed;
            }
            (OnDispute::Serve, _) if keeper.is_some() => {
                let Some(majority) = keeper.and_then(|one| Majority::of_one(now, one)) else {
                    return;
                };
                self.synchronize(now, ClockSource::System, &majority, standings);
                self.state = State::Disputed;
            }
            (OnDispute::Track | OnDispute::Unsynchronized | OnDispute::Drop | OnDispute::Serve, _) => {
                self.set_unusable(State::Disputed, ReferenceId::DISPUTED, now);
                self.reference.answers = self.policy.on_dispute != OnDispute::Drop;
            }
        }
    }

    /// Returns whether every candidate gave enough samples since the contradiction began.
    fn dispute_lasts(&mut self, now: Duration, candidates: &[Candidate], upstreams: &Registry) -> bool {
        let heard = |id: UpstreamId| upstreams.get(id).map_or(0, |one| one.peer.accepted);
        if self.dispute.is_none() {
            self.resample_for_dispute(now);
        }
        let begun = self.dispute.get_or_insert_with(|| {
            let available = candidates.iter().filter(|one| one.unavailable.is_none());
            available.map(|one| (one.id, heard(one.id))).collect()
        });
        self.state == State::Disputed
            || begun
                .iter()
                .all(|&(one, before)| heard(one) >= before + DISPUTE_ROUNDS)
    }

    /// Requests new samples if the host's clock is served, at most once per [`RESAMPLES_APART`].
    ///
    /// That clock may go wrong with its daemon, and rounds of samples at long intervals would take too long. A tracked
    /// clock continues as before during a dispute.
    fn resample_for_dispute(&mut self, now: Duration) {
        let hosts = self.reference.clock == ClockModel::Host && self.reference.is_usable();
        let lately = |resampled_at: Duration| now.saturating_sub(resampled_at) < RESAMPLES_APART;
        if hosts && !self.dispute_resampled_at.is_some_and(lately) {
            self.dispute_resampled_at = Some(now);
            self.resample(now);
        }
    }
}
