//! Pure. Something that is not as it should be, with its reason and remedy.

use serde::Serialize;

use super::screen::Tone;

/// Something that is not as it should be.
///
/// Its JSON names are stable, as those of the whole [snapshot](super::snapshot); its texts are for people, and may change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// The severity.
    pub severity: Severity,
    /// The part that it is about.
    ///
    /// `state`, `listener`, `reload`, `configuration`, `sources`, `leap list`, `certificate`, `history`, `fast path`, `log`.
    pub about: &'static str,
    /// The reason, in words.
    pub why: String,
    /// The remedy, in words; `null` if that is to wait.
    pub remedy: Option<String>,
}

/// Degrees of what is not as it should be, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Clients get no time, or not at all addresses.
    Critical,
    /// Clients get a time, and that may end.
    Warning,
    /// Nothing is to be done: this ends by itself.
    Notice,
}

impl Severity {
    /// Returns the tone for it on a screen.
    pub const fn tone(self) -> Tone {
        match self {
            Self::Critical => Tone::Bad,
            Self::Warning => Tone::Warning,
            Self::Notice => Tone::Plain,
        }
    }
}

/// An advice for tests.
#[cfg(test)]
pub(super) fn example() -> Advice {
    Advice {
        severity: Severity::Critical,
        about: "listener",
        why: "192.0.2.7:123 is not served".to_owned(),
        remedy: Some("look at ip address".to_owned()),
    }
}
