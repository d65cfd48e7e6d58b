//! Pure. The census of packets of which only a sample is told, as by the kernel's fast path.
//!
//! Two samples are taken. One has every packet of some clients, which are chosen by a hash: it gives the number of
//! clients, and the times between their requests. The other has one packet of a number: it gives the clients that ask
//! most. Both shrink as there are more packets, by powers of four, and are the whole while there are few. A client that
//! is in a smaller sample is in each larger one, too.

use std::net::IpAddr;
use std::time::Duration;

use crate::census::distinct::Distinct;
use crate::census::recent::Recent;
use crate::census::{CensusSettings, HashedSource, WINDOWS, Window, class, number, since, tick};
use crate::hash::Hasher;

/// The number of sizes of a sample: 1, 1/4, 1/16, … 1/4096.
pub(super) const LEVELS: usize = 7;
/// The most samples a second that are asked for.
pub(super) const MOST: u32 = 40_000;

/// A packet that was sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketSample {
    /// The client's address.
    pub source: IpAddr,
    /// The hash by which clients are chosen: the lower it is, the smaller the samples that the client is in.
    pub hash: u64,
    /// Whether it is sampled for its number.
    pub is_packet: bool,
    /// Whether all packets of its client are sampled.
    pub is_followed: bool,
}

/// The sizes of both samples, as powers of four by which they are smaller than the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampling {
    clients: usize,
    packets: usize,
}

impl Sampling {
    /// The highest hash of clients that are followed.
    pub fn followed(self) -> u64 {
        u64::MAX >> (2 * self.clients)
    }

    /// The number that has no bit in common with the numbers of the packets that are sampled.
    pub fn apart(self) -> u64 {
        (1 << (2 * self.packets)) - 1
    }

    /// The sampling for the next time, after these counts of samples of each kind in `time`.
    fn next(self, followed: u64, packets: u64, time: Duration) -> Self {
        Self {
            clients: adapted(self.clients, followed, time),
            packets: adapted(self.packets, packets, time),
        }
    }
}

/// Returns a level more where there are too many samples, and one less where there would be few even then.
pub(super) fn adapted(level: usize, samples: u64, time: Duration) -> usize {
    #[expect(clippy::cast_precision_loss, reason = "counts of a second are far below 2^53")]
    let rate = samples as f64 / time.as_secs_f64().max(1e-3);
    let most = f64::from(MOST);
    if rate > most {
        (level + 1).min(LEVELS - 1)
    } else if rate * 8.0 < most {
        level.saturating_sub(1)
    } else {
        level
    }
}

/// The counts of the samples.
#[derive(Clone, Debug)]
pub struct SampledCensus {
    hasher: Hasher,
    clients: u32,
    recent: Recent,
    sampling: Sampling,
    /// The samples of each kind since the sampling was chosen, and when that was.
    taken: [u64; 2],
    since: Duration,
    history: SampledHistory,
}

/// The counts of the last hour.
#[derive(Clone, Debug)]
pub struct SampledHistory {
    /// The windows by their numbers, modulo their count.
    windows: Vec<SampledWindow>,
}

/// The counts of 5 minutes.
#[derive(Clone, Debug)]
pub(super) struct SampledWindow {
    pub(super) window: Window,
    /// The clients of each size of the sample.
    pub(super) levels: [Distinct; LEVELS],
    /// The smallest size that was in use.
    pub(super) level: usize,
}

impl SampledWindow {
    fn new(now: Duration) -> Self {
        Self {
            window: Window::new(now),
            levels: [const { Distinct::new() }; LEVELS],
            level: 0,
        }
    }
}

impl SampledCensus {
    /// An empty one.
    pub fn new(settings: CensusSettings, now: Duration) -> Self {
        let windows = (0..=WINDOWS).map(|_| SampledWindow::new(Duration::ZERO));
        let mut census = Self {
            hasher: Hasher::new(settings.seed),
            clients: settings.clients,
            recent: Recent::new(settings.clients),
            sampling: Sampling::default(),
            taken: [0; 2],
            since: now,
            history: SampledHistory {
                windows: windows.collect(),
            },
        };
        census.window(now);
        census
    }

