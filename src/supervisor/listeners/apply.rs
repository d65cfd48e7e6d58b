//! Impure. The execution of a plan: `prepare` does all that can fail, beside what is served, and `commit` the rest.

use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::Arc;

use tracing::warn;

use super::group::{ListenerGroup, WorkerSlot, end, log_unsteered, stop_receiving};
use super::plan::{Growth, ListenerPlan, Opening, Port, Service, Step};
use super::{Drops, Listeners, PrepareError};
use crate::config::Loaded;
use crate::host::systemd::ServiceManager;
use crate::host::udp::{self, BindError};
use crate::host::{clock, privileges};
use crate::log::throttle::ThrottledChange;
use crate::observe::journal;
use crate::server::Counts;
use crate::server::policy::Policy;
use crate::supervisor::absence::{Outcome, outcome};
use crate::supervisor::sockets::{InheritedSockets, Sockets};

/// All that a change of the listeners needs, not in use yet, and the steps that put it in use.
#[derive(Default)]
pub(in super::super) struct Prepared {
    groups: Vec<ListenerGroup>,
    grown: Vec<Grown>,
    /// Listeners whose address is absent, and their errors.
    absent: Vec<(SocketAddr, PrepareError)>,
    steps: Vec<Step>,
}

/// More sockets and workers for a group.
struct Grown {
    address: SocketAddr,
    members: Vec<Arc<UdpSocket>>,
    workers: Vec<WorkerSlot>,
}

impl Listeners {
    /// Does all of `plan` that can fail; nothing that is served is touched.
    ///
    /// What was prepared before a failure is undone. Built-in listeners (`wanted` knows them) whose address
    /// family is missing are left out, and those whose address is absent are retried later, if any other is
    /// served.
    pub(in super::super) fn prepare(
        &mut self,
        plan: ListenerPlan,
        wanted: &Loaded,
    ) -> Result<Prepared, PrepareError> {
        let mut prepared = Prepared::default();
        let keeps_an_open_group = plan.keeps_an_open_group;
        match self.prepare_all(plan, wanted, &mut prepared) {
            Ok(()) if prepared.absent.is_empty() || keeps_an_open_group || prepared.opens_any() => {
                Ok(prepared)
            }
            Ok(()) => {
                let (_, error) = prepared.absent.remove(0);
                self.take_back(prepared);
                Err(error)
            }
            Err(error) => {
                self.take_back(prepared);
                Err(error)
            }
        }
    }

    fn prepare_all(
        &mut self,
        plan: ListenerPlan,
        wanted: &Loaded,
        prepared: &mut Prepared,
    ) -> Result<(), PrepareError> {
        // All are tried before the first is opened: ntpfront's own sockets would be in the way of each other.
        let openings = plan.openings.into_iter();
        let openings: Vec<_> = openings
            .map(|one| (try_port(one.listener.address, one.port), one))
            .collect();
        let growths = plan.growths.into_iter();
        let growths: Vec<_> = growths
            .map(|one| (try_port(one.listener.address, one.port), one))
            .collect();
        for (tried, opening) in openings {
            self.open(opening, tried, wanted, prepared)?;
        }
        for (tried, growth) in growths {
            let listener = growth.listener.clone();
            let grown = tried
                .map_err(PrepareError::Bind)
                .and_then(|()| self.grow(growth, prepared));
            if let Err(error) = grown {
                match outcome(error.fault(), listener.required, wanted.is_default(&listener)) {
                    Outcome::Refuse | Outcome::LeaveOut => return Err(error),
                    Outcome::Wait => prepared.absent.push((listener.address, error)),
                }
            }
        }
        prepared.steps = plan.steps;
        Ok(())
    }

