//! Pure. The keys of ntpd-rs's ntp.toml, by its manual (1.0 to 1.9).
//!
//! Its grammar is not that of the other two: it is TOML, and keys that ntpd-rs doesn't know are errors there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::draft::{Draft, DraftNts, DraftUpstream};
use super::is_absolute;
use super::nts::ntpd_rs as nts;
use super::placed_table::{File, NOT_KNOWN, PlacedTable, whole};
use super::server::{AUTHENTICATED, LARGEST_POOL};
use crate::config::address::{Refusal, host_and_port, listener};
use crate::config::effective::quoted;
use crate::config::fault::excerpt;
use crate::wire::NTP_PORT;

/// The heads of the tables of its file.
const TABLES: [&str; 8] = [
    "[[source]]",
    "[[server]]",
    "[[nts-ke-server]]",
    "[source-defaults]",
    "[synchronization]",
    "[synchronization.algorithm]",
    "[observability]",
    "[keyset]",
];
const CLOCK: &str =
    "ntpfront never touches the host's clock: leave that to ntpd-rs, beside ntpfront on another port";
const READS_NO_CLOCK: &str =
    "ntpfront reads no clocks but the host's: leave that to ntpd-rs, beside ntpfront on another port";
const OWN: &str = "a matter of ntpd-rs's own files and log";
const CTL: &str =
    "for ntp-ctl; ntpfront has control.socket, and the socket's permissions decide which users may query it";
const NO_SERVER: &str = "without a [[server]] ntpd-rs answers no client: only this host is answered, unless you add a [[listener]]";
const VERSIONS: &str = "# Other than there, requests of versions 1 and 2 are answered, too.\n";
const NOTHING_LIKE_IT: &str = "nothing here is like it";
/// The default poll intervals of ntpd-rs, as powers of 2 in seconds.
const POLLS: [i8; 2] = [4, 10];
const LONGEST_POLL: i8 = 17;
/// The default of ntpd-rs for the number of sources that must agree.
const AGREEING: u8 = 3;
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Whether this line is the head of a table of its file.
pub(super) fn begins_table(line: &str) -> bool {
    let line = line.split('#').next().unwrap_or_default();
    let bare: String = line.chars().filter(|char| !char.is_whitespace()).collect();
    TABLES.contains(&bare.as_str())
}

/// Carries over a file, and returns whether anything of it is carried over.
///
/// # Errors
/// The file is no TOML: the place and the reason.
pub(super) fn carry(draft: &mut Draft, path: &Path, text: &str) -> Result<bool, String> {
    let file = File { path, text };
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        format!("{}: no TOML: {}", file.line(at).shown(), excerpt(error.message()))
    })?;
    let document = PlacedTable::new(file, 0, document.get_ref());
    let mut polls = POLLS.map(Some);
    if let Some(DeValue::Table(defaults)) = document.get("source-defaults") {
        polls = intervals(draft, &PlacedTable::new(file, 0, defaults), polls);
    }
    let mut carried = false;
    // The servers need to know whether there are keys, and the set of keys as well.
    for (_, value, _) in document.keys.iter().filter(|(name, ..)| *name == "nts-ke-server") {
        carried |= each(file, value).fold(false, |carried, table| nts::key_server(draft, &table) | carried);
    }
    for (name, value, at) in &document.keys {
        carried |= match *name {
            "source" => {
                each(file, value).fold(false, |carried, table| source(draft, &table, polls) | carried)
            }
            "server" => each(file, value).fold(false, |carried, table| server(draft, &table) | carried),
            "synchronization" => {
                PlacedTable::of(file, value).is_some_and(|table| synchronization(draft, &table))
            }
            "observability" => PlacedTable::of(file, value).is_some_and(|table| observability(draft, &table)),
            "source-defaults" => true,
            "keyset" => PlacedTable::of(file, value).is_some_and(|table| nts::keyset(draft, &table)),
            // Those that are tables are carried over above.
            "nts-ke-server" if value.get_ref().is_array() => false,
            _ => {
                draft.leave(&file.line(*at), NOT_KNOWN);
                false
            }
        };
    }
    Ok(carried)
}

