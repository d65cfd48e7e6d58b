//! Pure. The censuses of all workers put together, and what is told of them.
//!
//! Adding is in any order. Under steering by source a client is on one worker; under another its counts add up, but the
//! times between its requests are known only as far as one worker saw both.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::census::client_number::{ClientNumber, whole};
use crate::census::heavy_hitters::{self, Talkers};
use crate::census::sampled::SampledHistory;
use crate::census::wanted::{CensusWanted, ClientOrder};
use crate::census::{CLASSES, History, Window, number};

/// The sum of the histories of several workers.
#[derive(Debug)]
pub struct Merge {
    now: Duration,
    workers: usize,
    /// The start of the oldest window, that of the oldest recent one, and the moment of the last copy.
    first: Duration,
    recent_first: Duration,
    last: Duration,
    requests: u64,
    recent_requests: u64,
    clients: ClientNumber,
    addresses: RankedCounts,
    prefixes: RankedCounts,
    intervals: [u64; CLASSES],
    sampling_divisor: u32,
    packets_divisor: u32,
}

/// The findings of the census. As JSON its shape is stable: names stay, and keep their meaning; more may come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CensusReport {
    /// The number of workers whose censuses are in it.
    pub workers: usize,
    /// The length of the window in seconds, up to the last one: 65 minutes at most.
    pub window: f64,
    /// The packets that came in the window, answered or not.
    pub requests: u64,
    /// The packets a second in the window.
    pub rate: f64,
    /// The packets a second in the last 5 to 10 minutes.
    pub recent_rate: f64,
    /// The number of different addresses that asked, about.
    pub clients: u64,
    /// The relative standard error of `clients`.
    pub clients_error: f64,
    /// The addresses that asked most.
    pub addresses: Ranking,
    /// The /24 and /48 that asked most.
    pub prefixes: Ranking,
    /// The sampling of the intervals: one client of at most this many was followed; `count` is scaled up.
    #[serde(rename = "one_of")]
    pub sampling_divisor: u32,
    /// The sampling of `addresses` and `prefixes`: one packet of at most this many was counted for them, for all.
    ///
    /// Where it is more than 1, their bounds hold with a probability of 95 %. It is 1 while neither a worker nor the fast
    /// path takes more than 40,000 packets a second.
    #[serde(rename = "packets_one_of")]
    pub packets_divisor: u32,
    /// The times after its last request until a client asked again.
    pub intervals: Vec<Class>,
}

/// The clients that asked most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// The first ones, in the order that is asked for.
    pub top: Vec<Talker>,
    /// The most requests that a client which the census doesn't know can have sent.
    pub others_at_most: u64,
}

/// A client, or a prefix of clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Talker {
    /// The address, or the prefix with its length.
    #[serde(rename = "who")]
    pub address: String,
    /// The least number of requests that it can have sent.
    pub at_least: u64,
    /// The largest number of requests that it can have sent.
    pub at_most: u64,
    /// The part of all requests that is its, at least: 0 to 1.
    pub share: f64,
    /// Its packets a second in the window, at least.
    pub rate: f64,
    /// Its packets a second in the last 5 to 10 minutes, at least.
    pub recent_rate: f64,
    /// The time since its last request in seconds, if a worker remembers it; never for prefixes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_request: Option<f64>,
    /// The number of its requests that limit or budget refused, as far as workers remember them; never for prefixes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<u32>,
}

/// A class of times between two requests of one client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Class {
    /// The shortest time of the class, in seconds.
    pub from: f64,
    /// The end of the class, in seconds: its times are shorter. `None` is without end.
    pub to: Option<f64>,
    /// The count of such times, about.
    pub count: u64,
    /// The part of all: 0 to 1.
    pub share: f64,
}

/// The requests of each client, from several tables.
#[derive(Debug)]
struct RankedCounts {
    /// The most that a client in no table can have asked, by set.
    floors: [u64; Talkers::SETS],
    talkers: BTreeMap<u128, ClientCount>,
}

