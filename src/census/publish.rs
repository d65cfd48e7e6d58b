//! Pure. The place where a worker publishes its census for others to read, without waiting for them.

use std::net::IpAddr;
use std::time::Duration;

use crate::census::{Census, CensusSettings, History};
use crate::published::{Publisher, Subscriber, published};

/// The interval in which a copy is published (*measured*: 3 µs, and 6 once in 5 minutes).
const APART: Duration = Duration::from_secs(1);

/// The worker's side.
#[derive(Debug)]
pub struct CensusPublisher {
    census: Census,
    published_at: Duration,
    publisher: Publisher<History>,
    reader: CensusReader,
}

/// The reader's side: what the worker published a second ago, or a bit more on a busy machine.
#[derive(Clone, Debug)]
pub struct CensusReader(Subscriber<History>);

impl CensusPublisher {
    /// All memory that it will ever have.
    pub fn new(settings: CensusSettings, now: Duration) -> Self {
        let (publisher, subscriber) = published(History::new(now));
        Self {
            census: Census::new(settings, now),
            published_at: now,
            publisher,
            reader: CensusReader(subscriber),
        }
    }

    /// An end for those that read it.
    pub fn reader(&self) -> CensusReader {
        self.reader.clone()
    }

    /// Notes packets from `sources` that came at `now`.
    pub fn note(&mut self, sources: impl Iterator<Item = IpAddr>, now: Duration) {
        self.census.note(sources, now);
    }

    /// Returns the time until `now` since the last request of `client`, as [`Census::last_request`].
    pub fn last_request(&self, client: IpAddr, now: Duration) -> Option<Duration> {
        self.census.last_request(client, now)
    }

    /// Publishes a copy when the last one is a second old: to be called after each batch, and now and then without one.
    pub fn publish_if_due(&mut self, now: Duration) {
        if now.saturating_sub(self.published_at) >= APART {
            self.publish(now);
        }
    }

    /// Publishes a copy, unless it is being read: then the next batch does.
    #[cold]
    fn publish(&mut self, now: Duration) {
        let told = self
            .publisher
            .try_access(|history| self.census.tell(history, now));
        if told.is_some() {
            self.published_at = now;
        }
    }
}

impl CensusReader {
    /// Lets `read` look, for as long as it likes: the worker goes on without publishing.
    pub fn read<T>(&self, read: impl FnOnce(&History) -> T) -> T {
        self.0.read(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::census::{CensusWanted, Merge};
    use std::net::Ipv4Addr;

    fn requests(reader: &CensusReader, now: Duration) -> u64 {
        let mut merge = Merge::new(now);
        reader.read(|history| merge.add(history));
        merge.report(&CensusWanted::first(100)).requests
    }

    #[test]
    fn the_worker_tells_once_a_second_and_never_waits() {
        let second = Duration::from_secs(1);
        let settings = CensusSettings { seed: 1, clients: 64 };
        let mut publisher = CensusPublisher::new(settings, second);
        let reader = publisher.reader();
        publisher.note([Ipv4Addr::LOCALHOST.into()].into_iter(), second);
        publisher.publish_if_due(second + second / 2);
        assert_eq!(requests(&reader, second * 2), 0);
        reader.read(|_| publisher.publish_if_due(second * 2));
        assert_eq!(requests(&reader, second * 2), 0);
        publisher.publish_if_due(second * 2);
        assert_eq!(requests(&reader, second * 2), 1);
    }
}
