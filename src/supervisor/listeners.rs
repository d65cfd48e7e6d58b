//! Impure. The listeners that are served: their sockets and workers, from their start to their end, and how they
//! change while packets arrive.
//!
//! A change has two halves. `prepare` does all that can fail, beside what is there: nobody notices it. `commit` can't
//! fail: it steers packets to whom shall have them, and ends those who are not needed any more, who first answer
//! what they have.

mod group;
mod presence;
mod traffic;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::absence::{Outcome, outcome};
use super::shedding::Shedding;
use super::sockets::{Given, Sockets, overlap};
use crate::census::{CensusReader, CensusSettings};
use crate::clock::Reader;
use crate::config::{Change, Config, Loaded};
use crate::host::bind_fault::BindFault;
use crate::host::shortage::Shortage;
use crate::host::systemd::ServiceManager;
use crate::host::udp::{self, BindError};
use crate::host::{clock, limits, privileges};
use crate::observe::journal;
use crate::observe::throttle::ThrottledChange;
use crate::server::policy::budget::SentCounts;
use crate::server::policy::{Annotation, Policy};
use crate::server::{Counts, Listener};

use group::{Group, Served, cannot_steer, end, turn_away};
pub(super) use presence::{Lookout, tell_absent};
use traffic::Drops;

/// All of them.
pub(super) struct Listeners {
    groups: Vec<Group>,
    reader: Reader,
    /// How workers count who asks, if they do.
    census: Option<CensusSettings>,
    pub(super) shedding: Shedding,
    /// How many groups there ever were: workers' threads are named after that.
    named: usize,
    /// What those did whose listener is gone.
    ended: Counts,
    /// How many packets the kernel dropped at sockets of listeners that are gone.
    dropped: u64,
}

/// What a change of the listeners needs, ready but not in use yet.
#[derive(Default)]
pub(super) struct Prepared {
    groups: Vec<Group>,
    growth: Vec<Growth>,
    /// Those whose address is not there, and what was said to it.
    absent: Vec<(SocketAddr, PrepareError)>,
}

/// More members and workers for a group.
struct Growth {
    address: SocketAddr,
    members: Vec<Arc<UdpSocket>>,
    workers: Vec<Served>,
}

/// Why a change can't be made.
#[derive(Debug)]
pub(super) enum PrepareError {
    Bind(BindError),
    /// No more threads, or the group can't be steered.
    System(SocketAddr, io::Error),
}

impl std::fmt::Display for PrepareError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::System(address, error) => {
                let why = limits::explain_thread(error);
                write!(f, "cannot start the workers of {address}: {why}")
            }
        }
    }
}

impl PrepareError {
    /// What is behind it.
    fn fault(&self) -> BindFault {
        match self {
            Self::Bind(error) => error.fault(),
            Self::System(_, error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => BindFault::Short(Shortage::Threads),
                Some(number) => limits::shortage_of(number).map_or(BindFault::Refused, BindFault::Short),
                None => BindFault::Refused,
            },
        }
    }
}

impl Listeners {
    /// Starts the workers of each listener on its sockets, by its policy in `config`.
    pub(super) fn start(
        opened: Vec<Sockets>,
        reader: &Reader,
        census: Option<CensusSettings>,
        config: &Config,
    ) -> Result<Self, PrepareError> {
        let mut listeners = Self {
            groups: Vec::new(),
            reader: reader.clone(),
            census,
            shedding: Shedding::new(config.budget),
            named: 0,
            ended: Counts::default(),
            dropped: 0,
        };
        for sockets in opened {
            // Each listener of a configuration has one.
            if let Some(policy) = config.policies.get(&sockets.listener.address) {
                let told = ThrottledChange::new(sockets.fault);
                let group = listeners.group(sockets, policy)?;
                listeners.groups.push(Group { told, ..group });
            }
        }
        Ok(listeners)
    }

    /// How many workers there are.
    pub(super) fn count(&self) -> usize {
        self.groups.iter().map(|group| group.workers.len()).sum()
    }

    /// What all workers did together since the start of the process, with those who have ended.
    pub(super) fn total(&self) -> Counts {
        self.groups
            .iter()
            .map(Group::total)
            .fold(self.ended, Counts::plus)
    }

    /// What each worker counted of who asked: none where nobody counts.
    pub(super) fn censuses(&self) -> Vec<CensusReader> {
        let workers = self.groups.iter().flat_map(|group| &group.workers);
        workers
            .filter_map(|served| served.worker.census().cloned())
            .collect()
    }

