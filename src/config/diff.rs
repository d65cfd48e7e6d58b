//! Pure. The differences between the configuration that runs and the one that is wanted.
//!
//! A reload applies them part by part, and a check prints them. The order of listeners and upstreams in a file is the
//! order in which they are displayed, and means nothing else.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Config, FastPath, KeysInUse, NtsClientKeys, NtsKeys};
use crate::log::{LogFormat, LogLevel};
use crate::server::Listener;
use crate::server::policy::budget::Budget;
use crate::upstream::Upstream;
use crate::upstream::clock_policy::ClockPolicy;

/// All that differs between two configurations.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The keys that only a restart can change.
    pub restart: Vec<Restart>,
    /// The settings of the process that change while it runs.
    pub settings: SettingsDifference,
    /// The upstreams.
    pub upstreams: ListDifference<Upstream>,
    /// The listeners, each with its policy.
    pub listeners: ListDifference<Listener>,
}

/// A key that only a restart can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The key as a dotted path: `process.user`.
    pub key: String,
    /// The value in force, as TOML; `not set` if there is none.
    pub running: String,
    /// The value after a restart.
    pub wanted: String,
}

/// The settings of the process that change while it runs; `None` for those that stay.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingsDifference {
    /// The least important message that is logged.
    pub log_level: Option<Change<LogLevel>>,
    /// The form of the log.
    pub log_format: Option<Change<LogFormat>>,
    /// The conditions under which a time is believed and served.
    pub clock: Option<Change<ClockPolicy>>,
    /// The list of leap seconds.
    pub leap_seconds: Option<Change<Option<PathBuf>>>,
    /// Network Time Security for upstreams.
    pub nts_client: Option<Change<NtsClientKeys>>,
    /// The ceiling for all that is sent.
    pub budget: Option<Change<Budget>>,
    /// The interfaces of the fast path, if there is one: without any only a restart brings it.
    pub fast_path: Option<Change<FastPath>>,
    /// The symmetric keys.
    pub symmetric_keys: Option<Change<KeysInUse>>,
    /// Network Time Security.
    pub nts: Option<Change<NtsKeys>>,
}

/// A value before and after a reload.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<T> {
    /// The value that runs.
    pub from: T,
    /// The value that is wanted.
    pub to: T,
}

/// The entries by which a list differs from another one; each list has an entry at most once.
#[derive(Clone, Debug, PartialEq)]
pub struct ListDifference<T> {
    /// The entries that are only in the list that runs.
    pub removed: Vec<T>,
    /// The entries that are only in the list that is wanted.
    pub added: Vec<T>,
    /// The entries that are in both lists and differ.
    pub changed: Vec<Change<T>>,
    /// The places in the wanted list: of the entries that stay, in the order in which they run, then of the added ones.
    places: Vec<usize>,
}

impl Difference {
    /// Returns all that leads from `running` to `wanted`.
    ///
    /// The process may have the fast path, attached somewhere or not: then its keys are live.
    pub fn between(running: &Config, wanted: &Config, has_fast_path: bool) -> Self {
        let mut listeners = ListDifference::between(&running.listeners, &wanted.listeners, is_same_listener);
        listeners.changed.iter_mut().for_each(keep_equal_policy);
        Self {
            restart: restarts(running, wanted, has_fast_path),
            settings: SettingsDifference {
                log_level: Change::between(&running.log_level, &wanted.log_level),
                log_format: Change::between(&running.log_format, &wanted.log_format),
                clock: Change::between(&running.clock, &wanted.clock),
                leap_seconds: Change::between(&running.leap_seconds, &wanted.leap_seconds),
                nts_client: Change::between(&running.nts_client, &wanted.nts_client),
                budget: Change::between(&running.budget, &wanted.budget),
                fast_path: Change::between(&running.fast_path, &wanted.fast_path).filter(|_| has_fast_path),
                symmetric_keys: Change::between(&running.symmetric_keys, &wanted.symmetric_keys),
                nts: Change::between(&running.nts, &wanted.nts),
            },
            upstreams: ListDifference::between(&running.upstreams, &wanted.upstreams, is_same_upstream),
            listeners,
        }
    }

    /// Returns the changes of a reload, a line for each, in the order in which they are made.
    pub fn changes(&self) -> Vec<String> {
        let mut lines = self.settings.clock_and_log();
        lines.extend(upstream_lines(&self.upstreams));
        lines.extend(self.settings.budget_line());
        lines.extend(self.settings.fast_path_line());
        lines.extend(self.settings.keys_line());
        lines.extend(self.settings.nts_line());
        lines.extend(listener_lines(&self.listeners));
        lines
    }
}

