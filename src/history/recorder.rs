//! Impure. The recorder: a thread that writes the record, fed by a queue that never makes the supervisor wait.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use tracing::{error, info, warn};

use super::folder::HistoryFolder;
use super::line::HistoryLine;
use super::writer::HistoryWriter;
pub use super::writer::RecordSettings;
use crate::host::sandbox::seccomp;
use crate::host::{clock, limits, privileges};
use crate::observe::history_status::HistoryStatus;

/// The lines that wait at most: an hour of them.
const QUEUE: usize = 4096;
/// Time from one member to the next: as much is lost at most if the host loses its power.
const MEMBER: Duration = Duration::from_secs(10);
/// The longest wait for the next line.
const WAIT: Duration = Duration::from_secs(1);
/// Time without a finished write after which the disk counts as stuck.
const STUCK: Duration = Duration::from_secs(60);
/// The longest wait for the end of the last write.
const LAST_WRITE: Duration = Duration::from_secs(3);

/// The reason for records that the queue had no room for.
const TOO_SLOW: &str = "the disk was too slow: the queue was full";

/// The handle of the recorder.
#[derive(Debug)]
pub struct Recorder {
    jobs: SyncSender<RecorderJob>,
    shared: Arc<RecorderShared>,
    done: Receiver<()>,
    path: PathBuf,
}

/// A job of the thread.
#[derive(Debug)]
enum RecorderJob {
    Write(HistoryLine<'static>),
    End,
}

/// The state of the thread, as others see it.
#[derive(Debug, Default)]
struct RecorderShared {
    files: AtomicU64,
    bytes: AtomicU64,
    written: AtomicU64,
    lost: AtomicU64,
    /// Lines that found no room in the queue and are not noted yet.
    refused: AtomicU64,
    /// The moment at which it last had finished its work, in milliseconds of the raw counter.
    finished_ms: AtomicU64,
    fault: Mutex<Option<String>>,
}

impl Recorder {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system allows no more threads.
    pub fn start(folder: HistoryFolder, settings: RecordSettings) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let (ended, done) = sync_channel(1);
        let shared = Arc::new(RecorderShared::default());
        let path = folder.path().to_owned();
        let sync = settings.sync;
        let mut own = RecorderThread {
            writer: HistoryWriter::new(folder, settings),
            queue,
            shared: Arc::clone(&shared),
            sync,
            // The first lines are written at once: so a place that can't be written is known at the start.
            flushed_at: Duration::ZERO,
            synced_at: clock::raw(),
        };
        shared.note_finished();
        thread::Builder::new().name("history".to_owned()).spawn(move || {
            // The kernel lets every thread drop a capability, and permits the filter: else an attacker is in control.
            if privileges::drop_all_of_thread().is_err() || seccomp::limit_recorder().is_err() {
                std::process::abort();
            }
            own.run();
            let _ended = ended.send(());
        })?;
        Ok(Self {
            jobs,
            shared,
            done,
            path,
        })
    }

    /// Takes a line, or loses it if the disk has been too slow for an hour. Never waits.
    pub fn write(&self, line: HistoryLine<'static>) {
        match self.jobs.try_send(RecorderJob::Write(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.shared.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Returns the state of the record.
    pub fn status(&self) -> HistoryStatus {
        let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let shared = &self.shared;
        let fault = shared
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let finished = Duration::from_millis(load(&shared.finished_ms));
        let since = clock::raw().saturating_sub(finished);
        let stuck =
            (since > STUCK).then(|| format!("the disk has not finished a write for {} s", since.as_secs()));
        HistoryStatus {
            directory: self.path.clone(),
            files: load(&shared.files),
            bytes: load(&shared.bytes),
            written: load(&shared.written),
            lost: load(&shared.lost) + load(&shared.refused),
            fault: fault.or(stuck),
        }
    }

    /// Has it write what waits, and waits for that, but not for long.
    pub fn end(self) {
        if self.jobs.try_send(RecorderJob::End).is_err() || self.done.recv_timeout(LAST_WRITE).is_err() {
            warn!("history: the disk is too slow: the last records are not written");
        }
    }
}

impl RecorderShared {
    fn note_finished(&self) {
        let millis = u64::try_from(clock::raw().as_millis()).unwrap_or(u64::MAX);
        self.finished_ms.store(millis, Ordering::Relaxed);
    }
}

struct RecorderThread {
    writer: HistoryWriter,
    queue: Receiver<RecorderJob>,
    shared: Arc<RecorderShared>,
    sync: Duration,
    flushed_at: Duration,
    synced_at: Duration,
}

impl RecorderThread {
    fn run(&mut self) {
        // A file that is as long as the limit of the process (RLIMIT_FSIZE) is an error of write(2), and no signal.
        let _blocked = SigSet::from_iter([Signal::SIGXFSZ]).thread_block();
        loop {
            let job = self.queue.recv_timeout(WAIT);
            let refused = self.shared.refused.swap(0, Ordering::Relaxed);
            if refused > 0 {
                self.writer.lose(refused, TOO_SLOW);
            }
            let is_end = match job {
                Ok(RecorderJob::Write(line)) => {
                    let taken = self.writer.take(&line);
                    self.judge(taken);
                    false
                }
                Ok(RecorderJob::End) | Err(RecvTimeoutError::Disconnected) => true,
                Err(RecvTimeoutError::Timeout) => false,
            };
            self.tend(is_end);
            if is_end {
                return;
            }
        }
    }

    /// Writes what waits for long enough, and has the disk take it.
    fn tend(&mut self, is_end: bool) {
        let now = clock::raw();
        if is_end || now.saturating_sub(self.flushed_at) >= MEMBER {
            self.flushed_at = now;
            let flushed = self.writer.flush();
            self.judge(flushed);
        }
        if is_end || now.saturating_sub(self.synced_at) >= self.sync {
            self.synced_at = now;
            let synced = self.writer.sync();
            if synced.is_err() {
                self.judge(synced);
            }
        }
        let (shared, writer) = (&self.shared, &self.writer);
        shared.files.store(writer.files, Ordering::Relaxed);
        shared.bytes.store(writer.bytes, Ordering::Relaxed);
        shared.written.store(writer.written, Ordering::Relaxed);
        shared.lost.store(writer.dropped, Ordering::Relaxed);
        shared.note_finished();
    }

    /// Tells a failure once, and its end.
    fn judge(&self, outcome: io::Result<()>) {
        let mut fault = self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) if self.writer.is_writing() => {
                if fault.take().is_some() {
                    let directory = self.writer.directory().display();
                    info!("history: records are written to {directory} again; a gap is recorded");
                }
            }
            Ok(()) => {}
            Err(error) => {
                let why = limits::explain(&error);
                if fault.is_none() {
                    let directory = self.writer.directory().display();
                    error!(
                        error = why,
                        "history: cannot write to {directory} (history.directory): {why}; time is served as before, and it is tried again"
                    );
                }
                *fault = Some(why);
            }
        }
    }
}
