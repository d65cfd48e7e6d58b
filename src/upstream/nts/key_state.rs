//! Pure. The keys of one upstream over time: when they are established, which are in use, and why there are none.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::certificate::{CertificateTime, UncheckedCertificate};
use super::ke_fault::KeFault;
use super::schedule::KeSchedule;
use super::session::{EstablishedKeys, NtsSession, PendingQuestion, QuestionEntropy};
use crate::nts::aead::Algorithm;
use crate::nts::client::{LONGEST_QUESTION, ReplyFault};
use crate::upstream::Host;
use crate::wire::HEADER_LEN;

/// The rules for the keys of all upstreams, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRules {
    /// The way to check the dates of certificates while no time is vouched for.
    pub certificate_time: CertificateTime,
    /// Time after which new keys are established while the old ones are still good.
    pub refresh: Duration,
}

/// The NTP server that keys are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegotiatedServer {
    /// The address where the keys were established.
    pub ke_address: SocketAddr,
    /// Its host, if the server of key establishment named one; else that address is its own.
    pub host: Option<Host>,
    /// Its UDP port.
    pub port: u16,
}

impl NegotiatedServer {
    /// Returns the server that was named as `name`.
    ///
    /// # Errors
    /// A link-local address: nothing says which interface it belongs to.
    pub fn new(ke_address: SocketAddr, name: Option<&str>, port: u16) -> Result<Self, KeFault> {
        let host = name.map(|name| match name.parse::<IpAddr>() {
            Ok(IpAddr::V6(v6)) if v6.is_unicast_link_local() => Err(KeFault::Server),
            Ok(address) => Ok(Host::Address(address)),
            Err(_) if name.contains([':', '%']) => Err(KeFault::Server),
            Err(_) => Ok(Host::Name(name.to_owned())),
        });
        Ok(Self {
            ke_address,
            host: host.transpose()?,
            port,
        })
    }

    /// Returns whether its host is another one than the configured one, as far as that shows.
    pub fn is_elsewhere(&self) -> bool {
        let here = Host::Address(self.ke_address.ip());
        self.host.as_ref().is_some_and(|host| *host != here)
    }
}

/// The keys as they are displayed to operators; no decision depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyStatus {
    /// The AEAD of the keys; `None` without keys.
    pub algorithm: Option<Algorithm>,
    /// Number of cookies that are left.
    pub cookies: usize,
    /// The time of the last key establishment, by the raw counter, if there are keys.
    pub established: Option<Duration>,
    /// The last second of the server's certificate, since 1970, if there are keys.
    pub certificate_not_after: Option<i64>,
    /// Whether only one cookie is asked for, as longer questions get no reply.
    pub asks_for_one: bool,
    /// Key establishments that succeeded.
    pub establishments: u64,
    /// Reasons why there were no keys, or no new ones, in the order of [`KeFault::all`].
    pub failures: [u64; KeFault::COUNT],
}

/// The keys of one upstream, and what is known of getting them.
#[derive(Clone, Debug)]
pub struct KeyState {
    schedule: KeSchedule,
    session: Option<NtsSession>,
    server: Option<NegotiatedServer>,
    /// The reason why there are no keys, while there are none.
    fault: KeFault,
    establishments: u64,
    failures: [u64; KeFault::COUNT],
}

/// The state before the first key establishment.
impl Default for KeyState {
    fn default() -> Self {
        Self {
            schedule: KeSchedule::default(),
            session: None,
            server: None,
            fault: KeFault::Waiting,
            establishments: 0,
            failures: [0; KeFault::COUNT],
        }
    }
}

impl KeyState {
    /// Returns whether key establishment is to begin at `now`: keys are needed or old, and the schedule permits it.
    pub fn is_due(&self, now: Duration) -> bool {
        let wants = self.session.as_ref().is_none_or(|session| session.is_old(now));
        wants && self.due_in(now) == Duration::ZERO
    }

    /// Returns the time from `now` until the schedule permits a key establishment.
    pub fn due_in(&self, now: Duration) -> Duration {
        self.schedule.due_in(now)
    }

    /// Returns the reason why nothing can be asked; `None` if there are keys.
    pub fn fault(&self) -> Option<KeFault> {
        self.session.is_none().then_some(self.fault)
    }

    /// Returns the server that the keys are for.
    pub fn server(&self) -> Option<&NegotiatedServer> {
        self.server.as_ref()
    }

    /// Returns the certificate behind the keys, if its dates are still to be checked.
    pub fn unchecked(&self) -> Option<UncheckedCertificate> {
        self.session.as_ref()?.unchecked()
    }