    /// Returns the bytes that one of `clients` takes.
    pub fn memory(clients: u32) -> u64 {
        let window = u64::try_from(size_of::<SampledWindow>()).unwrap_or(u64::MAX);
        (WINDOWS + 1).saturating_mul(window) + Recent::memory(clients)
    }

    /// The sampling that is wanted.
    pub fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// The counts so far.
    pub fn history(&self) -> &SampledHistory {
        &self.history
    }

    /// Returns the time until `now` since the last request of `client`, if it is followed.
    pub fn last_request(&self, client: IpAddr, now: Duration) -> Option<Duration> {
        let last = self.recent.last(HashedSource::new(client, &self.hasher).hash)?;
        Some(since(last, now))
    }

    /// Notes the number of packets that came until `now`, sampled or not.
    pub fn count(&mut self, packets: u64, now: Duration) {
        if let Some(window) = self.window(now) {
            window.window.requests += packets;
            window.window.last = now;
        }
    }

    /// Notes a packet that came at `now`, about.
    pub fn note(&mut self, sample: &PacketSample, now: Duration) {
        let hasher = self.hasher;
        let asking = HashedSource::new(sample.source, &hasher);
        let Sampling { clients, packets } = self.sampling;
        let since = match sample.is_followed {
            true => self.recent.note(asking.hash, tick(now)),
            false => None,
        };
        let followed_of = self.recent.sampling_divisor();
        self.taken[0] += u64::from(sample.is_followed);
        self.taken[1] += u64::from(sample.is_packet);
        let Some(SampledWindow {
            window,
            levels,
            level,
        }) = self.window(now)
        else {
            return;
        };
        *level = (*level).max(clients);
        let own = usize::try_from(sample.hash.leading_zeros() / 2).unwrap_or(0);
        for (_, clients) in levels.iter_mut().enumerate().filter(|(size, _)| *size <= own) {
            clients.note(asking.hash);
        }
        if sample.is_packet {
            let weight = divisor(packets);
            window.talkers_divisor = window.talkers_divisor.max(weight);
            window.note_talker(&asking, weight, &hasher);
        }
        if let Some(count) = since.and_then(|since| window.intervals.get_mut(class(since))) {
            let stands_for = divisor(clients).saturating_mul(followed_of);
            *count += u64::from(stands_for);
            window.sampling_divisor = window.sampling_divisor.max(stands_for);
        }
    }

    /// Chooses the sampling for the next tenth of a second.
    pub fn adapt(&mut self, now: Duration) -> Sampling {
        let time = now.saturating_sub(self.since);
        let [followed, packets] = self.taken;
        let next = self.sampling.next(followed, packets, time);
        if next.clients != self.sampling.clients {
            // The times of those that are not followed any more would be none of theirs.
            self.recent = Recent::new(self.clients);
        }
        (self.sampling, self.taken, self.since) = (next, [0; 2], now);
        next
    }

    /// The window of `now`.
    fn window(&mut self, now: Duration) -> Option<&mut SampledWindow> {
        let place = usize::try_from(number(now) % (WINDOWS + 1)).unwrap_or(0);
        let window = self.history.windows.get_mut(place)?;
        if window.window.number != number(now) || window.window.first.is_zero() {
            *window = SampledWindow::new(now);
        }
        Some(window)
    }
}

impl SampledHistory {
    /// The windows that count when the current one is of this number.
    pub(super) fn within_the_hour(&self, current: u64) -> impl Iterator<Item = &SampledWindow> {
        let counts = move |one: &&SampledWindow| {
            !one.window.first.is_zero() && current.saturating_sub(one.window.number) <= WINDOWS
        };
        self.windows.iter().filter(counts)
    }
}

