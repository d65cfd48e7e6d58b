//! Impure. The HTTP server for Prometheus, probes and people: `/metrics`, `/healthz`, `/readyz`; `/` and its JSON.
//!
//! Its clients can't harm the service: all this runs on the supervisor's thread, not on a worker's. Few
//! connections are kept at once, for a short time each. A further one replaces the oldest one, among those of
//! the address that has most: so neither connections that never read nor a thousand new ones a second can
//! keep others out. The page is made at most once per second.

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
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{Backlog, listen};
use nix::unistd::{Gid, Uid};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::{AbortHandle, spawn_blocking, yield_now};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::config::Metrics;
use crate::history::curves::Curves;
use crate::history::page::{HtmlPage, SPANS, page};
use crate::history::stamp::Stamp;
use crate::host::{clock, limits, privileges, unix_socket};
use crate::log::throttle::LogThrottle;
use crate::observe::health::{Health, HealthCriteria};
use crate::observe::metrics;
use crate::observe::snapshot::Snapshot;

/// Largest number of connections at once.
///
/// With it each has some tenths of a second even if a thousand others come per second, each from an address
/// of its own.
pub const CONNECTIONS: usize = 256;
/// Largest number of connections of one address.
const CONNECTIONS_AN_ADDRESS: usize = 64;
/// The longest life of a connection.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time that the supervisor may take for a snapshot.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(2);
/// The greatest age of a page.
const PAGE_AGE: Duration = Duration::from_secs(1);
/// The greatest age of the page for people: its curves are long.
const HTML_AGE: Duration = Duration::from_secs(2);
/// The longest request, in bytes (the library's least).
const LONGEST_REQUEST: usize = 8192;
/// Time until an address is tried again that could not be opened.
const RETRY: Duration = Duration::from_secs(10);

/// A request to the supervisor, and the way of its answer.
#[derive(Debug)]
pub enum Scrape {
    /// A snapshot.
    Snapshot(oneshot::Sender<Snapshot>),
    /// The curves of the last seconds of each number, with the served time.
    Curves([u32; 3], oneshot::Sender<(Stamp, [Curves; 3])>),
}

/// The address of the HTTP server, and its socket, if that could be opened.
#[derive(Debug)]
pub struct HttpServer {
    address: Metrics,
    /// Whether there is a page for people.
    page: bool,
    socket: Option<HttpSocket>,
}

#[derive(Debug)]
enum HttpSocket {
    Tcp(StdTcpListener),
    Unix(StdUnixListener),
}

impl HttpServer {
    /// Opens what is configured, if anything is, and gives a file to `owner`.
    ///
    /// A failure is only logged: time is served without metrics.
    pub fn open(address: &Metrics, page: bool, owner: Option<(Uid, Gid)>) -> Option<Self> {
        let socket = match address {
            Metrics::Nowhere => return None,
            Metrics::Tcp(_) => open_tcp(address),
            Metrics::Unix(path) => unix_socket::open(path, owner).map(HttpSocket::Unix),
        };
        match &socket {
            Ok(_) => info!(place = %address, "serving metrics at {address}"),
            Err(error) => {
                let error = limits::explain(error);
                error!(place = %address, error, "metrics are unavailable: cannot open {address} (metrics.listen): {error}");
            }
        }
        Some(Self {
            address: address.clone(),
            page,
            socket: socket.ok(),
        })
    }

    /// The TCP port that may have to be opened again.
    pub fn port(&self) -> Option<u16> {
        match &self.address {
            Metrics::Tcp(address) => Some(address.port()),
            Metrics::Unix(_) | Metrics::Nowhere => None,
        }
    }

    /// Answers requests while the supervisor runs.
    pub async fn serve(mut self, supervisor: mpsc::Sender<Scrape>) {
        let pages = Arc::new(PageCache {
            supervisor,
            last: Mutex::new(None),
            html: self.page.then(|| Mutex::new(None)),
        });
        let socket = loop {
            match self.socket.take() {
                Some(socket) => break socket,
                None => {
                    sleep(RETRY).await;
                    self.socket = open_tcp(&self.address).ok();
                }
            }
        };
        if let Err(error) = accept_all(socket, &pages).await {
            let error = limits::explain(&error);
            error!(place = %self.address, error, "metrics are no longer available: {error}");
        }
    }
}

