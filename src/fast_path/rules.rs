//! Pure. The rules as the program reads them: addresses, interfaces, policies.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::destinations::{DestinationTable, is_reachable};
use super::devices::{Device, LocalAddress};
use super::layout::{
    BOUNDARIES4, BOUNDARIES6, DEVICES, DeviceEntry, InMemory, LISTENERS, ListenerPolicy, RulesCopy,
    mode_number,
};
use super::time_segment::Answering;
use super::time_segment::nanos;
use crate::clock::SystemVariables;
use crate::server::policy::access::OnDeny;
use crate::server::policy::limit::Bucket;
use crate::server::policy::{AuthenticationMode, NtsMode, Policy, RuleMode};

/// A listener that has a number in the program.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerSlot {
    /// Its address and port.
    pub address: SocketAddr,
    /// Its policy; `None` once it is gone.
    pub policy: Option<Arc<Policy>>,
    /// Whether it answers in interleaved mode.
    pub interleaves: bool,
}

impl ListenerSlot {
    /// Returns whether requests to this address of the host come to the listener.
    fn means(&self, local: IpAddr) -> bool {
        let ip = self.address.ip();
        (ip.is_unspecified() && local.is_ipv4() == ip.is_ipv4()) || local == ip
    }
}

/// All words of one copy, and the listeners that are left to the sockets.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The words for the map `rules`.
    pub words: Vec<u64>,
    /// The words for the map `boundaries4`.
    pub boundaries4: Vec<u64>,
    /// The words for the map `boundaries6`.
    pub boundaries6: Vec<u64>,
    /// The listeners whose requests all pass to the sockets, and the reasons.
    pub exclusions: Vec<(SocketAddr, Exclusion)>,
    /// The policies of those that are not excluded, by number.
    answering: Vec<Option<Arc<Policy>>>,
    /// A bit for each listener that answers in interleaved mode.
    interleaving: u32,
}

/// The reason why requests to a listener pass to the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// NTS is required, and the program answers plain requests alone.
    Nts,
    /// Authentication is required, and the program answers plain requests alone.
    Authentication,
    /// Its access list has more boundaries than there is room for.
    LongList,
    /// More addresses than there is room for.
    Addresses,
    /// More listeners than there are numbers.
    Listeners,
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nts => f.write_str("it requires NTS, and the fast path answers plain requests only"),
            Self::Authentication => {
                f.write_str("it requires authentication, and the fast path answers plain requests only")
            }
            Self::LongList => write!(
                f,
                "its access list is longer than the {BOUNDARIES4} boundaries of IPv4 and {BOUNDARIES6} of IPv6 that all lists may have together"
            ),
            Self::Addresses => f.write_str("this host has more addresses than there is room for"),
            Self::Listeners => write!(f, "there are more than {LISTENERS} listeners"),
        }
    }
}

/// The host's network, which the rules are for.
#[derive(Clone, Copy, Debug)]
pub struct HostNetwork<'a> {
    /// Its addresses, sorted.
    pub addresses: &'a [LocalAddress],
    /// The broadcast addresses of its networks: no request comes from one.
    pub broadcasts: &'a [Ipv4Addr],
    /// The interfaces where frames arrive for the program.
    pub devices: &'a [Device],
}

/// Makes the rules for these listeners, each by its number, on a host.
///
/// `secret` is random; `places` is the size of the table of clients.
pub fn rules(slots: &[ListenerSlot], network: HostNetwork<'_>, secret: [u64; 2], places: u32) -> Rules {
    let mut rules = Rules {
        words: Vec::new(),
        boundaries4: Vec::new(),
        boundaries6: Vec::new(),
        exclusions: Vec::new(),
        answering: vec![None; slots.len()],
        interleaving: bits(slots.iter().map(|slot| slot.interleaves)),
    };
    let destinations = rules.destinations(slots, network);
    let mut copy = RulesCopy {
        destinations: destinations.entries(),
        devices: device_entries(network.devices),
        secret,
        places: places.into(),
        ..RulesCopy::ZERO
    };
    for (number, entry) in copy.policies.iter_mut().enumerate() {
        let policy = rules.answering.get(number).cloned().flatten();
        let policy = policy.and_then(|policy| rules.policy(&policy, number, slots));
        *entry = policy.unwrap_or(ListenerPolicy::ZERO);
    }
    rules.words = copy.words();
    rules
}

