//! Impure. The confinement of the process, in case it is taken over.
//!
//! Landlock leaves a few files readable (this file), [`seccomp`] a few system calls.
//!
//! Both are applied after the privileges are dropped and before the first thread starts, so that all threads
//! have them, and neither can be removed again. The server also serves on a kernel that lacks one: the log
//! says which.

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
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf, absolute};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope,
};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::{limits, rooted_file};

/// The longest chain of links that is followed; the kernel's limit is lower (`path_resolution(7)`).
const MOST_LINKS: usize = 40;

/// The system calls that only some processes need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NeededCalls {
    /// A BPF program that is loaded already may be attached to an interface again.
    pub attaches: bool,
    /// Each log message is sent to journald by itself.
    pub journal: bool,
    /// A thread writes files of a record.
    pub records: bool,
}

/// Files and TCP ports that stay permitted. Files are opened when they are named, before the root directory changes.
#[derive(Debug, Default)]
pub struct AllowedAccess {
    directories: Vec<OwnedFd>,
    files: Vec<OwnedFd>,
    /// The directories whose names are read, too.
    listed: Vec<OwnedFd>,
    /// The directories where files are written, and those in which such a directory may be made.
    written: Vec<OwnedFd>,
    around: Vec<OwnedFd>,
    /// The places that exist and could not be opened, each with the reason: they will not be permitted.
    pub unopened: Vec<String>,
    /// TCP ports to listen on.
    pub tcp_listen: Vec<u16>,
    /// TCP ports of other hosts to connect to.
    pub tcp_connect: Vec<u16>,
}

impl AllowedAccess {
    /// Permits reading the file at `path`.
    ///
    /// That is the current file. In a directory that serves one purpose it is also any later file there.
    /// (What replaces a file elsewhere is opened by `opener_process`.) The same holds for the directory of
    /// each link on the way to the file.
    pub fn read(&mut self, path: &Path) {
        for directory in directories(path) {
            match directory.canonicalize() {
                Ok(real) if shared::is_shared(&real) => {}
                Ok(real) => self.permit_directory(&real),
                Err(error) => self.note(&directory, &error),
            }
        }
        match open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(file) => self.files.push(file),
            Err(error) => self.note(path, &error.into()),
        }
    }

    /// Permits reading all files beside the one at `path`, too, and beside each link on the way.
    ///
    /// Directories that do not exist now are left out.
    pub fn read_beside(&mut self, path: &Path) {
        for directory in directories(path) {
            self.permit_directory(&directory);
        }
    }

    /// Permits reading the names in the directory at `path`, and all files below it, if it exists.
    pub fn list(&mut self, path: &Path) {
        match rooted_file::handle(path) {
            Ok(directory) => self.listed.push(directory),
            Err(error) => self.note(path, &error.into()),
        }
    }

    /// Permits making, writing and removing files in a directory; and to make it again, if it is removed.
    ///
    /// `around` is the directory at `path` that it is in. If that holds files of others, it stays out of reach.
    pub fn write_in(&mut self, directory: Option<OwnedFd>, around: OwnedFd, path: &Path) {
        self.written.extend(directory);
        let is_own = path.canonicalize().is_ok_and(|real| !shared::is_shared(&real));
        self.around.extend(is_own.then_some(around));
    }

    fn permit_directory(&mut self, path: &Path) {
        match rooted_file::handle(path) {
            Ok(directory) => self.directories.push(directory),
            Err(error) => self.note(path, &error.into()),
        }
    }

    /// Takes note of a place that can't be opened, unless there is nothing.
    fn note(&mut self, path: &Path, error: &io::Error) {
        if error.kind() != io::ErrorKind::NotFound {
            let why = limits::explain(error);
            self.unopened.push(format!("{}: {why}", path.display()));
        }
    }
}

/// Returns the directories of a file, of its link's target, and so on.
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

