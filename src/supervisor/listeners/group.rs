//! Impure. A listener that is served: its sockets, their workers, and the steering of packets.
//!
//! Sockets are closed without losing what they received.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use super::plan::GroupState;
use super::progress::Progress;
use super::traffic::Drops;
use crate::census::CensusSettings;
use crate::clock::ReferenceReader;
use crate::host::bind_fault::BindFault;
use crate::host::steering::{steer, steer_away};
use crate::host::systemd::ServiceManager;
use crate::host::udp;
use crate::host::{clock, entropy, sys};
use crate::log::throttle::ThrottledChange;
use crate::nts::keyring::Keyring;
use crate::observe::journal;
use crate::server::policy::Policy;
use crate::server::{Allowance, Counts, Listener, SavedTimestamps, Steering, Worker};
use crate::supervisor::drain::Drain;
use crate::supervisor::sockets::{Sockets, stored_name};
use crate::time::RateMeter;

/// Interval of checks whether ending workers have ended.
const ENDING: Duration = Duration::from_millis(1);

/// A listener that is served.
pub(super) struct ListenerGroup {
    pub(super) sockets: Sockets,
    pub(super) number: usize,
    pub(super) workers: Vec<WorkerSlot>,
    /// Counts of the workers that have ended.
    pub(super) ended: Counts,
    pub(super) drops: Drops,
    /// The table for interleaved mode; `None` in basic mode.
    pub(super) saved: Option<Arc<SavedTimestamps>>,
    /// The policy of the configuration; that of its listener is in effect.
    pub(super) configured: Arc<Policy>,
    /// Its drain by command.
    pub(super) drain: Option<Drain>,
    /// Whether that drain is in effect.
    pub(super) is_drained: bool,
    /// The reason that was logged why no client is served there.
    pub(super) logged: ThrottledChange<Option<BindFault>>,
}

/// A worker, and its last known progress.
pub(super) struct WorkerSlot {
    pub(super) worker: Worker,
    pub(super) progress: Progress,
    pub(super) received: RateMeter,
}

impl ListenerGroup {
    pub(super) fn address(&self) -> SocketAddr {
        self.sockets.listener.address
    }

    /// Returns the part of the state that a plan depends on.
    pub(super) fn state(&self) -> GroupState {
        GroupState {
            listener: Listener {
                policy: Arc::clone(&self.configured),
                ..self.sockets.listener.clone()
            },
            workers: self.workers.len(),
            is_open: self.is_open(),
        }
    }

    /// Returns the number of sockets with a worker.
    pub(super) fn in_use(&self) -> usize {
        self.workers.len().min(self.sockets.members.len())
    }

    /// Starts workers for the sockets of these numbers; `more` come after those that the group has.
    ///
    /// Where there are fewer sockets than workers, they share them.
    pub(super) fn start_workers(
        &self,
        numbers: Range<usize>,
        more: &[Arc<UdpSocket>],
        reader: &ReferenceReader,
        keyring: Option<&Arc<Keyring>>,
        census: Option<CensusSettings>,
        allowance: &Arc<Allowance>,
    ) -> io::Result<Vec<WorkerSlot>> {
        let members: Vec<_> = self.sockets.members.iter().chain(more).collect();
        let start = |index: usize| {
            let socket = members
                .get(index % members.len().max(1))
                .ok_or(io::ErrorKind::NotFound)?;
            let name = format!("worker-{}-{index}", self.number);
            let mut worker = Worker::start(
                name,
                Arc::clone(socket),
                reader.clone(),
                &self.sockets.listener.policy,
                keyring,
                allowance,
                census,
            )?;
            worker.set_saved_timestamps(self.saved.as_ref());
            Ok(WorkerSlot {
                worker,
                progress: Progress::new(),
                received: RateMeter::default(),
            })
        };
        numbers.map(start).collect()
    }

    /// Takes more sockets and workers, which complete it.
    pub(super) fn take(
        &mut self,
        members: Vec<Arc<UdpSocket>>,
        workers: Vec<WorkerSlot>,
        manager: &ServiceManager,
    ) {
        let stored = self.sockets.members.len();
        self.sockets.members.extend(members);
        self.workers.extend(workers);
        self.store(manager, stored);
        self.mark_complete(clock::raw());
        if stored == 0 {
            journal::log_listening(&self.sockets.listener);
        }
    }

