//! Pure. What was said, by the file and the flags, before anything is made of it.
//!
//! Every value is kept as it was written and remembers its place; `validate` says what it means. A new option
//! of the file is one field here. (That serde denies unknown fields never shows: `lenient` names them before.)

use std::ops::Range;

use serde::Deserialize;

use crate::cli::Flags;

/// All that can be said.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Raw {
    pub(super) process: Section<Process>,
    pub(super) log: Section<Log>,
    pub(super) clock: Section<Clock>,
    pub(super) local: Section<Local>,
    pub(super) control: Section<Control>,
    pub(super) census: Section<Census>,
    pub(super) metrics: Section<Metrics>,
    pub(super) fast_path: Section<FastPath>,
    pub(super) access: Section<Access>,
    pub(super) limit: Section<Limit>,
    pub(super) budget: Section<Budget>,
    pub(super) listener: Sections<Listener>,
    pub(super) upstream: Sections<Upstream>,
    /// By flags only: what concerns a family of listeners, and upstreams.
    #[serde(skip)]
    pub(super) ipv4: Family,
    #[serde(skip)]
    pub(super) ipv6: Family,
    #[serde(skip)]
    pub(super) upstream_flags: Vec<Said>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Process {
    pub(super) user: Option<Said>,
    pub(super) chroot: Option<Said>,
    pub(super) keep_low_ports: Option<Said>,
    pub(super) landlock: Option<Said>,
    pub(super) seccomp: Option<Said>,
    pub(super) ready: Option<Said>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Log {
    pub(super) level: Option<Said>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Clock {
    pub(super) source: Option<Said>,
    pub(super) min_sources: Option<Said>,
    pub(super) max_distance: Option<Said>,
    pub(super) max_jitter: Option<Said>,
    pub(super) on_dispute: Option<Said>,
    pub(super) leap_seconds: Option<Said>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Local {
    pub(super) enabled: Option<Said>,
    pub(super) stratum: Option<Said>,
    pub(super) wait: Option<Said>,
    pub(super) distance: Option<Said>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Control {
    pub(super) socket: Option<Said>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Census {
    pub(super) enabled: Option<Said>,
    pub(super) clients: Option<Said>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Metrics {
    pub(super) listen: Option<Said>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct FastPath {
    pub(super) interfaces: Option<Said>,
    pub(super) mode: Option<Said>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Listener {
    pub(super) address: Option<Said>,
    pub(super) workers: Option<Said>,
    pub(super) steering: Option<Said>,
    pub(super) required: Option<Said>,
    pub(super) batch: Option<Said>,
    pub(super) max_wait: Option<Said>,
    pub(super) receive_buffer: Option<Said>,
    pub(super) busy_poll: Option<Said>,
    pub(super) pin: Option<Said>,
    pub(super) answer: Option<Said>,
    pub(super) max_stratum: Option<Said>,
    pub(super) access: Section<Access>,
    pub(super) limit: Section<Limit>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Access {
    pub(super) mode: Option<Said>,
    pub(super) default: Option<Said>,
    pub(super) allow: Option<Said>,
    pub(super) deny: Option<Said>,
    pub(super) allow_files: Option<Said>,
    pub(super) deny_files: Option<Said>,
    pub(super) on_deny: Option<Said>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Limit {
    pub(super) mode: Option<Said>,
    pub(super) interval: Option<Said>,
    pub(super) burst: Option<Said>,
    pub(super) ipv4_prefix: Option<Said>,
    pub(super) ipv6_prefix: Option<Said>,
    pub(super) leak: Option<Said>,
    pub(super) kiss: Option<Said>,
    pub(super) clients: Option<Said>,
    pub(super) wide: Option<Said>,
    pub(super) wide_interval: Option<Said>,
    pub(super) wide_burst: Option<Said>,
    pub(super) wide_ipv4_prefix: Option<Said>,
    pub(super) wide_ipv6_prefix: Option<Said>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Budget {
    pub(super) mode: Option<Said>,
    pub(super) packets_per_second: Option<Said>,
    pub(super) megabits_per_second: Option<Said>,
    pub(super) gigabytes_per_month: Option<Said>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Upstream {
    pub(super) address: Option<Said>,
    pub(super) iburst: Option<Said>,
    pub(super) minpoll: Option<Said>,
    pub(super) maxpoll: Option<Said>,
    pub(super) prefer: Option<Said>,
    pub(super) require: Option<Said>,
    pub(super) trust: Option<Said>,
    pub(super) noselect: Option<Said>,
}

/// What the flags say about the listeners of one family.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) workers: Option<Said>,
    pub(super) addresses: Vec<Said>,
}

/// Who said something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nobody.
    #[default]
    Default,
    /// A flag, named as in `-4`.
    Flag(&'static str),
    /// The file, in these bytes.
    File(Range<usize>),
}

/// One value as it was said.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// The kinds of values that some option takes; all others are `Other`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Truth(bool),
    Whole(i64),
    Float(f64),
    Text(String),
    List(Vec<Said>),
    Other,
}

/// A table, and what was wrong with it as such.
#[derive(Clone, Debug)]
pub(super) struct Section<T> {
    pub(super) said: T,
    pub(super) unknown: Vec<Unknown>,
    /// False where something else stands in its place.
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
    /// False where something else stands in its place.
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

/// A key that has no meaning where it stands.
#[derive(Clone, Debug)]
pub(super) struct Unknown {
    pub(super) key: String,
    /// Those that have.
    pub(super) known: &'static [&'static str],
    pub(super) origin: Origin,
}

impl Raw {
    /// Lets the flags have the last word.
    pub(super) fn fill(&mut self, flags: &Flags) {
        let debug = flags.debug.then_some("debug");
        flag("-u", flags.user.as_deref(), &mut self.process.said.user);
        flag("-r", flags.chroot.as_deref(), &mut self.process.said.chroot);
        flag("-d", debug, &mut self.log.said.level);
        flag("-4", flags.ipv4_workers.as_deref(), &mut self.ipv4.workers);
        flag("-6", flags.ipv6_workers.as_deref(), &mut self.ipv6.workers);
        self.ipv4.addresses = repeated("-a", &flags.ipv4_address);
        self.ipv6.addresses = repeated("-b", &flags.ipv6_address);
        self.upstream_flags = repeated("-s", &flags.upstream);
    }
}

fn flag(name: &'static str, text: Option<&str>, slot: &mut Option<Said>) {
    if let Some(text) = text {
        *slot = Some(Said::text(text, Origin::Flag(name)));
    }
}

fn repeated(name: &'static str, texts: &[String]) -> Vec<Said> {
    texts
        .iter()
        .map(|text| Said::text(text, Origin::Flag(name)))
        .collect()
}

impl Said {
    pub(super) fn text(text: &str, origin: Origin) -> Self {
        Self {
            value: Value::Text(text.to_owned()),
            origin,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Truth(_) | Value::Whole(_) | Value::Float(_) | Value::List(_) | Value::Other => None,
        }
    }

    /// A flag has only text to say a number with.
    pub(super) fn as_whole(&self) -> Option<i64> {
        match &self.value {
            Value::Whole(number) => Some(*number),
            Value::Text(text) if matches!(self.origin, Origin::Flag(_)) => text.parse().ok(),
            Value::Text(_) | Value::Truth(_) | Value::Float(_) | Value::List(_) | Value::Other => None,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "numbers that large are out of every range"
    )]
    pub(super) fn as_float(&self) -> Option<f64> {
        match self.value {
            Value::Float(number) => Some(number),
            Value::Whole(number) => Some(number as f64),
            Value::Text(_) | Value::Truth(_) | Value::List(_) | Value::Other => None,
        }
    }

    pub(super) fn as_truth(&self) -> Option<bool> {
        match self.value {
            Value::Truth(truth) => Some(truth),
            Value::Text(_) | Value::Whole(_) | Value::Float(_) | Value::List(_) | Value::Other => None,
        }
    }

    pub(super) fn as_list(&self) -> Option<&[Said]> {
        match &self.value {
            Value::List(list) => Some(list),
            Value::Text(_) | Value::Truth(_) | Value::Whole(_) | Value::Float(_) | Value::Other => None,
        }
    }
}
