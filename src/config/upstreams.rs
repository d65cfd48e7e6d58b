//! Pure. Which upstreams there are once the flags have had their say, and whether each makes sense.

use std::net::{IpAddr, SocketAddr};

use super::address;
use super::judge::Judge;
use super::raw::{self, Origin, Raw, Said, Section};
use super::validate::{Seen, numbered};
use crate::upstream::{Host, Role, Upstream};

/// Where the daemon is that keeps the clock of this host, if nobody says anything else.
const DEFAULT: &str = "127.0.0.1:11123";

/// Poll intervals (log2 seconds) for a host of the network and for the daemon on this host.
//= RFC 5905 §7.3 poll-defaults
const REMOTE_POLLS: (i8, i8) = (6, 10);
const LOOPBACK_POLLS: (i8, i8) = (2, 4);
//= RFC 5905 §7.2 maxpoll
const LONGEST_POLL: i8 = 17;

/// How many there are, with or without faults; `None` if what stands there can't be counted.
pub(super) fn count(raw: &Raw) -> Option<usize> {
    match (raw.upstream_flags.len(), &raw.upstream.said) {
        (0, Some(sections)) => Some(sections.len()),
        (0, None) => raw.upstream.is_array.then_some(1),
        (flags, _) => Some(flags),
    }
}

/// `ours` are the addresses of the listeners: who asks itself has no time to tell.
pub(super) fn validate(judge: &mut Judge<'_>, raw: &Raw, ours: &[SocketAddr]) -> Option<Vec<Upstream>> {
    let candidates = candidates(raw);
    if candidates.is_empty() {
        return none(judge, raw);
    }
    let mut seen = Seen::new();
    let mut upstreams = Some(Vec::new());
    for (name, section) in &candidates {
        let upstream = upstream(judge, name, section);
        if let (Some(upstream), Some(said)) = (&upstream, &section.said.address) {
            seen.once(judge, upstream.endpoint(), said);
            if is_ours(upstream, ours) {
                let hint = Some("this is a listener of ours: the upstream must use another port".to_owned());
                judge.fault_at(said, "address", "another server", hint);
            }
        }
        upstreams = upstreams.zip(upstream).map(|(mut all, one)| {
            all.push(one);
            all
        });
    }
    upstreams
}

/// Is this upstream one of our own listeners, as far as can be told without looking at the interfaces?
fn is_ours(upstream: &Upstream, listeners: &[SocketAddr]) -> bool {
    let here = |address: &IpAddr, listener: &SocketAddr| {
        let (ip, same_family) = (listener.ip(), listener.is_ipv4() == address.is_ipv4());
        let any = ip.is_unspecified() && same_family && address.is_loopback();
        upstream.port == listener.port() && (*address == ip || any)
    };
    let addresses = upstream.host.literals();
    let is_here = |address| listeners.iter().any(|listener| here(address, listener));
    !addresses.is_empty() && addresses.iter().all(is_here)
}

/// `upstream = []` stands above all tables: below one it would be a key of it.
fn none(judge: &mut Judge<'_>, raw: &Raw) -> Option<Vec<Upstream>> {
    judge.enter("", "");
    judge.set("upstream", Some("[]".to_owned()), &raw.upstream.origin);
    if let Some(table) = judge.effective.tables.pop() {
        judge.effective.tables.insert(0, table);
    }
    Some(Vec::new())
}

fn candidates(raw: &Raw) -> Vec<(String, Section<raw::Upstream>)> {
    let default = [Said::text(DEFAULT, Origin::Default)];
    match (raw.upstream_flags.as_slice(), &raw.upstream.said) {
        ([], Some(sections)) => {
            let all = sections.iter().enumerate();
            let all = all.map(|(index, section)| (numbered("upstream", index), section.clone()));
            all.filter(|(_, section)| section.is_table).collect()
        }
        ([], None) => default.iter().map(named).collect(),
        (flags, _) => flags.iter().map(named).collect(),
    }
}

fn named(address: &Said) -> (String, Section<raw::Upstream>) {
    let said = raw::Upstream {
        address: Some(address.clone()),
        ..Default::default()
    };
    (
        "upstream".to_owned(),
        Section {
            said,
            ..Default::default()
        },
    )
}

fn upstream(judge: &mut Judge<'_>, name: &str, section: &Section<raw::Upstream>) -> Option<Upstream> {
    let said = &section.said;
    judge.enter(name, "[[upstream]]");
    let address = judge.address(
        said.address.as_ref(),
        &section.origin,
        address::host_and_port,
        |(host, port)| plain(host.clone(), *port).to_string(),
    );
    let iburst = judge.truth("iburst", said.iburst.as_ref(), true);
    let polls = polls(judge, said, address.as_ref().map(|(host, _)| host));
    let role = role(judge, said);
    let ((host, port), (minpoll, maxpoll)) = (address?, polls?);
    Some(Upstream {
        role: role?,
        iburst: iburst?,
        minpoll,
        maxpoll,
        ..plain(host, port)
    })
}

fn role(judge: &mut Judge<'_>, said: &raw::Upstream) -> Option<Role> {
    let prefer = judge.truth("prefer", said.prefer.as_ref(), false);
    let require = judge.truth("require", said.require.as_ref(), false);
    let trust = judge.truth("trust", said.trust.as_ref(), false);
    let noselect = judge.truth("noselect", said.noselect.as_ref(), false);
    if let (Some(true), Some(true), Some(said)) = (noselect, require, &said.require) {
        let hint = Some("an upstream that is only watched can't be required".to_owned());
        judge.fault_at(said, "require", "false where noselect is true", hint);
    }
    Some(Role {
        prefer: prefer?,
        require: require?,
        trust: trust?,
        noselect: noselect?,
    })
}

fn plain(host: Host, port: u16) -> Upstream {
    let (minpoll, maxpoll) = REMOTE_POLLS;
    Upstream {
        host,
        port,
        iburst: true,
        minpoll,
        maxpoll,
        role: Role::default(),
    }
}

/// Where only one of both is said and the other's default contradicts it, the default moves to it.
fn polls(judge: &mut Judge<'_>, said: &raw::Upstream, host: Option<&Host>) -> Option<(i8, i8)> {
    let is_loopback = host.is_some_and(Host::is_loopback);
    let (min, max) = if is_loopback { LOOPBACK_POLLS } else { REMOTE_POLLS };
    // Of an address with a fault we can't know, and then this is no second fault.
    //= RFC 5905 §7.2 minpoll
    let shortest = if is_loopback || host.is_none() { 0 } else { 1 };
    let range = shortest..=LONGEST_POLL;
    let peek = |said: &Option<Said>| {
        said.as_ref()
            .and_then(Said::as_whole)
            .and_then(|n| i8::try_from(n).ok())
    };
    let min = peek(&said.maxpoll).map_or(min, |said| min.min(said));
    let max = peek(&said.minpoll).map_or(max, |said| max.max(said));
    let minpoll = judge.whole("minpoll", said.minpoll.as_ref(), range.clone(), min);
    let maxpoll = judge.whole("maxpoll", said.maxpoll.as_ref(), range, max);
    if let (Some(min), Some(max), Some(said)) = (minpoll, maxpoll, &said.maxpoll)
        && min > max
    {
        judge.fault_at(said, "maxpoll", format!("at least minpoll, {min}"), None);
        return None;
    }
    Some((minpoll?, maxpoll?))
}
