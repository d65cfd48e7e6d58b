//! Impure. Listeners whose address is absent: logged, and opened as soon as it comes.
//!
//! The kernel keeps a socket whose address goes away: it is served again with the address.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info};

use super::plan::ListenerPlan;
use super::{ListenerGroup, Listeners, PrepareError};
use crate::host::bind_fault::BindFault;
use crate::host::changes::Changes;
use crate::host::systemd::ServiceManager;
use crate::host::{clock, udp};
use crate::server::Listener;
use crate::supervisor::absence::Schedule;

/// The trigger for checks of the listeners.
#[derive(Debug)]
pub(in super::super) struct Lookout {
    /// The kernel's notices; `None` if there can be none: then the time alone triggers checks.
    changes: Option<Changes>,
    schedule: Schedule,
}

impl Lookout {
    /// A trigger after a check of all.
    pub(in super::super) fn new() -> Self {
        Self {
            changes: Changes::watch_addresses().ok(),
            schedule: Schedule::new(clock::raw()),
        }
    }

    /// Waits until a check is due.
    pub(in super::super) async fn due(&mut self) {
        loop {
            let until = self.schedule.due().saturating_sub(clock::raw());
            let Some(changes) = self.changes.as_ref().filter(|_| !self.schedule.has_changes()) else {
                return sleep(until).await;
            };
            tokio::select! {
                () = sleep(until) => return,
                news = changes.changed() => match news {
                    Ok(()) => self.schedule.note_change(clock::raw()),
                    Err(_) => self.changes = None,
                },
            }
        }
    }

    /// Takes note of a check.
    pub(in super::super) fn mark_checked(&mut self) {
        if self.changes.is_none() {
            self.changes = Changes::watch_addresses().ok();
        }
        self.schedule = Schedule::new(clock::raw());
    }
}

/// Logs why a listener is not served.
pub(in super::super) fn log_absent(listener: SocketAddr, why: &dyn Display) {
    error!(%listener, "{why}; {listener} is not served until then (listener.required = true makes the start fail instead)");
}

impl Listeners {
    /// Whether the address of any listener can go or come. Wildcard addresses are always there.
    pub(in super::super) fn can_be_absent(&self) -> bool {
        let mut addresses = self.groups.iter().map(ListenerGroup::address);
        addresses.any(|address| !address.ip().is_unspecified())
    }

    /// Opens the missing listeners that can be opened now, and checks the addresses of the others.
    ///
    /// Returns whether any was opened.
    pub(in super::super) async fn retry_absent(&mut self, manager: &ServiceManager) -> bool {
        let now = clock::raw();
        let all: Vec<_> = self
            .groups
            .iter()
            .map(|group| (group.lacks(), group.sockets.listener.clone()))
            .collect();
        let mut opened = false;
        for (lacks, listener) in all {
            if lacks {
                opened |= self.retry(&listener, manager, now).await;
            } else if let Some(group) = self.group_mut(listener.address)
                && !listener.address.ip().is_unspecified()
            {
                group.check_address(now);
            }
        }
        opened
    }

    async fn retry(&mut self, listener: &Listener, manager: &ServiceManager, now: Duration) -> bool {
        let plan = ListenerPlan::completing(&self.states(), listener);
        let completed = self.complete(plan, manager).await;
        if let Err(error) = &completed
            && let Some(group) = self.group_mut(listener.address)
        {
            group.mark_missing(error, now);
        }
        completed.is_ok()
    }

    /// Returns the number of listeners that are not served.
    pub(in super::super) fn absent(&self) -> usize {
        self.groups.iter().filter(|group| !group.is_serving()).count()
    }
}

impl ListenerGroup {
    /// Whether it has any socket.
    pub(super) fn is_open(&self) -> bool {
        !self.sockets.members.is_empty()
    }

    /// Whether a client is answered there.
    pub(super) fn is_serving(&self) -> bool {
        self.is_open() && !self.sockets.fault.is_some_and(BindFault::is_absence)
    }

    /// Whether workers are missing.
    fn lacks(&self) -> bool {
        self.workers.len() < usize::from(self.sockets.listener.workers)
    }

    /// Logs that it can't be opened, or only in part.
    pub(super) fn mark_missing(&mut self, error: &PrepareError, now: Duration) {
        let fault = error.fault();
        self.sockets.fault = Some(fault);
        if self.logged.change(Some(fault), now).is_some() {
            log_absent(self.address(), error);
        }
    }

    /// Logs that all of it is open.
    pub(super) fn mark_complete(&mut self, now: Duration) {
        self.sockets.fault = None;
        let _logged = self.logged.change(None, now);
    }

    fn check_address(&mut self, now: Duration) {
        let address = self.address();
        match udp::check_address(address) {
            Ok(()) => {
                self.sockets.fault = None;
                if self.logged.change(None, now).is_some() {
                    info!(listener = %address, "the address of {address} is back: serving it again");
                }
            }
            Err(error) if error.fault().is_absence() => {
                let fault = error.fault();
                self.sockets.fault = Some(fault);
                if self.logged.change(Some(fault), now).is_some() {
                    error!(listener = %address, "the address of {address} is gone: no client is served there until it is back: {}", fault.text());
                }
            }
            // A lack of descriptors for the check says nothing about the address.
            Err(_) => {}
        }
    }
}