    /// Records that a key establishment begins at `now`.
    pub fn begin(&mut self, now: Duration) {
        self.schedule.begin(now);
    }

    /// Records that nothing could be sent.
    pub fn cancel(&mut self) {
        self.schedule.cancel();
    }

    /// Records a failed key establishment; keys that are there stay.
    pub fn fail(&mut self, now: Duration, fault: KeFault, random: u64) {
        self.schedule.end(now, Err(fault), random);
        self.count(fault);
        self.fault = fault;
    }

    /// Takes new keys, for `server`. Returns whether that is another server than before.
    pub fn establish(
        &mut self,
        established: EstablishedKeys,
        server: NegotiatedServer,
        now: Duration,
        refresh: Duration,
        random: u64,
    ) -> bool {
        self.schedule.end(now, Ok(()), random);
        self.establishments += 1;
        self.session = Some(NtsSession::new(established, now, refresh, random.rotate_left(32)));
        let target = |server: &NegotiatedServer| {
            let host = server.host.clone();
            (host.unwrap_or(Host::Address(server.ke_address.ip())), server.port)
        };
        let is_other = self.server.as_ref().map(target) != Some(target(&server));
        self.server = Some(server);
        is_other
    }

    /// Writes the next question into `buffer`.
    ///
    /// # Errors
    /// There are no keys, or all cookies are used up.
    pub fn ask(
        &mut self,
        header: [u8; HEADER_LEN],
        entropy: &QuestionEntropy,
        buffer: &mut [u8; LONGEST_QUESTION],
    ) -> Result<(PendingQuestion, usize), KeFault> {
        let asked = self
            .session
            .as_mut()
            .map(|session| session.ask(header, entropy, buffer));
        match asked {
            Some(Some(asked)) => Ok(asked),
            Some(None) => {
                self.drop_keys(KeFault::NoCookies);
                Err(KeFault::NoCookies)
            }
            None => Err(self.fault),
        }
    }

    /// Opens a packet that came while `pending` waits.
    ///
    /// # Errors
    /// It is not the genuine reply.
    pub fn open(&mut self, pending: &mut PendingQuestion, packet: &[u8]) -> Result<(), ReplyFault> {
        let session = self.session.as_mut().ok_or(ReplyFault::Unauthenticated)?;
        session.open(pending, packet)?;
        self.schedule.confirm();
        Ok(())
    }

    /// Records that no genuine reply came to `pending`; after two NAKs in a row, or the last cookie, there are no keys.
    pub fn lose(&mut self, pending: &PendingQuestion) {
        let Some(session) = &mut self.session else {
            return;
        };
        match session.lost(pending) {
            Err(fault) => self.drop_keys(fault),
            Ok(()) if session.cookies() == 0 => self.drop_keys(KeFault::NoCookies),
            Ok(()) => {}
        }
    }

    /// Takes back a question that could not be sent.
    pub fn unsent(&mut self, pending: PendingQuestion) {
        if let Some(session) = &mut self.session {
            session.unsent(pending);
        }
    }

    /// Gives up the keys that were `established` then, as the certificate was not valid.
    ///
    /// The next certificate is checked against the time that is known now. Returns whether these are the keys in use.
    pub fn cast_out(&mut self, established: Duration, now: Duration, random: u64) -> bool {
        let is_in_use = self
            .session
            .as_ref()
            .is_some_and(|session| session.established() == established);
        if is_in_use {
            self.drop_keys(KeFault::CastOut);
            self.schedule.end(now, Err(KeFault::CastOut), random);
        }
        is_in_use
    }

    /// Permits a key establishment soon, after a change of the network.
    ///
    /// `all`: the configuration was read again, so that also a lasting fault may be mended.
    pub fn hurry(&mut self, all: bool) {
        if all || !self.fault.is_lasting() {
            self.schedule.hurry();
        }
    }

    /// Returns the keys as they are displayed.
    pub fn status(&self) -> KeyStatus {
        let session = self.session.as_ref();
        KeyStatus {
            algorithm: session.map(NtsSession::algorithm),
            cookies: session.map_or(0, NtsSession::cookies),
            established: session.map(NtsSession::established),
            certificate_not_after: session.map(NtsSession::not_after),
            asks_for_one: session.is_some_and(NtsSession::asks_for_one),
            establishments: self.establishments,
            failures: self.failures,
        }
    }

    fn drop_keys(&mut self, fault: KeFault) {
        self.session = None;
        self.fault = fault;
        self.count(fault);
    }

    fn count(&mut self, fault: KeFault) {
        if let Some(count) = self.failures.get_mut(fault.index()) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests;
