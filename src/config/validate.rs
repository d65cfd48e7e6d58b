//! Pure. From what was said to what it means, with all faults of meaning at once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Lists;
use super::address::Refusal;
use super::effective;
use super::judge::Judge;
use super::raw::{self, Origin, Raw, Section, Sections};
use super::source::Source as Text;
use super::{Census, Config, Control, FastPath, Loaded, Metrics, Process, Ready, fault::Fault};
use super::{listeners, policies, upstreams};
use crate::host::privileges::LowPorts;
use crate::host::xdp_mode::Mode;
use crate::observe::LogLevel;
use crate::upstream::system_process::{ClockPolicy, LocalReference, OnDispute, Source};

use crate::time::NtpDuration;

const LEVELS: [(&str, LogLevel); 5] = [
    (LogLevel::Error.name(), LogLevel::Error),
    (LogLevel::Warn.name(), LogLevel::Warn),
    (LogLevel::Info.name(), LogLevel::Info),
    (LogLevel::Debug.name(), LogLevel::Debug),
    (LogLevel::Trace.name(), LogLevel::Trace),
];

const LOW_PORTS: [(&str, LowPorts); 3] = [
    (LowPorts::Auto.name(), LowPorts::Auto),
    (LowPorts::Always.name(), LowPorts::Always),
    (LowPorts::Never.name(), LowPorts::Never),
];

const FAST_MODES: [(&str, Mode); 3] = [
    (Mode::Auto.name(), Mode::Auto),
    (Mode::Native.name(), Mode::Native),
    (Mode::Generic.name(), Mode::Generic),
];
/// As many as the program knows.
const MOST_INTERFACES: usize = 16;
/// The program is made for machines whose words begin with the lowest byte.
const HAS_FAST_PATH: bool = cfg!(all(feature = "fast-path", target_endian = "little"));

const READY: [(&str, Ready); 2] = [
    (Ready::Serving.name(), Ready::Serving),
    (Ready::Synchronized.name(), Ready::Synchronized),
];

/// Where systemd makes a directory for us (`RuntimeDirectory=ntpfront`).
const CONTROL_SOCKET: &str = "/run/ntpfront/control.sock";

/// Where tzdata puts the list of leap seconds.
const LEAP_SECONDS: &str = "/usr/share/zoneinfo/leap-seconds.list";

const SOURCES: [(&str, Source); 3] = [
    (Source::Auto.name(), Source::Auto),
    (Source::System.name(), Source::System),
    (Source::Tracked.name(), Source::Tracked),
];