/// The number of packets, or clients, of which one is in the sample of this level.
pub(super) fn divisor(level: usize) -> u32 {
    1_u32
        .checked_shl(u32::try_from(2 * level).unwrap_or(u32::MAX))
        .unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_precision_loss, reason = "counts of a test are small")]

    use super::*;
    use crate::census::{CensusReport, CensusWanted, Merge};
    use std::net::Ipv4Addr;

    /// The hash of the fast path, as good as any.
    fn hash(number: u32) -> u64 {
        Hasher::new(77).hash(u128::from(number) + 1)
    }

    struct Path {
        census: SampledCensus,
        now: Duration,
        packets: u64,
    }

    impl Path {
        fn new() -> Self {
            let (settings, now) = (
                CensusSettings {
                    seed: 1,
                    clients: 4096,
                },
                Duration::from_secs(1_000_000),
            );
            Self {
                census: SampledCensus::new(settings, now),
                now,
                packets: 0,
            }
        }

        /// Lets `time` pass in which these ask, evenly.
        fn pass(&mut self, time: Duration, asking: impl Iterator<Item = u32>) {
            let sampling = self.census.sampling();
            let mut count = 0;
            for number in asking {
                let sample = PacketSample {
                    source: Ipv4Addr::from(0x0A00_0000 + number).into(),
                    hash: hash(number),
                    is_packet: self.packets & sampling.apart() == 0,
                    is_followed: hash(number) <= sampling.followed(),
                };
                self.packets += 1;
                count += 1;
                if sample.is_packet || sample.is_followed {
                    self.census.note(&sample, self.now);
                }
            }
            self.now += time;
            self.census.count(count, self.now);
            self.census.adapt(self.now);
        }

        fn report(&self) -> CensusReport {
            let mut merge = Merge::new(self.now);
            merge.add_sampled(self.census.history());
            merge.report(&CensusWanted::first(100))
        }
    }

    #[test]
    fn few_packets_are_all_counted() {
        let mut path = Path::new();
        for _ in 0..20 {
            path.pass(Duration::from_secs(1), (0..100).chain(std::iter::repeat_n(7, 50)));
        }
        let report = path.report();
        assert_eq!(
            (report.requests, report.sampling_divisor, report.packets_divisor),
            (3000, 1, 1)
        );
        assert!((97..=103).contains(&report.clients), "{report:?}");
        let first = &report.addresses.top[0];
        assert_eq!((first.address.as_str(), first.at_least), ("10.0.0.7", 20 * 51));
    }

    #[test]
    fn many_packets_are_sampled_and_the_report_says_how() {
        let mut path = Path::new();
        // 200,000 packets in a tenth of a second, of 100,000 clients; one in twenty, at random, is of one client.
        let mut sent = 0;
        for round in 0..20 {
            let is_its = |packet: &u32| hash(packet + round * 200_000).is_multiple_of(20);
            sent += u64::try_from((0..200_000).filter(is_its).count()).unwrap();
            let asking = (0..200_000).map(|packet| if is_its(&packet) { 100_000 } else { packet / 2 });
            path.pass(Duration::from_millis(100), asking);
        }
        let report = path.report();
        assert_eq!(report.requests, 4_000_000);
        assert!(
            report.packets_divisor >= 64 && report.sampling_divisor >= 64,
            "{report:?}"
        );
        let first = &report.addresses.top[0];
        assert_eq!(first.address, "10.1.134.160");
        assert!(first.at_least <= sent && first.at_most >= sent, "{first:?}");
        assert!(first.at_most - first.at_least < 60_000, "{first:?}");
        let off = (report.clients as f64 / 100_000.0 - 1.0).abs();
        assert!(
            off < 4.0 * report.clients_error,
            "{} ± {}",
            report.clients,
            report.clients_error
        );
        assert!(report.clients_error < 0.2, "{report:?}");
    }

    #[test]
    fn the_sampling_follows_the_rate() {
        let second = Duration::from_secs(1);
        for (level, samples, expected) in [
            (0, 40_000, 0),
            (0, 40_001, 1),
            (LEVELS - 1, 1_000_000, LEVELS - 1),
            (3, 6_000, 3),
            (3, 4_000, 2),
            (0, 0, 0),
        ] {
            assert_eq!(adapted(level, samples, second), expected, "{level} {samples}");
        }
        let sampling = Sampling {
            clients: 1,
            packets: 2,
        };
        assert_eq!((sampling.followed(), sampling.apart()), (u64::MAX >> 2, 15));
    }
}
