//! Pure. The census: the busiest clients, the number of all, and their intervals, in fixed memory (1.5 MB a worker).
//!
//! Every packet that a worker takes counts, answered or not, so that a flood of refused packets is seen, too. The last
//! hour is kept in windows of 5 minutes, so a report covers the last 60 to 65 minutes. For the busiest clients only a
//! sample of the packets counts while a worker takes more than 40,000 a second. A worker counts in a window of
//! its own. Once a second it writes a copy of it into its [`History`], from which [`Merge`] adds up those of all
//! workers. Time and the hash's seed are arguments; only `publish` knows of other threads.

mod client_number;
mod distinct;
mod heavy_hitters;
mod one_client;
mod places;
mod publish;
mod recent;
mod report;
mod sampled;
mod wanted;

use std::net::IpAddr;
use std::time::Duration;

use arrayvec::ArrayVec;

pub use client_number::ClientNumbers;
pub use one_client::{ClientCensus, OneClient};
pub use publish::{CensusPublisher, CensusReader};
pub use report::{CensusReport, Class, Merge, Ranking, Talker};
pub use sampled::{PacketSample, SampledCensus, SampledHistory, Sampling};
pub use wanted::{CensusWanted, ClientOrder, MOST, Prefix};

use distinct::Distinct;
use heavy_hitters::Talkers;
use recent::Recent;
use sampled::{adapted, divisor};

use crate::hash::{Hasher, MAPPED, mapped};

/// The length of a window, in seconds.
const WINDOW: u64 = 300;
/// The number of windows that are over and still count: an hour.
const WINDOWS: u64 = 12;
/// The number of classes of times between two requests.
///
/// The classes are powers of two: under 0.7 s, about 1 s, 2 s, 4 s, …, 2^16 s, more.
const CLASSES: usize = 19;
/// The ticks in a second, as the times between two requests are measured.
const TICKS: u64 = 16;

/// The time after which the sampling is chosen again; sooner if there were [`sampled::MOST`] samples in less.
const SAMPLING_CHOSEN_AFTER: Duration = Duration::from_secs(1);

/// The settings of a worker's census.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CensusSettings {
    /// The seed of the hash: a secret of the process, which all workers share.
    pub seed: u64,
    /// The clients whose last requests a worker remembers: 8 to 2^20, rounded up to a power of two. 8 bytes each.
    pub clients: u32,
}

/// The counts of a worker, as it keeps them.
#[derive(Clone, Debug)]
pub struct Census {
    hasher: Hasher,
    window: Window,
    /// The clients of the windows before, within the hour.
    earlier: Distinct,
    recent: Recent,
    /// The sampling of the packets that count for the busiest clients, as a power of four: one of 4^level does.
    level: usize,
    /// The number of packets until one does.
    until_sample: u32,
    /// The number of those since the sampling was chosen, and when that was.
    samples: u64,
    since: Duration,
}

/// The counts of a worker in the last hour, as another thread reads them.
#[derive(Clone, Debug)]
pub struct History {
    /// The windows by their numbers, modulo their count. Some may be of another hour.
    windows: Vec<Window>,
}

/// The counts of a worker in 5 minutes. 69 KiB.
#[derive(Clone, Debug)]
struct Window {
    /// The number of windows that had passed when it began, on the clock of the first and last moments.
    number: u64,
    /// Its start, and the moment when it was last told: `CLOCK_MONOTONIC_RAW`, the same for all workers.
    first: Duration,
    last: Duration,
    requests: u64,
    distinct: Distinct,
    addresses: Talkers,
    prefixes: Talkers,
    intervals: [u64; CLASSES],
    /// The largest divisor of its sampling: one client of at most this many was followed for `intervals`.
    sampling_divisor: u32,
    /// The largest divisor of the packets that were counted for `addresses` and `prefixes`; 1: they are exact.
    talkers_divisor: u32,
}

impl Window {
    fn new(now: Duration) -> Self {
        Self {
            number: number(now),
            first: now,
            last: now,
            requests: 0,
            distinct: Distinct::new(),
            addresses: Talkers::new(),
            prefixes: Talkers::new(),
            intervals: [0; CLASSES],
            sampling_divisor: 1,
            talkers_divisor: 1,
        }
    }
}

/// The number of packets that are noted together, at most: while the CPU loads what the first needs, the others are hashed.
const TOGETHER: usize = 32;

/// The address of a client, and the hash by which it is looked up.
#[derive(Clone, Copy, Debug)]
struct HashedSource {
    address: u128,
    hash: u64,
}

