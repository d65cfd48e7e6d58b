//! Pure. The limit of one client's rate: a bucket of tokens for each, in a table of fixed size.
//!
//! A bucket is one number, the time at which it will be full again. An answer takes a token, which moves that time by
//! one interval. Where it would lie further ahead than the burst allows, the bucket is empty. So nothing has to be
//! filled up, and a client that was quiet for long has the same bucket as one that was never seen: forgetting it
//! changes no answer. Where a place is needed, the client whose bucket is full first is forgotten. So the heavy stay,
//! however many made-up addresses come by.
//!
//! A client that retries at once when it is dropped is answered: that costs less than its retries.

mod history;
mod state;

use std::net::IpAddr;
use std::time::Duration;

pub use state::ClientState;

use crate::hash::{Hasher, MAPPED};
use crate::host::{large_table, prefetch};
use crate::server::policy::RuleMode;
use crate::server::policy::allowance::Allowance;
use crate::server::policy::limit::history::ClientHistory;
use crate::server::policy::probability::{Probability, Random};

/// A limit of the rate at which clients are answered. Its ranges are held by `config`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// Whether it is off, on trial or on.
    pub mode: RuleMode,
    /// The bucket of each client.
    pub client: Bucket,
    /// The bucket of a wider prefix together, beside that.
    pub wide: Option<Bucket>,
    /// The share of requests beyond the limit that is answered all the same.
    ///
    /// So no client can be silenced by requests that another host sends in its name.
    pub leak: Probability,
    /// The share of the others that is told RATE (RFC 5905 §7.4).
    pub kiss: Probability,
    /// The number of clients that a worker remembers: 1024 to 16,777,216.
    pub clients: u32,
}

impl RateLimit {
    /// Whether it counts at all, applied or on trial.
    pub fn is_on(&self) -> bool {
        self.mode != RuleMode::Off
    }

    /// The interval in log2 seconds, rounded up, as RATE tells it: 0 to 6.
    pub fn poll(&self) -> i8 {
        let seconds = self.client.interval.as_nanos().div_ceil(1_000_000_000).max(1);
        i8::try_from(seconds.next_power_of_two().ilog2()).unwrap_or(i8::MAX)
    }
}

/// A bucket of tokens, and the prefix lengths that share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The time in which one token comes back: 0.1 ms to 64 s.
    pub interval: Duration,
    /// The tokens in a full bucket: 8 or more, so that the burst of a client that starts (`iburst`) always passes.
    pub burst: u32,
    /// The number of leading bits in which IPv4 addresses with one bucket agree: 8 to 32.
    pub ipv4_prefix: u8,
    /// The number of leading bits in which IPv6 addresses with one bucket agree: 16 to 128.
    pub ipv6_prefix: u8,
}

/// The decision of the limit about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// Within the limit.
    Within,
    /// Beyond the limit, and answered by lot.
    Leaked,
    /// Beyond the limit, and answered: silence would only make this client ask more.
    RetriesWhenDropped,
    /// Beyond the limit, and told so.
    Kissed,
    /// Beyond the limit, and not answered.
    Refused,
}

impl Limited {
    /// Returns whether anything is sent.
    const fn has_reply(self, mode: RuleMode) -> bool {
        !matches!((self, mode), (Self::Refused, RuleMode::On))
    }

    /// Returns whether there is an answer with the time in it.
    const fn is_answered(self, mode: RuleMode) -> bool {
        match self {
            Self::Within | Self::Leaked | Self::RetriesWhenDropped => true,
            Self::Kissed | Self::Refused => !matches!(mode, RuleMode::On),
        }
    }
}

/// The unit of `asked_at`, as a power of two of nanoseconds: about a millisecond.
const TICK: u32 = 20;
/// The clients in a set: each may be at any place of one set.
const WAYS: usize = 4;

/// The knowledge of a client that each of its requests needs. All zero: a free place.
#[derive(Clone, Copy, Debug, Default)]
struct Client {
    /// The moment at which its bucket is full, in nanoseconds of the raw counter; with [`Client::STUDIED`].
    full_at: u64,
    /// The moment of its last request, in ticks, wrapping after 52 days.
    asked_at: u32,
    /// The lower half of the hash of its address: two of a set have the same once in 2^31 times.
    tag: u32,
}

/// The clients whose hashes choose the same set, on a cache line of their own.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct ClientSet([Client; WAYS]);

/// The histories of the clients of a set, at the same places.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct HistorySet([ClientHistory; WAYS]);

/// A worker's memory of its clients.
#[derive(Clone, Debug)]
pub struct Clients {
    sets: Vec<ClientSet>,
    /// They are apart, as most requests don't need them: so those look at one cache line.
    histories: Vec<HistorySet>,
    /// A hash with secrets of this worker, so that no sender can choose addresses that meet in one set.
    ///
    /// No reply shows the set of an address, so a hash for tables will do: SipHash takes 100 instructions a packet
    /// more. There are two hashes, so that a client and its wider prefix are two.
    narrow: Hasher,
    wide: Hasher,
}

