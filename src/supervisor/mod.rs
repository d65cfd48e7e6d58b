//! Impure. The supervisor: owns every handle, starts and ends everything, and takes the system process from
//! one report to the next. It is the only room that knows all others.

mod belief;
mod pollers;
mod start;
mod workers;

use std::io;
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGUSR1};
use signal_hook::iterator::Signals;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::interval;
use tracing::{info, warn};

use crate::config::Loaded;
use crate::host::{clock, privileges};
use crate::host::systemd::ServiceManager;
use crate::observe::log;
use crate::upstream::poller::Report;

use belief::Belief;
pub use start::StartError;
use start::{Opened, open};
use workers::Workers;

/// How often the state is decided and published anew, even without news.
const TICK: Duration = Duration::from_secs(1);

/// Serves as `loaded` says, until a signal ends it.
///
/// # Errors
/// What keeps the server from starting, as it was logged. Once it runs, it runs.
pub fn run(loaded: Loaded) -> Result<(), StartError> {
    log::start(loaded.config.log_level, loaded.config.process.chroot.is_none());
    info!(
        version = env!("CARGO_PKG_VERSION"),
        configuration = loaded.origin(),
        "ntpfront starts"
    );
    start_and_serve(loaded).inspect_err(|error| tracing::error!("{error}"))
}

fn start_and_serve(loaded: Loaded) -> Result<(), StartError> {
    let opened = open(loaded)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::System("start the runtime of the pollers", error))?;
    runtime.block_on(serve(opened))
}

async fn serve(opened: Opened) -> Result<(), StartError> {
    let Opened {
        config,
        groups,
        names,
        leaps,
        manager,
        signals,
    } = opened;
    let signals =
        forward(signals).map_err(|error| StartError::System("start a thread for signals", error))?;
    let (sender, reports) = mpsc::channel(64);
    let mut belief = Belief::new(&config, leaps, names, sender);
    let reader = belief.reader.clone();
    let workers = Workers::start(groups, &reader)
        .map_err(|error| StartError::System("start a worker (are there too many threads?)", error))?;
    manager.tell(&[NotifyState::Ready, NotifyState::Status(&belief.status)]);
    info!(
        workers = workers.count(),
        upstreams = config.upstreams.len(),
        "ready"
    );
    watch(&mut belief, &workers, &manager, reports, signals).await;
    manager.tell(&[NotifyState::Stopping]);
    workers.stop();
    info!("ended");
    Ok(())
}

/// The loop of the supervisor's life. It ends with the first signal that asks for it.
async fn watch(
    belief: &mut Belief,
    workers: &Workers,
    manager: &ServiceManager,
    mut reports: mpsc::Receiver<Report>,
    mut signals: mpsc::Receiver<i32>,
) {
    let mut tick = interval(TICK);
    loop {
        tokio::select! {
            Some(report) = reports.recv() => belief.learn(report),
            signal = signals.recv() => match signal {
                Some(SIGHUP) => warn!("SIGHUP: this version reads its configuration only when it starts: restart it"),
                Some(SIGUSR1) => workers.tell(),
                Some(_) | None => return,
            },
            _ = tick.tick() => {}
        }
        if belief.decide() {
            manager.tell(&[NotifyState::Status(&belief.status)]);
        }
        belief.journal.tell_failures(&workers.total(), clock::raw());
    }
}

/// Hands signals from a thread of their own to the loop.
fn forward(mut signals: Signals) -> io::Result<mpsc::Receiver<i32>> {
    let (sender, receiver) = mpsc::channel(16);
    let deliver = move || {
        if privileges::drop_all_of_thread().is_err() {
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
