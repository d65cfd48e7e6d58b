//! Impure. The questions of `ntpfront query`: one to one server, or several (NTP Pool, interleaved mode).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::findings::Findings;
use super::host_addresses::of_host;
use super::interleaved::{InterleavedAssociation, InterleavedQuestions};
use super::interleaved_findings::InterleavedFindings;
use super::nts::certificate::CheckedAt;
use super::nts::ke_findings::{KeAnswer, KeFindings, days_left};
use super::nts::key_establishment::{KeError, KeResult, KeTarget, establish};
use super::packet::ANSWER_WITHIN;
use super::poller::{nonce, question, question_of, question_with};
use super::{Host, KeServer, Upstream};
use crate::host::clock;
use crate::host::names::Names;
use crate::host::tls::client::names;
use crate::time::Timescale;

/// Largest number of questions in interleaved mode: a server may need some more until it has it.
const INTERLEAVED_QUESTIONS: u32 = 6;
/// Interval between two samples: 2 s.
const BETWEEN_SAMPLES: Duration = Duration::from_secs(2);

/// The limits of a query.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueryLimits {
    /// The only family of addresses that is used; `None` is both.
    pub family: Option<QueryFamily>,
    /// Longest time to wait for the answer of an address, and for the name servers; `None` is the usual one of each.
    pub within: Option<Duration>,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl QueryLimits {
    /// Looks the addresses of `server` up.
    async fn addresses(self, host: &Host, port: u16, names: &mut Names) -> io::Result<Vec<SocketAddr>> {
        let search = of_host(host, port, names);
        let found = match self.within {
            Some(within) => timeout(within, search)
                .await
                .unwrap_or_else(|_| Err(io::Error::other("no answer of a name server in time"))),
            None => search.await,
        };
        let (mut addresses, family) = (found?, self.family);
        addresses
            .retain(|address| family.is_none_or(|family| (family == QueryFamily::Ipv6) == address.is_ipv6()));
        match (addresses.is_empty(), family) {
            (true, Some(QueryFamily::Ipv4)) => Err(io::Error::other("it has no IPv4 address")),
            (true, Some(QueryFamily::Ipv6)) => Err(io::Error::other("it has no IPv6 address")),
            (_, _) => Ok(addresses),
        }
    }
}

/// Asks each address of the `server` in turn, until one answers.
pub async fn query(server: &Upstream, limits: QueryLimits) -> Findings {
    let name = server.to_string();
    let mut names = Names::from_system();
    let addresses = match limits.addresses(&server.host, server.port, &mut names).await {
        Ok(addresses) => addresses,
        Err(error) => return Findings::of_silence(&name, None, format!("cannot find its address: {error}")),
    };
    let within = limits.within.unwrap_or(ANSWER_WITHIN);
    let mut silence = Findings::of_silence(&name, None, "the name has no address".to_owned());
    for address in addresses {
        let mut unsolicited = 0;
        match question(address, within, |_| unsolicited += 1).await {
            Ok((header, exchange)) => {
                let now = clock::now();
                let scale = Timescale::new(now);
                return Findings::of_answer(&name, address, &header, &exchange, &scale, clock::precision());
            }
            Err(error) => {
                let heard = if unsolicited > 0 {
                    format!(" ({unsolicited} packets that are no answer)")
                } else {
                    String::new()
                };
                silence = Findings::of_silence(&name, Some(address), format!("no answer: {error}{heard}"));
            }
        }
    }
    silence
}

/// Asks the `server` `times` times (at least once), every 2 s, as the NTP Pool's monitor does.
///
/// All questions after the first answer go to the address that gave it.
pub async fn samples(server: &Upstream, times: usize, limits: QueryLimits) -> Vec<Findings> {
    let first = query(server, limits).await;
    let mut server = server.clone();
    if let Some(address) = first.address {
        server.host = Host::of(address);
    }
    let mut samples = vec![first];
    while samples.len() < times {
        sleep(BETWEEN_SAMPLES).await;
        samples.push(query(&server, limits).await);
    }
    samples
}