    /// Opens a new group beside the others; without sockets if they are retried later.
    fn open(
        &mut self,
        opening: Opening,
        tried: Result<(), BindError>,
        wanted: &Loaded,
        prepared: &mut Prepared,
    ) -> Result<(), PrepareError> {
        let Opening { listener, .. } = opening;
        let (address, required) = (listener.address, listener.required);
        let is_default = wanted.is_default(&listener);
        let opened = tried.and_then(|()| {
            let open = || Sockets::open(listener.clone(), &mut InheritedSockets::default(), None);
            privileges::with_low_ports(open)
        });
        let sockets = match opened {
            Ok(sockets) => sockets,
            Err(error) => match outcome(error.fault(), required, is_default) {
                Outcome::Refuse => return Err(PrepareError::Bind(error)),
                Outcome::LeaveOut => return Ok(()),
                Outcome::Wait => {
                    let absent = Sockets::absent(listener, error.fault());
                    prepared.absent.push((address, PrepareError::Bind(error)));
                    absent
                }
            },
        };
        prepared.groups.push(self.group(sockets)?);
        Ok(())
    }

    /// Makes a new group, with the workers for its sockets.
    pub(super) fn group(&mut self, sockets: Sockets) -> Result<ListenerGroup, PrepareError> {
        let mut group = ListenerGroup {
            configured: Arc::clone(&sockets.listener.policy),
            drain: self.drain_of_all,
            is_drained: false,
            sockets,
            number: self.named,
            workers: Vec::new(),
            ended: Counts::default(),
            drops: Drops::default(),
            saved: None,
            logged: ThrottledChange::new(None),
        };
        self.named += 1;
        // Before it has workers: none of them answers otherwise for a moment.
        group.follow_drain(clock::raw());
        let all = match group.sockets.members.len() {
            0 => 0,
            members => usize::from(group.sockets.listener.workers).max(members),
        };
        group.workers = self.start_workers(&group, 0..all, &[])?;
        group.tune_workers();
        group
            .interleave()
            .and_then(|()| group.steer(group.in_use()))
            .map_err(|error| PrepareError::System(group.address(), error))?;
        Ok(group)
    }

    /// Opens more sockets and workers for a group. They get no packet before `commit`.
    fn grow(&self, growth: Growth, prepared: &mut Prepared) -> Result<(), PrepareError> {
        let Growth {
            listener, workers, ..
        } = growth;
        let address = listener.address;
        let Some(group) = self.groups.iter().find(|group| group.address() == address) else {
            return Ok(());
        };
        // Without a program the kernel would choose the new ones immediately.
        group
            .steer_away(group.in_use())
            .map_err(|error| PrepareError::System(address, error))?;
        let missing = || group.sockets.missing(listener.workers, None);
        let members = privileges::with_low_ports(missing).map_err(PrepareError::Bind)?;
        let workers = self.start_workers(group, workers, &members)?;
        prepared.grown.push(Grown {
            address,
            members,
            workers,
        });
        Ok(())
    }

    fn start_workers(
        &self,
        group: &ListenerGroup,
        numbers: Range<usize>,
        more: &[Arc<UdpSocket>],
    ) -> Result<Vec<WorkerSlot>, PrepareError> {
        group
            .start_workers(
                numbers,
                more,
                &self.reader,
                self.keyring.as_ref(),
                self.census,
                self.shedding.allowance(),
            )
            .map_err(|error| PrepareError::System(group.address(), error))
    }

    fn take_back(&mut self, prepared: Prepared) {
        for grown in &prepared.grown {
            stop_receiving(grown.address, &grown.members);
        }
        let groups = prepared.groups.into_iter().flat_map(|group| group.workers);
        let grown = prepared.grown.into_iter().flat_map(|grown| grown.workers);
        for slot in groups.chain(grown) {
            self.ended = self.ended.plus(slot.worker.join());
        }
        for group in &self.groups {
            group
                .steer(group.in_use())
                .unwrap_or_else(|error| log_unsteered(group.address(), &error));
        }
    }

