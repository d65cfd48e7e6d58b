//! Impure. The model check of a place: `loom` runs each order of the threads' steps that the memory model allows.

mod sync {
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
}

#[path = "place.rs"]
#[expect(clippy::duplicate_mod, reason = "here it is made of the model's numbers")]
mod place;

use loom::sync::Arc;

use place::{EMPTY, SavedPair};

/// The value that belongs to a key.
const fn value_of(key: u64) -> u64 {
    key * 100
}

#[test]
fn a_pair_has_one_taker() {
    loom::model(|| {
        let place = Arc::new(SavedPair::default());
        assert!(place.put(EMPTY, 1, value_of(1)));
        let other = Arc::clone(&place);
        let taker = loom::thread::spawn(move || other.take(1, |_| true));
        let takers = [place.take(1, |_| true), taker.join().unwrap()];
        assert_eq!(takers.into_iter().flatten().collect::<Vec<_>>(), [value_of(1)]);
        assert_eq!(place.key(), EMPTY);
    });
}

#[test]
fn a_pair_is_never_made_of_two() {
    loom::model(|| {
        let place = Arc::new(SavedPair::default());
        let put = |place: &SavedPair, key| {
            let seen = place.key();
            place.put(seen, key, value_of(key))
        };
        let (one, other) = (Arc::clone(&place), Arc::clone(&place));
        let threads = [
            loom::thread::spawn(move || put(&one, 1)),
            loom::thread::spawn(move || put(&other, 3)),
        ];
        let meanwhile = [1, 3].map(|key| (key, place.take(key, |_| true)));
        let any = threads.map(|thread| thread.join().unwrap()).contains(&true);
        let at_last = [1, 3].map(|key| (key, place.take(key, |_| true)));
        let mut found = 0;
        for (key, value) in meanwhile.into_iter().chain(at_last) {
            found += u32::from(value.is_some());
            assert!(
                value.is_none_or(|value| value == value_of(key)),
                "{key}: {value:?}"
            );
        }
        assert!(any && (1..=2).contains(&found), "{any} {found}");
    });
}

#[test]
fn what_is_not_wanted_stays() {
    loom::model(|| {
        let place = Arc::new(SavedPair::default());
        assert!(place.put(EMPTY, 1, value_of(1)));
        let other = Arc::clone(&place);
        let refuser = loom::thread::spawn(move || other.take(1, |_| false));
        // Who only glances changes nothing.
        assert!(place.glance().is_none_or(|value| value == value_of(1)));
        // While the other one looks, it may seem to be gone: then this one is not told, and nothing is lost.
        let meanwhile = place.take(1, |_| true);
        assert_eq!(refuser.join().unwrap(), None);
        let at_last = place.take(1, |_| true);
        assert_eq!(meanwhile.or(at_last), Some(value_of(1)));
    });
}