#[derive(Debug, Default)]
struct ClientCount {
    set: usize,
    at_least: u64,
    /// The difference of its highest count and the floor of its set.
    above_floor: u64,
    recent: u64,
}

impl Merge {
    /// Makes an empty sum; `now` is when it is told, on the workers' clock.
    pub fn new(now: Duration) -> Self {
        Self {
            now,
            workers: 0,
            first: now,
            recent_first: now,
            last: Duration::ZERO,
            requests: 0,
            recent_requests: 0,
            clients: ClientNumber::new(),
            addresses: RankedCounts::new(),
            prefixes: RankedCounts::new(),
            intervals: [0; CLASSES],
            sampling_divisor: 1,
            packets_divisor: 1,
        }
    }

    /// Adds what was counted of samples, as those of the fast path.
    pub fn add_sampled(&mut self, history: &SampledHistory) {
        for one in history.within_the_hour(number(self.now)) {
            self.add_window(&one.window);
            self.clients.add_samples(&one.levels, one.level);
        }
    }

    /// Adds what one worker counted.
    pub fn add(&mut self, history: &History) {
        self.workers += 1;
        for window in history.within_the_hour(number(self.now)) {
            self.add_window(window);
        }
    }

    pub(super) fn add_window(&mut self, window: &Window) {
        let is_recent = number(self.now).saturating_sub(window.number) <= 1;
        self.first = self.first.min(window.first);
        self.last = self.last.max(window.last);
        self.requests += window.requests;
        if is_recent {
            self.recent_first = self.recent_first.min(window.first);
            self.recent_requests += window.requests;
        }
        self.clients.add(&window.distinct);
        self.addresses
            .add(&window.addresses, is_recent, window.talkers_divisor);
        self.prefixes
            .add(&window.prefixes, is_recent, window.talkers_divisor);
        for (sum, count) in self.intervals.iter_mut().zip(window.intervals) {
            *sum += count;
        }
        self.sampling_divisor = self.sampling_divisor.max(window.sampling_divisor);
        self.packets_divisor = self.packets_divisor.max(window.talkers_divisor);
    }

    /// Returns the report, with lists as they are `wanted`.
    ///
    /// Where they depend on what only workers know ([`CensusReport::choose`]), the busiest of those that are asked for are
    /// in them.
    pub fn report(&self, wanted: &CensusWanted) -> CensusReport {
        let windows = [self.first, self.recent_first].map(|first| self.last.saturating_sub(first));
        let [window, recent_window] = windows.map(|window| window.as_secs_f64());
        let rank = |counts: &RankedCounts,
                    name: fn(Ipv6Addr) -> String,
                    is_wanted: fn(&CensusWanted, Ipv6Addr) -> bool| {
            let talker = |(address, asked, at_most): (Ipv6Addr, &ClientCount, u64)| Talker {
                address: name(address),
                at_least: asked.at_least,
                at_most,
                share: ratio(asked.at_least, float(self.requests)),
                rate: ratio(asked.at_least, window),
                recent_rate: ratio(asked.recent, recent_window),
                last_request: None,
                unanswered: None,
            };
            Ranking {
                top: counts.top(wanted, is_wanted).into_iter().map(talker).collect(),
                others_at_most: counts.floors.iter().copied().max().unwrap_or(0),
            }
        };
        let (clients, clients_error) = self.clients.estimate();
        CensusReport {
            workers: self.workers,
            window,
            requests: self.requests,
            rate: ratio(self.requests, window),
            recent_rate: ratio(self.recent_requests, recent_window),
            clients: whole(clients),
            clients_error,
            addresses: rank(&self.addresses, address_name, CensusWanted::has),
            prefixes: rank(&self.prefixes, prefix_name, CensusWanted::has_some_of),
            sampling_divisor: self.sampling_divisor,
            packets_divisor: self.packets_divisor,
            intervals: classes(&self.intervals),
        }
    }
}

