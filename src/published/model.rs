//! Impure. The model check of a published value.
//!
//! `loom` runs each order of the threads' steps that the memory model allows.

mod sync {
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
    pub(super) use loom::sync::{Arc, Mutex};
}

#[path = "slot.rs"]
#[expect(unreachable_pub, reason = "it is written for the crate")]
#[expect(
    clippy::duplicate_mod,
    reason = "here it is made of the model's threads and locks"
)]
mod slot;

use slot::published;

/// A value whose halves are always equal.
type Pair = (u64, u64);

fn set(to: u64) -> impl FnOnce(&mut Pair) {
    move |value| *value = (to, to)
}

#[test]
fn a_subscriber_never_goes_back_and_misses_nothing_for_good() {
    loom::model(|| {
        let (publisher, mut subscriber) = published((0, 0));
        let writer = loom::thread::spawn(move || {
            publisher.change(set(1));
            publisher.change(set(2));
            publisher
        });
        let mut last = (0, 0);
        for _ in 0..2 {
            if subscriber.is_changed() {
                subscriber.take(|value| {
                    assert!(value.0 >= last.0, "back from {last:?} to {value:?}");
                    last = *value;
                });
            }
            assert_eq!(last.0, last.1);
        }
        let _publisher = writer.join().unwrap();
        // What could not be taken while it was changed is still new.
        if subscriber.is_changed() {
            subscriber.take(|value| last = *value);
        }
        assert_eq!(last, (2, 2));
        assert_eq!(subscriber.read(|value| *value), last);
        assert!(!subscriber.is_changed());
    });
}

#[test]
fn what_was_seen_is_not_taken_again() {
    loom::model(|| {
        let (publisher, mut subscriber) = published((0, 0));
        let writer = loom::thread::spawn(move || publisher.change(set(1)));
        let mut taken = 0;
        for _ in 0..3 {
            if subscriber.is_changed() {
                subscriber.take(|_| taken += 1);
            }
        }
        writer.join().unwrap();
        assert!(taken <= 1);
    });
}

#[test]
fn what_is_left_in_exchange_comes_back_once() {
    // A worker takes its policy like this, and leaves the old one for the publisher to free.
    loom::model(|| {
        let (publisher, mut subscriber) = published(Some(1));
        let writer = loom::thread::spawn(move || {
            publisher.change(|value| *value = Some(2));
            // Frees what was left, if nothing new waits there.
            publisher.try_access(|value| value.take_if(|left| *left == 0));
            publisher
        });
        let mut own = 0;
        for _ in 0..2 {
            if subscriber.is_changed() {
                subscriber.take(|value| {
                    own = value.replace(own).unwrap();
                });
            }
        }
        writer.join().unwrap();
        if subscriber.is_changed() {
            subscriber.take(|value| own = value.replace(own).unwrap());
        }
        assert_eq!(own, 2);
    });
}

#[test]
fn another_subscriber_begins_with_what_is_newest() {
    loom::model(|| {
        let (publisher, subscriber) = published((0, 0));
        let writer = loom::thread::spawn(move || publisher.change(set(1)));
        let (mut other, mut last) = subscriber.another(|value| *value);
        writer.join().unwrap();
        if other.is_changed() {
            other.take(|value| last = *value);
        }
        assert_eq!(last, (1, 1));
    });
}
