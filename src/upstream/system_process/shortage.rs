//! Pure. Why the time is not synchronized, in numbers.

use std::fmt;

use crate::time::NtpDuration;

/// What is missing for the time to be synchronized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceShortage {
    /// No upstream is configured, but for such that are only watched.
    NoUpstream,
    /// Too few upstreams are available and agree: `min-sources` are wanted.
    TooFew {
        /// How many agree.
        agree: usize,
        /// Of so many.
        of: usize,
        /// So many must.
        wanted: usize,
    },
    /// None of the upstreams with `require` is among those who agree.
    NoneRequired {
        /// How many agree.
        agree: usize,
        /// Of so many.
        of: usize,
    },
    /// Some were not asked yet, and those who answered first are not a majority.
    NotAllAsked {
        /// How many agree.
        agree: usize,
        /// Of so many.
        of: usize,
    },
    /// No majority of those who answer agrees.
    NoMajority {
        /// How many answer.
        answering: usize,
    },
    /// A majority says another time than the host's clock, which is served, and its daemon.
    HostContradicted {
        /// By so much at most.
        by: NtpDuration,
    },
    /// The upstream is at stratum 15: nobody can follow it.
    Stratum,
    /// The time is not known well enough: `max-distance`.
    Distance {
        /// How wrong it may be.
        distance: NtpDuration,
        /// The limit.
        limit: NtpDuration,
    },
    /// There was a leap second, and it is not settled yet whether the upstreams counted it as we did.
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
                write!(f, "{few} of {of} {}, {wanted} wanted", agree(few))
            }
            Self::NoneRequired { agree: some, of } => {
                write!(
                    f,
                    "{some} of {of} {}, none of them is a required one",
                    agree(some)
                )
            }
            Self::NotAllAsked { agree: some, of } => {
                write!(
                    f,
                    "{some} of {of} {}, the others are still being asked",
                    agree(some)
                )
            }
            Self::NoMajority { answering } => write!(f, "{answering} answer, and no majority of them agrees"),
            Self::HostContradicted { by } => write!(
                f,
                "the majority says that the host's clock is up to {:.6} s off",
                by.to_seconds()
            ),
            Self::Stratum => write!(f, "the upstream is at stratum 15, and we would be at 16"),
            Self::Distance { distance, limit } => write!(
                f,
                "the time is known to {:.6} s, and max-distance is {:.6} s",
                distance.to_seconds(),
                limit.to_seconds()
            ),
            Self::LeapSecond => write!(f, "a leap second has happened, and not all upstreams say so"),
        }
    }
}
