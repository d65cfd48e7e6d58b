//! Impure. Where the log goes: to journald with its fields under systemd, else to standard error.

use std::fmt;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use nix::sys::stat::fstat;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt as to_text, reload};

use super::LogLevel;

/// As on standard error: what changed is "info", not "notice".
const PRIORITIES: PriorityMappings = PriorityMappings {
    error: Priority::Error,
    warn: Priority::Warning,
    info: Priority::Informational,
    debug: Priority::Debug,
    trace: Priority::Debug,
};

/// Changes what is logged while it is running.
#[derive(Debug)]
pub struct Switch(reload::Handle<Targets, Registry>);

impl Switch {
    /// From now on messages from `level` on are logged.
    pub fn set(&self, level: LogLevel) {
        // An error can only mean that the log is gone, and then nobody misses it.
        let _set = self.0.reload(ours(level));
    }
}

/// The libraries' own messages are about their inside; what matters of them we say ourselves.
fn ours(level: LogLevel) -> Targets {
    Targets::new().with_target("ntpfront", LevelFilter::from(level))
}

/// Starts the log for the whole process; a second call changes nothing.
///
/// `keeps_root` says that the root directory will stay: journald's socket is looked up for each message, and in
/// a changed root it is not there. Then the text goes to standard error, which systemd hands to journald too.
pub fn start(level: LogLevel, keeps_root: bool) -> Switch {
    let (ours, switch) = reload::Layer::new(ours(level));
    let stderr_is_journal = stderr_is_journal();
    let journald = (stderr_is_journal && keeps_root)
        .then(tracing_journald::layer)
        .and_then(Result::ok);
    // An error can only mean that a log is running already.
    let _started = match journald {
        Some(layer) => {
            let layer = layer
                .with_field_prefix(None)
                .with_syslog_identifier("ntpfront".to_owned())
                .with_priority_mappings(PRIORITIES);
            tracing_subscriber::registry()
                .with(layer.with_filter(ours))
                .try_init()
        }
        None => {
            let layer = to_text::layer()
                .with_writer(io::stderr)
                .with_ansi(io::stderr().is_terminal());
            if stderr_is_journal {
                let layer = layer.event_format(WithPriority(Format::default().without_time()));
                tracing_subscriber::registry()
                    .with(layer.with_filter(ours))
                    .try_init()
            } else {
                tracing_subscriber::registry()
                    .with(layer.with_target(false).with_filter(ours))
                    .try_init()
            }
        }
    };
    Switch(switch)
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

/// Is standard error connected to the journal (`systemd.exec(5)`, $JOURNAL_STREAM: "device:inode")?
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
        mut writer: Writer<'_>,
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
