//! Impure. The poller of one upstream: asks, waits, hands the answer to the pure part and tells the result.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::Sender;
use tokio::sync::watch::{self, error::RecvError};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::Host;
use super::association::{Asking, Association, Orders, Peer};
use super::packet::{self, ANSWER_WITHIN, Exchange, Reject, STRANGERS_MAX, Sample};
use crate::host::clock::{self, UnixTime};
use crate::host::names::Names;
use crate::host::{addresses, entropy, udp};
use crate::reference::Timescale;
use crate::wire::{Header, NtpTimestamp};

/// Until a name is looked up again that could not be resolved: from the first to the longest.
const NAME_RETRY: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(64)];

/// The raw counter stands still while the host sleeps: what is measured over more sleep than this is wrong.
const NAP: Duration = Duration::from_millis(10);

/// A packet, or the network's word that there will be none: nobody listens there, no route.
const NEWS: Interest = Interest::READABLE.add(Interest::ERROR);

/// What a poller knows after a question.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whose report it is.
    pub id: u64,
    /// All that is known of its upstream.
    pub peer: Peer,
    /// How it is asked, for who looks on.
    pub asking: Asking,
}

/// One upstream and all that asking it needs.
#[expect(missing_debug_implementations, reason = "holds the system's hosts file")]
pub struct Poller {
    id: u64,
    orders: watch::Receiver<Orders>,
    association: Association,
    names: Names,
    /// Addresses of the name that were not tried since it was resolved.
    untried: VecDeque<IpAddr>,
    scale: Timescale,
    precision: i8,
}

impl Poller {
    /// Knows nothing yet of the upstream that the `orders` name. `id` marks its reports and is never used again,
    /// `scale` is the local timescale, `precision` the host clock's, log2 seconds.
    pub fn new(
        id: u64,
        mut orders: watch::Receiver<Orders>,
        names: Names,
        scale: Timescale,
        precision: i8,
    ) -> Self {
        let association = Association::new(orders.borrow_and_update().clone());
        Self {
            id,
            orders,
            association,
            names,
            untried: VecDeque::new(),
            scale,
            precision,
        }
    }

    /// Asks for as long as somebody gives orders and listens to the `reports`. An upstream that told us to stop is
    /// left alone until the orders allow to ask again.
    pub async fn run(self, reports: Sender<Report>) {
        let mut orders = self.orders.clone();
        let dismissed = async move { while orders.changed().await.is_ok() {} };
        tokio::select! {
            () = self.ask_on(reports) => {}
            () = dismissed => {}
        }
    }

    async fn ask_on(mut self, reports: Sender<Report>) {
        loop {
            let address = self.address().await;
            self.obey();
            let refused = self.ask(address).await;
            self.tell_kiss(refused);
            let report = Report {
                id: self.id,
                peer: self.association.peer().clone(),
                asking: self.association.asking(),
            };
            if reports.send(report).await.is_err() || self.pause().await.is_err() {
                return;
            }
        }
    }

