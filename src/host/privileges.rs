//! Impure. Giving up what the start needed: the root directory, the groups and the user (design §8).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, User, chdir, chroot, geteuid, setgroups, setresgid, setresuid};

/// A user as the system knows it, looked up before the root directory changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: String,
    uid: Uid,
    gid: Gid,
}

/// What could not be given up, and why. It is fatal: who asked for it counts on it.
#[derive(Debug)]
pub enum PrivilegeError {
    /// There is no such user.
    UnknownUser(String),
    /// The user database can't be read.
    Lookup(String, io::Error),
    /// Only root may do what was asked.
    NotRoot(&'static str),
    /// The root directory could not be changed.
    Chroot(PathBuf, io::Error),
    /// The user could not be changed.
    User(String, io::Error),
}

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownUser(name) => write!(
                f,
                "there is no user {name:?}: make it (`useradd --system {name}`), or name another with --user"
            ),
            Self::Lookup(name, cause) => write!(f, "cannot look up the user {name:?}: {cause}"),
            Self::NotRoot(what) => write!(f, "only root may {what}: start as root, or leave it out"),
            Self::Chroot(path, cause) => {
                write!(
                    f,
                    "cannot make {} the root directory: {cause}: it must exist and be a directory",
                    path.display()
                )
            }
            Self::User(name, cause) => write!(f, "cannot become user {name:?}: {cause}"),
        }
    }
}

impl std::error::Error for PrivilegeError {}

impl Identity {
    /// Looks up `user`: a name, or a number.
    ///
    /// # Errors
    /// [`PrivilegeError::UnknownUser`] or [`PrivilegeError::Lookup`].
    pub fn look_up(user: &str) -> Result<Self, PrivilegeError> {
        let failed = |errno| PrivilegeError::Lookup(user.to_owned(), io::Error::from(errno));
        let by_name = User::from_name(user).map_err(failed)?;
        let found = match (by_name, user.parse().map(Uid::from_raw)) {
            (Some(found), _) => Some(found),
            (None, Ok(uid)) => User::from_uid(uid).map_err(failed)?,
            (None, Err(_)) => None,
        };
        let found = found.ok_or_else(|| PrivilegeError::UnknownUser(user.to_owned()))?;
        Ok(Self {
            name: found.name,
            uid: found.uid,
            gid: found.gid,
        })
    }
}

/// Changes the root directory, then drops supplementary groups, group and user, in this order; what is
/// `None` is left as it is. Must run while the process has one thread.
///
/// A process that already is that user (as a unit with `User=`) has nothing to drop.
///
/// # Errors
/// The first thing that could not be done; the process must not go on then.
pub fn drop_to(root: Option<&Path>, user: Option<&Identity>) -> Result<(), PrivilegeError> {
    if let Some(root) = root {
        change_root(root)?;
    }
    match user {
        Some(identity) if identity.uid != geteuid() => change_user(identity),
        _ => Ok(()),
    }
}

fn change_root(root: &Path) -> Result<(), PrivilegeError> {
    let failed = |errno| {
        if errno == Errno::EPERM {
            return PrivilegeError::NotRoot("change the root directory (--chroot)");
        }
        PrivilegeError::Chroot(root.to_owned(), io::Error::from(errno))
    };
    chroot(root).map_err(failed)?;
    chdir("/").map_err(failed)
}

fn change_user(identity: &Identity) -> Result<(), PrivilegeError> {
    if !geteuid().is_root() {
        return Err(PrivilegeError::NotRoot("change the user (--user)"));
    }
    let failed = |errno: Errno| PrivilegeError::User(identity.name.clone(), io::Error::from(errno));
    setgroups(&[identity.gid]).map_err(failed)?;
    setresgid(identity.gid, identity.gid, identity.gid).map_err(failed)?;
    // All three user IDs at once: the kernel then takes every capability away, and there is no way back.
    setresuid(identity.uid, identity.uid, identity.uid).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_by_name_and_number() {
        let root = Identity::look_up("root").unwrap();
        assert_eq!(
            root,
            Identity {
                name: "root".to_owned(),
                uid: Uid::from_raw(0),
                gid: Gid::from_raw(0)
            }
        );
        assert_eq!(Identity::look_up("0").unwrap(), root);
        for unknown in ["no-such-user", "4294967294", "", "a\0b"] {
            let error = Identity::look_up(unknown).unwrap_err();
            assert!(matches!(error, PrivilegeError::UnknownUser(_)), "{error}");
        }
    }
}
