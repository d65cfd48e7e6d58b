//! Pure. The condition of a member of a pool: whether it is bad, and for which reason.

use std::time::Duration;

use strum::IntoStaticStr;

use crate::upstream::candidate::SelectionStatus;
use crate::upstream::fault::QueryFault;
use crate::upstream::registry::Entry;

/// Time for the first good answer, and the same with key establishment.
const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(15);
const FIRST_ANSWER_WITH_KEYS_WITHIN: Duration = Duration::from_secs(30);
/// Time for which a standing must last, and the number of good answers meanwhile, before it counts against a member.
const LASTS: Duration = Duration::from_secs(8 * 60);
const LASTS_FOR: u64 = 4;
/// The same for an upstream that is the same server as another one.
const SAME_FOR: Duration = Duration::from_secs(120);

/// The reason why a member of a pool is bad, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Defect {
    /// Refuses to answer (kiss DENY or RSTR).
    Denied,
    /// Contradicted the majority for eight minutes.
    Falseticker,
    /// Is the same server as another upstream.
    SameServer,
    /// Its root distance was too large for eight minutes.
    TooFar,
    /// Its jitter was too large for eight minutes.
    TooJittery,
    /// Does not answer any more.
    Silent,
    /// Never gave a good answer.
    NoAnswer,
    /// On trial, it did not agree with the served time.
    Disagrees,
}

impl Defect {
    /// Returns its word in the log and in the record.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The opinion of the system process on a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberJudgement {
    /// Its standing.
    pub standing: SelectionStatus,
    /// Whether there is a majority: an upstream that contradicts it is false.
    pub has_majority: bool,
    /// Whether it agrees with the served time, vote or not; `None` while nothing can be said.
    pub agrees: Option<bool>,
}

/// The knowledge of a member.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    /// The time at which it became a member, by the raw counter.
    since: Duration,
    /// Good answers so far.
    accepted: u64,
    /// Whether it had a good answer: then it may have a vote.
    was_good: bool,
    /// Whether it agrees with the served time.
    agrees: Option<bool>,
    /// A standing that may count against it: since when, and the good answers then.
    doubt: Option<(Defect, Duration, u64)>,
    defect: Option<Defect>,
}

impl Condition {
    pub(super) const fn new(now: Duration) -> Self {
        Self {
            since: now,
            accepted: 0,
            was_good: false,
            agrees: None,
            doubt: None,
            defect: None,
        }
    }

    /// Returns the reason why it is bad, if it is.
    pub(super) const fn defect(&self) -> Option<Defect> {
        self.defect
    }

    /// Whether it never gave a good answer, and had the time to.
    pub(super) fn is_useless(&self) -> bool {
        self.defect.is_some() && !self.was_good
    }

    /// Whether it is bad after it was good: then its vote may still count.
    pub(super) fn had_vote_and_is_bad(&self) -> bool {
        self.defect.is_some() && self.was_good
    }

    /// Whether it had this many good answers, and does not contradict the served time.
    pub(super) fn is_proven(&self, answers: u64) -> bool {
        self.defect.is_none() && self.accepted >= answers && self.agrees != Some(false)
    }

    /// Takes what is known of it at `now`; `is_elsewhere_too`: an earlier upstream has its address.
    pub(super) fn observe(
        &mut self,
        entry: &Entry,
        judgement: MemberJudgement,
        is_elsewhere_too: bool,
        now: Duration,
    ) {
        let peer = &entry.peer;
        (self.accepted, self.agrees) = (peer.accepted, judgement.agrees);
        self.was_good |= peer.accepted > 0;
        let doubt = doubt(judgement);
        self.doubt = match (self.doubt, doubt) {
            (Some(before), Some(now)) if before.0 == now => Some(before),
            (_, now_doubted) => now_doubted.map(|defect| (defect, now, peer.accepted)),
        };
        let patience = match entry.settings.nts {
            None => FIRST_ANSWER_WITHIN,
            Some(_) => FIRST_ANSWER_WITH_KEYS_WITHIN,
        };
        let has_fault = peer
            .fault
            .is_some_and(|fault| !matches!(fault, QueryFault::Short(_)));
        let is_late = now.saturating_sub(self.since) >= patience;
        self.defect = match peer.accepted {
            _ if peer.stopped => Some(Defect::Denied),
            _ if is_elsewhere_too => Some(Defect::SameServer),
            0 => (has_fault || is_late).then_some(Defect::NoAnswer),
            _ if peer.reach == 0 => Some(Defect::Silent),
            _ => self.lasting(peer.accepted, now).or_else(|| self.disagrees(entry)),
        };
    }

    /// Returns the doubt if it has lasted.
    fn lasting(&self, accepted: u64, now: Duration) -> Option<Defect> {
        let (defect, since, answers) = self.doubt?;
        let lasted = now.saturating_sub(since);
        let is_long = if defect == Defect::SameServer {
            lasted >= SAME_FOR
        } else {
            lasted >= LASTS && accepted.saturating_sub(answers) >= LASTS_FOR
        };
        is_long.then_some(defect)
    }

    /// On trial there is no standing: it has to agree once it is proven.
    fn disagrees(&self, entry: &Entry) -> Option<Defect> {
        let is_against = self.agrees == Some(false) && self.accepted >= super::PROVEN;
        (entry.settings.is_on_trial() && is_against).then_some(Defect::Disagrees)
    }
}

/// Returns the defect that a standing is, if it lasts.
fn doubt(judgement: MemberJudgement) -> Option<Defect> {
    match judgement.standing {
        SelectionStatus::Falseticker if judgement.has_majority => Some(Defect::Falseticker),
        SelectionStatus::Duplicate => Some(Defect::SameServer),
        SelectionStatus::TooFar => Some(Defect::TooFar),
        SelectionStatus::TooJittery => Some(Defect::TooJittery),
        SelectionStatus::Falseticker
        | SelectionStatus::Mirrored
        | SelectionStatus::SystemPeer
        | SelectionStatus::Agrees
        | SelectionStatus::Outlier
        | SelectionStatus::TooFew
        | SelectionStatus::NoSelect
        | SelectionStatus::Smeared
        | SelectionStatus::Plain
        | SelectionStatus::Expired
        | SelectionStatus::Refused
        | SelectionStatus::Silent
        | SelectionStatus::Unknown => None,
    }
}
