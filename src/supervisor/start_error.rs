//! Pure. The reasons why the server can't start.

use std::fmt;
use std::io;

use super::listeners::PrepareError;
use crate::fast_path::driver::OpenError;
use crate::host::limits;
use crate::host::privileges::PrivilegeError;
use crate::host::tcp::ListenError;
use crate::host::udp::BindError;

/// The reason why the server can't start, with its remedy.
#[derive(Debug)]
pub enum StartError {
    /// A listener can't be opened.
    Bind(BindError),
    /// A privilege can't be dropped.
    Privilege(PrivilegeError),
    /// The kernel refuses something that every start needs.
    System(String, io::Error),
    /// The kernel refuses a thread.
    Thread(String, io::Error),
    /// The fast path is not available in the configured mode.
    FastPath(String),
    /// No keys can be established.
    Listen(ListenError),
    /// NTS can't be served, for this reason.
    Nts(String),
    /// This host lacks the address families of all built-in listeners.
    NothingToServe,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Privilege(PrivilegeError::Lookup(name, error)) => {
                let why = limits::explain(error);
                write!(f, "cannot look up the user {name:?}: {why}")
            }
            Self::Privilege(error) => error.fmt(f),
            Self::System(what, error) => write!(f, "cannot {what}: {}", limits::explain(error)),
            Self::Thread(what, error) => write!(f, "cannot {what}: {}", limits::explain_thread(error)),
            Self::FastPath(why) => write!(
                f,
                "fast path: {why} (fast-path.mode = \"auto\" serves without it)"
            ),
            Self::Listen(error) => write!(f, "{error} (nts.listen)"),
            Self::Nts(why) => write!(f, "NTS: {why}"),
            Self::NothingToServe => write!(
                f,
                "this host has no address family to listen on: configure a listener"
            ),
        }
    }
}

impl std::error::Error for StartError {}

impl StartError {
    /// Makes the error of a refused operation, for `map_err`.
    pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System(what.into(), error)
    }

    /// Makes the error of a refused thread, for `map_err`.
    pub(super) fn thread(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Thread(what.into(), error)
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

impl From<ListenError> for StartError {
    fn from(error: ListenError) -> Self {
        Self::Listen(error)
    }
}

impl From<PrivilegeError> for StartError {
    fn from(error: PrivilegeError) -> Self {
        Self::Privilege(error)
    }
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Unavailable(why) => Self::FastPath(why),
            OpenError::Randomness(error) => Self::System("get randomness".to_owned(), error),
        }
    }
}

impl From<PrepareError> for StartError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Bind(error) => Self::Bind(error),
            PrepareError::System(address, error) => {
                Self::Thread(format!("start the workers of {address}"), error)
            }
        }
    }
}