/// Returns the tables of an array of tables.
fn each<'a, 'd>(
    file: File<'a>,
    value: &'d Spanned<DeValue<'a>>,
) -> impl Iterator<Item = PlacedTable<'a, 'd>> {
    let tables = value
        .get_ref()
        .as_array()
        .into_iter()
        .flat_map(|array| array.iter());
    tables.filter_map(move |table| PlacedTable::of(file, table))
}

/// Reads `poll-interval-limits = { min = 4, max = 10 }`; a limit that is absent is as `before`.
fn intervals(draft: &mut Draft, table: &PlacedTable<'_, '_>, before: [Option<i8>; 2]) -> [Option<i8>; 2] {
    let why = "ntpfront begins with the shortest interval";
    table.leave_key(draft, "initial-poll-interval", why);
    let Some(DeValue::Table(limits)) = table.get("poll-interval-limits") else {
        return before;
    };
    let limits = PlacedTable::new(table.file, table.at, limits);
    let [min, max] = before;
    let polls = [("min", min), ("max", max)].map(|(key, before)| match limits.get(key) {
        Some(value) => whole(value).and_then(|poll| i8::try_from(poll).ok()),
        None => before,
    });
    match polls {
        [Some(min), Some(max)] if (1..=max).contains(&min) && max <= LONGEST_POLL => polls,
        _ => {
            let why = format!("1 to {LONGEST_POLL} in this order; the defaults apply");
            table.leave_key(draft, "poll-interval-limits", &why);
            [None, None]
        }
    }
}

/// Returns the number of servers, if that is given, if the source is a pool.
fn pool(draft: &mut Draft, table: &PlacedTable<'_, '_>) -> Option<Option<u8>> {
    if table.text("mode") != Some("pool") {
        return None;
    }
    let Some(count) = table.get("count") else {
        return Some(None);
    };
    let count = whole(count).and_then(|count| u8::try_from(count).ok());
    let count = count.filter(|count| (1..=LARGEST_POOL).contains(count));
    if count.is_none() {
        table.leave_key(
            draft,
            "count",
            &format!("1 to {LARGEST_POOL}; the default applies"),
        );
    }
    Some(count)
}

/// Carries over a source, and returns whether it is asked.
fn source(draft: &mut Draft, table: &PlacedTable<'_, '_>, polls: [Option<i8>; 2]) -> bool {
    draft.has_sources = true;
    let refused = match table.text("mode") {
        Some("server" | "pool" | "nts") => None,
        Some("nts-pool") => Some(AUTHENTICATED),
        Some("sock" | "pps") => Some(READS_NO_CLOCK),
        _ => Some("no such mode is known here"),
    };
    if let Some(why) = refused {
        table.leave(draft, why);
        return false;
    }
    let asked = table
        .text("address")
        .ok_or("the address of the server is missing".to_owned());
    let asked = asked.and_then(|text| {
        let refused = |refusal: Refusal| format!("\"{}\" is not {}", excerpt(text), refusal.expected);
        host_and_port(text).map_err(refused)
    });
    let [minpoll, maxpoll] = intervals(draft, table, polls);
    let has_nts = table.text("mode") == Some("nts");
    let pool = pool(draft, table);
    let asked = asked.and_then(|(host, port)| match has_nts {
        true => Ok((host, NTP_PORT, Some(keys(table, port)?))),
        false => Ok((host, port, None)),
    });
    let taken = asked.and_then(|(host, port, nts)| {
        let origin = table.file.line(table.at).shown();
        let origin = format!("{origin} {}", excerpt(table.text("address").unwrap_or_default()));
        draft.ask(DraftUpstream {
            host,
            port,
            iburst: false,
            pool,
            minpoll,
            maxpoll,
            roles: Default::default(),
            key: None,
            nts,
            origin,
        })
    });
    if let Err(why) = taken {
        table.leave(draft, &why);
        return false;
    }
    let known = [
        "mode",
        "address",
        "count",
        "poll-interval-limits",
        "initial-poll-interval",
        "certificate-authority",
    ];
    let known = match (has_nts, &known) {
        (true, known) => &known[..],
        // It means nothing elsewhere, and is told.
        (false, [others @ .., _]) => others,
    };
    let version = match table.get("ntp-version").map(|value| whole(value) == Some(4)) {
        Some(true) => &["ntp-version"][..],
        _ => &[],
    };
    let left = [
        ("ignore", NOTHING_LIKE_IT),
        ("ntp-version", "ntpfront uses version 4"),
    ];
    table.leave_others(draft, &[known, version].concat(), &left);
    true
}

