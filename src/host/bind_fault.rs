//! Pure. Why nothing can be opened at an address, as the operator shall read it.

use std::net::SocketAddr;

use super::shortage::Shortage;

/// Why nothing can be opened there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindFault {
    /// EADDRNOTAVAIL: no interface has the address.
    NoAddress,
    /// EADDRNOTAVAIL although an interface has the address: IPv6 doesn't let it be used yet, or for good.
    Tentative,
    /// ENODEV: there is no interface of the number that the address names.
    NoInterface,
    /// EAFNOSUPPORT: the host lacks the whole family.
    NoFamily,
    /// EADDRINUSE: somebody else has the port.
    Taken,
    /// EACCES, EPERM.
    Forbidden,
    /// There is not enough of something.
    Short(Shortage),
    /// Anything else.
    Refused,
}

impl BindFault {
    /// Is it that the address is not there, so that all may be well as soon as it is?
    pub const fn is_absence(self) -> bool {
        matches!(self, Self::NoAddress | Self::Tentative | Self::NoInterface)
    }

    /// What it is, in words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoAddress => "no interface of this host has the address (EADDRNOTAVAIL)",
            Self::Tentative => {
                "the address is there and can't be used (EADDRNOTAVAIL): duplicate address detection has not ended or has failed, or the interface is down"
            }
            Self::NoInterface => "the interface is not there (ENODEV)",
            Self::NoFamily => "this host has no such address family (EAFNOSUPPORT)",
            Self::Taken => "another program has the port (EADDRINUSE)",
            Self::Forbidden => "no right to the port (EACCES)",
            Self::Short(shortage) => shortage.text(),
            Self::Refused => "the kernel refused it",
        }
    }

    /// What it is at `address`, and what to do about it.
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
                "this host has no such address family: where IPv6 is off, say `-6 0`".to_owned()
            }
            Self::Taken => format!(
                "another program has this port (`ss -ulpn 'sport = :{port}'` names it): stop it, or configure another address or port"
            ),
            Self::Forbidden => format!(
                "no right to port {port}: start as root with --user, give the service CAP_NET_BIND_SERVICE, or use a port from 1024 on"
            ),
            Self::Short(_) | Self::Refused => self.text().to_owned(),
        }
    }
}
