//! Impure. The answers to requests: those of the control socket, of the HTTP server, and of those that watch the health.

use super::inspect::{self, Inspection};
use super::reading::PendingCheck;
use super::{Supervisor, census};
use crate::control::http::Scrape;
use crate::control::protocol::{ControlAnswer, ControlFailure, ControlRequest};
use crate::control::server::PendingRequest;
use crate::fast_path::driver::Driver;
use crate::host::clock;
use crate::observe::health::Health;

impl Supervisor {
    /// Sends those that watch the health what it is now.
    pub(super) fn beat(&mut self) {
        let mut watchers = std::mem::take(&mut self.watchers);
        watchers.beat(&self.inspect());
        self.watchers = watchers;
    }

    pub(super) fn inspect(&self) -> Inspection<'_> {
        Inspection {
            clock_manager: &self.clock_manager,
            listeners: &self.listeners,
            fast: self.fast.as_ref(),
            leaps: &self.leaps,
            nts: &self.nts,
            reloads: &self.reloads,
            file_changed_for: self.file_watch.changed_for(clock::raw()),
            commands: self.commands,
            overlay: &self.overlay,
            history: &self.history,
            left_out: &self.running.left_out,
            started: self.started,
        }
    }

    /// Answers a request of the HTTP server. A client that has disconnected does not need it any more.
    pub(super) fn answer_scrape(&self, scrape: Scrape) {
        match scrape {
            Scrape::Snapshot(reply) => {
                let _sent = reply.send(self.inspect().snapshot());
            }
            Scrape::Curves(lengths, reply) => {
                let (now, _) = self.clock_manager.served_time();
                let _sent = reply.send((now, lengths.map(|seconds| self.history.curves(now, seconds))));
            }
        }
    }

    /// Answers a request of the control socket, now or later.
    pub(super) fn answer(&mut self, pending: PendingRequest) {
        let (request, caller, reply) = pending.into_parts();
        let answer = match request {
            ControlRequest::Status => self.inspect().status(),
            ControlRequest::Upstreams => self.inspect().upstreams(),
            ControlRequest::Screen(wanted) => self.inspect().screen(&wanted),
            ControlRequest::Health(criteria) => {
                ControlAnswer::Health(self.inspect().health(|view| Health::of(view, &criteria)))
            }
            ControlRequest::WatchHealth(criteria) => {
                let first = self.inspect().health(|view| Health::of(view, &criteria));
                match self.watchers.add(criteria, first) {
                    Ok(answers) => return reply.stream(answers),
                    Err(failure) => ControlAnswer::Failed(failure),
                }
            }
            ControlRequest::Clients(wanted) => {
                let censuses = self.listeners.censuses();
                let fast = self.fast.as_ref().and_then(Driver::census).cloned();
                // It takes some time with many workers.
                let done = self.reading.done();
                tokio::spawn(census::clients(censuses, fast, wanted, reply, done));
                return;
            }
            ControlRequest::Client { addresses, listener } => {
                return self.look_up_clients(addresses, listener, reply);
            }
            ControlRequest::Curves { seconds } => {
                let (now, _) = self.clock_manager.served_time();
                inspect::json(&self.history.curves(now, seconds))
            }
            ControlRequest::Command(command) => return self.command(&command, caller, reply),
            ControlRequest::Check { path, text, drop_ins } => {
                let check = PendingCheck {
                    path,
                    text,
                    drop_ins: drop_ins
                        .into_iter()
                        .map(|(path, text)| (path.into(), text))
                        .collect(),
                    reply,
                };
                if let Err(check) = self.reading.want_check(check) {
                    let failure = ControlAnswer::Failed(ControlFailure::TooManyChecks);
                    check.reply.send(failure);
                }
                return;
            }
        };
        reply.send(answer);
    }
}
