//! Impure. The end of the start: what needed rights is done, now they are given up, and the doors are locked.

use std::net::UdpSocket;
use std::path::Path;

use tracing::{info, warn};

use super::StartError;
use crate::cli::DEFAULT_FILE;
use crate::config::{Loaded, Process, file};
use crate::host::anchor::Anchor;
use crate::host::names::Names;
use crate::host::privileges::{self, Identity, LowPorts};
use crate::host::sandbox::{self, Reach, seccomp};
use crate::serve::Listener;

/// Where name servers answer over TCP (RFC 1035 §4.2).
const NAME_SERVER_PORT: u16 = 53;

/// Drops the privileges, puts the sandboxes on, and says what a reload will not be able to do. Must run while the
/// process has one thread.
///
/// # Errors
/// A privilege that can't be given up: the process must not go on then. A sandbox that the kernel lacks is none.
pub(super) fn lock_up(
    loaded: &Loaded,
    groups: &[(Listener, Vec<UdpSocket>)],
    names: &Names,
) -> Result<(), StartError> {
    let process = &loaded.config.process;
    let reach = reach(loaded, names);
    let file = loaded.path.as_deref().map(Anchor::open).transpose();
    let file =
        file.map_err(|error| StartError::System("hold on to the directory of the configuration", error))?;
    give_up_privileges(process, groups)?;
    if process.landlock {
        put_out_of_reach(&reach);
    }
    if process.seccomp {
        limit_calls();
    }
    if let Some(file) = &file {
        look_again(file);
    }
    Ok(())
}

/// The order is the point: the user and what is below `/proc` can be looked up only before the root directory changes.
fn give_up_privileges(process: &Process, groups: &[(Listener, Vec<UdpSocket>)]) -> Result<(), StartError> {
    let identity = process.user.as_deref().map(Identity::look_up).transpose()?;
    let ports = groups.iter().map(|(listener, _)| listener.address.port());
    let wanted = process.keep_low_ports.are_wanted(ports);
    if let Some(identity) = &identity {
        hand_over(groups, identity);
    }
    let kept = privileges::drop_to(process.chroot.as_deref(), identity.as_ref(), wanted)?;
    if kept {
        info!("kept the right to open ports below 1024, and no other (process.keep-low-ports)");
    } else if process.keep_low_ports == LowPorts::Always {
        warn!(
            "process.keep-low-ports is \"always\", but there is no right to keep: start as root, or with AmbientCapabilities=CAP_NET_BIND_SERVICE"
        );
    }
    Ok(())
}

fn hand_over(groups: &[(Listener, Vec<UdpSocket>)], identity: &Identity) {
    for (listener, sockets) in groups {
        if let Some(error) = sockets.iter().find_map(|socket| identity.own(socket).err()) {
            warn!(listener = %listener.address, %error, "no reload will give this listener more workers: its sockets stay root's (is CAP_CHOWN missing?)");
        }
    }
}

/// What a reload reads, and the only TCP that we speak: long answers of name servers.
fn reach(loaded: &Loaded, names: &Names) -> Reach {
    let mut reach = Reach::default();
    reach.read(loaded.path.as_deref().unwrap_or(Path::new(DEFAULT_FILE)));
    names.paths().for_each(|path| reach.read(path));
    if let Some(path) = &loaded.config.leap_seconds {
        reach.read(path);
    }
    reach.tcp_connect.push(NAME_SERVER_PORT);
    reach
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

fn limit_calls() {
    match seccomp::limit_process() {
        Ok(()) => info!("seccomp leaves only the system calls that are needed (process.seccomp)"),
        Err(error) => {
            warn!(%error, "seccomp refuses, so all system calls are left (process.seccomp = false is rid of this line)");
        }
    }
}

/// What can't be read now can't be read by a reload either: the time to say so is before it is needed.
fn look_again(file: &Anchor) {
    let path = file.path();
    for fault in file::read_again(path, file).err().unwrap_or_default() {
        warn!(
            path = %path.display(),
            error = fault.found,
            "a reload will fail, as this user can't read the configuration: `chgrp` it to the user's group, and `chmod 640` (its directory: 750)"
        );
    }
}
