//! Pure. The limit of one client's rate: a bucket of tokens for each, in a table of fixed size.
//!
//! A bucket is one number, the time at which it will be full again. An answer takes a token, which moves that time by
//! one interval. Where it would lie further ahead than the burst allows, the bucket is empty. So nothing has to be
//! filled up, and a client that was quiet for long has the same bucket as one that was never seen: forgetting it
//! changes no answer. Where a place is needed, the client whose bucket is full first is forgotten. So the heavy stay,
//! however many made-up addresses come by.
//!
//! A client that retries at once when it is dropped is answered: that costs less than its retries.

mod state;

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

pub use state::ClientState;

use crate::hash::{Hasher, MAPPED};
use crate::host::large_table;
use crate::server::policy::RuleMode;
use crate::server::policy::allowance::Allowance;
use crate::server::policy::budget::LIGHT;
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

/// The factor by which a client must ask sooner after silence than after an answer, to be answered for that.
const HARDER: u16 = 2;
/// The number of times that a client must have been seen to ask after silence.
const TRIES: u8 = 4;
/// The highest rate of answers for that, as a multiple of the limit.
const MOST_FOR_RETRIES: u64 = 8;
/// The most requests of a new client: one that sends more without a pause is no client that starts.
const FIRST: u8 = 8;
/// The number of answered returns after which a client is known.
const RETURNS: u8 = 3;
/// The shortest pause before a return that counts, in ticks: half a second.
const PAUSE: u32 = 477;
/// The time that a known client keeps its place without a request: 2048 s in ticks, twice the longest interval in use.
const KEPT: u32 = 1_953_125;
/// The seconds without a request in which a client's recent requests halve.
///
/// So they are about its requests in 1.5 times as long.
const HALF_LIFE: f32 = 64.0;
/// The unit of `asked_at`, as a power of two of nanoseconds: about a millisecond.
const TICK: u32 = 20;
/// The ticks in a second.
const TICKS: f32 = 953.674_3;
/// The clients in a set: each may be at any place of one set.
const WAYS: usize = 4;

/// The knowledge of a client. All zero: a free place.
#[derive(Clone, Copy, Debug, Default)]
struct Client {
    /// The hash of its address: two of 2^63 are rarely the same.
    hash: u64,
    /// The moment at which its bucket is full, in nanoseconds of the raw counter.
    full_at: u64,
    /// The moment of its last request, in ticks, wrapping after 52 days.
    asked_at: u32,
    /// Its requests, the older the less.
    recent_requests: f32,
    /// The time after an answer until it asks again, in ticks: an average over about eight times.
    after_answer: u16,
    /// The time after silence until it asks again, in the same way.
    after_silence: u16,
    /// The count of requests after silence, up to 255.
    silences: u8,
    /// The count of all its requests, up to 255.
    requests: u8,
    /// The count of returns after a pause, up to 255; counted for a budget only.
    returns: u8,
    /// Whether its last request was not answered.
    unanswered: bool,
}

/// The clients whose hashes choose the same set, on cache lines of their own.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(128))]
struct ClientSet([Client; WAYS]);

/// A worker's memory of its clients.
#[derive(Clone, Debug)]
pub struct Clients {
    sets: Vec<ClientSet>,
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

/// Returns the memory that a table of `clients` takes, in bytes.
pub(super) fn memory(clients: u32) -> u64 {
    let sets = clients.div_ceil(u32::try_from(WAYS).unwrap_or(1));
    u64::from(sets).saturating_mul(u64::try_from(size_of::<ClientSet>()).unwrap_or(u64::MAX))
}

impl Clients {
    /// Makes room for `clients`, rounded up to whole sets; none for 0. `secret` is random.
    pub fn new(clients: u32, secret: [u64; 2]) -> Self {
        let [narrow, wide] = secret.map(Hasher::new);
        let clients = usize::try_from(clients).unwrap_or(usize::MAX);
        Self {
            sets: large_table(clients.div_ceil(WAYS)),
            narrow,
            wide,
        }
    }

