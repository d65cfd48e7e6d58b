//! Impure. The place of the control socket: that of the configuration, or that of the current user.
//!
//! The server takes the first one that it can open, a command the first one that it can connect to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::{runtime_directory, unix_socket};

/// Longest time to find out whether a server has a socket; one that takes longer has it.
const PATIENCE: Duration = Duration::from_millis(200);

/// The places where the socket can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketPlaces {
    first: PathBuf,
    own: Option<PathBuf>,
}

impl SocketPlaces {
    /// The socket at `path`, and nowhere else.
    pub fn only(path: PathBuf) -> Self {
        Self {
            first: path,
            own: None,
        }
    }

    /// The socket at `path`, and if that is the default one also the one of the current user.
    pub fn of_configuration(path: PathBuf, is_default: bool) -> Self {
        Self {
            first: path,
            own: if is_default { of_user() } else { None },
        }
    }

    /// Returns the place where a server is now: the first one if there is none.
    pub fn find(&self) -> &Path {
        let own = self.own.as_deref().filter(|own| own.exists());
        match own {
            // The first one, too, may be left from a server that has ended.
            Some(own) if !is_served(&self.first) => own,
            Some(_) | None => &self.first,
        }
    }
}

/// Returns the socket of a server that the current user starts; `None` for root, and without `$XDG_RUNTIME_DIR`.
pub fn of_user() -> Option<PathBuf> {
    runtime_directory::path("control.sock")
}

fn is_served(path: &Path) -> bool {
    match unix_socket::connect(path, PATIENCE) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::net::UnixListener;

    use nix::unistd::mkdtemp;

    #[test]
    fn a_server_is_found_at_the_first_place_before_the_other() {
        let top = mkdtemp(&std::env::temp_dir().join("ntpfront-places-XXXXXX")).unwrap();
        let (first, own) = (top.join("first"), top.join("own"));
        let places = SocketPlaces {
            first: first.clone(),
            own: Some(own.clone()),
        };
        assert_eq!(places.find(), first, "none is there");
        let listener = UnixListener::bind(&own).unwrap();
        assert_eq!(places.find(), own);
        let other = UnixListener::bind(&first).unwrap();
        assert_eq!(places.find(), first);
        drop(other);
        assert_eq!(places.find(), own, "what is left of the first one is no server");
        assert_eq!(SocketPlaces::only(first.clone()).find(), first);
        drop(listener);
        fs::remove_dir_all(&top).unwrap();
    }
}
