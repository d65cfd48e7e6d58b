//! Pure. The system process under a new configuration, or in a new process: its state continues.

use std::time::Duration;

use super::{Gathering, State, SystemProcess};
use crate::clock::Reference;
use crate::clock::handover::UNWATCHED;
use crate::leap::LeapTable;
use crate::time::ClockReadings;
use crate::upstream::clock_policy::ClockPolicy;
use crate::upstream::filter::View;
use crate::upstream::registry::{Registry, UpstreamId};
use crate::wire::Leap;

impl SystemProcess {
    /// Applies a new `policy`, and forgets upstreams that are not among the `upstreams` any more.
    ///
    /// The served time changes only with the next decision. If none of the selected upstreams stays, the last time
    /// stays in effect, and the new ones are selected as at a start: being the first to answer is not enough.
    pub fn reconfigure(&mut self, now: Duration, policy: ClockPolicy, upstreams: &Registry) {
        self.forget_gone(upstreams);
        if self.believed.is_empty() {
            self.none_believed = true;
            self.gathering = Gathering {
                since: now,
                known: false,
            };
        }
        self.policy = policy;
        self.limit_validity();
    }

    /// Forgets upstreams that are not among the `upstreams` any more: members of a pool come and go.
    pub fn forget_gone(&mut self, upstreams: &Registry) {
        let stays = |id: &UpstreamId| upstreams.contains(*id);
        self.system_peer = self.system_peer.filter(stays);
        self.rival = self.rival.filter(|(rival, _)| stays(rival));
        self.dispute = self.dispute.take().and_then(|mut begun| {
            begun.retain(|(one, _)| stays(one));
            Some(begun).filter(|begun| !begun.is_empty())
        });
        self.believed.retain(stays);
        self.survived.retain(stays);
        // The number of samples is that of other upstreams from now on.
        self.truth_samples = (0, Vec::new());
    }

    /// Returns the part of the pollers' settings that the system process decides.
    ///
    /// It is the corrections of older samples, and the number of requests for new samples at once.
    pub fn for_pollers(&self) -> (View, u64) {
        (self.view, self.resample_requests)
    }

    /// Sets the list of leap seconds.
    pub fn set_leaps(&mut self, leaps: Option<LeapTable>) {
        self.leaps = leaps;
    }

    /// Continues at the start, at `now`, with the time that a predecessor announced, as in holdover.
    ///
    /// Returns false, and changes nothing, if that time can't be used: the host's clocks were not watched for more than
    /// 5 s, or jumped meanwhile, or the policy does not allow it.
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

    /// Applies the new limit to the time that is announced already.
    fn limit_validity(&mut self) {
        if self.reference.is_usable() && self.state != State::Local {
            let expiry = self.reference.expiry(self.policy.max_distance);
            self.reference.not_after = self.pending_leap.map_or(expiry, |(at, _)| expiry.min(at));
        }
    }
}
