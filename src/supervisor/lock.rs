//! Impure. The end of the start: what needed rights is done, now they are given up, and the doors are locked.

use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use tracing::{info, warn};

use super::StartError;
use super::leaps::LeapList;
use super::sockets::Sockets;
use crate::config::Process;
use crate::config::file::Loader;
use crate::host::anchor::Anchor;
use crate::host::limits;
use crate::host::names::Names;
use crate::host::opener;
use crate::host::privileges::{self, Identity, LowPorts};
use crate::host::sandbox::{self, Needs, Reach, seccomp};
use crate::observe::log;

/// Where name servers answer over TCP (RFC 1035 §4.2).
const NAME_SERVER_PORT: u16 = 53;

/// What stays within reach after the start.
pub(super) struct Kept {
    /// Files that are read again.
    files: Vec<PathBuf>,
    /// Where we listen over TCP, if we do.
    tcp_listen: Option<u16>,
    /// The fast path's program may have to be attached again.
    attaches: bool,
}

impl Kept {
    /// What a reload and the resolver of names read, and where `http` listens.
    pub(super) fn new(
        loader: &Loader,
        names: &Names,
        leaps: &LeapList,
        http: Option<u16>,
        attaches: bool,
    ) -> Self {
        let others = leaps.way().into_iter().map(Anchor::path).chain(names.paths());
        let mut files = loader.paths();
        files.extend(others.map(Path::to_owned));
        files.sort();
        files.dedup();
        Self {
            files,
            tcp_listen: http,
            attaches,
        }
    }
}

/// Drops the privileges, puts the sandboxes on, and says what a reload will not be able to do. Must run while the
/// process has one thread. `forget` is for [`opener::start`].
///
/// # Errors
/// A privilege that can't be given up: the process must not go on then. A sandbox that the kernel lacks is none.
pub(super) fn lock_up(
    process: &Process,
    identity: Option<&Identity>,
    sockets: &[Sockets],
    kept: &Kept,
    forget: impl FnOnce(),
) -> Result<(), StartError> {
    let reach = process.landlock.then(|| reach(kept, identity, forget));
    give_up_privileges(process, identity, sockets)?;
    if let Some(reach) = reach {
        put_out_of_reach(&reach);
    }
    if process.seccomp {
        limit_calls(Needs {
            attaches: kept.attaches,
            journal: log::goes_to_journal(process.chroot.is_none()),
        });
    }
    tell_root();
    Ok(())
}

/// The files, and the only TCP that we speak: long answers of name servers, and metrics.
fn reach(kept: &Kept, identity: Option<&Identity>, forget: impl FnOnce()) -> Reach {
    let mut reach = Reach::default();
    match opener::start(&kept.files, identity, forget) {
        Ok(()) => kept.files.iter().for_each(|path| reach.read(path)),
        Err(error) => {
            let why = limits::explain(&error);
            warn!(
                "no process that opens files that are replaced: their directories stay within reach (process.landlock): {why}"
            );
            kept.files.iter().for_each(|path| reach.read_beside(path));
        }
    }
    reach.tcp_listen.extend(kept.tcp_listen);
    reach.tcp_connect.push(NAME_SERVER_PORT);
    reach
}

/// Who started it as root and named no user may not know what that means.
fn tell_root() {
    if geteuid().is_root() {
        warn!(
            "root was kept, without its capabilities, but with root's files: name a user (-u ntpfront, or process.user) to be less"
        );
    }
}

/// The order is the point: what is below `/proc` can be looked up only before the root directory changes.
fn give_up_privileges(
    process: &Process,
    identity: Option<&Identity>,
    sockets: &[Sockets],
) -> Result<(), StartError> {
    let ports = sockets.iter().map(|sockets| sockets.listener.address.port());
    let wanted = process.keep_low_ports.are_wanted(ports);
    let kept = privileges::drop_to(process.chroot.as_deref(), identity, wanted)?;
    if kept {
        info!("kept the right to open ports below 1024, and no other (process.keep-low-ports)");
    } else if process.keep_low_ports == LowPorts::Always {
        warn!(
            "process.keep-low-ports is \"always\", but there is no right to keep: start as root, or with AmbientCapabilities=CAP_NET_BIND_SERVICE"
        );
    }
    Ok(())
}

fn put_out_of_reach(reach: &Reach) {
    match sandbox::limit_to(reach) {
        Ok(None) => info!("Landlock keeps all files but a few out of reach (process.landlock)"),
        Ok(Some(lacks)) => info!("{lacks} (process.landlock)"),
        Err(error) => match limits::shortage(&error) {
            Some(shortage) => warn!("Landlock can't be put on, so files stay within reach: {shortage}"),
            None => {
                warn!(%error, "Landlock refuses, so files stay within reach (process.landlock = false is rid of this line)");
            }
        },
    }
}

fn limit_calls(needs: Needs) {
    match seccomp::limit_process(needs) {
        Ok(()) => info!("seccomp leaves only the system calls that are needed (process.seccomp)"),
        Err(error) => match limits::shortage(&error) {
            Some(shortage) => warn!("seccomp can't be put on, so all system calls are left: {shortage}"),
            None => {
                warn!(%error, "seccomp refuses, so all system calls are left (process.seccomp = false is rid of this line)");
            }
        },
    }
}

/// What can't be read now can't be read by a reload either: the time to say so is before it is needed.
pub(super) fn look_again(loader: &mut Loader) {
    let faults = loader.load().err().unwrap_or_default();
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
