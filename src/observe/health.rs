//! Pure. The health of the server.
//!
//! It is one answer for load balancers, route announcers and probes.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::clock_status::ClockStatus;
use super::history_status::HistoryStatus;
use super::nts_status::NtsStatus;
use super::snapshot::{ListenerStatus, Snapshot};

/// The conditions under which the server is healthy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCriteria {
    /// Largest healthy root distance, in seconds, if there is a limit. Finite.
    pub max_distance: Option<f64>,
    /// The listener that has to announce the time; without one any listener, and each that is required.
    pub listener: Option<ListenerName>,
}

/// The listener that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ListenerName {
    /// Its address and port.
    Socket(SocketAddr),
    /// Its address, on whatever port.
    Address(IpAddr),
}

/// The parts of the state that health depends on.
#[derive(Debug)]
pub struct HealthView<'a> {
    /// The time that clients get.
    pub clock: &'a ClockStatus,
    /// The listeners.
    pub listeners: Vec<ListenerHealth>,
    /// Network Time Security, if it is on.
    pub nts: Option<&'a NtsStatus>,
    /// The record, if one is written.
    pub history: Option<&'a HistoryStatus>,
}

/// The state of a listener, as far as health depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerHealth {
    /// Its address.
    pub address: SocketAddr,
    /// Whether clients are answered there; not while its address is absent.
    pub serving: bool,
    /// Whether the server is healthy only with it.
    pub required: bool,
    /// Whether it announces the time, where the server has one.
    pub announces_time: bool,
    /// Whether a drain is to begin: clients still get the time, and should go elsewhere.
    pub is_leaving: bool,
}

/// The health of the server, and the reason.
///
/// As JSON its names are stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Whether clients get a time, one that is good enough, at all listeners that are required.
    pub healthy: bool,
    /// The reason in one line, without its end. The warnings are in it.
    pub reason: String,
    /// Things that are not as they should be, and do not count.
    pub warnings: Vec<String>,
    /// The state of the served time; `null` if the server does not answer.
    pub state: Option<String>,
    /// Stratum that is announced; `null` without a time.
    pub stratum: Option<u8>,
    /// Maximum error of the served time; `null` without a time.
    pub root_distance: Option<f64>,
}

impl Health {
    /// The health by what clients get now.
    ///
    /// A record that can't be written is a warning: clients get a time. So is a certificate that ends soon: clients
    /// without NTS get one. So is a listener whose address is absent, unless it is required: some addresses come only to a
    /// healthy host.
    pub fn of(view: &HealthView<'_>, criteria: &HealthCriteria) -> Self {
        let clock = view.clock;
        let state = clock.state.name();
        let distance = clock.reference.root_distance.filter(|_| clock.usable);
        let (mut healthy, first) = match distance {
            Some(distance) => {
                let over = criteria.max_distance.filter(|limit| distance > *limit);
                let excess = over.map_or_else(String::new, |limit| format!(", over the limit of {limit} s"));
                let stratum = clock.reference.stratum;
                let reason = format!("{state}, stratum {stratum}, maximum error {distance:.6} s{excess}");
                (over.is_none(), reason)
            }
            None => (false, format!("{state}: clients get no time")),
        };
        let (faults, mut warnings) = listeners(view, criteria.listener, distance.is_some());
        healthy &= faults.is_empty();
        for one in view.nts.iter().flat_map(|nts| nts.certificates()) {
            if one.trouble.is_some() {
                let names = one.names.join(", ");
                warnings.push(format!("certificate for {names}: {}", one.left));
            }
        }
        if let Some(fault) = view.history.and_then(|one| one.fault.as_ref()) {
            warnings.push(format!("the history is not written: {fault}"));
        }
        let parts: Vec<&str> = [&first]
            .into_iter()
            .chain(&faults)
            .chain(&warnings)
            .map(String::as_str)
            .collect();
        Self {
            healthy,
            reason: parts.join("; "),
            state: Some(state.to_owned()),
            stratum: distance.map(|_| clock.reference.stratum),
            root_distance: distance,
            warnings,
        }
    }

    /// The health of a server that does not answer, for this reason.
    pub const fn unknown(reason: String) -> Self {
        Self {
            healthy: false,
            reason,
            warnings: Vec::new(),
            state: None,
            stratum: None,
            root_distance: None,
        }
    }

