//! Impure. `ntpfront health --watch`: the health of the running server, a line at each change, and what follows from it.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::hook::{CommandLine, HookRunner, Hooks};
use super::output::{FAILURE, FAULT, fail, print_error};
use super::running::{explain, unexpected_answer};
use crate::cli::HealthQuery;
use crate::control::client::{AnswerStream, RequestError};
use crate::control::protocol::{ControlAnswer, ControlRequest};
use crate::control::socket::SocketPlaces;
use crate::host::clock;
use crate::host::systemd::ServiceManager;
use crate::observe::health::{Health, HealthCriteria};
use crate::observe::health_watch::{HealthChange, HealthWatch};

/// The longest silence of a healthy server, unless another one is wanted: it is heard ten times per second.
const SILENCE: Duration = Duration::from_millis(500);
/// Time until the next try to reach a server that can't be reached.
const RETRY: Duration = Duration::from_millis(100);
/// A silence after which another connection is tried.
const GIVE_UP: Duration = Duration::from_secs(10);
/// The longest time of a command, unless another one is wanted.
const EXEC_TIMEOUT: Duration = Duration::from_secs(5);

/// Watches the server behind one of these sockets until a signal ends it, or nothing reads its output any more.
pub(super) fn run(
    places: SocketPlaces,
    criteria: HealthCriteria,
    query: &HealthQuery,
    is_json: bool,
) -> ExitCode {
    let (hooks, prefixes) = match (hooks(query), prefixes(query)) {
        (Ok(hooks), Ok(prefixes)) => (hooks, prefixes),
        (Err(why), _) | (_, Err(why)) => return fail("health", &why, FAULT),
    };
    let ended = Arc::new(AtomicBool::new(false));
    let prepared = [SIGINT, SIGTERM, SIGHUP]
        .into_iter()
        .try_for_each(|signal| flag::register(signal, Arc::clone(&ended)).map(drop))
        .and_then(|()| Ok((HookRunner::start(hooks)?, ServiceManager::connect()?)));
    let (runner, manager) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return fail("health", &error.to_string(), FAILURE),
    };
    if !prefixes.is_empty() {
        drain_input();
    }
    manager.notify(&[NotifyState::Ready]);
    let mut watching = Watching {
        watch: HealthWatch::new(query.up_after.unwrap_or_default()),
        up_after: query.up_after.unwrap_or_default(),
        runner,
        prefixes,
        is_json,
    };
    let mut source = HealthFeed::new(places, criteria, query.timeout.unwrap_or(SILENCE));
    let mut outcome = Ok(());
    while outcome.is_ok() && !ended.load(Ordering::Relaxed) {
        let health = source.next();
        manager.notify(&[NotifyState::Watchdog]);
        // What came while the signal was waited for is of no use any more.
        if !ended.load(Ordering::Relaxed) {
            outcome = watching.take(&health);
        }
    }
    manager.notify(&[NotifyState::Stopping]);
    watching.end();
    ExitCode::SUCCESS
}

fn hooks(query: &HealthQuery) -> Result<Hooks, String> {
    let command = |flag: &str, text: &Option<String>| {
        let command = text.as_deref().map(CommandLine::new).transpose();
        command.map_err(|why| format!("{flag}: {why}"))
    };
    Ok(Hooks {
        up: command("--exec", &query.exec)?,
        down: command("--exec-down", &query.exec_down)?,
        limit: query.exec_timeout.unwrap_or(EXEC_TIMEOUT),
    })
}

/// Returns the prefixes to announce; a bare address is one alone.
fn prefixes(query: &HealthQuery) -> Result<Vec<IpNet>, String> {
    let read = |text: &String| {
        let net: Option<IpNet> = text
            .parse()
            .ok()
            .or_else(|| text.parse::<IpAddr>().map(IpNet::from).ok());
        let net = net.ok_or_else(|| format!("--exabgp: {text:?} is no prefix, such as 198.51.100.123/32"))?;
        if net.trunc() == net {
            Ok(net)
        } else {
            Err(format!(
                "--exabgp: {text} has bits after its prefix: is {} meant?",
                net.trunc()
            ))
        }
    };
    query.exabgp.iter().map(read).collect()
}

/// Reads what ExaBGP answers, and forgets it: it must not wait for a full pipe.
fn drain_input() {
    thread::spawn(|| {
        let mut buffer = [0; 4096];
        while io::stdin().read(&mut buffer).is_ok_and(|length| length > 0) {}
    });
}

/// The answers of the server, as they come.
struct HealthFeed {
    places: SocketPlaces,
    criteria: HealthCriteria,
    /// The longest silence of a healthy server.
    silence: Duration,
    stream: Option<AnswerStream>,
    /// Time for which the open stream has been silent.
    silent: Duration,
}

