//! Pure. The directives of chrony.conf, by its manual (chrony 4.3 to 4.7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::Meaning::{Carried, Given, Left};
use super::draft::{BESIDE, Draft, DraftUpstream, Limit, Local, all_addresses};
use super::nts::chrony as nts;
use super::server::{self, Choice};
use super::symmetric;
use super::{Keywords, SourceLine, is_absolute, nearest_interval, number, path};
use crate::config::address::listener;
use crate::config::fault::excerpt;
use crate::upstream::Host;
use crate::wire::NTP_PORT;

const CLOCK: &str =
    "ntpfront never touches the host's clock: leave that to chronyd, beside ntpfront with \"port 11123\"";
const DEVICES: &str =
    "ntpfront reads no clocks but the host's: leave that to chronyd, beside ntpfront with \"port 11123\"";
const FILES: &str =
    "other files aren't followed: name them after this one, and they are read as if they stood in it";
const OWN: &str = "a matter of chronyd's own files, log and process";
const CHRONYC: &str =
    "for chronyc; ntpfront has control.socket, and the socket's permissions decide which users may query it";
const SELECTION: &str = "ntpfront weighs its upstreams by rules of its own";
const NOT_YET: &str = "not here yet";

pub(super) const KEYWORDS: &Keywords = &[
    (&["server", "pool", "peer"], Carried(source)),
    (&["allow"], Carried(allow)),
    (&["deny"], Carried(deny)),
    (&["ratelimit"], Carried(ratelimit)),
    (&["local"], Carried(local)),
    (&["port"], Carried(port)),
    (&["bindaddress"], Carried(bindaddress)),
    (&["binddevice"], Carried(binddevice)),
    (&["leapseclist"], Carried(leapseclist)),
    (&["minsources"], Carried(minsources)),
    (&["maxdistance"], Carried(maxdistance)),
    (&["maxjitter"], Carried(maxjitter)),
    (&["noclientlog"], Carried(noclientlog)),
    (&["authselectmode"], Carried(authselectmode)),
    (&["keyfile"], Carried(symmetric::file)),
    (&["ntstrustedcerts"], Carried(ntstrustedcerts)),
    (&["nosystemcert"], Carried(nosystemcert)),
    (&["ntsrefresh"], Carried(ntsrefresh)),
    (&["ntsservercert"], Carried(nts::certificate)),
    (&["ntsserverkey"], Carried(nts::key)),
    (&["ntsport"], Carried(nts::port)),
    (&["ntsprocesses"], Carried(nts::processes)),
    (&["maxntsconnections"], Carried(nts::connections)),
    (&["ntsrotate"], Carried(nts::rotate)),
    (&["ntsntpserver"], Carried(nts::ntp_server)),
    (&["ntsaeads"], Carried(nts::algorithms)),
    // The second is the name that chrony 4.0 has for it, too.
    (&["ntsdumpdir", "ntscachedir"], Left(nts::KEPT)),
    (&["ntsratelimit"], Left(nts::LIMITED)),
    // The list of leap seconds of tzdata is read by default; and upstreams agree on a time before certificates are checked.
    (&["leapsectz", "nocerttimecheck"], Given),
    (
        &[
            "driftfile",
            "makestep",
            "rtcsync",
            "rtcfile",
            "rtcdevice",
            "rtcautotrim",
            "rtconutc",
            "hwclockfile",
            "maxslewrate",
            "maxupdateskew",
            "maxclockerror",
            "maxdrift",
            "maxchange",
            "corrtimeratio",
            "initstepslew",
            "fallbackdrift",
            "tempcomp",
            "manual",
            "clockprecision",
            "leapsecmode",
        ],
        Left(CLOCK),
    ),
    (
        &["refclock", "hwtimestamp", "hwtstimeout", "ptpport", "ptpdomain"],
        Left(DEVICES),
    ),
    (&["include", "confdir"], Left(FILES)),
    (&["sourcedir"], Carried(sourcedir)),
    (
        &[
            "logdir",
            "log",
            "logbanner",
            "logchange",
            "mailonchange",
            "dumpdir",
            "dumponexit",
            "pidfile",
            "user",
            "lock_all",
            "sched_priority",
            "clientloglimit",
            "generatecommandkey",
        ],
        Left(OWN),
    ),
    (
        &[
            "cmdallow",
            "cmddeny",
            "cmdport",
            "cmdratelimit",
            "bindcmdaddress",
            "bindcmddevice",
            "commandkey",
            "opencommands",
        ],
        Left(CHRONYC),
    ),
    (
        &[
            "combinelimit",
            "reselectdist",
            "stratumweight",
            "minsamples",
            "maxsamples",
        ],
        Left(SELECTION),
    ),
    (&["smoothtime"], Left(NOT_YET)),
    (
        &[
            "bindacqaddress",
            "bindacqdevice",
            "acquisitionport",
            "dscp",
            "broadcast",
        ],
        Left("nothing here is like it"),
    ),
];

