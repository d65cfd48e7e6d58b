//! Pure. The upstreams of the file and the flags together, each validated.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::address;
use super::entries::{Entries, numbered};
use super::keys::{COUNT, COUNTS, LOOPBACK_POLLS, POLLS, REMOTE_POLLS, RawUpstream, UpstreamKeys};
use super::kind::whole;
use super::raw::Raw;
use super::raw_value::{Origin, RawValue, Section};
use super::roots::{self, Roots};
use super::row::Keys;
use super::symmetric_keys::{self, KeysInUse};
use super::validator::Validator;
use crate::nts::ke::PORT;
use crate::upstream::clock_policy::Authenticated;
use crate::upstream::nts::trusted::TrustedCertificates;
use crate::upstream::registry::Endpoint;
use crate::upstream::{Host, KeServer, Upstream};

/// Returns the number of upstreams, with or without faults; a pool counts as its members. `None` if the value is no array.
pub(super) fn count(raw: &Raw) -> Option<usize> {
    let found: usize = found(raw).iter().map(members).sum();
    match (raw.upstream_flags.len(), &raw.upstream.said) {
        (0, Some(sections)) => Some(sections.iter().map(members).sum::<usize>() + found),
        (0, None) => raw.upstream.is_array.then_some(found.max(1)),
        (flags, _) => Some(flags),
    }
}

/// Returns the upstreams that other programs name; flags replace them, too.
fn found(raw: &Raw) -> &[Section<RawUpstream>] {
    match raw.upstream_flags.as_slice() {
        [] => &raw.found.upstreams,
        _ => &[],
    }
}

/// Returns the number of upstreams that a table stands for, with or without faults.
fn members(section: &Section<RawUpstream>) -> usize {
    let said = &section.said;
    if !is_pool(said) {
        return 1;
    }
    let count = said.count.as_ref().and_then(RawValue::as_integer);
    let count = count.and_then(|count| u8::try_from(count).ok());
    count
        .filter(|count| COUNTS.contains(count))
        .unwrap_or(COUNT)
        .into()
}

/// Whether a table says that its name is a pool: to set the number of its members does, too.
fn is_pool(said: &RawUpstream) -> bool {
    let pool = said.pool.as_ref().and_then(RawValue::as_bool);
    pool.unwrap_or(said.count.is_some())
}

/// Returns the TCP ports of key establishment of all upstreams, and the usual one.
///
/// The first upstream with NTS may come with a reload.
pub(super) fn ke_ports(upstreams: &[Upstream]) -> BTreeSet<u16> {
    let configured = upstreams.iter().filter_map(|one| Some(one.nts.as_ref()?.port));
    configured.chain([PORT]).collect()
}

/// Returns the number of upstreams that have a vote by `clock.authenticated`, with or without faults.
///
/// `None` if the value is no array.
pub(super) fn votes(raw: &Raw) -> Option<usize> {
    if !requires_authentication(raw) {
        return count(raw);
    }
    let is_authenticated = |section: &&Section<RawUpstream>| {
        let (nts, key) = (section.said.nts.as_ref(), section.said.key.as_ref());
        nts.is_some_and(|said| said.as_bool() != Some(false))
            || key.is_some_and(|said| said.as_integer() != Some(0))
    };
    match (raw.upstream_flags.as_slice(), &raw.upstream.said) {
        ([], Some(sections)) => {
            let all = sections.iter().chain(found(raw));
            Some(all.filter(is_authenticated).map(members).sum())
        }
        ([], None) => {
            let votes = found(raw).iter().filter(is_authenticated).map(members).sum();
            raw.upstream.is_array.then_some(votes)
        }
        // Flags can't say that an upstream is authenticated.
        (_, _) => Some(0),
    }
}

/// Whether only authenticated upstreams have a vote.
pub(super) fn requires_authentication(raw: &Raw) -> bool {
    let said = raw.clock.said.authenticated.as_ref();
    said.and_then(RawValue::as_text) == Some(Authenticated::Require.into())
}