/// The kind of a request. A client has a bucket for each, so that no kind takes the tokens of another.
///
/// Any host can send plain requests, and forged ones, in the name of a client with NTS. They change nothing for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum RequestClass {
    /// Without NTS.
    Plain = 0,
    /// With NTS, and genuine.
    Authenticated = 0x9E37_79B9_7F4A_7C14,
    /// With NTS, and not genuine: it may get a NAK.
    Unauthenticated = 0xC2B2_AE3D_27D4_EB4E,
}

impl RequestClass {
    /// Returns the difference between the hash of an address and that of its bucket: even, so that no hash becomes 0.
    const fn salt(self) -> u64 {
        self as u64
    }
}

/// A request, as the limits see it.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    /// The client's address.
    pub source: IpAddr,
    /// The kind of the request.
    pub class: RequestClass,
    /// The time by the raw counter.
    pub now: Duration,
    /// Whether there is a budget that may shed requests.
    pub budget: RuleMode,
    /// The rest of the budget.
    pub allowance: &'a Allowance,
}

/// The place of a client in the table.
#[derive(Clone, Copy, Debug)]
struct ClientPlace {
    set: usize,
    way: usize,
    /// Whether the client was not known before this request.
    is_new: bool,
}

/// Returns the memory that a table of `clients` takes, in bytes.
pub(super) fn memory(clients: u32) -> u64 {
    let sets = clients.div_ceil(u32::try_from(WAYS).unwrap_or(1));
    let bytes = size_of::<ClientSet>() + size_of::<HistorySet>();
    u64::from(sets).saturating_mul(u64::try_from(bytes).unwrap_or(u64::MAX))
}

impl Clients {
    /// Makes room for `clients`, rounded up to whole sets; none for 0. `secret` is random.
    pub fn new(clients: u32, secret: [u64; 2]) -> Self {
        let [narrow, wide] = secret.map(Hasher::new);
        let sets = usize::try_from(clients).unwrap_or(usize::MAX).div_ceil(WAYS);
        Self {
            sets: large_table(sets),
            histories: large_table(sets),
            narrow,
            wide,
        }
    }

    /// Returns the memory that the table takes, in bytes.
    pub fn memory(&self) -> usize {
        size_of_val(self.sets.as_slice()) + size_of_val(self.histories.as_slice())
    }

    /// Decides about a request as if `limit` were on, and whether the budget sheds it.
    ///
    /// The caller obeys their modes.
    pub fn decide(
        &mut self,
        limit: &RateLimit,
        asked: &RequestContext<'_>,
        random: &mut Random,
    ) -> (Limited, bool) {
        let now = nanos(asked.now);
        let wide_has_token = limit.wide.as_ref().is_none_or(|bucket| {
            self.wider(bucket, asked, now)
                .is_none_or(|all| all.has_token(bucket, now))
        });
        let hash = hash(&self.narrow, &limit.client, asked.source) ^ asked.class.salt();
        let Some(place) = self.place(hash, now) else {
            return (Limited::Within, false);
        };
        let Some(client) = self.client(place) else {
            return (Limited::Within, false);
        };
        let within = client.has_token(&limit.client, now) && wide_has_token;
        let decision = if within && asked.budget == RuleMode::Off && !client.is_studied() {
            client.asked_at = ticks(now);
            (Limited::Within, false)
        } else {
            self.decide_by_history(place, within, limit, asked, random)
        };
        if within {
            if let Some(client) = self.client(place) {
                client.take_token(&limit.client, now);
            }
            if let Some(bucket) = &limit.wide
                && let Some(all) = self.wider(bucket, asked, now)
            {
                all.take_token(bucket, now);
            }
        }
        decision
    }

    /// Decides about a request that is beyond the limit, or of a client that was, or where there is a budget.
    #[inline(never)]
    fn decide_by_history(
        &mut self,
        place: ClientPlace,
        within: bool,
        limit: &RateLimit,
        asked: &RequestContext<'_>,
        random: &mut Random,
    ) -> (Limited, bool) {
        let (Some(ClientSet(clients)), Some(HistorySet(histories))) =
            (self.sets.get_mut(place.set), self.histories.get_mut(place.set))
        else {
            return (Limited::Within, false);
        };
        let (Some(client), Some(history)) = (clients.get_mut(place.way), histories.get_mut(place.way)) else {
            return (Limited::Within, false);
        };
        if !client.is_studied() {
            client.full_at |= Client::STUDIED;
            *history = ClientHistory::new(place.is_new);
        }
        let asked_at = ticks(nanos(asked.now));
        let gap = asked_at.wrapping_sub(client.asked_at);
        client.asked_at = asked_at;
        history.decide(gap, within, limit, asked, random)
    }

