//! Impure. The poller of one upstream: asks, waits, hands the answer to the pure part and tells the result.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::association::{Association, Peer};
use super::filter::LeapShift;
use super::packet::{self, Exchange, Reject};
use super::system::ClockPolicy;
use super::{Host, Upstream};
use crate::host::clock::{self, UnixTime};
use crate::host::names::Names;
use crate::host::{addresses, entropy, udp};
use crate::reference::Timescale;
use crate::wire::{Header, NtpTimestamp, ReferenceId};

/// An answer that takes longer measures nothing (ntpd and chrony wait as long).
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// After so many packets that are not the answer, the question is given up: somebody floods us.
const STRANGERS_MAX: u32 = 1000;
/// Until a name is looked up again that could not be resolved: from the first to the longest.
const NAME_RETRY: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(64)];

/// What a poller knows after a question: the upstream's place in the configuration, and its state.
pub type Report = (usize, Peer);

/// One upstream and all that asking it needs.
#[expect(missing_debug_implementations, reason = "holds the system's hosts file")]
pub struct Poller {
    index: usize,
    upstream: Upstream,
    association: Association,
    names: Names,
    /// Addresses of the name that were not tried since it was resolved.
    untried: VecDeque<IpAddr>,
    scale: Timescale,
    /// The last leap second, as the system process has it.
    leaps: watch::Receiver<Option<LeapShift>>,
    precision: i8,
    policy: ClockPolicy,
}

impl Poller {
    /// Knows nothing yet. `index` is the upstream's place in the configuration, `scale` the local timescale,
    /// `leaps` tells the last leap second, `precision` is the host clock's.
    pub fn new(
        index: usize,
        upstream: Upstream,
        names: Names,
        scale: Timescale,
        leaps: watch::Receiver<Option<LeapShift>>,
        precision: i8,
        policy: ClockPolicy,
    ) -> Self {
        let association = Association::new(&upstream);
        Self {
            index,
            upstream,
            association,
            names,
            untried: VecDeque::new(),
            scale,
            leaps,
            precision,
            policy,
        }
    }

    /// Asks for as long as somebody listens to the `reports`, or until the upstream tells us to stop.
    pub async fn run(mut self, reports: Sender<Report>) {
        loop {
            let address = self.address().await;
            let refused = self.ask(address).await;
            self.tell_kiss(refused);
            if reports
                .send((self.index, self.association.peer().clone()))
                .await
                .is_err()
            {
                return;
            }
            let Some(pause) = self.association.pause(entropy::random().unwrap_or(0)) else {
                return;
            };
            sleep(pause).await;
        }
    }

    /// Whom to ask next: the address that answered, or another one of the name after a silence.
    async fn address(&mut self) -> SocketAddr {
        let known = self
            .association
            .peer()
            .address
            .filter(|_| !self.association.is_silent());
        let address = match (known, self.upstream.host.clone()) {
            (Some(address), _) => return address,
            (None, Host::Address(address)) => address,
            (None, Host::Name(name)) => self.next_address(&name).await,
        };
        let own = addresses::own().unwrap_or_default();
        let address = SocketAddr::new(address, self.upstream.port);
        if self.association.peer().address != Some(address) {
            info!(upstream = %self.upstream, %address, "asking this address");
        }
        self.association
            .follow(address, address.ip().is_loopback() || own.contains(&address.ip()));
        address
    }

    async fn next_address(&mut self, name: &str) -> IpAddr {
        let [first, longest] = NAME_RETRY;
        let mut retry = first;
        loop {
            if let Some(address) = self.untried.pop_front() {
                return address;
            }
            match self.names.resolve(name).await {
                Ok(found) => self.untried.extend(found),
                Err(error) => {
                    // Once for each time that the name is needed: the retries are nothing new.
                    if retry == first {
                        warn!(upstream = %self.upstream, %error, "cannot resolve the upstream's name: trying again and again");
                    }
                    sleep(retry).await;
                    retry = (retry * 2).min(longest);
                }
            }
        }
    }

