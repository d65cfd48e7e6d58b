//! Pure. The ends of sessions, and the reasons of refusals: each is counted under one of these words.

use strum::{EnumCount, IntoStaticStr, VariantArray};

/// The end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum KeOutcome {
    /// The client got keys and cookies.
    Established,
    /// The client speaks no protocol of this server.
    NoProtocol,
    /// The client has no AEAD of this server.
    NoAlgorithm,
    /// The client's request was refused with an error.
    BadRequest,
    /// The keys or cookies could not be made.
    Failed,
    /// There was no TLS 1.3 with the application protocol of NTS.
    TlsFailed,
    /// The client closed the connection before there was an answer.
    Closed,
    /// The client was too slow.
    TimedOut,
    /// The session made room for another one.
    Displaced,
}

impl KeOutcome {
    /// All of them.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// Returns its word.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The reason why a session with a ClientHello waited in vain for its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum KeRefusal {
    /// Its client begins too many.
    Rate,
    /// There are more than handshakes can be made.
    Overload,
}

impl KeRefusal {
    /// All of them.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// Returns its word.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
