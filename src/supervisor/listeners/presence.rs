//! Impure. Listeners whose address is not there: told, and opened once it is; and those that are open while their address is
//! away. The kernel keeps a socket that is bound to an address that goes, and it serves again with the address.

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

/// What tells when listeners are to be looked at again.
#[derive(Debug)]
pub(in super::super) struct Lookout {
    /// `None` while there can be none: then there is the clock.
    changes: Option<Changes>,
    schedule: Schedule,
}

impl Lookout {
    /// All were looked at just now.
    pub(in super::super) fn new() -> Self {
        Self {
            changes: Changes::watch_addresses().ok(),
            schedule: Schedule::new(clock::raw()),
        }
    }

    /// Waits until they are to be looked at.
    pub(in super::super) async fn due(&mut self) {
        loop {
            let until = self.schedule.due().saturating_sub(clock::raw());
            let Some(changes) = self.changes.as_ref().filter(|_| !self.schedule.has_news()) else {
                return sleep(until).await;
            };
            tokio::select! {
                () = sleep(until) => return,
                news = changes.changed() => match news {
                    Ok(()) => self.schedule.hear(clock::raw()),
                    Err(_) => self.changes = None,
                },
            }
        }
    }

    /// They were looked at.
    pub(in super::super) fn looked(&mut self) {
        if self.changes.is_none() {
            self.changes = Changes::watch_addresses().ok();
        }
        self.schedule = Schedule::new(clock::raw());
    }
}

/// Says why a listener is not served.
pub(in super::super) fn log_absent(listener: SocketAddr, why: &dyn Display) {
    error!(%listener, "{why}; {listener} is not served until then (listener.required = true would end the start)");
}

impl Listeners {
    /// Can the address of any of them go or come? Wildcard addresses are always there.
    pub(in super::super) fn can_be_absent(&self) -> bool {
        let mut addresses = self.groups.iter().map(ListenerGroup::address);
        addresses.any(|address| !address.ip().is_unspecified())
    }

    /// Opens those that are missing and can be opened now, and looks whether the addresses of the others are there. Was any
    /// opened?
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
                group.look_for_address(now);
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
            group.miss(error, now);
        }
        completed.is_ok()
    }

    /// How many are not served.
    pub(in super::super) fn absent(&self) -> usize {
        self.groups.iter().filter(|group| !group.is_serving()).count()
    }
}

impl ListenerGroup {
    /// Has it any socket?
    pub(super) fn is_open(&self) -> bool {
        !self.sockets.members.is_empty()
    }

    /// Is a client answered there?
    pub(super) fn is_serving(&self) -> bool {
        self.is_open() && !self.sockets.fault.is_some_and(BindFault::is_absence)
    }

    /// Are there fewer workers than there shall be?
    fn lacks(&self) -> bool {
        self.workers.len() < usize::from(self.sockets.listener.workers)
    }

    /// It can't be opened, or not as widely as it shall be.
    pub(super) fn miss(&mut self, error: &PrepareError, now: Duration) {
        let fault = error.fault();
        self.sockets.fault = Some(fault);
        if self.logged.change(Some(fault), now).is_some() {
            log_absent(self.address(), error);
        }
    }

    /// All of it is open.
    pub(super) fn found(&mut self, now: Duration) {
        self.sockets.fault = None;
        let _logged = self.logged.change(None, now);
    }

    fn look_for_address(&mut self, now: Duration) {
        let address = self.address();
        match udp::check_address(address) {
            Ok(()) => {
                self.sockets.fault = None;
                if self.logged.change(None, now).is_some() {
                    info!(listener = %address, "the address of {address} is there again: it is served");
                }
            }
            Err(error) if error.fault().is_absence() => {
                let fault = error.fault();
                self.sockets.fault = Some(fault);
                if self.logged.change(Some(fault), now).is_some() {
                    error!(listener = %address, "the address of {address} is gone, and nobody is served there until it is back: {}", fault.text());
                }
            }
            // That there are no descriptors to look with says nothing.
            Err(_) => {}
        }
    }
}
