//! Pure. The faults of a configuration: each is one line with its place and its remedy.

use std::fmt;
use std::path::PathBuf;

/// The number of characters of foreign text that a message may repeat.
const LONGEST_EXCERPT: usize = 60;

/// The place where a value was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Nowhere: it is the default.
    Default,
    /// On the command line, by a flag, named as in `-4`.
    Flag(&'static str),
    /// In the environment, by the variable of this name.
    Variable(&'static str),
    /// A file as a whole.
    WholeFile(PathBuf),
    /// A position in a file.
    File {
        /// Path of the file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1, in characters.
        column: usize,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::WholeFile(path) => f.write_str(&printable(&path.to_string_lossy())),
            Self::File { path, line, column } => {
                write!(f, "{}:{line}:{column}", printable(&path.to_string_lossy()))
            }
        }
    }
}

/// A fault of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its place.
    pub place: Place,
    /// The key as a dotted path such as `listener[2].workers`; empty where no single key is to blame.
    pub key: String,
    /// The text that was found, safe to print.
    pub found: String,
    /// The kind of value that is expected; empty where `found` says it all.
    pub expected: String,
    /// The remedy, if there is more to say.
    pub hint: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place != Place::Default {
            write!(f, "{}: ", self.place)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        match self.expected.as_str() {
            "" => f.write_str(&self.found)?,
            expected => write!(f, "found {}, expected {expected}", self.found)?,
        }
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Lists all faults, one a line, and then their number: the text wherever a configuration is refused.
pub fn listing(faults: &[Fault]) -> String {
    let lines: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
    format!("{lines}{}\n", counted(faults.len(), "fault"))
}

/// Writes a number of things; `noun` is the singular.
pub(super) fn counted(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// Returns foreign text, cut short and safe to print on one line.
pub(super) fn excerpt(text: &str) -> String {
    let mut safe = printable(&text.chars().take(LONGEST_EXCERPT).collect::<String>());
    if text.chars().nth(LONGEST_EXCERPT).is_some() {
        safe.push('…');
    }
    safe
}

/// Returns `text` with line breaks, terminal controls and invisible characters escaped.
///
/// Quotes and backslashes stay as they are.
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => safe.push(character),
            _ => safe.extend(character.escape_debug()),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_one_line() {
        let fault = Fault {
            place: Place::File {
                path: "/etc/ntpfront/ntpfront.toml".into(),
                line: 12,
                column: 11,
            },
            key: "listener[1].workers".to_owned(),
            found: "\"four\"".to_owned(),
            expected: "a whole number from 1 to 1024".to_owned(),
            hint: None,
        };
        let line = "/etc/ntpfront/ntpfront.toml:12:11: listener[1].workers: found \"four\", expected a whole number from 1 to 1024";
        assert_eq!(fault.to_string(), line);
        let fault = Fault {
            hint: Some("try 4".to_owned()),
            ..fault
        };
        assert_eq!(fault.to_string(), format!("{line}; try 4"));
        let fault = Fault {
            key: String::new(),
            expected: String::new(),
            place: Place::Flag("-c"),
            ..fault
        };
        assert_eq!(fault.to_string(), "flag -c: \"four\"; try 4");
    }

    #[test]
    fn foreign_text_is_cut_and_made_harmless() {
        assert_eq!(excerpt("a \"b\" \\ 'c' é"), "a \"b\" \\ 'c' é");
        assert_eq!(excerpt("a\nb\u{1b}[31m\u{202e}"), "a\\nb\\u{1b}[31m\\u{202e}");
        assert_eq!(excerpt(&"x".repeat(60)).chars().count(), 60);
        assert_eq!(excerpt(&"x".repeat(5_000_000)).chars().count(), 61);
    }
}
