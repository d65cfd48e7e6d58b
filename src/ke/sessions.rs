//! Impure. The sessions of all threads: their admission, their tasks, and their counts.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::admission::{AdmissionControl, Handshake, KeLimits, SessionId};
use super::counters::{KeCounters, KeCounts};
use super::outcome::{KeOutcome, KeRefusal};
use crate::host::clock;

/// The sessions of all threads.
#[derive(Debug)]
pub(super) struct Sessions {
    table: Mutex<SessionTable>,
    pub(super) counters: KeCounters,
}

/// The end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// After its handshake began, or without a ClientHello.
    Outcome(KeOutcome),
    /// The session waited for its handshake until its time was over.
    Refused(KeRefusal),
}

#[derive(Debug)]
struct SessionTable {
    control: AdmissionControl,
    tasks: HashMap<SessionId, AbortHandle>,
}

impl Sessions {
    pub(super) fn new(limits: KeLimits) -> Self {
        Self {
            table: Mutex::new(SessionTable {
                control: AdmissionControl::new(limits),
                tasks: HashMap::new(),
            }),
            counters: KeCounters::default(),
        }
    }

    fn table(&self) -> MutexGuard<'_, SessionTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_limits(&self, limits: KeLimits) {
        self.table().control.set_limits(limits);
    }

    /// Returns the limits of a new session.
    pub(super) fn limits(&self) -> KeLimits {
        *self.table().control.limits()
    }

    /// Returns the number of sessions.
    pub(super) fn open(&self) -> usize {
        self.table().control.open()
    }

    /// Adds the session of a connection. If another one makes room for it, that is ended.
    pub(super) fn admit(&self, address: IpAddr) -> SessionId {
        let mut table = self.table();
        let (id, displaced) = table.control.admit(address);
        self.displace(&mut table, displaced);
        id
    }

    /// Begins the handshake of a session, or returns why it has to wait.
    pub(super) fn begin(&self, id: SessionId) -> Option<KeRefusal> {
        let mut table = self.table();
        match table.control.begin(id, clock::raw()) {
            Handshake::Begins(displaced) => {
                self.displace(&mut table, displaced);
                None
            }
            Handshake::Waits(refusal) => Some(refusal),
        }
    }

    fn displace(&self, table: &mut SessionTable, displaced: Option<SessionId>) {
        let Some(gone) = displaced else { return };
        self.counters.count_outcome(KeOutcome::Displaced);
        if let Some(task) = table.tasks.remove(&gone) {
            task.abort();
        }
    }

    /// Notes the task of a session, so that it can be displaced.
    pub(super) fn keep(&self, id: SessionId, task: AbortHandle) {
        self.table().tasks.insert(id, task);
    }

    /// Notes that a session has its answer.
    pub(super) fn note_answer(&self, id: SessionId) {
        self.table().control.note_answer(id);
    }

    /// Counts the answer of a session, which took this long.
    pub(super) fn count_answer(&self, time: Duration) {
        self.counters.count_answer(time);
    }

    /// Removes a session that has ended by itself.
    pub(super) fn end(&self, id: SessionId, end: SessionEnd) {
        let mut table = self.table();
        table.tasks.remove(&id);
        if table.control.end(id) {
            match end {
                SessionEnd::Outcome(outcome) => self.counters.count_outcome(outcome),
                SessionEnd::Refused(refusal) => self.counters.count_refusal(refusal),
            }
        }
    }

    pub(super) fn counts(&self) -> KeCounts {
        self.counters.snapshot()
    }
}
