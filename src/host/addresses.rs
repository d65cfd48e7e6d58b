//! Impure. The interfaces of this host and their addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{SockaddrIn, SockaddrStorage};

use super::netlink;
use super::netlink::message::{ListRequest, NetworkLink, link};

/// Returns all addresses that the interfaces have now.
///
/// # Errors
/// The kernel does not say, as when no netlink socket is allowed.
pub fn own() -> io::Result<Vec<IpAddr>> {
    let interfaces = getifaddrs()?;
    Ok(interfaces.filter_map(|interface| address(&interface)).collect())
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Linux' number for it. An interface that was removed and comes back has another one.
    pub index: u32,
    /// Hardware address; zeros if there is none.
    pub hardware: [u8; 6],
    /// Whether it leads back to this host alone.
    pub is_loopback: bool,
    /// Whether it is a port of a bond, or below another interface in the same way (`IFF_SLAVE`).
    pub is_port: bool,
    /// Its place among the others; only its number where the kernel tells no more.
    pub link: NetworkLink,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Broadcast addresses of its IPv4 networks (RFC 919): the configured ones, and the last address of each network.
    pub broadcasts: Vec<Ipv4Addr>,
}

/// Returns all interfaces that there are now.
///
/// # Errors
/// As [`own`].
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut addresses = Vec::new();
    for one in getifaddrs()? {
        addresses.extend(address(&one).map(|ip| (one.interface_name.clone(), ip, broadcasts(&one))));
        let link = one
            .address
            .as_ref()
            .and_then(SockaddrStorage::as_link_addr)
            .copied();
        interfaces.extend(link.map(|link| Interface {
            index: u32::try_from(link.ifindex()).unwrap_or(0),
            hardware: link.addr().unwrap_or_default(),
            is_loopback: one.flags.contains(InterfaceFlags::IFF_LOOPBACK),
            is_port: one.flags.contains(InterfaceFlags::IFF_SLAVE),
            link: NetworkLink::default(),
            name: one.interface_name,
            addresses: Vec::new(),
            broadcasts: Vec::new(),
        }));
    }
    for (name, ip, broadcasts) in addresses {
        // An IPv4 address may have a label in the place of the name: "eth0:1".
        let name = name.split(':').next().unwrap_or_default();
        let of_name = interfaces.iter_mut().find(|one| one.name == name);
        if let Some(one) = of_name {
            one.addresses.push(ip);
            one.broadcasts.extend(broadcasts.into_iter().flatten());
        }
    }
    Ok(interfaces)
}

/// Returns all interfaces that there are now, each with its place among the others.
///
/// # Errors
/// As [`own`].
pub fn linked_interfaces() -> io::Result<Vec<Interface>> {
    let mut interfaces = interfaces()?;
    let mut links = Vec::new();
    netlink::list(&ListRequest::LINKS, |entry| links.extend(link(entry)))?;
    for one in &mut interfaces {
        let found = links.iter().find(|link| link.index == one.index);
        one.link = found.cloned().unwrap_or_default();
    }
    Ok(interfaces)
}

/// Returns the number of the interface of this name or number: the scope of a link-local address.
///
/// Numbers are not looked up.
///
/// # Errors
/// `ENODEV` if there is no interface of this name now, or as [`own`].
pub fn scope(interface: &str) -> io::Result<u32> {
    if let Ok(number) = interface.parse() {
        return Ok(number);
    }
    let all = interfaces()?;
    let found = all.iter().find(|one| one.name == interface);
    found
        .map(|one| one.index)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
}

fn address(interface: &InterfaceAddress) -> Option<IpAddr> {
    let storage = interface.address?;
    let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// Returns the configured broadcast address, and the last address of the network.
///
/// A network of one or two addresses has none (RFC 3021).
fn broadcasts(interface: &InterfaceAddress) -> [Option<Ipv4Addr>; 2] {
    let v4 = |storage: Option<SockaddrStorage>| storage?.as_sockaddr_in().map(SockaddrIn::ip);
    let said = interface
        .flags
        .contains(InterfaceFlags::IFF_BROADCAST)
        .then(|| v4(interface.broadcast));
    let last = v4(interface.address)
        .zip(v4(interface.netmask))
        .and_then(|(address, mask)| {
            let hosts = !mask.to_bits();
            (hosts > 1).then(|| Ipv4Addr::from_bits(address.to_bits() | hosts))
        });
    let is_of_a_network = |address: &Ipv4Addr| !address.is_broadcast() && !address.is_unspecified();
    [said.flatten(), last].map(|address| address.filter(is_of_a_network))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_ours() {
        assert!(own().unwrap().iter().any(IpAddr::is_loopback));
        let all = interfaces().unwrap();
        let loopback = all.iter().find(|one| one.name == "lo").unwrap();
        assert!(loopback.is_loopback && loopback.index > 0);
        assert!(loopback.addresses.iter().all(IpAddr::is_loopback), "{loopback:?}");
    }

    #[test]
    fn a_scope_is_the_number_of_an_interface() {
        assert_eq!(scope("lo").unwrap(), nix::net::if_::if_nametoindex("lo").unwrap());
        assert_eq!(scope("7").unwrap(), 7);
        let error = scope("no-such-device").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }
}
