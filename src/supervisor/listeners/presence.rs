//! Impure. Listeners whose address is not there: told, and opened once it is; and those that are open while their address is
//! away. The kernel keeps a socket that is bound to an address that goes, and it serves again with the address.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info};

use super::{Group, Listeners, PrepareError, Prepared};
use crate::config::Change;
use crate::host::bind_fault::BindFault;
use crate::host::changes::Changes;
use crate::host::systemd::ServiceManager;
use crate::host::{clock, udp};
use crate::server::Listener;
use crate::server::policy::Policy;
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
pub(in super::super) fn tell_absent(listener: SocketAddr, why: &dyn Display) {
    error!(%listener, "{why}; {listener} is not served until then (listener.required = true would end the start)");
}

impl Listeners {
    /// Can the address of any of them go or come? Wildcard addresses are always there.
    pub(in super::super) fn can_be_absent(&self) -> bool {
        let mut addresses = self.groups.iter().map(Group::address);
        addresses.any(|address| !address.ip().is_unspecified())
    }

    /// Opens those that are missing and can be opened now, and looks whether the addresses of the others are there. Was any
    /// opened?
    pub(in super::super) async fn look_again(&mut self, manager: &ServiceManager) -> bool {
        let now = clock::raw();
        let all: Vec<_> = self
            .groups
            .iter()
            .map(|group| (group.lacks(), group.sockets.listener))
            .collect();
        let mut opened = false;
        for (lacks, listener) in all {
            if lacks {
                opened |= self.try_again(listener, manager, now).await;
            } else if let Some(group) = self.of_mut(listener.address)
                && !listener.address.ip().is_unspecified()
            {
                group.look_for_address(now);
            }
        }
        opened
    }

    async fn try_again(&mut self, listener: Listener, manager: &ServiceManager, now: Duration) -> bool {
        let mut prepared = Prepared::default();
        match self.grow_group(listener, &mut prepared) {
            Ok(()) => {
                let as_it_is = Change::ChangeListener([listener; 2]);
                self.commit(prepared, &[as_it_is], manager).await;
                true
            }
            Err(error) => {
                self.take_back(prepared);
                let group = self.of_mut(listener.address);
                group.into_iter().for_each(|group| group.miss(&error, now));
                false
            }
        }
    }

    /// The policies of those that are open.
    pub(in super::super) fn policies_served(&self) -> BTreeMap<SocketAddr, Arc<Policy>> {
        let open = self.groups.iter().filter(|group| group.is_open());
        open.map(|group| (group.address(), Arc::clone(&group.policy)))
            .collect()
    }

    /// How many are not served.
    pub(in super::super) fn absent(&self) -> usize {
        self.groups.iter().filter(|group| !group.is_serving()).count()
    }

    pub(super) fn of_mut(&mut self, address: SocketAddr) -> Option<&mut Group> {
        self.groups.iter_mut().find(|group| group.address() == address)
    }
}

impl Group {
    /// Has it any socket?
    pub(super) fn is_open(&self) -> bool {
        !self.sockets.members.is_empty()
    }

    /// Is anybody answered there?
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
        if self.told.change(Some(fault), now).is_some() {
            tell_absent(self.address(), error);
        }
    }

    /// All of it is open.
    pub(super) fn found(&mut self, now: Duration) {
        self.sockets.fault = None;
        let _told = self.told.change(None, now);
    }

    fn look_for_address(&mut self, now: Duration) {
        let address = self.address();
        match udp::check_address(address) {
            Ok(()) => {
                self.sockets.fault = None;
                if self.told.change(None, now).is_some() {
                    info!(listener = %address, "the address of {address} is there again: it is served");
                }
            }
            Err(error) if error.fault().is_absence() => {
                let fault = error.fault();
                self.sockets.fault = Some(fault);
                if self.told.change(Some(fault), now).is_some() {
                    error!(listener = %address, "the address of {address} is gone, and nobody is served there until it is back: {}", fault.text());
                }
            }
            // That there are no descriptors to look with says nothing.
            Err(_) => {}
        }
    }
}
