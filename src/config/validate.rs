//! Pure. Makes the configuration of the values of file and flags, or names all their faults at once.

use std::net::SocketAddr;

use super::entries::numbered;
use super::fault::Fault;
use super::keys::{
    CensusKeys, ClockKeys, Control, FastPath, HistoryKeys, LocalKeys, LogKeys, MetricsKeys, NtsClientKeys,
    NtsKeys, Process, RawFastPath, RawNts, SourcesKeys,
};
use super::raw::Raw;
use super::raw_value::{Origin, RawValue, Section, Sections};
use super::roots::Roots;
use super::row::Keys;
use super::validator::Validator;
use super::{Config, Loaded};
use super::{listeners, policies, symmetric_keys, upstreams};
use crate::fast_path::{self, MOST_INTERFACES};
use crate::leap::{LeapMode, Smear};
use crate::server::Listener;

/// Validates the values of the file (if there is one) and the flags together.
///
/// # Errors
/// All faults, in the order of their places: never an empty list.
pub(super) fn validate(raw: &Section<Raw>, mut validator: Validator<'_>) -> Result<Loaded, Vec<Fault>> {
    shapes(&mut validator, raw);
    let config = config(&mut validator, &raw.said);
    let Validator {
        mut faults,
        effective,
        left_out,
        deciding,
        ..
    } = validator;
    faults.sort_by(|a, b| a.place.cmp(&b.place));
    match config {
        Some((config, default_listeners, smear)) if faults.is_empty() => Ok(Loaded {
            config,
            effective,
            default_listeners,
            default_control: raw.said.control.said.socket.is_none(),
            path: None,
            drop_ins: Vec::new(),
            left_out,
            digest: None,
            lists: 0,
            smear,
            deciding,
            nts_files: None,
        }),
        Some(_) | None => Err(faults),
    }
}

/// Validates every part before a fault ends it.
fn config(validator: &mut Validator<'_>, raw: &Raw) -> Option<(Config, Vec<SocketAddr>, Smear)> {
    let process = Process::read_one(validator, &raw.process, &Process::default());
    let log = LogKeys::read_one(validator, &raw.log, &LogKeys::default());
    let clock = ClockKeys::read_one(validator, &raw.clock, &clock_defaults(raw));
    let local = local(validator, raw, clock.as_ref());
    let control = Control::read_one(validator, &raw.control, &Control::default());
    let census = CensusKeys::read_one(validator, &raw.census, &CensusKeys::default());
    let metrics = MetricsKeys::read_one(validator, &raw.metrics, &MetricsKeys::default());
    let history = HistoryKeys::read_one(validator, &raw.history, &HistoryKeys::default());
    let fast_path = fast_path(validator, &raw.fast_path);
    let keys = symmetric_keys::validate(validator, raw);
    let nts_client = NtsClientKeys::read_one(validator, &raw.nts_client, &NtsClientKeys::default());
    let common = policies::common(validator, raw, keys.as_ref());
    let nts = nts(validator, &raw.nts);
    let served = listeners::validate(validator, raw, common.as_ref(), keys.as_ref(), nts.as_ref());
    let ours = served
        .iter()
        .flat_map(|served| &served.listeners)
        .map(|listener| listener.address);
    let roots = Roots::new(nts_client.as_ref().and_then(|keys| keys.roots.clone()));
    let sources = SourcesKeys::read_one(validator, &raw.sources, &SourcesKeys::default());
    let upstreams = upstreams::validate(validator, raw, &ours.collect::<Vec<_>>(), &roots, keys.as_ref());
    agree(validator, raw);
    smear_has_list(validator, raw, clock.as_ref(), served.as_ref());
    let (served, common, clock, metrics, log) = (served?, common?, clock?, metrics?, log?);
    // Their directories were read before.
    let SourcesKeys { directories: _ } = sources?;
    let config = Config {
        process: process?,
        log_level: log.level,
        log_format: log.format,
        clock: clock.policy(&local?),
        leap_seconds: clock.leap_seconds,
        control: control?,
        census: census?,
        metrics: metrics.listen,
        metrics_page: metrics.page,
        history: history?,
        fast_path: fast_path?,
        symmetric_keys: keys?,
        nts_client: nts_client?,
        listeners: served.listeners,
        nts: nts?,
        budget: common.budget(),
        ke_ports: upstreams.as_deref().map(upstreams::ke_ports)?,
        upstreams: upstreams?,
    };
    Some((config, served.defaults, common.smear()))
}

