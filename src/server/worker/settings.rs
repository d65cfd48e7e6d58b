//! Impure. A worker's settings while it works, in cells that it reads before each batch; and its CPU.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::host::cpus::Thread;
use crate::server::Tuning;
use crate::time::NtpDuration;

/// The settings of one worker.
#[derive(Debug)]
pub(super) struct WorkerSettings {
    stop: AtomicBool,
    /// The batch size, [`Tuning::batch`].
    batch: AtomicUsize,
    /// The longest wait, [`Tuning::max_wait`], in nanoseconds.
    max_wait: AtomicU64,
    /// The CPU as [`Thread::keep_to`] has it; [`ANY_CPU`]: all of them.
    cpu: AtomicUsize,
    /// The worker's number as a thread, once it runs.
    thread: AtomicI32,
}

/// The number for all CPUs: no CPU has it.
const ANY_CPU: usize = usize::MAX;

impl Default for WorkerSettings {
    fn default() -> Self {
        let tuning = Tuning::default();
        Self {
            stop: AtomicBool::new(false),
            batch: AtomicUsize::new(tuning.batch.into()),
            max_wait: AtomicU64::new(nanos(tuning.max_wait)),
            cpu: AtomicUsize::new(ANY_CPU),
            thread: AtomicI32::new(0),
        }
    }
}

impl WorkerSettings {
    /// Tells the worker to end.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Sets the worker's tuning, and the number of the CPU that it keeps to.
    ///
    /// # Errors
    /// As [`Thread::keep_to`].
    pub(super) fn tune(&self, tuning: &Tuning, cpu: Option<usize>) -> io::Result<()> {
        self.batch.store(tuning.batch.into(), Ordering::Relaxed);
        self.max_wait.store(nanos(tuning.max_wait), Ordering::Relaxed);
        let wanted = cpu.unwrap_or(ANY_CPU);
        let changed = self.cpu.swap(wanted, Ordering::SeqCst) != wanted;
        match Thread::of(self.thread.load(Ordering::SeqCst)) {
            Some(thread) if changed => thread.keep_to(cpu),
            // Nothing new, or it will see to that itself when it begins.
            Some(_) | None => Ok(()),
        }
    }

    /// Begins the worker, in the thread that calls.
    ///
    /// Either it sees the newest CPU here, or the thread that sets the CPU sees the worker's.
    ///
    /// # Errors
    /// As [`Thread::keep_to`].
    pub(super) fn begin(&self) -> io::Result<()> {
        let thread = Thread::current();
        self.thread.store(thread.number(), Ordering::SeqCst);
        match self.cpu.load(Ordering::SeqCst) {
            ANY_CPU => Ok(()),
            cpu => thread.keep_to(Some(cpu)),
        }
    }

    pub(super) fn is_to_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn batch(&self) -> usize {
        self.batch.load(Ordering::Relaxed)
    }

    pub(super) fn max_wait(&self) -> NtpDuration {
        NtpDuration::from_std(Duration::from_nanos(self.max_wait.load(Ordering::Relaxed)))
    }
}

/// Returns the time in nanoseconds: a `u64` holds 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