impl HashedSource {
    fn new(source: IpAddr, hasher: &Hasher) -> Self {
        let address = mapped(source);
        let hash = hasher.hash(address);
        Self { address, hash }
    }
}

impl Window {
    /// Notes a packet for the busiest clients that stands for `weight` packets.
    fn note_talker(&mut self, asking: &HashedSource, weight: u32, hasher: &Hasher) {
        let prefix = prefix(asking.address);
        self.addresses.note_weighted(asking.address, asking.hash, weight);
        self.prefixes.note_weighted(prefix, hasher.hash(prefix), weight);
    }
}

/// Returns the bytes of a worker's census of `clients`, with the history that others read.
pub(super) fn memory(clients: u32) -> u64 {
    let bytes = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
    let windows = (WINDOWS + 2).saturating_mul(bytes(size_of::<Window>()));
    windows + bytes(size_of::<Distinct>()) + Recent::memory(clients)
}

impl Census {
    /// An empty one.
    pub fn new(settings: CensusSettings, now: Duration) -> Self {
        Self {
            hasher: Hasher::new(settings.seed),
            window: Window::new(now),
            earlier: Distinct::new(),
            recent: Recent::new(settings.clients),
            level: 0,
            until_sample: 1,
            samples: 0,
            since: now,
        }
    }

    /// Notes packets from `sources` that came at `now` (monotonic).
    pub fn note(&mut self, mut sources: impl Iterator<Item = IpAddr>, now: Duration) {
        let tick = tick(now);
        let mut all = ArrayVec::<_, TOGETHER>::new();
        loop {
            for source in sources.by_ref().take(TOGETHER) {
                let asking = HashedSource::new(source, &self.hasher);
                self.recent.prefetch(asking.hash);
                all.push(asking);
            }
            if all.is_empty() {
                break;
            }
            for asking in all.drain(..) {
                self.note_one(&asking, tick);
            }
        }
        if self.samples >= u64::from(sampled::MOST) {
            self.choose_sampling(now);
        }
    }

    fn note_one(&mut self, asking: &HashedSource, tick: u32) {
        let window = &mut self.window;
        window.requests += 1;
        window.distinct.note(asking.hash);
        if let Some(since) = self.recent.note(asking.hash, tick)
            && let Some(count) = window.intervals.get_mut(class(since))
        {
            // Each that is followed stands for those that are not.
            *count += u64::from(self.recent.sampling_divisor());
        }
        self.until_sample -= 1;
        if self.until_sample == 0 {
            self.sample(asking);
        }
    }

    /// Counts a packet for the busiest clients, and chooses the next one.
    ///
    /// The number of packets until then is by the secret hash, and the divisor on average. So no sender can foretell which of
    /// its packets count.
    fn sample(&mut self, asking: &HashedSource) {
        let weight = divisor(self.level);
        self.window.note_talker(asking, weight, &self.hasher);
        self.samples += 1;
        let choices = u64::from(2 * weight - 1);
        let skipped = self.hasher.hash(self.window.requests.into()) % choices;
        self.until_sample = u32::try_from(skipped).unwrap_or(0) + 1;
    }

    /// Returns the time until `now` since the last request of `client`, in sixteenths of a second, if it is remembered.
    ///
    /// Of very many clients only some are.
    pub fn last_request(&self, client: IpAddr, now: Duration) -> Option<Duration> {
        let last = self.recent.last(HashedSource::new(client, &self.hasher).hash)?;
        Some(since(last, now))
    }

    /// Writes a copy of the window into `history`, and begins the next one when it is time for that.
    pub fn tell(&mut self, history: &mut History, now: Duration) {
        self.window.last = now;
        history.keep(&self.window);
        let is_over = number(now) != self.window.number;
        if is_over {
            self.earlier = Distinct::new();
            for window in history.within_the_hour(number(now)) {
                self.earlier.unite(&window.distinct);
            }
        }
        let mut all = self.earlier.clone();
        all.unite(&self.window.distinct);
        self.recent.expect(all.estimate());
        if now.saturating_sub(self.since) >= SAMPLING_CHOSEN_AFTER {
            self.choose_sampling(now);
        }
        if is_over {
            self.window = Window::new(now);
        }
        self.note_divisors();
    }

    #[cold]
    fn choose_sampling(&mut self, now: Duration) {
        self.level = adapted(self.level, self.samples, now.saturating_sub(self.since));
        (self.samples, self.since) = (0, now);
        self.note_divisors();
    }

    fn note_divisors(&mut self) {
        let window = &mut self.window;
        window.sampling_divisor = window.sampling_divisor.max(self.recent.sampling_divisor());
        window.talkers_divisor = window.talkers_divisor.max(divisor(self.level));
    }
}

