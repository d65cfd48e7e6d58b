//! Impure. The announced time in a piece of memory that outlives the process.
//!
//! The service manager's descriptor store keeps it, so that a restart is no gap in the time.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::geteuid;
use tracing::warn;

use crate::clock::{Reference, handover};
use crate::host::systemd::ServiceManager;
use crate::host::{clock, limits};
use crate::time::ClockReadings;

/// Name in the descriptor store.
pub(super) const NAME: &str = "reference";

/// The memory, if the manager keeps it, and the identity of this boot of the host, if it is known.
#[derive(Debug)]
pub(super) struct Handover {
    memory: Option<File>,
    boot: Option<String>,
}

impl Handover {
    /// Opens what the last process left, or makes new memory for `manager` to keep.
    ///
    /// Must be called with the privileges of the start.
    pub(super) fn open(left: Vec<(String, OwnedFd)>, manager: &ServiceManager) -> Self {
        Self {
            memory: received(left, manager).or_else(|| new(manager)),
            boot: clock::boot(),
        }
    }

    /// Reads what the last process announced at its end, if that is still valid at `now`.
    pub(super) fn read(&self, now: ClockReadings) -> Option<Reference> {
        // One byte more than the longest valid content.
        let mut bytes = [0; handover::LONGEST + 1];
        let length = self.memory.as_ref()?.read_at(&mut bytes, 0).ok()?;
        handover::read(bytes.get(..length)?, now, self.boot.as_deref()).unwrap_or_else(|refusal| {
            log_unused(&refusal);
            None
        })
    }

    /// Writes `reference` for the next process.
    pub(super) fn write(&self, reference: &Reference) {
        if let Some(memory) = &self.memory {
            // Content written only in part when the process ends is not valid.
            let _written = write(memory, &handover::write(reference, self.boot.as_deref()));
        }
    }
}

/// Logs why the last process's time is not used.
pub(super) fn log_unused(why: &dyn std::fmt::Display) {
    warn!("the time of the previous process is not used: {why}");
}

/// Takes the memory of the last process.
///
/// Descriptors that are not one piece of memory which only this user can write are removed from the store.
fn received(left: Vec<(String, OwnedFd)>, manager: &ServiceManager) -> Option<File> {
    let mut left = left.into_iter().map(|(_, memory)| File::from(memory));
    let memory = left.next()?;
    let fault = if left.next().is_some() {
        Some("there are several of them")
    } else {
        fault(&memory)
    };
    let Some(fault) = fault else {
        return Some(memory);
    };
    log_unused(&fault);
    manager.forget(NAME);
    None
}

/// Returns why `memory` is not one that only this user can write; `None` if it is.
pub(super) fn fault(memory: &File) -> Option<&'static str> {
    let Ok(about) = memory.metadata() else {
        return Some("the state of its memory can't be read");
    };
    if !about.is_file() {
        Some("it is not in memory")
    } else if about.uid() != geteuid().as_raw() {
        Some("its memory belongs to another user")
    } else if about.mode() & 0o077 != 0 {
        Some("other users can access its memory")
    } else {
        None
    }
}

fn new(manager: &ServiceManager) -> Option<File> {
    if !manager.is_there() {
        return None;
    }
    let memory = memfd_create(NAME, MFdFlags::MFD_CLOEXEC)
        .map_err(io::Error::from)
        .map(File::from);
    let memory = memory.and_then(|memory| {
        memory.set_permissions(Permissions::from_mode(0o600))?;
        Ok(memory)
    });
    match memory {
        Ok(memory) => {
            manager.store(NAME, &memory);
            Some(memory)
        }
        Err(error) => {
            warn!(
                error = limits::explain(&error),
                "cannot store the time for the next process: after a restart, clients get no time until upstreams have answered"
            );
            None
        }
    }
}

fn write(memory: &File, bytes: &[u8]) -> io::Result<()> {
    memory.set_len(0)?;
    memory.write_all_at(bytes, 0)
}
