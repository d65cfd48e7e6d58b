//! An upstream's sample: from the question to what we believe. `poller` moves bytes, the rest is pure.

pub mod association;
pub mod candidate;
pub mod discipline;
pub mod filter;
pub mod findings;
pub mod leap;
pub mod packet;
pub mod poller;
pub mod query;
pub mod select;
pub mod system;

use std::fmt;
use std::net::IpAddr;

/// Who is asked: an address, or a name that may stand for several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address.
    Address(IpAddr),
    /// A name to be resolved, again and again.
    Name(String),
}

/// A server that we ask for the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Who is asked.
    pub host: Host,
    /// UDP port, not 0.
    pub port: u16,
    /// Ask four times in a row when starting, so that the first answer comes early, and widen the intervals from there.
    pub iburst: bool,
    /// Shortest interval between two questions, log2 seconds: 0 (loopback only) or 1, to 17.
    pub minpoll: i8,
    /// Longest interval between two questions, log2 seconds: `minpoll` to 17 (RFC 5905 §7.2).
    pub maxpoll: i8,
    /// What is special about its word.
    pub role: Role,
}

impl Upstream {
    /// Is that the same one, however it is asked?
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }
}

/// What is special about an upstream's word, as chrony has it; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Follow it rather than others who agree.
    pub prefer: bool,
    /// Believe nobody unless it, or another one that is required, agrees.
    pub require: bool,
    /// It can't be outvoted by those who are not trusted.
    pub trust: bool,
    /// Only watch it.
    pub noselect: bool,
}

impl Upstream {
    /// Does `other` name the same server? Names are the same in any case, and with or without the dot that ends them.
    pub fn is_same_server(&self, other: &Self) -> bool {
        self.port == other.port && self.host.canonical() == other.host.canonical()
    }
}

impl Host {
    /// The one way to write it of several that mean the same.
    #[must_use]
    pub fn canonical(&self) -> Self {
        match self {
            Self::Name(name) => Self::Name(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()),
            Self::Address(address) => Self::Address(*address),
        }
    }
}

/// As an operator writes it: `192.0.2.1:123`, `[2001:db8::1]:123`, `time.example:123`.
impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Address(address) => write!(f, "{address}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}
