//! Pure. Reasons why an upstream can't be polled that this host or the network reports at once.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::nts::ke_fault::KeFault;
use crate::host::shortage::Shortage;

/// The reason why an address can't be polled. Its text is for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryFault {
    /// ENETUNREACH.
    NoRoute,
    /// EHOSTUNREACH.
    HostUnreachable,
    /// ENETDOWN.
    NetworkDown,
    /// EADDRNOTAVAIL.
    NoOwnAddress,
    /// EAFNOSUPPORT.
    NoFamily,
    /// ENODEV, ENXIO.
    NoInterface,
    /// ECONNREFUSED.
    NotListening,
    /// EACCES, EPERM.
    Forbidden,
    /// EMFILE, ENFILE, ENOMEM, ENOBUFS.
    Short(Shortage),
    /// Any other error of the kernel.
    Refused,
    /// The name has no address, or no name server answers.
    Unresolved,
    /// The name has a loopback address, which no name except `localhost` may have.
    Loopback,
    /// The name has the address 0.0.0.0 or ::.
    Unspecified,
    /// The name has a multicast or broadcast address.
    Multicast,
    /// The name has a link-local address, which can't be used without its interface.
    LinkLocal,
    /// The address is a listener of this server.
    OwnListener,
    /// The upstream is polled with NTS only, and there are no keys.
    NoKeys(KeFault),
}

impl QueryFault {
    /// Returns whether the name or the address is the reason, and not the network.
    pub const fn is_of_name(self) -> bool {
        matches!(
            self,
            Self::Unresolved
                | Self::Loopback
                | Self::Unspecified
                | Self::Multicast
                | Self::LinkLocal
                | Self::OwnListener
        )
    }

    /// Returns whether this host can't reach any address of the family.
    pub const fn is_of_family(self) -> bool {
        matches!(self, Self::NoRoute | Self::NoOwnAddress | Self::NoFamily)
    }

    /// Returns the text for the operator, with the kernel's name of the error.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoRoute => "no route to it (ENETUNREACH)",
            Self::HostUnreachable => "its host can't be reached (EHOSTUNREACH)",
            Self::NetworkDown => "the interface to it is down (ENETDOWN)",
            Self::NoOwnAddress => "no address of this host to ask it from (EADDRNOTAVAIL)",
            Self::NoFamily => "this host lacks its address family (EAFNOSUPPORT)",
            Self::NoInterface => "the interface to it is not there (ENODEV)",
            Self::NotListening => "no server listens there (ECONNREFUSED)",
            Self::Forbidden => "forbidden, by a firewall or a filter of this host (EACCES, EPERM)",
            Self::Short(shortage) => shortage.text(),
            Self::Refused => "the kernel refused to ask it",
            Self::Unresolved => "its name can't be resolved",
            Self::Loopback => {
                "its name stands for a loopback address: write that itself, or localhost, if this host is meant"
            }
            Self::Unspecified => "its name stands for the unspecified address",
            Self::Multicast => "its name stands for a multicast or broadcast address",
            Self::LinkLocal => "its name stands for a link-local address, which needs an interface",
            Self::NoKeys(fault) => fault.text(),
            Self::OwnListener => "it is this server: a listener of ntpfront has this address and port",
        }
    }
}

impl fmt::Display for QueryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Returns why `address` must not be polled, if it must not.
///
/// `is_named`: it is the address of a name, and name servers must not be able to make this host poll itself. `own` are
/// the addresses of this host, `listeners` those of ntpfront.
pub fn of_address(
    address: SocketAddr,
    is_named: bool,
    own: &[IpAddr],
    listeners: &[SocketAddr],
) -> Option<QueryFault> {
    let ip = address.ip().to_canonical();
    let here = ip.is_loopback() || own.contains(&ip);
    let is_ours = |listener: &SocketAddr| {
        let any = listener.ip().is_unspecified() && listener.is_ipv4() == ip.is_ipv4();
        listener.port() == address.port() && (listener.ip() == ip || any)
    };
    match ip {
        _ if here && listeners.iter().any(is_ours) => Some(QueryFault::OwnListener),
        _ if !is_named => None,
        _ if ip.is_loopback() => Some(QueryFault::Loopback),
        _ if ip.is_unspecified() => Some(QueryFault::Unspecified),
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some(QueryFault::Unspecified),
        _ if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) => Some(QueryFault::Multicast),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(QueryFault::LinkLocal),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_not_stand_for_every_address() {
        let own = ["127.0.0.1", "192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        for (address, expected) in [
            ("127.0.0.1:11123", Some(QueryFault::Loopback)),
            ("127.0.1.1:123", Some(QueryFault::Loopback)),
            ("[::1]:123", Some(QueryFault::Loopback)),
            ("[::ffff:127.0.0.1]:123", Some(QueryFault::Loopback)),
            ("0.0.0.0:123", Some(QueryFault::Unspecified)),
            ("0.1.2.3:123", Some(QueryFault::Unspecified)),
            ("[::]:123", Some(QueryFault::Unspecified)),
            ("[::ffff:0.0.0.0]:123", Some(QueryFault::Unspecified)),
            ("224.0.1.1:123", Some(QueryFault::Multicast)),
            ("[ff02::101]:123", Some(QueryFault::Multicast)),
            ("255.255.255.255:123", Some(QueryFault::Multicast)),
            ("[fe80::1]:123", Some(QueryFault::LinkLocal)),
            ("192.0.2.7:123", None),
            ("[2001:db8::7]:123", None),
            // Another server on this host.
            ("192.0.2.1:11123", None),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(of_address(address, true, &own, &[]), expected, "{address}");
            assert_eq!(of_address(address, false, &own, &[]), None, "{address}");
        }
    }

    #[test]
    fn own_listeners_are_not_polled() {
        let own = ["127.0.0.1", "192.0.2.1", "192.0.2.9", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        let listeners = ["0.0.0.0:123", "[2001:db8::1]:124"].map(|address| address.parse().unwrap());
        for (address, is_ours) in [
            ("192.0.2.1:123", true),
            ("192.0.2.9:123", true),
            ("127.0.0.1:123", true),
            ("127.1.2.3:123", true),
            ("[::ffff:192.0.2.1]:123", true),
            ("[2001:db8::1]:124", true),
            ("192.0.2.1:124", false),
            ("[2001:db8::1]:123", false),
            ("192.0.2.2:123", false),
            ("[2001:db8::2]:124", false),
        ] {
            let address = address.parse().unwrap();
            for is_named in [true, false] {
                let fault = of_address(address, is_named, &own, &listeners);
                assert_eq!(fault == Some(QueryFault::OwnListener), is_ours, "{address}");
            }
        }
    }
}