/// A bit for each number that is meant; there are no bits for numbers from 32 on.
fn bits(meant: impl Iterator<Item = bool>) -> u32 {
    let bits = (0..)
        .zip(meant)
        .map(|(number, is_meant)| u32::from(is_meant).checked_shl(number));
    bits.flatten().fold(0, |all, bit| all | bit)
}

/// The most clients that the program remembers, in 32 bytes each.
const MOST_CLIENTS: u32 = 4_194_304;

/// Returns the number of clients to remember for these policies.
///
/// There is room for a few in any case, as a reload may turn limits on.
pub fn client_capacity<'a>(policies: impl IntoIterator<Item = &'a Policy>) -> u32 {
    let limits = policies.into_iter().map(|policy| &policy.limit);
    let wanted = limits
        .filter(|limit| limit.mode != RuleMode::Off)
        .map(|limit| limit.clients);
    wanted.max().unwrap_or(65_536).min(MOST_CLIENTS)
}

impl Rules {
    /// Returns where clients are told the time, if the server as a whole announces `variables`.
    ///
    /// While a leap second is near, a listener that smears it tells another time. `allowance` is what a CPU may answer
    /// where there is a budget, be it on trial.
    pub fn answering(&self, variables: SystemVariables, is_leap_near: bool, allowance: u32) -> Answering {
        let tells = |policy: &Policy| {
            policy.announced(variables) == variables && !(is_leap_near && policy.smear.is_some())
        };
        Answering {
            listeners: self.bits(tells),
            budgeted: self.bits(|policy| policy.budget != RuleMode::Off),
            allowance,
            interleaving: self.interleaving,
        }
    }

    /// A bit for each listener with such a policy.
    fn bits(&self, is_meant: impl Fn(&Policy) -> bool) -> u32 {
        let policies = self.answering.iter();
        bits(policies.map(|policy| policy.as_ref().is_some_and(|policy| is_meant(policy))))
    }

    /// Returns whether the program answers for the listener of this number.
    pub(super) fn answers(&self, number: usize) -> bool {
        self.answering.get(number).is_some_and(Option::is_some)
    }

    /// Returns whether the program answers requests to `ip` for one of the listeners, each by its number.
    pub(super) fn has_listener(&self, slots: &[ListenerSlot], ip: IpAddr) -> bool {
        let mut answering = slots.iter().zip(&self.answering);
        answering.any(|(slot, policy)| policy.is_some() && slot.means(ip))
    }

    /// Makes the table of destinations, and excludes listeners that the program can't serve.
    ///
    /// Exact addresses come first: there they win over the wildcard, as sockets do. In front of all of them come the
    /// broadcast addresses, with port 0 and no listener behind: a request from there is refused.
    fn destinations(&mut self, slots: &[ListenerSlot], network: HostNetwork<'_>) -> DestinationTable {
        let mut table = DestinationTable::new();
        let barred = network
            .broadcasts
            .iter()
            .map(|address| SocketAddr::from((*address, 0)));
        let all_barred = barred.fold(true, |all, address| {
            all & table.insert(address, u16::MAX, LISTENERS)
        });
        let slots = slots.iter().enumerate();
        let (wild, exact): (Vec<_>, Vec<_>) = slots.partition(|(_, slot)| slot.address.ip().is_unspecified());
        for (number, slot) in exact.into_iter().chain(wild) {
            let Some(policy) = &slot.policy else {
                continue;
            };
            let reachable = network
                .addresses
                .iter()
                .filter(|local| slot.means(local.ip))
                .filter(|local| is_reachable(local.ip));
            let inserted = reachable.map(|local| {
                let address = SocketAddr::new(local.ip, slot.address.port());
                table.insert(address, local.untagged, number)
            });
            // All of them: where a listener is excluded, none behind it may answer in its place.
            let all_inserted = inserted.fold(true, |all, one| all & one);
            let exclusion = match number {
                LISTENERS.. => Some(Exclusion::Listeners),
                _ if policy.nts == NtsMode::Require => Some(Exclusion::Nts),
                _ if policy.authentication == AuthenticationMode::Require => Some(Exclusion::Authentication),
                _ if !(all_inserted && all_barred) => Some(Exclusion::Addresses),
                _ => None,
            };
            match exclusion {
                Some(exclusion) => self.exclusions.push((slot.address, exclusion)),
                None => {
                    if let Some(answering) = self.answering.get_mut(number) {
                        *answering = Some(Arc::clone(policy));
                    }
                }
            }
        }
        table
    }

