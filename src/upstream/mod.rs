//! An upstream's sample: from the question to the announced time. `poller` and `query` move bytes, the rest is pure.

pub mod addresses;
pub mod association;
pub mod candidate;
pub mod clock_policy;
pub mod discipline;
mod errno;
pub mod fault;
pub mod filter;
pub mod findings;
mod host_addresses;
pub mod interleaved;
pub mod interleaved_findings;
pub mod mac;
pub mod nts;
pub mod packet;
pub mod peer;
pub mod poller;
pub mod pool;
pub mod pool_resolver;
pub mod query;
pub mod registry;
pub mod select;
mod smearers;
pub mod system_process;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use strum::{IntoStaticStr, VariantArray};

use interleaved::InterleavedQuestions;
use nts::trusted::TrustedCertificates;

use crate::symmetric::SymmetricKey;

/// The host of an upstream: an address, or a name that may have several addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A literal address.
    Address(IpAddr),
    /// A literal link-local address, and the name or number of its interface.
    LinkLocal(Ipv6Addr, String),
    /// A name, which is resolved again when its addresses may have changed.
    Name(String),
}

/// A server that is polled for the time, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The server's address or name.
    pub host: Host,
    /// UDP port, not 0.
    pub port: u16,
    /// Whether polling starts with a burst of four questions; after it the intervals grow step by step.
    pub iburst: bool,
    /// Shortest poll interval, log2 seconds: 0 (loopback only) or 1, to 17.
    pub minpoll: i8,
    /// Longest poll interval, log2 seconds: `minpoll` to 17 (RFC 5905 §7.2).
    pub maxpoll: i8,
    /// Its special role in the selection.
    pub role: Role,
    /// The way to its keys, if it is polled with NTS; it is never polled without then.
    pub nts: Option<KeServer>,
    /// Whether it is asked in interleaved mode.
    pub interleaved: InterleavedQuestions,
    /// The key of its MACs; it is never polled without one then.
    pub key: Option<Arc<SymmetricKey>>,
    /// Whether it is a pool, or a member of one.
    pub pooling: Pooling,
}

/// Whether an upstream is one server, a name that stands for several, or one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// A single server: of several addresses the first one that answers is polled.
    #[default]
    One,
    /// A pool, as configured: this many of its addresses are polled, each as an upstream. No poller polls the pool.
    Pool {
        /// Number of members with a vote, at least 1.
        count: u8,
    },
    /// A member of a pool.
    Member {
        /// The only address that is polled.
        address: IpAddr,
        /// Whether it has no vote yet, and has to prove itself first.
        on_trial: bool,
    },
}

impl Upstream {
    /// Returns the only address that is polled, if it is a member of a pool.
    pub const fn member_address(&self) -> Option<IpAddr> {
        match self.pooling {
            Pooling::Member { address, .. } => Some(address),
            Pooling::One | Pooling::Pool { .. } => None,
        }
    }

    /// Whether it is a member of a pool without a vote, which has to prove itself first.
    pub const fn is_on_trial(&self) -> bool {
        matches!(self.pooling, Pooling::Member { on_trial: true, .. })
    }

    /// Returns the name and port of its pool, if it is a member of one.
    pub fn pool_name(&self) -> Option<String> {
        self.member_address()
            .map(|_| format!("{}:{}", self.host, self.port))
    }

    /// Returns the largest number of upstreams with a vote that it stands for.
    pub fn votes(&self) -> usize {
        match self.pooling {
            Pooling::Pool { count } => count.into(),
            Pooling::One | Pooling::Member { .. } => 1,
        }
    }

    /// Whether its answers are authenticated: by NTS, or by the MAC of a key.
    pub const fn is_authenticated(&self) -> bool {
        self.nts.is_some() || self.key.is_some()
    }
}

/// A server of key establishment, as configured: that of an upstream, on the same host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeServer {
    /// TCP port, not 0.
    pub port: u16,
    /// The file that replaces the authorities of the system, if there is one.
    pub ca: Option<PathBuf>,
    /// The certificates of the authorities that are trusted.
    pub trusted: TrustedCertificates,
}

/// The special roles of an upstream in the selection, as in chrony; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Makes it the system peer rather than others that agree.
    pub prefer: bool,
    /// No time is announced unless this upstream, or another required one, agrees.
    pub require: bool,
    /// Keeps it from being outvoted by upstreams without `trust`.
    pub trust: bool,
    /// Has it polled and displayed, but without a vote.
    pub noselect: bool,
    /// Whether it smears leap seconds.
    pub smears: Smears,
}

/// Whether an upstream smears leap seconds. One that does has no vote while a leap second is near.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Smears {
    /// As far as its name or its address is known for it.
    #[default]
    Auto,
    /// Always.
    Yes,
    /// Never.
    No,
}

impl Upstream {
    /// Returns whether it smears leap seconds, by the configuration, or as it is known for it.
    pub fn smears(&self) -> bool {
        match self.role.smears {
            Smears::Auto => smearers::is_known(&self.host),
            Smears::Yes => true,
            Smears::No => false,
        }
    }
}

impl Host {
    /// Returns the host at `address`; the port is ignored.
    pub fn of(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => {
                Self::LinkLocal(*v6.ip(), v6.scope_id().to_string())
            }
            SocketAddr::V4(_) | SocketAddr::V6(_) => Self::Address(address.ip()),
        }
    }

    /// Returns whether it is an IPv6 address, which needs brackets before a port.
    pub fn is_ipv6(&self) -> bool {
        match self {
            Self::Address(address) => address.is_ipv6(),
            Self::LinkLocal(..) => true,
            Self::Name(_) => false,
        }
    }

    /// Returns the addresses that are known without a look-up: a literal itself, and both of `localhost`.
    ///
    /// A link-local address is not among them, since its interface has to be looked up.
    pub fn literals(&self) -> Vec<IpAddr> {
        match self {
            Self::Address(address) => vec![*address],
            Self::Name(name) if is_localhost(name) => LOCALHOST.to_vec(),
            Self::LinkLocal(..) | Self::Name(_) => Vec::new(),
        }
    }

    /// Returns whether the configuration itself names the loopback interface.
    ///
    /// `localhost`, and each name that ends in it, is never sent to a name server (RFC 6761 §6.3).
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::LinkLocal(..) => false,
            Self::Name(name) => is_localhost(name),
        }
    }
}

const LOCALHOST: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fn is_localhost(name: &str) -> bool {
    let labels = name.strip_suffix('.').unwrap_or(name);
    let last = labels.rsplit('.').next();
    last.is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

/// Prints it without a port: `192.0.2.1`, `2001:db8::1`, `fe80::1%eth0`, `time.example`.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::LinkLocal(address, interface) => write!(f, "{address}%{interface}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Prints it as in the configuration: `192.0.2.1:123`, `[2001:db8::1]:123`, `[fe80::1%eth0]:123`, `time.example:123`.
///
/// A member of a pool is its address.
impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (&self.host, self.port);
        if let Some(address) = self.member_address() {
            return SocketAddr::new(address, port).fmt(f);
        }
        if host.is_ipv6() {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_on_this_host_and_no_other_name_is() {
        for (name, expected) in [
            ("localhost", true),
            ("LocalHost.", true),
            ("ntp.localhost", true),
            ("localhost.example", false),
            ("notlocalhost", false),
            ("localhost4", false),
        ] {
            let host = Host::Name(name.to_owned());
            assert_eq!(host.is_loopback(), expected, "{name}");
            assert_eq!(host.literals().is_empty(), !expected, "{name}");
        }
    }
}