/// Notes the values that are no tables where a table is expected, and the unknown keys.
fn shapes(validator: &mut Validator<'_>, raw: &Section<Raw>) {
    unknown_keys(validator, "", raw);
    let raw = &raw.said;
    one(validator, "process", &raw.process);
    one(validator, "log", &raw.log);
    one(validator, "clock", &raw.clock);
    one(validator, "local", &raw.local);
    one(validator, "control", &raw.control);
    one(validator, "census", &raw.census);
    one(validator, "metrics", &raw.metrics);
    one(validator, "history", &raw.history);
    one(validator, "fast-path", &raw.fast_path);
    one(validator, "sources", &raw.sources);
    one(validator, "nts-client", &raw.nts_client);
    one(validator, "access", &raw.access);
    one(validator, "limit", &raw.limit);
    one(validator, "budget", &raw.budget);
    one(validator, "smear", &raw.smear);
    one(validator, "interleaved", &raw.interleaved);
    one(validator, "symmetric-keys", &raw.symmetric_keys);
    array(validator, "listener", &raw.listener);
    for (index, section) in raw.listener.said.iter().flatten().enumerate() {
        let name = numbered("listener", index);
        let (access, limit) = (&section.said.access, &section.said.limit);
        let hint = |name| format!("write [listener.{name}] below its [[listener]]");
        table(validator, &format!("{name}.access"), access, hint("access"));
        table(validator, &format!("{name}.limit"), limit, hint("limit"));
    }
    one(validator, "nts", &raw.nts);
    array(validator, "upstream", &raw.upstream);
}

fn one<T>(validator: &mut Validator<'_>, name: &str, section: &Section<T>) {
    table(validator, name, section, format!("write [{name}]"));
}

fn table<T>(validator: &mut Validator<'_>, name: &str, section: &Section<T>, hint: String) {
    if section.is_table {
        unknown_keys(validator, name, section);
    } else {
        validator.misshapen(name, &section.origin, "a table", hint);
    }
}

fn array<T>(validator: &mut Validator<'_>, name: &str, sections: &Sections<T>) {
    if !sections.is_array {
        let hint = format!("write [[{name}]], as there may be several");
        validator.misshapen(name, &sections.origin, "an array of tables", hint);
    }
    for (index, section) in sections.said.iter().flatten().enumerate() {
        let hint = format!("write [[{name}]] and below it address = \"…\"");
        table(validator, &numbered(name, index), section, hint);
    }
}

fn unknown_keys<T>(validator: &mut Validator<'_>, name: &str, section: &Section<T>) {
    for unknown in &section.unknown {
        validator.unknown(name, unknown);
    }
}

fn fast_path(validator: &mut Validator<'_>, section: &Section<RawFastPath>) -> Option<FastPath> {
    let mut keys = FastPath::read_one(validator, section, &FastPath::default())?;
    keys.interfaces.sort();
    keys.interfaces.dedup();
    let Some(said) = &section.said.interfaces else {
        return Some(keys);
    };
    if keys.interfaces.len() > MOST_INTERFACES {
        let expected = format!("at most {MOST_INTERFACES} interfaces");
        validator.fault_at(said, "interfaces", expected, None);
    }
    if !(keys.interfaces.is_empty() || fast_path::AVAILABLE) {
        let hint = Some("build with the cargo feature fast-path, on a little-endian machine".to_owned());
        let expected = "no interface, as this build has no fast path";
        validator.fault_at(said, "interfaces", expected, hint);
    }
    Some(keys)
}

/// Reads `[nts]`: which addresses there are counts, not their order.
fn nts(validator: &mut Validator<'_>, section: &Section<RawNts>) -> Option<NtsKeys> {
    let mut keys = NtsKeys::read_one(validator, section, &NtsKeys::default())?;
    let mut seen = Vec::new();
    keys.listen.retain(|address| {
        let is_new = !seen.contains(address);
        seen.push(*address);
        is_new
    });
    Some(keys)
}