    /// Sheds what the budget can't bear.
    pub(super) fn shed(&mut self) {
        let mut sent = SentCounts::default();
        for group in &self.groups {
            let replies = match group.address() {
                SocketAddr::V4(_) => &mut sent.ipv4,
                SocketAddr::V6(_) => &mut sent.ipv6,
            };
            for served in &group.workers {
                let counts = served.worker.counters().snapshot();
                *replies += counts.replied();
                sent.on_trial += counts.annotated(Annotation::WouldShed);
            }
        }
        self.shedding.update(sent);
    }

    /// One line a worker into the log.
    pub(super) fn tell(&self) {
        for group in &self.groups {
            for (index, served) in group.workers.iter().enumerate() {
                journal::tell_counts(group.address(), Some(index), &served.worker.counters().snapshot());
            }
        }
    }

    /// Has every worker make a round of its loop, whether or not packets come.
    pub(super) fn nudge(&self) {
        let workers = self.groups.iter().flat_map(|group| &group.workers);
        workers.for_each(|served| served.worker.nudge());
    }

    /// A worker that made no round of its loop for `limit` until `now`, if there is one: its listener and number.
    pub(super) fn stuck(&mut self, now: Duration, limit: Duration) -> Option<(SocketAddr, usize)> {
        let mut stuck = None;
        for group in &mut self.groups {
            for (index, served) in group.workers.iter_mut().enumerate() {
                let rounds = served.worker.counters().rounds();
                if rounds != served.rounds {
                    (served.rounds, served.moved_at) = (rounds, now);
                } else if now.saturating_sub(served.moved_at) >= limit {
                    stuck = Some((group.sockets.listener.address, index));
                }
            }
        }
        stuck
    }

    /// Hands every socket of ours to the service manager's descriptor store, so that a restart finds it with its queue.
    pub(super) fn store(&self, manager: &ServiceManager) {
        self.groups.iter().for_each(|group| group.store(manager, 0));
    }

    /// Does all of `changes` that can fail; nothing that is served is touched. What was prepared before a failure is
    /// taken back. Listeners that nobody asked for (`wanted` knows them) and whose address family is missing are left out, and
    /// those whose address is not there are waited for, if any other is served.
    pub(super) fn prepare(&mut self, changes: &[Change], wanted: &Loaded) -> Result<Prepared, PrepareError> {
        let mut prepared = Prepared::default();
        for change in changes {
            if let Err(error) = self.prepare_one(change, &mut prepared, wanted) {
                self.take_back(prepared);
                return Err(error);
            }
        }
        if !prepared.absent.is_empty() && !self.is_anything_left(&prepared, wanted) {
            let (_, error) = prepared.absent.remove(0);
            self.take_back(prepared);
            return Err(error);
        }
        Ok(prepared)
    }

    /// Will any listener be open once this is committed?
    fn is_anything_left(&self, prepared: &Prepared, wanted: &Loaded) -> bool {
        let is_wanted = |group: &&Group| {
            let mut listeners = wanted.config.listeners.iter();
            listeners.any(|listener| listener.address == group.address())
        };
        let kept = self.groups.iter().filter(is_wanted);
        kept.chain(&prepared.groups).any(Group::is_open) || !prepared.growth.is_empty()
    }

    fn prepare_one(
        &mut self,
        change: &Change,
        prepared: &mut Prepared,
        wanted: &Loaded,
    ) -> Result<(), PrepareError> {
        match change {
            Change::OpenListener(new, policy) => self.open(*new, policy, prepared, wanted),
            Change::ChangeListener([_, new]) => self.grow(*new, prepared, wanted),
            Change::CloseListener(_)
            | Change::Restart(_)
            | Change::LogLevel(_)
            | Change::Clock(_)
            | Change::LeapSeconds(_)
            | Change::Budget(_)
            | Change::Policy(..)
            | Change::RemoveUpstream(_)
            | Change::AddUpstream(_)
            | Change::ChangeUpstream(_) => Ok(()),
        }
    }

