//! Impure. What the process can't do any more, whoever takes it over: Landlock leaves a few files within reach
//! (this file), [`seccomp`] a few system calls.
//!
//! Both are put on after the privileges are dropped and before the first thread starts, so that all threads have them,
//! and neither can be taken off again. A kernel that lacks one is no reason not to serve: the log says what it lacks.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod arguments;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod calls;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub mod seccomp;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[path = "sandbox/no_seccomp.rs"]
pub mod seccomp;
mod shared;

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf, absolute};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope,
};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::rooted_file;

/// More links in a row than the kernel follows (`path_resolution(7)`).
const MOST_LINKS: usize = 40;

/// The system calls that only some processes need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NeededCalls {
    /// A BPF program that is loaded already may be attached to an interface again.
    pub attaches: bool,
    /// The log goes to journald, message by message.
    pub journal: bool,
}

/// Files and TCP ports that stay within reach. Files are opened when they are named, before the root directory changes.
#[derive(Debug, Default)]
pub struct AllowedAccess {
    directories: Vec<OwnedFd>,
    files: Vec<OwnedFd>,
    /// TCP ports that may be listened on.
    pub tcp_listen: Vec<u16>,
    /// TCP ports of other hosts that may be connected to.
    pub tcp_connect: Vec<u16>,
}

impl AllowedAccess {
    /// Leaves the file at `path` readable: the one that is there now, and, in a directory that has nothing to do with others, also
    /// one that is put in its place, and its neighbours. (What else is put in its place [`super::opener`] opens.) The same
    /// goes for the directory of each link on the way to what it is now.
    pub fn read(&mut self, path: &Path) {
        for directory in directories(path) {
            let real = directory.canonicalize().unwrap_or_default();
            if !shared::is_shared(&real) {
                self.directories.extend(rooted_file::handle(&real));
            }
        }
        self.files
            .extend(open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()));
    }

    /// Leaves all files beside the one at `path` readable, too, and those beside each link on the way. Directories that are not
    /// there now are left out.
    pub fn read_beside(&mut self, path: &Path) {
        for directory in directories(path) {
            self.directories.extend(rooted_file::handle(&directory));
        }
    }
}

/// The directories of a file, of what it links to, and so on.
fn directories(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut next = absolute(path).ok();
    while let Some(path) = next.filter(|_| found.len() < MOST_LINKS) {
        let Some(directory) = path.parent() else {
            break;
        };
        // `join` takes an absolute target as it is.
        next = fs::read_link(&path).ok().map(|target| directory.join(target));
        found.push(directory.to_owned());
    }
    found
}

/// Puts all files but those that `access` names out of reach of the calling thread and those that it will start, forbids all
/// other TCP ports, and signals and abstract Unix sockets to other processes (what is connected already stays so).
/// UDP is free. Returns what of that this kernel can't do.
///
/// # Errors
/// When the kernel can do it and refuses.
pub fn limit_to(access: &AllowedAccess) -> Result<Option<String>, RulesetError> {
    let places = access.directories.iter().chain(&access.files);
    let places = places.map(|place| Ok::<_, RulesetError>(PathBeneath::new(place, AccessFs::ReadFile)));
    let ports = |ports: &[u16], access: BitFlags<AccessNet>| {
        let rules = ports
            .iter()
            .map(|port| Ok::<_, RulesetError>(NetPort::new(*port, access)));
        rules.collect::<Vec<_>>()
    };
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?
        .add_rules(places)?
        .add_rules(ports(&access.tcp_listen, AccessNet::BindTcp.into()))?
        .add_rules(ports(&access.tcp_connect, AccessNet::ConnectTcp.into()))?
        .restrict_self()?;
    Ok(lacks(&status.landlock))
}

