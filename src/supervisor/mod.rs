//! Impure. The supervisor: owns every handle, starts and ends everything, and feeds reports to the system process.
//!
//! It is the only room that knows all others.

mod absence;
mod census;
mod client;
mod clock_manager;
mod commands;
mod confine;
mod cookie_secret;
mod drain;
mod file_watch;
mod handover;
mod history;
mod inspect;
mod ke_sockets;
mod leaps;
mod listeners;
pub mod needs;
mod nts_manager;
mod overlay;
mod pollers;
mod pools;
mod reading;
mod reload;
mod requests;
mod shedding;
mod sockets;
mod start;
mod start_error;
pub mod system_limits;
mod watchers;

use std::io;
use std::thread;
use std::time::Duration;

use nix::unistd::geteuid;
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGUSR1};
use signal_hook::iterator::Signals;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{error, info, warn};

use crate::config::file::Loader;
use crate::config::{Loaded, Ready};
use crate::control::http::Scrape;
use crate::control::server::PendingRequest;
use crate::fast_path::driver::{self, Driver};
use crate::fast_path::step_watch::StepWatch;
use crate::host::systemd::ServiceManager;
use crate::host::{clock, privileges, sys};
use crate::log;
use crate::log::throttle::LogThrottle;
use crate::observe::journal;
use crate::observe::snapshot::{CommandCounts, Reloads};
use crate::upstream::poller::PollerReport;
use crate::upstream::pool_resolver::PoolAnswer;

use clock_manager::ClockManager;
use file_watch::FileWatch;
use history::HistoryKeeper;
use leaps::LeapList;
use listeners::{Listeners, Lookout};
use needs::SystemLimits;
use nts_manager::NtsManager;
use overlay::Overlay;
use pools::NetworkNotices;
use reading::{Read, Reading};
use start::{Opened, open, unblock_signals};
pub use start_error::StartError;
use watchers::Watchers;

/// Interval in which the state is decided and published, even without news.
const TICK: Duration = Duration::from_secs(1);
/// Interval of new status lines for the service manager when only numbers in it change.
const STATUS: Duration = Duration::from_secs(10);

/// Serves as `loaded` says, until a signal ends it; `loader` reads the configuration again.
///
/// # Errors
/// The reason why the server can't start, as it was logged. There is none once it runs.
pub fn run(loader: Loader, loaded: Loaded) -> Result<(), StartError> {
    sys::give_back_memory();
    let (log, writer) = log::start(
        loaded.config.log_level,
        loaded.config.log_format,
        loaded.config.process.chroot.is_none(),
    );
    let mut writer = Some(writer);
    info!(
        version = env!("CARGO_PKG_VERSION"),
        configuration = loaded.origin(),
        "ntpfront {} starts: {}",
        env!("CARGO_PKG_VERSION"),
        loaded.origin()
    );
    reload::log_left_out(&loaded.left_out);
    let limits = system_limits::raised();
    system_limits::warn_if_low(&loaded, false, &limits);
    let serve = || {
        let opened = open(loader, loaded)?;
        // The thread for the log is started with as few privileges as the others.
        write_log(&mut writer).map_err(StartError::thread("start a thread for the log"))?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::system("start the runtime of the pollers"))?;
        runtime.block_on(serve(opened, log, limits))
    };
    let outcome = serve().inspect_err(|error| error!("{error}"));
    // The reason why the start failed is still to be written.
    let _started = write_log(&mut writer);
    log::finish();
    outcome
}