    /// Puts what was prepared in use: from the new sockets' first packet to the old ones' last answer.
    pub(in super::super) async fn commit(&mut self, prepared: Prepared, manager: &ServiceManager) {
        for grown in prepared.grown {
            if let Some(group) = self.group_mut(grown.address) {
                group.take(grown.members, grown.workers, manager);
            }
        }
        for group in prepared.groups {
            if group.is_open() {
                journal::log_listening(&group.sockets.listener);
            }
            group.store(manager, 0);
            self.groups.push(group);
        }
        for (address, error) in prepared.absent {
            let group = self.group_mut(address);
            group
                .into_iter()
                .for_each(|group| group.mark_missing(&error, clock::raw()));
        }
        for step in prepared.steps {
            match step {
                Step::SetPolicy(address, policy) => self.set_policy(address, &policy),
                Step::Serve(service) => self.serve(service, manager).await,
                Step::Close(address) => self.close(address, manager).await,
            }
        }
    }

    fn set_policy(&mut self, address: SocketAddr, policy: &Arc<Policy>) {
        if let Some(group) = self.group_mut(address) {
            group.set_policy(policy);
        }
    }

    /// Gives each group as many workers as its listener wants: after a restart there may be sockets for more.
    pub(in super::super) async fn settle(&mut self, manager: &ServiceManager) {
        let steps = ListenerPlan::settling(&self.states()).steps;
        let prepared = Prepared {
            steps,
            ..Prepared::default()
        };
        self.commit(prepared, manager).await;
    }

    /// Opens the missing part of a group, and puts it in use.
    ///
    /// # Errors
    /// Something is still missing; nothing has changed.
    pub(super) async fn complete(
        &mut self,
        plan: ListenerPlan,
        manager: &ServiceManager,
    ) -> Result<(), PrepareError> {
        let mut prepared = Prepared {
            steps: plan.steps,
            ..Prepared::default()
        };
        for growth in plan.growths {
            let tried = try_port(growth.listener.address, growth.port).map_err(PrepareError::Bind);
            if let Err(error) = tried.and_then(|()| self.grow(growth, &mut prepared)) {
                self.take_back(prepared);
                return Err(error);
            }
        }
        self.commit(prepared, manager).await;
        Ok(())
    }

    async fn serve(&mut self, service: Service, manager: &ServiceManager) {
        let Service {
            listener,
            tunes_sockets,
        } = service;
        let (address, workers) = (listener.address, usize::from(listener.workers));
        let Some(group) = self.group_mut(address) else {
            return;
        };
        group.set_listener(listener);
        if tunes_sockets {
            group.sockets.tune_all();
        }
        group.tune_workers();
        let gone = group.retire(workers);
        group.ended = end(gone).await.into_iter().fold(group.ended, Counts::plus);
        group.close_unused(manager);
        group
            .interleave()
            .unwrap_or_else(|error| warn!(listener = %address, %error, "cannot answer in another mode (listener.interleaved): {error}"));
        group
            .steer(group.in_use())
            .unwrap_or_else(|error| log_unsteered(address, &error));
    }

    async fn close(&mut self, address: SocketAddr, manager: &ServiceManager) {
        let Some(index) = self.groups.iter().position(|group| group.address() == address) else {
            return;
        };
        let mut group = self.groups.remove(index);
        if group.sockets.of_unit {
            warn!(listener = %address, "systemd still holds a socket for this address: its requests are not answered (stop its socket unit)");
        }
        group.stop_receiving(0);
        let workers = std::mem::take(&mut group.workers);
        let counts = end(workers).await.into_iter().fold(group.ended, Counts::plus);
        group.close_unused(manager);
        journal::log_counts(address, None, &counts);
        self.ended = self.ended.plus(counts);
        self.dropped += group.drops.total();
    }
}

impl Prepared {
    /// Whether there is a socket among what was prepared.
    fn opens_any(&self) -> bool {
        self.groups.iter().any(ListenerGroup::is_open) || !self.grown.is_empty()
    }
}

/// Fails if another program has a port that must be free.
fn try_port(address: SocketAddr, port: Port) -> Result<(), BindError> {
    match port {
        Port::MustBeFree => privileges::with_low_ports(|| udp::check_free(address)),
        Port::Ours => Ok(()),
    }
}
