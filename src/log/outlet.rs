//! Impure. The outlet of the log: journald, or standard error in the form that is wanted.

use std::fmt::{self, Debug};
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use nix::sys::stat::fstat;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, fmt as to_text};

use super::format::{LineContent, LogFormat};
use super::line::WhenSaid;
use super::queue::Outlet;

/// Priorities as on standard error: what changed is "info", not "notice".
const PRIORITIES: PriorityMappings = PriorityMappings {
    error: Priority::Error,
    warn: Priority::Warning,
    info: Priority::Informational,
    debug: Priority::Debug,
    trace: Priority::Debug,
};

/// The form that the next line has, shared with the thread that writes it.
#[derive(Clone, Debug)]
pub(super) struct WantedFormat(Arc<AtomicU8>);

impl WantedFormat {
    pub(super) fn new(format: LogFormat) -> Self {
        Self(Arc::new(AtomicU8::new(format as u8)))
    }

    pub(super) fn set(&self, format: LogFormat) {
        self.0.store(format as u8, Ordering::Relaxed);
    }

    fn get(&self) -> LogFormat {
        LogFormat::from_repr(self.0.load(Ordering::Relaxed)).unwrap_or_default()
    }
}

/// Whether each line is sent to journald by itself: then a socket is needed for it after the start.
pub fn goes_to_journal(keeps_root: bool) -> bool {
    keeps_root && stderr_is_journal()
}

/// Whether standard error is connected to the journal (`systemd.exec(5)`, $JOURNAL_STREAM: "device:inode").
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    fstat(io::stderr().as_fd()).is_ok_and(|file| stream == format!("{}:{}", file.st_dev, file.st_ino))
}

/// A function that opens the outlet of the lines.
///
/// It is for the thread that writes: to look for journald waits for it.
///
/// The kind of standard error is looked up before: later a filter may forbid it.
pub(super) fn outlet(keeps_root: bool, wanted: WantedFormat) -> impl FnOnce() -> Outlet + Send + 'static {
    let (to_journal, stderr_is_journal) = (goes_to_journal(keeps_root), stderr_is_journal());
    let stderr = io::stderr();
    let is_colored = stderr.is_terminal() && AutoStream::choice(&stderr) != ColorChoice::Never;
    move || {
        // Also if it is not wanted now: a reload may want it.
        let journald = to_journal.then(tracing_journald::layer).and_then(Result::ok);
        let journald = journald.map(|layer| {
            layer
                .with_field_prefix(None)
                .with_syslog_identifier("ntpfront".to_owned())
                .with_priority_mappings(PRIORITIES)
        });
        let lines = EventLines {
            wanted: wanted.clone(),
            stderr_is_journal,
            is_colored,
        };
        let stderr = to_text::layer().with_writer(io::stderr).event_format(lines);
        let outlet = Either {
            wanted,
            journald,
            stderr,
        };
        Box::new(tracing_subscriber::registry().with(outlet))
    }
}

/// The journal where it is wanted and there, else standard error.
struct Either<T> {
    wanted: WantedFormat,
    journald: Option<tracing_journald::Layer>,
    stderr: T,
}

impl<T: Layer<Registry>> Layer<Registry> for Either<T> {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, Registry>) {
        match &self.journald {
            Some(journald) if self.wanted.get() == LogFormat::Auto => journald.on_event(event, context),
            Some(_) | None => self.stderr.on_event(event, context),
        }
    }
}

/// The lines on standard error.
struct EventLines {
    wanted: WantedFormat,
    /// Then a line starts with its priority, as journald reads it (`sd-daemon(3)`), and has no time.
    stderr_is_journal: bool,
    is_colored: bool,
}

impl<S, N> FormatEvent<S, N> for EventLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        let mut content = LineContent::default();
        event.record(&mut content);
        let mut time = String::new();
        // Without a clock a line has no time, and is logged anyway.
        let _said = WhenSaid.format_time(&mut Writer::new(&mut time));
        if self.stderr_is_journal {
            write!(writer, "<{}>", priority(level))?;
        }
        match (self.wanted.get(), self.stderr_is_journal) {
            (LogFormat::Json, _) => writeln!(writer, "{}", content.json(&time, level.as_str())),
            (LogFormat::Auto | LogFormat::Text, true) => writeln!(writer, "{}", content.text()),
            (LogFormat::Auto | LogFormat::Text, false) => {
                let [dim, tone] = if self.is_colored {
                    [Style::new().dimmed(), tone(level)]
                } else {
                    [Style::new(); 2]
                };
                let text = content.text();
                writeln!(writer, "{dim}{time}{dim:#} {tone}{level:>5}{tone:#} {text}")
            }
        }
    }
}

const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

const fn tone(level: Level) -> Style {
    match level {
        Level::ERROR => AnsiColor::Red.on_default().bold(),
        Level::WARN => AnsiColor::Yellow.on_default(),
        Level::INFO => AnsiColor::Green.on_default(),
        _ => AnsiColor::Blue.on_default(),
    }
}

/// Collects the fields: numbers and truth values stay what they are, all else is a text.
impl Visit for LineContent {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.push((field.name(), Value::from(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), Value::from(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), Value::from(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), Value::from(value)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.fields.push((name, Value::from(value))),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
