//! Impure. The part of a poller for an upstream with NTS: gets keys, and asks with them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tracing::{debug, info};

use super::{NoAnswer, Poller, exchange, nonce};
use crate::host::{clock, entropy};
use crate::nts::client::{LONGEST_QUESTION, ReplyFault};
use crate::upstream::association::PollerSettings;
use crate::upstream::errno::fault_of;
use crate::upstream::fault::{self, QueryFault};
use crate::upstream::host_addresses::{of_host, of_upstream};
use crate::upstream::nts::certificate::CheckedAt;
use crate::upstream::nts::ke_fault::KeFault;
use crate::upstream::nts::key_establishment::{KeError, KeResult, KeTarget, establish};
use crate::upstream::nts::session::{EstablishedKeys, NtsSession, QuestionEntropy};
use crate::upstream::packet::{self, Exchange, QuestionNonces, Reject};
use crate::upstream::{KeServer, Upstream};
use crate::wire::Header;

impl Poller {
    /// Establishes keys if they are due.
    ///
    /// # Errors
    /// The upstream is polled with NTS, and there are no keys.
    pub(super) async fn renew_keys(&mut self) -> Result<(), QueryFault> {
        let upstream = self.association.upstream().clone();
        let Some(server) = &upstream.nts else {
            return Ok(());
        };
        let mut fault = None;
        if self.keys.is_due(clock::raw()) {
            fault = self.establish(&upstream, server).await.err();
        }
        match self.keys.fault() {
            None => Ok(()),
            Some(no_keys) => Err(fault.unwrap_or(QueryFault::NoKeys(no_keys))),
        }
    }

    /// Establishes keys.
    ///
    /// # Errors
    /// Nothing could be sent. (Any other failure is in the state of the keys.)
    async fn establish(&mut self, upstream: &Upstream, server: &KeServer) -> Result<(), QueryFault> {
        self.read_own_addresses();
        let addresses = self.ke_addresses(upstream, server.port).await?;
        let random = entropy::random().unwrap_or(0);
        self.keys.begin(clock::raw());
        let target = KeTarget {
            host: &upstream.host,
            addresses: &addresses,
            server,
            checked_at: self.checked_at(),
            ntp_port: upstream.port,
        };
        match establish(target).await {
            Ok(established) => self.use_keys(upstream, established, random),
            Err(KeError::Unsent(fault)) => {
                self.keys.cancel();
                return Err(fault);
            }
            Err(KeError::Failed(fault, detail)) => {
                debug!(%upstream, fault = fault.name(), detail, "key establishment failed");
                self.keys.fail(clock::raw(), fault, random);
                self.key_detail = Some(detail);
            }
        }
        Ok(())
    }

    fn use_keys(&mut self, upstream: &Upstream, established: KeResult, random: u64) {
        let KeResult { keys, ntp_server, .. } = established;
        let (aead, unchecked) = (keys.keys.algorithm().name(), keys.unchecked);
        let refresh = self.association.settings().key_rules.refresh;
        let is_elsewhere = ntp_server.is_elsewhere();
        let is_other = self
            .keys
            .establish(keys, ntp_server, clock::raw(), refresh, random);
        self.association.rekeyed(is_other, is_elsewhere, unchecked);
        self.key_detail = None;
        info!(%upstream, aead, "upstream {upstream}: keys established ({aead})");
    }

    /// Returns the time that a certificate is checked against.
    fn checked_at(&self) -> CheckedAt {
        let (now, settings) = (clock::now(), self.association.settings());
        let vouched = settings.vouched.map(|offset| self.scale.at(now.raw) + offset);
        CheckedAt::now(vouched, now.realtime, settings.key_rules.certificate_time)
    }

    /// Returns the addresses of the server of key establishment, the one in use first.
    async fn ke_addresses(&mut self, upstream: &Upstream, port: u16) -> Result<Vec<SocketAddr>, QueryFault> {
        let found = of_upstream(upstream, port, &mut self.names).await;
        let mut found = found.map_err(|error| {
            debug!(%upstream, %error, "no address");
            fault_of(&error).unwrap_or(QueryFault::Unresolved)
        })?;
        let mut refused = None;
        found.retain(|address| {
            let fault = fault::of_address(*address, self.association.is_named(), &self.own, &[]);
            refused = refused.or(fault);
            fault.is_none()
        });
        let last = self.keys.server().map(|server| server.ke_address);
        found.sort_by_key(|address| Some(*address) != last);
        match refused {
            Some(fault) if found.is_empty() => Err(fault),
            Some(_) | None => Ok(found),
        }
    }