    /// Waits until it is time for the next question; orders may change when that is.
    async fn pause(&mut self) -> Result<(), RecvError> {
        let (began, random) = (clock::raw(), entropy::random().unwrap_or(0));
        loop {
            self.obey();
            let waited = clock::raw().saturating_sub(began);
            let due = async {
                match self.association.pause(random) {
                    Some(pause) => sleep(pause.saturating_sub(waited)).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = due => return Ok(()),
                changed = self.orders.changed() => changed?,
            }
        }
    }

    fn obey(&mut self) {
        let orders = self.orders.borrow_and_update();
        self.association.obey(&orders);
    }

    /// Whom to ask next: the address that answered, or another one of the name after a silence.
    async fn address(&mut self) -> SocketAddr {
        let known = self
            .association
            .peer()
            .address
            .filter(|_| !self.association.is_silent());
        let upstream = self.association.upstream().clone();
        let address = match (known, upstream.host) {
            (Some(address), _) => return address,
            (None, Host::Address(address)) => SocketAddr::new(address, upstream.port),
            (None, Host::LinkLocal(address, interface)) => {
                let scope = self.scope(&interface).await;
                SocketAddrV6::new(address, upstream.port, 0, scope).into()
            }
            (None, Host::Name(name)) => SocketAddr::new(self.next_address(&name).await, upstream.port),
        };
        let own = addresses::own().unwrap_or_default();
        if self.association.peer().address != Some(address) {
            info!(upstream = %self.association.upstream(), %address, "asking this address");
        }
        self.association
            .follow(address, address.ip().is_loopback() || own.contains(&address.ip()));
        address
    }

    /// The number that the interface has now: another one when it comes back after it was gone.
    async fn scope(&self, interface: &str) -> u32 {
        let [mut retry, longest] = NAME_RETRY;
        loop {
            match addresses::scope(interface) {
                Ok(scope) => return scope,
                Err(error) => {
                    debug!(upstream = %self.association.upstream(), %error, "no such interface");
                    sleep(retry).await;
                    retry = (retry * 2).min(longest);
                }
            }
        }
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
                        warn!(upstream = %self.association.upstream(), %error, "cannot resolve the upstream's name: trying again and again");
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
        let (header, exchange) = match question(address, |reject| self.association.refuse(reject)).await {
            Ok(answer) => answer,
            Err(error) => {
                debug!(upstream = %self.association.upstream(), %address, %error, "no answer");
                return None;
            }
        };
        self.obey();
        let own = addresses::own().unwrap_or_default();
        match self
            .association
            .hear(header, &exchange, &self.scale, self.precision, &own)
        {
            Ok(sample) => {
                self.tell_sample(&header, &sample);
                None
            }
            Err(reject) => {
                let times = self.association.rejected(reject);
                debug!(upstream = %self.association.upstream(), %address, reason = reject.name(), times, "answer refused");
                Some(reject)
            }
        }
    }

    fn tell_sample(&self, header: &Header, sample: &Sample) {
        debug!(
            upstream = %self.association.upstream(),
            delay = format!("{:.9}", sample.delay.to_seconds()),
            stratum = header.stratum,
            reference_id = %header.reference_id,
            "sample"
        );
    }

    /// An order to us is news, whatever the log level: the operator must know why an upstream is not asked.
    fn tell_kiss(&self, refused: Option<Reject>) {
        match refused {
            Some(Reject::KissDeny) => warn!(
                upstream = %self.association.upstream(),
                reason = Reject::KissDeny.name(),
                "the upstream refuses us (kiss DENY or RSTR) and is not asked any more until a reload"
            ),
            Some(Reject::KissRate) if self.association.rejected(Reject::KissRate) == 1 => {
                warn!(upstream = %self.association.upstream(), reason = Reject::KissRate.name(), "the upstream says that we ask too often (kiss RATE): asking less");
            }
            _ => {}
        }
    }
}

/// Asks `address` once and waits for the authentic answer; each packet that is not is told to `stranger`.
///
/// # Errors
/// No answer within 3 s, only strangers, a sleep of the host, or what the kernel says: no route, nobody listens there, ….
pub async fn question(
    address: SocketAddr,
    mut stranger: impl FnMut(Reject),
) -> io::Result<(Header, Exchange)> {
    let socket = UdpSocket::from_std(udp::ask(address)?)?;
    let nonce = NtpTimestamp::from_bits(entropy::random()?);
    let request = Header::request(nonce).to_bytes();
    let asleep = clock::jumps().asleep;
    let sent = clock::raw();
    socket.send(&request).await?;
    let answer = async {
        for _ in 0..STRANGERS_MAX {
            let mut buffer = [0; 1024];
            let (length, stamp) = socket
                .async_io(NEWS, || udp::receive_stamped(&socket, &mut buffer))
                .await?;
            let arrived = arrival(stamp);
            match packet::authentic(buffer.get(..length).unwrap_or_default(), nonce) {
                Ok(_) if clock::jumps().asleep.abs_diff(asleep) > NAP => {
                    return Err(io::Error::other("the host slept meanwhile"));
                }
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