impl HealthFeed {
    fn new(places: SocketPlaces, criteria: HealthCriteria, silence: Duration) -> Self {
        Self {
            places,
            criteria,
            silence,
            stream: None,
            silent: Duration::ZERO,
        }
    }

    /// Waits for the next answer, or for a reason to think that none comes.
    fn next(&mut self) -> Health {
        let error = match self.try_next() {
            Ok(ControlAnswer::Health(health)) => {
                self.silent = Duration::ZERO;
                return health;
            }
            Ok(_) => {
                self.stream = None;
                return Health::unknown(unexpected_answer());
            }
            Err(error) => error,
        };
        // This connection is kept while a server is frozen: a queue of new ones would only grow.
        let is_silent = matches!(error, RequestError::Late(..)) && self.stream.is_some();
        self.silent += if is_silent { self.silence } else { Duration::ZERO };
        if !is_silent || self.silent >= GIVE_UP {
            self.stream = None;
            thread::sleep(RETRY);
        }
        Health::unknown(explain(&error))
    }

    fn try_next(&mut self) -> Result<ControlAnswer, RequestError> {
        if self.stream.is_none() {
            self.silent = Duration::ZERO;
            let request = ControlRequest::WatchHealth(self.criteria.clone());
            self.stream = Some(AnswerStream::open(self.places.find(), request, self.silence)?);
        }
        match &mut self.stream {
            Some(stream) => stream.next(self.silence),
            None => Err(RequestError::Unanswered(self.places.find().to_owned())),
        }
    }
}

/// The reactions to changes.
struct Watching {
    watch: HealthWatch,
    up_after: Duration,
    runner: Option<HookRunner>,
    /// Prefixes for ExaBGP, if it reads the output.
    prefixes: Vec<IpNet>,
    is_json: bool,
}

impl Watching {
    /// Takes the health of this moment. Fails if nothing reads the output any more.
    fn take(&mut self, health: &Health) -> io::Result<()> {
        match self.watch.take(clock::raw(), health.healthy) {
            None => Ok(()),
            Some(HealthChange::Waiting) => {
                let seconds = self.up_after.as_secs_f64();
                print_error(&format!(
                    "ntpfront health: healthy, which counts after {seconds} s\n"
                ));
                Ok(())
            }
            Some(HealthChange::Healthy | HealthChange::NotHealthy) => self.report(health),
        }
    }

    /// Reports that nothing watches any more, if the server was healthy, and waits for the last command.
    fn end(mut self) {
        if self.watch.end().is_some() {
            let _written = self.report(&Health::unknown("the watch ends".to_owned()));
        }
        if let Some(runner) = self.runner {
            runner.end();
        }
    }

    fn report(&self, health: &Health) -> io::Result<()> {
        // First what routes depend on.
        if let Some(runner) = &self.runner {
            runner.run(health.healthy, &health.reason);
        }
        if !self.prefixes.is_empty() {
            let written = write(&exabgp(&self.prefixes, health.healthy));
            print_error(&health.line());
            return written;
        }
        write(&if self.is_json {
            health.json_line()
        } else {
            health.line()
        })
    }
}

/// Returns the lines of ExaBGP's text API for these prefixes.
fn exabgp(prefixes: &[IpNet], healthy: bool) -> String {
    let verb = if healthy { "announce" } else { "withdraw" };
    let line = |prefix: &IpNet| format!("{verb} route {prefix} next-hop self\n");
    prefixes.iter().map(line).collect()
}

/// Writes a whole text to standard output.
fn write(text: &str) -> io::Result<()> {
    let mut output = io::stdout();
    output.write_all(text.as_bytes())?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exabgp_reads() {
        let of = |texts: &[&str]| {
            prefixes(&HealthQuery {
                exabgp: texts.iter().map(|text| (*text).to_owned()).collect(),
                ..HealthQuery::default()
            })
        };
        let both = of(&["198.51.100.123", "2001:db8::/48"]).unwrap();
        assert_eq!(
            exabgp(&both, true),
            "announce route 198.51.100.123/32 next-hop self\nannounce route 2001:db8::/48 next-hop self\n"
        );
        assert_eq!(
            exabgp(&both[..1], false),
            "withdraw route 198.51.100.123/32 next-hop self\n"
        );
        assert!(
            of(&["198.51.100.123/24"])
                .unwrap_err()
                .contains("is 198.51.100.0/24 meant?")
        );
        for text in ["", "a", "198.51.100.123/33", "198.51.100.1 next-hop 192.0.2.1"] {
            assert!(of(&[text]).is_err(), "{text}");
        }
    }
}
