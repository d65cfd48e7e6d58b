//! Pure. The interfaces where the program is, the hardware addresses there, and the IP addresses that requests come to.
//!
//! An interface has the addresses of its master, too: a port of a bridge or bond gets the frames for it. So has the
//! interface below a macvlan those of the macvlan. Those of a VLAN come to its own interface without a tag, and to all
//! others with one.

use std::net::IpAddr;

use super::layout::DEVICES;
use super::pattern::{is_pattern, matches};
use crate::host::addresses::Interface;

/// A hardware address at an interface where frames arrive for the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The number that Linux has for the interface.
    pub index: u32,
    /// The hardware address.
    pub address: [u8; 6],
    /// Our number for the interface that the program is attached to.
    pub number: usize,
}

/// An address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalAddress {
    /// The address.
    pub ip: IpAddr,
    /// A bit for each interface of the program, by its number, where frames without a VLAN tag come to this address.
    ///
    /// Others pass: the hardware may have taken away the tag of a VLAN.
    pub untagged: u16,
}

/// Returns those of `interfaces` that the names and patterns mean, by name.
///
/// A pattern means no loopback interface, and none on top of one that it means: there the program would run twice.
pub(super) fn chosen<'a>(names: &[String], interfaces: &'a [Interface]) -> Vec<&'a Interface> {
    let is_named = |one: &Interface| names.contains(&one.name);
    let is_meant = |one: &Interface| !one.is_loopback && names.iter().any(|name| matches(name, &one.name));
    let is_on_top = |one: &Interface| {
        let below = |other: &&Interface| {
            Some(other.index) == one.link.lower
                || (other.link.master == Some(one.index) && other.index != one.index)
        };
        interfaces
            .iter()
            .filter(below)
            .any(|other| is_named(other) || is_meant(other))
    };
    let mut chosen: Vec<&Interface> = interfaces
        .iter()
        .filter(|one| is_named(one) || (is_meant(one) && !is_on_top(one)))
        .collect();
    chosen.sort_by(|one, other| one.name.cmp(&other.name));
    chosen
}

/// Returns the names that are no patterns, and mean none of `interfaces`.
pub(super) fn absent<'a>(names: &'a [String], interfaces: &[Interface]) -> Vec<&'a String> {
    let is_there = |name: &String| is_pattern(name) || interfaces.iter().any(|one| one.name == *name);
    names.iter().filter(|name| !is_there(name)).collect()
}

/// Returns the devices of the attached interfaces (Linux' number, and ours), and the number of those without room.
///
/// Natively, a program that is attached to a bond runs at its ports, and sees their numbers.
pub(super) fn devices(attached: &[(u32, usize)], interfaces: &[Interface]) -> (Vec<Device>, usize) {
    let mut all: Vec<Device> = Vec::new();
    let mut borrowed: Vec<Device> = Vec::new();
    for (index, number) in attached.iter().copied() {
        let Some(own) = interfaces.iter().find(|one| one.index == index) else {
            continue;
        };
        let device = |index, address| Device {
            index,
            address,
            number,
        };
        all.push(device(index, own.hardware));
        borrowed.extend(near(own, interfaces).map(|one| device(index, one.hardware)));
        let is_attached = |port: &Interface| attached.iter().any(|(other, _)| *other == port.index);
        for port in interfaces
            .iter()
            .filter(|port| is_port_of(port, own) && !is_attached(port))
        {
            borrowed.push(device(port.index, own.hardware));
            borrowed.push(device(port.index, port.hardware));
        }
    }
    for one in borrowed {
        let is_known = |known: &&Device| (known.index, known.address) == (one.index, one.address);
        if one.address != [0; 6] && !all.iter().any(|known| is_known(&known)) {
            all.push(one);
        }
    }
    let without_room = all.len().saturating_sub(DEVICES);
    all.truncate(DEVICES);
    (all, without_room)
}

/// The interfaces whose frames come to this one: its master, and the macvlans on top of both.
fn near<'a>(own: &'a Interface, interfaces: &'a [Interface]) -> impl Iterator<Item = &'a Interface> {
    interfaces.iter().filter(|one| {
        let is_master = own.link.master == Some(one.index) && one.link.kind.as_deref() != Some("vrf");
        let lower = one.link.lower.filter(|_| is_macvlan(one));
        is_master || lower.is_some_and(|lower| lower == own.index || own.link.master == Some(lower))
    })
}

