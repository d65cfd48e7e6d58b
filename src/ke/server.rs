//! Impure. The handle of all threads of key establishment.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::admission::KeLimits;
use super::counters::KeCounts;
use super::service::KeService;
use super::sessions::Sessions;
use super::thread::{KeSettings, KeThread};
use crate::host::clock;

/// The longest time that sessions have to end when the server does.
const LAST: Duration = Duration::from_secs(1);
/// Interval of the check whether they have.
const ENDING: Duration = Duration::from_millis(10);

/// The threads that establish keys.
#[derive(Debug)]
pub struct KeThreads {
    sessions: Arc<Sessions>,
    settings: watch::Sender<KeSettings>,
    threads: Vec<WatchedThread>,
    /// Threads that end with their last session.
    ending: Vec<KeThread>,
}

/// A thread, and its last known progress.
#[derive(Debug)]
struct WatchedThread {
    thread: KeThread,
    rounds: u64,
    seen_at: Duration,
}

impl KeThreads {
    /// Starts as many threads as `limits` say.
    ///
    /// # Errors
    /// The system allows no more threads or descriptors.
    pub fn start(service: KeService, listeners: Vec<Arc<TcpListener>>, limits: KeLimits) -> io::Result<Self> {
        let (settings, _) = watch::channel(KeSettings {
            service: Arc::new(service),
            listeners,
        });
        let mut server = Self {
            sessions: Arc::new(Sessions::new(limits)),
            settings,
            threads: Vec::new(),
            ending: Vec::new(),
        };
        let threads = server.more_threads(limits.threads)?;
        server.threads = threads;
        Ok(server)
    }

    /// Starts the threads that are missing to `wanted`.
    ///
    /// # Errors
    /// As [`Self::start`]; nothing has changed then.
    pub fn prepare(&mut self, wanted: u16) -> io::Result<()> {
        let threads = self.more_threads(wanted)?;
        self.threads.extend(threads);
        Ok(())
    }

    fn more_threads(&self, wanted: u16) -> io::Result<Vec<WatchedThread>> {
        let start = |number| {
            let settings = self.settings.subscribe();
            Ok(WatchedThread {
                thread: KeThread::start(number, Arc::clone(&self.sessions), settings)?,
                rounds: 0,
                seen_at: clock::raw(),
            })
        };
        (self.threads.len()..wanted.into()).map(start).collect()
    }

    /// Applies other settings: to connections from now on, no session is ended.
    pub fn apply(&mut self, service: KeService, listeners: Vec<Arc<TcpListener>>, limits: KeLimits) {
        self.sessions.set_limits(limits);
        self.settings.send_replace(KeSettings {
            service: Arc::new(service),
            listeners,
        });
        let kept = usize::from(limits.threads).min(self.threads.len());
        let gone = self.threads.split_off(kept).into_iter();
        let gone = gone.map(|watched| watched.thread);
        self.ending.extend(gone.inspect(KeThread::end));
        self.ending.retain(|thread| !thread.has_ended());
    }

    /// Changes what new sessions give.
    pub fn set_service(&self, service: KeService) {
        self.settings
            .send_modify(|settings| settings.service = Arc::new(service));
    }

    /// Returns the number of threads.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Returns the number of sessions.
    pub fn open(&self) -> usize {
        self.sessions.open()
    }

    /// Returns the counts since the start.
    pub fn counts(&self) -> KeCounts {
        self.sessions.counts()
    }

    /// Returns the number of a thread that did not run its loop for `limit` until `now`, if there is one.
    pub fn stuck(&mut self, now: Duration, limit: Duration) -> Option<usize> {
        let mut stuck = None;
        for (number, watched) in self.threads.iter_mut().enumerate() {
            let rounds = watched.thread.rounds();
            if rounds != watched.rounds {
                (watched.rounds, watched.seen_at) = (rounds, now);
            } else if now.saturating_sub(watched.seen_at) > limit {
                stuck = Some(number);
            }
        }
        stuck
    }

    /// Accepts nothing more, and lets sessions end for a second.
    ///
    /// Later connections wait in the descriptor store for the next process, if there is one.
    pub async fn stop(self) {
        let until = clock::raw() + LAST;
        let running = self.threads.iter().map(|watched| &watched.thread);
        let threads = running.chain(&self.ending);
        threads.clone().for_each(KeThread::end);
        while !threads.clone().all(KeThread::has_ended) && clock::raw() < until {
            sleep(ENDING).await;
        }
    }
}
