//! Impure. What somebody wants to know of the running server: a snapshot of everything, and the answers that are made
//! from it.

use serde::Serialize;

use super::control::Request;
use super::fast::FastPath;
use super::{Supervisor, clients};
use crate::config::commands::{self, Answer};
use crate::control::http::Scrape;
use crate::host::clock;
use crate::observe::health::Health;
use crate::observe::log;
use crate::observe::pool::PoolScore;
use crate::observe::snapshot::{ListenerStatus, Snapshot, Traffic};
use crate::observe::status_text::{StatusText, UpstreamsText};

/// The word of a request that wants JSON.
pub(super) const JSON: &str = "json";

impl Supervisor {
    /// Everything as it is now.
    pub(super) fn snapshot(&self) -> Snapshot {
        let upstreams = &self.running.config.upstreams;
        let clock_status = self.belief.clock_status();
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            uptime: clock::raw().saturating_sub(self.started).as_secs_f64(),
            pool: PoolScore::of(&clock_status),
            clock_status,
            requests: self.traffic(),
            reloads: self.reloads.clone(),
            log_lines_dropped: log::dropped(),
            listeners: self.listener_statuses(),
            fast_path: self.fast.as_ref().map(FastPath::status),
            upstreams: self.belief.upstreams(upstreams.iter().map(ToString::to_string)),
        }
    }

    /// What became of all packets, at the sockets and on the fast path.
    pub(super) fn traffic(&self) -> Traffic {
        let done = self.fast.iter().flat_map(FastPath::done);
        done.fold(self.listeners.traffic(), |traffic, (_, counts, per_second)| {
            traffic.plus(counts, per_second)
        })
    }

    /// Each listener with its workers, and what the fast path did for it.
    fn listener_statuses(&self) -> Vec<ListenerStatus> {
        let mut statuses = self.listeners.statuses();
        for (address, counts, per_second) in self.fast.iter().flat_map(FastPath::done) {
            let served = statuses.iter_mut().filter(|one| one.address == address);
            served.for_each(|one| one.traffic = one.traffic.plus(counts, per_second));
        }
        statuses
    }

    /// Shows everything over HTTP.
    pub(super) fn show(&self, scrape: Scrape) {
        // A client that went away needs it no more.
        let _shown = scrape.send(self.snapshot());
    }

    /// Answers what came through the control socket.
    pub(super) fn answer(&mut self, request: Request) {
        let json = request.argument.split(' ').any(|word| word == JSON);
        let answer = match request.verb.as_str() {
            "clients" => {
                // It takes a while with many workers.
                tokio::spawn(clients::answer(self.listeners.censuses(), request));
                return;
            }
            "check" => {
                if let Err(request) = self.reading.want_check(request) {
                    let _told = request
                        .answer
                        .send(Answer::failed("too many files wait to be checked"));
                }
                return;
            }
            "status" => {
                let snapshot = self.snapshot();
                told(json, &snapshot, || StatusText(&snapshot).to_string())
            }
            "upstreams" => {
                let snapshot = self.snapshot();
                told(json, &snapshot.upstreams, || UpstreamsText(&snapshot).to_string())
            }
            "health" => {
                let health = Health::of(&self.snapshot(), max_distance(&request.argument));
                Answer {
                    status: u8::from(!health.healthy),
                    ..told(json, &health, || health.line())
                }
            }
            _ => Answer::misunderstood(&request.verb),
        };
        // Who does not wait for the answer doesn't need it.
        let _told = request.answer.send(answer);
    }
}

/// The number among the words of a request, if there is one.
fn max_distance(argument: &str) -> Option<f64> {
    argument.split(' ').find_map(|word| word.parse().ok())
}

/// One JSON object on a line of its own, or the text.
pub(super) fn told(json: bool, thing: &impl Serialize, text: impl FnOnce() -> String) -> Answer {
    if !json {
        return Answer::fine(text());
    }
    match serde_json::to_string(thing) {
        Ok(json) => Answer::fine(json + "\n"),
        Err(error) => Answer {
            out: String::new(),
            err: format!("{error}\n"),
            status: commands::STATUS_FAULT,
        },
    }
}
