//! Impure. Network Time Security: the keys of the cookies as time goes by, certificates, and the threads that establish keys.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::ke_sockets::KeSockets;
use crate::config::{Fault, Loaded, NtsFiles, NtsKeys};
use crate::host::systemd::ServiceManager;
use crate::host::tls::server;
use crate::host::{clock, cpus, entropy, limits};
use crate::ke::expiry::{ExpiryLog, ExpiryNotice};
use crate::ke::{KeService, KeThreads};
use crate::nts::ke::ALPN;
use crate::nts::key_schedule::{KeySchedule, PeriodClocks};
use crate::nts::keyring::{Keyring, Secret};
use crate::nts::{AssociationKeys, Nonces, cookie};
use crate::observe::nts_status::NtsStatus;

/// Interval of a look at the files of certificates and secrets.
const LOOK: Duration = Duration::from_secs(10);
/// Interval of a try to open the sockets whose address was absent.
const RETRY: Duration = Duration::from_secs(30);

/// All of NTS as a server.
pub(super) struct NtsManager {
    keys: NtsKeys,
    files: NtsFiles,
    /// The secret where no file has one.
    made: Option<Secret>,
    schedule: Option<KeySchedule>,
    sockets: KeSockets,
    server: Option<KeThreads>,
    /// The port of the listeners, if clients have to be told.
    ntp_port: Option<u16>,
    expiry: ExpiryLog,
    looked_at: Duration,
    retried_at: Duration,
}

/// All that a change of NTS needs, not in use yet.
pub(super) struct PreparedNts {
    keys: NtsKeys,
    files: NtsFiles,
    made: Option<Secret>,
    sockets: KeSockets,
    service: Option<KeService>,
    schedule: Option<KeySchedule>,
    /// The server that is started, if there was none.
    started: Option<KeThreads>,
    ntp_port: Option<u16>,
}

impl PreparedNts {
    /// Returns the keyring that will be in use; `None` without NTS.
    pub(super) fn keyring(&self) -> Option<Arc<Keyring>> {
        keyring(self.schedule.as_ref())
    }
}

impl NtsManager {
    /// Makes one that serves nothing yet, with the secret and the sockets that the start has.
    pub(super) fn new(made: Option<Secret>, sockets: KeSockets) -> Self {
        Self {
            keys: NtsKeys::default(),
            files: NtsFiles::default(),
            made,
            schedule: None,
            sockets,
            server: None,
            ntp_port: None,
            expiry: ExpiryLog::default(),
            looked_at: Duration::ZERO,
            retried_at: Duration::ZERO,
        }
    }

    /// Does all for `wanted` that can fail: opens sockets, derives keys, starts threads.
    ///
    /// # Errors
    /// The reason, for people; nothing has changed.
    pub(super) fn prepare(&mut self, wanted: &Loaded, now: PeriodClocks) -> Result<PreparedNts, String> {
        let keys = wanted.config.nts.clone();
        let files = wanted.nts_files.clone().unwrap_or_default();
        let sockets = self.sockets.changed(&keys).map_err(|error| error.to_string())?;
        let made = match (&self.made, &keys.secret) {
            (None, None) if keys.is_on() => Some(Secret::new(entropy::bytes().map_err(explained)?)),
            (made, _) => made.clone(),
        };
        let secrets = secrets(&files, made.as_ref());
        let schedule = match &self.schedule {
            _ if !keys.is_on() => None,
            // It remembers the time.
            Some(running) => Some(running.replaced(secrets, keys.periods(), now)),
            None => Some(KeySchedule::new(secrets, keys.periods(), now)),
        };
        let schedule = schedule
            .transpose()
            .map_err(|fault| format!("nts.secret: {fault:?}"))?;
        let ntp_port = ntp_port(wanted);
        let service = service(&keys, &files, schedule.as_ref(), ntp_port)?;
        let mut started = None;
        match (&mut self.server, &service) {
            (Some(server), Some(_)) => server.prepare(keys.threads).map_err(thread_failed)?,
            (None, Some(service)) => {
                let server = KeThreads::start(service.clone(), sockets.listeners(), keys.limits());
                started = Some(server.map_err(thread_failed)?);
            }
            (_, None) => {}
        }
        Ok(PreparedNts {
            keys,
            files,
            made,
            sockets,
            service,
            schedule,
            started,
            ntp_port,
        })
    }