impl RankedCounts {
    fn new() -> Self {
        Self {
            floors: [0; Talkers::SETS],
            talkers: BTreeMap::new(),
        }
    }

    fn add(&mut self, table: &Talkers, is_recent: bool, divisor: u32) {
        for (set, ((least, talkers), floor)) in table.sets().zip(&mut self.floors).enumerate() {
            *floor += u64::from(least) + by_chance(least.max(divisor), divisor);
            for talker in talkers {
                let asked = self.talkers.entry(talker.address).or_default();
                asked.set = set;
                asked.add(&talker, least, is_recent, divisor);
            }
        }
    }

    /// The first of those that are wanted; with the same rank by their addresses. And what each asked at most.
    fn top(
        &self,
        wanted: &CensusWanted,
        is_wanted: fn(&CensusWanted, Ipv6Addr) -> bool,
    ) -> Vec<(Ipv6Addr, &ClientCount, u64)> {
        let all = self.talkers.iter();
        let all = all.map(|(&address, asked)| (Ipv6Addr::from_bits(address), asked));
        let mut all: Vec<_> = all.filter(|(address, _)| is_wanted(wanted, *address)).collect();
        match wanted.order {
            ClientOrder::Count | ClientOrder::Last => all.sort_by_key(|(_, asked)| Reverse(asked.at_least)),
            ClientOrder::Rate => all.sort_by_key(|(_, asked)| Reverse((asked.recent, asked.at_least))),
            ClientOrder::Address => {}
        }
        if wanted.limited && wanted.order == ClientOrder::Address {
            // The busiest of them, which workers then choose of.
            all.sort_by_key(|(_, asked)| Reverse(asked.at_least));
        }
        let at_most = |asked: &ClientCount| {
            let floor = self.floors.get(asked.set).copied().unwrap_or(0);
            floor.saturating_add(asked.above_floor)
        };
        all.into_iter()
            .take(wanted.candidates())
            .map(|(address, asked)| (address, asked, at_most(asked)))
            .collect()
    }
}

impl CensusReport {
    /// Returns the addresses in it, in their order.
    pub fn listed(&self) -> Vec<IpAddr> {
        let top = self.addresses.top.iter();
        top.filter_map(|talker| talker.address.parse().ok()).collect()
    }

    /// Notes what workers know of the addresses, in their order.
    ///
    /// That is the time since the last request, and the count of requests that were refused.
    pub fn note(&mut self, known: impl IntoIterator<Item = (Option<Duration>, u32)>) {
        for (talker, (last, unanswered)) in self.addresses.top.iter_mut().zip(known) {
            talker.last_request = last.map(|ago| ago.as_secs_f64());
            talker.unanswered = Some(unanswered);
        }
    }

    /// Leaves in the lists what is `wanted`, as far as that depends on what workers know: to be called after [`Self::note`].
    pub fn choose(&mut self, wanted: &CensusWanted) {
        let top = &mut self.addresses.top;
        if wanted.limited {
            top.retain(|talker| talker.unanswered.is_some_and(|count| count > 0));
            if wanted.order == ClientOrder::Address {
                top.sort_by_key(|talker| talker.address.parse::<IpAddr>().ok());
            }
        }
        if wanted.order == ClientOrder::Last {
            let ago = |talker: &Talker| talker.last_request.unwrap_or(f64::INFINITY);
            top.sort_by(|one, other| ago(one).total_cmp(&ago(other)));
        }
        top.truncate(wanted.length());
        self.prefixes.top.truncate(wanted.length());
    }
}

impl ClientCount {
    fn add(&mut self, talker: &heavy_hitters::Counter, floor: u32, is_recent: bool, divisor: u32) {
        let off = by_chance(talker.count, divisor);
        let at_least = u64::from(talker.count.saturating_sub(talker.error)).saturating_sub(off);
        self.at_least += at_least;
        self.above_floor += u64::from(talker.count.saturating_sub(floor)) + off;
        if is_recent {
            self.recent += at_least;
        }
    }
}

