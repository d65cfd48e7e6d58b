//! Impure. The supervisor: owns every handle, starts and ends everything, and takes the system process from
//! one report to the next. It is the only room that knows all others.

mod lock;
mod start;
mod workers;

use std::io;
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGUSR1};
use signal_hook::iterator::Signals;
use tokio::runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::interval;
use tracing::{info, warn};

use crate::config::{Config, Loaded};
use crate::host::names::Names;
use crate::host::systemd::ServiceManager;
use crate::host::{clock, privileges, sys};
use crate::observe::journal::Journal;
use crate::observe::log;
use crate::reference::{ClockModel, Moment, Publisher, Reader, Reference, cell};
use crate::upstream::association::Peer;
use crate::upstream::filter::LeapShift;
use crate::upstream::leap::LeapTable;
use crate::upstream::poller::{Poller, Report};
use crate::upstream::system::{KernelView, System};
use crate::wire::{Leap, NtpTimestamp, ReferenceId};

pub use start::StartError;
use start::{Opened, open};
use workers::Workers;

/// How often the state is decided and published anew, even without news.
const TICK: Duration = Duration::from_secs(1);
/// So long a published time lives without being published again: a stuck supervisor must not keep it alive.
const LIVENESS: Duration = Duration::from_secs(10);
/// A change between the host's clocks that only a step or a sleep can make.
const STEP: Duration = Duration::from_millis(10);

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
    let mut belief = Belief::new(&config, leaps);
    let reader = belief.reader.clone();
    let workers = Workers::start(groups, &reader)
        .map_err(|error| StartError::System("start a worker (are there too many threads?)", error))?;
    let reports = start_pollers(&config, &names, &belief);
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
            Some((index, peer)) = reports.recv() => belief.learn(index, peer),
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

/// One task an upstream; each starts to ask at once.
fn start_pollers(config: &Config, names: &Names, belief: &Belief) -> mpsc::Receiver<Report> {
    let (sender, receiver) = mpsc::channel(64);
    for (index, upstream) in config.upstreams.iter().enumerate() {
        let (scale, leaps, precision) = (belief.system.scale(), belief.leaps.subscribe(), belief.precision);
        let poller = Poller::new(
            index,
            upstream.clone(),
            names.clone(),
            scale,
            leaps,
            precision,
            config.clock,
        );
        tokio::spawn(poller.run(sender.clone()));
    }
    receiver
}

/// What we believe, and all that it is made from and told to.
struct Belief {
    system: System,
    peers: Vec<Peer>,
    publisher: Publisher,
    /// Tells the pollers of the last leap second.
    leaps: watch::Sender<Option<LeapShift>>,
    reader: Reader,
    journal: Journal,
    precision: i8,
    /// How the host's clocks stood to each other when last looked at.
    jumps: clock::Jumps,
    status: String,
}

impl Belief {
    /// Decides for the first time, so that no worker ever lacks a state.
    fn new(config: &Config, leaps: Option<LeapTable>) -> Self {
        let precision = clock::precision();
        let started = moment();
        let roles = config.upstreams.iter().map(|upstream| upstream.role).collect();
        let system = System::new(config.clock, roles, leaps, precision, started);
        let clock = ClockModel::Host { published: started };
        let (publisher, reader) = cell(Reference::unsynchronized(ReferenceId::INIT, precision, clock));
        let mut belief = Self {
            system,
            peers: vec![Peer::default(); config.upstreams.len()],
            publisher,
            leaps: watch::Sender::new(None),
            reader,
            journal: Journal::new(config.upstreams.iter().map(ToString::to_string)),
            precision,
            jumps: clock::jumps(),
            status: String::new(),
        };
        belief.decide();
        belief
    }

    fn learn(&mut self, index: usize, peer: Peer) {
        if let Some(place) = self.peers.get_mut(index) {
            *place = peer;
        }
    }

    /// Decides anew and publishes. Is there news for the service manager?
    fn decide(&mut self) -> bool {
        self.notice_jumps();
        let now = moment();
        let decision = self.system.decide(now, &self.peers, kernel_view());
        let not_after = decision.reference.not_after.min(now.raw.saturating_add(LIVENESS));
        self.publisher.publish(Reference {
            not_after,
            ..decision.reference
        });
        self.leaps
            .send_if_modified(|told| std::mem::replace(told, decision.leapt) != decision.leapt);
        if let Some(by) = decision.stepped {
            warn!(
                seconds = by.to_seconds(),
                "the served time was stepped: too far off to be slewed, or another clock is served"
            );
        }
        self.journal.tell(&decision, &self.peers, now.raw);
        let reference = decision.reference;
        let status = format!(
            "{}, stratum {}, reference ID {}",
            decision.state.name(),
            reference.stratum,
            reference.reference_id
        );
        let news = status != self.status;
        self.status = status;
        news
    }

    fn notice_jumps(&mut self) {
        let (before, after) = (self.jumps, clock::jumps());
        self.jumps = after;
        let stepped = after.realtime.abs_diff(before.realtime);
        let slept = after.asleep.abs_diff(before.asleep);
        if slept > STEP {
            warn!(
                seconds = slept.as_secs_f64(),
                "the host slept: all samples are void"
            );
            self.system.slept(moment());
        } else if stepped > STEP {
            warn!(seconds = stepped.as_secs_f64(), "the host's clock was stepped");
            self.system.clock_stepped(moment());
        }
    }
}

/// The kernel's word on the host's clock; none where a filter forbids to ask.
fn kernel_view() -> Option<KernelView> {
    let clock = sys::kernel_clock().ok()?;
    let leap = match (clock.insert_second, clock.delete_second) {
        (true, false) => Leap::AddSecond,
        (false, true) => Leap::DeleteSecond,
        (true, true) | (false, false) => Leap::NoWarning,
    };
    Some(KernelView {
        leap,
        in_leap_second: clock.in_leap_second,
    })
}

/// Both clocks now.
fn moment() -> Moment {
    let reading = clock::now();
    let realtime = NtpTimestamp::from_unix(reading.realtime.seconds, reading.realtime.nanos);
    Moment {
        realtime,
        raw: reading.raw,
    }
}
