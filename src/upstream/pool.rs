//! Pure. Pools: names that stand for several servers. Which of their addresses are polled, and which one is replaced.
//!
//! A pool of `count` has at most that many members with a vote, each an upstream of its own. What name servers answer
//! only adds addresses to try: no answer removes a member. One that gave a good answer before keeps its place, and its
//! vote, until another address has proven that it is better: it is polled on trial, without a vote, and must agree with
//! the served time. One that never gave a good answer has no vote to lose, so it makes room at once. An address that was
//! bad is left alone for an hour.
//!
//! [`Pools::upstreams`] gives the registry a pool as its members; while it has none, as the pool itself, which no poller
//! polls: then the operator sees it, and the system process waits for it as for any name.

mod condition;
mod lookup;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use condition::{Defect, MemberJudgement};

use self::condition::Condition;
use self::lookup::Lookup;
use super::fault::{self, QueryFault};
use super::registry::{Endpoint, Entry, Registry};
use super::{Pooling, Role, Upstream};

/// Maximum number of addresses of a name that are kept to try; the rest is ignored.
const SPARES_MAX: usize = 64;
/// Time after which addresses that were not tried are forgotten: the name is resolved again instead.
const SPARES_KEPT: Duration = Duration::from_secs(3600);
/// Time for which a bad address is left alone.
const SHUNNED_FOR: Duration = Duration::from_secs(3600);
/// Time for which a family without a route takes no place, if another one does.
const FAMILY_SHUNNED_FOR: Duration = Duration::from_secs(600);
/// Number of good answers on trial after which an address may replace another one.
const PROVEN: u64 = 4;

/// A change of the members of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolChange {
    /// An address is polled.
    Added(IpAddr),
    /// An address is polled on trial, since others are bad.
    Tried(IpAddr),
    /// An address is polled in place of another one.
    Replaced {
        /// The one that is not polled any more.
        old: IpAddr,
        /// The reason.
        why: Defect,
        /// The one in its place.
        new: IpAddr,
    },
    /// An address on trial is not polled any more: it is bad, or (`None`) it is not needed.
    Dismissed(IpAddr, Option<Defect>),
}

/// The pool as displayed to operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// The pool, as configured.
    pub upstream: Upstream,
    /// Number of members with a vote.
    pub members: usize,
    /// Number of addresses on trial.
    pub on_trial: usize,
    /// Number of other addresses of the name that could be polled.
    pub spares: usize,
    /// Replacements since the start.
    pub replaced: u64,
    /// The reason why the name could not be resolved the last time, if it could not.
    pub fault: Option<QueryFault>,
}

/// All pools of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Pools {
    all: Vec<Pool>,
}

#[derive(Clone, Debug)]
struct Pool {
    /// The pool, as configured.
    template: Upstream,
    members: Vec<Member>,
    /// Addresses of the last answers that are not polled, in their order.
    spares: Vec<IpAddr>,
    /// Time when they were found, by the raw counter.
    found: Duration,
    /// Bad addresses, each with the end of the time in which it is left alone.
    shunned: Vec<(IpAddr, Duration)>,
    /// The same for the families IPv4 and IPv6, while there is no route.
    no_route: [Option<Duration>; 2],
    lookup: Lookup,
    replaced: u64,
}

#[derive(Clone, Debug)]
struct Member {
    address: IpAddr,
    on_trial: bool,
    condition: Condition,
}

impl Pools {
    /// Takes the pools among the `configured` upstreams, at `now` by the raw counter.
    ///
    /// Those that stay keep their members. Shunned addresses are tried again: an operator is at work.
    pub fn configure(&mut self, configured: &[Upstream], now: Duration) {
        let mut before = std::mem::take(&mut self.all);
        for template in configured {
            if !matches!(template.pooling, Pooling::Pool { .. }) {
                continue;
            }
            let endpoint = template.endpoint();
            let place = before.iter().position(|one| one.template.endpoint() == endpoint);
            let new = || Pool::new(template, now);
            let mut pool = place.map_or_else(new, |place| before.remove(place));
            pool.template.clone_from(template);
            pool.forgive();
            pool.shrink();
            self.all.push(pool);
        }
    }

    /// Returns the upstreams to poll: the `configured` ones, with the members in the place of each pool.
    pub fn upstreams(&self, configured: &[Upstream]) -> Vec<Upstream> {
        let mut upstreams = Vec::new();
        for one in configured {
            match self.of(&one.endpoint()) {
                Some(pool) if matches!(one.pooling, Pooling::Pool { .. }) => {
                    upstreams.extend(pool.upstreams())
                }
                Some(_) | None => upstreams.push(one.clone()),
            }
        }
        upstreams
    }

