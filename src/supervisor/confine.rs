//! Impure. The confinement of the process at the end of the start: dropped privileges, Landlock, seccomp.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use tracing::{info, warn};

use super::leaps::LeapList;
use super::start_error::StartError;
use crate::config::Process;
use crate::config::file::Loader;
use crate::history::folder::HistoryFolder;
use crate::host::limits;
use crate::host::names::Names;
use crate::host::opener_process;
use crate::host::privileges::{self, Identity, LowPorts};
use crate::host::rooted_file::RootedFile;
use crate::host::sandbox::{self, AllowedAccess, NeededCalls, seccomp};
use crate::log;

/// TCP port of name servers (RFC 1035 §4.2).
const NAME_SERVER_PORT: u16 = 53;

/// Access that is still needed after the start.
pub(super) struct StillNeeded {
    /// Files that are read again.
    files: Vec<PathBuf>,
    /// Directories whose files are read again.
    directories: Vec<PathBuf>,
    /// TCP ports to listen on.
    tcp_listen: Vec<u16>,
    /// TCP ports of key establishment, for upstreams with NTS.
    ke_ports: BTreeSet<u16>,
    /// Whether the fast path's program may have to be attached again.
    attaches: bool,
}

impl StillNeeded {
    /// Collects the files that a reload and the name resolver read, and the TCP ports.
    ///
    /// The ports are those to listen on, and those of key establishment at upstreams.
    pub(super) fn new(
        loader: &Loader,
        names: &Names,
        leaps: &LeapList,
        tcp_listen: Vec<u16>,
        ke_ports: BTreeSet<u16>,
        attaches: bool,
    ) -> Self {
        let others = leaps
            .file()
            .into_iter()
            .map(RootedFile::path)
            .chain(names.paths());
        let mut files = loader.paths();
        files.extend(others.map(Path::to_owned));
        files.sort();
        files.dedup();
        Self {
            files,
            directories: loader.directories(),
            tcp_listen,
            ke_ports,
            attaches,
        }
    }
}

/// Drops the privileges and applies the sandboxes.
///
/// `ports` are those of the listeners; the folder is where a record is written; `forget` is for
/// [`opener_process::start`]. Must run while the process has one
/// thread.
///
/// # Errors
/// A privilege can't be dropped: the process must not continue then. A sandbox that the kernel lacks is no
/// error.
pub(super) fn drop_and_sandbox(
    process: &Process,
    identity: Option<&Identity>,
    ports: &[u16],
    (needed, folder): (&StillNeeded, Option<&HistoryFolder>),
    forget: impl FnOnce(),
) -> Result<(), StartError> {
    let access = process.landlock.then(|| {
        let mut access = access(needed, identity, forget);
        if let Some(folder) = folder {
            write_in(&mut access, folder);
        }
        access
    });
    drop_privileges(process, identity, ports)?;
    if let Some(access) = access {
        apply_landlock(&access);
    }
    if process.seccomp {
        apply_seccomp(NeededCalls {
            attaches: needed.attaches,
            records: folder.is_some(),
            journal: log::goes_to_journal(process.chroot.is_none()),
        });
    }
    warn_if_root();
    Ok(())
}

/// Collects the permitted files, and the only TCP ports: long answers of name servers, metrics, and key establishment.
fn access(needed: &StillNeeded, identity: Option<&Identity>, forget: impl FnOnce()) -> AllowedAccess {
    let mut access = AllowedAccess::default();
    match opener_process::start(&needed.files, identity, forget) {
        Ok(()) => needed.files.iter().for_each(|path| access.read(path)),
        Err(error) => {
            let why = limits::explain(&error);
            warn!(
                "cannot start the process that opens replaced files: all files in their directories stay readable (process.landlock): {why}"
            );
            needed.files.iter().for_each(|path| access.read_beside(path));
        }
    }
    needed.directories.iter().for_each(|path| access.list(path));
    for place in &access.unopened {
        warn!("cannot keep a file or directory accessible, so a reload may fail (process.landlock): {place}");
    }
    access.tcp_listen.extend(&needed.tcp_listen);
    access.tcp_connect.push(NAME_SERVER_PORT);
    access.tcp_connect.extend(&needed.ke_ports);
    access
}

/// Permits to write the record.
fn write_in(access: &mut AllowedAccess, folder: &HistoryFolder) {
    let path = folder.path();
    match folder.handles() {
        Ok((around, directory)) => {
            access.write_in(directory, around, path.parent().unwrap_or(path));
        }
        Err(error) => {
            let (why, path) = (limits::explain(&error), path.display());
            warn!("nothing can be recorded in {path} (process.landlock): {why}");
        }
    }
}

/// Warns that the process stays root, since the consequences are not obvious.
fn warn_if_root() {
    if geteuid().is_root() {
        warn!(
            "still running as root, without capabilities but with access to root's files: set a user (-u ntpfront, or process.user)"
        );
    }
}

/// Drops the privileges, after a look at `/proc`: below it nothing can be found once the root directory has changed.
fn drop_privileges(process: &Process, identity: Option<&Identity>, ports: &[u16]) -> Result<(), StartError> {
    let wanted = process.keep_low_ports.are_wanted(ports.iter().copied());
    let kept = privileges::drop_to(process.chroot.as_deref(), identity, wanted)?;
    if kept {
        info!("dropped all capabilities except CAP_NET_BIND_SERVICE (process.keep-low-ports)");
    } else if process.keep_low_ports == LowPorts::Always {
        warn!(
            "process.keep-low-ports is \"always\", but there is no capability to keep: start as root, or with AmbientCapabilities=CAP_NET_BIND_SERVICE"
        );
    }
    Ok(())
}

fn apply_landlock(access: &AllowedAccess) {
    match sandbox::limit_to(access) {
        Ok(None) => info!(
            "Landlock sandbox enabled: only the files that ntpfront needs are accessible (process.landlock)"
        ),
        Ok(Some(lacks)) => info!("{lacks} (process.landlock)"),
        Err(error) => match limits::shortage(&error) {
            Some(shortage) => warn!("Landlock can't be applied: file access is not restricted: {shortage}"),
            None => {
                warn!(%error, "Landlock is unavailable: file access is not restricted (process.landlock = false turns this warning off)");
            }
        },
    }
}

fn apply_seccomp(needed: NeededCalls) {
    match seccomp::limit_process(needed) {
        Ok(()) => info!(
            "seccomp filters enabled: only the system calls that ntpfront needs are permitted (process.seccomp)"
        ),
        Err(error) => match limits::shortage(&error) {
            Some(shortage) => warn!("seccomp can't be applied: system calls are not restricted: {shortage}"),
            None => {
                warn!(%error, "seccomp is unavailable: system calls are not restricted (process.seccomp = false turns this warning off)");
            }
        },
    }
}

/// Logs that a reload will fail, if the configuration can't be read any more.
///
/// The warning comes before a reload is needed.
pub(super) fn warn_if_unreadable(loader: &mut Loader) {
    let faults = loader.load_all().err().unwrap_or_default();
    let is_denied = !faults.is_empty() && loader.is_denied();
    for fault in faults {
        let (path, error) = (&fault.place, &fault.found);
        if is_denied {
            warn!(
                %path,
                error,
                "a reload will fail, as this user can't read the configuration: `chgrp` it to the user's group, and `chmod 640` (its directory: 750)"
            );
        } else {
            warn!(%path, error, "a reload will fail: {error}");
        }
    }
}
