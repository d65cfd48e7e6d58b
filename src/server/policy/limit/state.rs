//! Pure. A worker's knowledge of one client, taken out of its table: what a request would get can be tried with it.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::{
    Bucket, Client, ClientHistory, ClientSet, Clients, HistorySet, RateLimit, RequestClass, TICK, hash,
    nanos, tag, ticks,
};
use crate::hash::Hasher;

/// The entries of a client in the table of a worker: its own, and that of its wider prefix.
///
/// They are those of plain requests. Without an entry the client is like one that was never seen.
#[derive(Clone, Copy, Debug)]
pub struct ClientState {
    own: Client,
    /// All zero without a history.
    history: ClientHistory,
    wider: Client,
    narrow: Hasher,
    wide: Hasher,
}

impl Clients {
    /// Returns what is remembered of `source`; nothing changes.
    pub fn state_of(&self, limit: &RateLimit, source: IpAddr) -> ClientState {
        let entry = |hash: u64| {
            let at = self.set_of(hash);
            let (ClientSet(clients), HistorySet(histories)) = (self.sets.get(at)?, self.histories.get(at)?);
            let mut all = clients.iter().copied().zip(histories.iter().copied());
            all.find(|(client, _)| client.tag == tag(hash))
        };
        let salt = RequestClass::Plain.salt();
        let own = entry(hash(&self.narrow, &limit.client, source) ^ salt);
        let wider = limit.wide.as_ref();
        let wider = wider.and_then(|bucket| entry(hash(&self.wide, bucket, source) ^ salt));
        let studied = own.filter(|(client, _)| client.is_studied());
        ClientState {
            own: own.unwrap_or_default().0,
            history: studied.unwrap_or_default().1,
            wider: wider.unwrap_or_default().0,
            narrow: self.narrow,
            wide: self.wide,
        }
    }
}

impl Bucket {
    /// Returns the prefix of the addresses that share the bucket of `address`: `192.0.2.7/32`.
    pub fn prefix_of(&self, address: IpAddr) -> String {
        let length = if address.is_ipv4() {
            self.ipv4_prefix
        } else {
            self.ipv6_prefix
        };
        // The lengths are in their ranges.
        IpNet::new(address, length).map_or_else(|_| address.to_string(), |net| net.trunc().to_string())
    }
}

impl ClientState {
    /// Returns the knowledge of a client that was never seen.
    pub fn unknown() -> Self {
        Self {
            own: Client::default(),
            history: ClientHistory::default(),
            wider: Client::default(),
            narrow: Hasher::new(0),
            wide: Hasher::new(1),
        }
    }

    /// Returns a table where this client is, and no other.
    ///
    /// What is decided there about its next request is what is decided in the table that it is from.
    pub fn table(&self) -> Clients {
        let (free, none) = (Client::default(), ClientHistory::default());
        Clients {
            sets: vec![ClientSet([self.own, self.wider, free, free])],
            histories: vec![HistorySet([self.history, none, none, none])],
            narrow: self.narrow,
            wide: self.wide,
        }
    }

    /// Whether the worker remembers it.
    pub const fn is_remembered(&self) -> bool {
        self.own.tag != 0
    }

    /// Returns the answers that are left at `now` in its own `bucket`, which was the limit's when it was taken out.
    pub fn tokens(&self, bucket: &Bucket, now: Duration) -> u32 {
        tokens(&self.own, bucket, now)
    }

    /// Returns the moment at which the bucket of its wider prefix is full, in nanoseconds by the raw counter.
    pub const fn wider_is_full_at(&self) -> u64 {
        self.wider.full_at()
    }

    /// Returns those left in the bucket of its wider prefix.
    pub fn wider_tokens(&self, bucket: &Bucket, now: Duration) -> u32 {
        tokens(&self.wider, bucket, now)
    }

    /// Returns the time since its last request; `None` if the worker does not remember it.
    ///
    /// Its resolution is a millisecond; it wraps after 52 days.
    pub fn last_request(&self, now: Duration) -> Option<Duration> {
        let ago = u64::from(ticks(nanos(now)).wrapping_sub(self.own.asked_at)) << TICK;
        self.is_remembered().then(|| Duration::from_nanos(ago))
    }

    /// Returns the number of its requests that were not answered since the worker remembers it: 0 to 256.
    pub fn unanswered(&self) -> u16 {
        self.history.unanswered()
    }