fn restarts(running: &Config, wanted: &Config, has_fast_path: bool) -> Vec<Restart> {
    let both = running.restart_only().into_iter().zip(wanted.restart_only());
    let is_live = |key: &str| has_fast_path && FastPath::has(key);
    both.filter(|(running, wanted)| running != wanted && !is_live(&running.0))
        .map(|((key, running), (_, wanted))| Restart {
            key: key.to_owned(),
            running,
            wanted,
        })
        .chain(ke_ports(running, wanted))
        .collect()
}

/// The ports of key establishment, if there are some that the sandbox of the running process does not permit.
fn ke_ports(running: &Config, wanted: &Config) -> Option<Restart> {
    let is_permitted = wanted.ke_ports.is_subset(&running.ke_ports);
    let shown = |config: &Config| format!("{:?}", config.ke_ports.iter().collect::<Vec<_>>());
    (running.process.landlock && !is_permitted).then(|| Restart {
        key: "upstream.ke-port".to_owned(),
        running: shown(running),
        wanted: shown(wanted),
    })
}

fn is_same_upstream(one: &Upstream, other: &Upstream) -> bool {
    one.endpoint() == other.endpoint()
}

fn is_same_listener(one: &Listener, other: &Listener) -> bool {
    one.address == other.address
}

/// Gives a listener whose policy stays the same the policy that runs.
///
/// An equal one would hold its lists in memory a second time.
fn keep_equal_policy(listener: &mut Change<Listener>) {
    if listener.from.policy == listener.to.policy {
        listener.to.policy = Arc::clone(&listener.from.policy);
    }
}

impl<T: Clone + PartialEq> Change<T> {
    fn between(running: &T, wanted: &T) -> Option<Self> {
        (running != wanted).then(|| Self {
            from: running.clone(),
            to: wanted.clone(),
        })
    }

    fn apply(change: Option<&Self>, value: &mut T) {
        if let Some(change) = change {
            value.clone_from(&change.to);
        }
    }
}

impl<T: Clone + PartialEq> ListDifference<T> {
    fn between(running: &[T], wanted: &[T], is_same: impl Fn(&T, &T) -> bool) -> Self {
        let pair = |one: &T, others: &[T]| others.iter().position(|other| is_same(one, other));
        let missing = |ones: &[T], others: &[T]| {
            let ones = ones.iter().filter(|one| pair(one, others).is_none());
            ones.cloned().collect()
        };
        let kept = running.iter().filter_map(|one| pair(one, wanted));
        let new = wanted
            .iter()
            .enumerate()
            .filter(|(_, one)| pair(one, running).is_none());
        let changed = wanted.iter().filter_map(|one| {
            let old = running.get(pair(one, running)?)?;
            Change::between(old, one)
        });
        Self {
            removed: missing(running, wanted),
            added: missing(wanted, running),
            changed: changed.collect(),
            places: kept.chain(new.map(|(place, _)| place)).collect(),
        }
    }

    /// Whether the entries that stay are in another order.
    pub fn is_reordered(&self) -> bool {
        let staying = self.places.len().saturating_sub(self.added.len());
        !self.places.iter().take(staying).is_sorted()
    }

    /// Turns `list`, which ran, into the one that is wanted; an entry that stays as it is is not copied.
    fn apply(&self, list: &mut Vec<T>, is_same: impl Fn(&T, &T) -> bool) {
        list.retain(|one| !self.removed.iter().any(|gone| is_same(one, gone)));
        for one in list.iter_mut() {
            let change = self.changed.iter().find(|change| is_same(one, &change.to));
            Change::apply(change, one);
        }
        list.extend_from_slice(&self.added);
        let places = self.places.iter().copied().chain(std::iter::repeat(usize::MAX));
        let mut placed: Vec<(usize, T)> = places.zip(list.drain(..)).collect();
        placed.sort_by_key(|(place, _)| *place);
        list.extend(placed.into_iter().map(|(_, one)| one));
    }
}

impl Config {
    /// Becomes the configuration that runs after a reload by `difference`.
    ///
    /// A key that only a restart can change keeps its value.
    pub fn apply(&mut self, difference: &Difference) {
        let settings = &difference.settings;
        Change::apply(settings.log_level.as_ref(), &mut self.log_level);
        Change::apply(settings.log_format.as_ref(), &mut self.log_format);
        Change::apply(settings.clock.as_ref(), &mut self.clock);
        Change::apply(settings.leap_seconds.as_ref(), &mut self.leap_seconds);
        Change::apply(settings.nts_client.as_ref(), &mut self.nts_client);
        Change::apply(settings.budget.as_ref(), &mut self.budget);
        Change::apply(settings.fast_path.as_ref(), &mut self.fast_path);
        Change::apply(settings.symmetric_keys.as_ref(), &mut self.symmetric_keys);
        Change::apply(settings.nts.as_ref(), &mut self.nts);
        difference.upstreams.apply(&mut self.upstreams, is_same_upstream);
        difference.listeners.apply(&mut self.listeners, is_same_listener);
    }
}

