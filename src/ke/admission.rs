//! Pure. Which sessions may begin TLS, which have to wait, and which make room for others.
//!
//! A connection whose ClientHello is not there is cheap: a descriptor and a kilobyte. So thousands of them are kept until
//! their time is over: to close them at once would only make them come back at once. Neither is a session refused that
//! has to wait: it waits, and its time ends. Memory and CPU time are given only to sessions with a ClientHello.
//!
//! A client is an IPv4 address or an IPv6 prefix of 64 bits. TCP has proved that it is there, so no client can be shut out by
//! another that uses its name, and a limit needs no leak.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::outcome::KeRefusal;

/// The longest time until the whole ClientHello is there. A client sends it at once.
const HELLO: Duration = Duration::from_secs(1);
/// The longest time in which a client may close the connection after its answer.
const CLOSING: Duration = Duration::from_secs(1);
/// Handshakes that may begin in a second, with one thread: about 40 % of a core.
const HANDSHAKES: u32 = 2000;
/// The clients whose starts are remembered, at most: 200 KB.
const CLIENTS: usize = 4096;
/// Connections without a ClientHello that are kept for each session that may run.
pub const SILENT: u32 = 8;
/// The share of them that one client may have while others want some, as a divisor.
const SHARE: u32 = 8;
/// The shortest time between two searches for clients that can be forgotten.
const FORGETTING: Duration = Duration::from_secs(1);

/// The limits of sessions. Their ranges are held by `config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeLimits {
    /// Sessions with a ClientHello at once.
    pub sessions: u32,
    /// Those of one client.
    pub per_client: u32,
    /// Handshakes that a client may begin at once after a pause.
    pub burst: u32,
    /// The time in which a client may begin one more; zero is no limit.
    pub interval: Duration,
    /// The longest time of a session until its answer.
    pub timeout: Duration,
    /// The number of threads.
    pub threads: u16,
}

impl KeLimits {
    /// Returns the time from the start of a session in which its handshake must begin.
    pub fn hello_timeout(&self) -> Duration {
        HELLO.min(self.timeout)
    }

    /// Returns the time from the answer in which a session must have ended.
    pub fn closing_timeout(&self) -> Duration {
        CLOSING.min(self.timeout)
    }
}

/// The number of a session, never used again.
pub type SessionId = u64;

/// The addresses that count as one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ClientPrefix(IpAddr);

impl ClientPrefix {
    fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// A bucket of tokens: the time at which it is full again. See `server::policy::limit`.
#[derive(Clone, Copy, Debug, Default)]
struct StartBucket {
    full_at: Duration,
}

impl StartBucket {
    /// Whether it has a token.
    fn has_token(&self, now: Duration, interval: Duration, burst: u32) -> bool {
        let full_at = self.full_at.max(now) + interval;
        full_at.saturating_sub(now) <= interval.saturating_mul(burst)
    }

    /// Takes a token.
    fn take(&mut self, now: Duration, interval: Duration) {
        self.full_at = self.full_at.max(now) + interval;
    }
}

/// A session with a ClientHello.
#[derive(Clone, Copy, Debug)]
struct BusySession {
    client: ClientPrefix,
    /// Whether it has its answer, and only waits for the client to close the connection.
    is_answered: bool,
}

/// The decision about a session whose ClientHello is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The handshake begins. The session of this number makes room for it, if one has to; it has been removed.
    Begins(Option<SessionId>),
    /// The session has to wait, for this reason.
    Waits(KeRefusal),
}

/// The sessions, the oldest first, and the clients that began handshakes.
#[derive(Debug)]
pub struct AdmissionControl {
    limits: KeLimits,
    next: SessionId,
    /// Those whose ClientHello is not there, or that wait for their turn.
    silent: BTreeMap<SessionId, ClientPrefix>,
    silent_of: HashMap<ClientPrefix, u32>,
    busy: BTreeMap<SessionId, BusySession>,
    clients: HashMap<ClientPrefix, StartBucket>,
    all: StartBucket,
    forgot_at: Duration,
}

impl AdmissionControl {
    /// Makes one without sessions.
    pub fn new(limits: KeLimits) -> Self {
        Self {
            limits,
            next: 0,
            silent: BTreeMap::new(),
            silent_of: HashMap::new(),
            busy: BTreeMap::new(),
            clients: HashMap::new(),
            all: StartBucket::default(),
            forgot_at: Duration::ZERO,
        }
    }

    /// Applies other limits, to later connections.
    pub fn set_limits(&mut self, limits: KeLimits) {
        self.limits = limits;
    }

    /// Returns the limits.
    pub fn limits(&self) -> &KeLimits {
        &self.limits
    }

    /// Returns the number of sessions.
    pub fn open(&self) -> usize {
        self.silent.len() + self.busy.len()
    }