impl History {
    fn new(now: Duration) -> Self {
        // One more than an hour has: the current one.
        Self {
            windows: (0..=WINDOWS).map(|_| Window::new(now)).collect(),
        }
    }

    fn keep(&mut self, window: &Window) {
        let place = usize::try_from(window.number % (WINDOWS + 1)).unwrap_or(0);
        if let Some(place) = self.windows.get_mut(place) {
            place.clone_from(window);
        }
    }

    /// The windows that count when the current one is of this number.
    fn within_the_hour(&self, current: u64) -> impl Iterator<Item = &Window> {
        let counts = move |window: &&Window| current.saturating_sub(window.number) <= WINDOWS;
        self.windows.iter().filter(counts)
    }
}

fn number(now: Duration) -> u64 {
    now.as_secs() / WINDOW
}

/// Returns the tick of a moment: from 1 on; it wraps after 8 years.
fn tick(now: Duration) -> u32 {
    let ticks = now.as_secs() * TICKS + u64::from(now.subsec_nanos()) * TICKS / 1_000_000_000 + 1;
    u32::try_from(ticks & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

/// Returns the time from a tick until `now`.
fn since(last: u32, now: Duration) -> Duration {
    let ticks = u64::from(tick(now).wrapping_sub(last));
    Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / TICKS))
}

/// Returns the class of a time in ticks.
///
/// Clients ask every 2^n seconds, a bit more or less, so that is the middle of a class and not a border: the class of
/// 2^n seconds is n + 1, from 2^(n-½) to 2^(n+½).
fn class(ticks: u32) -> usize {
    /// The log2 of the ticks in a second.
    const SECOND: u32 = TICKS.ilog2();
    let doubled_square = 2 * u64::from(ticks.min(1 << 31)).pow(2);
    let power = doubled_square.checked_ilog2().unwrap_or(0) / 2;
    usize::try_from((power + 1).saturating_sub(SECOND))
        .unwrap_or(0)
        .min(CLASSES - 1)
}

