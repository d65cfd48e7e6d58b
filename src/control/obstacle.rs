//! Pure. The reason why the control socket can't be reached, and the remedy, in words.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;

/// A socket, or a directory on the way to it, that is closed to the user of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedPath {
    /// The innermost one that can be seen.
    pub path: PathBuf,
    /// Its group, by name if it has one.
    pub group: String,
    /// Whether members of the group get through; otherwise only the owner and root do.
    pub is_for_group: bool,
    /// The user of the command, by name if it has one.
    pub user: String,
}

/// The remedy for an error of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing is at the path.
    Start,
    /// No process has the socket open.
    Restart,
    /// The user lacks a permission.
    Join(Option<ClosedPath>),
    /// There is none that is known.
    Unknown,
}

impl Remedy {
    /// Returns the remedy of an error; `closed` is what is closed, if the error is a lack of permission.
    pub fn of(error: ErrorKind, closed: impl FnOnce() -> Option<ClosedPath>) -> Self {
        if error == ErrorKind::NotFound {
            Self::Start
        } else if error == ErrorKind::ConnectionRefused {
            Self::Restart
        } else if error == ErrorKind::PermissionDenied {
            Self::Join(closed())
        } else {
            Self::Unknown
        }
    }
}

/// The sentence that follows the path of the socket.
impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str(
                "there is no such socket: start ntpfront (`systemctl start ntpfront`), or name its configuration \
                 (-c FILE) or its socket (--socket PATH)",
            ),
            Self::Restart => f.write_str(
                "no process listens there, the socket is left from one that has ended: start ntpfront again; its log \
                 says why it ended",
            ),
            Self::Join(None) => f.write_str("permission denied: use sudo"),
            Self::Join(Some(closed)) => closed.fmt(f),
            Self::Unknown => f.write_str("is ntpfront running, and does this user have access to the socket?"),
        }
    }
}

impl fmt::Display for ClosedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            group,
            is_for_group,
            user,
        } = self;
        let path = path.display();
        if *is_for_group {
            write!(
                f,
                "permission denied: {path} is for the group {group}: use sudo, or `usermod -aG {group} {user}` and log \
                 in again"
            )
        } else {
            write!(
                f,
                "permission denied: {path} is closed to other users, and to its group: use sudo"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: ErrorKind, is_for_group: bool) -> String {
        let closed = || {
            Some(ClosedPath {
                path: "/run/ntpfront".into(),
                group: "ntpfront".to_owned(),
                is_for_group,
                user: "ann".to_owned(),
            })
        };
        Remedy::of(kind, closed).to_string()
    }

    #[test]
    fn each_error_has_its_remedy() {
        for (kind, words) in [
            (ErrorKind::NotFound, "systemctl start ntpfront"),
            (ErrorKind::ConnectionRefused, "its log says why"),
            (ErrorKind::PermissionDenied, "`usermod -aG ntpfront ann`"),
            (ErrorKind::Other, "is ntpfront running"),
        ] {
            let text = text(kind, true);
            assert!(text.contains(words), "{kind:?}: {text}");
            assert_eq!(
                text.contains("permission denied"),
                kind == ErrorKind::PermissionDenied
            );
        }
        let closed = text(ErrorKind::PermissionDenied, false);
        assert!(
            closed.contains("/run/ntpfront") && !closed.contains("usermod"),
            "{closed}"
        );
        let unseen = Remedy::of(ErrorKind::PermissionDenied, || None).to_string();
        assert_eq!(unseen, "permission denied: use sudo");
    }
}