/// Returns the way to the keys of a source in mode `nts`, whose port is that of key establishment.
///
/// Without the file that it names, others would be trusted for it.
fn keys(table: &PlacedTable<'_, '_>, port: u16) -> Result<DraftNts, String> {
    let ca = match table.get("certificate-authority") {
        None => None,
        Some(_) => Some(
            table
                .text("certificate-authority")
                .filter(|path| is_absolute(path))
                .ok_or("certificate-authority: no absolute path")?,
        ),
    };
    let says_port = table.text("address").is_some_and(|text| text.ends_with(":123"));
    Ok(DraftNts {
        port: (port != NTP_PORT || says_port).then_some(port),
        ca: ca.map(str::to_owned),
        set: 0,
    })
}

/// Carries over a server, and returns whether there is a listener for it.
fn server(draft: &mut Draft, table: &PlacedTable<'_, '_>) -> bool {
    let at = table
        .text("listen")
        .ok_or("where to listen is missing".to_owned());
    let at = at.and_then(|text| {
        listener(text).map_err(|refusal| format!("\"{}\" is not {}", excerpt(text), refusal.expected))
    });
    let at = match at {
        Ok(at) => at,
        Err(why) => {
            table.leave(draft, &why);
            return false;
        }
    };
    let keys = access(draft, table) + &limit(draft, table);
    let known = [
        "listen",
        "allowlist",
        "denylist",
        "require-nts",
        "rate-limiting-cutoff-ms",
        "rate-limiting-cache-size",
    ];
    let versions = "requests of versions 1 to 4 are answered";
    table.leave_others(draft, &known, &[("accept-ntp-versions", versions)]);
    if !draft.listeners.contains(&at) {
        draft.listeners.push(at);
        draft.listener_keys.insert(at, keys);
    }
    true
}

/// Returns the keys for access: an address is answered that is in the allowlist, if any, and not in the denylist.
fn access(draft: &mut Draft, table: &PlacedTable<'_, '_>) -> String {
    let required = match table.get("require-nts") {
        None | Some(DeValue::Boolean(false)) => "",
        Some(value) if draft.nts_server.establishes() => {
            if value.as_str() == Some("deny") {
                table.leave_key(
                    draft,
                    "require-nts",
                    "plain requests get no response here, and no DENY",
                );
            }
            "nts = \"require\"\n"
        }
        Some(value) => {
            let why = "without an [[nts-ke-server]] there are no keys here: so no client is answered";
            table.leave_key(draft, "require-nts", why);
            let kiss = match value.as_str() {
                Some("deny") => "access.on-deny = \"kiss\"\n",
                Some(_) | None => "",
            };
            return format!("access.default = \"deny\"\n{kiss}");
        }
    };
    let [allow, deny] = ["allowlist", "denylist"].map(|key| filter(draft, table, key));
    // The addresses of a prefix that can't be read are denied, with all others.
    let is_closed = deny.as_ref().is_some_and(|list| list.is_spoilt);
    if is_closed {
        table.leave_key(
            draft,
            "denylist",
            "so no client is answered there, unless you allow some in access",
        );
    }
    let gets_deny = gets_deny(draft, table, [&allow, &deny]);
    let denied = deny.map(|list| list.nets).unwrap_or_default();
    let is_open = allow.is_none();
    let mut allowed = allow.map(|list| list.nets).unwrap_or_default();
    // Here the longest prefix decides, in ntpd-rs the denylist.
    allowed.retain(|net| !denied.iter().any(|deny| deny.contains(net)));
    let has_lists = !is_open || is_closed || !denied.is_empty();
    let default = if is_open && !is_closed {
        ""
    } else {
        "access.default = \"deny\"\n"
    };
    let lists = match is_closed {
        true => String::new(),
        false => list("access.allow", &allowed) + &list("access.deny", &denied),
    };
    let kiss = if has_lists && gets_deny {
        "access.on-deny = \"kiss\"\n"
    } else {
        ""
    };
    format!("{required}{default}{lists}{kiss}")
}

