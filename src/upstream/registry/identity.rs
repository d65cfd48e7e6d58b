//! Pure. The two keys of an upstream: its endpoint while it is only configured, and its identity once it is polled.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::upstream::{Host, Pooling, Upstream};

/// The identity of an upstream that is polled: constant across reloads while it stays, and never used for another one.
///
/// Identities are ordered by age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamId(u64);

impl UpstreamId {
    /// Returns the identity of the next new upstream.
    pub(super) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The server of an upstream and its port, independent of the spelling.
///
/// The addresses of a name have no part in it, except that of a member of a pool.
///
/// The way to its keys is a part of it: what was learned without NTS, or by other keys, does not count with it; and what
/// was learned without a MAC does not count with one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    host: Host,
    port: u16,
    /// Whether it is polled with a MAC, whichever key that is of.
    has_key: bool,
    /// The port of key establishment, and the file of its authorities.
    nts: Option<(u16, Option<PathBuf>)>,
    /// Whether it is of a pool; with an address, a member of it.
    pool: Option<Option<IpAddr>>,
}

impl Endpoint {
    /// Returns the endpoint at `port` of `host`, without NTS.
    pub fn new(host: &Host, port: u16) -> Self {
        Self {
            host: canonical(host),
            port,
            has_key: false,
            nts: None,
            pool: None,
        }
    }
}

impl Upstream {
    /// Returns its endpoint.
    pub fn endpoint(&self) -> Endpoint {
        let nts = self.nts.as_ref();
        Endpoint {
            has_key: self.key.is_some(),
            nts: nts.map(|server| (server.port, server.ca.clone())),
            pool: match self.pooling {
                Pooling::One => None,
                Pooling::Pool { .. } => Some(None),
                Pooling::Member { address, .. } => Some(Some(address)),
            },
            ..Endpoint::new(&self.host, self.port)
        }
    }
}

/// Returns the host in its canonical spelling.
///
/// Names are equal in any case, and with or without a final dot (RFC 4343); so are interface numbers with leading
/// zeros. Addresses are compared as numbers already.
fn canonical(host: &Host) -> Host {
    match host {
        Host::Name(name) => Host::Name(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()),
        Host::Address(address) => Host::Address(*address),
        Host::LinkLocal(address, interface) => {
            let number = interface.parse::<u32>().map(|number| number.to_string());
            Host::LinkLocal(*address, number.unwrap_or_else(|_| interface.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Endpoint {
        Endpoint::new(&Host::Name(text.to_owned()), 123)
    }

    fn address(text: &str) -> Endpoint {
        Endpoint::new(&Host::Address(text.parse().unwrap()), 123)
    }

    fn scoped(interface: &str) -> Endpoint {
        Endpoint::new(
            &Host::LinkLocal("fe80::1".parse().unwrap(), interface.to_owned()),
            123,
        )
    }

    #[test]
    fn one_upstream_in_several_spellings_is_one() {
        assert_eq!(name("localhost"), name("LOCALHOST"));
        assert_eq!(name("Time.Example."), name("time.example"));
        assert_eq!(address("2001:db8:0::1"), address("2001:DB8::0001"));
        assert_eq!(scoped("2"), scoped("02"));
        // Similar spellings of different endpoints.
        assert_ne!(name("time.example"), name("time2.example"));
        assert_ne!(name("localhost"), address("127.0.0.1"));
        assert_ne!(scoped("eth0"), scoped("Eth0"));
        assert_ne!(scoped("2"), scoped("3"));
        let other_port = Endpoint::new(&Host::Name("time.example".to_owned()), 124);
        assert_ne!(name("time.example"), other_port);
    }
}