    /// Returns the addresses that the keys are for: of the family of key establishment first.
    pub(super) async fn negotiated_addresses(&mut self) -> io::Result<Vec<SocketAddr>> {
        let Some(server) = self.keys.server().cloned() else {
            return Ok(Vec::new());
        };
        let ke_address = server.ke_address;
        let Some(host) = &server.host else {
            let mut same = ke_address;
            same.set_port(server.port);
            return Ok(vec![same]);
        };
        let mut found = of_host(host, server.port, &mut self.names).await?;
        found.sort_by_key(|address| address.is_ipv4() != ke_address.is_ipv4());
        Ok(found)
    }

    /// Sends one question of this `header` with NTS to `address`, and waits up to `within` for the genuine reply.
    ///
    /// # Errors
    /// There are no keys.
    pub(super) async fn ask_with_nts(
        &mut self,
        address: SocketAddr,
        within: Duration,
        (header, nonces): (&Header, QuestionNonces),
    ) -> Result<Result<(Header, Exchange), NoAnswer>, KeFault> {
        let unsent = |error| Ok(Err(NoAnswer::QueryFault(error, false)));
        let entropy = match question_entropy() {
            Ok(random) => random,
            Err(error) => return unsent(error),
        };
        let mut buffer = [0; LONGEST_QUESTION];
        let header = header.to_bytes();
        let (mut pending, length) = self.keys.ask(header, &entropy, &mut buffer)?;
        let request = buffer.get(..length).unwrap_or_default();
        let keys = &mut self.keys;
        let accept = |packet: &[u8]| {
            let header = packet::authentic(packet, nonces)?;
            keys.open(&mut pending, packet).map_err(reject)?;
            Ok(header)
        };
        let refuse = |reject| self.association.refuse(reject);
        let asked = exchange(address, within, (nonces, request), accept, refuse).await;
        match &asked {
            Ok(_) => {}
            Err(NoAnswer::QueryFault(_, false)) => self.keys.unsent(pending),
            Err(NoAnswer::QueryFault(_, true) | NoAnswer::Silence(_)) => self.keys.lose(&pending),
        }
        Ok(asked)
    }

    /// Applies new settings to the keys.
    pub(super) fn apply_to_keys(&mut self, settings: &PollerSettings) {
        if settings.reloads != self.association.settings().reloads {
            self.keys.hurry(true);
        }
        let random = entropy::random().unwrap_or(0);
        if let Some(established) = settings.cast_out
            && self.keys.cast_out(established, clock::raw(), random)
        {
            self.association.forget_answers();
            self.key_detail = None;
        }
    }
}

/// Returns the reason to refuse a packet that is not the genuine reply.
const fn reject(fault: ReplyFault) -> Reject {
    match fault {
        ReplyFault::Nak => Reject::NtsNak,
        ReplyFault::Identifier | ReplyFault::Unauthenticated | ReplyFault::Forged => Reject::Unauthenticated,
    }
}

/// Sends one question with new keys to `address`, and waits up to `within` for the genuine reply.
///
/// Returns the answer, and the number of cookies in it.
///
/// # Errors
/// As [`super::question`].
pub async fn question_with(
    established: EstablishedKeys,
    address: SocketAddr,
    within: Duration,
) -> Result<(Header, Exchange, usize), NoAnswer> {
    let unsent = |error| NoAnswer::QueryFault(error, false);
    let (nonce, entropy) = (nonce().map_err(unsent)?, question_entropy().map_err(unsent)?);
    let mut session = NtsSession::new(established, clock::raw(), Duration::MAX, 0);
    let mut buffer = [0; LONGEST_QUESTION];
    let header = Header::request(nonce).to_bytes();
    let no_cookie = || unsent(io::Error::other("no cookie"));
    let (mut pending, length) = session.ask(header, &entropy, &mut buffer).ok_or_else(no_cookie)?;
    let request = buffer.get(..length).unwrap_or_default();
    let before = session.cookies();
    let accept = |packet: &[u8]| {
        let header = packet::authentic(packet, nonce)?;
        session.open(&mut pending, packet).map_err(reject)?;
        Ok(header)
    };
    let (header, exchange) = exchange(address, within, (nonce.into(), request), accept, |_| ()).await?;
    Ok((header, exchange, session.cookies().saturating_sub(before)))
}

fn question_entropy() -> io::Result<QuestionEntropy> {
    Ok(QuestionEntropy {
        identifier: entropy::bytes()?,
        nonce: entropy::bytes()?,
    })
}