async fn serve(opened: Opened, log: log::Switch, limits: SystemLimits) -> Result<(), StartError> {
    let signals = forward(opened.signals).map_err(StartError::thread("start a thread for signals"))?;
    let mut fast = opened.fast;
    if let Some(watch) = fast.as_mut().and_then(Driver::take_step_watch) {
        watch_steps(watch).map_err(StartError::thread("start a thread for steps of the clock"))?;
    }
    let mut leaps = opened.leaps;
    let (sender, reports) = mpsc::channel(64);
    let (found, pool_answers) = mpsc::channel(16);
    let clock_manager = ClockManager::new(
        &opened.loaded.config,
        leaps.read(),
        opened.names,
        (sender, found),
        opened.handover,
    );
    let census = census::settings(opened.loaded.config.census)
        .map_err(StartError::system("get randomness for the census"))?;
    if let (Some(fast), Some(settings)) = (&mut fast, census) {
        fast.begin_census(settings);
    }
    let mut nts = NtsManager::new(opened.made_secret, opened.ke_sockets);
    let clocks = clock_manager.period_clocks();
    let prepared = nts.prepare(&opened.loaded, clocks);
    let prepared = prepared.map_err(StartError::Nts)?;
    // From its first packet on a worker knows the cookies that clients have, of the process before this one, too.
    let listeners = Listeners::start(
        opened.sockets,
        &clock_manager.reader,
        census,
        opened.loaded.config.budget,
        prepared.keyring(),
    )?;
    nts.commit(prepared, &opened.manager).await;
    let (sender, requests) = mpsc::channel(1);
    if let Some(control) = opened.control {
        tokio::spawn(control.serve(sender));
    }
    let (sender, scrapes) = mpsc::channel(1);
    if let Some(http) = opened.http {
        tokio::spawn(http.serve(sender));
    }
    let (done, readings) = mpsc::channel(1);
    let history = HistoryKeeper::start(opened.history, &opened.loaded.config.history);
    let mut supervisor = Supervisor {
        running: opened.loaded,
        limits,
        reading: Reading::new(opened.loader, done),
        log,
        clock_manager,
        history,
        listeners,
        fast,
        nts,
        leaps,
        manager: opened.manager,
        watchdog: opened.watchdog,
        is_ready: false,
        started: clock::raw(),
        reloads: Reloads::default(),
        file_watch: FileWatch::new(clock::raw()),
        commands: CommandCounts::default(),
        overlay: Overlay::default(),
        refused_commands: LogThrottle::default(),
        last_refresh: None,
        user: geteuid().as_raw(),
        status: Status::default(),
        watchers: Watchers::default(),
    };
    supervisor.start().await;
    let heard = Heard {
        reports,
        pool_answers,
        signals,
        requests,
        scrapes,
        readings,
    };
    supervisor.watch(heard).await;
    supervisor.end().await;
    Ok(())
}

/// The inputs of the supervisor.
struct Heard {
    reports: mpsc::Receiver<PollerReport>,
    pool_answers: mpsc::Receiver<PoolAnswer>,
    signals: mpsc::Receiver<i32>,
    requests: mpsc::Receiver<PendingRequest>,
    scrapes: mpsc::Receiver<Scrape>,
    readings: mpsc::Receiver<Read>,
}

/// The parts of the running server.
struct Supervisor {
    running: Loaded,
    /// The system's limits.
    limits: SystemLimits,
    reading: Reading,
    log: log::Switch,
    clock_manager: ClockManager,
    history: HistoryKeeper,
    listeners: Listeners,
    fast: Option<Driver>,
    nts: NtsManager,
    leaps: LeapList,
    manager: ServiceManager,
    /// Interval in which the service manager expects a sign of life.
    watchdog: Option<Duration>,
    /// Whether the service manager knows that the server is ready.
    is_ready: bool,
    /// Start of the service, by the raw counter.
    started: Duration,
    reloads: Reloads,
    file_watch: FileWatch,
    commands: CommandCounts,
    /// The changes of the upstreams by command.
    overlay: Overlay,
    /// Limits the lines about commands of users that may not give them.
    refused_commands: LogThrottle,
    /// Time of the last refresh by command, by the raw counter.
    last_refresh: Option<Duration>,
    /// The number of the server's user.
    user: u32,
    status: Status,
    watchers: Watchers,
}

/// The status line of the service manager, and what it was made from.
#[derive(Default)]
struct Status {
    said: String,
    at: Duration,
}

impl Supervisor {
    async fn start(&mut self) {
        self.leaps.warn_if_smeared(&self.running.config.listeners);
        self.listeners.store(&self.manager);
        self.listeners.settle(&self.manager).await;
        let (workers, upstreams) = (self.listeners.count(), self.running.config.upstreams.len());
        let plural = |count| if count == 1 { "" } else { "s" };
        info!(
            workers,
            upstreams,
            "ready: {workers} worker{}, {upstreams} upstream{}",
            plural(workers),
            plural(upstreams)
        );
        self.notify_ready();
        let (time, _) = self.clock_manager.served_time();
        self.history.note_start(time, &self.running);
    }

