//! Pure. From what was said to what it means, with all faults of meaning at once.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::Lists;
use super::fault::Fault;
use super::judge::Judge;
use super::keys::{
    Census, ClockKeys, Control, FastPath, LocalKeys, LogKeys, MetricsKeys, Process, RawFastPath,
};
use super::raw::Raw;
use super::row::Keys;
use super::said::{Origin, Said, Section, Sections};
use super::source::Source as Text;
use super::{Config, Loaded};
use super::{listeners, policies, upstreams};
use crate::fast_path::{self, MOST_INTERFACES};

/// What the file (if there is one) and the flags mean together.
///
/// # Errors
/// All faults, in the order of their places: never an empty list.
pub(super) fn validate(
    raw: &Section<Raw>,
    source: Option<&Text<'_>>,
    lists: Lists<'_>,
) -> Result<Loaded, Vec<Fault>> {
    let mut judge = Judge::new(source, lists);
    shapes(&mut judge, raw);
    let config = config(&mut judge, &raw.said);
    let Judge {
        mut faults,
        effective,
        ..
    } = judge;
    faults.sort_by(|a, b| a.place.cmp(&b.place));
    match config {
        Some((config, default_listeners)) if faults.is_empty() => {
            let path = source.map(|source| source.path().to_owned());
            Ok(Loaded {
                config,
                effective,
                default_listeners,
                default_control: raw.said.control.said.socket.is_none(),
                path,
                lists: 0,
            })
        }
        Some(_) | None => Err(faults),
    }
}

/// Every part is judged before any fault ends it.
fn config(judge: &mut Judge<'_>, raw: &Raw) -> Option<(Config, Vec<SocketAddr>)> {
    let process = Process::read_one(judge, &raw.process, &Process::default());
    let log = LogKeys::read_one(judge, &raw.log, &LogKeys::default());
    let clock = ClockKeys::read_one(judge, &raw.clock, &clock_defaults(raw));
    let local = local(judge, raw, clock.as_ref());
    let control = Control::read_one(judge, &raw.control, &Control::default());
    let census = Census::read_one(judge, &raw.census, &Census::default());
    let metrics = MetricsKeys::read_one(judge, &raw.metrics, &MetricsKeys::default());
    let fast_path = fast_path(judge, &raw.fast_path);
    let common = policies::common(judge, raw);
    let served = listeners::validate(judge, raw, common.as_ref());
    let ours = served
        .iter()
        .flat_map(|served| &served.listeners)
        .map(|listener| listener.address);
    let upstreams = upstreams::validate(judge, raw, &ours.collect::<Vec<_>>());
    agree(judge, raw);
    let served = served?;
    let clock = clock?;
    let config = Config {
        process: process?,
        log_level: log?.level,
        clock: clock.policy(&local?),
        leap_seconds: clock.leap_seconds,
        control: control?,
        census: census?,
        metrics: metrics?.listen,
        fast_path: fast_path?,
        listeners: served.listeners,
        budget: common?.budget(),
        upstreams: upstreams?,
    };
    Some((config, served.defaults))
}

/// Tables that are none, and keys that mean nothing where they stand.
fn shapes(judge: &mut Judge<'_>, raw: &Section<Raw>) {
    unknown_keys(judge, "", raw);
    let raw = &raw.said;
    one(judge, "process", &raw.process);
    one(judge, "log", &raw.log);
    one(judge, "clock", &raw.clock);
    one(judge, "local", &raw.local);
    one(judge, "control", &raw.control);
    one(judge, "census", &raw.census);
    one(judge, "metrics", &raw.metrics);
    one(judge, "fast-path", &raw.fast_path);
    one(judge, "access", &raw.access);
    one(judge, "limit", &raw.limit);
    one(judge, "budget", &raw.budget);
    array(judge, "listener", &raw.listener);
    for (index, section) in raw.listener.said.iter().flatten().enumerate() {
        let name = numbered("listener", index);
        let (access, limit) = (&section.said.access, &section.said.limit);
        let hint = |name| format!("write [listener.{name}] below its [[listener]]");
        table(judge, &format!("{name}.access"), access, hint("access"));
        table(judge, &format!("{name}.limit"), limit, hint("limit"));
    }
    array(judge, "upstream", &raw.upstream);
}

fn one<T>(judge: &mut Judge<'_>, name: &str, section: &Section<T>) {
    table(judge, name, section, format!("write [{name}]"));
}

fn table<T>(judge: &mut Judge<'_>, name: &str, section: &Section<T>, hint: String) {
    if section.is_table {
        unknown_keys(judge, name, section);
    } else {
        judge.misshapen(name, &section.origin, "a table", hint);
    }
}