    /// Returns the memory that the table takes, in bytes.
    pub fn memory(&self) -> usize {
        size_of_val(self.sets.as_slice())
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
        let Some(client) = self.known(hash, now) else {
            return (Limited::Within, false);
        };
        let came_back = client.note(now, asked.budget);
        let within = client.has_token(&limit.client, now) && wide_has_token;
        let limited = match within {
            true => Limited::Within,
            false => client.beyond(limit, random),
        };
        // What is not sent at all needs no room in the budget.
        let shed =
            asked.budget != RuleMode::Off && limited.has_reply(limit.mode) && client.is_shed(asked, random);
        // To become known takes tokens, too: so thousands don't become known at once.
        client.returns = client.returns.saturating_add(u8::from(came_back && !shed));
        client.unanswered = !limited.is_answered(limit.mode) || (shed && asked.budget == RuleMode::On);
        if within {
            client.take_token(&limit.client, now);
            if let Some(bucket) = &limit.wide
                && let Some(all) = self.wider(bucket, asked, now)
            {
                all.take_token(bucket, now);
            }
        }
        (limited, shed)
    }

    /// Returns all clients of a wider prefix, as one.
    ///
    /// This is a function of its own, so that it costs nothing where it is not used.
    #[inline(never)]
    fn wider(&mut self, bucket: &Bucket, asked: &RequestContext<'_>, now: u64) -> Option<&mut Client> {
        let hash = hash(&self.wide, bucket, asked.source) ^ asked.class.salt();
        self.known(hash, now)
    }

    /// The client; if it is a new one, in the place of the one whose bucket is full first.
    #[inline]
    fn known(&mut self, hash: u64, now: u64) -> Option<&mut Client> {
        let at = self.set_of(hash);
        let ClientSet(clients) = self.sets.get_mut(at)?;
        match clients.iter().position(|client| client.hash == hash) {
            Some(at) => clients.get_mut(at),
            None => newcomer(clients, hash, now),
        }
    }

    /// Loads the place of `source` into the cache before its look-up: the CPU waits for a whole batch at once.
    pub fn prefetch(&self, limit: &RateLimit, source: IpAddr, class: RequestClass) {
        let hash = hash(&self.narrow, &limit.client, source) ^ class.salt();
        if let Some(ClientSet([first, ..])) = self.sets.get(self.set_of(hash)) {
            black_box(first.hash);
        }
    }

    fn set_of(&self, hash: u64) -> usize {
        let count = u64::try_from(self.sets.len()).unwrap_or(0);
        usize::try_from(((hash >> 32) * count) >> 32).unwrap_or(0)
    }
}

/// Makes a new client in the place of the one whose bucket is full first.
///
/// Clients that are not known lose their place before those that are.
#[inline(never)]
fn newcomer(clients: &mut [Client; WAYS], hash: u64, now: u64) -> Option<&mut Client> {
    let lightest = clients
        .iter_mut()
        .min_by_key(|client| (client.is_kept(now), client.full_at))?;
    *lightest = Client {
        hash,
        full_at: now,
        asked_at: ticks(now),
        ..Client::default()
    };
    Some(lightest)
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
    // Never 0, which is a free place.
    hasher.hash(kept) | 1
}

impl Client {
    /// Notes a request, and returns whether the client came back after a pause, as far as a budget needs that.
    fn note(&mut self, now: u64, budget: RuleMode) -> bool {
        let gap = ticks(now).wrapping_sub(self.asked_at);
        if self.requests > 0 {
            let short = u16::try_from(gap).unwrap_or(u16::MAX);
            if self.unanswered {
                self.after_silence = average(self.after_silence, short, self.silences == 0);
                self.silences = self.silences.saturating_add(1);
            } else {
                self.after_answer = average(self.after_answer, short, self.requests == 1);
            }
        }
        if budget != RuleMode::Off {
            self.recent_requests = decayed(self.recent_requests, gap) + 1.0;
        }
        let came_back = budget != RuleMode::Off && self.requests > 0 && gap >= PAUSE;
        self.asked_at = ticks(now);
        self.requests = self.requests.saturating_add(1);
        came_back
    }

