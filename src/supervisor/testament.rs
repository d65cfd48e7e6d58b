//! Impure. What is announced, in a piece of memory that outlives the process: the service manager's descriptor store keeps
//! it, so that a restart is no gap in the time.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use nix::sys::memfd::{MFdFlags, memfd_create};
use tracing::warn;

use crate::host::systemd::ServiceManager;
use crate::reference::{Reference, heritage};

/// Its name in the descriptor store.
pub(super) const NAME: &str = "reference";
/// More than any version writes.
const LONGEST: usize = 4096;

/// The memory; none where nobody would keep it.
#[derive(Debug)]
pub(super) struct Testament(Option<File>);

impl Testament {
    /// What the last process left, or else a new one that `manager` will keep.
    pub(super) fn open(left: Vec<(String, OwnedFd)>, manager: &ServiceManager) -> Self {
        if let Some((_, memory)) = left.into_iter().next() {
            return Self(Some(memory.into()));
        }
        if !manager.is_there() {
            return Self(None);
        }
        match memfd_create(NAME, MFdFlags::MFD_CLOEXEC) {
            Ok(memory) => {
                manager.store(NAME, &memory);
                Self(Some(memory.into()))
            }
            Err(error) => {
                warn!(%error, "no memory for the next process: a restart will be a gap in the time");
                Self(None)
            }
        }
    }

    /// What the last process announced at its end, if it did.
    pub(super) fn read(&self) -> Option<Reference> {
        let mut bytes = [0; LONGEST];
        let length = self.0.as_ref()?.read_at(&mut bytes, 0).ok()?;
        heritage::take(bytes.get(..length)?)
    }

    /// Leaves `reference` to the next process.
    pub(super) fn write(&self, reference: &Reference) {
        if let Some(memory) = &self.0 {
            // What is written halfway when the process ends is not taken for anything.
            let _written = write(memory, &heritage::leave(reference));
        }
    }
}

fn write(memory: &File, bytes: &[u8]) -> io::Result<()> {
    memory.set_len(0)?;
    memory.write_all_at(bytes, 0)
}