fn is_macvlan(one: &Interface) -> bool {
    matches!(one.link.kind.as_deref(), Some("macvlan" | "ipvlan"))
}

fn is_port_of(port: &Interface, own: &Interface) -> bool {
    port.is_port && port.link.master == Some(own.index)
}

/// Returns the addresses of this host, sorted, with the interfaces where requests come to them without a tag.
///
/// That is every attached interface, except for addresses of a VLAN's interface: those come without a tag to that one
/// alone. Addresses of interfaces that have nothing to do with an attached one only come with a tag.
pub(super) fn local_addresses(attached: &[(u32, usize)], interfaces: &[Interface]) -> Vec<LocalAddress> {
    let bit = |number: usize| {
        1_u16
            .checked_shl(u32::try_from(number).unwrap_or(u32::MAX))
            .unwrap_or(0)
    };
    let everywhere = attached.iter().fold(0, |all, (_, number)| all | bit(*number));
    let number_of = |one: &Interface| attached.iter().find(|(index, _)| *index == one.index);
    let is_near_one = |one: &Interface| {
        let mut owners = interfaces.iter().filter(|own| number_of(own).is_some());
        owners.any(|own| near(own, interfaces).any(|found| found.index == one.index))
    };
    let untagged = |one: &Interface| match number_of(one) {
        _ if one.is_loopback => everywhere,
        Some((_, number)) if one.link.kind.as_deref() == Some("vlan") => bit(*number),
        Some(_) => everywhere,
        None if is_near_one(one) => everywhere,
        None => 0,
    };
    let mut addresses: Vec<LocalAddress> = Vec::new();
    for one in interfaces {
        let untagged = untagged(one);
        for ip in one.addresses.iter().copied() {
            match addresses.iter_mut().find(|known| known.ip == ip) {
                Some(known) => known.untagged |= untagged,
                None => addresses.push(LocalAddress { ip, untagged }),
            }
        }
    }
    addresses.sort_unstable();
    addresses
}

