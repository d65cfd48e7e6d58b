//! Pure. What was done with a packet: the one list of all that is counted.

/// What was done with a packet. Every packet has exactly one, and each is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A client (mode 3) got its answer (mode 4).
    AnsweredClient,
    /// A symmetric active peer (mode 1) got its answer (mode 2).
    AnsweredSymmetric,
    /// A client of version 1, which has no mode, got its answer (mode 4).
    AnsweredVersion1,
    /// Told RATE: it asked too often.
    KissedRate,
    /// Told DENY: an access list has it, and the operator wants it told.
    KissedDenied,
    /// Source port 0: nobody can be there, an answer would only help a reflection.
    RefusedPortZero,
    /// Sent to a broadcast or multicast address: many would answer one packet.
    RefusedNotUnicast,
    /// Fewer bytes than a header.
    RefusedTooShort,
    /// Not version 1, 2, 3 or 4.
    RefusedVersion,
    /// Mode 0 where it is reserved: version 2 and later, or version 1 from port 123 (another server's answer).
    RefusedReserved,
    /// Modes 2 and 4 are answers: an answer to an answer never ends.
    RefusedAnswer,
    /// Mode 5, a broadcast: none is listened to.
    RefusedBroadcast,
    /// Mode 6, control messages: a known amplifier, not offered.
    RefusedControl,
    /// Mode 7, private use (monlist): a known amplifier, not offered.
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
    RefusedSource,
}

impl Verdict {
    /// All of them, each at the place of its [`Verdict::index`].
    pub const ALL: [Self; 20] = [
        Self::AnsweredClient,
        Self::AnsweredSymmetric,
        Self::AnsweredVersion1,
        Self::KissedRate,
        Self::KissedDenied,
        Self::RefusedPortZero,
        Self::RefusedNotUnicast,
        Self::RefusedTooShort,
        Self::RefusedVersion,
        Self::RefusedReserved,
        Self::RefusedAnswer,
        Self::RefusedBroadcast,
        Self::RefusedControl,
        Self::RefusedPrivate,
        Self::RefusedDisputed,
        Self::RefusedDenied,
        Self::RefusedRate,
        Self::RefusedBudget,
        Self::RefusedLate,
        Self::RefusedSource,
    ];

    /// Its place among the counters.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Was there an answer (a kiss is none)?
    pub const fn is_answered(self) -> bool {
        self.index() <= Self::AnsweredVersion1.index()
    }

    /// Was anything sent back: an answer or a kiss?
    pub const fn has_reply(self) -> bool {
        self.index() <= Self::KissedDenied.index()
    }

    /// The word for it in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AnsweredClient => "answered-client",
            Self::AnsweredSymmetric => "answered-symmetric",
            Self::AnsweredVersion1 => "answered-version-1",
            Self::KissedRate => "kissed-rate",
            Self::KissedDenied => "kissed-denied",
            Self::RefusedPortZero => "refused-port-zero",
            Self::RefusedNotUnicast => "refused-not-unicast",
            Self::RefusedTooShort => "refused-too-short",
            Self::RefusedVersion => "refused-version",
            Self::RefusedReserved => "refused-reserved-mode",
            Self::RefusedAnswer => "refused-answer-mode",
            Self::RefusedBroadcast => "refused-broadcast-mode",
            Self::RefusedControl => "refused-control-mode",
            Self::RefusedPrivate => "refused-private-mode",
            Self::RefusedDisputed => "refused-disputed",
            Self::RefusedDenied => "refused-denied",
            Self::RefusedRate => "refused-rate",
            Self::RefusedBudget => "refused-budget",
            Self::RefusedLate => "refused-late",
            Self::RefusedSource => "refused-source-address",
        }
    }
}
