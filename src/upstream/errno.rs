//! Impure. The kernel's errors as faults: it is impure only for their numbers, which are the C library's.

use std::io;

use super::fault::QueryFault;
use crate::host::limits;

/// Returns the fault for the kernel's error number, if there is one anywhere in `error`.
pub(super) fn fault_of(error: &io::Error) -> Option<QueryFault> {
    limits::errno(error).map(of_number)
}

fn of_number(number: i32) -> QueryFault {
    match number {
        libc::ENETUNREACH => QueryFault::NoRoute,
        libc::EHOSTUNREACH => QueryFault::HostUnreachable,
        libc::ENETDOWN => QueryFault::NetworkDown,
        libc::EADDRNOTAVAIL => QueryFault::NoOwnAddress,
        libc::EAFNOSUPPORT => QueryFault::NoFamily,
        libc::ENODEV | libc::ENXIO => QueryFault::NoInterface,
        libc::ECONNREFUSED => QueryFault::NotListening,
        libc::EACCES | libc::EPERM => QueryFault::Forbidden,
        other => limits::shortage_of(other).map_or(QueryFault::Refused, QueryFault::Short),
    }
}