    /// A new group beside the others; without sockets if they are to be waited for.
    fn open(
        &mut self,
        listener: Listener,
        policy: &Arc<Policy>,
        prepared: &mut Prepared,
        wanted: &Loaded,
    ) -> Result<(), PrepareError> {
        let opened = self.check_free(listener.address, prepared).and_then(|()| {
            privileges::with_low_ports(|| Sockets::open(listener, &mut Given::default(), None))
        });
        let sockets = match opened {
            Ok(sockets) => sockets,
            Err(error) => match outcome(error.fault(), listener.required, wanted.is_default(&listener)) {
                Outcome::Refuse => return Err(PrepareError::Bind(error)),
                Outcome::LeaveOut => return Ok(()),
                Outcome::Wait => {
                    let absent = Sockets::absent(listener, error.fault());
                    prepared
                        .absent
                        .push((listener.address, PrepareError::Bind(error)));
                    absent
                }
            },
        };
        prepared.groups.push(self.group(sockets, policy)?);
        Ok(())
    }

    /// Fails if somebody else has the port. Where we have it already, this could not tell us from somebody else.
    fn check_free(&self, address: SocketAddr, prepared: &Prepared) -> Result<(), BindError> {
        let open = self
            .groups
            .iter()
            .chain(&prepared.groups)
            .filter(|group| group.is_open());
        let grown = prepared.growth.iter().map(|growth| growth.address);
        if open
            .map(Group::address)
            .chain(grown)
            .any(|ours| overlap(ours, address))
        {
            return Ok(());
        }
        privileges::with_low_ports(|| udp::check_free(address))
    }

    fn group(&mut self, sockets: Sockets, policy: &Arc<Policy>) -> Result<Group, PrepareError> {
        let mut group = Group {
            sockets,
            policy: Arc::clone(policy),
            number: self.named,
            workers: Vec::new(),
            ended: Counts::default(),
            drops: Drops::default(),
            told: ThrottledChange::new(None),
        };
        self.named += 1;
        let all = match group.sockets.members.len() {
            0 => 0,
            members => usize::from(group.sockets.listener.workers).max(members),
        };
        group.workers = group.served(0..all, &[], &self.reader, self.census, &self.shedding)?;
        group.tune_workers();
        group
            .steer(group.in_use())
            .map_err(|error| PrepareError::System(group.address(), error))?;
        Ok(group)
    }

    /// More members for a group that shall have more workers. They get no packet before `commit`. Where its address is not
    /// there now, they are waited for.
    fn grow(
        &mut self,
        wanted: Listener,
        prepared: &mut Prepared,
        loaded: &Loaded,
    ) -> Result<(), PrepareError> {
        if self.of_mut(wanted.address).is_none() {
            // Its address family was missing so far.
            let policy = loaded.config.policies.get(&wanted.address);
            return policy.map_or(Ok(()), |policy| self.open(wanted, policy, prepared, loaded));
        }
        let Err(error) = self.grow_group(wanted, prepared) else {
            return Ok(());
        };
        match outcome(error.fault(), wanted.required, loaded.is_default(&wanted)) {
            Outcome::Refuse | Outcome::LeaveOut => Err(error),
            Outcome::Wait => {
                prepared.absent.push((wanted.address, error));
                Ok(())
            }
        }
    }

    /// The same for a group that is there; also its first members, if it has none.
    fn grow_group(&self, wanted: Listener, prepared: &mut Prepared) -> Result<(), PrepareError> {
        let Some(group) = self.groups.iter().find(|group| group.address() == wanted.address) else {
            return Ok(());
        };
        let have = group.workers.len();
        if usize::from(wanted.workers) <= have {
            return Ok(());
        }
        if !group.is_open() {
            self.check_free(wanted.address, prepared)
                .map_err(PrepareError::Bind)?;
        }
        let failed = |error| PrepareError::System(wanted.address, error);
        // Without a program the kernel would choose the new ones at once.
        group.steer_away(group.in_use()).map_err(failed)?;
        let mut growth = Growth {
            address: wanted.address,
            members: privileges::with_low_ports(|| group.sockets.missing(wanted.workers, None))
                .map_err(PrepareError::Bind)?,
            workers: Vec::new(),
        };
        growth.workers = group.served(
            have..wanted.workers.into(),
            &growth.members,
            &self.reader,
            self.census,
            &self.shedding,
        )?;
        prepared.growth.push(growth);
        Ok(())
    }

    fn take_back(&mut self, prepared: Prepared) {
        for growth in &prepared.growth {
            turn_away(growth.address, &growth.members);
        }
        let groups = prepared.groups.into_iter().flat_map(|group| group.workers);
        let growth = prepared.growth.into_iter().flat_map(|growth| growth.workers);
        for served in groups.chain(growth) {
            self.ended = self.ended.plus(served.worker.join());
        }
        for group in &self.groups {
            group
                .steer(group.in_use())
                .unwrap_or_else(|error| cannot_steer(group.address(), &error));
        }
    }

