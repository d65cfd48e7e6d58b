//! Pure. Synchronization to the upstreams that agree: the choice of the system peer, and the announced time.

use std::time::Duration;

use super::selection::Majority;
use super::{SourceShortage, State, SystemProcess};
use crate::clock::Reference;
use crate::time::{ClockReadings, NtpDuration};
use crate::upstream::candidate::{Candidate, SelectionStatus, SelectionStatuses};
use crate::upstream::clock_policy::ClockSource;
use crate::wire::MAX_STRATUM;

/// Largest offset between the host's clock and the daemon that keeps it: 1 ms, or the daemon's delay if that is larger.
const KEEPER_WITHIN: NtpDuration = NtpDuration::from_units((1 << 32) / 1000);
/// Ratio of root distances, and the time that it must last, for a rival to replace the system peer.
const RIVAL_NEARER: i64 = 2;
const RIVAL_LASTS: Duration = Duration::from_secs(64);

impl SystemProcess {
    /// Announces the time by the upstreams that agree.
    pub(super) fn synchronize(
        &mut self,
        now: ClockReadings,
        source: ClockSource,
        majority: &Majority,
        standings: &mut SelectionStatuses,
    ) {
        let owner = majority
            .believed
            .iter()
            .find(|one| source == ClockSource::System && self.keeps_the_clock(one, now))
            .copied();
        let Some(chosen) = owner.or_else(|| self.choose_system_peer(now.raw, &majority.survivors)) else {
            return;
        };
        self.update_truth(majority);
        self.record_update(&majority.survivors);
        let announced = match (source, owner) {
            (ClockSource::System, Some(owner)) => self.mirror(now, &owner, majority.leap),
            (ClockSource::System, None) => self.announce(now, &chosen, majority.leap),
            (ClockSource::Tracked | ClockSource::Auto, _) => self.track(now, &chosen, majority),
        };
        let (distance, limit) = (announced.root_distance_at(now.raw), self.policy.max_distance);
        let shortage = if announced.stratum >= MAX_STRATUM {
            Some(SourceShortage::Stratum)
        } else {
            (distance > limit).then_some(SourceShortage::Distance { distance, limit })
        };
        if let Some(shortage) = shortage {
            self.shortage = Some(shortage);
            return self.hold_over(now, false);
        }
        let standing = if owner.is_some() {
            SelectionStatus::Mirrored
        } else {
            SelectionStatus::SystemPeer
        };
        standings.insert(chosen.id, standing);
        self.system_peer = Some(chosen.id);
        self.usable_at = now.raw;
        self.state = State::Synchronized;
        self.shortage = None;
        let not_after = announced.expiry(self.policy.max_distance);
        self.reference = self.until_leap(
            now,
            Reference {
                not_after,
                ..announced
            },
        );
    }

    /// Updates the interval of true time by the `majority`.
    ///
    /// Without a new sample of the same upstreams it stays, wherever their claims have drifted to.
    pub(super) fn update_truth(&mut self, majority: &Majority) {
        let mut voters: Vec<_> = majority
            .believed
            .iter()
            .map(|one| (one.id, one.estimate.at))
            .collect();
        voters.sort_unstable();
        let samples = (self.samples_seen, voters);
        if self.truth.is_none() || self.truth_samples != samples {
            self.truth = Some(majority.truth);
            self.truth_samples = samples;
        }
    }

    /// Sets the reference time to that of the newest sample of any survivor; it stays until the next one.
    //= RFC 5905 §7.3 reference-timestamp
    //= RFC 5905 §11.2.3 later
    //= RFC 5905 §11.2.3 reference-time
    fn record_update(&mut self, survivors: &[Candidate]) {
        let update = |one: &Candidate| {
            (
                one.estimate.at,
                self.scale.at(one.estimate.at) + one.estimate.offset,
            )
        };
        let newest = survivors.iter().max_by_key(|one| (one.estimate.at, one.address));
        self.updated = match (newest.map(update), self.updated) {
            (Some(newest), Some(before)) if newest.0 <= before.0 => Some(before),
            (newest, before) => newest.or(before),
        };
    }

    /// Returns whether this is the daemon that keeps the host's time of day since its last step.
    pub(super) fn keeps_the_clock(&self, one: &Candidate, now: ClockReadings) -> bool {
        let off = (one.offset - self.scale.host_offset(now)).abs();
        one.on_this_host && one.estimate.at >= self.stepped_at && off <= KEEPER_WITHIN.max(one.estimate.delay)
    }

    /// Returns the system peer (RFC 5905 §11.2.2).
    ///
    /// It is a preferred survivor; else the present one, while it survives and no rival is clearly better for a while;
    /// else the nearest to the reference clock.
    //= RFC 5905 §11.2.2 rank
    fn choose_system_peer(&mut self, now: Duration, survivors: &[Candidate]) -> Option<Candidate> {
        let rank = |one: &&Candidate| {
            (
                !one.role.prefer,
                one.stale,
                one.header.stratum,
                one.distance,
                one.address,
            )
        };
        let best = survivors.iter().min_by_key(rank)?;
        let first = |one: &Candidate| (one.role.prefer, one.stale, one.header.stratum);
        let old = survivors.iter().find(|one| Some(one.id) == self.system_peer);
        let Some(old) = old.filter(|old| first(old) == first(best)) else {
            self.rival = None;
            return Some(*best);
        };
        if best.distance.to_units() > old.distance.to_units() / RIVAL_NEARER {
            self.rival = None;
            return Some(*old);
        }
        let since = self
            .rival
            .filter(|(rival, _)| *rival == best.id)
            .map_or(now, |(_, since)| since);
        self.rival = Some((best.id, since));
        Some(if now.saturating_sub(since) >= RIVAL_LASTS {
            *best
        } else {
            *old
        })
    }
}
