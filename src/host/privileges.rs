//! Impure. Dropping what the start needed: the root directory, the groups, the user and the capabilities.
//!
//! One capability may stay, `CAP_NET_BIND_SERVICE`: without it no reload could open a port below 1024. It is
//! only *permitted* then, on the supervisor's thread alone, and *effective* (usable) just while
//! [`with_low_ports`] runs. A process that stays root has no other capability either: it is root in name, and
//! owner of its files.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use caps::errors::CapsError;
use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::sys::prctl::{set_dumpable, set_keepcaps, set_no_new_privs};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, User, chdir, chroot, geteuid, setgroups, setresgid, setresuid};
use strum::{IntoStaticStr, VariantArray};

const LOW_PORTS: Capability = Capability::CAP_NET_BIND_SERVICE;

/// The condition for keeping the capability to open low ports, if the process has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum LowPorts {
    /// Kept if a listener has a low port.
    Auto,
    /// Kept also if none has: a reload may bring one.
    Always,
    /// Dropped: a reload can't open low ports then.
    Never,
}

impl LowPorts {
    /// Returns its word in the configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether to keep the capability, with listeners on `ports`.
    pub fn are_wanted(self, ports: impl IntoIterator<Item = u16>) -> bool {
        match self {
            Self::Auto => {
                let first = first_unprivileged_port();
                ports.into_iter().any(|port| u32::from(port) < first)
            }
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Returns the first port that needs no privilege (`ip(7)`, ip_unprivileged_port_start; for both families).
fn first_unprivileged_port() -> u32 {
    let said = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    said.ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1024)
}

/// A user as the system knows it, looked up before the root directory changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: String,
    uid: Uid,
    gid: Gid,
}

/// A privilege that could not be dropped, and why. It is fatal, since the configuration relies on it.
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
    /// Capabilities could not be given up.
    Capabilities(CapsError),
    /// A way to new privileges could not be closed.
    Lock(&'static str, io::Error),
}

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownUser(name) => write!(
                f,
                "there is no user {name:?}: create it (`useradd --system {name}`), or set another with --user"
            ),
            Self::Lookup(name, cause) => write!(f, "cannot look up the user {name:?}: {cause}"),
            Self::NotRoot(what) => write!(f, "only root may {what}: start as root, or remove the setting"),
            Self::Chroot(path, cause) => {
                write!(
                    f,
                    "cannot make {} the root directory: {cause}: it must exist and be a directory",
                    path.display()
                )
            }
            Self::User(name, cause) => write!(f, "cannot become user {name:?}: {cause}"),
            Self::Capabilities(cause) => write!(f, "cannot drop capabilities: {cause}"),
            Self::Lock(what, cause) => write!(f, "cannot {what}: {cause}"),
        }
    }
}

impl std::error::Error for PrivilegeError {}

impl Identity {
    /// Whether this is another user than the process has now.
    pub fn is_another(&self) -> bool {
        self.uid != geteuid()
    }

    /// Returns its number, for the files that it owns.
    pub fn uid(&self) -> Uid {
        self.uid
    }

