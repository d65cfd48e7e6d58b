//! Pure. Eight places that share a cache line, as both tables of the census have them.

/// How many there are.
pub(super) const WAYS: usize = 8;

/// The last place where `wanted` is, or [`WAYS`]. It always looks at all: nobody can foretell where it could stop, and a
/// wrong guess costs more than the rest.
pub(super) fn place_of(places: &[u32; WAYS], wanted: u32) -> usize {
    let mut found = WAYS;
    for (place, &there) in places.iter().enumerate() {
        if there == wanted {
            found = place;
        }
    }
    found
}
