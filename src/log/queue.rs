//! Impure. The queue between the threads that log a line and the one that writes it.
//!
//! The former never wait for the reader of the log.
//!
//! The queue has a fixed size. A line that finds no room is dropped and counted, and the number stands in the
//! log where the lines are missing. Nothing is written before [`Writer::run`]: the thread must be started
//! when the rights are given up, or it would keep them.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tracing::{Event, Subscriber, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::line::LogLine;

/// Lines that wait at most: about two megabytes.
const ROOM: usize = 4096;
/// Time between two looks whether all is written.
const LOOK: Duration = Duration::from_millis(1);

/// The outlet of the lines, opened by the thread that writes.
pub(super) type Outlet = Box<dyn Subscriber + Send + Sync>;

thread_local! {
    /// Whether this is the thread that writes: it must not wait for itself.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

/// Numbers of lines.
#[derive(Default)]
struct LineCounts {
    /// Lines that are not written yet.
    waiting: AtomicUsize,
    /// Dropped lines that the log does not mention yet.
    untold: AtomicU64,
    /// All dropped lines.
    dropped: AtomicU64,
}

/// The state that the logging threads and the writing one share.
#[derive(Default)]
pub(super) struct QueueState {
    counts: LineCounts,
    outlet: OnceLock<Outlet>,
}

impl QueueState {
    /// Lines that were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Whether there is a thread that writes.
    pub(super) fn is_written(&self) -> bool {
        self.outlet.get().is_some()
    }

    /// Waits until all lines are written, or for `patience`. Returns whether they are.
    pub(super) fn wait(&self, patience: Duration) -> bool {
        let mut waited = Duration::ZERO;
        while self.counts.waiting.load(Ordering::Acquire) != 0 {
            if waited >= patience || WRITES.get() {
                return false;
            }
            thread::sleep(LOOK);
            waited += LOOK;
        }
        true
    }
}

/// The end of the queue that takes lines.
pub(super) struct Relay {
    lines: SyncSender<LogLine>,
    shared: Arc<QueueState>,
}

/// The end of the queue that writes them.
pub struct Writer {
    lines: Receiver<LogLine>,
    shared: Arc<QueueState>,
    open: Box<dyn FnOnce() -> Outlet + Send>,
}

/// Both ends of a queue; `open` makes the outlet, in the thread that will write.
pub(super) fn queue(open: impl FnOnce() -> Outlet + Send + 'static) -> (Relay, Writer, Arc<QueueState>) {
    let (sender, lines) = sync_channel(ROOM);
    let shared = Arc::<QueueState>::default();
    let relay = Relay {
        lines: sender,
        shared: Arc::clone(&shared),
    };
    let writer = Writer {
        lines,
        shared: Arc::clone(&shared),
        open: Box::new(open),
    };
    (relay, writer, shared)
}

impl Relay {
    fn say(&self, mut line: LogLine) {
        let counts = &self.shared.counts;
        line.dropped_before = counts.untold.swap(0, Ordering::Relaxed);
        let dropped_before = line.dropped_before;
        counts.waiting.fetch_add(1, Ordering::AcqRel);
        if self.lines.try_send(line).is_err() {
            counts.waiting.fetch_sub(1, Ordering::AcqRel);
            counts.untold.fetch_add(dropped_before + 1, Ordering::Relaxed);
            counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<S: Subscriber> Layer<S> for Relay {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        match self.shared.outlet.get().filter(|_| WRITES.get()) {
            Some(outlet) => outlet.event(event),
            None => self.say(LogLine::of(event)),
        }
    }
}

impl Writer {
    /// Writes lines as they come, without end: the calling thread may wait for the reader for any time.
    pub fn run(self) {
        WRITES.set(true);
        let Self { lines, shared, open } = self;
        let outlet = shared.outlet.get_or_init(open);
        for line in lines {
            log_dropped(line.dropped_before);
            line.write(outlet);
            let counts = &shared.counts;
            if counts.waiting.load(Ordering::Acquire) <= 1 {
                log_dropped(counts.untold.swap(0, Ordering::Relaxed));
            }
            counts.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Logs, in the thread that writes, how many lines are missing here.
fn log_dropped(dropped: u64) {
    if dropped > 0 {
        warn!(
            dropped,
            "{dropped} lines of the log were dropped: the reader did not keep up"
        );
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;
    use tracing::info;
    use tracing_subscriber::fmt::{MakeWriter, layer};
    use tracing_subscriber::layer::SubscriberExt;

    /// Written lines, and a reader that reads only on demand.
    #[derive(Clone, Default)]
    struct WrittenLines(Arc<Mutex<Vec<u8>>>, Arc<Mutex<()>>);

    impl std::io::Write for WrittenLines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _reads = self.1.lock().unwrap();
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for WrittenLines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn said(page: &WrittenLines) -> Vec<String> {
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn lines_wait_in_order_and_what_has_no_room_is_counted_where_it_is_missing() {
        let page = WrittenLines::default();
        let outlet = page.clone();
        let (relay, writer, shared) = queue(move || {
            let text = layer().with_writer(outlet).with_ansi(false).with_target(false);
            Box::new(tracing_subscriber::registry().with(text.with_timer(super::super::line::WhenSaid)))
        });
        let subscriber = Arc::new(tracing_subscriber::registry().with(relay));
        let dispatch = tracing::Dispatch::new(Arc::clone(&subscriber));
        tracing::dispatcher::with_default(&dispatch, || {
            let stuck = page.1.lock().unwrap();
            (0..ROOM + 10).for_each(|number| info!(number, real = 0.5, text = "a b", "line {number}"));
            assert_eq!(shared.dropped(), 10);
            assert!(!shared.wait(Duration::from_millis(5)));
            let (ended, is_ended) = channel();
            let (dispatch, of_writer) = (dispatch.clone(), writer);
            thread::spawn(move || {
                tracing::dispatcher::with_default(&dispatch, || of_writer.run());
                let _ = ended.send(());
            });
            drop(stuck);
            assert!(shared.wait(Duration::from_secs(20)));
            info!("the last one");
            assert!(shared.wait(Duration::from_secs(20)));
            assert!(is_ended.try_recv().is_err());
        });
        let lines = said(&page);
        assert_eq!(lines.len(), ROOM + 2, "{:?}", lines.last());
        let first = "INFO line 0 number=0 real=0.5 text=\"a b\"";
        assert!(lines[0].ends_with(first), "{}", lines[0]);
        assert!(lines[ROOM - 1].contains(&format!("line {} ", ROOM - 1)));
        assert!(
            lines[ROOM].contains("10 lines of the log were dropped"),
            "{}",
            lines[ROOM]
        );
        assert!(lines[ROOM + 1].ends_with("INFO the last one"));
        // They are as old as they are, not as new as they were written.
        let time = |line: &String| line.split(' ').next().unwrap().to_owned();
        assert!(time(&lines[ROOM - 1]) < time(&lines[ROOM]));
    }
}
