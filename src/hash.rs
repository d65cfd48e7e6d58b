//! Pure. A keyed hash of addresses: without the seed, addresses that collide can't be chosen.

use std::net::IpAddr;

/// The prefix of an IPv4 address as an IPv6 address, `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2).
///
/// Both families are one type then, which is fast to work with.
pub(super) const MAPPED: u128 = 0xFFFF << 32;

/// Returns the address as a number; an IPv4 address as its [`MAPPED`] one.
pub(super) fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => MAPPED | u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// A hash function of addresses, chosen by a seed.
///
/// Libraries' hashes for tables, like foldhash, don't fit: they mix a number with one product, so consecutive addresses
/// are spread too evenly for the census's estimate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hasher([u64; 4]);

impl Hasher {
    /// Derives the function's four words from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        // Splitmix64 (Steele, Lea, Flood 2014): no word can be derived from another without the seed.
        let word = |index: u64| {
            let mut word = seed.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            word ^ (word >> 31)
        };
        Self([word(1), word(2), word(3), word(4)])
    }

    /// Returns the hash of an address (see [`mapped`]); where fewer than 64 bits are needed, any of them will do.
    pub(super) fn hash(&self, address: u128) -> u64 {
        let Self([one, two, three, four]) = *self;
        let mixed = fold(high(address) ^ one, low(address) ^ two);
        fold(mixed ^ three, four | 1)
    }
}

/// Multiplies, and combines both halves of the product: each bit depends on all bits of both factors.
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    high(product) ^ low(product)
}

fn high(bits: u128) -> u64 {
    low(bits >> 64)
}

fn low(bits: u128) -> u64 {
    u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chi-squared of the spread of `addresses` over 256 places by the bits from `shift` on: about 255 ± 23.
    fn unevenness(hasher: Hasher, addresses: impl Iterator<Item = u128>, shift: u32) -> f64 {
        let mut places = [0_u32; 256];
        let mut count = 0;
        for address in addresses {
            places[usize::from((hasher.hash(address) >> shift).to_le_bytes()[0])] += 1;
            count += 1;
        }
        let expected = f64::from(count) / 256.0;
        places
            .iter()
            .map(|&found| (f64::from(found) - expected).powi(2) / expected)
            .sum()
    }

    #[test]
    fn addresses_in_a_row_fall_evenly() {
        for seed in 0..8 {
            let hasher = Hasher::new(seed);
            for shift in [0, 8, 20, 32, 48, 56] {
                let ipv4 = (0..20_000_u128).map(|n| 0xFFFF_0A00_0000 + n);
                let hosts = (0..20_000_u128).map(|n| (0x2001_0DB8 << 96) + n);
                let networks = (0..20_000_u128).map(|n| (0x2001 << 112) + (n << 64));
                for unevenness in [
                    unevenness(hasher, ipv4, shift),
                    unevenness(hasher, hosts, shift),
                    unevenness(hasher, networks, shift),
                ] {
                    assert!(
                        (130.0..400.0).contains(&unevenness),
                        "{seed} {shift}: {unevenness}"
                    );
                }
            }
        }
    }

    #[test]
    fn another_seed_is_another_hash() {
        let hash = |seed| Hasher::new(seed).hash(1);
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }
}
