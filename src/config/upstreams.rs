//! Pure. The upstreams of the file and the flags together, each validated.

use std::net::{IpAddr, SocketAddr};

use super::address;
use super::entries::{Entries, numbered};
use super::keys::{LOOPBACK_POLLS, POLLS, REMOTE_POLLS, RawUpstream, UpstreamKeys};
use super::kind::whole;
use super::raw::Raw;
use super::raw_value::{RawValue, Section};
use super::row::Keys;
use super::symmetric_keys::{self, KeysInUse};
use super::validator::Validator;
use crate::upstream::registry::Endpoint;
use crate::upstream::{Host, Upstream};

/// Returns the number of upstreams, with or without faults; `None` if the value is no array.
pub(super) fn count(raw: &Raw) -> Option<usize> {
    match (raw.upstream_flags.len(), &raw.upstream.said) {
        (0, Some(sections)) => Some(sections.len()),
        (0, None) => raw.upstream.is_array.then_some(1),
        (flags, _) => Some(flags),
    }
}

/// Validates all upstreams; none may be one of `ours`, the addresses of the listeners.
///
/// A server that asks itself has no time to tell.
pub(super) fn validate(
    validator: &mut Validator<'_>,
    raw: &Raw,
    ours: &[SocketAddr],
    in_use: Option<&KeysInUse>,
) -> Option<Vec<Upstream>> {
    let candidates = candidates(raw);
    if candidates.is_empty() {
        return none(validator, raw);
    }
    let mut seen = Entries::new();
    let mut upstreams = Some(Vec::new());
    for (name, section) in &candidates {
        let upstream = upstream(validator, name, section, in_use);
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
    upstreams
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
    in_use: Option<&KeysInUse>,
) -> Option<Upstream> {
    let address = section.said.address.as_ref().and_then(RawValue::as_text);
    let host = address.and_then(|text| Some(address::host_and_port(text).ok()?.0));
    validator.enter(name, UpstreamKeys::HEAD);
    let said = in_range(validator, &section.said, host.as_ref());
    let keys = UpstreamKeys::read(validator, &said, &section.origin, &defaults(&said, host.as_ref()))?;
    if let (true, true, Some(said)) = (keys.noselect, keys.require, &said.require) {
        let hint = Some("an upstream that is only monitored can't be required".to_owned());
        validator.fault_at(said, "require", "false where noselect is true", hint);
    }
    if let (true, Some(said)) = (keys.minpoll > keys.maxpoll, &said.maxpoll) {
        let expected = format!("at least minpoll, {}", keys.minpoll);
        validator.fault_at(said, "maxpoll", expected, None);
    }
    let key = symmetric_keys::of_upstream(validator, keys.key, said.key.as_ref(), in_use)?;
    Some(Upstream {
        key,
        ..keys.upstream()
    })
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
        minpoll: peek(&said.maxpoll).map_or(min, |said| min.min(said)),
        maxpoll: peek(&said.minpoll).map_or(max, |said| max.max(said)),
        ..UpstreamKeys::default()
    }
}
