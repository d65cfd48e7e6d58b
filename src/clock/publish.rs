//! Impure. One writer gives the [`Reference`] to many readers: a generation count and a value behind a lock.
//!
//! A reader keeps its own copy and compares one number a batch; it touches the lock only after a change (once
//! a second), and never waits for it: when the writer is just there, the old copy serves one batch more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use super::Reference;

#[derive(Debug)]
struct Cell {
    generation: AtomicU64,
    value: Mutex<Reference>,
}

/// The writer's end.
#[derive(Debug)]
pub struct Publisher(Arc<Cell>);

/// A reader's end, with its own copy; each worker has one.
#[derive(Debug)]
pub struct Reader {
    cell: Arc<Cell>,
    seen: u64,
    copy: Reference,
}

/// Both ends of a new cell that holds `first`.
pub fn cell(first: Reference) -> (Publisher, Reader) {
    let cell = Arc::new(Cell {
        generation: AtomicU64::new(0),
        value: Mutex::new(first),
    });
    (
        Publisher(Arc::clone(&cell)),
        Reader {
            cell,
            seen: 0,
            copy: first,
        },
    )
}

impl Publisher {
    /// From now on every reader that looks finds `reference`.
    pub fn publish(&self, reference: Reference) {
        let mut value = self.0.value.lock().unwrap_or_else(PoisonError::into_inner);
        *value = reference;
        self.0.generation.fetch_add(1, Ordering::Release);
    }
}

/// A new reader knows at once what was published last, even if it has to wait for the writer: it has no older copy.
impl Clone for Reader {
    fn clone(&self) -> Self {
        let value = self.cell.value.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            seen: self.cell.generation.load(Ordering::Acquire),
            copy: *value,
            cell: Arc::clone(&self.cell),
        }
    }
}

impl Reader {
    /// The newest reference.
    pub fn latest(&mut self) -> &Reference {
        let generation = self.cell.generation.load(Ordering::Acquire);
        if generation != self.seen {
            self.refresh();
        }
        &self.copy
    }

    #[cold]
    fn refresh(&mut self) {
        let value = match self.cell.value.try_lock() {
            Ok(value) => value,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        // Counted under the lock, so that this is exactly the value's generation.
        self.seen = self.cell.generation.load(Ordering::Acquire);
        self.copy = *value;
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
        let (publisher, mut reader) = cell(numbered(1));
        assert_eq!(*reader.latest(), numbered(1));
        publisher.publish(numbered(2));
        publisher.publish(numbered(3));
        assert_eq!(*reader.latest(), numbered(3));
    }

    #[test]
    fn a_reader_never_waits_for_the_writer() {
        let (publisher, mut reader) = cell(numbered(1));
        publisher.publish(numbered(2));
        let writing = publisher.0.value.lock().unwrap();
        assert_eq!(*reader.latest(), numbered(1));
        drop(writing);
        assert_eq!(*reader.latest(), numbered(2));
    }

    #[test]
    fn a_new_reader_begins_with_what_was_published_last() {
        let (publisher, reader) = cell(numbered(1));
        publisher.publish(numbered(2));
        let mut new = reader.clone();
        let _writing = publisher.0.value.lock().unwrap();
        assert_eq!(*new.latest(), numbered(2));
    }

    #[test]
    fn many_readers_never_go_back() {
        let (publisher, reader) = cell(numbered(0));
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
