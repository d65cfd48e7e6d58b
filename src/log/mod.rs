//! Impure. The log: to journald with its fields under systemd, else to standard error.
//!
//! A thread that logs a line puts it into a queue and continues; a thread of its own writes the lines, and
//! waits for the reader (`queue`).

mod level;
mod line;
mod queue;
pub mod throttle;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use nix::sys::stat::fstat;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber, error};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{self, Format};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt as to_text, reload};

pub use level::LogLevel;
use line::WhenSaid;
pub use queue::Writer;
use queue::{Outlet, QueueState};

/// The longest wait for the reader of the log at the end of the process.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Priorities as on standard error: what changed is "info", not "notice".
const PRIORITIES: PriorityMappings = PriorityMappings {
    error: Priority::Error,
    warn: Priority::Warning,
    info: Priority::Informational,
    debug: Priority::Debug,
    trace: Priority::Debug,
};

/// The switch for what is logged.
#[derive(Debug)]
pub struct Switch(reload::Handle<Targets, Registry>);

impl Switch {
    /// Logs messages from `level` on, from now on.
    pub fn set(&self, level: LogLevel) {
        // An error can only mean that the log is gone.
        let _set = self.0.reload(ours(level));
    }
}

/// The messages of ntpfront itself: those of the libraries are about their inside.
fn ours(level: LogLevel) -> Targets {
    Targets::new().with_target("ntpfront", LevelFilter::from(level))
}

/// The log that runs.
static RUNNING: OnceLock<Arc<QueueState>> = OnceLock::new();

/// Starts the log for the whole process; a second call changes nothing.
///
/// Lines are kept until the [`Writer`] runs, in a thread of its own.
///
/// `keeps_root` says that the root directory will stay: journald's socket is looked up for each message, and
/// in a changed root it is not there. Then the text goes to standard error, which systemd hands to journald
/// too.
pub fn start(level: LogLevel, keeps_root: bool) -> (Switch, Writer) {
    let (ours, switch) = reload::Layer::new(ours(level));
    let outlet = outlet(keeps_root);
    let (relay, writer, shared) = queue::queue(outlet);
    // An error can only mean that a log is running already.
    let _started = tracing_subscriber::registry()
        .with(relay.with_filter(ours))
        .try_init();
    RUNNING.get_or_init(|| shared);
    let by_itself = panic::take_hook();
    panic::set_hook(Box::new(move |info| match RUNNING.get() {
        Some(shared) if shared.is_written() => log_panic(info),
        Some(_) | None => by_itself(info),
    }));
    (Switch(switch), writer)
}

/// Waits until all lines are written, but not longer than a second: for the end of the process.
pub fn finish() {
    if let Some(shared) = RUNNING.get() {
        shared.wait(LAST_WORDS);
    }
}

/// Lines that were dropped so far, as nothing read them.
pub fn dropped() -> u64 {
    RUNNING.get().map_or(0, |shared| shared.dropped())
}

/// Logs the last line of the process.
///
/// By itself it would be written by the thread that panics, which could wait for ever.
fn log_panic(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    error!(
        backtrace,
        "thread {:?} {}",
        thread.name().unwrap_or("without a name"),
        info.to_string().replace('\n', " ")
    );
    finish();
}

/// Whether each line is sent to journald by itself: then a socket is needed for it after the start.
pub fn goes_to_journal(keeps_root: bool) -> bool {
    keeps_root && stderr_is_journal()
}

/// A function that opens the outlet of the lines.
///
/// It is for the thread that writes: to look for journald waits for it.
///
/// The kind of standard error is looked up before: later a filter may forbid it.
fn outlet(keeps_root: bool) -> impl FnOnce() -> Outlet + Send + 'static {
    let (to_journal, stderr_is_journal) = (goes_to_journal(keeps_root), stderr_is_journal());
    let is_terminal = io::stderr().is_terminal();
    move || make_outlet(to_journal, stderr_is_journal, is_terminal)
}

fn make_outlet(to_journal: bool, stderr_is_journal: bool, is_terminal: bool) -> Outlet {
    let journald = to_journal.then(tracing_journald::layer).and_then(Result::ok);
    if let Some(layer) = journald {
        let layer = layer
            .with_field_prefix(None)
            .with_syslog_identifier("ntpfront".to_owned())
            .with_priority_mappings(PRIORITIES);
        return Box::new(tracing_subscriber::registry().with(layer));
    }
    let layer = to_text::layer()
        .with_timer(WhenSaid)
        .with_writer(io::stderr)
        .with_ansi(is_terminal);
    if stderr_is_journal {
        let layer = layer.event_format(WithPriority(Format::default().without_time()));
        Box::new(tracing_subscriber::registry().with(layer))
    } else {
        Box::new(tracing_subscriber::registry().with(layer.with_target(false)))
    }
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// Whether standard error is connected to the journal (`systemd.exec(5)`, $JOURNAL_STREAM: "device:inode").
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    fstat(io::stderr().as_fd()).is_ok_and(|file| stream == format!("{}:{}", file.st_dev, file.st_ino))
}

/// Lines that start with their priority, as journald reads them from standard error (`sd-daemon(3)`).
struct WithPriority<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithPriority<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: format::Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        let priority = match level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}
