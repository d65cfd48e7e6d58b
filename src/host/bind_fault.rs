//! Pure. The reasons why nothing can be opened at an address, in the words that operators read.

use std::net::SocketAddr;

use super::shortage::Shortage;

/// The reason why nothing can be opened at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindFault {
    /// EADDRNOTAVAIL: no interface has the address.
    NoAddress,
    /// EADDRNOTAVAIL although an interface has the address: it can't be used yet, or not at all (IPv6).
    Tentative,
    /// ENODEV: there is no interface of the number that the address names.
    NoInterface,
    /// EAFNOSUPPORT: the host lacks the address family.
    NoFamily,
    /// EADDRINUSE: another program has the port.
    Taken,
    /// EACCES, EPERM.
    Forbidden,
    /// A resource has run out.
    Short(Shortage),
    /// Anything else.
    Refused,
}

impl BindFault {
    /// Whether the address is absent, so that the reason may end by itself.
    pub const fn is_absence(self) -> bool {
        matches!(self, Self::NoAddress | Self::Tentative | Self::NoInterface)
    }

    /// Returns the reason in words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoAddress => "no interface of this host has the address (EADDRNOTAVAIL)",
            Self::Tentative => {
                "the address exists but can't be used (EADDRNOTAVAIL): duplicate address detection has not ended or has failed, or the interface is down"
            }
            Self::NoInterface => "the interface does not exist (ENODEV)",
            Self::NoFamily => "this host has no such address family (EAFNOSUPPORT)",
            Self::Taken => "another program has the port (EADDRINUSE)",
            Self::Forbidden => "no permission to open the port (EACCES)",
            Self::Short(shortage) => shortage.text(),
            Self::Refused => "the kernel refused it",
        }
    }

    /// Returns the reason at `address`, and what to do about it.
    pub fn remedy(self, address: SocketAddr) -> String {
        let (ip, port) = (address.ip(), address.port());
        match self {
            Self::NoAddress => format!(
                "no interface of this host has the address {ip} (`ip address` lists them): add it, or configure another"
            ),
            Self::Tentative => format!(
                "an interface of this host has the address {ip}, but it can't be used: duplicate address detection has not ended (`ip address` shows it as tentative) or has failed (dadfailed), or the interface is down"
            ),
            Self::NoInterface => {
                "there is no interface of the number after % (`ip link` lists them)".to_owned()
            }
            Self::NoFamily => {
                "this host has no such address family: if IPv6 is disabled, start with `-6 0`".to_owned()
            }
            Self::Taken => format!(
                "another program has this port (`ss -ulpn 'sport = :{port}'` names it): stop it, or configure another address or port"
            ),
            Self::Forbidden => format!(
                "no permission to open port {port}: start as root with --user, give the service CAP_NET_BIND_SERVICE, or use a port from 1024 on"
            ),
            Self::Short(_) | Self::Refused => self.text().to_owned(),
        }
    }
}
