//! Pure. Our addresses with a port where somebody listens, as the program finds them: a table with open places.

use std::net::{IpAddr, SocketAddr};

use super::layout::{DOOR, DOORS, PROBES};

/// 2^64 divided by the golden ratio: multiplied by it, near numbers come to lie far apart.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// Of 64 bits the highest that number all places.
const SHIFT: u32 = 64 - DOORS.ilog2();

/// The table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doors([[u64; DOOR]; DOORS]);

impl Doors {
    pub(super) const fn new() -> Self {
        Self([[0; DOOR]; DOORS])
    }

    /// Lets requests to `address` (`tagged`: with a VLAN tag) find the listener of this number. One that is there already
    /// stays. False if there is no place for it.
    pub(super) fn open(&mut self, address: SocketAddr, tagged: bool, listener: usize) -> bool {
        let [high, low] = on_the_wire(address.ip());
        let port = u16::from_ne_bytes(address.port().to_be_bytes());
        let start = (high ^ low.wrapping_add(port.into())).wrapping_mul(SPREAD) >> SHIFT;
        let start = usize::try_from(start).unwrap_or(0);
        for at in start..start + PROBES {
            let Some(door) = self.0.get_mut(at % DOORS) else {
                continue;
            };
            let [same_high, same_low, same_port, taken] = *door;
            let listener = u64::try_from(listener).unwrap_or(u64::MAX).saturating_add(1);
            if taken == 0 {
                *door = [high, low, door_word(port, tagged), listener];
                return true;
            }
            let is_same = [false, true]
                .map(|tagged| door_word(port, tagged))
                .contains(&same_port);
            if is_same && (same_high, same_low) == (high, low) {
                return true;
            }
        }
        false
    }

    pub(super) fn words(&self) -> &[u64] {
        self.0.as_flattened()
    }
}

fn door_word(port: u16, tagged: bool) -> u64 {
    let ([a, b], [c, d]) = (port.to_ne_bytes(), u16::from(tagged).to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0])
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

/// Can the program answer for this address of ours? Link-local ones mean another host on each interface, those of the
/// loopback interface come from nowhere else.
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
        let mut doors = Doors::new();
        for number in 0..200_u8 {
            let address = SocketAddr::from(([192, 0, 2, number], 123));
            assert!(doors.open(address, false, usize::from(number % 32)));
            assert!(doors.open(address, true, 31));
        }
        let taken = doors.0.iter().filter(|door| door[3] != 0);
        assert_eq!(taken.count(), 200);
    }

    #[test]
    fn a_full_table_says_so() {
        let mut doors = Doors::new();
        let all = (0..u16::MAX).map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        let opened = all.filter(|address| doors.open(*address, false, 0)).count();
        assert!((DOORS / 2..=DOORS).contains(&opened), "{opened}");
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