    /// Returns the health as one JSON object, the end of its line included.
    pub fn json_line(&self) -> String {
        // All of it are texts and numbers: nothing can go wrong.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// Returns the health in one line for people, its end included.
    pub fn line(&self) -> String {
        let word = if self.healthy { "healthy" } else { "not healthy" };
        format!("{word}: {}\n", self.reason)
    }
}

/// Returns what is wrong with the listeners, and what is only worth a word; `timely` if there is a time to announce.
fn listeners(view: &HealthView<'_>, asked: Option<ListenerName>, timely: bool) -> (Vec<String>, Vec<String>) {
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    let chosen = match asked {
        None => view.listeners.clone(),
        Some(name) => name.choose(&view.listeners),
    };
    if let Some(name) = asked.filter(|_| chosen.is_empty()) {
        faults.push(format!("there is no listener for {name}"));
        return (faults, warnings);
    }
    for one in &chosen {
        let is_away = !one.serving;
        let trouble = match (one.serving, one.announces_time, one.is_leaving) {
            (true, true, false) => continue,
            (true, true, true) => format!("to be drained: {}", one.address),
            (true, false, _) => format!("\"unsynchronized\" at {}", one.address),
            (false, ..) => format!("not served: {}", one.address),
        };
        match one.required && asked.is_none() {
            true => faults.push(trouble + ", which is required"),
            false if timely || is_away => warnings.push(trouble),
            // Where there is no time, none announces it.
            false => {}
        }
    }
    let mut announcing = chosen
        .iter()
        .filter(|one| one.serving && one.announces_time)
        .peekable();
    let is_announced = announcing.peek().is_some();
    if timely && announcing.all(|one| one.is_leaving) {
        let reason = match is_announced {
            true => "each listener that announces the time is to be drained",
            false => "no listener announces the time",
        };
        faults.insert(0, reason.to_owned());
    }
    (faults, warnings)
}

impl ListenerName {
    /// Returns the listeners that answer there.
    ///
    /// Those are the ones that have the address, or if none has, those of all addresses of its family: so does the kernel
    /// choose, too.
    pub fn choose(self, listeners: &[ListenerHealth]) -> Vec<ListenerHealth> {
        let is_named = |one: &&ListenerHealth| match self {
            Self::Socket(socket) => one.address == socket,
            Self::Address(address) => one.address.ip() == address,
        };
        let named: Vec<_> = listeners.iter().filter(is_named).copied().collect();
        if !named.is_empty() {
            return named;
        }
        let (is_ipv4, port) = match self {
            Self::Socket(socket) => (socket.is_ipv4(), Some(socket.port())),
            Self::Address(address) => (address.is_ipv4(), None),
        };
        let is_for_all = |one: &&ListenerHealth| {
            one.address.ip().is_unspecified()
                && one.address.is_ipv4() == is_ipv4
                && port.is_none_or(|port| one.address.port() == port)
        };
        listeners.iter().filter(is_for_all).copied().collect()
    }
}

impl FromStr for ListenerName {
    type Err = String;

    /// Reads `ADDR[:PORT]`; an IPv6 address with a port stands in brackets.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = || bare.unwrap_or(text).parse().map(Self::Address).ok();
        let name = text.parse().map(Self::Socket).ok().or_else(address);
        name.ok_or_else(|| {
            "not the address of a listener, such as 192.0.2.1, 192.0.2.1:123 or [2001:db8::1]:123".to_owned()
        })
    }
}

impl TryFrom<String> for ListenerName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ListenerName> for String {
    fn from(name: ListenerName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for ListenerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(socket) => socket.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Snapshot {
    /// Returns what health depends on.
    pub fn health_view(&self) -> HealthView<'_> {
        HealthView {
            clock: &self.clock_status,
            listeners: self.listeners.iter().map(ListenerStatus::health).collect(),
            nts: self.nts.as_ref(),
            history: self.history.as_ref(),
        }
    }
}

impl ListenerStatus {
    /// Returns what health depends on.
    pub fn health(&self) -> ListenerHealth {
        ListenerHealth {
            address: self.address,
            serving: self.serving,
            required: self.required,
            announces_time: self.announces_time,
            is_leaving: self.drain.as_ref().is_some_and(|drain| drain.begins_in.is_some()),
        }
    }
}

#[cfg(test)]
mod tests;