    /// Runs the supervisor's loop, until the first signal to end.
    async fn watch(&mut self, mut heard: Heard) {
        let mut tick = interval(self.watchdog.map_or(TICK, |limit| TICK.min(limit / 4)));
        let mut refresh = interval(driver::REFRESH);
        // Missed ticks count as one.
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beat = interval(watchers::BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lookout = Lookout::new();
        let mut network = NetworkNotices::new();
        // Changes before the first notice, and addresses that went away since the previous process opened
        // them.
        self.retry_absent().await;
        loop {
            let is_refreshed = self.fast.as_ref().is_some_and(Driver::needs_refresh);
            let until_reload = self.reading.until_reload();
            let can_be_absent = self.listeners.can_be_absent();
            let waits_for_network = self.clock_manager.waits_for_network();
            // Branches without a decision end with `continue`: reading the state must not cost one.
            tokio::select! {
                Some(report) = heard.reports.recv() => {
                    self.history.note_report(&self.clock_manager, &report);
                    self.clock_manager.learn(report);
                }
                Some(answer) = heard.pool_answers.recv() => self.clock_manager.take_addresses(&answer),
                Some(request) = heard.requests.recv() => {
                    self.answer(request);
                    continue;
                }
                Some(scrape) = heard.scrapes.recv() => {
                    self.answer_scrape(scrape);
                    continue;
                }
                Some(read) = heard.readings.recv() => {
                    let is_reload = matches!(read, Read::Reload(_));
                    self.take(read).await;
                    if !is_reload {
                        continue;
                    }
                }
                signal = heard.signals.recv() => match signal {
                    Some(SIGHUP) => {
                        self.reading.want_reload(None);
                        continue;
                    }
                    Some(SIGUSR1) => {
                        self.log_state();
                        continue;
                    }
                    Some(_) | None => return,
                },
                () = sleep(until_reload.unwrap_or_default()), if until_reload.is_some() => {
                    self.begin_reload();
                    continue;
                }
                () = lookout.due(), if can_be_absent => {
                    self.retry_absent().await;
                    lookout.mark_checked();
                    continue;
                }
                () = network.changed(), if waits_for_network => self.clock_manager.network_changed(),
                _ = refresh.tick(), if is_refreshed => {
                    self.fast.iter_mut().for_each(Driver::refresh);
                    continue;
                }
                _ = beat.tick(), if !self.watchers.is_empty() => {
                    self.beat();
                    continue;
                }
                _ = tick.tick() => self.run_periodic_tasks(),
            }
            self.decide();
        }
    }

    /// Decides, and sends the result to the pollers and the service manager.
    fn decide(&mut self) {
        let news = self.clock_manager.decide();
        if news {
            self.beat();
        }
        self.history.note_changes(&mut self.clock_manager);
        if self.nts.follow(self.clock_manager.period_clocks()) {
            self.hand_keyring();
        }
        if let Some(fast) = &mut self.fast {
            fast.publish(self.clock_manager.published(), self.clock_manager.is_leap_near());
        }
        if !self.is_ready && self.clock_manager.is_usable() {
            self.notify_ready();
        }
        let now = clock::raw();
        self.clock_manager
            .journal
            .log_failures(&self.listeners.total(), now);
        self.clock_manager
            .journal
            .log_pool(&self.clock_manager.clock_status(), now);
        if news || now.saturating_sub(self.status.at) >= STATUS {
            self.notify_status(now);
        }
    }

    /// Opens listeners whose address has come.
    async fn retry_absent(&mut self) {
        if self.listeners.retry_absent(&self.manager).await {
            self.serve_open_listeners();
        }
    }

    /// Does the periodic work: the list of leap seconds, and a sign of life while all workers run.
    fn run_periodic_tasks(&mut self) {
        let now = clock::raw();
        self.listeners.nudge();
        self.listeners.update_traffic(now);
        self.follow_drains();
        self.fast.iter_mut().for_each(|fast| {
            fast.follow_host(now);
            fast.refresh();
        });
        if self.leaps.is_old(now) {
            self.clock_manager.set_leaps(self.leaps.read());
            self.leaps.warn_if_smeared(&self.running.config.listeners);
        }
        let fast = self.fast.as_ref().map(Driver::sent).unwrap_or_default();
        let demand = self.listeners.shed(fast);
        if let Some((demand, fast)) = demand.zip(self.fast.as_mut())
            && fast.share_budget(demand, now)
        {
            self.listeners.take_over();
        }
        self.record();
        self.tend_nts(now);
        if self.file_watch.is_due(now) {
            self.reading.begin_digest();
        }
        let Some(limit) = self.watchdog else {
            return;
        };
        let stuck = self.listeners.stuck(now, limit / 2);
        if let Some(thread) = self.nts.stuck(now, limit / 2) {
            error!(
                thread,
                "thread {thread} of key establishment is stuck: the service manager will restart ntpfront"
            );
            return;
        }
        match stuck {
            None => self.manager.notify(&[NotifyState::Watchdog]),
            Some((listener, worker)) => error!(
                %listener,
                worker,
                "worker {worker} of {listener} is stuck: the service manager will restart ntpfront"
            ),
        }
    }

    /// Hands the keys of cookies to those that open cookies, and then to those that give them to clients.
    fn hand_keyring(&mut self) {
        self.listeners.set_keyring(self.nts.keyring());
        self.nts.renew_service();
    }

    /// Looks at the files of NTS, and at the end of its certificates, now and then.
    fn tend_nts(&mut self, now: Duration) {
        self.nts.retry_absent(&self.manager, now);
        self.nts.log_expiry(self.clock_manager.unix_time());
        if self.nts.is_look_due(now) {
            let (keys, effective) = (&self.running.config.nts, &self.running.effective);
            self.reading.begin_look(keys.clone(), effective.clone());
        }
    }

    fn notify_ready(&mut self) {
        let wanted = self.running.config.process.ready;
        if self.is_ready || wanted == Ready::Serving || self.clock_manager.is_usable() {
            self.is_ready = true;
            self.manager.notify(&[NotifyState::Ready]);
        }
        self.notify_status(clock::raw());
    }

    /// Sends one line for `systemctl status`.
    fn notify_status(&mut self, now: Duration) {
        let rate = self.inspect().traffic().per_second;
        let workers = self.listeners.count();
        let refused = self
            .reloads
            .fault
            .as_ref()
            .map(|reason| format!("; last reload refused: {reason}"));
        let absent = match self.listeners.absent() {
            0 => String::new(),
            absent => format!("; {absent} listeners not served"),
        };
        let drained = match self.listeners.drained().len() {
            0 => String::new(),
            drained => format!("; {drained} listeners drained"),
        };
        let said = format!(
            "{}; {workers} workers, {rate:.0} requests/s{absent}{drained}{}",
            self.clock_manager.status(),
            refused.unwrap_or_default()
        );
        if said != self.status.said {
            self.manager.notify(&[NotifyState::Status(&said)]);
        }
        self.status = Status { said, at: now };
    }

    /// Logs the state of everything, as one block.
    fn log_state(&self) {
        let status = &self.status.said;
        info!(status, configuration = self.running.origin(), "status: {status}");
        self.clock_manager.log_state();
        self.listeners.log_counts();
        for (address, counts, _) in self.fast.iter().flat_map(Driver::counts) {
            journal::log_fast_path_counts(address, &counts);
        }
    }

    async fn end(mut self) {
        self.watchers.end();
        self.manager.notify(&[NotifyState::Stopping]);
        for listener in self.listeners.drained() {
            warn!(%listener, "the drain of listener {listener} ends with this process: the next one answers as configured");
        }
        self.nts.stop().await;
        self.listeners.stop().await;
        let (time, _) = self.clock_manager.served_time();
        self.history.end(time);
        info!("ended");
    }
}

/// Starts the thread that writes the log, if it does not run.
fn write_log(writer: &mut Option<log::Writer>) -> io::Result<()> {
    let Some(writer) = writer.take() else {
        return Ok(());
    };
    let write = move || match privileges::drop_all_of_thread() {
        Ok(()) => writer.run(),
        Err(_) => std::process::abort(),
    };
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(write)
        .map(drop)
}

/// Starts the thread that tells the fast path steps of the host's clock. The process does not go on without it.
fn watch_steps(watch: StepWatch) -> io::Result<()> {
    let watch = move || {
        if privileges::drop_all_of_thread().is_ok() {
            let error = watch.run();
            error!(%error, "fast path: steps of the clock can't be noticed any more: {error}");
        }
        std::process::abort();
    };
    thread::Builder::new()
        .name("steps".to_owned())
        .spawn(watch)
        .map(drop)
}

/// Sends signals from a thread of their own to the loop.
fn forward(mut signals: Signals) -> io::Result<mpsc::Receiver<i32>> {
    let (sender, receiver) = mpsc::channel(16);
    let deliver = move || {
        if privileges::drop_all_of_thread().is_err() || unblock_signals().is_err() {
            return;
        }
        for signal in signals.forever() {
            if sender.blocking_send(signal).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(deliver)?;
    Ok(receiver)
}
