//! Pure. The listeners of the file and the flags together, each validated.

use std::net::SocketAddr;

use super::entries::{Entries, numbered};
use super::keys::{ListenerKeys, MOST_WORKERS, NtsKeys, RawListener};
use super::kind::whole;
use super::policies::{self, Common};
use super::raw::{self, Raw};
use super::raw_value::{Origin, RawValue};
use super::row::Keys;
use super::symmetric_keys::{self, KeysInUse};
use super::validator::Validator;
use crate::server::Listener;
use crate::server::policy::NtsMode;

/// An address family, which has flags of its own.
struct AddressFamily {
    expected: &'static str,
    holds: fn(&SocketAddr) -> bool,
    default: &'static str,
    address_flag: &'static str,
    said: fn(&Raw) -> &raw::Family,
}

const FAMILIES: [AddressFamily; 2] = [
    AddressFamily {
        expected: "an IPv4 address and a port",
        holds: SocketAddr::is_ipv4,
        default: "0.0.0.0:123",
        address_flag: "-a",
        said: |raw| &raw.ipv4,
    },
    AddressFamily {
        expected: "an IPv6 address and a port",
        holds: SocketAddr::is_ipv6,
        default: "[::]:123",
        address_flag: "-b",
        said: |raw| &raw.ipv6,
    },
];

/// A listener before it is validated.
struct ListenerDraft<'a> {
    /// Its name in faults.
    name: String,
    said: RawListener,
    table: Origin,
    /// The family of the flag that it comes from.
    family: Option<&'a AddressFamily>,
    is_default: bool,
}

/// The listeners that are valid.
#[derive(Default)]
pub(super) struct Served {
    pub(super) listeners: Vec<Listener>,
    /// The addresses of the built-in ones among them.
    pub(super) defaults: Vec<SocketAddr>,
}

/// Validates all listeners, each with its policy: `common`, except for keys of its own.
///
/// `in_use` are the symmetric keys; `None` after a fault of theirs.
pub(super) fn validate(
    validator: &mut Validator<'_>,
    raw: &Raw,
    common: Option<&Common<'_>>,
    in_use: Option<&KeysInUse>,
    nts: Option<&NtsKeys>,
) -> Option<Served> {
    let candidates = candidates(validator, raw);
    if candidates.is_empty() {
        nothing_to_serve(validator, raw);
        return None;
    }
    let mut seen = Entries::new();
    let mut served = Served::default();
    for candidate in &candidates {
        let keys = keys(validator, candidate);
        let policy = policies::of_listener(
            validator,
            &candidate.name,
            &candidate.said,
            keys.as_ref(),
            common,
            in_use,
        );
        validator.name(candidate.name.as_str());
        if let (Some(keys), Some(said)) = (&keys, &candidate.said.authentication) {
            symmetric_keys::has_keys(validator, keys.authentication, said, in_use);
        }
        if let (Some(keys), Some(said)) = (&keys, &candidate.said.address) {
            seen.once(validator, keys.address, said);
        }
        if let (Some(keys), Some(said)) = (&keys, &candidate.said.nts) {
            nts_has_keys(validator, keys.nts, said, nts);
        }
        let saved_timestamps = common.map_or(0, Common::saved_timestamps);
        let listener = keys.zip(policy);
        if let Some(listener) = listener.map(|(keys, policy)| keys.listener(policy, saved_timestamps)) {
            let is_default = candidate.is_default.then_some(listener.address);
            served.defaults.extend(is_default);
            served.listeners.push(listener);
        }
    }
    (served.listeners.len() == candidates.len()).then_some(served)
}

/// Notes a fault if a listener answers only with NTS while there are no keys for it: no request would get a response.
fn nts_has_keys(validator: &mut Validator<'_>, mode: NtsMode, said: &RawValue, nts: Option<&NtsKeys>) {
    if mode == NtsMode::Require && nts.is_some_and(|nts| !nts.is_on()) {
        let hint = "set nts.certificate and nts.key, or nts.secret: without keys no request gets a response";
        validator.fault_at(
            said,
            "nts",
            "\"accept\" or \"off\" without [nts]",
            Some(hint.to_owned()),
        );
    }
}

fn nothing_to_serve(validator: &mut Validator<'_>, raw: &Raw) {
    if raw
        .listener
        .said
        .iter()
        .flatten()
        .any(|section| !section.is_table)
    {
        return; // A fault already: what was meant to be served is unknown.
    }
    let flags = [&raw.ipv4, &raw.ipv6].map(|family| family.workers.as_ref());
    let zero = flags
        .into_iter()
        .flatten()
        .find(|said| said.as_integer() == Some(0));
    let origin = zero.map_or(&raw.listener.origin, |said| &said.origin);
    validator.name("");
    validator.fault(
        origin,
        "listener",
        "none",
        "at least one: there would be nothing to serve",
        zero.map(|_| "give at least one of -4 and -6 a worker".to_owned()),
    );
}