/// Writes the key and both values, for the operator.
impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, running, wanted } = self;
        write!(f, "{key}: only a restart changes it from {running} to {wanted}")
    }
}

impl SettingsDifference {
    fn clock_and_log(&self) -> Vec<String> {
        let level = |level: &Change<LogLevel>| format!("log.level: {}", level.to.name());
        let format = |format: &Change<LogFormat>| format!("log.format: {}", format.to.name());
        let clock = |_: &Change<ClockPolicy>| "clock: other settings".to_owned();
        let leap_seconds = |list: &Change<Option<PathBuf>>| {
            let path = list.to.as_ref().map(|path| path.display().to_string());
            format!("clock.leap-seconds: {}", path.as_deref().unwrap_or("none"))
        };
        let lines = [
            self.log_level.as_ref().map(level),
            self.log_format.as_ref().map(format),
            self.clock.as_ref().map(clock),
            self.leap_seconds.as_ref().map(leap_seconds),
            self.nts_client
                .as_ref()
                .map(|_| "nts-client: other settings".to_owned()),
        ];
        lines.into_iter().flatten().collect()
    }

    fn budget_line(&self) -> Option<String> {
        self.budget.as_ref().map(|_| "budget: other ceilings".to_owned())
    }

    fn fast_path_line(&self) -> Option<String> {
        self.fast_path.as_ref().map(|change| {
            let (interfaces, mode) = (change.to.interfaces.join(", "), change.to.mode.name());
            match interfaces.as_str() {
                "" => "fast-path: no interfaces".to_owned(),
                interfaces => format!("fast-path: interfaces {interfaces}, mode {mode}"),
            }
        })
    }

    fn keys_line(&self) -> Option<String> {
        self.symmetric_keys
            .as_ref()
            .map(|change| format!("symmetric keys: {}", change.to))
    }

    fn nts_line(&self) -> Option<String> {
        let Change { from, to } = self.nts.as_ref()?;
        let what = match (from.establishes(), to.establishes()) {
            (false, true) => "key establishment on",
            (true, false) => "key establishment off",
            (true, true) | (false, false) => "other settings",
        };
        Some(format!("nts: {what}"))
    }
}

fn upstream_lines(upstreams: &ListDifference<Upstream>) -> impl Iterator<Item = String> {
    let removed = upstreams.removed.iter();
    let removed = removed.map(|one| format!("upstream {one}: removed"));
    let added = upstreams.added.iter().map(|one| format!("upstream {one}: added"));
    let changed = upstreams.changed.iter();
    let changed = changed.map(|one| format!("upstream {}: other settings, its samples stay", one.to));
    let reordered = upstreams
        .is_reordered()
        .then(|| "upstreams: another order".to_owned());
    removed.chain(added).chain(changed).chain(reordered)
}

/// Returns a line for each change of the listeners; the ones that are closed come last, as in a reload.
///
/// So a client that moves with the change finds an open listener at all times.
fn listener_lines(listeners: &ListDifference<Listener>) -> impl Iterator<Item = String> {
    let changed = listeners.changed.iter();
    let policies = changed.clone().filter_map(policy_line);
    let added = listeners
        .added
        .iter()
        .map(|one| format!("listener {}: added, workers {}", one.address, one.workers));
    let removed = listeners.removed.iter();
    let removed = removed.map(|one| format!("listener {}: removed", one.address));
    policies
        .chain(added)
        .chain(changed.filter_map(serving_line))
        .chain(removed)
        .chain(
            listeners
                .is_reordered()
                .then(|| "listeners: another order".to_owned()),
        )
}

fn policy_line(Change { from, to }: &Change<Listener>) -> Option<String> {
    (from.policy != to.policy).then(|| format!("listener {}: other policy: {}", to.address, to.policy))
}

/// The line of a listener that is served in another way, whichever clients are answered.
fn serving_line(Change { from, to }: &Change<Listener>) -> Option<String> {
    if !to.is_served_differently(from) {
        return None;
    }
    let steered = (from.steering != to.steering).then_some(", steered in another way");
    let tuned = (from.tuning != to.tuning).then_some(", tuned in another way");
    let required = match (from.required, to.required) {
        (false, true) => Some(", required from now on"),
        (true, false) => Some(", not required any more"),
        (false, false) | (true, true) => None,
    };
    let more: String = [steered, tuned, required].into_iter().flatten().collect();
    let (address, before, after) = (to.address, from.workers, to.workers);
    Some(format!("listener {address}: workers {before} -> {after}{more}"))
}

#[cfg(test)]
mod tests;
