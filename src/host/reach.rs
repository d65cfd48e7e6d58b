//! Impure. Whether a user could read a file, before the process is that user.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid};

const READ: u32 = 0o4;
const PASS: u32 = 0o1;

/// Returns the directory or file on the way to `path` that keeps a user with this one group from reading it.
///
/// `None` if it can be read, as far as owners and modes say, or if the way can't be seen from here.
pub fn obstacle(path: &Path, user: (Uid, Gid)) -> Option<PathBuf> {
    // Links are followed: what is behind them counts.
    let real = path.canonicalize().ok()?;
    let mut way: Vec<&Path> = real.ancestors().collect();
    way.reverse();
    let blocks = |part: &&Path| {
        let needed = if *part == real { READ } else { PASS };
        part.metadata().is_ok_and(|about| !permits(&about, needed, user))
    };
    way.into_iter().find(blocks).map(Path::to_owned)
}

fn permits(about: &Metadata, needed: u32, (uid, gid): (Uid, Gid)) -> bool {
    let shift = if about.uid() == uid.as_raw() {
        6
    } else if about.gid() == gid.as_raw() {
        3
    } else {
        0
    };
    uid.is_root() || (about.mode() >> shift) & needed != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use nix::unistd::mkdtemp;

    #[test]
    fn the_first_obstacle_is_named() {
        let top = mkdtemp(&std::env::temp_dir().join("ntpfront-reach-XXXXXX")).unwrap();
        let (directory, file) = (top.join("tls"), top.join("tls/key"));
        fs::create_dir(&directory).unwrap();
        fs::write(&file, "").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let about = file.metadata().unwrap();
        let own = (Uid::from_raw(about.uid()), Gid::from_raw(about.gid()));
        let group = (Uid::from_raw(65_533), own.1);
        let other = (Uid::from_raw(65_533), Gid::from_raw(65_533));
        for (of_top, of_directory, of_file, user, expected) in [
            (0o755, 0o755, 0o644, other, None),
            (0o755, 0o755, 0o640, other, Some(&file)),
            (0o755, 0o755, 0o640, group, None),
            (0o755, 0o750, 0o640, group, None),
            (0o755, 0o700, 0o644, group, Some(&directory)),
            (0o700, 0o755, 0o644, group, Some(&top)),
            // The rights of its group are not those of an owner.
            (0o755, 0o755, 0o040, group, None),
            (0o755, 0o755, 0o604, group, Some(&file)),
        ] {
            set(&top, of_top);
            set(&directory, of_directory);
            set(&file, of_file);
            assert_eq!(
                obstacle(&file, user).as_ref(),
                expected,
                "{of_top:o} {of_directory:o} {of_file:o}"
            );
        }
        set(&file, 0o600);
        assert_eq!(obstacle(&file, own), None);
        assert_eq!(obstacle(&top.join("absent"), other), None);
        set(&top, 0o700);
        fs::remove_dir_all(&top).unwrap();
    }
}
