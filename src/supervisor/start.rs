//! Impure. The start, in the only order that works: first what needs privileges, then dropping them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Gid, Uid};
use signal_hook::iterator::Signals;
use tracing::{info, warn};

use super::absence::{Outcome, outcome};
use super::confine::{self, StillNeeded};
use super::cookie_secret;
use super::handover::{self, Handover};
use super::history;
use super::ke_sockets::KeSockets;
use super::leaps::LeapList;
use super::listeners::log_absent;
use super::sockets::{InheritedSockets, Sockets};
use super::start_error::StartError;
use crate::config::file::Loader;
use crate::config::{Config, Loaded, NtsKeys};
use crate::control;
use crate::control::http::HttpServer;
use crate::control::server::ControlSocket;
use crate::fast_path::client_capacity;
use crate::fast_path::driver::{Driver, OpenError};
use crate::history::folder::HistoryFolder;
use crate::host::names::Names;
use crate::host::privileges::Identity;
use crate::host::systemd::{self, ServiceManager};
use crate::host::udp::{self, BindError};
use crate::host::{limits, runtime_directory, sys, tcp};
use crate::nts;
use crate::nts::keyring::Secret;
use crate::observe::journal;
use crate::server::{INTERRUPT, Listener};

/// All that had to be opened with the privileges of the start. When this exists, they are dropped.
pub(super) struct Opened {
    pub(super) loaded: Loaded,
    pub(super) loader: Loader,
    pub(super) sockets: Vec<Sockets>,
    pub(super) ke_sockets: KeSockets,
    /// The secret of the cookies, if NTS is on and no file has one.
    pub(super) made_secret: Option<Secret>,
    pub(super) fast: Option<Driver>,
    pub(super) names: Names,
    pub(super) leaps: LeapList,
    /// The memory that the last process left for this one, and this one leaves for the next.
    pub(super) handover: Handover,
    /// The place of the record, or the reason why it can't be reached; `None` if there is no record.
    pub(super) history: Option<io::Result<HistoryFolder>>,
    pub(super) control: Option<ControlSocket>,
    pub(super) http: Option<HttpServer>,
    pub(super) manager: ServiceManager,
    /// Interval in which the service manager expects a sign of life.
    pub(super) watchdog: Option<Duration>,
    pub(super) signals: Signals,
}

/// Signals that end the server, make it reload, or log its state.
const HEARD: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1];

/// Handles those signals, and the one that wakes workers.
///
/// Every thread inherits that they are blocked: the kernel keeps them until the one thread takes them that
/// [`unblock_signals`]. It could deliver them to any other that doesn't block them, and a worker's permitted
/// calls are not enough to report them.
fn handle_signals() -> io::Result<Signals> {
    SigSet::from_iter(HEARD).thread_block()?;
    let signals = Signals::new(HEARD.map(|signal| signal as i32))?;
    sys::interrupt_by(INTERRUPT)?;
    // The parent process may have blocked it.
    SigSet::from_iter([INTERRUPT]).thread_unblock()?;
    Ok(signals)
}

/// Makes the calling thread the one that takes the signals.
pub(super) fn unblock_signals() -> io::Result<()> {
    Ok(SigSet::from_iter(HEARD).thread_unblock()?)
}