/// Validates all upstreams; none may be one of `ours`, the addresses of the listeners. `roots` are trusted by default.
///
/// A server that asks itself has no time to tell.
pub(super) fn validate(
    validator: &mut Validator<'_>,
    raw: &Raw,
    ours: &[SocketAddr],
    roots: &Roots,
    in_use: Option<&KeysInUse>,
) -> Option<Vec<Upstream>> {
    let candidates = candidates(raw);
    if candidates.is_empty() && found(raw).is_empty() {
        return none(validator, raw);
    }
    let mut seen = Entries::new();
    let mut upstreams = Some(Vec::new());
    for (name, section) in &candidates {
        let upstream = upstream(validator, name, section, roots, in_use);
        if let (Some(upstream), Some(said)) = (&upstream, &section.said.address) {
            seen.once(validator, Endpoint::new(&upstream.host, upstream.port), said);
            if is_ours(upstream, ours) {
                let hint =
                    Some("this is a listener of this server: the upstream must use another port".to_owned());
                validator.fault_at(said, "address", "another server", hint);
            }
        }
        upstreams = upstreams.zip(upstream).map(|(mut all, one)| {
            all.push(one);
            all
        });
    }
    validator.left_out.extend(raw.found.left_out.iter().cloned());
    let is_another = |validator: &mut Validator<'_>, section: &Section<RawUpstream>| {
        let upstream = upstream(validator, "upstream", section, roots, in_use)?;
        if let (true, Some(said)) = (is_ours(&upstream, ours), &section.said.address) {
            let hint = Some("this is a listener of this server".to_owned());
            validator.fault_at(said, "address", "another server", hint);
        }
        Some(upstream)
    };
    let found = found(raw)
        .iter()
        .filter_map(|section| validator.attempt(|validator| is_another(validator, section)));
    let found: Vec<Upstream> = found.collect();
    let mut upstreams = upstreams?;
    upstreams.extend(found);
    if upstreams.is_empty() {
        // None of those that were found can be used.
        let (name, section) = named(&UpstreamKeys::default_address());
        upstreams.extend(upstream(validator, &name, &section, roots, in_use));
    }
    Some(upstreams)
}

/// Whether this upstream is one of our own listeners, as far as that shows without a look at the interfaces.
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

/// Puts `upstream = []` above all tables: below a table it would be a key of that table.
fn none(validator: &mut Validator<'_>, raw: &Raw) -> Option<Vec<Upstream>> {
    validator.enter("", "");
    validator.set("upstream", Some("[]".to_owned()), &raw.upstream.origin);
    if let Some(table) = validator.effective.tables.pop() {
        validator.effective.tables.insert(0, table);
    }
    Some(Vec::new())
}

fn candidates(raw: &Raw) -> Vec<(String, Section<RawUpstream>)> {
    let default = [UpstreamKeys::default_address()];
    match (raw.upstream_flags.as_slice(), &raw.upstream.said) {
        ([], Some(sections)) => {
            let all = sections.iter().enumerate();
            let all = all.map(|(index, section)| (numbered("upstream", index), section.clone()));
            all.filter(|(_, section)| section.is_table).collect()
        }
        ([], None) if !found(raw).is_empty() => Vec::new(),
        ([], None) => default.iter().map(named).collect(),
        (flags, _) => flags.iter().map(named).collect(),
    }
}

