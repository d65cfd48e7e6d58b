//! Impure. The start, in the only order that works: what needs rights first, then giving them up.

use std::fmt;
use std::io;
use std::net::UdpSocket;
use std::path::Path;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use tracing::{info, warn};

use crate::cli::DEFAULT_FILE;
use crate::config::{Config, Loaded, Process, file};
use crate::host::anchor::{Anchor, ReadError};
use crate::host::clock;
use crate::host::names::Names;
use crate::host::privileges::{self, Identity, LowPorts, PrivilegeError};
use crate::host::sandbox::{self, Reach, seccomp};
use crate::host::systemd::ServiceManager;
use crate::host::udp::{self, BindError};
use crate::serve::Listener;
use crate::upstream::leap::LeapTable;
use crate::wire::NtpTimestamp;

/// Where name servers answer over TCP (RFC 1035 §4.2).
const NAME_SERVER_PORT: u16 = 53;
/// The list of leap seconds has 6 kB.
const LONGEST_LEAP_LIST: u64 = 1024 * 1024;

/// All that had to be opened with the rights of the start. When this exists, they are given up.
pub(super) struct Opened {
    pub(super) config: Config,
    pub(super) groups: Vec<(Listener, Vec<UdpSocket>)>,
    pub(super) names: Names,
    /// The leap seconds that the system knows of.
    pub(super) leaps: Option<LeapTable>,
    pub(super) manager: ServiceManager,
    pub(super) signals: Signals,
}

/// Why the server can't start: each names its remedy.
#[derive(Debug)]
pub enum StartError {
    /// A listener can't be opened.
    Bind(BindError),
    /// A privilege can't be given up.
    Privilege(PrivilegeError),
    /// The kernel refuses something that every start needs.
    System(&'static str, io::Error),
    /// The built-in listeners are all of a family that this host doesn't have.
    NothingToServe,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Privilege(error) => error.fmt(f),
            Self::System(what, error) => write!(f, "cannot {what}: {error}"),
            Self::NothingToServe => write!(
                f,
                "this host has no address family to listen on: configure a listener"
            ),
        }
    }
}

impl std::error::Error for StartError {}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

impl From<PrivilegeError> for StartError {
    fn from(error: PrivilegeError) -> Self {
        Self::Privilege(error)
    }
}

/// Opens everything and drops what is not needed any more. No thread runs before this is done: user and groups
/// are changed for the whole process.
pub(super) fn open(loaded: Loaded) -> Result<Opened, StartError> {
    let system = |what| move |error| StartError::System(what, error);
    // From here on a signal to end is remembered, not fatal in the middle of the start.
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1]).map_err(system("handle signals"))?;
    let manager = ServiceManager::connect().map_err(system("reach the service manager at $NOTIFY_SOCKET"))?;
    let groups = open_listeners(&loaded)?;
    let names = Names::from_system();
    let leaps = loaded.config.leap_seconds.as_deref().and_then(leap_table);
    let reach = reach(&loaded, &names);
    let file = loaded.path.as_deref().map(Anchor::open).transpose();
    let file = file.map_err(system("hold on to the directory of the configuration"))?;
    give_up_privileges(&loaded.config.process, &groups)?;
    if loaded.config.process.landlock {
        put_out_of_reach(&reach);
    }
    if loaded.config.process.seccomp {
        limit_calls();
    }
    if let Some(file) = &file {
        look_again(file);
    }
    Ok(Opened {
        config: loaded.config,
        groups,
        names,
        leaps,
        manager,
        signals,
    })
}

fn open_listeners(loaded: &Loaded) -> Result<Vec<(Listener, Vec<UdpSocket>)>, StartError> {
    let is_default = |listener: &Listener| loaded.default_listeners.contains(&listener.address);
    let mut wanted = Vec::new();
    // All are tried before the first is opened: our own sockets would be in the way of each other.
    for listener in &loaded.config.listeners {
        match udp::check_free(listener.address) {
            Ok(()) => wanted.push(*listener),
            Err(error) if error.is_family_missing() && is_default(listener) => {
                warn!(listener = %listener.address, "this host has no such address family: not served (say `-6 0` to be rid of this line)");
            }
            Err(error) => return Err(error.into()),
        }
    }
    if wanted.is_empty() {
        return Err(StartError::NothingToServe);
    }
    let open = |listener: Listener| {
        let group = udp::bind_group(listener.address, listener.workers, listener.steering)?;
        info!(listener = %listener.address, workers = listener.workers, "listening");
        Ok((listener, group))
    };
    wanted.into_iter().map(open).collect()
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

/// Reads the list of leap seconds. Without it the upstreams' majority is heard alone, so it is worth a line and no more.
fn leap_table(path: &Path) -> Option<LeapTable> {
    let read = Anchor::open(path).map_err(ReadError::Open);
    let text = match read.and_then(|anchor| anchor.read(LONGEST_LEAP_LIST)) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(ReadError::Open(error)) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warn!(path = %path.display(), %error, "cannot read the list of leap seconds");
            return None;
        }
    };
    let realtime = clock::realtime();
    match LeapTable::parse(&text) {
        Ok(table) if table.is_current(NtpTimestamp::from_unix(realtime.seconds, 0)) => Some(table),
        Ok(_) => {
            warn!(path = %path.display(), "the list of leap seconds has expired (update tzdata): not used");
            None
        }
        Err(error) => {
            warn!(path = %path.display(), error, "the list of leap seconds can't be used");
            None
        }
    }
}
