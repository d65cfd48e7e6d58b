//! Pure. The part of the census that is asked for: which clients, in which order, and how many.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The most clients of a list.
pub const MOST: u16 = 1000;

/// The clients that are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CensusWanted {
    /// The length of each list: 1 to [`MOST`]; more is taken for that.
    pub count: u16,
    /// The order of each list.
    pub order: ClientOrder,
    /// Only clients in this prefix.
    pub prefix: Option<Prefix>,
    /// Only clients of which limit or budget refused requests.
    pub limited: bool,
}

/// The order of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientOrder {
    /// The most requests first.
    #[default]
    Count,
    /// The highest rate of the last minutes first.
    Rate,
    /// The last request first; prefixes by their requests.
    Last,
    /// By address.
    Address,
}

/// A prefix. Its text is that of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(pub IpNet);

impl CensusWanted {
    /// The first `count` clients by their requests.
    pub const fn first(count: u16) -> Self {
        Self {
            count,
            order: ClientOrder::Count,
            prefix: None,
            limited: false,
        }
    }

    /// Returns the length of each list.
    pub fn length(&self) -> usize {
        self.count.clamp(1, MOST).into()
    }

    /// Returns the number of the busiest clients of which the list is chosen by what only workers know.
    pub(super) fn candidates(&self) -> usize {
        if self.limited || self.order == ClientOrder::Last {
            MOST.into()
        } else {
            self.length()
        }
    }

    /// Whether an address, as the census has it, is asked for.
    pub(super) fn has(&self, address: Ipv6Addr) -> bool {
        self.prefix
            .is_none_or(|Prefix(prefix)| prefix.contains(&address.to_canonical()))
    }

    /// Whether a /24 or /48 has addresses that are asked for; `address` is its first.
    pub(super) fn has_some_of(&self, address: Ipv6Addr) -> bool {
        let canonical = address.to_canonical();
        let length = if canonical.is_ipv4() { 24 } else { 48 };
        let net = IpNet::new(canonical, length);
        self.prefix.is_none_or(|Prefix(prefix)| {
            prefix.contains(&canonical) || net.is_ok_and(|net| net.contains(&prefix.network()))
        })
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let net = text.parse::<IpNet>();
        let net = net.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let net =
            net.map_err(|_| "not an address or a prefix, such as 192.0.2.0/24 or 2001:db8::/32".to_owned())?;
        Ok(Self(net.trunc()))
    }
}

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_its_addresses_and_shares_the_networks_of_the_census() {
        let mapped = |text: &str| match text.parse().unwrap() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        for (prefix, address, has, network, shares) in [
            ("192.0.2.0/25", "192.0.2.127", true, "192.0.2.0", true),
            ("192.0.2.0/25", "192.0.2.128", false, "192.0.3.0", false),
            ("192.0.2.7", "192.0.2.7", true, "192.0.2.0", true),
            ("192.0.0.0/16", "192.0.9.1", true, "192.0.9.0", true),
            ("0.0.0.0/0", "2001:db8::1", false, "2001:db8::", false),
            ("2001:db8:1:2::/64", "2001:db8:1:2::3", true, "2001:db8:1::", true),
            (
                "2001:db8:1:2::/64",
                "2001:db8:1:3::3",
                false,
                "2001:db8:2::",
                false,
            ),
        ] {
            let wanted = CensusWanted {
                prefix: Some(prefix.parse().unwrap()),
                ..CensusWanted::first(10)
            };
            assert_eq!(wanted.has(mapped(address)), has, "{prefix} {address}");
            assert_eq!(wanted.has_some_of(mapped(network)), shares, "{prefix} {network}");
        }
        assert!(CensusWanted::first(1).has(mapped("192.0.2.1")));
        assert_eq!(
            "192.0.2.9/24".parse::<Prefix>().unwrap().to_string(),
            "192.0.2.0/24"
        );
        assert!("192.0.2.0/33".parse::<Prefix>().is_err());
    }

    #[test]
    fn the_length_is_within_its_range() {
        assert_eq!(
            [0, 1, 1000, 9999].map(|count| CensusWanted::first(count).length()),
            [1, 1, 1000, 1000]
        );
    }
}
