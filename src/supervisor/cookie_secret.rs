//! Impure. The secret of the cookies where no file has one: made once, and kept in memory that outlives the process.
//!
//! The service manager's descriptor store keeps it, so that a restart and an upgrade refuse no cookie. A reboot ends it.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, PermissionsExt};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::handover;
use crate::host::systemd::ServiceManager;
use crate::host::{entropy, limits};
use crate::nts::keyring::Secret;
use crate::nts::secret_file;

/// Name in the descriptor store.
pub(super) const NAME: &str = "nts-secret";

/// Returns the secret that the last process left, or makes one for `manager` to keep.
///
/// Must be called with the privileges of the start, as memory belongs to the user that makes it.
///
/// # Errors
/// The kernel gives no randomness.
pub(super) fn kept(left: Vec<(String, OwnedFd)>, manager: &ServiceManager) -> io::Result<Secret> {
    if let Some(secret) = received(left, manager) {
        return Ok(secret);
    }
    let bytes = Zeroizing::new(entropy::bytes()?);
    if manager.is_there() {
        match stored(&secret_file::line(*bytes)) {
            Ok(memory) => manager.store(NAME, &memory),
            Err(error) => {
                let error = limits::explain(&error);
                warn!(
                    error,
                    "cannot store the secret of the cookies for the next process: after a restart, clients of NTS have to establish keys again: {error}"
                );
            }
        }
    }
    Ok(Secret::new(*bytes))
}

/// Makes the manager forget a secret that is not used, since a file has one or there is no NTS.
pub(super) fn forget(left: &[(String, OwnedFd)], manager: &ServiceManager) {
    if !left.is_empty() {
        manager.forget(NAME);
    }
}

fn received(left: Vec<(String, OwnedFd)>, manager: &ServiceManager) -> Option<Secret> {
    let mut left = left.into_iter().map(|(_, memory)| File::from(memory));
    let memory = left.next()?;
    let secret = match handover::fault(&memory) {
        _ if left.next().is_some() => Err("there are several of them"),
        Some(fault) => Err(fault),
        None => read(&memory).ok_or("it is no secret"),
    };
    match secret {
        Ok(secret) => {
            info!("continuing with the secret of the cookies of the previous process");
            Some(secret)
        }
        Err(fault) => {
            warn!("the secret of the cookies of the previous process is not used: {fault}");
            manager.forget(NAME);
            None
        }
    }
}

fn read(memory: &File) -> Option<Secret> {
    let mut text = Zeroizing::new([0; 64]);
    let length = memory.read_at(&mut *text, 0).ok()?;
    secret_file::parse(text.get(..length)?).ok()?.pop()
}

/// Makes memory with this text, which can't be changed any more.
fn stored(text: &str) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let memory = File::from(memfd_create(NAME, flags)?);
    memory.set_permissions(Permissions::from_mode(0o600))?;
    memory.write_all_at(text.as_bytes(), 0)?;
    let seals =
        SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
    fcntl(&memory, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back_and_nothing_else() {
        let manager = ServiceManager::connect().unwrap();
        let text = secret_file::line([7; 32]);
        let left = |memory: File| vec![(NAME.to_owned(), OwnedFd::from(memory))];
        let found = received(left(stored(&text).unwrap()), &manager);
        assert!(found == Some(Secret::new([7; 32])));
        // Nobody changes it.
        assert!(stored(&text).unwrap().write_at(b"x", 0).is_err());
        assert!(stored(&text).unwrap().set_len(0).is_err());
        for nonsense in ["", "nonsense\n", &"A".repeat(63)] {
            assert!(received(left(stored(nonsense).unwrap()), &manager).is_none());
        }
        let open = File::from(memfd_create(NAME, MFdFlags::MFD_CLOEXEC).unwrap());
        open.set_permissions(Permissions::from_mode(0o644)).unwrap();
        open.write_all_at(text.as_bytes(), 0).unwrap();
        assert!(received(left(open), &manager).is_none());
        let several = [stored(&text).unwrap(), stored(&text).unwrap()];
        let several = several.map(|memory| (NAME.to_owned(), OwnedFd::from(memory)));
        assert!(received(Vec::from(several), &manager).is_none());
        // Without one, each process has its own.
        assert!(kept(Vec::new(), &manager).unwrap() != kept(Vec::new(), &manager).unwrap());
    }
}
