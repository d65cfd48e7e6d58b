//! Pure. The books: which request is on its way, which answer belongs to it, what is missing in the end.
//!
//! A request's number says where it goes and from which source; the number is in its transmit timestamp, which the
//! answer brings back as its origin timestamp.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ntpfront::wire::{HEADER_LEN, Header, Leap, Mode};

use crate::report::{Latency, Target};

/// What every request says but for its transmit timestamp: version 4, mode 3, poll 6.
const VERSION: u8 = 4;
const POLL: i8 = 6;
/// So many of the lost ones are told by their time.
const LOST_SHOWN: usize = 20;
/// Room for the number of a request in its transmit timestamp.
const NUMBER_BITS: u32 = 32;

/// When each request left, shared by the one who sends and the one who receives.
pub(crate) struct Ledger {
    targets: Vec<SocketAddr>,
    sources: usize,
    /// The upper bits of all transmit timestamps, so that another run's answers are not ours.
    salt: u64,
    /// Nanoseconds since the start, plus one; 0: not sent.
    sent_at: Vec<AtomicU64>,
}

impl Ledger {
    /// For at most `requests` to `targets`, in turn, from so many sources of each family, in turn.
    pub(crate) fn new(targets: Vec<SocketAddr>, sources: usize, requests: usize, salt: u32) -> Self {
        Self {
            targets,
            sources,
            salt: u64::from(salt | 1) << NUMBER_BITS,
            sent_at: (0..requests).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.sent_at.len()
    }

    pub(crate) fn target(&self, number: usize) -> SocketAddr {
        self.targets[number % self.targets.len()]
    }

    /// Which source of the target's family asks.
    pub(crate) fn source(&self, number: usize) -> usize {
        number / self.targets.len() % self.sources
    }

    pub(crate) fn request(&self, number: usize) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = VERSION << 3 | 3;
        bytes[2] = POLL.to_be_bytes()[0];
        bytes[40..].copy_from_slice(&(self.salt | number as u64).to_be_bytes());
        bytes
    }

    pub(crate) fn note_sent(&self, number: usize, since_start: Duration) {
        self.sent_at[number].store(nanos(since_start) + 1, Ordering::Release);
    }

    /// It did not leave after all.
    pub(crate) fn note_unsent(&self, number: usize) {
        self.sent_at[number].store(0, Ordering::Release);
    }

    /// When the request of this number left.
    fn left_at(&self, number: usize) -> Option<u64> {
        let noted = self.sent_at.get(number)?.load(Ordering::Acquire);
        noted.checked_sub(1)
    }

    /// The request that these bytes answer, bit for bit: its number.
    fn answered_by(&self, reply: &[u8], from: SocketAddr, source: usize) -> Option<(usize, Header)> {
        let header = Header::parse(reply).ok()?;
        let origin = u64::from_be_bytes(reply.get(24..32)?.try_into().ok()?);
        let number = usize::try_from(origin ^ self.salt).ok()?;
        self.left_at(number)?;
        let ours = reply.len() == HEADER_LEN
            && self.target(number) == from
            && self.source(number) == source
            && header.version.number() == VERSION
            && header.mode == Mode::Server
            && header.poll == POLL;
        ours.then_some((number, header))
    }
}

/// The receiver's side.
pub(crate) struct Tally<'a> {
    ledger: &'a Ledger,
    answered: Vec<bool>,
    targets: Vec<Found>,
    pub(crate) wrong: u64,
    /// Why there was no time: the reference IDs of "unsynchronized" answers.
    pub(crate) reasons: BTreeMap<String, u64>,
}

#[derive(Clone, Default)]
struct Found {
    unsynchronized: u64,
    duplicate: u64,
    last: u64,
    max_gap: u64,
    latencies: Vec<u64>,
}

impl<'a> Tally<'a> {
    pub(crate) fn new(ledger: &'a Ledger) -> Self {
        Self {
            ledger,
            answered: vec![false; ledger.capacity()],
            targets: vec![Found::default(); ledger.targets.len()],
            wrong: 0,
            reasons: BTreeMap::new(),
        }
    }

    /// A packet that `source` got from `from`.
    pub(crate) fn take(&mut self, packet: &[u8], from: SocketAddr, source: usize, since_start: Duration) {
        let Some((number, header)) = self.ledger.answered_by(packet, from, source) else {
            self.wrong += 1;
            return;
        };
        let target = number % self.targets.len();
        let found = &mut self.targets[target];
        if std::mem::replace(&mut self.answered[number], true) {
            found.duplicate += 1;
            return;
        }
        let now = nanos(since_start);
        if header.leap == Leap::Unsynchronized {
            found.unsynchronized += 1;
            *self.reasons.entry(header.reference_id.to_string()).or_default() += 1;
        }
        found.max_gap = found.max_gap.max(now.saturating_sub(found.last));
        found.last = now;
        let left = self.ledger.left_at(number).unwrap_or(now);
        found.latencies.push(now.saturating_sub(left) / 1000);
    }

    pub(crate) fn answered(&self) -> usize {
        self.targets.iter().map(|found| found.latencies.len()).sum()
    }

    /// Each target's account, when nothing more is awaited.
    pub(crate) fn close(self) -> Vec<Target> {
        let Self {
            ledger,
            answered,
            mut targets,
            ..
        } = self;
        let mut sent = vec![Sent::default(); targets.len()];
        for (number, answered) in answered.into_iter().enumerate() {
            if let Some(left) = ledger.left_at(number) {
                sent[number % ledger.targets.len()].count(left, answered);
            }
        }
        let accounts = ledger.targets.iter().zip(&mut targets).zip(sent);
        accounts
            .map(|((address, found), sent)| found.account(*address, sent))
            .collect()
    }
}

/// What left to one target; times are nanoseconds since the start.
#[derive(Clone, Default)]
struct Sent {
    count: u64,
    last: u64,
    lost_at: Vec<u64>,
}

impl Sent {
    fn count(&mut self, left: u64, answered: bool) {
        self.count += 1;
        self.last = left;
        if !answered && self.lost_at.len() < LOST_SHOWN {
            self.lost_at.push(left);
        }
    }
}

impl Found {
    fn account(&mut self, address: SocketAddr, sent: Sent) -> Target {
        let answered = self.latencies.len() as u64;
        // Silence at the end is a gap, too.
        let max_gap = self.max_gap.max(sent.last.saturating_sub(self.last));
        Target {
            address: address.to_string(),
            sent: sent.count,
            answered,
            lost: sent.count - answered,
            lost_at_ms: sent.lost_at.into_iter().map(milliseconds).collect(),
            unsynchronized: self.unsynchronized,
            duplicate: self.duplicate,
            max_gap_ms: milliseconds(max_gap),
            latency_us: percentiles(&mut self.latencies),
        }
    }
}

fn milliseconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos / 1000 * 1000).as_secs_f64() * 1e3
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The percentiles of these, which are sorted by it.
fn percentiles(microseconds: &mut [u64]) -> Latency {
    microseconds.sort_unstable();
    let at = |permille: usize| {
        let index = microseconds.len().saturating_sub(1) * permille / 1000;
        microseconds.get(index).copied().unwrap_or_default()
    };
    Latency {
        p50: at(500),
        p99: at(990),
        p999: at(999),
        max: at(1000),
    }
}
