//! Impure. All workers of all listeners, from their start to their end.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::observe::journal;
use crate::reference::Reader;
use crate::serve::{Counts, Listener, Worker};

/// The running workers, in the order of the configuration.
pub(super) struct Workers {
    stop: Arc<AtomicBool>,
    groups: Vec<(Listener, Vec<Worker>)>,
}

impl Workers {
    /// Starts a worker on each socket.
    pub(super) fn start(groups: Vec<(Listener, Vec<UdpSocket>)>, reference: &Reader) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut started = Vec::new();
        for (group, (listener, sockets)) in groups.into_iter().enumerate() {
            let start = |(index, socket)| {
                Worker::start(
                    format!("worker-{group}-{index}"),
                    socket,
                    reference.clone(),
                    Arc::clone(&stop),
                )
            };
            let workers = sockets
                .into_iter()
                .enumerate()
                .map(start)
                .collect::<io::Result<Vec<_>>>()?;
            started.push((listener, workers));
        }
        Ok(Self {
            stop,
            groups: started,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.groups.iter().map(|(_, workers)| workers.len()).sum()
    }

    /// What all of them did together.
    pub(super) fn total(&self) -> Counts {
        let workers = self.groups.iter().flat_map(|(_, workers)| workers);
        workers
            .map(|worker| worker.counters().snapshot())
            .fold(Counts::default(), Counts::plus)
    }

    /// One line a worker into the log.
    pub(super) fn tell(&self) {
        for (listener, workers) in &self.groups {
            for (index, worker) in workers.iter().enumerate() {
                journal::tell_worker(listener.address, index, &worker.counters().snapshot());
            }
        }
    }

    /// Lets each answer what is queued, waits for all, and says what they did.
    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.groups.into_iter().map(|(listener, workers)| {
            let counts = workers.into_iter().map(Worker::join);
            (listener.address, counts.fold(Counts::default(), Counts::plus))
        });
        ended.for_each(|(listener, counts)| journal::tell_listener(listener, &counts));
    }
}
