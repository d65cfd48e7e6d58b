//! Pure. The selection: which upstreams are candidates, which of them agree, and whether these are enough.

use std::time::Duration;

use super::correctness::TruthInterval;
use super::{SourceShortage, State, SystemProcess};
use crate::time::{ClockReadings, NtpDuration};
use crate::upstream::candidate::{
    Candidate, Limits, SILENT_CLAIMS_COUNT, SelectionStatus, SelectionStatuses,
};
use crate::upstream::clock_policy::{Authenticated, ClockSource};
use crate::upstream::peer::Peer;
use crate::upstream::registry::{Entry, Registry, UpstreamId};
use crate::upstream::select::{Agreement, Interval, cluster, majority, majority_span};
use crate::wire::Leap;

/// Waiting time for the first answer of an upstream whose name is still to be resolved.
const NAME_ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// The same for one with NTS: the name is resolved, keys are established, and the server they are for may have a name.
const KEYS_ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// Waiting time for the answers of new upstreams while the last time is still valid, or of all after a sleep.
const ANSWERS_WITHIN: Duration = Duration::from_secs(64);

/// The result of the selection.
pub(super) enum Selection {
    /// Enough candidates agree.
    Believe(Majority),
    /// There is no majority, or it contradicts the host's clock, which is served.
    Contradiction(Option<Majority>, SourceShortage),
    /// There are no candidates, or too few.
    NotEnough(SourceShortage),
}

/// The upstreams that agree, and the time by them.
pub(super) struct Majority {
    /// All truechimers, with outliers.
    pub(super) believed: Vec<Candidate>,
    /// The survivors of the cluster algorithm.
    pub(super) survivors: Vec<Candidate>,
    /// The leap second that a majority of all warns of.
    pub(super) leap: Leap,
    /// The interval of true time.
    pub(super) truth: TruthInterval,
    /// The offsets that a majority finds plausible.
    pub(super) plausible: Interval,
}

impl Majority {
    /// Returns the candidate `one` alone as the majority, as the operator has configured.
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

/// A server's vote: the hull of the claims of its addresses.
pub(super) struct Vote {
    pub(super) members: Vec<Candidate>,
    claim: Interval,
    /// The claim of its members that are authenticated, if there are some.
    pub(super) authenticated: Option<Interval>,
    rate: Interval,
    plausible: Interval,
}

impl Vote {
    fn of(members: Vec<Candidate>) -> Option<Self> {
        let hull = |of: fn(&Candidate) -> Interval| members.iter().map(of).reduce(|all, one| all.hull(&one));
        let authenticated = members.iter().filter(|one| one.authenticated);
        Some(Self {
            claim: hull(|one| one.claim)?,
            authenticated: authenticated
                .map(|one| one.claim)
                .reduce(|all, one| all.hull(&one)),
            rate: hull(|one| one.rate)?,
            plausible: hull(Candidate::plausible)?,
            members,
        })
    }