    /// Returns all clients of a wider prefix, as one.
    ///
    /// This is a function of its own, so that it costs nothing where it is not used.
    #[inline(never)]
    fn wider(&mut self, bucket: &Bucket, asked: &RequestContext<'_>, now: u64) -> Option<&mut Client> {
        let hash = hash(&self.wide, bucket, asked.source) ^ asked.class.salt();
        let place = self.place(hash, now)?;
        self.client(place)
    }

    /// The place of a client; if it is a new one, that of the one whose bucket is full first.
    #[inline]
    fn place(&mut self, hash: u64, now: u64) -> Option<ClientPlace> {
        let (set, tag) = (self.set_of(hash), tag(hash));
        let ClientSet(clients) = self.sets.get(set)?;
        match clients.iter().position(|client| client.tag == tag) {
            Some(way) => Some(ClientPlace {
                set,
                way,
                is_new: false,
            }),
            None => self.newcomer(set, tag, now),
        }
    }

    fn client(&mut self, place: ClientPlace) -> Option<&mut Client> {
        let ClientSet(clients) = self.sets.get_mut(place.set)?;
        clients.get_mut(place.way)
    }

    /// Makes a new client in the place of the one whose bucket is full first.
    ///
    /// Clients that are not known lose their place before those that are.
    #[inline(never)]
    fn newcomer(&mut self, set: usize, tag: u32, now: u64) -> Option<ClientPlace> {
        let ClientSet(clients) = self.sets.get_mut(set)?;
        let HistorySet(histories) = self.histories.get(set)?;
        let all = clients.iter_mut().zip(histories).enumerate();
        let (way, (lightest, _)) = all.min_by_key(|(_, (client, history))| {
            let idle = ticks(now).wrapping_sub(client.asked_at);
            (client.is_studied() && history.is_kept(idle), client.full_at())
        })?;
        *lightest = Client {
            full_at: now,
            asked_at: ticks(now),
            tag,
        };
        Some(ClientPlace {
            set,
            way,
            is_new: true,
        })
    }

    /// Loads the place of `source` into the cache before its look-up, and that of its history if there is a `budget`.
    pub fn prefetch(&self, limit: &RateLimit, budget: RuleMode, source: IpAddr, class: RequestClass) {
        let hash = hash(&self.narrow, &limit.client, source) ^ class.salt();
        let set = self.set_of(hash);
        if let Some(clients) = self.sets.get(set) {
            prefetch(clients);
        }
        if budget != RuleMode::Off
            && let Some(histories) = self.histories.get(set)
        {
            prefetch(histories);
        }
    }

    fn set_of(&self, hash: u64) -> usize {
        let count = u64::try_from(self.sets.len()).unwrap_or(0);
        usize::try_from(((hash >> 32) * count) >> 32).unwrap_or(0)
    }
}

/// Returns the half of the hash of an address that recognizes a client within its set: never 0.
#[expect(clippy::cast_possible_truncation, reason = "the other half chooses the set")]
const fn tag(hash: u64) -> u32 {
    hash as u32
}

/// The hash of the prefix that a bucket is for.
fn hash(hasher: &Hasher, bucket: &Bucket, source: IpAddr) -> u64 {
    let kept = match source {
        IpAddr::V4(v4) => {
            let kept = u32::MAX.checked_shl(32 - u32::from(bucket.ipv4_prefix));
            MAPPED | u128::from(v4.to_bits() & kept.unwrap_or(0))
        }
        IpAddr::V6(v6) => {
            let kept = u128::MAX.checked_shl(128 - u32::from(bucket.ipv6_prefix));
            v6.to_bits() & kept.unwrap_or(0)
        }
    };
    // Odd, so that the lower half is never 0, which is a free place.
    hasher.hash(kept) | 1
}

impl Client {
    /// The bit of `full_at` that says whether there is a history of it: the other 63 hold 292 years.
    const STUDIED: u64 = 1 << 63;

    const fn full_at(&self) -> u64 {
        self.full_at & !Self::STUDIED
    }

    const fn is_studied(&self) -> bool {
        self.full_at & Self::STUDIED != 0
    }

    fn has_token(&self, bucket: &Bucket, now: u64) -> bool {
        let most = nanos(bucket.interval).saturating_mul(u64::from(bucket.burst.saturating_sub(1)));
        self.full_at().saturating_sub(now) <= most
    }

    fn take_token(&mut self, bucket: &Bucket, now: u64) {
        let full_at = self.full_at().max(now).saturating_add(nanos(bucket.interval));
        self.full_at = full_at | (self.full_at & Self::STUDIED);
    }
}

/// Returns the time in nanoseconds: a `u64` holds 584 years.
fn nanos(time: Duration) -> u64 {
    time.as_secs()
        .wrapping_mul(1_000_000_000)
        .wrapping_add(time.subsec_nanos().into())
}

#[expect(clippy::cast_possible_truncation, reason = "it is meant to wrap")]
const fn ticks(nanos: u64) -> u32 {
    (nanos >> TICK) as u32
}

#[cfg(test)]
mod tests;
