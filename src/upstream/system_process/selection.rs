//! Pure. Who may be believed, who agrees, and whether that is enough.

use std::time::Duration;

use super::correctness::TruthInterval;
use super::{ClockSource, SourceShortage, State, SystemProcess};
use crate::time::{ClockReadings, NtpDuration};
use crate::upstream::association::Peer;
use crate::upstream::candidate::{
    Candidate, Limits, SILENT_CLAIMS_COUNT, SelectionStatus, SelectionStatuses,
};
use crate::upstream::registry::{Entry, Registry, UpstreamId};
use crate::upstream::select::{Agreement, Interval, cluster, majority, majority_span};
use crate::wire::Leap;

/// How long to wait for the first word of an upstream whose name is still to be resolved.
const NAME_ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait for most of those who are new while the last time is still good, or for all after a sleep.
const ANSWERS_WITHIN: Duration = Duration::from_secs(64);

/// What the candidates say together.
pub(super) enum Selection {
    /// Enough of them agree.
    Believe(Majority),
    /// They contradict each other (no majority), or the majority contradicts the clock that is served.
    Contradiction(Option<Majority>, SourceShortage),
    /// There are none, or too few.
    Nobody(SourceShortage),
}

/// Those who agree, and what they say.
pub(super) struct Majority {
    /// All of them, outliers too.
    pub(super) believed: Vec<Candidate>,
    /// Those whose time is taken.
    pub(super) survivors: Vec<Candidate>,
    /// The leap second that a majority of all warns of.
    pub(super) leap: Leap,
    /// Where the truth can be.
    pub(super) truth: TruthInterval,
    /// What a majority finds plausible.
    pub(super) plausible: Interval,
}

impl Majority {
    /// `one` alone, whatever the others say: the operator wants it so.
    pub(super) fn of_one(now: ClockReadings, one: Candidate) -> Option<Self> {
        Some(Self {
            leap: one.header.leap,
            truth: TruthInterval::of(now.raw, &[one.claim], &[one.rate], 0)?,
            plausible: one.plausible(),
            believed: vec![one],
            survivors: vec![one],
        })
    }
}

/// One server's vote: all that its addresses claim together.
struct Vote {
    members: Vec<Candidate>,
    claim: Interval,
    rate: Interval,
    plausible: Interval,
}

impl Vote {
    fn of(members: Vec<Candidate>) -> Option<Self> {
        let hull = |of: fn(&Candidate) -> Interval| members.iter().map(of).reduce(|all, one| all.hull(&one));
        Some(Self {
            claim: hull(|one| one.claim)?,
            rate: hull(|one| one.rate)?,
            plausible: hull(Candidate::plausible)?,
            members,
        })
    }

    fn is_available(&self) -> bool {
        self.members.iter().any(|one| one.unavailable.is_none())
    }

    fn is_trusted(&self) -> bool {
        self.members.iter().any(|one| one.role.trust)
    }
}

impl SystemProcess {
    /// Each upstream as a candidate, or the reason why not.
    pub(super) fn candidates(
        &self,
        upstreams: &Registry,
        now: Duration,
    ) -> (Vec<Candidate>, SelectionStatuses) {
        let limits = Limits {
            distance: self.policy.max_distance,
            jitter: self.policy.max_jitter,
        };
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut standings = SelectionStatuses::new();
        for upstream in upstreams.iter() {
            let standing = match Candidate::of(upstream, now, &self.view, &limits) {
                Ok(one) => {
                    candidates.push(one);
                    one.unavailable.unwrap_or(SelectionStatus::Falseticker)
                }
                Err(standing) => standing,
            };
            standings.insert(upstream.id, standing);
        }
        (candidates, standings)
    }

    /// Which clock is served now.
    pub(super) fn source(&self, upstreams: &Registry) -> ClockSource {
        match self.policy.source {
            ClockSource::Auto if upstreams.iter().any(|one| one.peer.on_this_host) => ClockSource::System,
            ClockSource::Auto | ClockSource::Tracked => ClockSource::Tracked,
            ClockSource::System => ClockSource::System,
        }
    }