    /// Puts what was prepared in use. No connection is refused meanwhile.
    pub(super) async fn commit(&mut self, prepared: PreparedNts, manager: &ServiceManager) {
        prepared.sockets.settle(&self.sockets, manager);
        self.log_certificates(&prepared.files);
        let ended = match (&mut self.server, prepared.service) {
            (Some(server), Some(service)) => {
                server.apply(service, prepared.sockets.listeners(), prepared.keys.limits());
                None
            }
            (server @ None, Some(_)) => {
                *server = prepared.started;
                None
            }
            (server, None) => server.take(),
        };
        let was_on = self.keys.is_on();
        self.keys = prepared.keys;
        self.files = prepared.files;
        self.made = prepared.made;
        self.sockets = prepared.sockets;
        self.schedule = prepared.schedule;
        self.ntp_port = prepared.ntp_port;
        if self.keys.is_on() && !was_on {
            log_missing_aes(self.keyring());
        }
        if let Some(server) = ended {
            server.stop().await;
        }
    }

    /// Returns the keyring in use; `None` without NTS.
    pub(super) fn keyring(&self) -> Option<Arc<Keyring>> {
        keyring(self.schedule.as_ref())
    }

    /// Follows the clocks, and returns whether there is another keyring.
    ///
    /// Workers must have it before [`Self::renew_service`] gives cookies of it to clients.
    pub(super) fn follow(&mut self, now: PeriodClocks) -> bool {
        self.schedule
            .as_mut()
            .is_some_and(|schedule| schedule.follow(now))
    }

    /// Replaces the content of the files, which have changed, and returns whether there is another keyring.
    ///
    /// With one, [`Self::renew_service`] must follow, as after [`Self::follow`]. Without one, new certificates are in use
    /// already.
    pub(super) fn replace_files(&mut self, files: NtsFiles, now: PeriodClocks) -> bool {
        if files == self.files {
            return false;
        }
        let secrets = secrets(&files, self.made.as_ref());
        let rules = self.keys.periods();
        let is_new = match &mut self.schedule {
            Some(schedule) if secrets.is_empty() => schedule.follow(now),
            Some(schedule) => schedule.replace(secrets, rules, now).unwrap_or(false),
            None => false,
        };
        self.log_certificates(&files);
        self.files = files;
        if !is_new {
            self.renew_service();
        }
        is_new
    }

    /// Gives later clients the certificates and the keyring that are in use.
    pub(super) fn renew_service(&self) {
        let service = service(&self.keys, &self.files, self.schedule.as_ref(), self.ntp_port);
        if let (Some(server), Ok(Some(service))) = (&self.server, service) {
            server.set_service(service);
        }
    }

    /// Whether the files should be looked at, to notice changes.
    pub(super) fn is_look_due(&mut self, now: Duration) -> bool {
        let is_due = self.keys.is_on() && now.saturating_sub(self.looked_at) >= LOOK;
        if is_due {
            self.looked_at = now;
        }
        is_due
    }

    /// Opens sockets whose address has come.
    pub(super) fn retry_absent(&mut self, manager: &ServiceManager, now: Duration) {
        if now.saturating_sub(self.retried_at) < RETRY {
            return;
        }
        self.retried_at = now;
        if self.sockets.retry_absent(&self.keys, manager)
            && let Some(server) = &mut self.server
            && let Ok(Some(service)) = service(&self.keys, &self.files, self.schedule.as_ref(), self.ntp_port)
        {
            server.apply(service, self.sockets.listeners(), self.keys.limits());
        }
    }

    /// Logs certificates that end soon, once a day. `now` is in seconds since 1970.
    pub(super) fn log_expiry(&mut self, now: i64) {
        for (facts, notice) in self
            .expiry
            .due(self.files.pairs.iter().map(|pair| pair.facts()), now)
        {
            let (names, left) = (facts.all_names(), facts.left(now));
            match notice {
                ExpiryNotice::Soon => warn!(
                    names,
                    "the certificate for {names} ends soon: {left}: renew it (nts.certificate)"
                ),
                ExpiryNotice::Invalid => error!(
                    names,
                    "the certificate for {names} is not valid: {left}: clients of NTS can't establish keys (nts.certificate)"
                ),
            }
        }
    }

