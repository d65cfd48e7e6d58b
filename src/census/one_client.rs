//! Pure. The counts of one client in the census, from the same counts as the report of all.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::census::report::{by_chance, ratio};
use crate::census::sampled::SampledHistory;
use crate::census::{HashedSource, History, Window, number};
use crate::hash::Hasher;

/// The counts of one client in the last hour, at all workers.
#[derive(Debug)]
pub struct OneClient {
    client: HashedSource,
    now: Duration,
    /// The start of the oldest window, that of the oldest recent one, and the moment of the last copy.
    first: Duration,
    recent_first: Duration,
    last: Duration,
    at_least: u64,
    at_most: u64,
    /// The least count of its requests in the recent windows.
    recent: u64,
    /// The start of the newest window in which it surely asked.
    seen_since: Option<Duration>,
}

/// The knowledge of one client in the census. As JSON its names are stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCensus {
    /// The length of the window in seconds: 65 minutes at most.
    pub window: f64,
    /// The least number of requests that it can have sent.
    pub at_least: u64,
    /// The largest number of requests that it can have sent.
    pub at_most: u64,
    /// Its requests a second in the window, at least.
    pub rate: f64,
    /// Its requests a second in the last 5 to 10 minutes, at least.
    pub recent_rate: f64,
    /// The average time between two of its requests in seconds, at most; `null` below two requests.
    pub interval: Option<f64>,
    /// The time since its last request in seconds; `null` if that is not known.
    pub last_request: Option<f64>,
    /// The longest that this time can be, by its counts; `null` if it is not surely among them.
    pub last_request_at_most: Option<f64>,
}

impl OneClient {
    /// Makes empty counts; `seed` is that of the census, and `now` the moment on the workers' clock.
    pub fn new(client: IpAddr, seed: u64, now: Duration) -> Self {
        Self {
            client: HashedSource::new(client, &Hasher::new(seed)),
            now,
            first: now,
            recent_first: now,
            last: Duration::ZERO,
            at_least: 0,
            at_most: 0,
            recent: 0,
            seen_since: None,
        }
    }

    /// Adds what one worker counted.
    pub fn add(&mut self, history: &History) {
        for window in history.within_the_hour(number(self.now)) {
            self.add_window(window);
        }
    }

    /// Adds what was counted of samples, as those of the fast path.
    pub fn add_sampled(&mut self, history: &SampledHistory) {
        for one in history.within_the_hour(number(self.now)) {
            self.add_window(&one.window);
        }
    }

    fn add_window(&mut self, window: &Window) {
        let is_recent = number(self.now).saturating_sub(window.number) <= 1;
        self.first = self.first.min(window.first);
        self.last = self.last.max(window.last);
        if is_recent {
            self.recent_first = self.recent_first.min(window.first);
        }
        let HashedSource { address, hash } = self.client;
        let (floor, found) = window.addresses.look_up(address, hash);
        let divisor = window.talkers_divisor;
        let Some(talker) = found else {
            self.at_most += u64::from(floor) + by_chance(floor.max(divisor), divisor);
            return;
        };
        let off = by_chance(talker.count, divisor);
        let at_least = u64::from(talker.count.saturating_sub(talker.error)).saturating_sub(off);
        self.at_least += at_least;
        self.at_most += u64::from(talker.count) + off;
        if at_least > 0 {
            self.seen_since = self.seen_since.max(Some(window.first));
        }
        if is_recent {
            self.recent += at_least;
        }
    }

    /// Returns what is known; `last_request` is the time since its last request, if a worker remembers that.
    pub fn report(&self, last_request: Option<Duration>) -> ClientCensus {
        let seconds = |first: Duration| self.last.saturating_sub(first).as_secs_f64();
        let (window, recent_window) = (seconds(self.first), seconds(self.recent_first));
        let rate = ratio(self.at_least, window);
        let by_counts = self.seen_since.map(|since| self.now.saturating_sub(since));
        let at_most = [by_counts, last_request].into_iter().flatten().min();
        ClientCensus {
            window,
            at_least: self.at_least,
            at_most: self.at_most,
            rate,
            recent_rate: ratio(self.recent, recent_window),
            interval: (self.at_least > 1 && rate > 0.0).then(|| 1.0 / rate),
            last_request: last_request.map(|ago| ago.as_secs_f64()),
            last_request_at_most: at_most.map(|ago| ago.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::census::{Census, CensusSettings, CensusWanted, Merge};
    use std::net::Ipv4Addr;

    const SETTINGS: CensusSettings = CensusSettings {
        seed: 5,
        clients: 65_536,
    };
    const START: Duration = Duration::from_secs(999_900);

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from(0x0A00_0000 + number).into()
    }

    /// The history of a worker that is asked by 3000 clients, of which the first one asks each second for ten minutes.
    fn history() -> (Census, History, Duration) {
        let mut census = Census::new(SETTINGS, START);
        let mut history = History::new(START);
        let mut now = START;
        for second in 0..600 {
            now = START + Duration::from_secs(second);
            let light = (0..5).map(|n| address(1 + u32::try_from(second).unwrap() * 5 + n));
            census.note(std::iter::once(address(0)).chain(light), now);
            census.tell(&mut history, now);
        }
        (census, history, now)
    }

    #[test]
    fn it_is_what_the_report_of_all_says() {
        let (census, history, now) = history();
        let mut all = Merge::new(now);
        all.add(&history);
        let all = all.report(&CensusWanted::first(100));
        for talker in &all.addresses.top {
            let client: IpAddr = talker.address.parse().unwrap();
            let mut one = OneClient::new(client, SETTINGS.seed, now);
            one.add(&history);
            let said = one.report(None);
            assert_eq!(
                (
                    said.at_least,
                    said.at_most,
                    said.rate,
                    said.recent_rate,
                    said.window
                ),
                (
                    talker.at_least,
                    talker.at_most,
                    talker.rate,
                    talker.recent_rate,
                    all.window
                ),
                "{client}"
            );
        }
        let mut heavy = OneClient::new(address(0), SETTINGS.seed, now);
        heavy.add(&history);
        let last = census.last_request(address(0), now);
        let said = heavy.report(last);
        assert_eq!(
            (said.at_least, said.at_most, said.last_request),
            (600, 600, Some(0.0))
        );
        assert!((said.interval.unwrap() - 1.0).abs() < 0.01, "{said:?}");
    }

    #[test]
    fn a_client_that_never_asked_has_bounds_and_no_last_request() {
        let (census, history, now) = history();
        let client = address(1_000_000);
        let mut one = OneClient::new(client, SETTINGS.seed, now);
        one.add(&history);
        let said = one.report(census.last_request(client, now));
        assert_eq!((said.at_least, said.interval, said.last_request), (0, None, None));
        assert!(
            said.at_most > 0 && said.last_request_at_most.is_none(),
            "{said:?}"
        );
        // An early one is not remembered for less time than it is away.
        let early = census
            .last_request(address(1), now + Duration::from_secs(1))
            .unwrap();
        assert_eq!(early, Duration::from_secs(600));
    }
}