/// Asks the `server` in interleaved mode, every 2 s, until a reply corrects the one before it.
///
/// The first reply can be echoed, the second one is remembered, so the third one is the first that can.
pub async fn query_interleaved(server: &Upstream, limits: QueryLimits) -> InterleavedFindings {
    let within = limits.within.unwrap_or(ANSWER_WITHIN);
    let mut found = InterleavedFindings::new(query(server, limits).await);
    let Some(address) = found.findings.address.filter(|_| found.findings.answer.is_some()) else {
        return found;
    };
    let mut association = InterleavedAssociation::default();
    while !found.interleaved && found.questions < INTERLEAVED_QUESTIONS {
        sleep(BETWEEN_SAMPLES).await;
        let Ok(random) = nonce().and_then(|first| Ok([first, nonce()?])) else {
            break;
        };
        let (header, nonces) = association.question(InterleavedQuestions::On, random);
        match question_of(address, within, (&header, nonces), |_| ()).await {
            Ok((header, exchange)) => {
                let read = association.read(header, &exchange);
                association.accept(&read, &exchange);
                let scale = Timescale::new(clock::now());
                found.add(&read, &exchange, &scale, clock::precision());
            }
            Err(_) => {
                association.unanswered();
                found.questions += 1;
            }
        }
    }
    found
}

/// Establishes keys with the server of key establishment of `upstream`, and asks one question with them.
///
/// The dates of its certificate are told, and no reason to end.
pub async fn query_nts(upstream: &Upstream, server: &KeServer, limits: QueryLimits) -> KeFindings {
    let name = Upstream {
        port: server.port,
        ..upstream.clone()
    }
    .to_string();
    let mut resolver = Names::from_system();
    let addresses = match limits.addresses(&upstream.host, server.port, &mut resolver).await {
        Ok(addresses) => addresses,
        Err(error) => return KeFindings::of_failure(&name, format!("cannot find its address: {error}")),
    };
    let target = KeTarget {
        host: &upstream.host,
        addresses: &addresses,
        server,
        checked_at: CheckedAt::Never,
        ntp_port: upstream.port,
    };
    match establish(target).await {
        Ok(result) => with_keys(&name, result, &mut resolver, limits).await,
        Err(KeError::Unsent(fault)) => KeFindings::of_failure(&name, fault.to_string()),
        Err(KeError::Failed(fault, detail)) => {
            KeFindings::of_failure(&name, format!("{}: {detail}", fault.text()))
        }
    }
}

/// Asks one question with keys that were established.
async fn with_keys(name: &str, result: KeResult, resolver: &mut Names, limits: QueryLimits) -> KeFindings {
    let [connected_after, secured_after, answered_after] = result.durations();
    let KeResult {
        keys,
        ntp_server,
        certificates,
        validity,
        ..
    } = result;
    let host = ntp_server.host.clone();
    let host = host.unwrap_or_else(|| Host::of(ntp_server.ke_address));
    let (days_left, valid_now) = days_left(validity, CheckedAt::host(clock::realtime()));
    let mut answer = KeAnswer {
        names: certificates.first().map(names).unwrap_or_default(),
        not_before: validity.not_before,
        not_after: validity.not_after,
        days_left,
        valid_now,
        aead: keys.keys.algorithm().name(),
        cookies: keys.cookies.len(),
        cookie_length: keys.cookies.first().map_or(0, Vec::len),
        ntp_server: ntp_server.host.as_ref().map(ToString::to_string),
        ntp_port: ntp_server.port,
        connected_after,
        secured_after,
        answered_after,
        cookies_in_reply: None,
    };
    let found = limits.addresses(&host, ntp_server.port, resolver).await;
    let first = found.and_then(|found| {
        let first = found.first().copied();
        first.ok_or_else(|| io::Error::other("the name has no address"))
    });
    let address = match first {
        Ok(address) => address,
        Err(error) => {
            let silence = Findings::of_silence(&host.to_string(), None, error.to_string());
            return KeFindings::of_answer(name, ntp_server.ke_address, answer, silence);
        }
    };
    let findings = match question_with(keys, address, ANSWER_WITHIN).await {
        Ok((header, exchange, cookies)) => {
            answer.cookies_in_reply = Some(cookies);
            let scale = Timescale::new(clock::now());
            Findings::of_answer(
                &address.to_string(),
                address,
                &header,
                &exchange,
                &scale,
                clock::precision(),
            )
        }
        Err(error) => Findings::of_silence(
            &address.to_string(),
            Some(address),
            format!("no genuine reply: {error}"),
        ),
    };
    KeFindings::of_answer(name, ntp_server.ke_address, answer, findings)
}
