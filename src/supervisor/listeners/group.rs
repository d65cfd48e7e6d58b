//! Impure. One listener that is served: its sockets, who serves on them, whom packets are steered to, and how a socket is
//! left without losing what it got.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use super::traffic::Drops;
use super::{PrepareError, Shedding};
use crate::census::CensusSettings;
use crate::clock::Reader;
use crate::host::bind_fault::BindFault;
use crate::host::steering::{steer, steer_away};
use crate::host::sys;
use crate::host::systemd::ServiceManager;
use crate::host::udp;
use crate::observe::RateMeter;
use crate::observe::throttle::ThrottledChange;
use crate::server::policy::Policy;
use crate::server::{Counts, Worker};
use crate::supervisor::sockets::{Sockets, stored_name};

/// How often to look whether those who shall end have ended.
const ENDING: Duration = Duration::from_millis(1);

/// One listener that is served.
pub(super) struct Group {
    pub(super) sockets: Sockets,
    pub(super) number: usize,
    pub(super) policy: Arc<Policy>,
    pub(super) workers: Vec<Served>,
    /// What those did who have ended.
    pub(super) ended: Counts,
    pub(super) drops: Drops,
    /// What the log knows of why nobody is served there.
    pub(super) told: ThrottledChange<Option<BindFault>>,
}

/// A worker, and what was last seen of it.
pub(super) struct Served {
    pub(super) worker: Worker,
    pub(super) rounds: u64,
    pub(super) moved_at: Duration,
    pub(super) rate: RateMeter,
}

impl Group {
    pub(super) fn address(&self) -> SocketAddr {
        self.sockets.listener.address
    }

    /// How many of the sockets have a worker.
    pub(super) fn in_use(&self) -> usize {
        self.workers.len().min(self.sockets.members.len())
    }

    /// Workers for the sockets of these numbers; `more` come after those that the group has. Where there are fewer sockets
    /// than workers, they share them.
    pub(super) fn served(
        &self,
        numbers: Range<usize>,
        more: &[Arc<UdpSocket>],
        reader: &Reader,
        census: Option<CensusSettings>,
        shedding: &Shedding,
    ) -> Result<Vec<Served>, PrepareError> {
        let members: Vec<_> = self.sockets.members.iter().chain(more).collect();
        let start = |index: usize| {
            let socket = members
                .get(index % members.len().max(1))
                .ok_or(io::ErrorKind::NotFound)?;
            let name = format!("worker-{}-{index}", self.number);
            let worker = Worker::start(
                name,
                Arc::clone(socket),
                reader.clone(),
                &self.policy,
                shedding.allowance(),
                census,
            )?;
            Ok(Served {
                worker,
                rounds: u64::MAX,
                moved_at: Duration::MAX,
                rate: RateMeter::default(),
            })
        };
        numbers
            .map(start)
            .collect::<io::Result<_>>()
            .map_err(|error| PrepareError::System(self.address(), error))
    }

    /// Its workers go about their work as the listener says.
    pub(super) fn tune_workers(&self) {
        let tuning = &self.sockets.listener.tuning;
        for (number, served) in self.workers.iter().enumerate() {
            if let Err(error) = served.worker.tune(tuning, tuning.pin.then_some(number)) {
                warn!(listener = %self.address(), worker = number, %error, "a worker can't be kept to a CPU: {error}");
            }
        }
    }

    /// Packets go to the first `members`.
    pub(super) fn steer(&self, members: usize) -> io::Result<()> {
        self.steer_by(members, steer)
    }

    /// The same while others are bound who shall get none.
    pub(super) fn steer_away(&self, members: usize) -> io::Result<()> {
        self.steer_by(members, steer_away)
    }

    pub(super) fn steer_by(
        &self,
        members: usize,
        by: impl Fn(&UdpSocket, crate::server::Steering, u16) -> io::Result<()>,
    ) -> io::Result<()> {
        let [first, others @ ..] = self.sockets.members.as_slice() else {
            return Ok(());
        };
        // A socket unit may have bound a single one that is in no group.
        if self.sockets.of_unit && others.is_empty() {
            return Ok(());
        }
        let members = u16::try_from(members).unwrap_or(u16::MAX);
        by(first, self.sockets.listener.steering, members)
    }

    /// Takes the workers beyond the first `kept` away, after packets were steered away from them.
    pub(super) fn retire(&mut self, kept: usize) -> Vec<Served> {
        if self.workers.len() <= kept {
            return Vec::new();
        }
        let members = kept.min(self.sockets.members.len());
        self.steer_away(members)
            .unwrap_or_else(|error| cannot_steer(self.address(), &error));
        wait_for_deliveries();
        self.workers.split_off(kept)
    }

    /// Lets no more packets come to the sockets from number `first` on, where that is in our hand.
    pub(super) fn turn_away(&self, first: usize) {
        let leaving = self.sockets.members.get(first..).unwrap_or_default();
        if self.sockets.of_unit || leaving.is_empty() {
            return;
        }
        turn_away(self.address(), leaving);
    }

    /// Closes the sockets that have no worker any more, the last one first.
    pub(super) fn close_unused(&mut self, manager: &ServiceManager) {
        if self.sockets.of_unit {
            return;
        }
        self.drops.look(&self.sockets.members);
        // A socket that is being closed leaves its group before it leaves the kernel's table of ports, and a packet that
        // finds it between the two is its alone: so first it becomes one that no packet fits.
        self.turn_away(self.workers.len());
        while self.sockets.members.len() > self.workers.len() {
            self.sockets.members.pop();
            manager.forget(&stored_name(self.address(), self.sockets.members.len()));
        }
        self.drops.forget_beyond(self.sockets.members.len());
    }

    /// Hands the sockets from number `first` on to the descriptor store; those of a socket unit are kept there anyway.
    pub(super) fn store(&self, manager: &ServiceManager, first: usize) {
        if self.sockets.of_unit {
            return;
        }
        for (number, socket) in self.sockets.members.iter().enumerate().skip(first) {
            manager.store(&stored_name(self.address(), number), socket);
        }
    }
}

/// Ends these workers: each answers what it has.
pub(super) async fn end(workers: Vec<Served>) -> Vec<Counts> {
    while !workers.iter().all(|served| served.worker.has_ended()) {
        workers.iter().for_each(|served| served.worker.retire());
        sleep(ENDING).await;
    }
    workers.into_iter().map(|served| served.worker.join()).collect()
}

/// Nothing more comes to these sockets after this.
pub(super) fn turn_away(address: SocketAddr, leaving: &[Arc<UdpSocket>]) {
    for socket in leaving {
        if let Err(error) = udp::turn_away(socket) {
            warn!(listener = %address, %error, "a socket that is closed may lose its last requests");
        }
    }
    wait_for_deliveries();
}

/// What was on its way to a socket when it was steered away from is in its queue after this. Where the kernel can't tell, the
/// workers wait a moment instead.
pub(super) fn wait_for_deliveries() {
    let _waited = sys::wait_for_deliveries();
}

/// Only a kernel without the option can refuse, and then all members have workers: packets are spread in another way.
pub(super) fn cannot_steer(address: SocketAddr, error: &io::Error) {
    warn!(listener = %address, %error, "the kernel refuses to steer packets among the workers");
}