    /// Takes the result of a look-up, at `now` by the raw counter; of a pool that is gone it means nothing.
    pub fn found(&mut self, pool: &Endpoint, result: Result<&[IpAddr], QueryFault>, now: Duration) {
        let known = self.all.iter_mut().find(|one| one.template.endpoint() == *pool);
        if let Some(pool) = known {
            pool.found(result, now);
        }
    }

    /// Returns the pools whose names are to be resolved `now`, by the raw counter.
    ///
    /// Each has to be followed by [`Pools::found`].
    pub fn due_lookups(&mut self, now: Duration) -> Vec<Upstream> {
        let due = self.all.iter_mut().filter_map(|pool| pool.due_lookup(now));
        due.collect()
    }

    /// Has all names resolved again at once, and bad addresses tried again; members that are good stay.
    pub fn refresh(&mut self) {
        self.all.iter_mut().for_each(Pool::forgive);
    }

    /// Whether a change of the network may mend a look-up.
    pub fn wait_for_network(&self) -> bool {
        self.all.iter().any(|pool| pool.lookup.waits_for_network())
    }

    /// Takes note of a change of the network.
    pub fn network_changed(&mut self) {
        for pool in &mut self.all {
            pool.lookup.network_changed();
        }
    }

    /// Changes the members by what is known of them, at `now` by the raw counter; returns the changes of each pool.
    ///
    /// If there are some, the registry has to follow [`Pools::upstreams`].
    pub fn step(
        &mut self,
        now: Duration,
        upstreams: &Registry,
        judge: impl Fn(&Entry) -> MemberJudgement,
    ) -> Vec<(Upstream, PoolChange)> {
        let mut changes = Vec::new();
        for place in 0..self.all.len() {
            let taken = self.taken(place, upstreams);
            if let Some(pool) = self.all.get_mut(place) {
                let of_pool = pool.step(now, upstreams, &judge, &taken);
                changes.extend(of_pool.into_iter().map(|change| (pool.template.clone(), change)));
            }
        }
        changes
    }

    /// Returns the state of each pool, in the order of the configuration.
    pub fn states(&self) -> Vec<PoolState> {
        self.all.iter().map(Pool::state).collect()
    }

    /// Returns the addresses that others have: upstreams that are no members of this pool, and members of other pools.
    fn taken(&self, place: usize, upstreams: &Registry) -> Vec<IpAddr> {
        let of_others = self.all.iter().enumerate().filter(|(other, _)| *other != place);
        let members = of_others.flat_map(|(_, pool)| pool.members.iter().map(|one| one.address));
        let own = self.all.get(place);
        let is_other = |entry: &&Entry| !own.is_some_and(|pool| pool.has(&entry.settings));
        let entries = upstreams.iter().filter(is_other);
        let polled = entries
            .clone()
            .filter_map(|one| one.peer.address.map(|address| address.ip()));
        let literal = entries.flat_map(|one| one.settings.host.literals());
        members
            .chain(polled)
            .chain(literal)
            .map(|ip| ip.to_canonical())
            .collect()
    }

    fn of(&self, endpoint: &Endpoint) -> Option<&Pool> {
        self.all.iter().find(|one| one.template.endpoint() == *endpoint)
    }
}

impl Pool {
    fn new(template: &Upstream, now: Duration) -> Self {
        Self {
            template: template.clone(),
            members: Vec::new(),
            spares: Vec::new(),
            found: now,
            shunned: Vec::new(),
            no_route: [None; 2],
            lookup: Lookup::due_at(now),
            replaced: 0,
        }
    }

    fn count(&self) -> usize {
        match self.template.pooling {
            Pooling::Pool { count } => count.into(),
            Pooling::One | Pooling::Member { .. } => 1,
        }
    }

    /// Whether these settings are of one of its members, or its own.
    fn has(&self, settings: &Upstream) -> bool {
        let is_here = matches!(settings.pooling, Pooling::Pool { .. } | Pooling::Member { .. });
        is_here && settings.host == self.template.host && settings.port == self.template.port
    }

    /// Returns the settings of its members; its own while it has none.
    fn upstreams(&self) -> Vec<Upstream> {
        if self.members.is_empty() {
            return vec![self.template.clone()];
        }
        let voters = self.members.iter().filter(|one| !one.on_trial);
        let all = voters.chain(self.members.iter().filter(|one| one.on_trial));
        all.map(|one| self.settings(one)).collect()
    }

    /// Returns the settings of a member; on trial it has no vote.
    fn settings(&self, member: &Member) -> Upstream {
        let Member {
            address, on_trial, ..
        } = *member;
        let role = match on_trial {
            true => Role {
                noselect: true,
                smears: self.template.role.smears,
                ..Role::default()
            },
            false => self.template.role,
        };
        Upstream {
            role,
            pooling: Pooling::Member { address, on_trial },
            ..self.template.clone()
        }
    }

