//! Impure. The end of the start: what needed rights is done, now they are given up, and the doors are locked.

use tracing::{info, warn};

use super::StartError;
use super::leaps::LeapList;
use super::sockets::Sockets;
use crate::config::Process;
use crate::config::file::Loader;
use crate::host::anchor::Anchor;
use crate::host::names::Names;
use crate::host::privileges::{self, Identity, LowPorts};
use crate::host::sandbox::{self, Needs, Reach, seccomp};
use crate::observe::log;

/// Where name servers answer over TCP (RFC 1035 §4.2).
const NAME_SERVER_PORT: u16 = 53;

/// Drops the privileges, puts the sandboxes on, and says what a reload will not be able to do. Must run while the
/// process has one thread. `attaches`: the fast path's program may have to be attached again.
///
/// # Errors
/// A privilege that can't be given up: the process must not go on then. A sandbox that the kernel lacks is none.
pub(super) fn lock_up(
    process: &Process,
    identity: Option<&Identity>,
    sockets: &[Sockets],
    reach: &Reach,
    attaches: bool,
) -> Result<(), StartError> {
    give_up_privileges(process, identity, sockets)?;
    if process.landlock {
        put_out_of_reach(reach);
    }
    if process.seccomp {
        limit_calls(Needs {
            attaches,
            journal: log::goes_to_journal(process.chroot.is_none()),
        });
    }
    Ok(())
}

/// What a reload reads, and the only TCP that we speak: long answers of name servers.
pub(super) fn reach(loader: &Loader, names: &Names, leaps: &LeapList) -> Reach {
    let mut reach = Reach::default();
    loader.paths().iter().for_each(|path| reach.read(path));
    let others = leaps.way().into_iter().map(Anchor::path);
    others.chain(names.paths()).for_each(|path| reach.read(path));
    reach.tcp_connect.push(NAME_SERVER_PORT);
    reach
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
        Err(error) => {
            warn!(%error, "Landlock refuses, so files stay within reach (process.landlock = false is rid of this line)");
        }
    }
}

fn limit_calls(needs: Needs) {
    match seccomp::limit_process(needs) {
        Ok(()) => info!("seccomp leaves only the system calls that are needed (process.seccomp)"),
        Err(error) => {
            warn!(%error, "seccomp refuses, so all system calls are left (process.seccomp = false is rid of this line)");
        }
    }
}

/// What can't be read now can't be read by a reload either: the time to say so is before it is needed.
pub(super) fn look_again(loader: &mut Loader) {
    for fault in loader.load().err().unwrap_or_default() {
        warn!(
            path = %fault.place,
            error = fault.found,
            "a reload will fail, as this user can't read the configuration: `chgrp` it to the user's group, and `chmod 640` (its directory: 750)"
        );
    }
}