/// Confines the calling thread, and those that it starts, to `access`.
///
/// All other files and TCP ports are forbidden, and so are signals and abstract Unix sockets to other
/// processes (open connections stay). UDP is free. Returns the restrictions that this kernel lacks.
///
/// # Errors
/// The kernel has Landlock and refuses.
pub fn limit_to(access: &AllowedAccess) -> Result<Option<String>, RulesetError> {
    let places = access.directories.iter().chain(&access.files);
    let places = places.map(|place| Ok::<_, RulesetError>(PathBeneath::new(place, AccessFs::ReadFile)));
    let in_it = AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile;
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
        .add_rules(beneath(&access.listed, AccessFs::ReadFile | AccessFs::ReadDir))?
        .add_rules(beneath(&access.written, in_it))?
        .add_rules(beneath(&access.around, in_it | AccessFs::MakeDir))?
        .add_rules(ports(&access.tcp_listen, AccessNet::BindTcp.into()))?
        .add_rules(ports(&access.tcp_connect, AccessNet::ConnectTcp.into()))?
        .restrict_self()?;
    Ok(lacks(&status.landlock))
}

/// Returns rules that permit access to all that is below these directories.
fn beneath(
    directories: &[OwnedFd],
    access: BitFlags<AccessFs>,
) -> impl Iterator<Item = Result<PathBeneath<&OwnedFd>, RulesetError>> {
    directories
        .iter()
        .map(move |place| Ok(PathBeneath::new(place, access)))
}

/// Returns the restrictions that a kernel of this status lacks.
fn lacks(status: &LandlockStatus) -> Option<String> {
    let abi = match status {
        LandlockStatus::NotImplemented => {
            return Some(
                "this kernel has no Landlock (added in Linux 5.13), or a container's filter forbids it: file access is not restricted"
                    .to_owned(),
            );
        }
        LandlockStatus::NotEnabled => {
            return Some("Landlock is not enabled in this kernel (add it to lsm= on its command line): file access is not restricted".to_owned());
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
    (!list.is_empty()).then(|| format!("the Landlock version of this kernel can't restrict: {list}"))
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
            "the Landlock version of this kernel can't restrict: TCP ports, commands to devices, signals and abstract Unix sockets"
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

    /// As when descriptors run out: the place is there, and can't be opened.
    #[test]
    fn what_can_not_be_opened_is_reported_and_what_is_absent_is_not() {
        let top = mkdtemp(&std::env::temp_dir().join("ntpfront-reach-XXXXXX")).unwrap();
        let file = top.join("file");
        fs::write(&file, "").unwrap();
        symlink("circle", top.join("circle")).unwrap();
        let calls: [fn(&mut AllowedAccess, &Path); 2] = [AllowedAccess::read, AllowedAccess::read_beside];
        for (name, expected) in [
            ("file", [0, 0]),
            ("absent", [0, 0]),
            ("absent/file", [0, 0]),
            // The file's directory, and for `read` the file itself.
            ("file/below", [2, 1]),
        ] {
            let found = calls.map(|call| {
                let mut access = AllowedAccess::default();
                call(&mut access, &top.join(name));
                access.unopened.len()
            });
            assert_eq!(found, expected, "{name}");
        }
        let mut access = AllowedAccess::default();
        access.read(&top.join("circle"));
        let expected = format!("{}: ", top.join("circle").display());
        assert!(
            access.unopened.iter().any(|said| said.starts_with(&expected)),
            "{:?}",
            access.unopened
        );
        fs::remove_dir_all(&top).unwrap();
    }

    /// Landlock applies to the calling thread alone, so that it can be tried here.
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
        let others = SocketAddr::from_abstract_name(format!("ntpfront-{}", std::process::id())).unwrap();
        let _other = UnixDatagram::bind_addr(&others).unwrap();
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
            denied(socket.connect_addr(&others).unwrap_err());
            UdpSocket::bind("127.0.0.1:0").unwrap();
        };
        thread::spawn(job).join().unwrap();
        fs::remove_dir_all(&top).unwrap();
    }
}
