//! Impure. What Prometheus and probes read over HTTP: `/metrics`, `/healthz`, `/readyz`.
//!
//! Readers can't harm who serves time: this runs on the supervisor's thread, not on a worker's; few are listened to at
//! once, for a short time each; one too many takes the place of the one who has been there longest, of those whose address has
//! most connections: so neither some who never read nor one who comes a thousand times a second can keep others out; and
//! what they see is made at most once a second.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::hash::Hash;
use std::io;
use std::net::{IpAddr, TcpListener as StdTcpListener};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{Backlog, listen};
use nix::unistd::{Gid, Uid};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::config::Metrics;
use crate::host::{clock, limits, unix_socket};
use crate::observe::health::Health;
use crate::observe::metrics;
use crate::observe::snapshot::Snapshot;
use crate::observe::throttle::LogThrottle;

/// How many are listened to at once: so many that one of them has some tenths of a second even if a thousand others come a
/// second, each from an address of its own.
pub(super) const READERS: usize = 256;
/// How many of one address.
const OF_ONE: usize = 64;
/// How many wait to be listened to.
const BACKLOG: i32 = 1024;
/// A connection that takes longer is closed.
const PATIENCE: Duration = Duration::from_secs(10);
/// A supervisor that takes longer is not well.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How old what is shown may be.
const FRESH: Duration = Duration::from_secs(1);
/// A request has not more than this (the library's least).
const LONGEST_REQUEST: usize = 8192;
/// Until an address is tried again that could not be opened.
const RETRY: Duration = Duration::from_secs(10);

/// Who wants to see everything.
pub(super) type Onlooker = oneshot::Sender<Snapshot>;

/// Where to listen, and the socket, if it could be opened.
#[derive(Debug)]
pub(super) struct Http {
    place: Metrics,
    opened: Option<Door>,
}

#[derive(Debug)]
enum Door {
    Tcp(StdTcpListener),
    Unix(StdUnixListener),
}

impl Http {
    /// Opens what is configured, if anything is, and gives a file to `owner`. A failure is told, and no more: to
    /// be seen matters less than to serve.
    pub(super) fn open(place: &Metrics, owner: Option<(Uid, Gid)>) -> Option<Self> {
        let opened = match place {
            Metrics::Nowhere => return None,
            Metrics::Tcp(_) => open(place),
            Metrics::Unix(path) => unix_socket::open(path, owner).map(Door::Unix),
        };
        match &opened {
            Ok(_) => info!(%place, "metrics are read at {place}"),
            Err(error) => {
                let error = limits::explain(error);
                error!(%place, error, "metrics can't be read: cannot open {place} (metrics.listen): {error}");
            }
        }
        Some(Self {
            place: place.clone(),
            opened: opened.ok(),
        })
    }

    /// The port that may have to be opened again.
    pub(super) fn port(&self) -> Option<u16> {
        match &self.place {
            Metrics::Tcp(address) => Some(address.port()),
            Metrics::Unix(_) | Metrics::Nowhere => None,
        }
    }

    /// Answers for as long as there is a supervisor to ask.
    pub(super) async fn serve(mut self, supervisor: mpsc::Sender<Onlooker>) {
        let sights = Arc::new(Sights {
            supervisor,
            last: Mutex::new(None),
        });
        let door = loop {
            match self.opened.take() {
                Some(door) => break door,
                None => {
                    sleep(RETRY).await;
                    self.opened = open(&self.place).ok();
                }
            }
        };
        if let Err(error) = welcome(door, &sights).await {
            let error = limits::explain(&error);
            error!(place = %self.place, error, "metrics can't be read any more");
        }
    }
}

/// Only an address can be opened at any time: the directory of a file is out of reach after the start.
fn open(place: &Metrics) -> io::Result<Door> {
    match place {
        Metrics::Tcp(address) => {
            let listener = StdTcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            // The library's backlog is too short for a flood: to listen again changes it.
            listen(&listener, Backlog::new(BACKLOG)?)?;
            Ok(Door::Tcp(listener))
        }
        Metrics::Unix(_) | Metrics::Nowhere => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Takes connections for ever. Fails only when the socket can't be waited for.
async fn welcome(door: Door, sights: &Arc<Sights>) -> io::Result<()> {
    let mut readers = Readers::default();
    match door {
        Door::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let accepted = listener.accept().await;
                let accepted = accepted.map(|(stream, address)| (stream, Some(address.ip())));
                readers.admit(accepted, sights).await;
            }
        }
        Door::Unix(listener) => {
            let listener = UnixListener::from_std(listener)?;
            loop {
                let accepted = listener.accept().await;
                readers
                    .admit(accepted.map(|(stream, _)| (stream, None)), sights)
                    .await;
            }
        }
    }
}

/// Those who are listened to, the longest first, each with its address where it has one.
#[derive(Default)]
struct Readers {
    all: VecDeque<(Option<IpAddr>, AbortHandle)>,
    /// Connections that could not be taken are told.
    refused: LogThrottle,
}