    /// Decides about a request beyond the limit.
    fn beyond(&self, limit: &RateLimit, random: &mut Random) -> Limited {
        if self.retries_when_dropped(&limit.client) {
            Limited::RetriesWhenDropped
        } else if random.sample(limit.leak) {
            Limited::Leaked
        } else if random.sample(limit.kiss) {
            Limited::Kissed
        } else {
            Limited::Refused
        }
    }

    fn has_token(&self, bucket: &Bucket, now: u64) -> bool {
        let most = nanos(bucket.interval).saturating_mul(u64::from(bucket.burst.saturating_sub(1)));
        self.full_at.saturating_sub(now) <= most
    }

    fn take_token(&mut self, bucket: &Bucket, now: u64) {
        self.full_at = self.full_at.max(now).saturating_add(nanos(bucket.interval));
    }

    /// Returns whether silence makes it ask more, at a rate that can be borne.
    fn retries_when_dropped(&self, bucket: &Bucket) -> bool {
        let seldom = u64::from(self.after_answer) << TICK;
        self.silences >= TRIES
            && self.after_answer >= self.after_silence.saturating_mul(HARDER)
            && seldom * MOST_FOR_RETRIES >= nanos(bucket.interval)
    }

    /// Returns whether there is no room for it in the budget. A client that is known, and light, needs none.
    #[inline]
    fn is_shed(&self, asked: &RequestContext<'_>, random: &mut Random) -> bool {
        let is_light = self.returns >= RETURNS && self.recent_requests <= asked.allowance.light();
        !is_light && self.is_crowded_out(asked, random)
    }

    /// Returns whether there is no room in the budget for a request of a client that is new or not light.
    ///
    /// A new client needs a token. So does the part of the others' requests that is beyond the light, and that gets one
    /// only by lot: each client above the threshold is answered about as often as one that is just at it.
    #[inline(never)]
    fn is_crowded_out(&self, asked: &RequestContext<'_>, random: &mut Random) -> bool {
        let RequestContext { allowance, now, .. } = *asked;
        let is_known = self.returns >= RETURNS;
        let has_room = if !is_known && self.requests <= FIRST {
            allowance.take_new(now)
        } else {
            let (light, shed_threshold) = (allowance.light(), allowance.shed_threshold());
            let falls = |random: &mut Random, part: f32| random.sample(Probability::of(part.into()));
            (is_known && falls(random, light / self.recent_requests))
                || ((self.recent_requests <= shed_threshold
                    || falls(
                        random,
                        (shed_threshold - light).max(0.0) / (self.recent_requests - light),
                    ))
                    && allowance.take_other(now))
        };
        if !has_room {
            allowance.count_shed(is_known && self.recent_requests <= LIGHT);
        }
        !has_room
    }

    /// Whether it is known, and asked not long ago.
    fn is_kept(&self, now: u64) -> bool {
        self.returns >= RETURNS && ticks(now).wrapping_sub(self.asked_at) < KEPT
    }
}

/// The average of about the last eight.
fn average(so_far: u16, new: u16, is_first: bool) -> u16 {
    match is_first {
        true => new,
        false => so_far - so_far / 8 + new / 8,
    }
}

/// Returns the rest of `recent_requests` after `ticks`.
fn decayed(recent_requests: f32, ticks: u32) -> f32 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a millionth of the time is exact enough"
    )]
    let half_lives = ticks as f32 / (TICKS * HALF_LIFE);
    recent_requests * (-half_lives).exp2()
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
