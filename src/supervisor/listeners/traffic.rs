//! Impure. The traffic of the listeners: counts since the start, rates, and packets that the kernel dropped.

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::{ListenerGroup, Listeners, WorkerSlot};
use crate::host::bind_fault::BindFault;
use crate::host::{clock, sys};
use crate::observe::health::ListenerHealth;
use crate::observe::journal;
use crate::observe::snapshot::{ListenerStatus, PolicyStatus, Traffic, WorkerStatus};
use crate::server::Counts;
use crate::server::policy::Annotation;
use crate::server::policy::budget::SentCounts;

/// The number of packets that the kernel dropped at the sockets of a group.
#[derive(Debug, Default)]
pub(super) struct Drops {
    /// Last value of each socket's counter.
    ///
    /// A socket of the previous process begins with the drops there: they were in the gap between the two.
    seen: Vec<u32>,
    total: u64,
}

impl Drops {
    /// Updates the number from the counters of all sockets of the group.
    pub(super) fn update(&mut self, sockets: &[Arc<UdpSocket>]) {
        self.seen.resize(sockets.len(), 0);
        for (seen, socket) in self.seen.iter_mut().zip(sockets) {
            if let Ok(dropped) = sys::dropped(socket.as_fd()) {
                self.total += u64::from(dropped.wrapping_sub(*seen));
                *seen = dropped;
            }
        }
    }

    /// Forgets the counters of all sockets except the first `kept`, which are closed.
    pub(super) fn forget_beyond(&mut self, kept: usize) {
        self.seen.truncate(kept);
    }

    pub(super) const fn total(&self) -> u64 {
        self.total
    }
}

impl Listeners {
    /// Updates rates and drops; to be called once a second.
    pub(in super::super) fn update_traffic(&mut self, now: Duration) {
        for group in &mut self.groups {
            group.drops.update(&group.sockets.members);
            for slot in &mut group.workers {
                let received = slot.worker.counters().snapshot().received();
                slot.received.update(now, received);
            }
        }
    }

    /// Returns what all workers sent since the start, as far as a budget counts it.
    pub(super) fn sent(&self) -> SentCounts {
        let mut sent = SentCounts::default();
        for group in &self.groups {
            for slot in &group.workers {
                let counts = slot.worker.counters().snapshot();
                sent.add_plain(group.address(), counts.replied());
                sent.longer += counts.longer;
                sent.on_trial += counts.annotated(Annotation::WouldShed);
            }
        }
        sent
    }

    /// Returns the counts of all workers since the start of the process, ended ones included.
    pub(in super::super) fn total(&self) -> Counts {
        self.groups
            .iter()
            .map(ListenerGroup::total)
            .fold(self.ended, Counts::plus)
    }

    /// Logs one line per worker.
    pub(in super::super) fn log_counts(&self) {
        for group in &self.groups {
            for (number, slot) in group.workers.iter().enumerate() {
                journal::log_counts(group.address(), Some(number), &slot.worker.counters().snapshot());
            }
        }
    }

    /// Returns the counts of all workers, ended ones included, and their rate.
    pub(in super::super) fn traffic(&self) -> Traffic {
        Traffic {
            per_second: self.groups.iter().map(ListenerGroup::per_second).sum(),
            queue_dropped: self.groups.iter().map(|group| group.drops.total).sum::<u64>() + self.dropped,
            counts: self.total(),
        }
    }

    /// Returns each listener with its workers, where the server announces a time of this `stratum`.
    pub(in super::super) fn statuses(&self, stratum: u8) -> Vec<ListenerStatus> {
        self.groups.iter().map(|group| group.status(stratum)).collect()
    }

    /// Returns what the health depends on at each listener, where the server announces a time of this `stratum`.
    pub(in super::super) fn health(&self, stratum: u8) -> Vec<ListenerHealth> {
        self.groups.iter().map(|group| group.health(stratum)).collect()
    }
}

impl ListenerGroup {
    /// Returns the counts of its workers, ended ones included.
    pub(super) fn total(&self) -> Counts {
        let workers = self.workers.iter();
        workers
            .map(|slot| slot.worker.counters().snapshot())
            .fold(self.ended, Counts::plus)
    }

    fn per_second(&self) -> f64 {
        self.workers.iter().map(|slot| slot.received.per_second()).sum()
    }

    fn health(&self, stratum: u8) -> ListenerHealth {
        let listener = &self.sockets.listener;
        ListenerHealth {
            address: listener.address,
            serving: self.is_serving(),
            required: listener.required,
            announces_time: listener.policy.announces_time(stratum),
            is_leaving: self
                .drain_status(clock::raw())
                .is_some_and(|drain| drain.begins_in.is_some()),
        }
    }

    fn status(&self, stratum: u8) -> ListenerStatus {
        let ListenerHealth {
            address,
            serving,
            required,
            announces_time,
            is_leaving: _,
        } = self.health(stratum);
        ListenerStatus {
            address,
            family: ListenerStatus::family(&address),
            serving,
            required,
            announces_time,
            fault: self.sockets.fault.map(BindFault::text),
            policy: PolicyStatus::of(&self.sockets.listener.policy),
            drain: self.drain_status(clock::raw()),
            traffic: Traffic {
                per_second: self.per_second(),
                queue_dropped: self.drops.total,
                counts: self.total(),
            },
            workers: self.workers.iter().map(WorkerSlot::status).collect(),
        }
    }
}

impl WorkerSlot {
    fn status(&self) -> WorkerStatus {
        let counts = self.worker.counters().snapshot();
        WorkerStatus {
            per_second: self.received.per_second(),
            received: counts.received(),
            answered: counts.answered(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{setsockopt, sockopt};

    #[test]
    fn what_a_full_queue_drops_is_counted_once() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        setsockopt(&socket, sockopt::RcvBuf, &0).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..100 {
            sender.send_to(&[0; 48], socket.local_addr().unwrap()).unwrap();
        }
        socket.set_nonblocking(true).unwrap();
        let received = std::iter::from_fn(|| socket.recv(&mut [0; 48]).ok()).count();
        assert!(received < 100);
        let sockets = [Arc::new(socket)];
        let mut drops = Drops::default();
        drops.update(&sockets);
        drops.update(&sockets);
        assert_eq!(drops.total(), 100 - u64::try_from(received).unwrap());
        drops.forget_beyond(0);
        assert_eq!(drops.total(), 100 - u64::try_from(received).unwrap());
    }
}
