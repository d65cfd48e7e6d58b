//! Pure. The addresses of this host with a port where requests are answered, in a hash table with open places.
//!
//! The program reads this table.

use std::net::{IpAddr, SocketAddr};

use super::layout::{DESTINATIONS, Destination, InMemory, PROBES, SPREAD, SPREAD_SHIFT};

/// The table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DestinationTable([Destination; DESTINATIONS]);

impl DestinationTable {
    pub(super) const fn new() -> Self {
        Self([Destination::ZERO; DESTINATIONS])
    }

    /// Lets requests to `address` find the listener of this number: with a VLAN tag, or at the interfaces of `untagged`.
    ///
    /// An entry that is there already stays. Returns false if there is no place for it.
    pub(super) fn insert(&mut self, address: SocketAddr, untagged: u16, listener: usize) -> bool {
        let [high, low] = on_the_wire(address.ip());
        let new = Destination {
            high,
            low,
            port: u16::from_ne_bytes(address.port().to_be_bytes()),
            untagged,
            listener: u64::try_from(listener).unwrap_or(u64::MAX).saturating_add(1),
            ..Destination::ZERO
        };
        let start = (high ^ low.wrapping_add(new.port.into())).wrapping_mul(SPREAD) >> SPREAD_SHIFT;
        let start = usize::try_from(start).unwrap_or(0);
        for at in start..start + PROBES {
            let Some(place) = self.0.get_mut(at % DESTINATIONS) else {
                continue;
            };
            if place.listener == 0 {
                *place = new;
                return true;
            }
            if (place.high, place.low, place.port) == (high, low, new.port) {
                return true;
            }
        }
        false
    }

    pub(super) const fn entries(&self) -> [Destination; DESTINATIONS] {
        self.0
    }
}

/// The 16 bytes as they are on the wire, in two words; IPv4 as `::ffff:a.b.c.d`.
fn on_the_wire(address: IpAddr) -> [u64; 2] {
    let bytes = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let word = |from: usize| bytes.get(from..).and_then(<[u8]>::first_chunk).copied();
    [0, 8].map(|from| u64::from_ne_bytes(word(from).unwrap_or_default()))
}

/// Returns whether the program can answer for this address of ours.
///
/// Link-local ones mean another host on each interface, those of the loopback interface come from nowhere else.
pub(super) fn is_reachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_loopback() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast())
        }
        IpAddr::V6(v6) => {
            let is_special = v6.is_loopback() || v6.is_unspecified() || v6.to_ipv4_mapped().is_some();
            !(is_special || v6.is_multicast() || v6.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_one_place_and_the_first_keeps_it() {
        let mut table = DestinationTable::new();
        for number in 0..200_u8 {
            let address = SocketAddr::from(([192, 0, 2, number], 123));
            assert!(table.insert(address, 1, usize::from(number % 32)));
            assert!(table.insert(address, 0, 31));
        }
        let taken: Vec<_> = table.0.iter().filter(|place| place.listener != 0).collect();
        assert_eq!(taken.len(), 200);
        assert!(taken.iter().all(|place| place.untagged == 1));
    }

    #[test]
    fn a_full_table_says_so() {
        let mut table = DestinationTable::new();
        let all = (0..u16::MAX).map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        let found = all.filter(|address| table.insert(*address, 0, 0)).count();
        assert!((DESTINATIONS / 2..=DESTINATIONS).contains(&found), "{found}");
    }

    #[test]
    fn addresses_that_others_may_have_too_are_not_ours_alone() {
        for (address, expected) in [
            ("192.0.2.1", true),
            ("127.0.0.1", false),
            ("224.0.1.1", false),
            ("255.255.255.255", false),
            ("2001:db8::1", true),
            ("fd00::1", true),
            ("fe80::1", false),
            ("::1", false),
            ("ff05::101", false),
        ] {
            assert_eq!(is_reachable(address.parse().unwrap()), expected, "{address}");
        }
    }
}