fn named(address: &RawValue) -> (String, Section<RawUpstream>) {
    let said = RawUpstream {
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

fn upstream(
    validator: &mut Validator<'_>,
    name: &str,
    section: &Section<RawUpstream>,
    roots: &Roots,
    in_use: Option<&KeysInUse>,
) -> Option<Upstream> {
    let address = section.said.address.as_ref().and_then(RawValue::as_text);
    let host = address.and_then(|text| Some(address::host_and_port(text).ok()?.0));
    validator.enter(name, UpstreamKeys::HEAD);
    let said = in_range(validator, &section.said, host.as_ref());
    let keys = UpstreamKeys::read(validator, &said, &section.origin, &defaults(&said, host.as_ref()))?;
    pool(validator, &keys, &said);
    if let (true, true, Some(said)) = (keys.noselect, keys.require, &said.require) {
        let hint = Some("an upstream that is only monitored can't be required".to_owned());
        validator.fault_at(said, "require", "false where noselect is true", hint);
    }
    if let (true, Some(said)) = (keys.minpoll > keys.maxpoll, &said.maxpoll) {
        let expected = format!("at least minpoll, {}", keys.minpoll);
        validator.fault_at(said, "maxpoll", expected, None);
    }
    let key = symmetric_keys::of_upstream(validator, keys.key, said.key.as_ref(), in_use);
    if !keys.nts {
        if let Some(said) = &said.ca {
            validator.fault_at(said, "ca", "nts = true beside it", None);
        }
        return Some(Upstream {
            key: key?,
            ..keys.upstream()
        });
    }
    if let (true, Some(said)) = (keys.key != 0, &said.key) {
        let hint = Some("NTS is the better one, where the server has it".to_owned());
        validator.fault_at(said, "key", "either nts or key", hint);
    }
    let server = KeServer {
        port: keys.ke_port,
        trusted: trusted(validator, &keys, &said, roots)?,
        ca: keys.ca.clone(),
    };
    Some(Upstream {
        nts: Some(server),
        ..keys.upstream()
    })
}

/// Notes a fault if a pool has no name.
fn pool(validator: &mut Validator<'_>, keys: &UpstreamKeys, said: &RawUpstream) {
    let has_addresses = matches!(&keys.address.0, Host::Name(_)) && !keys.address.0.is_loopback();
    if let (true, false, Some(address)) = (keys.pool, has_addresses, &said.address) {
        let hint = Some("a pool is a name that stands for several servers; an address is one".to_owned());
        validator.fault_at(address, "address", "a name of the network, as pool is true", hint);
    }
}

/// Returns the certificates of the authorities that are trusted for an upstream with NTS.
fn trusted(
    validator: &mut Validator<'_>,
    keys: &UpstreamKeys,
    said: &RawUpstream,
    roots: &Roots,
) -> Option<TrustedCertificates> {
    if let (Some(path), Some(said)) = (&keys.ca, &said.ca) {
        return roots::read(validator, path)
            .map_err(|why| validator.fault(&said.origin, "ca", why, "", None))
            .ok();
    }
    roots
        .get(validator)
        .map_err(|why| {
            let origin = said.nts.as_ref().map_or(&Origin::Default, |said| &said.origin);
            let hint = Some("install ca-certificates, or name a file with ca or nts-client.roots".to_owned());
            validator.fault(origin, "nts", format!("no trusted authorities: {why}"), "", hint);
        })
        .ok()
}

/// Refuses polls that are out of the narrower range for a host of the network, and returns the other values.
///
/// (Of an address with a fault it is unknown whether it is one, so that is no second fault.)
fn in_range(validator: &mut Validator<'_>, said: &RawUpstream, host: Option<&Host>) -> RawUpstream {
    let mut said = said.clone();
    if host.is_some_and(|host| !host.is_loopback()) {
        //= RFC 5905 §7.2 minpoll
        let remote = whole(1..=*POLLS.end());
        for (name, poll) in [("minpoll", &mut said.minpoll), ("maxpoll", &mut said.maxpoll)] {
            poll.take_if(|poll| validator.value(poll, name, &remote).is_none());
        }
    }
    said
}

/// Returns the defaults of an upstream.
///
/// If only one poll is given, and the default of the other contradicts it, the default moves to the given one.
fn defaults(said: &RawUpstream, host: Option<&Host>) -> UpstreamKeys {
    let is_loopback = host.is_some_and(Host::is_loopback);
    let (min, max) = if is_loopback { LOOPBACK_POLLS } else { REMOTE_POLLS };
    let peek = |said: &Option<RawValue>| {
        let number = said.as_ref().and_then(RawValue::as_integer)?;
        i8::try_from(number).ok()
    };
    UpstreamKeys {
        pool: is_pool(said),
        minpoll: peek(&said.maxpoll).map_or(min, |said| min.min(said)),
        maxpoll: peek(&said.minpoll).map_or(max, |said| max.max(said)),
        ..UpstreamKeys::default()
    }
}
