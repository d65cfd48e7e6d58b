//! Pure. Directories that hold files of more than one program.

use std::path::{Component, Path};

/// Directories below which each directory serves many, as `/usr/share` and `/home/NAME` do.
const HALLS: &[&str] = &["usr", "usr/local", "var", "home", "run/user", "opt"];

/// Names of directories that serve many, at any place: `/usr/local/etc`, `/gnu/store`.
const COMMON: &[&str] = &["etc", "store"];

/// Whether `directory`, an absolute path without links, may hold files of other programs or users.
///
/// So are all directories at the top of the tree or in the shared ones of its standard (hier(7)), and those
/// of a common name. Directories made below them for one purpose, as `/etc/ntpfront` and
/// `/usr/share/zoneinfo`, are not.
pub(super) fn is_shared(directory: &Path) -> bool {
    let mut parts = directory.components().filter(|part| *part != Component::RootDir);
    let (above, last) = (directory.parent(), parts.next_back());
    let Some(last) = last else {
        return true;
    };
    let is_top = parts.next().is_none();
    let in_hall = || {
        let above = above.and_then(|above| above.strip_prefix("/").ok());
        above.is_some_and(|above| HALLS.iter().any(|hall| above == Path::new(hall)))
    };
    is_top || COMMON.iter().any(|name| last.as_os_str() == *name) || in_hall()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directories_of_many_are_told_from_those_of_one() {
        for shared in [
            "/",
            "/etc",
            "/run",
            "/tmp",
            "/root",
            "/srv",
            "/usr/share",
            "/usr/local",
            "/usr/local/etc",
            "/usr/local/share",
            "/var/lib",
            "/home/ann",
            "/run/user/7",
            "/opt/local/etc",
            "/gnu/store",
            "/opt/tools",
        ] {
            assert!(is_shared(Path::new(shared)), "{shared}");
        }
        for own in [
            "/etc/ntpfront",
            "/usr/share/zoneinfo",
            "/run/systemd/resolve",
            "/run/NetworkManager",
            "/run/resolvconf",
            "/home/ann/ntp",
            "/var/lib/ntpfront",
            "/tmp/scratch",
            "/etc/ntpfront/..data",
            "/usr/local/etc/ntpfront",
        ] {
            assert!(!is_shared(Path::new(own)), "{own}");
        }
    }
}
