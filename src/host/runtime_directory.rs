//! Impure. The directory for sockets of a user other than root: `$XDG_RUNTIME_DIR` (XDG Base Directory Specification).

use std::env;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// The name of the directory below it that is ours.
const OWN: &str = "ntpfront";

/// Returns the path of our file `name` in the runtime directory of the current user.
///
/// `None` if the user is root, has no such directory, or if it is another user's, as after `su`.
pub fn path(name: &str) -> Option<PathBuf> {
    if geteuid().is_root() {
        return None;
    }
    let base = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)?;
    in_base(&base, name)
}

fn in_base(base: &Path, name: &str) -> Option<PathBuf> {
    let about = fs::metadata(base).ok()?;
    let is_own = about.is_dir() && about.uid() == geteuid().as_raw();
    (base.is_absolute() && is_own).then(|| base.join(OWN).join(name))
}

/// Makes the directory of the file at `path`, closed to other users; that it exists is no error.
///
/// # Errors
/// The kernel's.
pub fn make(path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent() else {
        return Ok(());
    };
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use nix::unistd::mkdtemp;

    #[test]
    fn only_a_directory_of_the_user_counts() {
        let base = mkdtemp(&env::temp_dir().join("ntpfront-runtime-XXXXXX")).unwrap();
        let own = base.join("ntpfront/control.sock");
        assert_eq!(in_base(&base, "control.sock"), Some(own.clone()));
        fs::write(base.join("file"), "").unwrap();
        for other in [
            Path::new("/proc/1"),
            &base.join("file"),
            &base.join("absent"),
            Path::new("tests"),
        ] {
            // Only root owns what belongs to the first process.
            if other != Path::new("/proc/1") || !geteuid().is_root() {
                assert_eq!(in_base(other, "control.sock"), None, "{other:?}");
            }
        }
        for _ in 0..2 {
            make(&own).unwrap();
        }
        let mode = fs::metadata(base.join("ntpfront")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(make(&base.join("absent/ntpfront/control.sock")).is_err());
        fs::remove_dir_all(&base).unwrap();
    }
}
