//! Pure. The arguments of the subcommands that change the running server, as words.

use clap::{Args, ValueHint};

use super::RunningArguments;

/// A change of the running server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Read the configuration again, and wait for the result.
    Reload,
    /// Have listeners answer "unsynchronized".
    Drain {
        /// The listener; `None` is all of them.
        listener: Option<String>,
        /// Seconds until the answers change.
        after: u32,
        /// Seconds from then on until the drain ends by itself, not 0.
        length: Option<u32>,
    },
    /// Have listeners answer as configured again.
    Undrain {
        /// The listener; `None` is all of them.
        listener: Option<String>,
    },
}

impl Act {
    /// Returns the name of its subcommand.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Drain { .. } => "drain",
            Self::Undrain { .. } => "undrain",
        }
    }
}

/// The arguments of `drain`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(super) struct DrainArguments {
    /// The listener, as it is configured [default: all of them]
    #[arg(value_name = "ADDR:PORT", value_hint = ValueHint::Other)]
    listener: Option<String>,
    /// End the drain by itself after this time: 90, 90s, 10m, 2h or 1d
    #[arg(long = "for", value_name = "TIME", value_parser = some_time, value_hint = ValueHint::Other)]
    length: Option<u32>,
    /// Answer with the time for this long first, while `health` reports the drain already: routes have time to move
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = time, value_hint = ValueHint::Other)]
    after: u32,
    #[command(flatten)]
    pub(super) running: RunningArguments,
}

/// The arguments of `undrain`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(super) struct UndrainArguments {
    /// The listener, as it is configured [default: all of them]
    #[arg(value_name = "ADDR:PORT", value_hint = ValueHint::Other)]
    listener: Option<String>,
    #[command(flatten)]
    pub(super) running: RunningArguments,
}

impl DrainArguments {
    pub(super) fn act(&self) -> Act {
        Act::Drain {
            listener: self.listener.clone(),
            after: self.after,
            length: self.length,
        }
    }
}

impl UndrainArguments {
    pub(super) fn act(&self) -> Act {
        Act::Undrain {
            listener: self.listener.clone(),
        }
    }
}

/// Reads a time in whole seconds, with a unit or without.
fn time(text: &str) -> Result<u32, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    let unit = match text.get(digits.len()..) {
        Some("" | "s") => Some(1),
        Some("m") => Some(60),
        Some("h") => Some(3600),
        Some("d") => Some(86_400),
        Some(_) | None => None,
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u32> = digits.parse().ok().filter(|_| is_number);
    let seconds = number
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit));
    seconds.ok_or_else(|| "not a time, such as 90s, 10m, 2h or 1d".to_owned())
}

/// The same, and not 0.
fn some_time(text: &str) -> Result<u32, String> {
    match time(text)? {
        0 => Err("it must be longer than 0 s".to_owned()),
        seconds => Ok(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in [
            ("0", 0),
            ("90", 90),
            ("90s", 90),
            ("10m", 600),
            ("2h", 7200),
            ("1d", 86_400),
        ] {
            assert_eq!(time(text), Ok(seconds), "{text}");
        }
        for text in [
            "",
            "s",
            "-1",
            "+1",
            "1.5",
            "1 s",
            "1ms",
            "1w",
            "1hm",
            "4294967296",
            "4294967295m",
            "١",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
        assert!(some_time("0m").is_err());
        assert_eq!(some_time("1"), Ok(1));
    }
}