/// What a kernel of this status can't do of all that is asked of it.
fn lacks(status: &LandlockStatus) -> Option<String> {
    let abi = match status {
        LandlockStatus::NotImplemented => {
            return Some(
                "this kernel has no Landlock (Linux 5.13 and newer can have it), or a container's filter forbids it: files stay within reach"
                    .to_owned(),
            );
        }
        LandlockStatus::NotEnabled => {
            return Some("Landlock is not turned on in this kernel (add it to lsm= of its command line): files stay within reach".to_owned());
        }
        LandlockStatus::Available { effective_abi, .. } => *effective_abi,
    };
    let missing = [
        (ABI::V3, "truncating files"),
        (ABI::V4, "TCP ports"),
        (ABI::V5, "commands to devices"),
        (ABI::V6, "signals and abstract Unix sockets"),
    ];
    let missing: Vec<&str> = missing
        .iter()
        .filter(|(since, _)| abi < *since)
        .map(|(_, what)| *what)
        .collect();
    let list = missing.join(", ");
    (!list.is_empty()).then(|| format!("Landlock of this kernel is too old to forbid: {list}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::rooted_file::{ReadError, RootedFile};
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::thread;

    use nix::unistd::mkdtemp;

    fn available(effective_abi: ABI) -> LandlockStatus {
        LandlockStatus::Available {
            effective_abi,
            kernel_abi: None,
        }
    }

    #[test]
    fn what_a_kernel_lacks_is_said() {
        let said = |status| lacks(&status).unwrap_or_default();
        assert!(said(LandlockStatus::NotImplemented).contains("5.13"));
        assert!(said(LandlockStatus::NotEnabled).contains("lsm="));
        assert_eq!(
            said(available(ABI::V3)),
            "Landlock of this kernel is too old to forbid: TCP ports, commands to devices, signals and abstract Unix sockets"
        );
        assert_eq!(lacks(&available(ABI::V6)), None);
        assert_eq!(lacks(&available(ABI::V10)), None);
    }

    #[test]
    fn the_directories_of_all_links_are_found() {
        let top = mkdtemp(&std::env::temp_dir().join("ntpfront-reach-XXXXXX")).unwrap();
        for name in ["etc", "run", "store"] {
            fs::create_dir(top.join(name)).unwrap();
        }
        symlink("../run/link", top.join("etc/file")).unwrap();
        symlink(top.join("store/file"), top.join("run/link")).unwrap();
        let expected = ["etc", "etc/../run", "store"].map(|name| top.join(name));
        assert_eq!(directories(&top.join("etc/file")), expected);
        symlink("circle", top.join("circle")).unwrap();
        assert_eq!(directories(&top.join("circle")).len(), MOST_LINKS);
        assert_eq!(directories(Path::new("/")), [""; 0].map(PathBuf::from));
        fs::remove_dir_all(&top).unwrap();
    }

    /// Landlock binds the thread that asks for it and no other, so that it can be tried here.
    #[test]
    fn what_is_not_named_is_out_of_reach() {
        let top = mkdtemp(&std::env::temp_dir().join("ntpfront-reach-XXXXXX")).unwrap();
        for name in ["in", "out"] {
            fs::create_dir(top.join(name)).unwrap();
            fs::write(top.join(name).join("file"), name).unwrap();
        }
        let (inside, outside) = (top.join("in/file"), top.join("out/file"));
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [open, closed] = [0, 1].map(|index: usize| listeners[index].local_addr().unwrap());
        let strangers = SocketAddr::from_abstract_name(format!("ntpfront-{}", std::process::id())).unwrap();
        let _stranger = UnixDatagram::bind_addr(&strangers).unwrap();
        let neighbour = top.join("in/neighbour");
        fs::write(&neighbour, "in").unwrap();
        let mut access = AllowedAccess::default();
        access.read(&inside);
        access.read("/etc/passwd".as_ref());
        access.tcp_connect.push(open.port());
        let files = [&inside, &outside].map(|path| RootedFile::open(path).unwrap());
        let job = move || {
            assert_eq!(
                limit_to(&access).unwrap(),
                None,
                "this kernel is too old for the test"
            );
            let denied =
                |error: std::io::Error| assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            assert_eq!(files[0].read(10).unwrap(), b"in");
            denied(fs::read_dir(inside.parent().unwrap()).map(|_| ()).unwrap_err());
            assert_eq!(fs::read(&neighbour).unwrap(), b"in");
            match files[1].read(10) {
                Err(ReadError::Open(error)) => denied(error),
                other => panic!("{other:?}"),
            }
            denied(fs::write(&inside, "changed").unwrap_err());
            fs::read("/etc/passwd").unwrap();
            for other in ["/etc/shadow", "/etc/hostname", "/etc/group"] {
                denied(fs::read(other).unwrap_err());
            }
            denied(TcpListener::bind("127.0.0.1:0").unwrap_err());
            denied(TcpStream::connect(closed).unwrap_err());
            TcpStream::connect(open).unwrap();
            let socket = UnixDatagram::unbound().unwrap();
            denied(socket.connect_addr(&strangers).unwrap_err());
            UdpSocket::bind("127.0.0.1:0").unwrap();
        };
        thread::spawn(job).join().unwrap();
        fs::remove_dir_all(&top).unwrap();
    }
}