/// Opens everything and drops the privileges that are not needed any more.
///
/// No thread runs before this is done: user and groups are changed for the whole process.
pub(super) fn open(mut loader: Loader, mut loaded: Loaded) -> Result<Opened, StartError> {
    // From here on a signal to end is remembered, not fatal in the middle of the start.
    let signals = handle_signals().map_err(StartError::system("handle signals"))?;
    let manager = ServiceManager::connect()
        .map_err(StartError::system("reach the service manager at $NOTIFY_SOCKET"))?;
    let given = systemd::given().map_err(StartError::system("take the sockets of the service manager"))?;
    let (left, given) = given.into_iter().partition(|(name, _)| name == handover::NAME);
    let handover = Handover::open(left, &manager);
    let (secrets, given): (Vec<_>, Vec<_>) = given
        .into_iter()
        .partition(|(name, _)| name == cookie_secret::NAME);
    let made_secret = made_secret(&loaded.config.nts, secrets, &manager)?;
    let (streams, given) = given.into_iter().partition(|(_, socket)| tcp::is_stream(socket));
    let process = &loaded.config.process;
    let identity = process.user.as_deref().map(Identity::look_up).transpose()?;
    let ke_sockets = KeSockets::open(&loaded.config.nts, streams, &manager)?;
    let mut sockets = open_listeners(&loaded, InheritedSockets::from(given), identity.as_ref())?;
    let is_open = |address: &SocketAddr| {
        let mut open = sockets.iter().filter(|sockets| !sockets.members.is_empty());
        open.any(|sockets| sockets.listener.address == *address)
    };
    let fast = open_fast_path(&loaded.config, is_open)?;
    let owner = identity.as_ref().map(Identity::uid_and_gid);
    let control = open_control(&loaded, owner)?;
    let http = HttpServer::open(&loaded.config.metrics, loaded.config.metrics_page, owner);
    let names = Names::from_system();
    if let Some(files) = names.unreadable() {
        warn!("names of upstreams may not be resolved: {files}");
    }
    let leaps = LeapList::open(loaded.config.leap_seconds.as_deref());
    let history = history::open(&loaded.config.history);
    let still_needed = StillNeeded::new(
        &loader,
        &names,
        &leaps,
        tcp_ports(&loaded.config.nts, http.as_ref()),
        loaded.config.ke_ports.clone(),
        fast.is_some(),
    );
    let folder = history.as_ref().and_then(|folder| folder.as_ref().ok());
    let ports: Vec<u16> = sockets.iter().map(|one| one.listener.address.port()).collect();
    // A listener's policy may have long lists.
    let forget = || {
        loaded.config.listeners.clear();
        sockets.clear();
    };
    confine::drop_and_sandbox(
        process,
        identity.as_ref(),
        &ports,
        (&still_needed, folder),
        forget,
    )?;
    confine::warn_if_unreadable(&mut loader);
    Ok(Opened {
        loaded,
        loader,
        sockets,
        ke_sockets,
        made_secret,
        fast,
        names,
        leaps,
        handover,
        history,
        control,
        http,
        manager,
        watchdog: systemd::watchdog(),
        signals,
    })
}

/// Returns the secret of the cookies, if NTS is on and no file has one.
fn made_secret(
    keys: &NtsKeys,
    left: Vec<(String, OwnedFd)>,
    manager: &ServiceManager,
) -> Result<Option<Secret>, StartError> {
    if !keys.is_on() || keys.secret.is_some() {
        cookie_secret::forget(&left, manager);
        return Ok(None);
    }
    let secret = cookie_secret::kept(left, manager);
    secret
        .map(Some)
        .map_err(StartError::system("get randomness for the secret of NTS"))
}

/// Returns the TCP ports that may have to be opened later: of metrics, and of key establishment, also if a reload turns it on.
fn tcp_ports(keys: &NtsKeys, http: Option<&HttpServer>) -> Vec<u16> {
    let of_keys = keys.listen.iter().map(SocketAddr::port);
    let mut ports: Vec<u16> = of_keys.chain([nts::ke::PORT]).collect();
    ports.extend(http.and_then(HttpServer::port));
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Opens the fast path, if it is configured, for the open listeners; with room for the clients of all.
fn open_fast_path(
    config: &Config,
    is_open: impl Fn(&SocketAddr) -> bool,
) -> Result<Option<Driver>, OpenError> {
    let wanted = &config.fast_path;
    if wanted.interfaces.is_empty() {
        return Ok(None);
    }
    let clients = client_capacity(config.listeners.iter().map(|listener| &*listener.policy));
    let open = config
        .listeners
        .iter()
        .filter(|listener| is_open(&listener.address));
    Driver::open(&wanted.interfaces, wanted.mode, clients, open)
}

/// Opens the control socket, given to `owner`.
///
/// The default one can be that of the current user instead. `None` if it is turned off, or if it is the default one and
/// neither can be opened.
fn open_control(loaded: &Loaded, owner: Option<(Uid, Gid)>) -> Result<Option<ControlSocket>, StartError> {
    let Some(path) = &loaded.config.control.socket else {
        return Ok(None);
    };
    match ControlSocket::open(path, owner) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if loaded.default_control => {
            if let Some(own) = open_own_control() {
                return Ok(Some(own));
            }
            let error = limits::explain(&error);
            info!(path = %path.display(), error, "no control socket {} ({error}): `ntpfront status` and other commands can't reach this server; control.socket names another one", path.display());
            Ok(None)
        }
        Err(error) => {
            let what = format!("open the control socket {} (control.socket)", path.display());
            Err(StartError::System(what, error))
        }
    }
}

