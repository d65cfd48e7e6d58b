//! Pure. The reasons why a request to the running server has no answer.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::fault::printable;
use crate::observe::client_status::MOST_CLIENTS;

/// The reason why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ControlFailure {
    /// The census is off.
    CensusOff,
    /// There is no such listener: the reason, with those that there are.
    NoListener(String),
    /// The request is about no client, or about more than [`MOST_CLIENTS`].
    ClientCount,
    /// Too many checks are pending.
    TooManyChecks,
    /// Too many clients watch the health.
    TooManyWatchers,
    /// The request is longer than [`super::protocol::LONGEST_REQUEST`].
    TooLong,
    /// The request is of another version of the protocol.
    OtherVersion,
    /// The request can't be read.
    Unreadable(String),
    /// The report can't be written.
    Unwritable(String),
}

impl fmt::Display for ControlFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CensusOff => f.write_str("the census is off (census.enabled)"),
            Self::NoListener(why) => f.write_str(&printable(why)),
            Self::ClientCount => write!(f, "a request is about 1 to {MOST_CLIENTS} clients"),
            Self::TooManyChecks => f.write_str("too many checks are pending: try again later"),
            Self::TooManyWatchers => f.write_str("too many clients watch the running server"),
            Self::TooLong => f.write_str("the request is too long for the running server"),
            Self::OtherVersion => f.write_str("the running server is of another version"),
            Self::Unreadable(why) => {
                write!(f, "the running server can't read the request: {}", printable(why))
            }
            Self::Unwritable(why) => {
                write!(f, "the running server can't write its report: {}", printable(why))
            }
        }
    }
}
