//! Pure. The memory that a worker takes: all of it at its start, and no more later.

use crate::census;
use crate::server::policy::Policy;
use crate::server::policy::{exchange, limit};

/// The memory of a worker beside its tables, in bytes: room for a batch, its stack, counters (*measured*: 880 KB).
const BESIDE: u64 = 944 * 1024;

/// Returns the bytes that a worker takes under `policy`, with a `census` of as many clients, if there is one.
pub fn of_worker(policy: &Policy, census: Option<u32>) -> u64 {
    let limit = limit::memory(exchange::size(policy));
    let census = census.map_or(0, census::memory);
    BESIDE.saturating_add(limit).saturating_add(census)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_take_what_the_configuration_says() {
        assert_eq!(limit::memory(1 << 20), 32 << 20);
        assert_eq!(limit::memory(0), 0);
        // "8 bytes a client, beside 1 MB for all the rest."
        let beside = census::memory(1 << 20) - (8 << 20);
        assert!((900_000..1_200_000).contains(&beside), "{beside}");
        assert_eq!(census::memory(1 << 16) - (8 << 16), beside);
    }
}