/// Only a TCP port can be opened at any time: the directory of a file is out of reach after the start.
fn open_tcp(address: &Metrics) -> io::Result<HttpSocket> {
    match address {
        Metrics::Tcp(address) => {
            let listener = StdTcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            // The library's backlog is too short for a flood: to listen again changes it to the system's limit.
            listen(&listener, Backlog::MAXALLOWABLE)?;
            Ok(HttpSocket::Tcp(listener))
        }
        Metrics::Unix(_) | Metrics::Nowhere => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Accepts connections for ever. Fails only when the socket can't be waited for.
async fn accept_all(socket: HttpSocket, pages: &Arc<PageCache>) -> io::Result<()> {
    let mut connections = Connections::default();
    match socket {
        HttpSocket::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let accepted = listener.accept().await;
                let accepted = accepted.map(|(stream, address)| (stream, Some(address.ip())));
                connections.admit(accepted, pages).await;
            }
        }
        HttpSocket::Unix(listener) => {
            let listener = UnixListener::from_std(listener)?;
            loop {
                let accepted = listener.accept().await;
                let accepted = accepted.map(|(stream, _)| (stream, None));
                connections.admit(accepted, pages).await;
            }
        }
    }
}

/// The open connections, the oldest first, each with its address where it has one.
#[derive(Default)]
struct Connections {
    all: VecDeque<(Option<IpAddr>, AbortHandle)>,
    /// The limit for the log of those that could not be accepted.
    failures: LogThrottle,
}

impl Connections {
    async fn admit<S>(&mut self, accepted: io::Result<(S, Option<IpAddr>)>, pages: &Arc<PageCache>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            // The client has disconnected.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return,
            // Out of descriptors or memory: it is only for a while.
            Err(error) => {
                if self.failures.pass(clock::raw()) {
                    let error = limits::explain(&error);
                    warn!(
                        error,
                        "cannot accept a connection for metrics, trying again: {error}"
                    );
                }
                return sleep(Duration::from_millis(100)).await;
            }
        };
        self.all.retain(|(_, connection)| !connection.is_finished());
        let addresses = self.all.iter().map(|(address, _)| *address);
        let dispensable = dispensable(addresses, &address).and_then(|at| self.all.remove(at));
        if let Some((_, connection)) = dispensable {
            connection.abort();
            // Its descriptor is closed when the runtime comes to it: that must not wait for a hundred others.
            yield_now().await;
        }
        let connection = tokio::spawn(serve_connection(stream, Arc::clone(pages)));
        self.all.push_back((address, connection.abort_handle()));
    }
}

/// The place of the connection that makes room for one of `new`, if none is left.
///
/// It is the oldest one of the address that has most. Room is limited for all, and for one address.
fn dispensable<A: Copy + Eq + Hash>(addresses: impl Iterator<Item = A> + Clone, new: &A) -> Option<usize> {
    let (mut counts, mut all) = (HashMap::<A, usize>::new(), 0);
    for address in addresses.clone() {
        *counts.entry(address).or_default() += 1;
        all += 1;
    }
    let is_full = all >= CONNECTIONS || counts.get(new) >= Some(&CONNECTIONS_AN_ADDRESS);
    let most = counts.values().max().filter(|_| is_full)?;
    addresses
        .enumerate()
        .find(|(_, address)| counts.get(address) == Some(most))
        .map(|(at, _)| at)
}

/// Serves one request on a connection.
async fn serve_connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S, pages: Arc<PageCache>) {
    let answer = |request: Request<Incoming>| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(pages.answer(&request).await) }
    };
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(LONGEST_REQUEST)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    // A client that disconnects, or sends nothing, is not logged.
    let _served = timeout(TIMEOUT, connection).await;
}

/// The last page, made again when it is too old.
struct PageCache {
    supervisor: mpsc::Sender<Scrape>,
    last: Mutex<Option<CachedPage>>,
    /// The page for people; `None` if there is none.
    html: Option<Mutex<Option<(Duration, HtmlPage)>>>,
}