    /// The words of a policy; `None` if there is no room for its lists: then the listener is excluded.
    fn policy(&mut self, policy: &Policy, number: usize, slots: &[ListenerSlot]) -> Option<ListenerPolicy> {
        let (access, limit) = (&policy.access, &policy.limit);
        let lists = match access.mode {
            RuleMode::Off => Some(Lists::default()),
            RuleMode::DryRun | RuleMode::On => self.lists(policy),
        };
        if lists.is_none() {
            let address = slots.get(number).map(|slot| slot.address);
            self.exclusions
                .extend(address.map(|address| (address, Exclusion::LongList)));
            if let Some(answering) = self.answering.get_mut(number) {
                *answering = None;
            }
        }
        let lists = lists?;
        let wide = limit.wide.unwrap_or(limit.client);
        Some(ListenerPolicy {
            access: mode_number(access.mode),
            limit: mode_number(limit.mode),
            deny_kiss: (access.on_deny == OnDeny::Kiss).into(),
            has_wide: limit.wide.is_some().into(),
            first4: access.ipv4_turns().0.into(),
            first6: access.ipv6_turns().0.into(),
            prefix4: limit.client.ipv4_prefix,
            prefix6: limit.client.ipv6_prefix,
            wide4: wide.ipv4_prefix,
            wide6: wide.ipv6_prefix,
            kiss_poll: limit.poll().cast_unsigned(),
            boundaries4_at: lists.ipv4.at,
            boundaries4_top: lists.ipv4.top,
            boundaries6_at: lists.ipv6.at,
            boundaries6_top: lists.ipv6.top,
            interval: nanos(limit.client.interval),
            most: most(&limit.client),
            wide_interval: nanos(wide.interval),
            wide_most: most(&wide),
            leak: limit.leak.in_2_32nds(),
            kiss: limit.kiss.in_2_32nds(),
            ..ListenerPolicy::ZERO
        })
    }

    /// Puts both lists behind the others, unless there is no room.
    fn lists(&mut self, policy: &Policy) -> Option<Lists> {
        let (_, starts4) = policy.access.ipv4_turns();
        let (_, starts6) = policy.access.ipv6_turns();
        let starts4: Vec<[u64; 1]> = starts4.iter().map(|start| [u64::from(*start)]).collect();
        let starts6: Vec<[u64; 2]> = starts6.iter().map(|start| both(*start)).collect();
        Some(Lists {
            ipv4: append(&mut self.boundaries4, &starts4, BOUNDARIES4)?,
            ipv6: append(&mut self.boundaries6, &starts6, BOUNDARIES6)?,
        })
    }
}

/// The lists of a policy.
#[derive(Default)]
struct Lists {
    ipv4: List,
    ipv6: List,
}

/// A list: its first entry, and half of the power of two that is one more than its length.
#[derive(Default)]
struct List {
    at: u32,
    top: u32,
}

/// Puts `starts` behind the lists that are there, unless the same list is there already.
///
/// The list is filled up so that its length and 1 is a power of two: then a search takes the same steps wherever it
/// ends. Returns `None` if the entries would be more than `most`.
fn append<const WORDS: usize>(all: &mut Vec<u64>, starts: &[[u64; WORDS]], most: usize) -> Option<List> {
    if starts.is_empty() {
        return Some(List::default());
    }
    let power = (starts.len() + 1).next_power_of_two();
    let mut list = starts.as_flattened().to_vec();
    list.resize((power - 1) * WORDS, u64::MAX);
    let before = all.len() / WORDS;
    let same = (0..before).find(|at| all.get(at * WORDS..).is_some_and(|rest| rest.starts_with(&list)));
    let at = same.unwrap_or(before);
    if same.is_none() {
        all.extend(list);
    }
    (all.len() / WORDS <= most).then_some(())?;
    Some(List {
        at: u32::try_from(at).ok()?,
        top: u32::try_from(power / 2).ok()?,
    })
}