    /// Returns its number and the number of its group.
    pub fn uid_and_gid(&self) -> (Uid, Gid) {
        (self.uid, self.gid)
    }

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

/// Changes the root directory, then drops supplementary groups, group, user and capabilities, in this order.
///
/// What is `None` stays as it is. Then no executed program can gain privileges, and no memory gets into a
/// core dump. Must run while the process has one thread.
///
/// A process that already is that user (as in a unit with `User=`) keeps it. `low_ports` keeps the capability
/// to open low ports, if there is one; the other capabilities are dropped in any case. Returns whether that
/// one was kept.
///
/// # Errors
/// The first thing that could not be done; the process must not continue then.
pub fn drop_to(
    root: Option<&Path>,
    user: Option<&Identity>,
    low_ports: bool,
) -> Result<bool, PrivilegeError> {
    if let Some(root) = root {
        change_root(root)?;
    }
    forget_what_could_be_gained()?;
    if let Some(identity) = user.filter(|identity| identity.is_another()) {
        change_user(identity, low_ports)?;
    }
    let kept = low_ports && is_permitted(LOW_PORTS)?;
    permit(kept.then_some(LOW_PORTS))?;
    lock()?;
    Ok(kept)
}

/// Drops every capability of the calling thread: for threads that never bind.
///
/// # Errors
/// [`PrivilegeError::Capabilities`]; the thread must not continue then.
pub fn drop_all_of_thread() -> Result<(), PrivilegeError> {
    permit(None)
}

/// Runs `bind` with the capability to open low ports in use, if this thread kept it.
///
/// It runs without it, too: the kernel then reports which port needs it.
pub fn with_low_ports<T>(bind: impl FnOnce() -> T) -> T {
    let raised = is_permitted(LOW_PORTS).is_ok_and(|permitted| permitted)
        && caps::raise(None, CapSet::Effective, LOW_PORTS).is_ok();
    let result = bind();
    if raised && caps::clear(None, CapSet::Effective).is_err() {
        // The kernel lets every process drop a capability, so an attacker is in control here.
        std::process::abort();
    }
    result
}

/// Empties the sets from which an executed program could gain capabilities.
///
/// They are the inheritable one and the bounding set. The kernel empties the ambient one with the inheritable
/// (`capabilities(7)`).
fn forget_what_could_be_gained() -> Result<(), PrivilegeError> {
    caps::clear(None, CapSet::Inheritable)?;
    // A process that may not shrink the bounding set (CAP_SETPCAP) can gain nothing through it: `lock`
    // forbids all gains.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    Ok(())
}

fn is_permitted(capability: Capability) -> Result<bool, CapsError> {
    caps::has_cap(None, CapSet::Permitted, capability)
}

/// Leaves this thread with `kept` at most, not effective, and checks that it is so.
fn permit(kept: Option<Capability>) -> Result<(), PrivilegeError> {
    let kept = HashSet::from_iter(kept);
    caps::clear(None, CapSet::Effective)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    if caps::read(None, CapSet::Permitted)? != kept || !caps::read(None, CapSet::Effective)?.is_empty() {
        return Err(CapsError::from("some remain after the call").into());
    }
    Ok(())
}

fn lock() -> Result<(), PrivilegeError> {
    let failed = |what| move |errno: Errno| PrivilegeError::Lock(what, errno.into());
    set_no_new_privs().map_err(failed("turn new privileges off"))?;
    // A limit of zero does not stop dumps into a pipe (core(5)), being undumpable does. It also keeps other
    // processes of the same user from reading this process's memory.
    set_dumpable(false).map_err(failed("make the process undumpable"))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(failed("turn core dumps off"))
}

impl From<CapsError> for PrivilegeError {
    fn from(error: CapsError) -> Self {
        Self::Capabilities(error)
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

fn change_user(identity: &Identity, low_ports: bool) -> Result<(), PrivilegeError> {
    if !geteuid().is_root() {
        return Err(PrivilegeError::NotRoot("change the user (--user)"));
    }
    let failed = |errno: Errno| PrivilegeError::User(identity.name.clone(), io::Error::from(errno));
    setgroups(&[identity.gid]).map_err(failed)?;
    setresgid(identity.gid, identity.gid, identity.gid).map_err(failed)?;
    // A process that may not ask to keep capabilities loses them all: the caller checks.
    let _kept = set_keepcaps(low_ports);
    // All three user IDs at once: there is no way back. The kernel takes the capabilities away, unless asked not to.
    setresuid(identity.uid, identity.uid, identity.uid).map_err(failed)?;
    let _reset = set_keepcaps(false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::udp::bind_members;
    use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
    use std::thread;

    use nix::sched::{CloneFlags, unshare};
    use nix::unistd::setfsuid;

    const NOBODY: Uid = Uid::from_raw(65_534);

    /// Runs `inside` in a thread with a network of its own, as root; not at all where `tests/run` left root out.
    fn as_root_alone(inside: impl FnOnce() + Send + 'static) {
        let without = std::env::var("NTPFRONT_WITHOUT").unwrap_or_default();
        if without.split_whitespace().any(|word| word == "root") {
            return;
        }
        assert!(
            geteuid().is_root(),
            "this test needs root: leave it out with NTPFRONT_WITHOUT=root"
        );
        let thread = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            inside();
        });
        thread.join().unwrap();
    }

    fn bind(port: u16) -> io::Result<UdpSocket> {
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))
    }

    /// Capabilities belong to a thread, so that no other test notices.
    #[test]
    fn low_ports_open_only_with_the_right_in_use() {
        as_root_alone(|| {
            permit(Some(LOW_PORTS)).unwrap();
            let refused =
                |bound: io::Result<UdpSocket>| bound.unwrap_err().kind() == io::ErrorKind::PermissionDenied;
            assert!(refused(bind(123)));
            assert!(with_low_ports(|| bind(123)).is_ok());
            assert!(refused(bind(123)));
            assert!(unshare(CloneFlags::CLONE_NEWNET).is_err());
            drop_all_of_thread().unwrap();
            assert!(refused(with_low_ports(|| bind(123))));
            assert!(permit(Some(LOW_PORTS)).is_err());
            bind(1123).unwrap();
        });
    }

    /// A socket belongs to the file system user of its thread (`setfsuid(2)`), which no other thread shares.
    #[test]
    fn a_group_is_extended_by_another_user_only_if_it_was_handed_over() {
        as_root_alone(|| {
            let [kept, given] = [20_001, 20_002].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            let _roots = bind_members(kept, 1, None).unwrap();
            let _nobodys = bind_members(given, 2, Some(NOBODY)).unwrap();
            // A successor, started as root again, joins them.
            let _more = bind_members(given, 1, Some(NOBODY)).unwrap();
            setfsuid(NOBODY);
            let error = bind_members(kept, 1, None).unwrap_err();
            assert!(error.to_string().contains("in use"), "{error}");
            bind_members(given, 3, None).unwrap();
        });
    }

    #[test]
    fn low_ports_are_wanted_where_they_are_needed() {
        assert!(first_unprivileged_port() <= 1024);
        for (keep, low, high) in [
            (LowPorts::Auto, true, false),
            (LowPorts::Always, true, true),
            (LowPorts::Never, false, false),
        ] {
            // Port 0 is below any start but 0, where no port is low.
            assert_eq!(keep.are_wanted([60_000, 0]), low, "{keep:?}");
            assert_eq!(keep.are_wanted([60_000]), high, "{keep:?}");
        }
    }

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
