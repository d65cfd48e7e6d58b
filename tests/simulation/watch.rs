//! The three promises that an adversary tries to break, measured look by look.

/// What is watched of one play, and the worst that was seen.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    /// The promise of the truth is not owed before: nobody could know yet.
    pub(crate) excused_until: f64,
    /// From when on there has to be a time; infinite while none is owed.
    pub(crate) owed_from: f64,
    /// For how long it may be missing then.
    pub(crate) may_be_idle: f64,
    /// The largest |error| / announced distance: over 1 is a broken promise; and when that was, with both.
    pub(crate) ratio: f64,
    pub(crate) ratio_at: f64,
    pub(crate) ratio_of: (f64, f64),
    /// The longest time without a time while one was owed, as a part of what may be; and when it ended.
    pub(crate) idle: f64,
    pub(crate) idle_at: f64,
    idle_since: Option<f64>,
    /// The widest distance that was announced while a time was owed.
    pub(crate) widest: f64,
    /// All that was served, to be compared with another play.
    pub(crate) trace: Vec<Seen>,
    pub(crate) keeps_trace: bool,
}

/// One look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) now: f64,
    pub(crate) usable: bool,
    /// By how much what is served is ahead of the truth.
    pub(crate) error: f64,
    pub(crate) distance: f64,
}

/// Two plays of the same may differ by this from rounding: sums in another order, and 2^-16 s in each of two fields.
const SERVED_ALIKE: f64 = 1e-6;
const DISTANCE_ALIKE: f64 = 32e-6;

impl Watch {
    pub(crate) fn new(may_be_idle: f64, owed_from: f64) -> Self {
        Self {
            excused_until: 0.0,
            owed_from,
            may_be_idle,
            ratio: 0.0,
            ratio_at: 0.0,
            ratio_of: (0.0, 0.0),
            idle: 0.0,
            idle_at: 0.0,
            idle_since: None,
            widest: 0.0,
            trace: Vec::new(),
            keeps_trace: false,
        }
    }

    pub(crate) fn look(&mut self, seen: Seen) {
        if self.keeps_trace {
            self.trace.push(seen);
        }
        if seen.usable && seen.now >= self.excused_until {
            let allowed = seen.distance;
            let ratio = seen.error.abs() / allowed.max(1e-9);
            if ratio > self.ratio {
                self.ratio = ratio;
                self.ratio_at = seen.now;
                self.ratio_of = (seen.error, allowed);
            }
        }
        if seen.usable || seen.now < self.owed_from {
            self.idle_since = None;
            if seen.now >= self.owed_from {
                self.widest = self.widest.max(seen.distance);
            }
            return;
        }
        let since = *self.idle_since.get_or_insert(seen.now);
        let idle = (seen.now - since) / self.may_be_idle;
        if idle > self.idle {
            (self.idle, self.idle_at) = (idle, seen.now);
        }
    }

    /// How much what was served hangs on the order of the upstreams: over 1 is more than rounding explains; with the
    /// first look that differs so much.
    pub(crate) fn differs(&self, other: &Self) -> (f64, Option<(Seen, Seen)>) {
        let mut most: f64 = 0.0;
        for (&one, &two) in self.trace.iter().zip(&other.trace) {
            let differs = if one.now != two.now || one.usable != two.usable {
                10.0
            } else if one.usable {
                let served = (one.error - two.error).abs() / SERVED_ALIKE;
                served.max((one.distance - two.distance).abs() / DISTANCE_ALIKE)
            } else {
                0.0
            };
            most = most.max(differs);
            if most > 1.0 {
                return (most, Some((one, two)));
            }
        }
        (most, None)
    }
}
