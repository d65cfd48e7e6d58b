//! Impure. The start, in the only order that works: what needs rights first, then giving them up.

use std::fmt;
use std::io;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use signal_hook::iterator::Signals;
use tracing::warn;

use super::control::Control;
use super::fast::FastPath;
use super::http::Http;
use super::leaps::LeapList;
use super::listeners::PrepareError;
use super::lock::{self, Kept};
use super::sockets::{Given, Sockets};
use super::testament::{self, Testament};
use crate::config::Loaded;
use crate::config::file::Loader;
use crate::host::names::Names;
use crate::host::privileges::{Identity, PrivilegeError};
use crate::host::sys;
use crate::host::systemd::{self, ServiceManager};
use crate::host::udp::{self, BindError};
use crate::observe::journal;
use crate::serve::{INTERRUPT, Listener};

/// All that had to be opened with the rights of the start. When this exists, they are given up.
pub(super) struct Opened {
    pub(super) loaded: Loaded,
    pub(super) loader: Loader,
    pub(super) sockets: Vec<Sockets>,
    pub(super) fast: Option<FastPath>,
    pub(super) names: Names,
    pub(super) leaps: LeapList,
    /// What the last process left for us, and we leave for the next one.
    pub(super) testament: Testament,
    pub(super) control: Option<Control>,
    pub(super) http: Option<Http>,
    pub(super) manager: ServiceManager,
    /// How often the service manager wants to hear that we live.
    pub(super) watchdog: Option<Duration>,
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
    System(String, io::Error),
    /// The fast path can't be had in the mode that was asked for.
    FastPath(String),
    /// The built-in listeners are all of a family that this host doesn't have.
    NothingToServe,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Privilege(error) => error.fmt(f),
            Self::System(what, error) => write!(f, "cannot {what}: {error}"),
            Self::FastPath(why) => write!(
                f,
                "fast path: {why} (fast-path.mode = \"auto\" serves without it)"
            ),
            Self::NothingToServe => write!(
                f,
                "this host has no address family to listen on: configure a listener"
            ),
        }
    }
}

impl std::error::Error for StartError {}

impl StartError {
    /// For `map_err`: the kernel refused this.
    pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System(what.into(), error)
    }
}

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

impl From<PrepareError> for StartError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Bind(error) => Self::Bind(error),
            PrepareError::System(address, error) => Self::System(format!("serve on {address}"), error),
        }
    }
}

/// Those that end it, have it reload or speak.
const HEARD: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1];

/// Those, and the one that wakes workers.
fn handle_signals() -> io::Result<Signals> {
    let signals = Signals::new(HEARD.map(|signal| signal as i32))?;
    sys::interrupt_by(INTERRUPT)?;
    // Whoever started us may have blocked them, and our threads would inherit that.
    SigSet::from_iter(HEARD.into_iter().chain([INTERRUPT])).thread_unblock()?;
    Ok(signals)
}

/// Opens everything and drops what is not needed any more. No thread runs before this is done: user and groups
/// are changed for the whole process.
pub(super) fn open(mut loader: Loader, mut loaded: Loaded) -> Result<Opened, StartError> {
    // From here on a signal to end is remembered, not fatal in the middle of the start.
    let signals = handle_signals().map_err(StartError::system("handle signals"))?;
    let manager = ServiceManager::connect()
        .map_err(StartError::system("reach the service manager at $NOTIFY_SOCKET"))?;
    let given = systemd::given().map_err(StartError::system("take the sockets of the service manager"))?;
    let (left, given) = given.into_iter().partition(|(name, _)| name == testament::NAME);
    let testament = Testament::open(left, &manager);
    let process = &loaded.config.process;
    let identity = process.user.as_deref().map(Identity::look_up).transpose()?;
    let sockets = open_listeners(&loaded, Given::from(given), identity.as_ref())?;
    let fast = FastPath::open(&loaded.config)?;
    let owner = identity.as_ref().map(Identity::uid_and_gid);
    let control = Control::open(&loaded, owner)?;
    let http = Http::open(&loaded.config.metrics, owner);
    let names = Names::from_system();
    let leaps = LeapList::open(loaded.config.leap_seconds.as_deref());
    let kept = Kept::new(
        &loader,
        &names,
        &leaps,
        http.as_ref().and_then(Http::port),
        fast.is_some(),
    );
    lock::lock_up(process, identity.as_ref(), &sockets, &kept, || {
        loaded.config.policies.clear();
    })?;
    lock::look_again(&mut loader);
    Ok(Opened {
        loaded,
        loader,
        sockets,
        fast,
        names,
        leaps,
        testament,
        control,
        http,
        manager,
        watchdog: systemd::watchdog(),
        signals,
    })
}

fn open_listeners(
    loaded: &Loaded,
    mut given: Given,
    identity: Option<&Identity>,
) -> Result<Vec<Sockets>, StartError> {
    let mut wanted = Vec::new();
    // All are tried before the first is opened: our own sockets would be in the way of each other.
    for listener in &loaded.config.listeners {
        match try_address(listener, &given) {
            Ok(()) => wanted.push(*listener),
            Err(error) if error.is_family_missing() && loaded.is_default(listener) => {
                warn!(listener = %listener.address, "this host has no such address family: not served (say `-6 0` to be rid of this line)");
            }
            Err(error) => return Err(error.into()),
        }
    }
    if wanted.is_empty() {
        return Err(StartError::NothingToServe);
    }
    let owner = identity
        .filter(|identity| identity.is_another())
        .map(Identity::uid);
    let open = |listener: Listener| {
        let sockets = Sockets::open(listener, &mut given, owner)?;
        journal::tell_listening(&listener);
        Ok(sockets)
    };
    let opened = wanted.into_iter().map(open).collect::<Result<_, BindError>>()?;
    for address in given.left() {
        warn!(%address, "a socket of the service manager belongs to no listener: closed (configure a listener of this address)");
    }
    Ok(opened)
}

fn try_address(listener: &Listener, given: &Given) -> Result<(), BindError> {
    // Where somebody keeps the port for us, this could not tell that from somebody else.
    if given.overlap(listener.address) {
        return Ok(());
    }
    udp::check_free(listener.address)
}