const CHOICES: [(&str, Choice); 35] = [
    ("iburst", Choice::Iburst),
    ("minpoll", Choice::Minpoll),
    ("maxpoll", Choice::Maxpoll),
    ("port", Choice::Port),
    ("prefer", Choice::Role("prefer")),
    ("require", Choice::Role("require")),
    ("trust", Choice::Role("trust")),
    ("noselect", Choice::Role("noselect")),
    ("nts", Choice::Nts),
    ("key", Choice::Key),
    ("ntsport", Choice::KePort),
    ("certset", Choice::CertificateSet),
    ("burst", Choice::Foreign(0)),
    ("auto_offline", Choice::Foreign(0)),
    ("offline", Choice::Foreign(0)),
    ("xleave", Choice::Foreign(0)),
    ("copy", Choice::Foreign(0)),
    ("ipv4", Choice::Foreign(0)),
    ("ipv6", Choice::Foreign(0)),
    ("maxsources", Choice::Count),
    ("mindelay", Choice::Foreign(1)),
    ("maxdelay", Choice::Foreign(1)),
    ("maxdelayratio", Choice::Foreign(1)),
    ("maxdelaydevratio", Choice::Foreign(1)),
    ("maxdelayquant", Choice::Foreign(1)),
    ("minsamples", Choice::Foreign(1)),
    ("maxsamples", Choice::Foreign(1)),
    ("filter", Choice::Foreign(1)),
    ("offset", Choice::Foreign(1)),
    ("asymmetry", Choice::Foreign(1)),
    ("polltarget", Choice::Foreign(1)),
    ("presend", Choice::Foreign(1)),
    ("minstratum", Choice::Foreign(1)),
    ("version", Choice::Foreign(1)),
    ("extfield", Choice::Foreign(1)),
];

fn source(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    server::carry(draft, line, &CHOICES)
}

fn allow(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    rule(draft, line, true)
}

fn deny(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    rule(draft, line, false).map_err(|why| draft.close(&why))
}

/// Carries over `allow [all] [SUBNET]` and `deny`: the longest prefix decides, in any order.
///
/// `all` also replaces the rules for parts of the subnet.
fn rule(draft: &mut Draft, line: &SourceLine<'_>, allowed: bool) -> Result<(), String> {
    let (is_for_all, words) = match line.words.split_first() {
        Some((all, words)) if all.eq_ignore_ascii_case("all") => (true, words),
        Some(_) | None => (false, line.words.as_slice()),
    };
    let nets = match words {
        [] => all_addresses().to_vec(),
        [subnet] => vec![prefix(subnet)?],
        _ => return Err("one subnet is expected".to_owned()),
    };
    for net in nets {
        match is_for_all {
            true => draft.rule_for_all(net, allowed),
            false => draft.rule(net, allowed),
        }
    }
    Ok(())
}