/// Returns whether requests of a family come to the attached interface of these numbers: it has such an address.
pub(super) fn has_address(index: u32, interfaces: &[Interface], is_wanted: impl Fn(IpAddr) -> bool) -> bool {
    let Some(own) = interfaces.iter().find(|one| one.index == index) else {
        return false;
    };
    // With a tag.
    let on_top = |one: &&Interface| one.link.lower == Some(index) || one.link.lower == own.link.master;
    let vlans = interfaces
        .iter()
        .filter(|one| one.link.lower.is_some())
        .filter(on_top);
    let all = std::iter::once(own).chain(near(own, interfaces)).chain(vlans);
    all.flat_map(|one| &one.addresses).any(|ip| is_wanted(*ip))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netlink::message::NetworkLink;

    /// An interface of this number: its name, hardware address and IP address follow from it.
    fn interface(index: u32, name: &str) -> Interface {
        let number = u8::try_from(index).unwrap();
        Interface {
            name: name.to_owned(),
            index,
            hardware: [2, 0, 0, 0, 0, number],
            is_loopback: name == "lo",
            is_port: false,
            link: NetworkLink {
                index,
                ..NetworkLink::default()
            },
            addresses: vec![[192, 0, 2, number].into()],
            broadcasts: Vec::new(),
        }
    }

    fn on_top(index: u32, name: &str, kind: &str, lower: u32) -> Interface {
        let mut one = interface(index, name);
        (one.link.kind, one.link.lower) = (Some(kind.to_owned()), Some(lower));
        one
    }

    fn port(index: u32, name: &str, master: u32) -> Interface {
        let mut one = interface(index, name);
        (one.link.master, one.is_port) = (Some(master), true);
        one
    }

    /// lo; eth0 with a VLAN and a macvlan; two ports of a bond; a port of a bridge.
    fn host() -> Vec<Interface> {
        let mut bridge = interface(9, "br0");
        bridge.link.kind = Some("bridge".to_owned());
        let mut bridged = port(8, "s0", 9);
        bridged.is_port = false;
        vec![
            interface(1, "lo"),
            interface(2, "eth0"),
            on_top(3, "eth0.7", "vlan", 2),
            on_top(4, "mac0", "macvlan", 2),
            interface(5, "bond0"),
            port(6, "eth1", 5),
            port(7, "eth2", 5),
            bridged,
            bridge,
        ]
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn patterns_mean_what_is_not_on_top_of_another() {
        let host = host();
        for (names, expected) in [
            (&["eth0"][..], &["eth0"][..]),
            (&["eth*"], &["eth0", "eth1", "eth2"]),
            (&["eth0", "eth0.7"], &["eth0", "eth0.7"]),
            (&["*"], &["eth0", "eth1", "eth2", "s0"]),
            (&["lo", "nothing"], &["lo"]),
        ] {
            let found: Vec<&str> = chosen(&owned(names), &host)
                .iter()
                .map(|one| one.name.as_str())
                .collect();
            assert_eq!(found, expected, "{names:?}");
        }
        assert_eq!(
            absent(&owned(&["lo", "x*", "nothing"]), &host),
            [&"nothing".to_owned()]
        );
    }

    #[test]
    fn frames_come_to_the_addresses_of_masters_ports_and_macvlans() {
        let host = host();
        for (attached, expected) in [
            // A macvlan's frames come to the interface below it.
            (&[(2, 0)][..], &[(2, 2), (2, 4)][..]),
            (&[(4, 0)], &[(4, 4)]),
            (&[(8, 3)], &[(8, 8), (8, 9)]),
            (&[(5, 0)], &[(5, 5), (6, 5), (6, 6), (7, 5), (7, 7)]),
            (&[(6, 0)], &[(6, 6), (6, 5)]),
            (&[(5, 0), (6, 1)], &[(5, 5), (6, 6), (7, 5), (7, 7), (6, 5)]),
        ] {
            let (found, without_room) = devices(attached, &host);
            let found: Vec<_> = found
                .iter()
                .map(|one| (one.index, u32::from(one.address[5])))
                .collect();
            assert_eq!((found.as_slice(), without_room), (expected, 0), "{attached:?}");
        }
    }

    #[test]
    fn devices_without_room_are_counted() {
        let many: Vec<Interface> = (1..=40)
            .map(|index| port(index, "p", 99))
            .chain([interface(99, "bond0")])
            .collect();
        let (found, without_room) = devices(&[(99, 7)], &many);
        assert_eq!(
            (found.len(), without_room, found[0].index),
            (DEVICES, 81 - DEVICES, 99)
        );
        assert!(found.iter().all(|one| one.number == 7));
    }

    #[test]
    fn a_vlans_address_comes_without_a_tag_to_its_own_interface_alone() {
        let host = host();
        let untagged = |attached: &[(u32, usize)], last: u8| {
            let found = local_addresses(attached, &host);
            let ip = IpAddr::from([192, 0, 2, last]);
            found.iter().find(|one| one.ip == ip).map(|one| one.untagged)
        };
        for (attached, last, expected) in [
            (&[(2, 0)][..], 2, 1),
            (&[(2, 0)], 1, 1),
            (&[(2, 0)], 3, 0),
            (&[(2, 0)], 4, 1),
            (&[(2, 0)], 5, 0),
            (&[(2, 0), (3, 1)], 3, 2),
            (&[(2, 0), (3, 1)], 2, 3),
            (&[(8, 4)], 9, 16),
            (&[(6, 0)], 5, 1),
        ] {
            assert_eq!(untagged(attached, last), Some(expected), "{attached:?} {last}");
        }
    }

    #[test]
    fn an_interface_without_an_address_is_told_from_one_with() {
        let mut host = host();
        let v4 = |ip: IpAddr| ip.is_ipv4();
        assert!(has_address(8, &host, v4) && !has_address(8, &host, |ip| ip.is_ipv6()));
        host.iter_mut().for_each(|one| one.addresses.clear());
        assert!(!has_address(8, &host, v4));
        // Of the bridge, of the VLAN.
        for (index, attached) in [(9, 8), (3, 2), (4, 2)] {
            let mut host = host.clone();
            let one = host.iter_mut().find(|one| one.index == index).unwrap();
            one.addresses.push([192, 0, 2, 1].into());
            assert!(has_address(attached, &host, v4), "{index}");
        }
    }
}
