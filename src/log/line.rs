//! Impure. A line of the log, kept so that another thread can write it.
//!
//! It has what is logged, the place in the source, and the time (which alone is impure).

use std::cell::RefCell;
use std::error::Error;
use std::fmt::{self, Debug};

use tracing::field::{Field, Visit, display};
use tracing::{Event, Metadata, Subscriber, Value};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// Fields of a line that are kept at most; none of ours has half as many.
const FIELDS: usize = 32;

thread_local! {
    /// Time at which the line that this thread is writing was logged.
    static SAID_AT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A line, with the fields that have a value.
pub(super) struct LogLine {
    metadata: &'static Metadata<'static>,
    values: Vec<(Field, Box<dyn Value + Send>)>,
    /// Time at which it was logged, as text, in UTC.
    said_at: String,
    /// Lines before this one that found no room.
    pub(super) dropped_before: u64,
}

impl LogLine {
    /// The line of an event that happens now.
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut line = Self {
            metadata: event.metadata(),
            values: Vec::new(),
            said_at: String::new(),
            dropped_before: 0,
        };
        event.record(&mut line);
        // Without a clock a line has no time, and is logged anyway.
        let _said = SystemTime.format_time(&mut Writer::new(&mut line.said_at));
        line
    }

    /// Writes it to `to`.
    pub(super) fn write(&self, to: &dyn Subscriber) {
        let Some((first, _)) = self.values.first() else {
            return;
        };
        // The interface of the crate wants a number of values that is known beforehand; those without a value
        // are as if they were not there.
        let mut values: [(&Field, Option<&dyn Value>); FIELDS] = [(first, None); FIELDS];
        for (place, (field, value)) in values.iter_mut().zip(&self.values) {
            let value: &dyn Value = value.as_ref();
            *place = (field, Some(value));
        }
        SAID_AT.with_borrow_mut(|said_at| said_at.clone_from(&self.said_at));
        let values = self.metadata.fields().value_set(&values);
        to.event(&Event::new(self.metadata, &values));
        // Lines that this thread itself logs have only their own time.
        SAID_AT.with_borrow_mut(String::clear);
    }

    fn keep(&mut self, field: &Field, value: impl Value + Send + 'static) {
        self.values.push((field.clone(), Box::new(value)));
    }
}

/// Collects the fields: numbers and texts stay what they are; all else is a text from here on.
impl Visit for LogLine {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.keep(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.keep(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.keep(field, display(value.to_string()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.keep(field, display(format!("{value:?}")));
    }
}

/// The time at which the line was logged, not at which it is written.
pub(super) struct WhenSaid;

impl FormatTime for WhenSaid {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        SAID_AT.with_borrow(|said_at| match said_at.as_str() {
            "" => SystemTime.format_time(writer),
            said_at => writer.write_str(said_at),
        })
    }
}