/// The most by which a count is off, with a probability of 95 %, if one packet of `divisor` was counted, for all.
pub(super) fn by_chance(count: u32, divisor: u32) -> u64 {
    if divisor <= 1 {
        return 0;
    }
    2 * (u64::from(count) * u64::from(divisor)).isqrt()
}

fn address_name(address: Ipv6Addr) -> String {
    address.to_canonical().to_string()
}

fn prefix_name(address: Ipv6Addr) -> String {
    let length = if address.to_ipv4_mapped().is_some() {
        24
    } else {
        48
    };
    format!("{}/{length}", address.to_canonical())
}

/// The classes that [`super::class`] tells apart.
fn classes(counts: &[u64; CLASSES]) -> Vec<Class> {
    let total: u64 = counts.iter().sum();
    let mut from = 0.0;
    let mut border = std::f64::consts::FRAC_1_SQRT_2;
    let class = |(index, &count): (usize, &u64)| {
        let class = Class {
            from,
            to: (index + 1 < CLASSES).then_some(border),
            count,
            share: ratio(count, float(total)),
        };
        (from, border) = (border, border * 2.0);
        class
    };
    counts.iter().enumerate().map(class).collect()
}

pub(super) fn ratio(count: u64, of: f64) -> f64 {
    if of > 0.0 { float(count) / of } else { 0.0 }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "beyond 2^53 the last one does not matter"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::census::{Census, CensusSettings, WINDOW};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::net::Ipv4Addr;

    const START: Duration = Duration::from_secs(7_000_000);

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from(0x0A00_0000 + number).into()
    }

    /// The counts of workers of these packets: each with its worker, the window in which it came and its sender.
    fn counted(workers: usize, packets: &[(usize, u64, u32)]) -> Vec<History> {
        let settings = CensusSettings {
            seed: 5,
            clients: 1024,
        };
        let one = |worker| {
            let (mut census, mut history) = (Census::new(settings, START), History::new(START));
            for window in 0..3 {
                let now = START + Duration::from_secs(window * WINDOW);
                census.tell(&mut history, now);
                let its = packets
                    .iter()
                    .filter(|packet| (packet.0, packet.1) == (worker, window));
                census.note(its.map(|&(_, _, number)| address(number)), now);
                census.tell(&mut history, now);
            }
            history
        };
        (0..workers).map(one).collect()
    }

    fn together<'a>(histories: impl Iterator<Item = &'a History>) -> CensusReport {
        let mut merge = Merge::new(START + Duration::from_secs(2 * WINDOW));
        histories.for_each(|history| merge.add(history));
        merge.report(&CensusWanted::first(100))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_bounds_hold_whoever_counted_what(
            packets in vec((0..3_usize, 0..3_u64, prop_oneof![0..20_u32, 0..100_000_u32]), 1..6000),
        ) {
            let histories = counted(3, &packets);
            let report = together(histories.iter());
            prop_assert_eq!(&together(histories.iter().rev()), &report);
            prop_assert_eq!(report.requests, u64::try_from(packets.len()).unwrap());
            let mut truth: HashMap<String, u64> = HashMap::new();
            for &(_, _, number) in &packets {
                *truth.entry(address(number).to_string()).or_default() += 1;
            }
            let mut last = u64::MAX;
            for talker in &report.addresses.top {
                let sent = truth.remove(&talker.address).unwrap_or(0);
                prop_assert!((talker.at_least..=talker.at_most).contains(&sent), "{talker:?}: {sent}");
                prop_assert!(talker.at_least <= last);
                last = talker.at_least;
            }
            // A client that is not told has sent no more than the last one that is, or than the census can overlook.
            let most = truth.into_values().max().unwrap_or(0);
            prop_assert!(most <= last.saturating_add(report.addresses.others_at_most), "{most}: {report:?}");
        }
    }

    #[test]
    fn one_who_asks_several_workers_is_one() {
        let packets: Vec<_> = (0..300).map(|n| (n % 3, 1, 77)).chain([(0, 2, 78)]).collect();
        let report = together(counted(3, &packets).iter());
        assert_eq!((report.workers, report.clients), (3, 2));
        let [first, second] = report.addresses.top.as_slice() else {
            panic!("{report:?}");
        };
        assert_eq!(
            (first.address.as_str(), first.at_least, first.at_most),
            ("10.0.0.77", 300, 300)
        );
        assert_eq!((second.address.as_str(), second.at_least), ("10.0.0.78", 1));
        assert_eq!(report.prefixes.top[0].address, "10.0.0.0/24");
        assert_eq!(report.prefixes.top[0].at_least, 301);
    }

    #[test]
    fn lists_are_chosen_and_ordered_as_wanted() {
        // Of twenty clients number n asks n times, in the first window if n is odd; two windows later is too long ago.
        let packets: Vec<_> = (1..=20_u32)
            .flat_map(|n| (0..n).map(move |_| (0, if n % 2 == 1 { 0 } else { 2 }, n)))
            .collect();
        let mut merge = Merge::new(START + Duration::from_secs(2 * WINDOW));
        counted(1, &packets).iter().for_each(|history| merge.add(history));
        let last_bytes = |report: &CensusReport| -> Vec<u8> {
            let octets = |address: IpAddr| match address {
                IpAddr::V4(v4) => v4.octets()[3],
                IpAddr::V6(_) => panic!("{address}"),
            };
            report.listed().into_iter().map(octets).collect()
        };
        let wanted = |order| CensusWanted {
            order,
            ..CensusWanted::first(3)
        };
        assert_eq!(
            last_bytes(&merge.report(&wanted(ClientOrder::Count))),
            [20, 19, 18]
        );
        assert_eq!(
            last_bytes(&merge.report(&wanted(ClientOrder::Rate))),
            [20, 18, 16]
        );
        assert_eq!(
            last_bytes(&merge.report(&wanted(ClientOrder::Address))),
            [1, 2, 3]
        );
        let some = CensusWanted {
            prefix: "10.0.0.8/29".parse().ok(),
            ..wanted(ClientOrder::Count)
        };
        let report = merge.report(&some);
        assert_eq!(last_bytes(&report), [15, 14, 13]);
        assert_eq!(report.prefixes.top[0].address, "10.0.0.0/24");
        assert_eq!(report.requests, 210);
        // What workers know: the last request of number n was 100 - n seconds ago, and those of 4 and 6 were refused.
        let told = |wanted: CensusWanted| {
            let mut report = merge.report(&wanted);
            let known = last_bytes(&report).into_iter().map(|n| {
                let ago = (n != 7).then(|| Duration::from_secs(100 - u64::from(n)));
                (ago, u32::from(matches!(n, 4 | 6)))
            });
            report.note(known.collect::<Vec<_>>());
            report.choose(&wanted);
            last_bytes(&report)
        };
        assert_eq!(told(wanted(ClientOrder::Last)), [20, 19, 18]);
        for (order, expected) in [
            (ClientOrder::Count, [6, 4]),
            (ClientOrder::Address, [4, 6]),
            (ClientOrder::Last, [6, 4]),
        ] {
            let limited = CensusWanted {
                limited: true,
                ..wanted(order)
            };
            assert_eq!(told(limited), expected, "{order:?}");
        }
    }

    #[test]
    fn the_classes_join() {
        let classes = classes(&[1; CLASSES]);
        assert_eq!(classes[0].from, 0.0);
        assert!(classes.windows(2).all(|pair| pair[0].to == Some(pair[1].from)));
        assert!((classes[7].from * 2.0_f64.sqrt() - 64.0).abs() < 1e-9);
        assert_eq!(classes[CLASSES - 1].to, None);
    }
}
