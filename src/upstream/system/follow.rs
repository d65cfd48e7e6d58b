//! Pure. Following those who agree: which of them we are a client of, and how wrong we may be then.

use std::time::Duration;

use super::verdict::{Reach, set};
use super::{Source, State, System};
use crate::reference::{Moment, Reference};
use crate::upstream::candidate::{Candidate, Standing};
use crate::wire::{Leap, MAX_STRATUM, NtpDuration};

/// A daemon whose time is further from the host's clock than this (or than its delay) does not keep it.
const OWNED_WITHIN: NtpDuration = NtpDuration::from_units((1 << 32) / 1000);
/// A rival must be so many times nearer than the system peer, for so long, to take its place.
const RIVAL_NEARER: i64 = 2;
const RIVAL_LASTS: Duration = Duration::from_secs(64);

impl System {
    /// Announces the time by those who agree.
    pub(super) fn follow(
        &mut self,
        now: Moment,
        source: Source,
        survivors: &[Candidate],
        (leap, reach): (Leap, Option<Reach>),
        standings: &mut [Standing],
    ) {
        let owner = survivors
            .iter()
            .find(|one| source == Source::System && self.keeps_the_clock(one, now))
            .copied();
        let Some(chosen) = owner.or_else(|| self.choose(now.raw, survivors)) else {
            return self.go_on_without(now, false);
        };
        let announced = match (source, owner) {
            (Source::System, Some(owner)) => self.mirror(now, &owner, leap),
            (Source::System, None) => self.announce(now, &chosen, leap),
            (Source::Tracked | Source::Auto, _) => self.track(now, &chosen, survivors, leap),
        };
        let announced = self.wide_enough(now, announced, reach);
        if announced.stratum >= MAX_STRATUM || announced.root_distance_at(now.raw) > self.policy.max_distance
        {
            return self.go_on_without(now, false);
        }
        set(
            standings,
            chosen.index,
            if owner.is_some() {
                Standing::Mirrored
            } else {
                Standing::SystemPeer
            },
        );
        self.system_peer = Some(chosen.index);
        self.usable_at = now.raw;
        self.state = State::Synchronized;
        let not_after = announced.expiry(self.policy.max_distance);
        self.reference = self.until_leap(
            now,
            Reference {
                not_after,
                ..announced
            },
        );
    }

    /// While somebody contradicts, a minority of liars may have drawn those who agree to the edge of the truth: the truth
    /// is surely only within `reach`, and the announced error has to cover that.
    fn wide_enough(&mut self, now: Moment, announced: Reference, reach: Option<Reach>) -> Reference {
        let served = announced.clock.served(now) - self.scale.at(now.raw);
        // While it is slewed it moves away from one end.
        let moves = announced.clock.to_slew().abs();
        let farthest = |(low, high): Reach| (high - served).max(served - low) + moves;
        let needed = reach.map_or(NtpDuration::ZERO, |reach| {
            farthest(reach) - announced.root_delay.half()
        });
        // Without a new sample nothing new is known, wherever the claims have drifted to.
        let (heard, before) = self.reached;
        let needed = if heard == self.heard {
            needed.max(before)
        } else {
            needed
        };
        self.reached = (self.heard, needed);
        Reference {
            root_dispersion: announced.root_dispersion.max(needed),
            ..announced
        }
    }

    /// Is this the daemon that keeps the host's time of day, as it is since it was last stepped?
    pub(super) fn keeps_the_clock(&self, one: &Candidate, now: Moment) -> bool {
        let off = (one.offset - self.scale.host_offset(now)).abs();
        one.on_this_host && one.estimate.at >= self.stepped_at && off <= OWNED_WITHIN.max(one.estimate.delay)
    }

    /// The system peer: a preferred one, else the one we have as long as no rival is better clearly and lastingly,
    /// so that we do not hop; else the nearest to the reference clock (RFC 5905 §11.2.3).
    fn choose(&mut self, now: Duration, survivors: &[Candidate]) -> Option<Candidate> {
        let rank = |one: &&Candidate| (!one.role.prefer, one.header.stratum, one.distance);
        let best = survivors.iter().min_by_key(rank)?;
        let old = survivors.iter().find(|one| Some(one.index) == self.system_peer);
        let Some(old) = old
            .filter(|old| (old.role.prefer, old.header.stratum) == (best.role.prefer, best.header.stratum))
        else {
            self.rival = None;
            return Some(*best);
        };
        if best.distance.to_units() > old.distance.to_units() / RIVAL_NEARER {
            self.rival = None;
            return Some(*old);
        }
        let since = self
            .rival
            .filter(|(rival, _)| *rival == best.index)
            .map_or(now, |(_, since)| since);
        self.rival = Some((best.index, since));
        Some(if now.saturating_sub(since) >= RIVAL_LASTS {
            *best
        } else {
            *old
        })
    }
}
