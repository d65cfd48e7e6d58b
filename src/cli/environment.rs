//! Pure. The environment variables that stand for flags, for containers.

use std::ffi::OsString;
use std::path::PathBuf;

/// The configuration file, as `-c`.
pub const CONFIG: &str = "NTPFRONT_CONFIG";
/// Upstreams, as `-s`: several are separated by commas or spaces.
pub const UPSTREAM: &str = "NTPFRONT_UPSTREAM";
/// Listeners, in place of all others: several are separated by commas or spaces.
pub const LISTEN: &str = "NTPFRONT_LISTEN";
/// Workers of every listener, as `-4` and `-6`.
pub const WORKERS: &str = "NTPFRONT_WORKERS";
/// The number of upstreams that must agree, as `--min-sources`.
pub const MIN_SOURCES: &str = "NTPFRONT_MIN_SOURCES";
/// The least important message that is logged: `log.level`.
pub const LOG_LEVEL: &str = "NTPFRONT_LOG_LEVEL";
/// The form of the log: `log.format`.
pub const LOG_FORMAT: &str = "NTPFRONT_LOG_FORMAT";
/// The address where the metrics are read: `metrics.listen`.
pub const METRICS: &str = "NTPFRONT_METRICS";

/// The values of the environment; a variable that is empty is as one that is not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// Upstreams.
    pub upstream: Vec<String>,
    /// Addresses of listeners, of both families.
    pub listen: Vec<String>,
    /// Workers of every listener.
    pub workers: Option<String>,
    /// Number of upstreams that must agree.
    pub min_sources: Option<String>,
    /// Level of the log.
    pub log_level: Option<String>,
    /// Form of the log.
    pub log_format: Option<String>,
    /// Address of the metrics.
    pub metrics: Option<String>,
}

impl Environment {
    /// Takes the values that `get` has for the names of variables.
    pub fn of(get: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| get(name).filter(|value| !value.is_empty());
        // What is no text is no valid value either, and is told as such.
        let text = |name| set(name).map(|value| value.to_string_lossy().trim().to_owned());
        let several = |name| {
            let all = text(name).unwrap_or_default();
            let all = all.split([',', ' ', '\t', '\n']).filter(|one| !one.is_empty());
            all.map(str::to_owned).collect()
        };
        Self {
            config: set(CONFIG).map(PathBuf::from),
            upstream: several(UPSTREAM),
            listen: several(LISTEN),
            workers: text(WORKERS),
            min_sources: text(MIN_SOURCES),
            log_level: text(LOG_LEVEL),
            log_format: text(LOG_FORMAT),
            metrics: text(METRICS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_taken_as_they_are_set_and_empty_ones_are_not() {
        let environment = Environment::of(|name| {
            let value = match name {
                UPSTREAM => " a.example, [2001:db8::1]:123  192.0.2.1,,",
                LISTEN | METRICS => "",
                WORKERS => "4",
                CONFIG => "/x y",
                _ => return None,
            };
            Some(value.into())
        });
        let expected = Environment {
            config: Some("/x y".into()),
            upstream: ["a.example", "[2001:db8::1]:123", "192.0.2.1"]
                .map(str::to_owned)
                .to_vec(),
            workers: Some("4".to_owned()),
            ..Environment::default()
        };
        assert_eq!(environment, expected);
    }
}