    /// One question. Returns why its answer was refused, if it was.
    async fn ask(&mut self, address: SocketAddr) -> Option<Reject> {
        self.association.asked();
        let outcome = match question(address, |reject| self.association.refuse(reject)).await {
            Ok((header, exchange)) => self.judge(header, &exchange),
            Err(error) => {
                debug!(upstream = %self.upstream, %address, %error, "no answer");
                return None;
            }
        };
        match outcome {
            Ok(()) => None,
            Err(reject) => {
                self.association.refuse(reject);
                debug!(upstream = %self.upstream, %address, reason = reject.name(), times = self.association.rejected(reject), "answer refused");
                Some(reject)
            }
        }
    }

    fn judge(&mut self, header: Header, exchange: &Exchange) -> Result<(), Reject> {
        if let Some((at, by)) = *self.leaps.borrow() {
            self.association.leap(at, by);
        }
        let sample = packet::measure(&header, exchange, &self.scale, self.precision);
        packet::usable(
            &header,
            &sample,
            &self.own_names(&header),
            self.policy.max_distance,
        )?;
        debug!(
            upstream = %self.upstream,
            delay = format!("{:.9}", sample.delay.to_seconds()),
            stratum = header.stratum,
            reference_id = %header.reference_id,
            "sample"
        );
        self.association.accept(header, sample);
        Ok(())
    }

    /// What names ourselves in an answer: our addresses; and on this host the mark of a local reference at a stratum
    /// that could be ours, for whoever mirrors us passes that on.
    fn own_names(&self, header: &Header) -> Vec<ReferenceId> {
        let addresses = addresses::own()
            .unwrap_or_default()
            .into_iter()
            .map(ReferenceId::from_address);
        let here = self.association.peer().on_this_host;
        let local = self
            .policy
            .local
            .filter(|local| here && header.stratum >= local.stratum);
        addresses.chain(local.map(|_| ReferenceId::LOCAL)).collect()
    }

    /// An order to us is news, whatever the log level: the operator must know why an upstream is not asked.
    fn tell_kiss(&self, refused: Option<Reject>) {
        match refused {
            Some(Reject::KissDeny) => warn!(
                upstream = %self.upstream,
                "the upstream refuses us (kiss DENY or RSTR) and is not asked any more until a restart"
            ),
            Some(Reject::KissRate) if self.association.rejected(Reject::KissRate) == 1 => {
                warn!(upstream = %self.upstream, "the upstream says that we ask too often (kiss RATE): asking less");
            }
            _ => {}
        }
    }
}

/// Asks `address` once and waits for the authentic answer; each packet that is not is told to `stranger`.
///
/// # Errors
/// No answer within 3 s, only strangers, or what the kernel says: no route, nobody listens there, ….
pub async fn question(
    address: SocketAddr,
    mut stranger: impl FnMut(Reject),
) -> io::Result<(Header, Exchange)> {
    let socket = UdpSocket::from_std(udp::ask(address)?)?;
    let nonce = NtpTimestamp::from_bits(entropy::random()?);
    let request = Header::request(nonce).to_bytes();
    let sent = clock::raw();
    socket.send(&request).await?;
    let answer = async {
        for _ in 0..STRANGERS_MAX {
            let mut buffer = [0; 1024];
            let (length, stamp) = socket
                .async_io(Interest::READABLE, || udp::receive_stamped(&socket, &mut buffer))
                .await?;
            let arrived = arrival(stamp);
            match packet::authentic(buffer.get(..length).unwrap_or_default(), nonce) {
                Ok(header) => return Ok((header, Exchange { nonce, sent, arrived })),
                Err(reject) => stranger(reject),
            }
        }
        Err(io::Error::other("only packets that are not the answer"))
    };
    timeout(ANSWER_WITHIN, answer).await?
}

/// The raw counter at the moment of the kernel's stamp: the task may have been woken much later.
fn arrival(stamp: Option<UnixTime>) -> Duration {
    let now = clock::now();
    let age = stamp
        .and_then(|stamp| now.realtime.since(stamp))
        .filter(|&age| age <= ANSWER_WITHIN);
    now.raw.saturating_sub(age.unwrap_or(Duration::ZERO))
}
