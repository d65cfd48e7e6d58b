//! Pure. Who is answered, as the program asks it: addresses, interfaces, policies.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::doors::{Doors, is_reachable};
use super::layout::{COPY, DEVICE, DEVICES, LISTENERS, MOST_TURNS4, MOST_TURNS6, POLICY, halves};
use super::line::nanos;
use crate::clock::SystemVariables;
use crate::server::policy::access::OnDeny;
use crate::server::policy::limit::Bucket;
use crate::server::policy::{Policy, RuleMode};

/// A listener that has a number in the program.
#[derive(Clone, Debug, PartialEq)]
pub struct Seat {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who is answered there; `None` once it is gone.
    pub policy: Option<Arc<Policy>>,
}

/// An interface that the program is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Linux' number for it.
    pub index: u32,
    /// Its hardware address.
    pub address: [u8; 6],
}

/// An address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Own {
    /// It belongs to another interface than the program's (and that of the loopback): it may be that of a VLAN, whose
    /// frames look as if they had no tag where the hardware takes it away. Without a tag such frames pass.
    pub tagged: bool,
    /// The address.
    pub ip: IpAddr,
}

/// All words of one copy, and what becomes of each listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// For the map `rules`.
    pub words: Vec<u64>,
    /// For the map `turns4`.
    pub turns4: Vec<u64>,
    /// For the map `turns6`.
    pub turns6: Vec<u64>,
    /// Listeners whose requests all pass to the sockets, and why.
    pub left_out: Vec<(SocketAddr, LeftOut)>,
    /// By number: the policies of those that are not left out.
    answering: Vec<Option<Arc<Policy>>>,
}

/// Why requests to a listener pass to the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// There is a budget, and only the sockets know how much each client sends.
    Budget,
    /// Its access list has more boundaries than there is room for.
    LongList,
    /// It has more addresses than there is room for.
    Addresses,
    /// More listeners than there are numbers.
    Listeners,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Budget => f.write_str("[budget] is for the sockets alone"),
            Self::LongList => write!(
                f,
                "its access list is longer than the {MOST_TURNS4} boundaries of IPv4 and {MOST_TURNS6} of IPv6 that all lists may have together"
            ),
            Self::Addresses => f.write_str("this host has more addresses than there is room for"),
            Self::Listeners => write!(f, "there were more than {LISTENERS} listeners since the start"),
        }
    }
}

/// What the host is that the rules are for.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// Its addresses, sorted.
    pub own: &'a [Own],
    /// The broadcast addresses of its networks: nobody has one for a source.
    pub broadcasts: &'a [Ipv4Addr],
    /// The interfaces that the program is attached to.
    pub devices: &'a [Device],
}

/// The rules for these listeners (each by its number) on a host. `secret` is random; `places` is how many there are for clients.
pub fn rules(seats: &[Seat], site: Site<'_>, secret: [u64; 2], places: u32) -> Rules {
    let mut rules = Rules {
        words: Vec::with_capacity(COPY),
        turns4: Vec::new(),
        turns6: Vec::new(),
        left_out: Vec::new(),
        answering: vec![None; seats.len()],
    };
    let doors = rules.doors(seats, site);
    rules.words.extend_from_slice(doors.words());
    for number in 0..LISTENERS {
        let policy = rules.answering.get(number).cloned().flatten();
        let words = policy.map(|policy| rules.policy(&policy, number, seats));
        rules.words.extend(words.unwrap_or([0; POLICY]));
    }
    rules.words.extend(device_words(site.devices));
    rules.words.extend(secret);
    rules.words.push(places.into());
    rules.words.resize(COPY, 0);
    rules
}

impl Rules {
    /// A bit for each listener where clients are told the time, if the server as a whole announces `variables`.
    pub fn answering(&self, variables: SystemVariables) -> u32 {
        let bits = self.answering.iter().enumerate().map(|(number, policy)| {
            let policy = policy.as_ref();
            let tells = policy.is_some_and(|policy| policy.announced(variables) == variables);
            u32::from(tells).checked_shl(u32::try_from(number).unwrap_or(u32::MAX))
        });
        bits.flatten().fold(0, |all, bit| all | bit)
    }

    /// Exact addresses first: there they win over the wildcard, as sockets do. In front of all of them the broadcast addresses,
    /// with port 0 and nobody behind: who asks from there is turned away.
    fn doors(&mut self, seats: &[Seat], site: Site<'_>) -> Doors {
        let mut doors = Doors::new();
        let barred = site
            .broadcasts
            .iter()
            .map(|address| SocketAddr::from((*address, 0)));
        let all_barred = barred.fold(true, |all, address| all & doors.open(address, false, LISTENERS));
        let seats = seats.iter().enumerate();
        let (wild, exact): (Vec<_>, Vec<_>) = seats.partition(|(_, seat)| seat.address.ip().is_unspecified());
        for (number, seat) in exact.into_iter().chain(wild) {
            let Some(policy) = &seat.policy else {
                continue;
            };
            let ip = seat.address.ip();
            let is_asked =
                |own: &&Own| (ip.is_unspecified() && own.ip.is_ipv4() == ip.is_ipv4()) || own.ip == ip;
            let reachable = site
                .own
                .iter()
                .filter(is_asked)
                .filter(|own| is_reachable(own.ip));
            let opened = reachable
                .map(|own| doors.open(SocketAddr::new(own.ip, seat.address.port()), own.tagged, number));
            // All of them: where a listener is left out, none behind it may answer in its place.
            let all_opened = opened.fold(true, |all, opened| all & opened);
            let fault = match number {
                LISTENERS.. => Some(LeftOut::Listeners),
                _ if policy.budget != RuleMode::Off => Some(LeftOut::Budget),
                _ if !(all_opened && all_barred) => Some(LeftOut::Addresses),
                _ => None,
            };
            match fault {
                Some(fault) => self.left_out.push((seat.address, fault)),
                None => {
                    if let Some(answering) = self.answering.get_mut(number) {
                        *answering = Some(Arc::clone(policy));
                    }
                }
            }
        }
        doors
    }

