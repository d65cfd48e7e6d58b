//! Pure. The form of a line of the log: a line for people, or a JSON object for programs.

use std::fmt::Write;

use serde_json::Value;
use strum::{FromRepr, IntoStaticStr, VariantArray};

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray, FromRepr)]
#[strum(serialize_all = "kebab-case")]
#[repr(u8)]
pub enum LogFormat {
    /// To the journal with its fields where standard error is connected to it; else as text.
    #[default]
    Auto,
    /// A line for people.
    Text,
    /// A JSON object per line.
    Json,
}

impl LogFormat {
    /// Name in the configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The content of a line: the message, and the fields that have a value.
#[derive(Debug, Default)]
pub(super) struct LineContent {
    pub(super) message: String,
    pub(super) fields: Vec<(&'static str, Value)>,
}

impl LineContent {
    /// Returns the message, and each field that the message does not have already.
    ///
    /// Control characters are escaped: a line stays a line, and no terminal obeys it.
    pub(super) fn text(&self) -> String {
        let mut text = self.message.clone();
        for (name, value) in &self.fields {
            if is_said(&self.message, name, value) {
                continue;
            }
            let value = plain(value);
            let is_word = !value.is_empty() && !value.contains([' ', '"', '=']);
            // Writing to a string can't fail.
            let _written = match is_word {
                true => write!(text, " {name}={value}"),
                false => write!(text, " {name}=\"{}\"", value.replace('"', "'")),
            };
        }
        escaped(&text)
    }

    /// Returns all of it as a JSON object with the time (RFC 3339) and the level, in this order.
    pub(super) fn json(&self, time: &str, level: &str) -> String {
        let level = level.to_ascii_lowercase();
        let known = [("time", time), ("level", &level), ("message", &self.message)];
        let mut object = known
            .map(|(name, text)| member(name, &Value::from(text)))
            .join(",");
        for (name, value) in &self.fields {
            let is_taken = known.iter().any(|(known, _)| known == name);
            object.push(',');
            object.push_str(&match is_taken {
                true => member(&format!("field_{name}"), value),
                false => member(name, value),
            });
        }
        format!("{{{object}}}")
    }
}

fn member(name: &str, value: &Value) -> String {
    format!("{}:{value}", Value::from(name))
}

/// The value as people write it.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether the message has the value of a field: a text as it is, a number next to its name or as the first word.
fn is_said(message: &str, name: &str, value: &Value) -> bool {
    let text = plain(value);
    if value.is_string() {
        return text.is_empty() || has_words(message, &text);
    }
    let name = name.replace('_', " ");
    let one = name.strip_suffix('s').unwrap_or(&name);
    let is_first = message.starts_with(&format!("{text} ")) && has_words(message, &name);
    let beside = [
        format!("{name} {text}"),
        format!("{text} {name}"),
        format!("{one} {text}"),
        format!("{text} {one}"),
    ];
    is_first || beside.iter().any(|words| has_words(message, words))
}

/// Whether a text has these words, and not as a part of longer ones.
fn has_words(text: &str, words: &str) -> bool {
    text.match_indices(words).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text
            .get(at + words.len()..)
            .and_then(|after| after.chars().next());
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(message: &str, fields: &[(&'static str, Value)]) -> LineContent {
        LineContent {
            message: message.to_owned(),
            fields: fields.to_vec(),
        }
    }

    #[test]
    fn a_text_says_each_field_once() {
        for (message, name, value, expected) in [
            (
                "listening on 127.0.0.1:12, workers 1",
                "listener",
                Value::from("127.0.0.1:12"),
                "",
            ),
            // A part of another word is not the same.
            (
                "listening on 127.0.0.1:123",
                "listener",
                "127.0.0.1:12".into(),
                " listener=127.0.0.1:12",
            ),
            (
                "this address answers",
                "upstream",
                "a:123".into(),
                " upstream=a:123",
            ),
            ("ready: 1 worker, 2 upstreams", "workers", 1.into(), ""),
            ("ready: 1 worker, 2 upstreams", "upstreams", 2.into(), ""),
            ("worker 3 of it is stuck", "worker", 3.into(), ""),
            ("10 lines were dropped", "dropped", 10.into(), ""),
            (
                "worker counters: 127.0.0.1:12: 0 received",
                "worker",
                0.into(),
                " worker=0",
            ),
            // Any other number may be the same by chance.
            ("10 s are over", "times", 10.into(), " times=10"),
            ("stepped", "seconds", 0.5.into(), " seconds=0.5"),
            (
                "cannot do it",
                "error",
                "no \"room\" left".into(),
                " error=\"no 'room' left\"",
            ),
            ("cannot do it", "error", "".into(), ""),
            ("cannot do it: no room", "error", "no room".into(), ""),
        ] {
            let text = content(message, &[(name, value)]).text();
            assert_eq!(text, format!("{message}{expected}"));
        }
    }

    #[test]
    fn a_text_stays_a_line() {
        let text = content("one\ntwo\u{1b}[2J", &[("why", Value::from("a\rb"))]).text();
        assert_eq!(text, "one\\ntwo\\u{1b}[2J why=a\\rb");
    }

    #[test]
    fn an_object_has_everything() {
        let fields = [
            ("listener", Value::from("127.0.0.1:12")),
            ("workers", 2.into()),
            ("share", f64::NAN.into()),
            ("on", true.into()),
            ("time", "x".into()),
        ];
        let line = content("listening on 127.0.0.1:12\n\"", &fields).json("2026-11-28T07:00:00Z", "WARN");
        assert_eq!(
            line,
            "{\"time\":\"2026-11-28T07:00:00Z\",\"level\":\"warn\",\"message\":\"listening on 127.0.0.1:12\\n\\\"\",\
             \"listener\":\"127.0.0.1:12\",\"workers\":2,\"share\":null,\"on\":true,\"field_time\":\"x\"}"
        );
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["workers"], 2);
    }
}
