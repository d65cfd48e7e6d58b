//! Impure. The drain of listeners by command, while they are served: their policy, the log, and how it is displayed.
//!
//! A reload keeps a drain, and a restart ends it: a state that no file explains does not outlive the process that
//! reports it. The lasting way is the configuration (`answer = "unsynchronized"`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::{ListenerGroup, Listeners};
use crate::observe::snapshot::DrainStatus;
use crate::server::Listener;
use crate::server::policy::{Announced, Policy};
use crate::supervisor::drain::{Drain, DrainPhase};

impl Listeners {
    /// Drains the listener at this address, or all and those to come; returns a line for each.
    ///
    /// # Errors
    /// There is no such listener: the reason, with those that there are.
    pub(in super::super) fn drain(
        &mut self,
        which: Option<SocketAddr>,
        drain: Drain,
        now: Duration,
    ) -> Result<Vec<String>, String> {
        self.require(which)?;
        if which.is_none() {
            self.drain_of_all = Some(drain);
        }
        let line = |group: &mut ListenerGroup| {
            group.drain = Some(drain);
            group.follow_drain(now);
            let address = group.address();
            match (drain.phase(now), group.is_drained_by_file()) {
                (_, true) => format!("{address}: drained by the configuration, too (listener.answer)"),
                (DrainPhase::Announced, false) => format!("{address}: still answers with the time"),
                (DrainPhase::InEffect | DrainPhase::Over, false) => {
                    format!("{address}: answers \"unsynchronized\"")
                }
            }
        };
        Ok(self.selected(which).map(line).collect())
    }

    /// Ends the drain of the listener at this address, or of all; returns a line for each that was drained.
    ///
    /// # Errors
    /// There is no such listener: the reason, with those that there are.
    pub(in super::super) fn undrain(&mut self, which: Option<SocketAddr>) -> Result<Vec<String>, String> {
        self.require(which)?;
        self.drain_of_all = None;
        let line = |group: &mut ListenerGroup| {
            group.drain.take()?;
            group.end_drain();
            let address = group.address();
            Some(match group.is_drained_by_file() {
                true => format!("{address}: still drained by the configuration (listener.answer)"),
                false => format!("{address}: answers with the time"),
            })
        };
        Ok(self.selected(which).filter_map(line).collect())
    }

    /// Begins and ends drains whose time has come; returns whether any listener answers in another way now.
    pub(in super::super) fn follow_drains(&mut self, now: Duration) -> bool {
        if self
            .drain_of_all
            .is_some_and(|drain| drain.phase(now) == DrainPhase::Over)
        {
            self.drain_of_all = None;
        }
        let drained = self.groups.iter_mut().filter(|group| group.drain.is_some());
        let changed = drained.filter_map(|group| group.follow_drain(now).then_some(()));
        changed.count() > 0
    }

    /// Returns the listeners that are drained by command.
    pub(in super::super) fn drained(&self) -> Vec<SocketAddr> {
        let drained = self.groups.iter().filter(|group| group.drain.is_some());
        drained.map(ListenerGroup::address).collect()
    }

    fn selected(&mut self, which: Option<SocketAddr>) -> impl Iterator<Item = &mut ListenerGroup> {
        let groups = self.groups.iter_mut();
        groups.filter(move |group| which.is_none_or(|address| group.address() == address))
    }

    fn require(&self, which: Option<SocketAddr>) -> Result<(), String> {
        let addresses = || self.groups.iter().map(|group| group.address().to_string());
        match which {
            Some(address) if !self.groups.iter().any(|group| group.address() == address) => {
                let all: Vec<String> = addresses().collect();
                Err(format!(
                    "there is no listener {address}: there are {}",
                    all.join(", ")
                ))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl ListenerGroup {
    /// Serves `listener` from now on, with the policy that it has while it is drained.
    pub(super) fn set_listener(&mut self, listener: Listener) {
        self.configured = Arc::clone(&listener.policy);
        self.sockets.listener = Listener {
            policy: self.policy(),
            ..listener
        };
    }

    /// Makes its workers apply `policy`, or what a drain makes of it, from their next batch on.
    pub(super) fn set_policy(&mut self, policy: &Arc<Policy>) {
        self.configured = Arc::clone(policy);
        self.apply_policy();
    }

    /// Returns the policy in effect: the configured one, or what a drain makes of it.
    pub(super) fn policy(&self) -> Arc<Policy> {
        if !self.is_drained || self.is_drained_by_file() {
            return Arc::clone(&self.configured);
        }
        Arc::new(Policy {
            answer: Announced::Unsynchronized,
            ..Policy::clone(&self.configured)
        })
    }

    fn apply_policy(&mut self) {
        let policy = self.policy();
        self.workers
            .iter_mut()
            .for_each(|slot| slot.worker.apply(&policy));
        self.sockets.listener.policy = policy;
    }

    fn is_drained_by_file(&self) -> bool {
        self.configured.answer == Announced::Unsynchronized
    }

    /// Does what is due of its drain; returns whether it answers in another way now.
    pub(super) fn follow_drain(&mut self, now: Duration) -> bool {
        let Some(drain) = self.drain else {
            return false;
        };
        let address = self.address();
        match drain.phase(now) {
            DrainPhase::Announced if self.is_drained => {
                self.is_drained = false;
                self.apply_policy();
                true
            }
            DrainPhase::InEffect if !self.is_drained => {
                self.is_drained = true;
                self.apply_policy();
                warn!(listener = %address, "listener {address} is drained: it answers \"unsynchronized\" until `ntpfront undrain`, the end of the drain or a restart");
                true
            }
            DrainPhase::Over => {
                self.drain = None;
                self.end_drain();
                true
            }
            DrainPhase::Announced | DrainPhase::InEffect => false,
        }
    }

    /// Answers as configured again.
    fn end_drain(&mut self) {
        let address = self.address();
        self.is_drained = false;
        self.apply_policy();
        info!(listener = %address, "the drain of listener {address} has ended: it answers as configured");
    }

    /// Returns its drain as it is displayed at `now`; `None` if it answers with the time.
    pub(super) fn drain_status(&self, now: Duration) -> Option<DrainStatus> {
        if self.is_drained_by_file() {
            return Some(DrainStatus {
                by: "configuration",
                begins_in: None,
                ends_in: None,
            });
        }
        self.drain.map(|drain| drain.status(now))
    }
}