    fn policy(&mut self, policy: &Policy, number: usize, seats: &[Seat]) -> [u64; POLICY] {
        let (access, limit) = (&policy.access, &policy.limit);
        let lists = match access.mode {
            RuleMode::Off => Some(Lists::default()),
            RuleMode::DryRun | RuleMode::On => self.lists(policy),
        };
        let Some(lists) = lists else {
            let address = seats.get(number).map(|seat| seat.address);
            self.left_out
                .extend(address.map(|address| (address, LeftOut::LongList)));
            if let Some(answering) = self.answering.get_mut(number) {
                *answering = None;
            }
            return [0; POLICY];
        };
        let (wide, kiss_poll) = (limit.wide.unwrap_or(limit.client), limit.poll().cast_unsigned());
        let [interval, most] = bucket_words(&limit.client);
        let [wide_interval, wide_most] = bucket_words(&wide);
        let mut words = [0; POLICY];
        let said = [
            u64::from_ne_bytes([
                mode(access.mode),
                mode(limit.mode),
                u8::from(access.on_deny == OnDeny::Kiss),
                u8::from(limit.wide.is_some()),
                u8::from(access.ipv4_turns().0),
                u8::from(access.ipv6_turns().0),
                limit.client.ipv4_prefix,
                limit.client.ipv6_prefix,
            ]),
            u64::from_ne_bytes([wide.ipv4_prefix, wide.ipv6_prefix, kiss_poll, 0, 0, 0, 0, 0]),
            lists.ipv4,
            lists.ipv6,
            interval,
            most,
            wide_interval,
            wide_most,
            halves(limit.leak.in_2_32nds(), limit.kiss.in_2_32nds()),
        ];
        words.iter_mut().zip(said).for_each(|(word, said)| *word = said);
        words
    }

    /// Lays both lists down, unless there is no room.
    fn lists(&mut self, policy: &Policy) -> Option<Lists> {
        let (_, starts4) = policy.access.ipv4_turns();
        let (_, starts6) = policy.access.ipv6_turns();
        let starts4: Vec<[u64; 1]> = starts4.iter().map(|start| [u64::from(*start)]).collect();
        let starts6: Vec<[u64; 2]> = starts6.iter().map(|start| both(*start)).collect();
        Some(Lists {
            ipv4: lay(&mut self.turns4, &starts4, MOST_TURNS4)?,
            ipv6: lay(&mut self.turns6, &starts6, MOST_TURNS6)?,
        })
    }
}

/// Where the lists of a policy are: the first entry of each, and half of a power of two that is one more than its length.
#[derive(Default)]
struct Lists {
    ipv4: u64,
    ipv6: u64,
}

/// Puts `starts` behind what is there, filled up so that their number and 1 is a power of two: then a search takes the
/// same steps wherever it ends. `None` if they would be more than `most`. The same list is laid down once.
fn lay<const WORDS: usize>(all: &mut Vec<u64>, starts: &[[u64; WORDS]], most: usize) -> Option<u64> {
    if starts.is_empty() {
        return Some(0);
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
    Some(halves(u32::try_from(at).ok()?, u32::try_from(power / 2).ok()?))
}

const fn mode(mode: RuleMode) -> u8 {
    match mode {
        RuleMode::Off => 0,
        RuleMode::DryRun => 1,
        RuleMode::On => 2,
    }
}

/// The interval, and how far ahead a bucket may be full that still has a token; in nanoseconds.
fn bucket_words(bucket: &Bucket) -> [u64; 2] {
    let interval = nanos(bucket.interval);
    [
        interval,
        interval.saturating_mul(u64::from(bucket.burst.saturating_sub(1))),
    ]
}

fn both(address: u128) -> [u64; 2] {
    [address >> 64, address & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or(u64::MAX))
}

fn device_words(devices: &[Device]) -> [u64; DEVICES * DEVICE] {
    let mut words = [0; DEVICES * DEVICE];
    let said = devices.iter().flat_map(|device| {
        let [a, b, c, d, e, f] = device.address;
        let address = u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]);
        [u64::from(device.index), address]
    });
    words.iter_mut().zip(said).for_each(|(word, said)| *word = said);
    words
}