    /// Who agrees, and is that enough?
    pub(super) fn select(
        &mut self,
        now: ClockReadings,
        candidates: &[Candidate],
        upstreams: &Registry,
        source: ClockSource,
        standings: &mut SelectionStatuses,
    ) -> Selection {
        let answering = candidates.iter().filter(|one| one.unavailable.is_none()).count();
        if answering == 0 {
            let (of, wanted) = (voters(upstreams).count(), usize::from(self.policy.min_sources));
            return Selection::Nobody(if of == 0 {
                SourceShortage::NoUpstream
            } else {
                SourceShortage::TooFew { agree: 0, of, wanted }
            });
        }
        let votes = self.votes(candidates);
        let trusted = votes.iter().any(Vote::is_trusted);
        let voters: Vec<&Vote> = votes
            .iter()
            .filter(|vote| vote.is_trusted() || !trusted)
            .collect();
        let unknown = if trusted {
            0
        } else {
            self.unknown(now.raw, upstreams)
        };
        let claims: Vec<Interval> = voters.iter().map(|vote| vote.claim).collect();
        //= RFC 5905 §11.2 no-majority
        let Some((agreement, truth)) =
            Agreement::of(&claims).zip(TruthInterval::of(now.raw, &claims, &rates(&voters), unknown))
        else {
            return Selection::Contradiction(None, SourceShortage::NoMajority { answering });
        };
        let available = votes.iter().filter(|vote| vote.is_available());
        let agree = agreement.depth(&available.map(|vote| vote.claim).collect::<Vec<_>>());
        let believed: Vec<Candidate> = votes
            .iter()
            .filter(|vote| agreement.includes(&vote.claim))
            .flat_map(|vote| vote.members.iter().copied())
            .filter(|one| one.unavailable.is_none())
            .collect();
        let survivors = self.survivors(&believed, standings);
        for extra in votes.iter().flat_map(further_addresses) {
            standings.insert(extra, SelectionStatus::Duplicate);
        }
        if let Some(shortage) = self.shortage(now.raw, agree, &believed, upstreams) {
            for one in &believed {
                standings.insert(one.id, SelectionStatus::TooFew);
            }
            return Selection::Nobody(shortage);
        }
        let plausible: Vec<Interval> = voters.iter().map(|vote| vote.plausible).collect();
        let majority = Majority {
            leap: majority_leap(&voters),
            truth,
            plausible: majority_span(&plausible, unknown).unwrap_or(truth.offsets()),
            believed,
            survivors,
        };
        match self.contradicted_clock(now, candidates, source, &majority) {
            Some(shortage) => Selection::Contradiction(Some(majority), shortage),
            None => Selection::Believe(majority),
        }
    }

    /// The candidates by server.
    fn votes(&mut self, candidates: &[Candidate]) -> Vec<Vote> {
        let groups = self.aliases.groups(candidates);
        let members = |group: Vec<usize>| -> Vec<Candidate> {
            let shared_by = group.len();
            let members = group.into_iter().filter_map(|place| candidates.get(place));
            members.map(|one| Candidate { shared_by, ..*one }).collect()
        };
        groups
            .into_iter()
            .filter_map(|group| Vote::of(members(group)))
            .collect()
    }

    /// What is missing for those who agree to be believed, if something is.
    fn shortage(
        &self,
        now: Duration,
        agree: usize,
        believed: &[Candidate],
        upstreams: &Registry,
    ) -> Option<SourceShortage> {
        let (of, wanted) = (voters(upstreams).count(), usize::from(self.policy.min_sources));
        if agree < wanted {
            return Some(SourceShortage::TooFew { agree, of, wanted });
        }
        let is_required = upstreams.iter().any(|one| one.settings.role.require);
        if is_required && !believed.iter().any(|one| one.role.require) {
            return Some(SourceShortage::NoneRequired { agree, of });
        }
        (!self.enough_asked(now, agree, upstreams)).then_some(SourceShortage::NotAllAsked { agree, of })
    }

    /// How many of them have a claim that nobody knows: they have not had the time to answer since we started or the host slept;
    /// or they used to answer and have not since the host slept, which voids what they said. Their votes last as long as those of
    /// the silent.
    fn unknown(&self, now: Duration, upstreams: &Registry) -> usize {
        let waited = now.saturating_sub(self.gathering.since);
        let waits = |peer: &Peer| {
            waited < self.first_answer_within() && (self.gathering.known || peer.address.is_none())
        };
        let owes =
            |peer: &Peer| waited < SILENT_CLAIMS_COUNT && self.gathering.known && peer.last_good.is_some();
        voters(upstreams)
            .filter(|one| one.peer.known(&self.view).is_none() && (waits(&one.peer) || owes(&one.peer)))
            .count()
    }

