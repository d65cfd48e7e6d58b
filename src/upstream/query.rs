//! Impure. The questions of `ntpfront query`: one to one server, or several, as the NTP Pool's monitor asks.

use std::io;
use std::net::{SocketAddr, SocketAddrV6};

use std::time::Duration;

use tokio::time::sleep;

use super::findings::Findings;
use super::packet::ANSWER_WITHIN;
use super::poller::question;
use super::{Host, Upstream};
use crate::host::names::Names;
use crate::host::{addresses, clock};
use crate::time::Timescale;

/// Interval between two samples: 2 s.
const BETWEEN_SAMPLES: Duration = Duration::from_secs(2);

/// Asks each address of the `server` in turn, until one answers.
pub async fn query(server: &Upstream) -> Findings {
    let name = server.to_string();
    let addresses = match all_addresses(server).await {
        Ok(addresses) => addresses,
        Err(error) => return Findings::of_silence(&name, None, format!("cannot find its address: {error}")),
    };
    let mut silence = Findings::of_silence(&name, None, "the name has no address".to_owned());
    for address in addresses {
        let mut unsolicited = 0;
        match question(address, ANSWER_WITHIN, |_| unsolicited += 1).await {
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
pub async fn samples(server: &Upstream, times: usize) -> Vec<Findings> {
    let first = query(server).await;
    let mut server = server.clone();
    if let Some(address) = first.address {
        server.host = Host::of(address);
    }
    let mut samples = vec![first];
    while samples.len() < times {
        sleep(BETWEEN_SAMPLES).await;
        samples.push(query(&server).await);
    }
    samples
}

async fn all_addresses(server: &Upstream) -> io::Result<Vec<SocketAddr>> {
    let found = match &server.host {
        Host::Address(address) => vec![*address],
        Host::LinkLocal(address, interface) => {
            let scope = addresses::scope(interface)?;
            return Ok(vec![SocketAddrV6::new(*address, server.port, 0, scope).into()]);
        }
        Host::Name(name) => Names::from_system().resolve(name).await?,
    };
    Ok(found
        .into_iter()
        .map(|address| SocketAddr::new(address, server.port))
        .collect())
}
