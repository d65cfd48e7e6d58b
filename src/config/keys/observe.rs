//! Pure. The rows of `[control]`, `[census]` and `[metrics]`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use strum::{IntoStaticStr, VariantArray};

use super::texts::{is_absolute, path_or_none};
use crate::config::address::Refusal;
use crate::config::effective::quoted;
use crate::config::kind::{Bool, Parsed, parsed, whole, word};
use crate::config::row::table;

/// The path in the directory that systemd makes for us (`RuntimeDirectory=ntpfront`).
const CONTROL_SOCKET: &str = "/run/ntpfront/control.sock";

const METRICS: &str =
    "an address and a port such as \"127.0.0.1:9923\", \"unix:\" and an absolute path, or \"\" for none";

table! {
    /// The socket for `ntpfront status` and other commands that ask the running server, or change it.
    ///
    /// Those are `status`, `upstreams`, `top`, `clients`, `health`, `check --against-running`, `reload`, `drain`,
    /// `undrain`, `refresh`, `upstream` and `wait`.
    "[control]": Restart, RawControl
    /// The address of the socket that commands ask.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Control {
        /// The path of a UNIX socket, or "" for none.
        ///
        /// Any user with write access to it can query the server: process.user and its group (its mode is 660). If
        /// users other than root can change the directory or its parents, process.user needs permission to create
        /// the file. The service creates the directory. If this key is not set and the default cannot be opened, a
        /// user other than root gets $XDG_RUNTIME_DIR/ntpfront/control.sock, which commands of that user find, too;
        /// without that directory there is no socket. The file stays when the process ends, and the next start
        /// replaces it.
        socket: Option<PathBuf> = Some(CONTROL_SOCKET.into()), path_or_none();
        /// The users whose commands change the running server (reload, drain, undrain, refresh, upstream): {words}.
        ///
        /// "root": root and process.user. The other members of its group can query the server, and change nothing: they
        /// may be there for monitoring. "group": all users with write access to the socket. "none": no user.
        commands: CommandAccess = CommandAccess::Root, word();
    }
}

table! {
    /// Counts of requests by client: `ntpfront clients` shows those of the last hour.
    ///
    /// It shows client addresses, but only to users of the control socket. Addresses stay in memory, for at most 65
    /// minutes, and end with the process.
    "[census]": Restart, RawCensus
    /// Whether and how clients are counted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct CensusKeys {
        /// Whether to count. If it is off, no client address is remembered, except by limits that are on.
        enabled: bool = true, Bool;
        /// The number of clients of which each worker remembers the last request: {range}.
        ///
        /// It uses them to measure the time between two requests of a client. Each takes 8 bytes; everything else
        /// takes 1 MB. With more than half as many clients in an hour, the times are measured for a part of them.
        clients: u32 = 65_536, whole(1024..=1_048_576);
    }
}

table! {
    /// HTTP for Prometheus and probes.
    ///
    /// /metrics: the metrics. /healthz: 200 while the server runs. /readyz: 200 while clients get a time, at all
    /// required listeners; otherwise 503. /readyz?max-distance=0.01: 200 only if the maximum error is also within
    /// that limit.
    "[metrics]": Restart, RawMetrics
    #[derive(Clone, Debug)]
    pub(in crate::config) struct MetricsKeys {
        /// An address and a port ("127.0.0.1:9923"), or "unix:" and the path of a UNIX socket; "" is none.
        ///
        /// The owner and the group of the socket can read from it. There is no authentication; choose the address
        /// accordingly. If the address cannot be opened, the log reports an error, time is served anyway, and an IP
        /// address is tried again.
        listen: Metrics = Metrics::Nowhere, metrics();
        /// Whether / is a page for people, with the state and the curves of the last hour, day and month.
        ///
        /// It has no client addresses, no scripts from elsewhere, and needs no script. Also /status.json and
        /// /history.json, for programs. It can be published, if the names of the upstreams may be.
        page: bool = false, Bool;
    }
}

/// The users that may give commands, of those that may connect to the control socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum CommandAccess {
    /// Root, and the user of the server.
    #[default]
    Root,
    /// All of them.
    Group,
    /// None.
    None,
}

/// The address where the metrics are read over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Metrics {
    /// Nowhere.
    #[default]
    Nowhere,
    /// At this address; the port is not 0.
    Tcp(SocketAddr),
    /// At this path, absolute.
    Unix(PathBuf),
}

/// Writes the address as in the configuration.
impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => Ok(()),
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn metrics() -> Parsed<Metrics> {
    parsed(
        |text| text.and_then(metrics_at).ok_or_else(|| Refusal::new(METRICS)),
        |metrics| Some(quoted(&metrics.to_string())),
    )
}

fn metrics_at(text: &str) -> Option<Metrics> {
    match text.strip_prefix("unix:") {
        Some(path) => is_absolute(path).then(|| Metrics::Unix(path.into())),
        None if text.is_empty() => Some(Metrics::Nowhere),
        None => {
            let address: Option<SocketAddr> = text.parse().ok();
            address.filter(|address| address.port() != 0).map(Metrics::Tcp)
        }
    }
}