    /// How long to wait for a first answer. Those who were asked before are asked again at once, but if that was just done.
    fn first_answer_within(&self) -> Duration {
        if self.gathering.known {
            ANSWERS_WITHIN
        } else {
            NAME_ANSWERS_WITHIN
        }
    }

    /// Does the majority contradict the clock of the host, which is served: the daemon that keeps it, or the clock itself by
    /// more than may be announced?
    //= RFC 5905 §11.2.3 panic
    fn contradicted_clock(
        &self,
        now: ClockReadings,
        candidates: &[Candidate],
        source: ClockSource,
        majority: &Majority,
    ) -> Option<SourceShortage> {
        let is_here = |one: &Candidate| one.on_this_host && one.unavailable.is_none();
        let any_here = |list: &[Candidate]| list.iter().any(is_here);
        let host = self.scale.host_offset(now);
        let by = majority.truth.offsets().farthest(host);
        let daemon = any_here(candidates) && !any_here(&majority.believed) && majority.believed.len() >= 2;
        (source == ClockSource::System && (daemon || by > self.policy.max_distance))
            .then_some(SourceShortage::HostContradicted { by })
    }

    /// Who answers first is not believed for that: while none is believed yet, either more than half must agree, or every other must
    /// have been asked in vain (a name that can't be resolved is not waited for). While the last time goes on, a lost
    /// packet is no reason to leave it.
    fn enough_asked(&self, now: Duration, agree: usize, upstreams: &Registry) -> bool {
        if !self.none_believed {
            return true;
        }
        let waited = now.saturating_sub(self.gathering.since);
        let answered = |peer: &Peer| peer.known(&self.view).is_some();
        let heard = |peer: &Peer| match self.state {
            State::Synchronized | State::Holdover => waited >= ANSWERS_WITHIN,
            State::Init | State::Unsynchronized | State::Disputed | State::Local => {
                answered(peer)
                    || (peer.address.is_some() && !self.gathering.known)
                    || waited >= self.first_answer_within()
            }
        };
        agree >= majority(voters(upstreams).count()) || voters(upstreams).all(|one| heard(&one.peer))
    }

    /// Leaves out the outliers of those who agree, and says so.
    fn survivors(&mut self, believed: &[Candidate], standings: &mut SelectionStatuses) -> Vec<Candidate> {
        let zero = believed
            .iter()
            .map(|one| one.offset)
            .min()
            .unwrap_or(NtpDuration::ZERO);
        let seen: Vec<_> = believed
            .iter()
            .map(|one| one.survivor(zero, self.survived.contains(&one.id)))
            .collect();
        let survives = cluster(&seen);
        let mut survivors = Vec::new();
        for (one, survives) in believed.iter().zip(survives) {
            let standing = if survives {
                SelectionStatus::Agrees
            } else {
                SelectionStatus::Outlier
            };
            standings.insert(one.id, standing);
            survivors.extend(survives.then_some(*one));
        }
        self.survived = survivors.iter().map(|one| one.id).collect();
        survivors
    }
}

/// The upstreams that have a vote: all that are not only watched.
pub(super) fn voters(upstreams: &Registry) -> impl Iterator<Item = &Entry> {
    upstreams.iter().filter(|one| !one.settings.role.noselect)
}

fn rates(voters: &[&Vote]) -> Vec<Interval> {
    voters.iter().map(|vote| vote.rate).collect()
}

/// All addresses of a server but the lowest one, which stands for it.
fn further_addresses(vote: &Vote) -> impl Iterator<Item = UpstreamId> + '_ {
    let key = |one: &Candidate| (one.address, one.id);
    let members = vote.members.iter().filter(|one| one.unavailable.is_none());
    let first = members.clone().map(key).min();
    members
        .filter(move |one| Some(key(one)) != first)
        .map(|one| one.id)
}

/// What a majority of all says of the next leap second, whether they agree on the time or not.
//= RFC 5905 §11.2.3 leap
fn majority_leap(voters: &[&Vote]) -> Leap {
    let says = |leap| {
        let all_say = |vote: &&&Vote| vote.members.iter().all(|one| one.header.leap == leap);
        voters.iter().filter(all_say).count() >= majority(voters.len())
    };
    [Leap::AddSecond, Leap::DeleteSecond]
        .into_iter()
        .find(|&leap| says(leap))
        .unwrap_or(Leap::NoWarning)
}
