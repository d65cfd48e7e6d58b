//! Pure. Upstreams that smear a leap second: their time is not UTC for some hours, and never becomes it.
//!
//! They are known by the configuration, or by name, and have no vote then. Others show it by their walk: a falseticker
//! that is as far from the majority as a usual smear is named; and a majority that walks away from what was known before
//! the smear, as far as a usual one does, is not followed.

use super::SystemProcess;
use super::leap_transition::LEAPS_APART;
use super::selection::Majority;
use crate::leap::{LeapEvent, Mark, Smear, SmearKind, SmearWindow};
use crate::time::{ClockReadings, NtpDuration, NtpTimestamp};
use crate::upstream::candidate::{Candidate, SelectionStatus, SelectionStatuses};
use crate::upstream::registry::Entry;
use crate::upstream::select::Interval;

/// The smears that are in use at public servers, and were.
const USUAL: [Smear; 4] = [
    usual(SmearKind::Linear, 24, SmearWindow::Around),
    usual(SmearKind::Linear, 20, SmearWindow::Around),
    usual(SmearKind::Cosine, 24, SmearWindow::Around),
    usual(SmearKind::Linear, 18, SmearWindow::After),
];
/// The time around the leap second in which upstreams that smear are not UTC: a day, and an hour more.
const BARRED: NtpDuration = NtpDuration::from_units((25 * 3600) << 32);
/// The time before the leap second at which the first of the usual smears begins.
const FIRST_BEGINS: NtpDuration = NtpDuration::from_units((12 * 3600) << 32);

const fn usual(kind: SmearKind, hours: u8, window: SmearWindow) -> Smear {
    Smear {
        kind,
        hours,
        window,
        mark: Mark::None,
    }
}

impl SystemProcess {
    /// Notes whether a leap second is so near that upstreams that smear are not UTC.
    pub(super) fn look_for_smears(&mut self, now: ClockReadings) {
        let utc = self.reference.clock.served(now);
        let listed = self
            .near_event(now)
            .is_some_and(|event| (utc - event.midnight()).abs() <= BARRED);
        let leapt = self
            .view
            .leap
            .is_some_and(|(at, _)| now.raw.saturating_sub(at) < LEAPS_APART);
        self.smears_now = listed || leapt || self.pending_leap.is_some();
    }

    /// Returns whether this upstream smears a leap second now, as the configuration says, or as it is known for it.
    pub(super) fn is_barred_smearer(&self, upstream: &Entry) -> bool {
        self.smears_now && upstream.settings.smears()
    }

    /// Returns the leap second that is near, and the count of seconds now.
    fn event_and_count(&self, now: ClockReadings) -> Option<(LeapEvent, NtpTimestamp)> {
        let event = self.leap_event?;
        let utc = self.reference.clock.served(now);
        let leapt = self.has_leapt(now, event, utc)?;
        Some((event, event.count(utc, leapt)))
    }

    /// Names the falsetickers that are as far from the majority as one of the usual smears.
    ///
    /// That changes nothing but their standing: a name costs no vote.
    pub(super) fn name_smearers(
        &self,
        now: ClockReadings,
        candidates: &[Candidate],
        majority: &Majority,
        standings: &mut SelectionStatuses,
    ) {
        let Some((event, count)) = self.event_and_count(now) else {
            return;
        };
        for one in candidates {
            if let Some(standing) = standings.get_mut(&one.id)
                && *standing == SelectionStatus::Falseticker
                && follows_a_smear(one.claim, majority.truth.offsets(), event, count)
            {
                *standing = SelectionStatus::Smeared;
            }
        }
    }

    /// Returns whether the majority walked away from what was known before, as one of the usual smears does.
    ///
    /// Until the first of them begins, what is known is what the majority says. A single upstream can't cause this: it
    /// takes a majority that moves by many ppm.
    pub(super) fn majority_smears(&mut self, now: ClockReadings, majority: &Majority) -> bool {
        let Some((event, count)) = self.event_and_count(now) else {
            return false;
        };
        // The walk shows in what is plausible: a path's asymmetry, which the claims allow for, is the same before and after.
        if event.midnight() - count >= FIRST_BEGINS {
            self.before_smears = Some(majority.truth.with_offsets(majority.plausible));
            return false;
        }
        let Some(before) = self.before_smears else {
            return false;
        };
        follows_a_smear(majority.plausible, before.at(now.raw).offsets(), event, count)
    }
}

/// Returns whether `claim` contradicts `utc` now, and would not if it were that of a clock with one of the usual smears.
fn follows_a_smear(claim: Interval, utc: Interval, event: LeapEvent, count: NtpTimestamp) -> bool {
    let follows = |smear: &Smear| {
        let off = smear.offset_from_utc(&event, count);
        off != NtpDuration::ZERO
            && Interval {
                low: claim.low - off,
                high: claim.high - off,
            }
            .overlaps(&utc)
    };
    !claim.overlaps(&utc) && USUAL.iter().any(follows)
}