/// The /24 or /48 that an address is in.
fn prefix(address: u128) -> u128 {
    let is_ipv4 = address >> 32 == MAPPED >> 32;
    address & if is_ipv4 { u128::MAX << 8 } else { u128::MAX << 80 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_precision_loss, reason = "counts of a test are small")]

    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn a_time_is_in_the_class_of_the_power_of_two_next_to_it() {
        for (seconds, expected) in [
            (0.0, 0),
            (0.5, 0),
            (1.0, 1),
            (1.3, 1),
            (1.5, 2),
            (2.0, 2),
            (46.0, 7),
            (63.5, 7),
            (64.0, 7),
            (90.0, 7),
            (91.0, 8),
            (1024.0, 11),
            (65_536.0, 17),
            (100_000.0, 18),
            (4e6, 18),
        ] {
            let ticks = tick(Duration::from_secs_f64(seconds)) - 1;
            assert_eq!(class(ticks), expected, "{seconds}");
        }
        assert_eq!(class(u32::MAX), 18);
    }

    #[test]
    fn prefixes_are_24_and_48_bits_long() {
        for (address, expected) in [
            ("192.0.2.77", "::ffff:192.0.2.0"),
            ("2001:db8:1:2:3::4", "2001:db8:1::"),
        ] {
            let address = mapped(address.parse().unwrap());
            assert_eq!(prefix(address), expected.parse::<Ipv6Addr>().unwrap().to_bits());
        }
    }

    /// A worker's census, told every second.
    struct CensusWorker {
        census: Census,
        history: History,
        now: Duration,
    }

    impl CensusWorker {
        fn new(clients: u32) -> Self {
            let (settings, now) = (
                CensusSettings { seed: 1, clients },
                Duration::from_secs(1_000_000),
            );
            Self {
                census: Census::new(settings, now),
                history: History::new(now),
                now,
            }
        }

        /// Lets a second pass in which these ask, some thousand at a time.
        fn second(&mut self, asking: impl Iterator<Item = u32>) {
            let sources: Vec<IpAddr> = asking
                .map(|number| Ipv4Addr::from(0x0A00_0000 + number).into())
                .collect();
            let batches = sources.chunks(10_000);
            let apart = Duration::from_secs(1) / u32::try_from(batches.len().max(1)).unwrap();
            let end = self.now + Duration::from_secs(1);
            for batch in batches {
                self.census.note(batch.iter().copied(), self.now);
                self.now += apart;
            }
            self.now = end;
            self.census.tell(&mut self.history, self.now);
        }

        fn report(&self) -> CensusReport {
            let mut merge = Merge::new(self.now);
            merge.add(&self.history);
            merge.report(&CensusWanted::first(100))
        }
    }

    #[test]
    fn an_hour_and_not_more() {
        let mut worker = CensusWorker::new(1024);
        worker.second(0..100);
        assert_eq!(worker.report().requests, 100);
        for second in 0..4000 {
            worker.second(std::iter::once(100 + second));
        }
        let report = worker.report();
        assert!((3600.0..=3900.0).contains(&report.window), "{report:?}");
        let (requests, window) = (report.requests, report.window);
        assert!(
            (requests as f64 - window).abs() <= 1.0,
            "{requests} in {window} s"
        );
        assert!(
            (report.clients as f64 / requests as f64 - 1.0).abs() < 0.06,
            "{report:?}"
        );
        assert!((report.rate - 1.0).abs() < 0.01);
        assert_eq!(report.addresses.top[0].at_least, 1);
    }

    #[test]
    fn intervals_are_right_for_more_clients_than_are_followed() {
        // Nine of ten requests come from clients that ask every 64 s, one from those that ask every 4 s.
        let mut worker = CensusWorker::new(256);
        for second in 0..1200 {
            worker.second(
                (0..9000)
                    .filter(|n| n % 64 == second % 64)
                    .chain((20_000..20_064).filter(|n| n % 4 == second % 4)),
            );
        }
        let report = worker.report();
        assert!(report.sampling_divisor >= 64, "{}", report.sampling_divisor);
        let total: u64 = report.intervals.iter().map(|class| class.count).sum();
        let share = |seconds: f64| {
            let class = report
                .intervals
                .iter()
                .find(|class| class.from < seconds && class.to > Some(seconds));
            class.map_or(0.0, |class| class.count as f64 / total as f64)
        };
        assert!(share(64.0) + share(4.0) > 0.99, "{report:?}");
        assert!((0.7..1.0).contains(&share(64.0)), "{report:?}");
    }

    /// A client whose packets come at a fixed distance is neither missed nor overcounted, whatever that distance is.
    #[test]
    fn with_many_packets_a_sample_of_them_finds_the_busiest() {
        for distance in [2, 4, 16, 50] {
            let mut worker = CensusWorker::new(1024);
            for second in 0..8 {
                let light = (0..200_000).map(|number| 1_000_000 + (second * 7919 + number) % 500_000);
                worker.second(light.map(|number| if number % distance == 0 { 7 } else { number }));
            }
            let report = worker.report();
            assert_eq!((report.requests, report.packets_divisor), (1_600_000, 16));
            let heavy = report.addresses.top.first().unwrap();
            assert_eq!(heavy.address, "10.0.0.7");
            let asked = 1_600_000 / u64::from(distance);
            assert!((heavy.at_least..=heavy.at_most).contains(&asked), "{heavy:?}");
            assert!(heavy.at_least > asked * 9 / 10, "{heavy:?}");
            assert!(heavy.at_most < asked * 12 / 10, "{heavy:?}");
        }
    }

    #[test]
    fn with_few_packets_all_count() {
        let mut worker = CensusWorker::new(1024);
        worker.second(0..300_000);
        for second in 0..400 {
            worker.second((0..30).map(|number| 400_000 + (number + second) % 3));
        }
        let report = worker.report();
        assert_eq!(report.packets_divisor, 16);
        // This one is in both windows, of which the second is exact, and the first is for a while.
        let CensusReport { addresses, .. } = &report;
        let busy = addresses.top.first().unwrap();
        assert!((busy.at_least..=busy.at_most).contains(&4000), "{busy:?}");
        let current = worker.history.windows.iter().max_by_key(|window| window.number);
        let mut later = Merge::new(worker.now);
        later.add_window(current.unwrap());
        let CensusReport {
            addresses,
            packets_divisor,
            ..
        } = later.report(&CensusWanted::first(3));
        assert_eq!((packets_divisor, addresses.top.len()), (1, 3));
        for talker in addresses.top {
            assert_eq!(talker.at_least, talker.at_most);
        }
    }

    #[test]
    fn a_worker_that_stood_still_goes_on() {
        let mut worker = CensusWorker::new(64);
        worker.second(0..10);
        worker.now += Duration::from_secs(2 * 3600);
        worker.second(0..5);
        worker.second(0..3);
        let report = worker.report();
        assert_eq!((report.requests, report.clients), (3, 3), "{report:?}");
    }
}