    /// Does the rest of `changes`: from the first packet on that the new ones get, to the last that the old ones answer.
    pub(super) async fn commit(&mut self, prepared: Prepared, changes: &[Change], manager: &ServiceManager) {
        for growth in prepared.growth {
            if let Some(group) = self
                .groups
                .iter_mut()
                .find(|group| group.address() == growth.address)
            {
                let stored = group.sockets.members.len();
                group.sockets.members.extend(growth.members);
                group.workers.extend(growth.workers);
                group.store(manager, stored);
                group.found(clock::raw());
                if stored == 0 {
                    journal::tell_listening(&group.sockets.listener);
                }
            }
        }
        for group in prepared.groups {
            if group.is_open() {
                journal::tell_listening(&group.sockets.listener);
            }
            group.store(manager, 0);
            self.groups.push(group);
        }
        for (address, error) in prepared.absent {
            let group = self.of_mut(address);
            group
                .into_iter()
                .for_each(|group| group.miss(&error, clock::raw()));
        }
        for change in changes {
            match change {
                Change::ChangeListener([_, new]) => self.change(*new, manager).await,
                Change::CloseListener(gone) => self.close(*gone, manager).await,
                Change::Policy(address, policy) => self.obey(*address, policy),
                Change::Budget(budget) => self.shedding.set_budget(*budget),
                Change::OpenListener(..)
                | Change::Restart(_)
                | Change::LogLevel(_)
                | Change::Clock(_)
                | Change::LeapSeconds(_)
                | Change::RemoveUpstream(_)
                | Change::AddUpstream(_)
                | Change::ChangeUpstream(_) => {}
            }
        }
    }

    /// From their next batch on the workers of that address obey `policy`.
    fn obey(&mut self, address: SocketAddr, policy: &Arc<Policy>) {
        let groups = self.groups.iter_mut().filter(|group| group.address() == address);
        for group in groups {
            group.policy = Arc::clone(policy);
            group
                .workers
                .iter_mut()
                .for_each(|served| served.worker.apply(policy));
        }
    }

    /// Has each group served by as many workers as were asked for: after a restart there may be sockets for more.
    pub(super) async fn settle(&mut self, manager: &ServiceManager) {
        let all: Vec<Listener> = self.groups.iter().map(|group| group.sockets.listener).collect();
        for listener in all {
            self.change(listener, manager).await;
        }
    }

    /// Serves a group as `wanted`; those whom it needs more are there already.
    async fn change(&mut self, wanted: Listener, manager: &ServiceManager) {
        let Some(group) = self
            .groups
            .iter_mut()
            .find(|group| group.address() == wanted.address)
        else {
            return;
        };
        if group.sockets.listener.tuning != wanted.tuning {
            group.sockets.listener = wanted;
            group.sockets.tune_all();
        }
        group.sockets.listener = wanted;
        group.tune_workers();
        let gone = group.retire(wanted.workers.into());
        group.ended = end(gone).await.into_iter().fold(group.ended, Counts::plus);
        group.close_unused(manager);
        group
            .steer(group.in_use())
            .unwrap_or_else(|error| cannot_steer(wanted.address, &error));
    }

    async fn close(&mut self, gone: Listener, manager: &ServiceManager) {
        let Some(index) = self
            .groups
            .iter()
            .position(|group| group.address() == gone.address)
        else {
            return;
        };
        let mut group = self.groups.remove(index);
        if group.sockets.of_unit {
            warn!(listener = %gone.address, "a socket unit keeps this address open: its packets wait there for nobody");
        }
        group.turn_away(0);
        let workers = std::mem::take(&mut group.workers);
        let counts = end(workers).await.into_iter().fold(group.ended, Counts::plus);
        group.close_unused(manager);
        journal::tell_counts(gone.address, None, &counts);
        self.ended = self.ended.plus(counts);
        self.dropped += group.drops.total();
    }

    /// Lets each answer what is queued, waits for all, and says what they did. What arrives later waits in the
    /// descriptor store for our successor, if there is one.
    pub(super) async fn stop(self) {
        for group in self.groups {
            let address = group.address();
            let counts = end(group.workers)
                .await
                .into_iter()
                .fold(group.ended, Counts::plus);
            journal::tell_counts(address, None, &counts);
        }
    }
}
