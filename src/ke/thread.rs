//! Impure. A thread of key establishment: accepts connections, and runs the sessions of those that are admitted.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Runtime};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{interval, sleep};
use tracing::warn;

use super::service::KeService;
use super::session::Session;
use super::sessions::Sessions;
use crate::host::sandbox::seccomp;
use crate::host::{clock, limits, privileges};
use crate::log::throttle::LogThrottle;

/// Interval of the sign that the thread runs.
const TICK: Duration = Duration::from_secs(1);
/// The pause after a failure to accept: out of descriptors or memory, for a while.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);
/// Interval of the check whether the last sessions have ended.
const ENDING: Duration = Duration::from_millis(20);

/// The task of all threads.
#[derive(Clone, Debug)]
pub(super) struct KeSettings {
    pub(super) service: Arc<KeService>,
    pub(super) listeners: Vec<Arc<StdTcpListener>>,
}

/// A running thread. Without its handle it ends after its last session.
#[derive(Debug)]
pub(super) struct KeThread {
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<()>,
    ends: watch::Sender<bool>,
}

impl KeThread {
    /// Starts the thread of this `number`, which accepts connections at once.
    ///
    /// # Errors
    /// The system allows no more threads or descriptors.
    pub(super) fn start(
        number: usize,
        sessions: Arc<Sessions>,
        settings: watch::Receiver<KeSettings>,
    ) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let rounds = Arc::new(AtomicU64::new(0));
        let (ends, end) = watch::channel(false);
        let own = Accepting {
            sessions,
            settings,
            end,
            rounds: Arc::clone(&rounds),
            tasks: Vec::new(),
        };
        let thread = thread::Builder::new()
            .name(format!("ke-{number}"))
            .spawn(move || run(&runtime, own))?;
        Ok(Self { rounds, thread, ends })
    }

    /// The number of signs that it ran.
    pub(super) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Makes it accept nothing more, and end after its last session.
    pub(super) fn end(&self) {
        self.ends.send_replace(true);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

fn run(runtime: &Runtime, accepting: Accepting) {
    // The kernel lets every thread drop a capability, and permits the filter: else an attacker is in control.
    if privileges::drop_all_of_thread().is_err() || seccomp::limit_key_establishment().is_err() {
        std::process::abort();
    }
    runtime.block_on(accepting.run());
}

/// The sockets that a thread accepts from.
struct Accepting {
    sessions: Arc<Sessions>,
    settings: watch::Receiver<KeSettings>,
    end: watch::Receiver<bool>,
    rounds: Arc<AtomicU64>,
    /// The tasks that accept, each with its socket.
    tasks: Vec<(Arc<StdTcpListener>, AbortHandle)>,
}

impl Accepting {
    async fn run(mut self) {
        let mut tick = interval(TICK);
        loop {
            let wanted = self.settings.borrow_and_update().listeners.clone();
            self.accept_from(&wanted);
            tokio::select! {
                Ok(()) = self.settings.changed() => {}
                // An error is that the handle is gone.
                _ = self.end.changed() => break,
                _ = tick.tick() => {
                    self.rounds.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        self.accept_from(&[]);
        self.finish().await;
    }

    /// Accepts from these sockets, and from no others.
    fn accept_from(&mut self, wanted: &[Arc<StdTcpListener>]) {
        self.tasks.retain(|(listener, task)| {
            let stays = wanted.iter().any(|one| Arc::ptr_eq(one, listener));
            if !stays {
                task.abort();
            }
            stays
        });
        for listener in wanted {
            if !self.tasks.iter().any(|(known, _)| Arc::ptr_eq(known, listener)) {
                let task = tokio::spawn(self.accept_all(listener));
                self.tasks.push((Arc::clone(listener), task.abort_handle()));
            }
        }
    }

    /// Lets the last sessions end.
    async fn finish(&self) {
        let limits = self.sessions.limits();
        let until = clock::raw() + limits.timeout + limits.closing_timeout();
        while self.sessions.open() > 0 && clock::raw() < until {
            sleep(ENDING).await;
        }
    }

    /// Accepts the connections of `listener` until the task is ended.
    fn accept_all(&self, listener: &StdTcpListener) -> impl Future<Output = ()> + use<> {
        let (sessions, settings) = (Arc::clone(&self.sessions), self.settings.clone());
        let mut failures = LogThrottle::default();
        // A handle of its own: the runtime closes it with the task.
        let own = listener.try_clone().and_then(TcpListener::from_std);
        async move {
            let listener = match own {
                Ok(listener) => listener,
                Err(error) => return log_failure(&mut failures, &error),
            };
            loop {
                match listener.accept().await {
                    Ok((stream, address)) => admit(stream, address.ip(), &sessions, &settings),
                    // The client has disconnected.
                    Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        log_failure(&mut failures, &error);
                        sleep(FAILURE_PAUSE).await;
                    }
                }
            }
        }
    }
}

fn log_failure(failures: &mut LogThrottle, error: &io::Error) {
    if failures.pass(clock::raw()) {
        let error = limits::explain(error);
        warn!(
            error,
            "cannot accept a connection for key establishment, trying again: {error}"
        );
    }
}

/// Makes a session of a connection.
fn admit(
    stream: TcpStream,
    address: IpAddr,
    sessions: &Arc<Sessions>,
    settings: &watch::Receiver<KeSettings>,
) {
    let id = sessions.admit(address);
    let session = Session {
        id,
        limits: sessions.limits(),
        service: Arc::clone(&settings.borrow().service),
        sessions: Arc::clone(sessions),
    };
    let task = tokio::spawn(session.run(stream));
    sessions.keep(id, task.abort_handle());
}
