//! Pure. The cookies of an association that were not sent yet.

use std::collections::VecDeque;

use crate::nts::MOST_COOKIES;

/// At most eight cookies. Each is taken once: by two that are equal an observer would know that one host sent both.
#[derive(Clone, Debug, Default)]
pub struct CookieJar(VecDeque<Vec<u8>>);

impl CookieJar {
    /// Takes the oldest cookie.
    //= RFC 8915 §5.7 question
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.0.pop_front()
    }

    /// Adds cookies; the oldest ones are dropped for them, as the newest are accepted longest.
    //= RFC 8915 §5.7 eight
    //= RFC 8915 §5.7 new-cookies
    pub fn add(&mut self, cookies: impl IntoIterator<Item = Vec<u8>>) {
        self.0.extend(cookies);
        let too_many = self.0.len().saturating_sub(MOST_COOKIES);
        self.0.drain(..too_many);
    }

    /// Puts a cookie back that was taken and not sent.
    pub fn put_back(&mut self, cookie: Vec<u8>) {
        if self.missing() > 0 {
            self.0.push_front(cookie);
        }
    }

    /// Returns the number of cookies.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of cookies that it lacks.
    pub fn missing(&self) -> usize {
        MOST_COOKIES.saturating_sub(self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_cookie_is_taken_twice_and_there_are_eight_at_most(steps in prop::collection::vec(prop_oneof![Just(None), (0_u8..12).prop_map(Some)], 0..60)) {
            let (mut jar, mut next, mut taken) = (CookieJar::default(), 0_u32, BTreeSet::new());
            for step in steps {
                let before = jar.len();
                if let Some(more) = step {
                    let cookies: Vec<_> = (0..more).map(|_| {
                        next += 1;
                        next.to_be_bytes().to_vec()
                    }).collect();
                    jar.add(cookies);
                    prop_assert_eq!(jar.len(), (before + usize::from(more)).min(MOST_COOKIES));
                } else {
                    let cookie = jar.take();
                    prop_assert_eq!(cookie.is_none(), before == 0);
                    // Each is newer than the one before it.
                    prop_assert!(cookie.clone().is_none_or(|cookie| taken.last().is_none_or(|last| *last < cookie)));
                    taken.extend(cookie);
                }
                prop_assert_eq!((jar.missing(), jar.is_empty()), (MOST_COOKIES - jar.len(), jar.missing() == MOST_COOKIES));
            }
        }
    }
}
