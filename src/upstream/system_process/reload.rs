//! Pure. The system process under a new configuration, or in a new process: what was known goes on.

use std::time::Duration;

use super::{ClockPolicy, Gathering, State, SystemProcess};
use crate::clock::Reference;
use crate::clock::handover::UNWATCHED;
use crate::time::ClockReadings;
use crate::upstream::filter::View;
use crate::upstream::leap::LeapTable;
use crate::upstream::registry::{Registry, UpstreamId};
use crate::wire::Leap;

impl SystemProcess {
    /// From now on does as `policy` says, and forgets those who are not among the `upstreams` any more. Nothing that is served
    /// changes by that: the next decision judges anew.
    ///
    /// Where none of those who were believed stays, the last time goes on, and the new ones are believed as at a start:
    /// not for answering first.
    pub fn reconfigure(&mut self, now: Duration, policy: ClockPolicy, upstreams: &Registry) {
        let stays = |id: &UpstreamId| upstreams.contains(*id);
        self.system_peer = self.system_peer.filter(stays);
        self.rival = self.rival.filter(|(rival, _)| stays(rival));
        self.dispute = self.dispute.take().and_then(|mut begun| {
            begun.retain(|(one, _)| stays(one));
            Some(begun).filter(|begun| !begun.is_empty())
        });
        self.believed.retain(stays);
        if self.believed.is_empty() {
            self.none_believed = true;
            self.gathering = Gathering {
                since: now,
                known: false,
            };
        }
        self.survived.retain(stays);
        // It counts the samples of other upstreams from now on.
        self.truth_samples = (0, Vec::new());
        self.policy = policy;
        self.limit_validity();
    }

    /// The part of the pollers' settings that is decided here: how old samples count, and how often new ones were wanted at once.
    pub fn for_pollers(&self) -> (View, u64) {
        (self.view, self.resample_requests)
    }

    /// The leap seconds that are decided, as they are known now.
    pub fn set_leaps(&mut self, leaps: Option<LeapTable>) {
        self.leaps = leaps;
    }

    /// Goes on at `now` with what a predecessor announced, at the start: as in holdover, and nobody is believed for answering
    /// first. Is it still true? It is not if nobody watched the host's clocks for 5 s, or if they jumped meanwhile.
    pub fn resume(&mut self, left: Reference, now: ClockReadings) -> bool {
        let unwatched = now.raw.checked_sub(left.published.raw);
        let is_local = left.not_after == Duration::MAX;
        let good = unwatched.is_some_and(|unwatched| unwatched <= UNWATCHED)
            && left.at(now).leap != Leap::Unsynchronized
            && (!is_local || self.policy.local.is_some())
            && (is_local || left.root_distance_at(now.raw) <= self.policy.max_distance);
        if good {
            self.state = if is_local { State::Local } else { State::Holdover };
            self.reference = left;
            self.limit_validity();
        }
        good
    }

    /// A time that is announced already keeps the new limit, too.
    fn limit_validity(&mut self) {
        if self.reference.is_usable() && self.state != State::Local {
            let expiry = self.reference.expiry(self.policy.max_distance);
            self.reference.not_after = self.pending_leap.map_or(expiry, |(at, _)| expiry.min(at));
        }
    }
}