    /// Applies the listener's tuning to its workers.
    pub(super) fn tune_workers(&self) {
        let tuning = &self.sockets.listener.tuning;
        for (number, slot) in self.workers.iter().enumerate() {
            if let Err(error) = slot.worker.tune(tuning, tuning.pin.then_some(number)) {
                warn!(listener = %self.address(), worker = number, %error, "cannot pin a worker to a CPU: {error}");
            }
        }
    }

    /// Has its workers answer in interleaved mode, or in basic mode only, as its listener says now.
    ///
    /// Timestamps that were saved are lost only with another size. Workers that share a socket can't be in this mode, and
    /// no kernel that doesn't tell when a reply left.
    pub(super) fn interleave(&mut self) -> io::Result<()> {
        let Sockets {
            listener, members, ..
        } = &self.sockets;
        let can = usize::from(listener.workers) <= members.len()
            && members.iter().all(|one| udp::stamps_departures(one));
        let wanted = listener.tuning.saved_timestamps.filter(|_| can);
        if wanted != self.saved.as_ref().map(|saved| saved.entries()) {
            let seed = entropy::random()?;
            self.saved = wanted.map(|entries| Arc::new(SavedTimestamps::new(entries, seed)));
        }
        for slot in &mut self.workers {
            slot.worker.set_saved_timestamps(self.saved.as_ref());
        }
        Ok(())
    }

    /// Steers packets to the first `members`.
    pub(super) fn steer(&self, members: usize) -> io::Result<()> {
        self.steer_by(members, steer)
    }

    /// Steers packets to the first `members` while sockets are bound that must get none.
    pub(super) fn steer_away(&self, members: usize) -> io::Result<()> {
        self.steer_by(members, steer_away)
    }

    pub(super) fn steer_by(
        &self,
        members: usize,
        by: impl Fn(&UdpSocket, Steering, u16) -> io::Result<()>,
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

    /// Removes the workers beyond the first `kept`, after packets were steered away from them.
    pub(super) fn retire(&mut self, kept: usize) -> Vec<WorkerSlot> {
        if self.workers.len() <= kept {
            return Vec::new();
        }
        let members = kept.min(self.sockets.members.len());
        self.steer_away(members)
            .unwrap_or_else(|error| log_unsteered(self.address(), &error));
        wait_grace_period();
        self.workers.split_off(kept)
    }

    /// Stops arrivals on the sockets from number `first` on, except those of a socket unit.
    pub(super) fn stop_receiving(&self, first: usize) {
        let leaving = self.sockets.members.get(first..).unwrap_or_default();
        if self.sockets.of_unit || leaving.is_empty() {
            return;
        }
        stop_receiving(self.address(), leaving);
    }

    /// Closes the sockets without a worker, the last one first.
    pub(super) fn close_unused(&mut self, manager: &ServiceManager) {
        if self.sockets.of_unit {
            return;
        }
        self.drops.update(&self.sockets.members);
        // A socket that is being closed leaves its group before it leaves the kernel's table of ports, and a
        // packet that finds it in between is lost: so first it becomes one that no packet fits.
        self.stop_receiving(self.workers.len());
        while self.sockets.members.len() > self.workers.len() {
            self.sockets.members.pop();
            manager.forget(&stored_name(self.address(), self.sockets.members.len()));
        }
        self.drops.forget_beyond(self.sockets.members.len());
    }

    /// Stores the sockets from number `first` on in the descriptor store; it keeps those of a socket unit anyway.
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
pub(super) async fn end(workers: Vec<WorkerSlot>) -> Vec<Counts> {
    while !workers.iter().all(|slot| slot.worker.has_ended()) {
        workers.iter().for_each(|slot| slot.worker.retire());
        sleep(ENDING).await;
    }
    workers.into_iter().map(|slot| slot.worker.join()).collect()
}

/// Stops arrivals on these sockets.
pub(super) fn stop_receiving(address: SocketAddr, leaving: &[Arc<UdpSocket>]) {
    for socket in leaving {
        if let Err(error) = udp::stop_receiving(socket) {
            warn!(listener = %address, %error, "requests may be lost as a socket is closed: {error}");
        }
    }
    wait_grace_period();
}

/// Waits until packets on their way to a socket, when it was steered away from, are in its queue.
///
/// Where the kernel can't say, the workers wait a moment instead.
pub(super) fn wait_grace_period() {
    let _waited = sys::wait_grace_period();
}

/// Logs that steering failed.
///
/// Only a kernel without the option can refuse, and then all members have workers: packets are distributed in
/// another way.
pub(super) fn log_unsteered(address: SocketAddr, error: &io::Error) {
    warn!(listener = %address, %error, "cannot steer packets among the workers: {error}");
}
