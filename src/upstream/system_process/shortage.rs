//! Pure. The reason why the time is not synchronized, in numbers.

use std::fmt;

use crate::time::NtpDuration;

/// The condition of a synchronized time that is not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceShortage {
    /// No upstream is configured, or only such with `noselect`.
    NoUpstream,
    /// Fewer upstreams than `min-sources` are available and agree.
    TooFew {
        /// Number that agree.
        agree: usize,
        /// Number with a vote.
        of: usize,
        /// Number that must agree.
        wanted: usize,
    },
    /// No upstream with `require` is among those that agree.
    NoneRequired {
        /// Number that agree.
        agree: usize,
        /// Number with a vote.
        of: usize,
    },
    /// No majority of the authenticated upstreams is among those that agree.
    Unauthenticated {
        /// Number that agree.
        agree: usize,
        /// Number with a vote.
        of: usize,
    },
    /// Some were not polled yet, and those that answered first are not a majority.
    NotAllAsked {
        /// Number that agree.
        agree: usize,
        /// Number with a vote.
        of: usize,
    },
    /// No majority of those that answer agrees.
    NoMajority {
        /// Number that answer.
        answering: usize,
    },
    /// A majority contradicts the host's clock, which is served, or the daemon that keeps it.
    HostContradicted {
        /// The largest possible difference.
        by: NtpDuration,
    },
    /// The upstream is at stratum 15, so no server can follow it.
    Stratum,
    /// The root distance is above `max-distance`.
    Distance {
        /// The root distance.
        distance: NtpDuration,
        /// The limit.
        limit: NtpDuration,
    },
    /// The majority follows the smear of a leap second, and not UTC.
    Smeared,
    /// After a leap second: it is not known yet whether the upstreams counted it as this server did.
    LeapSecond,
}

impl fmt::Display for SourceShortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let agree = |agree: usize| if agree == 1 { "agrees" } else { "agree" };
        match *self {
            Self::NoUpstream => write!(f, "no upstream is configured"),
            Self::TooFew {
                agree: few,
                of,
                wanted,
            } => {
                write!(
                    f,
                    "{few} of {of} upstreams {}, clock.min-sources wants {wanted}",
                    agree(few)
                )
            }
            Self::NoneRequired { agree: some, of } => {
                write!(
                    f,
                    "{some} of {of} upstreams {}, none of them is a required one",
                    agree(some)
                )
            }
            Self::Unauthenticated { agree: some, of } => {
                write!(
                    f,
                    "{some} of {of} upstreams {}, without a majority of the authenticated ones (clock.authenticated)",
                    agree(some)
                )
            }
            Self::NotAllAsked { agree: some, of } => {
                write!(
                    f,
                    "{some} of {of} upstreams {}, the others are still being asked",
                    agree(some)
                )
            }
            Self::NoMajority { answering } => {
                write!(f, "{answering} upstreams answer, and no majority of them agrees")
            }
            Self::HostContradicted { by } => write!(
                f,
                "the majority says that the host's clock is up to {:.6} s off",
                by.to_seconds()
            ),
            Self::Stratum => write!(f, "the upstream is at stratum 15, and this server would be at 16"),
            Self::Distance { distance, limit } => write!(
                f,
                "the time is known to {:.6} s, and max-distance is {:.6} s",
                distance.to_seconds(),
                limit.to_seconds()
            ),
            Self::Smeared => write!(f, "the majority smears a leap second: its time is not UTC"),
            Self::LeapSecond => write!(f, "a leap second has happened, and not all upstreams say so"),
        }
    }
}