    /// Returns its requests in about the last 1.5 minutes, as the budget counts them: 0 without a budget.
    pub fn recent_requests(&self, now: Duration) -> f32 {
        let gap = ticks(nanos(now)).wrapping_sub(self.own.asked_at);
        self.history.recent_requests(gap)
    }

    /// Whether the budget knows it: it came back some times.
    pub const fn is_known(&self) -> bool {
        self.history.is_known()
    }
}

/// The tokens in the bucket of a client.
fn tokens(client: &Client, bucket: &Bucket, now: Duration) -> u32 {
    let interval = nanos(bucket.interval).max(1);
    let missing = client.full_at().saturating_sub(nanos(now)).div_ceil(interval);
    bucket
        .burst
        .saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::policy::RuleMode;
    use crate::server::policy::allowance::Allowance;
    use crate::server::policy::limit::{Limited, RequestContext};
    use crate::server::policy::probability::{Probability, Random};
    use proptest::prelude::*;

    fn limit(burst: u32, wide: bool) -> RateLimit {
        let client = Bucket {
            interval: Duration::from_secs(1),
            burst,
            ipv4_prefix: 32,
            ipv6_prefix: 64,
        };
        RateLimit {
            mode: RuleMode::On,
            client,
            wide: wide.then_some(Bucket {
                ipv4_prefix: 24,
                burst: 2 * burst,
                ..client
            }),
            leak: Probability::NONE,
            kiss: Probability::NONE,
            clients: 64,
        }
    }

    fn source(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    fn decide(clients: &mut Clients, limit: &RateLimit, source: IpAddr, now: Duration) -> Limited {
        let allowance = Allowance::default();
        let asked = RequestContext {
            source,
            class: RequestClass::Plain,
            now,
            budget: RuleMode::Off,
            allowance: &allowance,
        };
        clients.decide(limit, &asked, &mut Random::new(1)).0
    }

    #[test]
    fn a_bucket_is_for_a_prefix() {
        let bucket = Bucket {
            ipv4_prefix: 24,
            ..limit(8, false).client
        };
        for (address, expected) in [
            ("192.0.2.7", "192.0.2.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(bucket.prefix_of(address.parse().unwrap()), expected);
        }
    }

    #[test]
    fn the_tokens_are_the_answers_that_are_left() {
        let (limit, mut clients) = (limit(8, true), Clients::new(64, [1, 2]));
        let [bucket, wide] = [limit.client, limit.wide.unwrap()];
        let now = Duration::from_secs(1_000_000);
        let fresh = clients.state_of(&limit, source(1));
        assert!(!fresh.is_remembered() && fresh.last_request(now).is_none());
        assert_eq!(
            (fresh.tokens(&bucket, now), fresh.wider_tokens(&wide, now)),
            (8, 16)
        );
        for taken in 1..=8 {
            assert_eq!(decide(&mut clients, &limit, source(1), now), Limited::Within);
            assert_eq!(
                clients.state_of(&limit, source(1)).tokens(&bucket, now),
                8 - taken
            );
        }
        assert_eq!(decide(&mut clients, &limit, source(1), now), Limited::Refused);
        let state = clients.state_of(&limit, source(1));
        assert_eq!((state.wider_tokens(&wide, now), state.unanswered()), (8, 1));
        let later = now + Duration::from_millis(2500);
        assert_eq!(state.tokens(&bucket, later), 2);
        let ago = state.last_request(later).unwrap();
        assert!(ago.abs_diff(later - now) < Duration::from_millis(2), "{ago:?}");
        // Its neighbor has a bucket of its own in the same wider one.
        let neighbor = clients.state_of(&limit, source(2));
        assert_eq!(
            (neighbor.tokens(&bucket, now), neighbor.wider_tokens(&wide, now)),
            (8, 8)
        );
    }

    proptest! {
        #[test]
        fn the_table_of_one_decides_as_the_table_of_all(
            wide: bool,
            asked in prop::collection::vec((0..6_u8, 0..1500_u64), 1..300),
        ) {
            let (limit, mut clients) = (limit(8, wide), Clients::new(64, [3, 4]));
            let mut now = Duration::from_secs(1_000_000);
            for (number, milliseconds) in asked {
                now += Duration::from_millis(milliseconds / 4);
                let state = clients.state_of(&limit, source(number));
                let expected = decide(&mut state.table(), &limit, source(number), now);
                prop_assert_eq!(decide(&mut clients, &limit, source(number), now), expected);
            }
        }
    }
}
