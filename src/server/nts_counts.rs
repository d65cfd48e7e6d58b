//! Impure. The counts of what is special to NTS: reasons of NAKs, ages of cookies.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};
use strum::{IntoStaticStr, VariantArray};

use crate::server::residence::add_all;

/// The reason of a NAK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum NakReason {
    /// The cookie names no key that is known: it is too old, or of another server.
    Name,
    /// The cookie is not genuine.
    Cookie,
    /// The cookie is genuine, and the authenticator is not.
    Authenticator,
}

/// The age of a cookie, in periods of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieAge(usize);

/// The largest age that is counted alone.
const OLDEST: usize = 7;
/// The place of age 0: before it is that of cookies of the next period.
const PRESENT: usize = 1;
/// The number of ages that are counted apart.
const AGES: usize = PRESENT + OLDEST + 2;

impl CookieAge {
    /// The age in periods: negative if another server sealed it, whose clock is ahead.
    pub fn of_periods(age: i32) -> Self {
        match usize::try_from(age) {
            Ok(age) => Self(PRESENT + age.min(OLDEST + 1)),
            Err(_) => Self(0),
        }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..AGES).map(Self)
    }

    /// The word for it: a number of periods, `next` or `older`.
    pub fn name(self) -> String {
        match self.0.checked_sub(PRESENT) {
            None => "next".to_owned(),
            Some(age) if age > OLDEST => "older".to_owned(),
            Some(age) => age.to_string(),
        }
    }
}

impl NakReason {
    const COUNT: usize = Self::VARIANTS.len();

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::VARIANTS.iter().copied()
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The cells of a worker.
#[derive(Debug, Default)]
pub(crate) struct NtsCounters {
    naks: [AtomicU64; NakReason::COUNT],
    cookies: [AtomicU64; AGES],
}

impl NtsCounters {
    /// Counts a NAK.
    pub(crate) fn count_nak(&self, reason: NakReason) {
        if let Some(cell) = self.naks.get(reason as usize) {
            add(cell, 1);
        }
    }

    /// Counts a genuine cookie.
    pub(super) fn count_cookie(&self, age: CookieAge) {
        if let Some(cell) = self.cookies.get(age.0) {
            add(cell, 1);
        }
    }

    pub(super) fn snapshot(&self) -> NtsCounts {
        let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        NtsCounts {
            naks: self.naks.each_ref().map(load),
            cookies: self.cookies.each_ref().map(load),
        }
    }
}

/// Adds to a cell. There is one writer.
fn add(cell: &AtomicU64, count: u64) {
    let sum = cell.load(Ordering::Relaxed).wrapping_add(count);
    cell.store(sum, Ordering::Relaxed);
}

/// The counts as they were at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NtsCounts {
    naks: [u64; NakReason::COUNT],
    cookies: [u64; AGES],
}

impl NtsCounts {
    /// Returns the sum of both.
    #[must_use]
    pub(super) fn plus(mut self, other: &Self) -> Self {
        add_all(&mut self.naks, &other.naks);
        add_all(&mut self.cookies, &other.cookies);
        self
    }

    /// Returns the count of NAKs for `reason`.
    pub fn naks(&self, reason: NakReason) -> u64 {
        self.naks.get(reason as usize).copied().unwrap_or(0)
    }

    /// Returns the count of genuine requests whose cookie had this `age`.
    pub fn cookies(&self, age: CookieAge) -> u64 {
        self.cookies.get(age.0).copied().unwrap_or(0)
    }
}

/// An object with `naks` by reason and `cookies` by age.
impl Serialize for NtsCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("NtsCounts", 2)?;
        fields.serialize_field("naks", &ByReason(self))?;
        fields.serialize_field("cookies", &ByAge(self))?;
        fields.end()
    }
}

struct ByReason<'a>(&'a NtsCounts);

impl Serialize for ByReason<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        NakReason::all().try_for_each(|reason| map.serialize_entry(reason.name(), &self.0.naks(reason)))?;
        map.end()
    }
}

struct ByAge<'a>(&'a NtsCounts);

impl Serialize for ByAge<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        CookieAge::all().try_for_each(|age| map.serialize_entry(&age.name(), &self.0.cookies(age)))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_and_age_is_counted_by_its_name() {
        let counters = NtsCounters::default();
        for (times, reason) in NakReason::all().enumerate() {
            (0..=times).for_each(|_| counters.count_nak(reason));
        }
        for age in [-2, -1, 0, 7, 7, 8, 9, 300] {
            counters.count_cookie(CookieAge::of_periods(age));
        }
        let counts = counters.snapshot();
        let twice = counts.plus(&counts);
        assert_eq!(twice.naks(NakReason::Authenticator), 6);
        assert_eq!(
            serde_json::to_string(&counts).unwrap(),
            r#"{"naks":{"name":1,"cookie":2,"authenticator":3},"cookies":{"next":2,"0":1,"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":2,"older":3}}"#
        );
    }
}
