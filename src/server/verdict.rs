//! Pure. The verdict on a packet: the one list of all that is counted.

use strum::{IntoStaticStr, VariantArray};

/// The verdict on a packet. Every packet has exactly one, and each is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Verdict {
    /// A client (mode 3) got its answer (mode 4).
    AnsweredClient,
    /// A symmetric active peer (mode 1) got its answer (mode 2).
    AnsweredSymmetric,
    /// A client of version 1, which has no mode, got its answer (mode 4).
    #[strum(serialize = "answered-version-1")]
    AnsweredVersion1,
    /// Told RATE: it asked too often.
    KissedRate,
    /// Told DENY: an access list has it, and the operator wants it told.
    KissedDenied,
    /// Source port 0: no client can be there, an answer would only help a reflection.
    RefusedPortZero,
    /// Sent to a broadcast or multicast address: many would answer one packet.
    RefusedNotUnicast,
    /// Fewer bytes than a header.
    RefusedTooShort,
    /// Not version 1, 2, 3 or 4.
    RefusedVersion,
    /// Mode 0 where it is reserved: version 2 and later, or version 1 from port 123 (another server's answer).
    #[strum(serialize = "refused-reserved-mode")]
    RefusedReserved,
    /// Modes 2 and 4 are answers: an answer to an answer never ends.
    #[strum(serialize = "refused-answer-mode")]
    RefusedAnswer,
    /// Mode 5, a broadcast: none is listened to.
    #[strum(serialize = "refused-broadcast-mode")]
    RefusedBroadcast,
    /// Mode 6, control messages: a known amplifier, not offered.
    #[strum(serialize = "refused-control-mode")]
    RefusedControl,
    /// Mode 7, private use (monlist): a known amplifier, not offered.
    #[strum(serialize = "refused-private-mode")]
    RefusedPrivate,
    /// A request like any other, while upstreams dispute and the operator wants silence then.
    RefusedDisputed,
    /// A request like any other, from an address that an access list denies.
    RefusedDenied,
    /// A request like any other, but too soon after too many others of this client.
    RefusedRate,
    /// A request like any other of one of the heaviest clients, while the budget is too small for all.
    RefusedBudget,
    /// A request like any other that waited too long in the queue: its client has given it up.
    RefusedLate,
    /// From an address that is no host's own: broadcast, multicast, reserved. An answer would reach many, or ourselves.
    #[strum(serialize = "refused-source-address")]
    RefusedSource,
    /// A client (version 4, mode 3) with NTS got an authenticated answer.
    AnsweredNts,
    /// Told NTSN: its cookie or its authenticator is not genuine.
    KissedNtsNak,
    /// With fields of NTS, and no whole request with NTS, or of another version or mode.
    RefusedNtsMalformed,
    /// A request without NTS, where NTS is required.
    RefusedNtsRequired,
    /// A client or a symmetric active peer with a genuine MAC got its answer, with a MAC of the same key.
    AnsweredMac,
    /// With a MAC that is not genuine, or with something behind the header that is neither fields nor a MAC.
    RefusedMac,
    /// With a MAC of a key that is not known.
    RefusedMacKey,
    /// Neither with a MAC nor with NTS, where one of them is required.
    RefusedMacRequired,
}

impl Verdict {
    /// The number of verdicts.
    pub const COUNT: usize = Self::VARIANTS.len();

    /// All of them, each at the place of its [`Verdict::index`].
    pub fn all() -> impl Iterator<Item = Self> {
        Self::VARIANTS.iter().copied()
    }

    /// Its place among the counters.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns whether there was an answer. A kiss is none.
    pub const fn is_answered(self) -> bool {
        matches!(
            self,
            Self::AnsweredClient
                | Self::AnsweredSymmetric
                | Self::AnsweredVersion1
                | Self::AnsweredNts
                | Self::AnsweredMac
        )
    }

    /// Returns whether anything was sent back: an answer or a kiss.
    pub const fn has_reply(self) -> bool {
        self.is_answered() || matches!(self, Self::KissedRate | Self::KissedDenied | Self::KissedNtsNak)
    }

    /// The word for it in logs.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
