//! Pure. The interfaces where frames arrive for the program: the named ones, and the ports of those that are bonds.

use super::layout::DEVICES;

/// An interface where frames arrive for the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The number that Linux has for it.
    pub index: u32,
    /// Its hardware address.
    pub address: [u8; 6],
}

/// Returns the devices for the `named` interfaces, and the number of ports for which there is no room.
///
/// A program that is attached to a bond natively runs at its `ports`, and sees their numbers. The ports of a bond have its
/// hardware address, or at least the one that is active has it.
pub(super) fn devices(named: &[Device], ports: &[Device]) -> (Vec<Device>, usize) {
    let is_named = |port: &Device| named.iter().any(|device| device.index == port.index);
    let is_below = |port: &&Device| {
        let mut addresses = named.iter().map(|device| device.address);
        !is_named(port) && port.address != [0; 6] && addresses.any(|address| address == port.address)
    };
    let mut all = named.to_vec();
    all.extend(ports.iter().filter(is_below));
    let without_room = all.len().saturating_sub(DEVICES);
    all.truncate(DEVICES);
    (all, without_room)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(index: u32, last: u8) -> Device {
        Device {
            index,
            address: [2, 0, 0, 0, 0, last],
        }
    }

    #[test]
    fn the_ports_of_a_bond_are_those_with_its_address() {
        let bond = device(9, 1);
        for (named, ports, expected) in [
            (vec![bond], vec![], vec![9]),
            (
                vec![bond],
                vec![device(2, 1), device(3, 1), device(4, 2)],
                vec![9, 2, 3],
            ),
            // Both are named, or it is no bond.
            (vec![bond, device(2, 1)], vec![device(2, 1)], vec![9, 2]),
            (vec![device(5, 7)], vec![device(2, 1)], vec![5]),
        ] {
            let (found, without_room) = devices(&named, &ports);
            let found: Vec<u32> = found.iter().map(|device| device.index).collect();
            assert_eq!((found, without_room), (expected, 0), "{named:?} {ports:?}");
        }
        let none = Device {
            index: 1,
            address: [0; 6],
        };
        assert_eq!(devices(&[none], &[Device { index: 2, ..none }]), (vec![none], 0));
    }

    #[test]
    fn ports_without_room_are_counted() {
        let ports: Vec<Device> = (1..=20).map(|index| device(index, 1)).collect();
        let (found, without_room) = devices(&[device(99, 1)], &ports);
        assert_eq!((found.len(), without_room, found[0].index), (DEVICES, 5, 99));
    }
}
