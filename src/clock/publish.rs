//! Pure. The publication of a [`Reference`] to the workers: each has a copy, and checks for a newer one per batch.

use super::{Reference, SmearedReference, SystemVariables};
use crate::leap::{Smear, SmearedTime};
use crate::published::{self, Subscriber};
use crate::time::ClockReadings;

/// The reference of listeners with UTC, and around a leap second that of listeners with a smear.
#[derive(Clone, Copy, Debug)]
struct References {
    utc: Reference,
    smeared: Option<SmearedReference>,
}

/// The publishing end.
#[derive(Debug)]
pub struct ReferencePublisher(published::Publisher<References>);

/// A reading end with its own copy; each worker has one.
#[derive(Debug)]
pub struct ReferenceReader {
    newest: Subscriber<References>,
    copy: References,
}

/// Returns both ends of a new publication that begins with `first`.
pub fn published(first: Reference) -> (ReferencePublisher, ReferenceReader) {
    let copy = References {
        utc: first,
        smeared: None,
    };
    let (publisher, newest) = published::published(copy);
    (ReferencePublisher(publisher), ReferenceReader { newest, copy })
}

impl ReferencePublisher {
    /// Publishes `reference`: each reader's next [`ReferenceReader::latest`] finds it. No leap second is near.
    pub fn publish(&self, reference: Reference) {
        self.publish_both(reference, None);
    }

    /// Publishes `utc`, and `smeared` for the listeners with a smear.
    pub fn publish_both(&self, utc: Reference, smeared: Option<SmearedReference>) {
        self.0.change(|value| *value = References { utc, smeared });
    }
}

/// A clone starts with what was published last, and waits for the publisher if necessary: it has no older copy.
impl Clone for ReferenceReader {
    fn clone(&self) -> Self {
        let (newest, copy) = self.newest.another(|value| *value);
        Self { newest, copy }
    }
}

impl ReferenceReader {
    /// Returns the newest reference; the one before it while the publisher is just changing it.
    pub fn latest(&mut self) -> &Reference {
        if self.newest.is_changed() {
            self.refresh();
        }
        &self.copy.utc
    }

    /// Returns the variables that a listener with this `smear`, or with UTC, announces at `now`.
    ///
    /// They are of the reference that comes with them, as of the last [`ReferenceReader::latest`]. The smeared time is
    /// `None` if no leap second is smeared there and near.
    pub fn at_listener(
        &self,
        smear: Option<Smear>,
        now: ClockReadings,
    ) -> (SystemVariables, &Reference, Option<SmearedTime>) {
        match smear.zip(self.copy.smeared.as_ref()) {
            None => (self.copy.utc.at(now), &self.copy.utc, None),
            Some((smear, smeared)) => (
                smeared.at(smear, now),
                &smeared.reference,
                Some(smeared.time(smear)),
            ),
        }
    }

    #[cold]
    fn refresh(&mut self) {
        self.newest.take(|value| self.copy = *value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ClockModel;
    use crate::time::ClockReadings;
    use crate::time::NtpTimestamp;
    use crate::wire::ReferenceId;
    use std::time::Duration;

    fn numbered(number: u32) -> Reference {
        let published = ClockReadings {
            realtime: NtpTimestamp::ZERO,
            raw: Duration::ZERO,
            boot: Duration::ZERO,
        };
        Reference::unsynchronized(
            ReferenceId::from_bytes(number.to_be_bytes()),
            0,
            ClockModel::Host,
            published,
        )
    }

    #[test]
    fn a_reader_sees_what_was_published_last() {
        let (publisher, mut reader) = published(numbered(1));
        assert_eq!(*reader.latest(), numbered(1));
        publisher.publish(numbered(2));
        publisher.publish(numbered(3));
        assert_eq!(*reader.latest(), numbered(3));
    }

    #[test]
    fn a_reader_never_waits_for_the_writer() {
        let (publisher, mut reader) = published(numbered(1));
        publisher.publish(numbered(2));
        publisher
            .0
            .try_access(|_| assert_eq!(*reader.latest(), numbered(1)));
        assert_eq!(*reader.latest(), numbered(2));
    }

    #[test]
    fn a_new_reader_begins_with_what_was_published_last() {
        let (publisher, reader) = published(numbered(1));
        publisher.publish(numbered(2));
        let mut new = reader.clone();
        publisher.0.try_access(|_| assert_eq!(*new.latest(), numbered(2)));
    }

    #[test]
    fn many_readers_never_go_back() {
        let (publisher, reader) = published(numbered(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let mut reader = reader.clone();
                scope.spawn(move || {
                    let mut last = 0;
                    while last < 1000 {
                        let now = u32::from_be_bytes(reader.latest().reference_id.to_bytes());
                        assert!(now >= last);
                        last = now;
                    }
                });
            }
            (1..=1000).for_each(|number| publisher.publish(numbered(number)));
        });
    }
}
