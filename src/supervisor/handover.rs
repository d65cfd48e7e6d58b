//! Impure. What is announced, in a piece of memory that outlives the process: the service manager's descriptor store keeps
//! it, so that a restart is no gap in the time.

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

/// Its name in the descriptor store.
pub(super) const NAME: &str = "reference";

/// The memory, where somebody keeps it, and what boot of the host this is, where that is known.
#[derive(Debug)]
pub(super) struct Handover {
    memory: Option<File>,
    boot: Option<String>,
}

impl Handover {
    /// What the last process left, or else a new one that `manager` will keep. To be called with the rights of the start.
    pub(super) fn open(left: Vec<(String, OwnedFd)>, manager: &ServiceManager) -> Self {
        Self {
            memory: received(left, manager).or_else(|| new(manager)),
            boot: clock::boot(),
        }
    }

    /// What the last process announced at its end, if it did, and if it may be believed `now`.
    pub(super) fn read(&self, now: ClockReadings) -> Option<Reference> {
        // One byte more than there may be.
        let mut bytes = [0; handover::LONGEST + 1];
        let length = self.memory.as_ref()?.read_at(&mut bytes, 0).ok()?;
        handover::read(bytes.get(..length)?, now, self.boot.as_deref()).unwrap_or_else(|refusal| {
            refuse(&refusal);
            None
        })
    }

    /// Leaves `reference` to the next process.
    pub(super) fn write(&self, reference: &Reference) {
        if let Some(memory) = &self.memory {
            // What is written halfway when the process ends is not taken for anything.
            let _written = write(memory, &handover::write(reference, self.boot.as_deref()));
        }
    }
}

/// Says why the last process's time is not used.
pub(super) fn refuse(why: &dyn std::fmt::Display) {
    warn!("the handed-over time was not used: {why}");
}

/// The memory of the last process. What is not one piece of memory that only our user can write, nobody keeps any longer.
fn received(left: Vec<(String, OwnedFd)>, manager: &ServiceManager) -> Option<File> {
    let mut left = left.into_iter().map(|(_, memory)| File::from(memory));
    let memory = left.next()?;
    let fault = if left.next().is_some() {
        Some("there are several")
    } else {
        fault(&memory)
    };
    let Some(fault) = fault else {
        return Some(memory);
    };
    refuse(&fault);
    manager.forget(NAME);
    None
}

fn fault(memory: &File) -> Option<&'static str> {
    let Ok(about) = memory.metadata() else {
        return Some("nothing is known of its memory");
    };
    if !about.is_file() {
        Some("it is not in a piece of memory")
    } else if about.uid() != geteuid().as_raw() {
        Some("another user wrote it")
    } else if about.mode() & 0o077 != 0 {
        Some("other users can write it")
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
                "no memory for the next process: a restart will be a gap in the time"
            );
            None
        }
    }
}

fn write(memory: &File, bytes: &[u8]) -> io::Result<()> {
    memory.set_len(0)?;
    memory.write_all_at(bytes, 0)
}