    /// Adds the session of a connection from `address`.
    ///
    /// Returns its number, and that of the session that makes room for it, if one has to; it has been removed.
    pub fn admit(&mut self, address: IpAddr) -> (SessionId, Option<SessionId>) {
        let client = ClientPrefix::of(address);
        let displaced = self.dispensable_silent(client);
        if let Some(id) = displaced {
            self.end(id);
        }
        let id = self.next;
        self.next += 1;
        self.silent.insert(id, client);
        *self.silent_of.entry(client).or_default() += 1;
        (id, displaced)
    }

    /// Decides about a session whose ClientHello is there, at `now` by the raw counter.
    pub fn begin(&mut self, id: SessionId, now: Duration) -> Handshake {
        let Some(client) = self.silent.get(&id).copied() else {
            // It has made room for another, and is about to end.
            return Handshake::Waits(KeRefusal::Overload);
        };
        let KeLimits {
            interval, threads, ..
        } = self.limits;
        let most = HANDSHAKES.saturating_mul(threads.into()).max(1);
        let apart = Duration::from_secs(1) / most;
        if !self.may_begin(client, now) {
            return Handshake::Waits(KeRefusal::Rate);
        }
        if !self.all.has_token(now, apart, most) {
            return Handshake::Waits(KeRefusal::Overload);
        }
        self.all.take(now, apart);
        if let Some(bucket) = self.clients.get_mut(&client) {
            bucket.take(now, interval);
        }
        let displaced = self.dispensable_busy(client);
        if let Some(gone) = displaced {
            self.end(gone);
        }
        self.remove_silent(id);
        self.busy.insert(
            id,
            BusySession {
                client,
                is_answered: false,
            },
        );
        Handshake::Begins(displaced)
    }

    /// Notes that a session has its answer.
    pub fn note_answer(&mut self, id: SessionId) {
        if let Some(session) = self.busy.get_mut(&id) {
            session.is_answered = true;
        }
    }

    /// Removes a session. Returns whether it was there: not if it made room for another.
    pub fn end(&mut self, id: SessionId) -> bool {
        self.remove_silent(id) || self.busy.remove(&id).is_some()
    }

    fn remove_silent(&mut self, id: SessionId) -> bool {
        let Some(client) = self.silent.remove(&id) else {
            return false;
        };
        if let Some(count) = self.silent_of.get_mut(&client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.silent_of.remove(&client);
            }
        }
        true
    }

    /// The silent session that makes room for one of `client`: the oldest of its own, if it has its share, else of all.
    fn dispensable_silent(&self, client: ClientPrefix) -> Option<SessionId> {
        let most = self.limits.sessions.saturating_mul(SILENT);
        if !is_full(self.silent.len(), most) {
            return None;
        }
        let own = self.silent_of.get(&client).copied().unwrap_or_default();
        let has_its_share = own >= most / SHARE;
        let mut all = self.silent.iter();
        let oldest = all.find(|(_, of)| !has_its_share || **of == client);
        oldest.map(|(id, _)| *id)
    }

    /// The busy session that makes room for one of `client`: one of its own, if it has as many as it may.
    ///
    /// One that is answered goes first, else the oldest: an honest session is short, so it is rarely the oldest one.
    fn dispensable_busy(&self, client: ClientPrefix) -> Option<SessionId> {
        let of_client = || self.busy.iter().filter(|(_, session)| session.client == client);
        let first = |sessions: &mut dyn Iterator<Item = (&SessionId, &BusySession)>| {
            let first = sessions.min_by_key(|(id, session)| (!session.is_answered, **id));
            first.map(|(id, _)| *id)
        };
        if is_full(of_client().count(), self.limits.per_client) {
            first(&mut of_client())
        } else if is_full(self.busy.len(), self.limits.sessions) {
            first(&mut self.busy.iter())
        } else {
            None
        }
    }

    /// Whether `client` may begin one more handshake.
    fn may_begin(&mut self, client: ClientPrefix, now: Duration) -> bool {
        let KeLimits { burst, interval, .. } = self.limits;
        if interval.is_zero() {
            return true;
        }
        if self.clients.len() >= CLIENTS && !self.clients.contains_key(&client) {
            self.forget(now);
            // With more clients than that, the heavy ones stay limited, and the new ones are not.
            if self.clients.len() >= CLIENTS {
                return true;
            }
        }
        let bucket = self.clients.entry(client).or_default();
        bucket.has_token(now, interval, burst)
    }

    /// Forgets the clients whose bucket is full: that changes no decision.
    fn forget(&mut self, now: Duration) {
        if now >= self.forgot_at + FORGETTING {
            self.forgot_at = now;
            self.clients.retain(|_, bucket| bucket.full_at > now);
        }
    }
}

fn is_full(count: usize, most: u32) -> bool {
    u32::try_from(count).is_ok_and(|count| count >= most)
}

#[cfg(test)]
mod tests;