/// Reads a subnet: `192.0.2.0/24`, `192.0.2` (the same), `2001:db8::/32`, or an address; no name of a host.
fn prefix(text: &str) -> Result<IpNet, String> {
    let refused = || {
        format!(
            "\"{}\" is no subnet (names of hosts are not looked up)",
            excerpt(text)
        )
    };
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(number(bits, 0, 128_u8)?)),
        None => (text, None),
    };
    let parts = address.split('.').count();
    let (address, all): (IpAddr, usize) = match address.parse() {
        Ok(IpAddr::V6(address)) => (address.into(), 128),
        _ if (1..=4).contains(&parts) => {
            let whole = address.to_owned() + &".0".repeat(4 - parts);
            (
                whole.parse::<Ipv4Addr>().map_err(|_| refused())?.into(),
                parts * 8,
            )
        }
        Ok(_) | Err(_) => return Err(refused()),
    };
    let bits = bits.or_else(|| u8::try_from(all).ok());
    IpNet::new(address, bits.unwrap_or_default()).map_err(|_| refused())
}

/// Carries over `ratelimit [interval 3] [burst 8] [leak 2] [kod 0]`.
///
/// `interval` is an exponent of 2 for seconds, `leak` one for a share. Even if a part can't be carried over, there is a
/// limit: with the default of chronyd, or with our nearest value.
fn ratelimit(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let (mut every, mut burst, mut leak) = (8.0, 8, 2);
    for pair in line.words.chunks(2) {
        let [option, value] = pair else {
            draft.leave(line, "an option lacks its value");
            continue;
        };
        let left = match option.to_ascii_lowercase().as_str() {
            "interval" => {
                every = nearest_interval(draft, line, value);
                Ok(())
            }
            "burst" => number(value, 8, u8::MAX).map(|value| burst = value),
            "leak" => number(value, 1, 4).map(|value| leak = value),
            _ => Err("nothing here is like it".to_owned()),
        };
        if let Err(why) = left {
            draft.leave(line, &format!("{}: {why}", excerpt(option)));
        }
    }
    draft.limit = Some(Limit {
        interval: every,
        burst: Some(burst),
        leak: Some(f64::from(-leak).exp2()),
    });
    Ok(())
}

/// The seconds after its start until chronyd serves the host's clock, without `waitunsynced` (measured).
const LOCAL_WAIT: u32 = 4;
/// The same with `orphan` (chrony.conf(5), `waitunsynced`).
const ORPHAN_WAIT: u32 = 300;

/// Carries over `local [stratum 10] [waitunsynced SECONDS] …`.
fn local(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let mut local = Local {
        stratum: 10,
        wait: None,
    };
    let mut words = line.words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().copied().unwrap_or_default();
        match word.to_ascii_lowercase().as_str() {
            "stratum" => local.stratum = number(value(), 1, 15)?,
            "waitunsynced" => local.wait = Some(number(value(), 0, 86_400)?),
            "orphan" => {
                local.wait.get_or_insert(ORPHAN_WAIT);
                let why = "orphan: servers do not agree with each other on one source here";
                draft.leave(line, why);
            }
            "distance" | "activate" | "waitsynced" => {
                let why = format!("{word} {}: nothing here is like it", excerpt(value()));
                draft.leave(line, &why);
            }
            _ => return Err(format!("{}: no such option is known here", excerpt(word))),
        }
    }
    local.wait.get_or_insert(LOCAL_WAIT);
    draft.local = Some(local);
    Ok(())
}

fn port(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    match number(line.value()?, 0, u16::MAX)? {
        0 => Err(draft.close("with port 0 chronyd answers no client; ntpfront listens on port 123")),
        port => {
            draft.port = Some(port);
            Ok(())
        }
    }
}

fn bindaddress(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let address = bound(line).inspect_err(|_| draft.is_bound_elsewhere = true)?;
    // The last of a family counts.
    draft.bound.retain(|bound| bound.is_ipv4() != address.is_ipv4());
    draft.bound.push(address);
    Ok(())
}