/// Returns the longest time ahead at which a bucket may be full that still has a token, in nanoseconds.
fn most(bucket: &Bucket) -> u64 {
    nanos(bucket.interval).saturating_mul(u64::from(bucket.burst.saturating_sub(1)))
}

fn both(address: u128) -> [u64; 2] {
    [address >> 64, address & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or(u64::MAX))
}

fn device_entries(devices: &[Device]) -> [DeviceEntry; DEVICES] {
    let mut entries = [DeviceEntry::ZERO; DEVICES];
    for (entry, device) in entries.iter_mut().zip(devices) {
        let [a, b, c, d, e, f] = device.address;
        entry.index = device.index;
        entry.number = u32::try_from(device.number).unwrap_or(0);
        entry.address = u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]);
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::policy::Announced;
    use crate::server::policy::access::Access;
    use crate::server::policy::limit::RateLimit;
    use crate::server::policy::probability::Probability;
    use std::time::Duration;

    fn policy(nts: NtsMode, authentication: AuthenticationMode, budget: RuleMode) -> Arc<Policy> {
        Arc::new(Policy {
            access: Access::new(&[], true, OnDeny::Drop, RuleMode::On),
            limit: RateLimit {
                mode: RuleMode::Off,
                client: Bucket {
                    interval: Duration::from_secs(1),
                    burst: 8,
                    ipv4_prefix: 32,
                    ipv6_prefix: 64,
                },
                wide: None,
                leak: Probability::NONE,
                kiss: Probability::NONE,
                clients: 1024,
            },
            budget,
            answer: Announced::Time,
            max_stratum: 15,
            nts,
            smear: None,
            authentication,
            keys: None,
        })
    }

    /// The program answers plain requests alone, without a look at NTS and MACs.
    ///
    /// So it may answer none where these are required.
    #[test]
    fn listeners_that_the_program_can_not_serve_are_left_to_the_sockets() {
        let address = SocketAddr::from(([192, 0, 2, 1], 123));
        let local = [LocalAddress {
            ip: address.ip(),
            untagged: 1,
        }];
        let network = HostNetwork {
            addresses: &local,
            broadcasts: &[],
            devices: &[],
        };
        use AuthenticationMode as Mac;
        for (nts, mac, budget, expected) in [
            (NtsMode::Accept, Mac::Accept, RuleMode::Off, None),
            (NtsMode::Off, Mac::Off, RuleMode::Off, None),
            (NtsMode::Require, Mac::Accept, RuleMode::Off, Some(Exclusion::Nts)),
            (
                NtsMode::Accept,
                Mac::Require,
                RuleMode::Off,
                Some(Exclusion::Authentication),
            ),
            (NtsMode::Accept, Mac::Accept, RuleMode::On, None),
            (NtsMode::Accept, Mac::Accept, RuleMode::DryRun, None),
        ] {
            let slot = ListenerSlot {
                address,
                policy: Some(policy(nts, mac, budget)),
                interleaves: budget == RuleMode::Off,
            };
            let rules = rules(&[slot], network, [1, 2], 16);
            let exclusions: Vec<_> = rules.exclusions.iter().map(|(_, why)| *why).collect();
            assert_eq!(exclusions, Vec::from_iter(expected), "{nts:?} {mac:?} {budget:?}");
            assert_eq!(rules.answering[0].is_some(), expected.is_none());
            assert_eq!(rules.interleaving, u32::from(budget == RuleMode::Off));
            let is_counted = expected.is_none() && budget != RuleMode::Off;
            assert_eq!(
                rules.bits(|policy| policy.budget != RuleMode::Off),
                u32::from(is_counted)
            );
        }
    }
}
