//! Pure. A value as a file or a flag has it, with its place, before it is validated.

use std::ops::Range;

use super::fault::Place;

/// The origin of a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Origin {
    /// Neither a flag nor the file.
    #[default]
    Default,
    /// A flag, named as in `-4`.
    Flag(&'static str),
    /// An environment variable of this name.
    Variable(&'static str),
    /// The file, at these bytes.
    File(Range<usize>),
    /// The line of a file of another program.
    Line(Place),
}

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RawValue {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// The kinds of values that keys take; all others are `Other`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<RawValue>),
    Other,
}

/// A table, with its unknown keys.
#[derive(Clone, Debug)]
pub(super) struct Section<T> {
    pub(super) said: T,
    pub(super) unknown: Vec<Unknown>,
    /// False if another kind of value is in its place.
    pub(super) is_table: bool,
    pub(super) origin: Origin,
}

impl<T: Default> Default for Section<T> {
    fn default() -> Self {
        Self {
            said: T::default(),
            unknown: Vec::new(),
            is_table: true,
            origin: Origin::Default,
        }
    }
}

/// An array of tables: `None` if there is none.
#[derive(Debug)]
pub(super) struct Sections<T> {
    pub(super) said: Option<Vec<Section<T>>>,
    /// False if another kind of value is in its place.
    pub(super) is_array: bool,
    pub(super) origin: Origin,
}

impl<T> Default for Sections<T> {
    fn default() -> Self {
        Self {
            said: None,
            is_array: true,
            origin: Origin::Default,
        }
    }
}

/// A key that its table does not know.
#[derive(Clone, Debug)]
pub(super) struct Unknown {
    pub(super) key: String,
    /// The keys that the table knows.
    pub(super) known: &'static [&'static str],
    pub(super) origin: Origin,
}

impl RawValue {
    pub(super) fn text(text: &str, origin: Origin) -> Self {
        Self {
            value: Value::Text(text.to_owned()),
            origin,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::List(_) | Value::Other => None,
        }
    }

    /// Returns the whole number, if it is one; a flag has it as text.
    pub(super) fn as_integer(&self) -> Option<i64> {
        match &self.value {
            Value::Integer(number) => Some(*number),
            Value::Text(text) if matches!(self.origin, Origin::Flag(_) | Origin::Variable(_)) => {
                text.parse().ok()
            }
            Value::Text(_) | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Other => None,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "numbers that large are out of every range"
    )]
    pub(super) fn as_float(&self) -> Option<f64> {
        match self.value {
            Value::Float(number) => Some(number),
            Value::Integer(number) => Some(number as f64),
            Value::Text(_) | Value::Bool(_) | Value::List(_) | Value::Other => None,
        }
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(truth) => Some(truth),
            Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::List(_) | Value::Other => None,
        }
    }

    pub(super) fn as_list(&self) -> Option<&[RawValue]> {
        match &self.value {
            Value::List(list) => Some(list),
            Value::Text(_) | Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Other => None,
        }
    }
}