impl Readers {
    async fn admit<S>(&mut self, accepted: io::Result<(S, Option<IpAddr>)>, sights: &Arc<Sights>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            // The client went away.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return,
            // Out of descriptors or memory: it will pass.
            Err(error) => {
                if self.refused.pass(clock::raw()) {
                    let error = limits::explain(&error);
                    warn!(error, "who reads the metrics has to wait: {error}");
                }
                return sleep(Duration::from_millis(100)).await;
            }
        };
        self.all.retain(|(_, reader)| !reader.is_finished());
        let addresses = self.all.iter().map(|(address, _)| *address);
        let dispensable = dispensable(addresses, &address).and_then(|at| self.all.remove(at));
        if let Some((_, reader)) = dispensable {
            reader.abort();
            // Its descriptor is closed when the runtime comes to it: that must not wait for a hundred others.
            yield_now().await;
        }
        let conversation = converse(stream, Arc::clone(sights));
        self.all
            .push_back((address, tokio::spawn(conversation).abort_handle()));
    }
}

/// Whose place `new` takes, if there is none left, among all or for one address: that of the one who has been there longest,
/// of those whose address has most connections.
fn dispensable<A: Copy + Eq + Hash>(addresses: impl Iterator<Item = A> + Clone, new: &A) -> Option<usize> {
    let (mut counts, mut all) = (HashMap::<A, usize>::new(), 0);
    for address in addresses.clone() {
        *counts.entry(address).or_default() += 1;
        all += 1;
    }
    let is_full = all >= READERS || counts.get(new) >= Some(&OF_ONE);
    let most = counts.values().max().filter(|_| is_full)?;
    addresses
        .enumerate()
        .find(|(_, address)| counts.get(address) == Some(most))
        .map(|(at, _)| at)
}

/// One request, one answer.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, sights: Arc<Sights>) {
    let answer = |request: Request<Incoming>| {
        let sights = Arc::clone(&sights);
        async move { Ok::<_, Infallible>(sights.answer(&request).await) }
    };
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(LONGEST_REQUEST)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    // A reader that went away, or never asked, is no news.
    let _served = timeout(PATIENCE, connection).await;
}

/// What is shown, made anew when it is too old.
struct Sights {
    supervisor: mpsc::Sender<Onlooker>,
    last: Mutex<Option<Sight>>,
}

#[derive(Clone)]
struct Sight {
    seen_at: Duration,
    snapshot: Arc<Snapshot>,
    page: Bytes,
}

impl Sights {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = said(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
            refusal
                .headers_mut()
                .insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        let uri = request.uri();
        if !matches!(uri.path(), "/metrics" | "/healthz" | "/readyz") {
            return said(
                StatusCode::NOT_FOUND,
                "there are /metrics, /healthz and /readyz\n".into(),
            );
        }
        let Some(sight) = self.sight().await else {
            return said(
                StatusCode::SERVICE_UNAVAILABLE,
                "the supervisor does not answer\n".into(),
            );
        };
        match uri.path() {
            "/metrics" => said(StatusCode::OK, sight.page),
            "/healthz" => said(StatusCode::OK, "alive\n".into()),
            _ => readiness(&sight.snapshot, uri.query().unwrap_or_default()),
        }
    }

    /// One who asks waits for what another one has asked for already.
    async fn sight(&self) -> Option<Sight> {
        let mut last = self.last.lock().await;
        let fresh = |sight: &&Sight| clock::raw().saturating_sub(sight.seen_at) < FRESH;
        if let Some(sight) = last.as_ref().filter(fresh) {
            return Some(sight.clone());
        }
        let snapshot = Arc::new(timeout(ANSWER_WITHIN, self.look()).await.ok()??);
        let sight = Sight {
            seen_at: clock::raw(),
            page: metrics::page(Arc::clone(&snapshot)).into(),
            snapshot,
        };
        *last = Some(sight.clone());
        Some(sight)
    }

    async fn look(&self) -> Option<Snapshot> {
        let (sender, snapshot) = oneshot::channel();
        self.supervisor.send(sender).await.ok()?;
        snapshot.await.ok()
    }
}

fn readiness(snapshot: &Snapshot, query: &str) -> Response<Full<Bytes>> {
    let limit = match query.strip_prefix("max-distance=").map(str::parse) {
        None if query.is_empty() => None,
        Some(Ok(limit)) => Some(limit),
        Some(Err(_)) | None => {
            return said(StatusCode::BAD_REQUEST, "there is ?max-distance=SECONDS\n".into());
        }
    };
    let health = Health::of(snapshot, limit);
    let status = if health.healthy {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    said(status, health.line().into())
}

fn said(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(metrics::CONTENT_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_most_often_makes_room_the_oldest_first() {
        let whose = |addresses: &[usize], new| dispensable(addresses.iter().copied(), &new);
        let one_each: Vec<usize> = (0..READERS).collect();
        assert_eq!(whose(&one_each, READERS), Some(0));
        assert_eq!(whose(&one_each[1..], READERS), None);
        let crowd: Vec<usize> = one_each.iter().map(|number| number % 16).chain([7, 3]).collect();
        assert_eq!(whose(&crowd, 99), Some(3));
        let of_one = [[1].as_slice(), &[2; OF_ONE]].concat();
        assert_eq!((whose(&of_one, 2), whose(&of_one[1..], 2)), (Some(1), Some(0)));
        assert_eq!((whose(&of_one, 1), whose(&of_one[..OF_ONE], 2)), (None, None));
    }
}