    /// Forgets what was bad, and has the name resolved again.
    fn forgive(&mut self) {
        self.shunned.clear();
        self.no_route = [None; 2];
        self.lookup.hurry();
    }

    /// Leaves as many members as are wanted now: those that are good first, then the oldest.
    fn shrink(&mut self) {
        let count = self.count();
        let (mut voters, trials): (Vec<Member>, Vec<Member>) =
            self.members.drain(..).partition(|one| !one.on_trial);
        if voters.len() > count {
            voters.sort_by_key(|one| one.condition.defect().is_some());
            voters.truncate(count);
        }
        self.members.extend(voters.into_iter().chain(trials));
    }

    fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|one| !one.on_trial)
    }

    /// Takes an answer of name servers: addresses to try, and nothing else.
    fn found(&mut self, result: Result<&[IpAddr], QueryFault>, now: Duration) {
        let all = match result {
            Ok(all) => all,
            Err(fault) => return self.lookup.failed(fault, now),
        };
        self.lookup.succeeded(now);
        self.found = now;
        self.spares.clear();
        for address in all.iter().map(IpAddr::to_canonical) {
            let with_port = SocketAddr::new(address, self.template.port);
            let is_new =
                !self.spares.contains(&address) && !self.members.iter().any(|one| one.address == address);
            if is_new
                && fault::of_address(with_port, true, &[], &[]).is_none()
                && self.spares.len() < SPARES_MAX
            {
                self.spares.push(address);
            }
        }
    }

    fn due_lookup(&mut self, now: Duration) -> Option<Upstream> {
        let is_needed = self.is_short() && !self.has_spare(now);
        self.lookup.begin(now, is_needed).then(|| self.template.clone())
    }

    /// Whether a member is missing or bad.
    fn is_short(&self) -> bool {
        self.voters().count() < self.count() || self.voters().any(|one| one.condition.defect().is_some())
    }

    fn step(
        &mut self,
        now: Duration,
        upstreams: &Registry,
        judge: &impl Fn(&Entry) -> MemberJudgement,
        taken: &[IpAddr],
    ) -> Vec<PoolChange> {
        self.look(now, upstreams, judge, taken);
        if now.saturating_sub(self.found) > SPARES_KEPT {
            self.spares.clear();
        }
        let mut changes = self.end_trials(now);
        self.replace_useless(now, taken, &mut changes);
        while self.voters().count() < self.count()
            && let Some(new) = self.take_spare(now, taken)
        {
            self.members.push(Member::new(new, false, now));
            changes.push(PoolChange::Added(new));
        }
        let bad = self
            .voters()
            .filter(|one| one.condition.had_vote_and_is_bad())
            .count();
        while self.members.iter().filter(|one| one.on_trial).count() < bad
            && let Some(new) = self.take_spare(now, taken)
        {
            self.members.push(Member::new(new, true, now));
            changes.push(PoolChange::Tried(new));
        }
        changes
    }

    /// Updates the condition of all members.
    fn look(
        &mut self,
        now: Duration,
        upstreams: &Registry,
        judge: &impl Fn(&Entry) -> MemberJudgement,
        taken: &[IpAddr],
    ) {
        let mut polled: Vec<IpAddr> = taken.to_vec();
        for place in 0..self.members.len() {
            let entry = upstreams.iter().find(|entry| self.is_at(place, &entry.settings));
            let (Some(entry), Some(member)) = (entry, self.members.get_mut(place)) else {
                continue;
            };
            // With NTS it may be another server than its address says.
            let at = entry
                .peer
                .address
                .map_or(member.address, |address| address.ip().to_canonical());
            member
                .condition
                .observe(entry, judge(entry), polled.contains(&at), now);
            polled.push(at);
            let family = usize::from(member.address.is_ipv6());
            let known = self.no_route.get_mut(family);
            match (entry.peer.accepted, entry.peer.fault, known) {
                (0, Some(fault), Some(known)) if fault.is_of_family() => {
                    *known = known
                        .filter(|until| now < *until)
                        .or(Some(now + FAMILY_SHUNNED_FOR));
                }
                (1.., None, Some(known)) => *known = None,
                (_, _, _) => {}
            }
        }
    }

    /// Whether these settings are those of the member at `place`.
    fn is_at(&self, place: usize, settings: &Upstream) -> bool {
        let Pooling::Member { address, .. } = settings.pooling else {
            return false;
        };
        self.members.get(place).is_some_and(|one| one.address == address) && self.has(settings)
    }

    /// Ends trials: an address that has proven itself replaces the worst member, a bad or needless one goes.
    fn end_trials(&mut self, now: Duration) -> Vec<PoolChange> {
        let mut changes = Vec::new();
        let trials: Vec<IpAddr> = self
            .members
            .iter()
            .filter(|one| one.on_trial)
            .map(|one| one.address)
            .collect();
        for new in trials {
            let Some(trial) = self.members.iter().find(|one| one.address == new) else {
                continue;
            };
            let (defect, is_proven) = (trial.condition.defect(), trial.condition.is_proven(PROVEN));
            let worst = self.voters().filter(|one| one.condition.had_vote_and_is_bad());
            let worst = worst
                .min_by_key(|one| one.condition.defect())
                .map(|one| one.address);
            match (defect, worst) {
                (Some(why), _) => {
                    self.remove(new, Some(now));
                    changes.push(PoolChange::Dismissed(new, Some(why)));
                }
                (None, None) => {
                    self.remove(new, None);
                    self.spares.insert(0, new);
                    changes.push(PoolChange::Dismissed(new, None));
                }
                (None, Some(old)) if is_proven => {
                    changes.extend(self.replace(old, new, now));
                    if let Some(one) = self.members.iter_mut().find(|one| one.address == new) {
                        one.on_trial = false;
                    }
                }
                (None, Some(_)) => {}
            }
        }
        changes
    }

    /// Puts other addresses in the place of those that never gave a good answer.
    fn replace_useless(&mut self, now: Duration, taken: &[IpAddr], changes: &mut Vec<PoolChange>) {
        let useless: Vec<IpAddr> = self
            .voters()
            .filter(|one| one.condition.is_useless())
            .map(|one| one.address)
            .collect();
        for old in useless {
            let Some(new) = self.take_spare(now, taken) else {
                return;
            };
            changes.extend(self.replace(old, new, now));
            self.members.push(Member::new(new, false, now));
        }
    }

    /// Removes a member for another one.
    fn replace(&mut self, old: IpAddr, new: IpAddr, now: Duration) -> Option<PoolChange> {
        let why = self
            .members
            .iter()
            .find(|one| one.address == old)?
            .condition
            .defect()?;
        self.remove(old, Some(now));
        self.replaced += 1;
        Some(PoolChange::Replaced { old, why, new })
    }

    /// Removes a member; it is shunned, if `now` is given.
    fn remove(&mut self, address: IpAddr, now: Option<Duration>) {
        self.members.retain(|one| one.address != address);
        if let Some(now) = now {
            self.shunned
                .retain(|(one, until)| *one != address && *until > now);
            if self.shunned.len() >= SPARES_MAX {
                self.shunned.remove(0);
            }
            self.shunned.push((address, now.saturating_add(SHUNNED_FOR)));
        }
    }

    fn is_shunned(&self, address: IpAddr, now: Duration) -> bool {
        let no_route = self
            .no_route
            .get(usize::from(address.is_ipv6()))
            .copied()
            .flatten();
        no_route.is_some_and(|until| now < until)
            || self
                .shunned
                .iter()
                .any(|(one, until)| *one == address && now < *until)
    }

    fn has_spare(&self, now: Duration) -> bool {
        self.spares.iter().any(|one| !self.is_shunned(*one, now))
    }

    /// Takes the next address to try: of the family with fewer members, in the order of the name servers.
    fn take_spare(&mut self, now: Duration, taken: &[IpAddr]) -> Option<IpAddr> {
        let members = &self.members;
        self.spares
            .retain(|one| !taken.contains(one) && !members.iter().any(|member| member.address == *one));
        let of_family = |ipv6: bool| {
            self.members
                .iter()
                .filter(|one| one.address.is_ipv6() == ipv6)
                .count()
        };
        let numbers = [of_family(false), of_family(true)];
        let free = self
            .spares
            .iter()
            .enumerate()
            .filter(|(_, one)| !self.is_shunned(**one, now));
        let next = free.min_by_key(|(place, one)| (numbers.get(usize::from(one.is_ipv6())).copied(), *place));
        let (place, _) = next?;
        Some(self.spares.remove(place))
    }

    fn state(&self) -> PoolState {
        let members = self.voters().count();
        PoolState {
            upstream: self.template.clone(),
            members,
            on_trial: self.members.len() - members,
            spares: self.spares.len(),
            replaced: self.replaced,
            fault: self.lookup.fault(),
        }
    }
}

impl Member {
    fn new(address: IpAddr, on_trial: bool, now: Duration) -> Self {
        Self {
            address,
            on_trial,
            condition: Condition::new(now),
        }
    }
}

#[cfg(test)]
mod tests;