/// Returns the listeners of the file (or the default ones), as the flags change them.
fn candidates(validator: &mut Validator<'_>, raw: &Raw) -> Vec<ListenerDraft<'static>> {
    let mut all = match &raw.listener.said {
        Some(_) => from_file(raw),
        None => FAMILIES.iter().map(ListenerDraft::default_of).collect(),
    };
    for family in &FAMILIES {
        let said = (family.said)(raw);
        let workers = workers(validator, family, said);
        if said.replaces {
            all.retain(|candidate| !candidate.is_of(family));
            all.extend(
                said.addresses
                    .iter()
                    .map(|address| ListenerDraft::by_flag(family, address)),
            );
        }
        match (workers, &said.workers) {
            (Some(0), _) => all.retain(|candidate| !candidate.is_of(family)),
            // Of the environment they are for all listeners, and ask for none.
            (Some(_), Some(workers)) if matches!(workers.origin, Origin::Flag(_)) => {
                set_workers(&mut all, family, workers);
            }
            (Some(_), Some(workers)) => of_family(&mut all, family, workers),
            (Some(_) | None, _) => {}
        }
    }
    all
}

fn from_file(raw: &Raw) -> Vec<ListenerDraft<'static>> {
    let sections = raw.listener.said.iter().flatten().enumerate();
    sections
        .filter(|(_, section)| section.is_table)
        .map(|(index, section)| ListenerDraft {
            name: numbered("listener", index),
            said: section.said.clone(),
            table: section.origin.clone(),
            family: None,
            is_default: false,
        })
        .collect()
}

fn workers(validator: &mut Validator<'_>, family: &AddressFamily, said: &raw::Family) -> Option<u16> {
    validator.name("listener");
    let flag = said.workers.as_ref()?;
    let number = validator.value(flag, "workers", &whole(0..=MOST_WORKERS))?;
    if number == 0 && !said.addresses.is_empty() {
        let expected = format!("at least 1 where {} asks for a listener", family.address_flag);
        validator.fault_at(flag, "workers", expected, None);
        return None;
    }
    Some(number)
}

/// Sets the workers of all listeners of a family; without one, the family gets its default listener.
fn set_workers(all: &mut Vec<ListenerDraft<'static>>, family: &'static AddressFamily, workers: &RawValue) {
    if !all.iter().any(|candidate| candidate.is_of(family)) {
        all.push(ListenerDraft::default_of(family));
    }
    of_family(all, family, workers);
    for candidate in all.iter_mut().filter(|candidate| candidate.is_of(family)) {
        candidate.is_default = false;
    }
}

fn of_family(all: &mut [ListenerDraft<'static>], family: &'static AddressFamily, workers: &RawValue) {
    for candidate in all.iter_mut().filter(|candidate| candidate.is_of(family)) {
        candidate.said.workers = Some(workers.clone());
    }
}

impl ListenerDraft<'static> {
    fn default_of(family: &'static AddressFamily) -> Self {
        let address = RawValue::text(family.default, Origin::Default);
        Self {
            is_default: true,
            ..Self::by_flag(family, &address)
        }
    }

    fn by_flag(family: &'static AddressFamily, address: &RawValue) -> Self {
        let said = RawListener {
            address: Some(address.clone()),
            ..Default::default()
        };
        let name = "listener".to_owned();
        Self {
            name,
            said,
            table: Origin::Default,
            family: Some(family),
            is_default: false,
        }
    }

    fn is_of(&self, family: &AddressFamily) -> bool {
        let address = self.said.address.as_ref().and_then(RawValue::as_text);
        match self.family {
            Some(own) => own.default == family.default,
            None => address
                .and_then(|text| text.parse().ok())
                .is_some_and(|address| (family.holds)(&address)),
        }
    }
}

/// Reads the keys of a listener; it is a fault if its address is not of the family of its flag.
fn keys(validator: &mut Validator<'_>, candidate: &ListenerDraft<'_>) -> Option<ListenerKeys> {
    validator.enter(candidate.name.as_str(), ListenerKeys::HEAD);
    let (said, default) = (&candidate.said, ListenerKeys::default());
    let keys = ListenerKeys::read(validator, said, &candidate.table, &default)?;
    let address = said.address.as_ref()?;
    match candidate.family {
        Some(family) if !(family.holds)(&keys.address) => {
            let hint = Some("-a is for IPv4 addresses, -b for IPv6 addresses".to_owned());
            validator.fault_at(address, "address", family.expected, hint);
            None
        }
        Some(_) | None => Some(keys),
    }
}
