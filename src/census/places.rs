//! Pure. Eight places that share a cache line, as both tables of the census have them.

/// The number of places.
pub(super) const WAYS: usize = 8;

/// The bits of each place in a number that has as many for all.
const BITS: usize = 32 / WAYS;

/// Returns the first place where `wanted` is, or [`WAYS`].
///
/// It always looks at all, and makes a bit of each. The CPU can't foretell where a search could stop, a wrong guess
/// costs more than the rest, and it compares several at once.
#[inline]
pub(super) fn place_of(places: &[u32; WAYS], wanted: u32) -> usize {
    let mut found = 0_u32;
    for (place, &there) in places.iter().enumerate() {
        found |= if there == wanted { 2 << (BITS * place) } else { 0 };
    }
    usize::try_from(found.trailing_zeros()).unwrap_or(0) / BITS
}
