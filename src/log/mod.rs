//! Impure. The log: to journald with its fields under systemd, else to standard error, as text or as JSON (`outlet`).
//!
//! A thread that logs a line puts it into a queue and continues; a thread of its own writes the lines, and
//! waits for the reader (`queue`).

mod format;
mod level;
mod line;
mod outlet;
mod queue;
pub mod throttle;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tracing::error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

pub use format::LogFormat;
pub use level::LogLevel;
pub use outlet::goes_to_journal;
pub use queue::Writer;

use outlet::WantedFormat;
use queue::QueueState;

/// The longest wait for the reader of the log at the end of the process.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The switch for what is logged, and in which form.
#[derive(Debug)]
pub struct Switch {
    level: reload::Handle<Targets, Registry>,
    format: WantedFormat,
}

impl Switch {
    /// Logs messages from `level` on, from now on.
    pub fn set(&self, level: LogLevel) {
        // An error can only mean that the log is gone.
        let _set = self.level.reload(ours(level));
    }

    /// Writes lines in this form, from now on.
    pub fn set_format(&self, format: LogFormat) {
        self.format.set(format);
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
pub fn start(level: LogLevel, format: LogFormat, keeps_root: bool) -> (Switch, Writer) {
    let (ours, switch) = reload::Layer::new(ours(level));
    let format = WantedFormat::new(format);
    let outlet = outlet::outlet(keeps_root, format.clone());
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
    let switch = Switch {
        level: switch,
        format,
    };
    (switch, writer)
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