fn binddevice(draft: &mut Draft, _line: &SourceLine<'_>) -> Result<(), String> {
    draft.is_bound_elsewhere = true;
    Err("name a [[listener]] for each address of the device".to_owned())
}

/// Reads the address of a `bindaddress`.
fn bound(line: &SourceLine<'_>) -> Result<IpAddr, String> {
    let address: IpAddr = line.value()?.parse().map_err(|_| "it is no address".to_owned())?;
    listener(&SocketAddr::from((address, NTP_PORT)).to_string()).map_err(|refusal| {
        let why = refusal.hint.unwrap_or(refusal.expected);
        format!("nothing can listen there: {why}")
    })?;
    Ok(address)
}

fn leapseclist(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    draft.leap_seconds = Some(path(line)?);
    Ok(())
}

fn sourcedir(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    for path in &line.words {
        if !is_absolute(path) {
            return Err(format!("{}: no absolute path", excerpt(path)));
        }
        draft.source_directories.push((*path).to_owned());
    }
    Ok(())
}

fn minsources(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    draft.min_sources = Some(number(line.value()?, 1, u8::MAX)?);
    Ok(())
}

fn maxdistance(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    draft.max_distance = Some(number(line.value()?, 0.0001, 16.0)?);
    Ok(())
}

fn maxjitter(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    draft.max_jitter = Some(number(line.value()?, 0.0001, 16.0)?);
    Ok(())
}

fn noclientlog(draft: &mut Draft, _line: &SourceLine<'_>) -> Result<(), String> {
    draft.census_off = true;
    Ok(())
}

/// Completes the draft once all lines are read: the listeners, and a chronyd that already runs beside ntpfront.
pub(super) fn finish(draft: &mut Draft) {
    symmetric::finish(draft, true);
    draft.default_min_sources = "one source is enough for chronyd (minsources 1)";
    certificates(draft);
    authenticated(draft);
    listeners(draft);
    nts::finish(draft);
}

/// Finds the listeners, and a chronyd that already runs beside ntpfront.
fn listeners(draft: &mut Draft) {
    let port = draft.port.unwrap_or(NTP_PORT);
    if port == BESIDE.1 {
        return beside(draft);
    }
    if draft.is_bound_elsewhere {
        let why = "where chronyd listens can't be carried: only this host is answered, unless you add a [[listener]]";
        draft.remarks.push(why.to_owned());
        return draft.listen_here(port);
    }
    if draft.port.is_some_and(|port| port != NTP_PORT) || !draft.bound.is_empty() {
        let of = |is_ipv4| {
            draft
                .bound
                .iter()
                .find(|bound| bound.is_ipv4() == is_ipv4)
                .copied()
        };
        let v4 = of(true).unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let v6 = of(false).unwrap_or(Ipv6Addr::UNSPECIFIED.into());
        draft.listeners = [v4, v6].map(|address| SocketAddr::from((address, port))).to_vec();
    }
}

/// Carries over `authselectmode MODE`; chronyd's `mix` is what is "prefer" here, and the default of both.
fn authselectmode(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    draft.authenticated = match line.value()?.to_ascii_lowercase().as_str() {
        "require" | "prefer" => Some("require"),
        "mix" => None,
        "ignore" => Some("mix"),
        _ => return Err("no such mode is known here".to_owned()),
    };
    draft.prefers_authenticated = line.value()?.eq_ignore_ascii_case("prefer");
    Ok(())
}

/// Drops what `authselectmode` says where it has no effect, and the servers that it forbids.
fn authenticated(draft: &mut Draft) {
    let is_some = draft
        .upstreams
        .iter()
        .any(|one| one.nts.is_some() || one.key.is_some());
    if is_some || draft.authenticated != Some("require") {
        return;
    }
    draft.authenticated = None;
    if !draft.prefers_authenticated && !draft.upstreams.is_empty() {
        draft.upstreams.clear();
        let why = "authselectmode require: none of these servers is authenticated here, so none is asked";
        draft.remarks.push(why.to_owned());
    }
}

