//! Pure. The system process under a new configuration: what was known of those who stay goes on.

use std::time::Duration;

use super::{ClockPolicy, State, System};
use crate::upstream::Role;
use crate::upstream::filter::LeapShift;
use crate::upstream::leap::LeapTable;
use crate::wire::NtpDuration;

impl System {
    /// From now on does as `policy` says, with upstreams in these `roles`; `kept` says for each of them which one it was
    /// before, if it was there. Nothing that is served changes by that: the next decision judges anew.
    ///
    /// Where none of those who were believed stays, the last time goes on, and the new ones are believed as at a start:
    /// not for answering first.
    pub fn reconfigure(
        &mut self,
        now: Duration,
        policy: ClockPolicy,
        roles: Vec<Role>,
        kept: &[Option<usize>],
    ) {
        let place = |old: usize| kept.iter().position(|before| *before == Some(old));
        self.system_peer = self.system_peer.and_then(place);
        self.rival = self
            .rival
            .and_then(|(rival, since)| place(rival).map(|rival| (rival, since)));
        self.dispute = self.dispute.take().and_then(|begun| {
            let stay = begun
                .into_iter()
                .filter_map(|(old, heard)| place(old).map(|new| (new, heard)));
            Some(stay.collect::<Vec<_>>()).filter(|stay| !stay.is_empty())
        });
        self.believed = self.believed.iter().copied().filter_map(place).collect();
        if self.believed.is_empty() {
            self.strangers_since = Some(now);
        }
        // It counts the samples of other upstreams from now on.
        self.reached = (0, NtpDuration::ZERO);
        (self.policy, self.roles) = (policy, roles);
        self.shorten();
    }

    /// What who asks must know of: the last leap second, and how often samples were wanted at once.
    pub fn orders(&self) -> (Option<LeapShift>, u64) {
        (self.view.leap, self.wakes)
    }

    /// The leap seconds that are decided, as they are known now.
    pub fn set_leaps(&mut self, leaps: Option<LeapTable>) {
        self.leaps = leaps;
    }

    /// A time that is announced already keeps the new limit, too.
    fn shorten(&mut self) {
        if self.reference.is_usable() && self.state != State::Local {
            let expiry = self.reference.expiry(self.policy.max_distance);
            self.reference.not_after = self.pending_leap.map_or(expiry, |(at, _)| expiry.min(at));
        }
    }
}