    fn is_available(&self) -> bool {
        self.members.iter().any(|one| one.unavailable.is_none())
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.members.iter().any(|one| one.role.trust)
    }
}

impl SystemProcess {
    /// Returns all candidates, and the first standing of each upstream.
    pub(super) fn candidates(
        &self,
        upstreams: &Registry,
        now: Duration,
    ) -> (Vec<Candidate>, SelectionStatuses) {
        let limits = self.limits();
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut standings = SelectionStatuses::new();
        for upstream in upstreams.iter() {
            let standing = match Candidate::of(upstream, now, &self.view, &limits) {
                Ok(one) if self.is_barred_smearer(upstream) => {
                    one.unavailable.unwrap_or(SelectionStatus::Smeared)
                }
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

    fn limits(&self) -> Limits {
        Limits {
            distance: self.policy.max_distance,
            jitter: self.policy.max_jitter,
            only_authenticated: self.policy.authenticated == Authenticated::Require,
        }
    }

    /// Returns whether an upstream without a vote agrees with the time that is announced at `now`.
    ///
    /// False if it would be no candidate; `None` while no time is announced that is not a local reference.
    pub fn would_agree(&self, now: ClockReadings, upstream: &Entry) -> Option<bool> {
        let mut voter = upstream.clone();
        voter.settings.role.noselect = false;
        let one = Candidate::of(&voter, now.raw, &self.view, &self.limits());
        let Some(one) = one.ok().filter(|one| one.unavailable.is_none()) else {
            return Some(false);
        };
        let is_told = self.reference.is_usable() && self.state != State::Local;
        let served = self.reference.clock.served(now) - self.scale.at(now.raw);
        let error = self.reference.root_distance_at(now.raw);
        is_told.then(|| Interval::around(served, error).overlaps(&one.claim))
    }

    /// Returns the clock to serve now: `System` or `Tracked`.
    pub(super) fn source(&self, upstreams: &Registry) -> ClockSource {
        match self.policy.source {
            ClockSource::Auto if upstreams.iter().any(|one| one.peer.on_this_host) => ClockSource::System,
            ClockSource::Auto | ClockSource::Tracked => ClockSource::Tracked,
            ClockSource::System => ClockSource::System,
        }
    }

    /// Selects the candidates that agree, and checks whether these are enough; writes their `standings`.
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
            let (of, wanted) = (
                self.voters(upstreams).count(),
                usize::from(self.policy.min_sources),
            );
            return Selection::NotEnough(if of == 0 {
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
            self.unknown(now.raw, upstreams).count()
        };
        let claims: Vec<Interval> = voters.iter().map(|vote| vote.claim).collect();
        //= RFC 5905 §11.2 no-majority
        let Some((agreement, truth)) =
            Agreement::of(&claims).zip(TruthInterval::of(now.raw, &claims, &rates(&voters), unknown))
        else {
            return Selection::Contradiction(None, SourceShortage::NoMajority { answering });
        };
        let unknown_authenticated = self.unknown(now.raw, upstreams);
        let unknown_authenticated = unknown_authenticated
            .filter(|one| one.settings.is_authenticated())
            .count();
        let available = votes.iter().filter(|vote| vote.is_available());
        let agree = agreement.depth(&available.map(|vote| vote.claim).collect::<Vec<_>>());
        let agreement = self.authenticated_agreement(agreement, &voters, upstreams, unknown_authenticated);
        let Some(agreement) = agreement else {
            let of = self.voters(upstreams).count();
            let shortage = SourceShortage::Unauthenticated { agree, of };
            return if voters
                .iter()
                .any(|vote| vote.authenticated.is_some() && vote.is_available())
            {
                Selection::Contradiction(None, shortage)
            } else {
                Selection::NotEnough(shortage)
            };
        };
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
            return Selection::NotEnough(shortage);
        }
        let plausible: Vec<Interval> = voters.iter().map(|vote| vote.plausible).collect();
        let majority = Majority {
            leap: self.majority_leap(&voters, upstreams),
            truth,
            plausible: majority_span(&plausible, unknown).unwrap_or(truth.offsets()),
            believed,
            survivors,
        };
        self.name_smearers(now, candidates, &majority, standings);
        if self.majority_smears(now, &majority) {
            return Selection::Contradiction(None, SourceShortage::Smeared);
        }
        match self.contradicted_clock(now, candidates, source, &majority) {
            Some(shortage) => Selection::Contradiction(Some(majority), shortage),
            None => Selection::Believe(majority),
        }
    }

    /// Returns the votes: the candidates grouped by server.
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

    /// Returns what is missing for the upstreams that agree to be selected, if something is.
    fn shortage(
        &self,
        now: Duration,
        agree: usize,
        believed: &[Candidate],
        upstreams: &Registry,
    ) -> Option<SourceShortage> {
        let (of, wanted) = (
            self.voters(upstreams).count(),
            usize::from(self.policy.min_sources),
        );
        if agree < wanted {
            return Some(SourceShortage::TooFew { agree, of, wanted });
        }
        let is_required = upstreams.iter().any(|one| one.settings.role.require);
        if is_required && !believed.iter().any(|one| one.role.require) {
            return Some(SourceShortage::NoneRequired { agree, of });
        }
        (!self.enough_asked(now, agree, upstreams)).then_some(SourceShortage::NotAllAsked { agree, of })
    }

    /// Returns the number of upstreams with a vote whose claim is not known.
    ///
    /// They had no time to answer since the start or a sleep of the host; or they answered before, but not since a
    /// sleep, which voids their samples. Their votes last as long as those of silent upstreams.
    fn unknown<'a>(&'a self, now: Duration, upstreams: &'a Registry) -> impl Iterator<Item = &'a Entry> {
        let waited = now.saturating_sub(self.gathering.since);
        let waits = move |one: &Entry| {
            let is_new = self.gathering.known || one.peer.address.is_none();
            waited < self.first_answer_within(one) && is_new
        };
        let owes = move |peer: &Peer| {
            waited < SILENT_CLAIMS_COUNT && self.gathering.known && peer.last_good.is_some()
        };
        self.voters(upstreams)
            .filter(move |one| one.peer.known(&self.view).is_none() && (waits(one) || owes(&one.peer)))
    }

    /// Returns the waiting time for a first answer.
    ///
    /// Upstreams that were polled before are polled again at once, unless that was just done.
    fn first_answer_within(&self, one: &Entry) -> Duration {
        match (self.gathering.known, &one.settings.nts) {
            (true, _) => ANSWERS_WITHIN,
            (false, None) => NAME_ANSWERS_WITHIN,
            (false, Some(_)) => KEYS_ANSWERS_WITHIN,
        }
    }

    /// Returns the contradiction if the host's clock is served, and the majority contradicts it.
    ///
    /// It contradicts the daemon that keeps the clock, or the clock itself by more than the largest root distance.
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

    /// Returns whether enough upstreams agree or had the time to answer, so that the first answers do not decide.
    ///
    /// While none is selected yet, either more than half must agree, or every other one must have been polled without
    /// an answer (a name that can't be resolved is not waited for). While the last time is in effect, one lost packet
    /// is no reason to leave it.
    fn enough_asked(&self, now: Duration, agree: usize, upstreams: &Registry) -> bool {
        if !self.none_believed {
            return true;
        }
        let waited = now.saturating_sub(self.gathering.since);
        let answered = |peer: &Peer| peer.known(&self.view).is_some();
        let heard = |one: &Entry| match self.state {
            State::Synchronized | State::Holdover => waited >= ANSWERS_WITHIN,
            State::Init | State::Unsynchronized | State::Disputed | State::Local => {
                answered(&one.peer)
                    || (one.peer.address.is_some() && !self.gathering.known)
                    || waited >= self.first_answer_within(one)
            }
        };
        agree >= majority(self.voters(upstreams).count()) || self.voters(upstreams).all(heard)
    }

    /// Returns the truechimers without outliers, and writes the `standings` of both.
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

fn rates(voters: &[&Vote]) -> Vec<Interval> {
    voters.iter().map(|vote| vote.rate).collect()
}

/// Returns the upstreams of a server except the one with the lowest address, which represents it.
fn further_addresses(vote: &Vote) -> impl Iterator<Item = UpstreamId> + '_ {
    let key = |one: &Candidate| (one.address, one.id);
    let members = vote.members.iter().filter(|one| one.unavailable.is_none());
    let first = members.clone().map(key).min();
    members
        .filter(move |one| Some(key(one)) != first)
        .map(|one| one.id)
}