fn array<T>(judge: &mut Judge<'_>, name: &str, sections: &Sections<T>) {
    if !sections.is_array {
        let hint = format!("write [[{name}]], as there may be several");
        judge.misshapen(name, &sections.origin, "an array of tables", hint);
    }
    for (index, section) in sections.said.iter().flatten().enumerate() {
        let hint = format!("write [[{name}]] and below it address = \"…\"");
        table(judge, &numbered(name, index), section, hint);
    }
}

fn unknown_keys<T>(judge: &mut Judge<'_>, name: &str, section: &Section<T>) {
    for unknown in &section.unknown {
        judge.unknown(name, unknown);
    }
}

/// The name of one table of several, counted from 1 as people do.
pub(super) fn numbered(name: &str, index: usize) -> String {
    format!("{name}[{}]", index + 1)
}

fn fast_path(judge: &mut Judge<'_>, section: &Section<RawFastPath>) -> Option<FastPath> {
    let mut keys = FastPath::read_one(judge, section, &FastPath::default())?;
    keys.interfaces.sort();
    keys.interfaces.dedup();
    let Some(said) = &section.said.interfaces else {
        return Some(keys);
    };
    if keys.interfaces.len() > MOST_INTERFACES {
        let expected = format!("at most {MOST_INTERFACES} interfaces");
        judge.fault_at(said, "interfaces", expected, None);
    }
    if !(keys.interfaces.is_empty() || fast_path::AVAILABLE) {
        let hint = Some("build with the cargo feature fast-path, on a little-endian machine".to_owned());
        let expected = "no interface, as this build has no fast path";
        judge.fault_at(said, "interfaces", expected, hint);
    }
    Some(keys)
}

/// From three upstreams on one liar among them can be found out: so two have to agree.
//= RFC 5905 §11.1 cmin
fn clock_defaults(raw: &Raw) -> ClockKeys {
    let default = ClockKeys::default();
    let agreeing = match upstreams::count(raw) {
        Some(count) if count > 2 => 2,
        Some(_) | None => default.min_sources,
    };
    ClockKeys {
        min_sources: agreeing,
        ..default
    }
}

fn local(judge: &mut Judge<'_>, raw: &Raw, clock: Option<&ClockKeys>) -> Option<LocalKeys> {
    let keys = LocalKeys::read_one(judge, &raw.local, &LocalKeys::default())?;
    if let (true, Some(clock)) = (keys.enabled, clock) {
        let said = raw.local.said.distance.as_ref();
        let blame = said.or(raw.clock.said.max_distance.as_ref());
        distance_fits(judge, blame, keys.distance, clock.max_distance);
    }
    Some(keys)
}

/// A reference that is worse than what we are allowed to announce could never be served.
fn distance_fits(judge: &mut Judge<'_>, blame: Option<&Said>, distance: f64, limit: f64) {
    if distance > limit {
        let origin = blame.map_or(&Origin::Default, |said| &said.origin);
        let expected = format!("at most clock.max-distance, {limit:?}");
        let hint = Some("or else it could never be served".to_owned());
        judge.fault(origin, "distance", format!("{distance:?}"), expected, hint);
    }
}

/// What no single option can tell: whether upstreams, sources and the local reference go together.
fn agree(judge: &mut Judge<'_>, raw: &Raw) {
    let Some(upstreams) = upstreams::count(raw) else {
        return;
    };
    judge.name("");
    let enabled = raw
        .local
        .said
        .enabled
        .as_ref()
        .is_some_and(|said| said.as_truth() != Some(false));
    if upstreams == 0 && !enabled {
        let hint = Some("or set local.enabled = true to serve the time of this host".to_owned());
        judge.fault(&raw.upstream.origin, "upstream", "none", "at least one", hint);
    }
    if let Some(said) = &raw.clock.said.min_sources
        && let Some(wanted) = said.as_whole().and_then(|wanted| usize::try_from(wanted).ok())
        && (2..=255).contains(&wanted)
        && wanted > upstreams
    {
        let expected = format!("at most the number of upstreams, {upstreams}");
        judge.fault_at(said, "clock.min-sources", expected, None);
    }
}

/// Finds what is there twice, and where it was first.
pub(super) struct Seen<K> {
    first: HashMap<K, Origin>,
}

impl<K: std::hash::Hash + Eq> Seen<K> {
    pub(super) fn new() -> Self {
        Self {
            first: HashMap::new(),
        }
    }

    /// A fault if it was seen before.
    pub(super) fn once(&mut self, judge: &mut Judge<'_>, thing: K, said: &Said) {
        match self.first.get(&thing) {
            None => {
                self.first.insert(thing, said.origin.clone());
            }
            Some(first) => {
                let hint = Some(format!("it stands at {} already", judge.place(first)));
                judge.fault_at(said, "address", "each address once", hint);
            }
        }
    }
}
