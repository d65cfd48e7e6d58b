//! Impure. The start, in the only order that works: what needs rights first, then giving them up.

use std::fmt;
use std::io;
use std::net::UdpSocket;
use std::path::Path;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use tracing::{info, warn};

use super::lock::lock_up;
use crate::config::{Config, Loaded};
use crate::host::anchor::{Anchor, ReadError};
use crate::host::clock;
use crate::host::names::Names;
use crate::host::privileges::PrivilegeError;
use crate::host::systemd::ServiceManager;
use crate::host::udp::{self, BindError};
use crate::serve::Listener;
use crate::upstream::leap::LeapTable;
use crate::wire::NtpTimestamp;

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
    lock_up(&loaded, &groups, &names)?;
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