#[derive(Clone)]
struct CachedPage {
    made_at: Duration,
    snapshot: Arc<Snapshot>,
    metrics: Bytes,
}

impl PageCache {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
            refusal
                .headers_mut()
                .insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        let uri = request.uri();
        let is_for_people = matches!(uri.path(), "/" | "/status.json" | "/history.json");
        if !(matches!(uri.path(), "/metrics" | "/healthz" | "/readyz")
            || is_for_people && self.html.is_some())
        {
            return response(
                StatusCode::NOT_FOUND,
                "only /metrics, /healthz and /readyz exist\n".into(),
            );
        }
        let Some(page) = self.page().await else {
            return response(
                StatusCode::SERVICE_UNAVAILABLE,
                "the supervisor does not answer\n".into(),
            );
        };
        match uri.path() {
            "/metrics" => response(StatusCode::OK, page.metrics),
            "/healthz" => response(StatusCode::OK, "alive\n".into()),
            "/" => self.html(&page.snapshot).await,
            "/status.json" => json(&*page.snapshot),
            "/history.json" => self.history(uri.query().unwrap_or_default()).await,
            _ => readiness(&page.snapshot, uri.query().unwrap_or_default()),
        }
    }

    /// Returns the page of the last second. A request waits for a snapshot that is already being made.
    async fn page(&self) -> Option<CachedPage> {
        let mut last = self.last.lock().await;
        let is_fresh = |page: &&CachedPage| clock::raw().saturating_sub(page.made_at) < PAGE_AGE;
        if let Some(page) = last.as_ref().filter(is_fresh) {
            return Some(page.clone());
        }
        let snapshot = Arc::new(timeout(SNAPSHOT_TIMEOUT, self.snapshot()).await.ok()??);
        let page = CachedPage {
            made_at: clock::raw(),
            metrics: metrics::page(Arc::clone(&snapshot)).into(),
            snapshot,
        };
        *last = Some(page.clone());
        Some(page)
    }

    async fn snapshot(&self) -> Option<Snapshot> {
        let (sender, snapshot) = oneshot::channel();
        self.supervisor.send(Scrape::Snapshot(sender)).await.ok()?;
        snapshot.await.ok()
    }

    async fn curves(&self, seconds: [u32; 3]) -> Option<(Stamp, [Curves; 3])> {
        let (sender, curves) = oneshot::channel();
        let asked = async {
            self.supervisor.send(Scrape::Curves(seconds, sender)).await.ok()?;
            curves.await.ok()
        };
        timeout(SNAPSHOT_TIMEOUT, asked).await.ok()?
    }

    /// Returns the page for people, at most some seconds old. It is drawn in a thread of its own.
    async fn html(&self, snapshot: &Arc<Snapshot>) -> Response<Full<Bytes>> {
        let unavailable = || response(StatusCode::SERVICE_UNAVAILABLE, "there is no page now\n".into());
        let Some(html) = &self.html else {
            return unavailable();
        };
        let mut last = html.lock().await;
        let is_fresh = |page: &&(Duration, HtmlPage)| clock::raw().saturating_sub(page.0) < HTML_AGE;
        if let Some((_, page)) = last.as_ref().filter(is_fresh) {
            return html_response(page);
        }
        let Some((now, curves)) = self.curves(SPANS.map(|(_, _, seconds)| seconds)).await else {
            return unavailable();
        };
        let snapshot = Arc::clone(snapshot);
        let drawn = spawn_blocking(move || {
            // The kernel lets every thread drop a capability: else an attacker is in control.
            if privileges::drop_all_of_thread().is_err() {
                std::process::abort();
            }
            page(&snapshot, curves, now)
        });
        match drawn.await {
            Ok(page) => html_response(&last.insert((clock::raw(), page)).1),
            Err(_) => unavailable(),
        }
    }

    /// Returns the curves of the last `?since=SECONDS`, an hour by default.
    async fn history(&self, query: &str) -> Response<Full<Bytes>> {
        let since = match query.strip_prefix("since=").map(str::parse) {
            None if query.is_empty() => 3600,
            Some(Ok(seconds @ 1..=2_592_000)) => seconds,
            Some(_) | None => {
                let known = "only ?since=SECONDS is known, from 1 to 2592000\n";
                return response(StatusCode::BAD_REQUEST, known.into());
            }
        };
        match self.curves([since, 0, 0]).await {
            Some((_, [curves, ..])) => json(&curves),
            None => response(
                StatusCode::SERVICE_UNAVAILABLE,
                "the supervisor does not answer\n".into(),
            ),
        }
    }
}