    fn log_certificates(&self, files: &NtsFiles) {
        for pair in files.pairs.iter().filter(|pair| !self.files.pairs.contains(pair)) {
            let names = pair.facts().all_names();
            info!(names, "certificate for {names} in use (nts.certificate)");
        }
    }

    /// Returns the number of a thread that did not run its loop for `limit` until `now`, if there is one.
    pub(super) fn stuck(&mut self, now: Duration, limit: Duration) -> Option<usize> {
        self.server.as_mut()?.stuck(now, limit)
    }

    /// Returns what there is to see; `None` without NTS. `now` is in seconds since 1970.
    pub(super) fn status(&self, now: i64) -> Option<NtsStatus> {
        let schedule = self.schedule.as_ref()?;
        Some(NtsStatus::new(
            schedule,
            self.keys.secret.is_some(),
            self.files.pairs.iter().map(|pair| pair.facts()),
            self.server
                .as_ref()
                .map(|server| (server.counts(), server.open(), server.threads())),
            self.sockets.states(),
            now,
        ))
    }

    /// Lets sessions end.
    pub(super) async fn stop(self) {
        if let Some(server) = self.server {
            server.stop().await;
        }
    }
}

/// Logs that the files have changed, and can't be used.
pub(super) fn log_unused_files(faults: &[Fault]) {
    for fault in faults {
        error!(%fault, "files of [nts] have changed and are not used; the previous ones stay in effect: {fault}");
    }
}

fn keyring(schedule: Option<&KeySchedule>) -> Option<Arc<Keyring>> {
    schedule.map(|schedule| Arc::clone(schedule.keyring()))
}

/// Logs the cost of NTS if the processor has no instructions for AES.
///
/// A request takes four operations: its cookie and its authenticator are opened, and those of its reply sealed. Eight
/// cookies are eight, of about the same length.
fn log_missing_aes(keyring: Option<Arc<Keyring>>) {
    const TRIES: u32 = 16;
    let (false, Some(keyring)) = (cpus::have_aes(), keyring) else {
        return;
    };
    let (Some(keys), Ok(seed)) = (AssociationKeys::of(&[0; 64]), entropy::bytes()) else {
        return;
    };
    let mut nonces = Nonces::new(seed);
    let begun = clock::raw();
    for _ in 0..TRIES {
        std::hint::black_box(cookie::several(&keyring, &keys, &mut nonces));
    }
    let microseconds = (clock::raw().saturating_sub(begun) / TRIES / 2).as_micros();
    warn!(
        microseconds,
        "this processor has no AES instructions: a request with NTS takes about {microseconds} µs of CPU time more than a plain one"
    );
}

/// Returns the secrets of the file, or else the one that was made.
fn secrets(files: &NtsFiles, made: Option<&Secret>) -> Vec<Secret> {
    match files.secrets.as_slice() {
        [] => made.cloned().into_iter().collect(),
        of_file => of_file.to_vec(),
    }
}

/// Returns the port of NTP, if it is not the one that clients assume.
fn ntp_port(wanted: &Loaded) -> Option<u16> {
    let ports = wanted
        .config
        .listeners
        .iter()
        .map(|listener| listener.address.port());
    wanted.config.nts.told_port(ports)
}

/// Returns what sessions give; `None` if no keys are established.
fn service(
    keys: &NtsKeys,
    files: &NtsFiles,
    schedule: Option<&KeySchedule>,
    ntp_port: Option<u16>,
) -> Result<Option<KeService>, String> {
    let (true, Some(schedule)) = (keys.establishes(), schedule) else {
        return Ok(None);
    };
    let tls = server::settings(&files.pairs, ALPN).map_err(|error| format!("TLS: {error}"))?;
    Ok(Some(KeService {
        tls,
        offer: Arc::new(keys.offer(ntp_port)),
        keyring: Arc::clone(schedule.keyring()),
    }))
}

fn explained(error: io::Error) -> String {
    limits::explain(&error)
}

fn thread_failed(error: io::Error) -> String {
    format!(
        "cannot start a thread for key establishment: {}",
        limits::explain_thread(&error)
    )
}