const ON_DISPUTE: [(&str, OnDispute); 4] = [
    ("unsynchronized", OnDispute::Unsynchronized),
    ("track", OnDispute::Track),
    ("drop", OnDispute::Drop),
    ("serve", OnDispute::Serve),
];

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
    let process = process(judge, &raw.process.said);
    let log_level = log(judge, &raw.log.said);
    let clock = clock(judge, raw);
    let control = control(judge, &raw.control.said);
    let census = census(judge, &raw.census.said);
    let metrics = metrics(judge, &raw.metrics.said);
    let fast_path = fast_path(judge, &raw.fast_path.said);
    let common = policies::common(judge, raw);
    let served = listeners::validate(judge, raw, common.as_ref());
    let ours = served
        .iter()
        .flat_map(|served| &served.listeners)
        .map(|listener| listener.address);
    let upstreams = upstreams::validate(judge, raw, &ours.collect::<Vec<_>>());
    agree(judge, raw);
    let served = served?;
    let (clock, leap_seconds) = clock?;
    let config = Config {
        process: process?,
        log_level: log_level?,
        clock,
        leap_seconds,
        control: control?,
        census: census?,
        metrics: metrics?,
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
    table(judge, "process", &raw.process, "write [process]".to_owned());
    table(judge, "log", &raw.log, "write [log]".to_owned());
    table(judge, "clock", &raw.clock, "write [clock]".to_owned());
    table(judge, "local", &raw.local, "write [local]".to_owned());
    table(judge, "control", &raw.control, "write [control]".to_owned());
    table(judge, "census", &raw.census, "write [census]".to_owned());
    table(judge, "metrics", &raw.metrics, "write [metrics]".to_owned());
    let hint = "write [fast-path]".to_owned();
    table(judge, "fast-path", &raw.fast_path, hint);
    table(judge, "access", &raw.access, "write [access]".to_owned());
    table(judge, "limit", &raw.limit, "write [limit]".to_owned());
    table(judge, "budget", &raw.budget, "write [budget]".to_owned());
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

fn process(judge: &mut Judge<'_>, said: &raw::Process) -> Option<Process> {
    judge.enter("process", "[process]");
    let user = judge.text(
        "user",
        said.user.as_ref(),
        "the name of a user, without ':' and '/'",
        is_user,
    );
    let chroot = judge.text(
        "chroot",
        said.chroot.as_ref(),
        "an absolute path without control characters",
        is_absolute,
    );
    let keep_low_ports = judge.word(
        "keep-low-ports",
        said.keep_low_ports.as_ref(),
        &LOW_PORTS,
        LowPorts::Auto.name(),
    );
    let landlock = judge.truth("landlock", said.landlock.as_ref(), true);
    let seccomp = judge.truth("seccomp", said.seccomp.as_ref(), true);
    let ready = judge.word("ready", said.ready.as_ref(), &READY, Ready::Serving.name());
    Some(Process {
        user: user?,
        chroot: chroot?.map(PathBuf::from),
        keep_low_ports: keep_low_ports?,
        landlock: landlock?,
        seccomp: seccomp?,
        ready: ready?,
    })
}

fn control(judge: &mut Judge<'_>, said: &raw::Control) -> Option<Control> {
    judge.enter("control", "[control]");
    let socket = path_or_none(judge, "socket", said.socket.as_ref(), CONTROL_SOCKET)?;
    Some(Control { socket })
}

fn census(judge: &mut Judge<'_>, said: &raw::Census) -> Option<Census> {
    judge.enter("census", "[census]");
    let enabled = judge.truth("enabled", said.enabled.as_ref(), true);
    let clients = judge.whole("clients", said.clients.as_ref(), 1024..=1_048_576, 65_536_u32);
    Some(Census {
        enabled: enabled?,
        clients: clients?,
    })
}

fn metrics(judge: &mut Judge<'_>, said: &raw::Metrics) -> Option<Metrics> {
    judge.enter("metrics", "[metrics]");
    let nowhere = raw::Said::text("", Origin::Default);
    let expected =
        "an address and a port such as \"127.0.0.1:9923\", \"unix:\" and an absolute path, or \"\" for none";
    let listen = said.listen.as_ref().unwrap_or(&nowhere);
    let text = judge.text("listen", Some(listen), expected, |text| {
        metrics_at(text).is_some()
    })?;
    metrics_at(&text.unwrap_or_default())
}

fn fast_path(judge: &mut Judge<'_>, said: &raw::FastPath) -> Option<FastPath> {
    judge.enter("fast-path", "[fast-path]");
    let read = |name: &str| match is_interface(name) {
        true => Ok(name.to_owned()),
        false => Err(Refusal::new(
            "the name of a network interface, as `ip link` shows it",
        )),
    };
    let interfaces = judge.list("interfaces", said.interfaces.as_ref(), &[], read, |name| {
        effective::quoted(name)
    });
    let mode = judge.word("mode", said.mode.as_ref(), &FAST_MODES, Mode::Auto.name());
    let mut interfaces = interfaces?;
    interfaces.sort();
    interfaces.dedup();
    if let Some(all) = said
        .interfaces
        .as_ref()
        .filter(|_| interfaces.len() > MOST_INTERFACES)
    {
        let expected = format!("at most {MOST_INTERFACES} interfaces");
        judge.fault_at(all, "interfaces", expected, None);
    }
    if let Some(all) = said
        .interfaces
        .as_ref()
        .filter(|_| !(interfaces.is_empty() || HAS_FAST_PATH))
    {
        let hint = Some("build with the cargo feature fast-path, on a little-endian machine".to_owned());
        judge.fault_at(
            all,
            "interfaces",
            "no interface, as this build has no fast path",
            hint,
        );
    }
    Some(FastPath {
        interfaces,
        mode: mode?,
    })
}

/// What Linux takes as a name (`dev_valid_name` of its net/core/dev.c).
fn is_interface(name: &str) -> bool {
    (1..16).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':'))
}