/// Whether clients that are denied are told so; both lists have to do the same here.
fn gets_deny(draft: &mut Draft, table: &PlacedTable<'_, '_>, lists: [&Option<Filter>; 2]) -> bool {
    let deny_sent = lists.map(|list| list.as_ref().map(|list| list.gets_deny));
    match deny_sent {
        [Some(one), Some(other)] if one != other => {
            let why = "both lists must do the same with denied clients here: none gets DENY";
            table.leave_key(draft, "denylist", why);
            false
        }
        [one, other] => one.or(other).unwrap_or(false),
    }
}

fn list(key: &str, nets: &[IpNet]) -> String {
    let nets: Vec<String> = nets.iter().map(|net| quoted(&net.to_string())).collect();
    match nets.is_empty() {
        true => String::new(),
        false => format!("{key} = [{}]\n", nets.join(", ")),
    }
}

/// Reads a prefix; bits beyond its length don't matter, and an IPv4-mapped IPv6 prefix becomes one of IPv4.
fn prefix(text: &str) -> Option<IpNet> {
    let net: IpNet = text
        .parse()
        .ok()
        .or_else(|| text.parse().ok().map(IpAddr::into))?;
    let mapped = match net {
        IpNet::V6(net) => net.addr().to_ipv4_mapped().zip(net.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    match mapped {
        Some((address, bits)) => IpNet::new(address.into(), bits).ok().map(|net| net.trunc()),
        None => Some(net.trunc()),
    }
}

/// A list for access: `{ filter = ["10.0.0.0/8"], action = "deny" }`.
struct Filter {
    nets: Vec<IpNet>,
    /// Whether clients that it denies are told so.
    gets_deny: bool,
    /// Whether it lacks the array of prefixes, or an item of it is no prefix.
    is_spoilt: bool,
}

fn filter(draft: &mut Draft, table: &PlacedTable<'_, '_>, key: &str) -> Option<Filter> {
    let list = PlacedTable::new(table.file, table.at, table.get(key)?.as_table()?);
    let said = list.get("filter").and_then(DeValue::as_array);
    let mut filter = Filter {
        nets: Vec::new(),
        gets_deny: list.text("action") == Some("deny"),
        is_spoilt: said.is_none(),
    };
    for item in said.into_iter().flat_map(|items| items.iter()) {
        let text = item.get_ref().as_str().unwrap_or_default();
        match prefix(text) {
            Some(net) => filter.nets.push(net),
            None => {
                filter.is_spoilt = true;
                draft.leave(
                    &table.file.line(item.span().start),
                    &format!("\"{}\" is no prefix", excerpt(text)),
                );
            }
        }
    }
    filter.nets.sort_unstable();
    filter.nets.dedup();
    Some(filter)
}

/// Returns the keys for the limit; ntpd-rs tells each client that asks again too soon, each time.
fn limit(draft: &mut Draft, table: &PlacedTable<'_, '_>) -> String {
    let number = |key| table.get(key).and_then(whole).unwrap_or(0);
    let (cutoff, size) = (
        number("rate-limiting-cutoff-ms"),
        number("rate-limiting-cache-size"),
    );
    if cutoff <= 0 || size <= 0 {
        return String::new();
    }
    let seconds = f64::from(u32::try_from(cutoff).unwrap_or(u32::MAX)) / 1000.0;
    let nearest = seconds.clamp(0.0001, 64.0);
    let cut = if nearest < seconds {
        "64 s at most, and "
    } else {
        ""
    };
    let why = format!(
        "it is {cut}the mean here, not the shortest: after a silence 8 are answered at once, and beyond that one in a hundred"
    );
    table.leave_key(draft, "rate-limiting-cutoff-ms", &why);
    let clients = (size > 65_536).then(|| size.min(16_777_216));
    let clients = clients.map_or_else(String::new, |size| format!("limit.clients = {size}\n"));
    format!(
        "limit.mode = \"on\"\nlimit.interval = {nearest:?}\nlimit.burst = 8\nlimit.leak = 0.01\nlimit.kiss = 1.0\n{clients}"
    )
}

fn synchronization(draft: &mut Draft, table: &PlacedTable<'_, '_>) -> bool {
    let mut known = Vec::new();
    if let Some(value) = table.get("minimum-agreeing-sources") {
        let count = whole(value).and_then(|count| u8::try_from(count.clamp(1, 255)).ok());
        draft.min_sources = count;
        known.push("minimum-agreeing-sources");
    }
    // The default is 16, which means no time.
    if let Some(stratum @ 1..=15) = table.get("local-stratum").and_then(whole) {
        let why = format!(
            "before it has a time ntpd-rs announces this, and \"unsynchronized\" with it: here only that is announced. To have clients \
             believe the clock of this host then, say [local] enabled = true, stratum = {stratum}"
        );
        table.leave_key(draft, "local-stratum", &why);
    }
    known.push("local-stratum");
    let left = [
        ("single-step-panic-threshold", CLOCK),
        ("startup-step-panic-threshold", CLOCK),
        ("accumulated-step-panic-threshold", CLOCK),
        ("warn-on-jump", CLOCK),
        (
            "reference-id",
            "without an upstream there is no time to announce here",
        ),
        ("algorithm", "ntpfront weighs its upstreams by rules of its own"),
    ];
    table.leave_others(draft, &known, &left);
    draft.min_sources.is_some()
}

fn observability(draft: &mut Draft, table: &PlacedTable<'_, '_>) -> bool {
    let level = table.text("log-level").filter(|level| LEVELS.contains(level));
    draft.log_level = level.and_then(|said| LEVELS.into_iter().find(|level| *level == said));
    // In ntpd-rs another process has it.
    let metrics = table
        .text("metrics-exporter-listen")
        .map(str::parse::<SocketAddr>);
    draft.metrics = metrics.and_then(Result::ok);
    let known = [
        level.map(|_| "log-level"),
        draft.metrics.map(|_| "metrics-exporter-listen"),
    ];
    let known: Vec<&str> = known.into_iter().flatten().collect();
    let left = [
        ("observation-path", CTL),
        ("observation-permissions", CTL),
        ("log-path", OWN),
        ("log-path-metrics-exporter", OWN),
        ("ansi-colors", OWN),
        ("log-level", "no such level is known here"),
        ("metrics-exporter-listen", "no address with a port"),
    ];
    table.leave_others(draft, &known, &left);
    !known.is_empty()
}

/// Completes the draft once the whole file is read.
///
/// Without a server only this host is served. A server at `[::]` also answers IPv4 in ntpd-rs, so it gets a second
/// listener.
pub(super) fn finish(draft: &mut Draft) {
    if draft.listeners.is_empty() {
        draft.remarks.push(NO_SERVER.to_owned());
        draft.listen_here(NTP_PORT);
    }
    let wild: Vec<SocketAddr> = draft
        .listeners
        .iter()
        .copied()
        .filter(|at| at.is_ipv6() && at.ip().is_unspecified())
        .collect();
    for at in wild {
        let both = SocketAddr::from((Ipv4Addr::UNSPECIFIED, at.port()));
        if !draft.listeners.contains(&both) {
            draft.listeners.push(both);
            let keys = draft.listener_keys.get(&at).cloned();
            draft.listener_keys.insert(both, keys.unwrap_or_default());
        }
    }
    if draft.has_sources {
        draft.min_sources.get_or_insert(AGREEING);
    }
    draft.preface = VERSIONS;
}
