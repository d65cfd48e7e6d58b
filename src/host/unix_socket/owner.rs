//! Pure. The user with whose permissions a socket is made in a directory.

/// Mode bit of a directory whose files inherit its group (set-group-ID).
pub(super) const SET_GROUP: u32 = 0o2000;
/// Mode bit of a directory in which only a file's owner may rename or remove it (the sticky bit of `/tmp`).
const STICKY: u32 = 0o1000;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const ROOT: u32 = 0;

/// The owner and mode of a directory or link on the way to the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PathElement {
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) mode: u32,
}

/// The user that makes the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    /// The current user, for itself.
    Ourselves,
    /// Root, which gives it away: no other user can change anything on the way there.
    RootForOwner,
    /// The future owner, with no more permissions than its own.
    Owner,
}

/// Returns the user that makes the socket, if the process runs as `user` and it will belong to `owner`.
///
/// `way` is all that is passed on the way there, from the root directory to the one that the socket is in.
pub(super) fn maker(user: u32, owner: Option<u32>, way: &[PathElement]) -> Maker {
    let Some(_another) = owner.filter(|owner| *owner != user && user == ROOT) else {
        return Maker::Ourselves;
    };
    // In a sticky directory only root can replace root's directory; a file that does not exist yet any user
    // can create.
    let above = |step: &PathElement| is_roots(*step) || (step.user == ROOT && step.mode & STICKY != 0);
    if way.iter().all(above) && way.last().copied().is_some_and(is_roots) {
        Maker::RootForOwner
    } else {
        Maker::Owner
    }
}

/// Whether only root can change what is in it.
fn is_roots(step: PathElement) -> bool {
    step.user == ROOT
        && step.mode & OTHERS_WRITE == 0
        && (step.mode & GROUP_WRITES == 0 || step.group == ROOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn directory(user: u32, group: u32, mode: u32) -> PathElement {
        PathElement { user, group, mode }
    }

    #[test]
    fn root_lends_its_hand_only_where_nobody_else_has_one() {
        let plain = directory(0, 0, 0o755);
        let tmp = directory(0, 0, 0o1777);
        let theirs = directory(7, 7, 0o755);
        for (case, way, expected) in [
            ("/run/x", vec![plain, plain], Maker::RootForOwner),
            ("closed", vec![directory(0, 0, 0o700), plain], Maker::RootForOwner),
            (
                "root's group",
                vec![directory(0, 0, 0o775), plain],
                Maker::RootForOwner,
            ),
            (
                "set-group-ID",
                vec![directory(0, 9, 0o2755), plain],
                Maker::RootForOwner,
            ),
            (
                "root's own below /tmp",
                vec![plain, tmp, plain],
                Maker::RootForOwner,
            ),
            ("/tmp itself", vec![tmp, plain], Maker::Owner),
            ("another group", vec![directory(0, 9, 0o775), plain], Maker::Owner),
            ("everybody", vec![directory(0, 0, 0o777), plain], Maker::Owner),
            ("a user's", vec![theirs, plain], Maker::Owner),
            ("root's below a user's", vec![plain, theirs, plain], Maker::Owner),
            (
                "below everybody's",
                vec![plain, directory(0, 0, 0o777), plain],
                Maker::Owner,
            ),
            ("a user's link", vec![plain, tmp, theirs], Maker::Owner),
        ] {
            let way: Vec<_> = way.into_iter().rev().collect();
            assert_eq!(maker(0, Some(7), &way), expected, "{case}");
            assert_eq!(maker(0, None, &way), Maker::Ourselves, "{case}");
            assert_eq!(maker(0, Some(0), &way), Maker::Ourselves, "{case}");
            assert_eq!(maker(7, Some(7), &way), Maker::Ourselves, "{case}");
            // A process that can't become another user has no permissions to lend.
            assert_eq!(maker(8, Some(7), &way), Maker::Ourselves, "{case}");
        }
    }
}
