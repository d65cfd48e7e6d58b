//! Pure. The reasons why a change of the listeners can't be made.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::host::bind_fault::BindFault;
use crate::host::limits;
use crate::host::shortage::Shortage;
use crate::host::udp::BindError;

/// The reason why a change of the listeners can't be made.
#[derive(Debug)]
pub(in super::super) enum PrepareError {
    /// A socket can't be bound.
    Bind(BindError),
    /// There are no more threads, or the group can't be steered.
    System(SocketAddr, io::Error),
}

impl fmt::Display for PrepareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::System(address, error) => {
                let why = limits::explain_thread(error);
                write!(f, "cannot start the workers of {address}: {why}")
            }
        }
    }
}

impl PrepareError {
    /// Returns the kind of the failure.
    pub(super) fn fault(&self) -> BindFault {
        match self {
            Self::Bind(error) => error.fault(),
            // EAGAIN: pthread_create(3).
            Self::System(_, error) if error.kind() == io::ErrorKind::WouldBlock => {
                BindFault::Short(Shortage::Threads)
            }
            Self::System(_, error) => {
                let shortage = error.raw_os_error().and_then(limits::shortage_of);
                shortage.map_or(BindFault::Refused, BindFault::Short)
            }
        }
    }
}