fn metrics_at(text: &str) -> Option<Metrics> {
    match text.strip_prefix("unix:") {
        Some(path) => is_absolute(path).then(|| Metrics::Unix(path.into())),
        None if text.is_empty() => Some(Metrics::Nowhere),
        None => {
            let address: Option<SocketAddr> = text.parse().ok();
            address.filter(|address| address.port() != 0).map(Metrics::Tcp)
        }
    }
}

/// What can stand in the first field of a line of passwd(5).
fn is_user(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_control() || matches!(c, ':' | '/'))
}

fn is_absolute(path: &str) -> bool {
    Path::new(path).is_absolute() && !path.contains(char::is_control)
}

fn log(judge: &mut Judge<'_>, said: &raw::Log) -> Option<LogLevel> {
    judge.enter("log", "[log]");
    judge.word("level", said.level.as_ref(), &LEVELS, "info")
}

fn clock(judge: &mut Judge<'_>, raw: &Raw) -> Option<(ClockPolicy, Option<PathBuf>)> {
    judge.enter("clock", "[clock]");
    let said = &raw.clock.said;
    let source = judge.word("source", said.source.as_ref(), &SOURCES, "auto");
    // From three on one liar among them can be found out: so two have to agree.
    //= RFC 5905 §11.1 cmin
    let agreeing = if upstreams::count(raw).is_some_and(|count| count > 2) {
        2_u8
    } else {
        1_u8
    };
    let min_sources = judge.whole("min-sources", said.min_sources.as_ref(), 1..=255, agreeing);
    //= RFC 5905 §7.2 maxdist
    let max_distance = judge.seconds("max-distance", said.max_distance.as_ref(), 0.0001..=16.0, 1.0);
    let max_jitter = judge.seconds("max-jitter", said.max_jitter.as_ref(), 0.0001..=16.0, 1.0);
    let on_dispute = judge.word(
        "on-dispute",
        said.on_dispute.as_ref(),
        &ON_DISPUTE,
        "unsynchronized",
    );
    let leap_seconds = path_or_none(judge, "leap-seconds", said.leap_seconds.as_ref(), LEAP_SECONDS);
    let local = local(judge, raw, max_distance);
    let policy = ClockPolicy {
        source: source?,
        max_jitter: max_jitter?,
        on_dispute: on_dispute?,
        min_sources: min_sources?,
        max_distance: NtpDuration::from_seconds(max_distance?),
        local: local?,
    };
    Some((policy, leap_seconds?))
}

/// The empty text says "none": to leave the key out means the `default`.
fn path_or_none(
    judge: &mut Judge<'_>,
    key: &'static str,
    said: Option<&raw::Said>,
    default: &str,
) -> Option<Option<PathBuf>> {
    let default = raw::Said::text(default, Origin::Default);
    let expected = "an absolute path without control characters, or \"\" for none";
    let accept = |path: &str| path.is_empty() || is_absolute(path);
    let path = judge.text(key, Some(said.unwrap_or(&default)), expected, accept)?;
    Some(path.filter(|path| !path.is_empty()).map(PathBuf::from))
}

fn local(judge: &mut Judge<'_>, raw: &Raw, limit: Option<f64>) -> Option<Option<LocalReference>> {
    judge.enter("local", "[local]");
    let said = &raw.local.said;
    let enabled = judge.truth("enabled", said.enabled.as_ref(), false);
    let stratum = judge.whole("stratum", said.stratum.as_ref(), 1..=15, 10_u8);
    let wait = judge.whole("wait", said.wait.as_ref(), 0..=86_400, 60_u32);
    let distance = judge.seconds("distance", said.distance.as_ref(), 0.0..=16.0, 0.5);
    if let (Some(true), Some(distance), Some(limit)) = (enabled, distance, limit) {
        let blame = said.distance.as_ref().or(raw.clock.said.max_distance.as_ref());
        distance_fits(judge, blame, distance, limit);
    }
    let reference = LocalReference {
        stratum: stratum?,
        wait: Duration::from_secs(wait?.into()),
        distance: NtpDuration::from_seconds(distance?),
    };
    Some(enabled?.then_some(reference))
}

/// A reference that is worse than what we are allowed to announce could never be served.
fn distance_fits(judge: &mut Judge<'_>, blame: Option<&raw::Said>, distance: f64, limit: f64) {
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
    pub(super) fn once(&mut self, judge: &mut Judge<'_>, thing: K, said: &raw::Said) {
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