/// Remembers `ntstrustedcerts [SET] FILE`.
fn ntstrustedcerts(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let (set, file) = match line.words.as_slice() {
        [file] => (0, *file),
        [set, file] => (number(set, 0, u32::MAX)?, *file),
        _ => return Err("a file is missing".to_owned()),
    };
    let file = file.trim_matches('"');
    if !is_absolute(file) || file.ends_with('/') {
        return Err("no absolute path of a file".to_owned());
    }
    draft.certificates.push((set, file.to_owned(), line.shown()));
    Ok(())
}

fn nosystemcert(draft: &mut Draft, _: &SourceLine<'_>) -> Result<(), String> {
    draft.is_without_system = true;
    Ok(())
}

/// Carries over `ntsrefresh SECONDS`, in whole hours: a bit sooner, and at least one.
fn ntsrefresh(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let seconds: u32 = number(line.value()?, 1, u32::MAX)?;
    draft.refresh = Some((seconds / 3600).clamp(1, 365 * 24));
    Ok(())
}

/// Gives the servers with NTS the certificates of their sets: one file each, where here is one key for it.
///
/// A server whose certificates can't be carried over is not asked: others would be trusted for it.
fn certificates(draft: &mut Draft) {
    let files = std::mem::take(&mut draft.certificates);
    let of = |set: u32| -> Vec<&(u32, String, String)> {
        files.iter().filter(|(number, ..)| *number == set).collect()
    };
    let mut kept = Vec::new();
    for mut upstream in std::mem::take(&mut draft.upstreams) {
        let set = upstream.nts.as_ref().map(|nts| nts.set);
        match (set, set.map(of).as_deref()) {
            (None, _) | (Some(0), Some([])) => {}
            (Some(0), Some([(_, file, _)])) if draft.is_without_system => draft.roots = Some(file.clone()),
            (Some(set), Some([(_, file, _)])) if set != 0 => {
                if let Some(nts) = &mut upstream.nts {
                    nts.ca = Some(file.clone());
                }
            }
            (Some(set), _) => {
                draft.remarks.push(format!(
                    "{}: here ca (or nts-client.roots) is one file that replaces the system's certificates, and for set {set} that is not so: \
                     put them into a file, and name the server with it",
                    upstream.origin
                ));
                continue;
            }
        }
        kept.push(upstream);
    }
    draft.upstreams = kept;
    let is_used = |set: u32| {
        let mut sets = draft
            .upstreams
            .iter()
            .filter_map(|one| Some(one.nts.as_ref()?.set));
        sets.any(|used| used == set)
    };
    let unused = files.iter().filter(|(set, ..)| !is_used(*set));
    let unused: Vec<String> = unused
        .map(|(.., line)| format!("{line}: no server here uses it"))
        .collect();
    draft.remarks.extend(unused);
}

/// Makes a chronyd beside ntpfront the first upstream, and drops its rules for clients: they are not about ours.
fn beside(draft: &mut Draft) {
    let (address, port) = BESIDE;
    let first = DraftUpstream {
        host: Host::Address(address),
        port,
        pool: None,
        iburst: true,
        minpoll: None,
        maxpoll: None,
        roles: Default::default(),
        nts: None,
        key: None,
        origin: "this chronyd itself, by its \"port 11123\"".to_owned(),
    };
    let others = std::mem::take(&mut draft.upstreams);
    draft.upstreams.push(first);
    for other in others {
        if let Err(why) = draft.ask(other) {
            draft.remarks.push(why);
        }
    }
    let had_rules = draft.open();
    if had_rules || !draft.bound.is_empty() {
        let why = "allow, deny and bindaddress: with \"port 11123\" chronyd answers ntpfront, and they are about that; \
                   ntpfront itself answers all clients";
        draft.remarks.push(why.to_owned());
    }
}
