//! Pure. The places of replies: among those that are sent together, or alone, and after a pause or not.
//!
//! The time until a reply leaves depends on its place.

use std::time::Duration;

use super::SENT_TOGETHER;

/// The places of replies that are sent together. All behind them are as the last one.
pub(super) const PLACES: usize = SENT_TOGETHER;
/// The place of a reply that is sent alone, right after others. Behind it are those of such replies after pauses.
pub(super) const ALONE: usize = PLACES;
/// The classes of pauses. After longer ones a reply takes longer: the CPU has done something else, or has slept.
pub(super) const PAUSES: usize = 6;
/// The place of all replies that are sent together first after the shortest pause, and behind it those after longer ones.
pub(super) const TOGETHER_AFTER_PAUSE: usize = ALONE + 1 + PAUSES;
/// The number of places.
pub(super) const ALL_PLACES: usize = TOGETHER_AFTER_PAUSE + PAUSES;
/// The shortest pause, in microseconds. Each class begins at four times that of the one before.
const SHORTEST_PAUSE: u128 = 8;

/// Returns the class of a pause; `None` if it is none.
pub(super) fn pause(idle: Duration) -> Option<usize> {
    let doubled = (idle.as_micros() / SHORTEST_PAUSE).checked_ilog2();
    doubled.map(|doubled| (doubled as usize / 2).min(PAUSES - 1))
}