fn html_response(page: &HtmlPage) -> Response<Full<Bytes>> {
    let mut response = response(StatusCode::OK, page.text.clone().into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // It is made of hashes, and has no letters that a header can't have.
    if let Ok(policy) = HeaderValue::from_str(&page.policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn json(thing: &impl Serialize) -> Response<Full<Bytes>> {
    let text = serde_json::to_string(thing).unwrap_or_default() + "\n";
    let mut response = response(StatusCode::OK, text.into());
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn readiness(snapshot: &Snapshot, query: &str) -> Response<Full<Bytes>> {
    let Some(criteria) = criteria(query) else {
        let known = "only ?max-distance=SECONDS and ?listener=ADDR[:PORT] are known, joined by &\n";
        return response(StatusCode::BAD_REQUEST, known.into());
    };
    let health = Health::of(&snapshot.health_view(), &criteria);
    let status = if health.healthy {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    response(status, health.line().into())
}

/// Returns what a query such as `max-distance=0.01&listener=192.0.2.1` asks for, if it can be understood.
fn criteria(query: &str) -> Option<HealthCriteria> {
    let mut criteria = HealthCriteria::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let is_first = match &*name {
            "max-distance" => {
                let limit: f64 = value.parse().ok()?;
                let limit = Some(limit).filter(|limit| limit.is_finite() && *limit >= 0.0)?;
                criteria.max_distance.replace(limit).is_none()
            }
            "listener" => criteria.listener.replace(value.parse().ok()?).is_none(),
            _ => false,
        };
        if !is_first {
            return None;
        }
    }
    Some(criteria)
}

fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
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
    fn queries_of_readiness() {
        for (query, max_distance, listener) in [
            ("", None, None),
            ("max-distance=0.01", Some(0.01), None),
            ("listener=192.0.2.1", None, Some("192.0.2.1")),
            ("listener=[2001:db8::1]:123", None, Some("[2001:db8::1]:123")),
            (
                "max-distance=1&listener=%5B%3A%3A1%5D%3A123",
                Some(1.0),
                Some("[::1]:123"),
            ),
        ] {
            let expected = HealthCriteria {
                max_distance,
                listener: listener.map(|name| name.parse().unwrap()),
            };
            assert_eq!(criteria(query), Some(expected), "{query}");
        }
        for query in [
            "what",
            "max-distance=",
            "max-distance=NaN",
            "max-distance=-1",
            "max-distance=inf",
            "max-distance=1&max-distance=2",
            "listener=ntp.example",
            "listener=::1&listener=::1",
            "max-distance=1&what=1",
        ] {
            assert_eq!(criteria(query), None, "{query}");
        }
    }

    #[test]
    fn the_address_with_most_connections_makes_room_the_oldest_first() {
        let whose = |addresses: &[usize], new| dispensable(addresses.iter().copied(), &new);
        let one_each: Vec<usize> = (0..CONNECTIONS).collect();
        assert_eq!(whose(&one_each, CONNECTIONS), Some(0));
        assert_eq!(whose(&one_each[1..], CONNECTIONS), None);
        let crowd: Vec<usize> = one_each.iter().map(|number| number % 16).chain([7, 3]).collect();
        assert_eq!(whose(&crowd, 99), Some(3));
        let of_one = [[1].as_slice(), &[2; CONNECTIONS_AN_ADDRESS]].concat();
        assert_eq!((whose(&of_one, 2), whose(&of_one[1..], 2)), (Some(1), Some(0)));
        assert_eq!(
            (whose(&of_one, 1), whose(&of_one[..CONNECTIONS_AN_ADDRESS], 2)),
            (None, None)
        );
    }
}