/// Opens the control socket in the runtime directory of the current user; `None` if that is not possible.
fn open_own_control() -> Option<ControlSocket> {
    let path = control::socket::of_user()?;
    let opened = runtime_directory::make(&path).and_then(|()| ControlSocket::open(&path, None));
    let shown = path.display();
    match opened {
        Ok(socket) => {
            info!(path = %shown, "control socket {shown}");
            Some(socket)
        }
        Err(error) => {
            let error = limits::explain(&error);
            info!(path = %shown, error, "cannot open the control socket {shown}: {error}");
            None
        }
    }
}

/// Opens the sockets of each listener; none if the address is absent and the start continues without it.
fn open_listeners(
    loaded: &Loaded,
    given: InheritedSockets,
    identity: Option<&Identity>,
) -> Result<Vec<Sockets>, StartError> {
    let listeners = &loaded.config.listeners;
    // All are tried before the first is opened: ntpfront's own sockets would be in the way of each other.
    let tried: Vec<_> = listeners.iter().map(|one| try_address(one, &given)).collect();
    let owner = identity
        .filter(|identity| identity.is_another())
        .map(Identity::uid);
    let mut opening = ListenerOpening {
        loaded,
        given,
        owner,
        absent: None,
    };
    let mut opened = Vec::new();
    for (listener, tried) in listeners.iter().zip(tried) {
        opened.extend(opening.open(listener, tried)?);
    }
    if opened.iter().all(|sockets| sockets.members.is_empty()) {
        return Err(opening
            .absent
            .map_or(StartError::NothingToServe, StartError::Bind));
    }
    for address in opening.given.left() {
        warn!(%address, "closed a socket of the service manager: no listener has its address (configure one)");
    }
    Ok(opened)
}

/// The needs of opening the listeners, and the first error that did not end it.
struct ListenerOpening<'a> {
    loaded: &'a Loaded,
    given: InheritedSockets,
    owner: Option<Uid>,
    absent: Option<BindError>,
}

impl ListenerOpening<'_> {
    /// Opens the sockets of `listener`, if it was `tried` with success; `None` if it is left out.
    fn open(
        &mut self,
        listener: &Listener,
        tried: Result<(), BindError>,
    ) -> Result<Option<Sockets>, BindError> {
        let opened = tried.and_then(|()| Sockets::open(listener.clone(), &mut self.given, self.owner));
        let error = match opened {
            Ok(sockets) => {
                journal::log_listening(listener);
                return Ok(Some(sockets));
            }
            Err(error) => error,
        };
        match outcome(error.fault(), listener.required, self.loaded.is_default(listener)) {
            Outcome::Refuse => Err(error),
            Outcome::LeaveOut => {
                warn!(listener = %listener.address, "this host has no such address family: not served (`-6 0` turns this warning off)");
                Ok(None)
            }
            Outcome::Wait => {
                log_absent(listener.address, &error);
                let absent = Sockets::absent(listener.clone(), error.fault());
                self.absent.get_or_insert(error);
                Ok(Some(absent))
            }
        }
    }
}

fn try_address(listener: &Listener, given: &InheritedSockets) -> Result<(), BindError> {
    // If the service manager keeps the port, it would look like another program's.
    if given.overlap(listener.address) {
        return Ok(());
    }
    udp::check_free(listener.address)
}