/// Returns the defaults of `[clock]`: with three upstreams or more, two have to agree.
///
/// Of two that differ, it is unknown which one is wrong.
//= RFC 5905 §11.1 cmin
fn clock_defaults(raw: &Raw) -> ClockKeys {
    let default = ClockKeys::default();
    let agreeing = match upstreams::votes(raw) {
        Some(count) if count > 2 => 2,
        Some(_) | None => default.min_sources,
    };
    ClockKeys {
        min_sources: agreeing,
        ..default
    }
}

fn local(validator: &mut Validator<'_>, raw: &Raw, clock: Option<&ClockKeys>) -> Option<LocalKeys> {
    let keys = LocalKeys::read_one(validator, &raw.local, &LocalKeys::default())?;
    if let (true, Some(clock)) = (keys.enabled, clock) {
        let said = raw.local.said.distance.as_ref();
        let blame = said.or(raw.clock.said.max_distance.as_ref());
        distance_fits(validator, blame, keys.distance, clock.max_distance);
    }
    Some(keys)
}

/// Notes a fault if the local reference is worse than the limit: it could never be served.
fn distance_fits(validator: &mut Validator<'_>, blame: Option<&RawValue>, distance: f64, limit: f64) {
    if distance > limit {
        let origin = blame.map_or(&Origin::Default, |said| &said.origin);
        let expected = format!("at most clock.max-distance, {limit:?}");
        let hint = Some("or else it could never be served".to_owned());
        validator.fault(origin, "distance", format!("{distance:?}"), expected, hint);
    }
}

/// Notes a fault for each listener with a smear if there is no list of leap seconds.
///
/// Upstreams warn of one at most a day before: too late for most smears, and each at another time.
fn smear_has_list(
    validator: &mut Validator<'_>,
    raw: &Raw,
    clock: Option<&ClockKeys>,
    served: Option<&listeners::Served>,
) {
    let is_smeared = |listener: &Listener| listener.policy.smear.is_some();
    let smears = served.is_some_and(|served| served.listeners.iter().any(is_smeared));
    if !smears || clock.is_none_or(|clock| clock.leap_seconds.is_some()) {
        return;
    }
    for (index, section) in raw.listener.said.iter().flatten().enumerate() {
        if let Some(said) = &section.said.leap
            && said.as_text() == Some(LeapMode::Smear.into())
        {
            validator.name(numbered("listener", index));
            let hint = Some("set clock.leap-seconds: a smear begins before upstreams warn".to_owned());
            validator.fault_at(said, "leap", "\"utc\" without a list of leap seconds", hint);
        }
    }
}

/// Checks that upstreams, sources and the local reference go together.
fn agree(validator: &mut Validator<'_>, raw: &Raw) {
    let Some(upstreams) = upstreams::count(raw) else {
        return;
    };
    validator.name("");
    let enabled = raw
        .local
        .said
        .enabled
        .as_ref()
        .is_some_and(|said| said.as_bool() != Some(false));
    if upstreams == 0 && !enabled {
        let hint = Some("or set local.enabled = true to serve the time of this host".to_owned());
        validator.fault(&raw.upstream.origin, "upstream", "none", "at least one", hint);
    }
    let votes = upstreams::votes(raw).unwrap_or(upstreams);
    if let (true, 0, Some(said)) = (
        upstreams::requires_authentication(raw),
        votes,
        &raw.clock.said.authenticated,
    ) {
        let hint = Some("flag -s names upstreams without NTS and keys".to_owned());
        let hint = hint.filter(|_| !raw.upstream_flags.is_empty());
        validator.fault_at(
            said,
            "clock.authenticated",
            "an upstream with nts = true or with a key, too",
            hint,
        );
        return;
    }
    if let Some(said) = &raw.clock.said.min_sources
        && let Some(wanted) = said.as_integer().and_then(|wanted| usize::try_from(wanted).ok())
        && (2..=255).contains(&wanted)
        && wanted > votes
    {
        let which = if votes < upstreams {
            " with NTS or a key"
        } else {
            ""
        };
        let expected = format!("at most the number of upstreams{which}, {votes}");
        validator.fault_at(said, "clock.min-sources", expected, None);
    }
}
