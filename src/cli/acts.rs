//! Pure. The arguments of the subcommands that change the running server, as words.

use clap::{Args, ValueEnum, ValueHint};

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
    /// Resolve all names of upstreams again, and poll all upstreams.
    Refresh,
    /// Change the upstreams until the restart.
    Upstream {
        /// The change.
        action: UpstreamAction,
        /// The upstream.
        address: String,
        /// Keys of `[[upstream]]` and their values, for an upstream that is added.
        options: Vec<(String, String)>,
    },
}

/// A change of the upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UpstreamAction {
    /// Poll another upstream, or a configured one that was removed
    Add,
    /// Poll an upstream no more
    Remove,
    /// Poll an upstream no more for a while
    Pause,
    /// Poll an upstream again that was paused
    Resume,
}

impl Act {
    /// Returns the name of its subcommand.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Drain { .. } => "drain",
            Self::Undrain { .. } => "undrain",
            Self::Refresh => "refresh",
            Self::Upstream { .. } => "upstream",
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

/// The arguments of `upstream`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(super) struct UpstreamArguments {
    /// The change
    #[arg(value_name = "ACTION", value_enum)]
    action: UpstreamAction,
    /// The address or the name, with or without a port (123)
    #[arg(value_name = "ADDR[:PORT]", value_hint = ValueHint::Hostname)]
    address: String,
    /// For add: keys of an upstream and their values, such as minpoll=4 prefer=true
    // The help has a text of its own, as rustdoc would take the table for a link.
    #[arg(help = "For add: keys of [[upstream]] and their values, such as minpoll=4 prefer=true")]
    #[arg(value_name = "KEY=VALUE", value_parser = option, value_hint = ValueHint::Other)]
    options: Vec<(String, String)>,
    #[command(flatten)]
    pub(super) running: RunningArguments,
}

impl UpstreamArguments {
    pub(super) fn act(&self) -> Act {
        Act::Upstream {
            action: self.action,
            address: self.address.clone(),
            options: self.options.clone(),
        }
    }
}

/// Reads a key and its value.
fn option(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("not KEY=VALUE, such as minpoll=4")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// The arguments of `wait`.
#[derive(Args, Clone, Debug, PartialEq)]
pub(super) struct WaitArguments {
    /// Wait for at most this time: 60, 500ms, 60s or 10m
    #[arg(long, value_name = "TIME", default_value = "60", value_parser = duration, value_hint = ValueHint::Other)]
    pub(super) timeout: f64,
    /// Wait until the maximum error of the time is within this limit, too: 0.01, 10ms or 500us
    #[arg(long, value_name = "TIME", value_parser = duration, value_hint = ValueHint::Other)]
    pub(super) max_distance: Option<f64>,
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

/// Reads a time that may have a fraction, in seconds.
fn duration(text: &str) -> Result<f64, String> {
    const UNITS: [(&str, f64); 6] = [
        ("us", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
        ("", 1.0),
    ];
    let parsed = UNITS.iter().find_map(|(unit, length)| {
        let number = text.strip_suffix(unit)?;
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let number: f64 = number.parse().ok().filter(|_| is_number)?;
        Some(number * length)
    });
    let finite = parsed.filter(|seconds| seconds.is_finite());
    finite.ok_or_else(|| "not a time, such as 0.01, 10ms, 60s or 10m".to_owned())
}

/// Reads a time in whole seconds that is not 0.
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
        for (text, seconds) in [
            ("0", 0.0),
            ("0.5", 0.5),
            ("500us", 500.0 * 1e-6),
            ("10ms", 10.0 * 1e-3),
            ("1.5s", 1.5),
            ("10m", 600.0),
            ("1h", 3600.0),
        ] {
            assert_eq!(duration(text), Ok(seconds), "{text}");
        }
        for text in [
            "", "ms", "-1", "+1", "1e9", "inf", "nan", "1 s", "1d", "1.2.3", "0x1",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration(&"9".repeat(400)).is_err());
        assert!(some_time("0m").is_err());
        assert_eq!(some_time("1"), Ok(1));
    }
}
